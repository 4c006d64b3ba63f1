"""Whole values to and from RDB.

A value is handled as its kind (what TYPE says) and its content in plain Python, so that this module
need not know the classes that hold values: bytes for a string, a list of elements, a list of
members, a list of members with scores, a list of fields with values and deadlines; a stream alone
is itself. What is written depends on the release that writes it: old ones know no listpacks, and
only the plain forms are read by everybody.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from redis_emulator.rdb.packed import (
    pack,
    pack_intset,
    packed_size,
    unpack,
    unpack_intset,
    unpack_ziplist,
)
from redis_emulator.rdb.streams import read_stream, write_stream
from redis_emulator.rdb.wire import Reader, Writer
from redis_emulator.resp.types import format_double

Field = tuple[bytes, bytes, "int | None"]

LISTPACKS: Final = 10
"""The first RDB version that knows listpacks outside streams."""
SET_LISTPACKS: Final = 11
VALKEY: Final = 80
"""The first RDB version that is Valkey's own."""

_STRING, _LIST, _SET, _ZSET, _HASH, _ZSET_2 = 0, 1, 2, 3, 4, 5
_LIST_ZIPLIST, _SET_INTSET, _ZSET_ZIPLIST, _HASH_ZIPLIST, _LIST_QUICKLIST = 10, 11, 12, 13, 14
_STREAM, _HASH_LISTPACK, _ZSET_LISTPACK, _LIST_QUICKLIST_2 = 15, 16, 17, 18
_STREAM_2, _SET_LISTPACK, _STREAM_3 = 19, 20, 21
_HASH_FIELDS_PRE_GA, _HASH_LISTPACK_FIELDS_PRE_GA = 22, 23
_HASH_FIELDS, _HASH_LISTPACK_FIELDS = 24, 25
_VALKEY_HASH_FIELDS = 22

_PLAIN_NODE, _PACKED_NODE = 1, 2
_NODE_BYTES = 8192


def write_value(out: Writer, kind: bytes, content: Any, encoding: bytes, version: int) -> None:
    """Append the type byte and the data of a value.

    Args:
        out: Where to.
        kind: What TYPE says.
        content: The content as told at the top of this module.
        encoding: What OBJECT ENCODING says of it.
        version: The RDB version to write for.
    """
    if kind == b"string":
        out.byte(_STRING)
        out.string(content)
    elif kind == b"list":
        _write_list(out, content, version)
    elif kind == b"set":
        _write_set(out, content, encoding, version)
    elif kind == b"zset":
        _write_zset(out, content, encoding)
    elif kind == b"hash":
        _write_hash(out, content, encoding, version)
    else:
        revision = 3 if version >= SET_LISTPACKS else 2 if version >= LISTPACKS else 1
        out.byte({3: _STREAM_3, 2: _STREAM_2, 1: _STREAM}[revision])
        write_stream(out, content, revision)


def _write_list(out: Writer, elements: Sequence[bytes], version: int) -> None:
    if version < LISTPACKS:
        out.byte(_LIST)
        _write_strings(out, elements)
        return
    nodes: list[list[bytes] | bytes] = []
    room = 0
    for element in elements:
        size = packed_size(element)
        if size > _NODE_BYTES:
            nodes.append(element)
            room = 0
        elif size > room:
            nodes.append([element])
            room = _NODE_BYTES - 7 - size
        else:
            node = nodes[-1]
            assert isinstance(node, list)
            node.append(element)
            room -= size
    out.byte(_LIST_QUICKLIST_2)
    out.length(len(nodes))
    for node in nodes:
        plain = isinstance(node, bytes)
        out.length(_PLAIN_NODE if plain else _PACKED_NODE)
        out.string(node if isinstance(node, bytes) else pack(node))


def _write_set(out: Writer, members: Sequence[bytes], encoding: bytes, version: int) -> None:
    if encoding == b"intset":
        out.byte(_SET_INTSET)
        out.string(pack_intset(sorted(map(int, members))))
    elif encoding == b"listpack" and version >= SET_LISTPACKS:
        out.byte(_SET_LISTPACK)
        out.string(pack(members))
    else:
        out.byte(_SET)
        _write_strings(out, members)


def _write_strings(out: Writer, strings: Sequence[bytes]) -> None:
    out.length(len(strings))
    for string in strings:
        out.string(string)


def _write_zset(out: Writer, pairs: Sequence[tuple[bytes, float]], encoding: bytes) -> None:
    if encoding == b"listpack":
        out.byte(_ZSET_LISTPACK)
        out.string(pack(part for member, score in pairs for part in (member, _packed(score))))
        return
    out.byte(_ZSET_2)
    out.length(len(pairs))
    for member, score in reversed(pairs):
        out.string(member)
        out.double(score)


def _packed(score: float) -> bytes:
    return format_double(score)


def _write_hash(out: Writer, fields: Sequence[Field], encoding: bytes, version: int) -> None:
    deadlines = [at for _, _, at in fields if at is not None]
    if deadlines and version >= VALKEY:
        out.byte(_VALKEY_HASH_FIELDS)
        out.length(len(fields))
        for field, value, at in fields:
            out.string(field)
            out.string(value)
            out.milliseconds(-1 if at is None else at)
    elif encoding == b"listpackex":
        out.byte(_HASH_LISTPACK_FIELDS)
        out.milliseconds(min(deadlines, default=0))
        ordered = sorted(fields, key=lambda each: math.inf if each[2] is None else each[2])
        out.string(pack(part for field, value, at in ordered for part in (field, value, at or 0)))
    elif deadlines:
        first = min(deadlines)
        out.byte(_HASH_FIELDS)
        out.milliseconds(first)
        out.length(len(fields))
        for field, value, at in fields:
            out.length(0 if at is None else at - first + 1)
            out.string(field)
            out.string(value)
    elif encoding == b"listpack":
        out.byte(_HASH_LISTPACK)
        out.string(pack(part for field, value, _ in fields for part in (field, value)))
    else:
        out.byte(_HASH)
        _write_strings(out, [part for field, value, _ in fields for part in (field, value)])


