"""DUMP and RESTORE: values as the bytes that travel between servers."""

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
_FORMS: Final = {b"hashtable": PLAIN, b"skiplist": PLAIN, b"intset": INTEGERS}


@command("dump")
def dump(ctx: Session, argv: list[bytes]) -> Reply:
    value = ctx.db.lookup(argv[1])
    if value is None:
        return None
    kind, form = type_name(value), encoding(ctx.server.version, ctx.db, argv[1], value)
    return payload.dump(writer(ctx.server), kind, _content(value), form)


def writer(server: Server) -> Writer:
    """What writes RDB as ``server`` is configured to."""
    return Writer(
        payload.rdb_version(server.version),
        compressing=server.config["rdbcompression"] == "yes",
        fill=server.config.numbers["list-max-listpack-size"],
    )


def write(out: Writer, version: Version, db: Database, key: bytes, value: Any) -> None:
    """Append a key and its value as they stand in a file: the type, the key, the data."""
    start = len(out.data)
    write_value(out, type_name(value), _content(value), encoding(version, db, key, value))
    data = bytes(out.data[start + 1 :])
    del out.data[start + 1 :]
    out.string(key)
    out.data += data


def _content(value: Any) -> Any:
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
    expires_at = None if ttl == 0 else ttl if options.absolute else _wrapped(now + ttl)
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
    """What follows the payload.

    Attributes:
        replace: Overwrite a key that is there.
        absolute: The TTL is a time since the epoch.
        idle: Seconds since the last use, None when not given.
        frequency: The LFU counter, None when not given.
    """

    __slots__ = ("absolute", "frequency", "idle", "replace")

    def __init__(self, argv: list[bytes]) -> None:
        self.replace = self.absolute = False
        self.idle: int | None = None
        self.frequency: int | None = None
        place = 4
        while place < len(argv):
            option = argv[place].upper()
            more = place + 1 < len(argv)
            if option == b"REPLACE":
                self.replace = True
            elif option == b"ABSTTL":
                self.absolute = True
            elif option == b"IDLETIME" and more and self.frequency is None:
                place += 1
                self.idle = parse_integer(argv[place])
                if self.idle < 0:
                    raise RedisError("ERR Invalid IDLETIME value, must be >= 0")
            elif option == b"FREQ" and more and self.idle is None:
                place += 1
                self.frequency = parse_integer(argv[place])
                if not 0 <= self.frequency <= 255:
                    raise RedisError(_BAD_FREQ)
            else:
                raise syntax_error()
            place += 1


def _wrapped(number: int) -> int:
    """What 64 bits keep of a sum: a time too far away has been long ago."""
    return (number - INT64_MIN) % (1 << 64) + INT64_MIN


def _load(ctx: Session, data: bytes) -> object:
    try:
        return build(ctx, payload.load(data, payload.rdb_version(ctx.server.version)))
    except payload.ChecksumError:
        raise RedisError("ERR DUMP payload version or checksum are wrong") from None
    except ValueError:
        raise RedisError("ERR Bad data format") from None


def build(ctx: Session, read: Read) -> object:
    """The value that was read from a payload, stored as this server's limits ask for.

    What comes in a compact form keeps it, however long its members are, unless they are too many.
    """
    builder = _BUILDERS.get(read.kind)
    return read.content if builder is None else builder(ctx, read.content, read.form)


def reloaded(ctx: Session, db: Database, key: bytes, value: object) -> object:
    """The value at ``key`` as it is after it was saved and loaded: in the form that fits it now."""
    form = _FORMS.get(encoding(ctx.server.version, db, key, value), PACKED)
    return build(ctx, Read(type_name(value), _content(value), form))


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
    small = form != PACKED and len(members) <= limits.intset
    value = Set(INTSET if small else HASHTABLE)
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
    longest = max(len(part) for field, content, _ in fields for part in (field, content))
    value.compact = len(fields) <= numbers["hash-max-listpack-entries"] and (
        form == PACKED or longest <= numbers["hash-max-listpack-value"]
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
