"""Failures of real processes and networks: which errors are raised, how soon calls succeed again,
and whether writes are lost.

Calls must succeed again within `SOON` seconds. The node and Sentinel timeouts here are one second.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import podlink
from podlink import AsyncStatefulExecutor, ErrorCode, StatefulError, StatefulExecutor
from pytest_podlink import servers
from tests.support.processes import Cluster, Sentinels, until
from tests.support.proxy import Proxy
from tests.support.real_servers import real_servers
from tests.support.topologies import QUICK, Caller

pytestmark = pytest.mark.xdist_group("topologies")

SOON = 60.0
FAILURE_CODES = {
    ErrorCode.TIMEOUT,
    ErrorCode.REDIS_CONNECTION_ERROR,
    ErrorCode.REDIS_OPERATION_ERROR,
}


@pytest.fixture(scope="module", params=real_servers(["redis-8.2"]))
def server(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    with servers.start(request.param) as started:
        yield started


@pytest.fixture
def proxy(server: servers.Server) -> Iterator[Proxy]:
    with server.client() as admin:
        admin.flushall()
    with Proxy(server.port) as between:
        yield between


class Linker(threading.Thread):
    """Links one uid after another until it is stopped, and records the acknowledged links."""

    def __init__(self, executor: Any, name: str = "") -> None:
        super().__init__(daemon=True)
        self.executor = executor
        self.prefix = name
        self.acknowledged: dict[str, int] = {}
        self.codes: set[ErrorCode] = set()
        self._stop_now = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._stop_now.is_set():
            number += 1
            uid, pod = f"{self.prefix}u{number}", number % 1000
            try:
                self.executor.set_linked_pod("n", uid, "s", pod)
                self.acknowledged[uid] = pod
            except StatefulError as error:
                self.codes.add(error.code)

    def end(self) -> None:
        self._stop_now.set()
        self.join(SOON)
        assert not self.is_alive()

    def lost(self) -> list[str]:
        """Return the acknowledged links that do not exist."""
        found = self.executor.batch_get_linked_pod("n", list(self.acknowledged), "s")
        there = {uid: pod for pod, uids in found.items() for uid in uids}
        return [uid for uid, pod in self.acknowledged.items() if there.get(uid) != pod]


# Cluster


def test_links_set_while_slots_move_are_not_lost(cluster: Cluster) -> None:
    for master in cluster.masters():
        master.client().flushall()
    with StatefulExecutor(podlink.RedisConfig.from_url(cluster.url, **QUICK)) as executor:
        linkers = [Linker(executor, f"{i}-") for i in range(3)]
        for linker in linkers:
            linker.start()
        source, target, *_ = cluster.masters()
        for slot in cluster.slots_of(source)[:60]:
            cluster.move_slot(slot, source, target)
        for linker in linkers:
            linker.end()
        assert all(linker.codes <= {ErrorCode.REDIS_OPERATION_ERROR} for linker in linkers)
        assert sum(len(linker.acknowledged) for linker in linkers) > 300
        assert [uid for linker in linkers for uid in linker.lost()] == []


def test_manual_failover_loses_no_link(cluster: Cluster, caller: Caller) -> None:
    """A manual failover loses no acknowledged write."""
    cluster.wait()
    caller.connect(cluster.url)
    for number in range(300):
        caller.set_linked_pod("n", f"u{number}", "s", number)
    cluster.fail_over(cluster.masters()[0])
    for number in range(300, 600):
        caller.set_linked_pod("n", f"u{number}", "s", number)
    found = caller.batch_get_linked_pod("n", [f"u{number}" for number in range(600)], "s")
    assert found == {number: [f"u{number}"] for number in range(600)}


def test_calls_succeed_again_after_a_master_dies(cluster: Cluster, caller: Caller) -> None:
    cluster.wait()
    key = b"sf:{n:lk:u}s"
    caller.connect(cluster.url, retries=1)
    caller.set_linked_pod("n", "u", "s", 1)
    victim = cluster.master_of(key)
    victim.kill()
    codes: set[ErrorCode] = set()
    started = time.monotonic()
    uids = [f"u{number}" for number in range(20)]
    calls: list[Callable[[], object]] = [
        lambda: caller.drain_pod("n", "s", 9),
        lambda: caller.batch_set_linked_pod_if_absent("n", uids, "s", 8),
        lambda: caller.batch_get_linked_pod("n", uids, "s"),
        lambda: caller.set_linked_pod("n", "u", "s", 2),
    ]
    failed = True
    while failed:
        failed = False
        for call in calls:
            try:
                call()
            except StatefulError as error:
                failed = True
                codes.add(error.code)
        assert time.monotonic() - started < SOON, codes
    assert codes
    assert codes <= FAILURE_CODES  # no INTERNAL_ERROR
    assert caller.get_linked_pod("n", "u", "s") == 2
    victim.restart()
    cluster.wait()
    assert caller.get_linked_pod("n", "u", "s") == 2


def test_failed_batch_names_the_uids_that_were_not_linked(cluster: Cluster, caller: Caller) -> None:
    cluster.wait()
    for master in cluster.masters():
        master.client().flushall()
    caller.connect(cluster.url, retries=0)
    uids = [f"u{number}" for number in range(60)]
    caller.get_linked_pod("n", "u1", "s")
    victim = cluster.master_of(b"sf:{n:lk:u1}s")
    theirs = {uid for uid in uids if cluster.master_of(f"sf:{{n:lk:{uid}}}s".encode()) is victim}
    victim.pause()
    try:
        with pytest.raises(StatefulError) as caught:
            caller.batch_set_linked_pod_if_absent("n", uids, "s", 7, timeout=3)
    finally:
        victim.resume()
    assert caught.value.code in FAILURE_CODES
    cluster.wait()
    until("the cluster serves all", lambda: cluster.client().get("x") is None)
    done = set(caller.batch_get_linked_pod("n", uids, "s").get(7, []))
    if caught.value.undone:
        assert theirs <= set(caught.value.undone)
        assert set(uids) - set(caught.value.undone) <= done


# Sentinel


def test_calls_succeed_again_after_a_sentinel_failover(
    sentinels: Sentinels, caller: Caller
) -> None:
    caller.connect(sentinels.url)
    caller.set_linked_pod("n", "u", "s", 1)
    victim = sentinels.current()
    until("replicas have it", lambda: victim.client().wait(1, 100) >= 1)
    victim.kill()
    codes: set[ErrorCode] = set()
    started = time.monotonic()
    while True:
        try:
            caller.set_linked_pod("n", "v", "s", 2)
            break
        except StatefulError as error:
            codes.add(error.code)
        assert time.monotonic() - started < SOON, codes
    assert codes <= FAILURE_CODES
    assert caller.get_linked_pod("n", "u", "s") == 1
    sentinels.rejoin(victim)


# Networks that are slow, silent or down


def test_timeout_holds_on_a_slow_network(proxy: Proxy, caller: Caller) -> None:
    caller.connect(proxy.url, socket_timeout=10.0)
    caller.set_linked_pod("n", "u", "s", 1)
    proxy.delay = 5.0
    started = time.monotonic()
    with pytest.raises(podlink.OperationTimeoutError) as caught:
        caller.set_linked_pod("n", "u", "s", 2, timeout=0.1)
    assert time.monotonic() - started < 4
    assert caught.value.outcome_unknown
    with pytest.raises(podlink.OperationTimeoutError) as caught:
        caller.get_linked_pod("n", "u", "s", timeout=0.1)
    assert not caught.value.outcome_unknown
    proxy.delay = 0.0
    until("the write arrives", lambda: caller.get_linked_pod("n", "u", "s") == 2)


def test_timeout_of_the_configuration_holds(proxy: Proxy, caller: Caller) -> None:
    caller.connect(proxy.url, socket_timeout=10.0, timeout=0.1)
    caller.set_linked_pod("n", "u", "s", 1, timeout=30)
    proxy.freeze()
    with pytest.raises(podlink.OperationTimeoutError):
        caller.get_linked_pod("n", "u", "s")
    proxy.thaw()
    assert caller.get_linked_pod("n", "u", "s", timeout=30) == 1


def test_timeout_holds_while_waiting_for_a_connection(proxy: Proxy) -> None:
    config = podlink.RedisConfig.from_url(proxy.url, max_connections=1, pool_timeout=10)
    with StatefulExecutor(config) as executor, executor.manager.connection():
        started = time.monotonic()
        with pytest.raises(podlink.OperationTimeoutError) as caught:
            executor.set_linked_pod("n", "u", "s", 1, timeout=0.1)
        assert time.monotonic() - started < 5
        assert not caught.value.outcome_unknown


@pytest.mark.parametrize("timeout", [0, -1, True, "1", float("nan"), float("inf")])
def test_invalid_timeout_is_rejected(proxy: Proxy, caller: Caller, timeout: Any) -> None:
    caller.connect(proxy.url)
    with pytest.raises(podlink.InvalidParameterError, match="timeout"):
        caller.get_linked_pod("n", "u", "s", timeout=timeout)


def test_client_reconnects_after_the_server_was_unreachable(proxy: Proxy, caller: Caller) -> None:
    caller.connect(proxy.url, retries=0)
    caller.set_linked_pod("n", "u", "s", 1)
    proxy.refuse()
    with pytest.raises(podlink.RedisConnectionError):
        caller.get_linked_pod("n", "u", "s")
    proxy.accept_again()
    assert caller.get_linked_pod("n", "u", "s") == 1


def test_no_acknowledged_link_is_lost_while_connections_break(proxy: Proxy) -> None:
    """Connections are closed all the time, also in the middle of replies."""
    config = podlink.RedisConfig.from_url(proxy.url, **{**QUICK, "retries": 20})
    with StatefulExecutor(config) as executor:
        linkers = [Linker(executor, f"{i}-") for i in range(4)]
        for linker in linkers:
            linker.start()

        def acknowledged() -> int:
            return sum(len(linker.acknowledged) for linker in linkers)

        def has_more_than(known: int) -> bool:
            return acknowledged() > known

        for _ in range(20):
            until("links are acknowledged", partial(has_more_than, acknowledged()))
            proxy.cut()
            proxy.cut_after = 7
            until("a reply is cut", lambda: proxy.cut_after == 0)
            proxy.cut_after = None
        for linker in linkers:
            linker.end()
        assert all(linker.codes <= FAILURE_CODES for linker in linkers)
        assert acknowledged() > 50
        assert [uid for linker in linkers for uid in linker.lost()] == []


# Replies reach the call that they belong to


async def check_replies_after_cancellations(url: str, cancellations: int) -> tuple[int, int]:
    """Cancel calls at one await point after another, and check that other calls get their own
    replies.

    Returns:
        The largest number of event loop turns before a cancellation, and the number of calls
        answered.
    """
    cancelled = answered = turns = most = 0
    config = podlink.RedisConfig.from_url(url, max_connections=2)
    async with AsyncStatefulExecutor(config) as executor:
        for pod in range(50):
            await executor.set_linked_pod("n", f"u{pod}", "s", pod)
        for attempt in range(10 * cancellations):
            pods = [(attempt * 3 + i) % 50 for i in range(3)]
            tasks = [
                asyncio.ensure_future(executor.get_linked_pod("n", f"u{pod}", "s")) for pod in pods
            ]
            for _ in range(turns):
                await asyncio.sleep(0)
            # Cancel one turn later the next time, until the call is done before.
            turns = turns + 1 if tasks[attempt % 3].cancel() else 0
            most = max(most, turns)
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for pod, result in zip(pods, results, strict=True):
                if isinstance(result, asyncio.CancelledError):
                    cancelled += 1
                else:
                    assert result == pod, f"u{pod} got {result!r}"
                    answered += 1
            if cancelled == cancellations:
                break
    assert cancelled == cancellations
    return most, answered


def test_cancelled_calls_leave_no_reply_on_the_connection(server: servers.Server) -> None:
    points, answered = asyncio.run(check_replies_after_cancellations(server.url, 3_000))
    assert points >= 3
    assert answered >= 6_000


def test_cancelled_calls_leave_no_reply_on_a_slow_connection(proxy: Proxy) -> None:
    proxy.delay = 0.001
    points, answered = asyncio.run(check_replies_after_cancellations(proxy.url, 100))
    assert points >= 3
    assert answered >= 200


def test_timed_out_calls_leave_no_reply_on_the_connection(proxy: Proxy) -> None:
    """Synchronous calls time out again and again on few connections."""
    config = podlink.RedisConfig.from_url(proxy.url, max_connections=2)
    with StatefulExecutor(config) as executor:
        for pod in range(20):
            executor.set_linked_pod("n", f"u{pod}", "s", pod)
        proxy.delay = 0.004
        late = 0
        for attempt in range(120):
            pod = attempt % 20
            try:
                timeout = 0.001 + (attempt % 7) * 0.001
                assert executor.get_linked_pod("n", f"u{pod}", "s", timeout=timeout) == pod
            except podlink.OperationTimeoutError:
                late += 1
        proxy.delay = 0.0
        for pod in range(20):
            assert executor.get_linked_pod("n", f"u{pod}", "s") == pod
    assert late > 20


# Changes of the server


def test_changed_password_is_an_error_until_the_configuration_is_updated(
    server: servers.Server, caller: Caller
) -> None:
    caller.connect(server.url)
    assert caller.get_linked_pod("n", "rotated", "s") is None
    with server.client() as admin:
        admin.config_set("requirepass", "new")
        try:
            admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            with pytest.raises(podlink.RedisConnectionError, match="credentials"):
                caller.get_linked_pod("n", "rotated", "s")
            changed = caller.executor.manager.update_config(password="new")
            if asyncio.iscoroutine(changed):
                caller.loop.run_until_complete(changed)
            assert caller.get_linked_pod("n", "rotated", "s") is None
        finally:
            admin.config_set("requirepass", "")


def test_write_to_a_full_server_is_an_error_with_known_outcome(
    server: servers.Server, caller: Caller
) -> None:
    caller.connect(server.url)
    with server.client() as admin:
        admin.config_set("maxmemory", "1")
        try:
            with pytest.raises(podlink.RedisOperationError, match="maxmemory") as caught:
                caller.set_linked_pod("n", f"full-{caller.kind}", "s", 1)
            assert not caught.value.outcome_unknown
        finally:
            admin.config_set("maxmemory", "0")
    assert caller.set_linked_pod("n", f"full-{caller.kind}", "s", 1) is None


def test_calls_succeed_again_after_the_server_was_paused(
    server: servers.Server, caller: Caller
) -> None:
    caller.connect(server.url, socket_timeout=0.2)
    caller.set_linked_pod("n", "stopped", "s", 1)
    server.pause()
    try:
        with pytest.raises(podlink.OperationTimeoutError) as caught:
            caller.set_linked_pod("n", "stopped", "s", 2)
        assert caught.value.outcome_unknown
    finally:
        server.resume()
    assert caller.get_linked_pod("n", "stopped", "s") in (1, 2)
