"""Streams and consumer groups. Ids are given, not taken from the clock, so both sides agree."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Commands = st.SearchStrategy[list[bytes]]

_key = st.sampled_from([b"s", b"s", b"s", b"t", b"str"])
_number = st.sampled_from([b"0", b"1", b"2", b"3", b"-1", b"x", b"100"])
_part = st.sampled_from([b"0", b"1", b"2", b"3", b"4", b"5", b"7", b"18446744073709551615"])
_id = st.one_of(
    st.builds(lambda a, b: a + b"-" + b, _part, _part),
    _part,
    st.sampled_from([b"x", b"-", b"+", b"1-x", b"$", b"18446744073709551616", b""]),
    st.sampled_from([b"01-02", b"+2", b" 3-1", b"1--02", b"2\x00x", b"3-1\x00", b"3--1", b"0-00"]),
)
_end = st.one_of(_id, _id.map(lambda raw: b"(" + raw))
_new = st.one_of(_id, _part.map(lambda raw: raw + b"-*"))
_group = st.sampled_from([b"g", b"g", b"h", b"nog"])
_consumer = st.sampled_from([b"c", b"d"])
_word = st.sampled_from([b"a", b"b", b"12", b"\x00\xff", b"long" * 20])
_strategy = st.sampled_from([[], [], [b"KEEPREF"], [b"DELREF"], [b"acked"]])
_trim = st.one_of(
    st.just([]),
    st.tuples(
        st.sampled_from([b"MAXLEN", b"maxlen", b"MINID"]),
        st.sampled_from([[], [b"="], [b"~"]]),
        st.one_of(_number, _id),
        st.sampled_from([[], [b"LIMIT", b"1"], [b"LIMIT", b"0"], [b"LIMIT", b"-1"]]),
    ).map(lambda t: [t[0], *t[1], t[2], *t[3]]),
)
_count: st.SearchStrategy[list[bytes]] = st.one_of(
    st.just([]), _number.map(lambda n: [b"COUNT", n])
)
_ids = st.lists(_id, min_size=1, max_size=3)


def _call(*parts: Any) -> Commands:
    """A command from words, strategies of words and strategies of lists of words."""
    strategies = [st.just(part) if isinstance(part, bytes) else part for part in parts]
    return st.tuples(*strategies).map(
        lambda found: [
            word for part in found for word in (part if isinstance(part, list) else [part])
        ]
    )


def commands() -> Commands:
    """One command of the family, mostly valid."""
    pairs = st.lists(_word, min_size=1, max_size=5)
    block = _ids.map(lambda ids: [b"IDS", b"%d" % len(ids), *ids])
    claims = st.lists(
        st.sampled_from(
            [b"JUSTID", b"FORCE", b"IDLE", b"TIME", b"RETRYCOUNT", b"LASTID", b"1", b"0", b"x"]
        ),
        max_size=3,
    )
    return st.one_of(
        _call(b"XADD", _key, _strategy, _trim, _new, pairs),
        _call(b"XADD", _key, _new, pairs),
        _call(b"XADD", b"s", _part.map(lambda raw: raw + b"-*"), st.just([b"f", b"v"])),
        _call(b"XADD", _key, b"NOMKSTREAM", _new, pairs),
        _call(b"XTRIM", _key, _trim, _strategy),
        _call(b"XLEN", _key),
        _call(b"XDEL", _key, _ids),
        _call(b"XDELEX", _key, _strategy, block),
        _call(b"XRANGE", _key, _end, _end, _count),
        _call(b"XREVRANGE", _key, _end, _end, _count),
        _call(b"XREAD", _count, b"STREAMS", _key, _id),
        _call(b"XREAD", _count, b"STREAMS", _key, _key, _id, _id),
        _call(b"XGROUP", b"CREATE", _key, _group, _id, st.sampled_from([[], [b"MKSTREAM"]])),
        _call(b"XGROUP", b"CREATE", b"s", b"g", b"0", b"MKSTREAM"),
        _call(b"XGROUP", b"CREATE", _key, _group, _id, b"ENTRIESREAD", _number),
        _call(b"XGROUP", b"SETID", _key, _group, _id),
        _call(b"XGROUP", b"DESTROY", _key, _group),
        _call(b"XGROUP", b"CREATECONSUMER", _key, _group, _consumer),
        _call(b"XGROUP", b"DELCONSUMER", _key, _group, _consumer),
        _call(
            b"XREADGROUP",
            b"GROUP",
            _group,
            _consumer,
            _count,
            st.sampled_from([[], [b"NOACK"]]),
            b"STREAMS",
            _key,
            st.one_of(st.just(b">"), _id),
        ),
        _call(b"XREADGROUP", b"GROUP", b"g", _consumer, b"STREAMS", b"s", b">"),
        _call(b"XACK", _key, _group, _ids),
        _call(b"XACKDEL", _key, _group, _strategy, block),
        _call(b"XCLAIM", _key, _group, _consumer, _number, _ids, claims),
        _call(b"XAUTOCLAIM", _key, _group, _consumer, b"0", _end, _count),
        _call(b"XAUTOCLAIM", _key, _group, _consumer, b"0", _id, b"JUSTID"),
        _call(b"XPENDING", _key, _group),
        _call(b"XPENDING", _key, _group, _end, _end, _number),
        _call(b"XPENDING", _key, _group, _end, _end, _number, _consumer),
        _call(b"XINFO", b"STREAM", _key),
        _call(b"XINFO", b"STREAM", _key, b"FULL", _count),
        _call(b"XINFO", b"GROUPS", _key),
        _call(b"XINFO", b"CONSUMERS", _key, _group),
        _call(b"XSETID", _key, _id),
        _call(b"XSETID", _key, _id, b"ENTRIESADDED", _number, b"MAXDELETEDID", _id),
        _call(b"SET", b"str", b"text"),
        _call(b"DEL", _key),
    )


def key_for(argv: list[bytes]) -> Any:
    """Times differ by the milliseconds between two servers."""
    if argv[0] in (b"XPENDING", b"XINFO"):
        return without_times
    return None


def without_times(reply: Any) -> Any:
    """The reply with a word in place of every time."""
    kind, content = reply
    if kind == ":" and content != "idle" and abs(int(content)) > 1_000_000_000_000:
        return (":", "time")
    if kind == "%":
        return [
            (name, "idle") if name[1] in _IDLE else (name, without_times(v)) for name, v in content
        ]
    if kind == "*" and content is not None:
        items = list(content)
        for place, item in enumerate(items):
            if item[0] == "$" and item[1] in _IDLE and place + 1 < len(items):
                items[place + 1] = (":", "idle")
        if len(items) == 4 and [item[0] for item in items] == ["$", "$", ":", ":"]:
            items[2] = (":", "idle")
        return [without_times(item) for item in items]
    return reply


_IDLE = (b"idle", b"inactive")
