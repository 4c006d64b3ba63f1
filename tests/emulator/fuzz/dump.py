"""DUMP and RESTORE of values of all types, with payloads as every release writes them.

Payloads are compared byte for byte, except for the order of hash tables and the times in streams.
"""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import strategies as st

from redis_emulator.rdb import codes, payload
from redis_emulator.rdb.crc64 import crc64
from redis_emulator.rdb.wire import Writer
from redis_emulator.values.stream import Stream
from tests.support.pair import Wire

Commands = st.SearchStrategy[list[bytes]]

VERSIONS = (9, 10, 11, 12, 80)
FAR = 4_102_444_800_000

_key = st.sampled_from([b"a", b"b", b"c", b"missing"])
_word = st.one_of(
    st.sampled_from([b"a", b"b", b"c", b"", b"7", b"-1", b"12", b"13", b"127", b"128", b"4096"]),
    st.sampled_from([b"70000", b"2147483648", b"-9223372036854775808", b"9223372036854775808"]),
    st.sampled_from([b"\x00\xff", b"ab" * 40, b"s" * 63, b"t" * 254, b"007", b"-129", b"-8388609"]),
)
_large = st.sampled_from([b"v" * 4000, b"xyz" * 1365, b"w" * 8100, b"y" * 8193, b"z" * 20000])
_text = st.one_of(_word, _word, _word, _large)
_integer = st.one_of(
    st.integers(-200, 200), st.integers(-(1 << 33), 1 << 33), st.integers(-(1 << 63), (1 << 63) - 1)
).map(lambda number: b"%d" % number)
_score = st.one_of(
    st.integers(-5, 300).map(float),
    st.floats(allow_nan=False),
    st.sampled_from([1.5, 0.1, 1e17, 1e-5, float("inf"), float("-inf"), 4.9e-324, 1e21, -0.0]),
)
_part = st.sampled_from([b"1", b"2", b"3", b"300", b"70000"])
_deadline = st.integers(FAR, FAR + 1000)


def _whole(score: float) -> float:
    """A score that releases print alike."""
    return float(int(score)) + 0.0 if abs(score) < 1 << 50 else 1.0


@st.composite
def contents(draw: st.DrawFn) -> tuple[bytes, Any, bytes, int]:
    """A value: kind, content, encoding and an RDB version that has this form of it."""
    version = draw(st.sampled_from(VERSIONS))
    kind = draw(st.sampled_from([b"string", b"list", b"set", b"intset", b"zset", b"hash", b"ttl"]))
    small = b"ziplist" if version < codes.LISTPACKS else b"listpack"
    packed = draw(st.booleans())
    if kind == b"string":
        return kind, draw(st.one_of(_text, st.binary(max_size=300))), b"", version
    if kind == b"list":
        nodes = draw(st.lists(st.lists(_text, min_size=1, max_size=5), min_size=1, max_size=3))
        return kind, nodes, b"", version
    if kind == b"set":
        members = draw(st.lists(_word, min_size=1, max_size=8, unique=True))
        form = b"listpack" if packed and version >= codes.SET_LISTPACKS else b"hashtable"
        return kind, members, form, version
    if kind == b"intset":
        numbers = draw(st.lists(_integer, min_size=1, max_size=8, unique=True))
        return b"set", numbers, b"intset" if packed else b"hashtable", version
    members = draw(st.lists(_word, min_size=1, max_size=6, unique=True))
    if kind == b"zset":
        scores = _score if version >= codes.SET_LISTPACKS else _score.map(_whole)
        pairs = [(member, draw(scores)) for member in members]
        return kind, sorted(pairs, key=lambda p: p[::-1]), small if packed else b"skiplist", version
    fields = [(member, draw(_word), None) for member in members]
    if kind == b"hash":
        return kind, fields, small if packed else b"hashtable", version
    timed = [(name, value, draw(st.none() | _deadline)) for name, value, _ in fields]
    timed[0] = (*timed[0][:2], draw(_deadline))
    version = draw(st.sampled_from([12, 80]))
    return b"hash", timed, b"listpackex" if packed and version == 12 else b"hashtable", version


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """Mostly sound payloads."""
    kind, content, form, version = draw(contents())
    compressing = draw(st.booleans())
    if kind == b"string" and draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from([b"", b"x", b"x" * 10, b"x" * 30]))
    data = payload.dump(Writer(version, compressing=compressing), kind, content, form)
    damage = draw(st.integers(0, 19))
    if damage == 0:
        return data[:-1] + bytes([data[-1] ^ 1])
    if damage == 1 and kind != b"zset":
        body = data[:-10] + struct.pack("<H", draw(st.sampled_from([1, 8, 13, 79, 81])))
        return body + struct.pack("<Q", crc64(body))
    return data


def _call(*parts: Any) -> Commands:
    strategies = [st.just(part) if isinstance(part, (bytes, list)) else part for part in parts]
    return st.tuples(*strategies).map(
        lambda found: [
            word for part in found for word in (part if isinstance(part, list) else [part])
        ]
    )