def read_value(source: Reader, version: int) -> tuple[bytes, Any]:
    """The kind and content of the value that ``source`` holds and that RDB ``version`` wrote.

    Raises:
        ValueError: It makes no sense, or it is empty, or members repeat.
    """
    code = source.take(1)[0]
    if code == _STRING:
        return b"string", source.string()
    kind, content = _read_collection(source, code, version)
    if kind != b"stream" and not content:
        raise ValueError("empty collections are not stored")
    if kind in (b"set", b"zset", b"hash"):
        names = content if kind == b"set" else [item[0] for item in content]
        if len(set(names)) != len(names):
            raise ValueError("a member stands twice")
    return kind, content


def _read_collection(source: Reader, code: int, version: int) -> tuple[bytes, Any]:
    if code in (_LIST, _LIST_ZIPLIST, _LIST_QUICKLIST, _LIST_QUICKLIST_2):
        return b"list", _read_list(source, code)
    if code in (_SET, _SET_INTSET, _SET_LISTPACK):
        return b"set", _read_set(source, code)
    if code in (_ZSET, _ZSET_2, _ZSET_ZIPLIST, _ZSET_LISTPACK):
        return b"zset", _read_zset(source, code)
    if code in (_HASH, _HASH_ZIPLIST, _HASH_LISTPACK):
        return b"hash", [(field, value, None) for field, value in _read_pairs(source, code)]
    if code == _VALKEY_HASH_FIELDS and version >= VALKEY:
        return b"hash", _read_valkey_hash(source)
    if code in (_HASH_FIELDS, _HASH_FIELDS_PRE_GA):
        return b"hash", _read_hash_fields(source, code)
    if code in (_HASH_LISTPACK_FIELDS, _HASH_LISTPACK_FIELDS_PRE_GA):
        if code == _HASH_LISTPACK_FIELDS:
            source.milliseconds()
        triples = _grouped(unpack(source.string()), 3)
        return b"hash", [(field, value, int(at) or None) for field, value, at in triples]
    if code in (_STREAM, _STREAM_2, _STREAM_3):
        return b"stream", read_stream(source, {_STREAM: 1, _STREAM_2: 2, _STREAM_3: 3}[code])
    raise ValueError(f"unknown type {code}")


def _grouped(items: list[bytes], size: int) -> list[tuple[bytes, ...]]:
    if len(items) % size:
        raise ValueError("an element lacks its partner")
    return list(zip(*(items[start::size] for start in range(size)), strict=True))


def _strings(source: Reader, count: int) -> list[bytes]:
    return [source.string() for _ in range(count)]


def _read_list(source: Reader, code: int) -> list[bytes]:
    if code == _LIST:
        return _strings(source, source.length())
    if code == _LIST_ZIPLIST:
        return unpack_ziplist(source.string())
    elements: list[bytes] = []
    for _ in range(source.length()):
        if code == _LIST_QUICKLIST:
            elements += unpack_ziplist(source.string())
        elif (container := source.length()) == _PACKED_NODE:
            elements += unpack(source.string())
        elif container == _PLAIN_NODE:
            elements.append(source.string())
        else:
            raise ValueError(f"unknown quicklist container {container}")
    return elements


def _read_set(source: Reader, code: int) -> list[bytes]:
    if code == _SET:
        return _strings(source, source.length())
    return unpack_intset(source.string()) if code == _SET_INTSET else unpack(source.string())


def _read_zset(source: Reader, code: int) -> list[tuple[bytes, float]]:
    if code in (_ZSET, _ZSET_2):
        read = source.double if code == _ZSET_2 else source.old_double
        pairs = [(source.string(), read()) for _ in range(source.length())]
    else:
        opened = unpack if code == _ZSET_LISTPACK else unpack_ziplist
        items = _grouped(opened(source.string()), 2)
        pairs = [(member, float(score)) for member, score in items]
    if any(math.isnan(score) for _, score in pairs):
        raise ValueError("a score is not a number")
    return pairs


def _read_pairs(source: Reader, code: int) -> list[tuple[bytes, ...]]:
    if code == _HASH:
        return _grouped(_strings(source, 2 * source.length()), 2)
    opened = unpack if code == _HASH_LISTPACK else unpack_ziplist
    return _grouped(opened(source.string()), 2)


def _read_hash_fields(source: Reader, code: int) -> list[Field]:
    first = source.milliseconds() if code == _HASH_FIELDS else 1
    fields: list[Field] = []
    for _ in range(source.length()):
        later = source.length()
        field, value = source.string(), source.string()
        fields.append((field, value, first + later - 1 if later else None))
    return fields


def _read_valkey_hash(source: Reader) -> list[Field]:
    fields: list[Field] = []
    for _ in range(source.length()):
        field, value, at = source.string(), source.string(), source.milliseconds()
        fields.append((field, value, None if at == -1 else at))
    return fields
