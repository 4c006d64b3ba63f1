"""Values in RDB: the type byte and the data.

A value is its type (the reply of TYPE) and its content as plain Python objects: bytes for a string,
the nodes of a list, a list of members, a list of members with scores, a list of fields with values
and expiry times. Only a stream is passed as an object of its class. The format written depends on
the release and on the encoding of the value.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from redis_emulator.rdb import codes
from redis_emulator.rdb.hashes import read_hash, write_hash
from redis_emulator.rdb.lists import read_list, write_list
from redis_emulator.rdb.sets import read_set, write_set
from redis_emulator.rdb.sorted_sets import read_sorted_set, write_sorted_set
from redis_emulator.rdb.streams import read_stream, write_stream
from redis_emulator.rdb.wire import Reader, Writer

_LISTS = (codes.LIST, codes.LIST_ZIPLIST, codes.LIST_QUICKLIST, codes.LIST_QUICKLIST_2)
_SETS = (codes.SET, codes.SET_INTSET, codes.SET_LISTPACK)
_SORTED_SETS = (codes.ZSET, codes.ZSET_2, codes.ZSET_ZIPLIST, codes.ZSET_LISTPACK)
_HASHES = (
    codes.HASH,
    codes.HASH_ZIPLIST,
    codes.HASH_LISTPACK,
    codes.HASH_FIELDS_PRE_GA,
    codes.HASH_LISTPACK_FIELDS_PRE_GA,
    codes.HASH_FIELDS,
    codes.HASH_LISTPACK_FIELDS,
)
PLAIN: Final = b""
PACKED: Final = b"listpack"
INTSET: Final = b"intset"
_UNPACKED: Final = frozenset(
    (
        codes.LIST,
        codes.SET,
        codes.ZSET,
        codes.ZSET_2,
        codes.HASH,
        codes.HASH_FIELDS_PRE_GA,
        codes.HASH_FIELDS,
    )
)
_STREAMS = {codes.STREAM: 1, codes.STREAM_2: 2, codes.STREAM_3: 3}


class Read(NamedTuple):
    """A value that was read.

    Attributes:
        kind: Its type, as the reply of TYPE.
        content: See the top of this module.
        form: The compact encoding that it had in the payload; `PLAIN` for none.
    """

    kind: bytes
    content: Any
    form: bytes


def write_value(out: Writer, kind: bytes, content: Any, encoding: bytes) -> None:
    """Append the type byte and the data of a value.

    Args:
        out: The writer.
        kind: The type, as the reply of TYPE.
        content: See the top of this module.
        encoding: The reply of OBJECT ENCODING.
    """
    if kind == b"string":
        out.byte(codes.STRING)
        out.string(content)
    elif kind == b"list":
        write_list(out, content)
    elif kind == b"set":
        write_set(out, content, encoding)
    elif kind == b"zset":
        write_sorted_set(out, content, encoding)
    elif kind == b"hash":
        write_hash(out, content, encoding)
    else:
        write_stream(out, content)


def read_value(source: Reader, version: int) -> Read:
    """Read a value whose type byte is of RDB ``version``.

    Raises:
        ValueError: The data is invalid, the value is empty, or a member occurs twice.
    """
    code = source.take(1)[0]
    if code == codes.STRING:
        return Read(b"string", source.string(), PLAIN)
    if code in _STREAMS:
        return Read(b"stream", read_stream(source, _STREAMS[code]), PLAIN)
    kind, content = _read_collection(source, code, version)
    if not any(content if kind == b"list" else (content,)):
        raise ValueError("empty collections are not stored")
    if kind != b"list":
        names = content if kind == b"set" else [item[0] for item in content]
        if len(set(names)) != len(names):
            raise ValueError("a member occurs twice")
    if code == codes.SET_INTSET:
        return Read(kind, content, INTSET)
    return Read(kind, content, PLAIN if code in _UNPACKED else PACKED)


def _read_collection(source: Reader, code: int, version: int) -> tuple[bytes, list[Any]]:
    if code in _LISTS:
        return b"list", read_list(source, code)
    if code in _SETS:
        return b"set", read_set(source, code)
    if code in _SORTED_SETS:
        return b"zset", read_sorted_set(source, code)
    if code in _HASHES:
        return b"hash", read_hash(source, code, version)
    raise ValueError(f"unknown value type {code}")
