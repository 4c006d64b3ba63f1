"""The connection pools of the asyncio clients that podlink creates.

The pools of redis-py wait for a lock when a connection is released. If the task is cancelled there,
or a KeyboardInterrupt is raised, the connection is never available again, so that the pool becomes
exhausted. In these pools a release does not wait. Connections in use are weakly referenced: if
their user was interrupted before the release, they are collected as garbage, and new connections
can be created.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable
from functools import lru_cache
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

import redis.asyncio
import redis.exceptions as redis_errors
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection, Connection
from redis.asyncio.sentinel import SentinelConnectionPool

if sys.version_info >= (3, 11):
    from asyncio import timeout as _timeout
else:  # redis-py installs it there
    from async_timeout import timeout as _timeout

T = TypeVar("T")


class _ImmediateRelease:
    """Overrides taking and releasing connections of a redis-py pool class.

    Attributes:
        pool_timeout: seconds to wait for a free connection; ``None`` sets no limit.
    """

    max_connections: int
    _available_connections: list[Any]

    def __init__(self, *args: Any, pool_timeout: float | None = None, **kwargs: Any) -> None:
        connection_class = _with_cancellable_writes(kwargs.pop("connection_class", Connection))
        super().__init__(*args, connection_class=connection_class, **kwargs)  # type: ignore[call-arg]
        self.pool_timeout = pool_timeout
        self._in_use_connections: WeakSet[Any] = WeakSet()
        self._waiting: deque[asyncio.Future[Any]] = deque()

    async def get_connection(self, *_: Any, **__: Any) -> Any:
        """Take a connection that is ready to send. Return it with `give_back`."""
        connection = self._take_free()
        if connection is None:
            connection = await self._wait_for_free()
        try:
            await self._make_ready(connection)
        except BaseException:
            try:
                await drop(connection)
            finally:
                self.give_back(connection)
            raise
        return connection

    async def _make_ready(self, connection: Any) -> None:
        await make_ready(connection)

    def give_back(self, connection: Any) -> None:
        """Return a connection to the pool."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(connection)
                return
        self._in_use_connections.discard(connection)
        self._available_connections.append(connection)

    async def release(self, connection: Any) -> None:
        """Call `give_back`. The clients of redis-py use this method."""
        self.give_back(connection)

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the idle connections, and with ``inuse_connections`` also those in use."""
        # Removed from the list, so that no other task takes them in the meantime.
        closing, self._available_connections = self._available_connections, []
        if inuse_connections:
            closing += self._in_use_connections
        await asyncio.gather(*(each.disconnect() for each in closing), return_exceptions=True)

    def abandon(self) -> None:
        """Close all connections whose event loop is closed."""
        for connection in (*self._available_connections, *self._in_use_connections):
            abandon(connection)

    def _take_free(self) -> Any:
        if self._available_connections:
            connection = self._available_connections.pop()
        elif len(self._in_use_connections) < self.max_connections:
            connection = self.make_connection()  # type: ignore[attr-defined]
        else:
            return None
        self._in_use_connections.add(connection)
        return connection

    async def _wait_for_free(self) -> Any:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        timer = None
        if self.pool_timeout is not None:
            timer = loop.call_later(self.pool_timeout, _fail_wait, future)
        self._waiting.append(future)
        try:
            return await future
        except BaseException:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.give_back(future.result())  # received together with the cancellation
            raise
        finally:
            if timer is not None:
                timer.cancel()
            if future in self._waiting:
                self._waiting.remove(future)


class Pool(_ImmediateRelease, redis.asyncio.ConnectionPool):  # type: ignore[misc]
    """A pool of connections to one server."""


class SentinelPool(_ImmediateRelease, SentinelConnectionPool):
    """A pool of connections to the master that Sentinel reports."""

    async def _make_ready(self, connection: Any) -> None:
        if connection.is_connected and self.master_address != (connection.host, connection.port):
            await drop(connection)
        await make_ready(connection)


class NodePool:
    """The pool of the connections that a cluster client of the caller has to one node.

    They belong to the `ClusterNode` object of the client, which closes them.

    Args:
        client: ``redis.asyncio.RedisCluster``.
        host: of the node.
        port: of the node.
    """

    def __init__(self, client: Any, host: str, port: int) -> None:
        self._client = client
        self._host = host
        self._port = port
        self._origins: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    @property
    def node(self) -> Any:
        """The `ClusterNode` object of the client, which may replace it."""
        nodes = self._client.nodes_manager.nodes_cache
        name = f"{self._host}:{self._port}"
        if name not in nodes:
            nodes[name] = ClusterNode(self._host, self._port, **self._client.connection_kwargs)
        return nodes[name]

    async def get_connection(self) -> Any:
        """Take a connection that is ready to send. Return it with `give_back`."""
        node = self.node
        connection = node.acquire_connection()
        self._origins[connection] = node
        try:
            await make_ready(connection)
        except BaseException:
            try:
                await drop(connection)
            finally:
                self.give_back(connection)
            raise
        return connection

    def give_back(self, connection: Any) -> None:
        """Return a connection to the pool."""
        self._origins.pop(connection)._free.append(connection)


async def make_ready(connection: Any) -> None:
    """Connect a connection unless it is open, working and has no unread data."""
    if connection.is_connected and await _is_stale(connection):
        await drop(connection)
    if not connection.is_connected:
        await connection.connect()
    if connection.health_check_interval:
        await _await_io(connection, connection.check_health(), "checking the connection")


class _CancellableWrites:
    """Makes redis-py write with `write`, also while it connects."""

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """As redis-py's."""
        work = super().send_packed_command(command, check_health)  # type: ignore[misc]
        await _await_io(self, work, "writing to socket")


