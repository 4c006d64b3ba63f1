"""XREAD and XREADGROUP, which can block until entries arrive."""

from __future__ import annotations

from collections.abc import Callable

from redis_emulator.clients.client import Blocked
from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import parse_integer, syntax_error
from redis_emulator.commands.registry import command
from redis_emulator.commands.stream import entry_reply, lookup_stream, parse_id
from redis_emulator.resp.types import NULL_ARRAY, PairMap, RedisError, Reply, quote
from redis_emulator.values.stream import (
    MAX_ID,
    MIN_ID,
    Consumer,
    Group,
    Id,
    Stream,
    next_id,
    previous_id,
)
from redis_emulator.version import Version

_MEANINGLESS_ID = (
    "ERR The {0} ID is meaningless in the context of XREADGROUP: you want to read the history of "
    "this consumer by specifying a proper ID, or use the > ID to get new messages. The {0} ID "
    "would just return an empty result set."
)


Start = tuple[bytes, "Id | None"]
"""A key and the id to read after, or None for entries that are new to the group (``>``)."""


class _ReadRequest:
    """The parsed arguments of XREAD or XREADGROUP."""

    def __init__(self, ctx: Session, argv: list[bytes]) -> None:
        self.name = argv[0].lower().decode()
        self.count = 0
        self.block: int | None = None
        self.noack = False
        self.group = b""
        self.consumer = b""
        self.has_group = False
        index = self._parse_options(argv)
        rest = argv[index:]
        if not rest or len(rest) % 2:
            symbol = "'>'" if self.name == "xreadgroup" else "'$'"
            accepted_ids = (
                f"an ID, '+', or {symbol}" if self.name == "xread" else f"an ID or {symbol}"
            )
            raise RedisError(
                f"ERR Unbalanced '{self.name}' list of streams: for each stream key {accepted_ids} "
                "must be specified."
            )
        if self.name == "xreadgroup" and not self.has_group:
            raise RedisError("ERR Missing GROUP option for XREADGROUP")
        half = len(rest) // 2
        self.keys = rest[:half]
        self.starts = [
            (key, self._parse_start(ctx, key, raw))
            for key, raw in zip(self.keys, rest[half:], strict=True)
        ]

    def _parse_options(self, argv: list[bytes]) -> int:
        index = 1
        while index < len(argv):
            word = argv[index].upper()
            remaining = len(argv) - index - 1
            if word == b"BLOCK" and remaining:
                index += 1
                self.block = parse_integer(
                    argv[index], "ERR timeout is not an integer or out of range"
                )
                if self.block < 0:
                    raise RedisError("ERR timeout is negative")
            elif word == b"COUNT" and remaining:
                index += 1
                self.count = max(0, parse_integer(argv[index]))
            elif word == b"STREAMS" and remaining:
                return index + 1
            elif word == b"GROUP" and remaining >= 2:
                if self.name != "xreadgroup":
                    raise RedisError(
                        "ERR The GROUP option is only supported by XREADGROUP. "
                        "You called XREAD instead."
                    )
                self.group, self.consumer = argv[index + 1], argv[index + 2]
                self.has_group = True
                index += 2
            elif word == b"NOACK":
                if self.name != "xreadgroup":
                    raise RedisError(
                        "ERR The NOACK option is only supported by XREADGROUP. "
                        "You called XREAD instead."
                    )
                self.noack = True
            else:
                raise syntax_error()
            index += 1
        raise syntax_error()

    def _parse_start(self, ctx: Session, key: bytes, raw: bytes) -> Id | None:
        """Parse an id to read after; None for entries that are new to the group (``>``)."""
        stream = lookup_stream(ctx, key)
        if self.has_group and (stream is None or self.group not in stream.groups):
            raise RedisError(
                f"NOGROUP No such key '{quote(key)}' or consumer group '{quote(self.group)}' in "
                "XREADGROUP with GROUP option"
            )
        if raw == b"$" or (raw == b"+" and ctx.server.version.after_fork):
            if self.has_group:
                raise RedisError(_MEANINGLESS_ID.format(raw.decode()))
            if stream is None:
                return MIN_ID
            if raw == b"$":
                return stream.last_id
            if not stream.length:
                return stream.last_id
            if ctx.server.version.is_valkey():
                return previous_id(stream.last_id)  # Valkey ignores that it may be deleted
            return previous_id(next(stream.reverse_range(MAX_ID, MIN_ID))[0])
        if raw == b">":
            if not self.has_group:
                raise RedisError(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP "
                    "<group> <consumer> option."
                )
            return None
        start = parse_id(raw, strict=True)
        return None if self.has_group and start == MAX_ID else start  # Redis stores > as MAX_ID


@command("xread")
def xread(ctx: Session, argv: list[bytes]) -> Reply:
    request = _ReadRequest(ctx, argv)

    def attempt(starts: list[Start]) -> Reply | None:
        found = PairMap()
        for key, start in starts:
            entries = _read_after(ctx, request, key, start)
            if entries:
                found.append((key, entries))
        return found or None

    return _read_or_block(ctx, request, attempt)


def _read_after(ctx: Session, request: _ReadRequest, key: bytes, start: Id | None) -> list[Reply]:
    stream = lookup_stream(ctx, key)
    if stream is None or start is None or stream.last_id <= start:
        return []
    low = next_id(start)
    return [] if low is None else _collect(stream, low, request.count)


