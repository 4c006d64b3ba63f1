"""CRC-64 with the Jones polynomial, reflected, initial value 0: the checksum of a payload."""

from __future__ import annotations

_POLYNOMIAL = 0x95AC9329AC4BC9B5


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_TABLE = _table()


def crc64(data: bytes | bytearray) -> int:
    """The checksum of ``data``."""
    crc = 0
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc
