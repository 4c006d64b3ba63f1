"""`Context`: what the databases of a keyspace share, and the interface for observers of keys.

A `Context` has the current time, counters, the expiry queue and the observers. Databases know
neither the server nor clients nor the engine. Code that must react to changes of keys (WATCH,
client-side caching, blocked clients, keyspace events, ``maxmemory``, cluster nodes) registers a
`KeyObserver` while it needs one. Without observers, a write costs one check of `Context.observed`.

The engine sets `Context.now` and expires due keys before each command, so the time does not change
while a command runs.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Protocol

NEVER: Final = 1 << 62
"""A deadline that is never reached, in milliseconds since the epoch."""


class KeyObserver:
    """Base class of observers. Each method does nothing unless a subclass overrides it.

    ``index`` is the index of the database.
    """

    def created(self, index: int, key: bytes, value: object) -> None:
        """``value`` is about to be stored at ``key``, which does not exist."""

    def removed(self, index: int, key: bytes, value: object) -> None:
        """``value`` at ``key`` is about to be deleted or replaced."""

    def changed(self, index: int, key: bytes) -> None:
        """``key`` was created, changed or deleted."""

    def adjusted(self, index: int, key: bytes) -> None:
        """A consumer group of the stream at ``key`` changed, but not the entries of the stream."""

    def exchanged(self, index: int, keys: Collection[bytes]) -> None:
        """All these keys were deleted or replaced together, by FLUSHDB or SWAPDB."""

    def event(self, index: int, key: bytes, event: bytes, kind: int) -> None:
        """The keyspace event ``event`` of class ``kind`` happened to ``key``."""


class Recorder(Protocol):
    """The part of the snapshot journal that a `Database` uses: saves keys before they change."""

    def note(self, index: int, key: bytes, value: object | None, expiry: int | None) -> None:
        """``key`` is about to change; it holds ``value`` and expires at ``expiry``."""
        ...


@dataclass(slots=True)
class KeyStats:
    """Counters of databases in INFO. CONFIG RESETSTAT replaces the object.

    Attributes:
        hits: Lookups that found the key (``keyspace_hits``).
        misses: Lookups that did not (``keyspace_misses``).
        expired: Expired keys.
        expired_fields: Expired hash fields.
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
        observers: The registered observers, in the order of registration.
        observed: Whether there is any observer.
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
        """Register an observer. Does nothing if it is registered already."""
        if observer not in self.observers:
            self.observers = (*self.observers, observer)
            self.observed = True

    def ignore(self, observer: KeyObserver) -> None:
        """Unregister an observer."""
        self.observers = tuple(each for each in self.observers if each is not observer)
        self.observed = bool(self.observers)

    def schedule(self, at: int, index: int, key: bytes) -> None:
        """Add an entry to the expiry queue: ``key`` of database ``index``, or fields of the hash at
        ``key``, expire at ``at``.

        Older entries for the key stay in the queue. They are ignored when they become due, or
        removed when there are too many (`Keyspace.schedule`).
        """
        raise NotImplementedError

    def take_due(self, now: int) -> list[tuple[int, int, bytes]]:
        """Remove and return all entries of the expiry queue up to ``now``, the earliest first."""
        queue = self._deadlines
        found = []
        while queue and queue[0][0] <= now:
            found.append(heapq.heappop(queue))
        self.next_deadline = queue[0][0] if queue else NEVER
        return found
