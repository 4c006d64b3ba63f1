"""The connection class behind `RedisEmulator.client`.

It is redis-py's own abstract connection with the socket replaced by a `Link`, so that handshakes,
retries, health checks, pools, pipelines and pub/sub are redis-py's.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import threading
import time
from collections.abc import Iterable
from typing import Any

import redis
from redis._parsers.resp3 import _RESP3Parser
from redis.connection import AbstractConnection
from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from redis_emulator.clock import real_seconds
from redis_emulator.engine.dispatch import Engine
from redis_emulator.resp.types import CLOSED, Push
from redis_emulator.transports.connection import NOT_FOR_US, Link

_UNSET: Any = object()
_PUSH_TAKES_MORE = (
    "disable_decoding" in inspect.signature(_RESP3Parser.handle_push_response).parameters
)
_HEALTH_CLOCK = time.time if redis.__version__.startswith("5.") else time.monotonic
POLL_SECONDS = 0.05
"""How often a waiting client looks at a clock that nobody announces the moves of."""


class _Parser(_RESP3Parser):  # type: ignore[misc]
    """Keeps redis-py's push handlers and error classes; there are no bytes to parse."""

    def __init__(self, socket_read_size: int) -> None:
        super().__init__(socket_read_size)

    def on_connect(self, connection: Any) -> None:
        self.encoder = connection.encoder

    def on_disconnect(self) -> None:
        pass

    def can_read(self, timeout: float = 0) -> bool:
        return False


