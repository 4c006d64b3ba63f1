"""What executors learn from redirections and lost nodes of a cluster, over sockets."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import podlink
from podlink import AsyncStatefulExecutor, RedisConfig, StatefulExecutor
from redis_emulator import ClusterEmulator
from redis_emulator.cluster_emulator import NodeEmulator

UIDS = [f"user-{number}" for number in range(60)]

Make = Callable[..., "Caller"]


class Caller:
    """Calls an executor of either kind synchronously."""

    def __init__(self, executor: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.executor = executor
        self._loop = loop

    def __call__(self, operation: str, *args: Any, **options: Any) -> Any:
        return self.finish(getattr(self.executor, operation)(*args, **options))

    def finish(self, result: Any) -> Any:
        return self._loop.run_until_complete(result) if inspect.isawaitable(result) else result


@pytest.fixture
def cluster() -> Iterator[ClusterEmulator]:
    cluster = ClusterEmulator()
    with cluster.serve():
        yield cluster


@pytest.fixture(params=[StatefulExecutor, AsyncStatefulExecutor], ids=["sync", "async"])
def make(request: pytest.FixtureRequest, cluster: ClusterEmulator) -> Iterator[Make]:
    """Makes executors of the cluster that never repeat a call after an error."""
    loop = asyncio.new_event_loop()
    made: list[Caller] = []

    def caller(**changes: Any) -> Caller:
        url = f"redis+cluster://127.0.0.1:{cluster.masters[0].port}"
        config = RedisConfig.from_url(url, **{"retries": 0, **changes})
        made.append(Caller(request.param(config), loop))
        return made[-1]

    yield caller
    for each in made:
        each("close")
    loop.close()


def uids_of(cluster: ClusterEmulator, node: NodeEmulator) -> list[str]:
    """The uids whose keys a node serves."""
    return [uid for uid in UIDS if cluster.node_of(f"sf:{{n:lk:{uid}}}") is node]


def redirected(node: NodeEmulator, error: str) -> int:
    """How many commands a node has answered with MOVED or ASK."""
    for line in bytes(node.execute("INFO", "errorstats")).decode().splitlines():
        name, _, count = line.partition(":count=")
        if name == f"errorstat_{error}":
            return int(count)
    return 0


def move(cluster: ClusterEmulator, uid: str, to: NodeEmulator) -> None:
    """Move the slot of a uid."""
    cluster.move_slot(cluster.slot_of(f"sf:{{n:lk:{uid}}}"), to)


def test_a_slot_that_is_being_moved(make: Make, cluster: ClusterEmulator) -> None:
    """The target has the key, but not yet the slot: it answers only after ASKING."""
    call = make()
    key = "sf:{n:lk:user-1}s"
    source = cluster.node_of(key)
    target = next(master for master in cluster.masters if master is not source)
    slot = cluster.slot_of(key)
    call("set_linked_pod", "n", "user-1", "s", 1)
    target.execute("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
    source.execute("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
    source.execute("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
    for _ in range(2):
        assert call("get_linked_pod", "n", "user-1", "s") == 1
    assert redirected(source, "ASK") == 2, "the slot stays with its owner until it has moved"
    assert redirected(target, "MOVED") == 0
    for node in (target, source):
        node.execute("CLUSTER", "SETSLOT", slot, "NODE", target.id)
    for _ in range(2):
        assert call("get_linked_pod", "n", "user-1", "s") == 1
    assert redirected(source, "MOVED") == 1


def test_a_slot_that_has_moved_is_remembered(make: Make, cluster: ClusterEmulator) -> None:
    call = make()
    first, second = cluster.masters[:2]
    uid = uids_of(cluster, first)[0]
    call("set_linked_pod", "n", uid, "s", 1)
    move(cluster, uid, second)
    for _ in range(3):
        assert call("get_linked_pod", "n", uid, "s") == 1
    assert redirected(first, "MOVED") == 1


def test_one_redirection_tells_asyncio_of_all_moved_slots(cluster: ClusterEmulator) -> None:
    """It reads the map of slots again."""

    async def run() -> None:
        url = f"redis+cluster://127.0.0.1:{cluster.masters[0].port}"
        async with AsyncStatefulExecutor(url) as executor:
            first, second = cluster.masters[:2]
            uids = uids_of(cluster, first)
            assert await executor.batch_set_linked_pod_if_absent("n", UIDS, "s", 1) == {1: UIDS}
            for uid in uids:
                move(cluster, uid, second)
            for uid in uids:
                assert await executor.get_linked_pod("n", uid, "s") == 1
            assert redirected(first, "MOVED") == 1

    asyncio.run(run())


@pytest.mark.parametrize("batch", [False, True], ids=["one", "batch"])
def test_the_slots_of_a_lost_node_are_asked_for_again(
    make: Make, cluster: ClusterEmulator, batch: bool
) -> None:
    """The call that meets the broken connection fails; the next one finds the new master."""
    call = make()
    lost = cluster.masters[1]
    uids = uids_of(cluster, lost)
    call("batch_set_linked_pod_if_absent", "n", UIDS, "s", 7)
    cluster.kill(lost)
    write = ("batch_remove_linked_pod", uids) if batch else ("remove_linked_pod", uids[0])
    with pytest.raises(podlink.StatefulError) as caught:
        call(write[0], "n", write[1], "s")
    assert caught.value.code is podlink.ErrorCode.REDIS_CONNECTION_ERROR
    nodes = call.finish(call.executor.manager.nodes())
    assert f"127.0.0.1:{lost.port}" not in nodes
    assert len(nodes) == 3
    assert call("batch_get_linked_pod", "n", UIDS, "s") == {7: UIDS}
    assert call("set_linked_pod", "n", uids[0], "s", 9) == 7


def test_a_demoted_master_has_the_slots_asked_for_again(
    make: Make, cluster: ClusterEmulator
) -> None:
    call = make()
    old = cluster.masters[2]
    uids = uids_of(cluster, old)
    call("batch_set_linked_pod_if_absent", "n", uids, "s", 7)
    cluster.fail_over(old)
    for uid in uids:
        assert call("set_linked_pod", "n", uid, "s", 8) == 7


@pytest.mark.parametrize("number", [0, 1])
def test_a_mute_node_is_asked_last_for_the_slots(
    make: Make, cluster: ClusterEmulator, number: int
) -> None:
    """Also by the next call, when the time of the call that it kept waiting is up."""
    call = make(socket_timeout=100.0)
    mute = cluster.masters[number]
    uid = uids_of(cluster, mute)[0]
    call("set_linked_pod", "n", uid, "s", 7)
    mute.execute("CLIENT", "PAUSE", "100000")
    with pytest.raises(podlink.OperationTimeoutError):
        call("get_linked_pod", "n", uid, "s", timeout=0.05)
    cluster.fail_over(mute)
    assert call("set_linked_pod", "n", uid, "s", 8, timeout=20.0) == 7
    mute.execute("CLIENT", "UNPAUSE")
