"""Hears of every change of a link, for asyncio; see `podlink.tracking`.

One task reads what the connection brings, another one sends PING. A server that brings nothing for
``max_silence`` seconds has fallen silent.
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
from podlink.cache import LinkCache, changed_keys, track
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

AWAITS_HANDLERS: Final = hasattr(_AsyncRESP3Parser, "set_invalidation_push_handler")


class AsyncTracker:
    """Keeps a `LinkCache` informed, from a task that `watch` starts in the running event loop.

    Args:
        manager: leads to the server.
        cache: what is told of changes.
    """

    def __init__(self, manager: AsyncRedisManager, cache: LinkCache) -> None:
        self._manager = manager
        self._cache = cache
        self._namespaces: frozenset[str] = frozenset()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._deaf = False
        self._lock = threading.Lock()
        forks.renew(self)

    def _after_fork(self) -> None:
        """Begin anew in a child process; `watch` starts a task in the event loop there."""
        forks.leave_to_parent(self._task)
        self._lock = threading.Lock()
        self._task = None

    def watch(self, namespace: str) -> None:
        """From soon on, hear of the links of a namespace too."""
        self._namespaces |= {namespace}
        task = self._task
        if self._closed or not (task is None or task.done() or task.get_loop().is_closed()):
            return
        with self._lock:
            if self._task is task:
                loop = asyncio.get_running_loop()
                self._task = loop.create_task(self._run(), name="podlink-tracking")

    async def close(self) -> None:
        """Hear of nothing any more."""
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
        self._cache.lost()

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._closed:
            started = monotonic()
            try:
                await self._follow()
            except Exception as error:
                log_loss(error, self._deaf)
                self._deaf = True
            finally:
                self._cache.lost()
            worked = monotonic() - started > LONGEST_PAUSE
            pause = FIRST_PAUSE if worked else min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _follow(self) -> None:
        """Hear of changes until there is no more to be heard here."""
        lease = self._manager.lease
        client, source = lease.client, lease.source
        silence = self._cache.max_silence
        connection = dedicated(client.connection_pool, silence, Retry(NoBackoff(), 0))
        try:
            await connection.connect()
            if AWAITS_HANDLERS:
                on_push(connection, self._told_later)
            else:
                on_push(connection, self._told)
            asked: deque[tuple[float, frozenset[str]]] = deque()
            beats = asyncio.ensure_future(self._beat(lease, connection, asked))
            try:
                while not (beats.done() or self._closed):
                    reply = await connection.read_response(
                        disable_decoding=True, timeout=silence, push_request=True
                    )
                    if reply is not TOLD:
                        moment, namespaces = asked.popleft()
                        self._cache.tracks(source, namespaces)
                        self._deaf = False
                        self._cache.heard_until(source, moment)
            finally:
                beats.cancel()
                await asyncio.wait([beats])
                if not beats.cancelled():
                    beats.exception()  # the reader has met it too
        finally:
            await connection.disconnect(nowait=True)

    async def _beat(
        self, lease: Lease, connection: Any, asked: deque[tuple[float, frozenset[str]]]
    ) -> None:
        """Ask for a sign of life, and for further namespaces, until there is another client."""
        tracked: frozenset[str] = frozenset()
        pool = lease.client.connection_pool
        while self._manager.lease is lease and leads_there(connection, pool):
            wanted = self._namespaces
            command = track(sorted(wanted - tracked)) if wanted - tracked else PING
            tracked = wanted
            asked.append((self._cache.monotonic(), wanted))
            await connection.send_command(*command, check_health=False)
            await asyncio.sleep(self._cache.max_silence / BEATS)

    def _told(self, message: Any) -> object:
        self._cache.changed(changed_keys(message))
        return TOLD

    async def _told_later(self, message: Any) -> object:
        return self._told(message)
