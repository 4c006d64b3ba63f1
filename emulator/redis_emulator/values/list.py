"""A list: elements in nodes, divided as the server divides them.

A small list is one listpack. One that outgrows ``list-max-listpack-size`` becomes a quicklist: a
chain of listpacks, its nodes, each kept within that limit; an element that is too
large for any node has a plain node of its own. OBJECT ENCODING of a list that has shrunk depends on
whether one node is left, so the node boundaries here equal the server's; they follow from the sizes
that the packed form would have. Nodes also keep operations fast: finding an element skips whole
nodes, and a change moves only the elements of one node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from redis_emulator.values.stream import packed_size

_FRAME: Final = 7
"""Bytes of an empty listpack."""
_OVERHEAD: Final = 8
"""Overhead of an element that the server assumes before it packs the element."""
_SAFE_BYTES: Final = 8192
_NODE_BYTES: Final = (4096, 8192, 16384, 32768, 65536)
_NO_LIMIT: Final = 1 << 62
_NINE: Final = ord("9")
_MOST_PER_NODE: Final = 32767


def _limits(fill: int) -> tuple[int, int]:
    """The maximum bytes and elements of a node for a ``list-max-listpack-size``."""
    if fill < 0:
        return _NODE_BYTES[min(-fill, 5) - 1], _NO_LIMIT
    return _SAFE_BYTES, max(fill, 1)


def _size(element: bytes) -> int:
    """Bytes of an element in a listpack. Short strings are the fast path."""
    length = len(element)
    if length < 64 and (not length or element[0] > _NINE or element[-1] > _NINE):
        return length + 2
    return packed_size(element)


class Node:
    """A listpack of elements and its size in bytes, or one large element as it is (``plain``)."""

    __slots__ = ("items", "plain", "size")

    def __init__(self, items: list[bytes], size: int, *, plain: bool = False) -> None:
        self.items = items
        self.size = size
        self.plain = plain

    def delete(self, start: int, stop: int) -> None:
        """Take out the elements from ``start`` up to, but not including, ``stop``."""
        self.size -= sum(map(_size, self.items[start:stop]))
        del self.items[start:stop]

    def __copy__(self) -> Node:
        return Node(list(self.items), self.size, plain=self.plain)


def _pack(items: list[bytes]) -> Node:
    return Node(items, _FRAME + sum(map(_size, items)))


class List:
    """The elements in order.

    Attributes:
        nodes: The elements; a listpack has exactly one node, a quicklist has no empty ones.
        fill: None for a listpack; a quicklist's limit for its nodes, which stays what was
            configured when it became one.
        large: Size in bytes from which an element of a quicklist gets a plain node; 0 if that
            follows from the limit.
    """

    __slots__ = ("_length", "fill", "large", "max_bytes", "max_count", "nodes")

    kind = b"list"

    def __init__(self, large: int = 0) -> None:
        self.large = large
        self.nodes: list[Node] = [Node([], _FRAME)]
        self._length = 0
        self.fill: int | None = None
        self.max_bytes = self.max_count = 0

    @classmethod
    def of(cls, elements: Iterable[bytes], fill: int, large: int = 0) -> List:
        """A list as SORT STORE and RDB files without nodes create it: pushed as a quicklist, then
        packed if it is small.
        """
        made = cls(large)
        made._unpack(fill)
        for element in elements:
            made._push(element, left=False)
        made.settle(fill)
        return made

    @classmethod
    def of_nodes(cls, nodes: Iterable[bytes | list[bytes]], fill: int, large: int = 0) -> List:
        """A list with the given nodes; a node given as bytes is a plain node."""
        made = cls(large)
        made._unpack(fill)
        for node in nodes:
            if isinstance(node, bytes):
                made.nodes.append(Node([node], len(node), plain=True))
            elif node:
                made.nodes.append(_pack(node))
        made._length = sum(len(node.items) for node in made.nodes)
        made.settle(fill)
        return made

    @property
    def encoding(self) -> bytes:
        """``listpack`` or ``quicklist``."""
        return b"listpack" if self.fill is None else b"quicklist"

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        for node in self.nodes:
            yield from node.items

    def __copy__(self) -> List:
        twin = List(self.large)
        twin.nodes = [node.__copy__() for node in self.nodes]
        twin._length, twin.fill = self._length, self.fill
        twin.max_bytes, twin.max_count = self.max_bytes, self.max_count
        return twin

    def grow(self, added: Sequence[bytes], fill: int) -> None:
        """Convert to a quicklist if ``added`` elements do not fit into a listpack under
        ``list-max-listpack-size``.
        """
        if self.fill is not None:
            return
        max_bytes, max_count = _limits(fill)
        size = self.nodes[0].size
        size += len(added[0]) if len(added) == 1 else sum(map(len, added))
        if size > max_bytes or self._length + len(added) > max_count:
            self._unpack(fill)

    def shrink(self, fill: int) -> None:
        """Convert to a listpack if one node of at most half the limit is left."""
        if self.fill is not None:
            self._pack_within(fill, 2)

    def settle(self, fill: int) -> None:
        """Convert to the encoding that fits the present content."""
        if self.fill is None:
            self.grow((), fill)
        else:
            self._pack_within(fill, 1)

    def _unpack(self, fill: int) -> None:
        self.fill = max(-5, min(fill, _MOST_PER_NODE))
        self.max_bytes, self.max_count = _limits(self.fill)
        if not self._length:
            self.nodes = []

    def _pack_within(self, fill: int, share: int) -> None:
        if len(self.nodes) != 1 or self.nodes[0].plain:
            return
        max_bytes, max_count = _limits(fill)
        if fill < 0:
            fits = self.nodes[0].size <= max_bytes // share
        else:
            fits = self._length <= max_count // share
        if fits:
            self.fill = None

    def push(self, elements: Sequence[bytes], fill: int, *, left: bool) -> None:
        """Add elements one by one at an end."""
        if self.fill is None:
            self.grow(elements, fill)
        if self.fill is not None:
            for element in elements:
                self._push(element, left=left)
            return
        node = self.nodes[0]
        if left:
            node.items[:0] = elements[::-1]
        else:
            node.items += elements
        for element in elements:
            node.size += _size(element)
        self._length += len(elements)

    def _push(self, element: bytes, *, left: bool) -> None:
        nodes = self.nodes
        self._length += 1
        if nodes:
            node = nodes[0 if left else -1]
            if (
                node.size + len(element) + _OVERHEAD <= self.max_bytes
                and len(node.items) < self.max_count
                and not node.plain
                and (not self.large or len(element) < self.large)
            ):
                if left:
                    node.items.insert(0, element)
                else:
                    node.items.append(element)
                node.size += _size(element)
                return
        nodes.insert(0 if left else len(nodes), self._node_of(element))

    def _is_large(self, element: bytes) -> bool:
        if self.large:
            return len(element) >= self.large
        return len(element) > self.max_bytes

    def _node_of(self, element: bytes) -> Node:
        if self._is_large(element):
            return Node([element], len(element), plain=True)
        return _pack([element])

    def _takes(self, node: Node | None, element: bytes) -> bool:
        """Whether the node exists and has room for one more element."""
        return (
            node is not None
            and not node.plain
            and not self._is_large(element)
            and node.size + len(element) + _OVERHEAD <= self.max_bytes
            and len(node.items) < self.max_count
        )

    def pop(self, *, left: bool) -> bytes:
        """Remove and return the element at one end. The list must not be empty."""
        place = 0 if left else -1
        node = self.nodes[place]
        element = node.items.pop(place)
        self._length -= 1
        if node.plain:
            del self.nodes[place]
        else:
            node.size -= _size(element)
            if not node.items and self.fill is not None:
                del self.nodes[place]
        return element

    def range(self, start: int, stop: int) -> list[bytes]:
        """The elements from ``start`` up to, but not including, ``stop``; both within bounds."""
        nodes = self.nodes
        if len(nodes) == 1:
            return nodes[0].items[start:stop]
        if start >= stop:
            return []
        place, offset = self._locate(start)
        wanted = stop - start
        found = nodes[place].items[offset : offset + wanted]
        while len(found) < wanted:
            place += 1
            found += nodes[place].items[: wanted - len(found)]
        return found

    def __getitem__(self, index: int) -> bytes:
        place, offset = self._locate(index)
        return self.nodes[place].items[offset]

    def _locate(self, index: int) -> tuple[int, int]:
        """The node that has the element at ``index``, which must exist, and the offset in it."""
        nodes = self.nodes
        if index * 2 <= self._length:
            place = 0
            while index >= (count := len(nodes[place].items)):
                index -= count
                place += 1
            return place, index
        place = len(nodes) - 1
        behind = self._length - index
        while behind > (count := len(nodes[place].items)):
            behind -= count
            place -= 1
        return place, count - behind

    def delete(self, start: int, stop: int) -> None:
        """Take out the elements from ``start`` up to, but not including, ``stop``."""
        if start >= stop:
            return
        place, offset = self._locate(start)
        wanted = stop - start
        self._length -= wanted
        while wanted:
            node = self.nodes[place]
            there = min(wanted, len(node.items) - offset)
            wanted -= there
            if there == len(node.items) and self.fill is not None:
                del self.nodes[place]
            else:
                node.delete(offset, offset + there)
                place += 1
            offset = 0

    def remove(self, element: bytes, count: int) -> int:
        """Remove the first ``count`` equal elements (the last ones if negative, all if 0).

        Returns the number removed.
        """
        left = abs(count) or self._length
        removed = 0
        for node in tuple(self.nodes) if count >= 0 else tuple(reversed(self.nodes)):
            there = min(node.items.count(element), left)
            if there:
                self._remove_from(node, element, there, backwards=count < 0)
                left -= there
                removed += there
                if not left:
                    break
        self._length -= removed
        if removed and self.fill is not None:
            self.nodes = [node for node in self.nodes if node.items]
        return removed

    def _remove_from(self, node: Node, element: bytes, count: int, *, backwards: bool) -> None:
        items = node.items
        if backwards:
            items.reverse()
        for _ in range(count):
            items.remove(element)
        if backwards:
            items.reverse()
        node.size -= count * _size(element)

    def find(self, element: bytes) -> int:
        """The index of the first equal element, or -1."""
        before = 0
        for node in self.nodes:
            if element in node.items:
                return before + node.items.index(element)
            before += len(node.items)
        return -1

    def replace(self, index: int, element: bytes) -> None:
        """Store ``element`` at ``index``, which exists."""
        place, offset = self._locate(index)
        node = self.nodes[place]
        large = self.fill is not None and self._is_large(element)
        if not node.plain and not large:
            node.size += _size(element) - _size(node.items[offset])
            node.items[offset] = element
        elif node.plain and large:
            self.nodes[place] = self._node_of(element)
        elif node.plain:
            self._length -= 1
            self._insert_at(place, 0, element, after=True)
            del self.nodes[place]
        else:
            self._make_way(place, offset, element)

    def _make_way(self, place: int, offset: int, element: bytes) -> None:
        """Replace a packed element with a plain node."""
        node = self.nodes[place]
        new = [self._node_of(element)]
        if offset != len(node.items) - 1:
            new.append(_pack(node.items[offset + 1 :]))
        node.delete(offset, len(node.items))
        if node.items:
            self.nodes[place : place + 1] = [node, *new]
            self._merge_around(place + 1)
        else:
            self.nodes[place : place + 1] = new

    def insert(self, pivot: int, element: bytes, *, after: bool) -> None:
        """Insert ``element`` before or after the one at index ``pivot``."""
        place, offset = self._locate(pivot)
        if self.fill is not None:
            self._insert_at(place, offset, element, after=after)
            return
        self._length += 1
        node = self.nodes[0]
        node.items.insert(offset + after, element)
        node.size += _size(element)

    def _insert_at(self, place: int, offset: int, element: bytes, *, after: bool) -> None:
        """Insert beside the element at ``offset`` of a quicklist's node."""
        nodes = self.nodes
        node = nodes[place]
        self._length += 1
        at_end = offset == (len(node.items) - 1 if after else 0)
        if self._takes(node, element):
            node.items.insert(offset + after, element)
            node.size += _size(element)
            return
        large = self._is_large(element)
        if at_end or (large and node.plain):
            beside = place + 1 if after else place - 1
            neighbour = nodes[beside] if 0 <= beside < len(nodes) else None
            if neighbour is not None and self._takes(neighbour, element):
                neighbour.items.insert(0 if after else len(neighbour.items), element)
                neighbour.size += _size(element)
            else:
                nodes.insert(place + after, self._node_of(element))
            return
        head, tail = _pack(node.items[: offset + after]), _pack(node.items[offset + after :])
        if large:
            nodes[place : place + 1] = [head, self._node_of(element), tail]
            return
        new = tail if after else head
        new.items.insert(0 if after else len(new.items), element)
        new.size += _size(element)
        nodes[place : place + 1] = [head, tail]
        self._merge_around(place if after else place + 1)

    def _merge_around(self, centre: int) -> None:
        """Merge neighbours of a new node that fit together, in the server's order."""
        if self._merge(centre - 2):
            centre -= 1
        self._merge(centre + 1)
        if self._merge(centre - 1):
            centre -= 1
        self._merge(centre)

    def _merge(self, place: int) -> bool:
        """Merge a node with the next one if both exist and the result is within the limit."""
        if place < 0 or place + 1 >= len(self.nodes):
            return False
        node, following = self.nodes[place : place + 2]
        size = node.size + following.size - _FRAME
        count = len(node.items) + len(following.items)
        if node.plain or following.plain or size > self.max_bytes or count > self.max_count:
            return False
        self.nodes[place : place + 2] = [Node(node.items + following.items, size)]
        return True
