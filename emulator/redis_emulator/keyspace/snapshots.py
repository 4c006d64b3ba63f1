"""Snapshots of the keyspace that cost what changed, not what is stored.

Snapshots form a tree whose root is the present. Each other node keeps the difference that leads
from it one step towards the root: for every key changed on that step, the value as it was. While
some snapshot exists, the keyspace calls `Journal.note` before the first change of a key; restoring
walks from the target to the root and swaps each difference with what it replaces, which turns the
edge around and makes the target the root (Baker's rerooting of persistent arrays).
"""

from __future__ import annotations

import copy
import weakref
from typing import Protocol

from redis_emulator.keyspace.database import Database

_Noted = tuple[object, "int | None"]


class Holder(Protocol):
    """What holds the databases of a journal."""

    databases: list[Database]


class Snapshot:
    """A state of all databases to which `RedisEmulator.restore` can go back, any number of
    times."""

    __slots__ = ("__weakref__", "_difference", "_next", "_owner")

    def __init__(self, owner: Journal) -> None:
        self._owner = owner
        self._next: Snapshot | None = None
        self._difference: dict[tuple[int, bytes], _Noted] = {}


class Journal:
    """Remembers, for the latest snapshot, every key's state before its first change."""

    __slots__ = ("_here", "_holder")

    def __init__(self, holder: Holder) -> None:
        self._holder = holder
        self._here: weakref.ref[Snapshot] | None = None

    def snapshot(self) -> Snapshot:
        """The present state, kept. Costs nothing until something changes."""
        latest = self._here() if self._here is not None else None
        if latest is not None and not latest._difference:
            return latest
        snapshot = Snapshot(self)
        if latest is not None:
            latest._next = snapshot
        self._here = weakref.ref(snapshot)
        for db in self._holder.databases:
            db.journal = self
        return snapshot

    def note(self, index: int, key: bytes, value: object | None, expiry: int | None) -> None:
        """Keep what ``key`` holds now, unless that has been done since the last snapshot."""
        latest = self._here() if self._here is not None else None
        if latest is None:
            self._here = None
            for each in self._holder.databases:
                each.journal = None
            return
        place = (index, key)
        if place not in latest._difference:
            latest._difference[place] = (_keep(value), expiry)

    def restore(self, target: Snapshot) -> None:
        """Make the keyspace what it was when ``target`` was taken.

        Raises:
            ValueError: The snapshot was taken of another emulator.
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
        self._here = weakref.ref(target)
        for db in self._holder.databases:
            db.journal = self

    def _swap(self, difference: dict[tuple[int, bytes], _Noted]) -> dict[tuple[int, bytes], _Noted]:
        reverse: dict[tuple[int, bytes], _Noted] = {}
        for (index, key), (value, expiry) in difference.items():
            db = self._holder.databases[index]
            reverse[index, key] = (db.data.get(key), db.expires.get(key))
            db.put_back(key, value, expiry)
        return reverse


def _keep(value: object) -> object:
    if value is None or type(value) is bytes:
        return value
    return copy.copy(value)
