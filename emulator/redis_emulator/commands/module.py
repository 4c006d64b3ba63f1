"""The MODULE subcommands. The emulator cannot load modules, which are native code."""

from __future__ import annotations

from redis_emulator.clients.session import Session
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import RedisError, Reply
from redis_emulator.version import Version

_NOT_LOADED = "ERR Error loading the extension. Please check the server logs."
_NO_SUCH_MODULE = "ERR Error unloading module: no such module with that name"
_FORBIDDEN = (
    'ERR MODULE command not allowed. If the enable-module-command option is set to "local", '
    "you can run it from a local connection, otherwise you need to set this option in the "
    "configuration file, and then restart the server."
)


def built_in(version: Version) -> list[Reply]:
    """The built-in modules of a server of ``version``, as in the replies of HELLO and MODULE LIST.

    Modules that the emulator does not implement are left out.
    """
    if version.is_valkey(9, 1):
        return [{b"name": b"lua", b"ver": 1, b"path": b"lua", b"args": []}]
    return []


@command("module|list")
def module_list(ctx: Session, argv: list[bytes]) -> Reply:
    return list(built_in(ctx.server.version))


@command("module|load", "module|loadex")
def module_load(ctx: Session, argv: list[bytes]) -> Reply:
    _check_allowed(ctx)
    raise RedisError(_NOT_LOADED)


@command("module|unload")
def module_unload(ctx: Session, argv: list[bytes]) -> Reply:
    _check_allowed(ctx)
    raise RedisError(_NO_SUCH_MODULE)


def _check_allowed(ctx: Session) -> None:
    parameters = ctx.server.config.parameters
    name = "enable-module-command"
    if name in parameters and ctx.server.config[name] == "no":
        raise RedisError(_FORBIDDEN)
