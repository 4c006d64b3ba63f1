"""The string commands.

A string is stored as `bytes`. APPEND, SETRANGE and SETBIT convert it to a `bytearray`, for which
OBJECT ENCODING replies ``raw``.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.expiry import expire_now, remove_ttl
from redis_emulator.commands.helpers.arguments import (
    INT64_MAX,
    INT64_MIN,
    parse_integer,
    syntax_error,
    wrong_type,
)
from redis_emulator.commands.helpers.long_double import add_long_doubles, parse_long_double
from redis_emulator.commands.object import is_integer
from redis_emulator.commands.registry import command
from redis_emulator.keyspace.events import GENERIC, STRING
from redis_emulator.resp.types import OK, RedisError, Reply
from redis_emulator.values.string import UnencodedInteger

_TOO_LONG: Final = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"


def lookup_string(ctx: Session, key: bytes) -> bytes | bytearray | None:
    """The string at ``key`` for reading, or None if the key does not exist.

    Raises:
        RedisError: The key holds another type.
    """
    value = ctx.db.lookup(key)
    if value is None or type(value) is bytes or isinstance(value, bytearray):
        return value
    raise wrong_type()


def _writable_string(ctx: Session, key: bytes) -> bytes | bytearray | None:
    value = ctx.db.writable(key)
    if value is None or type(value) is bytes or isinstance(value, bytearray):
        return value
    raise wrong_type()


@command("get")
def get(ctx: Session, argv: list[bytes]) -> Reply:
    value = ctx.db.lookup(argv[1])
    if value is None or type(value) is bytes:
        return value
    if isinstance(value, bytearray):
        return bytes(value)
    raise wrong_type()


def stored_string(ctx: Session, raw: bytes) -> bytes | bytearray:
    """Return a new value as it is stored. In scripts, Valkey does not encode digits as ``int``."""
    return UnencodedInteger(raw) if ctx.stores_digits_as_text and is_integer(raw) else raw


@dataclass
class _Options:
    """The options of SET and GETEX. The command parses ``time`` into ``at``, a Unix time in ms."""

    at: int | None = None
    time: tuple[bytes, bytes] | None = None
    condition: bytes = b""
    equal_to: bytes = b""
    get: bool = False
    keepttl: bool = False
    persist: bool = False


_UNITS: Final = {b"EX": 1000, b"PX": 1, b"EXAT": 1000, b"PXAT": 1}


def _parse_options(argv: list[bytes], index: int, allowed: frozenset[bytes]) -> _Options:
    options = _Options()
    time: tuple[bytes, bytes] | None = None
    while index < len(argv):
        word = argv[index].upper()
        if word not in allowed:
            raise syntax_error()
        if word in (b"NX", b"XX", b"IFEQ"):
            if options.condition not in (b"", word) or (word == b"IFEQ" and options.condition):
                raise syntax_error()
            options.condition = word
            if word == b"IFEQ":
                index += 1
                if index == len(argv):
                    raise syntax_error()
                options.equal_to = argv[index]
        elif word == b"GET":
            options.get = True
        else:
            if time is not None or options.keepttl or options.persist:
                is_repeated = (
                    (options.keepttl and word == b"KEEPTTL")
                    or (options.persist and word == b"PERSIST")
                    or (time is not None and time[0] == word)
                )
                if not is_repeated:
                    raise syntax_error()
            if word == b"KEEPTTL":
                options.keepttl = True
            elif word == b"PERSIST":
                options.persist = True
            elif index + 1 == len(argv):
                raise syntax_error()
            else:
                index += 1
                time = (word, argv[index])
        index += 1
    options.time = time
    return options


def _parse_time(ctx: Session, name: bytes, unit: bytes, raw: bytes) -> int:
    """Parse an expiry option such as ``EX 10`` into a Unix time in milliseconds."""
    amount = parse_integer(raw)
    at = amount * _UNITS[unit]
    if unit in (b"EX", b"PX"):
        at += ctx.db.context.now
    if amount <= 0 or at > INT64_MAX:
        command_name = name.decode().lower()
        if not ctx.server.version.before(7):
            command_name = f"'{command_name}' command"
        raise RedisError(f"ERR invalid expire time in {command_name}")
    return at


_SET_OPTIONS: Final = frozenset((b"NX", b"XX", b"GET", b"EX", b"PX", b"EXAT", b"PXAT", b"KEEPTTL"))
_GETEX_OPTIONS: Final = frozenset((b"EX", b"PX", b"EXAT", b"PXAT", b"PERSIST"))


@command("set")
def set_(ctx: Session, argv: list[bytes]) -> Reply:
    db, key = ctx.db, argv[1]
    if len(argv) == 3:
        db.set(key, stored_string(ctx, argv[2]) if ctx.stores_digits_as_text else argv[2])
        db.changed(key, b"set", STRING)
        return OK
    version = ctx.server.version
    valkey = version.is_valkey(8, 1)
    options = _parse_options(argv, 3, _SET_OPTIONS | {b"IFEQ"} if valkey else _SET_OPTIONS)
    if options.get and options.condition == b"NX" and version.before(7):
        raise syntax_error()
    if options.time is not None:
        options.at = _parse_time(ctx, argv[0], *options.time)
    before: bytes | bytearray | None = None
    if options.get:
        before = lookup_string(ctx, key)
    elif options.condition == b"IFEQ":
        before = _writable_string(ctx, key)
    old_value = None if before is None else bytes(before)
    if (
        (options.condition == b"NX" and key in db.data)
        or (options.condition == b"XX" and key not in db.data)
        or (options.condition == b"IFEQ" and before != options.equal_to)
    ):
        return old_value if options.get else None
    _store(ctx, key, argv[2], options)
    return old_value if options.get else OK


def _store(ctx: Session, key: bytes, value: bytes, options: _Options) -> None:
    """Store a string with its expiry time and publish the events."""
    db = ctx.db
    at = options.at
    already_expired = at is not None and at <= ctx.db.context.now
    if already_expired and ctx.server.version.is_valkey():
        if key in db.data:
            expire_now(ctx.server.version, db, key)
        return
    if options.keepttl:
        db.replace(key, stored_string(ctx, value))
    else:
        db.set(key, stored_string(ctx, value))
    if at is not None:
        db.set_expiry(key, at)
    db.changed(key, b"set", STRING)
    if at is not None:
        db.notify(key, b"expire", GENERIC)
    if already_expired:
        db.expire_due(key, ctx.db.context.now)


@command("setnx")
def setnx(ctx: Session, argv: list[bytes]) -> Reply:
    if argv[1] in ctx.db.data:
        return 0
    _store(ctx, argv[1], argv[2], _Options())
    return 1


@command("setex", "psetex")
def setex(ctx: Session, argv: list[bytes]) -> Reply:
    unit = b"EX" if argv[0].lower() == b"setex" else b"PX"
    _store(ctx, argv[1], argv[3], _Options(at=_parse_time(ctx, argv[0], unit, argv[2])))
    return OK


@command("getset")
def getset(ctx: Session, argv: list[bytes]) -> Reply:
    before = lookup_string(ctx, argv[1])
    _store(ctx, argv[1], argv[2], _Options())
    return None if before is None else bytes(before)


@command("getdel")
def getdel(ctx: Session, argv: list[bytes]) -> Reply:
    value = lookup_string(ctx, argv[1])
    if value is None:
        return None
    ctx.db.remove(argv[1])
    ctx.db.changed(argv[1], b"del", GENERIC)
    return bytes(value)


@command("delifeq")
def delifeq(ctx: Session, argv: list[bytes]) -> Reply:
    if _writable_string(ctx, argv[1]) != argv[2]:
        return 0
    ctx.db.remove(argv[1])
    ctx.db.changed(argv[1], b"del", GENERIC)
    return 1


@command("getex")
def getex(ctx: Session, argv: list[bytes]) -> Reply:
    options = _parse_options(argv, 2, _GETEX_OPTIONS)
    db, key = ctx.db, argv[1]
    valkey = ctx.server.version.is_valkey()
    if valkey and options.time is not None:
        options.at = _parse_time(ctx, argv[0], *options.time)
    value = lookup_string(ctx, key)
    if value is None:
        return None
    if not valkey and options.time is not None:
        options.at = _parse_time(ctx, argv[0], *options.time)
    if options.at is not None and options.at <= ctx.db.context.now:
        expire_now(ctx.server.version, db, key)
    elif options.at is not None:
        db.set_expiry(key, options.at)
        db.changed(key, b"expire", GENERIC)
    elif options.persist and key in db.expires:
        remove_ttl(ctx.server.version, db, key)
    return bytes(value)


@command("mget")
def mget(ctx: Session, argv: list[bytes]) -> Reply:
    lookup = ctx.db.lookup
    found: list[Reply] = []
    for key in argv[1:]:
        value = lookup(key)
        if isinstance(value, bytearray):
            value = bytes(value)
        found.append(value if type(value) is bytes else None)
    return found


@command("mset", "msetnx")
def mset(ctx: Session, argv: list[bytes]) -> Reply:
    name = argv[0].lower()
    if len(argv) % 2 == 0:
        modern = not ctx.server.version.before(7)
        name_in_error = f"'{name.decode()}' command" if modern else "MSET"
        raise RedisError(f"ERR wrong number of arguments for {name_in_error}")
    db = ctx.db
    if name == b"msetnx" and any(key in db.data for key in argv[1::2]):
        return 0
    for key, value in zip(argv[1::2], argv[2::2], strict=True):
        db.set(key, stored_string(ctx, value))
        db.changed(key, b"set", STRING)
    return OK if name == b"mset" else 1


@command("incr")
def incr(ctx: Session, argv: list[bytes]) -> Reply:
    return _increment(ctx, argv[1], 1)


@command("decr")
def decr(ctx: Session, argv: list[bytes]) -> Reply:
    return _increment(ctx, argv[1], -1)


@command("incrby")
def incrby(ctx: Session, argv: list[bytes]) -> Reply:
    return _increment(ctx, argv[1], parse_integer(argv[2]))


@command("decrby")
def decrby(ctx: Session, argv: list[bytes]) -> Reply:
    amount = parse_integer(argv[2])
    if amount == INT64_MIN:
        if not ctx.server.version.before(7):
            raise RedisError("ERR decrement would overflow")
        return _increment(ctx, argv[1], amount)
    return _increment(ctx, argv[1], -amount)


def _increment(ctx: Session, key: bytes, amount: int) -> int:
    db = ctx.db
    value = db.writable(key)
    if value is None:
        total = amount
        db.set(key, b"%d" % total)
    else:
        if type(value) is not bytes and not isinstance(value, bytearray):
            raise wrong_type()
        total = parse_integer(bytes(value)) + amount
        if not INT64_MIN <= total <= INT64_MAX:
            raise RedisError("ERR increment or decrement would overflow")
        db.replace(key, b"%d" % total)
    db.changed(key, b"incrby", STRING)
    return total


@command("incrbyfloat")
def incrbyfloat(ctx: Session, argv: list[bytes]) -> Reply:
    value = _writable_string(ctx, argv[1])
    base = Fraction(0) if value is None else parse_long_double(bytes(value))
    amount = parse_long_double(argv[2])
    text = add_long_doubles(base, amount)
    ctx.db.replace(argv[1], UnencodedInteger(text) if b"." not in text else text)
    ctx.db.changed(argv[1], b"incrbyfloat", STRING)
    return text


def _check_length(ctx: Session, length: int) -> None:
    if length > ctx.server.config.integer("proto-max-bulk-len"):
        raise RedisError(_TOO_LONG)


@command("append")
def append(ctx: Session, argv: list[bytes]) -> Reply:
    db, key, suffix = ctx.db, argv[1], argv[2]
    value = _writable_string(ctx, key)
    if value is None:
        db.set(key, stored_string(ctx, suffix))
        length = len(suffix)
    else:
        length = len(value) + len(suffix)
        _check_length(ctx, length)
        if type(value) is bytearray:
            value += suffix
        else:
            db.replace(key, bytearray(value) + suffix)
    db.changed(key, b"append", STRING)
    return length


@command("strlen")
def strlen(ctx: Session, argv: list[bytes]) -> Reply:
    value = lookup_string(ctx, argv[1])
    return 0 if value is None else len(value)


@command("setrange")
def setrange(ctx: Session, argv: list[bytes]) -> Reply:
    offset = parse_integer(argv[2])
    if offset < 0:
        raise RedisError("ERR offset is out of range")
    db, key, part = ctx.db, argv[1], argv[3]
    value = _writable_string(ctx, key)
    if not part:
        return 0 if value is None else len(value)
    _check_length(ctx, offset + len(part))
    if type(value) is not bytearray:
        value = bytearray(value or b"")
        db.replace(key, value)
    if len(value) < offset:
        value += bytes(offset - len(value))
    value[offset : offset + len(part)] = part
    db.changed(key, b"setrange", STRING)
    return len(value)


@command("getrange", "substr")
def getrange(ctx: Session, argv: list[bytes]) -> Reply:
    start, end = parse_integer(argv[2]), parse_integer(argv[3])
    value = lookup_string(ctx, argv[1])
    if value is None:
        return b""
    length = len(value)
    if start < 0 and end < 0 and start > end:
        return b""
    start = max(0, start + length) if start < 0 else start
    end = max(0, end + length) if end < 0 else end
    return bytes(value[start : end + 1])
