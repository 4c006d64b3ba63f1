"""Places: sorted sets whose scores are geohashes."""

from __future__ import annotations

import math
from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import parse_integer, parse_range, syntax_error
from redis_emulator.commands.helpers.quicksort import sort_range
from redis_emulator.commands.registry import command
from redis_emulator.commands.sorted_set import (
    lookup_sorted_set,
    parse_score,
    sorted_set_of,
    zadd,
)
from redis_emulator.keyspace.events import GENERIC, ZSET
from redis_emulator.resp.double import Decimals17
from redis_emulator.resp.types import NULL_ARRAY, RedisError, Reply, quote
from redis_emulator.values import geohash
from redis_emulator.values.geohash import Box, Circle, Found, Point, Polygon, Shape
from redis_emulator.values.sorted_set import SortedSet

_UNITS: Final = {b"m": 1.0, b"km": 1000.0, b"ft": 0.3048, b"mi": 1609.34}
_MEMBER_MISSING: Final = "ERR could not decode requested zset member"
_INT: Final = 1 << 31
_WITH: Final = (b"WITHDIST", b"WITHHASH", b"WITHCOORD")


@command("geoadd")
def geoadd(ctx: Session, argv: list[bytes]) -> Reply:
    place = 2
    words = set()
    while place < len(argv) and (word := argv[place].upper()) in (b"NX", b"XX", b"CH"):
        words.add(word)
        place += 1
    if (len(argv) - place) % 3 or {b"NX", b"XX"} <= words:
        raise syntax_error()
    call = [b"zadd", *argv[1:place]]
    for at in range(place, len(argv), 3):
        point = _point(ctx, argv[at], argv[at + 1])
        call += (b"%d" % geohash.encode(point).bits, argv[at + 2])
    return zadd(ctx, call)


def _point(ctx: Session, longitude: bytes, latitude: bytes) -> Point:
    point = Point(parse_score(ctx, longitude), parse_score(ctx, latitude))
    if (
        abs(point.longitude) > geohash.LONGITUDE_LIMIT
        or abs(point.latitude) > geohash.LATITUDE_LIMIT
    ):
        raise RedisError(
            f"ERR invalid longitude,latitude pair {point.longitude:f},{point.latitude:f}"
        )
    return point


@command("geopos")
def geopos(ctx: Session, argv: list[bytes]) -> Reply:
    scores = _scores(ctx, argv[1])
    return [
        _coordinates(ctx, geohash.decode(scores[member])) if member in scores else NULL_ARRAY
        for member in argv[2:]
    ]


def _scores(ctx: Session, key: bytes) -> dict[bytes, float]:
    value = lookup_sorted_set(ctx, key)
    return {} if value is None else value.scores


def _coordinates(ctx: Session, point: Point) -> Reply:
    version = ctx.server.version
    if version.is_redis(8):
        return list(point)
    return [Decimals17(degrees) for degrees in point]


@command("geohash")
def geohash_(ctx: Session, argv: list[bytes]) -> Reply:
    scores = _scores(ctx, argv[1])
    return [geohash.text(scores[member]) if member in scores else None for member in argv[2:]]


