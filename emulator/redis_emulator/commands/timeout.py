"""How long a command that waits is willing to wait."""

from __future__ import annotations

import math
from typing import Final

from redis_emulator.commands.arguments import INT64_MAX
from redis_emulator.commands.string import parse_long_double
from redis_emulator.resp.types import RedisError
from redis_emulator.session import Session

_NOT_A_NUMBER: Final = "ERR timeout is not a float or out of range"
_NEGATIVE: Final = "ERR timeout is negative"
_TOO_LONG: Final = "ERR timeout is out of range"


def parse_timeout(ctx: Session, raw: bytes) -> int | None:
    """The deadline, in milliseconds since the epoch, that a timeout in seconds means.

    None is for 0, which waits for ever. A part of a millisecond counts as a whole one.

    Raises:
        RedisError: It is not a number, or negative, or too long.
    """
    seconds = parse_long_double(raw, _NOT_A_NUMBER)
    modern = ctx.server.version.compatible >= (7, 2, 0)
    if seconds is None or (amount := math.ceil(seconds * 1000)) > INT64_MAX:
        down = raw[:1] == b"-" or not modern
        raise RedisError(_NEGATIVE if down else _TOO_LONG)
    if amount < 0:
        raise RedisError(_NEGATIVE)
    if modern and amount > INT64_MAX - ctx.server.now:
        raise RedisError(_TOO_LONG)
    return ctx.server.now + amount if amount else None
