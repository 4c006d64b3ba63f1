"""Helpers of the tests of topologies.

``TOPOLOGY_EXAMPLES`` is the number of histories that the state machine runs on each topology.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import podlink
from podlink import AsyncStatefulExecutor, StatefulExecutor
from pytest_podlink import servers

EXAMPLES = int(os.environ.get("TOPOLOGY_EXAMPLES", "50"))
PRODUCTS = sorted({executable.product for executable in servers.installed()})
QUICK: dict[str, Any] = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5, "retries": 8}


class Caller:
    """A sync or asyncio executor, called synchronously."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.loop = asyncio.new_event_loop()
        self.executor: Any = None

    def connect(self, url: str, **changes: Any) -> Caller:
        self.close()
        config = podlink.RedisConfig.from_url(url, **{**QUICK, **changes})
        cls = StatefulExecutor if self.kind == "sync" else AsyncStatefulExecutor
        self.executor = cls(config)
        return self

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.executor, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            if asyncio.iscoroutine(result):
                return self.loop.run_until_complete(result)
            return result

        return call

    def close(self) -> None:
        if self.executor is not None:
            closing = self.executor.close()
            if asyncio.iscoroutine(closing):
                self.loop.run_until_complete(closing)
            self.executor = None
