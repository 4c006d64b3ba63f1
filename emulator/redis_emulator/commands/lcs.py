"""LCS, the longest common subsequence of two strings, and STRALGO LCS of Redis 6.2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import parse_integer, syntax_error
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import RedisError, Reply

_NOT_STRINGS: Final = "ERR The specified keys must contain string values"
_LEN_AND_IDX: Final = "ERR If you want both the length and indexes, please just use IDX."


@dataclass
class _Options:
    """The options that select the form of the reply."""

    length: bool = False
    indexes: bool = False
    with_lengths: bool = False
    min_match_length: int = 0

    def parse(self, argv: list[bytes], index: int) -> int:
        """Parse the option at ``argv[index]``; return its number of arguments, 0 if unknown."""
        word = argv[index].upper()
        if word == b"IDX":
            self.indexes = True
        elif word == b"LEN":
            self.length = True
        elif word == b"WITHMATCHLEN":
            self.with_lengths = True
        elif word == b"MINMATCHLEN" and index + 1 < len(argv):
            self.min_match_length = max(0, parse_integer(argv[index + 1]))
            return 2
        else:
            return 0
        return 1


@command("lcs")
def lcs(ctx: Session, argv: list[bytes]) -> Reply:
    left, right = _lookup_strings(ctx, argv[1], argv[2])
    options = _Options()
    index = 3
    while index < len(argv):
        words = options.parse(argv, index)
        if not words:
            raise syntax_error()
        index += words
    if options.length and options.indexes:
        raise RedisError(_LEN_AND_IDX)
    return _build_reply(left, right, options)


@command("stralgo")
def stralgo(ctx: Session, argv: list[bytes]) -> Reply:
    if argv[1].lower() != b"lcs":
        raise syntax_error()
    options = _Options()
    strings: tuple[bytes, bytes] | None = None
    index = 2
    while index < len(argv):
        words = options.parse(argv, index)
        source = argv[index].upper()
        if not words and source in (b"STRINGS", b"KEYS") and index + 2 < len(argv):
            if strings is not None:
                raise RedisError("ERR Either use STRINGS or KEYS")
            left, right = argv[index + 1], argv[index + 2]
            strings = (left, right) if source == b"STRINGS" else _lookup_strings(ctx, left, right)
            words = 3
        if not words:
            raise syntax_error()
        index += words
    if strings is None:
        raise RedisError("ERR Please specify two strings: STRINGS or KEYS options are mandatory")
    if options.length and options.indexes:
        raise RedisError(_LEN_AND_IDX)
    return _build_reply(*strings, options)


def _lookup_strings(ctx: Session, one: bytes, other: bytes) -> tuple[bytes, bytes]:
    """The strings at two keys. A missing key counts as an empty string."""
    values = (ctx.db.lookup(one), ctx.db.lookup(other))
    common = []
    for value in values:
        if value is not None and not isinstance(value, (bytes, bytearray)):
            raise RedisError(_NOT_STRINGS)
        common.append(bytes(value or b""))
    return common[0], common[1]


def _build_reply(left: bytes, right: bytes, options: _Options) -> Reply:
    common, ranges = _longest_common_subsequence(left, right)
    if options.length:
        return len(common)
    if not options.indexes:
        return common
    matches: list[Reply] = []
    for a, b, length in ranges:
        if length >= options.min_match_length:
            match: list[Reply] = [[a, a + length - 1], [b, b + length - 1]]
            matches.append([*match, length] if options.with_lengths else match)
    return {b"matches": matches, b"len": len(common)}


def _longest_common_subsequence(
    one: bytes, other: bytes
) -> tuple[bytes, list[tuple[int, int, int]]]:
    """Compute the longest common subsequence.

    Returns:
        The subsequence and its contiguous ranges, last range first: start in ``one``, start in
        ``other``, length.
    """
    width = len(other) + 1
    table = [[0] * width]
    for letter in one:
        above = table[-1]
        row = [0] * width
        for index, candidate in enumerate(other, 1):
            if letter == candidate:
                row[index] = above[index - 1] + 1
            else:
                row[index] = max(above[index], row[index - 1])
        table.append(row)
    common = bytearray()
    ranges: list[tuple[int, int, int]] = []
    a, b = len(one), len(other)
    while a and b:
        if one[a - 1] == other[b - 1]:
            a, b = a - 1, b - 1
            common.append(one[a])
            if ranges and ranges[-1][0] == a + 1 and ranges[-1][1] == b + 1:
                ranges[-1] = (a, b, ranges[-1][2] + 1)
            else:
                ranges.append((a, b, 1))
        elif table[a - 1][b] > table[a][b - 1]:
            a -= 1
        else:
            b -= 1
    return bytes(reversed(common)), ranges
