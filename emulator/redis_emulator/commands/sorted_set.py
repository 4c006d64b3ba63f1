"""The sorted set commands for single members and scores, and ZSCAN.

Ranges are in `sorted_set_range`, ZUNION, ZINTER and ZDIFF in `sorted_set_algebra`, ZPOPMIN and the
blocking commands in `sorted_set_pop`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import (
    INT64_MAX,
    NOT_A_FLOAT,
    check_random_count,
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
_MAX_FINITE_DIGITS: Final = 300
_NO_OPTIONS: Final[frozenset[bytes]] = frozenset()
_ZADD_OPTIONS: Final = frozenset((b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"))


def lookup_sorted_set(ctx: Session, key: bytes) -> SortedSet | None:
    """The sorted set at ``key`` for reading, or None if the key does not exist.

    Raises:
        RedisError: The key holds another type.
    """
    value = ctx.db.lookup(key)
    if value is None or type(value) is SortedSet:
        return value
    raise wrong_type()


def writable_sorted_set(ctx: Session, key: bytes) -> SortedSet | None:
    """The sorted set at ``key`` for changing in place, or None if the key does not exist.

    Raises:
        RedisError: The key holds another type.
    """
    value = ctx.db.writable(key)
    if value is None or type(value) is SortedSet:
        return value
    raise wrong_type()


def parse_score(ctx: Session, raw: bytes, error: str = NOT_A_FLOAT) -> float:
    """Parse a score or an increment.

    Raises:
        RedisError: With the text ``error``: it is not a number, or too small for a double.
    """
    if raw.isdigit() and len(raw) < _MAX_FINITE_DIGITS:
        return float(raw)
    score = parse_float(raw, error)
    if (b"x" in raw or b"X" in raw) and ctx.server.version.is_valkey():
        raise RedisError(error)
    return score


def new_sorted_set(ctx: Session, count: int, max_length: int) -> SortedSet:
    """An empty sorted set in the encoding for ``count`` members of up to ``max_length`` bytes."""
    numbers = ctx.server.config.numbers
    value = SortedSet()
    value.compact = (
        count <= numbers["zset-max-listpack-entries"]
        and max_length <= numbers["zset-max-listpack-value"]
    )
    return value


def set_score(ctx: Session, value: SortedSet, member: bytes, score: float) -> None:
    """Set the score of a member. Convert a listpack to a skiplist if it exceeds the limits."""
    if value.compact:
        numbers = ctx.server.config.numbers
        exceeds_limits = member not in value.scores and (
            len(value.scores) >= numbers["zset-max-listpack-entries"]
            or len(member) > numbers["zset-max-listpack-value"]
        )
        if exceeds_limits:
            value.compact = False
        elif not score and not ctx.server.version.before(7):
            score = 0.0
    value.put(member, score)


def sorted_set_of(ctx: Session, pairs: Iterable[tuple[bytes, float]]) -> SortedSet:
    """A sorted set of these members and scores, in the encoding for its final size."""
    scores = dict(pairs)
    value = new_sorted_set(ctx, len(scores), max(map(len, scores), default=0))
    if value.compact and not ctx.server.version.before(7):
        scores = {member: score + 0.0 for member, score in scores.items()}
    value.scores = scores
    return value


def remove_if_empty(ctx: Session, key: bytes, value: SortedSet) -> None:
    """Delete the key if the sorted set has no members left."""
    if not value.scores:
        ctx.db.remove(key)
        ctx.db.notify(key, b"del", GENERIC)


def score_reply(ctx: Session, score: float) -> float:
    """A score in the number format of this release."""
    return score if not ctx.server.version.before(7, 2) else Double17(score)


def pairs_reply(ctx: Session, pairs: Iterable[tuple[bytes, float]]) -> Pairs:
    """Members with scores: a flat array in RESP2, an array of pairs in RESP3."""
    if not ctx.server.version.before(7, 2):
        return Pairs([list(pair) for pair in pairs])
    return Pairs([[member, Double17(score)] for member, score in pairs])


@command("zadd")
def zadd(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) == 4 and argv[2].upper() not in _ZADD_OPTIONS:
        return _add_one(ctx, argv[1], parse_score(ctx, argv[2]), argv[3])
    options, index = _parse_zadd_options(argv)
    incr = b"INCR" in options
    count, odd = divmod(len(argv) - index, 2)
    if odd or not count:
        raise syntax_error()
    if b"NX" in options and b"XX" in options:
        raise RedisError(_XX_AND_NX)
    if len(options & {b"GT", b"LT", b"NX"}) > 1:
        raise RedisError(_GT_LT_NX)
    if incr and count > 1:
        raise RedisError(_ONE_PAIR)
    scores = [parse_score(ctx, raw) for raw in argv[index::2]]
    members = argv[index + 1 :: 2]
    if incr:
        return _increment(ctx, argv[1], scores[0], members[0], options)
    return _add_all(ctx, argv[1], scores, members, options)


def _add_one(ctx: Session, key: bytes, score: float, member: bytes) -> int:
    """ZADD of one member without options. This is the common case, so it has its own code."""
    value = ctx.db.writable(key)
    if value is None:
        value = _new_for_zadd(ctx, [member])
        ctx.db.set(key, value)
    elif type(value) is not SortedSet:
        raise wrong_type()
    elif value.compact and _exceeds_listpack(ctx, [member]):
        value.compact = False
    before = value.scores.get(member)
    if score != before:
        set_score(ctx, value, member, score)
        ctx.db.changed(key, b"zadd", ZSET)
    return 1 if before is None else 0


def _add_all(
    ctx: Session, key: bytes, scores: list[float], members: list[bytes], options: frozenset[bytes]
) -> int:
    value = _writable_or_new(ctx, key, members, options)
    if value is None:
        return 0
    added = updated = 0
    for score, member in zip(scores, members, strict=True):
        before = value.scores.get(member)
        if options and not _is_change_allowed(options, score, before):
            continue
        if before is None:
            added += 1
        elif score != before:
            updated += 1
        else:
            continue
        set_score(ctx, value, member, score)
    if added or updated:
        ctx.db.changed(key, b"zadd", ZSET)
        ctx.db.context.dirty += added + updated - 1
    return added + updated if b"CH" in options else added


def _increment(
    ctx: Session, key: bytes, amount: float, member: bytes, options: frozenset[bytes]
) -> Reply:
    """ZINCRBY and ZADD INCR. Return the new score, or None if an option prevents the change."""
    value = _writable_or_new(ctx, key, [member], options)
    if value is None:
        return None
    before = value.scores.get(member)
    score = amount if before is None else before + amount
    if options and not _is_change_allowed(options, score, before):
        return None
    if score != score:
        raise RedisError(_NAN)
    if score != before:
        set_score(ctx, value, member, score)
        ctx.db.changed(key, b"zincr", ZSET)
    return score_reply(ctx, score)


def _writable_or_new(
    ctx: Session, key: bytes, members: list[bytes], options: frozenset[bytes]
) -> SortedSet | None:
    """The sorted set for ZADD; created if the key does not exist, or None with XX."""
    value = writable_sorted_set(ctx, key)
    if value is None:
        if b"XX" in options:
            return None
        value = _new_for_zadd(ctx, members)
        ctx.db.set(key, value)
    elif value.compact and _exceeds_listpack(ctx, members):
        value.compact = False
    return value


def _is_change_allowed(options: frozenset[bytes], score: float, before: float | None) -> bool:
    """Whether the options allow to change the score ``before`` to ``score``."""
    if before is None:
        return b"XX" not in options
    if b"NX" in options:
        return False
    return not (b"GT" in options and score <= before) and not (b"LT" in options and score >= before)


def _parse_zadd_options(argv: list[bytes]) -> tuple[frozenset[bytes], int]:
    index = 2
    while index < len(argv) and argv[index].upper() in _ZADD_OPTIONS:
        index += 1
    return frozenset(map(bytes.upper, argv[2:index])), index


def _exceeds_listpack(ctx: Session, members: list[bytes]) -> bool:
    """Whether the arguments alone convert a listpack to a skiplist, even if no member is new.

    Since Redis 7.2 their number does so. In Valkey the length of each of them does so too.
    """
    version = ctx.server.version
    if version.before(7, 2):
        return False
    numbers = ctx.server.config.numbers
    if len(members) > numbers["zset-max-listpack-entries"]:
        return True
    max_length = numbers["zset-max-listpack-value"]
    return version.is_valkey() and any(len(member) > max_length for member in members)


def _new_for_zadd(ctx: Session, members: list[bytes]) -> SortedSet:
    """The sorted set that ZADD creates, in the encoding that its arguments require."""
    version = ctx.server.version
    first = len(members[0])
    if not version.before(7, 2):
        max_length = max(map(len, members)) if version.is_valkey() else first
        return new_sorted_set(ctx, len(members), max_length)
    few = min(1, ctx.server.config.numbers["zset-max-listpack-entries"])
    return new_sorted_set(ctx, 1 - few, first)


@command("zincrby")
def zincrby(ctx: Session, argv: list[bytes]) -> Reply:
    return _increment(ctx, argv[1], parse_score(ctx, argv[2]), argv[3], _NO_OPTIONS)


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
        check_random_count(-count)
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
    next_cursor, members = scan_members(
        ctx, argv[1], value, cursor, options, return_all=value.compact
    )
    format_score = _score_formatter(ctx, value)
    found = [part for member in members for part in (member, format_score(value.scores[member]))]
    return [b"%d" % next_cursor, found]


def _score_formatter(ctx: Session, value: SortedSet) -> Callable[[float], bytes]:
    """The function that formats scores for ZSCAN.

    Redis replies with the stored text of scores in a listpack, and with 17 digits for a skiplist.
    """
    version = ctx.server.version
    if not value.compact or version.before(7):
        return format_double17
    return format_double if not version.before(7, 2) else _format_in_7_0


def _format_in_7_0(score: float) -> bytes:
    is_integer = abs(score) <= 2.0**62 and score.is_integer()
    return format_double(score) if is_integer else format_double17(score)


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
