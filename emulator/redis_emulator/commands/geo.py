"""The GEO commands, which work on sorted sets whose scores are geohashes."""

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
from redis_emulator.values.geohash import Box, Circle, Point, Polygon, SearchResult, Shape
from redis_emulator.values.sorted_set import SortedSet

_UNITS: Final = {b"m": 1.0, b"km": 1000.0, b"ft": 0.3048, b"mi": 1609.34}
_MEMBER_MISSING: Final = "ERR could not decode requested zset member"
_INT: Final = 1 << 31
_WITH_OPTIONS: Final = (b"WITHDIST", b"WITHHASH", b"WITHCOORD")


@command("geoadd")
def geoadd(ctx: Session, argv: list[bytes]) -> Reply:
    index = 2
    words = set()
    while index < len(argv) and (word := argv[index].upper()) in (b"NX", b"XX", b"CH"):
        words.add(word)
        index += 1
    if (len(argv) - index) % 3 or {b"NX", b"XX"} <= words:
        raise syntax_error()
    call = [b"zadd", *argv[1:index]]
    for at in range(index, len(argv), 3):
        point = _parse_point(ctx, argv[at], argv[at + 1])
        call += (b"%d" % geohash.encode(point).bits, argv[at + 2])
    return zadd(ctx, call)


def _parse_point(ctx: Session, longitude: bytes, latitude: bytes) -> Point:
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
    unit = _parse_unit(ctx, argv[4]) if len(argv) == 5 else 1.0
    scores = _scores(ctx, argv[1])
    if argv[2] not in scores or argv[3] not in scores:
        return None
    metres = geohash.distance(geohash.decode(scores[argv[2]]), geohash.decode(scores[argv[3]]))
    return _format_distance(metres / unit)


def _parse_unit(ctx: Session, word: bytes) -> float:
    old = ctx.server.version.before(7)
    metres = _UNITS.get(word if old else word.lower())
    if metres is None:
        units = "m, km, ft, mi" if old else "M, KM, FT, MI"
        raise RedisError(f"ERR unsupported unit provided. please use {units}")
    return metres


def _format_distance(length: float) -> bytes:
    """Format a distance with four decimals, rounding halves up."""
    scaled = length * 10_000
    whole = math.floor(scaled)
    return b"%d.%04d" % divmod(whole + (scaled - whole >= 0.5), 10_000)


