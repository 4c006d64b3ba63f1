"""The pool of a synchronous client: a connection that is lost is not missed.

redis-py's pools count the connections in use. When an exception comes from outside, a
``KeyboardInterrupt`` or one that another thread raises, between taking a connection and the ``try``
that gives it back, the connection stays counted for good, and after enough of them the pool is
empty. There is no place for a ``try`` that would close this gap in Python.

So this pool counts nothing. It has weak references to its connections: one that nobody refers to
any more is collected, with its socket, and makes room for another one. No lock is held while the
pool changes. Every change is one operation that the interpreter does as a whole (``list.pop``,
``set.add``), so that an interruption finds the pool in order, wherever it comes.

A connection goes back into the pool only through `release`. Whoever stops in the middle of a
command drops it, or disconnects it before: nobody reads the reply to another's command.
"""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections import deque
from time import monotonic
from typing import Any, Final

import redis
from redis.exceptions import MaxConnectionsError

from podlink import deadline

RECHECK_INTERVAL: Final = 0.25
"""Seconds after which a waiting thread looks again, if it is not woken: a connection that was lost
wakes nobody."""


COLLECT_INTERVAL: Final = 10.0
"""Seconds between two runs of the garbage collector that look for lost connections."""


class PoolExhausted(MaxConnectionsError):
    """All connections were in use for as long as the caller could wait."""


class Pool(redis.ConnectionPool):  # type: ignore[misc]
    """Connections to one server. Threads may share it.

    Args:
        wait: seconds to wait for a connection when all are in use.
        max_connections: how many there may be.
        kwargs: of `redis.ConnectionPool`.
    """

    def __init__(self, *, wait: float = 0.0, max_connections: int = 2**31 - 1, **kwargs: Any):
        self._wait = wait
        self._retired = False
        self._next_collection = 0.0
        super().__init__(max_connections=max_connections, **kwargs)

    def reset(self) -> None:
        """Start with no connections; those in use are not taken back."""
        self._lock = threading.RLock()  # for redis-py's cluster client
        self._lease = object()
        self._idle: list[Any] = []
        self._every: set[weakref.ref[Any]] = set()
        self._waiters: deque[Any] = deque()
        self.pid = os.getpid()

    def get_connection(self, *command: Any, **options: Any) -> Any:
        """A connection that is ready for a command. Give it back with `release`.

        Raises:
            deadline.TimeUp: the time of the operation passed.
            PoolExhausted: all connections were in use for too long.
            redis.RedisError: the connection could not be made. Nothing was sent.
        """
        self._checkpid()
        connection = self._take()
        try:
            self._prepare(connection)
        except BaseException:
            # Not back into the pool: it may be connected but not set up. And not left to reference
            # counting: frames of an interrupted `except` refer to themselves.
            self._every.discard(weakref.ref(connection))
            connection.disconnect()
            self._wake()
            raise
        return connection

    def release(self, connection: Any) -> None:
        """Take a connection back; a second time does nothing."""
        self._checkpid()
        # `pop` tells one caller only that the connection was in use.
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
        """Close the idle connections, and those in use too if asked for."""
        if inuse_connections:
            for connection in self._connections():
                connection.disconnect()
            return
        closed = []
        while True:
            try:
                # Taken out, so that no other thread uses it meanwhile.
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
        """As redis-py's."""
        self.connection_kwargs["retry"] = retry
        for connection in self._connections():
            connection.retry = retry

    def make_connection(self) -> Any:
        """A new connection, not yet connected; ``None`` when there are enough."""
        while len(self._every) < self.max_connections:
            connection = self.connection_class(**self.connection_kwargs)
            reference = weakref.ref(connection, self._every.discard)
            self._every.add(reference)
            # Two threads may have seen the same room. The last to withdraw tries again.
            if len(self._every) <= self.max_connections:
                return connection
            self._every.discard(reference)
        return None

    def _take(self) -> Any:
        connection = self._idle_or_new()
        if connection is not None:
            return connection
        until = monotonic() + self._wait
        waiter = threading.Lock()
        waiter.acquire()
        try:
            while True:
                self._waiters.append(waiter)
                # One may have come back before the waiter was known.
                connection = self._idle_or_new()
                if connection is not None:
                    return connection
                rest = until - monotonic()
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
        """Look for connections that only reference cycles keep; whether that was done just now.

        An exception that interrupts redis-py's own methods may leave such a cycle.
        """
        now = monotonic()
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
        """Connect; anew if the connection is closed, does not answer, or has data to read."""
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

    # What redis-py and `podlink.clients.pool_stats` ask for.

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
        pass  # redis-py's reports counts to its metrics that were never added


class SentinelPool(Pool):
    """Connections to the master that Sentinel names.

    When it names another one, the connections to the old one are closed: idle ones at once, others
    when they are released.

    Args:
        service_name: the name of the master.
        sentinel_manager: a `redis.sentinel.Sentinel`, which asks the Sentinels.
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
        """As the pool's; the master is asked for again."""
        self.master_address = None
        super().reset()

    def get_master_address(self) -> tuple[str, int]:
        """Ask where the master is. Called by each connection before it connects."""
        address: tuple[str, int] = tuple(self.sentinel_manager.discover_master(self.service_name))
        if address != self.master_address:
            self.master_address = address
            self.disconnect(inuse_connections=False)
        return address

    def owns_connection(self, connection: Any) -> bool:
        """Whether a connection leads to the present master."""
        return (
            connection.pid == self.pid and (connection.host, connection.port) == self.master_address
        )


def _never() -> bool:
    return False
