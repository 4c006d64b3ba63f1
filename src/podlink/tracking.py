"""Hears of every change of a link, so that a router may remember links: client-side caching.

A `Tracker` has one connection of its own, apart from the pool, that speaks RESP3. On it the server
tells of each changed key (``CLIENT TRACKING``), and PING is sent about three times in
``max_silence``: its answer comes after word of all changes before it, and so proves that nothing is
missing.

Tracking is broadcast (BCAST) with the prefix of the links of each namespace in use, rather than
remembered by the server for each key that was read. In the other mode only what is read on a
connection that tracks is tracked, so that every read would have to go over this one connection, or
every connection of a pool, which may be somebody else's, would have to be set up to redirect here.
The server would keep a table of who read what, of limited size, and tell of keys that it drops from
it. Broadcast costs the server no memory and works beside any client; it costs each router a short
message for each link of the namespace that is changed by anybody, and nothing for what is read.

When the connection breaks or falls silent, everything is forgotten, and tracking set up anew. What
cannot track is tried again every few seconds: after a failover it may. A cluster is not tracked:
that would take a connection to each of its nodes, and a slot that moves to a node which is not yet
known would change unheard. Behind Sentinel the connection leads to the master; Sentinel breaks it
at a failover, and it is given up when the pool connects to another one.
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
from podlink.cache import LinkCache, changed_keys, track
from podlink.manager import RedisManager
from podlink.push import (
    BEATS,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    PING,
    TOLD,
    dedicated,
    leads_there,
    log_loss,
    on_push,
)


class Tracker:
    """Keeps a `LinkCache` informed, from a thread of its own that `watch` starts.

    Args:
        manager: leads to the server.
        cache: what is told of changes.
    """

    def __init__(self, manager: RedisManager, cache: LinkCache) -> None:
        self._manager = manager
        self._cache = cache
        self._namespaces: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: Any = None
        self._deaf = False
        forks.renew(self)

    def _after_fork(self) -> None:
        """Begin anew in a child process, where the thread does not exist; `watch` starts one."""
        closed, self._stop = self._stop.is_set(), threading.Event()
        if closed:
            self._stop.set()
        self._lock = threading.Lock()
        self._thread = self._connection = None

    def watch(self, namespace: str) -> None:
        """From soon on, hear of the links of a namespace too."""
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
        """Hear of nothing any more."""
        with self._lock:
            self._stop.set()
            thread, self._thread = self._thread, None
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            _wake(self._connection)
            thread.join(self._cache.max_silence)
        self._cache.lost()

    def end_with(self, router: object) -> None:
        """Stop when the router is not used any more, closed or not."""
        weakref.finalize(router, self._end)

    def _end(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stop.is_set():
            started = monotonic()
            try:
                self._follow()
            except Exception as error:
                if not self._stop.is_set():
                    log_loss(error, self._deaf)
                    self._deaf = True
            finally:
                self._cache.lost()
            worked = monotonic() - started > LONGEST_PAUSE
            pause = FIRST_PAUSE if worked else min(2 * pause, LONGEST_PAUSE)
            self._stop.wait(pause)

    def _follow(self) -> None:
        """Hear of changes until there is no more to be heard here."""
        cache = self._cache
        client = self._manager.client
        connection = dedicated(client.connection_pool, cache.max_silence, Retry(NoBackoff(), 0))
        self._connection = connection
        try:
            connection.connect()
            on_push(connection, self._told)
            tracked: frozenset[str] = frozenset()
            while (
                not self._stop.is_set()
                and self._manager.client is client
                and leads_there(connection, client.connection_pool)
            ):
                wanted = frozenset(self._namespaces)
                asked = cache.monotonic()
                if wanted - tracked:
                    self._ask(connection, track(sorted(wanted - tracked)))
                    tracked = wanted
                    cache.tracks(client, tracked)
                    self._deaf = False
                else:
                    self._ask(connection, PING)
                cache.heard_until(client, asked)
                self._listen(connection, cache.max_silence / BEATS)
        finally:
            self._connection = None
            connection.disconnect()

    def _ask(self, connection: Any, command: tuple[Any, ...]) -> None:
        connection.send_command(*command, check_health=False)
        while self._read(connection) is TOLD:
            pass

    def _listen(self, connection: Any, seconds: float) -> None:
        until = monotonic() + seconds
        while not self._stop.is_set() and (rest := until - monotonic()) > 0:
            if connection.can_read(timeout=rest):
                self._read(connection)

    def _read(self, connection: Any) -> Any:
        return connection.read_response(disable_decoding=True, push_request=True)

    def _told(self, message: Any) -> object:
        self._cache.changed(changed_keys(message))
        return TOLD


def _wake(connection: Any) -> None:
    """End the wait of a thread that reads from a connection."""
    sock = getattr(connection, "_sock", None)
    try:
        if sock is not None and hasattr(sock, "shutdown"):
            sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is closed already
