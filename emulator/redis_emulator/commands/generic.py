"""The generic commands, which work on keys of any type: DEL, RENAME, COPY, FLUSHALL and others.

TTLs are in `expiry`, SCAN in `scan`, OBJECT in `object`, DUMP and RESTORE in `dump`.
"""

from __future__ import annotations

import copy as copying
from typing import Any, Final

from redis_emulator.clients.session import Session
from redis_emulator.cluster.node import node_of
from redis_emulator.commands.helpers.arguments import NO_SUCH_KEY, parse_integer, syntax_error
from redis_emulator.commands.object import keep_raw_encoding
from redis_emulator.commands.registry import command
from redis_emulator.glob import glob
from redis_emulator.keyspace.database import Database
from redis_emulator.keyspace.events import GENERIC
from redis_emulator.resp.types import OK, RedisError, Reply, SimpleString
from redis_emulator.values.hash import Hash
from redis_emulator.values.kinds import type_name

_NOT_INT32 = "ERR value is out of range, value must between -2147483648 and 2147483647"
_SAME_OBJECT = "ERR source and destination objects are the same"
_DB_OUT_OF_RANGE = "ERR DB index is out of range"
_LAZYFREE_THRESHOLD: Final = 64
_SINGLE_ALLOCATION: Final = (b"intset", b"listpack")


def put(db: Database, key: bytes, value: object, expires_at: int | None) -> None:
    """Replace ``key`` and its TTL by ``value``; ``expires_at`` is a Unix time in milliseconds."""
    db.remove(key)
    db.set(key, value)
    if expires_at is not None:
        db.set_expiry(key, expires_at)
    if type(value) is Hash and (deadline := value.next_deadline()) is not None:
        db.schedule_fields(key, deadline)


@command("unlink")
def unlink(ctx: Session, argv: list[bytes]) -> Reply:
    data, limits = ctx.db.data, ctx.server.config.numbers
    lazily_freed = sum(
        _free_effort(data[key], limits) > _LAZYFREE_THRESHOLD
        for key in dict.fromkeys(argv[1:])
        if key in data
    )
    if lazily_freed:
        ctx.server.stats.counters["lazyfreed_objects"] += lazily_freed
    return delete(ctx, argv)


def _free_effort(value: Any, limits: dict[str, int]) -> int:
    """Roughly the number of allocations of ``value`` (``lazyfreeGetFreeEffort``).

    Redis frees values with many allocations in a background thread.
    """
    kind = type_name(value)
    if kind == b"string" or (kind == b"hash" and value.compact):
        return 1
    if kind == b"list":
        return len(value.nodes)
    if kind == b"stream":
        pending = sum(1 + len(group.pending) for group in value.groups.values())
        return len(value) // (limits["stream-node-max-entries"] or len(value) or 1) + pending
    return 1 if kind != b"hash" and value.encoding in _SINGLE_ALLOCATION else len(value)


@command("del")
def delete(ctx: Session, argv: list[bytes]) -> Reply:
    db = ctx.db
    count = 0
    for key in argv[1:]:
        if db.remove(key):
            db.changed(key, b"del", GENERIC)
            count += 1
    return count


@command("exists")
def exists(ctx: Session, argv: list[bytes]) -> Reply:
    peek = ctx.db.peek
    return sum(peek(key) is not None for key in argv[1:])


@command("touch")
def touch(ctx: Session, argv: list[bytes]) -> Reply:
    lookup = ctx.db.lookup
    return sum(lookup(key) is not None for key in argv[1:])


@command("type")
def type_(ctx: Session, argv: list[bytes]) -> Reply:
    value = ctx.db.peek(argv[1])
    return SimpleString(b"none" if value is None else type_name(value))


@command("keys")
def keys(ctx: Session, argv: list[bytes]) -> Reply:
    if argv[1] == b"*":
        return list(ctx.db.data)
    return list(filter(glob(argv[1]), ctx.db.data))


@command("randomkey")
def randomkey(ctx: Session, argv: list[bytes]) -> Reply:
    if not ctx.db.data:
        return None
    random = ctx.server.random
    order = ctx.db.scan_order()
    _, bucket = order.peekitem(random.randrange(len(order)))
    return random.choice(list(bucket))


@command("rename")
def rename(ctx: Session, argv: list[bytes]) -> Reply:
    _rename(ctx, argv[1], argv[2], only_if_absent=False)
    return OK


@command("renamenx")
def renamenx(ctx: Session, argv: list[bytes]) -> Reply:
    return int(_rename(ctx, argv[1], argv[2], only_if_absent=True))


def _rename(ctx: Session, source: bytes, target: bytes, *, only_if_absent: bool) -> bool:
    db = ctx.db
    value = db.writable(source)
    if value is None:
        raise RedisError(NO_SUCH_KEY)
    if source == target or (only_if_absent and target in db.data):
        return not only_if_absent
    put(
        db, target, keep_raw_encoding(ctx.server.version, db, source, value), db.expires.get(source)
    )
    db.remove(source)
    db.changed(source, b"rename_from", GENERIC)
    db.changed(target, b"rename_to", GENERIC)
    return True


