"""The connection pool of the synchronous clients, which tolerates interrupts at any point.

The pools of redis-py count the connections in use. If a ``KeyboardInterrupt``, or an exception that
another thread raises, comes between taking a connection and the ``try`` block that releases it, the
connection stays counted, and finally the pool is exhausted. Python code cannot close this gap.

Therefore this pool does not count. It has weak references to its connections: one that is no longer
referenced is collected as garbage, with its socket, and a new one can be created. No lock is held
while the pool changes. Each change is a single atomic operation of the interpreter (``list.pop``,
``set.add``), so that an interrupt never leaves the pool in an inconsistent state.

Only `release` returns a connection to the pool. A caller that is interrupted during a command does
not release its connection, or disconnects it first. Therefore no caller can read the reply of
another.
"""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections import deque
from typing import Any, Final

import redis
from redis.exceptions import MaxConnectionsError

from podlink import deadline

RECHECK_INTERVAL: Final = 0.25
"""Seconds after which a waiting thread checks the pool again. A connection that is collected as
garbage does not wake waiting threads."""


COLLECT_INTERVAL: Final = 10.0
"""Seconds between two runs of the garbage collector for an exhausted pool."""


class PoolExhausted(MaxConnectionsError):
    """All connections were in use for as long as the caller may wait."""


