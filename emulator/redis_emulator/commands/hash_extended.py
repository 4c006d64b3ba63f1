"""HGETEX and HSETEX: reading or setting fields together with their expiry.

Redis takes the options one by one in their places; Valkey first looks for FIELDS and reads what
stands before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.hash import (
    forget_deadline,
    limit_listpack,
    lookup_hash,
    remove_if_empty,
    writable_hash,
)
from redis_emulator.commands.hash_expiry import (
    expire_fields,
    field_time,
    fields_deleted,
    fields_persisted,
    is_valkey,
    listed_fields,
    prepare_for_expiry,
    valkey_options,
    wrong_field_count,
)
from redis_emulator.commands.helpers.arguments import parse_integer, parse_range, syntax_error
from redis_emulator.commands.registry import command
from redis_emulator.keyspace.events import HASH
from redis_emulator.resp.types import RedisError, Reply, quote
from redis_emulator.values.hash import Hash

_UNITS: Final = frozenset((b"EX", b"PX", b"EXAT", b"PXAT"))
_ONE_TIME: Final = "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"
_ONE_CONDITION: Final = "ERR Only one of FXX or FNX arguments can be specified"
_INT32_MAX: Final = (1 << 31) - 1


@dataclass(slots=True)
class _Options:
    """What is asked for.

    Attributes:
        at: When the fields are to expire, milliseconds since the epoch.
        time: Unit and number of a time not looked at yet.
        keep: KEEPTTL of HSETEX, PERSIST of HGETEX.
        of_fields: FNX or FXX.
        of_key: NX or XX, Valkey's.
        words: What follows the count of fields.
    """

    at: int | None = None
    time: tuple[bytes, bytes] | None = None
    keep: bool = False
    of_fields: bytes = b""
    of_key: bytes = b""
    words: list[bytes] | None = None


@command("hgetex")
def hgetex(ctx: Session, argv: list[bytes]) -> Reply:
    key = argv[1]
    if is_valkey(ctx):
        options = _valkey(argv, b"PERSIST", ())
        fields = options.words or []
        value = lookup_hash(ctx, key)
        if options.time is not None:
            options.at = field_time(ctx, argv, *options.time)
        if value is not None:
            ctx.db.writable(key)
    else:
        value = writable_hash(ctx, key)
        options, fields = _redis_hgetex(ctx, argv)
    if value is None:
        return [None] * len(fields)
    if options.at is not None or options.keep:
        prepare_for_expiry(ctx, value)
    if options.at is not None and options.at <= ctx.db.context.now:
        return _take(ctx, key, value, fields)
    found: list[Reply] = [value.get(field) for field in fields]
    if options.at is not None:
        present = [field for field in fields if field in value]
        if present:
            expire_fields(ctx, key, value, present, options.at)
    elif options.keep and sum(map(value.persist, fields)):
        fields_persisted(ctx, key, value)
    return found


def _take(ctx: Session, key: bytes, value: Hash, fields: list[bytes]) -> list[Reply]:
    """Read fields that expire with being read."""
    before = len(value)
    found: list[Reply] = []
    for field in fields:
        found.append(value.get(field))
        value.discard(field)
    if len(value) < before:
        fields_deleted(ctx, key, value)
        remove_if_empty(ctx, key, value)
    return found


def _redis_hgetex(ctx: Session, argv: list[bytes]) -> tuple[_Options, list[bytes]]:
    options = _Options()
    place = 2
    word = argv[2].upper()
    if word in _UNITS:
        options.at = field_time(ctx, argv, word, argv[3])
        place = 4
    elif word == b"PERSIST":
        options.keep = True
        place = 3
    if place + 1 >= len(argv):
        raise _wrong_arity("hgetex")
    return options, listed_fields(argv, place)


@command("hsetex")
def hsetex(ctx: Session, argv: list[bytes]) -> Reply:
    db, key = ctx.db, argv[1]
    if is_valkey(ctx):
        options = _valkey(argv, b"KEEPTTL", (b"FNX", b"FXX", b"NX", b"XX"))
        value = writable_hash(ctx, key)
        if options.of_key and (options.of_key == b"XX") != (value is not None):
            return 0
        if options.time is not None:
            options.at = field_time(ctx, argv, *options.time)
    else:
        options = _redis_hsetex(ctx, argv)
        value = writable_hash(ctx, key)
    words = options.words or []
    fields = words[::2]
    if not _met(options.of_fields, value, fields):
        return 0
    if value is None:
        value = Hash()
        db.set(key, value)
    if options.at is not None:
        prepare_for_expiry(ctx, value)
    put = value.__setitem__ if options.keep else value.replace
    for field, content in zip(fields, words[1::2], strict=True):
        put(field, content)
    passing = options.at is not None and options.at <= ctx.db.context.now and is_valkey(ctx)
    if value.compact and not passing:
        limit_listpack(ctx, value, words, 0)
    db.changed(key, b"hset", HASH)
    if options.at is not None:
        _expire_set(ctx, key, value, fields, options.at)
    else:
        forget_deadline(ctx, key, value)
    if not fields:  # Valkey's count of them has overflown
        remove_if_empty(ctx, key, value)
    return 1


def _expire_set(ctx: Session, key: bytes, value: Hash, fields: list[bytes], at: int) -> None:
    """Have fields that were just set expire, maybe at once."""
    if at > ctx.db.context.now:
        expire_fields(ctx, key, value, fields, at)
        return
    if is_valkey(ctx):
        ctx.db.changed(key, b"hexpire", HASH)
    for field in fields:
        value.discard(field)
    fields_deleted(ctx, key, value)
    remove_if_empty(ctx, key, value)


def _met(condition: bytes, value: Hash | None, fields: list[bytes]) -> bool:
    if not condition:
        return True
    if value is None:
        return condition == b"FNX"
    wanted = condition == b"FXX"
    return all((field in value) == wanted for field in fields)


def _redis_hsetex(ctx: Session, argv: list[bytes]) -> _Options:
    options = _Options()
    place = 2
    while place < len(argv):
        word = argv[place].upper()
        if word == b"FIELDS":
            options.words = _redis_pairs(argv, place)
            return options
        if word in _UNITS or word == b"KEEPTTL":
            if options.at is not None or options.keep:
                raise RedisError(_ONE_TIME)
            if word == b"KEEPTTL":
                options.keep = True
            elif place + 1 == len(argv):
                raise _wrong_arity("hsetex")
            else:
                place += 1
                options.at = field_time(ctx, argv, word, argv[place])
        elif word in (b"FNX", b"FXX"):
            if options.of_fields:
                raise RedisError(_ONE_CONDITION)
            options.of_fields = word
        else:
            raise RedisError(f"ERR unknown argument: {quote(argv[place])}")
        place += 1
    raise _wrong_arity("hsetex")


def _redis_pairs(argv: list[bytes], place: int) -> list[bytes]:
    if place + 3 >= len(argv):
        raise _wrong_arity("hsetex")
    count = parse_range(argv[place + 1], 1, _INT32_MAX, "ERR invalid number of fields")
    words = argv[place + 2 :]
    if len(words) != 2 * count:
        raise _wrong_arity("hsetex")
    return words


def _wrong_arity(name: str) -> RedisError:
    return RedisError(f"ERR wrong number of arguments for '{name}' command")


def _valkey(argv: list[bytes], keep: bytes, conditions: tuple[bytes, ...]) -> _Options:
    """Options the way Valkey reads them; a word may come twice."""
    words, rest, place = valkey_options(argv, 1)
    options = _Options(words=rest)
    at = 1 if words else 0
    while at < len(words):
        word = words[at].upper()
        if word in conditions:
            _valkey_condition(options, word)
        elif word == keep and options.time is None:
            options.keep = True
        elif word in _UNITS and not options.keep and at + 1 < len(words):
            if options.time is not None and options.time[0] != word:
                raise syntax_error()
            at += 1
            options.time = (word, words[at])
        else:
            raise syntax_error()
        at += 1
    width = 2 if conditions else 1
    count = parse_integer(argv[place + 1])
    product = count * width + (1 << 63) & (1 << 64) - 1  # 64 bits, like the server's
    if not count or product - (1 << 63) != len(rest):
        wrong_field_count()
    return options


def _valkey_condition(options: _Options, word: bytes) -> None:
    if word[:1] == b"F":
        if options.of_fields not in (b"", word):
            raise syntax_error()
        options.of_fields = word
    else:
        if options.of_key not in (b"", word):
            raise syntax_error()
        options.of_key = word
