"""Sync and asyncio routers, called synchronously."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any

from podlink import (
    AsyncLinkRouter,
    AsyncStatefulExecutor,
    LinkRouter,
    PodState,
    RedisConfig,
    StatefulExecutor,
)
from pytest_podlink import servers
from tests.support.waiting import PATIENCE, until

PROCESSES = [name for name in ("redis-8.2", "valkey-9.1") if servers.is_expected(name)]
SILENCE = 0.3
"""The ``max_silence`` of the routers: short, so that tests need not wait long."""


class Loop:
    """An event loop in a thread that runs coroutines for synchronous tests."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


class Caller:
    """Makes routers of one kind and calls them synchronously."""

    def __init__(self, kind: str, url: str) -> None:
        self.is_async = kind == "async"
        self.url = url
        self.loop = Loop()
        self.opened: list[Any] = []
        self.executor: Any = None
        self.router: Any = None

    def open(self, config: RedisConfig | None = None, **options: Any) -> Caller:
        """Open a router on an executor of its own."""
        source = RedisConfig.from_url(self.url) if config is None else config
        self.executor = (AsyncStatefulExecutor if self.is_async else StatefulExecutor)(source)
        options.setdefault("max_silence", SILENCE)
        self.router = (AsyncLinkRouter if self.is_async else LinkRouter)(self.executor, **options)
        self.opened += [self.executor, self.router]
        return self

    def finish(self, result: Any) -> Any:
        return self.loop.run(result) if asyncio.iscoroutine(result) else result

    def resolve(self, uid: str = "u", service: str = "s", **options: Any) -> int:
        return int(self.finish(self.router.resolve("n", uid, service, **options)))

    def tracked(self) -> Caller:
        """Wait until tracking works and the link is cached."""
        self.resolve()
        until(lambda: self.router.stats().tracked)
        until(self.hits)
        return self

    def hits(self, uid: str = "u") -> bool:
        """Resolve, and return whether the cache answered."""
        before = self.router.stats().hits
        self.resolve(uid)
        return bool(self.router.stats().hits > before)

    def close(self) -> None:
        for each in reversed(self.opened):
            self.finish(each.close())
        self.loop.close()


def report(executor: StatefulExecutor, loads: dict[int, float], ago: float = 0) -> None:
    """Write the states of pods with these loads, reported ``ago`` seconds ago."""
    for pod, load in loads.items():
        executor.set_service_state("n", "s", pod, str(PodState(load, time.time() - ago)))
