"""Taking the lowest or highest members out of sorted sets, now or as soon as there are some."""

from __future__ import annotations

from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import (
    INT64_MAX,
    parse_integer,
    parse_range,
    syntax_error,
)
from redis_emulator.commands.helpers.timeout import parse_timeout
from redis_emulator.commands.helpers.waiting import now_or_later
from redis_emulator.commands.registry import command
from redis_emulator.commands.sorted_set import (
    pairs_reply,
    remove_if_empty,
    score_reply,
    writable_sorted_set,
)
from redis_emulator.keyspace.events import ZSET
from redis_emulator.resp.types import NULL_ARRAY, Reply
from redis_emulator.values.sorted_set import Item, SortedSet

_NOT_POSITIVE: Final = "ERR value is out of range, must be positive"
_NUMKEYS: Final = "ERR numkeys should be greater than 0"
_COUNT: Final = "ERR count should be greater than 0"


@command("zpopmin")
def zpopmin(ctx: Session, argv: list[bytes]) -> Reply:
    return _pop(ctx, argv, lowest=True)


@command("zpopmax")
def zpopmax(ctx: Session, argv: list[bytes]) -> Reply:
    return _pop(ctx, argv, lowest=False)


def _pop(ctx: Session, argv: list[bytes], *, lowest: bool) -> Reply:
    if len(argv) > 3:
        raise syntax_error()
    count = 1
    if len(argv) == 3:
        if ctx.server.version.before(7):
            count = parse_integer(argv[2])
            if count <= 0:
                return []
        else:
            count = parse_range(argv[2], 0, INT64_MAX, _NOT_POSITIVE)
    value = writable_sorted_set(ctx, argv[1])
    if value is None or not count:
        return []
    taken = _take(ctx, argv[1], value, count, lowest=lowest)
    if len(argv) == 3:
        return pairs_reply(ctx, [(member, score) for score, member in taken])
    return [taken[0][1], score_reply(ctx, taken[0][0])]


def _take(ctx: Session, key: bytes, value: SortedSet, count: int, *, lowest: bool) -> list[Item]:
    """Remove up to ``count`` members from one end; what they were, outermost first."""
    length = len(value.scores)
    if lowest:
        taken = value.cut(0, min(count, length))
    else:
        taken = value.cut(max(0, length - count), length)[::-1]
    ctx.db.changed(key, b"zpopmin" if lowest else b"zpopmax", ZSET)
    ctx.db.context.dirty += len(taken) - 1
    remove_if_empty(ctx, key, value)
    return taken


@command("bzpopmin")
def bzpopmin(ctx: Session, argv: list[bytes]) -> Reply:
    return _blocking_pop(ctx, argv, lowest=True)


@command("bzpopmax")
def bzpopmax(ctx: Session, argv: list[bytes]) -> Reply:
    return _blocking_pop(ctx, argv, lowest=False)


def _blocking_pop(ctx: Session, argv: list[bytes], *, lowest: bool) -> Reply:
    deadline = parse_timeout(ctx, argv[-1])

    def attempt(keys: list[bytes]) -> Reply | None:
        for key in keys:
            value = writable_sorted_set(ctx, key)
            if value is not None:
                return _one_from(ctx, key, value, lowest=lowest)
        return None

    return now_or_later(ctx, b"zset", argv[1:-1], deadline, attempt)


def _one_from(ctx: Session, key: bytes, value: SortedSet, *, lowest: bool) -> Reply:
    [(score, member)] = _take(ctx, key, value, 1, lowest=lowest)
    return [key, member, score_reply(ctx, score)]


class _Several:
    """What ZMPOP and BZMPOP are told from the number of keys on."""

    __slots__ = ("_count", "_lowest", "keys")

    def __init__(self, argv: list[bytes], place: int) -> None:
        numkeys = parse_range(argv[place], 1, INT64_MAX, _NUMKEYS)
        place += 1
        self.keys = argv[place : place + numkeys]
        options = argv[place + numkeys :]
        if not options or options[0].upper() not in (b"MIN", b"MAX"):
            raise syntax_error()
        self._lowest = options[0].upper() == b"MIN"
        self._count = 1
        if len(options) > 1:
            if len(options) < 3 or options[1].upper() != b"COUNT":
                raise syntax_error()
            self._count = parse_range(options[2], 1, INT64_MAX, _COUNT)
            if len(options) > 3:
                raise syntax_error()

    def pop(self, ctx: Session, keys: list[bytes]) -> Reply | None:
        """Take members from the first of ``keys`` that holds any."""
        for key in keys:
            value = writable_sorted_set(ctx, key)
            if value is not None:
                taken = _take(ctx, key, value, self._count, lowest=self._lowest)
                return [key, [[member, score_reply(ctx, score)] for score, member in taken]]
        return None


@command("zmpop")
def zmpop(ctx: Session, argv: list[bytes]) -> Reply:
    several = _Several(argv, 1)
    popped = several.pop(ctx, several.keys)
    return NULL_ARRAY if popped is None else popped


@command("bzmpop")
def bzmpop(ctx: Session, argv: list[bytes]) -> Reply:
    several = _Several(argv, 2)
    deadline = parse_timeout(ctx, argv[1])
    return now_or_later(ctx, b"zset", several.keys, deadline, lambda keys: several.pop(ctx, keys))
