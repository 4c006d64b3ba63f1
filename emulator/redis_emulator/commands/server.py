"""TIME, SHUTDOWN, SAVE and the other persistence commands.

The emulator writes no files. SAVE and BGSAVE only update the time and the count of saves.
"""

from __future__ import annotations

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import syntax_error
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import NO_REPLY, OK, RedisError, Reply, SimpleString

_BGSAVE_STARTED = SimpleString(b"Background saving started")
_AOF_REWRITE_STARTED = SimpleString(b"Background append only file rewriting started")


@command("time")
def time(ctx: Session, argv: list[bytes]) -> Reply:
    now = ctx.server.clock.us()
    return [b"%d" % (now // 1_000_000), b"%d" % (now % 1_000_000)]


@command("lastsave")
def lastsave(ctx: Session, argv: list[bytes]) -> Reply:
    return ctx.server.saves.last_at // 1000


def _record_save(ctx: Session) -> None:
    server = ctx.server
    server.saves.last_at = server.keyspace.now
    server.saves.count += 1
    server.keyspace.dirty = 0


@command("save")
def save(ctx: Session, argv: list[bytes]) -> Reply:
    _record_save(ctx)
    return OK


@command("bgsave")
def bgsave(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 1:
        word = argv[1].lower()
        version = ctx.server.version
        has_cancel = version.is_valkey(8, 1)
        if word == b"cancel" and len(argv) == 2 and has_cancel:
            raise RedisError("ERR Background saving is currently not in progress or scheduled")
        if word != b"schedule" or len(argv) > 2:
            raise syntax_error()
    _record_save(ctx)
    return _BGSAVE_STARTED


@command("bgrewriteaof")
def bgrewriteaof(ctx: Session, argv: list[bytes]) -> Reply:
    return _AOF_REWRITE_STARTED


@command("shutdown")
def shutdown(ctx: Session, argv: list[bytes]) -> Reply:
    words = [word.lower() for word in argv[1:]]
    known = {b"save", b"nosave", b"now", b"force", b"abort"}
    version = ctx.server.version
    if version.before(7):
        known = {b"save", b"nosave"}
    elif version.is_valkey(9):
        known |= {b"safe", b"failover"}
    if set(words) - known or {b"save", b"nosave"} <= set(words):
        raise syntax_error()
    if b"abort" in words:
        if len(set(words)) > 1 or version.before(7):
            raise syntax_error()
        raise RedisError("ERR No shutdown in progress.")
    ctx.engine.shutdown()
    return NO_REPLY
