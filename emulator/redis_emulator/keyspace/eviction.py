"""``maxmemory``: the sizes of all keys, and eviction.

While ``maxmemory`` is set, a `Ledger` observes all keys and stores their estimated sizes
(`redis_emulator.keyspace.memory`). Before each command the engine calls `Ledger.evict`, which
evicts keys by ``maxmemory-policy``. Redis chooses among a few sampled keys; the emulator ranks all
keys, so that the evicted key is exact and tests are reproducible.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from random import Random
from typing import Final

from redis_emulator.keyspace.context import KeyObserver
from redis_emulator.keyspace.database import Database
from redis_emulator.keyspace.events import EVICTED
from redis_emulator.keyspace.frequency import Frequencies
from redis_emulator.keyspace.memory import key_size

_POOL_SIZE_MIN: Final = 16
_Rank = Callable[["Database", bytes], int]


class Ledger(KeyObserver):
    """The sizes of all keys of one server, and the choice of keys to evict.

    Attributes:
        databases: The databases of the server.
        full: Whether memory still exceeded the limit after the last eviction.
    """

    __slots__ = (
        "_changed",
        "_data",
        "_policy",
        "_pool",
        "_random",
        "_sizes",
        "_total",
        "databases",
        "full",
    )

    def __init__(self, databases: list[Database], random: Random) -> None:
        self.databases = databases
        self._random = random
        self._sizes: list[dict[bytes, int]] = [{} for _ in databases]
        self._data: list[object] = [None for _ in databases]
        self._changed: set[tuple[int, bytes]] = set()
        self._total = 0
        self._pool: list[tuple[int, Database, bytes]] = []
        self._policy = ""
        self.full = False

    def changed(self, index: int, key: bytes) -> None:
        self._changed.add((index, key))

    adjusted = changed

    def used(self) -> int:
        """Bytes that all keys use."""
        databases = self.databases
        for index, key in self._changed:
            db = databases[index]
            sizes = self._sizes[index]
            self._total -= sizes.pop(key, 0)
            if key in db.data:
                sizes[key] = size = key_size(db, key)
                self._total += size
        self._changed.clear()
        for db in databases:
            if self._data[db.index] is not db.data:
                self._data[db.index] = db.data
                self._total -= sum(self._sizes[db.index].values())
                self._sizes[db.index] = sizes = {key: key_size(db, key) for key in db.data}
                self._total += sum(sizes.values())
        return self._total

    def evict(self, limit: int, policy: str) -> bool:
        """Evict keys until all keys use at most ``limit`` bytes. Returns whether they use more.

        Args:
            limit: ``maxmemory`` without the memory that the server uses besides its keys.
            policy: ``maxmemory-policy``.
        """
        self.full = self.used() > limit
        while self.full and policy != "noeviction":
            found = self._next_key(policy)
            if found is None:
                break
            db, key = found
            db.remove(key)
            db.context.stats.evicted += 1
            db.changed(key, b"evicted", EVICTED)
            self.full = self.used() > limit
        if not policy.endswith(("lru", "lfu")):
            self._pool.clear()
        return self.full

    def _next_key(self, policy: str) -> tuple[Database, bytes] | None:
        if policy != self._policy:
            self._policy = policy
            self._pool.clear()
        rank = _RANKS.get(policy.rpartition("-")[2], _last_use)
        for _ in range(2):
            while self._pool:
                ranked, db, key = self._pool.pop()
                if key in db.data and (policy.endswith("random") or rank(db, key) == ranked):
                    return db, key
            self._fill_pool(policy, rank)
        return None

    def _fill_pool(self, policy: str, rank: _Rank) -> None:
        candidates = list(self._candidates(policy))
        count = max(_POOL_SIZE_MIN, len(candidates) // 64)
        if policy.endswith("random"):
            count = min(count, len(candidates))
            chosen = self._random.sample(candidates, count)
            self._pool = [(0, db, key) for db, key in chosen]
            return
        chosen = heapq.nsmallest(count, candidates, key=lambda place: rank(*place))
        self._pool = [(rank(db, key), db, key) for db, key in reversed(chosen)]

    def _candidates(self, policy: str) -> Iterator[tuple[Database, bytes]]:
        for db in self.databases:
            for key in db.expires if policy.startswith("volatile") else db.data:
                yield db, key


def _last_use(db: Database, key: bytes) -> int:
    return db.access.get(key, 0)


def _frequency(db: Database, key: bytes) -> int:
    access = db.access
    return access.frequency(key, db.context.now) if isinstance(access, Frequencies) else 0


def _expiry(db: Database, key: bytes) -> int:
    return db.expires.get(key, 0)


_RANKS: Final[dict[str, _Rank]] = {"lru": _last_use, "lfu": _frequency, "ttl": _expiry}
