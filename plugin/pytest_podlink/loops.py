"""asyncio clients whose connections are closed before the event loop that they belong to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Any

import redis.asyncio


class LoopGuard:
    """Closes an asyncio client's connections before the event loop that they belong to.

    A connection cannot be closed once its loop is. Here the first use in a loop starts an
    asynchronous generator there; asyncio closes those before it closes the loop
    (`shutdown_asyncgens`), and closing this one closes the connections. So a client may be used in
    any loop, by a sync fixture that knows no loop, and in one `asyncio.run` after another.
    """

    def __init__(self, close: Callable[[], Awaitable[None]]) -> None:
        self._close = close
        self._guards: dict[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = {}

    async def enter(self) -> None:
        """To be called in the loop, before a connection is made there."""
        loop = asyncio.get_running_loop()
        if loop not in self._guards:
            self._guards[loop] = self._guard()
            await anext(self._guards[loop])

    def close(self) -> None:
        """Close what is still open in loops that do not run at the moment."""
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
    """An asyncio client for any event loop; see `LoopGuard`."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self._make = partial(
            redis.asyncio.Redis.from_url, url, redis_connect_func=self._on_connect, **options
        )
        self.redis = self._make()
        self._guard = LoopGuard(self._end)

    def close(self) -> None:
        """Close the connections of loops that do not run at the moment."""
        self._guard.close()

    async def _end(self) -> None:
        """Close the connections, and their pool with them: its lock belongs to the loop."""
        await self.redis.aclose(close_connection_pool=True)
        self.redis.connection_pool = self._make().connection_pool

    async def _on_connect(self, connection: redis.asyncio.Connection) -> None:
        await self._guard.enter()
        await connection.on_connect()
