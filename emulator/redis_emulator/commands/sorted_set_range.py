"""The sorted set commands on ranges by rank, score and member, and ZRANK.

They read, count, store and remove ranges: ZRANGE, ZCOUNT, ZRANGESTORE, ZREMRANGEBYSCORE and others.
"""

from __future__ import annotations

from typing import Any, Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import parse_integer, read_double, syntax_error
from redis_emulator.commands.registry import command
from redis_emulator.commands.sorted_set import (
    lookup_sorted_set,
    new_sorted_set,
    pairs_reply,
    remove_if_empty,
    set_score,
    writable_sorted_set,
)
from redis_emulator.keyspace.events import GENERIC, ZSET
from redis_emulator.resp.types import NULL_ARRAY, RedisError, Reply
from redis_emulator.values.sorted_set import HIGHEST, LOWEST, Item, LexBound, ScoreBound, SortedSet

_NOT_A_SCORE: Final = "ERR min or max is not a float"
_NOT_LEX: Final = "ERR min or max not valid string range item"
_LIMIT_NEEDS_BY: Final = (
    "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
)
_WITHSCORES_BYLEX: Final = "ERR syntax error, WITHSCORES not supported in combination with BYLEX"


_SPACE: Final = b" \t\n\v\f\r"


class _RangeQuery:
    """The parsed arguments of ZRANGE or a related command.

    Valkey counts a negative LIMIT offset from the end of the range, but only in skiplists.

    Attributes:
        by: ``b"RANK"``, ``b"SCORE"`` or ``b"LEX"``.
        reverse: Whether the order is from highest to lowest. The arguments then start with the
            highest.
        with_scores: Whether WITHSCORES was given.
    """

    __slots__ = (
        "_count",
        "_high",
        "_low",
        "_offset",
        "_offset_from_end",
        "by",
        "reverse",
        "with_scores",
    )

    def __init__(
        self,
        ctx: Session,
        argv: list[bytes],
        first: int,
        by: bytes | None = None,
        reverse: bool | None = None,
    ) -> None:
        self.with_scores = False
        self._offset, self._count = 0, -1
        self._offset_from_end = ctx.server.version.is_valkey()
        storing = first == 3
        index = first + 2
        while index < len(argv):
            word = argv[index].upper()
            if word == b"WITHSCORES" and not storing:
                self.with_scores = True
            elif word == b"LIMIT" and index + 2 < len(argv):
                self._offset = parse_integer(argv[index + 1])
                self._count = parse_integer(argv[index + 2])
                index += 2
            elif word == b"REV" and reverse is None:
                reverse = True
            elif word in (b"BYLEX", b"BYSCORE") and by is None:
                by = word[2:]
            else:
                raise syntax_error()
            index += 1
        self.by = by or b"RANK"
        self.reverse = bool(reverse)
        if self._count != -1 and self.by == b"RANK":
            raise RedisError(_LIMIT_NEEDS_BY)
        if self.with_scores and self.by == b"LEX":
            raise RedisError(_WITHSCORES_BYLEX)
        self._low: Any
        self._high: Any
        low, high = argv[first], argv[first + 1]
        if self.reverse and self.by != b"RANK":
            low, high = high, low
        if self.by == b"RANK":
            self._low, self._high = parse_integer(low), parse_integer(high)
        elif self.by == b"SCORE":
            self._low, self._high = score_bounds(ctx, low, high)
        else:
            self._low, self._high = lex_bounds(low, high)

    def items(self, value: SortedSet) -> list[Item]:
        """The items of ``value`` in the range, in the requested order."""
        if self.by == b"RANK":
            length = len(value.scores)
            start, stop = rank_range(self._low, self._high, length)
            if self.reverse:
                start, stop = length - stop, length - start
            return _slice(value, start, stop, reverse=self.reverse)
        if self.by == b"SCORE":
            start, stop = value.score_range(self._low, self._high)
        else:
            start, stop = value.lex_range(self._low, self._high, reverse=self.reverse)
        offset = self._offset
        if offset < 0 and self._offset_from_end and not value.compact:
            offset += stop - start
        if offset < 0:
            return []
        if self.reverse:
            stop -= offset
            start = start if self._count < 0 else max(start, stop - self._count)
        else:
            start += offset
            stop = stop if self._count < 0 else min(stop, start + self._count)
        return _slice(value, start, stop, reverse=self.reverse)