class _Query:
    """A parsed GEOSEARCH, GEORADIUS or related command.

    Attributes:
        source: The sorted set to search, None if the key does not exist.
        unit: The length of the distance unit in metres.
        shape: The area to search, None if the key does not exist.
        order: ``b"ASC"``, ``b"DESC"``, or empty.
        count: The maximum number of results, 0 for all.
        any: Whether ANY was given: stop at the first ``count`` matches.
        with_options: Which of WITHDIST, WITHHASH and WITHCOORD were given.
        target: The key to store the result in, None to return it.
        by_distance: Whether to store distances instead of geohashes.
    """

    def __init__(self, ctx: Session, source: SortedSet | None) -> None:
        self._ctx = ctx
        self.source = source
        self.unit = 1.0
        self.shape: Shape | None = None
        self.order = b""
        self.count = 0
        self.any = False
        self.with_options: set[bytes] = set()
        self.target: bytes | None = None
        self.by_distance = False
        self._centre: Point | None = None
        self._from = b""
        self._by = b""
        self._size: tuple[float, ...] = ()
        self._vertices: list[Point] = []
        version = ctx.server.version
        self._polygons = version.is_valkey(9)

    def parse_georadius(self, argv: list[bytes], *, by_member: bool, storing: bool) -> None:
        """Parse GEORADIUS or GEORADIUSBYMEMBER."""
        self._by = b"BYRADIUS"
        index = 5 if by_member else 6
        if not by_member:
            self._centre = _parse_point(self._ctx, argv[2], argv[3])
            self._parse_radius(argv[4], argv[5])
        elif self.source is not None:
            self._centre = self._position_of_member(argv[2])
            self._parse_radius(argv[3], argv[4])
        while index < len(argv):
            word = argv[index].upper()
            if storing and word in (b"STORE", b"STOREDIST") and index + 1 < len(argv):
                self.target = argv[index + 1]
                self.by_distance = word == b"STOREDIST"
                index += 2
            else:
                index = self._parse_common_option(argv, index)
        self._check_store_options("STORE option in GEORADIUS")
        self._build_shape()

    def parse_geosearch(self, argv: list[bytes], *, storing: bool) -> None:
        """Parse GEOSEARCH or GEOSEARCHSTORE."""
        index = 2
        if storing:
            self.target = argv[1]
            index = 3
        while index < len(argv):
            word = argv[index].upper()
            left = len(argv) - index - 1
            if word == b"FROMMEMBER" and left >= 1 and self._from in (b"", word):
                self._from = word
                if self.source is not None:
                    self._centre = self._position_of_member(argv[index + 1])
                index += 2
            elif word == b"FROMLONLAT" and left >= 2 and self._from in (b"", word):
                self._from = word
                self._centre = _parse_point(self._ctx, argv[index + 1], argv[index + 2])
                index += 3
            elif word == b"BYRADIUS" and left >= 2 and self._by in (b"", word):
                self._by = word
                self._parse_radius(argv[index + 1], argv[index + 2])
                index += 3
            elif word == b"BYBOX" and left >= 3 and self._by in (b"", word):
                self._by = word
                self._parse_box(argv[index + 1], argv[index + 2], argv[index + 3])
                index += 4
            elif (
                word == b"BYPOLYGON"
                and left >= 2
                and self._polygons
                and self._from in (b"", word)
                and self._by in (b"", word)
            ):
                self._from = self._by = word
                index = self._parse_polygon(argv, index + 1)
            elif word == b"STOREDIST" and storing:
                self.by_distance = True
                index += 1
            else:
                index = self._parse_common_option(argv, index)
        self._check_store_options("GEOSEARCHSTORE")
        name = quote(argv[0])
        if not self._from:
            raise RedisError(
                f"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}"
            )
        if not self._by:
            shapes = "BYRADIUS, BYBOX and BYPOLYGON" if self._polygons else "BYRADIUS and BYBOX"
            raise RedisError(f"ERR exactly one of {shapes} can be specified for {name}")
        self._build_shape()

    def _parse_common_option(self, argv: list[bytes], index: int) -> int:
        word = argv[index].upper()
        if word in _WITH_OPTIONS:
            self.with_options.add(word)
        elif word == b"ANY":
            self.any = True
        elif word in (b"ASC", b"DESC"):
            self.order = word
        elif word == b"COUNT" and index + 1 < len(argv):
            index += 1
            self.count = parse_integer(argv[index])
            if self.count <= 0:
                raise RedisError("ERR COUNT must be > 0")
        else:
            raise syntax_error()
        return index + 1

    def _position_of_member(self, member: bytes) -> Point:
        assert self.source is not None
        score = self.source.scores.get(member)
        if score is not None:
            return geohash.decode(score)
        if self._ctx.server.version.is_valkey():
            raise RedisError(f"ERR member {quote(member)} does not exist")
        raise RedisError(_MEMBER_MISSING)

    def _parse_radius(self, radius: bytes, unit: bytes) -> None:
        length = parse_score(self._ctx, radius, "ERR need numeric radius")
        if length < 0:
            raise RedisError("ERR radius cannot be negative")
        self.unit = _parse_unit(self._ctx, unit)
        self._size = (length,)

    def _parse_box(self, width: bytes, height: bytes, unit: bytes) -> None:
        across = parse_score(self._ctx, width, "ERR need numeric width")
        up = parse_score(self._ctx, height, "ERR need numeric height")
        if across < 0 or up < 0:
            raise RedisError("ERR height or width cannot be negative")
        self.unit = _parse_unit(self._ctx, unit)
        self._size = (across, up)

    def _parse_polygon(self, argv: list[bytes], index: int) -> int:
        count = parse_range(
            argv[index], -(1 << 31), (1 << 31) - 1, "ERR invalid number of vertices"
        )
        index += 1
        if count < 3 or index + 2 * count > len(argv):
            raise RedisError("ERR GEOSEARCH BYPOLYGON must have at least 3 vertices")
        end = index + 2 * count
        self._vertices = [
            _parse_point(self._ctx, argv[at], argv[at + 1]) for at in range(index, end, 2)
        ]
        return end

    def _check_store_options(self, storing: str) -> None:
        if self.target is not None and self.with_options:
            coord = "WITHCOORD"
            if self._ctx.server.version.before(7):
                storing, coord = "STORE option in GEORADIUS", "WITHCOORDS"
            raise RedisError(
                f"ERR {storing} is not compatible with WITHDIST, WITHHASH and {coord} options"
            )

    def _build_shape(self) -> None:
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

    def results(self) -> list[SearchResult]:
        """Run the search; return the matches in the requested order, at most ``count``."""
        if self.source is None or self.shape is None:
            return []
        limit = self.count if self.any else 0
        old = self._ctx.server.version.before(7)
        found = geohash.search(self.source, self.shape, limit, old=old)
        if self.order:
            self._sort(found)
        return found[: self.count] if self.count else found

    def _sort(self, found: list[SearchResult]) -> None:
        """Sort by distance.

        With COUNT, Redis sorts only the results that it returns (``pqsort``). `sort_range` gives
        matches at the same distance the same order as Redis.
        """
        farthest = self.order == b"DESC"
        if not 0 < self.count < len(found):
            found.sort(key=_distance_of, reverse=farthest)
            return

        def compare(one: SearchResult, other: SearchResult) -> int:
            order = (one.distance > other.distance) - (one.distance < other.distance)
            return -order if farthest else order

        sort_range(found, compare, 0, self.count - 1)


