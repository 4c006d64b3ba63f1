"""One client that tracks, reads and writes: invalidation messages and their place among replies.

Broadcasts are left out: a server collects them until it has served everybody, so their place
depends on how fast this client asks.
"""

from __future__ import annotations

from hypothesis import strategies as st

from tests.support.pair import Pair

_KEYS = st.sampled_from([b"a", b"ab", b"b"])
_MODES = st.sampled_from(
    [
        line.encode().split()
        for line in (
            "CLIENT TRACKING on",
            "CLIENT TRACKING on NOLOOP",
            "CLIENT TRACKING on OPTIN",
            "CLIENT TRACKING on OPTIN NOLOOP",
            "CLIENT TRACKING on OPTOUT",
            "CLIENT TRACKING on BCAST PREFIX b PREFIX b",
            "CLIENT TRACKING on BCAST OPTIN",
            "CLIENT TRACKING on PREFIX a",
            "CLIENT TRACKING on REDIRECT 0",
            "CLIENT TRACKING on REDIRECT 99999999",
            "CLIENT TRACKING off",
            "CLIENT TRACKING off",
            "CLIENT TRACKING off NOLOOP",
            "CLIENT TRACKING maybe",
            "CLIENT CACHING yes",
            "CLIENT CACHING no",
            "CLIENT CACHING x",
            "CLIENT TRACKINGINFO",
            "CLIENT GETREDIR",
            "MULTI",
            "EXEC",
            "DISCARD",
            "FLUSHALL ASYNC",
            "SELECT 1",
            "SELECT 0",
            "PING",
        )
    ]
)


@st.composite
def _on_keys(draw: st.DrawFn) -> list[bytes]:
    key, other = draw(_KEYS), draw(_KEYS)
    return draw(
        st.sampled_from(
            [
                [b"GET", key],
                [b"GET", key],
                [b"MGET", key, other],
                [b"EXISTS", key],
                [b"TYPE", key],
                [b"LRANGE", key, b"0", b"-1"],
                [b"SET", key, b"1"],
                [b"MSET", key, b"1", other, b"2"],
                [b"DEL", key, other],
                [b"RENAME", key, other],
                [b"COPY", key, other, b"REPLACE"],
                [b"APPEND", key, b"x"],
                [b"GETDEL", key],
                [b"EXPIRE", key, b"1000"],
                [b"EXPIRE", key, b"-1"],
                [b"PERSIST", key],
                [b"LPUSH", key, b"v"],
                [b"MOVE", key, b"1"],
                [b"EVAL", b"return redis.call('get', KEYS[1])", b"1", key],
                [b"EVAL", b"redis.call('set', KEYS[1], 'x') return 1", b"1", key],
                [b"EVAL", b"redis.call('get', KEYS[1]) redis.call('del', KEYS[1])", b"1", key],
            ]
        )
    )


def commands() -> st.SearchStrategy[list[bytes]]:
    """Single commands."""
    return _MODES | _on_keys() | _on_keys()


def prepare(same: Pair) -> None:
    """Switch tracking off and read all pending messages."""
    for connection in (same.emulated, same.real):
        connection.send([b"DISCARD"])
        connection.send([b"CLIENT", b"TRACKING", b"off"])
        connection.send([b"SELECT", b"0"])
        connection.send([b"ECHO", b"--begin--"])
        while connection.read() != ("$", b"--begin--"):
            continue
