"""MULTI, EXEC, DISCARD, WATCH and UNWATCH.

MULTI gives the client a queue. While it has one, the engine appends commands to it and replies
QUEUED. If a command is invalid, the engine marks the queue as failed, and EXEC replies EXECABORT.
Otherwise EXEC lets the engine run the queue. `redis_emulator.clients.watching` tracks the watched
keys.
"""

from __future__ import annotations

from redis_emulator.clients.session import Session
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import NULL_ARRAY, OK, RedisError, Reply


@command("multi")
def multi(ctx: Session, argv: list[bytes]) -> Reply:
    if ctx.queue is not None:
        raise _not_in_multi(ctx, "multi", "ERR MULTI calls can not be nested")
    ctx.queue = []
    ctx.transactional = True
    ctx.refresh()
    return OK


@command("exec")
def exec_(ctx: Session, argv: list[bytes]) -> Reply:
    queue = ctx.queue
    if queue is None:
        raise RedisError("ERR EXEC without MULTI")
    failed, dirty = ctx.queue_failed, ctx.dirty
    ctx.clients.end_transaction(ctx)
    if failed:
        aborted = RedisError("EXECABORT Transaction discarded because of previous errors.")
        aborted.counted = ctx.server.version.before(7)
        raise aborted
    if dirty:
        return NULL_ARRAY
    return ctx.engine.run_transaction(ctx, queue)


@command("discard")
def discard(ctx: Session, argv: list[bytes]) -> Reply:
    if ctx.queue is None:
        raise RedisError("ERR DISCARD without MULTI")
    ctx.clients.end_transaction(ctx)
    return OK


@command("watch")
def watch(ctx: Session, argv: list[bytes]) -> Reply:
    if ctx.queue is not None:
        raise _not_in_multi(ctx, "watch", "ERR WATCH inside MULTI is not allowed")
    ctx.transactional = True
    if ctx.dirty:
        return OK
    for key in argv[1:]:
        ctx.clients.watches.add(ctx, key)
    return OK


@command("unwatch")
def unwatch(ctx: Session, argv: list[bytes]) -> Reply:
    ctx.clients.watches.unwatch(ctx)
    return OK


def _not_in_multi(ctx: Session, name: str, text: str) -> RedisError:
    version = ctx.server.version
    if version.is_valkey(9):
        ctx.queue_failed = True
        return RedisError(f"ERR Command '{name}' not allowed inside a transaction")
    return RedisError(text)
