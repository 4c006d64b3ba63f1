"""The set commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import (
    INT64_MAX,
    INT64_MIN,
    check_random_count,
    parse_integer,
    parse_range,
    syntax_error,
    wrong_type,
)
from redis_emulator.commands.registry import command
from redis_emulator.commands.scan import parse_cursor, parse_options, scan_members
from redis_emulator.keyspace.database import Database
from redis_emulator.keyspace.events import GENERIC, SET
from redis_emulator.resp.types import RedisError, Reply, SetReply
from redis_emulator.values.set import HASHTABLE, INTSET, LISTPACK, Limits, Set

_NOT_POSITIVE: Final = "ERR value is out of range, must be positive"
_NOT_SYMMETRIC: Final = (
    f"ERR value is out of range, value must between {-INT64_MAX} and {INT64_MAX}"
)


def limits_of(ctx: Session) -> Limits:
    """The configured limits of the encodings ``intset`` and ``listpack``."""
    numbers = ctx.server.config.numbers
    intset = numbers["set-max-intset-entries"]
    if ctx.server.version.before(7, 2):
        return Limits(intset, -1, 0)
    return Limits(intset, numbers["set-max-listpack-entries"], numbers["set-max-listpack-value"])


def lookup_set(ctx: Session, key: bytes) -> Set | None:
    """The set at ``key`` for reading, or None if the key does not exist.

    Raises:
        RedisError: The key holds another type.
    """
    value = ctx.db.lookup(key)
    if value is None or type(value) is Set:
        return value
    raise wrong_type()


def _writable_set(ctx: Session, key: bytes) -> Set | None:
    value = ctx.db.writable(key)
    if value is None or type(value) is Set:
        return value
    raise wrong_type()


@command("sadd")
def sadd(ctx: Session, argv: list[bytes]) -> Reply:
    db, key = ctx.db, argv[1]
    value = db.writable(key)
    if value is None:
        limits = limits_of(ctx)
        value = Set.for_members(argv[2], len(argv) - 2, limits)
        db.set(key, value)
    elif type(value) is not Set:
        raise wrong_type()
    before = len(value)
    if value.encoding is not HASHTABLE:
        limits = limits_of(ctx)
        value.convert_for_count(len(argv) - 2, limits)
    if value.encoding is HASHTABLE:
        value.add_all(argv[2:])
    else:
        for member in argv[2:]:
            value.add(member, limits)
    added = len(value) - before
    if added:
        db.changed(key, b"sadd", SET)
        ctx.db.context.dirty += added - 1
    return added


@command("srem")
def srem(ctx: Session, argv: list[bytes]) -> Reply:
    db, key = ctx.db, argv[1]
    value = _writable_set(ctx, key)
    if value is None:
        return 0
    removed = 0
    for member in argv[2:]:
        removed += value.discard(member)
    if removed:
        _finish_removal(db, key, value, b"srem")
        ctx.db.context.dirty += removed - 1
    return removed


def _finish_removal(db: Database, key: bytes, value: Set, event: bytes) -> None:
    """Publish the event of a removal, and delete the key if the set is empty."""
    if value:
        db.changed(key, event, SET)
        return
    db.remove(key)
    db.changed(key, event, SET)
    db.notify(key, b"del", GENERIC)


@command("scard")
def scard(ctx: Session, argv: list[bytes]) -> Reply:
    value = lookup_set(ctx, argv[1])
    return 0 if value is None else len(value)


@command("sismember")
def sismember(ctx: Session, argv: list[bytes]) -> Reply:
    value = lookup_set(ctx, argv[1])
    return 1 if value is not None and argv[2] in value else 0


@command("smismember")
def smismember(ctx: Session, argv: list[bytes]) -> Reply:
    value = lookup_set(ctx, argv[1])
    if value is None:
        return [0] * (len(argv) - 2)
    return [1 if member in value else 0 for member in argv[2:]]


@command("smembers")
def smembers(ctx: Session, argv: list[bytes]) -> Reply:
    value = lookup_set(ctx, argv[1])
    return SetReply() if value is None else SetReply(value.members())


@command("smove")
def smove(ctx: Session, argv: list[bytes]) -> Reply:
    db, (source_key, target_key, member) = ctx.db, argv[1:]
    source = db.writable(source_key)
    if source is None:
        return 0
    target = db.writable(target_key)
    if type(source) is not Set or (target is not None and type(target) is not Set):
        raise wrong_type()
    if source is target:
        return 1 if member in source else 0
    if not source.discard(member):
        return 0
    _finish_removal(db, source_key, source, b"srem")
    limits = limits_of(ctx)
    if target is None:
        target = Set.for_members(member, 1, limits)
        db.set(target_key, target)
    if target.add(member, limits):
        db.changed(target_key, b"sadd", SET)
    return 1


@command("spop")
def spop(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 3:
        raise syntax_error()
    db, key = ctx.db, argv[1]
    if len(argv) == 3:
        return _pop_many(ctx, key, parse_range(argv[2], 0, INT64_MAX, _NOT_POSITIVE))
    value = _writable_set(ctx, key)
    if value is None:
        return None
    member = value.random_member(ctx.server.random)
    value.discard(member)
    _finish_removal(db, key, value, b"spop")
    return member


def _pop_many(ctx: Session, key: bytes, count: int) -> Reply:
    value = _writable_set(ctx, key)
    if value is None or count == 0:
        return SetReply()
    if count >= len(value):
        popped = value.members()
        value.clear()
    else:
        popped = value.sample(ctx.server.random, count)
        for member in popped:
            value.discard(member)
    _finish_removal(ctx.db, key, value, b"spop")
    ctx.db.context.dirty += len(popped) - 1
    return SetReply(popped)


@command("srandmember")
def srandmember(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 3:
        raise syntax_error()
    if len(argv) == 2:
        value = lookup_set(ctx, argv[1])
        return None if value is None else value.random_member(ctx.server.random)
    count = parse_integer(argv[2])
    if count == INT64_MIN and not ctx.server.version.before(7):
        raise RedisError(_NOT_SYMMETRIC)
    value = lookup_set(ctx, argv[1])
    if value is None or count == 0:
        return []
    if count < 0:
        check_random_count(-count)
        return ctx.server.random.choices(value.choices(), k=-count)
    if count >= len(value):
        return value.members()
    return value.sample(ctx.server.random, count)


@command("sinter")
def sinter(ctx: Session, argv: list[bytes]) -> Reply:
    return SetReply(_intersection(_lookup_all(ctx, argv[1:]))[0])


@command("sintercard")
def sintercard(ctx: Session, argv: list[bytes]) -> Reply:
    count = parse_range(argv[1], 1, INT64_MAX, "ERR numkeys should be greater than 0")
    if count > len(argv) - 2:
        raise RedisError("ERR Number of keys can't be greater than number of args")
    limit, index = 0, 2 + count
    while index < len(argv):
        if argv[index].upper() != b"LIMIT" or index + 1 == len(argv):
            raise syntax_error()
        limit = parse_range(argv[index + 1], 0, INT64_MAX, "ERR LIMIT can't be negative")
        index += 2
    size = len(_intersection(_lookup_all(ctx, argv[2 : 2 + count]))[0])
    return min(size, limit) if limit else size


@command("sinterstore")
def sinterstore(ctx: Session, argv: list[bytes]) -> Reply:
    members, smallest = _intersection(_lookup_sources(ctx, argv[2:]))
    limits = limits_of(ctx)
    encoding = INTSET if limits.listpack < 0 or smallest is INTSET else LISTPACK
    result = Set(encoding)
    for member in members:
        result.add(member, limits)
    result.convert_to_intset(limits)
    return _store(ctx, argv[1], result, b"sinterstore")


def _lookup_all(ctx: Session, keys: Sequence[bytes]) -> list[Set | None]:
    return [lookup_set(ctx, key) for key in keys]


def _lookup_sources(ctx: Session, keys: Sequence[bytes]) -> list[Set | None]:
    """The source sets of SINTERSTORE, SUNIONSTORE and SDIFFSTORE.

    Before Redis 7 they are looked up for writing, so they do not count as keyspace hits or misses.
    """
    if ctx.server.version.before(7):
        return [_writable_set(ctx, key) for key in keys]
    return _lookup_all(ctx, keys)


def _intersection(sets: Sequence[Set | None]) -> tuple[list[bytes], bytes]:
    """The members of the intersection in the order of the smallest set, and that set's encoding."""
    present = [each for each in sets if each is not None]
    if len(present) < len(sets):
        return [], INTSET
    smallest, *others = sorted(present, key=len)
    members = smallest.members()
    for other in others:
        members = [member for member in members if member in other]
    return members, smallest.encoding


