"""HyperLogLogs: strings that count distinct elements, byte for byte as in Redis.

A header of 16 bytes (``HYLL``, the encoding, three unused bytes, and the cached count with a flag
that says whether it is valid) is followed by 2**14 registers. Each register stores the longest run
of zero bits among the hashes that map to it.

* Dense: six bits a register, lowest bits first.
* Sparse: run lengths. ``00xxxxxx`` is up to 64 registers of zero, ``01xxxxxx yyyyyyyy`` up to 16384
  of them, ``1vvvvvxx`` up to four registers with a value of up to 32.

A client that reads the string sees how updates split and merge runs, so this is done in the same
order as in Redis. Code that needs all registers unpacks them to one byte each with the base64
functions, since base64 has six bits per character too (in reverse byte order).
"""

from __future__ import annotations

import binascii
import math
import re
import struct
from typing import Final

REGISTERS: Final = 1 << 14
HEADER: Final = 16
DENSE_SIZE: Final = HEADER + REGISTERS * 6 // 8

_INDEX_BITS: Final = 14
_HASH_BITS: Final = 64 - _INDEX_BITS
_DENSE, _SPARSE = 0, 1
_MAX_ZERO_RUN, _MAX_VALUE_RUN, _MAX_SPARSE_VALUE = 64, 4, 32
_STALE: Final = 0x80
_SEED: Final = 0xADC83B19
_MULTIPLIER: Final = 0xC6A4A7935BD1E995
_UINT64: Final = (1 << 64) - 1
_NOT_A_COUNT: Final = 1 << 63
_ALPHA: Final = 0.721347520444481703680

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_HIGH_BITS: Final = int.from_bytes(b"\x80" * REGISTERS, "little")
_LOW_BITS: Final = int.from_bytes(b"\x7f" * REGISTERS, "little")
_NOT_ZERO: Final = re.compile(rb"[^\0]").finditer
_FROM_BASE64: Final = bytes(
    _ALPHABET.index(byte) if byte in _ALPHABET else 0 for byte in range(256)
)
_TO_BASE64: Final = _ALPHABET + bytes(192)


class CorruptError(ValueError):
    """The runs of a sparse HyperLogLog do not cover all registers."""


def new() -> bytearray:
    """An empty HyperLogLog."""
    return bytearray(b"HYLL\x01" + bytes(11) + b"\x7f\xff")


def is_valid(data: bytes | bytearray) -> bool:
    """Whether a string has the header of a HyperLogLog and a matching length."""
    if len(data) < HEADER or data[:4] != b"HYLL":
        return False
    return data[4] == _SPARSE or (data[4] == _DENSE and len(data) == DENSE_SIZE)


def is_dense(data: bytes | bytearray) -> bool:
    """Whether the encoding is dense."""
    return data[4] == _DENSE


def cached_count(data: bytes | bytearray) -> int | None:
    """The count in the header, or None if it is out of date."""
    if data[15] & _STALE:
        return None
    return int.from_bytes(data[8:16], "little")


def cache_count(data: bytearray, count: int) -> None:
    """Write ``count`` into the header."""
    data[8:16] = count.to_bytes(8, "little")


def invalidate_cache(data: bytearray) -> None:
    """Mark the count in the header as out of date."""
    data[15] |= _STALE