@lru_cache
def _with_cancellable_writes(connection_class: Any) -> Any:
    if connection_class.send_packed_command is not AbstractConnection.send_packed_command:
        return connection_class  # the emulator's
    return type(connection_class.__name__, (_CancellableWrites, connection_class), {})


async def write(connection: Any, commands: Any) -> None:
    """Write packed commands to a connection, which is closed if that fails.

    Raises:
        redis.TimeoutError: not done within ``socket_timeout``.
    """
    await _await_io(
        connection, connection.send_packed_command(commands, False), "writing to socket"
    )


async def _await_io(connection: Any, work: Awaitable[None], doing: str) -> None:
    """Await ``work`` for ``socket_timeout``.

    The connection has no ``socket_timeout`` meanwhile: redis-py would use `asyncio.wait_for`.
    """
    seconds, connection.socket_timeout = connection.socket_timeout, None
    try:
        await await_within(work, seconds)
    except asyncio.TimeoutError:
        await drop(connection)
        raise redis_errors.TimeoutError(f"Timeout {doing}") from None
    finally:
        connection.socket_timeout = seconds


async def await_within(work: Awaitable[T], seconds: float | None) -> T:
    """Await ``work`` for at most ``seconds`` (``None`` sets no limit).

    Not with `asyncio.wait_for`: before Python 3.12 it loses a cancellation that comes as the work
    ends.

    Raises:
        asyncio.TimeoutError: the time is up.
    """
    async with _timeout(seconds):
        return await work


async def _is_stale(connection: Any) -> bool:
    reader, writer = connection._reader, connection._writer
    if not isinstance(reader, asyncio.StreamReader):  # the emulator's
        return bool(await connection.can_read_destructive())
    if getattr(connection, "should_reconnect", bool)():
        return True
    loop = loop_of(connection)
    if loop is not None and loop is not asyncio.get_running_loop():
        if loop.is_closed():
            abandon(connection)
            return False
        raise RuntimeError("the connection belongs to a different event loop")
    return (
        reader.at_eof()
        or reader.exception() is not None
        or writer.is_closing()
        or bool(getattr(reader, "_buffer", b""))
    )


def loop_of(connection: Any) -> asyncio.AbstractEventLoop | None:
    """Return the event loop of a connection, or ``None`` if it can be used with any."""
    loop: asyncio.AbstractEventLoop | None = getattr(connection._reader, "_loop", None)
    return loop


async def drop(connection: Any) -> None:
    """Close a connection at once, with any unread replies."""
    try:
        await connection.disconnect(nowait=True)
    except RuntimeError:  # its event loop is closed
        abandon(connection)


def abandon(connection: Any) -> None:
    """Close the socket of a connection whose event loop is closed, without that event loop."""
    writer = connection._writer
    connection._reader = connection._writer = None
    transport = getattr(writer, "transport", None)
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    try:
        transport.abort()
    except RuntimeError:
        pass
    sock = getattr(sock, "_sock", None)
    if sock is not None:
        sock.close()
    if hasattr(transport, "_sock"):
        transport._sock = None  # prevents the ResourceWarning about an unclosed transport


def _fail_wait(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(redis_errors.ConnectionError("No connection available."))
