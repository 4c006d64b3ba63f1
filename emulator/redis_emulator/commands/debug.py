"""DEBUG with the subcommands that test suites use.

In Redis DEBUG is a plain command that parses its first argument, not a container command, so the
subcommands have no rows in the command table. They are listed here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.dump import reload_value
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
"""Matches the number at the start of the text, as C's ``strtod`` reads it."""
_SLEEP_LIMIT_SECONDS: Final = 2.0**63 / 1e6
"""From this value on the microseconds overflow in Redis, and it does not sleep."""


@dataclass(frozen=True, slots=True)
class _Subcommand:
    """A subcommand: its function, its arity and the servers that have it."""

    function: Subcommand
    min_argc: int
    max_argc: int
    since: tuple[int, int]
    flavours: tuple[str, ...]

    def accepts(self, version: Version, argc: int) -> bool:
        """Whether ``version`` has this subcommand with ``argc`` arguments."""
        return (
            self.min_argc <= argc <= self.max_argc
            and version.flavour in self.flavours
            and version.compatible >= self.since
        )


_subcommands: dict[bytes, _Subcommand] = {}
_PROTOCOL_REPLIES: Final[dict[bytes, Callable[[], Reply]]] = {
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
_REPL_PAUSE_POINTS: Final = frozenset(
    {b"clear", b"after-fork", b"before-rdb-channel", b"on-streaming-repl-buf"}
)
_NOT_POSITIVE: Final = "ERR value is out of range, must be positive"
_PROTOCOL_NAMES: Final = (
    "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false"
)


def _subcommand(
    *names: str,
    min_argc: int = 2,
    max_argc: int = 1 << 30,
    since: tuple[int, int] = (0, 0),
    flavours: tuple[str, ...] = ("redis", "valkey"),
) -> Callable[[Subcommand], Subcommand]:
    """Register a function as DEBUG subcommands that exist since the Redis release ``since``."""

    def bind(function: Subcommand) -> Subcommand:
        for name in names:
            _subcommands[name.encode()] = _Subcommand(function, min_argc, max_argc, since, flavours)
        return function

    return bind


@command("debug", full_checks=True)
def debug(ctx: Session, argv: list[bytes]) -> Reply:
    entry = _subcommands.get(argv[1].lower())
    if entry is None or not entry.accepts(ctx.server.version, len(argv)):
        raise unknown_subcommand(ctx.server.version, argv)
    return entry.function(ctx, argv)


@_subcommand("help", max_argc=2)
def _help(ctx: Session, argv: list[bytes]) -> Reply:
    lines = read("help", server_like(ctx.server.version))["debug"]
    return [SimpleString(line.encode()) for line in lines]


@_subcommand("sleep", min_argc=3, max_argc=3)
def _sleep(ctx: Session, argv: list[bytes]) -> Reply:
    number = _STRTOD(argv[2])
    seconds = (number and read_double(number[1])) or 0.0
    if (
        not 0 < seconds < _SLEEP_LIMIT_SECONDS
    ):  # Redis passes these values to nanosleep, which fails
        return OK
    return ctx.engine.sleep(ctx, round(seconds * 1000))


@_subcommand("error", min_argc=3, max_argc=3)
def _error(ctx: Session, argv: list[bytes]) -> Reply:
    raise RedisError(quote(argv[2]))


@_subcommand("protocol", min_argc=3, max_argc=3)
def _protocol(ctx: Session, argv: list[bytes]) -> Reply:
    kind = argv[2].lower()
    if kind == b"double" and ctx.server.version.before(7):
        return Double17(3.14159265359)
    if kind == b"push":
        if ctx.protocol < 3:
            raise RedisError("ERR RESP2 is not supported by this command")
        ctx.clients.push(ctx, Push((b"server-cpu-usage", 42)))
        return b"Some real reply following the push reply"
    reply = _PROTOCOL_REPLIES.get(kind)
    if reply is None:
        raise RedisError(
            f"ERR Wrong protocol type name. Please use one of the following: {_PROTOCOL_NAMES}"
        )
    return reply()


@_subcommand("object", min_argc=3, max_argc=3)
def _object(ctx: Session, argv: list[bytes]) -> Reply:
    key = argv[2]
    server = ctx.server
    if key not in ctx.db.data:
        raise RedisError(NO_SUCH_KEY)
    encoding = _call_command(ctx, b"OBJECT", b"ENCODING", key)
    dump = _call_command(ctx, b"DUMP", key)
    accessed = ctx.db.access.get(key, server.keyspace.now)
    text = (
        f"Value at:{id(ctx.db.data[key]):#x} refcount:1 encoding:{quote(encoding)} "
        f"serializedlength:{max(len(dump) - 11, 0)} lru:{accessed // 1000 & 0xFFFFFF} "
        f"lru_seconds_idle:{max(server.keyspace.now - accessed, 0) // 1000}"
    )
    return SimpleString(text.encode())


def _call_command(ctx: Session, *argv: bytes) -> Any:
    words = list(argv)
    return ctx.engine.find(words).handler(ctx, words)


@_subcommand("populate", min_argc=3, max_argc=5)
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


@_subcommand("loadaof")
def _loadaof(ctx: Session, argv: list[bytes]) -> Reply:
    if ctx.server.config["appendonly"] == "no":
        raise RedisError("ERR Error trying to load the AOF files, check server logs.")
    return OK


@_subcommand("reload")
def _reload(ctx: Session, argv: list[bytes]) -> Reply:
    options = {word.lower() for word in argv[2:]}
    if options - {b"merge", b"noflush", b"nosave"}:
        raise RedisError("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.")
    if b"nosave" not in options:
        _call_command(ctx, b"SAVE")
    keep_access = ctx.server.config["maxmemory-policy"].endswith(("lru", "lfu"))
    for db in ctx.server.databases:
        values = {key: reload_value(ctx, db, key, value) for key, value in db.data.items()}
        db.reload(values, keep_access=keep_access)
    if ctx.clients.tracker is not None:
        ctx.clients.tracker.flushed(ctx, argv)
    return OK


@_subcommand("digest", max_argc=2)
def _digest(ctx: Session, argv: list[bytes]) -> Reply:
    return SimpleString(digest.everything(ctx.server.version, ctx.server.databases).hex().encode())


@_subcommand("digest-value")
def _digest_value(ctx: Session, argv: list[bytes]) -> Reply:
    return [
        SimpleString(digest.value_at(ctx.server.version, ctx.db, key).hex().encode())
        for key in argv[2:]
    ]


def _existing_value(ctx: Session, argv: list[bytes]) -> Any:
    if argv[2] not in ctx.db.data:
        raise RedisError(NO_SUCH_KEY)
    return ctx.db.data[argv[2]]


@_subcommand("listpack", min_argc=3, max_argc=3, since=(7, 0))
@_subcommand("quicklist", min_argc=3, max_argc=4, since=(7, 0))
@_subcommand("ziplist", min_argc=3, max_argc=3)
def _print_structure(ctx: Session, argv: list[bytes]) -> Reply:
    word = argv[1].lower()
    if word == b"ziplist" and not ctx.server.version.before(7):
        raise unknown_subcommand(ctx.server.version, argv)
    _existing_value(ctx, argv)
    if _call_command(ctx, b"OBJECT", b"ENCODING", argv[2]) != word:
        raise RedisError(f"ERR Not a {word.decode()} encoded object.")
    return SimpleString(b"%b structure printed on stdout" % word.capitalize())


@_subcommand("sdslen", min_argc=3, max_argc=3)
def _sdslen(ctx: Session, argv: list[bytes]) -> Reply:
    value = _existing_value(ctx, argv)
    if not isinstance(value, (bytes, bytearray)):
        raise RedisError("ERR Not an sds encoded string.")
    sizes = (len(argv[2]), len(value))
    if ctx.server.version.is_valkey():
        text = "key_sds_len:%d key_sds_avail:0 obj_alloc:0 val_sds_len:%d val_sds_avail:0"
        return SimpleString((text % sizes + " val_alloc:0").encode())
    text = "key_sds_len:%d, key_sds_avail:0, key_zmalloc: 0, val_sds_len:%d, val_sds_avail:0, "
    return SimpleString((text % sizes + "val_zmalloc: 0").encode())


@_subcommand("htstats-key", min_argc=3, max_argc=4)
def _htstats_key(ctx: Session, argv: list[bytes]) -> Reply:
    value = _existing_value(ctx, argv)
    tables = (b"hashtable", b"skiplist")
    if isinstance(value, (bytes, bytearray)) or (
        _call_command(ctx, b"OBJECT", b"ENCODING", argv[2]) not in tables
    ):
        raise RedisError(
            "ERR The value stored at the specified key is not represented using an hash table"
        )
    return Verbatim(_hash_table_stats(len(value)).encode())


@_subcommand("htstats", min_argc=3, max_argc=4)
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
    empty_stats = "" if not version.before(7, 2) else "No stats available for empty dictionaries\n"
    if version.before(7, 2) and not version.before(7):
        empty_stats = f"Hash table 0 stats (main hash table):\n{empty_stats}"
    text = "".join(
        f"[{name} HT]\n{_hash_table_stats(len(table)) if table else empty_stats}"
        for name, table in tables
    )
    return Verbatim(text.encode())


def _hash_table_stats(count: int) -> str:
    size = max(4, 1 << (count - 1).bit_length())
    return (
        "Hash table 0 stats (main hash table):\n"
        f" table size: {size}\n number of elements: {count}\n"
    )


@_subcommand("structsize", max_argc=2)
def _structsize(ctx: Session, argv: list[bytes]) -> Reply:
    return b"bits:64 robj:16 dictentry:24 sdshdr5:1 sdshdr8:3 sdshdr16:5 sdshdr32:9 sdshdr64:17 "


@_subcommand("quicklist-packed-threshold", min_argc=3, max_argc=3, since=(7, 0))
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


@_subcommand("replybuffer", min_argc=4, max_argc=4, since=(7, 0))
def _replybuffer(ctx: Session, argv: list[bytes]) -> Reply:
    if argv[2].lower() == b"peak-reset-time":
        if argv[3].lower() not in (b"never", b"reset"):
            parse_integer(argv[3])
    elif argv[2].lower() != b"resizing":
        raise unknown_subcommand(ctx.server.version, argv)
    return OK


@_subcommand("script", min_argc=3, max_argc=3, since=(8, 0), flavours=("redis",))
def _script(ctx: Session, argv: list[bytes]) -> Reply:
    if argv[2].lower() == b"list":
        return OK
    if len(argv[2]) != 40:
        raise unknown_subcommand(ctx.server.version, argv)
    if _call_command(ctx, b"SCRIPT", b"EXISTS", argv[2]) != [1]:
        raise RedisError("NOSCRIPT No matching script. Please use EVAL.")
    return OK


@_subcommand("client-eviction", max_argc=2, since=(7, 0))
def _client_eviction(ctx: Session, argv: list[bytes]) -> Reply:
    raise RedisError("ERR maxmemory-clients is disabled.")


@_subcommand("config-rewrite-force-all", max_argc=2)
def _rewrite(ctx: Session, argv: list[bytes]) -> Reply:
    reason = ": Bad address" if not ctx.server.version.before(7) else ""
    raise RedisError(f"ERR CONFIG-REWRITE-FORCE-ALL failed{reason}")


@_subcommand("clusterlink", min_argc=5, max_argc=5, since=(7, 0))
def _clusterlink(ctx: Session, argv: list[bytes]) -> Reply:
    raise RedisError("ERR Debug option only available for cluster mode enabled setup!")


@_subcommand("internal_secret", max_argc=2, since=(8, 0), flavours=("redis",))
def _internal_secret(ctx: Session, argv: list[bytes]) -> Reply:
    raise RedisError("ERR Internal secret is missing")


@_subcommand("set-active-expire", min_argc=3, max_argc=3)
def _set_active_expire(ctx: Session, argv: list[bytes]) -> Reply:
    number = re.match(rb"\s*[+-]?\d+", argv[2])
    ctx.server.debug.active_expiry = number is not None and int(number[0]) != 0
    ctx.engine.refresh()
    return OK


@_subcommand("repl-pause", min_argc=3, max_argc=3, since=(8, 0), flavours=("redis",))
def _repl_pause(ctx: Session, argv: list[bytes]) -> Reply:
    if argv[2].lower() not in _REPL_PAUSE_POINTS:
        raise unknown_subcommand(ctx.server.version, argv)
    return OK


@_subcommand("mallctl", "mallctl-str", min_argc=3, max_argc=4, flavours=("redis",))
def _mallctl(ctx: Session, argv: list[bytes]) -> Reply:
    raise RedisError("ERR No such file or directory")


@_subcommand("aof-flush-sleep", "leak", "log", min_argc=3, max_argc=3)
@_subcommand("set-skip-checksum-validation", min_argc=3, max_argc=3)
@_subcommand("change-repl-id", max_argc=2)
@_subcommand("replicate", min_argc=4, since=(7, 0))
@_subcommand("drop-cluster-packet-filter", "pause-cron", min_argc=3, max_argc=3, since=(7, 0))
@_subcommand("set-disable-deny-scripts", min_argc=3, max_argc=3, since=(7, 0))
@_subcommand("dict-resizing", min_argc=3, max_argc=3, since=(7, 2))
@_subcommand("keysizes-hist-assert", min_argc=3, max_argc=3, since=(8, 2), flavours=("redis",))
@_subcommand("client-enforce-reply-list", min_argc=3, max_argc=3, flavours=("valkey",))
@_subcommand("close-cluster-link-on-packet-drop", min_argc=3, max_argc=3, flavours=("valkey",))
@_subcommand("disable-cluster-random-ping", min_argc=3, max_argc=3, flavours=("valkey",))
@_subcommand("disable-cluster-reconnection", min_argc=3, max_argc=3, flavours=("valkey",))
def _no_effect(ctx: Session, argv: list[bytes]) -> Reply:
    """Subcommands about parts of Redis that the emulator does not have: reply OK."""
    return OK


@_subcommand("assert", "oom", "panic", "segfault", max_argc=2)
def _crash(ctx: Session, argv: list[bytes]) -> Reply:
    ctx.engine.shutdown()
    return NO_REPLY
