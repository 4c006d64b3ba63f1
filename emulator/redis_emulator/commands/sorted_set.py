"""Sorted sets: members and scores. Ranges, set operations and commands that wait have modules of
their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import (
    INT64_MAX,
    NOT_A_FLOAT,
    check_picks,
    parse_float,
    parse_integer,
    syntax_error,
    wrong_type,
)
from redis_emulator.commands.registry import command
from redis_emulator.commands.scan import parse_cursor, parse_options, scan_members
from redis_emulator.keyspace.events import GENERIC, ZSET
from redis_emulator.resp.double import Double17, format_double, format_double17
from redis_emulator.resp.types import Pairs, RedisError, Reply
from redis_emulator.values.sorted_set import SortedSet

_XX_AND_NX: Final = "ERR XX and NX options at the same time are not compatible"
_GT_LT_NX: Final = "ERR GT, LT, and/or NX options at the same time are not compatible"
_ONE_PAIR: Final = "ERR INCR option supports a single increment-element pair"
_NAN: Final = "ERR resulting score is not a number (NaN)"
_NOT_SYMMETRIC: Final = (
    f"ERR value is out of range, value must between {-INT64_MAX} and {INT64_MAX}"
)
_SURELY_FINITE: Final = 300
_NO_WORDS: Final[frozenset[bytes]] = frozenset()
_ZADD_WORDS: Final = frozenset((b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"))


def lookup_sorted_set(ctx: Session, key: bytes) -> SortedSet | None:
    """The sorted set at ``key`` for reading, or None.

    Raises:
        RedisError: The key holds something else.
    """
    value = ctx.db.lookup(key)
    if value is None or type(value) is SortedSet:
        return value
    raise wrong_type()


def writable_sorted_set(ctx: Session, key: bytes) -> SortedSet | None:
    """The sorted set at ``key`` for changing in place, or None.

    Raises:
        RedisError: The key holds something else.
    """
    value = ctx.db.writable(key)
    if value is None or type(value) is SortedSet:
        return value
    raise wrong_type()


def parse_score(ctx: Session, raw: bytes, error: str = NOT_A_FLOAT) -> float:
    """A score or an increment.

    Raises:
        RedisError: ``error``, when it is no number, or too small for a double.
    """
    if raw.isdigit() and len(raw) < _SURELY_FINITE:
        return float(raw)
    score = parse_float(raw, error)
    if (b"x" in raw or b"X" in raw) and ctx.server.version.is_valkey():
        raise RedisError(error)
    return score


def new_sorted_set(ctx: Session, count: int, longest: int) -> SortedSet:
    """An empty sorted set, stored as suits ``count`` members of up to ``longest`` bytes."""
    numbers = ctx.server.config.numbers
    value = SortedSet()
    value.compact = (
        count <= numbers["zset-max-listpack-entries"]
        and longest <= numbers["zset-max-listpack-value"]
    )
    return value


def put_member(ctx: Session, value: SortedSet, member: bytes, score: float) -> None:
    """Set a member's score in ``value``, which outgrows its listpack when it must."""
    if value.compact:
        numbers = ctx.server.config.numbers
        grown = member not in value.scores and (
            len(value.scores) >= numbers["zset-max-listpack-entries"]
            or len(member) > numbers["zset-max-listpack-value"]
        )
        if grown:
            value.compact = False
        elif not score and not ctx.server.version.before(7):
            score = 0.0
    value.put(member, score)


def sorted_set_of(ctx: Session, pairs: Iterable[tuple[bytes, float]]) -> SortedSet:
    """A sorted set of these members and scores, stored as the finished set needs it."""
    scores = dict(pairs)
    value = new_sorted_set(ctx, len(scores), max(map(len, scores), default=0))
    if value.compact and not ctx.server.version.before(7):
        scores = {member: score + 0.0 for member, score in scores.items()}
    value.scores = scores
    return value


def remove_if_empty(ctx: Session, key: bytes, value: SortedSet) -> None:
    """Delete a key whose last member has gone."""
    if not value.scores:
        ctx.db.remove(key)
        ctx.db.notify(key, b"del", GENERIC)


def score_reply(ctx: Session, score: float) -> float:
    """A score as this server shows it."""
    return score if not ctx.server.version.before(7, 2) else Double17(score)


