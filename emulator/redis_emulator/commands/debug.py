"""DEBUG: the subcommands that test suites use. DEBUG is one command with words, not a container."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.dump import reloaded
from redis_emulator.commands.helpers.arguments import (
    INT64_MAX,
    NO_SUCH_KEY,
    parse_integer,
    parse_range,
    read_double,
    unknown_subcommand,
)
from redis_emulator.commands.registry import command
from redis_emulator.keyspace import digest
from redis_emulator.resp.double import Double17
from redis_emulator.resp.types import (
    NO_REPLY,
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
from redis_emulator.server.config import read_memory
from redis_emulator.table.documents import read, server_like
from redis_emulator.values.list import List
from redis_emulator.version import Version

Subcommand = Callable[[Session, list[bytes]], Reply]

_STRTOD: Final = re.compile(
    rb"[ \t-\r]*([+-]?(?:0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?"
    rb"|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?))"
).match
"""The finite number that text begins with, as C's strtod reads it."""
_MOST_SECONDS: Final = 2.0**63 / 1e6
"""From here on the server's microseconds overflow, and it does not sleep."""


@dataclass(frozen=True, slots=True)
class _Word:
    """One subcommand: how many words it takes, and which servers have it."""

    function: Subcommand
    least: int
    most: int
    since: tuple[int, int]
    flavours: tuple[str, ...]

    def takes(self, version: Version, argc: int) -> bool:
        """Whether a server of ``version`` understands it with so many words."""
        return (
            self.least <= argc <= self.most
            and version.flavour in self.flavours
            and version.compatible >= self.since
        )


_subcommands: dict[bytes, _Word] = {}
_PROTOCOL: Final[dict[bytes, Callable[[], Reply]]] = {
    b"string": lambda: b"Hello World",
    b"integer": lambda: 12345,
    b"double": lambda: 3.141,
    b"bignum": lambda: BigNumber(b"1234567999999999999999999999999999999"),
    b"null": lambda: None,
    b"array": lambda: [0, 1, 2],
    b"set": lambda: SetReply([0, 1, 2]),
    b"map": lambda: {0: False, 1: True, 2: False},
    b"verbatim": lambda: Verbatim(b"This is a verbatim\nstring"),
    b"true": lambda: True,
    b"false": lambda: False,
    b"attrib": lambda: b"Some real reply following the attribute",
}
_PAUSES: Final = frozenset(
    {b"clear", b"after-fork", b"before-rdb-channel", b"on-streaming-repl-buf"}
)
_NOT_POSITIVE: Final = "ERR value is out of range, must be positive"
_PROTOCOL_NAMES: Final = (
    "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false"
)


def _word(
    *names: str,
    least: int = 2,
    most: int = 1 << 30,
    since: tuple[int, int] = (0, 0),
    flavours: tuple[str, ...] = ("redis", "valkey"),
) -> Callable[[Subcommand], Subcommand]:
    """Bind a function to words; ``since`` is the Redis release that brought them."""

    def bind(function: Subcommand) -> Subcommand:
        for name in names:
            _subcommands[name.encode()] = _Word(function, least, most, since, flavours)
        return function

    return bind


@command("debug", full_checks=True)
def debug(ctx: Session, argv: list[bytes]) -> Reply:
    found = _subcommands.get(argv[1].lower())
    if found is None or not found.takes(ctx.server.version, len(argv)):
        raise unknown_subcommand(ctx.server.version, argv)
    return found.function(ctx, argv)


@_word("help", most=2)
def _help(ctx: Session, argv: list[bytes]) -> Reply:
    lines = read("help", server_like(ctx.server.version))["debug"]
    return [SimpleString(line.encode()) for line in lines]


@_word("sleep", least=3, most=3)
def _sleep(ctx: Session, argv: list[bytes]) -> Reply:
    number = _STRTOD(argv[2])
    seconds = (number and read_double(number[1])) or 0.0
    if not 0 < seconds < _MOST_SECONDS:  # as the server's nanosleep, which takes no such time
        return OK
    return ctx.engine.sleep(ctx, round(seconds * 1000))


@_word("error", least=3, most=3)
def _error(ctx: Session, argv: list[bytes]) -> Reply:
    raise RedisError(quote(argv[2]))


@_word("protocol", least=3, most=3)
def _protocol(ctx: Session, argv: list[bytes]) -> Reply:
    kind = argv[2].lower()
    if kind == b"double" and ctx.server.version.before(7):
        return Double17(3.14159265359)
    if kind == b"push":
        if ctx.protocol < 3:
            raise RedisError("ERR RESP2 is not supported by this command")
        ctx.clients.push(ctx, Push((b"server-cpu-usage", 42)))
        return b"Some real reply following the push reply"
    reply = _PROTOCOL.get(kind)
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
    accessed = ctx.db.access.get(key, server.keyspace.now)
    text = (
        f"Value at:{id(ctx.db.data[key]):#x} refcount:1 encoding:{quote(encoding)} "
        f"serializedlength:{max(len(dump) - 11, 0)} lru:{accessed // 1000 & 0xFFFFFF} "
        f"lru_seconds_idle:{max(server.keyspace.now - accessed, 0) // 1000}"
    )
    return SimpleString(text.encode())


