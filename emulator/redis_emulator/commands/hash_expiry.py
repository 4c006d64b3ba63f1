"""When fields of a hash expire: setting, reading and dropping their time to live.

A field whose time has come already is deleted at once. Redis and Valkey have the same commands, but
not the same grammar of options, order of checks or events; Valkey keeps a hash with expiring fields
as a hash table, Redis in a listpack of its own kind.
"""

from __future__ import annotations

from typing import Final, NoReturn

from redis_emulator.clients.session import Session
from redis_emulator.commands.expiry import allowed, expire_conditions
from redis_emulator.commands.hash import (
    forget_deadline,
    lookup_hash,
    remove_if_empty,
    writable_hash,
)
from redis_emulator.commands.helpers.arguments import (
    INT64_MAX,
    parse_integer,
    parse_range,
    syntax_error,
)
from redis_emulator.commands.registry import command
from redis_emulator.keyspace.events import HASH
from redis_emulator.resp.types import RedisError, Reply
from redis_emulator.values.hash import Hash

_LATEST: Final = (1 << 46) - 1
_FIELDS_MISSING: Final = "ERR Mandatory argument FIELDS is missing or not at the right position"
_FIELD_COUNT: Final = "ERR Number of fields must be a positive integer"
_EXPIRE_FIELD_COUNT: Final = "ERR Parameter `numFields` should be greater than 0"
_WRONG_COUNT: Final = "ERR The `numfields` parameter must match the number of arguments"
_VALKEY_COUNT: Final = (
    "ERR numfields should be greater than 0 and match the provided number of fields"
)
_CONDITIONS: Final = frozenset((b"NX", b"XX", b"GT", b"LT"))
_UNITS: Final = {b"EX": 1000, b"PX": 1, b"EXAT": 1000, b"PXAT": 1}

NO_FIELD: Final = -2
NO_DEADLINE: Final = -1
REFUSED: Final = 0
DONE: Final = 1
DELETED: Final = 2


def is_valkey(ctx: Session) -> bool:
    """Whether Valkey's rules hold."""
    return ctx.server.version.is_valkey()


def field_time(ctx: Session, argv: list[bytes], unit: bytes, raw: bytes) -> int:
    """The absolute time in milliseconds that ``EX 10`` and the like mean.

    Raises:
        RedisError: It is no number, or negative, or too late.
    """
    amount = parse_integer(raw)
    valkey = is_valkey(ctx)
    if amount < 0 and not valkey:
        raise RedisError("ERR invalid expire time, must be >= 0")
    at = amount * _UNITS[unit]
    if unit in (b"EX", b"PX"):
        at += ctx.db.context.now
    if amount < 0 or at > (INT64_MAX if valkey else _LATEST):
        raise RedisError(f"ERR invalid expire time in '{argv[0].decode().lower()}' command")
    return at


def listed_fields(argv: list[bytes], place: int, error: str = _FIELD_COUNT) -> list[bytes]:
    """What follows FIELDS and a count, as Redis reads it.

    Raises:
        RedisError: FIELDS is not at ``place``, or the count is not that of the rest.
    """
    if argv[place].upper() != b"FIELDS":
        raise RedisError(_FIELDS_MISSING)
    if parse_range(argv[place + 1], 1, INT64_MAX, error) != len(argv) - place - 2:
        raise RedisError(_WRONG_COUNT)
    return argv[place + 2 :]


def _valkey_fields(argv: list[bytes], error: str = _VALKEY_COUNT) -> list[bytes]:
    """The same of a command that has FIELDS right after the key, as Valkey reads it."""
    if argv[2].upper() != b"FIELDS":
        raise syntax_error()
    count = parse_integer(argv[3])
    if count < 1 or count != len(argv) - 4:
        raise RedisError(error)
    return argv[4:]


def valkey_options(argv: list[bytes], start: int) -> tuple[list[bytes], list[bytes], int]:
    """Words before FIELDS, words behind its count, and the count, where Valkey searches for FIELDS.

    The search goes from ``start`` on; what it finds counts even in the place of the key.

    Raises:
        RedisError: There is no FIELDS that something follows.
    """
    for place in range(start, len(argv) - 1):
        if argv[place].upper() == b"FIELDS":
            return argv[start:place], argv[place + 2 :], place
    raise RedisError(_VALKEY_COUNT)


def wrong_field_count() -> NoReturn:
    """Valkey's count of fields is not the number of fields.

    Raises:
        RedisError: Always.
    """
    raise RedisError(_VALKEY_COUNT)


def fields_deleted(ctx: Session, key: bytes, value: Hash) -> None:
    """Say that fields were given a time in the past."""
    forget_deadline(ctx, key, value)
    ctx.db.changed(key, b"hexpired" if is_valkey(ctx) else b"hdel", HASH)


def expire_fields(ctx: Session, key: bytes, value: Hash, fields: list[bytes], at: int) -> None:
    """Have ``fields``, which exist, expire at ``at``, a time to come, and say so."""
    db = ctx.db
    if is_valkey(ctx):
        value.compact = False
    value.expire(fields, at)
    watched = db.hash_deadlines.get(key)
    if watched is None or at < watched:
        db.schedule_fields(key, at)
    db.changed(key, b"hexpire", HASH)


def prepare_for_expiry(ctx: Session, value: Hash) -> None:
    """In Redis the listpack changes its kind as soon as expiry is spoken of."""
    if value.deadlines is None and not is_valkey(ctx):
        value.deadlines = {}


