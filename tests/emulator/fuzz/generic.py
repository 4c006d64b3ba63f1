"""Generic keys, expiry, OBJECT and SCAN, over keys of every type in several databases."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.support.pair import Wire, unordered

KEYS = st.sampled_from([b"a", b"b", b"c", b"missing"])
TIMES = st.sampled_from(
    b"100 1000000 4102444800 4102444800000 0 -1 x  1.5 -100 +5 007 9223372036854775807 "
    b"-9223372036854775808 9223372036854775 -9223372036854775 9223372036854775808".split(b" ")
)
INDEXES = st.sampled_from([b"0", b"1", b"1", b"2", b"15", b"16", b"-1", b"x", b"4294967296"])
_PATTERNS = st.sampled_from([b"*", b"[ab]", b"?", b"a*", b"[^a]*", b"", b"[a-", b"\\a", b"**b"])
_TEXTS = st.sampled_from([b"v", b"1", b"x" * 30, b"x" * 44, b"x" * 50, b"x" * 100])
_FIELDS = st.sampled_from([b"f", b"g"])
_ARGUMENTS = {
    "DEL": (KEYS, KEYS),
    "UNLINK": (KEYS, KEYS),
    "EXISTS": (KEYS, KEYS),
    "TOUCH": (KEYS, KEYS),
    "TYPE": (KEYS,),
    "TTL": (KEYS,),
    "PTTL": (KEYS,),
    "PEXPIRETIME": (KEYS,),
    "GET": (KEYS,),
    "HGETALL": (KEYS,),
    "SPOP": (KEYS,),
    "LPOP": (KEYS,),
    "XLEN": (KEYS,),
    "SETEX": (KEYS, st.sampled_from([b"1000000", b"0", b"x"]), _TEXTS),
    "HPEXPIREAT": (KEYS, st.just(b"4102444800000"), st.just(b"FIELDS"), st.just(b"1"), _FIELDS),
    "EXPIRETIME": (KEYS,),
    "PERSIST": (KEYS,),
    "RENAME": (KEYS, KEYS),
    "RENAMENX": (KEYS, KEYS),
    "MOVE": (KEYS, INDEXES),
    "SELECT": (INDEXES,),
    "SWAPDB": (INDEXES, INDEXES),
    "DBSIZE": (),
    "KEYS": (_PATTERNS,),
    "RANDOMKEY": (),
    "SET": (KEYS, _TEXTS),
    "APPEND": (KEYS, _TEXTS),
    "HSET": (KEYS, _FIELDS, _TEXTS),
    "HDEL": (KEYS, _FIELDS),
    "RPUSH": (KEYS, _TEXTS),
    "SADD": (KEYS, _TEXTS),
    "ZADD": (KEYS, st.sampled_from([b"1", b"2"]), _TEXTS),
    "XADD": (KEYS, st.sampled_from([b"1-1", b"2-1", b"x"]), st.just(b"f"), _TEXTS),
    "OBJECT ENCODING": (KEYS,),
    "OBJECT REFCOUNT": (KEYS,),
    "OBJECT IDLETIME": (KEYS,),
    "OBJECT FREQ": (KEYS,),
    "OBJECT": (st.sampled_from([b"HELP", b"NOSUCH", b"encoding"]),),
    "FLUSHDB": (),
    "FLUSHALL": (st.sampled_from([b"SYNC", b"ASYNC", b"async", b"FOO"]),),
    "WAIT": (st.sampled_from([b"0", b"-1", b"x"]), st.sampled_from([b"1", b"0", b"-1", b"x"])),
}
_EXPIRE = st.sampled_from([b"EXPIRE", b"PEXPIRE", b"EXPIREAT", b"PEXPIREAT"])
_EXPIRE_OPTIONS = st.sampled_from([b"NX", b"XX", b"GT", b"lt", b"FOO"])
_COPY_OPTIONS = st.sampled_from(
    [(b"REPLACE",), (b"replace",), (b"DB", b"1"), (b"DB", b"2"), (b"DB",), (b"DB", b"x"), (b"FOO",)]
)
_TYPES = st.sampled_from([b"hash", b"string", b"list", b"set", b"zset", b"stream", b"ZSET", b"x"])
_SCAN_OPTIONS = st.one_of(
    st.tuples(st.sampled_from([b"MATCH", b"match"]), _PATTERNS),
    st.tuples(st.just(b"TYPE"), _TYPES),
    st.sampled_from([(b"COUNT", b"0"), (b"COUNT", b"5000"), (b"COUNT",), (b"NOVALUES",), (b"x",)]),
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
        options = draw(st.lists(_EXPIRE_OPTIONS, max_size=3))
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
    """Compare unordered replies without their order, and times to the second."""
    if argv[0] == b"KEYS":
        return unordered
    if argv[0] == b"SCAN":
        return _page
    if argv[:2] == [b"OBJECT", b"IDLETIME"]:
        return lambda reply: reply if reply[0] != ":" else "seconds"
    if argv[0] in (b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME"):
        return _about
    if argv[0] == b"RANDOMKEY":
        return lambda reply: reply[1] is None
    return None


def _about(reply: Wire) -> Any:
    return reply if reply[0] != ":" or int(reply[1]) < 0 else "some"


def _page(reply: Wire) -> Any:
    return reply if reply[0] != "*" else unordered(reply[1][1])