def _slice(value: SortedSet, start: int, stop: int, *, reverse: bool) -> list[Item]:
    if start >= stop:
        return []
    items: list[Item] = value.order()[start:stop]
    return items[::-1] if reverse else items


def rank_range(start: int, end: int, length: int) -> tuple[int, int]:
    """Convert a Redis range of ranks to Python slice bounds, ``(0, 0)`` if it is empty."""
    start = max(0, start + length) if start < 0 else start
    end = end + length if end < 0 else end
    return (start, min(end + 1, length)) if start <= end and start < length else (0, 0)


def score_bounds(ctx: Session, low: bytes, high: bytes) -> tuple[ScoreBound, ScoreBound]:
    """Parse the bounds of a score range. A bound that starts with ``(`` is exclusive.

    Raises:
        RedisError: A bound is not a number.
    """
    return _score_bound(ctx, low), _score_bound(ctx, high)


def _score_bound(ctx: Session, raw: bytes) -> ScoreBound:
    """Parse a bound. Redis reads it up to a zero byte, and an empty one as 0, unlike a score."""
    exclusive = raw[:1] == b"("
    text = raw[exclusive:].split(b"\0", 1)[0]
    if not ctx.server.version.is_8:
        text = text.lstrip(_SPACE)
    elif b"x" in text or b"X" in text:
        raise RedisError(_NOT_A_SCORE)
    value = read_double(text) if text else 0.0
    if value is None:
        raise RedisError(_NOT_A_SCORE)
    return ScoreBound(value, exclusive)


def lex_bounds(low: bytes, high: bytes) -> tuple[LexBound, LexBound]:
    """Parse the bounds of a lexicographical range: ``-``, ``+``, ``[member`` or ``(member``.

    Raises:
        RedisError: A bound has none of these forms.
    """
    return _lex_bound(low), _lex_bound(high)


def _lex_bound(raw: bytes) -> LexBound:
    if raw == b"-":
        return LOWEST
    if raw == b"+":
        return HIGHEST
    if raw[:1] not in (b"[", b"("):
        raise RedisError(_NOT_LEX)
    return LexBound(raw[1:], raw[:1] == b"(")


@command("zrange")
def zrange(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) == 4:
        start, end = parse_integer(argv[2]), parse_integer(argv[3])
        value = lookup_sorted_set(ctx, argv[1])
        if value is None:
            return []
        start, stop = rank_range(start, end, len(value.scores))
        return [member for _, member in value.order()[start:stop]]
    return _range(ctx, argv, _RangeQuery(ctx, argv, 2))


@command("zrevrange")
def zrevrange(ctx: Session, argv: list[bytes]) -> Reply:
    return _range(ctx, argv, _RangeQuery(ctx, argv, 2, b"RANK", True))


@command("zrangebyscore")
def zrangebyscore(ctx: Session, argv: list[bytes]) -> Reply:
    return _range(ctx, argv, _RangeQuery(ctx, argv, 2, b"SCORE", False))


@command("zrevrangebyscore")
def zrevrangebyscore(ctx: Session, argv: list[bytes]) -> Reply:
    return _range(ctx, argv, _RangeQuery(ctx, argv, 2, b"SCORE", True))


@command("zrangebylex")
def zrangebylex(ctx: Session, argv: list[bytes]) -> Reply:
    return _range(ctx, argv, _RangeQuery(ctx, argv, 2, b"LEX", False))


@command("zrevrangebylex")
def zrevrangebylex(ctx: Session, argv: list[bytes]) -> Reply:
    return _range(ctx, argv, _RangeQuery(ctx, argv, 2, b"LEX", True))


