"""`update_config` closes the connections of the client that it replaces."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import redis
import redis.asyncio

from podlink import (
    AsyncRedisManager,
    AsyncStatefulExecutor,
    RedisManager,
    RedisOperationError,
    StatefulExecutor,
)
from redis_emulator import ClusterEmulator, RedisEmulator
from tests.support.waiting import until


def named(emulator: Any, name: str) -> int:
    """Return the number of connections with that name on the server or node."""
    with emulator.client() as client:
        clients = client.client_list()
    return sum(each["name"] == name for each in clients)


def wait_until_gone(emulator: RedisEmulator, name: str) -> None:
    """Poll, because the server notices a closed connection a moment later."""
    until(lambda: not named(emulator, name), f"the connections of {name!r} are closed")


def test_update_config_closes_the_replaced_client() -> None:
    with RedisEmulator() as emulator, emulator.serve() as server:
        url = f"{server.url}?client_name=old"
        with RedisManager(url) as manager, StatefulExecutor(manager) as executor:
            executor.set_linked_pod("n", "u", "s", 1)
            assert named(emulator, "old") == 1
            old = manager.client  # keeps a reference, so that garbage collection does not close it
            manager.update_config(client_name="new")
            executor.set_linked_pod("n", "u", "s", 2)
            assert named(emulator, "new") == 1
            wait_until_gone(emulator, "old")
            assert old is not manager.client


async def test_async_update_config_closes_the_replaced_client() -> None:
    with RedisEmulator() as emulator, emulator.serve() as server:
        url = f"{server.url}?client_name=old"
        async with AsyncRedisManager(url) as manager:
            executor = AsyncStatefulExecutor(manager)
            await executor.set_linked_pod("n", "u", "s", 1)
            assert named(emulator, "old") == 1
            old = manager.client
            await manager.update_config(client_name="new")
            await executor.set_linked_pod("n", "u", "s", 2)
            assert named(emulator, "new") == 1
            wait_until_gone(emulator, "old")
            assert old is not manager.client


@pytest.mark.parametrize("way", ["close", "update_config"])
@pytest.mark.parametrize("flavour", [RedisManager, AsyncRedisManager])
async def test_client_of_a_cluster_is_closed(flavour: Any, way: str) -> None:
    with ClusterEmulator() as cluster, cluster.serve():
        url = f"redis+cluster://127.0.0.1:{cluster.masters[0].port}?client_name=old"
        manager = flavour(url)
        await finished(manager.preload_scripts())
        client = manager.client
        await finished(client.get("k"))
        assert all(named(node, "old") for node in cluster.masters)
        if way == "close":
            await finished(manager.close())
        else:
            await finished(manager.update_config(client_name="new"))
        until(lambda: not any(named(node, "old") for node in cluster.nodes), "all are closed")
        assert client is not None
        await finished(manager.close())


@pytest.mark.parametrize("flavour", [RedisManager, AsyncRedisManager])
async def test_client_of_a_cluster_that_was_handed_in_is_left_open(flavour: Any) -> None:
    with ClusterEmulator() as cluster, cluster.serve():
        module: Any = redis if flavour is RedisManager else redis.asyncio
        port = cluster.masters[0].port
        client = module.RedisCluster(host="127.0.0.1", port=port, client_name="theirs")
        await finished(client.get("k"))
        manager = flavour(client)
        assert manager.is_cluster is True
        assert await finished(manager.load_script("one", "return 1")) == manager.get_script_sha(
            "one"
        )
        before = [ids_of(node, "theirs") for node in cluster.masters]
        await finished(manager.close())
        await finished(client.get("k"))
        assert [ids_of(node, "theirs") for node in cluster.masters] == before
        await finished(client.close() if flavour is RedisManager else client.aclose())


@pytest.mark.parametrize("flavour", [RedisManager, AsyncRedisManager])
async def test_reserved_connection_of_a_replaced_client_is_closed_when_it_is_released(
    flavour: Any,
) -> None:
    with RedisEmulator() as emulator, emulator.serve() as server:
        manager = flavour(f"{server.url}?client_name=old")
        client = manager.client
        idle, reserved, other = [await finished(manager.get_connection()) for _ in range(3)]
        await finished(manager.release_connection(idle))
        await finished(manager.update_config(client_name="new"))
        until(lambda: named(emulator, "old") == 2)
        assert await finished(reserved.ping())
        number = str(await finished(other.client_id()))
        await finished(manager.release_connection(reserved))
        assert str(await finished(other.client_id())) == number
        await finished(manager.release_connection(other))
        wait_until_gone(emulator, "old")
        assert client is not manager.client
        await finished(manager.close())


@pytest.mark.parametrize("flavour", [StatefulExecutor, AsyncStatefulExecutor])
@pytest.mark.parametrize("uids", [["u"], ["u", "v"]], ids=["one", "several"])
async def test_connection_is_kept_after_an_error_reply(flavour: Any, uids: list[str]) -> None:
    with RedisEmulator() as emulator, emulator.serve() as server, emulator.client() as admin:
        executor = flavour(f"{server.url}?client_name=kept")
        await finished(executor.get_linked_pod("n", "u", "s"))
        (before,) = ids_of(emulator, "kept")
        admin.lpush("sf:{n:lk:u}s", "no string")
        with pytest.raises(RedisOperationError):
            await finished(executor.set_linked_pod("n", "u", "s", 1))
        with pytest.raises(RedisOperationError):
            await finished(executor.batch_set_linked_pod_if_absent("n", uids, "s", 1))
        assert ids_of(emulator, "kept") == [before]
        await finished(executor.close())


@pytest.mark.parametrize("flavour", [RedisManager, AsyncRedisManager])
@pytest.mark.parametrize("way", ["close", "update_config"])
async def test_connections_of_a_client_that_was_handed_in_stay_open(flavour: Any, way: str) -> None:
    with RedisEmulator() as emulator, emulator.serve() as server:
        client: Any = emulator.client() if flavour is RedisManager else emulator.async_client()
        before = await finished(client.client_id())
        manager = flavour(client)
        assert await finished(manager.health_check())
        if way == "close":
            await finished(manager.close())
        else:
            await finished(manager.update_config(server.url))
            assert manager.client is not client
            await finished(manager.close())
        assert await finished(client.client_id()) == before
        await finished(client.close() if flavour is RedisManager else client.aclose())


def ids_of(emulator: Any, name: str) -> list[str]:
    with emulator.client() as client:
        clients: Any = client.client_list()
    return [each["id"] for each in clients if each["name"] == name]


async def finished(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result
