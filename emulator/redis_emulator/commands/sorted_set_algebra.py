"""Unions, intersections and differences of sorted sets, plain sets among them.

Scores are added up in the order of the server, smallest set first: it shows in the last digit of a
sum and where infinities cancel out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import (
    INT64_MAX,
    parse_integer,
    parse_range,
    syntax_error,
    wrong_type,
)
from redis_emulator.commands.registry import command
from redis_emulator.commands.sorted_set import pairs_reply, parse_score, sorted_set_of
from redis_emulator.keyspace.events import GENERIC, ZSET
from redis_emulator.resp.types import RedisError, Reply
from redis_emulator.values.set import Set
from redis_emulator.values.sorted_set import SortedSet

_Scores = Mapping[bytes, float]
_NOT_A_WEIGHT: Final = "ERR weight value is not a float"
_NEGATIVE_LIMIT: Final = "ERR LIMIT can't be negative"


def _sum(one: float, other: float) -> float:
    total = one + other
    return 0.0 if math.isnan(total) else total


def _least(one: float, other: float) -> float:
    return other if other < one else one


def _greatest(one: float, other: float) -> float:
    return other if other > one else one


_AGGREGATES: Final = {b"SUM": _sum, b"MIN": _least, b"MAX": _greatest}


class _Request:
    """What one of these commands is told.

    Attributes:
        operation: ``union``, ``inter`` or ``diff``.
        sources: The scores of every key, with their weights; nothing for a missing key.
        with_scores: Scores are wanted too.
        limit: How far ZINTERCARD counts.
    """

    __slots__ = ("_aggregate", "limit", "operation", "sources", "with_scores")

    def __init__(self, ctx: Session, argv: list[bytes], place: int, operation: str) -> None:
        self.operation = operation
        self.with_scores = False
        self.limit: int | None = None
        self._aggregate: Callable[[float, float], float] = _sum
        numkeys = parse_integer(argv[place])
        if numkeys < 1:
            name = argv[0].decode().lower()
            shown = f"'{name}' command" if not ctx.server.version.before(7) else name
            raise RedisError(f"ERR at least 1 input key is needed for {shown}")
        place += 1
        keys = argv[place : place + numkeys]
        if len(keys) < numkeys:
            raise syntax_error()
        scores = [_scores(ctx, key) for key in keys]
        weights = self._options(ctx, argv, place + numkeys, numkeys)
        self.sources = list(zip(scores, weights, strict=True))

    def _options(self, ctx: Session, argv: list[bytes], place: int, numkeys: int) -> list[float]:
        name = argv[0].upper()
        storing, counting = name.endswith(b"STORE"), name == b"ZINTERCARD"
        weighing = self.operation != "diff" and not counting
        weights = [1.0] * numkeys
        while place < len(argv):
            word = argv[place].upper()
            left = len(argv) - place - 1
            if word == b"WEIGHTS" and weighing and left >= numkeys:
                place += 1
                given = argv[place : place + numkeys]
                weights = [parse_score(ctx, raw, _NOT_A_WEIGHT) for raw in given]
                place += numkeys
            elif word == b"AGGREGATE" and weighing and left:
                chosen = _AGGREGATES.get(argv[place + 1].upper())
                if chosen is None:
                    raise syntax_error()
                self._aggregate = chosen
                place += 2
            elif word == b"WITHSCORES" and not storing and not counting:
                self.with_scores = True
                place += 1
            elif word == b"LIMIT" and counting and left:
                self.limit = parse_range(argv[place + 1], 0, INT64_MAX, _NEGATIVE_LIMIT)
                place += 2
            else:
                raise syntax_error()
        return weights

    def result(self) -> dict[bytes, float]:
        """Members and scores, in no particular order."""
        if self.operation == "diff":
            first, *others = (scores for scores, _ in self.sources)
            return {
                member: score
                for member, score in first.items()
                if not any(member in other for other in others)
            }
        ordered = sorted(self.sources, key=lambda source: len(source[0]))
        return self._union(ordered) if self.operation == "union" else self._intersection(ordered)

    def _union(self, sources: list[tuple[_Scores, float]]) -> dict[bytes, float]:
        found: dict[bytes, float] = {}
        for scores, weight in sources:
            for member, plain in scores.items():
                score = plain * weight
                if math.isnan(score):
                    score = 0.0
                found[member] = self._aggregate(found[member], score) if member in found else score
        return found

    def _intersection(self, sources: list[tuple[_Scores, float]]) -> dict[bytes, float]:
        (smallest, first_weight), *others = sources
        found: dict[bytes, float] = {}
        for member, plain in smallest.items():
            score = plain * first_weight
            if math.isnan(score):
                score = 0.0
            for scores, weight in others:
                if member not in scores:
                    break
                score = self._aggregate(score, scores[member] * weight)
            else:
                found[member] = score
        return found


def _scores(ctx: Session, key: bytes) -> _Scores:
    """What stands at a key; members of a plain set have the score 1."""
    value = ctx.db.lookup(key)
    if value is None:
        return {}
    if type(value) is SortedSet:
        return value.scores
    if type(value) is Set:
        return dict.fromkeys(value, 1.0)
    raise wrong_type()


@command("zunion")
def zunion(ctx: Session, argv: list[bytes]) -> Reply:
    return _show(ctx, _Request(ctx, argv, 1, "union"))


@command("zinter")
def zinter(ctx: Session, argv: list[bytes]) -> Reply:
    return _show(ctx, _Request(ctx, argv, 1, "inter"))


@command("zdiff")
def zdiff(ctx: Session, argv: list[bytes]) -> Reply:
    return _show(ctx, _Request(ctx, argv, 1, "diff"))


def _show(ctx: Session, request: _Request) -> Reply:
    items = sorted((score, member) for member, score in request.result().items())
    if request.with_scores:
        return pairs_reply(ctx, [(member, score) for score, member in items])
    return [member for _, member in items]


@command("zunionstore")
def zunionstore(ctx: Session, argv: list[bytes]) -> Reply:
    return _store(ctx, argv, _Request(ctx, argv, 2, "union"))


@command("zinterstore")
def zinterstore(ctx: Session, argv: list[bytes]) -> Reply:
    return _store(ctx, argv, _Request(ctx, argv, 2, "inter"))


@command("zdiffstore")
def zdiffstore(ctx: Session, argv: list[bytes]) -> Reply:
    return _store(ctx, argv, _Request(ctx, argv, 2, "diff"))


def _store(ctx: Session, argv: list[bytes], request: _Request) -> int:
    db, target = ctx.db, argv[1]
    result = request.result()
    if not result:
        if db.remove(target):
            db.changed(target, b"del", GENERIC)
        return 0
    db.set(target, sorted_set_of(ctx, result.items()))
    db.changed(target, argv[0].lower(), ZSET)
    return len(result)


@command("zintercard")
def zintercard(ctx: Session, argv: list[bytes]) -> Reply:
    request = _Request(ctx, argv, 1, "inter")
    count = len(request.result())
    return min(count, request.limit) if request.limit else count
