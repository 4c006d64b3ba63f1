"""The connection class of `RedisEmulator.client`.

It is redis-py's abstract connection with an `InProcessSocket` instead of a socket. Handshakes,
retries, health checks, pools, pipelines and pub/sub are redis-py's own code.
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
from redis_emulator.transports.connection import SOCKET_ARGUMENTS, InProcessSocket

_UNSET: Any = object()
_PUSH_HANDLER_HAS_DECODING_FLAG = (
    "disable_decoding" in inspect.signature(_RESP3Parser.handle_push_response).parameters
)
_HEALTH_CLOCK = time.time if redis.__version__.startswith("5.") else time.monotonic
POLL_SECONDS = 0.05
"""How often a waiting client checks the clock. Only a `ManualClock` reports that it has moved."""


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


class _ReplyEvent:
    """Wakes the thread that waits for a reply.

    Not a `threading.Event`: an interrupt or a fork can leave the lock inside it locked.
    """

    __slots__ = ("_waiter",)

    def __init__(self) -> None:
        self._waiter: threading.Lock | None = None

    def set(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            with contextlib.suppress(RuntimeError):  # another thread released it first
                waiter.release()

    def new_waiter(self) -> threading.Lock:
        """A locked lock that the next `set` releases."""
        waiter = threading.Lock()
        waiter.acquire()
        self._waiter = waiter
        return waiter


class EmulatorConnection(AbstractConnection):  # type: ignore[misc]
    """A redis-py connection to an emulator in this process.

    Args:
        engine: The emulator's engine.
        kwargs: The arguments of redis-py's connections; those about sockets are ignored.
    """

    def __init__(self, *, engine: Engine, **kwargs: Any) -> None:
        self._engine = engine
        self._reply_event = _ReplyEvent()
        for name in SOCKET_ARGUMENTS.intersection(kwargs):
            del kwargs[name]
        kwargs = {name: value for name, value in kwargs.items() if not name.startswith("ssl")}
        kwargs["parser_class"] = _Parser
        super().__init__(**kwargs)

    host = "emulator"
    port = 0

    def repr_pieces(self) -> list[tuple[str, Any]]:
        return [("emulator", hex(id(self._engine))), ("db", self.db)]

    def connect(self) -> None:
        """Connect, and disconnect if the handshake is interrupted by any exception."""
        if self._sock is not None:
            return
        try:
            super().connect()
        except BaseException:
            self.disconnect()
            raise

    def _connect(self) -> Any:
        return InProcessSocket(self._engine, self.encoder, self._reply_event)

    def _host_error(self) -> str:
        return "emulator"

    def _error_message(self, exception: BaseException) -> str:
        return f"Error connecting to the emulator. {exception}"

    def activate_maint_notifications_handling_if_enabled(self, *_: Any, **__: Any) -> None:
        """Do nothing: an emulator sends no maintenance notifications."""

    def pack_command(self, *args: Any) -> list[tuple[Any, ...]]:
        return [args]

    def pack_commands(self, commands: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        return list(commands)

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if self._sock is None:
            self.connect()
        if check_health and self.health_check_interval:
            self.check_health()
        sock = self._sock
        packed = [sock.pack(args) for args in command]
        try:
            for argv in packed:
                sock.send(argv)
        except BaseException:
            self.disconnect()
            raise

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        if self._sock is None:
            self.connect()
        if self.health_check_interval and kwargs.get("check_health", True):
            self.check_health()
        sock = self._sock
        argv = sock.pack(args)
        try:
            sock.send(argv)
        except BaseException:
            self.disconnect()
            raise

    def can_read(self, timeout: float | None = 0) -> bool:
        if self._sock is None:
            self.connect()
        sock = self._sock
        if sock.inbox:
            return True
        return timeout != 0 and self._wait(sock, timeout)

    def read_response(
        self,
        disable_decoding: bool = False,
        *,
        timeout: Any = _UNSET,
        disconnect_on_error: bool = True,
        push_request: bool = False,
    ) -> Any:
        sock = self._sock
        if sock is None:
            raise ConnectionError("the connection to the emulator is closed")
        inbox = sock.inbox
        try:
            while True:
                if not inbox and not self._wait(
                    sock, self.socket_timeout if timeout is _UNSET else timeout
                ):
                    raise TimeoutError("Timeout reading from emulator")
                reply = inbox[0]
                kind = type(reply)
                if (kind is bytes and not sock.decode_responses) or kind is int:
                    inbox.popleft()
                    break
                if reply is CLOSED:
                    raise ConnectionError("Connection closed by server.")
                reply = sock.read(reply, self._parser.parse_error, disable_decoding)
                inbox.popleft()
                if isinstance(reply, ConnectionError):
                    raise reply
                if kind is not Push or sock.session.protocol == 2:
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
        if _PUSH_HANDLER_HAS_DECODING_FLAG:
            return self._parser.handle_push_response(message, False, True)
        return self._parser.handle_push_response(message)

    def _wait(self, sock: InProcessSocket, timeout: float | None) -> bool:
        """Wait for a message in the inbox. Returns whether one came within ``timeout`` seconds."""
        deadline = None if timeout is None else real_seconds() + timeout
        while not sock.inbox:
            pause = sock.seconds_to_wait(POLL_SECONDS)
            if deadline is not None:
                pause = min(pause, deadline - real_seconds())
                if pause <= 0:
                    return False
            waiter = self._reply_event.new_waiter()
            if not sock.inbox and not waiter.acquire(timeout=pause):
                if sock.session.closing and not sock.inbox:
                    sock.inbox.append(CLOSED)  # after a fork: it is the parent's connection
                self._engine.tick()
        return True


class EmulatorPool(redis.ConnectionPool):  # type: ignore[misc]
    """A connection pool that closes a released connection if it has an unread reply.

    A signal handler that raises can interrupt redis-py between sending a command and reading its
    reply. redis-py would return that reply for the next command.
    """

    def release(self, connection: Any) -> None:
        sock = getattr(connection, "_conn", connection)._sock
        if sock is not None and sock.has_unread():
            connection.disconnect()
        super().release(connection)

    def reset(self) -> None:
        """Reset the pool; in a child process with new locks, because threads of the parent may hold
        the old ones.
        """
        if getattr(self, "pid", None) not in (None, os.getpid()):
            dispatcher: Any = getattr(self, "_event_dispatcher", None)
            for owner in (self, dispatcher):
                if hasattr(owner, "_lock"):
                    owner._lock = threading.RLock()
        super().reset()


class OneConnectionClient(redis.Redis):
    """A client with ``single_connection_client``. It closes its connection when a reply stays
    unread, as `EmulatorPool` does for other clients.
    """

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command; disconnect if an exception leaves a reply unread."""
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except BaseException:
            connection: Any = self.connection
            sock = getattr(connection, "_conn", connection)._sock
            if sock is not None and sock.has_unread():
                connection.disconnect()
            raise
