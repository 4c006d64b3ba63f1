"""A sorted set: members, their scores, and the order that follows from both.

Scores are a dict. The order is a sorted list of (score, member), built on first use and kept up to
date from then on, so that a set that is only written costs no more than a hash.
Redis keeps a small sorted set as one flat listpack and turns it into a skiplist once it outgrows
the configured limits; `compact` remembers which one it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from sortedcontainers import SortedList

Item = tuple[float, bytes]


class ScoreBound(NamedTuple):
    """One end of a range of scores."""

    score: float
    exclusive: bool


class LexBound(NamedTuple):
    """One end of a range of members; infinite if ``member`` is None."""

    member: bytes | None
    exclusive: bool = False

    def below(self, member: bytes) -> bool:
        """Whether ``member`` is inside, this being the lower end."""
        if self.member is None:
            return self is LOWEST
        return member >= self.member and not (self.exclusive and member == self.member)

    def above(self, member: bytes) -> bool:
        """Whether ``member`` is inside, this being the upper end."""
        if self.member is None:
            return self is HIGHEST
        return member <= self.member and not (self.exclusive and member == self.member)


LOWEST: Final = LexBound(None)
HIGHEST: Final = LexBound(None)


class SortedSet:
    """Member → score, ordered by score and then by member."""

    __slots__ = ("_order", "compact", "scores")

    kind = b"zset"

    def __init__(self) -> None:
        self.scores: dict[bytes, float] = {}
        self.compact = True
        self._order: SortedList[Item] | None = None

    def __copy__(self) -> SortedSet:
        twin = SortedSet()
        twin.scores = dict(self.scores)
        twin.compact = self.compact
        return twin

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[bytes]:
        return (member for _, member in self.order())

    def __contains__(self, member: object) -> bool:
        return member in self.scores

    def items(self) -> Iterable[tuple[bytes, float]]:
        """Members with their scores, in no particular order."""
        return self.scores.items()

    def pairs(self) -> list[tuple[bytes, float]]:
        """Members with their scores, lowest first."""
        return [(member, score) for score, member in self.order()]

    @property
    def encoding(self) -> bytes:
        """The name that OBJECT ENCODING prints."""
        return b"listpack" if self.compact else b"skiplist"

    def order(self) -> SortedList[Item]:
        """All (score, member) pairs, sorted. Callers must not change it."""
        if self._order is None:
            self._order = SortedList((score, member) for member, score in self.scores.items())
        return self._order

    def put(self, member: bytes, score: float) -> None:
        """Add ``member``, or move it to another score."""
        order = self._order
        if order is not None:
            before = self.scores.get(member)
            if before is not None:
                order.remove((before, member))
            order.add((score, member))
        self.scores[member] = score

    def discard(self, member: bytes) -> bool:
        """Remove ``member``. Returns whether it existed."""
        score = self.scores.pop(member, None)
        if score is None:
            return False
        if self._order is not None:
            self._order.remove((score, member))
        return True

    def cut(self, start: int, stop: int) -> list[Item]:
        """Remove and return the items from rank ``start`` up to, not including, ``stop``."""
        order = self.order()
        gone: list[Item] = order[start:stop]
        del order[start:stop]
        for _, member in gone:
            del self.scores[member]
        return gone

    def rank(self, member: bytes) -> int | None:
        """The rank of ``member`` (0 is the lowest), or None."""
        score = self.scores.get(member)
        return None if score is None else self.order().bisect_left((score, member))

    def score_range(self, low: ScoreBound, high: ScoreBound) -> tuple[int, int]:
        """Ranks of the scores between two bounds: the first, and the one after the last."""
        order = self.order()
        start = _above(order, low.score) if low.exclusive else order.bisect_left((low.score,))
        stop = order.bisect_left((high.score,)) if high.exclusive else _above(order, high.score)
        return start, max(start, stop)

    def lex_range(self, low: LexBound, high: LexBound, *, reverse: bool = False) -> tuple[int, int]:
        """Ranks of the members between two bounds: the first, and the one after the last.

        Well defined only if all scores are equal. Otherwise the result is that of a walk through
        the listpack, from its upper end with ``reverse``.
        """
        order = self.order()
        if not order or low is HIGHEST or high is LOWEST:
            return 0, 0
        score = order[0][0]
        if order[-1][0] != score:
            return self._walk(low, high, reverse)
        start, stop = 0, len(order)
        if low.member is not None:
            find = order.bisect_right if low.exclusive else order.bisect_left
            start = find((score, low.member))
        if high.member is not None:
            find = order.bisect_left if high.exclusive else order.bisect_right
            stop = find((score, high.member))
        return start, max(start, stop)

    def _walk(self, low: LexBound, high: LexBound, reverse: bool) -> tuple[int, int]:
        members = [member for _, member in self.order()]
        if not low.below(members[-1]) or not high.above(members[0]):
            return 0, 0
        start, stop = 0, len(members)
        if reverse:
            while not high.above(members[stop - 1]):
                stop -= 1
            start = stop
            while start > 0 and low.below(members[start - 1]):
                start -= 1
        else:
            while not low.below(members[start]):
                start += 1
            stop = start
            while stop < len(members) and high.above(members[stop]):
                stop += 1
        return start, stop


def _above(order: SortedList[Item], score: float) -> int:
    """The rank of the first score greater than ``score``."""
    if score == math.inf:
        return len(order)
    rank: int = order.bisect_left((math.nextafter(score, math.inf),))
    return rank
