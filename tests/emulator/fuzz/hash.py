"""Hashes and field expiry. Deadlines are far in the future, so that no field expires meanwhile."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.support.pair import Wire, unordered

Commands = st.SearchStrategy[list[bytes]]

_key = st.sampled_from([b"h", b"h", b"h", b"i", b"t", b"fields", b"s"])
_field = st.sampled_from(
    [b"a", b"b", b"c", b"d", b"", b"\x00\xff", b"fields", b"EX", b"long" * 17, b"12"]
)
_LIMITS = (b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808")
_NUMBERS = (b"0", b"-1", b"10", b"1.5", b"007", b"3.0e3", b"nan", b"1e400", b"0x1p3")
_value = st.sampled_from(
    [b"", b" 1", b"long" * 17, b"x" * 64, b"\x00\xff", *_LIMITS, *_NUMBERS, b"inf"]
)
_number = st.sampled_from(
    [b"", *b"0 1 -1 2 3 5 100 x 1.5 01 -9223372036854775807 9223372036854775807".split()]
)
_count = st.sampled_from(
    [b"", *b"0 1 2 x 9223372036854775807 9223372036854775808 2147483648 2147483647".split()]
)
_random_count = st.sampled_from(
    [b"", *b"0 1 2 5 -1 -7 x 9223372036854775807 9223372036854775808 4611686018427387903".split()]
)
# Not inf: with it Redis 6.2 makes an empty hash, and crashes when asked for a field of that.
_float = st.sampled_from(
    [
        b"",
        b" 1",
        *b"1 1.1 3.14159265358979 -0.1 1e-20 1e80 x 1e5000 .5 5. -".split(),
        *_NUMBERS,
    ]
)
_far = st.sampled_from([b"4102444800000", b"4102444800001", b"4102444800499", b"4102444800500"])
_absolute = st.sampled_from(
    [b"", *_LIMITS, *b"4102444800 4102444801 0 1 -1 x 70368744177 70368744178".split()]
)
_precise = st.one_of(
    _far, _absolute, st.sampled_from([b"70368744177663", b"70368744177664", b"281474976710656"])
)
_relative = st.sampled_from(
    b"0 -1 x 1000000 9223372036854775807 70368744177 9223372036854776".split()
)
_condition = st.sampled_from([[], [], [b"NX"], [b"xx"], [b"GT"], [b"LT"], [b"NX", b"NX"], [b"FOO"]])
_conditions = st.one_of(
    _condition,
    st.lists(st.sampled_from([b"NX", b"XX", b"GT", b"LT", b"1"]), min_size=2, max_size=2),
)
_fields = st.lists(_field, min_size=1, max_size=4)
_pairs = st.lists(st.tuples(_field, _value), min_size=1, max_size=4).map(
    lambda pairs: [word for pair in pairs for word in pair]
)
_odd = st.lists(st.one_of(_field, _value), min_size=1, max_size=5)
_time = st.one_of(
    st.tuples(st.sampled_from([b"PXAT", b"pxat"]), _far).map(list),
    st.tuples(st.just(b"PXAT"), _precise).map(list),
    st.tuples(st.just(b"EXAT"), _absolute).map(list),
    st.tuples(st.sampled_from([b"EX", b"PX"]), st.sampled_from([b"0", b"-1", b"x"])).map(list),
)
_option = st.one_of(
    _time,
    st.sampled_from(
        [
            [b"KEEPTTL"],
            [b"PERSIST"],
            [b"FNX"],
            [b"fxx"],
            [b"NX"],
            [b"XX"],
            [b"FOO"],
            [b"1"],
            [b"EX"],
        ]
    ),
)
_options: st.SearchStrategy[list[bytes]] = st.one_of(
    st.just([]),
    _time,
    _option,
    st.lists(_option, max_size=3).map(lambda parts: [word for part in parts for word in part]),
)
_scan = st.lists(
    st.sampled_from(
        [b"MATCH *", b"MATCH [a-b]", b"COUNT 100", b"COUNT 0", b"COUNT x", b"NOVALUES", b"MATCH"]
    ),
    max_size=3,
).map(lambda parts: b" ".join(parts).split())


_good_options: st.SearchStrategy[list[bytes]] = st.one_of(
    st.just([]),
    st.tuples(st.just(b"PXAT"), _far).map(list),
    st.sampled_from(
        [[b"KEEPTTL"], [b"PERSIST"], [b"FNX"], [b"FXX"], [b"EX", b"0"], [b"EXAT", b"1"]]
    ),
)


def _right(words: st.SearchStrategy[list[bytes]], width: int) -> st.SearchStrategy[list[bytes]]:
    """``FIELDS``, the number of arguments, and the arguments."""
    return words.map(lambda found: [b"FIELDS", b"%d" % (len(found) // width), *found])


def _counted(words: st.SearchStrategy[list[bytes]], width: int) -> st.SearchStrategy[list[bytes]]:
    """The same, sometimes with an error."""
    right = _right(words, width)
    wrong = st.builds(
        lambda name, count, found: [name, count, *found],
        st.sampled_from([b"FIELDS", b"fields", b"FOO"]),
        st.one_of(st.sampled_from([b"1", b"2"]), _count),
        _odd,
    )
    return st.one_of(right, right, right, wrong)


def _call(*parts: Any) -> Commands:
    strategies = [st.just(part) if isinstance(part, bytes) else part for part in parts]
    return st.tuples(*strategies).map(
        lambda found: [
            word for part in found for word in (part if isinstance(part, list) else [part])
        ]
    )


def _plain() -> list[Commands]:
    return [
        _call(b"HSET", _key, _pairs),
        _call(b"HSET", _key, _odd),
        _call(b"HMSET", _key, _pairs),
        _call(b"HSETNX", _key, _field, _value),
        _call(b"HGET", _key, _field),
        _call(b"HMGET", _key, _fields),
        _call(b"HGETALL", _key),
        _call(b"HKEYS", _key),
        _call(b"HVALS", _key),
        _call(b"HLEN", _key),
        _call(b"HEXISTS", _key, _field),
        _call(b"HSTRLEN", _key, _field),
        _call(b"HDEL", _key, _fields),
        _call(b"HINCRBY", _key, _field, _number),
        _call(b"HINCRBYFLOAT", _key, _field, _float),
        _call(b"HSCAN", _key, st.sampled_from([b"0", b"0", b"x"]), _scan),
        _call(b"HRANDFIELD", _key),
        _call(b"HRANDFIELD", _key, _random_count),
        _call(b"HRANDFIELD", _key, _random_count, st.sampled_from([b"WITHVALUES", b"FOO"])),
        _call(b"SET", b"s", b"text"),
        _call(b"DEL", _key),
        _call(b"RENAME", _key, _key),
        _call(b"COPY", _key, _key, b"REPLACE"),
    ]


def _expiring() -> list[Commands]:
    fields = _counted(_fields, 1)
    good = _right(_fields, 1)
    condition = st.sampled_from([[], [b"NX"], [b"XX"], [b"gt"], [b"LT"]])
    names = st.sampled_from([b"HTTL", b"HPTTL", b"HEXPIRETIME", b"HPEXPIRETIME", b"HPERSIST"])
    return [
        _call(b"HPEXPIREAT", b"h", _far, condition, good),
        _call(b"HPEXPIREAT", b"h", st.sampled_from([b"0", b"4102444800000"]), condition, good),
        _call(names, b"h", good),
        _call(b"HGETEX", b"h", _good_options, good),
        _call(b"HGETEX", b"h", _good_options, good),
        _call(b"HSETEX", b"h", _good_options, _right(_pairs, 2)),
        _call(b"HSETEX", b"h", _good_options, _right(_pairs, 2)),
        _call(b"HPEXPIREAT", _key, _far, fields),
        _call(b"HPEXPIREAT", _key, _far, _condition, fields),
        _call(b"HPEXPIREAT", _key, _precise, _conditions, fields),
        _call(b"HEXPIREAT", _key, _absolute, _conditions, fields),
        _call(b"HEXPIRE", _key, _relative, _conditions, fields),
        _call(b"HPEXPIRE", _key, _relative, _conditions, fields),
        _call(names, _key, fields),
        _call(names, _key, fields),
        _call(b"HGETDEL", _key, fields),
        _call(b"HGETEX", _key, _options, fields),
        _call(b"HGETEX", _key, _time, fields),
        _call(b"HSETEX", _key, _options, _counted(_pairs, 2)),
        _call(b"HSETEX", _key, _options, _counted(_pairs, 2)),
        _call(b"HSETEX", _key, _time, _counted(_pairs, 2)),
        _call(b"HSETEX", _key, _options, _odd),
        _call(b"OBJECT", b"ENCODING", _key),
    ]


def commands() -> Commands:
    """One command of the family, mostly valid."""
    return st.one_of(*_plain(), *_expiring())


_UNORDERED = (b"HKEYS", b"HVALS")


def key_for(argv: list[bytes]) -> Any:
    """Compare without the order of hash tables, random fields and relative times."""
    if argv[0] in _UNORDERED:
        return unordered
    if argv[0] == b"HGETALL":
        return _pairs_of
    if argv[0] == b"HSCAN":
        return _scanned
    if argv[0] == b"HRANDFIELD":
        return _shape
    if argv[0] in (b"HTTL", b"HPTTL"):
        return _rough
    return None


def _pairs_of(reply: Wire) -> Any:
    kind, items = reply
    if kind == "*":
        return kind, sorted(zip(items[::2], items[1::2], strict=True))
    return unordered(reply)


def _scanned(reply: Wire) -> Any:
    if reply[0] != "*":
        return reply
    cursor, items = reply[1]
    return cursor, unordered(items)


def _shape(reply: Wire) -> Any:
    kind, content = reply
    if kind == "*":
        return kind, [_shape(item) for item in content]
    return kind, content if kind == "-" else content is None


def _rough(reply: Wire) -> Any:
    kind, content = reply
    if kind == "*":
        return kind, [_rough(item) for item in content]
    return (kind, int(content) // 1_000_000) if kind == ":" and int(content) > 0 else reply
