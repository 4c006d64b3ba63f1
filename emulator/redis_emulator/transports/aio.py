"""The connection class of `RedisEmulator.async_client`: the coroutine twin of `transports.sync`."""

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
from redis_emulator.transports.connection import NOT_FOR_US, Link
from redis_emulator.transports.sync import POLL_SECONDS

_PUSH_TAKES_MORE = (
    "disable_decoding" in inspect.signature(_AsyncRESP3Parser.handle_push_response).parameters
)
_TURN = 16
"""Commands a connection runs before it lets the event loop turn, as a socket would at some time."""


class _Parser(_AsyncRESP3Parser):  # type: ignore[misc]
    """Keeps redis-py's push handlers and error classes; there are no bytes to parse."""

    def on_connect(self, connection: Any) -> None:
        self.encoder = connection.encoder

    def on_disconnect(self) -> None:
        pass


class _Bell:
    """Wakes the task that waits for a reply."""

    __slots__ = ("_loop", "_waiter")

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(_finish, waiter)

    def next_ring(self) -> asyncio.Future[None]:
        """A future that the next `set` finishes."""
        self._loop = asyncio.get_running_loop()
        self._waiter = waiter = self._loop.create_future()
        return waiter


class AsyncEmulatorConnection(AbstractConnection):  # type: ignore[misc]
    """A redis-py asyncio connection to an emulator in this process.

    Args:
        engine: The emulator's engine.
        kwargs: What redis-py's connections take; what concerns sockets is ignored.
    """

    def __init__(self, *, engine: Engine, **kwargs: Any) -> None:
        self._engine = engine
        self._bell = _Bell()
        self._sent = 0
        for name in NOT_FOR_US.intersection(kwargs):
            del kwargs[name]
        kwargs = {name: value for name, value in kwargs.items() if not name.startswith("ssl")}
        kwargs["parser_class"] = _Parser
        super().__init__(**kwargs)
        self.set_parser(_Parser)

    host = "emulator"
    port = 0

    def __del__(self, _warnings: Any = None) -> None:
        link = getattr(self, "_writer", None)
        if link is not None:
            link.close()

    def repr_pieces(self) -> list[tuple[str, Any]]:
        return [("emulator", hex(id(self._engine))), ("db", self.db)]

    async def connect(self) -> None:
        """As redis-py's, but whatever interrupts the handshake also closes the connection."""
        if self._writer is not None:
            return
        self._check_process()
        try:
            await super().connect()
        except BaseException:
            await self.disconnect(nowait=True)
            raise

    def _check_process(self) -> None:
        """Raise what `_connect` would, where redis-py does not make a ConnectionError of it."""
        self._engine.ownership.check()

    async def _connect(self) -> None:
        self._reader = self._writer = Link(self._engine, self.encoder, self._bell)

    def _host_error(self) -> str:
        return "emulator"

    def _error_message(self, exception: BaseException) -> str:
        return f"Error connecting to the emulator. {exception}"

    async def activate_maint_notifications_handling_if_enabled(self, *_: Any, **__: Any) -> None:
        """An emulator is never moved to other hardware."""

    def pack_command(self, *args: Any) -> list[tuple[Any, ...]]:
        return [args]

    def pack_commands(self, commands: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        return list(commands)

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if self._writer is None:
            await self.connect()
        if check_health and self.health_check_interval:
            await self.check_health()
        link = self._writer
        packed = [link.pack(args) for args in command]
        try:
            for argv in packed:
                link.send(argv)
            await asyncio.sleep(0)
        except BaseException:
            await self.disconnect(nowait=True)
            raise

    async def send_command(self, *args: Any, **kwargs: Any) -> None:
        if self._writer is None:
            await self.connect()
        if self.health_check_interval and kwargs.get("check_health", True):
            await self.check_health()
        link = self._writer
        argv = link.pack(args)
        try:
            link.send(argv)
            self._sent += 1
            if self._sent % _TURN == 0:
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
        link = self._writer
        if link is None:
            raise ConnectionError("the connection to the emulator is closed")
        inbox = link.inbox
        try:
            while True:
                if not inbox and not await self._wait(
                    link, self.socket_timeout if timeout is None else timeout
                ):
                    if timeout is not None:
                        return None  # the caller's own limit: nothing is wrong
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
        result = handle(message, False, True) if _PUSH_TAKES_MORE else handle(message)
        return await result if inspect.isawaitable(result) else result

    async def _wait(self, link: Link, timeout: float | None) -> bool:
        """Wait for the inbox to fill; whether it did within ``timeout`` seconds."""
        give_up = None if timeout is None else real_seconds() + timeout
        if timeout is not None and timeout <= 0:
            await asyncio.sleep(0)
        while not link.inbox:
            pause = link.patience(POLL_SECONDS)
            if give_up is not None:
                pause = min(pause, give_up - real_seconds())
                if pause <= 0:
                    return False
            waiter = self._bell.next_ring()
            if not link.inbox:
                await asyncio.wait((waiter,), timeout=pause)
            if not link.inbox:
                if link.session.closing:
                    link.inbox.append(CLOSED)  # of the parent of this child process
                self._engine.tick()
        return True


class AsyncEmulatorPool(redis.asyncio.ConnectionPool):  # type: ignore[misc]
    """The coroutine twin of `sync.EmulatorPool`."""

    async def release(self, connection: Any) -> None:
        link = connection._writer
        if link is not None and link.has_unread():
            await connection.disconnect(nowait=True)
        await super().release(connection)


class AsyncOneConnectionClient(redis.asyncio.Redis):
    """The coroutine twin of `sync.OneConnectionClient`."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """As `redis.asyncio.Redis.execute_command`."""
        try:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except BaseException:
            connection: Any = self.connection
            link = connection._writer if connection is not None else None
            if link is not None and link.has_unread():
                await connection.disconnect(nowait=True)
            raise


def _finish(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
