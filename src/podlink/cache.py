"""The cache of a router: the links that it has read, and how long each may be used.

An entry is used in one of two modes:

- **Tracked**: a connection receives an invalidation message for each change (`podlink.tracking`,
  CLIENT TRACKING). The reply to each PING on it confirms that all changes before the PING have been
  received. An entry is used if the last confirmed time is at most ``max_silence`` seconds ago.
  Therefore a connection that breaks unnoticed cannot cause stale results for longer than that.
- **Untracked**: there is no such connection, because the server is a cluster, has no CLIENT
  TRACKING, or the connection is being established. An entry is used for ``max_staleness`` seconds
  after its read began. The default is 0, which disables the cache in this mode.

A link that changes while it is being read is not cached, because the invalidation message may
arrive before the reply. Therefore a read begins with `begin_read`, and `end_read` stores the result
only if no invalidation was received in between.

This module does no IO, and takes the time from a function. A lock protects all state.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from podlink import forks
from podlink.keys import link_prefix


class RouterStats(NamedTuple):
    """The counts of a router's cache.

    Attributes:
        hits: lookups that found a usable link.
        misses: lookups that had to read the link from the server.
        links: the number of cached links.
        tracked: whether the cache receives invalidation messages at present.
    """

    hits: int
    misses: int
    links: int
    tracked: bool


class PendingRead:
    """A read of a link in flight, which several callers may share.

    Attributes:
        key: the key of the link.
        started_at: when the first caller began.
        tracked: whether invalidation messages were received at that time.
        readers: how many callers have not finished.
        valid: whether the link has not been invalidated since.
    """

    __slots__ = ("key", "readers", "started_at", "tracked", "valid")

    def __init__(self, key: bytes, started_at: float, tracked: bool) -> None:
        self.key = key
        self.started_at = started_at
        self.tracked = tracked
        self.readers = 0
        self.valid = True


class _Entry(NamedTuple):
    pod_id: int
    at: float
    tracked: bool


class LinkCache:
    """An LRU cache of links by key.

    Args:
        size: the maximum number of links; 0 disables the cache.
        max_staleness: seconds for which an entry is used without tracking.
        max_silence: seconds for which tracked entries are used after the last confirmed time.
        monotonic: returns the seconds of a monotonic clock.
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
        self._readings: dict[bytes, PendingRead] = {}
        self._source: Any = None
        self._namespaces: frozenset[str] = frozenset()
        self._confirmed_until = float("-inf")
        self._hits = self._misses = 0
        forks.renew(self)

    def _after_fork(self) -> None:
        """Clear the cache in a child process, which receives no invalidation messages."""
        self._lock = threading.Lock()
        self._reset_tracking(None)

    # Called by routers

    def get(self, source: Any, namespace: str, key: bytes) -> int | None:
        """Return the pod of a cached link, or ``None`` if the link must be read from the server.

        Args:
            source: identifies the server. Links of another server are not used.
        """
        with self._lock:
            entry = self._links.get(key) if source is self._source else None
            if entry is not None and self._is_valid(entry, namespace):
                self._links.move_to_end(key)
                self._hits += 1
                return entry.pod_id
            return None

    def begin_read(self, source: Any, namespace: str, key: bytes) -> PendingRead | None:
        """Register a read of a link.

        Pass the result to `end_read`. Returns ``None`` if the link would not be cached.
        """
        with self._lock:
            if source is not self._source:
                self._reset_tracking(source)
            self._misses += 1
            now = self.monotonic()
            tracked = self._is_tracked(namespace, now)
            if not self.size or not (tracked or self.max_staleness):
                return None
            reading = self._readings.get(key)
            if reading is None:
                reading = self._readings[key] = PendingRead(key, now, tracked)
            reading.readers += 1
            return reading

    def end_read(self, reading: PendingRead | None, pod_id: int | None) -> None:
        """Finish a read, and cache the pod unless the link was invalidated in the meantime.

        ``pod_id`` is ``None`` if the uid has no link or the read failed.
        """
        if reading is None:
            return
        with self._lock:
            reading.readers -= 1
            if not reading.valid:
                return
            if not reading.readers:
                del self._readings[reading.key]
            if pod_id is None:
                return
            self._links[reading.key] = _Entry(pod_id, reading.started_at, reading.tracked)
            self._links.move_to_end(reading.key)
            if len(self._links) > self.size:
                self._links.popitem(last=False)

    def stats(self) -> RouterStats:
        """Return the counts."""
        with self._lock:
            tracked = self._confirmed_until + self.max_silence >= self.monotonic()
            return RouterStats(self._hits, self._misses, len(self._links), tracked)

    # Called by trackers

    def start_tracking(self, source: Any, namespaces: Iterable[str]) -> None:
        """Note that from now on all changes in these namespaces are received."""
        with self._lock:
            if source is not self._source:
                self._reset_tracking(source)
            self._namespaces = frozenset(namespaces)

    def confirm_until(self, source: Any, moment: float) -> None:
        """Note that all changes before ``moment`` (of the monotonic clock) have been received."""
        with self._lock:
            if source is self._source:
                self._confirmed_until = max(self._confirmed_until, moment)

    def invalidate(self, keys: Iterable[bytes] | None) -> None:
        """Remove changed links; ``None`` removes all (after FLUSHALL, for example)."""
        with self._lock:
            if keys is None:
                self._clear()
                return
            for key in keys:
                self._links.pop(key, None)
                reading = self._readings.pop(key, None)
                if reading is not None:
                    reading.valid = False

    def stop_tracking(self) -> None:
        """Note that changes are no longer received, and clear the cache if it was tracked."""
        with self._lock:
            if self._namespaces:
                self._reset_tracking(None)

    def _reset_tracking(self, source: Any) -> None:
        self._source = source
        self._namespaces = frozenset()
        self._confirmed_until = float("-inf")
        self._clear()

    def _clear(self) -> None:
        self._links.clear()
        for reading in self._readings.values():
            reading.valid = False
        self._readings.clear()

    def _is_valid(self, entry: _Entry, namespace: str) -> bool:
        now = self.monotonic()
        if entry.tracked and self._is_tracked(namespace, now):
            return True
        return now - entry.at < self.max_staleness

    def _is_tracked(self, namespace: str, now: float) -> bool:
        return namespace in self._namespaces and now - self._confirmed_until <= self.max_silence


def tracking_command(namespaces: Iterable[str]) -> tuple[Any, ...]:
    """Build the CLIENT TRACKING command that reports all changes of links in the namespaces.

    See https://redis.io/commands/client-tracking (BCAST and PREFIX).
    """
    command: list[Any] = ["CLIENT", "TRACKING", "ON", "BCAST"]
    for namespace in namespaces:
        command += ["PREFIX", link_prefix(namespace)]
    return tuple(command)


def invalidated_keys(message: Any) -> list[bytes] | None:
    """Return the keys of an invalidation message; ``None`` means that all may have changed."""
    keys = message[1]
    if keys is None:
        return None
    return [key if isinstance(key, bytes) else key.encode() for key in keys]
