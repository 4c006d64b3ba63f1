"""MSETEX, which Valkey 9.1 brought: several strings at once, on a condition, with one expiry."""

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
from redis_emulator.commands.string import kept_text
from redis_emulator.keyspace.events import GENERIC, STRING
from redis_emulator.resp.types import RedisError, Reply

_BAD_COUNT: Final = "ERR invalid numkeys value or out of range"
_UNITS: Final = {b"EX": 1000, b"PX": 1, b"EXAT": 1000, b"PXAT": 1}


@command("msetex")
def msetex(ctx: Session, argv: list[bytes]) -> Reply:
    end = 2 + 2 * parse_range(argv[1], 1, (1 << 31) - 1, _BAD_COUNT)
    if end > len(argv):
        raise syntax_error()
    condition, keep, at = _options(ctx, argv, end)
    db = ctx.db
    if condition is not None:
        there = [key in db.data for key in argv[2:end:2]]
        if not (all(there) if condition == b"XX" else not any(there)):
            return 0
    for key, value in zip(argv[2:end:2], argv[3:end:2], strict=True):
        text = kept_text(ctx, value)
        if keep:
            db.replace(key, text)
        else:
            db.set(key, text)
        if at is not None:
            db.set_expiry(key, at)
        db.changed(key, b"set", STRING)
        if at is not None:
            db.notify(key, b"expire", GENERIC)
    return 1


def _options(ctx: Session, argv: list[bytes], place: int) -> tuple[bytes | None, bool, int | None]:
    """NX or XX, whether TTLs stay, and when the keys expire (a time in the past is allowed)."""
    condition: bytes | None = None
    keep = False
    expiry: tuple[bytes, bytes] | None = None
    while place < len(argv):
        word = argv[place].upper()
        if word in (b"NX", b"XX") and condition in (None, word):
            condition = word
        elif word == b"KEEPTTL" and expiry is None:
            keep = True
        elif word in _UNITS and place + 1 < len(argv) and not keep and _fits(expiry, word):
            place += 1
            expiry = (word, argv[place])
        else:
            raise syntax_error()
        place += 1
    return condition, keep, None if expiry is None else _deadline(ctx, *expiry)


def _fits(expiry: tuple[bytes, bytes] | None, unit: bytes) -> bool:
    """Whether an expiry may be given: it may be repeated, but only in the same unit."""
    return expiry is None or expiry[0] == unit


def _deadline(ctx: Session, unit: bytes, raw: bytes) -> int:
    amount = parse_integer(raw)
    at = amount * _UNITS[unit] + (ctx.db.context.now if unit in (b"EX", b"PX") else 0)
    if amount <= 0 or at > INT64_MAX:
        raise RedisError("ERR invalid expire time in 'msetex' command")
    return at
