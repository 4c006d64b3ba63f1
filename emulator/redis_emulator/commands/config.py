"""The CONFIG subcommands, and the effects of parameters that change other parts of the server.

The parameters and the values they accept are in `redis_emulator.server.config`.
"""

from __future__ import annotations

from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import unknown_subcommand
from redis_emulator.commands.registry import command
from redis_emulator.glob import glob
from redis_emulator.resp.types import OK, RedisError, Reply, quote
from redis_emulator.server.config import EFFECTS, effect, event_flags, shown

_BINARY_SAFE: Final = frozenset({"requirepass", "masterauth"})
"""Parameters that Redis stores as binary-safe strings (``createSDSConfig`` in ``config.c``)."""


@command("config|get")
def config_get(ctx: Session, argv: list[bytes]) -> Reply:
    config = ctx.server.config
    if len(argv) > 3 and ctx.server.version.before(7):
        raise unknown_subcommand(ctx.server.version, argv)
    tests = [glob(pattern, True) for pattern in argv[2:]]
    return {
        name.encode(): shown(name, value).encode("utf-8", "surrogateescape")
        for name, value in config.values.items()
        if any(test(name.encode()) for test in tests)
    }


@command("config|set")
def config_set(ctx: Session, argv: list[bytes]) -> Reply:
    server = ctx.server
    if server.version.before(7):
        return _set_before_7(ctx, argv)
    if len(argv) % 2:
        raise RedisError("ERR syntax error")
    config = server.config
    pairs = [
        (quote(name).lower(), quote(name), _decode_value(name, text))
        for name, text in zip(argv[2::2], argv[3::2], strict=True)
    ]
    seen: set[str] = set()
    for name, written, _ in pairs:
        parameter = config.parameters.get(name)
        if parameter is None:
            raise RedisError(
                f"ERR Unknown option or number of arguments for CONFIG SET - '{written}'"
            )
        if parameter.immutable:
            raise _config_set_error(written, "can't set immutable config")
        if parameter.protected:
            raise _config_set_error(written, "can't set protected config")
        if name in seen:
            raise _config_set_error(written, "duplicate parameter")
        seen.add(name)
    before: dict[str, str] = {}
    for name, written, text in pairs:
        current = config[name]
        try:
            value = config.parameters[name].parse(text, current)
        except ValueError as error:
            for earlier, old in before.items():
                config[earlier] = old
            raise _config_set_error(written, str(error)) from None
        before[name] = current
        config[name] = value
    for name, old in before.items():
        if config[name] != old:
            _apply_effect(ctx, name)
    return OK


def _decode_value(name: bytes, value: bytes) -> str:
    """Decode a value. Like Redis, end it at the first zero byte unless it is a password."""
    if quote(name).lower() in _BINARY_SAFE:
        return value.decode("utf-8", "surrogateescape")
    return quote(value)


def _config_set_error(name: str, reason: str) -> RedisError:
    return RedisError(f"ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")


def _set_before_7(ctx: Session, argv: list[bytes]) -> Reply:
    """CONFIG SET before Redis 7, which takes one parameter and has other error messages."""
    server = ctx.server
    name, text = quote(argv[2]).lower(), _decode_value(argv[2], argv[3])
    parameter = server.config.parameters.get(name)
    if len(argv) != 4:
        raise unknown_subcommand(ctx.server.version, argv)
    if parameter is None or parameter.immutable or parameter.protected:
        raise RedisError(f"ERR Unsupported CONFIG parameter: {quote(argv[2])}")
    try:
        server.config[name] = parameter.parse(text, server.config[name])
    except ValueError as error:
        silent = parameter.type == "string" and not str(error).startswith("Invalid oom-score")
        reason = "" if silent else f" - {error}".replace("(s) must", " must")
        raise RedisError(
            f"ERR Invalid argument '{text}' for CONFIG SET '{quote(argv[2])}'{reason}"
        ) from None
    _apply_effect(ctx, name)
    return OK


def _apply_effect(ctx: Session, name: str) -> None:
    alias = ctx.server.config.parameters[name].alias
    for each in (name, alias):
        if each in EFFECTS:
            EFFECTS[each](ctx)


@effect("notify-keyspace-events")
def _effect_of_events(ctx: Session) -> None:
    ctx.clients.events.set_classes(event_flags(ctx.server.config["notify-keyspace-events"]))


@effect("slowlog-log-slower-than")
def _effect_of_slowlog(ctx: Session) -> None:
    ctx.engine.refresh()


@effect("maxmemory")
def _effect_of_maxmemory(ctx: Session) -> None:
    ctx.engine.limit_memory()


@effect("requirepass")
def _effect_of_requirepass(ctx: Session) -> None:
    password = ctx.server.config["requirepass"]
    ctx.clients.access.set_default_password(password.encode("utf-8", "surrogateescape"))


@command("config|resetstat")
def config_resetstat(ctx: Session, argv: list[bytes]) -> Reply:
    ctx.server.reset_statistics()
    return OK


@command("config|rewrite")
def config_rewrite(ctx: Session, argv: list[bytes]) -> Reply:
    raise RedisError("ERR The server is running without a config file")
