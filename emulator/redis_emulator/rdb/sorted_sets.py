"""Sorted sets in RDB."""

from __future__ import annotations

import math
from collections.abc import Sequence

from redis_emulator.rdb import codes
from redis_emulator.rdb.packed import grouped, pack, pack_ziplist, unpack, unpack_ziplist
from redis_emulator.rdb.wire import Reader, Writer
from redis_emulator.resp.types import format_double

_MAX_INTEGER_SCORE = (1 << 62) - 1
_EXACT_INTEGER_LIMIT = 1 << 52


def write_sorted_set(out: Writer, pairs: Sequence[tuple[bytes, float]], encoding: bytes) -> None:
    """Append the type byte and the members with scores, lowest score first."""
    if encoding == b"skiplist":
        out.byte(codes.ZSET_2)
        out.length(len(pairs))
        for member, score in reversed(pairs):
            out.string(member)
            out.double(score)
        return
    parts = [
        part for member, score in pairs for part in (member, _format_score(score, out.version))
    ]
    if encoding == b"ziplist":
        out.byte(codes.ZSET_ZIPLIST)
        out.string(pack_ziplist(parts))
    else:
        out.byte(codes.ZSET_LISTPACK)
        out.string(pack(parts))


def _format_score(score: float, version: int) -> bytes:
    """A score as text: an integer if possible, else a double in the format of this release."""
    if math.isinf(score):
        return b"inf" if score > 0 else b"-inf"
    if version < codes.LISTPACKS:
        if score == int(score) and abs(score) < _EXACT_INTEGER_LIMIT:
            return b"-0" if math.copysign(1.0, score) < 0 and not score else b"%d" % score
        return b"%.17g" % score
    if score == int(score) and abs(score) <= _MAX_INTEGER_SCORE:
        return b"%d" % score
    return b"%.17g" % score if version < codes.SET_LISTPACKS else format_double(score)


def read_sorted_set(source: Reader, code: int) -> list[tuple[bytes, float]]:
    """The members of a sorted set with their scores, in any order.

    Raises:
        ValueError: The data is invalid.
    """
    if code in (codes.ZSET, codes.ZSET_2):
        read = source.double if code == codes.ZSET_2 else source.old_double
        pairs = [(source.string(), read()) for _ in range(source.length())]
    else:
        unpack_items = unpack if code == codes.ZSET_LISTPACK else unpack_ziplist
        pairs = [
            (member, float(score)) for member, score in grouped(unpack_items(source.string()), 2)
        ]
    if any(math.isnan(score) for _, score in pairs):
        raise ValueError("a score is not a number")
    return pairs
