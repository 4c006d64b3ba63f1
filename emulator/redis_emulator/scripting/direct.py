"""The short way of a script's command: from Lua to the command's function and back in one step.

Lua asks once for each name and calls what it gets from then on. Whatever the short way does not
cover (another form of arguments, a restricted script, a server with something special on) goes the
long way, as all commands of the engine do: see ``Engine.execute``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from redis_emulator.resp.types import OK, RedisError

if TYPE_CHECKING:
    from redis_emulator.clients.session import Session
    from redis_emulator.scripting.runtime import LuaScripts
    from redis_emulator.table.entry import Entry


_MOST_WORDS = 64
"""Longer commands go the long way, which is not much longer for them."""

_LARGE = 1 << 20
"""Larger replies are measured before Lua gets them."""


class Caller(Protocol):
    """What is known of the script that runs.

    Attributes:
        plain: Whether nothing is forbidden to it, and nothing special is on.
        wrote: Whether it has called a command that writes.
    """

    plain: bool
    wrote: bool


def shortcut(entry: Entry, session: Session, script: Caller, lua: LuaScripts) -> Callable[..., Any]:
    """A function for Lua that runs one command on ``session``."""
    engine, handler, writes = session.engine, entry.handler, entry.write
    sizes = frozenset(range(entry.min_argc - 1, min(entry.max_argc, _MOST_WORDS)))
    the_long_way, to_lua, failed = lua.call, lua.to_lua, lua.failed

    def call(name: bytes, *arguments: Any) -> Any:
        try:
            for argument in arguments:
                if type(argument) is not bytes:
                    return the_long_way(name, *arguments)
            if len(arguments) not in sizes or not script.plain:
                return the_long_way(name, *arguments)
            if writes:
                script.wrote = True
            entry.calls += 1
            reply = handler(session, [name, *arguments])
            if reply is OK:
                return True
            if reply is None:
                return False
            return reply if type(reply) is bytes and len(reply) < _LARGE else to_lua(reply)
        except RedisError as error:
            return failed(engine.count_failure(entry, error))

    call.__code__ = call.__code__.replace()  # the interpreter learns which handler this one calls
    return call