def _ask(ctx: Session, *argv: bytes) -> Any:
    words = list(argv)
    return ctx.engine.find(words).handler(ctx, words)


@_word("populate", least=3, most=5)
def _populate(ctx: Session, argv: list[bytes]) -> Reply:
    count = parse_range(argv[2], 0, INT64_MAX, _NOT_POSITIVE)
    prefix = argv[3] if len(argv) > 3 else b"key"
    size = parse_range(argv[4], 0, INT64_MAX, _NOT_POSITIVE) if len(argv) > 4 else 0
    for number in range(count):
        key = b"%b:%d" % (prefix, number)
        if key not in ctx.db.data:
            value = b"value:%d" % number
            ctx.db.set(key, value[:size].ljust(size, b"\0") if size else value)
            ctx.db.touched(key)
    return OK


@_word("loadaof")
def _loadaof(ctx: Session, argv: list[bytes]) -> Reply:
    if ctx.server.config["appendonly"] == "no":
        raise RedisError("ERR Error trying to load the AOF files, check server logs.")
    return OK


@_word("reload")
def _reload(ctx: Session, argv: list[bytes]) -> Reply:
    options = {word.lower() for word in argv[2:]}
    if options - {b"merge", b"noflush", b"nosave"}:
        raise RedisError("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.")
    if b"nosave" not in options:
        _ask(ctx, b"SAVE")
    keep_access = ctx.server.config["maxmemory-policy"].endswith(("lru", "lfu"))
    for db in ctx.server.databases:
        values = {key: reloaded(ctx, db, key, value) for key, value in db.data.items()}
        db.reload(values, keep_access=keep_access)
    if ctx.clients.tracker is not None:
        ctx.clients.tracker.flushed(ctx, argv)
    return OK


@_word("digest", most=2)
def _digest(ctx: Session, argv: list[bytes]) -> Reply:
    return SimpleString(digest.everything(ctx.server.version, ctx.server.databases).hex().encode())


@_word("digest-value")
def _digest_value(ctx: Session, argv: list[bytes]) -> Reply:
    return [
        SimpleString(digest.value_at(ctx.server.version, ctx.db, key).hex().encode())
        for key in argv[2:]
    ]


def _value(ctx: Session, argv: list[bytes]) -> Any:
    if argv[2] not in ctx.db.data:
        raise RedisError(NO_SUCH_KEY)
    return ctx.db.data[argv[2]]


@_word("listpack", least=3, most=3, since=(7, 0))
@_word("quicklist", least=3, most=4, since=(7, 0))
@_word("ziplist", least=3, most=3)
def _inner(ctx: Session, argv: list[bytes]) -> Reply:
    word = argv[1].lower()
    if word == b"ziplist" and not ctx.server.version.before(7):
        raise unknown_subcommand(ctx.server.version, argv)
    _value(ctx, argv)
    if _ask(ctx, b"OBJECT", b"ENCODING", argv[2]) != word:
        raise RedisError(f"ERR Not a {word.decode()} encoded object.")
    return SimpleString(b"%b structure printed on stdout" % word.capitalize())


@_word("sdslen", least=3, most=3)
def _sdslen(ctx: Session, argv: list[bytes]) -> Reply:
    value = _value(ctx, argv)
    if not isinstance(value, (bytes, bytearray)):
        raise RedisError("ERR Not an sds encoded string.")
    sizes = (len(argv[2]), len(value))
    if ctx.server.version.is_valkey():
        text = "key_sds_len:%d key_sds_avail:0 obj_alloc:0 val_sds_len:%d val_sds_avail:0"
        return SimpleString((text % sizes + " val_alloc:0").encode())
    text = "key_sds_len:%d, key_sds_avail:0, key_zmalloc: 0, val_sds_len:%d, val_sds_avail:0, "
    return SimpleString((text % sizes + "val_zmalloc: 0").encode())


@_word("htstats-key", least=3, most=4)
def _htstats_key(ctx: Session, argv: list[bytes]) -> Reply:
    value = _value(ctx, argv)
    tables = (b"hashtable", b"skiplist")
    if isinstance(value, (bytes, bytearray)) or (
        _ask(ctx, b"OBJECT", b"ENCODING", argv[2]) not in tables
    ):
        raise RedisError(
            "ERR The value stored at the specified key is not represented using an hash table"
        )
    return Verbatim(_table(len(value)).encode())


