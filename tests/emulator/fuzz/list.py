"""Lists: both encodings and conversions between them, under several limits."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Commands = st.SearchStrategy[list[bytes]]

PARAMETERS = {"list-max-listpack-size": "-2", "list-max-ziplist-size": "-2"}

_key = st.sampled_from([b"l", b"l", b"l", b"m", b"m", b"str", b"no"])
_element = st.one_of(
    st.sampled_from([b"a", b"b", b"c", b"", b"7", b"-1", b"127", b"128", b"4096", b"007", b"x y"]),
    st.sampled_from([b"70000", b"2147483648", b"9223372036854775807", b"9223372036854775808"]),
    st.sampled_from([b"\x00\xff", b"s" * 63, b"s" * 64, b"t" * 127, b"t" * 300, b"u" * 1500]),
    st.sampled_from([b"v" * 4000, b"w" * 4090, b"w" * 5000, b"y" * 8192, b"z" * 9000]),
)
_small = st.sampled_from([b"a", b"b", b"c", b"1", b"2", b"t" * 127, b"q" * 1000])
_elements = st.one_of(
    st.lists(_element, min_size=1, max_size=4),
    st.lists(_small, min_size=1, max_size=12),
)
_index = st.sampled_from(
    b"0 1 2 3 5 -1 -2 -3 -6 10 100 x -100 1.0 +1 9223372036854775807 -9223372036854775808 "
    b"9223372036854775808".split()
)
_count = st.sampled_from(
    [b"0", b"1", b"2", b"3", b"-1", b"-2", b"10", b"x", b"9223372036854775807"]
)
_end = st.sampled_from([b"LEFT", b"RIGHT", b"left", b"right", b"LEFT", b"RIGHT", b"MIDDLE"])
_side = st.sampled_from([b"BEFORE", b"AFTER", b"before", b"after", b"BETWEEN"])
_limit = st.sampled_from(
    [b"-2", b"-2", b"-1", b"-3", b"-5", b"-6", b"0", b"1", b"2", b"3", b"4", b"5", b"8", b"128"]
)
_search = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from([b"RANK", b"rank", b"COUNT", b"MAXLEN", b"FOO"]),
            st.one_of(_count, _index),
        ).map(list),
        st.sampled_from([[b"RANK"], [b"COUNT"]]),
    ),
    max_size=3,
).map(lambda parts: [word for part in parts for word in part])
_keys = st.lists(_key, min_size=1, max_size=3).map(lambda keys: [b"%d" % len(keys), *keys])
_wrong_keys = st.sampled_from(
    [[b"0", b"l"], [b"-1", b"l"], [b"x", b"l"], [b"2", b"l"], [b"5", b"l"], [b"1", b"l", b"m"]]
)
_pop_count: st.SearchStrategy[list[bytes]] = st.one_of(
    st.just([]),
    st.tuples(st.sampled_from([b"COUNT", b"count", b"FOO"]), _count).map(list),
    st.sampled_from([[b"COUNT"], [b"COUNT", b"1", b"COUNT", b"1"]]),
)
_timeout = st.sampled_from(
    [
        b"0",
        b"0",
        b"1",
        b"0.01",
        b"-0",
        b"-1",
        b"x",
        b"",
        b"1e400",
        b"inf",
        b"-inf",
        b"1e30",
        b"0x1p-9",
    ]
)
"""Blocking commands run in a script, where they never block."""
_script = [b"EVAL", b"return redis.call(unpack(ARGV))", b"0"]


def _call(*parts: Any) -> Commands:
    strategies = [st.just(part) if isinstance(part, bytes) else part for part in parts]
    return st.tuples(*strategies).map(
        lambda found: [
            word for part in found for word in (part if isinstance(part, list) else [part])
        ]
    )


def commands() -> Commands:
    """One command of the family, mostly valid."""
    some = st.sampled_from([b"LPUSH", b"RPUSH", b"lpush", b"RPUSH"])
    pop = st.sampled_from([b"LPOP", b"RPOP"])
    return st.one_of(
        _call(some, _key, _elements),
        _call(some, b"l", _elements),
        _call(some, b"l", _elements),
        _call(st.sampled_from([b"LPUSHX", b"RPUSHX"]), _key, _elements),
        _call(pop, _key),
        _call(pop, b"l"),
        _call(pop, _key, _count),
        _call(pop, b"l", st.sampled_from([b"1", b"2", b"3", b"5"])),
        _call(b"LLEN", _key),
        _call(b"LRANGE", _key, _index, _index),
        _call(b"LINDEX", _key, _index),
        _call(b"LSET", _key, _index, _element),
        _call(b"LSET", b"l", st.sampled_from([b"0", b"1", b"2", b"-1", b"-2"]), _element),
        _call(b"LINSERT", _key, _side, _element, _element),
        _call(b"LINSERT", b"l", _side, _small, _element),
        _call(b"LINSERT", b"l", st.sampled_from([b"BEFORE", b"AFTER"]), _small, _element),
        _call(b"LREM", _key, _count, _element),
        _call(b"LREM", b"l", _count, _small),
        _call(b"LTRIM", _key, _index, _index),
        _call(b"LTRIM", b"l", st.sampled_from([b"0", b"1", b"2"]), _index),
        _call(b"LPOS", _key, _small, _search),
        _call(b"LMOVE", _key, _key, _end, _end),
        _call(b"RPOPLPUSH", _key, _key),
        _call(b"LMPOP", st.one_of(_keys, _wrong_keys), _end, _pop_count),
        _call(
            st.just(_script),
            st.sampled_from([b"BLPOP", b"BRPOP"]),
            st.lists(_key, min_size=1, max_size=3),
            _timeout,
        ),
        _call(st.just(_script), b"BLMOVE", _key, _key, _end, _end, _timeout),
        _call(st.just(_script), b"BRPOPLPUSH", _key, _key, _timeout),
        _call(
            st.just(_script),
            b"BLMPOP",
            _timeout,
            st.one_of(_keys, _wrong_keys),
            _end,
            _pop_count,
        ),
        _call(b"CONFIG", b"SET", b"list-max-listpack-size", _limit),
        _call(b"OBJECT", b"ENCODING", b"l"),
        _call(b"COPY", b"l", b"m", b"REPLACE"),
        _call(b"SET", b"str", b"text"),
        _call(b"DEL", _key),
        _call(st.sampled_from([b"LPUSH", b"LPOP", b"LINSERT", b"LMOVE", b"LMPOP", b"LPOS"])),
        _call(st.sampled_from([b"LPUSH", b"RPOP", b"LSET", b"LREM", b"LLEN"]), _key),
    )
