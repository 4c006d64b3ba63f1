"""Whole commands off the front of what a client has sent, many at a time.

A command is taken as long as it stands there as clients write it: every number in its shortest
form, every argument with its line end. What comes first that is otherwise (an inline command, an
error, a command that is not complete) stays for `RequestParser` to read argument by argument.

There are two ways, with the same result. Without hiredis, everything is split at its line ends,
which finds commands whose arguments are short and contain none. With hiredis, its reader parses;
but it takes more than commands, and makes room for as much as a header promises. So it is not given
large counts, and what it has read counts only if writing it down again gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

try:
    import hiredis
except ImportError:
    hiredis = None

Taken: TypeAlias = tuple[list[list[bytes]], int]
"""The commands, and how many bytes they stood in."""

_LENGTHS: Final = [b"$%d" % length for length in range(1024)]
_COUNTS: Final = {b"*%d" % count: count for count in range(1, 256)}
_SHORT: Final = 256
"""Bytes that are split sooner than hiredis can be asked."""
_LARGE_COUNT: Final = re.compile(rb"[*~%>|][0-9]{4}").search
"""Anywhere: hiredis does not check that an argument ends with a line end, so whatever follows the
argument may be a header.
"""


def taker() -> Callable[[bytes], Taken]:
    """The way that is there, for one client."""
    return take_split if hiredis is None else HiredisTaker(hiredis)


def take_split(data: bytes) -> Taken:
    """Take commands by splitting at line ends."""
    tokens = data.split(b"\r\n")
    lengths, count_of = _LENGTHS, _COUNTS.get
    commands: list[list[bytes]] = []
    last = len(tokens) - 1
    place = 0
    while place < last:
        count = count_of(tokens[place])
        if count is None:
            break
        end = place + 1 + 2 * count
        if end > last:
            break
        argv = tokens[place + 2 : end : 2]
        try:
            if [lengths[len(argument)] for argument in argv] != tokens[place + 1 : end : 2]:
                break
        except IndexError:
            break
        commands.append(argv)
        place = end
    return commands, sum(map(len, tokens[:place])) + 2 * place


class HiredisTaker:
    """Takes commands with hiredis.

    Args:
        module: hiredis.
    """

    __slots__ = ("_module", "_reader")

    def __init__(self, module: Any) -> None:
        self._module = module
        self._reader = module.Reader()

    def __call__(self, data: bytes) -> Taken:
        if len(data) < _SHORT or data[1:5].isdigit() or _LARGE_COUNT(data):
            return take_split(data)
        commands = self._parse(data)
        lengths = _LENGTHS
        written: list[bytes] = []
        append = written.append
        try:
            for argv in commands:
                append(b"*%d" % len(argv))
                for argument in argv:
                    length = len(argument)
                    append(lengths[length] if length < 1024 else b"$%d" % length)
                    append(argument)
            append(b"")
            same = b"\r\n".join(written)
        except TypeError:  # not a list of strings: no command
            return take_split(data)
        if not data.startswith(same) or [] in commands:
            return take_split(data)
        return commands, len(same)

    def _parse(self, data: bytes) -> list[Any]:
        reader = self._reader
        reader.feed(data)
        gets = reader.gets
        found: list[Any] = []
        whole = False
        try:
            while (argv := gets()) is not False:
                found.append(argv)
            whole = not reader.has_data()
        except Exception:
            pass  # not only HiredisError: whatever it cannot read or make, the parser reads
        if not whole:
            self._reader = self._module.Reader()
        return found