def pairs_reply(ctx: Session, pairs: Iterable[tuple[bytes, float]]) -> Pairs:
    """Members with scores: one flat array in RESP2, an array of pairs in RESP3."""
    if not ctx.server.version.before(7, 2):
        return Pairs([list(pair) for pair in pairs])
    return Pairs([[member, Double17(score)] for member, score in pairs])


@command("zadd")
def zadd(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) == 4 and argv[2].upper() not in _ZADD_WORDS:
        return _add_one(ctx, argv[1], parse_score(ctx, argv[2]), argv[3])
    words, place = _zadd_options(argv)
    incr = b"INCR" in words
    count, odd = divmod(len(argv) - place, 2)
    if odd or not count:
        raise syntax_error()
    if b"NX" in words and b"XX" in words:
        raise RedisError(_XX_AND_NX)
    if len(words & {b"GT", b"LT", b"NX"}) > 1:
        raise RedisError(_GT_LT_NX)
    if incr and count > 1:
        raise RedisError(_ONE_PAIR)
    scores = [parse_score(ctx, raw) for raw in argv[place::2]]
    members = argv[place + 1 :: 2]
    if incr:
        return _increase(ctx, argv[1], scores[0], members[0], words)
    return _add_all(ctx, argv[1], scores, members, words)


def _add_one(ctx: Session, key: bytes, score: float, member: bytes) -> int:
    """ZADD of one member without options, the usual case."""
    value = ctx.db.writable(key)
    if value is None:
        value = _fresh(ctx, [member])
        ctx.db.set(key, value)
    elif type(value) is not SortedSet:
        raise wrong_type()
    elif value.compact and _outgrown(ctx, [member]):
        value.compact = False
    before = value.scores.get(member)
    if score != before:
        put_member(ctx, value, member, score)
        ctx.db.changed(key, b"zadd", ZSET)
    return 1 if before is None else 0


def _add_all(
    ctx: Session, key: bytes, scores: list[float], members: list[bytes], words: frozenset[bytes]
) -> int:
    value = _to_add_to(ctx, key, members, words)
    if value is None:
        return 0
    added = updated = 0
    for score, member in zip(scores, members, strict=True):
        before = value.scores.get(member)
        if words and not _is_wanted(words, score, before):
            continue
        if before is None:
            added += 1
        elif score != before:
            updated += 1
        else:
            continue
        put_member(ctx, value, member, score)
    if added or updated:
        ctx.db.changed(key, b"zadd", ZSET)
        ctx.db.context.dirty += added + updated - 1
    return added + updated if b"CH" in words else added


def _increase(
    ctx: Session, key: bytes, amount: float, member: bytes, words: frozenset[bytes]
) -> Reply:
    """ZINCRBY, and ZADD with INCR: the new score, or None where an option forbids it."""
    value = _to_add_to(ctx, key, [member], words)
    if value is None:
        return None
    before = value.scores.get(member)
    score = amount if before is None else before + amount
    if words and not _is_wanted(words, score, before):
        return None
    if score != score:
        raise RedisError(_NAN)
    if score != before:
        put_member(ctx, value, member, score)
        ctx.db.changed(key, b"zincr", ZSET)
    return score_reply(ctx, score)


def _to_add_to(
    ctx: Session, key: bytes, members: list[bytes], words: frozenset[bytes]
) -> SortedSet | None:
    """The sorted set that ZADD changes, made when new; None when it must not be made."""
    value = writable_sorted_set(ctx, key)
    if value is None:
        if b"XX" in words:
            return None
        value = _fresh(ctx, members)
        ctx.db.set(key, value)
    elif value.compact and _outgrown(ctx, members):
        value.compact = False
    return value


def _is_wanted(words: frozenset[bytes], score: float, before: float | None) -> bool:
    """Whether the options let ``score`` take the place of ``before``."""
    if before is None:
        return b"XX" not in words
    if b"NX" in words:
        return False
    return not (b"GT" in words and score <= before) and not (b"LT" in words and score >= before)


def _zadd_options(argv: list[bytes]) -> tuple[frozenset[bytes], int]:
    place = 2
    while place < len(argv) and argv[place].upper() in _ZADD_WORDS:
        place += 1
    return frozenset(map(bytes.upper, argv[2:place])), place


def _outgrown(ctx: Session, members: list[bytes]) -> bool:
    """Whether the arguments alone turn a listpack into a skiplist, be the members new or not.

    Since 7.2 their number does it, in Valkey the length of each of them as well.
    """
    version = ctx.server.version
    if version.before(7, 2):
        return False
    numbers = ctx.server.config.numbers
    if len(members) > numbers["zset-max-listpack-entries"]:
        return True
    longest = numbers["zset-max-listpack-value"]
    return version.is_valkey() and any(len(member) > longest for member in members)


