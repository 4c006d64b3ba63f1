"""Routers on a cluster, and with Sentinel while the master changes."""

from __future__ import annotations

import time
from functools import partial

import podlink
from podlink import LinkRouter, PodState, RedisConfig, StatefulExecutor
from tests.support.processes import Cluster, Sentinels, until
from tests.support.topologies import QUICK


def report(executor: StatefulExecutor, pods: int) -> None:
    for pod in range(pods):
        executor.set_service_state("routed", "s", pod, str(PodState(0, time.time())))


def resolves_to(router: LinkRouter, pod: int) -> bool:
    return router.resolve("routed", "u", "s") == pod


def hits(router: LinkRouter) -> bool:
    """Resolve, and return whether the cache answered; false if no server answers."""
    before = router.stats().hits
    try:
        router.resolve("routed", "u", "s", timeout=1)
    except podlink.StatefulError:
        return False
    return router.stats().hits > before


def test_router_tracks_the_new_master_after_a_failover(sentinels: Sentinels) -> None:
    config = RedisConfig.from_url(sentinels.url, **QUICK)
    with StatefulExecutor(config) as executor, LinkRouter(executor, max_silence=0.3) as router:
        report(executor, 2)
        until("changes are heard of", lambda: hits(router))
        victim = sentinels.current()
        victim.kill()
        try:
            until("it is noticed", lambda: not router.stats().tracked)
            assert router.stats().links == 0
            until("the new master is heard of", lambda: hits(router))
            sentinels.current(other_than=victim)
            for pod in (1, 0, 1):
                executor.set_linked_pod("routed", "u", "s", pod)
                until("the change is heard of", partial(resolves_to, router, pod))
                until("it is remembered", lambda: hits(router))
        finally:
            sentinels.rejoin(victim)


def test_routers_agree_on_links_on_all_nodes_of_a_cluster(cluster: Cluster) -> None:
    config = RedisConfig.from_url(cluster.url, **QUICK)
    uids = [f"u{number}" for number in range(60)]
    with StatefulExecutor(config) as executor, LinkRouter(executor, max_staleness=60) as router:
        report(executor, 3)
        told = {uid: router.resolve("routed", uid, "s") for uid in uids}
        assert sorted(map(list(told.values()).count, range(3))) == [20, 20, 20]
        with LinkRouter(executor) as other:
            assert {uid: other.resolve("routed", uid, "s") for uid in uids} == told
        assert {uid: router.resolve("routed", uid, "s") for uid in uids} == told
        assert {uid: router.resolve("routed", uid, "s") for uid in uids} == told
        assert router.stats().hits == len(uids)
        assert not router.stats().tracked
        assert executor.batch_remove_linked_pod("routed", uids, "s") == uids
