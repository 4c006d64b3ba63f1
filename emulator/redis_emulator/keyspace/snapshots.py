"""Snapshots of the keyspace. Their cost is proportional to the changes, not to the stored data.

Snapshots form a tree whose root is the current state. Every other node stores its difference to the
next node towards the root: the old values of all keys that changed in this step. While a snapshot
exists, databases call `Journal.note` before the first change of a key. `Journal.restore` walks from
the target to the root, swaps each difference with the current values and reverses the edge, so that
the target becomes the root (rerooting of persistent arrays, Baker 1978).
"""

from __future__ import annotations

import copy
import weakref
from typing import Protocol

from redis_emulator.keyspace.database import Database

_SavedState = tuple[object, "int | None"]


class Holder(Protocol):
    """The owner of the databases of a journal."""

    databases: list[Database]


class Snapshot:
    """A saved state of all databases. `RedisEmulator.restore` can restore it several times."""

    __slots__ = ("__weakref__", "_difference", "_next", "_owner")

    def __init__(self, owner: Journal) -> None:
        self._owner = owner
        self._next: Snapshot | None = None
        self._difference: dict[tuple[int, bytes], _SavedState] = {}


class Journal:
    """Stores, for the latest snapshot, the state of each key before its first change."""

    __slots__ = ("_holder", "_latest")

    def __init__(self, holder: Holder) -> None:
        self._holder = holder
        self._latest: weakref.ref[Snapshot] | None = None

    def snapshot(self) -> Snapshot:
        """Save the current state. Costs nothing until a key changes."""
        latest = self._latest() if self._latest is not None else None
        if latest is not None and not latest._difference:
            return latest
        snapshot = Snapshot(self)
        if latest is not None:
            latest._next = snapshot
        self._latest = weakref.ref(snapshot)
        for db in self._holder.databases:
            db.journal = self
        return snapshot

    def note(self, index: int, key: bytes, value: object | None, expiry: int | None) -> None:
        """Save the state of ``key``, unless it was saved since the last snapshot."""
        latest = self._latest() if self._latest is not None else None
        if latest is None:
            self._latest = None
            for each in self._holder.databases:
                each.journal = None
            return
        place = (index, key)
        if place not in latest._difference:
            latest._difference[place] = (_copied(value), expiry)

    def restore(self, target: Snapshot) -> None:
        """Restore the state of ``target``.

        Raises:
            ValueError: The snapshot belongs to another emulator.
        """
        if target._owner is not self:
            raise ValueError("the snapshot belongs to another emulator; restore it there")
        path = [target]
        while path[-1]._next is not None:
            path.append(path[-1]._next)
        present = Snapshot(self)
        path[-1]._next = present
        path.append(present)
        for node, following in zip(reversed(path[:-1]), reversed(path[1:]), strict=True):
            following._difference = self._swap(node._difference)
            following._next = node
            node._difference, node._next = {}, None
        self._latest = weakref.ref(target)
        for db in self._holder.databases:
            db.journal = self

    def _swap(
        self, difference: dict[tuple[int, bytes], _SavedState]
    ) -> dict[tuple[int, bytes], _SavedState]:
        reverse: dict[tuple[int, bytes], _SavedState] = {}
        for (index, key), (value, expiry) in difference.items():
            db = self._holder.databases[index]
            reverse[index, key] = (db.data.get(key), db.expires.get(key))
            db.restore_key(key, value, expiry)
        return reverse


def _copied(value: object) -> object:
    if value is None or type(value) is bytes:
        return value
    return copy.copy(value)
