"""What two strings have in common: LCS, and STRALGO, which it was before Redis 7."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import parse_integer, syntax_error
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import RedisError, Reply

_NOT_STRINGS: Final = "ERR The specified keys must contain string values"
_BOTH: Final = "ERR If you want both the length and indexes, please just use IDX."


@dataclass
class _Shape:
    """What the reply is to show."""

    length: bool = False
    indexes: bool = False
    with_lengths: bool = False
    shortest: int = 0

    def read(self, argv: list[bytes], place: int) -> int:
        """Read the option at ``place``; returns how many words it has, 0 for no such option."""
        word = argv[place].upper()
        if word == b"IDX":
            self.indexes = True
        elif word == b"LEN":
            self.length = True
        elif word == b"WITHMATCHLEN":
            self.with_lengths = True
        elif word == b"MINMATCHLEN" and place + 1 < len(argv):
            self.shortest = max(0, parse_integer(argv[place + 1]))
            return 2
        else:
            return 0
        return 1


@command("lcs")
def lcs(ctx: Session, argv: list[bytes]) -> Reply:
    left, right = _strings(ctx, argv[1], argv[2])
    shape = _Shape()
    place = 3
    while place < len(argv):
        words = shape.read(argv, place)
        if not words:
            raise syntax_error()
        place += words
    if shape.length and shape.indexes:
        raise RedisError(_BOTH)
    return _compared(left, right, shape)


@command("stralgo")
def stralgo(ctx: Session, argv: list[bytes]) -> Reply:
    if argv[1].lower() != b"lcs":
        raise syntax_error()
    shape = _Shape()
    strings: tuple[bytes, bytes] | None = None
    place = 2
    while place < len(argv):
        words = shape.read(argv, place)
        source = argv[place].upper()
        if not words and source in (b"STRINGS", b"KEYS") and place + 2 < len(argv):
            if strings is not None:
                raise RedisError("ERR Either use STRINGS or KEYS")
            left, right = argv[place + 1], argv[place + 2]
            strings = (left, right) if source == b"STRINGS" else _strings(ctx, left, right)
            words = 3
        if not words:
            raise syntax_error()
        place += words
    if strings is None:
        raise RedisError("ERR Please specify two strings: STRINGS or KEYS options are mandatory")
    if shape.length and shape.indexes:
        raise RedisError(_BOTH)
    return _compared(*strings, shape)


def _strings(ctx: Session, one: bytes, other: bytes) -> tuple[bytes, bytes]:
    """The strings at two keys, empty where there is none."""
    values = (ctx.db.lookup(one), ctx.db.lookup(other))
    found = []
    for value in values:
        if value is not None and not isinstance(value, (bytes, bytearray)):
            raise RedisError(_NOT_STRINGS)
        found.append(bytes(value or b""))
    return found[0], found[1]


def _compared(left: bytes, right: bytes, shape: _Shape) -> Reply:
    common, ranges = _longest_common_subsequence(left, right)
    if shape.length:
        return len(common)
    if not shape.indexes:
        return common
    matches: list[Reply] = []
    for a, b, length in ranges:
        if length >= shape.shortest:
            match: list[Reply] = [[a, a + length - 1], [b, b + length - 1]]
            matches.append([*match, length] if shape.with_lengths else match)
    return {b"matches": matches, b"len": len(common)}


def _longest_common_subsequence(
    one: bytes, other: bytes
) -> tuple[bytes, list[tuple[int, int, int]]]:
    """The subsequence, and its unbroken stretches from the last to the first: where each begins in
    both, and its length.
    """
    width = len(other) + 1
    table = [[0] * width]
    for letter in one:
        above = table[-1]
        row = [0] * width
        for place, candidate in enumerate(other, 1):
            if letter == candidate:
                row[place] = above[place - 1] + 1
            else:
                row[place] = max(above[place], row[place - 1])
        table.append(row)
    found = bytearray()
    ranges: list[tuple[int, int, int]] = []
    a, b = len(one), len(other)
    while a and b:
        if one[a - 1] == other[b - 1]:
            a, b = a - 1, b - 1
            found.append(one[a])
            if ranges and ranges[-1][0] == a + 1 and ranges[-1][1] == b + 1:
                ranges[-1] = (a, b, ranges[-1][2] + 1)
            else:
                ranges.append((a, b, 1))
        elif table[a - 1][b] > table[a][b - 1]:
            a -= 1
        else:
            b -= 1
    return bytes(reversed(found)), ranges
