"""The connection pools of asyncio clients that podlink makes.

redis-py's pools wait for a lock when a connection is given back. A task that is cancelled there, or
a KeyboardInterrupt, loses the connection, until the pool is empty for good. Here giving back waits
for nothing, and connections in use are referenced weakly: one whose user was interrupted before it
could give it back is collected as garbage, and its place in the pool is free again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import redis.asyncio
import redis.exceptions as redis_errors
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.sentinel import SentinelConnectionPool


class _ImmediateRelease:
    """For a pool class of redis-py.

    Attributes:
        pool_timeout: seconds to wait for a free connection; ``None`` waits for ever.
    """

    max_connections: int
    _available_connections: list[Any]

    def __init__(self, *args: Any, pool_timeout: float | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pool_timeout = pool_timeout
        self._in_use_connections: WeakSet[Any] = WeakSet()
        self._waiting: deque[asyncio.Future[Any]] = deque()

    async def get_connection(self, *_: Any, **__: Any) -> Any:
        """A connection that is ready to send; give it back with `give_back`."""
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
        """Make a connection available to others."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(connection)
                return
        self._in_use_connections.discard(connection)
        self._available_connections.append(connection)

    async def release(self, connection: Any) -> None:
        """As `give_back`, for redis-py's clients."""
        self.give_back(connection)

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the idle connections, and those in use too if asked for."""
        # Taken out, so that no other task uses them meanwhile.
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
                self.give_back(future.result())  # it came together with the cancellation
            raise
        finally:
            if timer is not None:
                timer.cancel()
            if future in self._waiting:
                self._waiting.remove(future)


class Pool(_ImmediateRelease, redis.asyncio.ConnectionPool):  # type: ignore[misc]
    """Connections to one server."""


class SentinelPool(_ImmediateRelease, SentinelConnectionPool):
    """Connections to the master that Sentinels name."""

    async def _make_ready(self, connection: Any) -> None:
        if connection.is_connected and self.master_address != (connection.host, connection.port):
            await drop(connection)
        await make_ready(connection)


class NodePool:
    """The connections that a cluster client of the caller's has to one node.

    They are those of the client's own object for the node, which it closes with itself.

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
        """The client's object for the node, which it may replace."""
        nodes = self._client.nodes_manager.nodes_cache
        name = f"{self._host}:{self._port}"
        if name not in nodes:
            nodes[name] = ClusterNode(self._host, self._port, **self._client.connection_kwargs)
        return nodes[name]

    async def get_connection(self) -> Any:
        """A connection that is ready to send; give it back with `give_back`."""
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
        """Make a connection available to others."""
        self._origins.pop(connection)._free.append(connection)


async def make_ready(connection: Any) -> None:
    """Connect, unless there is a connection that is alive and has nothing to be read."""
    if connection.is_connected and await _is_stale(connection):
        await drop(connection)
    if not connection.is_connected:
        await connection.connect()
    if connection.health_check_interval:
        await connection.check_health()


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
    """The event loop that a connection belongs to; ``None`` if it does not care."""
    loop: asyncio.AbstractEventLoop | None = getattr(connection._reader, "_loop", None)
    return loop


async def drop(connection: Any) -> None:
    """Close a connection at once, with any unread replies."""
    try:
        await connection.disconnect(nowait=True)
    except RuntimeError:  # its event loop is closed
        abandon(connection)


def abandon(connection: Any) -> None:
    """Close the socket of a connection whose event loop is closed: nothing else is possible."""
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
        transport._sock = None  # otherwise it warns that nobody has closed it


def _fail_wait(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(redis_errors.ConnectionError("No connection available."))
