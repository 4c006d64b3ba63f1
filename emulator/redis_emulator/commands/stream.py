"""The stream commands on entries: XADD, XTRIM, XDEL, XRANGE, XSETID.

Consumer groups and XINFO are in `stream_groups`, XREAD and XREADGROUP in `stream_read`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import (
    NO_SUCH_KEY,
    NOT_AN_INTEGER,
    parse_integer,
    syntax_error,
    wrong_type,
)
from redis_emulator.commands.registry import command
from redis_emulator.keyspace.events import STREAM
from redis_emulator.resp.types import NULL_ARRAY, OK, RedisError, Reply
from redis_emulator.values.stream import (
    MAX_ID,
    MAX_PART,
    MIN_ID,
    Fields,
    Id,
    Stream,
    format_id,
    next_id,
    previous_id,
)

INVALID_ID: Final = "ERR Invalid stream ID specified as stream command argument"
_ID_LENGTH_MAX: Final = 127
_STRTOULL_NUMBER: Final = re.compile(rb"[ \t-\r]*[+-]?[0-9]+").fullmatch
_NEGATIVE_NUMBER: Final = re.compile(rb"-[1-9][0-9]*").fullmatch
_ID_TOO_SMALL: Final = (
    "ERR The ID specified in XADD is equal or smaller than the target stream top item"
)
_IDS_EXHAUSTED: Final = (
    "ERR The stream has exhausted the last possible ID, unable to add more items"
)
STRATEGIES: Final = (b"KEEPREF", b"DELREF", b"ACKED")


def lookup_stream(ctx: Session, key: bytes, *, write: bool = False) -> Stream | None:
    """The stream at ``key``, or None if the key does not exist.

    ``write`` looks the key up for changing the stream in place.

    Raises:
        RedisError: The key holds another type.
    """
    value = ctx.db.writable(key) if write else ctx.db.lookup(key)
    if value is None or type(value) is Stream:
        return value
    raise wrong_type()


def parse_id(raw: bytes, missing_sequence: int = 0, *, strict: bool = False) -> Id:
    """Parse an id: ``ms-seq``, ``ms``, or, unless ``strict``, ``-`` and ``+``.

    Raises:
        RedisError: It has none of these forms.
    """
    if len(raw) > _ID_LENGTH_MAX:
        raise RedisError(INVALID_ID)
    raw = raw.partition(b"\0")[0]
    if not strict and raw == b"-":
        return MIN_ID
    if not strict and raw == b"+":
        return MAX_ID
    milliseconds, separator, sequence = raw.partition(b"-")
    if not separator:
        return _parse_id_part(milliseconds), missing_sequence
    return _parse_id_part(milliseconds), _parse_id_part(sequence)


def _parse_id_part(text: bytes) -> int:
    """Parse a part of an id as Redis does: ``string2ull``, which falls back to ``strtoull``.

    A canonical negative number is an error. Other texts that ``strtoull`` accepts wrap at 64 bits.
    """
    if not text.isdigit() and not _STRTOULL_NUMBER(text):
        raise RedisError(INVALID_ID)
    value = int(text)
    if abs(value) > MAX_PART or (value >= -1 << 63 and _NEGATIVE_NUMBER(text)):
        raise RedisError(INVALID_ID)
    return value & MAX_PART


def parse_interval(low: bytes, high: bytes) -> tuple[Id, Id]:
    """Parse the bounds of a range of ids. A bound that starts with ``(`` is exclusive."""
    if low[:1] == b"(":
        start = next_id(parse_id(low[1:], strict=True))
        if start is None:
            raise RedisError("ERR invalid start ID for the interval")
    else:
        start = parse_id(low)
    if high[:1] == b"(":
        end = previous_id(parse_id(high[1:], MAX_PART, strict=True))
        if end is None:
            raise RedisError("ERR invalid end ID for the interval")
    else:
        end = parse_id(high, MAX_PART)
    return start, end


def entry_reply(entry_id: Id, fields: Fields | None) -> Reply:
    """An entry as in the reply of XRANGE. ``fields`` is None for a deleted entry."""
    return [format_id(entry_id), NULL_ARRAY if fields is None else list(fields)]


@dataclass
class Trim:
    """The trimming options of XADD and XTRIM."""

    kind: bytes = b""
    threshold: int = 0
    min_id: Id = MIN_ID
    approximate: bool = False
    exact: bool = False
    limit: int | None = None
    strategy: bytes = b""
    options: set[bytes] = field(default_factory=set)


def _parse_trim(ctx: Session, argv: list[bytes], index: int, *, adding: bool) -> tuple[Trim, int]:
    """Parse options from ``argv[index]`` on; return them and the index of the next argument."""
    trim = Trim()
    version = ctx.server.version
    strategies = version.is_redis(8, 2)
    while index < len(argv):
        word = argv[index].partition(b"\0")[0].upper()
        remaining = len(argv) - index - 1
        if adding and word == b"*":
            break
        if word in (b"MAXLEN", b"MINID") and remaining:
            if trim.kind and trim.kind != word:
                raise RedisError(
                    "ERR syntax error, MAXLEN and MINID options at the same time are not compatible"
                )
            trim.kind = word
            index += 1
            if argv[index] in (b"~", b"=") and remaining >= 2:
                trim.approximate = argv[index] == b"~"
                index += 1
            _parse_threshold(trim, argv[index])
        elif word == b"LIMIT" and remaining:
            index += 1
            trim.limit = parse_integer(argv[index])
            if trim.limit < 0:
                raise RedisError("ERR The LIMIT argument must be >= 0.")
        elif adding and word == b"NOMKSTREAM":
            trim.options.add(word)
        elif word in STRATEGIES and strategies:
            if trim.strategy:
                raise syntax_error()
            trim.strategy = word
        elif adding:
            accepts_partial_id = not version.before(7)
            parse_id(word.removesuffix(b"-*" if accepts_partial_id else b""), strict=True)
            break
        else:
            raise syntax_error()
        index += 1
    if trim.limit is not None and not trim.kind:
        raise RedisError(
            "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"
        )
    if not adding and not trim.kind:
        raise RedisError("ERR syntax error, XTRIM must be called with a trimming strategy")
    if trim.limit is not None and not trim.approximate:
        raise RedisError("ERR syntax error, LIMIT cannot be used without the special ~ option")
    return trim, index


def _parse_threshold(trim: Trim, raw: bytes) -> None:
    if trim.kind == b"MINID":
        trim.min_id = parse_id(raw, strict=True)
        return
    trim.threshold = parse_integer(raw)
    if trim.threshold < 0:
        raise RedisError("ERR The MAXLEN argument must be >= 0.")


def _trim(ctx: Session, stream: Stream, trim: Trim) -> int:
    """Delete entries from the start of the stream; return their number."""
    limit = 0
    if trim.approximate:
        limit = trim.limit if trim.limit is not None else 100 * _max_entries(ctx)
        if trim.limit is None and not limit:
            limit = 10_000
    removed = 0
    index = 0
    while index < len(stream.nodes):
        node = stream.nodes[index]
        if trim.kind == b"MAXLEN" and stream.length <= trim.threshold:
            break
        if limit and removed + len(node.ids) > limit:
            break
        if trim.kind == b"MAXLEN":
            removable = stream.length - len(node.ids) >= trim.threshold
        else:
            removable = node.ids[-1] < trim.min_id
        if trim.approximate and not (removable and trim.strategy in (b"", b"KEEPREF")):
            break
        before = len(stream.nodes)
        for entry_id in tuple(node.ids):
            if trim.kind == b"MAXLEN" and stream.length <= trim.threshold:
                return removed
            if trim.kind == b"MINID" and entry_id >= trim.min_id:
                return removed
            removed += delete_entry(stream, entry_id, trim.strategy) == 1
        index += len(stream.nodes) == before
    return removed


def delete_entry(stream: Stream, entry_id: Id, strategy: bytes) -> int:
    """Delete an entry as XDELEX does.

    Returns:
        1 if it was deleted, -1 if it does not exist, 2 if a group still references it (ACKED).
    """
    if strategy == b"ACKED" and any(
        entry_id in group.pending or group.last_id < entry_id for group in stream.groups.values()
    ):
        return 2
    if stream.get(entry_id) is None:
        return -1
    if strategy == b"DELREF":
        for group in stream.groups.values():
            group.forget(entry_id)
    stream.remove(entry_id)
    return 1


def _max_entries(ctx: Session) -> int:
    return ctx.server.config.integer("stream-node-max-entries")


@command("xadd")
def xadd(ctx: Session, argv: list[bytes]) -> Reply:
    trim, index = _parse_trim(ctx, argv, 2, adding=True)
    id_argument = argv[index].partition(b"\0")[0] if index < len(argv) else b"*"
    if id_argument.endswith(b"-*") and ctx.server.version.before(7):
        parse_id(id_argument, strict=True)
    fields = argv[index + 1 :]
    if len(fields) < 2 or len(fields) % 2:
        name = "'xadd' command" if not ctx.server.version.before(7) else "XADD"
        raise RedisError(f"ERR wrong number of arguments for {name}")
    if id_argument != b"*" and not id_argument.endswith(b"-*") and parse_id(id_argument) == MIN_ID:
        raise RedisError("ERR The ID specified in XADD must be greater than 0-0")
    key = argv[1]
    stream = lookup_stream(ctx, key, write=True)
    if stream is None:
        if b"NOMKSTREAM" in trim.options:
            return None
        stream = Stream()
    elif stream.last_id == MAX_ID:
        raise RedisError(_IDS_EXHAUSTED)
    entry_id = _new_id(stream, id_argument, ctx.db.context.now)
    if entry_id <= stream.last_id:
        raise RedisError(_ID_TOO_SMALL)
    if key not in ctx.db.data:
        ctx.db.set(key, stream)
    max_bytes = ctx.server.config.integer("stream-node-max-bytes")
    stream.append(entry_id, tuple(fields), max_bytes, _max_entries(ctx))
    ctx.db.changed(key, b"xadd", STREAM)
    if trim.kind and _trim(ctx, stream, trim):
        ctx.db.notify(key, b"xtrim", STREAM)
    return format_id(entry_id)


def _new_id(stream: Stream, id_argument: bytes, now: int) -> Id:
    if id_argument == b"*":
        if now > stream.last_id[0]:
            return now, 0
        return next_id(stream.last_id) or MAX_ID
    if not id_argument.endswith(b"-*"):
        return parse_id(id_argument, strict=True)
    milliseconds = parse_id(id_argument[:-2], strict=True)[0]
    if milliseconds != stream.last_id[0]:
        return milliseconds, 0
    if stream.last_id[1] == MAX_PART:
        raise RedisError(_ID_TOO_SMALL)
    return milliseconds, stream.last_id[1] + 1


@command("xlen")
def xlen(ctx: Session, argv: list[bytes]) -> Reply:
    stream = lookup_stream(ctx, argv[1])
    return 0 if stream is None else stream.length


@command("xrange")
def xrange_(ctx: Session, argv: list[bytes]) -> Reply:
    low, high = parse_interval(argv[2], argv[3])
    return _range(ctx, argv, low, high, reverse=False)


@command("xrevrange")
def xrevrange(ctx: Session, argv: list[bytes]) -> Reply:
    low, high = parse_interval(argv[3], argv[2])
    return _range(ctx, argv, low, high, reverse=True)


def _range(ctx: Session, argv: list[bytes], low: Id, high: Id, *, reverse: bool) -> Reply:
    count = -1
    index = 4
    while index < len(argv):
        if argv[index].upper() != b"COUNT" or index + 1 >= len(argv):
            raise syntax_error()
        count = max(0, parse_integer(argv[index + 1]))
        index += 2
    stream = lookup_stream(ctx, argv[1])
    if stream is None:
        return []
    if count == 0:
        return NULL_ARRAY
    entries = stream.reverse_range(high, low) if reverse else stream.range(low, high)
    found: list[Reply] = []
    for entry_id, fields in entries:
        found.append(entry_reply(entry_id, fields))
        if len(found) == count:
            break
    return found


@command("xtrim")
def xtrim(ctx: Session, argv: list[bytes]) -> Reply:
    trim, _ = _parse_trim(ctx, argv, 2, adding=False)
    stream = lookup_stream(ctx, argv[1], write=True)
    if stream is None:
        return 0
    removed = _trim(ctx, stream, trim)
    if removed:
        ctx.db.changed(argv[1], b"xtrim", STREAM)
    return removed


@command("xdel")
def xdel(ctx: Session, argv: list[bytes]) -> Reply:
    stream = lookup_stream(ctx, argv[1], write=True)
    if stream is None:
        return 0
    ids = [parse_id(raw, strict=True) for raw in argv[2:]]
    removed = 0
    for entry_id in ids:
        if stream.remove(entry_id):
            stream.max_deleted = max(stream.max_deleted, entry_id)
            removed += 1
    if removed:
        ctx.db.changed(argv[1], b"xdel", STREAM)
    return removed


def parse_id_block(argv: list[bytes], index: int) -> tuple[bytes, list[bytes]]:
    """Parse ``[KEEPREF | DELREF | ACKED] IDS numids id [id ...]``; return strategy and raw ids."""
    strategy = b""
    while index < len(argv):
        word = argv[index].upper()
        if word in STRATEGIES:
            if strategy:
                raise syntax_error()
            strategy = word
            index += 1
        elif word == b"IDS" and index + 1 < len(argv):
            error = "ERR Number of IDs must be a positive integer"
            count = parse_integer(argv[index + 1], error)
            if count <= 0:
                raise RedisError(error)
            if count != len(argv) - index - 2:
                raise RedisError("ERR The `numids` parameter must match the number of arguments")
            return strategy, argv[index + 2 :]
        else:
            break
    raise syntax_error()


@command("xdelex")
def xdelex(ctx: Session, argv: list[bytes]) -> Reply:
    strategy, raw_ids = parse_id_block(argv, 2)
    stream = lookup_stream(ctx, argv[1], write=True)
    if stream is None:
        return [-1] * len(raw_ids)
    outcomes: list[Reply] = []
    for entry_id in [parse_id(raw, strict=True) for raw in raw_ids]:
        outcome = delete_entry(stream, entry_id, strategy)
        if outcome == 1:
            stream.max_deleted = max(stream.max_deleted, entry_id)
        outcomes.append(outcome)
    if 1 in outcomes:
        ctx.db.changed(argv[1], b"xdel", STREAM)
    return outcomes


@command("xsetid")
def xsetid(ctx: Session, argv: list[bytes]) -> Reply:
    if ctx.server.version.before(7):
        return _xsetid_before_7(ctx, argv)
    last_id = parse_id(argv[2], strict=True)
    added: int | None = None
    max_deleted: Id | None = None
    index = 3
    while index < len(argv):
        word = argv[index].upper()
        if index + 1 >= len(argv):
            raise syntax_error()
        if word == b"ENTRIESADDED":
            added = parse_integer(argv[index + 1], NOT_AN_INTEGER)
            if added < 0:
                raise RedisError("ERR entries_added must be positive")
        elif word == b"MAXDELETEDID":
            max_deleted = parse_id(argv[index + 1], strict=True)
            if last_id < max_deleted:
                raise RedisError(
                    "ERR The ID specified in XSETID is smaller than the provided "
                    "max_deleted_entry_id"
                )
        else:
            raise syntax_error()
        index += 2
    stream = lookup_stream(ctx, argv[1], write=True)
    if stream is None:
        raise RedisError(NO_SUCH_KEY)
    if last_id < stream.max_deleted and not ctx.server.version.before(7, 2):
        raise RedisError(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"
        )
    if stream.length and last_id < next(stream.reverse_range(MAX_ID, MIN_ID))[0]:
        raise RedisError(
            "ERR The ID specified in XSETID is smaller than the target stream top item"
        )
    if stream.length and added is not None and added < stream.length:
        raise RedisError(
            "ERR The entries_added specified in XSETID is smaller than the target stream length"
        )
    stream.last_id = last_id
    if added is not None:
        stream.added = added
    if max_deleted is not None and max_deleted != MIN_ID:
        stream.max_deleted = max_deleted
    ctx.db.adjusted(argv[1], b"xsetid")
    return OK


def _xsetid_before_7(ctx: Session, argv: list[bytes]) -> Reply:
    """XSETID before Redis 7, which has no options and looks up the key before it parses the id."""
    if len(argv) > 3:
        raise RedisError("ERR wrong number of arguments for 'xsetid' command")
    stream = lookup_stream(ctx, argv[1], write=True)
    if stream is None:
        raise RedisError(NO_SUCH_KEY)
    last_id = parse_id(argv[2], strict=True)
    if stream.length and last_id < next(stream.reverse_range(MAX_ID, MIN_ID))[0]:
        raise RedisError(
            "ERR The ID specified in XSETID is smaller than the target stream top item"
        )
    stream.last_id = last_id
    ctx.db.adjusted(argv[1], b"xsetid")
    return OK
