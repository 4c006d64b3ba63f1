"""`Tracker` invalidates the cached links of a router with CLIENT TRACKING (client-side caching).

A tracker has one RESP3 connection, outside the pool. The server sends an invalidation message on it
for each changed key. The tracker sends about three PINGs in ``max_silence`` seconds. The server
sends the reply to a PING after the messages of all earlier changes, so the reply confirms that no
message is missing.

Tracking uses the broadcast mode (BCAST) with the prefix of each namespace in use. In the default
mode the server reports only keys that were read on a tracked connection. Then all reads would have
to use this connection, or each connection of a pool, which may belong to the caller, would have to
be set up with REDIRECT, and the server would need memory for each key that was read. The broadcast
mode needs no memory on the server and works with any client. Its cost is one short message to each
router for each changed link of the namespace. See https://redis.io/docs/latest/develop/reference/client-side-caching/.

If the connection breaks or no reply comes in ``max_silence`` seconds, the cache is cleared and
tracking is set up again. If the server has no CLIENT TRACKING, the tracker tries again every few
seconds, because a failover may lead to another server. A cluster is not tracked: this would need a
connection to each node, and changes of slots that move to a new node would be missed. With Sentinel
the connection leads to the master. It is replaced after a failover, when it breaks or when the pool
connects to another master.
"""

from __future__ import annotations

import socket
import threading
import weakref
from time import monotonic
from typing import Any

from redis.backoff import NoBackoff
from redis.retry import Retry

from podlink import forks
from podlink.cache import LinkCache, invalidated_keys, tracking_command
from podlink.manager import RedisManager
from podlink.push import (
    MAX_RECONNECT_DELAY,
    MIN_RECONNECT_DELAY,
    PING,
    PINGS_PER_MAX_SILENCE,
    PUSH_HANDLED,
    is_to_current_master,
    log_tracking_error,
    new_connection,
    set_push_handler,
)


class Tracker:
    """Invalidates the links of a `LinkCache`, in a thread that the first `watch` starts.

    Args:
        manager: has the client of the server.
        cache: the cache of the router.
    """

    def __init__(self, manager: RedisManager, cache: LinkCache) -> None:
        self._manager = manager
        self._cache = cache
        self._namespaces: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: Any = None
        self._loss_logged = False
        forks.renew(self)

    def _after_fork(self) -> None:
        """Discard the thread, which does not exist in a child process; `watch` starts another."""
        closed, self._stop = self._stop.is_set(), threading.Event()
        if closed:
            self._stop.set()
        self._lock = threading.Lock()
        self._thread = self._connection = None

    def watch(self, namespace: str) -> None:
        """Track the links of a namespace as well. Returns before tracking has begun."""
        if namespace in self._namespaces and self._thread is not None and self._thread.is_alive():
            return
        with self._lock:
            if self._stop.is_set():
                return
            self._namespaces = self._namespaces | {namespace}
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="podlink-tracking", daemon=True
                )
                self._thread.start()

    def close(self) -> None:
        """Stop the thread, close its connection and clear the cache."""
        with self._lock:
            self._stop.set()
            thread, self._thread = self._thread, None
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            _wake(self._connection)
            thread.join(self._cache.max_silence)
        self._cache.stop_tracking()

    def stop_when_collected(self, router: object) -> None:
        """Stop the thread when ``router`` is collected as garbage without having been closed."""
        weakref.finalize(router, self._request_stop)

    def _request_stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        pause = MIN_RECONNECT_DELAY
        while not self._stop.is_set():
            started = monotonic()
            try:
                self._track_changes()
            except Exception as error:
                if not self._stop.is_set():
                    log_tracking_error(error, self._loss_logged)
                    self._loss_logged = True
            finally:
                self._cache.stop_tracking()
            worked = monotonic() - started > MAX_RECONNECT_DELAY
            pause = MIN_RECONNECT_DELAY if worked else min(2 * pause, MAX_RECONNECT_DELAY)
            self._stop.wait(pause)

    def _track_changes(self) -> None:
        """Track changes on a new connection until the manager has another client or master."""
        cache = self._cache
        client = self._manager.client
        connection = new_connection(
            client.connection_pool, cache.max_silence, Retry(NoBackoff(), 0)
        )
        self._connection = connection
        try:
            connection.connect()
            set_push_handler(connection, self._handle_push)
            tracked: frozenset[str] = frozenset()
            while (
                not self._stop.is_set()
                and self._manager.client is client
                and is_to_current_master(connection, client.connection_pool)
            ):
                wanted = frozenset(self._namespaces)
                asked = cache.monotonic()
                if wanted - tracked:
                    self._request(connection, tracking_command(sorted(wanted - tracked)))
                    tracked = wanted
                    cache.start_tracking(client, tracked)
                    self._loss_logged = False
                else:
                    self._request(connection, PING)
                cache.confirm_until(client, asked)
                self._read_pushes(connection, cache.max_silence / PINGS_PER_MAX_SILENCE)
        finally:
            self._connection = None
            connection.disconnect()

    def _request(self, connection: Any, command: tuple[Any, ...]) -> None:
        connection.send_command(*command, check_health=False)
        while self._read(connection) is PUSH_HANDLED:
            pass

    def _read_pushes(self, connection: Any, seconds: float) -> None:
        until = monotonic() + seconds
        while not self._stop.is_set() and (rest := until - monotonic()) > 0:
            if connection.can_read(timeout=rest):
                self._read(connection)

    def _read(self, connection: Any) -> Any:
        return connection.read_response(disable_decoding=True, push_request=True)

    def _handle_push(self, message: Any) -> object:
        self._cache.invalidate(invalidated_keys(message))
        return PUSH_HANDLED


def _wake(connection: Any) -> None:
    """Interrupt a thread that reads from a connection, by shutting its socket down."""
    sock = getattr(connection, "_sock", None)
    try:
        if sock is not None and hasattr(sock, "shutdown"):
            sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # already closed