@command("copy")
def copy(ctx: Session, argv: list[bytes]) -> Reply:
    source, target = argv[1], argv[2]
    db, replace = ctx.db, False
    index = 3
    while index < len(argv):
        option = argv[index].upper()
        if option == b"REPLACE":
            replace = True
        elif option == b"DB" and index + 1 < len(argv):
            index += 1
            if _is_copy_forbidden(ctx, argv[index]):
                raise RedisError("ERR Copying to another database is not allowed in cluster mode")
            db = _parse_database(ctx, argv[index])
        else:
            raise syntax_error()
        index += 1
    if source == target and db is ctx.db:
        raise RedisError(_SAME_OBJECT)
    value = ctx.db.lookup(source)
    if value is None or (target in db.data and not replace):
        return 0
    value = keep_raw_encoding(ctx.server.version, ctx.db, source, copying.copy(value))
    put(db, target, value, ctx.db.expires.get(source))
    db.changed(target, b"copy_to", GENERIC)
    return 1


@command("move")
def move(ctx: Session, argv: list[bytes]) -> Reply:
    if node_of(ctx) is not None and ctx.server.version.is_redis():
        raise RedisError("ERR MOVE is not allowed in cluster mode")
    key = argv[1]
    source, target = ctx.db, _parse_database(ctx, argv[2])
    if source is target:
        raise RedisError(_SAME_OBJECT)
    value = source.writable(key)
    if value is None or key in target.data:
        return 0
    put(target, key, value, source.expires.get(key))
    source.remove(key)
    source.changed(key, b"move_from", GENERIC)
    target.changed(key, b"move_to", GENERIC)
    return 1


@command("swapdb")
def swapdb(ctx: Session, argv: list[bytes]) -> Reply:
    if node_of(ctx) is not None:
        raise RedisError("ERR SWAPDB is not allowed in cluster mode")
    first = _parse_int32(argv[1], "ERR invalid first DB index", "ERR invalid first DB index")
    second = _parse_int32(argv[2], "ERR invalid second DB index", "ERR invalid second DB index")
    databases = ctx.server.databases
    for index in (first, second):
        if not 0 <= index < len(databases):
            raise RedisError(_DB_OUT_OF_RANGE)
    if first != second:
        databases[first].exchange(databases[second])
    ctx.db.context.dirty += 1
    return OK


@command("flushdb")
def flushdb(ctx: Session, argv: list[bytes]) -> Reply:
    return _flush(ctx, argv, [ctx.db])


@command("flushall")
def flushall(ctx: Session, argv: list[bytes]) -> Reply:
    return _flush(ctx, argv, ctx.server.databases)


def _flush(ctx: Session, argv: list[bytes], databases: list[Database]) -> Reply:
    """Empty databases, and count keys that Redis would free in a background thread."""
    _check_flush_mode(argv)
    server = ctx.server
    count = sum(db.clear() for db in databases)
    server.keyspace.dirty += count
    lazy = server.config["lazyfree-lazy-user-flush"] == "yes"
    if len(argv) > 1:
        lazy = argv[1].upper() == b"ASYNC"
    waits = server.version.is_redis(7, 4)
    if lazy or (waits and ctx.can_block):
        server.stats.counters["lazyfreed_objects"] += count
    if ctx.clients.tracker is not None:
        ctx.clients.tracker.flushed(ctx, argv)
    return OK


def _check_flush_mode(argv: list[bytes]) -> None:
    if len(argv) > 2 or (len(argv) == 2 and argv[1].upper() not in (b"SYNC", b"ASYNC")):
        raise syntax_error()


@command("dbsize")
def dbsize(ctx: Session, argv: list[bytes]) -> Reply:
    return len(ctx.db.data)


def _is_copy_forbidden(ctx: Session, raw: bytes) -> bool:
    """Whether COPY to this database is an error because the server is a cluster node.

    This applies to Redis before 8, for databases other than 0.
    """
    version = ctx.server.version
    if node_of(ctx) is None or not version.is_redis() or version.is_redis(8):
        return False
    return 0 < _parse_int32(raw) < ctx.server.config.integer("databases")


def _parse_database(ctx: Session, raw: bytes) -> Database:
    index = _parse_int32(raw)
    databases = ctx.server.databases
    if not 0 <= index < len(databases):
        raise RedisError(_DB_OUT_OF_RANGE)
    return databases[index]


def _parse_int32(
    raw: bytes, not_an_integer: str | None = None, out_of_range: str = _NOT_INT32
) -> int:
    value = parse_integer(raw) if not_an_integer is None else parse_integer(raw, not_an_integer)
    if not -(1 << 31) <= value < 1 << 31:
        raise RedisError(out_of_range)
    return value
