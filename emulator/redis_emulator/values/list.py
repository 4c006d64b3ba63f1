"""A list: elements in nodes, with the same node boundaries as in Redis.

A small list is one listpack. A list that exceeds ``list-max-listpack-size`` is converted to a
quicklist: a chain of nodes, each a listpack within that limit. An element that is too large for any
node gets a plain node of its own. A list that has shrunk is converted back only if one node is
left, so OBJECT ENCODING depends on the node boundaries. They follow from the sizes that the
elements have in a listpack. Nodes also make operations fast: a lookup skips nodes, and a change
moves only the elements of one node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from redis_emulator.values.stream import packed_size

_EMPTY_SIZE: Final = 7
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
        """Delete the elements from ``start`` up to, but not including, ``stop``."""
        self.size -= sum(map(_size, self.items[start:stop]))
        del self.items[start:stop]

    def __copy__(self) -> Node:
        return Node(list(self.items), self.size, plain=self.plain)


def _pack(items: list[bytes]) -> Node:
    return Node(items, _EMPTY_SIZE + sum(map(_size, items)))


class List:
    """The elements in order.

    Attributes:
        nodes: The elements; a listpack has exactly one node, a quicklist has no empty ones.
        fill: None for a listpack. For a quicklist, ``list-max-listpack-size`` at the time of the
            conversion, which stays the limit of its nodes.
        large: Size in bytes from which an element of a quicklist gets a plain node; 0 if that
            follows from the limit.
    """

    __slots__ = ("_length", "fill", "large", "max_bytes", "max_count", "nodes")

    kind = b"list"

    def __init__(self, large: int = 0) -> None:
        self.large = large
        self.nodes: list[Node] = [Node([], _EMPTY_SIZE)]
        self._length = 0
        self.fill: int | None = None
        self.max_bytes = self.max_count = 0

    @classmethod
    def of(cls, elements: Iterable[bytes], fill: int, large: int = 0) -> List:
        """A list as SORT STORE and RDB files without nodes create it: pushed as a quicklist, then
        packed if it is small.
        """
        result = cls(large)
        result._unpack(fill)
        for element in elements:
            result._push(element, left=False)
        result.convert_to_fit(fill)
        return result

    @classmethod
    def of_nodes(cls, nodes: Iterable[bytes | list[bytes]], fill: int, large: int = 0) -> List:
        """A list with the given nodes; a node given as bytes is a plain node."""
        result = cls(large)
        result._unpack(fill)
        for node in nodes:
            if isinstance(node, bytes):
                result.nodes.append(Node([node], len(node), plain=True))
            elif node:
                result.nodes.append(_pack(node))
        result._length = sum(len(node.items) for node in result.nodes)
        result.convert_to_fit(fill)
        return result

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
        copy = List(self.large)
        copy.nodes = [node.__copy__() for node in self.nodes]
        copy._length, copy.fill = self._length, self.fill
        copy.max_bytes, copy.max_count = self.max_bytes, self.max_count
        return copy

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
            self._convert_if_small(fill, 2)

    def convert_to_fit(self, fill: int) -> None:
        """Convert to the encoding that Redis gives a new list with these elements."""
        if self.fill is None:
            self.grow((), fill)
        else:
            self._convert_if_small(fill, 1)

    def _unpack(self, fill: int) -> None:
        self.fill = max(-5, min(fill, _MOST_PER_NODE))
        self.max_bytes, self.max_count = _limits(self.fill)
        if not self._length:
            self.nodes = []

    def _convert_if_small(self, fill: int, share: int) -> None:
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

    def _has_room(self, node: Node | None, element: bytes) -> bool:
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
        position = 0 if left else -1
        node = self.nodes[position]
        element = node.items.pop(position)
        self._length -= 1
        if node.plain:
            del self.nodes[position]
        else:
            node.size -= _size(element)
            if not node.items and self.fill is not None:
                del self.nodes[position]
        return element

    def range(self, start: int, stop: int) -> list[bytes]:
        """The elements from ``start`` up to, but not including, ``stop``; both within bounds."""
        nodes = self.nodes
        if len(nodes) == 1:
            return nodes[0].items[start:stop]
        if start >= stop:
            return []
        position, offset = self._locate(start)
        wanted = stop - start
        found = nodes[position].items[offset : offset + wanted]
        while len(found) < wanted:
            position += 1
            found += nodes[position].items[: wanted - len(found)]
        return found

    def __getitem__(self, index: int) -> bytes:
        position, offset = self._locate(index)
        return self.nodes[position].items[offset]

    def _locate(self, index: int) -> tuple[int, int]:
        """The position of the node with the element at ``index``, and the offset in the node."""
        nodes = self.nodes
        if index * 2 <= self._length:
            position = 0
            while index >= (count := len(nodes[position].items)):
                index -= count
                position += 1
            return position, index
        position = len(nodes) - 1
        from_end = self._length - index
        while from_end > (count := len(nodes[position].items)):
            from_end -= count
            position -= 1
        return position, count - from_end

    def delete(self, start: int, stop: int) -> None:
        """Delete the elements from ``start`` up to, but not including, ``stop``."""
        if start >= stop:
            return
        position, offset = self._locate(start)
        wanted = stop - start
        self._length -= wanted
        while wanted:
            node = self.nodes[position]
            count_here = min(wanted, len(node.items) - offset)
            wanted -= count_here
            if count_here == len(node.items) and self.fill is not None:
                del self.nodes[position]
            else:
                node.delete(offset, offset + count_here)
                position += 1
            offset = 0

    def remove(self, element: bytes, count: int) -> int:
        """Remove the first ``count`` equal elements (the last ones if negative, all if 0).

        Returns the number removed.
        """
        left = abs(count) or self._length
        removed = 0
        for node in tuple(self.nodes) if count >= 0 else tuple(reversed(self.nodes)):
            count_here = min(node.items.count(element), left)
            if count_here:
                self._remove_from(node, element, count_here, backwards=count < 0)
                left -= count_here
                removed += count_here
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
        """Replace the element at ``index``, which must exist."""
        position, offset = self._locate(index)
        node = self.nodes[position]
        large = self.fill is not None and self._is_large(element)
        if not node.plain and not large:
            node.size += _size(element) - _size(node.items[offset])
            node.items[offset] = element
        elif node.plain and large:
            self.nodes[position] = self._node_of(element)
        elif node.plain:
            self._length -= 1
            self._insert_at(position, 0, element, after=True)
            del self.nodes[position]
        else:
            self._replace_with_plain(position, offset, element)

    def _replace_with_plain(self, position: int, offset: int, element: bytes) -> None:
        """Replace a packed element with a plain node."""
        node = self.nodes[position]
        new = [self._node_of(element)]
        if offset != len(node.items) - 1:
            new.append(_pack(node.items[offset + 1 :]))
        node.delete(offset, len(node.items))
        if node.items:
            self.nodes[position : position + 1] = [node, *new]
            self._merge_around(position + 1)
        else:
            self.nodes[position : position + 1] = new

    def insert(self, pivot: int, element: bytes, *, after: bool) -> None:
        """Insert ``element`` before or after the one at index ``pivot``."""
        position, offset = self._locate(pivot)
        if self.fill is not None:
            self._insert_at(position, offset, element, after=after)
            return
        self._length += 1
        node = self.nodes[0]
        node.items.insert(offset + after, element)
        node.size += _size(element)

    def _insert_at(self, position: int, offset: int, element: bytes, *, after: bool) -> None:
        """Insert beside the element at ``offset`` of a quicklist's node."""
        nodes = self.nodes
        node = nodes[position]
        self._length += 1
        at_end = offset == (len(node.items) - 1 if after else 0)
        if self._has_room(node, element):
            node.items.insert(offset + after, element)
            node.size += _size(element)
            return
        large = self._is_large(element)
        if at_end or (large and node.plain):
            beside = position + 1 if after else position - 1
            neighbour = nodes[beside] if 0 <= beside < len(nodes) else None
            if neighbour is not None and self._has_room(neighbour, element):
                neighbour.items.insert(0 if after else len(neighbour.items), element)
                neighbour.size += _size(element)
            else:
                nodes.insert(position + after, self._node_of(element))
            return
        head, tail = _pack(node.items[: offset + after]), _pack(node.items[offset + after :])
        if large:
            nodes[position : position + 1] = [head, self._node_of(element), tail]
            return
        new = tail if after else head
        new.items.insert(0 if after else len(new.items), element)
        new.size += _size(element)
        nodes[position : position + 1] = [head, tail]
        self._merge_around(position if after else position + 1)

    def _merge_around(self, centre: int) -> None:
        """Merge neighbours of a new node that fit together, in the server's order."""
        if self._merge(centre - 2):
            centre -= 1
        self._merge(centre + 1)
        if self._merge(centre - 1):
            centre -= 1
        self._merge(centre)

    def _merge(self, position: int) -> bool:
        """Merge a node with the next one if both exist and the result is within the limit."""
        if position < 0 or position + 1 >= len(self.nodes):
            return False
        node, following = self.nodes[position : position + 2]
        size = node.size + following.size - _EMPTY_SIZE
        count = len(node.items) + len(following.items)
        if node.plain or following.plain or size > self.max_bytes or count > self.max_count:
            return False
        self.nodes[position : position + 2] = [Node(node.items + following.items, size)]
        return True
