"""The HELP subcommands. The texts are those of the servers, stored in ``table/documents``."""

from __future__ import annotations

from redis_emulator.clients.session import Session
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import Reply, SimpleString
from redis_emulator.table import load
from redis_emulator.table.documents import read, server_like


@command(*(name for name in load() if name.endswith("|help") and name != "cluster|help"))
def help_(ctx: Session, argv: list[bytes]) -> Reply:
    name = argv[0].decode().lower()
    lines = read("help", server_like(ctx.server.version))[name]
    return [SimpleString(line.encode()) for line in lines]
