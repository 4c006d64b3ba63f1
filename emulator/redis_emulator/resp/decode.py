"""Bytes to commands, as the server reads them: RESP arrays of bulk strings, and inline commands.

`RequestParser` keeps what is incomplete and never reads a byte twice: a command that arrives in
many pieces costs what its bytes cost. Every limit of the server is here, so hostile lengths end in
an error and not in memory.

There are two ways to read, with the same result. `batch` takes whole commands off the front of what
arrived, a few operations for each. Whatever it leaves is read argument by argument.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from redis_emulator.resp.batch import taker

INLINE_MAX: Final = 64 * 1024
MULTIBULK_MAX: Final = 2**31 - 1
UNAUTHENTICATED_MULTIBULK_MAX: Final = 10
UNAUTHENTICATED_BULK_MAX: Final = 16 * 1024

_OBJECT: Final = 48
"""What an argument takes besides its bytes."""
_BATCH: Final = 64 * 1024
"""Bytes to take whole commands from at once."""


class ProtocolError(Exception):
    """The client does not speak the protocol; it is told why and the connection ends."""


class RequestParser:
    """Turns what a client sends into argument lists.

    Args:
        trusted: Whether the client has authenticated; until then lengths are kept small.
        bulk_max: The longest argument allowed, ``proto-max-bulk-len``.
        count_max: The most arguments allowed.
        strict_ends: Read as Valkey does: what follows an argument must be a line end, a header may
            contain any byte, and a word of an inline command may go on after a quoted part.
    """

    __slots__ = (
        "_argv",
        "_argv_size",
        "_chunks",
        "_data",
        "_length",
        "_missing",
        "_place",
        "_ready",
        "_size",
        "_take",
        "bulk_max",
        "count_max",
        "strict_ends",
        "trusted",
    )

    def __init__(
        self,
        bulk_max: int = 512 * 1024 * 1024,
        trusted: bool = True,
        *,
        count_max: int = MULTIBULK_MAX,
        strict_ends: bool = False,
    ) -> None:
        self.bulk_max = bulk_max
        self.count_max = count_max
        self.trusted = trusted
        self.strict_ends = strict_ends
        self._size = 0
        self._take = taker()
        self._ready: list[list[bytes]] = []
        self._data = b""
        self._place = 0
        self._argv: list[bytes] = []
        self._argv_size = 0
        self._missing = 0
        self._length = -1
        self._chunks: list[bytes] = []

    @property
    def size(self) -> int:
        """Bytes kept for a command that is not complete, or not asked for yet."""
        if self._ready:
            return self._size + sum(len(argument) for argv in self._ready for argument in argv)
        return self._size

    def incomplete(self) -> tuple[int, int, int]:
        """Of the command that is not complete: bytes not read yet, bytes of the arguments read, and
        the length of the argument that is on its way, -1 if it is unknown.
        """
        arguments = sum(map(len, self._argv))
        return self.size - self._argv_size, arguments, self._length

    def add(self, data: bytes) -> None:
        """Take in what arrived."""
        self._size += len(data)
        self._chunks.append(data)

    def feed(self, data: bytes) -> Iterator[list[bytes]]:
        """Add what arrived and give every command that is now complete.

        Raises:
            ProtocolError: The text tells the client what was wrong.
        """
        self.add(data)
        return self.commands()

    def commands(self) -> Iterator[list[bytes]]:
        """Every complete command. May be left in the middle and asked for anew; more may be added
        at any time.

        Raises:
            ProtocolError: The text tells the client what was wrong.
        """
        ready = self._ready
        while ready:
            yield ready.pop()
        if self._length >= 0 and self._size - self._argv_size < self._length + 2:
            return
        self._join()
        quick = self.trusted
        while self._place < len(self._data):
            if quick and not self._missing and self._data[self._place] == 42:
                commands, used = self._take(self._data[self._place : self._place + _BATCH])
                self._place += used
                self._size -= used
                commands.reverse()
                self._ready = ready = commands
                while ready:
                    yield ready.pop()
                self._join()
                quick = used > 0
                continue
            if not self._missing and not self._begin():
                break
            while self._missing and self._take_argument():
                pass
            if self._missing:
                break
            if self._argv:
                argv, self._argv = self._argv, []
                self._argv_size = 0
                self._size = len(self._data) - self._place
                yield argv
                self._join()
        self._size = len(self._data) - self._place + self._argv_size

    def _join(self) -> None:
        if self._chunks:
            if self._place < len(self._data):
                self._chunks.insert(0, self._data[self._place :])
            chunks, self._chunks = self._chunks, []
            self._data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            self._place = 0

    def _begin(self) -> bool:
        """Read an array header or a whole inline command; False when it is not complete."""
        data, place = self._data, self._place
        if data[place] != 42:
            end = data.find(b"\n", place)
            if 0 <= data.find(b"\0", place, end) < end:
                end = -1
            if end < 0:
                if len(data) - place > INLINE_MAX:
                    raise ProtocolError("too big inline request")
                return False
            self._place = end + 1
            line = data[place:end].removesuffix(b"\r")
            self._argv = split_inline(line, joined=self.strict_ends)
            return True
        end = self._line_end("too big mbulk count string")
        if end < 0:
            return False
        self._line_ended(end)
        count = _length(data[place + 1 : end], "invalid multibulk length")
        if count > self.count_max:
            raise ProtocolError("invalid multibulk length")
        if count > UNAUTHENTICATED_MULTIBULK_MAX and not self.trusted:
            raise ProtocolError("unauthenticated multibulk length")
        self._missing = max(0, count)
        self._place = end + 2
        return True

    def _take_argument(self) -> bool:
        """Read one argument; False when it is not complete."""
        data = self._data
        length = self._length
        if length < 0:
            if self._place >= len(data):
                return False
            end = self._line_end("too big bulk count string")
            if end < 0:
                return False
            if data[self._place] != 36:
                got = data[self._place : self._place + 1].decode("utf-8", "surrogateescape")
                raise ProtocolError(f"expected '$', got '{got}'")
            self._line_ended(end)
            length = _length(data[self._place + 1 : end], "invalid bulk length")
            if not 0 <= length <= self.bulk_max:
                raise ProtocolError("invalid bulk length")
            if length > UNAUTHENTICATED_BULK_MAX and not self.trusted:
                raise ProtocolError("unauthenticated bulk length")
            self._place = end + 2
        end = self._place + length
        if end + 2 > len(data):
            self._length = length
            return False
        if self.strict_ends and data[end : end + 2] != b"\r\n":
            raise ProtocolError("invalid CRLF in request")
        self._argv.append(data[self._place : end])
        self._argv_size += length + _OBJECT
        self._missing -= 1
        self._length = -1
        self._place = end + 2
        return True

    def _line_end(self, too_long: str) -> int:
        """Where the line that begins here ends; -1 when it does not yet."""
        data, place = self._data, self._place
        end = data.find(b"\r", place)
        if not self.strict_ends and 0 <= data.find(b"\0", place, end) < end:
            end = -1
        if end < 0 or end + 1 >= len(data):
            if end < 0 and len(data) - place > INLINE_MAX:
                raise ProtocolError(too_long)
            return -1
        return end

    def _line_ended(self, end: int) -> None:
        if self.strict_ends and self._data[end + 1] != 10:
            raise ProtocolError("invalid CRLF in request")


_INTEGER = re.compile(rb"-?[1-9][0-9]{0,18}|0").fullmatch


def _length(digits: bytes, error: str) -> int:
    if not _INTEGER(digits) or not -(1 << 63) <= (length := int(digits)) < 1 << 63:
        raise ProtocolError(error)
    return length


_UNUSUAL = re.compile(rb"[\"'\v\f\xff]").search
_ESCAPES = {110: 10, 114: 13, 116: 9, 98: 8, 97: 7}


def split_inline(line: bytes, *, joined: bool = False) -> list[bytes]:
    """Split a line at blanks, with ``"quoted\\n"`` and ``'plain'`` parts, as a shell would.

    Args:
        joined: Whether a word may go on after a quoted part, as in ``"a"b``; then nothing
            is escaped at the very end of the line, and bytes 255 are lost.

    Raises:
        ProtocolError: A quote is not closed, or not followed by a blank where it has to be.
    """
    if not _UNUSUAL(line):
        return line.split()
    found: list[bytes] = []
    place = 0
    while True:
        while line[place : place + 1].isspace():
            place += 1
        if place >= len(line):
            return found
        word, place = _word(line, place, joined)
        found.append(word)


def _word(line: bytes, place: int, joined: bool) -> tuple[bytes, int]:
    out = bytearray()
    while place < len(line) and (letter := line[place]) not in b" \n\r\t":
        if letter in b"\"'":
            part, place = _quoted(line, place + 1, letter, joined)
            out += part
            if not joined:
                if place < len(line) and not line[place : place + 1].isspace():
                    raise ProtocolError("unbalanced quotes in request")
                break
        else:
            if letter != 255 or not joined:
                out.append(letter)
            place += 1
    return bytes(out), place


def _quoted(line: bytes, place: int, quote: int, joined: bool) -> tuple[bytes, int]:
    out = bytearray()
    while place < len(line):
        letter = line[place]
        if letter == quote:
            return bytes(out), place + 1
        if letter == 92 and place + 1 < len(line) - joined:
            following = line[place + 1]
            if (
                quote == 34
                and line[place + 1 : place + 2] == b"x"
                and _is_hex(line[place + 2 : place + 4])
            ):
                out.append(int(line[place + 2 : place + 4], 16))
                place += 4
                continue
            if quote == 34:
                out.append(_ESCAPES.get(following, following))
                place += 2
                continue
            if following == 39:
                out.append(39)
                place += 2
                continue
        if letter != 255 or not joined:
            out.append(letter)
        place += 1
    raise ProtocolError("unbalanced quotes in request")


def _is_hex(digits: bytes) -> bool:
    return len(digits) == 2 and all(digit in b"0123456789abcdefABCDEF" for digit in digits)
