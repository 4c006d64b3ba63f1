"""SCAN, and the parts that HSCAN, SSCAN, ZSCAN and CLUSTERSCAN share with it.

The cursor is a position in the order of `Database.scan_order`, in which the position of a key
depends only on its name. A key that exists during the whole iteration is therefore returned exactly
once, whatever keys are added or deleted meanwhile.

`scan_members` scans the members of a large value by the same kind of positions. The order is
computed when an iteration starts and stored until it ends. Members that were deleted meanwhile are
skipped. Members that were added meanwhile may be missing, as in Redis.
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
    """The options after the cursor.

    Attributes:
        match: The compiled MATCH pattern, None if every name matches.
        pattern: The MATCH pattern.
        count: COUNT, at least 1.
        type: TYPE in lower case (SCAN and CLUSTERSCAN).
        slot: SLOT (CLUSTERSCAN only).
        values: False if NOVALUES was given (HSCAN only).
    """

    match: Matcher | None = None
    pattern: bytes = b"*"
    count: int = 10
    type: bytes | None = None
    slot: int | None = None
    values: bool = True


def parse_cursor(ctx: Session, raw: bytes) -> int:
    """Parse a cursor as Redis does with ``strtoull``. Redis 7.2 became stricter.

    Raises:
        RedisError: It is not a 64-bit number.
    """
    lenient = ctx.server.version.before(7, 2)
    if lenient and raw == b"":
        return 0
    parts = _CURSOR(raw)
    if parts is None or (raw[:1].isspace() if lenient else _is_negative_integer(raw)):
        raise RedisError(_INVALID_CURSOR)
    cursor = int(parts[2])
    if cursor >= _UINT64:
        raise RedisError(_INVALID_CURSOR)
    return -cursor % _UINT64 if parts[1] == b"-" else cursor


def _is_negative_integer(raw: bytes) -> bool:
    return re.fullmatch(rb"-[1-9][0-9]{0,18}", raw) is not None and int(raw) >= -_UINT64 // 2


def parse_options(ctx: Session, argv: list[bytes], index: int) -> ScanOptions:
    """Parse the options of SCAN or a related command from ``argv[index]`` on.

    Raises:
        RedisError: An option is unknown to the command, or its value is missing or invalid.
    """
    name = argv[0].upper()
    options = ScanOptions()
    while index < len(argv):
        option = argv[index].upper()
        value = argv[index + 1] if index + 1 < len(argv) else None
        index += 2
        if option == b"COUNT" and value is not None:
            options.count = parse_integer(value)
            if options.count < 1:
                raise syntax_error()
        elif option == b"MATCH" and value is not None:
            options.pattern = value
            options.match = None if value == b"*" else glob(value)
        elif option == b"TYPE" and value is not None and name in (b"SCAN", b"CLUSTERSCAN"):
            options.type = _parse_type(ctx, value)
        elif option == b"SLOT" and value is not None and name == b"CLUSTERSCAN":
            if options.slot is not None:
                raise RedisError("ERR SLOT option can only be specified once")
            options.slot = parse_slot(value)
        elif option == b"NOVALUES" and ctx.server.version.after_fork:
            if name != b"HSCAN":
                raise RedisError("ERR NOVALUES option can only be used in HSCAN")
            options.values = False
            index -= 1
        else:
            raise syntax_error()
    return options


def _parse_type(ctx: Session, name: bytes) -> bytes:
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
    next_cursor = positions.pop() if len(positions) > count else 0
    names = [name for position in positions for name in order[position]]
    return [b"%d" % next_cursor, filter_keys(ctx, names, options)]


def filter_keys(ctx: Session, names: list[bytes], options: ScanOptions) -> list[bytes]:
    """The keys that match the options MATCH and TYPE."""
    if options.match is not None:
        names = list(filter(options.match, names))
    if options.type is not None:
        data = ctx.db.data
        names = [name for name in names if type_name(data[name]) == options.type]
    return names


@dataclass(slots=True)
class MemberOrder:
    """The members of a value in scan order, as they were at the start of an iteration."""

    of: Collection[bytes]
    positions: list[int]
    members: list[bytes]


_MAX_STORED_ORDERS = 16


def scan_members(
    ctx: Session,
    key: bytes,
    members: Collection[bytes],
    cursor: int,
    options: ScanOptions,
    *,
    return_all: bool,
) -> tuple[int, list[bytes]]:
    """One step of HSCAN, SSCAN or ZSCAN.

    Args:
        ctx: The client.
        key: The key of the value.
        members: The collection to scan. It must be the same object in each call of an iteration.
        cursor: The cursor of the client.
        options: COUNT and MATCH.
        return_all: Whether to return all members at once in their own order, as Redis does for
            compact encodings.

    Returns:
        The next cursor (0 at the end) and the members.
    """
    if return_all:
        next_cursor, found = 0, list(members)
    else:
        order = _member_order(ctx, key, members, restart=cursor == 0)
        positions = order.positions
        begin = bisect_left(positions, cursor)
        end = min(begin + options.count, len(positions))
        while begin < end < len(positions) and positions[end] == positions[end - 1]:
            end += 1
        next_cursor = positions[end] if end < len(positions) else 0
        found = [member for member in order.members[begin:end] if member in members]
        if not next_cursor:
            ctx.db.scans.pop(key, None)
    if options.match is not None:
        found = list(filter(options.match, found))
    return next_cursor, found


def _member_order(
    ctx: Session, key: bytes, members: Collection[bytes], restart: bool
) -> MemberOrder:
    scans = ctx.db.scans
    order = scans.get(key)
    if not restart and type(order) is MemberOrder and order.of is members:
        return order
    ordered = sorted((scan_position(member), member) for member in members)
    order = MemberOrder(members, [at for at, _ in ordered], [member for _, member in ordered])
    if len(scans) >= _MAX_STORED_ORDERS and key not in scans:
        del scans[next(iter(scans))]
    scans[key] = order
    return order