@command("sunion")
def sunion(ctx: Session, argv: list[bytes]) -> Reply:
    sets = [each for each in _lookup_all(ctx, argv[1:]) if each is not None]
    union = list(dict.fromkeys(member for each in sets for member in each))
    if all(each.encoding is INTSET for each in sets):
        union.sort(key=int)
    return SetReply(union)


@command("sunionstore")
def sunionstore(ctx: Session, argv: list[bytes]) -> Reply:
    limits, result = limits_of(ctx), Set()
    for each in _lookup_sources(ctx, argv[2:]):
        if each is not None:
            _add_members(result, each, limits)
    return _store(ctx, argv[1], result, b"sunionstore")


def _add_members(result: Set, source: Set, limits: Limits) -> None:
    for member in source.members():
        if result.encoding is HASHTABLE:
            result.add_all(source)
            return
        result.add(member, limits)


@command("sdiff")
def sdiff(ctx: Session, argv: list[bytes]) -> Reply:
    first, *others = _lookup_all(ctx, argv[1:])
    return SetReply(_difference(first, others))


def _difference(first: Set | None, others: Sequence[Set | None]) -> list[bytes]:
    """The members of ``first`` that are in no other set, in the order of ``first``."""
    members = [] if first is None else first.members()
    for other in others:
        if other is not None:
            members = [member for member in members if member not in other]
    return members