@command("geodist")
def geodist(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 5:
        raise syntax_error()
    unit = _unit(ctx, argv[4]) if len(argv) == 5 else 1.0
    scores = _scores(ctx, argv[1])
    if argv[2] not in scores or argv[3] not in scores:
        return None
    metres = geohash.distance(geohash.decode(scores[argv[2]]), geohash.decode(scores[argv[3]]))
    return _distance(metres / unit)


def _unit(ctx: Session, word: bytes) -> float:
    old = ctx.server.version.before(7)
    metres = _UNITS.get(word if old else word.lower())
    if metres is None:
        units = "m, km, ft, mi" if old else "M, KM, FT, MI"
        raise RedisError(f"ERR unsupported unit provided. please use {units}")
    return metres


def _distance(length: float) -> bytes:
    """A distance with four decimals, halves rounded up."""
    scaled = length * 10_000
    whole = math.floor(scaled)
    return b"%d.%04d" % divmod(whole + (scaled - whole >= 0.5), 10_000)


class _Request:
    """What GEOSEARCH, GEORADIUS and their relatives are told.

    Attributes:
        source: The places to search, None without a key.
        unit: Metres in the unit asked for.
        shape: What to search; None when the key is missing and it does not matter.
        order: ``b"ASC"``, ``b"DESC"``, or empty.
        count: How many at most, 0 for all.
        any: The first ``count`` met will do.
        wanted: Which of WITHDIST, WITHHASH and WITHCOORD were given.
        target: Where to store the result, if anywhere.
        by_distance: Store distances in place of geohashes.
    """

    def __init__(self, ctx: Session, source: SortedSet | None) -> None:
        self._ctx = ctx
        self.source = source
        self.unit = 1.0
        self.shape: Shape | None = None
        self.order = b""
        self.count = 0
        self.any = False
        self.wanted: set[bytes] = set()
        self.target: bytes | None = None
        self.by_distance = False
        self._centre: Point | None = None
        self._from = b""
        self._by = b""
        self._size: tuple[float, ...] = ()
        self._vertices: list[Point] = []
        version = ctx.server.version
        self._polygons = version.is_valkey(9)

    def radius(self, argv: list[bytes], *, by_member: bool, storing: bool) -> None:
        """Read GEORADIUS or GEORADIUSBYMEMBER."""
        self._by = b"BYRADIUS"
        place = 5 if by_member else 6
        if not by_member:
            self._centre = _point(self._ctx, argv[2], argv[3])
            self._radius(argv[4], argv[5])
        elif self.source is not None:
            self._centre = self._member(argv[2])
            self._radius(argv[3], argv[4])
        while place < len(argv):
            word = argv[place].upper()
            if storing and word in (b"STORE", b"STOREDIST") and place + 1 < len(argv):
                self.target = argv[place + 1]
                self.by_distance = word == b"STOREDIST"
                place += 2
            else:
                place = self._common(argv, place)
        self._check("STORE option in GEORADIUS")
        self._finish()

    def search(self, argv: list[bytes], *, storing: bool) -> None:
        """Read GEOSEARCH or GEOSEARCHSTORE."""
        place = 2
        if storing:
            self.target = argv[1]
            place = 3
        while place < len(argv):
            word = argv[place].upper()
            left = len(argv) - place - 1
            if word == b"FROMMEMBER" and left >= 1 and self._from in (b"", word):
                self._from = word
                if self.source is not None:
                    self._centre = self._member(argv[place + 1])
                place += 2
            elif word == b"FROMLONLAT" and left >= 2 and self._from in (b"", word):
                self._from = word
                self._centre = _point(self._ctx, argv[place + 1], argv[place + 2])
                place += 3
            elif word == b"BYRADIUS" and left >= 2 and self._by in (b"", word):
                self._by = word
                self._radius(argv[place + 1], argv[place + 2])
                place += 3
            elif word == b"BYBOX" and left >= 3 and self._by in (b"", word):
                self._by = word
                self._box(argv[place + 1], argv[place + 2], argv[place + 3])
                place += 4
            elif (
                word == b"BYPOLYGON"
                and left >= 2
                and self._polygons
                and self._from in (b"", word)
                and self._by in (b"", word)
            ):
                self._from = self._by = word
                place = self._polygon(argv, place + 1)
            elif word == b"STOREDIST" and storing:
                self.by_distance = True
                place += 1
            else:
                place = self._common(argv, place)
        self._check("GEOSEARCHSTORE")
        name = quote(argv[0])
        if not self._from:
            raise RedisError(
                f"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}"
            )
        if not self._by:
            shapes = "BYRADIUS, BYBOX and BYPOLYGON" if self._polygons else "BYRADIUS and BYBOX"
            raise RedisError(f"ERR exactly one of {shapes} can be specified for {name}")
        self._finish()

    def _common(self, argv: list[bytes], place: int) -> int:
        word = argv[place].upper()
        if word in _WITH:
            self.wanted.add(word)
        elif word == b"ANY":
            self.any = True
        elif word in (b"ASC", b"DESC"):
            self.order = word
        elif word == b"COUNT" and place + 1 < len(argv):
            place += 1
            self.count = parse_integer(argv[place])
            if self.count <= 0:
                raise RedisError("ERR COUNT must be > 0")
        else:
            raise syntax_error()
        return place + 1

    def _member(self, member: bytes) -> Point:
        assert self.source is not None
        score = self.source.scores.get(member)
        if score is not None:
            return geohash.decode(score)
        if self._ctx.server.version.is_valkey():
            raise RedisError(f"ERR member {quote(member)} does not exist")
        raise RedisError(_MEMBER_MISSING)

    def _radius(self, radius: bytes, unit: bytes) -> None:
        length = parse_score(self._ctx, radius, "ERR need numeric radius")
        if length < 0:
            raise RedisError("ERR radius cannot be negative")
        self.unit = _unit(self._ctx, unit)
        self._size = (length,)

    def _box(self, width: bytes, height: bytes, unit: bytes) -> None:
        across = parse_score(self._ctx, width, "ERR need numeric width")
        up = parse_score(self._ctx, height, "ERR need numeric height")
        if across < 0 or up < 0:
            raise RedisError("ERR height or width cannot be negative")
        self.unit = _unit(self._ctx, unit)
        self._size = (across, up)

    def _polygon(self, argv: list[bytes], place: int) -> int:
        count = parse_range(
            argv[place], -(1 << 31), (1 << 31) - 1, "ERR invalid number of vertices"
        )
        place += 1
        if count < 3 or place + 2 * count > len(argv):
            raise RedisError("ERR GEOSEARCH BYPOLYGON must have at least 3 vertices")
        end = place + 2 * count
        self._vertices = [_point(self._ctx, argv[at], argv[at + 1]) for at in range(place, end, 2)]
        return end

    def _check(self, storing: str) -> None:
        if self.target is not None and self.wanted:
            coord = "WITHCOORD"
            if self._ctx.server.version.before(7):
                storing, coord = "STORE option in GEORADIUS", "WITHCOORDS"
            raise RedisError(
                f"ERR {storing} is not compatible with WITHDIST, WITHHASH and {coord} options"
            )

    def _finish(self) -> None:
        if self.any and not self.count:
            raise RedisError("ERR the ANY argument requires COUNT argument")
        if self.count and not self.order and not self.any:
            self.order = b"ASC"
        if self._by == b"BYPOLYGON":
            self.shape = Polygon.of(self._vertices)
        elif self._centre is None:
            self.shape = None
        elif self._by == b"BYBOX":
            width, height = self._size
            self.shape = Box(self._centre, width * self.unit, height * self.unit)
        else:
            self.shape = Circle(self._centre, self._size[0] * self.unit)

    def results(self) -> list[Found]:
        """What is found, as ordered and cut as asked for."""
        if self.source is None or self.shape is None:
            return []
        limit = self.count if self.any else 0
        old = self._ctx.server.version.before(7)
        found = geohash.search(self.source, self.shape, limit, old=old)
        if self.order:
            self._sort(found)
        return found[: self.count] if self.count else found

    def _sort(self, found: list[Found]) -> None:
        """Sort as far as places are asked for; those at one distance come as the server sorts."""
        farthest = self.order == b"DESC"
        if not 0 < self.count < len(found):
            found.sort(key=_metres, reverse=farthest)
            return

        def compare(one: Found, other: Found) -> int:
            order = (one.distance > other.distance) - (one.distance < other.distance)
            return -order if farthest else order

        sort_range(found, compare, 0, self.count - 1)


def _metres(place: Found) -> float:
    return place.distance


@command("geosearch", "geosearchstore")
def geosearch(ctx: Session, argv: list[bytes]) -> Reply:
    storing = argv[0].upper() == b"GEOSEARCHSTORE"
    request = _begin(ctx, argv[2 if storing else 1])
    if request is None:
        return []
    request.search(argv, storing=storing)
    return _answer(ctx, request, b"geosearchstore")


@command("georadius", "georadius_ro")
def georadius(ctx: Session, argv: list[bytes]) -> Reply:
    return _radius(ctx, argv, by_member=False)


@command("georadiusbymember", "georadiusbymember_ro")
def georadiusbymember(ctx: Session, argv: list[bytes]) -> Reply:
    return _radius(ctx, argv, by_member=True)


def _radius(ctx: Session, argv: list[bytes], *, by_member: bool) -> Reply:
    request = _begin(ctx, argv[1])
    if request is None:
        return []
    storing = not argv[0].upper().endswith(b"_RO")
    request.radius(argv, by_member=by_member, storing=storing)
    return _answer(ctx, request, b"georadiusstore")


def _begin(ctx: Session, key: bytes) -> _Request | None:
    """A request yet to be read; None if a missing key is answered without reading it."""
    source = lookup_sorted_set(ctx, key)
    if source is None and ctx.server.version.before(7):
        return None
    return _Request(ctx, source)


def _answer(ctx: Session, request: _Request, event: bytes) -> Reply:
    found = request.results()
    if request.target is not None:
        return _store(ctx, request, found, event)
    if not request.wanted:
        return [place.member for place in found]
    return [_described(ctx, request, place) for place in found]


def _described(ctx: Session, request: _Request, place: Found) -> list[Reply]:
    described: list[Reply] = [place.member]
    if b"WITHDIST" in request.wanted:
        described.append(_distance(place.distance / request.unit))
    if b"WITHHASH" in request.wanted:
        described.append(int(place.score))
    if b"WITHCOORD" in request.wanted:
        described.append(_coordinates(ctx, place.point))
    return described


def _store(ctx: Session, request: _Request, found: list[Found], event: bytes) -> int:
    db, target = ctx.db, request.target
    assert target is not None
    if not found:
        if db.remove(target):
            db.changed(target, b"del", GENERIC)
        return 0
    unit = request.unit
    pairs = [
        (place.member, place.distance / unit if request.by_distance else place.score)
        for place in found
    ]
    db.set(target, sorted_set_of(ctx, pairs))
    db.changed(target, event, ZSET)
    ctx.db.context.dirty += len(found) - 1
    return len(found)