def _fresh(ctx: Session, members: list[bytes]) -> SortedSet:
    """The sorted set that ZADD starts with."""
    version = ctx.server.version
    first = len(members[0])
    if not version.before(7, 2):
        longest = max(map(len, members)) if version.is_valkey() else first
        return new_sorted_set(ctx, len(members), longest)
    few = min(1, ctx.server.config.numbers["zset-max-listpack-entries"])
    return new_sorted_set(ctx, 1 - few, first)


@command("zincrby")
def zincrby(ctx: Session, argv: list[bytes]) -> Reply:
    return _increase(ctx, argv[1], parse_score(ctx, argv[2]), argv[3], _NO_WORDS)


@command("zscore")
def zscore(ctx: Session, argv: list[bytes]) -> Reply:
    value = lookup_sorted_set(ctx, argv[1])
    if value is None:
        return None
    score = value.scores.get(argv[2])
    return None if score is None else score_reply(ctx, score)


@command("zmscore")
def zmscore(ctx: Session, argv: list[bytes]) -> Reply:
    value = lookup_sorted_set(ctx, argv[1])
    scores = {} if value is None else value.scores
    return [score_reply(ctx, scores[m]) if m in scores else None for m in argv[2:]]


@command("zcard")
def zcard(ctx: Session, argv: list[bytes]) -> Reply:
    value = lookup_sorted_set(ctx, argv[1])
    return 0 if value is None else len(value.scores)


@command("zrandmember")
def zrandmember(ctx: Session, argv: list[bytes]) -> Reply:
    modern = not ctx.server.version.before(7)
    random = ctx.server.random
    if len(argv) == 2:
        value = lookup_sorted_set(ctx, argv[1])
        return None if value is None else value.order()[random.randrange(len(value.scores))][1]
    count = parse_integer(argv[2])
    if modern and count < -INT64_MAX:
        raise RedisError(_NOT_SYMMETRIC)
    with_scores = len(argv) == 4 and argv[3].upper() == b"WITHSCORES"
    if len(argv) > 3 and not with_scores:
        raise syntax_error()
    if modern and with_scores and abs(count) > INT64_MAX // 2:
        raise RedisError("ERR value is out of range")
    value = lookup_sorted_set(ctx, argv[1])
    if value is None or not count:
        return []
    order = value.order()
    if count < 0:
        check_picks(-count)
        items = [order[random.randrange(len(order))] for _ in range(-count)]
    elif count >= len(order):
        items = list(reversed(order))
    else:
        items = random.sample(order, count)
    if with_scores:
        return pairs_reply(ctx, [(member, score) for score, member in items])
    return [member for _, member in items]


@command("zscan")
def zscan(ctx: Session, argv: list[bytes]) -> Reply:
    cursor = parse_cursor(ctx, argv[2])
    value = lookup_sorted_set(ctx, argv[1])
    if value is None:
        return [b"0", []]
    options = parse_options(ctx, argv, 3)
    following, members = scan_members(ctx, argv[1], value, cursor, options, whole=value.compact)
    show = _stored_digits(ctx, value)
    found = [part for member in members for part in (member, show(value.scores[member]))]
    return [b"%d" % following, found]


def _stored_digits(ctx: Session, value: SortedSet) -> Callable[[float], bytes]:
    """How ZSCAN prints: a listpack's scores as they stand there, a skiplist's in the old way."""
    version = ctx.server.version
    if not value.compact or version.before(7):
        return format_double17
    return format_double if not version.before(7, 2) else _digits_of_7_0


def _digits_of_7_0(score: float) -> bytes:
    whole = abs(score) <= 2.0**62 and score.is_integer()
    return format_double(score) if whole else format_double17(score)


@command("zrem")
def zrem(ctx: Session, argv: list[bytes]) -> Reply:
    key = argv[1]
    value = writable_sorted_set(ctx, key)
    if value is None:
        return 0
    count = 0
    for member in argv[2:]:
        count += value.discard(member)
        if not value.scores:
            break
    if count:
        ctx.db.changed(key, b"zrem", ZSET)
        ctx.db.context.dirty += count - 1
        remove_if_empty(ctx, key, value)
    return count
