"""The commands that set, read and remove the TTL of hash fields, and HGETDEL.

An expiry time in the past deletes the field at once. Redis and Valkey have the same commands, but
differ in the syntax of options, the order of checks and the events. Valkey stores a hash with field
TTLs as a hash table, Redis in the encoding ``listpackex``.
"""

from __future__ import annotations

from typing import Final, NoReturn

from redis_emulator.clients.session import Session
from redis_emulator.commands.expiry import expire_allowed, parse_expire_options
from redis_emulator.commands.hash import (
    lookup_hash,
    remove_if_empty,
    unschedule_if_no_ttls,
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

_EXPIRE_TIME_MAX: Final = (1 << 46) - 1
_FIELDS_MISSING: Final = "ERR Mandatory argument FIELDS is missing or not at the right position"
_FIELD_COUNT: Final = "ERR Number of fields must be a positive integer"
_EXPIRE_FIELD_COUNT: Final = "ERR Parameter `numFields` should be greater than 0"
_FIELD_COUNT_MISMATCH: Final = "ERR The `numfields` parameter must match the number of arguments"
_VALKEY_FIELD_COUNT: Final = (
    "ERR numfields should be greater than 0 and match the provided number of fields"
)
_CONDITIONS: Final = frozenset((b"NX", b"XX", b"GT", b"LT"))
_UNITS: Final = {b"EX": 1000, b"PX": 1, b"EXAT": 1000, b"PXAT": 1}

NO_FIELD: Final = -2
NO_DEADLINE: Final = -1
CONDITION_NOT_MET: Final = 0
DONE: Final = 1
DELETED: Final = 2


def is_valkey(ctx: Session) -> bool:
    """Whether the emulated server is Valkey."""
    return ctx.server.version.is_valkey()


def parse_expire_time(ctx: Session, argv: list[bytes], unit: bytes, raw: bytes) -> int:
    """Parse an expiry time such as ``EX 10`` into a Unix time in milliseconds.

    Raises:
        RedisError: It is not an integer, is negative, or exceeds the maximum.
    """
    amount = parse_integer(raw)
    valkey = is_valkey(ctx)
    if amount < 0 and not valkey:
        raise RedisError("ERR invalid expire time, must be >= 0")
    at = amount * _UNITS[unit]
    if unit in (b"EX", b"PX"):
        at += ctx.db.context.now
    if amount < 0 or at > (INT64_MAX if valkey else _EXPIRE_TIME_MAX):
        raise RedisError(f"ERR invalid expire time in '{argv[0].decode().lower()}' command")
    return at


def parse_fields(argv: list[bytes], index: int, error: str = _FIELD_COUNT) -> list[bytes]:
    """Parse ``FIELDS numfields field [field ...]`` at ``argv[index]``, as Redis does.

    Raises:
        RedisError: FIELDS is not at ``index``, or ``numfields`` is not the number of fields.
    """
    if argv[index].upper() != b"FIELDS":
        raise RedisError(_FIELDS_MISSING)
    if parse_range(argv[index + 1], 1, INT64_MAX, error) != len(argv) - index - 2:
        raise RedisError(_FIELD_COUNT_MISMATCH)
    return argv[index + 2 :]


def _parse_valkey_fields(argv: list[bytes], error: str = _VALKEY_FIELD_COUNT) -> list[bytes]:
    """Parse FIELDS right after the key, as Valkey does."""
    if argv[2].upper() != b"FIELDS":
        raise syntax_error()
    count = parse_integer(argv[3])
    if count < 1 or count != len(argv) - 4:
        raise RedisError(error)
    return argv[4:]


def split_valkey_options(argv: list[bytes], start: int) -> tuple[list[bytes], list[bytes], int]:
    """Split the arguments at FIELDS, as Valkey does.

    Valkey searches for FIELDS from ``start`` on, and accepts it even in the position of the key.

    Returns:
        The arguments before FIELDS, those after its count, and the index of FIELDS.

    Raises:
        RedisError: There is no FIELDS followed by another argument.
    """
    for index in range(start, len(argv) - 1):
        if argv[index].upper() == b"FIELDS":
            return argv[start:index], argv[index + 2 :], index
    raise RedisError(_VALKEY_FIELD_COUNT)


def raise_wrong_field_count() -> NoReturn:
    """Raise Valkey's error for a wrong number of fields.

    Raises:
        RedisError: Always.
    """
    raise RedisError(_VALKEY_FIELD_COUNT)


def notify_fields_deleted(ctx: Session, key: bytes, value: Hash) -> None:
    """Publish the event for fields that were deleted because their expiry time is in the past."""
    unschedule_if_no_ttls(ctx, key, value)
    ctx.db.changed(key, b"hexpired" if is_valkey(ctx) else b"hdel", HASH)


def set_fields_expiry(ctx: Session, key: bytes, value: Hash, fields: list[bytes], at: int) -> None:
    """Set the expiry time of existing fields to ``at``, a time in the future; publish the event."""
    db = ctx.db
    if is_valkey(ctx):
        value.compact = False
    value.expire(fields, at)
    scheduled = db.hash_deadlines.get(key)
    if scheduled is None or at < scheduled:
        db.schedule_fields(key, at)
    db.changed(key, b"hexpire", HASH)


def convert_to_listpackex(ctx: Session, value: Hash) -> None:
    """Convert a listpack to ``listpackex``, as Redis does before it checks any field."""
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
        words, fields, index = split_valkey_options(argv, 3)
        conditions = parse_expire_options(words)
        if parse_integer(argv[index + 1]) != len(fields) or not fields:
            raise_wrong_field_count()
        at = parse_expire_time(ctx, argv, unit, argv[2])
        value = writable_hash(ctx, key)
    else:
        value = writable_hash(ctx, key)
        at = parse_expire_time(ctx, argv, unit, argv[2])
        conditions = _CONDITIONS & {argv[3].upper()}
        fields = parse_fields(argv, 4 if conditions else 3, _EXPIRE_FIELD_COUNT)
    if value is None:
        return [NO_FIELD] * len(fields)
    convert_to_listpackex(ctx, value)
    return _set_or_delete(ctx, key, value, fields, conditions, at)


def _set_or_delete(
    ctx: Session,
    key: bytes,
    value: Hash,
    fields: list[bytes],
    conditions: frozenset[bytes],
    at: int,
) -> list[Reply]:
    past = at <= ctx.db.context.now
    deadlines = dict(value.deadlines or {}) if conditions else {}
    changed_fields = []
    results: list[Reply] = []
    for field in fields:
        if field not in value:
            results.append(NO_FIELD)
        elif conditions and not expire_allowed(conditions, deadlines.get(field), at):
            results.append(CONDITION_NOT_MET)
        else:
            results.append(DELETED if past else DONE)
            changed_fields.append(field)
            deadlines[field] = at
            if past:
                value.discard(field)
    if changed_fields and past:
        notify_fields_deleted(ctx, key, value)
        remove_if_empty(ctx, key, value)
    elif changed_fields:
        set_fields_expiry(ctx, key, value, changed_fields, at)
    return results


@command("hpersist")
def hpersist(ctx: Session, argv: list[bytes]) -> Reply:
    if is_valkey(ctx):
        fields = _parse_valkey_fields(argv)
        value = writable_hash(ctx, argv[1])
    else:
        value = writable_hash(ctx, argv[1])
        fields = parse_fields(argv, 2)
    if value is None:
        return [NO_FIELD] * len(fields)
    results: list[Reply] = [
        NO_FIELD if field not in value else DONE if value.persist(field) else NO_DEADLINE
        for field in fields
    ]
    if DONE in results:
        notify_fields_persisted(ctx, argv[1], value)
    return results


def notify_fields_persisted(ctx: Session, key: bytes, value: Hash) -> None:
    """Publish the event for fields whose TTL was removed."""
    unschedule_if_no_ttls(ctx, key, value)
    ctx.db.changed(key, b"hpersist", HASH)


@command("httl")
def httl(ctx: Session, argv: list[bytes]) -> Reply:
    now = ctx.db.context.now
    rounding = 500 if is_valkey(ctx) else 999
    return [at if at < 0 else (at - now + rounding) // 1000 for at in _deadlines(ctx, argv)]


@command("hpttl")
def hpttl(ctx: Session, argv: list[bytes]) -> Reply:
    now = ctx.db.context.now
    return [at if at < 0 else at - now for at in _deadlines(ctx, argv)]


@command("hexpiretime")
def hexpiretime(ctx: Session, argv: list[bytes]) -> Reply:
    rounding = 500 if is_valkey(ctx) else 999
    return [at if at < 0 else (at + rounding) // 1000 for at in _deadlines(ctx, argv)]


@command("hpexpiretime")
def hpexpiretime(ctx: Session, argv: list[bytes]) -> Reply:
    return _deadlines(ctx, argv)


def _deadlines(ctx: Session, argv: list[bytes]) -> list[int]:
    """The expiry time of each field, or ``NO_DEADLINE`` or ``NO_FIELD``."""
    if is_valkey(ctx):
        fields = _parse_valkey_fields(argv, "ERR syntax error")
        value = lookup_hash(ctx, argv[1])
    else:
        value = lookup_hash(ctx, argv[1])
        fields = parse_fields(argv, 2)
    if value is None:
        return [NO_FIELD] * len(fields)
    deadlines = value.deadlines or {}
    return [deadlines.get(field, NO_DEADLINE) if field in value else NO_FIELD for field in fields]


@command("hgetdel")
def hgetdel(ctx: Session, argv: list[bytes]) -> Reply:
    key = argv[1]
    if is_valkey(ctx):
        fields = _parse_valkey_fields(argv)
        value = writable_hash(ctx, key)
    else:
        value = writable_hash(ctx, key)
        fields = parse_fields(argv, 2)
    if value is None:
        return [None] * len(fields)
    found = []
    for field in fields:
        found.append(value.get(field))
        value.discard(field)
    if any(content is not None for content in found):
        unschedule_if_no_ttls(ctx, key, value)
        ctx.db.changed(key, b"hdel", HASH)
        remove_if_empty(ctx, key, value)
    return found
