"""Glob patterns as in KEYS, SCAN, PSUBSCRIBE and ACL rules (``stringmatchlen`` of Redis).

``*`` matches any bytes, ``?`` one byte, ``[a-z]`` and ``[^a]`` are classes, ``\\`` escapes the next
byte. The special cases are those of Redis: an unclosed class ends with the pattern, a range
compares bytes as signed numbers, ``*`` does not match an empty string, and a pattern with more than
`_STARS_MAX` stars before its last part matches nothing.

The part between two stars matches a fixed number of bytes. It is therefore enough to find each part
once, as far to the left as possible, and the time is bounded by the length of the pattern times
that of the string. Short patterns are compiled and cached. A long pattern is interpreted for each
string, only as far as the string goes, because compiling it could take seconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeAlias

Matcher: TypeAlias = Callable[[bytes], object]
"""Returns a true value if the whole byte string matches."""

_STARS_MAX: Final = 1000
"""Maximum recursion depth of the server's matcher, which recurses for each star."""
_COMPILED_MAX: Final = 1024
"""Length in bytes of the longest pattern that is compiled and cached."""
_LITERAL: Final = re.compile(rb"[^*?\[\\]+").match


def glob(pattern: bytes, ignore_case: bool = False) -> Matcher:
    """A function that returns whether a whole byte string matches ``pattern``."""
    if len(pattern) <= _COMPILED_MAX:
        return compiled(pattern, ignore_case)
    return Interpreter(pattern, ignore_case)


class Interpreter:
    """Matches strings with a pattern that is too long to be compiled."""

    __slots__ = ("_classes", "_ignore_case", "_pattern")

    def __init__(self, pattern: bytes, ignore_case: bool = False) -> None:
        self._pattern = pattern
        self._ignore_case = ignore_case
        self._classes: dict[int, tuple[set[int], int]] = {}

    def __call__(self, string: bytes) -> bool:
        """Return whether the whole string matches."""
        pattern = self._pattern
        position = at = stars = 0
        after_star = retry_at = -1
        while at < len(string):
            if pattern[position : position + 1] == b"*":
                position = self._skip_stars(position)
                if position == len(pattern):
                    return True
                stars += 1
                if stars > _STARS_MAX:
                    return False
                after_star, retry_at = position, at
                continue
            next_position = self._match_byte(position, string[at])
            if next_position >= 0:
                position, at = next_position, at + 1
            elif after_star < 0:
                return False
            else:
                retry_at += 1
                position, at = after_star, retry_at
        return bool(string or not pattern) and self._skip_stars(position) == len(pattern)

    def _skip_stars(self, position: int) -> int:
        while self._pattern[position : position + 1] == b"*":
            position += 1
        return position

    def _match_byte(self, position: int, byte: int) -> int:
        """Match ``byte`` at ``position``; return the position after it in the pattern, or -1."""
        pattern = self._pattern
        if position >= len(pattern):
            return -1
        wanted = pattern[position]
        if wanted == 63:
            return position + 1
        if wanted == 91:
            if position not in self._classes:
                self._classes[position] = _class_members(pattern, position + 1, self._ignore_case)
            members, next_position = self._classes[position]
            return next_position if byte in members else -1
        if wanted == 92 and position + 1 < len(pattern):
            position += 1
            wanted = pattern[position]
        same = _lower(wanted) == _lower(byte) if self._ignore_case else wanted == byte
        return position + 1 if same else -1


class _Part:
    """The part of a pattern between two stars.

    Attributes:
        size: How many bytes it matches.
        literal: Its bytes, unless it has wildcards.
        source: The part as a regular expression.
    """

    __slots__ = ("literal", "size", "source")

    def __init__(self) -> None:
        self.size = 0
        self.literal: bytearray | None = bytearray()
        self.source = bytearray()

    def add_bytes(self, data: bytes, ignore_case: bool) -> None:
        """Match these bytes."""
        self.size += len(data)
        if ignore_case and data.lower() != data.upper():
            for byte in data:
                both = {byte, *bytes([byte]).lower(), *bytes([byte]).upper()}
                self.source += _character_class(both)
            self.literal = None
            return
        self.source += re.escape(data)
        if self.literal is not None:
            self.literal += data

    def add_wildcard(self, source: bytes) -> None:
        """Match one byte by a regular expression."""
        self.size += 1
        self.source += source
        self.literal = None


