"""DUMP and RESTORE, and the conversion of values to RDB and back.

`redis_emulator.rdb` reads and writes the RDB format. The functions here choose the encoding that a
value gets in RDB, and build values that follow the server's encoding limits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.generic import put
from redis_emulator.commands.helpers.arguments import INT64_MIN, parse_integer, syntax_error
from redis_emulator.commands.object import encoding
from redis_emulator.commands.registry import command
from redis_emulator.commands.set import limits_of
from redis_emulator.keyspace.database import Database
from redis_emulator.keyspace.events import GENERIC
from redis_emulator.keyspace.frequency import Frequencies
from redis_emulator.rdb import payload
from redis_emulator.rdb.hashes import Field
from redis_emulator.rdb.lists import Node
from redis_emulator.rdb.values import INTSET as INTEGERS
from redis_emulator.rdb.values import PACKED, PLAIN, Read, write_value
from redis_emulator.rdb.wire import Writer
from redis_emulator.resp.types import OK, RedisError, Reply
from redis_emulator.server.server import Server
from redis_emulator.values.hash import Hash
from redis_emulator.values.kinds import type_name
from redis_emulator.values.list import List
from redis_emulator.values.set import HASHTABLE, INTSET, LISTPACK, Set
from redis_emulator.values.sorted_set import SortedSet
from redis_emulator.version import Version

_BAD_FREQ = "ERR Invalid FREQ value, must be >= 0 and <= 255"
_RDB_FORMS: Final = {b"hashtable": PLAIN, b"skiplist": PLAIN, b"intset": INTEGERS}


@command("dump")
def dump(ctx: Session, argv: list[bytes]) -> Reply:
    value = ctx.db.lookup(argv[1])
    if value is None:
        return None
    kind, form = type_name(value), encoding(ctx.server.version, ctx.db, argv[1], value)
    return payload.dump(rdb_writer(ctx.server), kind, _rdb_content(value), form)


def rdb_writer(server: Server) -> Writer:
    """An RDB writer with the RDB version and options of ``server``."""
    return Writer(
        payload.rdb_version(server.version),
        compressing=server.config["rdbcompression"] == "yes",
        fill=server.config.numbers["list-max-listpack-size"],
    )


def write_key(out: Writer, version: Version, db: Database, key: bytes, value: Any) -> None:
    """Append a key and its value as in an RDB file: value type, key, value."""
    start = len(out.data)
    write_value(out, type_name(value), _rdb_content(value), encoding(version, db, key, value))
    data = bytes(out.data[start + 1 :])
    del out.data[start + 1 :]
    out.string(key)
    out.data += data


def _rdb_content(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, List):
        return [node.items[0] if node.plain else node.items for node in value.nodes]
    if isinstance(value, Set):
        return value.members()
    if isinstance(value, SortedSet):
        return value.pairs()
    if isinstance(value, Hash):
        deadlines = value.deadlines or {}
        return [(field, content, deadlines.get(field)) for field, content in value.items()]
    return value


@command("restore", "restore-asking")
def restore(ctx: Session, argv: list[bytes]) -> Reply:
    db, key = ctx.db, argv[1]
    options = _Options(argv)
    if key in db.data and not options.replace:
        raise RedisError("BUSYKEY Target key name already exists.")
    ttl = parse_integer(argv[2])
    if ttl < 0:
        raise RedisError("ERR Invalid TTL value, must be >= 0")
    value = _load(ctx, argv[3])
    now = ctx.db.context.now
    expires_at = None if ttl == 0 else ttl if options.absolute else _wrap_int64(now + ttl)
    existed = db.remove(key)
    if expires_at is not None and expires_at <= now:
        if existed:
            db.changed(key, b"del", GENERIC)
        return OK
    put(db, key, value, expires_at)
    if isinstance(db.access, Frequencies):
        if options.frequency is not None:
            db.access.set_frequency(key, options.frequency, now)
    elif options.idle is not None:
        db.access[key] = now - options.idle * 1000
    db.changed(key, b"restore", GENERIC)
    return OK


class _Options:
    """The options of RESTORE.

    Attributes:
        replace: Overwrite an existing key.
        absolute: The TTL is a Unix time in milliseconds.
        idle: Seconds since the last access, None if not given.
        frequency: The LFU counter, None if not given.
    """

    __slots__ = ("absolute", "frequency", "idle", "replace")

    def __init__(self, argv: list[bytes]) -> None:
        self.replace = self.absolute = False
        self.idle: int | None = None
        self.frequency: int | None = None
        index = 4
        while index < len(argv):
            option = argv[index].upper()
            has_argument = index + 1 < len(argv)
            if option == b"REPLACE":
                self.replace = True
            elif option == b"ABSTTL":
                self.absolute = True
            elif option == b"IDLETIME" and has_argument and self.frequency is None:
                index += 1
                self.idle = parse_integer(argv[index])
                if self.idle < 0:
                    raise RedisError("ERR Invalid IDLETIME value, must be >= 0")
            elif option == b"FREQ" and has_argument and self.idle is None:
                index += 1
                self.frequency = parse_integer(argv[index])
                if not 0 <= self.frequency <= 255:
                    raise RedisError(_BAD_FREQ)
            else:
                raise syntax_error()
            index += 1


def _wrap_int64(number: int) -> int:
    """Wrap to a signed 64-bit integer. In Redis a TTL that overflows becomes a time in the past."""
    return (number - INT64_MIN) % (1 << 64) + INT64_MIN


def _load(ctx: Session, data: bytes) -> object:
    try:
        return build_value(ctx, payload.load(data, payload.rdb_version(ctx.server.version)))
    except payload.ChecksumError:
        raise RedisError("ERR DUMP payload version or checksum are wrong") from None
    except ValueError:
        raise RedisError("ERR Bad data format") from None


def build_value(ctx: Session, read: Read) -> object:
    """Build a value that was read from RDB, in the encoding that the server's limits require.

    As in Redis, a value that was stored as a listpack stays one, even with elements longer than the
    limit. It is converted only if it has too many elements.
    """
    builder = _BUILDERS.get(read.kind)
    return read.content if builder is None else builder(ctx, read.content, read.form)


def reload_value(ctx: Session, db: Database, key: bytes, value: object) -> object:
    """Return the value at ``key`` as it is after saving and loading: its encoding can change."""
    form = _RDB_FORMS.get(encoding(ctx.server.version, db, key, value), PACKED)
    return build_value(ctx, Read(type_name(value), _rdb_content(value), form))


def _build_list(ctx: Session, nodes: list[Node], form: bytes) -> List:
    fill = ctx.server.config.numbers["list-max-listpack-size"]
    if form == PLAIN and isinstance(nodes[0], list):
        return List.of(nodes[0], fill, ctx.server.debug.packed_threshold)
    return List.of_nodes(nodes, fill, ctx.server.debug.packed_threshold)


def _build_set(ctx: Session, members: list[bytes], form: bytes) -> Set:
    limits = limits_of(ctx)
    if form == PACKED and len(members) <= limits.listpack:
        value = Set(LISTPACK)
        value.add_all(members)
        return value
    fits_intset = form != PACKED and len(members) <= limits.intset
    value = Set(INTSET if fits_intset else HASHTABLE)
    for member in members:
        value.add(member, limits)
    return value


def _build_sorted_set(ctx: Session, pairs: list[tuple[bytes, float]], form: bytes) -> SortedSet:
    numbers = ctx.server.config.numbers
    value = SortedSet()
    value.scores = dict(pairs)
    value.compact = len(pairs) <= numbers["zset-max-listpack-entries"] and (
        form == PACKED or max(map(len, value.scores)) <= numbers["zset-max-listpack-value"]
    )
    if value.compact and form == PLAIN and not ctx.server.version.before(7):
        value.scores = {member: score or 0.0 for member, score in pairs}
    return value


def _build_hash(ctx: Session, fields: list[Field], form: bytes) -> Hash:
    numbers = ctx.server.config.numbers
    value = Hash()
    value.update((field, content) for field, content, _ in fields)
    value.deadlines = {field: at for field, _, at in fields if at is not None} or None
    max_length = max(len(part) for field, content, _ in fields for part in (field, content))
    value.compact = len(fields) <= numbers["hash-max-listpack-entries"] and (
        form == PACKED or max_length <= numbers["hash-max-listpack-value"]
    )
    if value.deadlines and ctx.server.version.is_valkey():
        value.compact = False
    return value


_BUILDERS: Final[dict[bytes, Callable[[Session, Any, bytes], object]]] = {
    b"list": _build_list,
    b"set": _build_set,
    b"zset": _build_sorted_set,
    b"hash": _build_hash,
}
