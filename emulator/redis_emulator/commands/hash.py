"""Hashes."""

from __future__ import annotations

from redis_emulator.commands.arguments import wrong_type
from redis_emulator.commands.registry import command
from redis_emulator.keyspace import HASH
from redis_emulator.resp.types import RedisError, Reply
from redis_emulator.session import Session
from redis_emulator.values.hash import Hash


@command("hget")
def hget(ctx: Session, argv: list[bytes]) -> Reply:
    value = ctx.db.lookup(argv[1])
    if value is None:
        return None
    if type(value) is not Hash:
        raise wrong_type()
    return value.get(argv[2])


@command("hset")
def hset(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) % 2:
        raise RedisError("ERR wrong number of arguments for 'hset' command")
    db = ctx.db
    key = argv[1]
    value = db.writable(key)
    if value is None:
        value = Hash()
        db.set(key, value)
    elif type(value) is not Hash:
        raise wrong_type()
    before = len(value)
    if len(argv) == 4:
        value[argv[2]] = argv[3]
    else:
        value.update(zip(argv[2::2], argv[3::2], strict=True))
    if value.compact:
        _check_size(ctx, value, argv)
    db.changed(key, b"hset", HASH)
    return len(value) - before


def _check_size(ctx: Session, value: Hash, argv: list[bytes]) -> None:
    numbers = ctx.server.config.numbers
    longest = numbers["hash-max-listpack-value"]
    if len(value) > numbers["hash-max-listpack-entries"]:
        value.compact = False
    for argument in argv[2:]:
        if len(argument) > longest:
            value.compact = False
