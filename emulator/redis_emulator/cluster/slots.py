"""Hash slots, and the keyspace of a master with its keys by slot."""

from __future__ import annotations

from binascii import crc_hqx
from functools import cache
from itertools import count, product
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Final

from sortedcontainers import SortedSet

from redis_emulator.keyspace.context import KeyObserver
from redis_emulator.keyspace.database import Database, scan_position
from redis_emulator.keyspace.keyspace import Keyspace
from redis_emulator.keyspace.snapshots import Journal

SLOTS: Final = 16384


def slot_of(key: bytes) -> int:
    """The hash slot of a key, of its hash tag if it has one."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) & (SLOTS - 1)


@cache
def tags() -> tuple[bytes, ...]:
    """For each slot the shortest hash tag. Among several, the first in the order digits, lower-case
    letters, upper-case letters.
    """
    found: dict[int, bytes] = {}
    for length in count(1):
        for letters in product(
            (digits + ascii_lowercase + ascii_uppercase).encode(), repeat=length
        ):
            name = bytes(letters)
            found.setdefault(slot_of(name), name)
        if len(found) == SLOTS:
            return tuple(found[slot] for slot in range(SLOTS))
    raise AssertionError("every slot has a name")


class SlotOrder:
    """The keys of a database ordered by slot, and within a slot by scan position.

    Attributes:
        of: The dictionary of the keys.
        places: Sorted (slot, scan position, key).
    """

    __slots__ = ("of", "places")

    def __init__(self, data: dict[bytes, object]) -> None:
        self.of = data
        self.places: SortedSet[tuple[int, int, bytes]] = SortedSet(map(self._place, data))

    @staticmethod
    def _place(key: bytes) -> tuple[int, int, bytes]:
        return slot_of(key), scan_position(key), key

    def touched(self, key: bytes) -> None:
        """Update the entry of a key that was created, deleted or changed."""
        if key in self.of:
            self.places.add(self._place(key))
        else:
            self.places.discard(self._place(key))


class Store(KeyObserver):
    """The keyspace of a master, which its replicas share.

    Attributes:
        keyspace: The databases.
        offset: The replication offset: the number of changes.
        order: The keys by slot; None until `by_slot` is called.
    """

    __slots__ = ("keyspace", "offset", "order")

    def __init__(self, keyspace: Keyspace) -> None:
        self.keyspace = keyspace
        self.offset = 0
        self.order: SlotOrder | None = None
        keyspace.observe(self)

    @property
    def databases(self) -> list[Database]:
        """The databases by index."""
        return self.keyspace.databases

    @property
    def journal(self) -> Journal:
        """The journal for snapshots."""
        return self.keyspace.journal

    def changed(self, index: int, key: bytes) -> None:
        self.offset += 1
        if self.order is not None:
            if self.order.of is self.databases[index].data:
                self.order.touched(key)
            else:
                self.order = None

    adjusted = changed

    def by_slot(self) -> SlotOrder:
        """The keys by slot. Updated with every change after the first call."""
        data = self.databases[0].data
        if self.order is None or self.order.of is not data:
            self.order = SlotOrder(data)
        return self.order
