"""Strings and counters. Deadlines are far in the future, or in the past to delete the key."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Commands = st.SearchStrategy[list[bytes]]

_key = st.sampled_from([b"a", b"b", b"c", b"h"])
_value = st.sampled_from(
    [
        b"",
        b"x",
        b"hello",
        b"0",
        b"-1",
        b"10",
        b"9223372036854775807",
        b"1.5",
        b"3.0e3",
        b"\x00\xff",
        b"long" * 20,
        b"-0",
        b"007",
        b" 1",
        b"1e400",
        b"0x1p3",
        b"ohmytext",
        b"mynewtext",
    ]
)
_number = st.sampled_from(
    [
        b"0",
        b"1",
        b"-1",
        b"2",
        b"5",
        b"-5",
        b"100",
        b"x",
        b"",
        b"9223372036854775807",
        b"-9223372036854775808",
        b"9223372036854775808",
        b"1.5",
    ]
)
_offset = st.sampled_from([b"0", b"1", b"5", b"100", b"-1", b"x", b"", b"536870912", b"1.5"])
"""Without the largest numbers, which crash Redis 6.2."""
_float = st.sampled_from(
    [
        b"1",
        b"1.1",
        b"-0.1",
        b"1e20",
        b"1e-20",
        b"inf",
        b"nan",
        b"x",
        b"3.14159265358979",
        b"1e5000",
        b"0x10",
        b"1e",
        b".5",
        b"5.",
        b"-",
    ]
)
_duration = st.sampled_from(
    [
        b"100000",
        b"100000",
        b"1000000",
        b"0",
        b"-1",
        b"x",
        b"",
        b"9223372036854775807",
        b"9223372036854775",
        b"9223372036854774",
        b"9223372036854775808",
        b"+5",
        b"1.5",
    ]
)
_moment = st.sampled_from(
    [
        b"99999999999",
        b"99999999999999",
        b"9223372036854775",
        b"9223372036854776",
        b"0",
        b"-1",
        b"9223372036854775807",
        b"x",
    ]
)
_option = st.one_of(
    st.sampled_from([[b"NX"], [b"XX"], [b"GET"], [b"KEEPTTL"], [b"get"], [b"FOO"], [b"PERSIST"]]),
    st.sampled_from([[b"nx"], [b"keepttl"], [b"IFEQ"], [b"EX"], [b"PXAT"], [b"FNX"]]),
    st.tuples(st.sampled_from([b"IFEQ", b"ifeq", b"IFNE"]), _value).map(list),
    st.tuples(st.sampled_from([b"EX", b"PX", b"ex"]), _duration).map(list),
    st.tuples(st.sampled_from([b"EXAT", b"PXAT", b"pxat"]), _moment).map(list),
)
_options = st.lists(_option, max_size=3).map(
    lambda parts: [word for part in parts for word in part]
)
_past = st.tuples(st.sampled_from([b"EXAT", b"PXAT"]), st.just(b"1")).map(list)
_lcs = st.lists(
    st.sampled_from(
        [
            [b"IDX"],
            [b"LEN"],
            [b"WITHMATCHLEN"],
            [b"MINMATCHLEN", b"2"],
            [b"FOO"],
            [b"idx"],
            [b"MINMATCHLEN"],
            [b"MINMATCHLEN", b"-1"],
            [b"MINMATCHLEN", b"x"],
            [b"minmatchlen", b"4"],
        ]
    ),
    max_size=4,
).map(lambda parts: [word for part in parts for word in part])


def _call(*parts: Any) -> Commands:
    strategies = [st.just(part) if isinstance(part, bytes) else part for part in parts]
    return st.tuples(*strategies).map(
        lambda found: [
            word for part in found for word in (part if isinstance(part, list) else [part])
        ]
    )


_name = st.sampled_from(
    b"GET SET SETNX SETEX GETSET GETDEL GETEX MGET MSET MSETNX INCR INCRBY INCRBYFLOAT APPEND "
    b"STRLEN SETRANGE GETRANGE SUBSTR LCS DECRBY PSETEX DECR".split()
)
_script = st.just([b"EVAL", b"return redis.pcall(unpack(ARGV))", b"0"])
_written = st.one_of(
    st.tuples(st.sampled_from([b"SET", b"SETNX", b"GETSET", b"APPEND", b"MSET"]), _key, _value),
    st.tuples(st.just(b"SETEX"), _key, st.just(b"100000"), _value),
    st.tuples(st.sampled_from([b"INCR", b"GET", b"MGET"]), _key),
).map(list)


def commands() -> Commands:
    """One command of the family, mostly valid."""
    pairs = st.lists(st.one_of(_key, _value), min_size=1, max_size=5)
    return st.one_of(
        _call(b"GET", _key),
        _call(b"SET", _key, _value),
        _call(b"SET", _key, _value, _options),
        _call(b"SETNX", _key, _value),
        _call(b"SETEX", _key, _duration, _value),
        _call(b"PSETEX", _key, _duration, _value),
        _call(b"GETSET", _key, _value),
        _call(b"GETDEL", _key),
        _call(b"GETEX", _key, _options),
        _call(b"GETEX", _key, _past),
        _call(b"GETEX", _key),
        _call(b"DELIFEQ", _key, _value),
        _call(b"MSETEX", st.sampled_from([b"1", b"1", b"2", b"0", b"-1", b"x"]), pairs, _options),
        _call(b"MSETEX", b"1", _key, _value, _options),
        _call(b"MGET", st.lists(_key, min_size=1, max_size=3)),
        _call(b"MSET", pairs),
        _call(b"MSETNX", pairs),
        _call(b"INCR", _key),
        _call(b"DECR", _key),
        _call(b"INCRBY", _key, _number),
        _call(b"DECRBY", _key, _number),
        _call(b"INCRBYFLOAT", _key, _float),
        _call(b"APPEND", _key, _value),
        _call(b"STRLEN", _key),
        _call(b"SETRANGE", _key, _offset, _value),
        _call(b"GETRANGE", _key, _number, _number),
        _call(b"SUBSTR", _key, _number, _number),
        _call(b"SETRANGE", _key, st.sampled_from([b"0", b"3", b"536870912", b"-1"]), _value),
        _call(b"OBJECT", b"ENCODING", _key),
        _call(b"COPY", _key, _key, st.sampled_from([[], [b"REPLACE"]])),
        _call(b"RENAME", _key, _key),
        _call(b"SADD", b"h", _value),
        _call(_script, _written),
        _call(_name, st.lists(_key, max_size=1)),
        _call(_name, _key, _value, _value, _value),
        _call(b"LCS", _key, _key, _lcs),
        _call(b"XADD", b"h", b"1-*", b"f", _value),
        _call(b"DEL", _key),
    )
