"""DEBUG: the subcommands that test suites use. DEBUG is one command with words, not a container."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

from redis_emulator.commands.arguments import NO_SUCH_KEY, parse_integer
from redis_emulator.commands.registry import command
from redis_emulator.glob import glob
from redis_emulator.keyspace import Database
from redis_emulator.resp.types import (
    OK,
    BigNumber,
    Push,
    RedisError,
    Reply,
    SetReply,
    SimpleString,
    Verbatim,
    quote,
)
from redis_emulator.session import Session
from redis_emulator.table.documents import read, server_like

Subcommand = Callable[[Session, list[bytes]], Reply]

_subcommands: dict[bytes, tuple[int, int, Subcommand]] = {}
_PROTOCOL: Final[dict[bytes, Callable[[], Reply]]] = {
    b"string": lambda: b"Hello World",
    b"integer": lambda: 12345,
    b"double": lambda: 3.141,
    b"bignum": lambda: BigNumber(1234567999999999999999999999999999999),
    b"null": lambda: None,
    b"array": lambda: [0, 1, 2],
    b"set": lambda: SetReply([0, 1, 2]),
    b"map": lambda: {0: False, 1: True, 2: False},
    b"push": lambda: Push([b"server-cpu-usage", 42]),
    b"verbatim": lambda: Verbatim(b"This is a verbatim\nstring"),
    b"true": lambda: True,
    b"false": lambda: False,
    b"attrib": lambda: b"Some real reply following the attribute",
}
_PROTOCOL_NAMES: Final = (
    "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false"
)


def _word(*names: str, least: int = 2, most: int = 1 << 30) -> Callable[[Subcommand], Subcommand]:
    def bind(function: Subcommand) -> Subcommand:
        for name in names:
            _subcommands[name.encode()] = (least, most, function)
        return function

    return bind


@command("debug")
def debug(ctx: Session, argv: list[bytes]) -> Reply:
    found = _subcommands.get(argv[1].lower())
    if found is None or not found[0] <= len(argv) <= found[1]:
        raise ctx.server.wrong_words(argv)
    return found[2](ctx, argv)


@_word("help", most=2)
def _help(ctx: Session, argv: list[bytes]) -> Reply:
    lines = read("help", server_like(ctx.server.version))["debug"]
    return [SimpleString(line.encode()) for line in lines]


@_word("sleep", least=3, most=3)
def _sleep(ctx: Session, argv: list[bytes]) -> Reply:
    try:
        seconds = float(argv[2])
    except ValueError:
        seconds = 0.0
    return ctx.server.sleep(ctx, round(max(seconds, 0.0) * 1000))


@_word("error", least=3, most=3)
def _error(ctx: Session, argv: list[bytes]) -> Reply:
    raise RedisError(quote(argv[2]))


@_word("protocol", least=3, most=3)
def _protocol(ctx: Session, argv: list[bytes]) -> Reply:
    reply = _PROTOCOL.get(argv[2].lower())
    if reply is None:
        raise RedisError(
            f"ERR Wrong protocol type name. Please use one of the following: {_PROTOCOL_NAMES}"
        )
    return reply()


@_word("object", least=3, most=3)
def _object(ctx: Session, argv: list[bytes]) -> Reply:
    key = argv[2]
    server = ctx.server
    if key not in ctx.db.data:
        raise RedisError(NO_SUCH_KEY)
    encoding = _ask(ctx, b"OBJECT", b"ENCODING", key)
    dump = _ask(ctx, b"DUMP", key)
    accessed = ctx.db.access.get(key, server.now)
    text = (
        f"Value at:{id(ctx.db.data[key]):#x} refcount:1 encoding:{quote(encoding)} "
        f"serializedlength:{max(len(dump) - 11, 0)} lru:{accessed // 1000 & 0xFFFFFF} "
        f"lru_seconds_idle:{max(server.now - accessed, 0) // 1000}"
    )
    return SimpleString(text.encode())


def _ask(ctx: Session, *argv: bytes) -> bytes:
    words = list(argv)
    reply = ctx.server.find(words).handler(ctx, words)
    assert isinstance(reply, bytes)
    return reply


@_word("populate", least=3, most=5)
def _populate(ctx: Session, argv: list[bytes]) -> Reply:
    count = parse_integer(argv[2], "ERR value is out of range, must be positive")
    if count < 0:
        raise RedisError("ERR value is out of range, must be positive")
    prefix = argv[3] if len(argv) > 3 else b"key"
    size = parse_integer(argv[4]) if len(argv) > 4 else 0
    for number in range(count):
        key = b"%b:%d" % (prefix, number)
        if key not in ctx.db.data:
            value = b"value:%d" % number
            ctx.db.set(key, value[:size].ljust(size, b"\0") if size else value)
            ctx.db.touched(key)
    return OK


@_word("stringmatch-len", least=4, most=4)
def _stringmatch(ctx: Session, argv: list[bytes]) -> Reply:
    return int(glob(argv[3])(b"a" * parse_integer(argv[2])) is not None)


@_word("reload", "loadaof")
def _reload(ctx: Session, argv: list[bytes]) -> Reply:
    options = {word.lower() for word in argv[2:]}
    if options - {b"merge", b"noflush", b"nosave"}:
        raise RedisError("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.")
    return OK


@_word("digest", most=2)
def _digest(ctx: Session, argv: list[bytes]) -> Reply:
    total = 0
    for db in ctx.server.databases:
        for key in db.data:
            total ^= _key_digest(db, key, b"%d" % db.index)
    return SimpleString(b"%040x" % total)


@_word("digest-value")
def _digest_value(ctx: Session, argv: list[bytes]) -> Reply:
    return [
        SimpleString(b"%040x" % (_key_digest(ctx.db, key, b"") if key in ctx.db.data else 0))
        for key in argv[2:]
    ]


def _key_digest(db: Database, key: bytes, place: bytes) -> int:
    """A number that depends on a key, its value and whether it expires, not on inner order."""
    expires = b"!" if key in db.expires else b""
    name = place + b"/" + key if place else b""
    return _hash(name + _content(db.data[key]) + expires)


def _content(value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, dict) or hasattr(value, "items"):
        pairs = ((_content(key), _content(part)) for key, part in value.items())
        return b"%040x" % _combined(key + b"=" + part for key, part in pairs)
    if isinstance(value, (set, frozenset)):
        return b"%040x" % _combined(map(_content, value))
    if isinstance(value, (int, float, str)) or value is None:
        return repr(value).encode()
    return b"".join(b"%d:%b" % (len(part), part) for part in map(_content, value))


def _combined(parts: Any) -> int:
    total = 0
    for part in parts:
        total ^= _hash(part)
    return total


def _hash(raw: bytes) -> int:
    return int.from_bytes(hashlib.sha1(raw).digest(), "big")


@_word("listpack", "sdslen", "htstats-key", least=3)
def _inner(ctx: Session, argv: list[bytes]) -> Reply:
    if argv[2] not in ctx.db.data:
        raise RedisError(NO_SUCH_KEY)
    word = argv[1].lower()
    value = ctx.db.data[argv[2]]
    if word == b"listpack":
        if _ask(ctx, b"OBJECT", b"ENCODING", argv[2]) != b"listpack":
            raise RedisError("ERR Not a listpack encoded object.")
        return SimpleString(b"Listpack structure printed on stdout")
    if word == b"htstats-key":
        return Verbatim(b"[Dictionary HT]\n")
    if not isinstance(value, (bytes, bytearray)):
        raise RedisError("ERR Not an sds encoded string.")
    sizes = (len(argv[2]), len(value))
    text = "key_sds_len:%d, key_sds_avail:0, key_zmalloc: 0, val_sds_len:%d, val_sds_avail:0, "
    return SimpleString((text % sizes + "val_zmalloc: 0").encode())


@_word("htstats", least=3)
def _htstats(ctx: Session, argv: list[bytes]) -> Reply:
    index = parse_integer(argv[2])
    databases = ctx.server.databases
    if not 0 <= index < len(databases):
        raise RedisError("ERR Out of range database")
    db = databases[index]
    text = "".join(
        f"[{name} HT]\nHash table 0 stats (main hash table):\n number of elements: {len(table)}\n"
        for name, table in (("Dictionary", db.data), ("Expires", db.expires))
    )
    return Verbatim(text.encode())


@_word("structsize", most=2)
def _structsize(ctx: Session, argv: list[bytes]) -> Reply:
    return SimpleString(b"bits:64 robj:16 dictentry:24")


@_word("change-repl-id", "dict-resizing", "leak", "log", "pause-cron", "quicklist-packed-threshold")
@_word("replicate", "replybuffer", "script", "set-active-expire", "set-disable-deny-scripts")
def _without_effect(ctx: Session, argv: list[bytes]) -> Reply:
    """What concerns parts that an emulator does not have."""
    return OK
