"""Databases: keys, values, expiry, and word of every change.

Time stands still during a command (`Server.now`), and the engine removes whatever is due before the
command starts. A command therefore never meets an expired key, which is what lazy plus active
expiry of a real server amount to. Due times wait in one heap for all databases; an entry that no
longer matches its key is dropped when it comes up.
"""

from __future__ import annotations

import heapq
import zlib
from typing import TYPE_CHECKING, Final

from sortedcontainers import SortedDict

from redis_emulator.keyspace.snapshots import Journal
from redis_emulator.values.hash import Hash
from redis_emulator.values.kinds import type_name

if TYPE_CHECKING:
    from redis_emulator.clients.session import Session
    from redis_emulator.server.server import Server

GENERIC: Final = 1
STRING: Final = 2
LIST: Final = 4
SET: Final = 8
HASH: Final = 16
ZSET: Final = 32
STREAM: Final = 64
EXPIRED: Final = 128
EVICTED: Final = 256
MODULE: Final = 512
KEY_MISS: Final = 1024
NEW: Final = 2048
KEYSPACE: Final = 4096
KEYEVENT: Final = 8192


class Database:
    """One numbered database. All access to values goes through its methods."""

    __slots__ = (
        "access",
        "data",
        "expires",
        "hash_deadlines",
        "index",
        "journal",
        "order",
        "scans",
        "server",
        "watchers",
    )

    def __init__(self, server: Server, index: int) -> None:
        self.server = server
        self.index = index
        self.data: dict[bytes, object] = {}
        self.expires: dict[bytes, int] = {}
        self.access: dict[bytes, int] = {}
        self.hash_deadlines: dict[bytes, int] = {}
        self.watchers: dict[bytes, set[Session]] = {}
        self.journal: Journal | None = None
        self.order: SortedDict[int, dict[bytes, None]] | None = None
        self.scans: dict[bytes, object] = {}

    def lookup(self, key: bytes) -> object | None:
        """The value at ``key`` for reading, or None. Counts a hit or miss and the access."""
        value = self.data.get(key)
        server = self.server
        if value is None:
            server.misses += 1
            if server.notify & KEY_MISS:
                self.notify(key, b"keymiss", KEY_MISS)
            return None
        server.hits += 1
        self.access[key] = server.now
        return value

    def peek(self, key: bytes) -> object | None:
        """Like `lookup`, but the key does not count as used: what EXISTS, TYPE, TTL and OBJECT
        do."""
        value = self.data.get(key)
        if value is None:
            return self.lookup(key)
        self.server.hits += 1
        return value

    def writable(self, key: bytes) -> object | None:
        """The value at ``key`` to be changed in place, or None."""
        value = self.data.get(key)
        if value is not None:
            if self.journal is not None:
                self.journal.note(self, key)
            self.access[key] = self.server.now
        return value

    def set(self, key: bytes, value: object) -> None:
        """Store ``value`` at ``key`` in place of anything there, TTL included."""
        self.replace(key, value)
        if self.expires:
            self.expires.pop(key, None)

    def replace(self, key: bytes, value: object) -> None:
        """Store ``value`` at ``key``; a TTL of the key stays."""
        if self.journal is not None:
            self.journal.note(self, key)
        if key not in self.data:
            if self.order is not None:
                self._enter_order(key)
            if self.server.notify & NEW or self.server.cluster is not None:
                self.data[key] = value
                self.notify(key, b"new", NEW)
            if self.server.waiting:
                self.server.key_came(self, key, value)
        else:
            if self.hash_deadlines:
                self.hash_deadlines.pop(key, None)
            if self.server.waiting:
                self._went(key)
        if type(value) is Hash and (deadline := value.next_deadline()) is not None:
            self.schedule_fields(key, deadline)
        self.data[key] = value
        self.access[key] = self.server.now

    def remove(self, key: bytes) -> bool:
        """Delete ``key``; whether it was there."""
        if key not in self.data:
            return False
        if self.journal is not None:
            self.journal.note(self, key)
        if self.server.waiting:
            self._went(key)
        del self.data[key]
        self.access.pop(key, None)
        if self.expires:
            self.expires.pop(key, None)
        if self.hash_deadlines:
            self.hash_deadlines.pop(key, None)
        if self.order is not None:
            self._leave_order(key)
        return True

    def _went(self, key: bytes) -> None:
        if type_name(self.data[key]) == b"stream":
            self.server.key_went(self, key)

    def clear(self) -> int:
        """Delete every key and tell watchers; returns how many there were."""
        count = len(self.data)
        if self.journal is not None:
            for key in self.data:
                self.journal.note(self, key)
        gone = self.data
        self.data = {}
        self.expires = {}
        self.access.clear()
        self.hash_deadlines = {}
        self.order = None
        self.scans = {}
        self._touch_observed(gone)
        return count

    def reload(self, values: dict[bytes, object]) -> None:
        """Hold ``values``, as many as there are now at the same keys, in place of them; who watches
        one hears of it. When keys were used is forgotten, unless the policy goes by it.
        """
        if self.journal is not None:
            for key in self.data:
                self.journal.note(self, key)
        self.data = values
        policy = self.server.config["maxmemory-policy"]
        if "lru" not in policy and "lfu" not in policy:
            self.access = dict.fromkeys(self.access, self.server.now)
        for key in values.keys() & self.watchers.keys():
            for session in self.watchers[key]:
                session.dirty = True

    def exchange(self, other: Database) -> None:
        """Swap all keys with ``other``; clients stay with the number of their database."""
        if self.journal is not None:
            for key in (*self.data, *other.data):
                self.journal.note(self, key)
                self.journal.note(other, key)
        for attribute in ("data", "expires", "access", "hash_deadlines", "order"):
            mine = getattr(self, attribute)
            setattr(self, attribute, getattr(other, attribute))
            setattr(other, attribute, mine)
        for db, before in ((self, other.data), (other, self.data)):
            for deadlines in (db.expires, db.hash_deadlines):
                for key, at in deadlines.items():
                    self.server.schedule(at, db.index, key)
            db._touch_observed({**before, **db.data})

    def _touch_observed(self, keys: dict[bytes, object]) -> None:
        for key in [key for key in self.watchers if key in keys]:
            for session in self.watchers[key]:
                session.dirty = True
        for index, key in tuple(self.server.waiting):
            if index == self.index and key in keys:
                self.server.ready.append((self, key))

    def set_expiry(self, key: bytes, at: int | None) -> None:
        """Let ``key`` expire at ``at`` (milliseconds since the epoch), or never when None."""
        if self.journal is not None:
            self.journal.note(self, key)
        if at is None:
            self.expires.pop(key, None)
        else:
            self.expires[key] = at
            self.server.schedule(at, self.index, key)

    def schedule_fields(self, key: bytes, at: int | None) -> None:
        """Have the engine look at the hash ``key`` when its earliest field expires at ``at``."""
        if at is None:
            self.hash_deadlines.pop(key, None)
        else:
            self.hash_deadlines[key] = at
            self.server.schedule(at, self.index, key)

    def expire_due(self, key: bytes, now: int) -> None:
        """Delete ``key``, or the fields of the hash there, if their time has come."""
        at = self.expires.get(key)
        if at is not None and at <= now:
            self.remove(key)
            self.server.expired += 1
            self.changed(key, b"expired", EXPIRED)
            return
        at = self.hash_deadlines.get(key)
        if at is None or at > now:
            return
        value = self.writable(key)
        assert type(value) is Hash
        expired = value.drop_expired(now)
        self.schedule_fields(key, value.next_deadline())
        if not expired:
            return
        self.server.expired_fields += len(expired)
        self.changed(key, b"hexpired", HASH)
        if not value:
            self.remove(key)
            self.changed(key, b"del", GENERIC)

    def hide(self, keys: list[bytes]) -> dict[bytes, object]:
        """Take away the values of ``keys`` without anybody noticing; `show` puts them back."""
        if self.order is not None:
            for key in keys:
                self._leave_order(key)
        return {key: self.data.pop(key) for key in keys}

    def show(self, hidden: dict[bytes, object]) -> None:
        """Put back what `hide` has taken away."""
        self.data.update(hidden)
        if self.order is not None:
            for key in hidden:
                self._enter_order(key)

    def changed(self, key: bytes, event: bytes, kind: int) -> None:
        """Tell everybody concerned that ``key`` changed by ``event`` of class ``kind``."""
        server = self.server
        server.dirty += 1
        if server.observed:
            self._tell(key, event, kind)

    def touched(self, key: bytes) -> None:
        """Like `changed`, but without an event to publish."""
        server = self.server
        server.dirty += 1
        if server.observed:
            self._touch(key)

    def adjusted(self, key: bytes, event: bytes | None = None) -> None:
        """Something beside the entries of the stream at ``key`` changed, such as a consumer group:
        who watches or tracks the key is not told.
        """
        server = self.server
        server.dirty += 1
        if server.observed:
            for told in server.on_touch:
                told(self, key)
            if event == b"xgroup-destroy" and server.waiting:
                server.key_came(self, key, self.data[key])
            if event is not None:
                self.notify(key, event, STREAM)

    def notify(self, key: bytes, event: bytes, kind: int) -> None:
        """Publish a keyspace event only; nothing has changed (again)."""
        server = self.server
        if server.notify & kind:
            server.publish_event(self.index, key, event)
        if server.cluster is not None:
            server.cluster.happened(self, key, event, kind)

    def put_back(self, key: bytes, value: object | None, expiry: int | None) -> None:
        """Make ``key`` what a snapshot says, without events. For the journal alone."""
        if key in self.data:
            if self.order is not None:
                self._leave_order(key)
            del self.data[key]
            self.expires.pop(key, None)
            self.access.pop(key, None)
            self.hash_deadlines.pop(key, None)
        if value is not None:
            self.data[key] = value
            self.access[key] = self.server.now
            if self.order is not None:
                self._enter_order(key)
            if expiry is not None:
                self.expires[key] = expiry
                self.server.schedule(expiry, self.index, key)
            if type(value) is Hash and (deadline := value.next_deadline()) is not None:
                self.schedule_fields(key, deadline)
            self.server.key_came(self, key, value)
        self._touch(key)

    def scan_order(self) -> SortedDict[int, dict[bytes, None]]:
        """Keys by scan position, kept up to date from the first call on.

        A key's position depends on the key alone, so a cursor stays valid whatever is added or
        removed: what is there from the first call to the last is returned.
        """
        if self.order is None:
            buckets: dict[int, dict[bytes, None]] = {}
            for key in self.data:
                buckets.setdefault(scan_position(key), {})[key] = None
            self.order = SortedDict(buckets)
        return self.order

    def _enter_order(self, key: bytes) -> None:
        assert self.order is not None
        self.order.setdefault(scan_position(key), {})[key] = None

    def _leave_order(self, key: bytes) -> None:
        assert self.order is not None
        position = scan_position(key)
        bucket = self.order[position]
        del bucket[key]
        if not bucket:
            del self.order[position]

    def _tell(self, key: bytes, event: bytes, kind: int) -> None:
        self._touch(key)
        if event == b"xadd" and self.server.waiting:
            self.server.key_came(self, key, self.data[key])
        self.notify(key, event, kind)

    def _touch(self, key: bytes) -> None:
        for session in self.watchers.get(key, ()):
            session.dirty = True
        self.server.key_touched(self, key)


def scan_position(key: bytes) -> int:
    """Where ``key`` comes in a SCAN: a number from 1 to 2**32 that depends on nothing else."""
    return zlib.crc32(key) + 1


class Deadlines:
    """When which key is to be looked at. Outdated entries are harmless and swept when they
    prevail."""

    __slots__ = ("heap",)

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, bytes]] = []

    def add(self, at: int, index: int, key: bytes) -> None:
        """Look at ``key`` of database ``index`` at ``at``."""
        heapq.heappush(self.heap, (at, index, key))

    def due(self, now: int) -> list[tuple[int, int, bytes]]:
        """Take out everything up to ``now``, earliest first."""
        heap = self.heap
        found = []
        while heap and heap[0][0] <= now:
            found.append(heapq.heappop(heap))
        return found

    def sweep(self, databases: list[Database]) -> None:
        """Drop entries that no longer say when their key is due."""
        self.heap = [
            entry
            for entry in self.heap
            if databases[entry[1]].expires.get(entry[2]) == entry[0]
            or databases[entry[1]].hash_deadlines.get(entry[2]) == entry[0]
        ]
        heapq.heapify(self.heap)