@command("hexpire")
def hexpire(ctx: Session, argv: list[bytes]) -> Reply:
    return _hexpire(ctx, argv, b"EX")


@command("hpexpire")
def hpexpire(ctx: Session, argv: list[bytes]) -> Reply:
    return _hexpire(ctx, argv, b"PX")


@command("hexpireat")
def hexpireat(ctx: Session, argv: list[bytes]) -> Reply:
    return _hexpire(ctx, argv, b"EXAT")


@command("hpexpireat")
def hpexpireat(ctx: Session, argv: list[bytes]) -> Reply:
    return _hexpire(ctx, argv, b"PXAT")


def _hexpire(ctx: Session, argv: list[bytes], unit: bytes) -> Reply:
    key = argv[1]
    if is_valkey(ctx):
        words, fields, place = valkey_options(argv, 3)
        conditions = expire_conditions(words)
        if parse_integer(argv[place + 1]) != len(fields) or not fields:
            wrong_field_count()
        at = field_time(ctx, argv, unit, argv[2])
        value = writable_hash(ctx, key)
    else:
        value = writable_hash(ctx, key)
        at = field_time(ctx, argv, unit, argv[2])
        conditions = _CONDITIONS & {argv[3].upper()}
        fields = listed_fields(argv, 4 if conditions else 3, _EXPIRE_FIELD_COUNT)
    if value is None:
        return [NO_FIELD] * len(fields)
    prepare_for_expiry(ctx, value)
    return _apply(ctx, key, value, fields, conditions, at)


def _apply(
    ctx: Session,
    key: bytes,
    value: Hash,
    fields: list[bytes],
    conditions: frozenset[bytes],
    at: int,
) -> list[Reply]:
    past = at <= ctx.db.context.now
    deadlines = dict(value.deadlines or {}) if conditions else {}
    concerned = []
    results: list[Reply] = []
    for field in fields:
        if field not in value:
            results.append(NO_FIELD)
        elif conditions and not allowed(conditions, deadlines.get(field), at):
            results.append(REFUSED)
        else:
            results.append(DELETED if past else DONE)
            concerned.append(field)
            deadlines[field] = at
            if past:
                value.discard(field)
    if concerned and past:
        fields_deleted(ctx, key, value)
        remove_if_empty(ctx, key, value)
    elif concerned:
        expire_fields(ctx, key, value, concerned, at)
    return results


@command("hpersist")
def hpersist(ctx: Session, argv: list[bytes]) -> Reply:
    if is_valkey(ctx):
        fields = _valkey_fields(argv)
        value = writable_hash(ctx, argv[1])
    else:
        value = writable_hash(ctx, argv[1])
        fields = listed_fields(argv, 2)
    if value is None:
        return [NO_FIELD] * len(fields)
    results: list[Reply] = [
        NO_FIELD if field not in value else DONE if value.persist(field) else NO_DEADLINE
        for field in fields
    ]
    if DONE in results:
        fields_persisted(ctx, argv[1], value)
    return results


def fields_persisted(ctx: Session, key: bytes, value: Hash) -> None:
    """Say that fields do not expire any more."""
    forget_deadline(ctx, key, value)
    ctx.db.changed(key, b"hpersist", HASH)


@command("httl")
def httl(ctx: Session, argv: list[bytes]) -> Reply:
    now = ctx.db.context.now
    rest = 500 if is_valkey(ctx) else 999
    return [at if at < 0 else (at - now + rest) // 1000 for at in _deadlines(ctx, argv)]


@command("hpttl")
def hpttl(ctx: Session, argv: list[bytes]) -> Reply:
    now = ctx.db.context.now
    return [at if at < 0 else at - now for at in _deadlines(ctx, argv)]


@command("hexpiretime")
def hexpiretime(ctx: Session, argv: list[bytes]) -> Reply:
    rest = 500 if is_valkey(ctx) else 999
    return [at if at < 0 else (at + rest) // 1000 for at in _deadlines(ctx, argv)]


@command("hpexpiretime")
def hpexpiretime(ctx: Session, argv: list[bytes]) -> Reply:
    return _deadlines(ctx, argv)


def _deadlines(ctx: Session, argv: list[bytes]) -> list[int]:
    """When each field expires, or that it does not or is not there."""
    if is_valkey(ctx):
        fields = _valkey_fields(argv, "ERR syntax error")
        value = lookup_hash(ctx, argv[1])
    else:
        value = lookup_hash(ctx, argv[1])
        fields = listed_fields(argv, 2)
    if value is None:
        return [NO_FIELD] * len(fields)
    deadlines = value.deadlines or {}
    return [deadlines.get(field, NO_DEADLINE) if field in value else NO_FIELD for field in fields]


@command("hgetdel")
def hgetdel(ctx: Session, argv: list[bytes]) -> Reply:
    key = argv[1]
    if is_valkey(ctx):
        fields = _valkey_fields(argv)
        value = writable_hash(ctx, key)
    else:
        value = writable_hash(ctx, key)
        fields = listed_fields(argv, 2)
    if value is None:
        return [None] * len(fields)
    found = []
    for field in fields:
        found.append(value.get(field))
        value.discard(field)
    if any(content is not None for content in found):
        forget_deadline(ctx, key, value)
        ctx.db.changed(key, b"hdel", HASH)
        remove_if_empty(ctx, key, value)
    return found
