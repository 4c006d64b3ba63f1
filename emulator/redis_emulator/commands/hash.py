"""The hash commands. TTLs of fields are in `hash_expiry`, HGETEX and HSETEX in `hash_extended`."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import (
    INT64_MAX,
    INT64_MIN,
    check_random_count,
    parse_integer,
    syntax_error,
    wrong_type,
)
from redis_emulator.commands.helpers.long_double import add_long_doubles, parse_long_double
from redis_emulator.commands.registry import command
from redis_emulator.commands.scan import parse_cursor, parse_options, scan_members
from redis_emulator.keyspace.events import GENERIC, HASH
from redis_emulator.resp.types import OK, Pairs, RedisError, Reply
from redis_emulator.values.hash import Hash

_NOT_AN_INTEGER: Final = "ERR hash value is not an integer"
_NOT_A_FLOAT: Final = "ERR hash value is not a float"
_COUNT_RANGE: Final = f"ERR value is out of range, value must between {-INT64_MAX} and {INT64_MAX}"


def lookup_hash(ctx: Session, key: bytes) -> Hash | None:
    """The hash at ``key`` for reading, or None if the key does not exist.

    Raises:
        RedisError: The key holds another type.
    """
    value = ctx.db.lookup(key)
    if value is None or type(value) is Hash:
        return value
    raise wrong_type()


def writable_hash(ctx: Session, key: bytes) -> Hash | None:
    """The hash at ``key`` for changing in place, or None if the key does not exist.

    Raises:
        RedisError: The key holds another type.
    """
    value = ctx.db.writable(key)
    if value is None or type(value) is Hash:
        return value
    raise wrong_type()


def _writable_or_new_hash(ctx: Session, key: bytes) -> Hash:
    """The hash at ``key`` for changing in place; created if the key does not exist."""
    value = writable_hash(ctx, key)
    if value is None:
        value = Hash()
        ctx.db.set(key, value)
    return value


@command("hget")
def hget(ctx: Session, argv: list[bytes]) -> Reply:
    value = ctx.db.lookup(argv[1])
    if value is None:
        return None
    if type(value) is not Hash:
        raise wrong_type()
    return value.get(argv[2])


@command("hset")
def hset(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) % 2:
        raise RedisError("ERR wrong number of arguments for 'hset' command")
    db = ctx.db
    key = argv[1]
    value = db.writable(key)
    if value is None:
        value = Hash()
        db.set(key, value)
    elif type(value) is not Hash:
        raise wrong_type()
    before = len(value)
    if value.deadlines:
        for field, content in zip(argv[2::2], argv[3::2], strict=True):
            value.replace(field, content)
        unschedule_if_no_ttls(ctx, key, value)
    elif len(argv) == 4:
        value[argv[2]] = argv[3]
    else:
        value.update(zip(argv[2::2], argv[3::2], strict=True))
    if value.compact:
        convert_if_too_large(ctx, value, argv, 2)
    db.changed(key, b"hset", HASH)
    return len(value) - before


def convert_if_too_large(ctx: Session, value: Hash, argv: list[bytes], index: int) -> None:
    """Convert a listpack to a hash table if it exceeds the limits (``hashTypeTryConversion``).

    The fields and values that were just set start at ``argv[index]``. Since Redis 7.2 the number of
    arguments counts, even if a field is given twice.
    """
    numbers = ctx.server.config.numbers
    max_length = numbers["hash-max-listpack-value"]
    max_entries = numbers["hash-max-listpack-entries"]
    if len(value) > max_entries:
        value.compact = False
    elif len(argv) > 2 * max_entries and (len(argv) - index) // 2 > max_entries:
        if not ctx.server.version.before(7, 2):
            value.compact = False
    for word in argv[index:]:
        if len(word) > max_length:
            value.compact = False


@command("hmset")
def hmset(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) % 2:
        raise RedisError("ERR wrong number of arguments for 'hmset' command")
    hset(ctx, argv)
    return OK


@command("hsetnx")
def hsetnx(ctx: Session, argv: list[bytes]) -> Reply:
    value = _writable_or_new_hash(ctx, argv[1])
    if argv[2] in value:
        if value.compact and ctx.server.version.before(7):
            convert_if_too_large(ctx, value, argv, 2)
        return 0
    value[argv[2]] = argv[3]
    if value.compact:
        convert_if_too_large(ctx, value, argv, 2)
    ctx.db.changed(argv[1], b"hset", HASH)
    return 1


@command("hmget")
def hmget(ctx: Session, argv: list[bytes]) -> Reply:
    value = lookup_hash(ctx, argv[1])
    if value is None:
        return [None] * (len(argv) - 2)
    return list(map(value.get, argv[2:]))


@command("hgetall")
def hgetall(ctx: Session, argv: list[bytes]) -> Reply:
    return dict(lookup_hash(ctx, argv[1]) or {})


@command("hkeys")
def hkeys(ctx: Session, argv: list[bytes]) -> Reply:
    return list(lookup_hash(ctx, argv[1]) or ())


@command("hvals")
def hvals(ctx: Session, argv: list[bytes]) -> Reply:
    value = lookup_hash(ctx, argv[1])
    return [] if value is None else list(value.values())


@command("hlen")
def hlen(ctx: Session, argv: list[bytes]) -> Reply:
    return len(lookup_hash(ctx, argv[1]) or ())


@command("hexists")
def hexists(ctx: Session, argv: list[bytes]) -> Reply:
    return 1 if argv[2] in (lookup_hash(ctx, argv[1]) or ()) else 0


@command("hstrlen")
def hstrlen(ctx: Session, argv: list[bytes]) -> Reply:
    value = lookup_hash(ctx, argv[1])
    return 0 if value is None else len(value.get(argv[2], b""))


@command("hdel")
def hdel(ctx: Session, argv: list[bytes]) -> Reply:
    db, key = ctx.db, argv[1]
    value = writable_hash(ctx, key)
    if value is None:
        return 0
    deleted = sum(map(value.discard, argv[2:]))
    if deleted:
        unschedule_if_no_ttls(ctx, key, value)
        db.changed(key, b"hdel", HASH)
        remove_if_empty(ctx, key, value)
    return deleted


def unschedule_if_no_ttls(ctx: Session, key: bytes, value: Hash) -> None:
    """Remove the hash from the expiry queue if none of its fields has a TTL."""
    if value.deadlines is not None and not value.deadlines:
        ctx.db.schedule_fields(key, None)


def remove_if_empty(ctx: Session, key: bytes, value: Hash) -> None:
    """Delete the key if the hash has no fields left."""
    if not value:
        ctx.db.remove(key)
        ctx.db.changed(key, b"del", GENERIC)


@command("hincrby")
def hincrby(ctx: Session, argv: list[bytes]) -> Reply:
    amount = parse_integer(argv[3])
    value = _writable_or_new_hash(ctx, argv[1])
    before = value.get(argv[2])
    total = amount if before is None else parse_integer(before, _NOT_AN_INTEGER) + amount
    if not INT64_MIN <= total <= INT64_MAX:
        raise RedisError("ERR increment or decrement would overflow")
    _set_number(ctx, argv[1], value, argv[2], b"%d" % total)
    ctx.db.changed(argv[1], b"hincrby", HASH)
    return total


@command("hincrbyfloat")
def hincrbyfloat(ctx: Session, argv: list[bytes]) -> Reply:
    amount = parse_long_double(argv[3])
    if amount is None and not ctx.server.version.before(7):
        raise RedisError("ERR value is NaN or Infinity")
    value = _writable_or_new_hash(ctx, argv[1])
    before = value.get(argv[2])
    base = Fraction(0) if before is None else parse_long_double(before, _NOT_A_FLOAT)
    text = add_long_doubles(base, amount)
    _set_number(ctx, argv[1], value, argv[2], text)
    ctx.db.changed(argv[1], b"hincrbyfloat", HASH)
    return text


def _set_number(ctx: Session, key: bytes, value: Hash, field: bytes, content: bytes) -> None:
    """Set a field to a number. Redis 6.2 does not check the length limits of a listpack here."""
    value[field] = content
    if value.compact:
        ignores_length = ctx.server.version.before(7)
        convert_if_too_large(ctx, value, [] if ignores_length else [field, content], 0)


@command("hrandfield")
def hrandfield(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) == 2:
        value = lookup_hash(ctx, argv[1])
        return ctx.server.random.choice(list(value)) if value else None
    count = parse_integer(argv[2])
    if count == INT64_MIN:
        raise RedisError(_COUNT_RANGE)
    if len(argv) > 4 or (len(argv) == 4 and argv[3].upper() != b"WITHVALUES"):
        raise syntax_error()
    with_values = len(argv) == 4
    if with_values and abs(count) > INT64_MAX // 2 and not ctx.server.version.before(7):
        raise RedisError("ERR value is out of range")
    value = lookup_hash(ctx, argv[1])
    if not value:
        return []
    if count < 0:
        check_random_count(-count)
        fields = ctx.server.random.choices(list(value), k=-count)
    elif count < len(value):
        fields = ctx.server.random.sample(list(value), count)
    else:
        fields = list(value)
    return Pairs((field, value[field]) for field in fields) if with_values else fields


@command("hscan")
def hscan(ctx: Session, argv: list[bytes]) -> Reply:
    cursor = parse_cursor(ctx, argv[2])
    value = lookup_hash(ctx, argv[1])
    if value is None:
        return [b"0", []]
    options = parse_options(ctx, argv, 3)
    next_cursor, fields = scan_members(
        ctx, argv[1], value, cursor, options, return_all=value.compact
    )
    found = fields
    if options.values:
        found = [word for field in fields for word in (field, value[field])]
    return [b"%d" % next_cursor, found]
