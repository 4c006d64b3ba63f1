"""Geo commands, compared with real servers digit by digit and in result order."""

from __future__ import annotations

import math
import random

import pytest

from redis_emulator import RedisEmulator
from redis_emulator.values import geohash
from redis_emulator.values.geohash import Cell, Point
from tests.support.keyspace import EventWatcher
from tests.support.pair import Pair

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
EDGES = (
    "180 85.05112878 ne -180 -85.05112878 sw 180 -85.05112878 se -180 85.05112878 nw 0 0 o "
    "-1e-9 1e-9 near 179.99999 66 e 90 -66 w"
).split()
SCORES = (
    "1e300 a -5 b inf c -inf d 1.5 e 9223372036854775807 f 18446744073709551615 g "
    "4503599627370496 h 9007199254740992 i -1e300 j -9223372036854775808 k 12345678901234567890 l"
).split()
SHAPES = (
    "BYRADIUS 200 km",
    "BYRADIUS 200 KM",
    "BYRADIUS 20000 km",
    "BYRADIUS 0 m",
    "BYRADIUS inf m",
    "BYRADIUS 1e308 mi",
    "BYBOX 400 400 km",
    "BYBOX 0 400 mi",
    "BYBOX inf 1 m",
    "BYBOX 1 inf m",
    "BYRADIUS -1 m",
    "BYRADIUS x m",
    "BYRADIUS nan m",
    "BYRADIUS 1 yd",
    "BYBOX -1 1 m",
    "BYBOX 1 -1 m",
    "BYBOX x 1 m",
    "BYBOX 1 x m",
    "BYBOX 1 1 x",
    "BYRADIUS 1",
    "BYBOX 1 1",
    "BYRADIUS 1 m BYRADIUS 200 km",
    "BYRADIUS 1 m BYBOX 1 1 m",
    "BYBOX 1 1 m BYRADIUS 1 m",
    "BYPOLYGON 3 10 30 20 30 15 45",
    "ASC ASC ASC",
)
CENTRES = (
    "FROMLONLAT 15 37",
    "FROMMEMBER Palermo",
    "frommember x",
    "FROMLONLAT 181 37",
    "FROMLONLAT x 37",
    "FROMLONLAT 15 37 FROMLONLAT 16 38",
    "FROMLONLAT 15 37 FROMMEMBER Palermo",
    "FROMMEMBER Palermo FROMLONLAT 15 37",
    "ASC ASC",
)
OPTIONS = (
    "",
    "ASC",
    "DESC WITHDIST",
    "WITHCOORD WITHHASH WITHDIST",
    "COUNT 1",
    "COUNT 1 DESC",
    "COUNT 1 ANY",
    "COUNT 9 ANY DESC",
    "COUNT 0",
    "COUNT -1",
    "COUNT x",
    "COUNT",
    "ANY",
    "STOREDIST",
    "STORE to",
    "STOREDIST to",
    "FOO",
)


def _fill(same: Pair) -> None:
    same("GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania 13.583333 37.316667 A")
    same("SET str x")


@pytest.mark.servers(*ALL)
def test_geoadd(same: Pair) -> None:
    watcher = EventWatcher(same)
    _fill(same)
    for line in (
        "NX XX 1 1 a",
        "NX 1 1 Palermo 2 2 b",
        "xx CH 13.4 38.1 Palermo 1 1 c",
        "CH CH 1 1 a 2 2 a",
        "GT 1 1 a",
        "INCR 1 1 a",
        "1 1",
        "1 1 a 2",
        "1 1 a 2 2",
        "181 1 a",
        "-180.1 1 a",
        "1 86 a",
        "1 -85.0511288 a",
        "x 1 a",
        "1 x a",
        "nan 1 a",
        "inf 1 a",
        "1 -inf a",
        "0x10 1 a",
        "1e-400 1 a",
    ):
        for key in ("g", "str", "new"):
            same(f"GEOADD {key} {line}")
    same("ZRANGE g 0 -1 WITHSCORES")
    same("ZRANGE new 0 -1 WITHSCORES")
    real, emulated = watcher.collect()
    assert emulated == real


@pytest.mark.servers(*ALL)
def test_geopos_geohash_and_geodist(same: Pair) -> None:
    _fill(same)
    same("GEOADD", "edges", *EDGES)
    same("ZADD", "scores", *SCORES)
    for key, members in (("g", ["Palermo", "x", "A"]), ("edges", EDGES[2::3])):
        same("GEOPOS", key, *members)
        same("GEOHASH", key, *members)
    same("GEOPOS", "scores", *SCORES[1::2])
    same("GEOHASH", "scores", *SCORES[1::2])
    for key in ("none", "str"):
        for name in ("GEOPOS", "GEOHASH"):
            same(name, key)
            same(name, key, "a", "b")
        same("GEODIST", key, "a", "b")
        same("GEODIST", key, "a", "b", "yd")
    for unit in ("", "m", "km", "KM", "Mi", "ft", "yd", "m m"):
        same(f"GEODIST g Palermo Catania {unit}")
    for one in EDGES[2::3]:
        for other in EDGES[2::3]:
            same("GEODIST", "edges", one, other)
    for one, other in (("a", "b"), ("c", "d"), ("e", "f"), ("g", "h"), ("i", "l")):
        same("GEODIST", "scores", one, other, "km")
    same("GEODIST g Palermo x")
    same("GEOSEARCH scores FROMLONLAT 15 37 BYRADIUS 20000 km WITHHASH WITHCOORD WITHDIST")