def _collect(stream: Stream, low: Id, count: int) -> list[Reply]:
    found: list[Reply] = []
    for entry_id, fields in stream.range(low, MAX_ID):
        found.append(entry_reply(entry_id, fields))
        if len(found) == count:
            break
    return found


@command("xreadgroup")
def xreadgroup(ctx: Session, argv: list[bytes]) -> Reply:
    request = _ReadRequest(ctx, argv)
    was_blocked = False

    def attempt(starts: list[Start]) -> Reply | None:
        nonlocal was_blocked
        found = PairMap()
        for key, start in starts:
            stream, group = _require_group(ctx, request, key, was_blocked=was_blocked)
            if start is not None:
                consumer = _reading_consumer(ctx, request, key, group)
                found.append((key, _pending_history(ctx, stream, consumer, start, request.count)))
            elif entries := _deliver(ctx, request, key, stream, group):
                found.append((key, entries))
        was_blocked = True
        return found or None

    return _read_or_block(ctx, request, attempt)


def _require_group(
    ctx: Session, request: _ReadRequest, key: bytes, *, was_blocked: bool
) -> tuple[Stream, Group]:
    """The stream and the group.

    If they were deleted while the client was blocked, Redis before 7.2 has other error messages.
    """
    old = was_blocked and ctx.server.version.before(7, 2)
    if old and type(ctx.db.data.get(key)) is not Stream:
        raise RedisError("UNBLOCKED the stream key no longer exists")
    stream = lookup_stream(ctx, key, write=True)
    if stream is None or request.group not in stream.groups:
        raise RedisError(
            "NOGROUP the consumer group this client was blocked on no longer exists"
            if old
            else f"NOGROUP No such key '{quote(key)}' or consumer group '{quote(request.group)}' "
            "in XREADGROUP with GROUP option"
        )
    return stream, stream.groups[request.group]


def _reading_consumer(ctx: Session, request: _ReadRequest, key: bytes, group: Group) -> Consumer:
    """The consumer of the request; created if it does not exist."""
    consumer, created = group.consumer(request.consumer, ctx.db.context.now)
    consumer.seen_at = ctx.db.context.now
    if created and not ctx.server.version.before(7):
        ctx.db.adjusted(key, b"xgroup-createconsumer")
    return consumer


def _can_increment_read(stream: Stream, group: Group, entry_id: Id, version: Version) -> bool:
    """Whether ``entries_read`` can be incremented for this entry instead of estimated.

    It cannot if entries were deleted in the part of the stream that the group has still to read.
    """
    if version.before(7, 2):
        return not stream.has_gap_after(entry_id, early=False)
    return group.last_id >= stream.first_id and not stream.has_gap_after(
        group.last_id, early=version.is_valkey()
    )


def _deliver(
    ctx: Session, request: _ReadRequest, key: bytes, stream: Stream, group: Group
) -> list[Reply]:
    """Return new entries for the consumer and add them to its pending entries, unless NOACK.

    Since Redis 7.2 the consumer is created even if there are no new entries.
    """
    low = next_id(group.last_id)
    version = ctx.server.version
    is_up_to_date = low is None or stream.last_id <= group.last_id
    if version.before(7, 2) and (low is None or next(stream.range(low, MAX_ID), None) is None):
        return []
    consumer = _reading_consumer(ctx, request, key, group)
    if low is None or is_up_to_date:
        return []
    found: list[Reply] = []
    for entry_id, fields in stream.range(low, MAX_ID):
        if group.entries_read >= 0 and _can_increment_read(stream, group, entry_id, version):
            group.entries_read += 1
        elif stream.added:
            group.entries_read = stream.estimate_read(
                entry_id, check_deleted=not version.before(7, 2)
            )
        group.last_id = entry_id
        if not request.noack:
            group.deliver(entry_id, consumer, ctx.db.context.now)
        found.append(entry_reply(entry_id, fields))
        if len(found) == request.count:
            break
    if found:
        consumer.active_at = ctx.db.context.now
        ctx.db.adjusted(key)
    return found


def _pending_history(
    ctx: Session, stream: Stream, consumer: Consumer, start: Id, count: int
) -> list[Reply]:
    """The pending entries of the consumer after ``start``."""
    found: list[Reply] = []
    for entry_id in tuple(consumer.pending.irange(start, inclusive=(False, True))):
        fields = stream.get(entry_id)
        if fields is not None:
            pending = consumer.pending[entry_id]
            pending.delivered_at = ctx.db.context.now
            pending.deliveries += 1
        found.append(entry_reply(entry_id, fields))
        if len(found) == count:
            break
    return found


def _read_or_block(
    ctx: Session, request: _ReadRequest, attempt: Callable[[list[Start]], Reply | None]
) -> Reply:
    """Return the reply of ``attempt``, or block the client until it has one.

    When an entry is added, an unblocked client reads all its streams in order, as if it had just
    sent the command. Redis before 7.2 reads only the stream that unblocked it.
    """
    found = attempt(request.starts)
    if found is not None:
        return found
    if request.block is None:
        return NULL_ARRAY
    version = ctx.server.version
    retries_all = not version.before(7, 2)

    def retry(key: bytes) -> Reply | None:
        return attempt(request.starts if retries_all else [(key, dict(request.starts)[key])])

    return Blocked(
        ctx,
        request.keys,
        ctx.db.context.now + request.block if request.block else None,
        retry,
        NULL_ARRAY,
        kind=b"stream",
        unblock_on_removal=request.has_group and not version.before(7),
    )
