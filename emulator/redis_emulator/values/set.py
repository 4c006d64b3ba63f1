"""A set, in the three encodings of Redis.

A set of integers is an intset, in numeric order. A small set of other strings is a listpack, in
insertion order (Redis 7.2 and later). All other sets are hash tables, which have no order. Commands
that add members convert a set in this direction only.

The members are the keys of a dict. After the first request for a random member of a hash table,
the members are stored in a list too, and the dict maps each member to its index there. From then on
a random member, an addition and a removal take constant time.
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
        member_length: Maximum length of a member of a listpack.
    """

    intset: int
    listpack: int
    member_length: int


def is_integer(member: bytes) -> bool:
    """Whether ``member`` can be in an intset: a 64-bit integer in canonical form."""
    if not _INTEGER(member):
        return False
    return len(member) <= _SAFE_DIGITS or -_INT64 <= int(member) < _INT64


class Set(dict[bytes, int]):
    """Member → index in `_members_by_index`, if that exists; otherwise the number is unused."""

    __slots__ = ("_members_by_index", "encoding")

    kind = b"set"

    def __init__(self, encoding: bytes = INTSET) -> None:
        self.encoding = encoding
        self._members_by_index: list[bytes] | None = None

    @classmethod
    def for_members(cls, first: bytes, count: int, limits: Limits) -> Set:
        """An empty set in the encoding for ``count`` members, one of which is ``first``."""
        if is_integer(first) and (limits.listpack < 0 or count <= limits.intset):
            return cls(INTSET)
        return cls(LISTPACK if count <= limits.listpack else HASHTABLE)

    def __copy__(self) -> Set:
        copy = Set(self.encoding)
        copy.update(self)
        copy._members_by_index = (
            None if self._members_by_index is None else list(self._members_by_index)
        )
        return copy

    def members(self) -> list[bytes]:
        """All members, in the order in which the server returns them."""
        return sorted(self, key=int) if self.encoding is INTSET else list(self)

    def convert_for_count(self, count: int, limits: Limits) -> None:
        """Convert to a hash table at once if ``count`` arguments exceed the limit."""
        most = limits.intset if self.encoding is INTSET else limits.listpack
        if self.encoding is not HASHTABLE and limits.listpack >= 0 and count > most:
            self.encoding = HASHTABLE

    def add(self, member: bytes, limits: Limits) -> bool:
        """Add ``member``. Returns whether it is new."""
        if member in self:
            return False
        if self.encoding is not HASHTABLE:
            self._convert_for(member, limits)
        if self._members_by_index is None:
            self[member] = 0
        else:
            self[member] = len(self._members_by_index)
            self._members_by_index.append(member)
        if self.encoding is INTSET and len(self) > limits.intset:
            self.encoding = HASHTABLE
        return True

    def add_all(self, members: Iterable[bytes]) -> None:
        """Add ``members`` to a hash table."""
        if self._members_by_index is None:
            self.update(dict.fromkeys(members, 0))
            return
        for member in members:
            if member not in self:
                self[member] = len(self._members_by_index)
                self._members_by_index.append(member)

    def _convert_for(self, member: bytes, limits: Limits) -> None:
        """Convert the set if its encoding cannot hold ``member``."""
        longest = len(member)
        if self.encoding is INTSET:
            if is_integer(member):
                return
            longest = max(longest, *map(len, self)) if self else longest
        if len(self) >= limits.listpack or longest > limits.member_length:
            self.encoding = HASHTABLE
        elif self.encoding is INTSET:
            ordered = self.members()
            self.clear()
            self.update(dict.fromkeys(ordered, 0))
            self.encoding = LISTPACK

    def discard(self, member: bytes) -> bool:
        """Remove ``member``. Returns whether it existed."""
        index = self.pop(member, None)
        if index is None:
            return False
        members = self._members_by_index
        if members is not None:
            last = members.pop()
            if index < len(members):
                members[index] = last
                self[last] = index
        return True

    def choices(self) -> Sequence[bytes]:
        """The members as a sequence. Only for small sets it is built at each call."""
        if self.encoding is not HASHTABLE:
            return list(self)
        if self._members_by_index is None:
            self._members_by_index = list(self)
            for index, member in enumerate(self._members_by_index):
                self[member] = index
        return self._members_by_index

    def random_member(self, source: random.Random) -> bytes:
        """A random member; all are equally likely."""
        choices = self.choices()
        return choices[source.randrange(len(choices))]

    def sample(self, source: random.Random, count: int) -> list[bytes]:
        """``count`` distinct random members; those of a listpack in its order."""
        choices = self.choices()
        if self.encoding is not LISTPACK:
            return source.sample(choices, count)
        return [choices[index] for index in sorted(source.sample(range(len(choices)), count))]

    def convert_to_intset(self, limits: Limits) -> None:
        """Convert to an intset if the members allow it."""
        if (
            self.encoding is not INTSET
            and len(self) <= limits.intset
            and all(map(is_integer, self))
        ):
            self.encoding = INTSET
            self._members_by_index = None
