"""The asyncio connection class of `RedisEmulator.async_client`, like `transports.sync`."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Iterable
from typing import Any

import redis.asyncio
from redis._parsers.resp3 import _AsyncRESP3Parser
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from redis_emulator.clock import real_seconds
from redis_emulator.engine.dispatch import Engine
from redis_emulator.resp.types import CLOSED, Push
from redis_emulator.transports.connection import SOCKET_ARGUMENTS, InProcessSocket
from redis_emulator.transports.sync import POLL_SECONDS

_PUSH_HANDLER_HAS_DECODING_FLAG = (
    "disable_decoding" in inspect.signature(_AsyncRESP3Parser.handle_push_response).parameters
)
_COMMANDS_PER_YIELD = 16
"""Commands that a connection sends before it yields to the event loop. A socket would yield when
its buffer is full.
"""


class _Parser(_AsyncRESP3Parser):  # type: ignore[misc]
    """Keeps redis-py's push handlers and error classes; there are no bytes to parse."""

    def on_connect(self, connection: Any) -> None:
        self.encoder = connection.encoder

    def on_disconnect(self) -> None:
        pass


class _ReplyEvent:
    """Wakes the task that waits for a reply. `set` may be called by any thread."""

    __slots__ = ("_loop", "_waiter")

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(_finish, waiter)

    def new_waiter(self) -> asyncio.Future[None]:
        """A future that the next `set` completes."""
        self._loop = asyncio.get_running_loop()
        self._waiter = waiter = self._loop.create_future()
        return waiter


class AsyncEmulatorConnection(AbstractConnection):  # type: ignore[misc]
    """A redis-py asyncio connection to an emulator in this process.

    Args:
        engine: The emulator's engine.
        kwargs: The arguments of redis-py's connections; those about sockets are ignored.
    """

    def __init__(self, *, engine: Engine, **kwargs: Any) -> None:
        self._engine = engine
        self._reply_event = _ReplyEvent()
        self._sent = 0
        for name in SOCKET_ARGUMENTS.intersection(kwargs):
            del kwargs[name]
        kwargs = {name: value for name, value in kwargs.items() if not name.startswith("ssl")}
        kwargs["parser_class"] = _Parser
        super().__init__(**kwargs)
        self.set_parser(_Parser)

    host = "emulator"
    port = 0

    def __del__(self, _warnings: Any = None) -> None:
        sock = getattr(self, "_writer", None)
        if sock is not None:
            sock.close()

    def repr_pieces(self) -> list[tuple[str, Any]]:
        return [("emulator", hex(id(self._engine))), ("db", self.db)]

    async def connect(self) -> None:
        """Connect, and disconnect if the handshake is interrupted by any exception."""
        if self._writer is not None:
            return
        self._check_process()
        try:
            await super().connect()
        except BaseException:
            await self.disconnect(nowait=True)
            raise

    def _check_process(self) -> None:
        """Raise `ForkedError` here, because redis-py turns exceptions of `_connect` into
        ConnectionError.
        """
        self._engine.ownership.check()

    async def _connect(self) -> None:
        self._reader = self._writer = InProcessSocket(self._engine, self.encoder, self._reply_event)

    def _host_error(self) -> str:
        return "emulator"

    def _error_message(self, exception: BaseException) -> str:
        return f"Error connecting to the emulator. {exception}"

    async def activate_maint_notifications_handling_if_enabled(self, *_: Any, **__: Any) -> None:
        """Do nothing: an emulator sends no maintenance notifications."""

    def pack_command(self, *args: Any) -> list[tuple[Any, ...]]:
        return [args]

    def pack_commands(self, commands: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        return list(commands)

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if self._writer is None:
            await self.connect()
        if check_health and self.health_check_interval:
            await self.check_health()
        sock = self._writer
        packed = [sock.pack(args) for args in command]
        try:
            for argv in packed:
                sock.send(argv)
            await asyncio.sleep(0)
        except BaseException:
            await self.disconnect(nowait=True)
            raise

    async def send_command(self, *args: Any, **kwargs: Any) -> None:
        if self._writer is None:
            await self.connect()
        if self.health_check_interval and kwargs.get("check_health", True):
            await self.check_health()
        sock = self._writer
        argv = sock.pack(args)
        try:
            sock.send(argv)
            self._sent += 1
            if self._sent % _COMMANDS_PER_YIELD == 0:
                await asyncio.sleep(0)
        except BaseException:
            await self.disconnect(nowait=True)
            raise

    async def can_read(self, timeout: float = 0) -> bool:
        return self._writer is not None and bool(self._writer.inbox)

    async def can_read_destructive(self) -> bool:
        return self._writer is not None and bool(self._writer.inbox)

    async def read_response(
        self,
        disable_decoding: bool = False,
        timeout: float | None = None,
        *,
        disconnect_on_error: bool = True,
        push_request: bool | None = False,
        **_: Any,
    ) -> Any:
        sock = self._writer
        if sock is None:
            raise ConnectionError("the connection to the emulator is closed")
        inbox = sock.inbox
        try:
            while True:
                if not inbox and not await self._wait(
                    sock, self.socket_timeout if timeout is None else timeout
                ):
                    if timeout is not None:
                        return None  # not an error: the caller passed the timeout
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
                reply = await self._handle_push(reply)
                if push_request:
                    break
        except BaseException:
            if disconnect_on_error:
                await self.disconnect(nowait=True)
            raise
        if self.health_check_interval:
            loop_time = asyncio.get_running_loop().time()
            self.next_health_check = loop_time + self.health_check_interval
        if isinstance(reply, ResponseError):
            try:
                raise reply
            finally:
                del reply
        return reply

    async def _handle_push(self, message: Any) -> Any:
        handle = self._parser.handle_push_response
        result = (
            handle(message, False, True) if _PUSH_HANDLER_HAS_DECODING_FLAG else handle(message)
        )
        return await result if inspect.isawaitable(result) else result

    async def _wait(self, sock: InProcessSocket, timeout: float | None) -> bool:
        """Wait for a message in the inbox. Returns whether one came within ``timeout`` seconds."""
        deadline = None if timeout is None else real_seconds() + timeout
        if timeout is not None and timeout <= 0:
            await asyncio.sleep(0)
        while not sock.inbox:
            pause = sock.seconds_to_wait(POLL_SECONDS)
            if deadline is not None:
                pause = min(pause, deadline - real_seconds())
                if pause <= 0:
                    return False
            waiter = self._reply_event.new_waiter()
            if not sock.inbox:
                await asyncio.wait((waiter,), timeout=pause)
            if not sock.inbox:
                if sock.session.closing:
                    sock.inbox.append(CLOSED)  # after a fork: it is the parent's connection
                self._engine.tick()
        return True


class AsyncEmulatorPool(redis.asyncio.ConnectionPool):  # type: ignore[misc]
    """Like `sync.EmulatorPool`, for asyncio."""

    async def release(self, connection: Any) -> None:
        sock = connection._writer
        if sock is not None and sock.has_unread():
            await connection.disconnect(nowait=True)
        await super().release(connection)


class AsyncOneConnectionClient(redis.asyncio.Redis):
    """Like `sync.OneConnectionClient`, for asyncio."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command; disconnect if an exception leaves a reply unread."""
        try:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except BaseException:
            connection: Any = self.connection
            sock = connection._writer if connection is not None else None
            if sock is not None and sock.has_unread():
                await connection.disconnect(nowait=True)
            raise


def _finish(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
