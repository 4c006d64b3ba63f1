"""A stream: entries in the order of their ids, and the consumer groups that read them.

Redis stores entries in nodes of up to ``stream-node-max-entries`` entries and
``stream-node-max-bytes`` bytes. Approximate trimming (``~``) removes only whole nodes, so the nodes
are modelled here too, with the size that each would have as a listpack. A deleted entry counts
until its node is empty, as in Redis.

An id is a tuple of milliseconds and sequence number.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

from sortedcontainers import SortedDict

Id = tuple[int, int]
Fields = tuple[bytes, ...]

MAX_PART: Final = (1 << 64) - 1
MIN_ID: Final = (0, 0)
MAX_ID: Final = (MAX_PART, MAX_PART)


def format_id(entry_id: Id) -> bytes:
    """``milliseconds-sequence``."""
    return b"%d-%d" % entry_id


def next_id(entry_id: Id) -> Id | None:
    """The next id, or None after the greatest possible one."""
    milliseconds, sequence = entry_id
    if sequence < MAX_PART:
        return milliseconds, sequence + 1
    return (milliseconds + 1, 0) if milliseconds < MAX_PART else None


def previous_id(entry_id: Id) -> Id | None:
    """The previous id, or None before 0-0."""
    milliseconds, sequence = entry_id
    if sequence:
        return milliseconds, sequence - 1
    return (milliseconds - 1, MAX_PART) if milliseconds else None


class Node:
    """Entries that Redis stores in one listpack; deleted ones stay until all are deleted."""

    __slots__ = ("deleted", "entries", "fields", "first", "ids", "size", "slots")

    def __init__(self, first: Id, fields: Fields) -> None:
        self.first = first
        self.ids: list[Id] = []
        self.entries: dict[Id, Fields] = {}
        self.deleted: dict[Id, Fields] = {}
        self.fields = fields[::2]
        self.slots = 0
        names = sum(packed_size(name) for name in self.fields)
        self.size = 7 + 2 + 2 + packed_number(len(self.fields)) + names + 2

    def append(self, entry_id: Id, fields: Fields) -> None:
        """Append an entry."""
        self.ids.append(entry_id)
        self.entries[entry_id] = fields
        self.slots += 1
        self.size += self._entry_size(entry_id, fields)

    def _entry_size(self, entry_id: Id, fields: Fields) -> int:
        size = 2 + packed_number(entry_id[0] - self.first[0])
        size += packed_number(entry_id[1] - self.first[1])
        count = len(fields) // 2
        if fields[::2] == self.fields:
            parts, items = fields[1::2], count + 3
        else:
            size += packed_number(count)
            parts, items = fields, 2 * count + 4
        return size + sum(map(packed_size, parts)) + packed_number(items)

    def __copy__(self) -> Node:
        result = Node(self.first, ())
        result.ids, result.entries = list(self.ids), dict(self.entries)
        result.deleted = dict(self.deleted)
        result.fields, result.slots, result.size = self.fields, self.slots, self.size
        return result


def packed_number(number: int) -> int:
    """Bytes of an integer in a listpack, including its back length."""
    if 0 <= number <= 127:
        return 2
    for bits, size in ((13, 3), (16, 4), (24, 5), (32, 6)):
        if -(1 << bits - 1) <= number < 1 << bits - 1:
            return size
    return 10


def packed_size(text: bytes) -> int:
    """Bytes of a string in a listpack, which stores integers as integers."""
    if 0 < len(text) < 21 and (text.isdigit() or (text[:1] == b"-" and text[1:].isdigit())):
        number = int(text)
        if b"%d" % number == text and -(1 << 63) <= number < 1 << 63:
            return packed_number(number)
    length = len(text)
    size = length + (1 if length < 64 else 2 if length < 4096 else 5)
    back = 1
    while size >= 1 << 7 * back:
        back += 1
    return size + back


class Pending:
    """An entry delivered to a consumer and not acknowledged."""

    __slots__ = ("consumer", "delivered_at", "deliveries")

    def __init__(self, consumer: Consumer, delivered_at: int, deliveries: int) -> None:
        self.consumer = consumer
        self.delivered_at = delivered_at
        self.deliveries = deliveries


class Consumer:
    """A member of a group. Times are milliseconds since the epoch; -1 in `active_at` is never."""

    __slots__ = ("active_at", "name", "pending", "seen_at")

    def __init__(self, name: bytes, seen_at: int) -> None:
        self.name = name
        self.seen_at = seen_at
        self.active_at = -1
        self.pending: SortedDict[Id, Pending] = SortedDict()


class Group:
    """A consumer group.

    Attributes:
        last_id: The last entry delivered.
        entries_read: The number of entries read, -1 if it is unknown.
    """

    __slots__ = ("consumers", "entries_read", "last_id", "pending")

    def __init__(self, last_id: Id, entries_read: int) -> None:
        self.last_id = last_id
        self.entries_read = entries_read
        self.pending: SortedDict[Id, Pending] = SortedDict()
        self.consumers: SortedDict[bytes, Consumer] = SortedDict()

    def consumer(self, name: bytes, now: int) -> tuple[Consumer, bool]:
        """The consumer of that name, and whether it was created."""
        found = self.consumers.get(name)
        if found is not None:
            return found, False
        self.consumers[name] = created = Consumer(name, now)
        return created, True

    def deliver(self, entry_id: Id, consumer: Consumer, now: int, deliveries: int = 1) -> Pending:
        """Make an entry pending for ``consumer``, and for no other consumer."""
        pending: Pending | None = self.pending.get(entry_id)
        if pending is None:
            pending = self.pending[entry_id] = Pending(consumer, now, deliveries)
        else:
            del pending.consumer.pending[entry_id]
            pending.consumer, pending.delivered_at = consumer, now
            pending.deliveries = deliveries
        consumer.pending[entry_id] = pending
        return pending

    def forget(self, entry_id: Id) -> bool:
        """Remove an entry from the pending entries list. Returns whether it was pending."""
        pending = self.pending.pop(entry_id, None)
        if pending is None:
            return False
        del pending.consumer.pending[entry_id]
        return True

    def __copy__(self) -> Group:
        result = Group(self.last_id, self.entries_read)
        for name, consumer in self.consumers.items():
            copied = Consumer(name, consumer.seen_at)
            copied.active_at = consumer.active_at
            result.consumers[name] = copied
        for entry_id, pending in self.pending.items():
            owner = result.consumers[pending.consumer.name]
            copy = Pending(owner, pending.delivered_at, pending.deliveries)
            result.pending[entry_id] = owner.pending[entry_id] = copy
        return result


class Stream:
    """Entries in nodes, and groups by name."""

    __slots__ = ("added", "groups", "last_id", "length", "max_deleted", "nodes")

    kind = b"stream"
    encoding = b"stream"

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.length = 0
        self.last_id: Id = MIN_ID
        self.max_deleted: Id = MIN_ID
        self.added = 0
        self.groups: SortedDict[bytes, Group] = SortedDict()

    def __len__(self) -> int:
        return self.length

    def __copy__(self) -> Stream:
        result = Stream()
        result.nodes = [node.__copy__() for node in self.nodes]
        result.length, result.last_id = self.length, self.last_id
        result.max_deleted, result.added = self.max_deleted, self.added
        for name, group in self.groups.items():
            result.groups[name] = group.__copy__()
        return result

    @property
    def first_id(self) -> Id:
        """The id of the first entry, 0-0 when there is none."""
        return self.nodes[0].ids[0] if self.nodes else MIN_ID

    def append(self, entry_id: Id, fields: Fields, max_bytes: int, max_entries: int) -> None:
        """Append an entry with an id greater than `last_id`. A limit of 0 means no limit."""
        node = self.nodes[-1] if self.nodes else None
        if (
            node is None
            or (max_bytes and node.size >= max_bytes)
            or (max_entries and node.slots >= max_entries)
        ):
            node = Node(entry_id, fields)
            self.nodes.append(node)
        node.append(entry_id, fields)
        self.length += 1
        self.added += 1
        self.last_id = entry_id

    def get(self, entry_id: Id) -> Fields | None:
        """The fields of an entry, or None."""
        index = self._node_of(entry_id)
        return None if index < 0 else self.nodes[index].entries.get(entry_id)

    def remove(self, entry_id: Id) -> bool:
        """Delete an entry. Returns whether it existed. The caller updates `max_deleted`."""
        index = self._node_of(entry_id)
        if index < 0:
            return False
        node = self.nodes[index]
        fields = node.entries.pop(entry_id, None)
        if fields is None:
            return False
        node.deleted[entry_id] = fields
        del node.ids[bisect_left(node.ids, entry_id)]
        if not node.ids:
            del self.nodes[index]
        self.length -= 1
        return True

    def items(self) -> Iterator[tuple[Id, Fields]]:
        """All entries, oldest first."""
        return self.range(MIN_ID, MAX_ID)

    def range(self, low: Id, high: Id) -> Iterator[tuple[Id, Fields]]:
        """Entries from ``low`` to ``high``, both included."""
        index = max(0, self._node_of(low))
        for node in self.nodes[index:]:
            for entry_id in node.ids[bisect_left(node.ids, low) :]:
                if entry_id > high:
                    return
                yield entry_id, node.entries[entry_id]

    def reverse_range(self, high: Id, low: Id) -> Iterator[tuple[Id, Fields]]:
        """Entries from ``high`` down to ``low``, both included."""
        for node in reversed(self.nodes[: self._node_of(high) + 1]):
            for entry_id in reversed(node.ids[: bisect_right(node.ids, high)]):
                if entry_id < low:
                    return
                yield entry_id, node.entries[entry_id]

    def lag(
        self, group: Group, *, counts_all: bool, check_deleted: bool, early_gaps: bool
    ) -> int | None:
        """The lag: the number of entries that ``group`` has not read, None if it is unknown.

        Args:
            group: One of the stream's groups.
            counts_all: A group before the first entry has a lag of all entries, whatever its
                ``entries_read`` says.
            check_deleted: See `estimate_read`.
            early_gaps: An entry deleted before the first remaining one counts as a gap too.
        """
        if not self.added or (counts_all and not self.length):
            return 0
        if counts_all and group.last_id < self.first_id and self.max_deleted < self.first_id:
            return self.length
        if group.entries_read >= 0 and not self.has_gap_after(group.last_id, early=early_gaps):
            return self.added - group.entries_read
        read = self.estimate_read(group.last_id, check_deleted=check_deleted)
        return None if read < 0 else self.added - read

    def estimate_read(self, entry_id: Id, *, check_deleted: bool) -> int:
        """The number of entries ever added up to ``entry_id``, or -1 if it is unknown.

        With ``check_deleted`` it is also unknown if a later entry was deleted, even one before the
        first remaining entry.
        """
        if not self.added:
            return 0
        if not self.length and entry_id <= self.last_id:
            return self.added
        if check_deleted and entry_id != MIN_ID and entry_id < self.max_deleted:
            return -1
        if entry_id == self.last_id:
            return self.added
        if entry_id > self.last_id:
            return -1
        if self.max_deleted == MIN_ID or self.max_deleted < self.first_id:
            if entry_id < self.first_id:
                return self.added - self.length
            if entry_id == self.first_id:
                return self.added - self.length + 1
        return -1

    def has_gap_after(self, entry_id: Id, *, early: bool) -> bool:
        """Whether an entry at or after ``entry_id`` may have been deleted. ``early``
        includes entries before the first remaining one.
        """
        if not self.length or self.max_deleted == MIN_ID:
            return False
        return entry_id <= self.max_deleted and (early or self.first_id <= self.max_deleted)

    def tree_nodes(self) -> int:
        """The number of nodes in the server's radix tree of first ids."""
        keys = [
            b"%b%b" % (n.first[0].to_bytes(8, "big"), n.first[1].to_bytes(8, "big"))
            for n in self.nodes
        ]
        return _tree_nodes(keys, 0) if keys else 1

    def _node_of(self, entry_id: Id) -> int:
        """The index of the node that would hold ``entry_id``, or -1 before all nodes."""
        low, high = 0, len(self.nodes)
        while low < high:
            middle = (low + high) // 2
            if self.nodes[middle].first <= entry_id:
                low = middle + 1
            else:
                high = middle
        return low - 1


def _tree_nodes(keys: list[bytes], depth: int) -> int:
    first, last = keys[0], keys[-1]
    common = depth
    while common < len(first) and first[common] == last[common]:
        common += 1
    if common == len(first):
        return 1 + (common > depth)
    count = 1 + (common > depth)
    begin = 0
    while begin < len(keys):
        end = begin
        while end < len(keys) and keys[end][common] == keys[begin][common]:
            end += 1
        count += _tree_nodes(keys[begin:end], common + 1)
        begin = end
    return count
