"""ZPOPMIN, ZPOPMAX and ZMPOP, and the blocking commands BZPOPMIN, BZPOPMAX and BZMPOP."""

from __future__ import annotations

from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import (
    INT64_MAX,
    parse_integer,
    parse_range,
    syntax_error,
)
from redis_emulator.commands.helpers.blocking import pop_or_block
from redis_emulator.commands.helpers.timeout import parse_timeout
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
_BAD_NUMKEYS: Final = "ERR numkeys should be greater than 0"
_BAD_COUNT: Final = "ERR count should be greater than 0"


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
    popped = _pop_members(ctx, argv[1], value, count, lowest=lowest)
    if len(argv) == 3:
        return pairs_reply(ctx, [(member, score) for score, member in popped])
    return [popped[0][1], score_reply(ctx, popped[0][0])]


def _pop_members(
    ctx: Session, key: bytes, value: SortedSet, count: int, *, lowest: bool
) -> list[Item]:
    """Pop up to ``count`` members with the lowest or highest scores, in this order."""
    length = len(value.scores)
    if lowest:
        popped = value.remove_ranks(0, min(count, length))
    else:
        popped = value.remove_ranks(max(0, length - count), length)[::-1]
    ctx.db.changed(key, b"zpopmin" if lowest else b"zpopmax", ZSET)
    ctx.db.context.dirty += len(popped) - 1
    remove_if_empty(ctx, key, value)
    return popped


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
                return _pop_one(ctx, key, value, lowest=lowest)
        return None

    return pop_or_block(ctx, b"zset", argv[1:-1], deadline, attempt)


def _pop_one(ctx: Session, key: bytes, value: SortedSet, *, lowest: bool) -> Reply:
    [(score, member)] = _pop_members(ctx, key, value, 1, lowest=lowest)
    return [key, member, score_reply(ctx, score)]


class _MultiPop:
    """The arguments of ZMPOP and BZMPOP from ``numkeys`` on."""

    __slots__ = ("_count", "_lowest", "keys")

    def __init__(self, argv: list[bytes], index: int) -> None:
        numkeys = parse_range(argv[index], 1, INT64_MAX, _BAD_NUMKEYS)
        index += 1
        self.keys = argv[index : index + numkeys]
        options = argv[index + numkeys :]
        if not options or options[0].upper() not in (b"MIN", b"MAX"):
            raise syntax_error()
        self._lowest = options[0].upper() == b"MIN"
        self._count = 1
        if len(options) > 1:
            if len(options) < 3 or options[1].upper() != b"COUNT":
                raise syntax_error()
            self._count = parse_range(options[2], 1, INT64_MAX, _BAD_COUNT)
            if len(options) > 3:
                raise syntax_error()

    def pop(self, ctx: Session, keys: list[bytes]) -> Reply | None:
        """Pop members from the first of ``keys`` that exists; None if none exists."""
        for key in keys:
            value = writable_sorted_set(ctx, key)
            if value is not None:
                popped = _pop_members(ctx, key, value, self._count, lowest=self._lowest)
                return [key, [[member, score_reply(ctx, score)] for score, member in popped]]
        return None


@command("zmpop")
def zmpop(ctx: Session, argv: list[bytes]) -> Reply:
    multi_pop = _MultiPop(argv, 1)
    reply = multi_pop.pop(ctx, multi_pop.keys)
    return NULL_ARRAY if reply is None else reply


@command("bzmpop")
def bzmpop(ctx: Session, argv: list[bytes]) -> Reply:
    multi_pop = _MultiPop(argv, 2)
    deadline = parse_timeout(ctx, argv[1])
    return pop_or_block(
        ctx, b"zset", multi_pop.keys, deadline, lambda keys: multi_pop.pop(ctx, keys)
    )
