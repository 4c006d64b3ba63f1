"""Sets. Random pops always take all members, so that both sides keep the same members."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.support.pair import unordered

PARAMETERS = {
    "set-max-intset-entries": "512",
    "set-max-listpack-entries": "128",
    "set-max-listpack-value": "64",
}

Commands = st.SearchStrategy[list[bytes]]

_key = st.sampled_from([b"a", b"a", b"b", b"b", b"c", b"d", b"none", b"str", b"h"])
_integer = st.sampled_from(
    [b"1", b"2", b"3", b"-5", b"10", b"9223372036854775807", b"-9223372036854775808", b"70000"]
)
_word = st.sampled_from(
    [
        b"a",
        b"b",
        b"c",
        b"",
        b"\x00\xff",
        b"long" * 20,
        b"01",
        b"-0",
        b"1.0",
        b" 1",
        b"abc",
        b"9223372036854775808",
        b"99999999999999999999",
    ]
)
_member = st.one_of(_integer, _integer, _word)
_members = st.one_of(
    st.lists(_integer, min_size=1, max_size=6),
    st.lists(_member, min_size=1, max_size=6),
)
_keys = st.lists(_key, min_size=1, max_size=4)
_count = st.sampled_from(
    [b"0", b"100", b"x", b"", b"-1x", b"9223372036854775807", b"9223372036854775808"]
)
_limit: st.SearchStrategy[list[bytes]] = st.one_of(
    st.just([]),
    st.tuples(
        st.sampled_from([b"LIMIT", b"limit", b"FOO"]),
        st.sampled_from([b"0", b"1", b"2", b"-1", b"x", b"100"]),
    ).map(list),
    st.just([b"LIMIT"]),
)
_scan = st.lists(
    st.sampled_from(
        [
            [b"COUNT", b"100"],
            [b"COUNT", b"x"],
            [b"MATCH", b"*"],
            [b"match", b"[1-3]"],
            [b"COUNT"],
            [b"TYPE", b"set"],
            [b"NOVALUES"],
            [b"COUNT", b"0"],
            [b"FOO"],
        ]
    ),
    max_size=2,
).map(lambda parts: [word for part in parts for word in part])
_small = st.sampled_from([b"0", b"1", b"2", b"3", b"4", b"5"])


def _call(*parts: Any) -> Commands:
    strategies = [st.just(part) if isinstance(part, bytes) else part for part in parts]
    return st.tuples(*strategies).map(
        lambda found: [
            word for part in found for word in (part if isinstance(part, list) else [part])
        ]
    )


def commands() -> Commands:
    """One command of the family, mostly valid."""
    counted = _keys.flatmap(
        lambda keys: st.sampled_from([len(keys), len(keys), len(keys) - 1, len(keys) + 1, -1]).map(
            lambda count: [b"%d" % count, *keys]
        )
    )
    return st.one_of(
        _call(b"SADD", _key, _members),
        _call(b"SADD", _key, _members),
        _call(b"SADD", _key, st.lists(_integer, min_size=1, max_size=4)),
        _call(b"SREM", _key, _members),
        _call(b"SCARD", _key),
        _call(b"SISMEMBER", _key, _member),
        _call(b"SMISMEMBER", _key, _members),
        _call(b"SMEMBERS", _key),
        _call(b"SPOP", _key, _count),
        _call(b"SPOP", b"absent"),
        _call(b"SRANDMEMBER", _key, _count),
        _call(b"SRANDMEMBER", b"absent", _member),
        _call(b"SMOVE", _key, _key, _member),
        _call(b"SINTER", _keys),
        _call(b"SUNION", _keys),
        _call(b"SDIFF", _keys),
        _call(b"SINTERSTORE", _key, _keys),
        _call(b"SUNIONSTORE", _key, _keys),
        _call(b"SDIFFSTORE", _key, _keys),
        _call(b"SINTERCARD", counted, _limit),
        _call(b"SSCAN", _key, st.sampled_from([b"0", b"0", b"0", b"x"]), _scan),
        _call(b"SSCAN", b"absent", st.sampled_from([b"-1", b"7", b"18446744073709551616"]), _scan),
        _call(b"SADD", _key),
        _call(b"SMOVE", _key, _key),
        _call(b"SET", b"str", _member),
        _call(b"HSET", b"h", b"f", b"v"),
        _call(b"EXPIRE", _key, b"1000"),
        _call(b"COPY", _key, _key),
        _call(b"OBJECT", b"ENCODING", _key),
        _call(b"DEL", _key),
        _call(b"CONFIG", b"SET", b"set-max-intset-entries", _small),
        _call(b"CONFIG", b"SET", b"set-max-listpack-entries", _small),
        _call(b"CONFIG", b"SET", b"set-max-listpack-value", _small),
        _call(b"CONFIG", b"SET", b"set-max-intset-entries", b"512"),
        _call(b"CONFIG", b"SET", b"set-max-listpack-entries", b"128"),
        _call(b"CONFIG", b"SET", b"set-max-listpack-value", b"64"),
    )


def key_for(argv: list[bytes]) -> Any:
    """Compare without the order of hash tables."""
    if argv[0] == b"SSCAN":
        return lambda reply: [reply[1][0], unordered(reply[1][1])] if reply[0] == "*" else reply
    if argv[0] in (b"SMEMBERS", b"SPOP", b"SRANDMEMBER", b"SINTER", b"SUNION", b"SDIFF"):
        return unordered
    return None
