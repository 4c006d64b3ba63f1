"""The values a command replies with, none of them tied to RESP2 or RESP3.

Plain Python values stand for what both protocols have: ``bytes`` a bulk string, ``int`` an integer,
``None`` null, ``list`` an array. The classes below are what RESP3 adds, and ``lower`` is the only
place that says what each becomes for a RESP2 client. ``bool``, ``float`` and ``dict`` are RESP3's
boolean, double and map; a `Double17` is a double as servers before 7.2 print it.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from redis_emulator.resp.double import Decimals17, Double17, format_decimals17, format_double17
from redis_emulator.resp.double import format_double as format_double

Reply: TypeAlias = object


class SimpleString(bytes):
    """A status reply such as ``OK``: a byte string that travels on one line."""

    __slots__ = ()


OK: Final = SimpleString(b"OK")
PONG: Final = SimpleString(b"PONG")
QUEUED: Final = SimpleString(b"QUEUED")


class SetReply(list[Reply]):
    """An unordered collection without duplicates; an array in RESP2."""

    __slots__ = ()


class Pairs(list[Reply]):
    """A list of two-element lists; RESP2 clients get them flattened into one array."""

    __slots__ = ()


class MapReply(list[tuple[Reply, Reply]]):
    """A map as pairs, where keys may be anything, even twice the same; flat in RESP2 as a dict."""

    __slots__ = ()


class File(bytes):
    """Bytes that are sent like a bulk string but without the end of line behind it."""

    __slots__ = ()


class PairMap(list[Reply]):
    """A list of pairs that is a map in RESP3 and stays a list of pairs in RESP2."""

    __slots__ = ()


class Push(list[Reply]):
    """An out-of-band message; for a RESP2 client it is an ordinary array."""

    __slots__ = ()


class Aside:
    """A message that a transaction sends its own client while it runs."""

    __slots__ = ("message",)

    def __init__(self, message: Reply) -> None:
        self.message = message


class Interleaved(list[Reply]):
    """EXEC's replies with each `Aside` where it came, not counted as the array's on the wire."""

    __slots__ = ()


class Verbatim(bytes):
    """Text for people, sent with its format of three letters; a bulk string in RESP2."""

    format = b"txt"


class BigNumber(bytes):
    """The digits of an integer that may not fit 64 bits; a bulk string in RESP2."""

    __slots__ = ()


class _NullArray:
    """The type of `NULL_ARRAY`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NULL_ARRAY"


NULL_ARRAY: Final = _NullArray()
"""Null where an array was promised: ``*-1`` in RESP2, plain null in RESP3."""


class _NoReply:
    """The type of `NO_REPLY`, `PENDING` and `CLOSED`."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


NO_REPLY: Final = _NoReply("NO_REPLY")
"""The command answers nothing, or has delivered its answers itself (SUBSCRIBE)."""
PENDING: Final = _NoReply("PENDING")
"""The client is blocked; its reply is delivered later."""
CLOSED: Final = _NoReply("CLOSED")
"""Not a reply: delivered when the server ends the connection."""


class RedisError(Exception):
    """An error reply: the whole line a client sees, code first, without the leading ``-``.

    Bytes of the client's that the text quotes are kept through ``surrogateescape``.

    Attributes:
        counted: Whether the statistics of errors know of it: a script was told, and passes it on.
    """

    counted = False

    @property
    def text(self) -> str:
        """The error line."""
        return str(self.args[0])

    @property
    def code(self) -> str:
        """The first word, ``ERR`` or ``WRONGTYPE`` and so on."""
        return self.text.split(" ", 1)[0]

    def wire(self) -> bytes:
        """The error line as sent: line breaks are not allowed inside."""
        line = self.text.encode("utf-8", "surrogateescape")
        return line.replace(b"\r", b" ").replace(b"\n", b" ")


def quote(raw: bytes) -> str:
    """Bytes as text for an error message, which ends where C's strings end, at a zero byte.

    `RedisError.wire` turns them back unchanged.
    """
    if b"\0" in raw:
        raw = raw[: raw.index(b"\0")]
    return raw.decode("utf-8", "surrogateescape")


_ARRAYS: Final = frozenset((list, tuple, SetReply, PairMap, Push))


def lower(reply: Any) -> Reply:
    """What a RESP2 client gets for ``reply``: only bytes, integers, None, lists, statuses,
    errors.
    """
    kind = type(reply)
    if kind is bytes or kind is int or reply is None:
        return reply
    if kind in _ARRAYS:
        return [lower(item) for item in reply]
    if kind is dict:
        return [lower(item) for pair in reply.items() for item in pair]
    if kind is Pairs or kind is MapReply:
        return [lower(item) for pair in reply for item in pair]
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
