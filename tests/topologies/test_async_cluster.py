"""The asyncio executor on a real cluster: a burst on a new client, and a master that dies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

import podlink
from podlink import AsyncStatefulExecutor, RedisConfig
from tests.support.processes import Cluster
from tests.support.real_servers import real_servers
from tests.support.topologies import PRODUCTS, QUICK

pytestmark = pytest.mark.xdist_group("topologies")

UIDS = [f"u{number}" for number in range(60)]


@pytest.fixture(scope="module", params=real_servers(PRODUCTS))
def fragile(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster that keeps serving its other slots when a master is dead, without failover."""
    settings = ("--cluster-replica-no-failover", "yes", "--cluster-require-full-coverage", "no")
    with Cluster(request.param, 3, *settings) as started:
        yield started


@pytest.mark.parametrize("batching", [False, True])
async def test_burst_of_calls_on_a_new_client_succeeds(fragile: Cluster, batching: bool) -> None:
    for _ in range(5):
        async with AsyncStatefulExecutor(fragile.url, batching=batching) as executor:
            await asyncio.gather(*(executor.set_linked_pod("n", uid, "s", 0) for uid in UIDS))
            assert executor.metrics.total == 0


@pytest.mark.parametrize("batching", [False, True])
async def test_calls_that_live_nodes_executed_are_not_repeated(
    fragile: Cluster, batching: bool
) -> None:
    dead = fragile.masters()[0]
    slots = set(fragile.slots_of(dead))
    admin = fragile.masters()[1].client()
    lost = [
        uid
        for uid in UIDS
        if admin.execute_command("CLUSTER", "KEYSLOT", f"{{n:lk:{uid}}}") in slots
    ]
    live = [uid for uid in UIDS if uid not in lost]
    config = RedisConfig.from_url(fragile.url, **{**QUICK, "retries": 2})
    async with AsyncStatefulExecutor(config, batching=batching) as executor:
        for uid in UIDS:
            await executor.set_linked_pod("n", uid, "s", 0)
        dead.kill()
        try:
            for pod in range(1, 13):
                answers = await asyncio.gather(
                    executor.set_linked_pod("n", live[0], "s", pod),
                    executor.set_linked_pod("n", lost[0], "s", pod),
                    return_exceptions=True,
                )
                assert answers[0] == pod - 1
                assert isinstance(answers[1], podlink.StatefulError)
            with pytest.raises(podlink.StatefulError) as caught:
                await executor.batch_remove_linked_pod("n", UIDS, "s")
            assert caught.value.undone == tuple(lost)
            assert not caught.value.outcome_unknown
        finally:
            dead.restart()
            fragile.wait()
