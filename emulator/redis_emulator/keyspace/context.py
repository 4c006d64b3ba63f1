"""What a database knows of the world: the time, counters, when keys expire, and who observes keys.

All databases of a keyspace share one `Context` and know nothing else: no server, no client, no
engine. Whoever must hear of changes (WATCH, client-side caching, blocked clients, keyspace
events, the ledger of ``maxmemory``, the store of a cluster's master) is a `KeyObserver` that is
registered for as long as somebody needs it. With no observer, a write costs one check of
`Context.observed`.

Time stands still during a command: the engine sets `Context.now` before each command, and removes
what is due before the command starts.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Protocol

NEVER: Final = 1 << 62
"""A deadline that does not come, in milliseconds since the epoch."""


class KeyObserver:
    """Is told of changes of keys. Each method does nothing unless a subclass overrides it.

    Databases are named by their index.
    """

    def created(self, index: int, key: bytes, value: object) -> None:
        """``value`` is about to be stored at ``key``, which does not exist."""

    def removed(self, index: int, key: bytes, value: object) -> None:
        """``value`` at ``key`` is about to be deleted or replaced."""

    def changed(self, index: int, key: bytes) -> None:
        """``key`` was created, changed or deleted."""

    def adjusted(self, index: int, key: bytes) -> None:
        """Something beside the entries of the stream at ``key`` changed: a consumer group."""

    def exchanged(self, index: int, keys: Collection[bytes]) -> None:
        """All these keys were deleted or replaced at once, by FLUSHDB or SWAPDB."""

    def event(self, index: int, key: bytes, event: bytes, kind: int) -> None:
        """The keyspace event ``event`` of class ``kind`` happened to ``key``."""


class Recorder(Protocol):
    """Keeps the state of keys before they change: what a `Database` needs of the journal."""

    def note(self, index: int, key: bytes, value: object | None, expiry: int | None) -> None:
        """``key`` is about to change; it holds ``value`` and expires at ``expiry``."""
        ...


@dataclass(slots=True)
class KeyStats:
    """What INFO tells of databases; CONFIG RESETSTAT replaces the object.

    Attributes:
        hits: Reads that found the key.
        misses: Reads that did not.
        expired: Keys deleted because their time had come.
        expired_fields: Fields of hashes deleted for the same reason.
        evicted: Keys deleted to free memory.
    """

    hits: int = 0
    misses: int = 0
    expired: int = 0
    expired_fields: int = 0
    evicted: int = 0


class Context:
    """What the databases of one keyspace share.

    Args:
        now: Milliseconds since the epoch.

    Attributes:
        now: When the current command started.
        stats: Counters of the server that changes the keys.
        dirty: Changes since the last save.
        next_deadline: When the first key or field expires; `NEVER` if none does.
        observers: Who is told of changes, in the order of registration.
        observed: Whether there is an observer.
    """

    __slots__ = ("_deadlines", "dirty", "next_deadline", "now", "observed", "observers", "stats")

    def __init__(self, now: int) -> None:
        self.now = now
        self.stats = KeyStats()
        self.dirty = 0
        self.next_deadline = NEVER
        self.observers: tuple[KeyObserver, ...] = ()
        self.observed = False
        self._deadlines: list[tuple[int, int, bytes]] = []

    def observe(self, observer: KeyObserver) -> None:
        """Tell ``observer`` of changes from now on; nothing happens if it is told already."""
        if observer not in self.observers:
            self.observers = (*self.observers, observer)
            self.observed = True

    def ignore(self, observer: KeyObserver) -> None:
        """Tell ``observer`` of changes no longer."""
        self.observers = tuple(each for each in self.observers if each is not observer)
        self.observed = bool(self.observers)

    def schedule(self, at: int, index: int, key: bytes) -> None:
        """Expire ``key`` of database ``index``, or fields of the hash there, at ``at``.

        An earlier entry for the key may remain. It is dropped when it comes up, or by a sweep when
        there are too many (`Keyspace.schedule`).
        """
        raise NotImplementedError

    def take_due(self, now: int) -> list[tuple[int, int, bytes]]:
        """Take everything up to ``now`` off the queue of deadlines, earliest first."""
        queue = self._deadlines
        found = []
        while queue and queue[0][0] <= now:
            found.append(heapq.heappop(queue))
        self.next_deadline = queue[0][0] if queue else NEVER
        return found
