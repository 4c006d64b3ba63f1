"""The keyspace of a server: its databases, and what they share.

In a cluster the keyspace belongs to a master; its replicas serve the same one.
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
        databases: By index.
        journal: For snapshots of all of them.
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
                self._sweep()

    def _sweep(self) -> None:
        """Drop entries of the queue that no longer say when their key is due."""
        self._deadlines = [
            entry
            for entry in self._deadlines
            if self.databases[entry[1]].expires.get(entry[2]) == entry[0]
            or self.databases[entry[1]].hash_deadlines.get(entry[2]) == entry[0]
        ]
        heapq.heapify(self._deadlines)

    def expire_due(self, now: int) -> None:
        """Remove every key and hash field whose time has come."""
        for _, index, key in self.take_due(now):
            self.databases[index].expire_due(key, now)

    def clear(self) -> None:
        """Delete every key and start over, as a new server does; observers stay."""
        for db in self.databases:
            db.clear()
            db.access = {}
        self._deadlines = []
        self.next_deadline = NEVER
        self.dirty = 0
