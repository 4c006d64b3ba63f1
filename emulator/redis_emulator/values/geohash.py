"""Geohashes: positions as sorted set scores, and the search for members near a position.

A hash interleaves the bits of latitude and longitude, each counted from the lower end of its range;
with 26 steps it fills the 52 bits that a double keeps exactly. A shorter hash is a cell of the
globe; all positions in it have scores of one range. A search takes the cell of its centre, with a
size that fits the shape, and its eight neighbours, and checks every member with a score in one of
the nine ranges. Latitudes beyond the limit of the Mercator projection are not supported.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple, TypeAlias

from redis_emulator.values.sorted_set import ScoreBound, SortedSet

STEPS: Final = 26
LONGITUDE_LIMIT: Final = 180.0
LATITUDE_LIMIT: Final = 85.05112878
EARTH_RADIUS: Final = 6372797.560856
_MERCATOR: Final = 20037726.37
_RADIANS_PER_DEGREE: Final = math.pi / 180.0
_UINT64: Final = (1 << 64) - 1
_LONGITUDES: Final = 0xAAAAAAAAAAAAAAAA
_LATITUDES: Final = 0x5555555555555555
_ALPHABET: Final = b"0123456789bcdefghjkmnpqrstuvwxyz"
_TEXT_LENGTH: Final = 11


class Point(NamedTuple):
    """A position in degrees."""

    longitude: float
    latitude: float


class Bounds(NamedTuple):
    """A rectangle in degrees."""

    west: float
    south: float
    east: float
    north: float


class Cell(NamedTuple):
    """All positions whose hash starts with ``bits`` (two bits per step)."""

    bits: int
    steps: int

    def bounds(self) -> Bounds:
        """The rectangle of the cell."""
        longitude, latitude = _deinterleave(self.bits >> 1), _deinterleave(self.bits)
        scale = float(1 << self.steps)
        width, height = 2 * LONGITUDE_LIMIT, 2 * LATITUDE_LIMIT
        return Bounds(
            -LONGITUDE_LIMIT + (longitude / scale) * width,
            -LATITUDE_LIMIT + (latitude / scale) * height,
            -LONGITUDE_LIMIT + ((longitude + 1) / scale) * width,
            -LATITUDE_LIMIT + ((latitude + 1) / scale) * height,
        )

    def neighbour(self, east: int, north: int) -> Cell:
        """The neighbour at an offset of -1, 0 or 1 cells to the east and north; wraps around."""
        spare = 64 - 2 * self.steps
        longitude, latitude = self.bits & _LONGITUDES, self.bits & _LATITUDES
        longitude = _add_steps(longitude, east, _LATITUDES >> spare, _LONGITUDES >> spare)
        latitude = _add_steps(latitude, north, _LONGITUDES >> spare, _LATITUDES >> spare)
        return Cell(longitude | latitude, self.steps)

    def scores(self) -> tuple[ScoreBound, ScoreBound]:
        """The range of scores of the positions in the cell."""
        shift = 2 * (STEPS - self.steps)
        low, high = self.bits << shift & _UINT64, (self.bits + 1) << shift & _UINT64
        return ScoreBound(float(low), exclusive=False), ScoreBound(float(high), exclusive=True)


def _add_steps(bits: int, by: int, others: int, mask: int) -> int:
    """Add ``by`` to the number in every second bit; ``others`` are the bits in between."""
    if by > 0:
        bits += others + 1
    elif by < 0:
        bits = (bits | others) - (others + 1)
    return bits & mask if by else bits


def _interleave(number: int) -> int:
    """32 bits with a zero between each and the next."""
    number &= 0xFFFFFFFF
    number = (number | number << 16) & 0x0000FFFF0000FFFF
    number = (number | number << 8) & 0x00FF00FF00FF00FF
    number = (number | number << 4) & 0x0F0F0F0F0F0F0F0F
    number = (number | number << 2) & 0x3333333333333333
    return (number | number << 1) & 0x5555555555555555


def _deinterleave(number: int) -> int:
    """Every second bit of 64, the inverse of `_interleave`."""
    number &= 0x5555555555555555
    number = (number | number >> 1) & 0x3333333333333333
    number = (number | number >> 2) & 0x0F0F0F0F0F0F0F0F
    number = (number | number >> 4) & 0x00FF00FF00FF00FF
    number = (number | number >> 8) & 0x0000FFFF0000FFFF
    return (number | number >> 16) & 0x00000000FFFFFFFF


def encode(point: Point, steps: int = STEPS, latitude_limit: float = LATITUDE_LIMIT) -> Cell:
    """The cell of this many steps that ``point`` lies in."""
    scale = 1 << steps
    latitude = (point.latitude + latitude_limit) / (2 * latitude_limit) * scale
    longitude = (point.longitude + LONGITUDE_LIMIT) / (2 * LONGITUDE_LIMIT) * scale
    return Cell(_interleave(int(latitude)) | _interleave(int(longitude)) << 1, steps)


def score_bits(score: float) -> int:
    """A score as a 64-bit integer, converted as a 64-bit CPU converts a double out of range."""
    if math.isinf(score) or not -(2.0**63) <= score < 2.0**64:
        return 0 if score > 0 else 1 << 63
    return int(score) & _UINT64


def decode(score: float) -> Point:
    """The centre of the smallest cell that ``score`` encodes."""
    area = Cell(score_bits(score), STEPS).bounds()
    longitude = (area.west + area.east) / 2
    latitude = (area.south + area.north) / 2
    return Point(
        min(max(longitude, -LONGITUDE_LIMIT), LONGITUDE_LIMIT),
        min(max(latitude, -LATITUDE_LIMIT), LATITUDE_LIMIT),
    )


def text(score: float) -> bytes:
    """The standard geohash string of eleven characters, with latitudes up to the poles."""
    bits = encode(decode(score), STEPS, 90.0).bits
    shifts = range(2 * STEPS - 5, 2 * STEPS - 5 * _TEXT_LENGTH, -5)
    return bytes(_ALPHABET[bits >> shift & 31] for shift in shifts) + _ALPHABET[:1]


def latitude_distance(one: float, other: float) -> float:
    """The distance in metres between two latitudes."""
    return EARTH_RADIUS * abs(other * _RADIANS_PER_DEGREE - one * _RADIANS_PER_DEGREE)


def distance(one: Point, other: Point) -> float:
    """The great-circle distance in metres between two positions."""
    v = math.sin((other.longitude * _RADIANS_PER_DEGREE - one.longitude * _RADIANS_PER_DEGREE) / 2)
    if v == 0.0:
        return latitude_distance(one.latitude, other.latitude)
    from_, to = one.latitude * _RADIANS_PER_DEGREE, other.latitude * _RADIANS_PER_DEGREE
    u = math.sin((to - from_) / 2)
    a = u * u + math.cos(from_) * math.cos(to) * v * v
    return 2.0 * EARTH_RADIUS * math.asin(math.sqrt(a))


class Circle(NamedTuple):
    """The positions within a radius, in metres."""

    centre: Point
    radius: float

    def reach(self) -> float:
        """How far from the centre the shape extends."""
        return self.radius

    def bounds(self) -> Bounds:
        """A part of the globe that the shape lies in."""
        return _bounds(self.centre, self.radius, self.radius)

    def distance(self, point: Point) -> float | None:
        """Metres from the centre to ``point``, or None when it is outside."""
        metres = distance(self.centre, point)
        return metres if metres <= self.radius else None


class Box(NamedTuple):
    """The positions within half a width and half a height, in metres."""

    centre: Point
    width: float
    height: float

    def reach(self) -> float:
        """How far from the centre the shape extends."""
        return math.sqrt(
            (self.width / 2) * (self.width / 2) + (self.height / 2) * (self.height / 2)
        )

    def bounds(self) -> Bounds:
        """A part of the globe that the shape lies in."""
        return _bounds(self.centre, self.width / 2, self.height / 2)

    def distance(self, point: Point) -> float | None:
        """Metres from the centre to ``point``, or None when it is outside."""
        if latitude_distance(point.latitude, self.centre.latitude) > self.height / 2:
            return None
        at_its_latitude = Point(self.centre.longitude, point.latitude)
        if distance(point, at_its_latitude) > self.width / 2:
            return None
        return distance(self.centre, point)


class Polygon(NamedTuple):
    """The positions inside a polygon, computed as if degrees were a flat grid.

    Attributes:
        centre: The middle of the vertices, on the globe.
        vertices: The corners, in order.
    """

    centre: Point
    vertices: tuple[Point, ...]

    @classmethod
    def of(cls, vertices: list[Point]) -> Polygon:
        """The polygon with these corners."""
        x = y = z = 0.0
        for vertex in vertices:
            longitude, latitude = (
                vertex.longitude * _RADIANS_PER_DEGREE,
                vertex.latitude * _RADIANS_PER_DEGREE,
            )
            x += math.cos(latitude) * math.cos(longitude)
            y += math.cos(latitude) * math.sin(longitude)
            z += math.sin(latitude)
        x, y, z = x / len(vertices), y / len(vertices), z / len(vertices)
        centre = Point(
            math.atan2(y, x) / _RADIANS_PER_DEGREE,
            math.atan2(z, math.sqrt(x * x + y * y)) / _RADIANS_PER_DEGREE,
        )
        return cls(centre, tuple(vertices))

    def reach(self) -> float:
        """How far from the centre the shape extends."""
        west, south, east, north = self.bounds()
        corners = [Point(x, y) for x in (west, east) for y in (south, north)]
        return max(distance(self.centre, corner) for corner in corners)

    def bounds(self) -> Bounds:
        """A part of the globe that the shape lies in."""
        longitudes = [vertex.longitude for vertex in self.vertices]
        latitudes = [vertex.latitude for vertex in self.vertices]
        return Bounds(min(longitudes), min(latitudes), max(longitudes), max(latitudes))

    def distance(self, point: Point) -> float | None:
        """Metres from the centre to ``point``, or None when it is outside."""
        inside = False
        x, y = point
        before = self.vertices[-1]
        for vertex in self.vertices:
            if (vertex.latitude > y) != (before.latitude > y) and x < (
                before.longitude - vertex.longitude
            ) * (y - vertex.latitude) / (before.latitude - vertex.latitude) + vertex.longitude:
                inside = not inside
            before = vertex
        return distance(self.centre, point) if inside else None


def _bounds(centre: Point, width: float, height: float) -> Bounds:
    """The rectangle around ``centre``. A width spans more degrees of longitude near a pole."""
    north_south = (height / EARTH_RADIUS) / _RADIANS_PER_DEGREE
    towards_pole = centre.latitude + (north_south if centre.latitude >= 0 else -north_south)
    if math.isinf(north_south):
        return Bounds(math.nan, -math.inf, math.nan, math.inf)
    east_west = (
        width / EARTH_RADIUS / math.cos(towards_pole * _RADIANS_PER_DEGREE)
    ) / _RADIANS_PER_DEGREE
    return Bounds(
        centre.longitude - east_west,
        centre.latitude - north_south,
        centre.longitude + east_west,
        centre.latitude + north_south,
    )


Shape: TypeAlias = Circle | Box | Polygon


def search_cells(shape: Shape, *, old: bool = False) -> list[Cell]:
    """The cells to search, in the order in which the server searches them.

    Args:
        shape: What to search.
        old: Choose the cell sizes near the poles as Redis before 7.0 does.
    """
    centre = shape.centre
    within = min(max(centre.latitude, -LATITUDE_LIMIT), LATITUDE_LIMIT)
    centre = Point(centre.longitude, within)
    steps = _steps_for(shape.reach(), within)
    bounds = shape.bounds()
    cell = encode(centre, steps)
    covered = _neighbours_reach(cell, shape) if old else _neighbours_cover(cell, bounds)
    if steps > 1 and not covered:
        steps -= 1
        cell = encode(centre, steps)
    area, steps = cell.bounds(), cell.steps
    skip_north = steps >= 2 and area.north > bounds.north
    skip_south = steps >= 2 and area.south < bounds.south
    skip_east = steps >= 2 and area.east > bounds.east
    skip_west = steps >= 2 and area.west < bounds.west
    found: list[Cell] = []
    for east, north in _NEIGHBOUR_OFFSETS:
        if (
            (north > 0 and skip_north)
            or (north < 0 and skip_south)
            or (east > 0 and skip_east)
            or (east < 0 and skip_west)
        ):
            continue
        neighbour = cell.neighbour(east, north)
        if neighbour not in found[-1:]:
            found.append(neighbour)
    return found


_NEIGHBOUR_OFFSETS: Final = (
    (0, 0),
    (0, 1),
    (0, -1),
    (1, 0),
    (-1, 0),
    (1, 1),
    (-1, 1),
    (1, -1),
    (-1, -1),
)


def _steps_for(metres: float, latitude: float) -> int:
    """The number of steps whose cells are about ``metres`` large."""
    if metres == 0:
        return STEPS
    steps = 1
    while metres < _MERCATOR:
        metres *= 2
        steps += 1
    steps -= 2
    if abs(latitude) > 66:
        steps -= 2 if abs(latitude) > 80 else 1
    return min(max(steps, 1), STEPS)


def _neighbours_cover(cell: Cell, bounds: Bounds) -> bool:
    """Whether the neighbours of ``cell`` cover all of ``bounds``."""
    return not (
        cell.neighbour(0, 1).bounds().north < bounds.north
        or cell.neighbour(0, -1).bounds().south > bounds.south
        or cell.neighbour(1, 0).bounds().east < bounds.east
        or cell.neighbour(-1, 0).bounds().west > bounds.west
    )


def _neighbours_reach(cell: Cell, shape: Shape) -> bool:
    """Whether the outer sides of the neighbours of ``cell`` are farther away than the shape."""
    longitude, latitude = shape.centre
    far = (
        Point(longitude, cell.neighbour(0, 1).bounds().north),
        Point(longitude, cell.neighbour(0, -1).bounds().south),
        Point(cell.neighbour(1, 0).bounds().east, latitude),
        Point(cell.neighbour(-1, 0).bounds().west, latitude),
    )
    return all(distance(shape.centre, point) >= shape.reach() for point in far)


class SearchResult(NamedTuple):
    """A search result; the distance is in metres."""

    member: bytes
    score: float
    distance: float
    point: Point


def search(
    members: SortedSet, shape: Shape, limit: int = 0, *, old: bool = False
) -> list[SearchResult]:
    """The members in ``shape``; with a ``limit`` other than 0, the first ones found."""
    found: list[SearchResult] = []
    order = members.order()
    for cell in search_cells(shape, old=old):
        start, stop = members.score_range(*cell.scores())
        for score, member in order[start:stop]:
            point = decode(score)
            metres = shape.distance(point)
            if metres is not None:
                found.append(SearchResult(member, score, metres, point))
                if len(found) == limit:
                    return found
    return found
