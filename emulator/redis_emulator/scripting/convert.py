"""Conversion between replies and Lua values, in both directions, as in Redis.

Replies become Lua values, depending on the protocol that the script has selected with
``redis.setresp``. The result of a script is returned as one value or as a list in prefix order (see
``api.lua``). No Python object may reach Lua: a value without a Lua equivalent is an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from redis_emulator.resp.double import (
    Decimals17,
    Double17,
    format_decimals17,
    format_double,
    format_double17,
)
from redis_emulator.resp.types import (
    NULL_ARRAY,
    BigNumber,
    MapReply,
    PairMap,
    Pairs,
    Push,
    RedisError,
    Reply,
    SetReply,
    SimpleString,
    Verbatim,
)

Table = Callable[[Any], Any]
INT64_MIN = -(1 << 63)


def to_lua2(reply: Any, table: Table) -> Any:
    """Convert a reply for a script in RESP2. ``table`` makes a Lua table of a list or dict."""
    kind = type(reply)
    if kind is bytes or kind is int:
        return reply
    if reply is None or reply is NULL_ARRAY:
        return False
    if kind in (list, SetReply, Push, tuple, PairMap):
        return table([to_lua2(item, table) for item in reply])
    if kind is SimpleString:
        return table({b"ok": reply})
    if isinstance(reply, RedisError):
        return table({b"err": reply.wire()})
    if kind is dict:
        return table([to_lua2(item, table) for pair in reply.items() for item in pair])
    if kind is Pairs:
        return table([to_lua2(item, table) for pair in reply for item in pair])
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
    raise TypeError(f"no Lua value stands for a reply of type {kind.__name__}")


def to_lua3(reply: Any, table: Table) -> Any:
    """Convert a reply for a script in RESP3: null is nil; maps, sets, doubles are tagged tables."""
    kind = type(reply)
    if kind is bytes or kind is int or kind is bool:
        return reply
    if reply is None or reply is NULL_ARRAY:
        return None
    if kind in (list, Pairs, Push, tuple):
        return table([to_lua3(item, table) for item in reply])
    if kind is SimpleString:
        return table({b"ok": reply})
    if isinstance(reply, RedisError):
        return table({b"err": reply.wire()})
    if kind is dict or kind is PairMap:
        items = reply.items() if kind is dict else reply
        pairs = ((to_lua3(k, table), to_lua3(v, table)) for k, v in items)
        return table({b"map": table({k: v for k, v in pairs if k is not None})})
    if kind is SetReply:
        return table({b"set": table({to_lua3(item, table): True for item in reply})})
    if kind in (float, Double17, Decimals17):
        return table({b"double": float(reply)})
    if kind is Verbatim:
        return table(
            {b"verbatim_string": table({b"string": bytes(reply), b"format": reply.format})}
        )
    if kind is BigNumber:
        return table({b"big_number": bytes(reply)})
    raise TypeError(f"no Lua value stands for a reply of type {kind.__name__}")


def from_scalar(value: Any, resp3: bool) -> Reply:
    """Convert a script's result that is not a table. Numbers are truncated to integers."""
    kind = type(value)
    if kind is bytes:
        return value
    if kind is int or kind is float:
        return integer(value)
    if kind is bool:
        if resp3:
            return value
        return 1 if value else None
    return None


def integer(value: float) -> int:
    """Truncate a Lua number to 64 bits as a C cast does. Out of range it is the lowest integer."""
    if math.isnan(value) or math.isinf(value) or not -(2.0**63) <= value < 2.0**63:
        return INT64_MIN
    return int(value)


def from_stream(tokens: Iterator[Any], resp3: bool, double: type[float]) -> Reply:
    """Convert one value of a result in prefix order. ``double`` is the type for doubles.

    Not recursive, so that nested results cannot overflow Python's stack.
    """
    unfinished: list[tuple[Callable[[list[Reply]], Reply], int, list[Reply]]] = []
    while True:
        token = next(tokens)
        kind = next(tokens) if token is True else None
        container = _CONTAINERS.get(kind)
        if container is not None:
            make, values = container
            unfinished.append((make, values * next(tokens), []))
        else:
            value = _leaf(kind, tokens, resp3, double) if kind else from_scalar(token, resp3)
            if not unfinished:
                return value
            unfinished[-1][2].append(value)
        while len(unfinished[-1][2]) == unfinished[-1][1]:
            make, _, items = unfinished.pop()
            if not unfinished:
                return make(items)
            unfinished[-1][2].append(make(items))


def _map(items: list[Reply]) -> Reply:
    return MapReply(zip(items[::2], items[1::2], strict=True))


_CONTAINERS: dict[bytes | None, tuple[Callable[[list[Reply]], Reply], int]] = {
    b"array": (list, 1),
    b"map": (_map, 2),
    b"set": (SetReply, 1),
}
"""For each container the constructor, and the number of values for each element."""


def _leaf(kind: bytes, tokens: Iterator[Any], resp3: bool, double: type[float]) -> Reply:
    if kind in (b"true", b"false"):
        return from_scalar(kind == b"true", resp3)
    if kind == b"null":
        return None
    if kind == b"error" or kind == b"counted":
        failure = error(next(tokens))
        failure.counted = kind == b"counted"
        return failure
    if kind == b"status":
        text = until_nul(next(tokens))
        return SimpleString(text.replace(b"\r", b" ").replace(b"\n", b" "))
    if kind == b"double":
        return double(next(tokens))
    if kind == b"verbatim":
        verbatim = Verbatim(next(tokens))
        verbatim.format = until_nul(next(tokens))[:3].ljust(3)
        return verbatim
    return BigNumber(next(tokens).replace(b"\r", b" ").replace(b"\n", b" "))


def error(line: bytes) -> RedisError:
    """An error reply with the text that a script returned."""
    return RedisError(until_nul(line).decode("utf-8", "surrogateescape"))


def until_nul(text: bytes) -> bytes:
    """The text up to the first NUL byte, as C reads it."""
    return text.partition(b"\0")[0]


class RawError(RedisError):
    """An error of a script that is sent with its line breaks, as in Redis since 7.2.

    Only CRLF is replaced, because it ends the error in RESP.
    """

    def wire(self) -> bytes:
        """The error as sent."""
        return self.text.encode("utf-8", "surrogateescape").replace(b"\r\n", b"  ")


def number_argument(value: float, shortest: bool) -> bytes:
    """Convert a Lua number to an argument of a command, in the server's format for doubles."""
    if shortest and value == value:
        return format_double(value)
    if abs(value) < 1e17 and value == int(value):
        return b"%d" % value
    return format_double17(value)
