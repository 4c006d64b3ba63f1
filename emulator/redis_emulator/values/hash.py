"""A hash: fields, values, and the times at which fields expire.

It is a dict, so reading a field costs a dict lookup. Redis keeps a small hash as one flat listpack
and turns it into a hash table for good once it outgrows the configured limits; `compact` remembers
which one it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


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

    def replace(self, field: bytes, content: bytes) -> None:
        """Give ``field`` a value that never expires; one that would have expired moves to the
        end."""
        if self.deadlines and self.deadlines.pop(field, None) is not None:
            del self[field]
        self[field] = content

    def expire(self, fields: Sequence[bytes], at: int) -> None:
        """Have ``fields``, which exist, expire at ``at``.

        In a listpack fields stand in the order in which they expire, those that never do last. One
        that is set comes before others of the same time.
        """
        if self.deadlines is None:
            self.deadlines = {}
        deadlines = self.deadlines
        deadlines.update(dict.fromkeys(fields, at))
        if self.compact:
            items = [(field, self.pop(field)) for field in dict.fromkeys(reversed(fields))]
            items += self.items()
            items.sort(key=lambda item: deadlines.get(item[0], math.inf))
            self.clear()
            self.update(items)

    def persist(self, field: bytes) -> bool:
        """Have ``field`` never expire; whether it would have expired. It moves to the end."""
        if not self.deadlines or self.deadlines.pop(field, None) is None:
            return False
        self[field] = self.pop(field)
        return True

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
