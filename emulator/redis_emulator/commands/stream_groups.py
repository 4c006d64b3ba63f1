"""The commands on consumer groups: XGROUP, XACK, XCLAIM, XAUTOCLAIM and XPENDING; XINFO.

XREADGROUP is in `stream_read`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import (
    NO_SUCH_KEY,
    parse_integer,
    syntax_error,
    unknown_subcommand,
)
from redis_emulator.commands.registry import command
from redis_emulator.commands.stream import (
    delete_entry,
    entry_reply,
    lookup_stream,
    parse_id,
    parse_id_block,
    parse_interval,
)
from redis_emulator.keyspace.events import STREAM
from redis_emulator.resp.types import NULL_ARRAY, OK, RedisError, Reply, quote
from redis_emulator.values.stream import (
    MAX_ID,
    MIN_ID,
    Consumer,
    Fields,
    Group,
    Id,
    Pending,
    Stream,
    format_id,
)

_KEY_MUST_EXIST = (
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use "
    "the MKSTREAM option to create an empty stream automatically."
)


def _require_group(ctx: Session, key: bytes, name: bytes) -> tuple[Stream, Group]:
    stream = lookup_stream(ctx, key, write=True)
    if stream is None:
        raise RedisError(_KEY_MUST_EXIST)
    if name not in stream.groups:
        raise _no_group(key, name)
    return stream, stream.groups[name]


def _no_group(key: bytes, name: bytes) -> RedisError:
    return RedisError(f"NOGROUP No such consumer group '{quote(name)}' for key name '{quote(key)}'")


def _no_key_or_group(key: bytes, name: bytes) -> RedisError:
    return RedisError(f"NOGROUP No such key '{quote(key)}' or consumer group '{quote(name)}'")


def _parse_entries_read(raw: bytes) -> int:
    value = parse_integer(raw)
    if value < -1:
        raise RedisError("ERR value for ENTRIESREAD must be positive or -1")
    return value


def _is_before_7(ctx: Session) -> bool:
    """Whether the server is older than Redis 7."""
    return ctx.server.version.before(7)


def _check_before_7(ctx: Session, argv: list[bytes], max_argc: int) -> None:
    """Check XGROUP CREATE and SETID as Redis before 7 does.

    Without MKSTREAM these releases look up the key and the group before they check the number of
    arguments.
    """
    creates = argv[1].upper() == b"CREATE"
    if len(argv) == 6 and creates:
        if argv[5].upper() == b"MKSTREAM":
            return
        raise unknown_subcommand(ctx.server.version, argv)
    stream = lookup_stream(ctx, argv[2])
    if stream is None:
        raise RedisError(_KEY_MUST_EXIST)
    if not creates:
        _require_group(ctx, argv[2], argv[3])
    if len(argv) > max_argc:
        raise unknown_subcommand(ctx.server.version, argv)


def _limited_entries_read(ctx: Session, stream: Stream, entries_read: int) -> int:
    """The value of ENTRIESREAD. Redis 8 limits it to the number of entries added to the stream."""
    version = ctx.server.version
    if version.is_redis(8):
        return min(entries_read, stream.added)
    return entries_read


@command("xgroup")
def xgroup(ctx: Session, argv: list[bytes]) -> Reply:
    """XGROUP with an unknown subcommand, before Redis 7."""
    if len(argv) >= 4:
        if lookup_stream(ctx, argv[2]) is None:
            raise RedisError(_KEY_MUST_EXIST)
        if argv[1].upper() in (b"SETID", b"CREATECONSUMER", b"DELCONSUMER"):
            _require_group(ctx, argv[2], argv[3])
    raise unknown_subcommand(ctx.server.version, argv)


@command("xgroup|create")
def xgroup_create(ctx: Session, argv: list[bytes]) -> Reply:
    if _is_before_7(ctx):
        _check_before_7(ctx, argv, 6)
    make_stream = False
    entries_read = -1
    index = 5
    while index < len(argv):
        word = argv[index].upper()
        if word == b"MKSTREAM":
            make_stream = True
        elif word == b"ENTRIESREAD" and index + 1 < len(argv):
            index += 1
            entries_read = _parse_entries_read(argv[index])
        else:
            raise unknown_subcommand(ctx.server.version, argv)
        index += 1
    key, name = argv[2], argv[3]
    stream = lookup_stream(ctx, key, write=True)
    if stream is None and not make_stream:
        raise RedisError(_KEY_MUST_EXIST)
    if argv[4] == b"$":
        last_id = MIN_ID if stream is None else stream.last_id
    else:
        last_id = parse_id(argv[4], strict=True)
    created = stream is None
    if stream is None:
        stream = Stream()
        ctx.db.set(key, stream)
    if name in stream.groups:
        raise RedisError("BUSYGROUP Consumer Group name already exists")
    stream.groups[name] = Group(last_id, _limited_entries_read(ctx, stream, entries_read))
    if created:
        ctx.db.changed(key, b"xgroup-create", STREAM)
    else:
        ctx.db.adjusted(key, b"xgroup-create")
    return OK


@command("xgroup|setid")
def xgroup_setid(ctx: Session, argv: list[bytes]) -> Reply:
    if _is_before_7(ctx):
        _check_before_7(ctx, argv, 5)
    entries_read = -1
    if len(argv) > 5:
        if len(argv) != 7 or argv[5].upper() != b"ENTRIESREAD":
            raise unknown_subcommand(ctx.server.version, argv)
        entries_read = _parse_entries_read(argv[6])
    stream, group = _require_group(ctx, argv[2], argv[3])
    group.last_id = stream.last_id if argv[4] == b"$" else parse_id(argv[4])
    group.entries_read = _limited_entries_read(ctx, stream, entries_read)
    ctx.db.adjusted(argv[2], b"xgroup-setid")
    return OK


@command("xgroup|destroy")
def xgroup_destroy(ctx: Session, argv: list[bytes]) -> Reply:
    stream = lookup_stream(ctx, argv[2], write=True)
    if stream is None:
        raise RedisError(_KEY_MUST_EXIST)
    if stream.groups.pop(argv[3], None) is None:
        return 0
    ctx.db.adjusted(argv[2], b"xgroup-destroy")
    return 1


@command("xgroup|createconsumer")
def xgroup_createconsumer(ctx: Session, argv: list[bytes]) -> Reply:
    _, group = _require_group(ctx, argv[2], argv[3])
    _, created = group.consumer(argv[4], ctx.db.context.now)
    if created:
        ctx.db.adjusted(argv[2], b"xgroup-createconsumer")
    return int(created)


@command("xgroup|delconsumer")
def xgroup_delconsumer(ctx: Session, argv: list[bytes]) -> Reply:
    _, group = _require_group(ctx, argv[2], argv[3])
    consumer = group.consumers.pop(argv[4], None)
    if consumer is None:
        if _is_before_7(ctx):
            ctx.db.adjusted(argv[2], b"xgroup-delconsumer")
        return 0
    for entry_id in consumer.pending:
        del group.pending[entry_id]
    ctx.db.adjusted(argv[2], b"xgroup-delconsumer")
    return len(consumer.pending)


@command("xack")
def xack(ctx: Session, argv: list[bytes]) -> Reply:
    stream = lookup_stream(ctx, argv[1], write=True)
    if stream is None or argv[2] not in stream.groups:
        return 0
    group = stream.groups[argv[2]]
    ids = [parse_id(raw, strict=True) for raw in argv[3:]]
    count = sum(group.forget(entry_id) for entry_id in ids)
    if count:
        ctx.db.context.dirty += count
    return count


@command("xackdel")
def xackdel(ctx: Session, argv: list[bytes]) -> Reply:
    strategy, raw_ids = parse_id_block(argv, 3)
    stream = lookup_stream(ctx, argv[1], write=True)
    if stream is None or argv[2] not in stream.groups:
        return [-1] * len(raw_ids)
    group = stream.groups[argv[2]]
    outcomes: list[Reply] = []
    deleted = False
    for entry_id in [parse_id(raw, strict=True) for raw in raw_ids]:
        if not group.forget(entry_id):
            outcomes.append(-1)
            continue
        outcome = delete_entry(stream, entry_id, strategy)
        if outcome == 1:
            stream.max_deleted = max(stream.max_deleted, entry_id)
            deleted = True
        outcomes.append(1 if outcome == -1 else outcome)
    if deleted:
        ctx.db.changed(argv[1], b"xdel", STREAM)
    return outcomes


class _Claim:
    """The options of XCLAIM."""

    def __init__(self, argv: list[bytes], now: int) -> None:
        self.min_idle = max(
            0, parse_integer(argv[4], "ERR Invalid min-idle-time argument for XCLAIM")
        )
        self.ids: list[Id] = []
        self.delivered_at = now
        self.retries: int | None = None
        self.force = False
        self.just_id = False
        self.last_id: Id = MIN_ID
        index = 5
        while index < len(argv):
            try:
                self.ids.append(parse_id(argv[index], strict=True))
            except RedisError:
                break
            index += 1
        while index < len(argv):
            index = self._parse_option(argv, index, now) + 1

    def _parse_option(self, argv: list[bytes], index: int, now: int) -> int:
        word = argv[index].upper()
        if word == b"FORCE":
            self.force = True
        elif word == b"JUSTID":
            self.just_id = True
        elif word in (b"IDLE", b"TIME", b"RETRYCOUNT", b"LASTID") and index + 1 < len(argv):
            index += 1
            if word == b"LASTID":
                self.last_id = parse_id(argv[index], strict=True)
                return index
            name = word.decode()
            value = parse_integer(argv[index], f"ERR Invalid {name} option argument for XCLAIM")
            if word == b"RETRYCOUNT":
                self.retries = value
            else:
                at = now - value if word == b"IDLE" else value
                self.delivered_at = at if 0 <= at <= now else now
        else:
            raise RedisError(f"ERR Unrecognized XCLAIM option '{quote(argv[index])}'")
        return index


@command("xclaim")
def xclaim(ctx: Session, argv: list[bytes]) -> Reply:
    key, now = argv[1], ctx.db.context.now
    stream = lookup_stream(ctx, key, write=True)
    if stream is None or argv[2] not in stream.groups:
        raise _no_key_or_group(key, argv[2])
    group = stream.groups[argv[2]]
    claim = _Claim(argv, now)
    group.last_id = max(group.last_id, claim.last_id)
    before_7 = _is_before_7(ctx)
    if not ctx.server.version.before(7, 2):
        _claiming_consumer(ctx, key, group, argv[3])
    found: list[Reply] = []
    for entry_id in claim.ids:
        fields = stream.get(entry_id)
        if fields is None and not before_7:
            group.forget(entry_id)
            continue
        pending = group.pending.get(entry_id)
        if pending is None:
            if not claim.force:
                continue
            consumer = _claiming_consumer(ctx, key, group, argv[3])
            pending = group.deliver(entry_id, consumer, now, 0)
        elif claim.min_idle and now - pending.delivered_at < claim.min_idle:
            continue
        deliveries = pending.deliveries
        if claim.retries is not None:
            deliveries = claim.retries
        elif not claim.just_id:
            deliveries += 1
        consumer = _claiming_consumer(ctx, key, group, argv[3])
        group.deliver(entry_id, consumer, claim.delivered_at, deliveries)
        consumer.active_at = now
        found.append(_claimed_reply(entry_id, fields, claim.just_id))
    ctx.db.adjusted(key)
    return found


def _claimed_reply(entry_id: Id, fields: Fields | None, just_id: bool) -> Reply:
    """The reply for a claimed entry. Before Redis 7, deleted entries are claimed too."""
    if just_id:
        return format_id(entry_id)
    return None if fields is None else entry_reply(entry_id, fields)


def _claiming_consumer(ctx: Session, key: bytes, group: Group, name: bytes) -> Consumer:
    """The claiming consumer; created if it does not exist.

    Redis before 7.2 creates it only when it claims an entry.
    """
    consumer, created = group.consumer(name, ctx.db.context.now)
    consumer.seen_at = ctx.db.context.now
    if created and not _is_before_7(ctx):
        ctx.db.adjusted(key, b"xgroup-createconsumer")
    return consumer


@command("xautoclaim")
def xautoclaim(ctx: Session, argv: list[bytes]) -> Reply:
    key, now = argv[1], ctx.db.context.now
    min_idle = max(0, parse_integer(argv[4], "ERR Invalid min-idle-time argument for XAUTOCLAIM"))
    start, _ = parse_interval(argv[5], b"+")
    count, just_id, index = 100, False, 6
    while index < len(argv):
        word = argv[index].upper()
        if word == b"COUNT" and index + 1 < len(argv):
            index += 1
            count = parse_integer(argv[index], "ERR COUNT must be > 0")
            if not 0 < count <= (1 << 63) // 16:
                raise RedisError("ERR COUNT must be > 0")
        elif word == b"JUSTID":
            just_id = True
        else:
            raise syntax_error()
        index += 1
    stream = lookup_stream(ctx, key, write=True)
    if stream is None or argv[2] not in stream.groups:
        raise _no_key_or_group(key, argv[2])
    group = stream.groups[argv[2]]
    before_7 = _is_before_7(ctx)
    if not ctx.server.version.before(7, 2):
        _claiming_consumer(ctx, key, group, argv[3])
    attempts = count * 10
    found: list[Reply] = []
    deleted: list[Reply] = []
    cursor = MIN_ID
    for entry_id in tuple(group.pending.irange(start)):
        if not attempts or not count:
            cursor = entry_id
            break
        attempts -= 1
        fields = stream.get(entry_id)
        pending = group.pending[entry_id]
        if fields is None and not before_7:
            group.forget(entry_id)
            deleted.append(format_id(entry_id))
            count -= 1
            continue
        if min_idle and now - pending.delivered_at < min_idle:
            continue
        consumer = _claiming_consumer(ctx, key, group, argv[3])
        group.deliver(entry_id, consumer, now, pending.deliveries + (not just_id))
        consumer.active_at = now
        found.append(_claimed_reply(entry_id, fields, just_id))
        count -= 1
    ctx.db.adjusted(key)
    return [format_id(cursor), found] if before_7 else [format_id(cursor), found, deleted]


@command("xpending")
def xpending(ctx: Session, argv: list[bytes]) -> Reply:
    key, name = argv[1], argv[2]
    index, min_idle = 3, 0
    if len(argv) > 3:
        if argv[3].upper() == b"IDLE":
            if len(argv) < 8:
                raise syntax_error()
            min_idle = parse_integer(argv[4])
            index = 5
        if not index + 3 <= len(argv) <= index + 4:
            raise syntax_error()
        count = max(0, parse_integer(argv[index + 2]))
        low, high = parse_interval(argv[index], argv[index + 1])
    stream = lookup_stream(ctx, key)
    if stream is None or name not in stream.groups:
        raise _no_key_or_group(key, name)
    group = stream.groups[name]
    if len(argv) == 3:
        return _pending_summary(group)
    pending_entries = group.pending
    if len(argv) > index + 3:
        owner = group.consumers.get(argv[index + 3])
        if owner is None:
            return []
        pending_entries = owner.pending
    found: list[Reply] = []
    for entry_id in pending_entries.irange(low, high):
        if len(found) >= count:
            break
        pending = pending_entries[entry_id]
        idle = ctx.db.context.now - pending.delivered_at
        if idle >= min_idle:
            found.append(
                [format_id(entry_id), pending.consumer.name, max(0, idle), pending.deliveries]
            )
    return found


def _pending_summary(group: Group) -> Reply:
    if not group.pending:
        return [0, None, None, NULL_ARRAY]
    consumers: list[Reply] = [
        [name, b"%d" % len(consumer.pending)]
        for name, consumer in group.consumers.items()
        if consumer.pending
    ]
    first, last = group.pending.peekitem(0)[0], group.pending.peekitem(-1)[0]
    return [len(group.pending), format_id(first), format_id(last), consumers]


def _require_stream(ctx: Session, key: bytes) -> Stream:
    stream = lookup_stream(ctx, key)
    if stream is None:
        raise RedisError(NO_SUCH_KEY)
    return stream


@command("xinfo")
def xinfo(ctx: Session, argv: list[bytes]) -> Reply:
    """XINFO with an unknown subcommand, before Redis 7."""
    if len(argv) >= 3:
        _require_stream(ctx, argv[2])
    raise unknown_subcommand(ctx.server.version, argv)


@command("xinfo|stream")
def xinfo_stream(ctx: Session, argv: list[bytes]) -> Reply:
    stream = _require_stream(ctx, argv[2])
    full, count = len(argv) > 3, 10
    if full and (argv[3].upper() != b"FULL" or len(argv) not in (4, 6)):
        raise unknown_subcommand(ctx.server.version, argv)
    if len(argv) == 6:
        if argv[4].upper() != b"COUNT":
            raise unknown_subcommand(ctx.server.version, argv)
        count = parse_integer(argv[5])
        count = 10 if count < 0 else count
    summary: dict[Reply, Reply] = {
        b"length": stream.length,
        b"radix-tree-keys": len(stream.nodes),
        b"radix-tree-nodes": stream.tree_nodes(),
        b"last-generated-id": format_id(stream.last_id),
    }
    if not _is_before_7(ctx):
        summary |= {
            b"max-deleted-entry-id": format_id(stream.max_deleted),
            b"entries-added": stream.added,
            b"recorded-first-entry-id": format_id(stream.first_id),
        }
    if full:
        entries = stream.range(MIN_ID, MAX_ID)
        reply = [
            entry_reply(*entry)
            for _, entry in zip(range(count or stream.length), entries, strict=False)
        ]
        return summary | {
            b"entries": reply,
            b"groups": [
                _full_group(ctx, stream, name, group, count)
                for name, group in stream.groups.items()
            ],
        }
    first = next(stream.range(MIN_ID, MAX_ID), None)
    last = next(stream.reverse_range(MAX_ID, MIN_ID), None)
    return summary | {
        b"groups": len(stream.groups),
        b"first-entry": None if first is None else entry_reply(*first),
        b"last-entry": None if last is None else entry_reply(*last),
    }


def _entries_read_and_lag(ctx: Session, stream: Stream, group: Group) -> dict[Reply, Reply]:
    version = ctx.server.version
    if version.before(7):
        return {}
    newest = version.is_redis(8)
    lag = stream.lag(
        group,
        counts_all=newest,
        check_deleted=not version.before(7, 2),
        early_gaps=version.is_valkey(),
    )
    return {b"entries-read": None if group.entries_read < 0 else group.entries_read, b"lag": lag}


def _full_group(ctx: Session, stream: Stream, name: bytes, group: Group, count: int) -> Reply:
    def first_ids(pending_entries: Mapping[Id, Pending]) -> list[Id]:
        return list(islice(pending_entries, count or None))

    pending: list[Reply] = [
        [
            format_id(i),
            group.pending[i].consumer.name,
            group.pending[i].delivered_at,
            group.pending[i].deliveries,
        ]
        for i in first_ids(group.pending)
    ]
    consumers: list[Reply] = []
    for consumer in group.consumers.values():
        own: list[Reply] = [
            [format_id(i), consumer.pending[i].delivered_at, consumer.pending[i].deliveries]
            for i in first_ids(consumer.pending)
        ]
        reply: dict[Reply, Reply] = {b"name": consumer.name, b"seen-time": consumer.seen_at}
        if not ctx.server.version.before(7, 2):
            reply[b"active-time"] = consumer.active_at
        consumers.append(reply | {b"pel-count": len(consumer.pending), b"pending": own})
    return (
        {b"name": name, b"last-delivered-id": format_id(group.last_id)}
        | _entries_read_and_lag(ctx, stream, group)
        | {b"pel-count": len(group.pending), b"pending": pending, b"consumers": consumers}
    )


@command("xinfo|groups")
def xinfo_groups(ctx: Session, argv: list[bytes]) -> Reply:
    stream = _require_stream(ctx, argv[2])
    return [
        {
            b"name": name,
            b"consumers": len(group.consumers),
            b"pending": len(group.pending),
            b"last-delivered-id": format_id(group.last_id),
        }
        | _entries_read_and_lag(ctx, stream, group)
        for name, group in stream.groups.items()
    ]


@command("xinfo|consumers")
def xinfo_consumers(ctx: Session, argv: list[bytes]) -> Reply:
    stream = _require_stream(ctx, argv[2])
    if argv[3] not in stream.groups:
        raise _no_group(argv[2], argv[3])
    now = ctx.db.context.now
    found: list[Reply] = []
    for consumer in stream.groups[argv[3]].consumers.values():
        reply: dict[Reply, Reply] = {
            b"name": consumer.name,
            b"pending": len(consumer.pending),
            b"idle": max(0, now - consumer.seen_at),
        }
        if not ctx.server.version.before(7, 2):
            active = consumer.active_at
            reply[b"inactive"] = -1 if active < 0 else max(0, now - active)
        found.append(reply)
    return found
