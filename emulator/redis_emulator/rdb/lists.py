"""Lists in RDB: the nodes of a quicklist, of up to ``list-max-listpack-size``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from redis_emulator.rdb import codes
from redis_emulator.rdb.packed import (
    pack,
    pack_ziplist,
    packed_size,
    unpack,
    unpack_ziplist,
    ziplist_size,
)
from redis_emulator.rdb.wire import Reader, Writer

Node: TypeAlias = list[bytes] | bytes
"""Elements packed together, or one large element."""

_PLAIN_NODE, _PACKED_NODE = 1, 2
_SAFE_BYTES = 8192
_NODE_BYTES = {-1: 4096, -2: 8192, -3: 16384, -4: 32768, -5: 65536}
_OVERHEAD = 8


def write_list(out: Writer, nodes: Sequence[Node]) -> None:
    """Append the type byte and the nodes of a list.

    Releases before 7.2 have other node sizes, so for them the elements are divided again.
    """
    if out.version < codes.SET_LISTPACKS:
        elements = [
            each for node in nodes for each in ([node] if isinstance(node, bytes) else node)
        ]
        if out.version < codes.LISTPACKS:
            _write_ziplists(out, elements)
            return
        nodes = _nodes(out, elements)
    out.byte(codes.LIST_QUICKLIST_2)
    out.length(len(nodes))
    for node in nodes:
        out.length(_PLAIN_NODE if isinstance(node, bytes) else _PACKED_NODE)
        out.string(node if isinstance(node, bytes) else pack(node))


def _nodes(out: Writer, elements: Iterable[bytes]) -> list[Node]:
    exceeds = _size_check(out.fill)
    nodes: list[Node] = []
    node: list[bytes] = []
    size = 0
    for element in elements:
        if not node or exceeds(size + len(element) + _OVERHEAD, len(node) + 1):
            node = []
            nodes.append(node)
            size = 7
        node.append(element)
        size += packed_size(element)
    return nodes


def _size_check(fill: int) -> Callable[[int, int], bool]:
    """A function that returns whether a node with that many bytes and elements is too large."""
    if fill < 0:
        most = _NODE_BYTES[max(fill, -5)]
        return lambda size, count: size > most
    return lambda size, count: size > _SAFE_BYTES or count > max(fill, 1)


def _write_ziplists(out: Writer, elements: Iterable[bytes]) -> None:
    exceeds = _size_check(out.fill)
    nodes: list[list[bytes]] = []
    size = before = 0
    for element in elements:
        length = len(element)
        overhead = (1 if length < 254 else 5) + (1 if length < 64 else 2 if length < 16384 else 5)
        if not nodes or exceeds(size + length + overhead, len(nodes[-1]) + 1):
            nodes.append([])
            size, before = 11, 0
        nodes[-1].append(element)
        before = (1 if before < 254 else 5) + ziplist_size(element)
        size += before
    out.byte(codes.LIST_QUICKLIST)
    out.length(len(nodes))
    for node in nodes:
        out.string(pack_ziplist(node))


def read_list(source: Reader, code: int) -> list[Node]:
    """The nodes of a list. An encoding without nodes gives a single node.

    Raises:
        ValueError: The data is invalid.
    """
    if code == codes.LIST:
        return [source.strings(source.length())]
    if code == codes.LIST_ZIPLIST:
        return [unpack_ziplist(source.string())]
    nodes: list[Node] = []
    for _ in range(source.length()):
        if code == codes.LIST_QUICKLIST:
            nodes.append(unpack_ziplist(source.string()))
        elif (container := source.length()) == _PACKED_NODE:
            nodes.append(unpack(source.string()))
        elif container == _PLAIN_NODE:
            nodes.append(source.string())
        else:
            raise ValueError(f"unknown quicklist container {container}")
    return [node for node in nodes if node]
