"""Bitmap commands.

INCRBY of 64 bits is left out, because builds of Redis 6.2 differ in how they underflow; see
test_bitmap.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

PARAMETERS = {"proto-max-bulk-len": "512mb"}

Commands = st.SearchStrategy[list[bytes]]

_key = st.sampled_from([b"a", b"a", b"b", b"b", b"c", b"none", b"set"])
_keys = st.lists(_key, min_size=1, max_size=4)
_value = st.sampled_from(
    [b"", b"\xff", b"\xff\xff\xff", b"\x00\x00", b"\x00\x00\x01", b"12345", b"hello" * 12]
) | st.binary(max_size=20)
_bit = st.sampled_from([b"0", b"1", b"1", b"2", b"-1", b"x", b""])
_small = st.integers(min_value=0, max_value=130).map(lambda n: b"%d" % n)
_odd = st.sampled_from(
    [
        b"-1",
        b"x",
        b"",
        b"4294967296",
        b"9223372036854775807",
        b"9223372036854775808",
        b"1.0",
        b"-9223372036854775808",
    ]
)
_offset = st.one_of(_small, _small, _small, _small, _odd)
_place = st.one_of(
    st.integers(min_value=-140, max_value=140).map(lambda n: b"%d" % n),
    st.integers(min_value=-12, max_value=12).map(lambda n: b"%d" % n),
    _odd,
)
_unit = st.sampled_from([[], [], [b"BIT"], [b"bit"], [b"BYTE"], [b"FOO"], [b"BIT", b"BIT"]])
_width = st.integers(min_value=1, max_value=64).map(lambda n: b"%d" % n)
_type = st.one_of(
    st.builds(bytes.__add__, st.sampled_from([b"i", b"u"]), _width),
    st.builds(bytes.__add__, st.sampled_from([b"i", b"u"]), _width),
    st.sampled_from([b"u8", b"i8", b"u16", b"i64", b"u63", b"i63", b"u1", b"i1"]),
    st.sampled_from([b"u0", b"u64", b"i65", b"x8", b"U8", b"u08", b"u", b"", b"8", b"i-1"]),
)
_field_offset = st.one_of(
    _offset,
    _small,
    st.builds(bytes.__add__, st.just(b"#"), st.sampled_from([b"0", b"1", b"2", b"3", b"x", b"-1"])),
    st.sampled_from([b"#", b"##1", b"#536870912", b"#4294967296", b"#2305843009213693953"]),
)
_amount = st.one_of(
    st.integers(min_value=-300, max_value=300).map(lambda n: b"%d" % n),
    st.integers(min_value=-(1 << 63), max_value=(1 << 63) - 1).map(lambda n: b"%d" % n),
    st.sampled_from(
        [
            b"1",
            b"-1",
            b"9223372036854775807",
            b"-9223372036854775808",
            b"x",
            b"",
            b"9223372036854775808",
            b"4611686018427387904",
            b"-4611686018427387905",
        ]
    ),
)
_operation = st.one_of(
    st.tuples(st.sampled_from([b"GET", b"get"]), _type, _field_offset),
    st.tuples(st.sampled_from([b"SET", b"set"]), _type, _field_offset, _amount),
    st.tuples(
        st.sampled_from([b"INCRBY", b"incrby"]),
        _type.filter(lambda name: name != b"i64"),
        _field_offset,
        _amount,
    ),
    st.tuples(st.just(b"OVERFLOW"), st.sampled_from([b"WRAP", b"SAT", b"FAIL", b"sat", b"FOO"])),
    st.tuples(st.just(b"OVERFLOW"), st.sampled_from([b"WRAP", b"SAT", b"FAIL"])),
    st.tuples(st.sampled_from([b"GET", b"FOO", b"OVERFLOW", b"SET"])),
)
_good_type = st.builds(
    bytes.__add__,
    st.sampled_from([b"i", b"u"]),
    st.integers(min_value=1, max_value=63).map(lambda n: b"%d" % n),
)
_good_amount = st.integers(min_value=-(1 << 63), max_value=(1 << 63) - 1).map(lambda n: b"%d" % n)
_near_amount = st.integers(min_value=-40, max_value=40).map(lambda n: b"%d" % n)
_good = st.one_of(
    st.tuples(st.just(b"GET"), _good_type, _small),
    st.tuples(st.just(b"SET"), _good_type, _small, _good_amount),
    st.tuples(st.just(b"INCRBY"), _good_type, _small, _good_amount),
    st.tuples(st.just(b"INCRBY"), _good_type, _small, _near_amount),
    st.tuples(st.just(b"OVERFLOW"), st.sampled_from([b"WRAP", b"SAT", b"FAIL"])),
)


def _flat(parts: Iterable[Iterable[bytes]]) -> list[bytes]:
    return [word for part in parts for word in part]


def _call(*parts: Any) -> Commands:
    strategies = [st.just(part) if isinstance(part, bytes) else part for part in parts]
    return st.tuples(*strategies).map(
        lambda found: [
            word for part in found for word in (part if isinstance(part, list) else [part])
        ]
    )


def commands() -> Commands:
    """One command of the family, mostly valid."""
    operator = st.sampled_from(
        [b"AND", b"OR", b"XOR", b"NOT", b"and", b"DIFF", b"DIFF1", b"ANDOR", b"ONE", b"one", b"FOO"]
    )
    fields = st.lists(_operation, max_size=4).map(_flat)
    good_fields = st.lists(_good, min_size=1, max_size=6).map(_flat)
    return st.one_of(
        _call(b"SETBIT", _key, _offset, _bit),
        _call(b"SETBIT", _key, _small, st.sampled_from([b"0", b"1"])),
        _call(b"GETBIT", _key, _offset),
        _call(b"BITCOUNT", _key),
        _call(b"BITCOUNT", _key, _place),
        _call(b"BITCOUNT", _key, _place, _place, _unit),
        _call(b"BITPOS", _key, _bit),
        _call(b"BITPOS", _key, _bit, _place),
        _call(b"BITPOS", _key, _bit, _place, _place, _unit),
        _call(b"BITOP", operator, _key, _keys),
        _call(b"BITFIELD", _key, fields),
        _call(b"BITFIELD", _key, good_fields),
        _call(b"BITFIELD_RO", _key, fields),
        _call(b"SET", _key, _value),
        _call(b"SET", _key, _value, b"EX", b"1000"),
        _call(b"SADD", b"set", b"m"),
        _call(b"DEL", _key),
        _call(b"OBJECT", b"ENCODING", _key),
        _call(b"CONFIG", b"SET", b"proto-max-bulk-len", st.sampled_from([b"1mb", b"512mb"])),
    )