@pytest.mark.servers(*ALL)
def test_geosearch(same: Pair) -> None:
    _fill(same)
    for shape in SHAPES:
        for centre in CENTRES:
            same(f"GEOSEARCH g {centre} {shape} WITHDIST")
            same(f"GEOSEARCHSTORE to g {centre} {shape}")
        same(f"GEOSEARCH none FROMMEMBER x {shape}")
        same(f"GEOSEARCH str FROMMEMBER x {shape}")
    for option in OPTIONS:
        same(f"geosearch g FROMLONLAT 15 37 BYRADIUS 200 km {option}")
        same(f"GEOSEARCH g {option} BYBOX 400 400 km FROMMEMBER Palermo")
        same(f"GEOSEARCH g BYBOX 400 400 km ASC {option}")
        same(f"geosearch g FROMLONLAT 15 37 ASC ASC {option}")
        same(f"GEOSEARCH none FROMLONLAT 15 37 BYRADIUS 200 km {option}")


@pytest.mark.servers(*ALL)
def test_geosearchstore(same: Pair) -> None:
    watcher = EventWatcher(same)
    _fill(same)
    for option in OPTIONS:
        for source in ("g", "none"):
            same("SET to x EX 100")
            same(f"GEOSEARCHSTORE to {source} FROMLONLAT 15 37 BYRADIUS 200 km {option}")
            same("TTL to")
            same("TYPE to")
        same(f"GEOSEARCHSTORE to g FROMLONLAT 15 37 BYBOX 400 400 mi {option}")
        same("ZRANGE to 0 -1 WITHSCORES")
    same("GEOSEARCHSTORE to g FROMLONLAT 0 0 BYRADIUS 1 m")
    same("GEOSEARCHSTORE g g FROMLONLAT 15 37 BYRADIUS 100 km")
    same("ZRANGE g 0 -1 WITHSCORES")
    real, emulated = watcher.collect()
    assert emulated == real


@pytest.mark.servers(*ALL)
def test_georadius_and_georadiusbymember(same: Pair) -> None:
    watcher = EventWatcher(same)
    _fill(same)
    for option in (*OPTIONS, "STORE to STOREDIST too", "WITHDIST STORE to", "FROMMEMBER Palermo"):
        for suffix in ("", "_RO"):
            same(f"GEORADIUS{suffix} g 15 37 200 km {option}")
            same(f"GEORADIUSBYMEMBER{suffix} g Palermo 200 km {option}")
        for name in ("to", "too"):
            same(f"ZRANGE {name} 0 -1 WITHSCORES")
        same(f"GEORADIUS none 15 37 200 km {option}")
        same(f"GEORADIUSBYMEMBER none Palermo x y {option}")
    for rest in ("15 37 x km", "15 37 -1 km", "15 37 1 yd", "x 37 1 km", "15 99 1 km", "15 37 1"):
        for key in ("g", "none", "str"):
            same(f"GEORADIUS {key} {rest}")
    for rest in ("Palermo x km", "Palermo -1 km", "Palermo 1 yd", "x 1 km", "Palermo 1"):
        for key in ("g", "none", "str"):
            same(f"GEORADIUSBYMEMBER {key} {rest}")
    real, emulated = watcher.collect()
    assert emulated == real