def _range(ctx: Session, argv: list[bytes], query: _RangeQuery) -> Reply:
    value = lookup_sorted_set(ctx, argv[1])
    if value is None:
        return []
    items = query.items(value)
    if query.with_scores:
        return pairs_reply(ctx, [(member, score) for score, member in items])
    return [member for _, member in items]


@command("zrangestore")
def zrangestore(ctx: Session, argv: list[bytes]) -> Reply:
    db, target = ctx.db, argv[1]
    query = _RangeQuery(ctx, argv, 3)
    value = lookup_sorted_set(ctx, argv[2])
    items = [] if value is None else query.items(value)
    if not items:
        if db.remove(target):
            db.changed(target, b"del", GENERIC)
        return 0
    stored = new_sorted_set(ctx, len(items) if query.by == b"RANK" else 0, 0)
    for score, member in items:
        set_score(ctx, stored, member, score)
    db.set(target, stored)
    db.changed(target, b"zrangestore", ZSET)
    return len(items)


@command("zcount")
def zcount(ctx: Session, argv: list[bytes]) -> Reply:
    low, high = score_bounds(ctx, argv[2], argv[3])
    value = lookup_sorted_set(ctx, argv[1])
    if value is None:
        return 0
    start, stop = value.score_range(low, high)
    return stop - start


@command("zlexcount")
def zlexcount(ctx: Session, argv: list[bytes]) -> Reply:
    low, high = lex_bounds(argv[2], argv[3])
    value = lookup_sorted_set(ctx, argv[1])
    if value is None:
        return 0
    start, stop = value.lex_range(low, high)
    return stop - start


@command("zrank")
def zrank(ctx: Session, argv: list[bytes]) -> Reply:
    return _rank(ctx, argv, reverse=False)


@command("zrevrank")
def zrevrank(ctx: Session, argv: list[bytes]) -> Reply:
    return _rank(ctx, argv, reverse=True)


def _rank(ctx: Session, argv: list[bytes], *, reverse: bool) -> Reply:
    with_score = len(argv) > 3
    if len(argv) > 4:
        name = argv[0].decode().lower()
        raise RedisError(f"ERR wrong number of arguments for '{name}' command")
    if with_score and argv[3].upper() != b"WITHSCORE":
        raise syntax_error()
    value = lookup_sorted_set(ctx, argv[1])
    rank = None if value is None else value.rank(argv[2])
    if value is None or rank is None:
        return NULL_ARRAY if with_score else None
    if reverse:
        rank = len(value.scores) - 1 - rank
    return [rank, value.scores[argv[2]]] if with_score else rank


@command("zremrangebyrank")
def zremrangebyrank(ctx: Session, argv: list[bytes]) -> Reply:
    start, end = parse_integer(argv[2]), parse_integer(argv[3])
    value = writable_sorted_set(ctx, argv[1])
    if value is None:
        return 0
    return _remove_range(ctx, argv, value, rank_range(start, end, len(value.scores)))


@command("zremrangebyscore")
def zremrangebyscore(ctx: Session, argv: list[bytes]) -> Reply:
    low, high = score_bounds(ctx, argv[2], argv[3])
    value = writable_sorted_set(ctx, argv[1])
    return 0 if value is None else _remove_range(ctx, argv, value, value.score_range(low, high))


@command("zremrangebylex")
def zremrangebylex(ctx: Session, argv: list[bytes]) -> Reply:
    low, high = lex_bounds(argv[2], argv[3])
    value = writable_sorted_set(ctx, argv[1])
    return 0 if value is None else _remove_range(ctx, argv, value, value.lex_range(low, high))


def _remove_range(ctx: Session, argv: list[bytes], value: SortedSet, ranks: tuple[int, int]) -> int:
    removed = value.remove_ranks(*ranks)
    if removed:
        ctx.db.changed(argv[1], argv[0].lower(), ZSET)
        ctx.db.context.dirty += len(removed) - 1
        remove_if_empty(ctx, argv[1], value)
    return len(removed)
