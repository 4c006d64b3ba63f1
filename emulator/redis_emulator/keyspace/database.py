"""Databases: keys, values and expiry. Every change of a key goes through a `Database`.

Time stands still during a command (`Context.now`), and the engine removes what is due before the
command starts. A command therefore never meets an expired key, as if a real server had expired it
on access or by its active expiry cycle. Deadlines of all databases are in one queue of the
`Context`; an entry that no longer matches its key is dropped when it comes up.
"""

from __future__ import annotations

import zlib

from sortedcontainers import SortedDict

from redis_emulator.keyspace.context import Context, Recorder
from redis_emulator.keyspace.events import EXPIRED, GENERIC, HASH, KEY_MISS, NEW, STREAM
from redis_emulator.values.hash import Hash


class Database:
    """One numbered database. All access to values goes through its methods."""

    __slots__ = (
        "access",
        "context",
        "data",
        "expires",
        "hash_deadlines",
        "index",
        "journal",
        "order",
        "scans",
    )

    def __init__(self, context: Context, index: int) -> None:
        self.context = context
        self.index = index
        self.data: dict[bytes, object] = {}
        self.expires: dict[bytes, int] = {}
        self.access: dict[bytes, int] = {}
        self.hash_deadlines: dict[bytes, int] = {}
        self.journal: Recorder | None = None
        self.order: SortedDict[int, dict[bytes, None]] | None = None
        self.scans: dict[bytes, object] = {}

    def lookup(self, key: bytes) -> object | None:
        """The value at ``key`` for reading, or None. Counts a hit or miss and the access."""
        value = self.data.get(key)
        context = self.context
        if value is None:
            context.stats.misses += 1
            if context.observed:
                self.notify(key, b"keymiss", KEY_MISS)
            return None
        context.stats.hits += 1
        self.access[key] = context.now
        return value

    def peek(self, key: bytes) -> object | None:
        """Like `lookup`, but the key does not count as used: what EXISTS, TYPE, TTL and OBJECT
        do."""
        value = self.data.get(key)
        if value is None:
            return self.lookup(key)
        self.context.stats.hits += 1
        return value

    def writable(self, key: bytes) -> object | None:
        """The value at ``key`` to be changed in place, or None."""
        value = self.data.get(key)
        if value is not None:
            if self.journal is not None:
                self._keep(key)
            self.access[key] = self.context.now
        return value

    def set(self, key: bytes, value: object) -> None:
        """Store ``value`` at ``key`` in place of anything there, TTL included."""
        self.replace(key, value)
        if self.expires:
            self.expires.pop(key, None)

    def replace(self, key: bytes, value: object) -> None:
        """Store ``value`` at ``key``; a TTL of the key stays."""
        if self.journal is not None:
            self._keep(key)
        if key not in self.data:
            if self.order is not None:
                self._enter_order(key)
            if self.context.observed:
                self._tell_created(key, value)
        else:
            if self.hash_deadlines:
                self.hash_deadlines.pop(key, None)
            if self.context.observed:
                self._tell_removed(key)
        if type(value) is Hash and (deadline := value.next_deadline()) is not None:
            self.schedule_fields(key, deadline)
        self.data[key] = value
        self.access[key] = self.context.now

    def remove(self, key: bytes) -> bool:
        """Delete ``key``; whether it was there."""
        if key not in self.data:
            return False
        if self.journal is not None:
            self._keep(key)
        if self.context.observed:
            self._tell_removed(key)
        del self.data[key]
        self.access.pop(key, None)
        if self.expires:
            self.expires.pop(key, None)
        if self.hash_deadlines:
            self.hash_deadlines.pop(key, None)
        if self.order is not None:
            self._leave_order(key)
        return True

    def _keep(self, key: bytes) -> None:
        assert self.journal is not None
        self.journal.note(self.index, key, self.data.get(key), self.expires.get(key))

    def _tell_created(self, key: bytes, value: object) -> None:
        self.data[key] = value
        self.notify(key, b"new", NEW)
        for observer in self.context.observers:
            observer.created(self.index, key, value)

    def _tell_removed(self, key: bytes) -> None:
        for observer in self.context.observers:
            observer.removed(self.index, key, self.data[key])

    def clear(self) -> int:
        """Delete every key; returns how many there were."""
        count = len(self.data)
        if self.journal is not None:
            for key in self.data:
                self._keep(key)
        gone = self.data
        self.data = {}
        self.expires = {}
        self.access.clear()
        self.hash_deadlines = {}
        self.order = None
        self.scans = {}
        self._tell_exchanged(gone)
        return count

    def reload(self, values: dict[bytes, object], *, keep_access: bool) -> None:
        """Replace all values by ``values``, which has the same keys: DEBUG RELOAD.

        Args:
            values: The new values by key.
            keep_access: Whether the keys count as last used when they were, not now.
        """
        if self.journal is not None:
            for key in self.data:
                self._keep(key)
        self.data = values
        if not keep_access:
            self.access = dict.fromkeys(self.access, self.context.now)
        self._tell_exchanged(values)

    def exchange(self, other: Database) -> None:
        """Swap all keys with ``other``; clients stay with the number of their database."""
        if self.journal is not None:
            for key in (*self.data, *other.data):
                self._keep(key)
                other._keep(key)
        for attribute in ("data", "expires", "access", "hash_deadlines", "order"):
            mine = getattr(self, attribute)
            setattr(self, attribute, getattr(other, attribute))
            setattr(other, attribute, mine)
        for db, before in ((self, other.data), (other, self.data)):
            for deadlines in (db.expires, db.hash_deadlines):
                for key, at in deadlines.items():
                    self.context.schedule(at, db.index, key)
            db._tell_exchanged({**before, **db.data})

    def _tell_exchanged(self, keys: dict[bytes, object]) -> None:
        for observer in self.context.observers:
            observer.exchanged(self.index, keys.keys())

    def set_expiry(self, key: bytes, at: int | None) -> None:
        """Let ``key`` expire at ``at`` (milliseconds since the epoch), or never when None."""
        if self.journal is not None:
            self._keep(key)
        if at is None:
            self.expires.pop(key, None)
        else:
            self.expires[key] = at
            self.context.schedule(at, self.index, key)

    def schedule_fields(self, key: bytes, at: int | None) -> None:
        """Have the engine look at the hash ``key`` when its earliest field expires at ``at``."""
        if at is None:
            self.hash_deadlines.pop(key, None)
        else:
            self.hash_deadlines[key] = at
            self.context.schedule(at, self.index, key)

    def expire_due(self, key: bytes, now: int) -> None:
        """Delete ``key``, or the fields of the hash there, if their time has come."""
        at = self.expires.get(key)
        if at is not None and at <= now:
            self.remove(key)
            self.context.stats.expired += 1
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
        self.context.stats.expired_fields += len(expired)
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
        """Report that ``key`` changed by ``event`` of class ``kind``."""
        context = self.context
        context.dirty += 1
        if context.observed:
            for observer in context.observers:
                observer.changed(self.index, key)
            self.notify(key, event, kind)

    def touched(self, key: bytes) -> None:
        """Report that ``key`` changed, without a keyspace event."""
        context = self.context
        context.dirty += 1
        for observer in context.observers:
            observer.changed(self.index, key)

    def adjusted(self, key: bytes, event: bytes | None = None) -> None:
        """Report that something beside the entries of the stream at ``key`` changed, such as a
        consumer group. For WATCH and client-side caching the key has not changed.
        """
        context = self.context
        context.dirty += 1
        for observer in context.observers:
            observer.adjusted(self.index, key)
        if event is not None:
            self.notify(key, event, STREAM)

    def notify(self, key: bytes, event: bytes, kind: int) -> None:
        """Report a keyspace event; nothing has changed, or the change was reported before."""
        for observer in self.context.observers:
            observer.event(self.index, key, event, kind)

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
            self.access[key] = self.context.now
            if self.order is not None:
                self._enter_order(key)
            if expiry is not None:
                self.expires[key] = expiry
                self.context.schedule(expiry, self.index, key)
            if type(value) is Hash and (deadline := value.next_deadline()) is not None:
                self.schedule_fields(key, deadline)
            for observer in self.context.observers:
                observer.created(self.index, key, value)
        for observer in self.context.observers:
            observer.changed(self.index, key)

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


def scan_position(key: bytes) -> int:
    """Where ``key`` comes in a SCAN: a number from 1 to 2**32 that depends on nothing else."""
    return zlib.crc32(key) + 1
