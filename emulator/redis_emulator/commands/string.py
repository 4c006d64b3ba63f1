"""Strings.

A string is `bytes`; once changed in place (APPEND, SETRANGE, SETBIT) it is a `bytearray`, which is also what
tells OBJECT ENCODING that it is raw.
"""

from __future__ import annotations

from redis_emulator.commands.arguments import parse_integer, syntax_error, wrong_type
from redis_emulator.commands.registry import command
from redis_emulator.keyspace import STRING
from redis_emulator.resp.types import OK, Reply
from redis_emulator.session import Session


@command("get")
def get(ctx: Session, argv: list[bytes]) -> Reply:
    value = ctx.db.lookup(argv[1])
    if value is None or type(value) is bytes:
        return value
    if type(value) is bytearray:
        return bytes(value)
    raise wrong_type()


@command("set")
def set_(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) == 3:
        key = argv[1]
        ctx.db.set(key, argv[2])
        ctx.db.changed(key, b"set", STRING)
        return OK
    raise syntax_error()
