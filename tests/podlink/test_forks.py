"""Managers, executors and routers that were created before a ``fork`` work in the child process.

Each child runs one function and sends back its result. A child that hangs is killed by an alarm,
and the test fails.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from podlink import (
    AsyncLinkRouter,
    AsyncStatefulExecutor,
    LinkRouter,
    StatefulExecutor,
    deadline,
)
from podlink.lookup import look_up
from pytest_podlink import servers
from tests.support.children import ALARM, NEEDS_FORK, in_child
from tests.support.real_servers import real_servers

pytestmark = NEEDS_FORK


@pytest.fixture(scope="module", params=real_servers(["redis"]))
def server(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    with servers.start(request.param) as started:
        yield started


@pytest.fixture(autouse=True)
def link(server: servers.Server) -> Iterator[redis.Redis]:
    """A client that changes the key of a link like another process."""
    with server.client() as client:
        client.flushall()
        client.hset("sf:{n:state:s}", mapping={str(pod): f"{pod}-{2**43}" for pod in range(9)})
        client.set("sf:{n:lk:u}s", 1)
        yield client


class AllAlive:
    """Every pod is alive."""

    def loads(self, states: Any, now: float) -> dict[int, float]:
        return dict.fromkeys(states, 0.0)

    def choose(self, loads: Any, assigned: Any, random: Any) -> int:
        chosen: int = random.choice(sorted(loads))
        return chosen


def ask_until_cached(router: LinkRouter) -> None:
    hits = router.stats().hits
    while router.stats().hits == hits:
        assert router.resolve("n", "u", "s") == 1


def test_router_in_a_forked_child_serves_no_stale_link(
    server: servers.Server, link: redis.Redis
) -> None:
    with (
        StatefulExecutor(server.url) as executor,
        LinkRouter(executor, policy=AllAlive()) as router,
    ):
        ask_until_cached(router)

        def child() -> list[int]:
            link.connection_pool.disconnect()
            with server.client() as other:
                told = [router.resolve("n", "u", "s")]
                for pod in (2, 3, 4):
                    other.set("sf:{n:lk:u}s", pod)
                    hits = router.stats().hits
                    # The child's connection may receive the invalidation later, but shares nothing.
                    while router.resolve("n", "u", "s") != pod:
                        pass
                    while router.stats().hits == hits:
                        router.resolve("n", "u", "s")
                    told.append(router.resolve("n", "u", "s"))
                return told

        before = router.stats()
        assert in_child(lambda: router.stats()[2:]) == (0, False), "the cache is empty there"
        assert in_child(child) == [1, 2, 3, 4]
        link.set("sf:{n:lk:u}s", 1)
        ask_until_cached(router)
        assert router.stats().links == before.links


def test_router_on_a_users_client_in_a_forked_child_serves_no_stale_link(
    server: servers.Server, link: redis.Redis
) -> None:
    """In the child the client is the same object, so the cache cannot detect the fork by it."""
    with (
        server.client() as client,
        LinkRouter(StatefulExecutor(client), policy=AllAlive()) as router,
    ):
        ask_until_cached(router)

        def child() -> int:
            with server.client() as other:
                other.set("sf:{n:lk:u}s", 5)
            return router.resolve("n", "u", "s")

        assert in_child(child) == 5


def test_forked_children_choose_different_pods(server: servers.Server, link: redis.Redis) -> None:
    """Forked workers do not all choose the same pods."""
    with StatefulExecutor(server.url) as executor:
        router = LinkRouter(executor, policy=AllAlive(), cache_size=0)

        def child() -> list[int]:
            chosen = [router.resolve("n", f"new{i}", "s") for i in range(20)]
            with server.client() as other:
                other.delete(*(f"sf:{{n:lk:new{i}}}s" for i in range(20)))
                other.delete(*(f"sf:{{n:lk:new{i}}}" for i in range(20)))
            return chosen

        assert in_child(child) != in_child(child)


def test_forked_child_has_its_own_connections(server: servers.Server) -> None:
    """Parent and child use one executor at the same time, each on its own connections."""
    with StatefulExecutor(server.url) as executor:
        with executor.manager.connection() as connection:
            parents = connection.client_id()

        def child() -> tuple[int, list[int | None]]:
            with executor.manager.connection() as connection:
                number = connection.client_id()
            return number, [executor.set_linked_pod("n", f"c{i}", "s", i) for i in range(50)]

        number, previous = in_child(child)
        assert number != parents
        assert previous == [None] * 50
        with executor.manager.connection() as connection:
            assert connection.client_id() == parents, "the child has closed nothing of the parent's"


LOCKS = {
    "manager": lambda executor, router: executor.manager._lock,
    "pool": lambda executor, router: executor.manager.client.connection_pool._lock,
    "metrics": lambda executor, router: executor.metrics._lock,
    "cache": lambda executor, router: router._routing.cache._lock,
    "routing": lambda executor, router: router._routing._lock,
    "tracker": lambda executor, router: router._tracker._lock,
}


@pytest.mark.parametrize("handed_in", [False, True], ids=["own", "handed in"])
@pytest.mark.parametrize("held", LOCKS)
def test_forked_child_does_not_wait_for_locks_held_at_the_fork(
    server: servers.Server, held: str, handed_in: bool
) -> None:
    with server.client() as client:
        executor = StatefulExecutor(client if handed_in else server.url)
        router = LinkRouter(executor, policy=AllAlive())
        ask_until_cached(router)
        lock = LOCKS[held](executor, router)
        is_held, may_go = threading.Event(), threading.Event()

        def hold() -> None:
            with lock:
                is_held.set()
                may_go.wait(ALARM)

        holder = threading.Thread(target=hold)
        holder.start()
        is_held.wait()

        def child() -> Any:
            with pytest.raises(ValueError, match="pod_id"):
                executor.set_linked_pod("n", "u", "s", -1)
            answers = (
                router.resolve("n", "u", "s"),
                executor.get_linked_pod("n", "u", "s"),
                bool(executor.manager.health_check()),
            )
            router.close()
            executor.close()
            executor.manager.close()
            return answers

        try:
            assert in_child(child) == (1, 1, True)
        finally:
            may_go.set()
            holder.join()
        router.close()
        executor.close()


def test_closed_manager_is_closed_in_a_forked_child(server: servers.Server) -> None:
    executor = StatefulExecutor(server.url)
    executor.close()
    assert "is closed" in in_child(lambda: executor.get_linked_pod("n", "u", "s"))


async def client_id(executor: AsyncStatefulExecutor) -> int:
    async with executor.manager.connection() as connection:
        number: int = await connection.client_id()
        return number


@pytest.mark.parametrize("how", ["own", "batching", "handed in"])
async def test_forked_child_has_its_own_asyncio_connections(
    server: servers.Server, link: redis.Redis, how: str
) -> None:
    """In a child an executor works in the child's event loop, and the parent's connections stay
    open.
    """
    client = redis.asyncio.Redis(port=server.port)
    source: Any = client if how == "handed in" else server.url
    executor = AsyncStatefulExecutor(source, batching=how == "batching")
    assert await executor.get_linked_pod("n", "u", "s") == 1
    parents = await client_id(executor)

    async def child() -> tuple[int, list[int | None]]:
        calls = (executor.set_linked_pod("n", f"a{i}", "s", i) for i in range(20))
        return await client_id(executor), list(await asyncio.gather(*calls))

    number, previous = in_child(lambda: asyncio.run(child()))
    assert number != parents
    assert previous == [None] * 20
    assert await executor.get_linked_pod("n", "a7", "s") == 7
    assert await client_id(executor) == parents, "the child has closed nothing of the parent's"
    await executor.close()
    await client.aclose()


async def test_asyncio_router_in_a_forked_child_serves_no_stale_link(
    server: servers.Server, link: redis.Redis
) -> None:
    async with AsyncStatefulExecutor(server.url) as executor:
        async with AsyncLinkRouter(executor, policy=AllAlive()) as router:
            while not router.stats().hits:
                assert await router.resolve("n", "u", "s") == 1

            async def child() -> list[int]:
                told = []
                with server.client() as other:
                    for pod in (2, 3):
                        other.set("sf:{n:lk:u}s", pod)
                        hits = router.stats().hits
                        while await router.resolve("n", "u", "s") != pod:
                            pass
                        while router.stats().hits == hits:
                            await router.resolve("n", "u", "s")
                        told.append(await router.resolve("n", "u", "s"))
                return told

            assert in_child(lambda: router.stats()[2:]) == (0, False)
            assert in_child(lambda: asyncio.run(child())) == [2, 3]


def test_a_look_up_of_the_parent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread does not exist in the child."""
    began, may_end = threading.Event(), threading.Event()

    def hang(*args: Any) -> Any:
        began.set()
        may_end.wait(ALARM)
        return ["parent"]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    asking = threading.Thread(target=deadline.limited, args=(ALARM, look_up, "redis.invalid", 1))
    asking.start()
    began.wait()

    def child() -> Any:
        socket.getaddrinfo = lambda *args: ["child"]
        return deadline.limited(2.0, look_up, "redis.invalid", 1)

    try:
        assert in_child(child) == ["child"]
    finally:
        may_end.set()
        asking.join()
