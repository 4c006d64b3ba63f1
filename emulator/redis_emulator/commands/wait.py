"""WAIT and WAITAOF on a server that has no replicas and no append-only file.

Nobody will ever acknowledge a write, so who asks for acknowledgement waits until the timeout.
"""

from __future__ import annotations

from redis_emulator.commands.arguments import INT64_MAX, parse_integer, parse_range
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import RedisError, Reply
from redis_emulator.session import Blocked, Session


@command("wait")
def wait(ctx: Session, argv: list[bytes]) -> Reply:
    replicas = parse_integer(argv[1])
    return _wait(ctx, replicas, argv[2], 0)


@command("waitaof")
def waitaof(ctx: Session, argv: list[bytes]) -> Reply:
    local = parse_integer(argv[1])
    if local not in (0, 1):
        raise RedisError("ERR value is out of range, value must between 0 and 1")
    replicas = parse_range(argv[2], 0, INT64_MAX, "ERR value is out of range, must be positive")
    reply = _wait(ctx, replicas, argv[3], [0, 0])
    if local:
        raise RedisError(
            "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."
        )
    return reply


def _wait(ctx: Session, replicas: int, timeout: bytes, reply: Reply) -> Reply:
    duration = parse_integer(timeout, "ERR timeout is not an integer or out of range")
    if duration < 0:
        raise RedisError("ERR timeout is negative")
    if duration + ctx.server.now > INT64_MAX and ctx.server.version.compatible >= (7, 2, 0):
        raise RedisError("ERR timeout is out of range")
    if replicas <= 0 or ctx.deny_blocking:
        return reply
    deadline = ctx.server.now + duration if duration else None
    return Blocked(ctx, [], deadline, lambda key: None, reply)
