"""HyperLogLogs; GET shows every byte of them, also of damaged ones."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

PARAMETERS = {"hll-sparse-max-bytes": "3000"}

Commands = st.SearchStrategy[list[bytes]]

_key = st.sampled_from([b"a", b"a", b"a", b"b", b"b", b"c", b"none", b"str", b"set"])
_keys = st.lists(_key, max_size=4)
_element = st.one_of(
    st.integers(min_value=0, max_value=100_000).map(lambda n: b"%d" % n),
    st.binary(max_size=20),
)
_elements = st.lists(_element, max_size=8)
_many = st.integers(min_value=0, max_value=1000).flatmap(
    lambda start: st.sampled_from([50, 300, 1500]).map(
        lambda count: [b"%d" % number for number in range(start, start + count)]
    )
)
_header = b"HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80"
_run = st.sampled_from(
    [
        b"\x00",
        b"?",
        b"\x7f\xff",
        b"@\x00",
        b"\x80",
        b"\x83",
        b"\xff",
        b"\x84",
        b"`\x10",
        b"\x7f\x00",
        b"\xfc",
        b"\x01",
    ]
)
_runs = st.lists(_run, max_size=8).map(b"".join)


def _filled(runs: bytes) -> bytes:
    """``runs`` and as many registers of zero as are missing."""
    covered = place = 0
    while place < len(runs):
        byte = runs[place]
        if byte & 0x80:
            covered += (byte & 3) + 1
        elif byte & 0x40:
            covered += ((byte & 63) << 8 | runs[place + 1]) + 1
            place += 1
        else:
            covered += byte + 1
        place += 1
    missing = 16384 - covered
    if missing <= 0:
        return runs
    return runs + ((missing - 1) | 0x4000).to_bytes(2, "big")


_value = st.one_of(
    _runs.map(lambda runs: _header + _filled(runs)),
    _runs.map(lambda runs: _header + runs),
    st.sampled_from(
        [
            b"HYLL",
            b"",
            b"12345",
            _header,
            b"HYLL\x00" + bytes(11),
            b"HYLL\x00" + bytes(12299),
            b"HYLL\x00abc\x07" + bytes(7) + b"\x41" * 12288,
            b"HYLL\x00" + bytes(10) + b"\x80" + b"\xff" * 12288,
            b"HYLL\x02" + bytes(12299),
            b"HYLL\x01abc\x09" + bytes(7) + b"\x7f\xff",
            b"HYLL\x01abc" + b"\xff" * 7 + b"\x7f\x7f\xff",
            b"hyll\x01" + bytes(11) + b"\x7f\xff",
        ]
    ),
)


def _call(*parts: Any) -> Commands:
    strategies = [st.just(part) if isinstance(part, bytes) else part for part in parts]
    return st.tuples(*strategies).map(
        lambda found: [
            word for part in found for word in (part if isinstance(part, list) else [part])
        ]
    )


def commands() -> Commands:
    """One command of the family, mostly valid."""
    debug = st.sampled_from([b"GETREG", b"DECODE", b"ENCODING", b"TODENSE", b"todense", b"FOO"])
    return st.one_of(
        _call(b"PFADD", _key, _elements),
        _call(b"PFADD", _key, _elements),
        _call(b"PFADD", _key, _many),
        _call(b"PFCOUNT", _key),
        _call(b"PFCOUNT", _key, _keys),
        _call(b"PFMERGE", _key, _keys),
        _call(b"PFDEBUG", debug, _key),
        _call(b"SET", _key, _value),
        _call(b"SET", b"str", b"text"),
        _call(b"SADD", b"set", b"m"),
        _call(b"GET", _key),
        _call(b"EXPIRE", _key, b"1000"),
        _call(b"COPY", _key, _key),
        _call(b"OBJECT", b"ENCODING", _key),
        _call(b"DEL", _key),
        _call(
            b"CONFIG",
            b"SET",
            b"hll-sparse-max-bytes",
            st.sampled_from([b"0", b"20", b"100", b"3000", b"3000", b"16000", b"30000"]),
        ),
    )
