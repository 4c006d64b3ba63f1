"""Lists. What may wait for elements is in `list_blocking`."""

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
_INT32: Final = 1 << 31
"""Newer servers keep 32 bits of LSET's index."""
_ENDS: Final = {b"LEFT": True, b"RIGHT": False}


def lookup_list(ctx: Session, key: bytes) -> List | None:
    """The list at ``key`` for reading, or None.

    Raises:
        RedisError: The key holds something else.
    """
    value = ctx.db.lookup(key)
    if value is None or type(value) is List:
        return value
    raise wrong_type()


def writable_list(ctx: Session, key: bytes) -> List | None:
    """The list at ``key`` to be changed, or None.

    Raises:
        RedisError: The key holds something else.
    """
    value = ctx.db.writable(key)
    if value is None or type(value) is List:
        return value
    raise wrong_type()


def max_listpack_size(ctx: Session) -> int:
    """The configured limit of a listpack."""
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
    """Take the element at an end of the list at ``key``, and say so."""
    element = value.pop(left=left)
    _removed(ctx, key, value, b"lpop" if left else b"rpop")
    return element


def pop_many(ctx: Session, key: bytes, value: List, count: int, *, left: bool) -> list[bytes]:
    """Take up to ``count`` elements from an end of the list at ``key``, and say so."""
    count = min(count, len(value))
    if not count:
        return []
    if left:
        elements = value.range(0, count)
        value.delete(0, count)
    else:
        elements = value.range(len(value) - count, len(value))[::-1]
        value.delete(len(value) - count, len(value))
    _removed(ctx, key, value, b"lpop" if left else b"rpop")
    return elements


def _removed(ctx: Session, key: bytes, value: List, event: bytes) -> None:
    """Say that elements were taken from a list, which may be empty or small now."""
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
    """Where a range of the list begins, and where it ends, exclusively."""
    start = max(0, start + length) if start < 0 else start
    stop = (last + length if last < 0 else min(last, length - 1)) + 1
    return (start, stop) if start < stop else (0, 0)


@command("lindex")
def lindex(ctx: Session, argv: list[bytes]) -> Reply:
    value = lookup_list(ctx, argv[1])
    if value is None:
        return None
    place = _place(parse_integer(argv[2]), value)
    return None if place is None else value[place]


def _place(index: int, value: List) -> int | None:
    """An index from the beginning, or None when there is no such element."""
    place = index + len(value) if index < 0 else index
    return place if 0 <= place < len(value) else None


@command("lset")
def lset(ctx: Session, argv: list[bytes]) -> Reply:
    db, key = ctx.db, argv[1]
    value = writable_list(ctx, key)
    if value is None:
        raise RedisError(NO_SUCH_KEY)
    index = parse_integer(argv[2])
    if not ctx.server.version.before(7, 2):
        index = (index + _INT32) % (2 * _INT32) - _INT32
    limit = max_listpack_size(ctx)
    value.grow(argv[3:], limit)
    place = _place(index, value)
    if place is None:
        raise RedisError("ERR index out of range")
    value.replace(place, argv[3])
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
    place = value.find(pivot)
    if place < 0:
        return -1
    value.insert(place, argv[4], after=where == b"AFTER")
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
        _removed(ctx, argv[1], value, b"lrem")
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
    _removed(ctx, argv[1], value, b"ltrim")
    return OK


@command("lpos")
def lpos(ctx: Session, argv: list[bytes]) -> Reply:
    rank, count, longest = _search(ctx, argv)
    value = lookup_list(ctx, argv[1])
    if value is None:
        return None if count is None else []
    found = _positions(list(value), argv[2], rank, 1 if count is None else count, longest)
    if count is None:
        return found[0] if found else None
    return found


