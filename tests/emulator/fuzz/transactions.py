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
            ]
        )
    )


def commands() -> st.SearchStrategy[list[bytes]]:
    """Single commands."""
    return _FRAME | _on_keys() | _INSIDE
