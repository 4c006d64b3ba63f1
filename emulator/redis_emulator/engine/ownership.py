"""Protection against using an engine in a forked child process by accident.

A child process that ``os.fork`` creates has a copy of its parent's engines, and writes in one
process are not visible in the other. Therefore the engine's lock is replaced in a child by a
`ForbiddenLock`, which raises `ForkedError`. The process that created the engine pays nothing for
this check. The fork hooks themselves are in `redis_emulator.forks`.
"""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager
from typing import NoReturn, Protocol

from redis_emulator import forks
from redis_emulator.clients.clients import Clients
from redis_emulator.forks import ForkedError

_COPY = (
    "this emulator was created in process {parent}, and process {child} has only a copy of it since"
    " fork(): writes in one process are not visible in the other. Before the fork,"
    " start a server with emulator.serve() and connect to its url; or, if a copy is what you want,"
    " call emulator.use_copy_after_fork()"
)
_INCONSISTENT = (
    "this emulator was created in process {parent}, and the copy of it in process {child} cannot be"
    " used: a command or script of another thread was running at the fork(). Before the fork,"
    " start a server with emulator.serve() and connect to its url"
)


class Listener(Protocol):
    """A TCP server of an engine."""

    def request_stop(self) -> None:
        """Ask the server to stop. Returns at once."""
        ...

    def serve_during_script(self) -> None:
        """Serve other clients once while a slow script runs."""
        ...

    def close_in_child(self) -> None:
        """Close the sockets in a child process. The server of the parent keeps running."""
        ...


class ForbiddenLock:
    """Replaces the engine's lock in a child process. Entering it raises `ForkedError`."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __enter__(self) -> NoReturn:
        raise ForkedError(self._reason)

    def __exit__(self, *_: object) -> None:
        """Never called."""


class ForkedEngine(Protocol):
    """The part of the engine that `Ownership` uses."""

    lock: AbstractContextManager[object]
    clients: Clients
    listeners: list[Listener]

    def refresh(self) -> None:
        """Update ``needs_full_checks``."""
        ...


class Ownership:
    """Replaces the lock of an engine in a child process.

    Args:
        engine: The engine.
        lock: Its lock.

    Attributes:
        own_lock: The real lock, also in a child.
        commands_forbidden: Whether this is a child process in which commands are refused.
        in_script: Whether the lock is released while a slow script runs.
    """

    def __init__(self, engine: ForkedEngine, lock: threading.RLock) -> None:
        self._engine = engine
        self._creator_pid = os.getpid()
        self._copy_allowed = False
        self._inconsistent = False
        self.own_lock: forks.Lock = lock
        self.commands_forbidden = False
        self.in_script = False
        forks.register(self)

    def check(self) -> None:
        """Check that commands may run in this process.

        Raises:
            ForkedError: They may not.
        """
        if self.commands_forbidden:
            self._engine.lock.__enter__()

    def use_copy(self) -> None:
        """Allow commands in child processes, on their own copy.

        Raises:
            ForkedError: This is a child, and its copy is inconsistent.
        """
        if self._inconsistent:
            self.check()
        self._copy_allowed = True
        if self.commands_forbidden:
            self.commands_forbidden = False
            self._engine.lock = self.own_lock
            self._drop_clients()

    def after_fork(self, consistent: bool) -> None:
        """Called in a child: close the sockets, and refuse commands unless the copy is allowed."""
        engine = self._engine
        self._inconsistent = self._inconsistent or self.in_script or not consistent
        self.commands_forbidden = self._inconsistent or not self._copy_allowed
        if self.commands_forbidden:
            text = _INCONSISTENT if self._inconsistent else _COPY
            engine.lock = ForbiddenLock(text.format(parent=self._creator_pid, child=os.getpid()))
        for listener in tuple(engine.listeners):
            listener.close_in_child()
        engine.listeners.clear()
        if not self.commands_forbidden:
            self._drop_clients()

    def _drop_clients(self) -> None:
        """Remove the parent's clients without sending them anything, which would take locks."""
        clients = self._engine.clients
        for client in tuple(clients.by_id.values()):
            client.closing = True
            clients.remove(client)
        self._engine.refresh()