@_word("htstats", least=3, most=4)
def _htstats(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 3 and ctx.server.version.before(7, 2):
        raise unknown_subcommand(ctx.server.version, argv)
    index = parse_integer(argv[2])
    databases = ctx.server.databases
    if not 0 <= index < len(databases):
        raise RedisError("ERR Out of range database")
    db = databases[index]
    tables = (("Dictionary", db.data), ("Expires", db.expires))
    version = ctx.server.version
    nothing = "" if not version.before(7, 2) else "No stats available for empty dictionaries\n"
    if version.before(7, 2) and not version.before(7):
        nothing = f"Hash table 0 stats (main hash table):\n{nothing}"
    text = "".join(
        f"[{name} HT]\n{_table(len(table)) if table else nothing}" for name, table in tables
    )
    return Verbatim(text.encode())


def _table(count: int) -> str:
    size = max(4, 1 << (count - 1).bit_length())
    return (
        "Hash table 0 stats (main hash table):\n"
        f" table size: {size}\n number of elements: {count}\n"
    )


@_word("structsize", most=2)
def _structsize(ctx: Session, argv: list[bytes]) -> Reply:
    return b"bits:64 robj:16 dictentry:24 sdshdr5:1 sdshdr8:3 sdshdr16:5 sdshdr32:9 sdshdr64:17 "


@_word("quicklist-packed-threshold", least=3, most=3, since=(7, 0))
def _packed_threshold(ctx: Session, argv: list[bytes]) -> Reply:
    size = read_memory(quote(argv[2]))
    if size is None or not 0 <= size < 4 << 30:
        raise RedisError("ERR argument must be a memory value bigger than 1 and smaller than 4gb")
    ctx.server.debug.packed_threshold = size
    for db in ctx.server.databases:
        for value in db.data.values():
            if type(value) is List:
                value.large = size
    return OK


@_word("replybuffer", least=4, most=4, since=(7, 0))
def _replybuffer(ctx: Session, argv: list[bytes]) -> Reply:
    if argv[2].lower() == b"peak-reset-time":
        if argv[3].lower() not in (b"never", b"reset"):
            parse_integer(argv[3])
    elif argv[2].lower() != b"resizing":
        raise unknown_subcommand(ctx.server.version, argv)
    return OK


@_word("script", least=3, most=3, since=(8, 0), flavours=("redis",))
def _script(ctx: Session, argv: list[bytes]) -> Reply:
    if argv[2].lower() == b"list":
        return OK
    if len(argv[2]) != 40:
        raise unknown_subcommand(ctx.server.version, argv)
    if _ask(ctx, b"SCRIPT", b"EXISTS", argv[2]) != [1]:
        raise RedisError("NOSCRIPT No matching script. Please use EVAL.")
    return OK


@_word("client-eviction", most=2, since=(7, 0))
def _client_eviction(ctx: Session, argv: list[bytes]) -> Reply:
    raise RedisError("ERR maxmemory-clients is disabled.")


@_word("config-rewrite-force-all", most=2)
def _rewrite(ctx: Session, argv: list[bytes]) -> Reply:
    reason = ": Bad address" if not ctx.server.version.before(7) else ""
    raise RedisError(f"ERR CONFIG-REWRITE-FORCE-ALL failed{reason}")


@_word("clusterlink", least=5, most=5, since=(7, 0))
def _clusterlink(ctx: Session, argv: list[bytes]) -> Reply:
    raise RedisError("ERR Debug option only available for cluster mode enabled setup!")


@_word("internal_secret", most=2, since=(8, 0), flavours=("redis",))
def _internal_secret(ctx: Session, argv: list[bytes]) -> Reply:
    raise RedisError("ERR Internal secret is missing")


@_word("set-active-expire", least=3, most=3)
def _set_active_expire(ctx: Session, argv: list[bytes]) -> Reply:
    number = re.match(rb"\s*[+-]?\d+", argv[2])
    ctx.server.debug.active_expiry = number is not None and int(number[0]) != 0
    ctx.engine.refresh()
    return OK


@_word("repl-pause", least=3, most=3, since=(8, 0), flavours=("redis",))
def _repl_pause(ctx: Session, argv: list[bytes]) -> Reply:
    if argv[2].lower() not in _PAUSES:
        raise unknown_subcommand(ctx.server.version, argv)
    return OK


@_word("mallctl", "mallctl-str", least=3, most=4, flavours=("redis",))
def _mallctl(ctx: Session, argv: list[bytes]) -> Reply:
    raise RedisError("ERR No such file or directory")


@_word("aof-flush-sleep", "leak", "log", least=3, most=3)
@_word("set-skip-checksum-validation", least=3, most=3)
@_word("change-repl-id", most=2)
@_word("replicate", least=4, since=(7, 0))
@_word("drop-cluster-packet-filter", "pause-cron", least=3, most=3, since=(7, 0))
@_word("set-disable-deny-scripts", least=3, most=3, since=(7, 0))
@_word("dict-resizing", least=3, most=3, since=(7, 2))
@_word("keysizes-hist-assert", least=3, most=3, since=(8, 2), flavours=("redis",))
@_word("client-enforce-reply-list", least=3, most=3, flavours=("valkey",))
@_word("close-cluster-link-on-packet-drop", least=3, most=3, flavours=("valkey",))
@_word("disable-cluster-random-ping", least=3, most=3, flavours=("valkey",))
@_word("disable-cluster-reconnection", least=3, most=3, flavours=("valkey",))
def _without_effect(ctx: Session, argv: list[bytes]) -> Reply:
    """What concerns parts that an emulator does not have."""
    return OK


@_word("assert", "oom", "panic", "segfault", most=2)
def _crash(ctx: Session, argv: list[bytes]) -> Reply:
    ctx.engine.shutdown()
    return NO_REPLY
