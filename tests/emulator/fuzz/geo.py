"""Geo commands: positions and searches near and far, around the poles and the date line."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Commands = st.SearchStrategy[list[bytes]]

PARAMETERS = {"zset-max-ziplist-entries": "128"}

_key = st.sampled_from([b"g", b"g", b"g", b"g", b"h", b"h", b"str", b"no"])
_written = st.sampled_from([b"g", b"h", b"h", b"str", b"new"])
_member = st.sampled_from(
    [b"a", b"b", b"c", b"d", b"e", b"f", b"Palermo", b"Catania", b"", b"\xff"]
)
_odd_number = st.sampled_from(
    [b"x", b"", b"nan", b"inf", b"-inf", b"181", b"-180.1", b"86", b"1e400", b"0x10", b" 1"]
)
_longitude = st.one_of(
    st.floats(-180, 180).map(lambda degrees: repr(degrees).encode()),
    st.floats(13, 16).map(lambda degrees: repr(degrees).encode()),
    st.sampled_from([b"0", b"180", b"-180", b"13.361389", b"15.087269", b"179.99999", b"-1e-7"]),
)
_latitude = st.one_of(
    st.floats(-85.05, 85.05).map(lambda degrees: repr(degrees).encode()),
    st.floats(37, 39).map(lambda degrees: repr(degrees).encode()),
    st.sampled_from([b"0", b"38.115556", b"37.502669", b"85.05112878", b"-85.05112878", b"66"]),
)
_place = st.one_of(
    st.tuples(_longitude, _latitude),
    st.tuples(_longitude, _latitude),
    st.tuples(_longitude, _latitude),
    st.tuples(_longitude, _latitude),
    st.tuples(st.one_of(_longitude, _odd_number), st.one_of(_latitude, _odd_number)),
).map(list)
_places = st.lists(st.tuples(_place, _member), min_size=1, max_size=6).map(
    lambda found: [word for place, member in found for word in (*place, member)]
)
_length = st.one_of(
    st.floats(0, 25_000_000).map(lambda length: repr(length).encode()),
    st.floats(0, 1000).map(lambda length: repr(length).encode()),
    st.sampled_from([b"0", b"200", b"1", b"-1", b"x", b"1e9", b"inf", b"166274.1516"]),
)
_unit = st.sampled_from([b"m", b"km", b"ft", b"mi", b"km", b"m", b"KM", b"Mi", b"yd"])
_centre = st.one_of(
    _place.map(lambda place: [b"FROMLONLAT", *place]),
    _member.map(lambda member: [b"FROMMEMBER", member]),
    _member.map(lambda member: [b"frommember", member]),
)
_shape: st.SearchStrategy[list[bytes]] = st.one_of(
    st.tuples(st.just(b"BYRADIUS"), _length, _unit).map(list),
    st.tuples(st.just(b"BYBOX"), _length, _length, _unit).map(list),
    st.sampled_from([[b"BYRADIUS", b"200", b"km"], [b"bybox", b"400", b"400", b"km"]]),
)
_polygon: st.SearchStrategy[list[bytes]] = st.lists(
    st.tuples(
        st.floats(5, 25).map(lambda degrees: repr(degrees).encode()),
        st.floats(30, 50).map(lambda degrees: repr(degrees).encode()),
    ),
    min_size=2,
    max_size=6,
).map(lambda found: [b"BYPOLYGON", b"%d" % len(found), *(word for pair in found for word in pair)])
_option: st.SearchStrategy[list[bytes]] = st.one_of(
    st.sampled_from([[b"ASC"], [b"DESC"], [b"WITHDIST"], [b"WITHCOORD"], [b"WITHHASH"]]),
    st.sampled_from([[b"COUNT", b"1"], [b"COUNT", b"2", b"ANY"], [b"COUNT", b"3"], [b"desc"]]),
    st.sampled_from([[b"ANY"], [b"COUNT", b"0"], [b"COUNT", b"x"], [b"COUNT"], [b"FOO"]]),
    st.sampled_from([[b"STORE", b"h"], [b"STOREDIST", b"new"], [b"STOREDIST"], [b"WITHDIST"]]),
)
_few: st.SearchStrategy[list[bytes]] = st.lists(_option, max_size=3).map(
    lambda parts: [word for part in parts for word in part]
)
_shuffled = st.tuples(_centre, _shape, _few).flatmap(
    lambda parts: st.permutations(parts).map(
        lambda order: [word for part in order for word in part]
    )
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
    words = st.lists(st.sampled_from([b"NX", b"XX", b"CH", b"ch", b"GT"]), max_size=2)
    members = st.lists(_member, max_size=4)
    return st.one_of(
        _call(b"GEOADD", b"g", _places),
        _call(b"GEOADD", b"g", _places),
        _call(b"GEOADD", _written, _places),
        _call(b"GEOADD", _written, words, _places),
        _call(b"GEOPOS", _key, members),
        _call(b"GEOHASH", _key, members),
        _call(b"GEODIST", _key, _member, _member),
        _call(b"GEODIST", _key, _member, _member, _unit),
        _call(b"GEOSEARCH", _key, _shuffled),
        _call(b"GEOSEARCH", b"g", _shuffled),
        _call(b"GEOSEARCH", b"g", _centre, _shape, b"WITHDIST", b"WITHCOORD", b"WITHHASH"),
        _call(b"GEOSEARCH", b"g", _polygon, _few),
        _call(b"GEOSEARCH", b"g", st.one_of(_centre, _shape), _polygon),
        _call(b"GEOSEARCH", _key, st.one_of(_centre, _shape), _few, _few),
        _call(b"GEOSEARCHSTORE", _written, _key, _shuffled),
        _call(b"GEOSEARCHSTORE", _written, b"g", _centre, _shape, _few),
        _call(b"GEOSEARCHSTORE", b"h", b"g", _polygon, _few),
        _call(st.sampled_from([b"GEORADIUS", b"GEORADIUS_RO"]), _key, _place, _length, _unit, _few),
        _call(
            st.sampled_from([b"GEORADIUSBYMEMBER", b"GEORADIUSBYMEMBER_RO"]),
            *(_key, _member, _length, _unit, _few),
        ),
        _call(b"ZADD", b"g", st.sampled_from([b"-1", b"1e300", b"inf", b"3.7"]), _member),
        _call(b"ZREM", _key, _member),
        _call(b"CONFIG", b"SET", b"zset-max-ziplist-entries", st.sampled_from([b"2", b"128"])),
        _call(b"SET", b"str", b"text"),
        _call(b"DEL", _written),
        _call(
            st.sampled_from([b"GEOADD", b"GEODIST", b"GEOSEARCH", b"GEORADIUS", b"GEOPOS"]), _key
        ),
    )
