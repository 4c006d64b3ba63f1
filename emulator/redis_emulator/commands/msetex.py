"""MSETEX of Valkey 9.1: set several strings, with an optional condition and one expiry time."""

from __future__ import annotations

from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import (
    INT64_MAX,
    parse_integer,
    parse_range,
    syntax_error,
)
from redis_emulator.commands.registry import command
from redis_emulator.commands.string import stored_string
from redis_emulator.keyspace.events import GENERIC, STRING
from redis_emulator.resp.types import RedisError, Reply

_BAD_COUNT: Final = "ERR invalid numkeys value or out of range"
_UNITS: Final = {b"EX": 1000, b"PX": 1, b"EXAT": 1000, b"PXAT": 1}


@command("msetex")
def msetex(ctx: Session, argv: list[bytes]) -> Reply:
    end = 2 + 2 * parse_range(argv[1], 1, (1 << 31) - 1, _BAD_COUNT)
    if end > len(argv):
        raise syntax_error()
    condition, keepttl, at = _parse_options(ctx, argv, end)
    db = ctx.db
    if condition is not None:
        exist = [key in db.data for key in argv[2:end:2]]
        if not (all(exist) if condition == b"XX" else not any(exist)):
            return 0
    for key, value in zip(argv[2:end:2], argv[3:end:2], strict=True):
        text = stored_string(ctx, value)
        if keepttl:
            db.replace(key, text)
        else:
            db.set(key, text)
        if at is not None:
            db.set_expiry(key, at)
        db.changed(key, b"set", STRING)
        if at is not None:
            db.notify(key, b"expire", GENERIC)
    return 1


def _parse_options(
    ctx: Session, argv: list[bytes], index: int
) -> tuple[bytes | None, bool, int | None]:
    """Parse the options: NX or XX, KEEPTTL, and the expiry time, which may be in the past."""
    condition: bytes | None = None
    keepttl = False
    expiry: tuple[bytes, bytes] | None = None
    while index < len(argv):
        word = argv[index].upper()
        if word in (b"NX", b"XX") and condition in (None, word):
            condition = word
        elif word == b"KEEPTTL" and expiry is None:
            keepttl = True
        elif (
            word in _UNITS
            and index + 1 < len(argv)
            and not keepttl
            and _is_unit_allowed(expiry, word)
        ):
            index += 1
            expiry = (word, argv[index])
        else:
            raise syntax_error()
        index += 1
    return condition, keepttl, None if expiry is None else _parse_deadline(ctx, *expiry)


def _is_unit_allowed(expiry: tuple[bytes, bytes] | None, unit: bytes) -> bool:
    """Whether ``unit`` is allowed: an expiry option can be repeated, but only in the same unit."""
    return expiry is None or expiry[0] == unit


def _parse_deadline(ctx: Session, unit: bytes, raw: bytes) -> int:
    amount = parse_integer(raw)
    at = amount * _UNITS[unit] + (ctx.db.context.now if unit in (b"EX", b"PX") else 0)
    if amount <= 0 or at > INT64_MAX:
        raise RedisError("ERR invalid expire time in 'msetex' command")
    return at