class _Bell:
    """Wakes the thread that waits for a reply.

    Not a `threading.Event`: that has a lock, which an interrupt or a fork can leave locked.
    """

    __slots__ = ("_waiter",)

    def __init__(self) -> None:
        self._waiter: threading.Lock | None = None

    def set(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            with contextlib.suppress(RuntimeError):  # another thread was first
                waiter.release()

    def next_ring(self) -> threading.Lock:
        """A lock that can be taken when `set` has been called."""
        waiter = threading.Lock()
        waiter.acquire()
        self._waiter = waiter
        return waiter


class EmulatorConnection(AbstractConnection):  # type: ignore[misc]
    """A redis-py connection to an emulator in this process.

    Args:
        engine: The emulator's engine.
        kwargs: What redis-py's connections take; what concerns sockets is ignored.
    """

    def __init__(self, *, engine: Engine, **kwargs: Any) -> None:
        self._engine = engine
        self._bell = _Bell()
        for name in NOT_FOR_US.intersection(kwargs):
            del kwargs[name]
        kwargs = {name: value for name, value in kwargs.items() if not name.startswith("ssl")}
        kwargs["parser_class"] = _Parser
        super().__init__(**kwargs)

    host = "emulator"
    port = 0

    def repr_pieces(self) -> list[tuple[str, Any]]:
        return [("emulator", hex(id(self._engine))), ("db", self.db)]

    def connect(self) -> None:
        """As redis-py's, but whatever interrupts the handshake also closes the connection."""
        if self._sock is not None:
            return
        try:
            super().connect()
        except BaseException:
            self.disconnect()
            raise

    def _connect(self) -> Any:
        return Link(self._engine, self.encoder, self._bell)

    def _host_error(self) -> str:
        return "emulator"

    def _error_message(self, exception: BaseException) -> str:
        return f"Error connecting to the emulator. {exception}"

    def activate_maint_notifications_handling_if_enabled(self, *_: Any, **__: Any) -> None:
        """An emulator is never moved to other hardware."""

    def pack_command(self, *args: Any) -> list[tuple[Any, ...]]:
        return [args]

    def pack_commands(self, commands: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        return list(commands)

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if self._sock is None:
            self.connect()
        if check_health and self.health_check_interval:
            self.check_health()
        link = self._sock
        packed = [link.pack(args) for args in command]
        try:
            for argv in packed:
                link.send(argv)
        except BaseException:
            self.disconnect()
            raise

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        if self._sock is None:
            self.connect()
        if self.health_check_interval and kwargs.get("check_health", True):
            self.check_health()
        link = self._sock
        argv = link.pack(args)
        try:
            link.send(argv)
        except BaseException:
            self.disconnect()
            raise

    def can_read(self, timeout: float | None = 0) -> bool:
        if self._sock is None:
            self.connect()
        link = self._sock
        if link.inbox:
            return True
        return timeout != 0 and self._wait(link, timeout)

    def read_response(
        self,
        disable_decoding: bool = False,
        *,
        timeout: Any = _UNSET,
        disconnect_on_error: bool = True,
        push_request: bool = False,
    ) -> Any:
        link = self._sock
        if link is None:
            raise ConnectionError("the connection to the emulator is closed")
        inbox = link.inbox
        try:
            while True:
                if not inbox and not self._wait(
                    link, self.socket_timeout if timeout is _UNSET else timeout
                ):
                    raise TimeoutError("Timeout reading from emulator")
                reply = inbox[0]
                kind = type(reply)
                if (kind is bytes and not link.decodes) or kind is int:
                    inbox.popleft()
                    break
                if reply is CLOSED:
                    raise ConnectionError("Connection closed by server.")
                reply = link.read(reply, self._parser.parse_error, disable_decoding)
                inbox.popleft()
                if isinstance(reply, ConnectionError):
                    raise reply
                if kind is not Push or link.session.protocol == 2:
                    break
                reply = self._handle_push(reply)
                if push_request:
                    break
        except BaseException:
            if disconnect_on_error:
                self.disconnect()
            raise
        if self.health_check_interval:
            self.next_health_check = _HEALTH_CLOCK() + self.health_check_interval
        if isinstance(reply, ResponseError):
            try:
                raise reply
            finally:
                del reply
        return reply

    def _handle_push(self, message: Any) -> Any:
        if _PUSH_TAKES_MORE:
            return self._parser.handle_push_response(message, False, True)
        return self._parser.handle_push_response(message)

    def _wait(self, link: Link, timeout: float | None) -> bool:
        """Wait for the inbox to fill; whether it did within ``timeout`` seconds."""
        give_up = None if timeout is None else real_seconds() + timeout
        while not link.inbox:
            pause = link.patience(POLL_SECONDS)
            if give_up is not None:
                pause = min(pause, give_up - real_seconds())
                if pause <= 0:
                    return False
            waiter = self._bell.next_ring()
            if not link.inbox and not waiter.acquire(timeout=pause):
                if link.session.closing and not link.inbox:
                    link.inbox.append(CLOSED)  # of the parent of this child process
                self._engine.tick()
        return True


class EmulatorPool(redis.ConnectionPool):  # type: ignore[misc]
    """Closes a connection that comes back with a reply that nobody has read.

    An exception of a signal handler can interrupt redis-py between sending a command and reading
    its reply, where no connection notices. redis-py would give the reply to the next caller.
    """

    def release(self, connection: Any) -> None:
        link = getattr(connection, "_conn", connection)._sock
        if link is not None and link.has_unread():
            connection.disconnect()
        super().release(connection)

    def reset(self) -> None:
        """As redis-py's, which in a child process waits for locks of the parent's threads."""
        if getattr(self, "pid", None) not in (None, os.getpid()):
            dispatcher: Any = getattr(self, "_event_dispatcher", None)
            for owner in (self, dispatcher):
                if hasattr(owner, "_lock"):
                    owner._lock = threading.RLock()
        super().reset()


class OneConnectionClient(redis.Redis):
    """A client with ``single_connection_client``: what `EmulatorPool` is to the others."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """As `redis.Redis.execute_command`."""
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except BaseException:
            connection: Any = self.connection
            link = getattr(connection, "_conn", connection)._sock
            if link is not None and link.has_unread():
                connection.disconnect()
            raise
