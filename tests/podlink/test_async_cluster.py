"""Asyncio executors on an emulated cluster: bursts, nodes that die, slots that move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

import podlink
from podlink import AsyncStatefulExecutor, RedisConfig
from redis_emulator import ClusterEmulator
from redis_emulator.cluster_emulator import NodeEmulator

NAME = "aio"
URL = f"emulator+cluster://{NAME}"
UIDS = [f"user-{number}" for number in range(60)]

TWO_RETRIES: dict[str, Any] = (
    {"cluster_error_retry_attempts": 2}
    if redis.__version__.startswith("5.")
    else {"retry": Retry(NoBackoff(), 2)}
)

Make = Callable[..., Awaitable[AsyncStatefulExecutor]]


@pytest.fixture
def cluster() -> Iterator[ClusterEmulator]:
    cluster = ClusterEmulator.named(NAME)
    for node in cluster.nodes:
        node.execute("CONFIG", "SET", "cluster-require-full-coverage", "no")
    yield cluster
    cluster.reset()


@pytest.fixture(
    params=["in process", "batching", "sockets", "sockets, batching", "client", "client, batching"]
)
async def make(request: pytest.FixtureRequest, cluster: ClusterEmulator) -> AsyncIterator[Make]:
    """Return a function that creates executors of the cluster, in each of several ways."""
    way, _, _ = request.param.partition(",")
    made: list[Any] = []

    async def executor(**changes: Any) -> AsyncStatefulExecutor:
        source: Any
        if way == "client":
            source = redis.asyncio.RedisCluster(
                host="127.0.0.1", port=cluster.masters[0].port, **TWO_RETRIES
            )
            made.append(source)
        else:
            port = cluster.masters[0].port
            url = f"redis+cluster://127.0.0.1:{port}" if way == "sockets" else URL
            changes = {"retries": 2, "retry_backoff": 0.001, **changes}
            source = RedisConfig.from_url(url, **changes)
        new = AsyncStatefulExecutor(source, batching="batching" in request.param)
        made.append(new)
        return new

    if way == "in process" or way == "batching":
        yield executor
    else:
        with cluster.serve():
            yield executor
    for each in reversed(made):
        await (each.aclose() if isinstance(each, redis.asyncio.RedisCluster) else each.close())


def split(cluster: ClusterEmulator, node: NodeEmulator) -> tuple[list[str], list[str]]:
    """Return the uids whose keys a node serves, and the others."""
    theirs = [uid for uid in UIDS if cluster.node_of(f"sf:{{n:lk:{uid}}}") is node]
    return theirs, [uid for uid in UIDS if uid not in theirs]


async def test_burst_of_calls_on_a_new_client_succeeds(
    make: Make, cluster: ClusterEmulator
) -> None:
    for number in range(5):
        executor = await make()
        found = await asyncio.gather(
            *(executor.set_linked_pod("n", uid, "s", number) for uid in UIDS)
        )
        assert set(found) == {number - 1 if number else None}
        assert executor.metrics.total == 0


async def test_burst_of_calls_reads_the_slots_once(cluster: ClusterEmulator) -> None:
    asked = 0
    async with AsyncStatefulExecutor(URL) as executor:
        before = calls_of_cluster_slots(cluster)
        await asyncio.gather(*(executor.set_linked_pod("n", uid, "s", 1) for uid in UIDS))
        asked = calls_of_cluster_slots(cluster) - before
    assert asked == 1


def calls_of_cluster_slots(cluster: ClusterEmulator) -> int:
    found = 0
    for node in cluster.nodes:
        stats = node.execute("INFO", "commandstats")
        text = stats.decode() if isinstance(stats, bytes) else str(stats)
        for line in text.splitlines():
            if line.startswith("cmdstat_cluster|slots:calls="):
                found += int(line.partition("calls=")[2].partition(",")[0])
    return found


async def test_cancelled_reader_of_the_slots_does_not_affect_other_calls(make: Make) -> None:
    executor = await make()
    first = asyncio.ensure_future(executor.set_linked_pod("n", "user-1", "s", 1))
    others = [asyncio.ensure_future(executor.set_linked_pod("n", uid, "s", 1)) for uid in UIDS]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    assert set(await asyncio.gather(*others)) <= {None, 1}
    assert executor.metrics.total == 0


async def test_calls_to_live_nodes_succeed_beside_calls_to_a_dead_node(
    make: Make, cluster: ClusterEmulator
) -> None:
    """Calls that the live nodes have executed are not repeated."""
    executor = await make()
    await asyncio.gather(*(executor.set_linked_pod("n", uid, "s", 0) for uid in UIDS))
    dead = cluster.masters[1]
    lost, live = split(cluster, dead)
    cluster.kill(dead, fail_over=False)
    for pod in range(1, 6):
        results = await asyncio.gather(
            *(executor.set_linked_pod("n", uid, "s", pod) for uid in (*live, lost[0])),
            return_exceptions=True,
        )
        assert results[:-1] == [pod - 1] * len(live)
        assert isinstance(results[-1], podlink.StatefulError)
    removed = await asyncio.gather(
        *(executor.remove_linked_pod("n", uid, "s") for uid in (*live, lost[0])),
        return_exceptions=True,
    )
    assert removed[:-1] == [True] * len(live)


async def test_batch_names_the_uids_of_a_dead_node_as_undone(
    make: Make, cluster: ClusterEmulator
) -> None:
    executor = await make()
    await executor.batch_set_linked_pod_if_absent("n", UIDS, "s", 7)
    dead = cluster.masters[2]
    lost, live = split(cluster, dead)
    cluster.kill(dead, fail_over=False)
    for _ in range(2):
        with pytest.raises(podlink.StatefulError) as caught:
            await executor.batch_remove_linked_pod("n", UIDS, "s")
        if not caught.value.outcome_unknown:
            break
    assert caught.value.undone == tuple(lost)
    assert not caught.value.outcome_unknown, "nothing was sent to a node that is known to be dead"
    assert caught.value.code.value in ("REDIS_CONNECTION_ERROR", "REDIS_OPERATION_ERROR")
    assert [uid for uid in live if await executor.get_linked_pod("n", uid, "s")] == []


async def test_timeout_between_noscript_and_the_source(
    make: Make, cluster: ClusterEmulator
) -> None:
    """One node does not know the script; the other does not reply within the timeout."""
    slow = cluster.masters[1]
    theirs, others = split(cluster, slow)
    executor = await make()
    await asyncio.gather(*(executor.set_linked_pod("n", uid, "s", 1) for uid in UIDS))
    for node in cluster.masters:
        node.execute("SCRIPT", "FLUSH")
    slow.execute("CLIENT", "PAUSE", "60000")
    try:
        errors: list[Any] = await asyncio.gather(
            *(executor.set_linked_pod("n", uid, "s", 2, timeout=0.2) for uid in UIDS[:9]),
            executor.batch_remove_linked_pod("n", UIDS[9:], "s", timeout=0.2),
            return_exceptions=True,
        )
    finally:
        slow.execute("CLIENT", "UNPAUSE")
    found = [await executor.get_linked_pod("n", uid, "s") for uid in UIDS]
    for uid, error, pod in zip(UIDS[:9], errors[:9], found[:9], strict=True):
        if isinstance(error, podlink.StatefulError):
            assert error.code is podlink.ErrorCode.TIMEOUT
            assert pod == 1 or error.outcome_unknown
        else:
            assert (error, pod, uid in others) == (1, 2, True)
    assert errors[9].code is podlink.ErrorCode.TIMEOUT
    assert set(theirs) & set(UIDS[9:]) <= set(errors[9].undone)


async def test_calls_succeed_after_a_failover(make: Make, cluster: ClusterEmulator) -> None:
    executor = await make()
    await executor.batch_set_linked_pod_if_absent("n", UIDS, "s", 1)
    cluster.kill(cluster.masters[0])
    assert await executor.batch_get_linked_pod("n", UIDS, "s") == {1: UIDS}
    results = await asyncio.gather(*(executor.set_linked_pod("n", uid, "s", 2) for uid in UIDS))
    assert results == [1] * len(UIDS)


async def test_calls_succeed_after_a_master_is_demoted(
    make: Make, cluster: ClusterEmulator
) -> None:
    executor = await make()
    await executor.batch_set_linked_pod_if_absent("n", UIDS, "s", 1)
    cluster.fail_over(cluster.masters[0])
    results = await asyncio.gather(*(executor.set_linked_pod("n", uid, "s", 2) for uid in UIDS))
    assert results == [1] * len(UIDS)


async def test_calls_succeed_while_slots_move(make: Make, cluster: ClusterEmulator) -> None:
    """More redirections than redis-py follows without closing connections in use."""
    executor = await make()
    await executor.batch_set_linked_pod_if_absent("n", UIDS, "s", 0)
    first, second = cluster.masters[:2]
    for pod, slot in enumerate(sorted({cluster.slot_of(f"sf:{{n:lk:{uid}}}") for uid in UIDS}), 1):
        cluster.move_slot(slot, second if slot in first.slots else first)
        if pod % 7 == 0:
            results = await asyncio.gather(
                *(executor.set_linked_pod("n", uid, "s", pod) for uid in UIDS)
            )
            assert results == [pod - 7] * len(UIDS)
    assert executor.metrics.total == 0


async def test_calls_succeed_during_a_slot_migration(make: Make, cluster: ClusterEmulator) -> None:
    """ASK redirection: the key is on the target already, but the slot is not."""
    executor = await make()
    await executor.set_linked_pod("n", "user-1", "s", 1)
    key = "sf:{n:lk:user-1}s"
    source = cluster.node_of(key)
    target = next(master for master in cluster.masters if master is not source)
    slot = cluster.slot_of(key)
    target.execute("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
    source.execute("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
    source.execute("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
    found = await asyncio.gather(
        *(executor.get_linked_pod("n", uid, "s") for uid in ("user-1", "user-2", "user-1"))
    )
    assert found == [1, None, 1]
    for node in (target, source):
        node.execute("CLUSTER", "SETSLOT", slot, "NODE", target.id)
    assert await executor.set_linked_pod("n", "user-1", "s", 2) == 1


async def test_scripts_and_health_check_use_every_node(
    make: Make, cluster: ClusterEmulator
) -> None:
    manager = (await make()).manager
    shas = await manager.preload_scripts()
    for master in cluster.masters:
        assert all(master.execute("SCRIPT", "EXISTS", *shas.values()))
    assert (await manager.health_check()).ok
    await manager.load_script("get", "return redis.call('GET', KEYS[1])")
    assert await manager.execute_script("get", ["nothing"]) is None
    await manager.load_script("one", "return 1")
    assert await manager.execute_script("one") == 1
    cluster.kill(0, fail_over=False)
    assert not (await manager.health_check()).ok


async def test_drain_on_a_cluster(make: Make, cluster: ClusterEmulator) -> None:
    executor = await make()
    await executor.batch_set_linked_pod_if_absent("n", UIDS, "s", 7)
    drained = await executor.drain_pod("n", "s", 7, 8)
    assert (drained.found, drained.done, drained.failed) == (60, 60, 0)


async def test_client_that_decodes(cluster: ClusterEmulator) -> None:
    client = cluster.async_client(decode_responses=True)
    executor = AsyncStatefulExecutor(client)
    for uid in UIDS:
        await executor.set_linked_pod("n", uid, "s", 7)
    assert await executor.get_linked_pod("n", UIDS[0], "s") == 7
    assert await executor.get_link_service("n", UIDS[0]) == {"s": 7}
    assert await executor.batch_get_linked_pod("n", UIDS, "s") == {7: UIDS}
    await client.aclose()