class Pool(redis.ConnectionPool):  # type: ignore[misc]
    """A pool of connections to one server. Threads may share it.

    Args:
        wait: seconds to wait for a connection if all are in use.
        max_connections: the maximum number of connections.
        kwargs: the arguments of `redis.ConnectionPool`.
    """

    def __init__(self, *, wait: float = 0.0, max_connections: int = 2**31 - 1, **kwargs: Any):
        self._wait = wait
        self._retired = False
        self._next_collection = 0.0
        super().__init__(max_connections=max_connections, **kwargs)

    def reset(self) -> None:
        """Forget all connections. Those in use do not return to the pool."""
        self._lock = threading.RLock()  # for redis-py's cluster client
        self._lease = object()
        self._idle: list[Any] = []
        self._every: set[weakref.ref[Any]] = set()
        self._waiters: deque[Any] = deque()
        self.pid = os.getpid()

    def get_connection(self, *command: Any, **options: Any) -> Any:
        """Take a connection that is ready for a command. Return it with `release`.

        Raises:
            deadline.TimeUp: the deadline of the operation passed.
            PoolExhausted: all connections were in use for too long.
            redis.RedisError: connecting failed. Nothing was sent.
        """
        self._checkpid()
        connection = self._take()
        try:
            self._prepare(connection)
        except BaseException:
            # Not returned to the pool: it may be connected but not set up. Disconnected explicitly,
            # because frames of an interrupted `except` are reference cycles.
            self._every.discard(weakref.ref(connection))
            connection.disconnect()
            self._wake()
            raise
        return connection

    def release(self, connection: Any) -> None:
        """Return a connection to the pool. A second call does nothing."""
        self._checkpid()
        # `pop` is atomic: only one caller finds the connection in use.
        if connection.__dict__.pop("_lease", None) is not self._lease:
            return
        if self._retired or not self.owns_connection(connection):
            connection.disconnect()
        else:
            if getattr(connection, "should_reconnect", _never)():
                connection.disconnect()
            self._idle.append(connection)
        self._wake()

    def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the idle connections, and with ``inuse_connections`` also those in use."""
        if inuse_connections:
            for connection in self._connections():
                connection.disconnect()
            return
        closed = []
        while True:
            try:
                # Removed, so that no other thread takes it in the meantime.
                connection = self._idle.pop()
            except IndexError:
                break
            connection.disconnect()
            closed.append(connection)
        self._idle.extend(closed)
        for _ in closed:
            self._wake()

    def retire(self) -> None:
        """Close the idle connections now, and each one in use when it is released."""
        self._retired = True
        self.disconnect(inuse_connections=False)

    def set_retry(self, retry: Any) -> None:
        """Set the retry object of all connections; see `redis.ConnectionPool.set_retry`."""
        self.connection_kwargs["retry"] = retry
        for connection in self._connections():
            connection.retry = retry

    def make_connection(self) -> Any:
        """Create a connection without connecting it; ``None`` if the maximum is reached."""
        while len(self._every) < self.max_connections:
            connection = self.connection_class(**self.connection_kwargs)
            reference = weakref.ref(connection, self._every.discard)
            self._every.add(reference)
            # Two threads may create the last connection at once: then both withdraw and try again.
            if len(self._every) <= self.max_connections:
                return connection
            self._every.discard(reference)
        return None

    def _take(self) -> Any:
        connection = self._idle_or_new()
        if connection is not None:
            return connection
        until = deadline.monotonic() + self._wait
        waiter = threading.Lock()
        waiter.acquire()
        try:
            while True:
                self._waiters.append(waiter)
                # A connection may have been released before the waiter was registered.
                connection = self._idle_or_new()
                if connection is not None:
                    return connection
                rest = until - deadline.monotonic()
                if rest <= 0 and self._collect_lost():
                    continue
                if rest <= 0:
                    raise PoolExhausted(
                        f"No connection available: all {self.max_connections} were in use for "
                        f"{self._wait} seconds; raise max_connections or pool_timeout"
                    )
                waiter.acquire(timeout=deadline.limit_wait(min(rest, RECHECK_INTERVAL)) or 0.0)
                self._forget(waiter)
        finally:
            self._forget(waiter)
            if self._idle:
                self._wake()

    def _collect_lost(self) -> bool:
        """Collect connections that are only in reference cycles; return whether this was done.

        An exception that interrupts methods of redis-py may leave such a cycle. The garbage
        collector runs at most once in `COLLECT_INTERVAL` seconds.
        """
        now = deadline.monotonic()
        if now < self._next_collection:
            return False
        self._next_collection = now + COLLECT_INTERVAL
        gc.collect()
        return True

    def _idle_or_new(self) -> Any:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self.make_connection()
            if connection is None:
                return None
        connection._lease = self._lease
        return connection

    def _prepare(self, connection: Any) -> None:
        """Connect the connection, unless it is open, working and has no unread data."""
        if connection._sock is not None:
            try:
                if not connection.can_read():
                    connection.check_health()
                    return
            except (redis.ConnectionError, redis.TimeoutError, OSError):
                pass
            connection.disconnect()
        connection.connect()

    def _wake(self) -> None:
        try:
            self._waiters.popleft().release()
        except IndexError:
            pass

    def _forget(self, waiter: Any) -> None:
        try:
            self._waiters.remove(waiter)
        except ValueError:
            pass

    def _connections(self) -> list[Any]:
        found = [reference() for reference in list(self._every)]
        return [connection for connection in found if connection is not None]

    def _checkpid(self) -> None:
        if self.pid != os.getpid():
            self.reset()

    # For redis-py and `podlink.clients.pool_stats`

    @property
    def _available_connections(self) -> list[Any]:
        return list(self._idle)

    @property
    def _in_use_connections(self) -> set[Any]:
        return set(self._connections()).difference(self._idle)

    def _get_free_connections(self) -> list[Any]:
        return list(self._idle)

    def _get_in_use_connections(self) -> set[Any]:
        return self._in_use_connections

    def __del__(self) -> None:
        pass  # the method of redis-py would subtract from metrics to which nothing was added


class SentinelPool(Pool):
    """A pool of connections to the master that Sentinel reports.

    When Sentinel reports another master, the idle connections to the old one are closed at once,
    and those in use at their release.

    Args:
        service_name: the name of the master.
        sentinel_manager: a `redis.sentinel.Sentinel`.
    """

    is_master = True
    check_connection = False

    def __init__(self, service_name: str, sentinel_manager: Any, **kwargs: Any) -> None:
        self.service_name = service_name
        self.sentinel_manager = sentinel_manager
        self.master_address: tuple[str, int] | None = None
        super().__init__(**kwargs)
        self.connection_kwargs["connection_pool"] = weakref.proxy(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.service_name}>"

    def reset(self) -> None:
        """Forget all connections and the address of the master."""
        self.master_address = None
        super().reset()

    def get_master_address(self) -> tuple[str, int]:
        """Ask the Sentinels for the master's address. Each connection does so when it connects."""
        address: tuple[str, int] = tuple(self.sentinel_manager.discover_master(self.service_name))
        if address != self.master_address:
            self.master_address = address
            self.disconnect(inuse_connections=False)
        return address

    def owns_connection(self, connection: Any) -> bool:
        """Return whether a connection leads to the present master."""
        return (
            connection.pid == self.pid and (connection.host, connection.port) == self.master_address
        )


def _never() -> bool:
    return False
