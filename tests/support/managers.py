"""What the tests of both managers share: the two classes, and awaiting what only one returns."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from podlink import AsyncRedisManager, RedisManager
from redis_emulator import ClusterEmulator

FLAVOURS = pytest.mark.parametrize("flavour", [RedisManager, AsyncRedisManager])


async def finished(result: Any) -> Any:
    """Return the result, or that of the coroutine."""
    return await result if inspect.isawaitable(result) else result


def url_of(cluster: ClusterEmulator) -> str:
    """The URL of a cluster that is served over TCP."""
    return f"redis+cluster://127.0.0.1:{cluster.masters[0].port}"
