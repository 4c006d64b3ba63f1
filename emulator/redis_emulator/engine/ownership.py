"""Which process an engine works for.

A child process that ``os.fork`` has made has a copy of the engines of its parent. What one of the
two processes writes, the other does not see, which nobody wants by accident. So in a child the
engine's lock is replaced by a `Refusal`: whoever wants to run a command gets a `ForkedError`. In
the process that made the engine nothing is checked.
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
    "this emulator was made in process {parent}, and process {child} has only a copy of it since"
    " fork(): what one writes, the other does not see. Before the fork, start a server with"
    " emulator.serve() and connect to its url; or, if a copy is what you want, call"
    " emulator.use_copy_after_fork()"
)
_TORN = (
    "this emulator was made in process {parent}, and the copy of it in process {child} cannot be"
    " used: a command or script of another thread was running at the fork(). Before the fork,"
    " start a server with emulator.serve() and connect to its url"
)


class Listener(Protocol):
    """A server that listens for clients of an engine."""

    def request_stop(self) -> None:
        """Stop soon; returns at once."""
        ...

    def serve_during_script(self) -> None:
        """Serve other clients for a moment while a command of one runs."""
        ...

    def close_in_child(self) -> None:
        """Close a child's copies of the sockets; the server of the parent goes on."""
        ...


class Refusal:
    """Stands where a lock was, and raises an error instead of being taken."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __enter__(self) -> NoReturn:
        raise ForkedError(self._reason)

    def __exit__(self, *_: object) -> None:
        """Never called."""


class Owned(Protocol):
    """What is needed of the engine."""

    lock: AbstractContextManager[object]
    clients: Clients
    listeners: list[Listener]

    def refresh(self) -> None:
        """Decide anew whether commands need full checks."""
        ...


class Ownership:
    """Replaces the lock of an engine in a child process.

    Args:
        engine: The engine.
        lock: Its lock.

    Attributes:
        own_lock: Its lock, also in a child.
        is_foreign: Whether commands are refused here.
        in_script: Whether the lock is released in the middle of a script.
    """

    def __init__(self, engine: Owned, lock: threading.RLock) -> None:
        self._engine = engine
        self._made_in = os.getpid()
        self._copy_is_meant = False
        self._torn = False
        self.own_lock: forks.Lock = lock
        self.is_foreign = False
        self.in_script = False
        forks.register(self)

    def check(self) -> None:
        """Make sure that commands may run here.

        Raises:
            ForkedError: They may not.
        """
        if self.is_foreign:
            self._engine.lock.__enter__()

    def use_copy(self) -> None:
        """Run commands in children as well, on their own copy.

        Raises:
            ForkedError: This is a child, and its copy is half changed.
        """
        if self._torn:
            self.check()
        self._copy_is_meant = True
        if self.is_foreign:
            self.is_foreign = False
            self._engine.lock = self.own_lock
            self._drop_clients()

    def after_fork(self, consistent: bool) -> None:
        """In a child: leave sockets and clients to the parent, and refuse commands from now on."""
        engine = self._engine
        self._torn = self._torn or self.in_script or not consistent
        self.is_foreign = self._torn or not self._copy_is_meant
        if self.is_foreign:
            text = _TORN if self._torn else _COPY
            engine.lock = Refusal(text.format(parent=self._made_in, child=os.getpid()))
        for listener in tuple(engine.listeners):
            listener.close_in_child()
        engine.listeners.clear()
        if not self.is_foreign:
            self._drop_clients()

    def _drop_clients(self) -> None:
        """End the connections of the parent, without telling anybody: that takes locks."""
        clients = self._engine.clients
        for client in tuple(clients.by_id.values()):
            client.closing = True
            clients.remove(client)
        self._engine.refresh()
