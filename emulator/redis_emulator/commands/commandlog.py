"""COMMANDLOG of Valkey: the logs of slow commands, large requests and large replies."""

from __future__ import annotations

from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import parse_integer
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import OK, RedisError, Reply
from redis_emulator.server.config import effect
from redis_emulator.server.logs import SlowLog

_BAD_COUNT: Final = "ERR count should be greater than or equal to -1"
_LOG_LENGTHS: Final = {
    "commandlog-large-request-max-len": "large_requests",
    "commandlog-large-reply-max-len": "large_replies",
}


def _log(ctx: Session, kind: bytes) -> SlowLog:
    """The log of type ``kind``.

    Raises:
        RedisError: There is no such type.
    """
    server = ctx.server
    word = kind.lower()
    if word == b"slow":
        return server.logs.slow
    if word == b"large-request":
        return server.logs.large_requests
    if word == b"large-reply":
        return server.logs.large_replies
    raise RedisError("ERR type should be one of the following: slow, large-request, large-reply")


@command("commandlog|get")
def commandlog_get(ctx: Session, argv: list[bytes]) -> Reply:
    count = parse_integer(argv[2], _BAD_COUNT)
    if count < -1:
        raise RedisError(_BAD_COUNT)
    entries = _log(ctx, argv[3]).entries
    if count == -1:
        count = len(entries)
    return [
        [entry.id, entry.seconds, entry.us, list(entry.argv), entry.addr.encode(), entry.name]
        for entry, _ in zip(entries, range(count), strict=False)
    ]


@command("commandlog|len")
def commandlog_len(ctx: Session, argv: list[bytes]) -> Reply:
    return len(_log(ctx, argv[2]).entries)


@command("commandlog|reset")
def commandlog_reset(ctx: Session, argv: list[bytes]) -> Reply:
    _log(ctx, argv[2]).entries.clear()
    return OK


@effect("commandlog-request-larger-than", "commandlog-reply-larger-than")
def _refresh_engine(ctx: Session) -> None:
    ctx.engine.refresh()


@effect(*_LOG_LENGTHS)
def _trim_logs(ctx: Session) -> None:
    server = ctx.server
    for name, log in _LOG_LENGTHS.items():
        entries = getattr(server.logs, log).entries
        while len(entries) > server.config.numbers[name]:
            entries.pop()
