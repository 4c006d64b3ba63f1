"""Doubles as text, the way servers print them.

Since 7.2 a server prints the digits that Grisu2 finds: nearly always the fewest that read back as
the same double, now and then one more. So `repr` does not do, and the algorithm stands here. See
Florian Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with Integers". Before 7.2
it was C's ``%.17g``.
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
    """A double for servers before 7.2, which print it with 17 digits."""

    __slots__ = ()


class Decimals17(float):
    """A coordinate of a place, printed with up to 17 decimals and never with an exponent."""

    __slots__ = ()


def format_double(value: float) -> bytes:
    """A double as the server prints it since 7.2; whole numbers up to 2**62 in full."""
    if math.isfinite(value):
        if -(2.0**62) <= value <= 2.0**62 and value == (whole := int(value)):
            return b"%d" % whole if whole or math.copysign(1.0, value) > 0 else b"-0"
        return _lay_out(value < 0, *_digits(abs(value)))
    if math.isnan(value):
        return b"nan"
    return b"inf" if value > 0 else b"-inf"


def format_double17(value: float) -> bytes:
    """A double as the server prints it before 7.2."""
    if math.isnan(value):
        return b"-nan" if math.copysign(1.0, value) < 0 else b"nan"
    return b"%.17g" % value


def format_decimals17(value: float) -> bytes:
    """A double with 17 decimals, without the zeros at the end."""
    text = (b"%.17f" % value).rstrip(b"0").rstrip(b".")
    return b"0" if text == b"-0" else text


def _lay_out(negative: bool, digits: str, scale: int) -> bytes:
    """``digits`` times ten to the ``scale``, in full or with an exponent, whichever is usual."""
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


def _digits(value: float) -> tuple[str, int]:
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
    return _generate(middle, high, low, -(top + power_exponent + 64), -decimal)


def _boundaries(fraction: int, exponent: int) -> tuple[int, int, int]:
    """What reads back as the double lies between these two 64-bit numbers, times 2**exponent."""
    high, high_exponent = (fraction << 1) + 1, exponent - 1
    shift = 64 - high.bit_length()
    high <<= shift
    high_exponent -= shift
    below = 2 if fraction == _HIDDEN else 1
    low = (fraction << below) - 1
    return high, low << (exponent - below - high_exponent), high_exponent


def _power(decimal: int) -> tuple[int, int]:
    """Ten to the ``decimal`` as a 64-bit number and its binary exponent, rounded."""
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
    """The power of ten that brings a number with this binary exponent near one."""
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


def _generate(middle: int, high: int, low: int, bits: int, scale: int) -> tuple[str, int]:
    """Digits of ``high``, until what is left lies between the boundaries."""
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
            return _nearest(digits, delta, left, unit << bits, distance), scale + kappa
    kappa, unit = 0, 1
    while True:
        rest, delta, unit = rest * 10, delta * 10, unit * 10
        kappa -= 1
        digit, rest = rest >> bits, rest & ((1 << bits) - 1)
        if digit or digits:
            digits.append(digit)
        if rest < delta:
            close = distance * unit & _WORD
            return _nearest(digits, delta, rest, 1 << bits, close), scale + kappa


def _nearest(digits: list[int], delta: int, left: int, unit: int, distance: int) -> str:
    """Lower the last digit while that comes nearer to the double itself."""
    while (
        left < distance
        and delta - left >= unit
        and (left + unit < distance or distance - left > left + unit - distance)
    ):
        digits[-1] -= 1
        left += unit
    return "".join(map(str, digits))
