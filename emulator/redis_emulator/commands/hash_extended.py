"""HGETEX and HSETEX, which get or set fields together with their TTL.

Redis parses the options from left to right. Valkey first searches for FIELDS, then parses the
options before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.hash import (
    convert_if_too_large,
    lookup_hash,
    remove_if_empty,
    unschedule_if_no_ttls,
    writable_hash,
)
from redis_emulator.commands.hash_expiry import (
    convert_to_listpackex,
    is_valkey,
    notify_fields_deleted,
    notify_fields_persisted,
    parse_expire_time,
    parse_fields,
    raise_wrong_field_count,
    set_fields_expiry,
    split_valkey_options,
)
from redis_emulator.commands.helpers.arguments import parse_integer, parse_range, syntax_error
from redis_emulator.commands.registry import command
from redis_emulator.keyspace.events import HASH
from redis_emulator.resp.types import RedisError, Reply, quote
from redis_emulator.values.hash import Hash

_UNITS: Final = frozenset((b"EX", b"PX", b"EXAT", b"PXAT"))
_ONE_EXPIRE_OPTION: Final = (
    "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"
)
_ONE_CONDITION: Final = "ERR Only one of FXX or FNX arguments can be specified"
_INT32_MAX: Final = (1 << 31) - 1


@dataclass(slots=True)
class _Options:
    """The parsed options.

    Attributes:
        at: The new expiry time of the fields, a Unix time in milliseconds.
        time: Unit and amount of an expiry time that is not parsed yet.
        keepttl_or_persist: KEEPTTL (HSETEX) or PERSIST (HGETEX) was given.
        field_condition: FNX or FXX.
        key_condition: NX or XX (Valkey only).
        words: The arguments after the number of fields.
    """

    at: int | None = None
    time: tuple[bytes, bytes] | None = None
    keepttl_or_persist: bool = False
    field_condition: bytes = b""
    key_condition: bytes = b""
    words: list[bytes] | None = None


@command("hgetex")
def hgetex(ctx: Session, argv: list[bytes]) -> Reply:
    key = argv[1]
    if is_valkey(ctx):
        options = _parse_valkey(argv, b"PERSIST", ())
        fields = options.words or []
        value = lookup_hash(ctx, key)
        if options.time is not None:
            options.at = parse_expire_time(ctx, argv, *options.time)
        if value is not None:
            ctx.db.writable(key)
    else:
        value = writable_hash(ctx, key)
        options, fields = _parse_redis_hgetex(ctx, argv)
    if value is None:
        return [None] * len(fields)
    if options.at is not None or options.keepttl_or_persist:
        convert_to_listpackex(ctx, value)
    if options.at is not None and options.at <= ctx.db.context.now:
        return _get_and_delete(ctx, key, value, fields)
    found: list[Reply] = [value.get(field) for field in fields]
    if options.at is not None:
        present = [field for field in fields if field in value]
        if present:
            set_fields_expiry(ctx, key, value, present, options.at)
    elif options.keepttl_or_persist and sum(map(value.persist, fields)):
        notify_fields_persisted(ctx, key, value)
    return found


def _get_and_delete(ctx: Session, key: bytes, value: Hash, fields: list[bytes]) -> list[Reply]:
    """Return fields and delete them, because their new expiry time is in the past."""
    before = len(value)
    found: list[Reply] = []
    for field in fields:
        found.append(value.get(field))
        value.discard(field)
    if len(value) < before:
        notify_fields_deleted(ctx, key, value)
        remove_if_empty(ctx, key, value)
    return found


def _parse_redis_hgetex(ctx: Session, argv: list[bytes]) -> tuple[_Options, list[bytes]]:
    options = _Options()
    index = 2
    word = argv[2].upper()
    if word in _UNITS:
        options.at = parse_expire_time(ctx, argv, word, argv[3])
        index = 4
    elif word == b"PERSIST":
        options.keepttl_or_persist = True
        index = 3
    if index + 1 >= len(argv):
        raise _wrong_arity("hgetex")
    return options, parse_fields(argv, index)


@command("hsetex")
def hsetex(ctx: Session, argv: list[bytes]) -> Reply:
    db, key = ctx.db, argv[1]
    if is_valkey(ctx):
        options = _parse_valkey(argv, b"KEEPTTL", (b"FNX", b"FXX", b"NX", b"XX"))
        value = writable_hash(ctx, key)
        if options.key_condition and (options.key_condition == b"XX") != (value is not None):
            return 0
        if options.time is not None:
            options.at = parse_expire_time(ctx, argv, *options.time)
    else:
        options = _parse_redis_hsetex(ctx, argv)
        value = writable_hash(ctx, key)
    words = options.words or []
    fields = words[::2]
    if not _is_condition_met(options.field_condition, value, fields):
        return 0
    if value is None:
        value = Hash()
        db.set(key, value)
    if options.at is not None:
        convert_to_listpackex(ctx, value)
    set_field = value.__setitem__ if options.keepttl_or_persist else value.replace
    for field, content in zip(fields, words[1::2], strict=True):
        set_field(field, content)
    already_expired = options.at is not None and options.at <= ctx.db.context.now and is_valkey(ctx)
    if value.compact and not already_expired:
        convert_if_too_large(ctx, value, words, 0)
    db.changed(key, b"hset", HASH)
    if options.at is not None:
        _expire_new_fields(ctx, key, value, fields, options.at)
    else:
        unschedule_if_no_ttls(ctx, key, value)
    if not fields:  # possible in Valkey, where the number of fields can overflow
        remove_if_empty(ctx, key, value)
    return 1


def _expire_new_fields(ctx: Session, key: bytes, value: Hash, fields: list[bytes], at: int) -> None:
    """Set the expiry time of fields that were just set; delete them if it is in the past."""
    if at > ctx.db.context.now:
        set_fields_expiry(ctx, key, value, fields, at)
        return
    if is_valkey(ctx):
        ctx.db.changed(key, b"hexpire", HASH)
    for field in fields:
        value.discard(field)
    notify_fields_deleted(ctx, key, value)
    remove_if_empty(ctx, key, value)


def _is_condition_met(condition: bytes, value: Hash | None, fields: list[bytes]) -> bool:
    if not condition:
        return True
    if value is None:
        return condition == b"FNX"
    wanted = condition == b"FXX"
    return all((field in value) == wanted for field in fields)


def _parse_redis_hsetex(ctx: Session, argv: list[bytes]) -> _Options:
    options = _Options()
    index = 2
    while index < len(argv):
        word = argv[index].upper()
        if word == b"FIELDS":
            options.words = _parse_redis_pairs(argv, index)
            return options
        if word in _UNITS or word == b"KEEPTTL":
            if options.at is not None or options.keepttl_or_persist:
                raise RedisError(_ONE_EXPIRE_OPTION)
            if word == b"KEEPTTL":
                options.keepttl_or_persist = True
            elif index + 1 == len(argv):
                raise _wrong_arity("hsetex")
            else:
                index += 1
                options.at = parse_expire_time(ctx, argv, word, argv[index])
        elif word in (b"FNX", b"FXX"):
            if options.field_condition:
                raise RedisError(_ONE_CONDITION)
            options.field_condition = word
        else:
            raise RedisError(f"ERR unknown argument: {quote(argv[index])}")
        index += 1
    raise _wrong_arity("hsetex")


def _parse_redis_pairs(argv: list[bytes], index: int) -> list[bytes]:
    if index + 3 >= len(argv):
        raise _wrong_arity("hsetex")
    count = parse_range(argv[index + 1], 1, _INT32_MAX, "ERR invalid number of fields")
    words = argv[index + 2 :]
    if len(words) != 2 * count:
        raise _wrong_arity("hsetex")
    return words


def _wrong_arity(name: str) -> RedisError:
    return RedisError(f"ERR wrong number of arguments for '{name}' command")


def _parse_valkey(
    argv: list[bytes], keepttl_or_persist: bytes, conditions: tuple[bytes, ...]
) -> _Options:
    """Parse options as Valkey does. An option may be given twice."""
    words, rest, index = split_valkey_options(argv, 1)
    options = _Options(words=rest)
    at = 1 if words else 0
    while at < len(words):
        word = words[at].upper()
        if word in conditions:
            _set_valkey_condition(options, word)
        elif word == keepttl_or_persist and options.time is None:
            options.keepttl_or_persist = True
        elif word in _UNITS and not options.keepttl_or_persist and at + 1 < len(words):
            if options.time is not None and options.time[0] != word:
                raise syntax_error()
            at += 1
            options.time = (word, words[at])
        else:
            raise syntax_error()
        at += 1
    width = 2 if conditions else 1
    count = parse_integer(argv[index + 1])
    product = count * width + (1 << 63) & (1 << 64) - 1  # wraps at 64 bits, as in Valkey
    if not count or product - (1 << 63) != len(rest):
        raise_wrong_field_count()
    return options


def _set_valkey_condition(options: _Options, word: bytes) -> None:
    if word[:1] == b"F":
        if options.field_condition not in (b"", word):
            raise syntax_error()
        options.field_condition = word
    else:
        if options.key_condition not in (b"", word):
            raise syntax_error()
        options.key_condition = word
