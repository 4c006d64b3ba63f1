"""A call that is given up leaves no reply on its connection for the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis.asyncio.connection

from podlink import AsyncStatefulExecutor, RedisConfig, StatefulExecutor, connections
from tests.support.late_server import LateServer, late_server

UIDS = {"one": ["u"], "several": ["u", "v"]}


@pytest.fixture
def server() -> Iterator[LateServer]:
    with late_server() as started:
        yield started


def config_of(server: LateServer) -> RedisConfig:
    return RedisConfig.from_url(server.url, max_connections=1, retries=0)


@pytest.mark.parametrize("uids", UIDS.values(), ids=UIDS)
def test_an_interrupted_call(
    server: LateServer, uids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C after the command was sent and before redis-py waits for its reply."""

    def interrupt(*_: Any, **__: Any) -> Any:
        server.arrived.wait()
        raise KeyboardInterrupt

    with StatefulExecutor(config_of(server)) as executor:
        with monkeypatch.context() as patch:
            patch.setattr(connections.Client, "parse_response", interrupt)
            with pytest.raises(KeyboardInterrupt):
                executor.batch_set_linked_pod_if_absent("n", uids, "s", 1)
        assert executor.get_linked_pod("n", "w", "s") == 7


@pytest.mark.parametrize("uids", UIDS.values(), ids=UIDS)
async def test_a_cancelled_call(server: LateServer, uids: list[str]) -> None:
    async with AsyncStatefulExecutor(config_of(server)) as executor:
        call = executor.batch_set_linked_pod_if_absent("n", uids, "s", 1)
        task = asyncio.ensure_future(call)
        while not server.arrived.is_set():
            await asyncio.sleep(0)
        while not task.done():  # `asyncio.wait_for` of CPython 3.11 may drop a cancellation
            task.cancel()
            await asyncio.sleep(0)
        assert task.cancelled()
        assert await executor.get_linked_pod("n", "w", "s") == 7


async def test_an_asyncio_call_that_is_interrupted_before_it_waits(
    server: LateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupt(*_: Any, **__: Any) -> Any:
        while not server.arrived.is_set():
            await asyncio.sleep(0)
        raise asyncio.CancelledError

    async with AsyncStatefulExecutor(config_of(server)) as executor:
        assert await executor.get_linked_pod("n", "w", "s") == 7
        with monkeypatch.context() as patch:
            patch.setattr(redis.asyncio.connection.Connection, "read_response", interrupt)
            with pytest.raises(asyncio.CancelledError):
                await executor.set_linked_pod_if_absent("n", "u", "s", 1)
        assert await executor.get_linked_pod("n", "w", "s") == 7
