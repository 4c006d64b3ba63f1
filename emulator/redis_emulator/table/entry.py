"""A command of one server: its row of the table, the function that runs it, its statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis_emulator.resp.types import Reply
from redis_emulator.table import Spec

Handler = Callable[[Any, list[bytes]], Reply]
"""The function of a command. It takes a `redis_emulator.clients.session.Session` and the arguments,
of which the first is the name of the command."""


class Entry:
    """One command of one server: its row of the table, the function, and its statistics.

    Attributes:
        write: Whether the command has the flag ``write``.
        needs_full_checks: Whether the engine must not run it on its fast path, because it may block
            or send the client a message after the reply.
        subcommands: The subcommands of a container by name, in lower and upper case; None for a
            command that is not a container.
    """

    __slots__ = (
        "calls",
        "failed",
        "flags",
        "handler",
        "max_argc",
        "min_argc",
        "name",
        "needs_full_checks",
        "rejected",
        "spec",
        "subcommands",
        "usec",
        "write",
    )

    def __init__(self, spec: Spec, handler: Handler) -> None:
        self.spec = spec
        self.name = spec.name
        self.handler = handler
        self.flags = frozenset(spec.flags)
        self.min_argc = abs(spec.arity)
        self.max_argc = spec.arity if spec.arity > 0 else 1 << 30
        self.write = "write" in self.flags
        self.needs_full_checks = "blocking" in self.flags
        self.subcommands: dict[bytes, Entry] | None = None
        self.reset_statistics()

    def reset_statistics(self) -> None:
        """Set the counters to 0, as CONFIG RESETSTAT does."""
        self.calls = 0
        self.failed = 0
        self.rejected = 0
        self.usec = 0
