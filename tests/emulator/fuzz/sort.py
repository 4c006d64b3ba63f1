"""SORT and SORT_RO of lists, sets and sorted sets, with BY and GET patterns.

The order of a set means nothing, so sets are asked only for orders that do not depend on it.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Commands = st.SearchStrategy[list[bytes]]

_element = st.sampled_from(
    [b"1", b"2", b"3", b"10", b"-1", b"1.5", b"a", b"b", b"", b"1.50", b"x\0y", b"x\0z", b"inf"]
)
_number = st.sampled_from([b"1", b"2", b"3", b"10", b"-1", b"1.5", b"2.0", b"07", b"-inf", b"+4"])
_weight = st.one_of(
    _number,
    st.sampled_from([b"a", b"B", b"b", b"\xff", b"", b"nan", b" 1", b"1 ", b"0x10", b"1e3"]),
)
# Redis 6.2 breaks down when the sum of two bounds overflows: test_sort asks the others for that.
_bound = st.sampled_from(
    [b"0", b"1", b"2", b"-1", b"-2", b"100", b"x", b"", b"4611686018427387903", b"1.5", b"5"]
)
_get = st.sampled_from(
    [b"#", b"w_*", b"h_*->f", b"h_*->g", b"h_*->", b"nope", b"*", b"w_*_*", b"#*"]
)
_by = st.sampled_from([b"w_*", b"w_*", b"h_*->f", b"h_*->", b"nope_*", b"*", b"h_*", b"w_*->f"])
_limit = st.tuples(st.just(b"LIMIT"), _bound, _bound).map(list)
_store = st.sampled_from([[b"STORE", b"out"], [b"STORE", b"l"], [b"store", b"w_1"]])
_plain = st.one_of(
    st.sampled_from(
        [[b"ASC"], [b"DESC"], [b"desc"], [b"FOO"], [b"LIMIT", b"1"], [b"BY"], [b"GET"]]
    ),
    _limit,
    _limit,
    _get.map(lambda pattern: [b"GET", pattern]),
    _get.map(lambda pattern: [b"get", pattern]),
)
_any = st.one_of(
    _plain,
    _plain,
    st.sampled_from([[b"ALPHA"], [b"alpha"], [b"BY", b"nosort"]]),
    _by.map(lambda pattern: [b"BY", pattern]),
    _store,
)
_of_sets = st.one_of(
    _plain.filter(lambda words: words != [b"BY"]).map(lambda words: [words]),  # BY ASC is a pattern
    _by.map(lambda pattern: [[b"BY", pattern]]),
    st.just([[b"ALPHA"]]),
    _store.map(lambda words: [[b"BY", b"nosort"], words]),
)


def _call(*parts: Any) -> Commands:
    strategies = [st.just(part) if isinstance(part, bytes) else part for part in parts]
    return st.tuples(*strategies).map(
        lambda found: [
            word for part in found for word in (part if isinstance(part, list) else [part])
        ]
    )


def _words(options: list[list[bytes]]) -> list[bytes]:
    return [word for option in options for word in option]


def _only_one_order(options: list[list[bytes]]) -> bool:
    """Whether the result does not depend on the order of a set's members."""
    words = {word.upper() for word in _words(options)}
    return not (b"ALPHA" in words and b"BY" in words)


def commands() -> Commands:
    """One command of the family, or one that gives it something to sort."""
    options = st.lists(_any, max_size=4).map(_words)
    of_sets = st.lists(_of_sets, max_size=2).map(lambda found: [w for part in found for w in part])
    of_sets = of_sets.filter(_only_one_order)
    name = st.sampled_from([b"SORT", b"SORT", b"sort", b"SORT_RO"])
    numbers = st.lists(_number, min_size=1, max_size=6)
    elements = st.lists(_element, min_size=1, max_size=5)
    suffix = st.sampled_from([b"1", b"2", b"3", b"10", b"a", b"1.5", b""])
    return st.one_of(
        _call(name, st.sampled_from([b"l", b"l", b"n", b"n", b"missing", b"h_1"]), options),
        _call(name, b"z", st.lists(_any, max_size=4).filter(_only_one_order).map(_words)),
        _call(name, b"l", options, b"ALPHA"),
        _call(name, b"n", b"BY", _by, options),
        _call(name, b"s", of_sets.map(_words)),
        _call(b"RPUSH", b"l", elements),
        _call(b"RPUSH", b"n", numbers),
        _call(b"SADD", b"s", numbers),
        # To some servers two elements that differ behind a NUL are alike.
        _call(
            b"ZADD",
            b"z",
            _number.filter(lambda raw: raw != b"07"),
            _element.filter(lambda raw: b"\0" not in raw),
        ),
        _call(b"SET", suffix.map(lambda raw: b"w_" + raw), _weight),
        _call(b"HSET", suffix.map(lambda raw: b"h_" + raw), b"f", _weight),
        _call(b"DEL", st.sampled_from([b"l", b"n", b"out"])),
    )
