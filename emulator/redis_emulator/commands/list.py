"""The list commands that do not block. BLPOP, BLMOVE and the others are in `list_blocking`."""

from __future__ import annotations

from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import (
    INT64_MAX,
    INT64_MIN,
    NO_SUCH_KEY,
    parse_integer,
    parse_range,
    syntax_error,
    wrong_type,
)
from redis_emulator.commands.registry import command
from redis_emulator.keyspace.events import GENERIC, LIST
from redis_emulator.resp.types import NULL_ARRAY, OK, RedisError, Reply
from redis_emulator.values.list import List

_NOT_POSITIVE: Final = "ERR value is out of range, must be positive"
_NOT_NEGATABLE: Final = (
    "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"
)
_INT32_LIMIT: Final = 1 << 31
"""Since Redis 7.2, LSET truncates its index to 32 bits."""
_SIDES: Final = {b"LEFT": True, b"RIGHT": False}


def lookup_list(ctx: Session, key: bytes) -> List | None:
    """The list at ``key`` for reading, or None if the key does not exist.

    Raises:
        RedisError: The key holds another type.
    """
    value = ctx.db.lookup(key)
    if value is None or type(value) is List:
        return value
    raise wrong_type()


def writable_list(ctx: Session, key: bytes) -> List | None:
    """The list at ``key`` for changing in place, or None if the key does not exist.

    Raises:
        RedisError: The key holds another type.
    """
    value = ctx.db.writable(key)
    if value is None or type(value) is List:
        return value
    raise wrong_type()


def max_listpack_size(ctx: Session) -> int:
    """The value of ``list-max-listpack-size``."""
    return ctx.server.config.numbers["list-max-listpack-size"]


@command("lpush")
def lpush(ctx: Session, argv: list[bytes]) -> Reply:
    return _push(ctx, argv, b"lpush", left=True)


@command("rpush")
def rpush(ctx: Session, argv: list[bytes]) -> Reply:
    return _push(ctx, argv, b"rpush", left=False)


@command("lpushx")
def lpushx(ctx: Session, argv: list[bytes]) -> Reply:
    return _push(ctx, argv, b"lpush", left=True) if argv[1] in ctx.db.data else 0


@command("rpushx")
def rpushx(ctx: Session, argv: list[bytes]) -> Reply:
    return _push(ctx, argv, b"rpush", left=False) if argv[1] in ctx.db.data else 0


def _push(ctx: Session, argv: list[bytes], event: bytes, *, left: bool) -> int:
    db, key = ctx.db, argv[1]
    value = db.writable(key)
    if value is None:
        value = List(ctx.server.debug.packed_threshold)
        db.set(key, value)
    elif type(value) is not List:
        raise wrong_type()
    value.push(argv[2:], ctx.server.config.numbers["list-max-listpack-size"], left=left)
    db.changed(key, event, LIST)
    return len(value)


@command("lpop")
def lpop(ctx: Session, argv: list[bytes]) -> Reply:
    return _pop(ctx, argv, left=True)


@command("rpop")
def rpop(ctx: Session, argv: list[bytes]) -> Reply:
    return _pop(ctx, argv, left=False)


def _pop(ctx: Session, argv: list[bytes], *, left: bool) -> Reply:
    if len(argv) == 2:
        value = writable_list(ctx, argv[1])
        return None if value is None else pop_one(ctx, argv[1], value, left=left)
    if len(argv) > 3:
        name = argv[0].decode().lower()
        raise RedisError(f"ERR wrong number of arguments for '{name}' command")
    count = parse_range(argv[2], 0, INT64_MAX, _NOT_POSITIVE)
    old = ctx.server.version.before(7)
    if old and not count:
        return NULL_ARRAY
    value = writable_list(ctx, argv[1])
    if value is None:
        return None if old else NULL_ARRAY
    return pop_many(ctx, argv[1], value, count, left=left)


def pop_one(ctx: Session, key: bytes, value: List, *, left: bool) -> bytes:
    """Pop an element from the list at ``key`` and publish the event."""
    element = value.pop(left=left)
    _finish_removal(ctx, key, value, b"lpop" if left else b"rpop")
    return element


def pop_many(ctx: Session, key: bytes, value: List, count: int, *, left: bool) -> list[bytes]:
    """Pop up to ``count`` elements from the list at ``key`` and publish the event."""
    count = min(count, len(value))
    if not count:
        return []
    if left:
        elements = value.range(0, count)
        value.delete(0, count)
    else:
        elements = value.range(len(value) - count, len(value))[::-1]
        value.delete(len(value) - count, len(value))
    _finish_removal(ctx, key, value, b"lpop" if left else b"rpop")
    return elements


