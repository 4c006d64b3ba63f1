"""Sets in RDB."""

from __future__ import annotations

from collections.abc import Collection

from redis_emulator.rdb import codes
from redis_emulator.rdb.packed import pack, pack_intset, unpack, unpack_intset
from redis_emulator.rdb.wire import Reader, Writer


def write_set(out: Writer, members: Collection[bytes], encoding: bytes) -> None:
    """Append the type byte and members of a set."""
    if encoding == b"intset":
        out.byte(codes.SET_INTSET)
        out.string(pack_intset(sorted(map(int, members))))
    elif encoding == b"listpack":
        out.byte(codes.SET_LISTPACK)
        out.string(pack(members))
    else:
        out.byte(codes.SET)
        out.length(len(members))
        for member in members:
            out.string(member)


def read_set(source: Reader, code: int) -> list[bytes]:
    """The members of a set.

    Raises:
        ValueError: The data is invalid.
    """
    if code == codes.SET:
        return source.strings(source.length())
    return unpack_intset(source.string()) if code == codes.SET_INTSET else unpack(source.string())
