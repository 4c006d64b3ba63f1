"""podlink on an emulated cluster, `emulator+cluster://`: operations, batches, drains, failures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

import podlink
from podlink import (
    AsyncRedisManager,
    AsyncStatefulExecutor,
    RedisConfig,
    RedisManager,
    StatefulExecutor,
)
from podlink.drain import DrainProgress
from redis_emulator import ClusterEmulator
from tests.support.topologies import Caller

NAME = "podlink"
URL = f"emulator+cluster://{NAME}"
UIDS = [f"user-{number}" for number in range(60)]


@pytest.fixture
def cluster() -> Iterator[ClusterEmulator]:
    cluster = ClusterEmulator.named(NAME)
    yield cluster
    cluster.reset()


@pytest.fixture
def executor(cluster: ClusterEmulator) -> Iterator[StatefulExecutor]:
    with StatefulExecutor(URL) as executor:
        yield executor


def test_manager_detects_the_cluster(cluster: ClusterEmulator) -> None:
    with RedisManager(URL) as manager:
        assert manager.is_cluster
        assert manager.health_check().ok
        assert len(manager.nodes()) == 3
        assert repr(manager) == f"<RedisManager {URL}>"


def test_script_is_loaded_on_every_master(cluster: ClusterEmulator) -> None:
    async def load() -> str:
        async with AsyncRedisManager(URL) as manager:
            return await manager.load_script("set_linked_pod")

    sha = asyncio.run(load())
    assert [master.execute("SCRIPT", "EXISTS", sha) for master in cluster.masters] == [[1]] * 3


def test_operations_on_an_emulated_cluster(executor: StatefulExecutor) -> None:
    for pod, uid in enumerate(UIDS):
        assert executor.set_linked_pod("n", uid, "s", pod) is None
        assert executor.get_linked_pod("n", uid, "s") == pod
    assert executor.set_linked_pod_if_absent("n", "user-1", "s", 99) == 1
    with pytest.raises(podlink.PodNotFoundError):
        executor.require_linked_pod("n", "nobody", "s")


def test_batches_and_drain_on_all_nodes(
    executor: StatefulExecutor, cluster: ClusterEmulator
) -> None:
    assert executor.batch_set_linked_pod_if_absent("n", UIDS, "s", 7) == {7: UIDS}
    assert executor.batch_get_linked_pod("n", [*UIDS, "nobody"], "s") == {7: UIDS}
    assert all(len(master[0]) for master in cluster.masters)
    moved = executor.drain_pod("n", "s", 7, 8)
    assert (moved.found, moved.done, moved.failed) == (60, 60, 0)
    assert executor.batch_remove_linked_pod("n", UIDS, "s") == UIDS
    assert not any(len(master[0]) for master in cluster.masters)


def test_batches_release_their_connections(executor: StatefulExecutor) -> None:
    for _ in range(2):
        executor.batch_set_linked_pod_if_absent("n", UIDS, "s", 7)
        stats = executor.manager.get_pool_stats()
        assert (stats.in_use, stats.idle) == (0, 3)


@pytest.mark.parametrize(("url", "nodes"), [(URL, 3), (f"emulator://{NAME}", 1)])
async def test_asyncio_batches_release_their_connections(
    cluster: ClusterEmulator, url: str, nodes: int
) -> None:
    async with AsyncStatefulExecutor(url) as executor:
        for _ in range(2):
            await executor.batch_set_linked_pod_if_absent("n", UIDS, "s", 7)
            stats = await executor.manager.get_pool_stats()
            assert (stats.in_use, stats.idle) == (0, nodes)


def test_batches_succeed_after_slots_moved_and_nodes_died(
    executor: StatefulExecutor, cluster: ClusterEmulator
) -> None:
    executor.batch_set_linked_pod_if_absent("n", UIDS, "s", 7)
    first, second = cluster.masters[:2]
    for slot in first.slots[:500]:
        cluster.move_slot(slot, second)
    assert executor.batch_get_linked_pod("n", UIDS, "s") == {7: UIDS}
    cluster.kill(second)
    assert executor.batch_get_linked_pod("n", UIDS, "s") == {7: UIDS}
    cluster.revive(second)
    cluster.fail_over(second)
    for uid in UIDS:
        assert executor.set_linked_pod("n", uid, "s", 9) == 7


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_failover_during_a_drain_is_an_error(
    cluster: ClusterEmulator, kind: str, which: int
) -> None:
    """The master of each third of the slots fails over after the first page was read."""
    caller = Caller(kind).connect(URL)
    caller.batch_set_linked_pod_if_absent("n", UIDS, "s", 7)
    pages: list[DrainProgress] = []

    def fail_over(progress: DrainProgress) -> None:
        if not pages:
            cluster.fail_over(cluster.masters[which])
        pages.append(progress)

    with pytest.raises(podlink.RedisConnectionError, match="is no longer a primary") as raised:
        caller.drain_pod("n", "s", 7, on_progress=fail_over)
    assert not raised.value.outcome_unknown
    caller.drain_pod("n", "s", 7)
    assert caller.batch_get_linked_pod("n", UIDS, "s") == {}
    caller.close()
    caller.loop.close()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_drain_scans_masters_only(cluster: ClusterEmulator, kind: str) -> None:
    caller = Caller(kind).connect(URL)
    caller.batch_set_linked_pod_if_absent("n", UIDS, "s", 7)
    for master in cluster.masters:
        cluster.fail_over(master)  # the client has not heard of it
    scanned = [node.execute("INFO", "commandstats") for node in cluster.nodes if not node.is_master]
    assert caller.drain_pod("n", "s", 7).done == len(UIDS)
    after = [node.execute("INFO", "commandstats") for node in cluster.nodes if not node.is_master]
    assert [b"scan" in stats for stats in after] == [b"scan" in stats for stats in scanned]
    caller.close()
    caller.loop.close()


@pytest.mark.parametrize("protocol", [2, 3])
def test_asyncio_operations_on_an_emulated_cluster(cluster: ClusterEmulator, protocol: int) -> None:
    async def run() -> None:
        config = RedisConfig.from_url(URL, protocol=protocol)
        async with AsyncStatefulExecutor(config) as executor:
            assert executor.manager.is_cluster
            assert (await executor.manager.health_check()).ok
            found = await executor.batch_set_linked_pod_if_absent("n", UIDS, "s", 7)
            assert found == {7: UIDS}
            assert await executor.get_linked_pod("n", "user-3", "s") == 7
            cluster.kill(0)
            assert await executor.batch_get_linked_pod("n", UIDS, "s") == {7: UIDS}
            drained = await executor.drain_pod("n", "s", 7)
            assert (drained.found, drained.done) == (60, 60)

    asyncio.run(run())


def test_executors_with_the_same_name_share_a_cluster(executor: StatefulExecutor) -> None:
    executor.set_linked_pod("n", "u", "s", 1)
    with StatefulExecutor(URL) as same, StatefulExecutor("emulator+cluster://other") as other:
        assert same.get_linked_pod("n", "u", "s") == 1
        assert other.get_linked_pod("n", "u", "s") is None