def murmur(data: bytes, seed: int = _SEED) -> int:
    """MurmurHash64A as on a little-endian machine."""
    size = len(data)
    whole = size & ~7
    result = seed ^ (size * _MULTIPLIER & _UINT64)
    for (word,) in struct.iter_unpack("<Q", data[:whole]):
        word = word * _MULTIPLIER & _UINT64
        word = (word ^ word >> 47) * _MULTIPLIER & _UINT64
        result = (result ^ word) * _MULTIPLIER & _UINT64
    if size > whole:
        result = (result ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _UINT64
    result = (result ^ result >> 47) * _MULTIPLIER & _UINT64
    return result ^ result >> 47


def add(data: bytearray, element: bytes, sparse_max_bytes: int) -> bool:
    """Add ``element``. Returns whether a register changed.

    Args:
        data: The HyperLogLog.
        element: The element to add.
        sparse_max_bytes: Maximum size of a sparse HyperLogLog in bytes.

    Raises:
        CorruptError: No run covers the register.
    """
    hashed = murmur(element)
    rest = hashed >> _INDEX_BITS | 1 << _HASH_BITS
    return raise_register(
        data, hashed & REGISTERS - 1, (rest & -rest).bit_length(), sparse_max_bytes
    )


def raise_register(data: bytearray, index: int, value: int, sparse_max_bytes: int) -> bool:
    """Raise register ``index`` to ``value``. Returns whether it was lower. See `add`."""
    if data[4] == _DENSE:
        return _raise_dense(data, index, value)
    return _raise_sparse(data, index, value, sparse_max_bytes)


def _raise_dense(data: bytearray, index: int, value: int) -> bool:
    offset, shift = HEADER + index * 6 // 8, index * 6 % 8
    window = int.from_bytes(data[offset : offset + 2], "little")
    if window >> shift & 63 >= value:
        return False
    window = window & ~(63 << shift) | value << shift
    size = min(2, DENSE_SIZE - offset)
    data[offset : offset + size] = window.to_bytes(size, "little")
    return True


def _read_run(data: bytes | bytearray, offset: int) -> tuple[int, int, int]:
    """The run at ``offset``: number of registers, their value, size in bytes."""
    byte = data[offset]
    if byte & 0x80:
        return (byte & 3) + 1, (byte >> 2 & 31) + 1, 1
    if byte & 0x40:
        low = data[offset + 1] if offset + 1 < len(data) else 0
        return ((byte & 63) << 8 | low) + 1, 0, 2
    return byte + 1, 0, 1


def _zero_run(count: int) -> bytes:
    if count > _MAX_ZERO_RUN:
        return (count - 1 | 0x4000).to_bytes(2, "big")
    return bytes((count - 1,)) if count else b""


def _value_run(value: int, count: int) -> bytes:
    return bytes((0x80 | value - 1 << 2 | count - 1,)) if count else b""


def _raise_sparse(data: bytearray, index: int, value: int, sparse_max_bytes: int) -> bool:
    if value > _MAX_SPARSE_VALUE:
        return _promote(data, index, value)
    first, offset, before, end = 0, HEADER, HEADER, len(data)
    while offset < end:
        byte = data[offset]
        size = 1
        if byte & 0x80:
            span = (byte & 3) + 1
        elif byte < 0x40:
            span = byte + 1
        else:
            span = (byte - 0x40 << 8 | (data[offset + 1] if offset + 1 < end else 0)) + 1
            size = 2
        if index < first + span:
            break
        before = offset
        offset += size
        first += span
    else:
        raise CorruptError
    present = (byte >> 2 & 31) + 1 if byte & 0x80 else 0
    if present >= value:
        return False
    head, tail = index - first, first + span - 1 - index
    if present:
        runs = _value_run(present, head) + _value_run(value, 1) + _value_run(present, tail)
    else:
        runs = _zero_run(head) + _value_run(value, 1) + _zero_run(tail)
    if len(runs) > size and end + len(runs) - size > sparse_max_bytes:
        return _promote(data, index, value)
    data[offset : offset + size] = runs
    _merge_runs(data, before)
    invalidate_cache(data)
    return True


def _merge_runs(data: bytearray, offset: int) -> None:
    """Merge adjacent runs of equal value among the five runs from ``offset``."""
    for _ in range(5):
        if offset >= len(data):
            return
        byte = data[offset]
        if not byte & 0x80:
            offset += 2 if byte & 0x40 else 1
            continue
        if offset + 1 < len(data):
            following = data[offset + 1]
            total_length = (byte & 3) + (following & 3) + 2
            if byte & 0xFC == following & 0xFC and total_length <= _MAX_VALUE_RUN:
                data[offset : offset + 2] = bytes((byte & 0xFC | total_length - 1,))
                continue
        offset += 1


def _promote(data: bytearray, index: int, value: int) -> bool:
    make_dense(data)
    return _raise_dense(data, index, value)


def make_dense(data: bytearray, *, lenient: bool = False) -> None:
    """Turn a sparse HyperLogLog into a dense one; ``lenient`` as in `registers`.

    Raises:
        CorruptError: The runs do not make up all registers.
    """
    if data[4] != _DENSE:
        data[HEADER:] = pack(registers(data, lenient=lenient))
        data[4] = _DENSE


def registers(data: bytes | bytearray, *, lenient: bool = False) -> bytes:
    """All registers, one byte per register.

    Args:
        data: The HyperLogLog.
        lenient: Stop before a run that exceeds the registers, as Redis before 7.0 does.

    Raises:
        CorruptError: The runs of a sparse HyperLogLog do not cover all registers.
    """
    if data[4] == _DENSE:
        return binascii.b2a_base64(data[:15:-1], newline=False).translate(_FROM_BASE64)[::-1]
    parts: list[bytes] = []
    offset, end, total = HEADER, len(data), 0
    while offset < end:
        span, value, size = _read_run(data, offset)
        if lenient and value and total + span > REGISTERS:
            break
        parts.append(bytes((value,)) * span if value else bytes(span))
        total += span
        offset += size
        if total > REGISTERS:
            break
    if total != REGISTERS:
        raise CorruptError
    return b"".join(parts)


def pack(values: bytes) -> bytes:
    """Pack registers of one byte each into the dense encoding."""
    return binascii.a2b_base64(values[::-1].translate(_TO_BASE64))[::-1]


def merge(one: bytes, other: bytes) -> bytes:
    """The maximum of each pair of registers.

    Computed on all registers at once, as two big integers: a register leaves the highest bit of its
    byte free; after the subtraction that bit says whether the first was at least the second.
    """
    left, right = int.from_bytes(one, "little"), int.from_bytes(other, "little")
    greater = (left | _HIGH_BITS) - right & _HIGH_BITS
    mask = greater - (greater >> 7)
    return (left & mask | right & (mask ^ _LOW_BITS)).to_bytes(REGISTERS, "little")


def write_registers(data: bytearray, values: bytes, sparse_max_bytes: int) -> None:
    """Raise the registers of ``data`` to ``values``; none of them may be greater already."""
    for found in _NOT_ZERO(values):
        if data[4] == _DENSE:
            data[HEADER:] = pack(values)
            break
        index = found.start()
        _raise_sparse(data, index, values[index], sparse_max_bytes)
    invalidate_cache(data)


def estimate(values: bytes) -> int:
    """The estimated number of distinct elements (Ertl's improved estimator).

    Returns 2**63 for hand-made registers whose estimate is infinite.
    """
    size = float(REGISTERS)
    total = size * _tau((size - values.count(_HASH_BITS + 1)) / size)
    for value in range(_HASH_BITS, 0, -1):
        total = (total + values.count(value)) * 0.5
    total += size * _sigma(values.count(0) / size)
    if total == 0:
        return _NOT_A_COUNT
    exact = _ALPHA * size * size / total
    whole = math.floor(exact)
    return whole + (exact - whole >= 0.5)


def _sigma(x: float) -> float:
    if x == 1.0:
        return math.inf
    weight, total, last = 1.0, x, math.nan
    while last != total:
        x *= x
        last = total
        total += x * weight
        weight += weight
    return total


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    weight, total, last = 1.0, 1.0 - x, math.nan
    while last != total:
        x = math.sqrt(x)
        last = total
        weight *= 0.5
        total -= (1.0 - x) ** 2 * weight
    return total / 3.0


def describe(data: bytes | bytearray) -> str:
    """The runs of a sparse HyperLogLog as PFDEBUG DECODE prints them."""
    offset, words = HEADER, []
    while offset < len(data):
        span, value, size = _read_run(data, offset)
        words.append(f"v:{value},{span}" if value else f"{'Z' if size == 2 else 'z'}:{span}")
        offset += size
    return " ".join(words)
