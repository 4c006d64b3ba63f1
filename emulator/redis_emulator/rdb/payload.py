"""The payload of DUMP and RESTORE: a value, then the RDB version (2 bytes) and the CRC-64 (8)."""

from __future__ import annotations

import struct
from typing import Any

from redis_emulator.rdb import codes
from redis_emulator.rdb.codes import VALKEY
from redis_emulator.rdb.crc64 import crc64
from redis_emulator.rdb.values import Read, read_value, write_value
from redis_emulator.rdb.wire import Reader, Writer
from redis_emulator.version import Version

_FOOTER = 10
_VALKEY_REFUSES = range(12, VALKEY)


class ChecksumError(ValueError):
    """The checksum of the payload is wrong, or this server cannot read its version."""


def rdb_version(version: Version) -> int:
    """The RDB version that a server writes."""
    if version.is_valkey(9):
        return VALKEY
    releases = (((7, 4, 0), 12), ((7, 2, 0), 11), ((7, 0, 0), 10))
    return next((rdb for since, rdb in releases if version.compatible >= since), 9)


def dump(out: Writer, kind: bytes, content: Any, encoding: bytes) -> bytes:
    """The payload of a value, written with ``out``, a new writer; see `write_value`."""
    write_value(out, kind, content, encoding)
    return seal(out)


def seal(out: Writer) -> bytes:
    """The bytes of the writer, followed by version and checksum."""
    out.data += struct.pack("<H", out.version)
    return bytes(out.data) + struct.pack("<Q", crc64(out.data))


def load(payload: bytes, version: int | None) -> Read:
    """The value in ``payload``, read by a server of RDB ``version``; None reads every version.

    Raises:
        ChecksumError: The version or checksum is wrong.
        ValueError: The value is invalid.
    """
    if len(payload) < _FOOTER:
        raise ChecksumError("the payload is too short")
    written, checksum = struct.unpack("<HQ", payload[-_FOOTER:])
    if checksum != crc64(payload[:-8]):
        raise ChecksumError("the checksum is wrong")
    if version is not None:
        foreign = version >= VALKEY and written in _VALKEY_REFUSES
        if written > version or foreign:
            raise ChecksumError(f"RDB version {written} is not read by version {version}")
        if payload[0] > _newest_type(version):
            raise ValueError(f"RDB version {version} has no value type {payload[0]}")
    return read_value(Reader(payload), written if version is None else version)


def _newest_type(version: int) -> int:
    """The highest type byte in this RDB version."""
    if version >= VALKEY:
        return codes.VALKEY_HASH_FIELDS
    if version >= codes.FIELD_DEADLINES:
        return codes.HASH_LISTPACK_FIELDS
    if version >= codes.SET_LISTPACKS:
        return codes.STREAM_3
    return codes.STREAM_2 if version >= codes.LISTPACKS else codes.STREAM
