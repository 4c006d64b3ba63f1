"""A hash: fields, values, and the times at which fields expire.

It is a dict, so reading a field costs a dict lookup. Redis stores a small hash as a listpack, and
converts it to a hash table when it exceeds the configured limits. `compact` is true for a listpack.

Field deadlines are a dict too. A heap finds the next one. It is built on first use; an entry that
is no longer the deadline of its field is dropped when it reaches the top.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heapify, heappop, heappush


class Hash(dict[bytes, bytes]):
    """Field → value, with optional field deadlines (milliseconds since the epoch)."""

    __slots__ = ("compact", "deadlines", "queue")

    kind = b"hash"

    def __init__(self) -> None:
        self.compact = True
        self.deadlines: dict[bytes, int] | None = None
        self.queue: list[tuple[int, bytes]] | None = None

    def __copy__(self) -> Hash:
        copy = Hash()
        copy.update(self)
        copy.compact = self.compact
        copy.deadlines = None if self.deadlines is None else dict(self.deadlines)
        return copy

    def discard(self, field: bytes) -> bool:
        """Remove ``field`` and its deadline. Returns whether it existed."""
        if self.pop(field, None) is None:
            return False
        if self.deadlines is not None:
            self.deadlines.pop(field, None)
        return True

    def replace(self, field: bytes, content: bytes) -> None:
        """Set ``field`` to a value without a deadline. A field that had one moves to the end."""
        if self.deadlines and self.deadlines.pop(field, None) is not None:
            del self[field]
        self[field] = content

    def expire(self, fields: Sequence[bytes], at: int) -> None:
        """Set the deadline of ``fields``, which must exist, to ``at``.

        In a listpack, fields are ordered by deadline; fields without one come last. A field that is
        set comes before others with the same deadline.
        """
        if self.deadlines is None:
            self.deadlines = {}
        deadlines = self.deadlines
        deadlines.update(dict.fromkeys(fields, at))
        if self.queue is not None:
            for field in fields:
                heappush(self.queue, (at, field))
            if len(self.queue) > 2 * len(deadlines) + 64:
                self.queue = None
        if self.compact:
            items = [(field, self.pop(field)) for field in dict.fromkeys(reversed(fields))]
            items += self.items()
            items.sort(key=lambda item: deadlines.get(item[0], math.inf))
            self.clear()
            self.update(items)

    def persist(self, field: bytes) -> bool:
        """Remove the deadline of ``field`` and move it to the end. Returns whether it had one."""
        if not self.deadlines or self.deadlines.pop(field, None) is None:
            return False
        self[field] = self.pop(field)
        return True

    def next_deadline(self) -> int | None:
        """The earliest deadline of a field, or None."""
        deadlines = self.deadlines
        if not deadlines:
            return None
        queue = self.queue
        if queue is None:
            queue = self.queue = [(at, field) for field, at in deadlines.items()]
            heapify(queue)
        while deadlines.get(queue[0][1]) != queue[0][0]:
            heappop(queue)
        return queue[0][0]

    def drop_expired(self, now: int) -> list[bytes]:
        """Remove and return the fields whose deadline has passed."""
        expired = []
        while (first := self.next_deadline()) is not None and first <= now:
            assert self.queue is not None
            field = heappop(self.queue)[1]
            self.discard(field)
            expired.append(field)
        return expired
