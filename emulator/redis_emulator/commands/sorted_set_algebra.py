"""ZUNION, ZINTER and ZDIFF, the commands that store their results, and ZINTERCARD.

The sources can be sorted sets and sets.

Like Redis, the functions process the smallest set first. The order affects the rounding of sums and
which of them become NaN.
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


def _min(one: float, other: float) -> float:
    return other if other < one else one


def _max(one: float, other: float) -> float:
    return other if other > one else one


_AGGREGATES: Final = {b"SUM": _sum, b"MIN": _min, b"MAX": _max}


class _Query:
    """The parsed arguments of a command.

    Attributes:
        operation: ``union``, ``inter`` or ``diff``.
        sources: The scores and the weight of each key; no scores for a missing key.
        with_scores: Whether WITHSCORES was given.
        limit: The LIMIT of ZINTERCARD.
    """

    __slots__ = ("_aggregate", "limit", "operation", "sources", "with_scores")

    def __init__(self, ctx: Session, argv: list[bytes], index: int, operation: str) -> None:
        self.operation = operation
        self.with_scores = False
        self.limit: int | None = None
        self._aggregate: Callable[[float, float], float] = _sum
        numkeys = parse_integer(argv[index])
        if numkeys < 1:
            name = argv[0].decode().lower()
            name_in_error = f"'{name}' command" if not ctx.server.version.before(7) else name
            raise RedisError(f"ERR at least 1 input key is needed for {name_in_error}")
        index += 1
        keys = argv[index : index + numkeys]
        if len(keys) < numkeys:
            raise syntax_error()
        scores = [_lookup_scores(ctx, key) for key in keys]
        weights = self._parse_options(ctx, argv, index + numkeys, numkeys)
        self.sources = list(zip(scores, weights, strict=True))

    def _parse_options(
        self, ctx: Session, argv: list[bytes], index: int, numkeys: int
    ) -> list[float]:
        name = argv[0].upper()
        storing, counting = name.endswith(b"STORE"), name == b"ZINTERCARD"
        has_weights = self.operation != "diff" and not counting
        weights = [1.0] * numkeys
        while index < len(argv):
            word = argv[index].upper()
            remaining = len(argv) - index - 1
            if word == b"WEIGHTS" and has_weights and remaining >= numkeys:
                index += 1
                given = argv[index : index + numkeys]
                weights = [parse_score(ctx, raw, _NOT_A_WEIGHT) for raw in given]
                index += numkeys
            elif word == b"AGGREGATE" and has_weights and remaining:
                aggregate = _AGGREGATES.get(argv[index + 1].upper())
                if aggregate is None:
                    raise syntax_error()
                self._aggregate = aggregate
                index += 2
            elif word == b"WITHSCORES" and not storing and not counting:
                self.with_scores = True
                index += 1
            elif word == b"LIMIT" and counting and remaining:
                self.limit = parse_range(argv[index + 1], 0, INT64_MAX, _NEGATIVE_LIMIT)
                index += 2
            else:
                raise syntax_error()
        return weights

    def result(self) -> dict[bytes, float]:
        """Compute the resulting members and scores, in no particular order."""
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
            for member, unweighted in scores.items():
                score = unweighted * weight
                if math.isnan(score):
                    score = 0.0
                found[member] = self._aggregate(found[member], score) if member in found else score
        return found

    def _intersection(self, sources: list[tuple[_Scores, float]]) -> dict[bytes, float]:
        (smallest, first_weight), *others = sources
        found: dict[bytes, float] = {}
        for member, unweighted in smallest.items():
            score = unweighted * first_weight
            if math.isnan(score):
                score = 0.0
            for scores, weight in others:
                if member not in scores:
                    break
                score = self._aggregate(score, scores[member] * weight)
            else:
                found[member] = score
        return found


def _lookup_scores(ctx: Session, key: bytes) -> _Scores:
    """The members and scores at a key. Members of a set have the score 1."""
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
    return _reply(ctx, _Query(ctx, argv, 1, "union"))


@command("zinter")
def zinter(ctx: Session, argv: list[bytes]) -> Reply:
    return _reply(ctx, _Query(ctx, argv, 1, "inter"))


@command("zdiff")
def zdiff(ctx: Session, argv: list[bytes]) -> Reply:
    return _reply(ctx, _Query(ctx, argv, 1, "diff"))


def _reply(ctx: Session, query: _Query) -> Reply:
    items = sorted((score, member) for member, score in query.result().items())
    if query.with_scores:
        return pairs_reply(ctx, [(member, score) for score, member in items])
    return [member for _, member in items]


@command("zunionstore")
def zunionstore(ctx: Session, argv: list[bytes]) -> Reply:
    return _store(ctx, argv, _Query(ctx, argv, 2, "union"))


@command("zinterstore")
def zinterstore(ctx: Session, argv: list[bytes]) -> Reply:
    return _store(ctx, argv, _Query(ctx, argv, 2, "inter"))


@command("zdiffstore")
def zdiffstore(ctx: Session, argv: list[bytes]) -> Reply:
    return _store(ctx, argv, _Query(ctx, argv, 2, "diff"))


def _store(ctx: Session, argv: list[bytes], query: _Query) -> int:
    db, target = ctx.db, argv[1]
    result = query.result()
    if not result:
        if db.remove(target):
            db.changed(target, b"del", GENERIC)
        return 0
    db.set(target, sorted_set_of(ctx, result.items()))
    db.changed(target, argv[0].lower(), ZSET)
    return len(result)


@command("zintercard")
def zintercard(ctx: Session, argv: list[bytes]) -> Reply:
    query = _Query(ctx, argv, 1, "inter")
    count = len(query.result())
    return min(count, query.limit) if query.limit else count
