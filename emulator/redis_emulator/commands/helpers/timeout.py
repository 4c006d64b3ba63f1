"""How long a command that waits is willing to wait."""

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
    """The deadline, in milliseconds since the epoch, that a timeout in seconds means.

    None is for 0, which waits for ever. A part of a millisecond counts as a whole one; for servers
    before 7.0 it does not count, and less than one is 0.

    Raises:
        RedisError: It is not a number, or negative, or too long.
    """
    version = ctx.server.version
    amount = _milliseconds(raw, version)
    if amount is None or amount > INT64_MAX:
        down = raw[:1] == b"-" or version.before(7, 2)
        raise RedisError(_NEGATIVE if down else _TOO_LONG)
    if amount < 0:
        raise RedisError(_NEGATIVE)
    if amount > INT64_MAX - ctx.db.context.now:
        if not version.before(7, 2):
            raise RedisError(_TOO_LONG)
        return None
    return ctx.db.context.now + amount if amount else None


def _milliseconds(raw: bytes, version: Version) -> int | None:
    """A timeout computed in 80 bits as the servers do; None for an infinite one."""
    if raw.isdigit() and len(raw) < 10:
        return int(raw) * 1000
    seconds = parse_long_double(raw, _NOT_A_NUMBER)
    if seconds is None:
        return None
    exact = round_long_double(seconds * 1000)
    return math.ceil(exact) if not version.before(7) else math.trunc(exact)
