"""Asynchronous executors in successive event loops, in several at once, and without asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis.asyncio

import podlink
from podlink import AsyncLinkRouter, AsyncStatefulExecutor, PodState
from redis_emulator import ClusterEmulator, RedisEmulator


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    with RedisEmulator() as emulator, emulator.serve() as server:
        yield f"redis://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def served_cluster() -> Iterator[str]:
    with ClusterEmulator() as cluster, cluster.serve():
        yield f"redis+cluster://127.0.0.1:{cluster.masters[0].port}"


@pytest.fixture(params=["emulator", "cluster in process", "server", "cluster"])
def url(request: pytest.FixtureRequest) -> str:
    fixtures = {"server": "served", "cluster": "served_cluster"}
    if request.param in fixtures:
        return str(request.getfixturevalue(fixtures[request.param]))
    scheme = "emulator+cluster" if "cluster" in request.param else "emulator"
    return f"{scheme}://event-loops"


async def link_many(executor: AsyncStatefulExecutor) -> int:
    """Link and read some uids concurrently, and return the number of links."""
    uids = [f"u{number}" for number in range(20)]
    await asyncio.gather(*(executor.set_linked_pod("n", uid, "s", 1) for uid in uids))
    return len((await executor.batch_get_linked_pod("n", uids, "s"))[1])


def test_executor_works_in_successive_event_loops(url: str) -> None:
    executor = AsyncStatefulExecutor(url)
    for _ in range(3):
        assert asyncio.run(link_many(executor)) == 20
    assert executor.metrics.total == 0
    asyncio.run(executor.close())


@pytest.mark.parametrize("is_cluster", [False, True])
def test_executor_of_a_users_client_works_in_successive_event_loops(
    served: str, served_cluster: str, is_cluster: bool
) -> None:
    client: Any = (
        redis.asyncio.RedisCluster.from_url(served_cluster.replace("+cluster", ""))
        if is_cluster
        else redis.asyncio.Redis.from_url(served)
    )
    executor = AsyncStatefulExecutor(client)
    assert asyncio.run(link_many(executor)) == 20

    async def run_and_close() -> int:
        found = await link_many(executor)
        with contextlib.suppress(
            RuntimeError
        ):  # a connection of the first loop, which redis-py cannot close
            await client.aclose()
        return found

    assert asyncio.run(run_and_close()) == 20


def test_executor_works_in_concurrent_event_loops(url: str) -> None:
    executor = AsyncStatefulExecutor(url)
    barrier = threading.Barrier(3)
    found: list[int] = []

    async def work() -> None:
        barrier.wait()
        found.append(await link_many(executor))

    threads = [threading.Thread(target=asyncio.run, args=(work(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [20, 20, 20]
    asyncio.run(executor.close())


def test_close_in_another_loop_closes_all_connections(served: str) -> None:
    executor = AsyncStatefulExecutor(served)

    async def run() -> None:
        await executor.set_linked_pod("n", "u", "s", 1)
        await asyncio.to_thread(asyncio.run, executor.close())
        with pytest.raises(podlink.RedisConnectionError, match="closed"):
            await executor.get_linked_pod("n", "u", "s")

    asyncio.run(run())


def test_batching_executor_rejects_a_second_event_loop(url: str) -> None:
    executor = AsyncStatefulExecutor(url, batching=True)
    assert asyncio.run(link_many(executor)) == 20

    async def from_another() -> podlink.StatefulError:
        with pytest.raises(
            podlink.InvalidParameterError, match="create an executor in each"
        ) as caught:
            await executor.set_linked_pod("n", "u", "s", 2)
        return caught.value

    assert not asyncio.run(from_another()).outcome_unknown

    async def at_once() -> int | None:
        other = AsyncStatefulExecutor(url, batching=True)
        await other.set_linked_pod("n", "u", "s", 1)

        async def use() -> None:
            with pytest.raises(podlink.InvalidParameterError, match="create an executor in each"):
                await other.set_linked_pod("n", "u", "s", 2)

        await asyncio.to_thread(asyncio.run, use())
        pod = await other.get_linked_pod("n", "u", "s")
        await other.close()
        return pod

    assert asyncio.run(at_once()) == 1
    asyncio.run(executor.manager.close())


@pytest.mark.parametrize("batching", [False, True])
def test_calls_without_an_asyncio_loop_are_rejected(url: str, batching: bool) -> None:
    """Like under Trio: every call is rejected at once."""
    executor = AsyncStatefulExecutor(url, batching=batching)
    for coroutine in (
        executor.set_linked_pod("n", "u", "s", 1),
        executor.batch_get_linked_pod("n", ["u"], "s"),
        executor.manager.load_script("set_linked_pod"),
        executor.manager.get_connection(),
        AsyncLinkRouter(executor).resolve("n", "u", "s"),
    ):
        with pytest.raises(podlink.InvalidParameterError, match="asyncio event loop; under Trio"):
            coroutine.send(None)


def test_router_works_in_successive_event_loops(served: str) -> None:
    executor = AsyncStatefulExecutor(served)
    router = AsyncLinkRouter(executor)

    async def run() -> int:
        await executor.set_service_state("n", "s", 3, str(PodState(0, time.time())))
        return await router.resolve("n", "someone", "s")

    assert [asyncio.run(run()) for _ in range(3)] == [3, 3, 3]

    async def close() -> None:
        await router.close()
        await executor.close()

    asyncio.run(close())


@pytest.mark.parametrize("close_in", ["its own loop", "another loop", "a closed loop"])
def test_router_works_in_concurrent_event_loops(served: str, close_in: str) -> None:
    """One connection receives the invalidations for both loops; each loop reads on its own."""
    executor = AsyncStatefulExecutor(served)
    router = AsyncLinkRouter(executor)
    loops = [asyncio.new_event_loop() for _ in range(2)]
    threads = [threading.Thread(target=loop.run_forever) for loop in loops]
    for thread in threads:
        thread.start()

    def run(number: int, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loops[number]).result(60)

    def resolve_from_cache(number: int) -> int:
        hits = router.stats().hits
        while router.stats().hits == hits:
            pod: int = run(number, router.resolve("n", "both", "s"))
        return pod

    pod = 0
    for pod in (3, 4):
        run(0, executor.set_service_state("n", "s", pod, str(PodState(0, time.time()))))
    for pod in (3, 4, 3):
        run(0, executor.set_linked_pod("n", "both", "s", pod))
        for number in (0, 1):
            while run(number, router.resolve("n", "both", "s")) != pod:
                pass  # the invalidation arrives soon
            assert resolve_from_cache(number) == pod
    tasks = [
        task
        for loop in loops
        for task in asyncio.all_tasks(loop)
        if task.get_name() == "podlink-tracking"
    ]
    assert len(tasks) == 1
    owner = loops.index(tasks[0].get_loop())
    if close_in == "a closed loop":
        loops[owner].call_soon_threadsafe(loops[owner].stop)
        threads[owner].join()
        loops[owner].run_until_complete(executor.close())
        tasks[0].cancel()
        loops[owner].run_until_complete(asyncio.wait(tasks))
        loops[owner].close()
        executor = AsyncStatefulExecutor(served)
    run(1 - owner if "its" not in close_in else owner, router.close())
    if close_in == "another loop":
        run(owner, asyncio.wait(tasks))
    assert tasks[0].done()
    for loop, thread in zip(loops, threads, strict=True):
        if not loop.is_closed():
            asyncio.run_coroutine_threadsafe(executor.close(), loop).result(60)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


def test_router_replaces_a_tracking_task_of_a_closed_loop(served: str, monkeypatch: Any) -> None:
    """A loop that is closed before its tasks are done does not end them."""
    router = AsyncLinkRouter(executor := AsyncStatefulExecutor(served))
    first = asyncio.new_event_loop()
    task = first.create_task(asyncio.sleep(0))
    router._tracker._task = task

    async def watch() -> bool:
        router._tracker.watch("n")
        is_new = router._tracker._task is not task
        await router.close()
        await executor.close()
        return is_new

    assert not asyncio.run(watch())
    router = AsyncLinkRouter(executor := AsyncStatefulExecutor(served))
    router._tracker._task = task
    monkeypatch.setattr(first, "is_closed", lambda: True)
    assert asyncio.run(watch())
    monkeypatch.undo()
    first.run_until_complete(asyncio.gather(task, return_exceptions=True))
    first.close()
