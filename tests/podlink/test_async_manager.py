"""Clients of an asyncio manager that are replaced and closed while calls use them."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

import podlink
from podlink import AsyncRedisManager, AsyncStatefulExecutor, RedisConfig, RedisManager
from redis_emulator import RedisEmulator
from tests.support.scripted_server import ScriptedServer
from tests.support.waiting import until

PLAIN: dict[str, Any] = {"protocol": 2, "socket_timeout": None, "retry_backoff": 0.001}


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as started:
        yield started


@pytest.fixture(params=[False, True], ids=["single", "batching"])
async def executor(
    server: ScriptedServer, request: pytest.FixtureRequest
) -> AsyncIterator[AsyncStatefulExecutor]:
    config = RedisConfig.from_url(f"redis://{server.address}", **PLAIN)
    async with AsyncStatefulExecutor(config, batching=request.param) as made:
        yield made


async def test_call_ends_on_the_client_that_is_replaced(
    server: ScriptedServer, executor: AsyncStatefulExecutor
) -> None:
    server.hold()
    call = asyncio.ensure_future(executor.set_linked_pod("n", "u", "s", 1))
    await server.until_executed(1)
    old = executor.manager.client
    await executor.manager.update_config(client_name="new")
    assert executor.manager.client is not old
    assert server.open == 1
    server.release()
    assert await call is None
    await server.until_open(0)


async def test_repeated_call_ends_on_the_client_that_is_replaced(
    server: ScriptedServer, executor: AsyncStatefulExecutor
) -> None:
    server.answer = None
    call = asyncio.ensure_future(executor.get_linked_pod("n", "u", "s"))
    await server.until_executed(1)
    server.answer = b"$1\r\n7\r\n"
    server.hold()
    await server.until_executed(2)
    old = executor.manager.client
    await executor.manager.update_config(client_name="new")
    server.release()
    assert await call == 7
    await server.until_open(0)
    assert executor.manager.client is not old
    assert len(server.executed) == 2


async def test_call_that_is_given_up_leaves_the_replaced_client_to_be_closed(
    server: ScriptedServer, executor: AsyncStatefulExecutor
) -> None:
    server.hold()
    with pytest.raises(podlink.OperationTimeoutError):
        await executor.set_linked_pod("n", "u", "s", 1, timeout=0.05)
    await executor.manager.update_config(client_name="new")
    server.release()
    await server.until_open(0)


async def test_idle_connections_are_closed_at_once(server: ScriptedServer) -> None:
    """And one that is reserved when it is given back."""
    config = RedisConfig.from_url(f"redis://{server.address}", **PLAIN)
    async with AsyncRedisManager(config) as manager:
        old = manager.client
        async with manager.connection() as reserved, manager.connection():
            pass
        reserved = await manager.get_connection()
        idle = await manager.get_connection()
        await manager.release_connection(idle)
        assert server.open == 2
        await manager.update_config(client_name="new")
        await server.until_open(1)
        assert await reserved.get("k") is None
        await manager.release_connection(reserved)
        await server.until_open(0)
        assert manager.client is not old


async def test_failed_reservation_leaves_the_replaced_client_to_be_closed(
    server: ScriptedServer,
) -> None:
    config = RedisConfig.from_url(
        f"redis://{server.address}", max_connections=1, pool_timeout=0.01, **PLAIN
    )
    async with AsyncRedisManager(config) as manager:
        first = await manager.get_connection()
        with pytest.raises(podlink.RedisConnectionError):
            await manager.get_connection()
        await manager.update_config(client_name="new")
        await manager.release_connection(first)
        await server.until_open(0)


async def test_nodes_and_scripts_leave_the_replaced_client_to_be_closed(
    server: ScriptedServer,
) -> None:
    config = RedisConfig.from_url(f"redis://{server.address}", **PLAIN)
    async with AsyncRedisManager(config) as manager:
        old = manager.client
        assert await manager.nodes() == [None]
        assert await manager.load_script("one", "return 1") == manager.get_script_sha("one")
        assert await manager.execute_script("one") is None
        assert (await manager.preload_scripts())["one"] == manager.get_script_sha("one")
        await manager.update_config(client_name="new")
        await server.until_open(0)
        assert manager.client is not old


async def test_unused_executor_is_closed(executor: AsyncStatefulExecutor) -> None:
    await executor.close()
    with pytest.raises(podlink.RedisConnectionError, match="is closed"):
        await executor.get_linked_pod("n", "u", "s")


async def test_closing_waits_for_the_pipeline_that_is_under_way(server: ScriptedServer) -> None:
    config = RedisConfig.from_url(f"redis://{server.address}", **PLAIN)
    executor = AsyncStatefulExecutor(config, batching=True)
    server.hold()
    call = asyncio.ensure_future(executor.set_linked_pod("n", "u", "s", 1))
    await server.until_executed(1)
    closing = asyncio.ensure_future(executor.close())
    for _ in range(10):
        await asyncio.sleep(0)
    server.release()
    await closing
    assert await call is None


async def test_pipeline_whose_task_is_cancelled(server: ScriptedServer) -> None:
    """The outcome of what was sent is unknown. What was not sent is sent again, once."""
    config = RedisConfig.from_url(f"redis://{server.address}", **PLAIN)
    async with AsyncStatefulExecutor(config, batching=True) as executor:
        server.hold()
        first = asyncio.ensure_future(executor.set_linked_pod("n", "first", "s", 1))
        await server.until_executed(1)
        second = asyncio.ensure_future(executor.set_linked_pod("n", "second", "s", 1))
        await asyncio.sleep(0)
        (worker,) = [task for task in asyncio.all_tasks() if "Batcher._work" in repr(task)]
        worker.cancel()
        with pytest.raises(
            podlink.RedisConnectionError, match=r"batch was interrupted: CancelledError"
        ) as caught:
            await first
        assert caught.value.outcome_unknown
        assert worker.cancelled()
        third = asyncio.ensure_future(executor.set_linked_pod("n", "third", "s", 1))
        await server.until_executed(3)
        server.release()
        assert [await second, await third] == [None, None]
    assert sorted(command[3] for command in server.executed) == [
        b"sf:{n:lk:first}s", b"sf:{n:lk:second}s", b"sf:{n:lk:third}s",
    ]  # fmt: skip


async def test_unknown_scripts_go_on_the_same_connection() -> None:
    with RedisEmulator() as emulator, emulator.serve() as served:
        async with AsyncStatefulExecutor(served.url, batching=True) as executor:
            calls = (executor.set_linked_pod("n", "u", "s", pod) for pod in range(20))
            assert await asyncio.gather(*calls) == [None, *range(19)]
            assert await executor.set_linked_pod_if_absent("n", "u", "s", 3) == 19
        with emulator.client() as admin:
            stats: Any = admin.info("stats")
            assert stats["total_connections_received"] == 1 + 1


async def test_server_that_takes_a_read_for_a_script(
    server: ScriptedServer, executor: AsyncStatefulExecutor
) -> None:
    server.answer = b"-NOSCRIPT No matching script.\r\n"
    with pytest.raises(podlink.StatefulError, match="No matching script"):
        await executor.get_linked_pod("n", "u", "s")
    server.answer = b"$1\r\n7\r\n"
    assert await executor.get_linked_pod("n", "u", "s") == 7


def connected(emulator: RedisEmulator) -> int:
    """How many clients of podlink a server has."""
    with emulator.client() as admin:
        clients: Any = admin.client_list()
    return sum(each["name"] == "podlink" for each in clients)


@pytest.fixture
def emulator() -> Iterator[RedisEmulator]:
    with RedisEmulator() as made:
        yield made


@pytest.mark.parametrize("way", ["close", "update_config"])
def test_connections_of_an_event_loop_that_has_ended(emulator: RedisEmulator, way: str) -> None:
    with emulator.serve() as served:
        executor = AsyncStatefulExecutor(f"{served.url}?client_name=podlink")
        asyncio.run(executor.set_linked_pod("n", "u", "s", 1))
        client = executor.manager.client
        assert connected(emulator) == 1
        manager = executor.manager
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            asyncio.run(manager.close() if way == "close" else manager.update_config(db=1))
        until(lambda: connected(emulator) == 0)
        assert client is not None
        assert warned == [], "every coroutine is awaited or closed"
        asyncio.run(executor.close())


def test_connections_of_ended_event_loops_do_not_pile_up(emulator: RedisEmulator) -> None:
    with emulator.serve() as served:
        executor = AsyncStatefulExecutor(f"{served.url}?client_name=podlink")
        for _ in range(4):
            asyncio.run(executor.set_linked_pod("n", "u", "s", 1))
        until(lambda: connected(emulator) == 1)
        asyncio.run(executor.close())


async def test_closing_closes_what_is_reserved(server: ScriptedServer) -> None:
    config = RedisConfig.from_url(f"redis://{server.address}", **PLAIN)
    manager = AsyncRedisManager(config)
    reserved = await manager.get_connection()
    assert reserved.connection.is_connected
    await manager.close()
    assert not reserved.connection.is_connected
    await server.until_open(0)
    await manager.release_connection(reserved)


async def test_what_a_manager_sends_ends_with_its_timeout(server: ScriptedServer) -> None:
    server.hold_handshakes()
    config = RedisConfig.from_url(f"redis://{server.address}", password="secret", **PLAIN)
    manager = AsyncRedisManager(config)
    limit: dict[str, Any] = {"timeout": 0.02}
    calls = {
        "get_connection": manager.get_connection(**limit),
        "get_connection ": manager.connection(**limit).__aenter__(),
        "load_script mine": manager.load_script("mine", "return 1", **limit),
        "execute_script set_linked_pod": manager.execute_script("set_linked_pod", ["k"], **limit),
        "preload_scripts": manager.preload_scripts(**limit),
    }
    for named, call in calls.items():
        with pytest.raises(podlink.OperationTimeoutError, match=named.strip()):
            await asyncio.wait_for(call, 60)
    health = await manager.health_check(**limit)
    assert isinstance(health.error, podlink.OperationTimeoutError)
    assert "health_check" in str(health.error)
    server.release()
    await manager.close()


def test_connections_of_an_event_loop_that_runs(emulator: RedisEmulator) -> None:
    """They are closed in their own event loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    with emulator.serve() as served:
        executor = AsyncStatefulExecutor(f"{served.url}?client_name=podlink")
        work = executor.set_linked_pod("n", "u", "s", 1)
        asyncio.run_coroutine_threadsafe(work, loop).result()
        client = executor.manager.client
        assert connected(emulator) == 1
        asyncio.run(executor.close())
        until(lambda: connected(emulator) == 0)
        assert client is not None
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_two_event_loops_have_connections_of_their_own(emulator: RedisEmulator) -> None:
    with emulator.serve() as served:
        executor = AsyncStatefulExecutor(f"{served.url}?client_name=podlink")
        manager = executor.manager

        async def use() -> tuple[Any, object]:
            assert manager.client is manager.client
            await executor.set_linked_pod("n", "u", "s", 1)
            return manager.client, manager.source

        async def use_and_return() -> None:
            first = await use()
            second = await asyncio.to_thread(asyncio.run, use())
            assert second[0] is not first[0]
            assert second[1] is first[1]
            assert await use() == first
            other = await asyncio.to_thread(asyncio.run, client_in_this_loop(manager))
            assert manager.client is first[0]
            assert other is not first[0]
            assert connected(emulator) in (1, 2)
            assert manager.count_connections() == await manager.get_pool_stats()
            await manager.update_config(client_name="podlink")
            assert (await use())[1] is not first[1]
            await executor.close()

        def update() -> None:
            asyncio.run(manager.update_config(retries=9))

        async def use_and_update() -> None:
            """An update in another event loop concerns the clients of all."""
            before = await use()
            await asyncio.to_thread(asyncio.run, use())
            await asyncio.to_thread(update)
            after = await use()
            assert after[0] is not before[0]
            assert after[1] is not before[1]
            await executor.close()

        asyncio.run(use_and_return())
        executor = AsyncStatefulExecutor(f"{served.url}?client_name=podlink")
        manager = executor.manager
        asyncio.run(use_and_update())