@lru_cache(maxsize=1024)
def compiled(pattern: bytes, ignore_case: bool = False) -> Matcher:
    """A function that matches strings with ``pattern``; cached."""
    parts = _split_parts(pattern, ignore_case)
    head, tail = parts[0], parts[-1]
    if len(parts) == 1:
        return _full_matcher(head)
    if len(parts) == 2 and head.literal is not None and tail.literal is not None:
        return _prefix_suffix_matcher(bytes(head.literal), bytes(tail.literal))
    starts, ends = _full_matcher(head), _full_matcher(tail)
    before, after = head.size, tail.size
    between = [_finder(part) for part in parts[1:-1]]

    def matches(string: bytes) -> bool:
        end = len(string) - after
        if not string or end < before or not starts(string[:before]) or not ends(string[end:]):
            return False
        position = before
        for find in between:
            position = find(string, position, end)
            if position < 0:
                return False
        return True

    return matches


def _full_matcher(part: _Part) -> Matcher:
    if part.literal is not None:
        return bytes(part.literal).__eq__
    return re.compile(bytes(part.source), re.DOTALL).fullmatch


def _prefix_suffix_matcher(head: bytes, tail: bytes) -> Matcher:
    """A matcher for the most frequent patterns: one star and no other wildcard."""
    if not tail and head:
        return lambda string: string.startswith(head)
    size = max(1, len(head) + len(tail))
    return lambda s: len(s) >= size and s.startswith(head) and s.endswith(tail)


def _finder(part: _Part) -> Callable[[bytes, int, int], int]:
    """A function that finds a part within bounds and returns its end, or -1."""
    size = part.size
    if part.literal is not None:
        literal = bytes(part.literal)

        def find(string: bytes, start: int, end: int) -> int:
            position = string.find(literal, start, end)
            return position if position < 0 else position + size

        return find
    search = re.compile(bytes(part.source), re.DOTALL).search

    def find_wildcards(string: bytes, start: int, end: int) -> int:
        found = search(string, start, end)
        return found.end() if found else -1

    return find_wildcards


def _split_parts(pattern: bytes, ignore_case: bool) -> list[_Part]:
    parts = [_Part()]
    position, end = 0, len(pattern)
    while position < end:
        if run := _LITERAL(pattern, position):
            parts[-1].add_bytes(run[0], ignore_case)
            position = run.end()
            continue
        letter = pattern[position : position + 1]
        position += 1
        if letter == b"*":
            if len(parts) == 1 or parts[-1].size:
                parts.append(_Part())
        elif letter == b"?":
            parts[-1].add_wildcard(b".")
        elif letter == b"[":
            members, position = _class_members(pattern, position, ignore_case)
            parts[-1].add_wildcard(_character_class(members))
        else:
            if position < end:
                letter = pattern[position : position + 1]
                position += 1
            parts[-1].add_bytes(letter, ignore_case)
    return parts


def _class_members(pattern: bytes, position: int, ignore_case: bool) -> tuple[set[int], int]:
    """The bytes that the class at ``position`` matches, and the position of its end."""
    end = len(pattern)
    negated = pattern[position : position + 1] == b"^"
    position += negated
    members: set[int] = set()
    while position < end and pattern[position] != 93:
        byte = pattern[position]
        if byte == 92 and position + 1 < end:
            members.add(pattern[position + 1])
            position += 2
        elif position + 2 < end and pattern[position + 1] == 45:
            members |= _range(byte, pattern[position + 2], ignore_case)
            position += 3
        else:
            members.add(byte)
            if ignore_case:
                members |= {*bytes([byte]).lower(), *bytes([byte]).upper()}
            position += 1
    if negated:
        members = set(range(256)) - members
    return members, min(position + 1, end)


@lru_cache(maxsize=256)
def _range(low: int, high: int, ignore_case: bool) -> frozenset[int]:
    first, last = sorted((_signed(low), _signed(high)))
    if not ignore_case:
        return frozenset(number & 255 for number in range(first, last + 1))
    first, last = _signed(_lower(first & 255)), _signed(_lower(last & 255))
    return frozenset(byte for byte in range(256) if first <= _signed(_lower(byte)) <= last)


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _lower(byte: int) -> int:
    return bytes([byte]).lower()[0]


def _character_class(members: set[int]) -> bytes:
    """A regular expression for one byte of ``members``."""
    if len(members) == 256:
        return b"."
    return b"[%b]" % re.escape(bytes(sorted(members))) if members else b"(?!)"
