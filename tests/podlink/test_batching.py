"""Batching: calls of one event loop iteration share a pipeline, and each has its own outcome."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis

import podlink
from podlink import AsyncStatefulExecutor, RedisConfig, StatefulError
from pytest_podlink import servers
from tests.support.proxy import Proxy
from tests.support.real_servers import real_servers
from tests.support.scripted_server import ScriptedServer
from tests.support.waiting import PATIENCE, LoopClock


@pytest.fixture(scope="module", params=real_servers(["redis-8.2"]))
def server(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    with servers.start(request.param) as started:
        yield started


@pytest.fixture
def admin(server: servers.Server) -> Iterator[redis.Redis]:
    with server.client() as client:
        client.flushall()
        client.config_resetstat()
        yield client


@pytest.fixture
async def executor(
    server: servers.Server, admin: redis.Redis
) -> AsyncIterator[AsyncStatefulExecutor]:
    async with AsyncStatefulExecutor(server.url, batching=True) as made:
        yield made


def numbered(count: int) -> list[tuple[str, int]]:
    return [(f"u{number}", number) for number in range(count)]


async def test_each_call_gets_its_own_result(executor: AsyncStatefulExecutor) -> None:
    await asyncio.gather(
        *(executor.set_linked_pod("n", uid, "s", pod) for uid, pod in numbered(3_000))
    )
    found = await asyncio.gather(
        *(executor.get_linked_pod("n", uid, "s") for uid, _ in numbered(3_000))
    )
    assert found == [pod for _, pod in numbered(3_000)]


async def test_calls_share_one_connection(
    executor: AsyncStatefulExecutor, admin: redis.Redis
) -> None:
    await asyncio.gather(*(executor.get_linked_pod("n", uid, "s") for uid, _ in numbered(500)))
    stats: Any = admin.info("stats")
    assert stats["total_connections_received"] <= 1
    assert stats["total_reads_processed"] < 100


async def test_calls_are_executed_in_order(executor: AsyncStatefulExecutor) -> None:
    results = await asyncio.gather(
        *(executor.set_linked_pod("n", "u", "s", pod) for pod in range(200))
    )
    assert results == [None, *range(199)]
    tasks = []
    for pod in range(20):
        tasks.append(asyncio.ensure_future(executor.set_linked_pod("n", "v", "s", pod)))
        for _ in range(pod % 4):
            await asyncio.sleep(0)
    assert await asyncio.gather(*tasks) == [None, *range(19)]


async def test_error_fails_only_its_call(
    executor: AsyncStatefulExecutor, admin: redis.Redis
) -> None:
    admin.set("sf:{n:lk:u7}s", "x")
    admin.hset("sf:{n:lk:u8}s", "f", "v")
    results = await asyncio.gather(
        *(executor.set_linked_pod("n", uid, "s", pod) for uid, pod in numbered(20)),
        executor.set_linked_pod("n", "", "s", 1),
        return_exceptions=True,
    )
    failed = {i: r.code.value for i, r in enumerate(results) if isinstance(r, StatefulError)}
    assert failed == {7: "INTERNAL_ERROR", 8: "REDIS_OPERATION_ERROR", 20: "INVALID_PARAMETER"}
    assert executor.metrics.total == 3


async def test_missing_scripts_are_loaded_automatically(
    executor: AsyncStatefulExecutor, admin: redis.Redis
) -> None:
    for _ in range(2):
        admin.script_flush()
        await asyncio.gather(
            *(executor.set_linked_pod("n", uid, "s", pod) for uid, pod in numbered(50))
        )


async def test_timeout_fails_only_its_call() -> None:
    clock = LoopClock(asyncio.get_running_loop())
    async with ScriptedServer() as server:
        config = RedisConfig.from_url(f"redis://{server.address}", socket_timeout=None, protocol=2)
        async with AsyncStatefulExecutor(config, batching=True) as executor:
            server.answer = b"$1\r\n2\r\n"
            server.hold()
            call = executor.set_linked_pod("n", "u", "s", 2, timeout=PATIENCE)
            quick = asyncio.ensure_future(call)
            patient = asyncio.ensure_future(executor.get_linked_pod("n", "u", "s"))
            await server.until_executed(1)
            await clock.expire(quick)
            with pytest.raises(podlink.OperationTimeoutError) as caught:
                await quick
            assert caught.value.outcome_unknown
            assert not patient.done()
            server.release()
            assert await patient == 2
    assert len(server.executed) == 2


async def test_cancelled_call_does_not_affect_the_others(executor: AsyncStatefulExecutor) -> None:
    await asyncio.gather(
        *(executor.set_linked_pod("n", uid, "s", pod) for uid, pod in numbered(50))
    )
    for attempt in range(300):
        tasks = [
            asyncio.ensure_future(executor.get_linked_pod("n", uid, "s")) for uid, _ in numbered(12)
        ]
        for _ in range(attempt % 13):
            await asyncio.sleep(0)
        tasks[attempt % 12].cancel()
        for pod, result in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
            assert result == pod or isinstance(result, asyncio.CancelledError)


async def test_broken_connection_repeats_reads_but_not_writes(
    server: servers.Server, admin: redis.Redis
) -> None:
    """Reads are repeated. Writes in flight fail with unknown outcome."""
    with Proxy(server.port) as proxy:
        async with AsyncStatefulExecutor(proxy.url, batching=True) as executor:
            for uid, pod in numbered(20):
                await executor.set_linked_pod("n", uid, "s", pod)
            proxy.cut_after = 11
            results = await asyncio.gather(
                *(executor.get_linked_pod("n", uid, "s") for uid, _ in numbered(10)),
                *(executor.set_linked_pod("n", uid, "s", pod) for uid, pod in numbered(10)),
                return_exceptions=True,
            )
            proxy.cut_after = None
            errors = [result for result in results if isinstance(result, StatefulError)]
            assert errors
            assert all(error.outcome_unknown for error in errors if error in results[10:])
            found = [await executor.get_linked_pod("n", uid, "s") for uid, _ in numbered(10)]
            assert found == list(range(10))


async def test_close_waits_for_calls_in_flight(server: servers.Server) -> None:
    executor = AsyncStatefulExecutor(server.url, batching=True)
    task = asyncio.ensure_future(executor.set_linked_pod("n", "last", "s", 4))
    await asyncio.sleep(0)
    await executor.close()
    assert await task in (None, 4)


async def test_batching_on_the_emulator() -> None:
    async with AsyncStatefulExecutor("emulator://batching", batching=True) as executor:
        await asyncio.gather(
            *(executor.set_linked_pod("n", uid, "s", pod) for uid, pod in numbered(50))
        )
        assert await executor.get_linked_pod("n", "u7", "s") == 7
