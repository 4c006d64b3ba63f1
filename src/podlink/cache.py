"""What a router remembers of the links it has read, and for how long it may believe it.

An entry is served only while it is known to be good, in one of two ways.

- **Tracked**: a connection hears of every change (`podlink.tracking`). Each answer to its PING
  proves that every change made before that PING was sent has been heard. An entry is served while
  the last such moment is not longer ago than ``max_silence``, so that a connection which has died
  without a sign cannot make the cache lie for longer than that.
- **Untracked**: there is no such connection: a cluster, a server that cannot track, or for the
  moment. An entry is served for ``max_staleness`` seconds after its read began. That is 0 unless
  asked for, because nothing tells of a change then: the cache is off.

A link that changes while it is being read is not remembered: word of the change may come before the
reply. So a read is announced with `begin`, and `end` remembers its result only if no change was
heard of in between.

All of it is bookkeeping under a lock, without IO; time comes from outside.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from podlink import forks
from podlink.keys import link_prefix


class RouterStats(NamedTuple):
    """What a router's cache did.

    Attributes:
        hits: lookups that the cache answered.
        misses: lookups that it could not answer.
        links: how many links it holds.
        tracked: whether changes are being heard of at the moment.
    """

    hits: int
    misses: int
    links: int
    tracked: bool


class Reading:
    """A link that is being read, by one caller or several."""

    __slots__ = ("at", "callers", "key", "tracked", "undisturbed")

    def __init__(self, key: bytes, at: float, tracked: bool) -> None:
        self.key = key
        self.at = at
        self.tracked = tracked
        self.callers = 0
        self.undisturbed = True


class _Entry(NamedTuple):
    pod_id: int
    at: float
    tracked: bool


class LinkCache:
    """Links by their keys: the least recently used are dropped first.

    Args:
        size: how many links are kept; 0 keeps none.
        max_staleness: seconds for which an entry is served without tracking.
        max_silence: seconds without proof that all changes are heard of, after which no tracked
            entry is served.
        monotonic: the clock.
    """

    def __init__(
        self,
        size: int,
        max_staleness: float,
        max_silence: float,
        monotonic: Callable[[], float],
    ) -> None:
        self.size = size
        self.max_staleness = max_staleness
        self.max_silence = max_silence
        self.monotonic = monotonic
        self._lock = threading.Lock()
        self._links: OrderedDict[bytes, _Entry] = OrderedDict()
        self._readings: dict[bytes, Reading] = {}
        self._source: Any = None
        self._namespaces: frozenset[str] = frozenset()
        self._heard = float("-inf")
        self._hits = self._misses = 0
        forks.renew(self)

    def _after_fork(self) -> None:
        """Forget everything in a child process, which hears of no changes."""
        self._lock = threading.Lock()
        self._start_over(None)

    # For routers

    def get(self, source: Any, namespace: str, key: bytes) -> int | None:
        """The pod of a link, or ``None`` when it is not known, or not surely enough.

        Args:
            source: what the links are read from; another one than before empties the cache.
        """
        with self._lock:
            entry = self._links.get(key) if source is self._source else None
            if entry is not None and self._is_good(entry, namespace):
                self._links.move_to_end(key)
                self._hits += 1
                return entry.pod_id
            return None

    def begin(self, source: Any, namespace: str, key: bytes) -> Reading | None:
        """Note that a link is about to be read; ``None`` when it would not be remembered."""
        with self._lock:
            if source is not self._source:
                self._start_over(source)
            self._misses += 1
            now = self.monotonic()
            tracked = self._is_tracked(namespace, now)
            if not self.size or not (tracked or self.max_staleness):
                return None
            reading = self._readings.get(key)
            if reading is None:
                reading = self._readings[key] = Reading(key, now, tracked)
            reading.callers += 1
            return reading

    def end(self, reading: Reading | None, pod_id: int | None) -> None:
        """Remember what was read, if it may be; ``None`` when there is nothing to remember."""
        if reading is None:
            return
        with self._lock:
            reading.callers -= 1
            if not reading.undisturbed:
                return
            if not reading.callers:
                del self._readings[reading.key]
            if pod_id is None:
                return
            self._links[reading.key] = _Entry(pod_id, reading.at, reading.tracked)
            self._links.move_to_end(reading.key)
            if len(self._links) > self.size:
                self._links.popitem(last=False)

    def stats(self) -> RouterStats:
        """The counts so far."""
        with self._lock:
            tracked = self._heard + self.max_silence >= self.monotonic()
            return RouterStats(self._hits, self._misses, len(self._links), tracked)

    # For whoever hears of changes

    def tracks(self, source: Any, namespaces: Iterable[str]) -> None:
        """From now on every change of a link in these namespaces is heard of."""
        with self._lock:
            if source is not self._source:
                self._start_over(source)
            self._namespaces = frozenset(namespaces)

    def heard_until(self, source: Any, moment: float) -> None:
        """Every change before that moment of the clock has been heard of."""
        with self._lock:
            if source is self._source:
                self._heard = max(self._heard, moment)

    def changed(self, keys: Iterable[bytes] | None) -> None:
        """These links have changed; ``None`` means that any may have."""
        with self._lock:
            if keys is None:
                self._forget()
                return
            for key in keys:
                self._links.pop(key, None)
                reading = self._readings.pop(key, None)
                if reading is not None:
                    reading.undisturbed = False

    def lost(self) -> None:
        """Changes are not heard of any more, if they were."""
        with self._lock:
            if self._namespaces:
                self._start_over(None)

    def _start_over(self, source: Any) -> None:
        self._source = source
        self._namespaces = frozenset()
        self._heard = float("-inf")
        self._forget()

    def _forget(self) -> None:
        self._links.clear()
        for reading in self._readings.values():
            reading.undisturbed = False
        self._readings.clear()

    def _is_good(self, entry: _Entry, namespace: str) -> bool:
        now = self.monotonic()
        if entry.tracked and self._is_tracked(namespace, now):
            return True
        return now - entry.at < self.max_staleness

    def _is_tracked(self, namespace: str, now: float) -> bool:
        return namespace in self._namespaces and now - self._heard <= self.max_silence


def track(namespaces: Iterable[str]) -> tuple[Any, ...]:
    """The command after which a connection hears of every change of a link in the namespaces."""
    command: list[Any] = ["CLIENT", "TRACKING", "ON", "BCAST"]
    for namespace in namespaces:
        command += ["PREFIX", link_prefix(namespace)]
    return tuple(command)


def changed_keys(message: Any) -> list[bytes] | None:
    """The keys of an invalidation message; ``None`` when any may have changed."""
    keys = message[1]
    if keys is None:
        return None
    return [key if isinstance(key, bytes) else key.encode() for key in keys]
