"""Formatting of doubles as Redis does it.

Redis before 7.2 uses ``%.17g`` of C. Since 7.2 it uses the algorithm Grisu2 (``fpconv_dtoa.c``),
which nearly always gives the shortest digits that parse to the same double, but sometimes one digit
more. `repr` always gives the shortest digits, so Grisu2 is implemented here. See Florian Loitsch,
"Printing Floating-Point Numbers Quickly and Accurately with Integers".
"""

from __future__ import annotations

import math
import struct
from typing import Final

_WORD: Final = (1 << 64) - 1
_HIDDEN: Final = 1 << 52
_FIRST_POWER: Final = -348
_POWER_STEP: Final = 8


class Double17(float):
    """A double that is formatted with 17 digits, as Redis before 7.2 does."""

    __slots__ = ()


class Decimals17(float):
    """A coordinate of a GEO command, formatted with up to 17 decimals and without an exponent."""

    __slots__ = ()


def format_double(value: float) -> bytes:
    """Format a double as Redis since 7.2 does. Integers up to 2**62 have no exponent."""
    if math.isfinite(value):
        if -(2.0**62) <= value <= 2.0**62 and value == (whole := int(value)):
            return b"%d" % whole if whole or math.copysign(1.0, value) > 0 else b"-0"
        return _format_digits(value < 0, *_grisu2(abs(value)))
    if math.isnan(value):
        return b"nan"
    return b"inf" if value > 0 else b"-inf"


def format_double17(value: float) -> bytes:
    """Format a double as Redis before 7.2 does."""
    if math.isnan(value):
        return b"-nan" if math.copysign(1.0, value) < 0 else b"nan"
    return b"%.17g" % value


def format_decimals17(value: float) -> bytes:
    """Format a double with 17 decimals, without trailing zeros."""
    text = (b"%.17f" % value).rstrip(b"0").rstrip(b".")
    return b"0" if text == b"-0" else text


def _format_digits(negative: bool, digits: str, scale: int) -> bytes:
    """Format ``digits`` times ten to the ``scale``, with an exponent where Redis uses one."""
    sign = "-" if negative else ""
    count = len(digits)
    exponent = scale + count - 1
    if scale >= 0 and abs(exponent) < count + 7:
        return f"{sign}{digits}{'0' * scale}".encode()
    if scale < 0 and (scale > -7 or abs(exponent) < 4):
        point = count + scale
        if point <= 0:
            return f"{sign}0.{'0' * -point}{digits}".encode()
        return f"{sign}{digits[:point]}.{digits[point:]}".encode()
    digits = digits[: 18 - negative]
    fraction = f".{digits[1:]}" if count > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent)}".encode()


def _grisu2(value: float) -> tuple[str, int]:
    """The digits of a positive double and the power of ten they are multiplied by."""
    bits = struct.unpack("<Q", struct.pack("<d", value))[0]
    fraction, exponent = bits & (_HIDDEN - 1), bits >> 52
    if exponent:
        fraction += _HIDDEN
        exponent -= 1075
    else:
        exponent = -1074
    high, low, top = _boundaries(fraction, exponent)
    middle = fraction << (64 - fraction.bit_length())
    power, power_exponent, decimal = _cached_power(top)
    middle = (middle * power + (1 << 63)) >> 64
    high = ((high * power + (1 << 63)) >> 64) - 1
    low = ((low * power + (1 << 63)) >> 64) + 1
    return _generate_digits(middle, high, low, -(top + power_exponent + 64), -decimal)


def _boundaries(fraction: int, exponent: int) -> tuple[int, int, int]:
    """The boundaries of the decimal numbers that parse to this double.

    Returns:
        The upper and the lower boundary as 64-bit numbers, and their common binary exponent.
    """
    high, high_exponent = (fraction << 1) + 1, exponent - 1
    shift = 64 - high.bit_length()
    high <<= shift
    high_exponent -= shift
    below = 2 if fraction == _HIDDEN else 1
    low = (fraction << below) - 1
    return high, low << (exponent - below - high_exponent), high_exponent


def _power(decimal: int) -> tuple[int, int]:
    """Ten to the ``decimal`` as a rounded 64-bit number and its binary exponent."""
    if decimal >= 0:
        exact = 10**decimal
        shift = exact.bit_length() - 64
        if shift <= 0:
            return exact << -shift, shift
        rounded = (exact + (1 << (shift - 1))) >> shift
    else:
        divisor = 10**-decimal
        shift = -(divisor.bit_length() + 63)
        rounded = ((1 << (1 - shift)) // divisor + 1) >> 1
        if rounded <= _WORD >> 1:
            shift -= 1
            rounded = ((1 << (1 - shift)) // divisor + 1) >> 1
    if rounded > _WORD:
        return rounded >> 1, shift + 1
    return rounded, shift


_powers: Final = [_power(_FIRST_POWER + _POWER_STEP * index) for index in range(87)]


def _cached_power(exponent: int) -> tuple[int, int, int]:
    """The power of ten by which Grisu2 scales a number with this binary exponent."""
    approximate = int(-(exponent + 87) * 0.30102999566398114)
    index = (approximate - _FIRST_POWER) // _POWER_STEP
    while True:
        power, power_exponent = _powers[index]
        current = exponent + power_exponent + 64
        if current < -60:
            index += 1
        elif current > -32:
            index -= 1
        else:
            return power, power_exponent, _FIRST_POWER + index * _POWER_STEP


def _generate_digits(middle: int, high: int, low: int, bits: int, scale: int) -> tuple[str, int]:
    """Generate digits of ``high`` until the remainder is within the boundaries."""
    distance, delta = high - middle, high - low
    whole, rest = high >> bits, high & ((1 << bits) - 1)
    digits: list[int] = []
    for kappa in range(9, -1, -1):
        unit = 10**kappa
        digit, whole = divmod(whole, unit)
        if digit or digits:
            digits.append(digit)
        left = (whole << bits) + rest
        if left <= delta:
            return _round_last_digit(digits, delta, left, unit << bits, distance), scale + kappa
    kappa, unit = 0, 1
    while True:
        rest, delta, unit = rest * 10, delta * 10, unit * 10
        kappa -= 1
        digit, rest = rest >> bits, rest & ((1 << bits) - 1)
        if digit or digits:
            digits.append(digit)
        if rest < delta:
            close = distance * unit & _WORD
            return _round_last_digit(digits, delta, rest, 1 << bits, close), scale + kappa


def _round_last_digit(digits: list[int], delta: int, left: int, unit: int, distance: int) -> str:
    """Decrement the last digit while that brings the result closer to the double."""
    while (
        left < distance
        and delta - left >= unit
        and (left + unit < distance or distance - left > left + unit - distance)
    ):
        digits[-1] -= 1
        left += unit
    return "".join(map(str, digits))
