"""Arithmetic in the 80-bit ``long double`` of x86, which Redis uses on that platform.

INCRBYFLOAT, HINCRBYFLOAT and the timeouts of blocking commands need it.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Final

from redis_emulator.commands.helpers.arguments import NOT_A_FLOAT
from redis_emulator.resp.types import RedisError

_LONG_DOUBLE = re.compile(
    rb"([+-]?)(?:(inf(?:inity)?)|0[xX]([0-9a-f]*)\.?([0-9a-f]*)(?:p([+-]?[0-9]+))?"
    rb"|([0-9]*)\.?([0-9]*)(?:e([+-]?[0-9]+))?)",
    re.IGNORECASE,
).fullmatch
_MANTISSA_BITS: Final = 64
_MAX_EXPONENT: Final = 16384
_MAX_LENGTH: Final = 5119
_MAX_POWER: Final = 40_000
_SMALLEST: Final = Fraction(1, 1 << 16446)
_TOO_LARGE: Final = Fraction(1 << _MAX_EXPONENT)


def parse_long_double(raw: bytes, error: str = NOT_A_FLOAT) -> Fraction | None:
    """Parse a number as C's ``strtold`` and round it to 80 bits; None means infinity.

    Raises:
        RedisError: With the text ``error``: it is not a number, or too large or too small for 80
            bits.
    """
    match = _LONG_DOUBLE(raw)
    if match is None or len(raw) > _MAX_LENGTH:
        raise RedisError(error)
    sign, infinity, hex_whole, hex_part, binary, whole, part, decimal = match.groups()
    if infinity:
        return None
    if hex_whole is not None:
        digits, base, power = hex_whole + hex_part, 2, _parse_digits(binary) - 4 * len(hex_part)
        mantissa = int(digits or b"0", 16)
    else:
        digits, base, power = whole + part, 10, _parse_digits(decimal) - len(part)
        mantissa = _parse_digits(digits)
    if digits and not mantissa:
        return Fraction(0)
    if not digits or abs(power) > _MAX_POWER:
        raise RedisError(error)
    exact = Fraction(mantissa * base**power) if power >= 0 else Fraction(mantissa, base**-power)
    number = round_long_double(exact)
    if not _SMALLEST < number < _TOO_LARGE:
        raise RedisError(error)
    return -number if sign == b"-" else number


def _parse_digits(digits: bytes | None) -> int:
    """Like `int`, but without Python's limit of 4300 digits; 0 for None or no digits."""
    return int(Decimal(digits.decode())) if digits else 0


def add_long_doubles(one: Fraction | None, other: Fraction | None) -> bytes:
    """Add in 80 bits and format the sum with up to 17 decimals.

    Raises:
        RedisError: The sum is not a finite number.
    """
    if one is None or other is None:
        raise RedisError("ERR increment would produce NaN or Infinity")
    total = round_long_double(one + other)
    if abs(total) >= _TOO_LARGE:
        raise RedisError("ERR increment would produce NaN or Infinity")
    whole, part = divmod(
        _divide_to_nearest(abs(total.numerator) * 10**17, total.denominator), 10**17
    )
    text = f"{'-' if total < 0 else ''}{Decimal(whole)}.{part:017d}".rstrip("0").rstrip(".")
    return b"0" if text == "-0" else text.encode()


def round_long_double(number: Fraction) -> Fraction:
    """Round to the nearest number with a 64-bit mantissa."""
    numerator, denominator = abs(number.numerator), number.denominator
    if not numerator:
        return number
    shift = _MANTISSA_BITS - numerator.bit_length() + denominator.bit_length()
    if _shift_left(numerator, shift) // _shift_left(denominator, -shift) >> _MANTISSA_BITS:
        shift -= 1
    mantissa = _divide_to_nearest(_shift_left(numerator, shift), _shift_left(denominator, -shift))
    rounded = Fraction(_shift_left(mantissa, -shift), _shift_left(1, shift))
    return -rounded if number < 0 else rounded


def _shift_left(number: int, bits: int) -> int:
    """Shift to the left by ``bits``, if ``bits`` is positive."""
    return number << bits if bits > 0 else number


def _divide_to_nearest(numerator: int, denominator: int) -> int:
    """Divide and round to the nearest integer, ties to even."""
    quotient, rest = divmod(numerator, denominator)
    return quotient + (2 * rest > denominator or (2 * rest == denominator and quotient & 1))
