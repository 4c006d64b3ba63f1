"""Sorted sets: both encodings and conversions between them, all ranges, set operations.

The key ``l`` has one score for all members, as ranges by member demand; what they are otherwise
depends on the random levels of a skiplist.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.support.pair import Wire, unordered

Commands = st.SearchStrategy[list[bytes]]

PARAMETERS = {"zset-max-ziplist-entries": "128", "zset-max-ziplist-value": "64"}

_key = st.sampled_from([b"z", b"z", b"z", b"y", b"y", b"l", b"set", b"str", b"no"])
_written = st.sampled_from([b"z", b"z", b"z", b"y", b"y", b"set", b"str", b"new"])
_member = st.sampled_from(
    [
        b"a",
        b"a",
        b"b",
        b"b",
        b"c",
        b"d",
        b"e",
        b"",
        b"7",
        b"-1",
        b"bb",
        b"\x00\xff",
        b"1.5",
        b"A",
        b"m" * 9,
        b"m" * 64,
        b"m" * 65,
        b"n" * 300,
    ]
)
_score = st.sampled_from(
    [
        *b"0 1 1 2 2 3 -1 1.5 -0 0.1 inf -inf +inf 1e20 1e21 123456789012345678 "
        b"4611686018427387904 "
        b"-4611686018427387905 9007199254740993 0.30000000000000004 5e-324 1e308 -1e308 3.0 1e-5 "
        b"1e17 "
        b"nan x 1e400 1e-400 0x10 infinity 1. .5 1e+2 --1 9.2e18".split(),
        b"",
        b" 1",
        b"1 ",
        b"1\x002",
    ]
)
_plain = st.sampled_from(b"0 1 1 2 2 3 -1 0.1 0.2 2.5 1e100 inf -inf".split())
_pairs = st.one_of(
    st.lists(st.tuples(_plain, _member), min_size=1, max_size=6),
    st.lists(st.tuples(_plain, _member), min_size=1, max_size=3),
    st.lists(st.tuples(_score, _member), min_size=1, max_size=2),
).map(lambda pairs: [word for pair in pairs for word in pair])
_equal = st.lists(_member, min_size=1, max_size=6).map(
    lambda members: [word for member in members for word in (b"0", member)]
)
_words = st.lists(
    st.sampled_from([b"NX", b"XX", b"GT", b"LT", b"CH", b"ch", b"INCR", b"incr", b"FOO"]),
    max_size=2,
)
_index = st.sampled_from(
    b"0 1 2 3 5 -1 -2 -3 -6 10 -100 x 1.0 +1 9223372036854775807 -9223372036854775808 "
    b"9223372036854775808".split()
)
_count = st.sampled_from([*b"0 1 2 3 5 -1 -2 -7 x 9223372036854775808 100".split(), b""])
_bound = st.sampled_from(
    [
        *b"-inf +inf inf (inf (-inf 0 1 (1 2 (2 3 -1 1.5 (0.1 0.1 x nan ( ((1 (x 1e400 -1e400 0x1 "
        b"1e-400 1e20 (1e20".split(),
        b"",
        b" 1",
        b"1 ",
        b"1\x00x",
        b"(\x00",
        b"( 1",
        b"\t2",
    ]
)
_lex = st.sampled_from(
    [*b"- + - + [a (a [b (b [c [bb (bb [ ( [A [7 x a -a +a [mmmmmmmmm".split(), b"", b"[\x00\xff"]
)
_limit: st.SearchStrategy[list[bytes]] = st.one_of(
    st.just([]),
    st.tuples(st.just(b"LIMIT"), _count, _count).map(list),
    st.sampled_from([[b"LIMIT"], [b"LIMIT", b"1"], [b"limit", b"0", b"2", b"LIMIT", b"1", b"1"]]),
)
_scores_too: st.SearchStrategy[list[bytes]] = st.sampled_from(
    [[], [], [b"WITHSCORES"], [b"withscores"], [b"WITHSCORES", b"WITHSCORES"], [b"FOO"], [b"REV"]]
)
_rev: st.SearchStrategy[list[bytes]] = st.sampled_from([[], [], [b"REV"], [b"rev"], [b"REV"] * 2])
_keys = st.lists(_key, min_size=1, max_size=4).map(lambda keys: [b"%d" % len(keys), *keys])
_some_keys = st.one_of(
    _keys,
    _keys,
    _keys,
    st.sampled_from(
        [[b"0", b"z"], [b"-1", b"z"], [b"x", b"z"], [b"2", b"z"], [b"5", b"z"], [b"1", b"z", b"y"]]
    ),
)
_weights: st.SearchStrategy[list[bytes]] = st.one_of(
    st.just([]),
    st.just([]),
    st.lists(_plain, min_size=1, max_size=4).map(lambda found: [b"WEIGHTS", *found]),
    st.lists(_score, min_size=1, max_size=3).map(lambda found: [b"weights", *found]),
)
_aggregate: st.SearchStrategy[list[bytes]] = st.sampled_from(
    [
        [],
        [],
        [b"AGGREGATE", b"SUM"],
        [b"AGGREGATE", b"MIN"],
        [b"aggregate", b"max"],
        [b"AGGREGATE"],
        [b"AGGREGATE", b"AVG"],
    ]
)
_end = st.sampled_from([b"MIN", b"MAX", b"min", b"max", b"MIN", b"MAX", b"MEDIAN"])
_pop_count: st.SearchStrategy[list[bytes]] = st.one_of(
    st.just([]),
    st.tuples(st.sampled_from([b"COUNT", b"count", b"FOO"]), _count).map(list),
    st.sampled_from([[b"COUNT"], [b"COUNT", b"1", b"COUNT", b"1"]]),
)
_timeout = st.sampled_from([b"0", b"0.01", b"1", b"-1", b"x", b"", b"1e400", b"inf", b"1e30"])


def _call(*parts: Any) -> Commands:
    strategies = [st.just(part) if isinstance(part, bytes) else part for part in parts]
    return st.tuples(*strategies).map(
        lambda found: [
            word for part in found for word in (part if isinstance(part, list) else [part])
        ]
    )


def _weighted(*names: bytes, target: bool) -> Commands:
    parts = [_written] if target else []
    scores = [] if target else [_scores_too]
    return _call(st.sampled_from(names), *parts, _some_keys, _weights, _aggregate, *scores)


def _in_a_script(*parts: Any) -> Commands:
    """A blocking command in a script, where it never blocks."""
    return _call(b"EVAL", b"return redis.pcall(unpack(ARGV))", b"0", *parts)


def commands() -> Commands:
    """One command of the family, mostly valid."""
    return st.one_of(
        _call(b"ZADD", b"z", _pairs),
        _call(b"ZADD", _written, _pairs),
        _call(b"ZADD", b"y", _pairs),
        _call(b"ZADD", b"l", _equal),
        _call(b"ZADD", _written, _words, _pairs),
        _call(b"ZADD", b"z", _words, _plain, _member),
        _call(b"ZINCRBY", _written, st.one_of(_plain, _score), _member),
        _call(b"ZSCORE", _key, _member),
        _call(b"ZMSCORE", _key, st.lists(_member, min_size=1, max_size=3)),
        _call(b"ZCARD", _key),
        _call(b"ZCOUNT", _key, _bound, _bound),
        _call(b"ZLEXCOUNT", b"l", _lex, _lex),
        _call(st.sampled_from([b"ZRANK", b"ZREVRANK"]), _key, _member),
        _call(
            st.sampled_from([b"ZRANK", b"ZREVRANK"]),
            _key,
            _member,
            st.sampled_from([b"WITHSCORE", b"withscore", b"WITHSCORES"]),
        ),
        _call(st.sampled_from([b"ZRANGE", b"ZREVRANGE"]), _key, _index, _index, _scores_too),
        _call(b"ZRANGE", _key, _index, _index, _rev, _limit, _scores_too),
        _call(b"ZRANGE", _key, _bound, _bound, b"BYSCORE", _rev, _limit, _scores_too),
        _call(b"ZRANGE", b"l", _lex, _lex, b"BYLEX", _rev, _limit, _scores_too),
        _call(
            st.sampled_from([b"ZRANGEBYSCORE", b"ZREVRANGEBYSCORE"]),
            *(_key, _bound, _bound, _scores_too, _limit),
        ),
        _call(st.sampled_from([b"ZRANGEBYLEX", b"ZREVRANGEBYLEX"]), b"l", _lex, _lex, _limit),
        _call(b"ZRANGESTORE", _written, _key, _index, _index, _rev),
        _call(b"ZRANGESTORE", _written, _key, _bound, _bound, b"BYSCORE", _rev, _limit),
        _call(b"ZRANGESTORE", _written, b"l", _lex, _lex, b"BYLEX", _rev, _limit),
        _call(b"ZREM", _key, st.lists(_member, min_size=1, max_size=4)),
        _call(b"ZREMRANGEBYRANK", _key, _index, _index),
        _call(b"ZREMRANGEBYSCORE", _key, _bound, _bound),
        _call(b"ZREMRANGEBYLEX", b"l", _lex, _lex),
        _call(st.sampled_from([b"ZPOPMIN", b"ZPOPMAX"]), _key),
        _call(st.sampled_from([b"ZPOPMIN", b"ZPOPMAX"]), _key, _count),
        _call(b"ZMPOP", _some_keys, _end, _pop_count),
        _call(st.sampled_from([b"ZUNION", b"ZINTER", b"ZDIFF"]), _some_keys, _scores_too),
        _weighted(b"ZUNION", b"ZINTER", target=False),
        _weighted(b"ZUNION", b"ZINTER", b"ZDIFF", target=False),
        _weighted(b"ZUNIONSTORE", b"ZINTERSTORE", target=True),
        _weighted(b"ZUNIONSTORE", b"ZINTERSTORE", b"ZDIFFSTORE", target=True),
        _call(b"ZDIFFSTORE", _written, _some_keys),
        _call(b"ZINTERCARD", _some_keys),
        _call(b"ZINTERCARD", _some_keys, b"LIMIT", _count),
        _call(b"ZRANDMEMBER", _key),
        _call(b"ZRANDMEMBER", _key, _count, _scores_too),
        _call(b"ZSCAN", _key, st.sampled_from([b"0", b"0", b"x", b""]), b"COUNT", b"1000"),
        _call(
            b"ZSCAN", _key, b"0", b"MATCH", st.sampled_from([b"*", b"m*", b"[ab]"]), b"COUNT", b"99"
        ),
        _call(b"ZSCAN", _key, b"0", st.sampled_from([b"COUNT", b"FOO", b"NOVALUES"])),
        _in_a_script(
            st.sampled_from([b"BZPOPMIN", b"BZPOPMAX"]),
            st.lists(_key, min_size=1, max_size=3),
            _timeout,
        ),
        _in_a_script(b"BZMPOP", _timeout, _some_keys, _end, _pop_count),
        _call(
            b"CONFIG",
            b"SET",
            b"zset-max-ziplist-entries",
            st.sampled_from([b"0", b"1", b"2", b"3", b"4", b"128"]),
        ),
        _call(b"CONFIG", b"SET", b"zset-max-ziplist-value", st.sampled_from([b"0", b"2", b"64"])),
        _call(b"OBJECT", b"ENCODING", _key),
        _call(b"SADD", b"set", st.lists(_member, min_size=1, max_size=4)),
        _call(b"SET", b"str", b"text"),
        _call(b"COPY", b"z", b"y", b"REPLACE"),
        _call(b"EXPIRE", _written, b"1000"),
        _call(b"DEL", _written),
        _call(
            st.sampled_from([b"ZADD", b"ZRANGE", b"ZMPOP", b"ZUNION", b"ZPOPMIN", b"ZRANGESTORE"])
        ),
        _call(st.sampled_from([b"ZADD", b"ZRANK", b"ZREM", b"ZCOUNT", b"ZSCAN", b"ZDIFF"]), _key),
    )


def key_for(argv: list[bytes]) -> Any:
    """The key function for replies that are random or unordered."""
    if argv[0] == b"ZRANDMEMBER":
        return _shape
    return _scanned if argv[0] == b"ZSCAN" else None


def _shape(reply: Wire) -> Any:
    """How many members, and whether they came with scores."""
    if reply[0] == "-" or reply[1] is None:
        return reply
    if reply[0] != "*":
        return reply[0]
    return len(reply[1]), {part[0] for part in reply[1]}


def _scanned(reply: Wire) -> Any:
    if reply[0] != "*":
        return reply
    cursor, found = reply[1]
    items = found[1]
    pairs = [("*", list(pair)) for pair in zip(items[::2], items[1::2], strict=True)]
    return cursor, unordered(("*", pairs))
