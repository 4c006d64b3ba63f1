"""`AsyncTracker` invalidates the cached links of a router with CLIENT TRACKING, for asyncio.

`podlink.tracking` describes the method. Here one task reads from the connection, and another one
sends PING. If nothing is received for ``max_silence`` seconds, the connection is replaced.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from time import monotonic
from typing import Any, Final

from redis._parsers.resp3 import _AsyncRESP3Parser
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from podlink import forks
from podlink.aio.manager import AsyncRedisManager, Lease
from podlink.cache import LinkCache, invalidated_keys, tracking_command
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

AWAITS_HANDLERS: Final = hasattr(_AsyncRESP3Parser, "set_invalidation_push_handler")


class AsyncTracker:
    """Invalidates the links of a `LinkCache`, in a task that `watch` starts in the event loop.

    Args:
        manager: has the client of the server.
        cache: the cache of the router.
    """

    def __init__(self, manager: AsyncRedisManager, cache: LinkCache) -> None:
        self._manager = manager
        self._cache = cache
        self._namespaces: frozenset[str] = frozenset()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._loss_logged = False
        self._lock = threading.Lock()
        forks.renew(self)

    def _after_fork(self) -> None:
        """Discard the task of the parent process in a child process; `watch` starts a new one."""
        forks.keep_for_parent(self._task)
        self._lock = threading.Lock()
        self._task = None

    def watch(self, namespace: str) -> None:
        """Track the links of a namespace as well. Returns before tracking has begun."""
        self._namespaces |= {namespace}
        task = self._task
        if self._closed or not (task is None or task.done() or task.get_loop().is_closed()):
            return
        with self._lock:
            if self._task is task:
                loop = asyncio.get_running_loop()
                self._task = loop.create_task(self._run(), name="podlink-tracking")

    async def close(self) -> None:
        """Stop the task, close its connection and clear the cache."""
        self._closed = True
        task, self._task = self._task, None
        loop = None if task is None else task.get_loop()
        if task is not None and loop is asyncio.get_running_loop():
            # redis-py swallows a cancellation that comes while it connects.
            while not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=0.1)
        elif task is not None and loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)
        self._cache.stop_tracking()

    async def _run(self) -> None:
        pause = MIN_RECONNECT_DELAY
        while not self._closed:
            started = monotonic()
            try:
                await self._track_changes()
            except Exception as error:
                log_tracking_error(error, self._loss_logged)
                self._loss_logged = True
            finally:
                self._cache.stop_tracking()
            worked = monotonic() - started > MAX_RECONNECT_DELAY
            pause = MIN_RECONNECT_DELAY if worked else min(2 * pause, MAX_RECONNECT_DELAY)
            await asyncio.sleep(pause)

    async def _track_changes(self) -> None:
        """Track changes on a new connection until the manager has another client or master."""
        lease = self._manager.lease
        client, source = lease.client, lease.source
        silence = self._cache.max_silence
        connection = new_connection(client.connection_pool, silence, Retry(NoBackoff(), 0))
        try:
            await connection.connect()
            if AWAITS_HANDLERS:
                set_push_handler(connection, self._handle_push_async)
            else:
                set_push_handler(connection, self._handle_push)
            asked: deque[tuple[float, frozenset[str]]] = deque()
            pings = asyncio.ensure_future(self._send_pings(lease, connection, asked))
            try:
                while not (pings.done() or self._closed):
                    reply = await connection.read_response(
                        disable_decoding=True, timeout=silence, push_request=True
                    )
                    if reply is not PUSH_HANDLED:
                        moment, namespaces = asked.popleft()
                        self._cache.start_tracking(source, namespaces)
                        self._loss_logged = False
                        self._cache.confirm_until(source, moment)
            finally:
                pings.cancel()
                await asyncio.wait([pings])
                if not pings.cancelled():
                    pings.exception()  # marks it as retrieved: reading raised an error as well
        finally:
            await connection.disconnect(nowait=True)

    async def _send_pings(
        self, lease: Lease, connection: Any, asked: deque[tuple[float, frozenset[str]]]
    ) -> None:
        """Send PING, or CLIENT TRACKING for new namespaces, until the manager has another client.

        For each command, append to ``asked`` when it is sent and which namespaces are tracked.
        """
        tracked: frozenset[str] = frozenset()
        pool = lease.client.connection_pool
        while self._manager.lease is lease and is_to_current_master(connection, pool):
            wanted = self._namespaces
            command = tracking_command(sorted(wanted - tracked)) if wanted - tracked else PING
            tracked = wanted
            asked.append((self._cache.monotonic(), wanted))
            await connection.send_command(*command, check_health=False)
            await asyncio.sleep(self._cache.max_silence / PINGS_PER_MAX_SILENCE)

    def _handle_push(self, message: Any) -> object:
        self._cache.invalidate(invalidated_keys(message))
        return PUSH_HANDLED

    async def _handle_push_async(self, message: Any) -> object:
        return self._handle_push(message)
