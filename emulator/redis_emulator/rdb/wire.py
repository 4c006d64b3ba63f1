"""Lengths, strings and fixed-width numbers in RDB.

The two upper bits of the first byte of a length select its form: 6 bits, 14 bits, 32 or 64 bits
(``0x80``, ``0x81``), or a specially encoded string: an integer of 8, 16 or 32 bits, or LZF.
"""

from __future__ import annotations

import re
import struct

from redis_emulator.rdb.lzf import compress, decompress

_SHORT_INTEGER = re.compile(rb"-?[1-9][0-9]{0,10}|0").fullmatch
_COMPRESSIBLE = 20


class Writer:
    """Collects a payload.

    Args:
        version: The RDB version to write.
        compressing: Whether long strings are compressed (``rdbcompression``).
        fill: Maximum size of list nodes (``list-max-listpack-size``).
    """

    def __init__(self, version: int, *, compressing: bool = True, fill: int = -2) -> None:
        self.data = bytearray()
        self.version = version
        self.fill = fill
        self._compressing = compressing

    def byte(self, value: int) -> None:
        """One byte."""
        self.data.append(value)

    def length(self, value: int) -> None:
        """A length, or another number from 0 to 2**64-1."""
        if value < 1 << 6:
            self.data.append(value)
        elif value < 1 << 14:
            self.data += struct.pack(">H", 0x4000 | value)
        elif value < 1 << 32:
            self.data += struct.pack(">BI", 0x80, value)
        else:
            self.data += struct.pack(">BQ", 0x81, value)

    def string(self, value: bytes) -> None:
        """A string, encoded as an integer or compressed if that is shorter."""
        if len(value) <= 11 and _SHORT_INTEGER(value):
            number = int(value)
            for code, form, bits in ((0xC0, "<Bb", 8), (0xC1, "<Bh", 16), (0xC2, "<Bi", 32)):
                if -(1 << bits - 1) <= number < 1 << bits - 1:
                    self.data += struct.pack(form, code, number)
                    return
        if self._compressing and len(value) > _COMPRESSIBLE:
            packed = compress(value, len(value) - 4)
            if packed is not None:
                self.byte(0xC3)
                self.length(len(packed))
                self.length(len(value))
                self.data += packed
                return
        self.plain(value)

    def plain(self, value: bytes) -> None:
        """A string without encoding it as an integer or compressing it."""
        self.length(len(value))
        self.data += value

    def milliseconds(self, value: int) -> None:
        """A time, eight bytes."""
        self.data += struct.pack("<q", value)

    def double(self, value: float) -> None:
        """A score, eight bytes."""
        self.data += struct.pack("<d", value)


class Reader:
    """Reads a payload. Every method raises `ValueError` if the data ends or is invalid."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def at_end(self) -> bool:
        """Whether everything has been read."""
        return self._position == len(self._data)

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        chunk = self._data[self._position : self._position + count]
        if len(chunk) != count:
            raise ValueError("unexpected end of the data")
        self._position += count
        return chunk

    def length(self) -> int:
        """A length."""
        value, special = self._length()
        if special:
            raise ValueError("expected a length, found an encoded string")
        return value

    def _length(self) -> tuple[int, bool]:
        first = self.take(1)[0]
        kind, low = first >> 6, first & 0x3F
        if kind == 0:
            return low, False
        if kind == 1:
            return low << 8 | self.take(1)[0], False
        if kind == 3:
            return low, True
        if first == 0x80:
            return int.from_bytes(self.take(4), "big"), False
        if first == 0x81:
            return int.from_bytes(self.take(8), "big"), False
        raise ValueError(f"unknown length {first:#x}")

    def string(self) -> bytes:
        """A string in any form."""
        value, special = self._length()
        if not special:
            return self.take(value)
        if value < 3:
            return b"%d" % int.from_bytes(self.take(1 << value), "little", signed=True)
        if value == 3:
            packed, size = self.length(), self.length()
            return decompress(self.take(packed), size)
        raise ValueError(f"unknown string form {value}")

    def strings(self, count: int) -> list[bytes]:
        """The next ``count`` strings."""
        return [self.string() for _ in range(count)]

    def milliseconds(self) -> int:
        """A time, eight bytes."""
        return int.from_bytes(self.take(8), "little", signed=True)

    def double(self) -> float:
        """A score, eight bytes."""
        value: float = struct.unpack("<d", self.take(8))[0]
        return value

    def old_double(self) -> float:
        """A score as text after one byte with its length; 253 to 255 mean nan, inf and -inf."""
        size = self.take(1)[0]
        if size >= 253:
            return {253: float("nan"), 254: float("inf"), 255: float("-inf")}[size]
        return float(self.take(size))
