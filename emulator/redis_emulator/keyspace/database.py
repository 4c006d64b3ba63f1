"""`Database`: the keys, values and expiry of one database. Commands change keys only through it.

The engine expires due keys before each command, and the time does not change while the command runs
(`Context.now`). So a command never finds an expired key. All databases share the expiry queue of
the `Context`; an entry that no longer matches its key is ignored.
"""

from __future__ import annotations

import zlib

from sortedcontainers import SortedDict

from redis_emulator.keyspace.context import Context, Recorder
from redis_emulator.keyspace.events import EXPIRED, GENERIC, HASH, KEY_MISS, NEW, STREAM
from redis_emulator.values.hash import Hash


class Database:
    """One numbered database. All access to values goes through its methods.

    Attributes:
        data: The values by key.
        expires: The expiry times of keys, in milliseconds since the epoch.
        access: The last access times of keys; `frequency.Frequencies` with an LFU policy.
        hash_deadlines: When the first field expires, for hashes with expiring fields.
        journal: Saves keys before they change while a snapshot exists; None otherwise.
        order: The keys in the order of SCAN; None until `scan_order` is called.
    """

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
        """Look up ``key`` for reading. Returns its value or None. Counts a hit or miss, and an
        access.
        """
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
        """Like `lookup`, but without counting an access, as for EXISTS, TYPE, TTL and OBJECT."""
        value = self.data.get(key)
        if value is None:
            return self.lookup(key)
        self.context.stats.hits += 1
        return value

    def writable(self, key: bytes) -> object | None:
        """Look up ``key`` for a change in place. Returns its value or None."""
        value = self.data.get(key)
        if value is not None:
            if self.journal is not None:
                self._save_state(key)
            self.access[key] = self.context.now
        return value

    def set(self, key: bytes, value: object) -> None:
        """Store ``value`` at ``key``. Replaces any value and removes the TTL."""
        self.replace(key, value)
        if self.expires:
            self.expires.pop(key, None)

    def replace(self, key: bytes, value: object) -> None:
        """Store ``value`` at ``key``. Keeps the TTL."""
        if self.journal is not None:
            self._save_state(key)
        if key not in self.data:
            if self.order is not None:
                self._add_to_order(key)
            if self.context.observed:
                self._notify_created(key, value)
        else:
            if self.hash_deadlines:
                self.hash_deadlines.pop(key, None)
            if self.context.observed:
                self._notify_removed(key)
        if type(value) is Hash and (deadline := value.next_deadline()) is not None:
            self.schedule_fields(key, deadline)
        self.data[key] = value
        self.access[key] = self.context.now

    def remove(self, key: bytes) -> bool:
        """Delete ``key``. Returns whether it existed."""
        if key not in self.data:
            return False
        if self.journal is not None:
            self._save_state(key)
        if self.context.observed:
            self._notify_removed(key)
        del self.data[key]
        self.access.pop(key, None)
        if self.expires:
            self.expires.pop(key, None)
        if self.hash_deadlines:
            self.hash_deadlines.pop(key, None)
        if self.order is not None:
            self._remove_from_order(key)
        return True

    def _save_state(self, key: bytes) -> None:
        assert self.journal is not None
        self.journal.note(self.index, key, self.data.get(key), self.expires.get(key))

    def _notify_created(self, key: bytes, value: object) -> None:
        self.data[key] = value
        self.notify(key, b"new", NEW)
        for observer in self.context.observers:
            observer.created(self.index, key, value)

    def _notify_removed(self, key: bytes) -> None:
        for observer in self.context.observers:
            observer.removed(self.index, key, self.data[key])

    def clear(self) -> int:
        """Delete all keys. Returns their number."""
        count = len(self.data)
        if self.journal is not None:
            for key in self.data:
                self._save_state(key)
        gone = self.data
        self.data = {}
        self.expires = {}
        self.access.clear()
        self.hash_deadlines = {}
        self.order = None
        self.scans = {}
        self._notify_exchanged(gone)
        return count

    def reload(self, values: dict[bytes, object], *, keep_access: bool) -> None:
        """Replace all values by ``values``, which has the same keys (DEBUG RELOAD).

        Args:
            values: The new values by key.
            keep_access: Whether to keep the access times.
        """
        if self.journal is not None:
            for key in self.data:
                self._save_state(key)
        self.data = values
        if not keep_access:
            self.access = dict.fromkeys(self.access, self.context.now)
        self._notify_exchanged(values)

    def exchange(self, other: Database) -> None:
        """Swap all keys with ``other`` (SWAPDB)."""
        if self.journal is not None:
            for key in (*self.data, *other.data):
                self._save_state(key)
                other._save_state(key)
        for attribute in ("data", "expires", "access", "hash_deadlines", "order"):
            own = getattr(self, attribute)
            setattr(self, attribute, getattr(other, attribute))
            setattr(other, attribute, own)
        for db, before in ((self, other.data), (other, self.data)):
            for deadlines in (db.expires, db.hash_deadlines):
                for key, at in deadlines.items():
                    self.context.schedule(at, db.index, key)
            db._notify_exchanged({**before, **db.data})

    def _notify_exchanged(self, keys: dict[bytes, object]) -> None:
        for observer in self.context.observers:
            observer.exchanged(self.index, keys.keys())

    def set_expiry(self, key: bytes, at: int | None) -> None:
        """Set the expiry time of ``key`` (milliseconds since the epoch); None removes it."""
        if self.journal is not None:
            self._save_state(key)
        if at is None:
            self.expires.pop(key, None)
        else:
            self.expires[key] = at
            self.context.schedule(at, self.index, key)

    def schedule_fields(self, key: bytes, at: int | None) -> None:
        """Set when the first field of the hash ``key`` expires; None for never."""
        if at is None:
            self.hash_deadlines.pop(key, None)
        else:
            self.hash_deadlines[key] = at
            self.context.schedule(at, self.index, key)

    def expire_due(self, key: bytes, now: int) -> None:
        """Expire ``key``, or fields of the hash at ``key``, if they are due."""
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
        """Remove the values of ``keys`` without events. Returns them for `show`."""
        if self.order is not None:
            for key in keys:
                self._remove_from_order(key)
        return {key: self.data.pop(key) for key in keys}

    def show(self, hidden: dict[bytes, object]) -> None:
        """Restore the values that `hide` has removed."""
        self.data.update(hidden)
        if self.order is not None:
            for key in hidden:
                self._add_to_order(key)

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
        """Report a change of a consumer group of the stream at ``key``. For WATCH and client-side
        caching the key has not changed.
        """
        context = self.context
        context.dirty += 1
        for observer in context.observers:
            observer.adjusted(self.index, key)
        if event is not None:
            self.notify(key, event, STREAM)

    def notify(self, key: bytes, event: bytes, kind: int) -> None:
        """Report a keyspace event without a change, or for a change already reported."""
        for observer in self.context.observers:
            observer.event(self.index, key, event, kind)

    def restore_key(self, key: bytes, value: object | None, expiry: int | None) -> None:
        """Restore the value and expiry of ``key`` from a snapshot, without keyspace events."""
        if key in self.data:
            if self.order is not None:
                self._remove_from_order(key)
            del self.data[key]
            self.expires.pop(key, None)
            self.access.pop(key, None)
            self.hash_deadlines.pop(key, None)
        if value is not None:
            self.data[key] = value
            self.access[key] = self.context.now
            if self.order is not None:
                self._add_to_order(key)
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
        """The keys by scan position. Updated with every change after the first call.

        The position of a key depends only on its name, so cursors stay valid when keys are added or
        deleted: a key that exists during the whole iteration is returned.
        """
        if self.order is None:
            buckets: dict[int, dict[bytes, None]] = {}
            for key in self.data:
                buckets.setdefault(scan_position(key), {})[key] = None
            self.order = SortedDict(buckets)
        return self.order

    def _add_to_order(self, key: bytes) -> None:
        assert self.order is not None
        self.order.setdefault(scan_position(key), {})[key] = None

    def _remove_from_order(self, key: bytes) -> None:
        assert self.order is not None
        position = scan_position(key)
        bucket = self.order[position]
        del bucket[key]
        if not bucket:
            del self.order[position]


def scan_position(key: bytes) -> int:
    """The position of ``key`` in SCAN: 1 to 2**32, computed from the name."""
    return zlib.crc32(key) + 1
