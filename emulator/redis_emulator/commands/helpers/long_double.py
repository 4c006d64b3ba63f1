"""Arithmetic with floating-point numbers of 80 bits: INCRBYFLOAT, HINCRBYFLOAT, timeouts."""

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
_LONGEST_NUMBER: Final = 5119
_MOST_POWER: Final = 40_000
_SMALLEST: Final = Fraction(1, 1 << 16446)
_TOO_LARGE: Final = Fraction(1 << _MAX_EXPONENT)


def parse_long_double(raw: bytes, error: str = NOT_A_FLOAT) -> Fraction | None:
    """A number as C's strtold reads it into 80 bits; None is an infinity.

    Raises:
        RedisError: ``error``, when it is not a number, or not 0 and too large or too small for 80
            bits.
    """
    match = _LONG_DOUBLE(raw)
    if match is None or len(raw) > _LONGEST_NUMBER:
        raise RedisError(error)
    sign, infinity, hex_whole, hex_part, binary, whole, part, decimal = match.groups()
    if infinity:
        return None
    if hex_whole is not None:
        digits, base, power = hex_whole + hex_part, 2, _integer(binary) - 4 * len(hex_part)
        mantissa = int(digits or b"0", 16)
    else:
        digits, base, power = whole + part, 10, _integer(decimal) - len(part)
        mantissa = _integer(digits)
    if digits and not mantissa:
        return Fraction(0)
    if not digits or abs(power) > _MOST_POWER:
        raise RedisError(error)
    exact = Fraction(mantissa * base**power) if power >= 0 else Fraction(mantissa, base**-power)
    number = round_long_double(exact)
    if not _SMALLEST < number < _TOO_LARGE:
        raise RedisError(error)
    return -number if sign == b"-" else number


def _integer(digits: bytes | None) -> int:
    """Like `int`, which minds more than 4300 digits; 0 for none."""
    return int(Decimal(digits.decode())) if digits else 0


def add_long_doubles(one: Fraction | None, other: Fraction | None) -> bytes:
    """The sum in 80 bits, printed with up to 17 decimals.

    Raises:
        RedisError: The sum is not a finite number.
    """
    if one is None or other is None:
        raise RedisError("ERR increment would produce NaN or Infinity")
    total = round_long_double(one + other)
    if abs(total) >= _TOO_LARGE:
        raise RedisError("ERR increment would produce NaN or Infinity")
    whole, part = divmod(_nearest(abs(total.numerator) * 10**17, total.denominator), 10**17)
    text = f"{'-' if total < 0 else ''}{Decimal(whole)}.{part:017d}".rstrip("0").rstrip(".")
    return b"0" if text == "-0" else text.encode()


def round_long_double(number: Fraction) -> Fraction:
    """The nearest number with a mantissa of 64 bits."""
    numerator, denominator = abs(number.numerator), number.denominator
    if not numerator:
        return number
    shift = _MANTISSA_BITS - numerator.bit_length() + denominator.bit_length()
    if _scaled(numerator, shift) // _scaled(denominator, -shift) >> _MANTISSA_BITS:
        shift -= 1
    mantissa = _nearest(_scaled(numerator, shift), _scaled(denominator, -shift))
    rounded = Fraction(_scaled(mantissa, -shift), _scaled(1, shift))
    return -rounded if number < 0 else rounded


def _scaled(number: int, bits: int) -> int:
    """Shifted to the left if that is where ``bits`` shift it."""
    return number << bits if bits > 0 else number


def _nearest(numerator: int, denominator: int) -> int:
    """The quotient rounded to an integer, a tie to the even one."""
    quotient, rest = divmod(numerator, denominator)
    return quotient + (2 * rest > denominator or (2 * rest == denominator and quotient & 1))
