"""The fast path of the request parser: parse many complete commands at once.

A batch parser returns the commands at the start of the received bytes, as long as they have the
form in which clients send them: numbers without leading zeros or signs, and a line end after each
argument. It stops at anything else (an inline command, an error, an incomplete command).
`RequestParser` parses the rest argument by argument.

There are two batch parsers with the same results. `split_commands` splits the bytes at line ends.
It finds commands whose arguments are short and contain no line end. `HiredisParser` uses the reader
of hiredis, if that is installed. That reader accepts more than a Redis server does, and allocates
as much memory as a header asks for. Therefore it gets no bytes with large counts, and its result is
used only if encoding it again gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

try:
    import hiredis
except ImportError:
    hiredis = None

Batch: TypeAlias = tuple[list[list[bytes]], int]
"""The parsed commands, and the number of bytes that they had."""

_LENGTHS: Final = [b"$%d" % length for length in range(1024)]
_COUNTS: Final = {b"*%d" % count: count for count in range(1, 256)}
_HIREDIS_MIN_BYTES: Final = 256
"""Below this number of bytes, splitting is faster than hiredis."""
_LARGE_COUNT: Final = re.compile(rb"[*~%>|][0-9]{4}").search
"""Finds large counts anywhere in the bytes, not only after line ends: hiredis does not check that a
line end follows an argument, so it can read a header at any position.
"""


def new_batch_parser() -> Callable[[bytes], Batch]:
    """A batch parser for one client: hiredis if it is installed, else splitting."""
    return split_commands if hiredis is None else HiredisParser(hiredis)


def split_commands(data: bytes) -> Batch:
    """Parse commands by splitting at line ends."""
    tokens = data.split(b"\r\n")
    lengths, count_of = _LENGTHS, _COUNTS.get
    commands: list[list[bytes]] = []
    last = len(tokens) - 1
    index = 0
    while index < last:
        count = count_of(tokens[index])
        if count is None:
            break
        end = index + 1 + 2 * count
        if end > last:
            break
        argv = tokens[index + 2 : end : 2]
        try:
            if [lengths[len(argument)] for argument in argv] != tokens[index + 1 : end : 2]:
                break
        except IndexError:
            break
        commands.append(argv)
        index = end
    return commands, sum(map(len, tokens[:index])) + 2 * index


class HiredisParser:
    """Parses commands with hiredis.

    Args:
        module: The module ``hiredis``.
    """

    __slots__ = ("_module", "_reader")

    def __init__(self, module: Any) -> None:
        self._module = module
        self._reader = module.Reader()

    def __call__(self, data: bytes) -> Batch:
        if len(data) < _HIREDIS_MIN_BYTES or data[1:5].isdigit() or _LARGE_COUNT(data):
            return split_commands(data)
        commands = self._parse(data)
        lengths = _LENGTHS
        parts: list[bytes] = []
        append = parts.append
        try:
            for argv in commands:
                append(b"*%d" % len(argv))
                for argument in argv:
                    length = len(argument)
                    append(lengths[length] if length < 1024 else b"$%d" % length)
                    append(argument)
            append(b"")
            encoded = b"\r\n".join(parts)
        except TypeError:  # not a list of bulk strings, so not a command
            return split_commands(data)
        if not data.startswith(encoded) or [] in commands:
            return split_commands(data)
        return commands, len(encoded)

    def _parse(self, data: bytes) -> list[Any]:
        reader = self._reader
        reader.feed(data)
        gets = reader.gets
        found: list[Any] = []
        complete = False
        try:
            while (argv := gets()) is not False:
                found.append(argv)
            complete = not reader.has_data()
        except Exception:
            pass  # hiredis raises other errors than HiredisError too
        if not complete:
            self._reader = self._module.Reader()
        return found
