"""A hash: fields, values, and the times at which fields expire.

It is a dict, so reading a field costs a dict lookup. Redis keeps a small hash as one flat listpack
and turns it into a hash table for good once it outgrows the configured limits; `compact` remembers
which one it is.
"""

from __future__ import annotations

from collections.abc import Iterable


class Hash(dict[bytes, bytes]):
    """Field → value, with optional expiry (milliseconds since the epoch) for single fields."""

    __slots__ = ("compact", "deadlines")

    kind = b"hash"

    def __init__(self) -> None:
        self.compact = True
        self.deadlines: dict[bytes, int] | None = None

    def __copy__(self) -> Hash:
        twin = Hash()
        twin.update(self)
        twin.compact = self.compact
        twin.deadlines = None if self.deadlines is None else dict(self.deadlines)
        return twin

    def discard(self, field: bytes) -> bool:
        """Remove ``field`` and its deadline; whether it was there."""
        if self.pop(field, None) is None:
            return False
        if self.deadlines is not None:
            self.deadlines.pop(field, None)
        return True

    def persist(self, fields: Iterable[bytes]) -> int:
        """Have ``fields`` never expire; how many of them would have expired.

        In a listpack fields stand in the order in which they expire, those that never do last.
        """
        if not self.deadlines:
            return 0
        expiring = [field for field in fields if self.deadlines.pop(field, None) is not None]
        if self.compact:
            for field in expiring:
                self[field] = self.pop(field)
        return len(expiring)

    def next_deadline(self) -> int | None:
        """When the first field expires, or None."""
        return min(self.deadlines.values()) if self.deadlines else None

    def drop_expired(self, now: int) -> list[bytes]:
        """Remove the fields whose time has come; which they were."""
        if not self.deadlines:
            return []
        expired = [field for field, at in self.deadlines.items() if at <= now]
        for field in expired:
            self.discard(field)
        return expired