def test_update_concerns_the_client_of_another_event_loop(emulator: RedisEmulator) -> None:
    """Also if it is used again only after the other clients."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    with emulator.serve() as served:
        manager = AsyncRedisManager(f"{served.url}?client_name=podlink")

        async def use() -> Any:
            assert await manager.health_check()
            return manager.client

        async def update() -> None:
            there = asyncio.run_coroutine_threadsafe(use(), loop)
            old = await asyncio.wrap_future(there), await use()
            await manager.update_config(db=3)
            here = await use()
            there = asyncio.run_coroutine_threadsafe(use(), loop)
            new = await asyncio.wrap_future(there), here
            for client in new:
                assert client not in old
                assert client.connection_pool.connection_kwargs["db"] == 3
            await manager.close()

        asyncio.run(update())
        until(lambda: connected(emulator) == 0)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.parametrize("flavour", [RedisManager, AsyncRedisManager])
def test_default_is_the_emulator(flavour: Any) -> None:
    assert flavour().get_config().url == "emulator://"


async def test_client_is_the_same_before_and_in_the_event_loop() -> None:
    manager = AsyncRedisManager("emulator://async-manager")
    before = await asyncio.to_thread(lambda: manager.client)
    assert manager.client is before
    assert manager.count_connections() is not None
    await manager.close()
    assert manager.count_connections() is None


async def test_client_that_was_handed_in(emulator: RedisEmulator) -> None:
    async with emulator.async_client() as client:
        manager = AsyncRedisManager(client)
        assert manager.client is client
        assert manager.source is client
        assert (manager.timeout, manager.slow, manager.is_cluster) == (None, 1.0, False)
        assert manager.retry_policy.retries == 0
        assert await asyncio.to_thread(asyncio.run, client_in_this_loop(manager)) is client
        await manager.close()
        assert await client.ping()
    with emulator.client() as other:
        synchronous = RedisManager(other)
        assert synchronous.source is other
        assert synchronous.client is other
        assert (synchronous.timeout, synchronous.slow) == (None, 1.0)
        assert synchronous.is_cluster is False
        assert synchronous.retry_policy.retries == 0
        synchronous.close()
        assert other.ping()


async def client_in_this_loop(manager: AsyncRedisManager) -> Any:
    return manager.client


@pytest.mark.skipif(redis.__version__.startswith("5."), reason="has no retry of its own")
async def test_retries_of_a_cluster_client_that_was_handed_in() -> None:
    node = redis.asyncio.cluster.ClusterNode("127.0.0.1", 1)
    client = redis.asyncio.RedisCluster(startup_nodes=[node], retry=Retry(NoBackoff(), 7))
    manager = AsyncRedisManager(client)
    assert manager.is_cluster
    assert manager.source is manager
    assert manager.retry_policy.retries == 7


CHANGED: dict[str, Any] = {
    "timeout": 7.5,
    "slow_operation": 0.5,
    "retries": 9,
    "retry_backoff": 0.25,
    "retry_backoff_cap": 8.0,
}


@pytest.mark.parametrize("flavour", [RedisManager, AsyncRedisManager])
def test_what_executors_take_from_the_configuration(flavour: Any) -> None:
    manager = flavour(RedisConfig.from_url("redis://127.0.0.1:1", **CHANGED))
    assert (manager.timeout, manager.slow, manager.is_cluster) == (7.5, 0.5, False)
    assert manager.retry_policy == (9, 0.25, 8.0)
    assert flavour("redis+cluster://127.0.0.1:1").is_cluster


@pytest.mark.parametrize(
    ("flavour", "source", "advice"),
    [
        (RedisManager, redis.asyncio.Redis(), "asynchronous class"),
        (AsyncRedisManager, redis.Redis(), "synchronous class"),
        (AsyncRedisManager, redis.Redis(), "not Redis$"),
        (RedisManager, 5, "not int"),
        (AsyncRedisManager, None, "not NoneType"),
    ],
)
def test_source_of_another_kind(flavour: Any, source: Any, advice: str) -> None:
    with pytest.raises(podlink.InvalidParameterError, match=advice):
        flavour(source)
