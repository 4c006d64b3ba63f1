"""SCAN, and the options it shares with HSCAN, SSCAN, ZSCAN and CLUSTERSCAN.

The cursor is a position in the order that `Database.scan_order` keeps: a key's place depends on its
name alone. So what is there from the first call of an iteration to the last is returned, once,
whatever else comes and goes in between.

The members of a large value are scanned by the same positions (`scan_members`). Their order is
worked out when an iteration starts and kept until it ends; what has gone meanwhile is skipped, and
what has come need not be returned.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice

from redis_emulator.clients.session import Session
from redis_emulator.commands.cluster import parse_slot
from redis_emulator.commands.helpers.arguments import parse_integer, syntax_error
from redis_emulator.commands.registry import command
from redis_emulator.glob import Matcher, glob
from redis_emulator.keyspace.database import scan_position
from redis_emulator.resp.types import RedisError, Reply, quote
from redis_emulator.values.kinds import type_name

_INVALID_CURSOR = "ERR invalid cursor"
_CURSOR = re.compile(rb"\s*([+-]?)([0-9]+)").fullmatch
_UINT64 = 1 << 64
_TYPES = frozenset((b"string", b"list", b"set", b"zset", b"hash", b"stream"))


@dataclass(slots=True)
class ScanOptions:
    """What follows the cursor.

    Attributes:
        match: Tells whether a name matches the MATCH pattern; None without one.
        pattern: The MATCH pattern.
        count: COUNT, how much work to do, at least 1.
        type: TYPE in lower case (SCAN and CLUSTERSCAN).
        slot: SLOT (CLUSTERSCAN alone).
        values: False after NOVALUES (HSCAN alone).
    """

    match: Matcher | None = None
    pattern: bytes = b"*"
    count: int = 10
    type: bytes | None = None
    slot: int | None = None
    values: bool = True


def parse_cursor(ctx: Session, raw: bytes) -> int:
    """A cursor as strtoull reads it, with the strictness that grew over the versions.

    Raises:
        RedisError: It is not a number of 64 bits.
    """
    lenient = ctx.server.version.before(7, 2)
    if lenient and raw == b"":
        return 0
    parts = _CURSOR(raw)
    if parts is None or (raw[:1].isspace() if lenient else _plain_negative(raw)):
        raise RedisError(_INVALID_CURSOR)
    cursor = int(parts[2])
    if cursor >= _UINT64:
        raise RedisError(_INVALID_CURSOR)
    return -cursor % _UINT64 if parts[1] == b"-" else cursor


def _plain_negative(raw: bytes) -> bool:
    return re.fullmatch(rb"-[1-9][0-9]{0,18}", raw) is not None and int(raw) >= -_UINT64 // 2


def parse_options(ctx: Session, argv: list[bytes], place: int) -> ScanOptions:
    """The options of SCAN or one of its relatives from ``argv[place]`` on.

    Raises:
        RedisError: An option is unknown here, lacks its value, or has a wrong one.
    """
    name = argv[0].upper()
    options = ScanOptions()
    while place < len(argv):
        option = argv[place].upper()
        value = argv[place + 1] if place + 1 < len(argv) else None
        place += 2
        if option == b"COUNT" and value is not None:
            options.count = parse_integer(value)
            if options.count < 1:
                raise syntax_error()
        elif option == b"MATCH" and value is not None:
            options.pattern = value
            options.match = None if value == b"*" else glob(value)
        elif option == b"TYPE" and value is not None and name in (b"SCAN", b"CLUSTERSCAN"):
            options.type = _known_type(ctx, value)
        elif option == b"SLOT" and value is not None and name == b"CLUSTERSCAN":
            if options.slot is not None:
                raise RedisError("ERR SLOT option can only be specified once")
            options.slot = parse_slot(value)
        elif option == b"NOVALUES" and ctx.server.version.after_fork:
            if name != b"HSCAN":
                raise RedisError("ERR NOVALUES option can only be used in HSCAN")
            options.values = False
            place -= 1
        else:
            raise syntax_error()
    return options


def _known_type(ctx: Session, name: bytes) -> bytes:
    if ctx.server.version.is_valkey(9):
        if name.lower() not in _TYPES:
            raise RedisError(f"ERR unknown type name '{quote(name)}'")
    return name.lower()


@command("scan")
def scan(ctx: Session, argv: list[bytes]) -> Reply:
    cursor = parse_cursor(ctx, argv[1])
    options = parse_options(ctx, argv, 2)
    order = ctx.db.scan_order()
    count = min(options.count, len(order))
    positions = list(islice(order.irange(minimum=cursor), count + 1))
    following = positions.pop() if len(positions) > count else 0
    names = [name for position in positions for name in order[position]]
    return [b"%d" % following, chosen(ctx, names, options)]


def chosen(ctx: Session, names: list[bytes], options: ScanOptions) -> list[bytes]:
    """Those of some keys that MATCH and TYPE let through."""
    if options.match is not None:
        names = list(filter(options.match, names))
    if options.type is not None:
        data = ctx.db.data
        names = [name for name in names if type_name(data[name]) == options.type]
    return names


@dataclass(slots=True)
class MemberOrder:
    """The members of one value by scan position, as they were when an iteration began."""

    of: Collection[bytes]
    positions: list[int]
    members: list[bytes]


_KEPT_ORDERS = 16


def scan_members(
    ctx: Session,
    key: bytes,
    members: Collection[bytes],
    cursor: int,
    options: ScanOptions,
    *,
    whole: bool,
) -> tuple[int, list[bytes]]:
    """One step of HSCAN, SSCAN or ZSCAN.

    Args:
        ctx: The client.
        key: Where the value is stored.
        members: What to scan: the value itself, or always the same object inside it.
        cursor: Where to go on.
        options: COUNT and MATCH.
        whole: Whether the encoding is one that is returned in one go, in its own order.

    Returns:
        The next cursor, 0 at the end, and the members.
    """
    if whole:
        following, found = 0, list(members)
    else:
        order = _member_order(ctx, key, members, afresh=cursor == 0)
        positions = order.positions
        begin = bisect_left(positions, cursor)
        end = min(begin + options.count, len(positions))
        while begin < end < len(positions) and positions[end] == positions[end - 1]:
            end += 1
        following = positions[end] if end < len(positions) else 0
        found = [member for member in order.members[begin:end] if member in members]
        if not following:
            ctx.db.scans.pop(key, None)
    if options.match is not None:
        found = list(filter(options.match, found))
    return following, found


def _member_order(
    ctx: Session, key: bytes, members: Collection[bytes], afresh: bool
) -> MemberOrder:
    scans = ctx.db.scans
    order = scans.get(key)
    if not afresh and type(order) is MemberOrder and order.of is members:
        return order
    placed = sorted((scan_position(member), member) for member in members)
    order = MemberOrder(members, [at for at, _ in placed], [member for _, member in placed])
    if len(scans) >= _KEPT_ORDERS and key not in scans:
        del scans[next(iter(scans))]
    scans[key] = order
    return order