def _search(ctx: Session, argv: list[bytes]) -> tuple[int, int | None, int]:
    """The options of LPOS: rank, count, and how many elements to look at (0 for all)."""
    rank, count, longest = 1, None, 0
    for place in range(3, len(argv), 2):
        word = argv[place].upper()
        if word not in (b"RANK", b"COUNT", b"MAXLEN") or place + 1 == len(argv):
            raise syntax_error()
        raw = argv[place + 1]
        if word == b"RANK":
            rank = _rank(ctx, raw)
        elif word == b"COUNT":
            count = parse_range(raw, 0, INT64_MAX, "ERR COUNT can't be negative")
        else:
            longest = parse_range(raw, 0, INT64_MAX, "ERR MAXLEN can't be negative")
    return rank, count, longest


def _rank(ctx: Session, raw: bytes) -> int:
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


def _positions(
    elements: list[bytes], wanted: bytes, rank: int, count: int, longest: int
) -> list[Reply]:
    """Indexes of equal elements from the match number ``rank`` on, backwards when negative."""
    if not longest or longest > len(elements):
        longest = len(elements)
    places = range(len(elements))
    looked_at = places[:longest] if rank > 0 else places[::-1][:longest]
    found: list[Reply] = [place for place in looked_at if elements[place] == wanted]
    first = abs(rank) - 1
    return found[first : first + count if count else None]


@command("lmove")
def lmove(ctx: Session, argv: list[bytes]) -> Reply:
    from_left, to_left = end(argv[3]), end(argv[4])
    return move(ctx, argv[1], argv[2], from_left=from_left, to_left=to_left)


@command("rpoplpush")
def rpoplpush(ctx: Session, argv: list[bytes]) -> Reply:
    return move(ctx, argv[1], argv[2], from_left=False, to_left=True)


def end(word: bytes) -> bool:
    """Whether an argument says LEFT; else it says RIGHT.

    Raises:
        RedisError: It is another word.
    """
    left = _ENDS.get(word.upper())
    if left is None:
        raise syntax_error()
    return left


def move(
    ctx: Session, source: bytes, target: bytes, *, from_left: bool, to_left: bool
) -> bytes | None:
    """Move an element from an end of one list to an end of another; None if there is none.

    Raises:
        RedisError: A key holds another type.
    """
    db = ctx.db
    value = writable_list(ctx, source)
    if value is None:
        return None
    receiver = writable_list(ctx, target)
    element = value.pop(left=from_left)
    if receiver is None:
        receiver = List(ctx.server.debug.packed_threshold)
        db.set(target, receiver)
    receiver.push([element], max_listpack_size(ctx), left=to_left)
    db.changed(target, b"lpush" if to_left else b"rpush", LIST)
    _removed(ctx, source, value, b"lpop" if from_left else b"rpop")
    return element


@command("lmpop")
def lmpop(ctx: Session, argv: list[bytes]) -> Reply:
    keys, left, count = several(argv, 1)
    found = pop_first(ctx, keys, count, left=left)
    return NULL_ARRAY if found is None else found


def several(argv: list[bytes], place: int) -> tuple[list[bytes], bool, int]:
    """What LMPOP is told from ``place`` on: keys, whether the left end is meant, and the count.

    Raises:
        RedisError: It makes no sense.
    """
    wrong = "ERR numkeys should be greater than 0"
    stop = place + 1 + parse_range(argv[place], 1, INT64_MAX, wrong)
    if stop >= len(argv):
        raise syntax_error()
    left = end(argv[stop])
    count = 1
    options = argv[stop + 1 :]
    if options:
        if len(options) != 2 or options[0].upper() != b"COUNT":
            raise syntax_error()
        count = parse_range(options[1], 1, INT64_MAX, "ERR count should be greater than 0")
    return argv[place + 1 : stop], left, count


def pop_first(ctx: Session, keys: list[bytes], count: int, *, left: bool) -> Reply | None:
    """Take elements from the first of ``keys`` that has any; None when no key has."""
    for key in keys:
        value = writable_list(ctx, key)
        if value is not None:
            return [key, pop_many(ctx, key, value, count, left=left)]
    return None
