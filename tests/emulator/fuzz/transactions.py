"""MULTI, EXEC, DISCARD, WATCH and UNWATCH around ordinary commands of one client."""

from __future__ import annotations

from hypothesis import strategies as st

_KEYS = st.sampled_from([b"a", b"b"])
_FRAME = st.sampled_from(
    [
        [b"MULTI"],
        [b"MULTI"],
        [b"EXEC"],
        [b"EXEC"],
        [b"DISCARD"],
        [b"UNWATCH"],
        [b"WATCH", b"a"],
        [b"WATCH", b"a", b"b"],
        [b"WATCH"],
        [b"MULTI", b"x"],
        [b"EXEC", b"x"],
    ]
)
_INSIDE = st.sampled_from(
    [
        [b"NOSUCH", b"a", b"b"],
        [b"FLUSHALL"],
        [b"SWAPDB", b"0", b"1"],
        [b"SELECT", b"1"],
        [b"SELECT", b"0"],
        [b"SELECT", b"x"],
        [b"GET"],
        [b"PING"],
        [b"OBJECT", b"FOO"],
        [b"OBJECT"],
        [b"CONFIG", b"GET"],
        [b"CLIENT", b"NOSUCH", b"x"],
        [b"FLUSHDB"],
        [b"DBSIZE"],
        [b"KEYS", b"a"],
        [b"WAIT", b"0", b"0"],
        [b"ECHO", b"text"],
        [b"SUBSCRIBE"],
        [b"PUBLISH", b"c", b"m"],
        [b"SWAPDB", b"0", b"16"],
        [b"EVAL", b"return redis.call('incr', KEYS[1])", b"1", b"a"],
        [b"EVAL", b"redis.call('set', KEYS[1], 'v') error('x')", b"1", b"b"],
        [b"EVAL", b"return redis.call('multi')", b"0"],
        [b"EVAL", b"return redis.call('watch', 'a')", b"0"],
        [b"EVAL", b"return {1, false, {ok = 'fine'}, redis.error_reply('bad')}", b"0"],
        [b"EVALSHA", b"0" * 40, b"0"],
        [b"SCRIPT", b"EXISTS", b"0" * 40],
    ]
)


@st.composite
def _on_keys(draw: st.DrawFn) -> list[bytes]:
    key, other = draw(_KEYS), draw(_KEYS)
    return draw(
        st.sampled_from(
            [
                [b"GET", key],
                [b"SET", key, b"1"],
                [b"DEL", key],
                [b"RENAME", key, other],
                [b"COPY", key, other, b"REPLACE"],
                [b"MOVE", key, b"1"],
                [b"EXPIRE", key, b"1000"],
                [b"EXPIRE", key, b"-1"],
                [b"HSET", key, b"f", b"v"],
                [b"EXISTS", key],
                [b"GETDEL", key],
                [b"INCR", key],
                [b"INCRBYFLOAT", key, b"1.5"],
                [b"SET", key, b"2", b"GET"],
                [b"SET", key, b"2", b"NX", b"XX"],
                [b"MSET", key, b"1", other, b"2"],
                [b"MSET", key],
                [b"HGETALL", key],
                [b"HDEL", key, b"f"],
                [b"RPUSH", key, b"x", b"y"],
                [b"LPOP", key, b"2"],
                [b"BLPOP", key, other, b"0"],
                [b"BLMOVE", key, other, b"LEFT", b"LEFT", b"0"],
                [b"SADD", key, b"m"],
                [b"ZADD", key, b"1.5", b"m"],
                [b"ZSCORE", key, b"m"],
                [b"BZPOPMIN", key, b"0"],
                [b"XADD", key, b"1-1", b"f", b"v"],
                [b"XREAD", b"BLOCK", b"0", b"STREAMS", key, b"9"],
                [b"PERSIST", key],
                [b"EXPIRETIME", key],
                [b"GETEX", key, b"PXAT", b"4102444800000"],
                [b"UNLINK", key, other],
                [b"RENAMENX", key, other],
                [b"SMOVE", key, other, b"m"],
                [b"SORT", key, b"ALPHA", b"STORE", other],
                [b"TYPE", key],
            ]
        )
    )


_WAITING = frozenset({b"BLPOP", b"BLMOVE", b"BZPOPMIN", b"XREAD"})


def _never_waits(argv: list[bytes]) -> list[bytes]:
    """Commands that would block outside MULTI run in a script."""
    if argv[0] not in _WAITING:
        return argv
    return [b"EVAL", b"return redis.pcall(unpack(ARGV))", b"0", *argv]


def commands() -> st.SearchStrategy[list[bytes]]:
    """Single commands."""
    return _FRAME | _on_keys().map(_never_waits) | _INSIDE
