"""The commands that set, read and remove the TTL of keys.

Expiry times are stored as Unix times in milliseconds. An expiry time in the past deletes the key at
once. An expiry time that does not fit into 64 bits is an error.
"""

from __future__ import annotations

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import INT64_MAX, INT64_MIN, parse_integer
from redis_emulator.commands.object import keep_raw_encoding
from redis_emulator.commands.registry import command
from redis_emulator.keyspace.database import Database
from redis_emulator.keyspace.events import EXPIRED, GENERIC
from redis_emulator.resp.types import RedisError, Reply, quote
from redis_emulator.version import Version

_NX_INCOMPATIBLE = "ERR NX and XX, GT or LT options at the same time are not compatible"
_GT_LT_INCOMPATIBLE = "ERR GT and LT options at the same time are not compatible"


@command("expire")
def expire(ctx: Session, argv: list[bytes]) -> Reply:
    return _expire(ctx, argv, unit=1000, base=ctx.db.context.now)


@command("pexpire")
def pexpire(ctx: Session, argv: list[bytes]) -> Reply:
    return _expire(ctx, argv, unit=1, base=ctx.db.context.now)


@command("expireat")
def expireat(ctx: Session, argv: list[bytes]) -> Reply:
    return _expire(ctx, argv, unit=1000, base=0)


@command("pexpireat")
def pexpireat(ctx: Session, argv: list[bytes]) -> Reply:
    return _expire(ctx, argv, unit=1, base=0)


def _expire(ctx: Session, argv: list[bytes], unit: int, base: int) -> Reply:
    options = _parse_options(ctx, argv) if len(argv) > 3 else frozenset()
    at = _deadline(ctx, argv, unit, base)
    db, key = ctx.db, argv[1]
    if db.writable(key) is None or (
        options and not expire_allowed(options, db.expires.get(key), at)
    ):
        return 0
    if at > ctx.db.context.now:
        db.set_expiry(key, at)
        db.changed(key, b"expire", GENERIC)
    else:
        expire_now(ctx.server.version, db, key)
    return 1


def _deadline(ctx: Session, argv: list[bytes], unit: int, base: int) -> int:
    """The expiry time of the key. Redis 6.2 adds in 64 bits and rejects sums that change sign."""
    amount = parse_integer(argv[2])
    milliseconds = amount * unit
    at = milliseconds + base
    if not ctx.server.version.before(7):
        valid = INT64_MIN <= milliseconds <= INT64_MAX and at <= INT64_MAX
    else:
        milliseconds = _wrap_int64(milliseconds)
        at = _wrap_int64(milliseconds + base)
        valid = milliseconds <= 0 if amount < 0 else at >= 0
    if not valid:
        raise RedisError(_invalid_time(ctx, argv[0].decode().lower()))
    return at


def _wrap_int64(number: int) -> int:
    return (number - INT64_MIN) % (1 << 64) + INT64_MIN


def expire_now(version: Version, db: Database, key: bytes) -> None:
    """Delete ``key`` because its new expiry time is in the past."""
    db.remove(key)
    if version.is_valkey(9):
        db.changed(key, b"expired", EXPIRED)
    else:
        db.changed(key, b"del", GENERIC)


def _parse_options(ctx: Session, argv: list[bytes]) -> frozenset[bytes]:
    if ctx.server.version.before(7):
        name = argv[0].decode().lower()
        raise RedisError(f"ERR wrong number of arguments for '{name}' command")
    return parse_expire_options(argv[3:])


def parse_expire_options(words: list[bytes]) -> frozenset[bytes]:
    """Parse the options NX, XX, GT and LT into upper case.

    Raises:
        RedisError: An option is unknown, or two options are not compatible.
    """
    options = frozenset(word.upper() for word in words)
    for option in words:
        if option.upper() not in (b"NX", b"XX", b"GT", b"LT"):
            raise RedisError(f"ERR Unsupported option {quote(option)}")
    if b"NX" in options and len(options) > 1:
        raise RedisError(_NX_INCOMPATIBLE)
    if b"GT" in options and b"LT" in options:
        raise RedisError(_GT_LT_INCOMPATIBLE)
    return options


def expire_allowed(options: frozenset[bytes], current: int | None, at: int) -> bool:
    """Whether the options NX, XX, GT and LT allow to change the expiry time to ``at``.

    ``current`` is the expiry time so far, None for no TTL.
    """
    if current is None:
        return b"XX" not in options and b"GT" not in options
    return not (
        b"NX" in options
        or (b"GT" in options and at <= current)
        or (b"LT" in options and at >= current)
    )


def _invalid_time(ctx: Session, name: str) -> str:
    if ctx.server.version.before(7):
        return f"ERR invalid expire time in {name}"
    return f"ERR invalid expire time in '{name}' command"


@command("ttl")
def ttl(ctx: Session, argv: list[bytes]) -> Reply:
    ttl_ms = _time_left(ctx, argv[1])
    return ttl_ms if ttl_ms < 0 else (ttl_ms + 500) // 1000


@command("pttl")
def pttl(ctx: Session, argv: list[bytes]) -> Reply:
    return _time_left(ctx, argv[1])


@command("expiretime")
def expiretime(ctx: Session, argv: list[bytes]) -> Reply:
    at = _expires_at(ctx, argv[1])
    return at if at < 0 else (at + 500) // 1000


@command("pexpiretime")
def pexpiretime(ctx: Session, argv: list[bytes]) -> Reply:
    return _expires_at(ctx, argv[1])


def _expires_at(ctx: Session, key: bytes) -> int:
    if ctx.db.peek(key) is None:
        return -2
    return ctx.db.expires.get(key, -1)


def _time_left(ctx: Session, key: bytes) -> int:
    at = _expires_at(ctx, key)
    return at if at < 0 else at - ctx.db.context.now


@command("persist")
def persist(ctx: Session, argv: list[bytes]) -> Reply:
    db, key = ctx.db, argv[1]
    if db.writable(key) is None or key not in db.expires:
        return 0
    remove_ttl(ctx.server.version, db, key)
    return 1


def remove_ttl(version: Version, db: Database, key: bytes) -> None:
    """Remove the TTL of a key that has one."""
    value = db.data[key]
    if (same := keep_raw_encoding(version, db, key, value)) is not value:
        db.replace(key, same)
    db.set_expiry(key, None)
    db.changed(key, b"persist", GENERIC)
