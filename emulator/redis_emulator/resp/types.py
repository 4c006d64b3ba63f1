"""The values that commands return as replies, independent of the protocol version.

Plain Python values are the types that both protocols have: ``bytes`` is a bulk string, ``int`` an
integer, ``None`` null and ``list`` an array. ``bool``, ``float`` and ``dict`` are boolean, double
and map of RESP3. The classes below are the other types. `to_resp2` converts a reply to RESP2.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from redis_emulator.resp.double import Decimals17, Double17, format_decimals17, format_double17
from redis_emulator.resp.double import format_double as format_double

Reply: TypeAlias = object


class SimpleString(bytes):
    """A simple string (status reply) such as ``OK``."""

    __slots__ = ()


OK: Final = SimpleString(b"OK")
PONG: Final = SimpleString(b"PONG")
QUEUED: Final = SimpleString(b"QUEUED")


class SetReply(list[Reply]):
    """A set; an array in RESP2."""

    __slots__ = ()


class Pairs(list[Reply]):
    """An array of two-element arrays; one flat array in RESP2."""

    __slots__ = ()


class MapReply(list[tuple[Reply, Reply]]):
    """A map as a list of pairs, for keys that are unhashable or repeated; a flat array in RESP2."""

    __slots__ = ()


class File(bytes):
    """The RDB file in the reply of PSYNC: a bulk string without the line end after it."""

    __slots__ = ()


class PairMap(list[Reply]):
    """A list of pairs: a map in RESP3, an array of two-element arrays in RESP2."""

    __slots__ = ()


class Push(list[Reply]):
    """A push message; an array in RESP2."""

    __slots__ = ()


class InterleavedMessage:
    """A message that a transaction sends to its own client while it runs."""

    __slots__ = ("message",)

    def __init__(self, message: Reply) -> None:
        self.message = message


class InterleavedReplies(list[Reply]):
    """The replies of EXEC, with messages in between.

    A message is sent at its position in the array, but is not counted in the length of the array.
    """

    __slots__ = ()


class Verbatim(bytes):
    """A verbatim string, which has a three-letter format; a bulk string in RESP2."""

    format = b"txt"


class BigNumber(bytes):
    """A big number as its digits; a bulk string in RESP2."""

    __slots__ = ()


class _NullArray:
    """The type of `NULL_ARRAY`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NULL_ARRAY"


NULL_ARRAY: Final = _NullArray()
"""A null array: ``*-1`` in RESP2, null in RESP3."""


class _NoReply:
    """The type of `NO_REPLY`, `PENDING` and `CLOSED`."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


NO_REPLY: Final = _NoReply("NO_REPLY")
"""The command sends no reply, or has already delivered its replies."""
PENDING: Final = _NoReply("PENDING")
"""The client is blocked; its reply is delivered later."""
CLOSED: Final = _NoReply("CLOSED")
"""Not a reply: delivered when the server closes the connection."""


class RedisError(Exception):
    """An error reply. The text is the line without the leading ``-``, starting with the error code.

    Bytes from the client in the text are decoded with ``surrogateescape``.

    Attributes:
        counted: Whether the error is already counted in the error statistics, for example when a
            script returns an error that a command raised in it.
    """

    counted = False

    @property
    def text(self) -> str:
        """The error line."""
        return str(self.args[0])

    @property
    def code(self) -> str:
        """The error code: the first word, such as ``ERR`` or ``WRONGTYPE``."""
        return self.text.split(" ", 1)[0]

    def wire(self) -> bytes:
        """The error line as it is sent. Line breaks are replaced with spaces, as in Redis."""
        line = self.text.encode("utf-8", "surrogateescape")
        return line.replace(b"\r", b" ").replace(b"\n", b" ")


def quote(raw: bytes) -> str:
    """Decode bytes for an error message, up to the first zero byte, as Redis formats C strings.

    `RedisError.wire` encodes them to the same bytes again.
    """
    if b"\0" in raw:
        raw = raw[: raw.index(b"\0")]
    return raw.decode("utf-8", "surrogateescape")


_ARRAYS: Final = frozenset((list, tuple, SetReply, PairMap, Push))


def to_resp2(reply: Any) -> Reply:
    """Convert a reply to the types of RESP2.

    These are bytes, int, None, list, `NULL_ARRAY`, `SimpleString` and `RedisError`.
    """
    kind = type(reply)
    if kind is bytes or kind is int or reply is None:
        return reply
    if kind in _ARRAYS:
        return [to_resp2(item) for item in reply]
    if kind is dict:
        return [to_resp2(item) for pair in reply.items() for item in pair]
    if kind is Pairs or kind is MapReply:
        return [to_resp2(item) for pair in reply for item in pair]
    if kind is bool:
        return 1 if reply else 0
    if kind is float:
        return format_double(reply)
    if kind is Double17:
        return format_double17(reply)
    if kind is Decimals17:
        return format_decimals17(reply)
    if kind is Verbatim or kind is BigNumber:
        return bytes(reply)
    return reply
