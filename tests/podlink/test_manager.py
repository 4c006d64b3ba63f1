"""The managers on a real server: connections, scripts, configuration, and the emulator's URL."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis

import podlink
from podlink import AsyncRedisManager, AsyncStatefulExecutor, RedisConfig, RedisManager
from podlink import StatefulExecutor as Executor
from pytest_podlink import servers
from tests.support.real_servers import real_servers


@pytest.fixture(scope="module", params=real_servers(["redis"]))
def server(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    with servers.start(request.param) as started:
        yield started


def blocked(client: redis.Redis) -> int:
    """Return the number of blocked clients of the server."""
    info: Any = client.info("clients")
    return int(info["blocked_clients"])


def test_connections_are_reserved_and_released(server: servers.Server) -> None:
    with RedisManager(server.url) as manager:
        first, second = manager.get_connection(), manager.get_connection()
        assert first.client_id() != second.client_id()
        assert first.client_id() == first.client_id()
        assert manager.get_pool_stats().in_use == 2
        manager.release_connection(first)
        manager.release_connection(first)
        manager.release_connection(second)
        stats = manager.get_pool_stats()
        assert (stats.in_use, stats.idle, stats.total) == (0, 2, 2)
        with manager.connection() as connection:
            assert connection.ping()
            assert manager.get_pool_stats().in_use == 1
        with pytest.raises(RuntimeError), manager.connection():
            raise RuntimeError
        assert manager.get_pool_stats().in_use == 0


async def test_async_connections_are_reserved_and_released(server: servers.Server) -> None:
    async with AsyncRedisManager(server.url) as manager:
        first, second = await manager.get_connection(), await manager.get_connection()
        assert await first.client_id() != await second.client_id()
        assert (await manager.get_pool_stats()).in_use == 2
        await manager.release_connection(first)
        await manager.release_connection(first)
        await manager.release_connection(second)
        stats = await manager.get_pool_stats()
        assert (stats.in_use, stats.idle) == (0, 2)
        async with manager.connection() as connection:
            assert await connection.ping()
        assert (await manager.get_pool_stats()).in_use == 0


def test_exhausted_pool_is_a_connection_error(server: servers.Server) -> None:
    with RedisManager(RedisConfig.from_url(server.url, max_connections=1)) as manager:
        assert manager.get_pool_stats().max_connections == 1
        with manager.connection(), pytest.raises(podlink.RedisConnectionError):
            Executor(manager).get_linked_pod("n", "u", "s")
        assert Executor(manager).get_linked_pod("n", "u", "s") is None


def test_health_check_returns_product_and_version_or_the_error(server: servers.Server) -> None:
    with RedisManager(server.url) as manager:
        health = manager.health_check()
    assert health
    assert (health.server, health.version, health.error) == ("redis", server.version, None)
    assert health.latency is not None
    assert health.url == server.url
    with RedisManager("redis://127.0.0.1:1?retries=0") as manager:
        health = manager.health_check()
    assert not health
    assert isinstance(health.error, podlink.RedisConnectionError)


async def test_async_health_check(server: servers.Server) -> None:
    async with AsyncRedisManager(server.url) as manager:
        health = await manager.health_check()
        assert health
        assert health.version == server.version
    async with AsyncRedisManager("redis://127.0.0.1:1?retries=0") as manager:
        assert not await manager.health_check()


def test_scripts_are_loaded_and_executed_by_name(server: servers.Server) -> None:
    with RedisManager(server.url) as manager:
        assert manager.load_script("one", "return {KEYS[1], ARGV[1]}") == manager.get_script_sha(
            "one"
        )
        assert manager.execute_script("one", ["k"], ["a"]) == [b"k", b"a"]
        shas = manager.preload_scripts()
        assert shas["one"] == manager.get_script_sha("one")
        assert "set_linked_pod" in shas
        for unknown in (manager.load_script, manager.get_script_sha, manager.execute_script):
            with pytest.raises(podlink.NotFoundError, match="there is no script 'none'"):
                unknown("none")


def test_scripts_of_a_decoding_client_return_strings(server: servers.Server) -> None:
    with server.client(decode_responses=True) as client:
        manager = RedisManager(client)
        manager.load_script("two", "return 'x'")
        assert manager.execute_script("two") == "x"


def test_update_config_does_not_interrupt_a_call_in_flight(server: servers.Server) -> None:
    with RedisManager(server.url) as manager, server.client() as admin:
        manager.load_script("now", "return 1")
        reserved = manager.get_connection()
        replies: list[Any] = []

        def wait() -> None:
            replies.append(manager.client.blpop(["queue"], timeout=10))

        waiting = threading.Thread(target=wait)
        waiting.start()
        while not blocked(admin):
            pass
        old = manager.client
        manager.update_config(db=1, client_name="changed")
        assert manager.client is not old
        del old
        assert manager.get_config().db == 1
        assert manager.client.client_getname() in (b"changed", "changed")
        admin.rpush("queue", "served")
        waiting.join()
        assert replies == [(b"queue", b"served")]
        assert reserved.ping()
        manager.release_connection(reserved)


async def test_async_update_config_does_not_interrupt_a_call_in_flight(
    server: servers.Server,
) -> None:
    async with AsyncRedisManager(server.url) as manager:
        with server.client() as admin:
            manager.get_config()
            await manager.load_script("wait", "return 1")
            old = manager.lease
            connection = await manager.get_connection()
            waiting = asyncio.ensure_future(connection.blpop(["queue"], timeout=10))
            while not blocked(admin):
                await asyncio.sleep(0)
            await manager.update_config(db=1)
            assert manager.client.connection_pool.connection_kwargs["db"] == 1
            admin.rpush("queue", "served")
            assert await waiting == (b"queue", b"served")
            assert old.users == 1
            await manager.release_connection(connection)
            assert old.users == 0
            executor = AsyncStatefulExecutor(manager)
            assert await executor.set_linked_pod("n", "u", "s", 1) is None
            assert admin.exists("sf:{n:lk:u}s") == 0, "it went to the other database"


async def test_async_calls_succeed_during_updates(server: servers.Server) -> None:
    """Calls run while the configuration changes repeatedly."""
    async with AsyncRedisManager(server.url) as manager:
        executor = AsyncStatefulExecutor(manager)

        async def call(i: int) -> None:
            for _ in range(10):
                await executor.set_linked_pod("n", f"u{i}", "s", i)

        async def update() -> None:
            for i in range(10):
                await manager.update_config(client_name=f"c{i}")
                await asyncio.sleep(0)

        await asyncio.gather(update(), *(call(i) for i in range(10)))
        assert executor.metrics.total == 0


def test_calls_of_threads_succeed_during_updates(server: servers.Server) -> None:
    with RedisManager(server.url) as manager:
        executor = Executor(manager)
        threads = [
            threading.Thread(
                target=lambda: [executor.get_linked_pod("n", "u", "s") for _ in range(100)]
            )
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for i in range(20):
            manager.update_config(client_name=f"c{i}")
        for thread in threads:
            thread.join()
        assert executor.metrics.total == 0


def test_invalid_update_changes_nothing(server: servers.Server) -> None:
    with RedisManager(server.url) as manager:
        client = manager.client
        with pytest.raises(podlink.InvalidParameterError, match="port"):
            manager.update_config(port=0)
        with pytest.raises(podlink.InvalidParameterError, match="config must be"):
            manager.update_config(5)  # type: ignore[arg-type]
        assert manager.client is client


def test_users_client_is_not_closed(server: servers.Server) -> None:
    with server.client() as client:
        manager = RedisManager(client)
        with pytest.raises(podlink.NotFoundError, match="no configuration"):
            manager.get_config()
        with pytest.raises(podlink.NotFoundError, match="no configuration"):
            manager.update_config(db=1)
        executor = Executor(client)
        executor.set_linked_pod("n", "x", "s", 1)
        executor.close()
        assert client.ping()
        manager.update_config(server.url)
        assert manager.client is not client
        manager.close()
        assert client.ping()


def test_calls_after_close_are_connection_errors(server: servers.Server) -> None:
    executor = Executor(server.url)
    executor.set_linked_pod("n", "u", "s", 1)
    executor.close()
    executor.close()
    with pytest.raises(podlink.RedisConnectionError, match="is closed"):
        executor.get_linked_pod("n", "u", "s")
    with pytest.raises(podlink.RedisConnectionError, match="is closed"):
        executor.manager.update_config(db=1)
    manager = RedisManager(server.url)
    with Executor(manager) as executor:
        executor.get_linked_pod("n", "u", "s")
    assert manager.health_check(), "an executor does not close a manager that was handed in"
    manager.close()


async def test_async_calls_after_close_are_connection_errors(server: servers.Server) -> None:
    async with AsyncStatefulExecutor(server.url) as executor:
        await executor.set_linked_pod("n", "u", "s", 1)
    with pytest.raises(podlink.RedisConnectionError, match="is closed"):
        await executor.get_linked_pod("n", "u", "s")
    with pytest.raises(podlink.RedisConnectionError, match="is closed"):
        await executor.batch_get_linked_pod("n", ["u", "v"], "s")


def test_repr_contains_no_password(server: servers.Server) -> None:
    with Executor("redis://me:hunter2@localhost:1/3") as executor:
        assert repr(executor) == "<StatefulExecutor of <RedisManager redis://me@localhost:1/3>>"


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("decode", [False, True])
def test_results_do_not_depend_on_protocol_and_decoding(
    server: servers.Server, protocol: int, decode: bool
) -> None:
    with redis.Redis(
        port=server.port, protocol=protocol, decode_responses=decode, encoding="latin-1"
    ) as client:
        client.flushall()
        executor = Executor(client)
        assert executor.set_linked_pod("n", "ü\u20ac", "s", 1) is None
        assert executor.try_set_linked_pod("n", "ü\u20ac", "s", 2) == (False, 1)
        assert executor.get_link_service("n", "ü\u20ac") == {"s": 1}
        assert executor.batch_get_linked_pod("n", ["ü\u20ac"], "s") == {1: ["ü\u20ac"]}
        executor.set_service_state("n", "s", 0, "\u20ac")
        assert executor.get_service_state("n", "s") == {0: "\u20ac"}
        executor.set_workload_state("n", "s", "\u20ac")
        assert executor.get_workload_state("n", ["s"]) == {"s": "\u20ac"}


def test_url_of_a_unix_socket(server: servers.Server) -> None:
    with Executor(f"unix://{server.unixsocket}?protocol=3") as executor:
        executor.set_linked_pod("n", "socket", "s", 1)
        assert executor.require_linked_pod("n", "socket", "s") == 1


def test_executors_with_the_same_emulator_url_share_a_store() -> None:
    with Executor("emulator://test-manager") as one, Executor("emulator://test-manager") as two:
        one.set_linked_pod("n", "u", "s", 1)
        assert two.get_linked_pod("n", "u", "s") == 1
        with Executor("emulator://test-manager-other") as other:
            assert other.get_linked_pod("n", "u", "s") is None


def test_missing_emulator_is_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "redis_emulator", None)
    with pytest.raises(podlink.NotFoundError, match=r"pip install 'podlink\[emulator\]'"):
        Executor("emulator://")
