"""DUMP and RESTORE: values as the bytes that travel between servers."""

from __future__ import annotations

from typing import Any

from redis_emulator.commands.arguments import parse_integer, syntax_error
from redis_emulator.commands.generic import put
from redis_emulator.commands.object import encoding
from redis_emulator.commands.registry import command
from redis_emulator.frequency import Frequencies
from redis_emulator.keyspace import GENERIC
from redis_emulator.rdb import payload
from redis_emulator.rdb.wire import Writer
from redis_emulator.resp.types import OK, RedisError, Reply
from redis_emulator.session import Session
from redis_emulator.values.hash import Hash
from redis_emulator.values.kinds import type_name

_BAD_FREQ = "ERR Invalid FREQ value, must be >= 0 and <= 255"


@command("dump")
def dump(ctx: Session, argv: list[bytes]) -> Reply:
    value = ctx.db.lookup(argv[1])
    if value is None:
        return None
    server = ctx.server
    out = Writer(
        payload.rdb_version(server.version),
        compressing=server.config["rdbcompression"] == "yes",
        fill=server.config.numbers["list-max-listpack-size"],
    )
    return payload.dump(out, type_name(value), _content(value), encoding(ctx.db, argv[1], value))


def _content(value: object) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, Hash):
        deadlines = value.deadlines or {}
        return [(field, content, deadlines.get(field)) for field, content in value.items()]
    return value


@command("restore")
def restore(ctx: Session, argv: list[bytes]) -> Reply:
    db, key = ctx.db, argv[1]
    options = _Options(argv)
    if key in db.data and not options.replace:
        raise RedisError("BUSYKEY Target key name already exists.")
    ttl = parse_integer(argv[2])
    if ttl < 0:
        raise RedisError("ERR Invalid TTL value, must be >= 0")
    value = _load(ctx, argv[3])
    now = ctx.server.now
    expires_at = None if ttl == 0 else ttl if options.absolute else now + ttl
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


def _load(ctx: Session, data: bytes) -> object:
    try:
        kind, content = payload.load(data, payload.rdb_version(ctx.server.version))
        return _build(ctx, kind, content)
    except payload.ChecksumError:
        raise RedisError("ERR DUMP payload version or checksum are wrong") from None
    except ValueError:
        raise RedisError("ERR Bad data format") from None


def _build(ctx: Session, kind: bytes, content: Any) -> object:
    if kind == b"hash":
        return _build_hash(ctx, content)
    return content


def _build_hash(ctx: Session, fields: list[tuple[bytes, bytes, int | None]]) -> Hash:
    numbers = ctx.server.config.numbers
    value = Hash()
    for field, content, at in fields:
        value[field] = content
        if at is not None:
            if value.deadlines is None:
                value.deadlines = {}
            value.deadlines[field] = at
    longest = max(len(part) for field, content, _ in fields for part in (field, content))
    value.compact = (
        len(value) <= numbers["hash-max-listpack-entries"]
        and longest <= numbers["hash-max-listpack-value"]
    )
    return value
