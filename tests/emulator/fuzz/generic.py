"""Generic keys, expiry and SCAN, over strings and hashes in two databases."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.emulator.pair import Wire, unordered

KEYS = st.sampled_from([b"a", b"b", b"c", b"missing"])
TIMES = st.sampled_from(
    [b"100", b"1000000", b"4102444800", b"4102444800000", b"0", b"-1", b"x", b"", b"1.5"]
    + [b"9223372036854775807", b"-9223372036854775808", b"9223372036854775"]
)
INDEXES = st.sampled_from([b"0", b"1", b"1", b"2", b"16", b"-1", b"x"])
_ARGUMENTS = {
    "DEL": (KEYS, KEYS),
    "UNLINK": (KEYS,),
    "EXISTS": (KEYS, KEYS),
    "TOUCH": (KEYS, KEYS),
    "TYPE": (KEYS,),
    "TTL": (KEYS,),
    "EXPIRETIME": (KEYS,),
    "PERSIST": (KEYS,),
    "RENAME": (KEYS, KEYS),
    "RENAMENX": (KEYS, KEYS),
    "MOVE": (KEYS, INDEXES),
    "SELECT": (INDEXES,),
    "SWAPDB": (INDEXES, INDEXES),
    "DBSIZE": (),
    "KEYS": (st.sampled_from([b"*", b"[ab]", b"?", b"a*", b"[^a]*"]),),
    "SET": (KEYS, st.sampled_from([b"v", b"1", b"x" * 50])),
    "HSET": (KEYS, st.sampled_from([b"f", b"g"]), st.just(b"v")),
    "OBJECT ENCODING": (KEYS,),
    "OBJECT REFCOUNT": (KEYS,),
    "FLUSHDB": (),
}
_EXPIRE = st.sampled_from([b"EXPIRE", b"PEXPIRE", b"EXPIREAT", b"PEXPIREAT"])
_EXPIRE_OPTIONS = st.sampled_from([b"NX", b"XX", b"GT", b"lt", b"FOO"])
_COPY_OPTIONS = st.sampled_from([(b"REPLACE",), (b"DB", b"1"), (b"DB",), (b"DB", b"x"), (b"FOO",)])
_SCAN_OPTIONS = st.sampled_from(
    [(b"MATCH", b"a*"), (b"TYPE", b"hash"), (b"TYPE", b"string"), (b"COUNT", b"0"), (b"COUNT",)]
)


@st.composite
def _plain(draw: st.DrawFn) -> list[bytes]:
    name = draw(st.sampled_from(sorted(_ARGUMENTS)))
    arguments = [draw(strategy) for strategy in _ARGUMENTS[name]]
    if draw(st.integers(0, 19)) == 0:
        arguments = arguments[:-1] if arguments else [b"extra"]
    return [*name.encode().split(), *arguments]


@st.composite
def _optional(draw: st.DrawFn) -> list[bytes]:
    which = draw(st.sampled_from(["expire", "copy", "scan"]))
    if which == "expire":
        options = draw(st.lists(_EXPIRE_OPTIONS, max_size=2))
        return [draw(_EXPIRE), draw(KEYS), draw(TIMES), *options]
    if which == "copy":
        pieces = draw(st.lists(_COPY_OPTIONS, max_size=2))
        return [b"COPY", draw(KEYS), draw(KEYS), *(word for piece in pieces for word in piece)]
    pieces = draw(st.lists(_SCAN_OPTIONS, max_size=2))
    options = [word for piece in pieces for word in piece]
    return [b"SCAN", b"0", b"COUNT", b"1000", *options]


def commands() -> st.SearchStrategy[list[bytes]]:
    """Single commands."""
    return _plain() | _optional()


def key_for(argv: list[bytes]) -> Any:
    """What has no order is compared without one; times to the second."""
    if argv[0] == b"KEYS":
        return unordered
    if argv[0] == b"SCAN":
        return _page
    return None


def _page(reply: Wire) -> Any:
    return reply if reply[0] != "*" else unordered(reply[1][1])
