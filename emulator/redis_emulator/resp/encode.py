"""The reply encoder: reply values to bytes in RESP2 or RESP3."""

from __future__ import annotations

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
    File,
    InterleavedMessage,
    InterleavedReplies,
    MapReply,
    PairMap,
    Pairs,
    Push,
    RedisError,
    Reply,
    SetReply,
    SimpleString,
    Verbatim,
    to_resp2,
)


def encode(reply: Reply, protocol: int) -> bytes:
    """Encode a reply in RESP ``protocol`` 2 or 3."""
    if type(reply) is InterleavedReplies:
        messages = sum(type(item) is InterleavedMessage for item in reply)
        return b"*%d\r\n" % (len(reply) - messages) + b"".join(
            encode(item.message if type(item) is InterleavedMessage else item, protocol)
            for item in reply
        )
    if type(reply) is File:
        return b"$%d\r\n%b" % (len(reply), reply)
    out = bytearray()
    if protocol == 2:
        _encode2(to_resp2(reply), out)
    else:
        _encode3(reply, out)
    return bytes(out)


def _encode2(reply: Any, out: bytearray) -> None:
    kind = type(reply)
    if kind is bytes:
        out += b"$%d\r\n%b\r\n" % (len(reply), reply)
    elif kind is int:
        out += b":%d\r\n" % reply
    elif reply is None:
        out += b"$-1\r\n"
    elif kind is SimpleString:
        out += b"+%b\r\n" % reply
    elif kind is list:
        out += b"*%d\r\n" % len(reply)
        for item in reply:
            _encode2(item, out)
    elif isinstance(reply, RedisError):
        out += b"-%b\r\n" % reply.wire()
    elif reply is NULL_ARRAY:
        out += b"*-1\r\n"
    else:
        raise TypeError(f"a command returned {reply!r}, which is not a reply")


def _encode3(reply: Any, out: bytearray) -> None:
    kind = type(reply)
    if kind is bytes:
        out += b"$%d\r\n%b\r\n" % (len(reply), reply)
    elif kind is int:
        out += b":%d\r\n" % reply
    elif reply is None or reply is NULL_ARRAY:
        out += b"_\r\n"
    elif kind is SimpleString:
        out += b"+%b\r\n" % reply
    elif kind is dict:
        out += b"%%%d\r\n" % len(reply)
        for key, value in reply.items():
            _encode3(key, out)
            _encode3(value, out)
    elif kind is PairMap or kind is MapReply:
        out += b"%%%d\r\n" % len(reply)
        for key, value in reply:
            _encode3(key, out)
            _encode3(value, out)
    elif kind in _AGGREGATES:
        out += b"%b%d\r\n" % (_AGGREGATES[kind], len(reply))
        for item in reply:
            _encode3(item, out)
    elif kind is bool:
        out += b"#t\r\n" if reply else b"#f\r\n"
    elif kind is float:
        out += b",%b\r\n" % format_double(reply)
    elif kind is Double17:
        out += b",%b\r\n" % format_double17(reply)
    elif kind is Decimals17:
        out += b",%b\r\n" % format_decimals17(reply)
    elif isinstance(reply, RedisError):
        out += b"-%b\r\n" % reply.wire()
    elif kind is Verbatim:
        out += b"=%d\r\n%b:%b\r\n" % (len(reply) + 4, reply.format, reply)
    elif kind is BigNumber:
        out += b"(%b\r\n" % reply
    else:
        raise TypeError(f"a command returned {reply!r}, which is not a reply")


_AGGREGATES: dict[type, bytes] = {
    list: b"*",
    tuple: b"*",
    Pairs: b"*",
    SetReply: b"~",
    Push: b">",
}