def _finish_removal(ctx: Session, key: bytes, value: List, event: bytes) -> None:
    """Publish the event of a removal. Delete the list if it is empty, or shrink its encoding."""
    db = ctx.db
    db.changed(key, event, LIST)
    if not len(value):
        db.remove(key)
        db.changed(key, b"del", GENERIC)
    elif value.fill is not None:
        value.shrink(max_listpack_size(ctx))


@command("llen")
def llen(ctx: Session, argv: list[bytes]) -> Reply:
    value = lookup_list(ctx, argv[1])
    return 0 if value is None else len(value)


@command("lrange")
def lrange(ctx: Session, argv: list[bytes]) -> Reply:
    start, stop = parse_integer(argv[2]), parse_integer(argv[3])
    value = lookup_list(ctx, argv[1])
    if value is None:
        return []
    return value.range(*_bounds(start, stop, len(value)))


def _bounds(start: int, last: int, length: int) -> tuple[int, int]:
    """Convert a Redis range to Python slice bounds, ``(0, 0)`` if it is empty."""
    start = max(0, start + length) if start < 0 else start
    stop = (last + length if last < 0 else min(last, length - 1)) + 1
    return (start, stop) if start < stop else (0, 0)


@command("lindex")
def lindex(ctx: Session, argv: list[bytes]) -> Reply:
    value = lookup_list(ctx, argv[1])
    if value is None:
        return None
    position = _absolute_index(parse_integer(argv[2]), value)
    return None if position is None else value[position]


def _absolute_index(index: int, value: List) -> int | None:
    """Convert a possibly negative index to one from the start, None if it is out of range."""
    position = index + len(value) if index < 0 else index
    return position if 0 <= position < len(value) else None


@command("lset")
def lset(ctx: Session, argv: list[bytes]) -> Reply:
    db, key = ctx.db, argv[1]
    value = writable_list(ctx, key)
    if value is None:
        raise RedisError(NO_SUCH_KEY)
    index = parse_integer(argv[2])
    if not ctx.server.version.before(7, 2):
        index = (index + _INT32_LIMIT) % (2 * _INT32_LIMIT) - _INT32_LIMIT
    limit = max_listpack_size(ctx)
    value.grow(argv[3:], limit)
    position = _absolute_index(index, value)
    if position is None:
        raise RedisError("ERR index out of range")
    value.replace(position, argv[3])
    value.shrink(limit)
    db.changed(key, b"lset", LIST)
    return OK


@command("linsert")
def linsert(ctx: Session, argv: list[bytes]) -> Reply:
    db, key, pivot = ctx.db, argv[1], argv[3]
    where = argv[2].upper()
    if where not in (b"BEFORE", b"AFTER"):
        raise syntax_error()
    value = writable_list(ctx, key)
    if value is None:
        return 0
    value.grow(argv[4:], max_listpack_size(ctx))
    position = value.find(pivot)
    if position < 0:
        return -1
    value.insert(position, argv[4], after=where == b"AFTER")
    db.changed(key, b"linsert", LIST)
    return len(value)


@command("lrem")
def lrem(ctx: Session, argv: list[bytes]) -> Reply:
    count = parse_integer(argv[2])
    if count == INT64_MIN and not ctx.server.version.before(7, 2):
        raise RedisError(_NOT_NEGATABLE)
    value = writable_list(ctx, argv[1])
    if value is None:
        return 0
    removed = value.remove(argv[3], count)
    if removed:
        _finish_removal(ctx, argv[1], value, b"lrem")
    return removed


@command("ltrim")
def ltrim(ctx: Session, argv: list[bytes]) -> Reply:
    start, stop = parse_integer(argv[2]), parse_integer(argv[3])
    value = writable_list(ctx, argv[1])
    if value is None:
        return OK
    start, stop = _bounds(start, stop, len(value))
    value.delete(stop, len(value))
    value.delete(0, start)
    _finish_removal(ctx, argv[1], value, b"ltrim")
    return OK


@command("lpos")
def lpos(ctx: Session, argv: list[bytes]) -> Reply:
    rank, count, max_length = _parse_lpos_options(ctx, argv)
    value = lookup_list(ctx, argv[1])
    if value is None:
        return None if count is None else []
    found = _matching_indexes(list(value), argv[2], rank, 1 if count is None else count, max_length)
    if count is None:
        return found[0] if found else None
    return found


