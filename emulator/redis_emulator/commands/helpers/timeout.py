"""The timeouts of blocking commands."""

from __future__ import annotations

import math
from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import INT64_MAX
from redis_emulator.commands.helpers.long_double import parse_long_double, round_long_double
from redis_emulator.resp.types import RedisError
from redis_emulator.version import Version

_NOT_A_NUMBER: Final = "ERR timeout is not a float or out of range"
_NEGATIVE: Final = "ERR timeout is negative"
_TOO_LONG: Final = "ERR timeout is out of range"


def parse_timeout(ctx: Session, raw: bytes) -> int | None:
    """Parse a timeout in seconds into a deadline, a Unix time in milliseconds.

    The result is None for 0, which blocks without a timeout. Fractions of a millisecond are rounded
    up, before Redis 7 down, so that there a timeout below one millisecond is 0.

    Raises:
        RedisError: It is not a number, negative or too long.
    """
    version = ctx.server.version
    amount = _parse_milliseconds(raw, version)
    if amount is None or amount > INT64_MAX:
        is_negative_error = raw[:1] == b"-" or version.before(7, 2)
        raise RedisError(_NEGATIVE if is_negative_error else _TOO_LONG)
    if amount < 0:
        raise RedisError(_NEGATIVE)
    if amount > INT64_MAX - ctx.db.context.now:
        if not version.before(7, 2):
            raise RedisError(_TOO_LONG)
        return None
    return ctx.db.context.now + amount if amount else None


def _parse_milliseconds(raw: bytes, version: Version) -> int | None:
    """Parse seconds into milliseconds, in 80-bit arithmetic as in Redis; None for infinity."""
    if raw.isdigit() and len(raw) < 10:
        return int(raw) * 1000
    seconds = parse_long_double(raw, _NOT_A_NUMBER)
    if seconds is None:
        return None
    exact = round_long_double(seconds * 1000)
    return math.ceil(exact) if not version.before(7) else math.trunc(exact)