@pytest.mark.servers("valkey-9.1")
def test_geosearch_bypolygon(same: Pair) -> None:
    _fill(same)
    triangle = "3 10 30 20 30 15 45"
    for line in (
        f"BYPOLYGON {triangle} WITHDIST WITHCOORD ASC",
        f"BYPOLYGON {triangle} COUNT 1 ANY",
        f"BYPOLYGON {triangle} BYPOLYGON 4 14 37 16 37 16 38 14 38",
        f"BYPOLYGON {triangle} FROMMEMBER Palermo",
        f"BYPOLYGON {triangle} BYRADIUS 1 m",
        f"FROMLONLAT 1 1 BYPOLYGON {triangle}",
        f"BYBOX 1 1 m BYPOLYGON {triangle}",
        "BYPOLYGON 4 10 30 20 45 20 30 10 45",
        "BYPOLYGON 2 10 30 20 30 15 45",
        "BYPOLYGON 4 10 30 20 30 15 45",
        "BYPOLYGON -1 10 30 20 30 15 45",
        "BYPOLYGON x 10 30 20 30 15 45",
        "BYPOLYGON 2147483648 10 30 20 30 15",
        "BYPOLYGON -2147483649 10 30 20 30 15",
        "BYPOLYGON 3 10 30 20 30 15 x",
        "BYPOLYGON 3 10 30 20 30 15 95",
        "ASC ASC ASC ASC BYPOLYGON 3",
    ):
        same(f"GEOSEARCH g {line}")
        same(f"GEOSEARCH none {line}")
        same(f"GEOSEARCHSTORE to g {line} STOREDIST")
        same("ZRANGE to 0 -1 WITHSCORES")


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("seed", range(3))
def test_searches_among_random_positions(same: Pair, seed: int) -> None:
    """Positions around a random centre and all over the globe, some of them equal."""
    chance = random.Random(seed)
    centre = _random_position(chance)
    crossings = [_random_position(chance) for _ in range(4)]
    places: list[str] = []
    for number in range(150):
        spread = 10 ** chance.uniform(-4, 1)
        place = chance.choice(
            [
                _random_position(chance),
                chance.choice(crossings),
                _random_position_near(chance, centre, spread),
            ]
        )
        places += (repr(place[0]), repr(place[1]), f"m{number}")
    same("GEOADD", "g", *places)
    same("ZRANGE g 0 -1 WITHSCORES")
    for number in range(0, 150, 3):
        same("GEODIST", "g", f"m{number}", f"m{number + 1}", chance.choice(["m", "km", "ft", "mi"]))
    for _ in range(60):
        start = chance.choice([centre, _random_position(chance), None])
        member = f"m{chance.randrange(150)}"
        words = ["FROMMEMBER", member] if start is None else ["FROMLONLAT", *map(repr, start)]
        size = [repr(round(10 ** chance.uniform(-1, 7.8), 3)) for _ in range(2)]
        words += chance.choice([["BYRADIUS", size[0]], ["BYBOX", *size]])
        options = chance.choice(["", "ASC", "DESC", "COUNT 5", "COUNT 5 ANY", "COUNT 3 DESC"])
        same("GEOSEARCH", "g", *words, "m", *options.split(), "WITHDIST", "WITHCOORD")


@pytest.mark.servers("valkey-9.1")
@pytest.mark.parametrize("seed", range(3))
def test_random_polygons(same: Pair, seed: int) -> None:
    chance = random.Random(seed)
    centre = (chance.uniform(-170, 170), chance.uniform(-70, 70))
    places = [
        _random_position_near(chance, centre, 10 ** chance.uniform(-4, 1)) for _ in range(150)
    ]
    words = [[repr(x), repr(y), f"m{number}"] for number, (x, y) in enumerate(places)]
    same("GEOADD", "g", *(word for place in words for word in place))
    for _ in range(60):
        spread = 10 ** chance.uniform(-3, 1)
        corners = [
            _random_position_near(chance, centre, spread) for _ in range(chance.randint(3, 8))
        ]
        line = [repr(degrees) for corner in corners for degrees in corner]
        same("GEOSEARCH", "g", "BYPOLYGON", len(corners), *line, "WITHDIST")


def _random_position(chance: random.Random) -> tuple[float, float]:
    longitude = chance.choice([chance.uniform(-180, 180), chance.uniform(175, 180), -180.0, 0.0])
    latitude = chance.choice([chance.uniform(-85, 85), chance.uniform(80, 85), -85.05112878, 66.0])
    return longitude, latitude


def _random_position_near(
    chance: random.Random, centre: tuple[float, float], spread: float
) -> tuple[float, float]:
    longitude = min(max(chance.gauss(centre[0], spread), -180.0), 180.0)
    return longitude, min(max(chance.gauss(centre[1], spread), -85.05), 85.05)


def test_geohash_round_trip_stays_in_the_cell() -> None:
    chance = random.Random(1)
    for _ in range(500):
        point = Point(chance.uniform(-180, 180), chance.uniform(-85, 85))
        score = float(geohash.encode(point).bits)
        found = geohash.decode(score)
        assert math.isclose(found.longitude, point.longitude, abs_tol=360 / 2**26)
        assert math.isclose(found.latitude, point.latitude, abs_tol=171 / 2**26)
        assert geohash.encode(found).bits == score


def test_neighbour_cells_wrap_around_at_180_degrees() -> None:
    for steps in (1, 2, 7, 26):
        cell = geohash.encode(Point(179.9999999, 10.0), steps)
        assert cell.neighbour(1, 0).neighbour(-1, 0) == cell
        assert cell.neighbour(1, 0).bounds().west == -180.0
    here = Cell(0, 1)
    assert here.neighbour(1, 1).neighbour(1, 1) == here


def test_polygon_around_the_pole() -> None:
    client = RedisEmulator(version="9.1", flavour="valkey").client()
    client.geoadd("g", [0, 84, "in", 0, -80, "out"])
    polygon = [-170, 80, -60, 85, 60, 85, 170, 80]
    assert client.execute_command("GEOSEARCH", "g", "BYPOLYGON", 4, *polygon) == [b"in"]
