"""Connections: greeting, authentication, choosing a database, and what CLIENT tells and sets."""

from __future__ import annotations

from redis_emulator.commands.arguments import parse_integer
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import OK, PONG, RedisError, Reply
from redis_emulator.session import Session


@command("ping")
def ping(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 2:
        raise RedisError("ERR wrong number of arguments for 'ping' command")
    if ctx.protocol == 2 and ctx.subscription_count():
        return [b"pong", argv[1] if len(argv) > 1 else b""]
    return argv[1] if len(argv) > 1 else PONG


@command("select")
def select(ctx: Session, argv: list[bytes]) -> Reply:
    index = parse_integer(argv[1])
    databases = ctx.server.databases
    if not 0 <= index < len(databases):
        raise RedisError("ERR DB index is out of range")
    ctx.db = databases[index]
    return OK


@command("hello")
def hello(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 1:
        if argv[1] not in (b"2", b"3"):
            raise RedisError("NOPROTO unsupported protocol version")
        ctx.protocol = int(argv[1])
    version = ctx.server.version
    return {
        b"server": version.flavour.encode(),
        b"version": version.text.encode(),
        b"proto": ctx.protocol,
        b"id": ctx.id,
        b"mode": b"standalone",
        b"role": b"master",
        b"modules": [],
    }


@command("client|setinfo")
def client_setinfo(ctx: Session, argv: list[bytes]) -> Reply:
    return OK


@command("client|setname")
def client_setname(ctx: Session, argv: list[bytes]) -> Reply:
    ctx.name = argv[2]
    return OK
