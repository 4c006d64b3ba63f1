"""Small scripts: values both ways between Lua and replies, commands, errors, the libraries.

Tables that have several keys in no order stay out, and so does all that prints an address.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Commands = st.SearchStrategy[list[bytes]]
Source = st.SearchStrategy[str]

_text = st.sampled_from(
    [
        "''",
        "'a'",
        "'b'",
        "'x y'",
        "'-x y'",
        "'12'",
        "'1.5'",
        "'0x10'",
        "'\\0\\255'",
        "'ERR z'",
        "'[1,2]'",
        "'{\"a\":null}'",
        "'\\129\\161a\\1'",
        "('ab'):rep(20)",
    ]
)
_number = st.one_of(
    st.integers(min_value=-5, max_value=300).map(str),
    st.sampled_from(
        [
            "0.1",
            "-2.9",
            "1e15",
            "1e17",
            "1e21",
            "2^53",
            "2^63",
            "-2^63",
            "1/3",
            "1e300",
            "1/0",
            "-1/0",
            "1e-7",
            "123456.789",
            "-0",
            "3.0",
            "4294967296",
            "2^31",
            "-2^31-1",
        ]
    ),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)
_simple = st.one_of(
    _text, _text, _number, _number, st.sampled_from(["nil", "true", "false", "cjson.null"])
)
_key = st.sampled_from(["'s'", "'n'", "'l'", "'h'", "'set'", "'z'", "'none'", "KEYS[1]", "ARGV[1]"])
_argument = st.one_of(_key, _text, _number, st.sampled_from(["nil", "{}", "true"]))
_command = st.one_of(
    st.builds(
        lambda name, key: f"'{name}', {key}",
        st.sampled_from(
            [
                "get",
                "GET",
                "type",
                "strlen",
                "llen",
                "hgetall",
                "smembers",
                "exists",
                "del",
                "incr",
                "ttl",
                "persist",
                "scard",
                "zcard",
                "hlen",
                "hkeys",
                "nosuch",
                "lpop",
                "dump",
            ]
        ),
        _key,
    ),
    st.builds(
        lambda name, key, one: f"'{name}', {key}, {one}",
        st.sampled_from(
            [
                "set",
                "append",
                "incrby",
                "rpush",
                "hget",
                "sismember",
                "zscore",
                "expire",
                "mget",
                "getset",
                "sadd",
                "echo",
                "lrange",
                "setnx",
                "select",
            ]
        ),
        _key,
        _argument,
    ),
    st.builds(
        lambda name, key, one, two: f"'{name}', {key}, {one}, {two}",
        st.sampled_from(["hset", "zadd", "lrange", "setrange", "getrange", "set", "mset", "setex"]),
        _key,
        _argument,
        _argument,
    ),
    st.sampled_from(
        [
            "'ping'",
            "'dbsize'",
            "'multi'",
            "'config', 'get', 'x'",
            "'object', 'nosuch', 'x'",
            "'hset', 'h', 'f', '1'",
            "'zadd', 'z', 1.5, 'm'",
            "'sadd', 'set', 'm'",
            "",
            "'zrange', 'z', 0, -1, 'withscores'",
            "'client', 'nosuch'",
            "'get'",
            "'eval', '1', 0",
            "'set', 's', 'v', 'get'",
            "'rpush', 'l', 1, 2.5, 'x'",
            "'zincrby', 'z', 0.1, 'm'",
        ]
    ),
)


def _wider(inner: Source) -> Source:
    """Expressions made of smaller ones."""
    # Lua goes through a table in an order that depends on a seed.
    in_order = inner.filter(lambda text: "verbatim_string" not in text)
    return st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"{{{', '.join(items)}}}"),
        st.builds("{{[{}] = {}}}".format, st.sampled_from(["1", "'a'", "2"]), inner),
        st.builds("{{map = {{[{}] = {}}}}}".format, st.sampled_from(["1", "'a'"]), inner),
        st.builds("{{set = {{[{}] = true}}}}".format, st.sampled_from(["1", "'a'"])),
        st.builds("{{{} = {}}}".format, st.sampled_from(["ok", "err", "double"]), _simple),
        st.builds("{{big_number = {}}}".format, _simple),
        st.builds("{{verbatim_string = {{string = {}, format = 'txt'}}}}".format, _simple),
        st.builds("redis.call({})".format, _command),
        st.builds("redis.call({})".format, _command),
        st.builds("redis.pcall({})".format, _command),
        st.builds("{{pcall(function() return {} end)}}".format, inner),
        st.builds("{{pcall(redis.call, {})}}".format, _command.filter(bool)),
        st.builds("cjson.encode({})".format, in_order),
        st.builds("cjson.decode(cjson.encode({}))".format, in_order),
        st.builds("cjson.decode({})".format, _text),
        st.builds("cmsgpack.unpack(cmsgpack.pack({}))".format, in_order),
        st.builds("cmsgpack.unpack({})".format, _text),
        st.builds("struct.pack({}, {})".format, st.sampled_from(["'>i'", "'d'", "'s'"]), _simple),
        st.builds(
            "bit.{}({}, {})".format, st.sampled_from(["band", "bxor", "rol"]), _simple, _number
        ),
        st.builds("tonumber({})".format, _text),
        st.builds("tostring({})".format, _simple.filter(lambda text: text != "cjson.null")),
        st.builds("type({})".format, inner),
        st.builds("({} {} {})".format, inner, st.sampled_from(["..", "+", "==", "or"]), _simple),
        st.builds("({})[1]".format, inner),
        st.builds("({}).ok".format, inner),
        st.builds("redis.error_reply({})".format, _simple),
        st.builds("redis.status_reply({})".format, _simple),
        st.builds("redis.sha1hex({})".format, _simple),
        st.builds("string.format({}, {})".format, st.sampled_from(["'%s'", "'%d'"]), _simple),
    )


_expression = st.recursive(_simple, _wider, max_leaves=4)
_statement = st.one_of(
    st.just(""),
    st.just(""),
    st.builds("local x = {}".format, _expression),
    st.builds("\nlocal x = {}\n".format, _expression),
    st.sampled_from(["redis.setresp(3)", "redis.setresp(3)", "redis.setresp(2)"]),
    st.builds("error({})".format, st.one_of(_text, _number)).map(
        lambda e: f"if ARGV[2] then {e} end"
    ),
    st.builds("redis.call({})".format, _command),
)
_script = st.builds("{} {} return {}".format, _statement, _statement, _expression)


def commands() -> Commands:
    """EVAL with small scripts, and the keys that they use."""
    return st.one_of(
        st.builds(
            lambda name, script, rest: [name, script.encode(), *rest],
            st.sampled_from([b"EVAL", b"EVAL", b"EVAL", b"EVAL", b"EVAL", b"EVAL_RO"]),
            _script,
            st.sampled_from(
                [[b"1", b"s", b"n"], [b"0"], [b"0", b"h"], [b"1", b"l", b"z", b"x"], [b"2", b"s"]]
            ),
        ),
        st.sampled_from(
            [
                [b"SET", b"s", b"text"],
                [b"SET", b"n", b"10"],
                [b"DEL", b"s", b"l"],
                [b"GET", b"s"],
                [b"EVAL", b"return redis.call('zscore', 'z', 'm')", b"0"],
            ]
        ),
    )


def key_for(argv: list[bytes]) -> Any:
    """Replies are compared as they are."""
    return None
