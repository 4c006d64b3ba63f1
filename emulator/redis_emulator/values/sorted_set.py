"""A sorted set: members and scores, ordered by score and then by member.

Scores are a dict. The order is a sorted list of (score, member). It is built on first use and
updated from then on, so a set that is only written costs no more than a hash. Redis stores a small
sorted set as a listpack, and converts it to a skiplist when it exceeds the configured limits.
`compact` is true for a listpack.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from sortedcontainers import SortedList

Item = tuple[float, bytes]


class ScoreBound(NamedTuple):
    """A bound of a range of scores."""

    score: float
    exclusive: bool


class LexBound(NamedTuple):
    """A bound of a lexicographical range; infinite if ``member`` is None."""

    member: bytes | None
    exclusive: bool = False

    def is_lower_bound_of(self, member: bytes) -> bool:
        """Whether ``member`` is in a range with this lower bound."""
        if self.member is None:
            return self is LOWEST
        return member >= self.member and not (self.exclusive and member == self.member)

    def is_upper_bound_of(self, member: bytes) -> bool:
        """Whether ``member`` is in a range with this upper bound."""
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
        copy = SortedSet()
        copy.scores = dict(self.scores)
        copy.compact = self.compact
        return copy

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

    def remove_ranks(self, start: int, stop: int) -> list[Item]:
        """Remove and return the items from rank ``start`` up to, not including, ``stop``."""
        order = self.order()
        removed: list[Item] = order[start:stop]
        del order[start:stop]
        for _, member in removed:
            del self.scores[member]
        return removed

    def rank(self, member: bytes) -> int | None:
        """The rank of ``member`` (0 is the lowest), or None."""
        score = self.scores.get(member)
        return None if score is None else self.order().bisect_left((score, member))

    def score_range(self, low: ScoreBound, high: ScoreBound) -> tuple[int, int]:
        """Ranks of the scores between two bounds: the first, and the one after the last."""
        order = self.order()
        start = _rank_above(order, low.score) if low.exclusive else order.bisect_left((low.score,))
        stop = (
            order.bisect_left((high.score,)) if high.exclusive else _rank_above(order, high.score)
        )
        return start, max(start, stop)

    def lex_range(self, low: LexBound, high: LexBound, *, reverse: bool = False) -> tuple[int, int]:
        """Ranks of the members between two bounds: the first, and the one after the last.

        It is well defined only if all scores are equal. Otherwise the result is that of Redis for a
        listpack, which it scans from the start, or from the end with ``reverse``.
        """
        order = self.order()
        if not order or low is HIGHEST or high is LOWEST:
            return 0, 0
        score = order[0][0]
        if order[-1][0] != score:
            return self._scan_lex_range(low, high, reverse)
        start, stop = 0, len(order)
        if low.member is not None:
            find = order.bisect_right if low.exclusive else order.bisect_left
            start = find((score, low.member))
        if high.member is not None:
            find = order.bisect_left if high.exclusive else order.bisect_right
            stop = find((score, high.member))
        return start, max(start, stop)

    def _scan_lex_range(self, low: LexBound, high: LexBound, reverse: bool) -> tuple[int, int]:
        members = [member for _, member in self.order()]
        if not low.is_lower_bound_of(members[-1]) or not high.is_upper_bound_of(members[0]):
            return 0, 0
        start, stop = 0, len(members)
        if reverse:
            while not high.is_upper_bound_of(members[stop - 1]):
                stop -= 1
            start = stop
            while start > 0 and low.is_lower_bound_of(members[start - 1]):
                start -= 1
        else:
            while not low.is_lower_bound_of(members[start]):
                start += 1
            stop = start
            while stop < len(members) and high.is_upper_bound_of(members[stop]):
                stop += 1
        return start, stop


def _rank_above(order: SortedList[Item], score: float) -> int:
    """The rank of the first score greater than ``score``."""
    if score == math.inf:
        return len(order)
    rank: int = order.bisect_left((math.nextafter(score, math.inf),))
    return rank
