"""Parsing of numeric arguments as Redis does, and the errors that many commands share."""

from __future__ import annotations

import math
import re
from typing import Final

from redis_emulator.resp.types import RedisError, quote
from redis_emulator.version import Version

NOT_AN_INTEGER: Final = "ERR value is not an integer or out of range"
NOT_A_FLOAT: Final = "ERR value is not a valid float"
SYNTAX_ERROR: Final = "ERR syntax error"
WRONG_TYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"
NO_SUCH_KEY: Final = "ERR no such key"

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1
_MAX_RANDOM_COUNT: Final = 1 << 24

_INTEGER: Final = re.compile(rb"-?[1-9][0-9]{0,18}|0").fullmatch
_NOT_ZERO: Final = re.compile(rb"[+-]?(?:0[xX][0.]*[1-9a-fA-F]|[0.]*[1-9])").match
_FLOAT: Final = re.compile(
    rb"[+-]?(?:[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?"
    rb"|0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?"
    rb"|[iI][nN][fF](?:[iI][nN][iI][tT][yY])?)"
).fullmatch


def wrong_type() -> RedisError:
    """The error for a key that holds another type than the command needs."""
    return RedisError(WRONG_TYPE)


def syntax_error() -> RedisError:
    """The error for an option that is unknown, not allowed, or without its argument."""
    return RedisError(SYNTAX_ERROR)


def unknown_subcommand(version: Version, argv: list[bytes]) -> RedisError:
    """The error for an unknown subcommand or a wrong number of arguments of a subcommand."""
    unknown = "unknown" if not version.before(7) else "Unknown"
    return RedisError(
        f"ERR {unknown} subcommand or wrong number of arguments for '{quote(argv[1][:128])}'. "
        f"Try {quote(argv[0]).upper()} HELP."
    )


def parse_integer(raw: bytes, error: str = NOT_AN_INTEGER) -> int:
    """Parse a signed 64-bit integer. Like Redis, reject a plus sign and leading zeros.

    Raises:
        RedisError: With the text ``error``: it is not such an integer.
    """
    if _INTEGER(raw):
        value = int(raw)
        if INT64_MIN <= value <= INT64_MAX:
            return value
    raise RedisError(error)


def check_random_count(count: int) -> None:
    """Check the count of a command that returns random elements with repetition.

    Redis has no such limit: it builds a large reply until it runs out of memory.

    Raises:
        RedisError: ``count`` is above 16,777,216.
    """
    if count > _MAX_RANDOM_COUNT:
        raise RedisError("ERR value is out of range")


def parse_range(raw: bytes, low: int, high: int, error: str = NOT_AN_INTEGER) -> int:
    """Parse an integer from ``low`` to ``high``.

    Raises:
        RedisError: With the text ``error``: it is not such an integer.
    """
    value = parse_integer(raw, error)
    if not low <= value <= high:
        raise RedisError(error)
    return value


def parse_float(raw: bytes, error: str = NOT_A_FLOAT) -> float:
    """Parse a double as C's ``strtod``, but reject surrounding whitespace and NaN.

    Raises:
        RedisError: With the text ``error``: it is not a number, or too large or too small for a
            double.
    """
    value = read_double(raw)
    if value is None:
        raise RedisError(error)
    if (math.isinf(value) and raw.lstrip(b"+-")[:1] not in b"iI") or (
        value == 0 and _NOT_ZERO(raw)
    ):
        raise RedisError(error)
    return value


def read_double(raw: bytes) -> float | None:
    """Like `parse_float`, but return None for an invalid number, infinity for overflow, and 0 for
    underflow.
    """
    if not _FLOAT(raw):
        return None
    try:
        if b"x" in raw or b"X" in raw:
            return float.fromhex(raw.decode())
        return float(raw)
    except OverflowError:
        return -math.inf if raw[:1] == b"-" else math.inf
