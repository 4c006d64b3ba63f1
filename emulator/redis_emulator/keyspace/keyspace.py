"""`Keyspace`: the databases of a server with their shared context and snapshot journal.

In a cluster a master and its replicas use the same object.
"""

from __future__ import annotations

import heapq

from redis_emulator.keyspace.context import NEVER, Context
from redis_emulator.keyspace.database import Database
from redis_emulator.keyspace.snapshots import Journal


class Keyspace(Context):
    """The databases of a server.

    Args:
        count: How many databases there are.
        now: Milliseconds since the epoch.

    Attributes:
        databases: The databases by index.
        journal: The journal for snapshots of all databases.
    """

    __slots__ = ("databases", "journal")

    def __init__(self, count: int, now: int) -> None:
        super().__init__(now)
        self.databases = [Database(self, index) for index in range(count)]
        self.journal = Journal(self)

    def schedule(self, at: int, index: int, key: bytes) -> None:
        queue = self._deadlines
        heapq.heappush(queue, (at, index, key))
        if at < self.next_deadline:
            self.next_deadline = at
        if len(queue) > 256:
            live = sum(len(db.expires) + len(db.hash_deadlines) for db in self.databases)
            if len(queue) > 2 * live + 256:
                self._remove_stale_entries()

    def _remove_stale_entries(self) -> None:
        """Remove entries of the expiry queue that no longer match their key."""
        self._deadlines = [
            entry
            for entry in self._deadlines
            if self.databases[entry[1]].expires.get(entry[2]) == entry[0]
            or self.databases[entry[1]].hash_deadlines.get(entry[2]) == entry[0]
        ]
        heapq.heapify(self._deadlines)

    def expire_due(self, now: int) -> None:
        """Expire all due keys and hash fields."""
        for _, index, key in self.take_due(now):
            self.databases[index].expire_due(key, now)

    def clear(self) -> None:
        """Delete all keys and return to the initial state. Observers stay registered."""
        for db in self.databases:
            db.clear()
            db.access = {}
        self._deadlines = []
        self.next_deadline = NEVER
        self.dirty = 0
