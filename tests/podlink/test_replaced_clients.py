"""A client that `update_config` has replaced is closed: its connections go, on the server too."""

from __future__ import annotations

from podlink import AsyncRedisManager, AsyncStatefulExecutor, RedisManager, StatefulExecutor
from redis_emulator import RedisEmulator
from tests.support.waiting import until


def named(emulator: RedisEmulator, name: str) -> int:
    """How many connections of that name the server has."""
    with emulator.client() as client:
        clients = client.client_list()
    return sum(each["name"] == name for each in clients)


def wait_until_gone(emulator: RedisEmulator, name: str) -> None:
    """The server notices a moment later that a client has closed a connection."""
    until(lambda: not named(emulator, name), f"the connections of {name!r} are closed")


def test_a_replaced_client_is_closed() -> None:
    with RedisEmulator() as emulator, emulator.serve() as server:
        url = f"{server.url}?client_name=old"
        with RedisManager(url) as manager, StatefulExecutor(manager) as executor:
            executor.set_linked_pod("n", "u", "s", 1)
            assert named(emulator, "old") == 1
            old = manager.client  # held, so that it is not closed for being garbage
            manager.update_config(client_name="new")
            executor.set_linked_pod("n", "u", "s", 2)
            assert named(emulator, "new") == 1
            wait_until_gone(emulator, "old")
            assert old is not manager.client


async def test_a_replaced_client_is_closed_async() -> None:
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
