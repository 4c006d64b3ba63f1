"""Hashes in RDB, with the expiry times of fields if the version has them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from redis_emulator.rdb import codes
from redis_emulator.rdb.packed import grouped, pack, pack_ziplist, unpack, unpack_ziplist
from redis_emulator.rdb.wire import Reader, Writer

Field = tuple[bytes, bytes, "int | None"]


def write_hash(out: Writer, fields: Sequence[Field], encoding: bytes) -> None:
    """Append the type byte and the fields of a hash with their values and expiry times."""
    if encoding == b"listpackex":
        ordered = sorted(fields, key=lambda each: math.inf if each[2] is None else each[2])
        out.byte(codes.HASH_LISTPACK_FIELDS)
        out.milliseconds(ordered[0][2] or 0)
        out.string(pack(part for field, value, at in ordered for part in (field, value, at or 0)))
    elif encoding == b"listpack":
        out.byte(codes.HASH_LISTPACK)
        out.string(pack(_flat(fields)))
    elif encoding == b"ziplist":
        out.byte(codes.HASH_ZIPLIST)
        out.string(pack_ziplist(_flat(fields)))
    elif all(at is None for _, _, at in fields):
        out.byte(codes.HASH)
        out.length(len(fields))
        for part in _flat(fields):
            out.string(part)
    elif out.version >= codes.VALKEY:
        _write_valkey(out, fields)
    else:
        _write_deadlines(out, fields)


def _flat(fields: Iterable[Field]) -> Iterable[bytes]:
    return (part for field, value, _ in fields for part in (field, value))


def _write_valkey(out: Writer, fields: Sequence[Field]) -> None:
    out.byte(codes.VALKEY_HASH_FIELDS)
    out.length(len(fields))
    for field, value, at in fields:
        out.string(field)
        out.string(value)
        out.milliseconds(-1 if at is None else at)


def _write_deadlines(out: Writer, fields: Sequence[Field]) -> None:
    first = min(at for _, _, at in fields if at is not None)
    out.byte(codes.HASH_FIELDS)
    out.milliseconds(first)
    out.length(len(fields))
    for field, value, at in fields:
        out.length(0 if at is None else at - first + 1)
        out.string(field)
        out.string(value)


def read_hash(source: Reader, code: int, version: int) -> list[Field]:
    """The fields of a hash with their values and expiry times.

    Raises:
        ValueError: The data is invalid.
    """
    if code == codes.VALKEY_HASH_FIELDS and version >= codes.VALKEY:
        return _read_valkey(source)
    if code in (codes.HASH_FIELDS, codes.HASH_FIELDS_PRE_GA):
        return _read_deadlines(source, code)
    if code in (codes.HASH_LISTPACK_FIELDS, codes.HASH_LISTPACK_FIELDS_PRE_GA):
        if code == codes.HASH_LISTPACK_FIELDS:
            source.milliseconds()
        triples = grouped(unpack(source.string()), 3)
        return [(field, value, int(at) or None) for field, value, at in triples]
    if code == codes.HASH:
        items = source.strings(2 * source.length())
    else:
        items = {
            codes.HASH_LISTPACK: unpack,
            codes.HASH_ZIPLIST: unpack_ziplist,
        }[code](source.string())
    return [(field, value, None) for field, value in grouped(items, 2)]


def _read_deadlines(source: Reader, code: int) -> list[Field]:
    first = source.milliseconds() if code == codes.HASH_FIELDS else 1
    fields: list[Field] = []
    for _ in range(source.length()):
        later = source.length()
        field, value = source.string(), source.string()
        fields.append((field, value, first + later - 1 if later else None))
    return fields


def _read_valkey(source: Reader) -> list[Field]:
    fields: list[Field] = []
    for _ in range(source.length()):
        field, value, at = source.string(), source.string(), source.milliseconds()
        fields.append((field, value, None if at == -1 else at))
    return fields