_option = st.sampled_from(
    [
        [b"REPLACE"],
        [b"REPLACE"],
        [b"replace"],
        [b"ABSTTL"],
        [b"IDLETIME", b"5"],
        [b"IDLETIME", b"-1"],
        [b"IDLETIME"],
        [b"FREQ", b"7"],
        [b"FREQ", b"256"],
        [b"FREQ", b"x"],
        [b"FOO"],
    ]
)
_options = st.one_of(
    st.just([b"REPLACE"]),
    st.lists(_option, max_size=3).map(lambda found: [word for part in found for word in part]),
)
_ttl = st.sampled_from(
    [b"0", b"0", b"0", b"1000000", b"4102444800000", b"-1", b"x", b"9223372036854775807"]
)


def commands() -> Commands:
    """One command of the family, or one that makes something to dump."""
    texts = st.lists(_text, min_size=1, max_size=6)
    words = st.lists(_word, min_size=1, max_size=6)
    pairs = st.lists(_word, min_size=2, max_size=6).map(lambda found: found[: len(found) & ~1])
    scored = st.tuples(_score, _word).map(lambda pair: [b"%.17g" % pair[0], pair[1]])
    return st.one_of(
        _call(b"DUMP", _key),
        _call(b"DUMP", _key),
        _call(b"RESTORE", _key, b"0", payloads(), b"REPLACE"),
        _call(b"RESTORE", _key, _ttl, payloads(), _options),
        _call(b"SET", _key, _text),
        _call(b"APPEND", _key, _text),
        _call(b"RPUSH", _key, texts),
        _call(b"LPUSH", _key, texts),
        _call(b"LSET", _key, st.sampled_from([b"0", b"2", b"-1"]), _text),
        _call(b"LTRIM", _key, st.sampled_from([b"0", b"1"]), st.sampled_from([b"3", b"-2"])),
        _call(b"SADD", _key, st.lists(st.one_of(_integer, _word), min_size=1, max_size=5)),
        _call(b"SADD", _key, st.lists(_integer, min_size=1, max_size=5)),
        _call(b"SREM", _key, _word),
        _call(b"ZADD", _key, scored, scored),
        _call(b"ZADD", _key, scored),
        _call(b"HSET", _key, pairs),
        _call(b"HDEL", _key, words),
        _call(b"HPEXPIREAT", _key, _deadline.map(lambda at: b"%d" % at), b"FIELDS", b"1", _word),
        _call(b"XADD", _key, st.tuples(_part, _part).map(b"-".join), pairs),
        _call(b"XADD", _key, st.tuples(_part, _part).map(b"-".join), [b"f", b"v", b"g", b"5"]),
        _call(b"XDEL", _key, st.tuples(_part, _part).map(b"-".join)),
        _call(b"XTRIM", _key, b"MAXLEN", _part),
        _call(b"XGROUP", b"CREATE", _key, st.sampled_from([b"g", b"h"]), b"0"),
        _call(b"XREADGROUP", b"GROUP", b"g", _word, b"COUNT", b"2", b"STREAMS", _key, b">"),
        _call(b"COPY", _key, _key, b"REPLACE"),
        _call(b"DEL", _key),
    )


def key_for(argv: list[bytes]) -> Any:
    """Payloads are compared without what has no order and without times."""
    return comparable if argv[0] == b"DUMP" else None


def comparable(reply: Wire) -> Any:
    """A reply of DUMP in a form that is equal where two servers agree.

    In front of a listpack whose fields expire Redis writes the earliest deadline as it remembers
    it, which is not moved by changes of a few seconds.
    """
    kind, data = reply
    if kind != "$" or data is None:
        return reply
    read = payload.load(data, None)
    if isinstance(read.content, Stream):
        return _without_times(data, read.content)
    unordered = read.kind == b"set" or (read.kind == b"hash" and data[0] != codes.HASH_LISTPACK)
    if unordered and read.form == b"":
        return data[0], sorted(read.content, key=repr), data[-10:-8]
    version = int.from_bytes(data[-10:-8], "little")
    if read.kind == b"list" and version < codes.SET_LISTPACKS:
        return data[0], [each for node in read.content for each in node], version
    if data[0] == codes.HASH_LISTPACK_FIELDS:
        return data[0], data[9:-8]
    if data[0] == codes.VALKEY_HASH_FIELDS:
        return data[0], sorted(read.content, key=repr), data[-10:-8]
    return data


def _without_times(data: bytes, stream: Stream) -> bytes:
    for group in stream.groups.values():
        for consumer in group.consumers.values():
            consumer.seen_at = 0
            consumer.active_at = min(consumer.active_at, 0)
        for pending in group.pending.values():
            pending.delivered_at = 0
    version = int.from_bytes(data[-10:-8], "little")
    return payload.dump(Writer(version), b"stream", stream, b"stream")
