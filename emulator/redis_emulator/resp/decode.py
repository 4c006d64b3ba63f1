"""The request parser: bytes from a client to commands (RESP arrays of bulk strings, and inline).

`RequestParser` stores incomplete commands and parses each byte once, so a command that arrives in
many small reads costs no more than one that arrives in one read. It enforces all limits of Redis:
an excessive length gives an error before any memory is allocated for it.

Complete commands are parsed by the fast path in `batch`. The parser here reads the rest, argument
by argument, with the same result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from redis_emulator.resp.batch import new_batch_parser

INLINE_MAX: Final = 64 * 1024
MULTIBULK_MAX: Final = 2**31 - 1
UNAUTHENTICATED_MULTIBULK_MAX: Final = 10
UNAUTHENTICATED_BULK_MAX: Final = 16 * 1024

_ARGUMENT_OVERHEAD: Final = 48
"""The memory overhead of an argument in bytes."""
_BATCH_BYTES: Final = 64 * 1024
"""The maximum number of bytes for one call of the batch parser."""


class ProtocolError(Exception):
    """The client violated the protocol. It gets the text as an error, and is disconnected."""


class RequestParser:
    """Parses the bytes that a client sends into argument lists.

    Args:
        bulk_max: The maximum length of an argument, ``proto-max-bulk-len``.
        trusted: Whether the client is authenticated. If not, lower limits apply.
        count_max: The maximum number of arguments.
        strict_ends: Parse as Valkey does: a line end must follow an argument, a header may contain
            any byte, and an argument of an inline command may continue after a quoted part.
    """

    __slots__ = (
        "_argv",
        "_argv_size",
        "_chunks",
        "_data",
        "_length",
        "_missing_arguments",
        "_parse_batch",
        "_position",
        "_ready",
        "_size",
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
        self._parse_batch = new_batch_parser()
        self._ready: list[list[bytes]] = []
        self._data = b""
        self._position = 0
        self._argv: list[bytes] = []
        self._argv_size = 0
        self._missing_arguments = 0
        self._length = -1
        self._chunks: list[bytes] = []

    @property
    def size(self) -> int:
        """The number of bytes stored for commands that are incomplete or not yet returned."""
        if self._ready:
            return self._size + sum(len(argument) for argv in self._ready for argument in argv)
        return self._size

    def incomplete(self) -> tuple[int, int, int]:
        """The state of the incomplete command, for CLIENT LIST and the memory limits.

        Returns:
            The number of unparsed bytes, the number of bytes in parsed arguments, and the length of
            the incomplete argument, -1 if it is unknown.
        """
        arguments = sum(map(len, self._argv))
        return self.size - self._argv_size, arguments, self._length

    def add(self, data: bytes) -> None:
        """Add received bytes."""
        self._size += len(data)
        self._chunks.append(data)

    def feed(self, data: bytes) -> Iterator[list[bytes]]:
        """Add received bytes and yield all complete commands.

        Raises:
            ProtocolError: The client violated the protocol.
        """
        self.add(data)
        return self.commands()

    def commands(self) -> Iterator[list[bytes]]:
        """Yield all complete commands.

        The caller can abandon the iterator and call this method again later. `add` can be called
        while an iterator is in use.

        Raises:
            ProtocolError: The client violated the protocol.
        """
        ready = self._ready
        while ready:
            yield ready.pop()
        if self._length >= 0 and self._size - self._argv_size < self._length + 2:
            return
        self._join_chunks()
        try_batch = self.trusted
        while self._position < len(self._data):
            if try_batch and not self._missing_arguments and self._data[self._position] == 42:
                commands, used = self._parse_batch(
                    self._data[self._position : self._position + _BATCH_BYTES]
                )
                self._position += used
                self._size -= used
                commands.reverse()
                self._ready = ready = commands
                while ready:
                    yield ready.pop()
                self._join_chunks()
                try_batch = used > 0
                continue
            if not self._missing_arguments and not self._parse_header():
                break
            while self._missing_arguments and self._parse_argument():
                pass
            if self._missing_arguments:
                break
            if self._argv:
                argv, self._argv = self._argv, []
                self._argv_size = 0
                self._size = len(self._data) - self._position
                yield argv
                self._join_chunks()
        self._size = len(self._data) - self._position + self._argv_size

    def _join_chunks(self) -> None:
        if self._chunks:
            if self._position < len(self._data):
                self._chunks.insert(0, self._data[self._position :])
            chunks, self._chunks = self._chunks, []
            self._data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            self._position = 0

    def _parse_header(self) -> bool:
        """Parse an array header or an inline command; return False if it is incomplete."""
        data, position = self._data, self._position
        if data[position] != 42:
            end = data.find(b"\n", position)
            if 0 <= data.find(b"\0", position, end) < end:
                end = -1
            if end < 0:
                if len(data) - position > INLINE_MAX:
                    raise ProtocolError("too big inline request")
                return False
            self._position = end + 1
            line = data[position:end].removesuffix(b"\r")
            self._argv = split_inline(line, joined=self.strict_ends)
            return True
        end = self._find_line_end("too big mbulk count string")
        if end < 0:
            return False
        self._check_line_end(end)
        count = _parse_length(data[position + 1 : end], "invalid multibulk length")
        if count > self.count_max:
            raise ProtocolError("invalid multibulk length")
        if count > UNAUTHENTICATED_MULTIBULK_MAX and not self.trusted:
            raise ProtocolError("unauthenticated multibulk length")
        self._missing_arguments = max(0, count)
        self._position = end + 2
        return True

    def _parse_argument(self) -> bool:
        """Parse one argument; return False if it is incomplete."""
        data = self._data
        length = self._length
        if length < 0:
            if self._position >= len(data):
                return False
            end = self._find_line_end("too big bulk count string")
            if end < 0:
                return False
            if data[self._position] != 36:
                got = data[self._position : self._position + 1].decode("utf-8", "surrogateescape")
                raise ProtocolError(f"expected '$', got '{got}'")
            self._check_line_end(end)
            length = _parse_length(data[self._position + 1 : end], "invalid bulk length")
            if not 0 <= length <= self.bulk_max:
                raise ProtocolError("invalid bulk length")
            if length > UNAUTHENTICATED_BULK_MAX and not self.trusted:
                raise ProtocolError("unauthenticated bulk length")
            self._position = end + 2
        end = self._position + length
        if end + 2 > len(data):
            self._length = length
            return False
        if self.strict_ends and data[end : end + 2] != b"\r\n":
            raise ProtocolError("invalid CRLF in request")
        self._argv.append(data[self._position : end])
        self._argv_size += length + _ARGUMENT_OVERHEAD
        self._missing_arguments -= 1
        self._length = -1
        self._position = end + 2
        return True

    def _find_line_end(self, too_long: str) -> int:
        """The position of the end of the current line, -1 if it is incomplete."""
        data, position = self._data, self._position
        end = data.find(b"\r", position)
        if not self.strict_ends and 0 <= data.find(b"\0", position, end) < end:
            end = -1
        if end < 0 or end + 1 >= len(data):
            if end < 0 and len(data) - position > INLINE_MAX:
                raise ProtocolError(too_long)
            return -1
        return end

    def _check_line_end(self, end: int) -> None:
        if self.strict_ends and self._data[end + 1] != 10:
            raise ProtocolError("invalid CRLF in request")


_INTEGER = re.compile(rb"-?[1-9][0-9]{0,18}|0").fullmatch


def _parse_length(digits: bytes, error: str) -> int:
    if not _INTEGER(digits) or not -(1 << 63) <= (length := int(digits)) < 1 << 63:
        raise ProtocolError(error)
    return length


_NEEDS_PARSING = re.compile(rb"[\"'\v\f\xff]").search
_ESCAPES = {110: 10, 114: 13, 116: 9, 98: 8, 97: 7}


def split_inline(line: bytes, *, joined: bool = False) -> list[bytes]:
    """Split an inline command at whitespace; ``"..."`` may contain escapes, ``'...'`` may not.

    Args:
        line: The line without its end.
        joined: Split as Valkey does: an argument may continue after a quoted part, as in ``"a"b``,
            a backslash at the end of the line escapes nothing, and bytes 255 are dropped.

    Raises:
        ProtocolError: A quote is not closed, or whitespace is missing after it.
    """
    if not _NEEDS_PARSING(line):
        return line.split()
    found: list[bytes] = []
    position = 0
    while True:
        while line[position : position + 1].isspace():
            position += 1
        if position >= len(line):
            return found
        word, position = _parse_word(line, position, joined)
        found.append(word)


def _parse_word(line: bytes, position: int, joined: bool) -> tuple[bytes, int]:
    out = bytearray()
    while position < len(line) and (letter := line[position]) not in b" \n\r\t":
        if letter in b"\"'":
            part, position = _parse_quoted(line, position + 1, letter, joined)
            out += part
            if not joined:
                if position < len(line) and not line[position : position + 1].isspace():
                    raise ProtocolError("unbalanced quotes in request")
                break
        else:
            if letter != 255 or not joined:
                out.append(letter)
            position += 1
    return bytes(out), position


def _parse_quoted(line: bytes, position: int, quote: int, joined: bool) -> tuple[bytes, int]:
    out = bytearray()
    while position < len(line):
        letter = line[position]
        if letter == quote:
            return bytes(out), position + 1
        if letter == 92 and position + 1 < len(line) - joined:
            following = line[position + 1]
            if (
                quote == 34
                and line[position + 1 : position + 2] == b"x"
                and _is_hex(line[position + 2 : position + 4])
            ):
                out.append(int(line[position + 2 : position + 4], 16))
                position += 4
                continue
            if quote == 34:
                out.append(_ESCAPES.get(following, following))
                position += 2
                continue
            if following == 39:
                out.append(39)
                position += 2
                continue
        if letter != 255 or not joined:
            out.append(letter)
        position += 1
    raise ProtocolError("unbalanced quotes in request")


def _is_hex(digits: bytes) -> bool:
    return len(digits) == 2 and all(digit in b"0123456789abcdefABCDEF" for digit in digits)
