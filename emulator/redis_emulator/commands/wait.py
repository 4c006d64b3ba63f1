"""WAIT and WAITAOF.

Only masters of an emulated cluster have replicas, and these acknowledge writes at once. A command
that needs more replicas blocks until its timeout. There is no append-only file.
"""

from __future__ import annotations

from redis_emulator.clients.client import Blocked
from redis_emulator.clients.session import Session
from redis_emulator.cluster.node import node_of
from redis_emulator.commands.helpers.arguments import INT64_MAX, parse_integer, parse_range
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import RedisError, Reply


@command("wait")
def wait(ctx: Session, argv: list[bytes]) -> Reply:
    _reject_on_replica(ctx, "WAIT")
    replicas = parse_integer(argv[1])
    node = node_of(ctx)
    connected = 0 if node is None else sum(not replica.down for replica in node.replicas())
    return _wait(ctx, replicas - connected, argv[2], connected)


@command("waitaof")
def waitaof(ctx: Session, argv: list[bytes]) -> Reply:
    _reject_on_replica(ctx, "WAITAOF")
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


def _reject_on_replica(ctx: Session, name: str) -> None:
    if not ctx.server.replication.is_replica:
        return
    writable = ""
    if name == "WAIT":
        since = "since Redis 4.0 " if ctx.server.version.is_redis() else ""
        writable = f"{since}if a replica is configured to be writable (which is not the default) "
    raise RedisError(
        f"ERR {name} cannot be used with replica instances. Please also note that {writable}"
        "writes to replicas are just local and are not propagated."
    )


def _wait(ctx: Session, replicas: int, timeout: bytes, reply: Reply) -> Reply:
    duration = parse_integer(timeout, "ERR timeout is not an integer or out of range")
    if duration < 0:
        raise RedisError("ERR timeout is negative")
    if duration + ctx.db.context.now > INT64_MAX and not ctx.server.version.before(7, 2):
        raise RedisError("ERR timeout is out of range")
    if replicas <= 0 or not ctx.can_block:
        return reply
    deadline = ctx.db.context.now + duration if duration else None
    return Blocked(ctx, [], deadline, lambda key: None, reply)
