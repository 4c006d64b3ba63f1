"""The fast path for ``redis.call``: one Python function for each command.

Lua requests the function once for each command name and then calls it directly. Calls that the fast
path does not support use the slow path, `LuaScripts.call`: arguments that are not strings, scripts
with restrictions, and servers in which commands need full checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from redis_emulator.resp.types import OK, RedisError

if TYPE_CHECKING:
    from redis_emulator.clients.session import Session
    from redis_emulator.scripting.runtime import LuaScripts
    from redis_emulator.table.entry import Entry


_ARGUMENTS_MAX = 64
"""Commands with more arguments use the slow path, which costs them little more."""

_LARGE_REPLY = 1 << 20
"""The size of larger replies is checked against Lua's memory before they are passed to Lua."""


class ScriptState(Protocol):
    """The state of the running script.

    Attributes:
        allows_fast_path: Whether the script has no restrictions and commands need no full checks.
        wrote: Whether the script has called a write command.
    """

    allows_fast_path: bool
    wrote: bool


def fast_path(
    entry: Entry, session: Session, script: ScriptState, lua: LuaScripts
) -> Callable[..., Any]:
    """Create the function that Lua calls for one command."""
    engine, handler, writes = session.engine, entry.handler, entry.write
    sizes = frozenset(range(entry.min_argc - 1, min(entry.max_argc, _ARGUMENTS_MAX)))
    slow_path, to_lua, failed = lua.call, lua.to_lua, lua.failed

    def call(name: bytes, *arguments: Any) -> Any:
        try:
            for argument in arguments:
                if type(argument) is not bytes:
                    return slow_path(name, *arguments)
            if len(arguments) not in sizes or not script.allows_fast_path:
                return slow_path(name, *arguments)
            if writes:
                script.wrote = True
            entry.calls += 1
            reply = handler(session, [name, *arguments])
            if reply is OK:
                return True
            if reply is None:
                return False
            return reply if type(reply) is bytes and len(reply) < _LARGE_REPLY else to_lua(reply)
        except RedisError as error:
            return failed(engine.count_failure(entry, error))

    call.__code__ = call.__code__.replace()  # its own code object, so that CPython specializes it
    return call
