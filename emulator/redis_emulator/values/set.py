"""A set, in the three encodings of the server.

A set of integers alone is an intset, kept in numeric order; a small one of any strings is a
listpack, kept in the order of insertion (Redis 7.2 and later); all others are hash tables, which
have no order. A set is converted from one encoding to the next and never back.

The members are the keys of a dict. Once a random member of a hash table has been asked for, the
members are also kept in a list, and the dict maps each member to its index there. From then on a
random member, an addition and a removal take constant time.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

INTSET: Final = b"intset"
LISTPACK: Final = b"listpack"
HASHTABLE: Final = b"hashtable"

_INTEGER: Final = re.compile(rb"-?[1-9][0-9]{0,18}|0").fullmatch
_SAFE_DIGITS: Final = 18
_INT64: Final = 1 << 63


class Limits(NamedTuple):
    """The limits of the encodings.

    Attributes:
        intset: Maximum members of an intset.
        listpack: Maximum members of a listpack; -1 for servers without listpack sets.
        longest: Maximum length of a member of a listpack.
    """

    intset: int
    listpack: int
    longest: int


def is_integer(member: bytes) -> bool:
    """Whether ``member`` can be in an intset: a 64-bit integer in canonical form."""
    if not _INTEGER(member):
        return False
    return len(member) <= _SAFE_DIGITS or -_INT64 <= int(member) < _INT64


class Set(dict[bytes, int]):
    """Member → index in `_pool`, if the pool exists; otherwise the number is unused."""

    __slots__ = ("_pool", "encoding")

    kind = b"set"

    def __init__(self, encoding: bytes = INTSET) -> None:
        self.encoding = encoding
        self._pool: list[bytes] | None = None

    @classmethod
    def fit_for(cls, first: bytes, count: int, limits: Limits) -> Set:
        """An empty set in the encoding for ``count`` members, one of which is ``first``."""
        if is_integer(first) and (limits.listpack < 0 or count <= limits.intset):
            return cls(INTSET)
        return cls(LISTPACK if count <= limits.listpack else HASHTABLE)

    def __copy__(self) -> Set:
        twin = Set(self.encoding)
        twin.update(self)
        twin._pool = None if self._pool is None else list(self._pool)
        return twin

    def members(self) -> list[bytes]:
        """All members, in the order in which the server returns them."""
        return sorted(self, key=int) if self.encoding is INTSET else list(self)

    def expect(self, count: int, limits: Limits) -> None:
        """Convert to a hash table at once if ``count`` more members would need one."""
        most = limits.intset if self.encoding is INTSET else limits.listpack
        if self.encoding is not HASHTABLE and limits.listpack >= 0 and count > most:
            self.encoding = HASHTABLE

    def add(self, member: bytes, limits: Limits) -> bool:
        """Add ``member``. Returns whether it is new."""
        if member in self:
            return False
        if self.encoding is not HASHTABLE:
            self._make_room(member, limits)
        if self._pool is None:
            self[member] = 0
        else:
            self[member] = len(self._pool)
            self._pool.append(member)
        if self.encoding is INTSET and len(self) > limits.intset:
            self.encoding = HASHTABLE
        return True

    def add_all(self, members: Iterable[bytes]) -> None:
        """Add ``members`` to a hash table."""
        if self._pool is None:
            self.update(dict.fromkeys(members, 0))
            return
        for member in members:
            if member not in self:
                self[member] = len(self._pool)
                self._pool.append(member)

    def _make_room(self, member: bytes, limits: Limits) -> None:
        """Convert the set if its encoding cannot hold ``member``."""
        longest = len(member)
        if self.encoding is INTSET:
            if is_integer(member):
                return
            longest = max(longest, *map(len, self)) if self else longest
        if len(self) >= limits.listpack or longest > limits.longest:
            self.encoding = HASHTABLE
        elif self.encoding is INTSET:
            ordered = self.members()
            self.clear()
            self.update(dict.fromkeys(ordered, 0))
            self.encoding = LISTPACK

    def discard(self, member: bytes) -> bool:
        """Remove ``member``. Returns whether it existed."""
        place = self.pop(member, None)
        if place is None:
            return False
        pool = self._pool
        if pool is not None:
            last = pool.pop()
            if place < len(pool):
                pool[place] = last
                self[last] = place
        return True

    def choices(self) -> Sequence[bytes]:
        """The members as a sequence to choose from. Only small sets build it at each call."""
        if self.encoding is not HASHTABLE:
            return list(self)
        if self._pool is None:
            self._pool = list(self)
            for place, member in enumerate(self._pool):
                self[member] = place
        return self._pool

    def pick(self, source: random.Random) -> bytes:
        """A random member; all are equally likely."""
        choices = self.choices()
        return choices[source.randrange(len(choices))]

    def sample(self, source: random.Random, count: int) -> list[bytes]:
        """``count`` distinct random members; those of a listpack in its order."""
        choices = self.choices()
        if self.encoding is not LISTPACK:
            return source.sample(choices, count)
        return [choices[place] for place in sorted(source.sample(range(len(choices)), count))]

    def become_intset(self, limits: Limits) -> None:
        """Convert to an intset if the members allow it."""
        if (
            self.encoding is not INTSET
            and len(self) <= limits.intset
            and all(map(is_integer, self))
        ):
            self.encoding = INTSET
            self._pool = None
