"""The server as a whole: time, saving, and what a server without files says to the rest."""

from __future__ import annotations

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import syntax_error
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import NO_REPLY, OK, RedisError, Reply, SimpleString

_SAVING = SimpleString(b"Background saving started")
_REWRITING = SimpleString(b"Background append only file rewriting started")


@command("time")
def time(ctx: Session, argv: list[bytes]) -> Reply:
    now = ctx.server.clock.us()
    return [b"%d" % (now // 1_000_000), b"%d" % (now % 1_000_000)]


@command("lastsave")
def lastsave(ctx: Session, argv: list[bytes]) -> Reply:
    return ctx.server.saves.last_at // 1000


def _saved(ctx: Session) -> None:
    server = ctx.server
    server.saves.last_at = server.keyspace.now
    server.saves.count += 1
    server.keyspace.dirty = 0


@command("save")
def save(ctx: Session, argv: list[bytes]) -> Reply:
    _saved(ctx)
    return OK


@command("bgsave")
def bgsave(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 1:
        word = argv[1].lower()
        version = ctx.server.version
        cancels = version.is_valkey(8, 1)
        if word == b"cancel" and len(argv) == 2 and cancels:
            raise RedisError("ERR Background saving is currently not in progress or scheduled")
        if word != b"schedule" or len(argv) > 2:
            raise syntax_error()
    _saved(ctx)
    return _SAVING


@command("bgrewriteaof")
def bgrewriteaof(ctx: Session, argv: list[bytes]) -> Reply:
    return _REWRITING


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