def _distance_of(match: SearchResult) -> float:
    return match.distance


@command("geosearch", "geosearchstore")
def geosearch(ctx: Session, argv: list[bytes]) -> Reply:
    storing = argv[0].upper() == b"GEOSEARCHSTORE"
    query = _new_query(ctx, argv[2 if storing else 1])
    if query is None:
        return []
    query.parse_geosearch(argv, storing=storing)
    return _reply(ctx, query, b"geosearchstore")


@command("georadius", "georadius_ro")
def georadius(ctx: Session, argv: list[bytes]) -> Reply:
    return _georadius(ctx, argv, by_member=False)


@command("georadiusbymember", "georadiusbymember_ro")
def georadiusbymember(ctx: Session, argv: list[bytes]) -> Reply:
    return _georadius(ctx, argv, by_member=True)


def _georadius(ctx: Session, argv: list[bytes], *, by_member: bool) -> Reply:
    query = _new_query(ctx, argv[1])
    if query is None:
        return []
    storing = not argv[0].upper().endswith(b"_RO")
    query.parse_georadius(argv, by_member=by_member, storing=storing)
    return _reply(ctx, query, b"georadiusstore")


def _new_query(ctx: Session, key: bytes) -> _Query | None:
    """A query without options; None before Redis 7 if the key is missing.

    Redis before 7 returns an empty result for a missing key without parsing the options.
    """
    source = lookup_sorted_set(ctx, key)
    if source is None and ctx.server.version.before(7):
        return None
    return _Query(ctx, source)


def _reply(ctx: Session, query: _Query, event: bytes) -> Reply:
    found = query.results()
    if query.target is not None:
        return _store(ctx, query, found, event)
    if not query.with_options:
        return [match.member for match in found]
    return [_describe_match(ctx, query, match) for match in found]


def _describe_match(ctx: Session, query: _Query, match: SearchResult) -> list[Reply]:
    described: list[Reply] = [match.member]
    if b"WITHDIST" in query.with_options:
        described.append(_format_distance(match.distance / query.unit))
    if b"WITHHASH" in query.with_options:
        described.append(int(match.score))
    if b"WITHCOORD" in query.with_options:
        described.append(_coordinates(ctx, match.point))
    return described


def _store(ctx: Session, query: _Query, found: list[SearchResult], event: bytes) -> int:
    db, target = ctx.db, query.target
    assert target is not None
    if not found:
        if db.remove(target):
            db.changed(target, b"del", GENERIC)
        return 0
    unit = query.unit
    pairs = [
        (match.member, match.distance / unit if query.by_distance else match.score)
        for match in found
    ]
    db.set(target, sorted_set_of(ctx, pairs))
    db.changed(target, event, ZSET)
    ctx.db.context.dirty += len(found) - 1
    return len(found)