@command("sdiffstore")
def sdiffstore(ctx: Session, argv: list[bytes]) -> Reply:
    first, *others = _lookup_sources(ctx, argv[2:])
    limits, result = limits_of(ctx), Set()
    members = _difference(first, others)
    if first is not None and _uses_copy_algorithm(first, others):
        _add_members(result, first, limits)
        remaining = set(members)
        for member in first:
            if member not in remaining:
                result.discard(member)
    else:
        for member in members:
            result.add(member, limits)
    return _store(ctx, argv[1], result, b"sdiffstore")


def _uses_copy_algorithm(first: Set, others: Sequence[Set | None]) -> bool:
    """Whether Redis copies the first set and removes the members of the others (algorithm 2).

    Redis chooses it if the other sets are small. It affects the encoding of the result: members
    that are removed later may already have converted the copy to a hash table.
    """
    present = [each for each in others if each is not None]
    if any(each is first for each in present):
        return False
    lookups = len(first) * (len(present) + 1) // 2
    return lookups > len(first) + sum(map(len, present))


def _store(ctx: Session, key: bytes, result: Set, event: bytes) -> int:
    """Store ``result`` at ``key``, or delete the key if the result is empty."""
    db = ctx.db
    if result:
        db.set(key, result)
        db.changed(key, event, SET)
    elif db.remove(key):
        db.changed(key, b"del", GENERIC)
    return len(result)


@command("sscan")
def sscan(ctx: Session, argv: list[bytes]) -> Reply:
    cursor = parse_cursor(ctx, argv[2])
    value = lookup_set(ctx, argv[1])
    if value is None:
        return [b"0", []]
    options = parse_options(ctx, argv, 3)
    return_all = value.encoding is not HASHTABLE
    members = value.members() if return_all else value
    next_cursor, found = scan_members(ctx, argv[1], members, cursor, options, return_all=return_all)
    return [b"%d" % next_cursor, found]