def _parse_lpos_options(ctx: Session, argv: list[bytes]) -> tuple[int, int | None, int]:
    """Parse the options of LPOS: RANK, COUNT and MAXLEN (0 for no limit)."""
    rank, count, max_length = 1, None, 0
    for position in range(3, len(argv), 2):
        word = argv[position].upper()
        if word not in (b"RANK", b"COUNT", b"MAXLEN") or position + 1 == len(argv):
            raise syntax_error()
        raw = argv[position + 1]
        if word == b"RANK":
            rank = _parse_rank(ctx, raw)
        elif word == b"COUNT":
            count = parse_range(raw, 0, INT64_MAX, "ERR COUNT can't be negative")
        else:
            max_length = parse_range(raw, 0, INT64_MAX, "ERR MAXLEN can't be negative")
    return rank, count, max_length


def _parse_rank(ctx: Session, raw: bytes) -> int:
    rank = parse_integer(raw)
    version = ctx.server.version
    if rank == INT64_MIN:
        if not version.before(7, 2):
            raise RedisError(_NOT_NEGATABLE)
        return -1
    if not rank:
        rest = (
            "the second ... or use negative to start from the end of the list"
            if not version.before(7)
            else "the second, ..."
        )
        raise RedisError(
            f"ERR RANK can't be zero: use 1 to start from the first match, 2 from {rest}"
        )
    return rank


def _matching_indexes(
    elements: list[bytes], wanted: bytes, rank: int, count: int, max_length: int
) -> list[Reply]:
    """The indexes of the matches from match number ``rank`` on; from the tail if it is negative."""
    if not max_length or max_length > len(elements):
        max_length = len(elements)
    indexes = range(len(elements))
    scanned = indexes[:max_length] if rank > 0 else indexes[::-1][:max_length]
    found: list[Reply] = [position for position in scanned if elements[position] == wanted]
    first = abs(rank) - 1
    return found[first : first + count if count else None]


@command("lmove")
def lmove(ctx: Session, argv: list[bytes]) -> Reply:
    from_left, to_left = parse_side(argv[3]), parse_side(argv[4])
    return move_element(ctx, argv[1], argv[2], from_left=from_left, to_left=to_left)


@command("rpoplpush")
def rpoplpush(ctx: Session, argv: list[bytes]) -> Reply:
    return move_element(ctx, argv[1], argv[2], from_left=False, to_left=True)


def parse_side(word: bytes) -> bool:
    """Parse LEFT (True) or RIGHT (False).

    Raises:
        RedisError: It is neither.
    """
    left = _SIDES.get(word.upper())
    if left is None:
        raise syntax_error()
    return left


def move_element(
    ctx: Session, source: bytes, target: bytes, *, from_left: bool, to_left: bool
) -> bytes | None:
    """Pop an element from ``source``, push it to ``target`` and return it; None if there is none.

    Raises:
        RedisError: A key holds another type.
    """
    db = ctx.db
    value = writable_list(ctx, source)
    if value is None:
        return None
    target_list = writable_list(ctx, target)
    element = value.pop(left=from_left)
    if target_list is None:
        target_list = List(ctx.server.debug.packed_threshold)
        db.set(target, target_list)
    target_list.push([element], max_listpack_size(ctx), left=to_left)
    db.changed(target, b"lpush" if to_left else b"rpush", LIST)
    _finish_removal(ctx, source, value, b"lpop" if from_left else b"rpop")
    return element


@command("lmpop")
def lmpop(ctx: Session, argv: list[bytes]) -> Reply:
    keys, left, count = parse_mpop(argv, 1)
    found = pop_first(ctx, keys, count, left=left)
    return NULL_ARRAY if found is None else found


def parse_mpop(argv: list[bytes], position: int) -> tuple[list[bytes], bool, int]:
    """Parse ``numkeys key [key ...] LEFT|RIGHT [COUNT count]`` at ``argv[position]``.

    Returns:
        The keys, whether LEFT was given, and the count.

    Raises:
        RedisError: The arguments are invalid.
    """
    bad_numkeys = "ERR numkeys should be greater than 0"
    stop = position + 1 + parse_range(argv[position], 1, INT64_MAX, bad_numkeys)
    if stop >= len(argv):
        raise syntax_error()
    left = parse_side(argv[stop])
    count = 1
    options = argv[stop + 1 :]
    if options:
        if len(options) != 2 or options[0].upper() != b"COUNT":
            raise syntax_error()
        count = parse_range(options[1], 1, INT64_MAX, "ERR count should be greater than 0")
    return argv[position + 1 : stop], left, count


def pop_first(ctx: Session, keys: list[bytes], count: int, *, left: bool) -> Reply | None:
    """Pop elements from the first of ``keys`` that exists; None if none exists."""
    for key in keys:
        value = writable_list(ctx, key)
        if value is not None:
            return [key, pop_many(ctx, key, value, count, left=left)]
    return None
