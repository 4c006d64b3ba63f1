"""Values between Lua and replies, both ways, as the server converts them.

A reply goes to a script as Lua values: what a script sees depends on the protocol it has chosen with
``redis.setresp``. A script's result comes back as one value or as a list in prefix order (see ``api.lua``).
Nothing here may let a Python object through to Lua: what has no Lua form is an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from redis_emulator.resp.types import (
    NULL_ARRAY,
    BigNumber,
    Pairs,
    Push,
    RedisError,
    Reply,
    SetReply,
    SimpleString,
    Verbatim,
    format_double,
)

Table = Callable[[Any], Any]
INT64_MIN = -(1 << 63)


def to_lua2(reply: Any, table: Table) -> Any:
    """A reply as a script in RESP2 sees it; ``table`` makes a Lua table of a list or dict."""
    kind = type(reply)
    if kind is bytes or kind is int:
        return reply
    if reply is None or reply is NULL_ARRAY:
        return False
    if kind is list or kind is SetReply or kind is Push or kind is tuple:
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
    if kind is Verbatim:
        return bytes(reply)
    if kind is BigNumber:
        return b"%d" % reply
    raise TypeError(f"no Lua value stands for a reply of type {kind.__name__}")


def to_lua3(reply: Any, table: Table) -> Any:
    """A reply as a script in RESP3 sees it: null is nil, maps, sets and doubles are tagged tables."""
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
    if kind is dict:
        pairs = ((to_lua3(k, table), to_lua3(v, table)) for k, v in reply.items())
        return table({b"map": table({k: v for k, v in pairs if k is not None})})
    if kind is SetReply:
        return table({b"set": table({to_lua3(item, table): True for item in reply})})
    if kind is float:
        return table({b"double": reply})
    if kind is Verbatim:
        return table({b"verbatim_string": table({b"string": bytes(reply), b"format": b"txt"})})
    if kind is BigNumber:
        return table({b"big_number": b"%d" % reply})
    raise TypeError(f"no Lua value stands for a reply of type {kind.__name__}")


def from_scalar(value: Any, resp3: bool) -> Reply:
    """The reply for a script's result that is not a table: numbers lose their fraction."""
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
    """A Lua number as a C compiler casts it to 64 bits: towards zero, out of range to the lowest."""
    if math.isnan(value) or math.isinf(value) or not -(2.0**63) <= value < 2.0**63:
        return INT64_MIN
    return int(value)


def from_stream(tokens: Iterator[Any], resp3: bool) -> Reply:
    """Read one value of a result's prefix-order list."""
    token = next(tokens)
    if token is not True:
        return from_scalar(token, resp3)
    kind = next(tokens)
    if kind == b"array":
        return [from_stream(tokens, resp3) for _ in range(next(tokens))]
    if kind in (b"true", b"false"):
        return from_scalar(kind == b"true", resp3)
    if kind == b"null":
        return None
    if kind == b"error":
        return error(next(tokens))
    if kind == b"status":
        return SimpleString(next(tokens).replace(b"\r", b" ").replace(b"\n", b" "))
    if kind == b"double":
        return float(next(tokens))
    if kind == b"map":
        pairs = [
            (from_stream(tokens, resp3), from_stream(tokens, resp3)) for _ in range(next(tokens))
        ]
        return dict(pairs)
    if kind == b"set":
        return SetReply(from_stream(tokens, resp3) for _ in range(next(tokens)))
    if kind == b"verbatim":
        text, _ = next(tokens), next(tokens)
        return Verbatim(text)
    return big_number(next(tokens))


def error(line: bytes) -> RedisError:
    """An error reply with a script's own bytes as its line."""
    return RedisError(line.decode("utf-8", "surrogateescape"))


def big_number(text: bytes) -> Reply:
    """The reply for a script's ``big_number``; text that is no number cannot be told apart in RESP2."""
    try:
        return BigNumber(int(text))
    except ValueError:
        return text.replace(b"\r", b" ").replace(b"\n", b" ")


def number_argument(value: float, shortest: bool) -> bytes:
    """A Lua number as a command's argument: shortest digits since 7.2, ``%.17g`` before."""
    if not shortest:
        return b"%d" % value if abs(value) < 1e17 and value == int(value) else _c_format(value)
    if math.isnan(value) or math.isinf(value):
        return _c_format(value)
    if abs(value) <= 2.0**62 and value == int(value):
        return b"%d" % int(value)
    return _shortest(value)


def _c_format(value: float) -> bytes:
    if math.isnan(value):
        return b"-nan" if math.copysign(1.0, value) < 0 else b"nan"
    return b"%.17g" % value


def _shortest(value: float) -> bytes:
    sign = b"-" if value < 0 else b""
    mantissa, _, exponent_text = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent_text or 0)
    if whole.strip("0") == "":
        point = int(exponent_text or 0) - (len(fraction) - len(fraction.lstrip("0")))
    digits = digits.rstrip("0") or "0"
    scale, exponent = point - len(digits), point - 1
    if 0 <= scale and abs(exponent) < len(digits) + 7:
        body = digits + "0" * scale
    elif scale < 0 and (scale > -7 or abs(exponent) < 4):
        body = f"0.{'0' * -point}{digits}" if point <= 0 else f"{digits[:point]}.{digits[point:]}"
    else:
        body = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
        body += f"e{'-' if exponent < 0 else '+'}{abs(exponent)}"
    return sign + body.encode()
