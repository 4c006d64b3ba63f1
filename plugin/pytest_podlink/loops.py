"""asyncio clients that can be used in several event loops, one after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Any

import redis.asyncio


class LoopGuard:
    """Closes the connections of an asyncio client before their event loop is closed.

    A connection cannot be closed after its event loop. Therefore the first use in a loop starts an
    asynchronous generator in it. asyncio closes generators before it closes a loop
    (`shutdown_asyncgens`), and this generator closes the connections. So a synchronous fixture can
    return an asyncio client, and a test can call `asyncio.run` several times.
    """

    def __init__(self, close: Callable[[], Awaitable[None]]) -> None:
        self._close = close
        self._guards: dict[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = {}

    async def enter(self) -> None:
        """Call this in the running event loop before a connection is made."""
        loop = asyncio.get_running_loop()
        if loop not in self._guards:
            self._guards[loop] = self._guard()
            await anext(self._guards[loop])

    def close(self) -> None:
        """Close the connections of event loops that are neither closed nor running."""
        for loop, guard in self._guards.items():
            if not loop.is_closed() and not loop.is_running():
                loop.run_until_complete(guard.aclose())
        self._guards.clear()

    async def _guard(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self._close()


class LoopBoundClient:
    """An asyncio client that can be used in several event loops; see `LoopGuard`."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self._make = partial(
            redis.asyncio.Redis.from_url, url, redis_connect_func=self._on_connect, **options
        )
        self.redis = self._make()
        self._guard = LoopGuard(self._close_pool)

    def close(self) -> None:
        """Close the connections of event loops that are neither closed nor running."""
        self._guard.close()

    async def _close_pool(self) -> None:
        """Close the connections and replace the pool, whose lock belongs to the event loop."""
        await self.redis.aclose(close_connection_pool=True)
        self.redis.connection_pool = self._make().connection_pool

    async def _on_connect(self, connection: redis.asyncio.Connection) -> None:
        await self._guard.enter()
        await connection.on_connect()
