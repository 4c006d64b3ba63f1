"""Bytes to commands, as the server reads them: RESP arrays of bulk strings, and inline commands.

`RequestParser` keeps what is incomplete and never reads a byte twice: a command that arrives in
many pieces costs what its bytes cost. Every limit of the server is here, so hostile lengths end in
an error and not in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

INLINE_MAX = 64 * 1024
MULTIBULK_MAX = 2**31 - 1
UNAUTHENTICATED_MULTIBULK_MAX = 10
UNAUTHENTICATED_BULK_MAX = 16 * 1024


class ProtocolError(Exception):
    """The client does not speak the protocol; it is told why and the connection ends."""


class RequestParser:
    """Turns what a client sends into argument lists.

    Attributes:
        trusted: Whether the client has authenticated; until then lengths are kept small.
        bulk_max: The longest argument allowed, ``proto-max-bulk-len``.
        size: Bytes kept for a command that is not complete.
    """

    __slots__ = (
        "_argv",
        "_chunks",
        "_data",
        "_length",
        "_missing",
        "_place",
        "bulk_max",
        "size",
        "trusted",
    )

    def __init__(self, bulk_max: int = 512 * 1024 * 1024, trusted: bool = True) -> None:
        self.bulk_max = bulk_max
        self.trusted = trusted
        self.size = 0
        self._data = b""
        self._place = 0
        self._argv: list[bytes] = []
        self._missing = 0
        self._length = -1
        self._chunks: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[list[bytes]]:
        """Add what arrived and give every command that is now complete.

        Raises:
            ProtocolError: The text tells the client what was wrong.
        """
        if self._chunks:
            self._chunks.append(data)
            self.size += len(data)
            if self.size < self._length + 2:
                return
            data = b"".join(self._chunks)
            self._chunks = []
        elif self._data:
            data = self._data + data
        self._data = data
        self._place = 0
        while self._place < len(data):
            if not self._missing and not self._begin():
                break
            while self._missing and self._take_argument():
                pass
            if self._missing:
                break
            if self._argv:
                argv, self._argv = self._argv, []
                yield argv
        self._keep_rest()

    def _keep_rest(self) -> None:
        """Put away what is incomplete; a long argument in pieces, which are joined once."""
        rest = self._data[self._place :]
        self.size = len(rest)
        if self._length >= INLINE_MAX:
            self._chunks, self._data = [rest], b""
        else:
            self.size += sum(map(len, self._argv))
            self._data = rest

    def _begin(self) -> bool:
        """Read an array header or a whole inline command; False when it is not complete."""
        data, place = self._data, self._place
        if data[place] != 42:
            end = data.find(b"\n", place)
            if end < 0:
                if len(data) - place > INLINE_MAX:
                    raise ProtocolError("too big inline request")
                return False
            self._place = end + 1
            self._argv = split_inline(data[place:end].removesuffix(b"\r"))
            return True
        end = self._line_end("too big mbulk count string")
        if end < 0:
            return False
        count = _length(data[place + 1 : end], "invalid multibulk length")
        if count > MULTIBULK_MAX:
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
                raise ProtocolError(f"expected '$', got '{chr(data[self._place])}'")
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
        self._argv.append(data[self._place : end])
        self._missing -= 1
        self._length = -1
        self._place = end + 2
        return True

    def _line_end(self, too_long: str) -> int:
        """Where the line that begins here ends; -1 when it does not yet."""
        end = self._data.find(b"\r", self._place)
        if end < 0 or end + 1 >= len(self._data):
            if len(self._data) - self._place > INLINE_MAX:
                raise ProtocolError(too_long)
            return -1
        return end


_INTEGER = re.compile(rb"-?[1-9][0-9]{0,18}|0").fullmatch


def _length(digits: bytes, error: str) -> int:
    if not _INTEGER(digits):
        raise ProtocolError(error)
    return int(digits)


_ESCAPES = {110: 10, 114: 13, 116: 9, 98: 8, 97: 7}


def split_inline(line: bytes) -> list[bytes]:
    """Split a line at blanks, with ``"quoted\\n"`` and ``'plain'`` parts, as a shell would.

    Raises:
        ProtocolError: A quote is not closed, or is followed by something other than a blank.
    """
    if not any(quote in line for quote in b"\"'"):
        return line.split()
    found: list[bytes] = []
    place = 0
    while True:
        while place < len(line) and line[place : place + 1].isspace():
            place += 1
        if place >= len(line):
            return found
        word, place = _word(line, place)
        found.append(word)


def _word(line: bytes, place: int) -> tuple[bytes, int]:
    out = bytearray()
    while place < len(line) and not line[place : place + 1].isspace():
        letter = line[place]
        if letter in b"\"'":
            part, place = _quoted(line, place + 1, letter)
            out += part
            if place < len(line) and not line[place : place + 1].isspace():
                raise ProtocolError("unbalanced quotes in request")
        else:
            out.append(letter)
            place += 1
    return bytes(out), place


def _quoted(line: bytes, place: int, quote: int) -> tuple[bytes, int]:
    out = bytearray()
    while place < len(line):
        letter = line[place]
        if letter == quote:
            return bytes(out), place + 1
        if letter == 92 and place + 1 < len(line):
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
        out.append(letter)
        place += 1
    raise ProtocolError("unbalanced quotes in request")


def _is_hex(digits: bytes) -> bool:
    return len(digits) == 2 and all(digit in b"0123456789abcdefABCDEF" for digit in digits)
