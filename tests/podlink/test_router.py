"""Sync and asyncio routers on the emulator and on real servers: results and caching.

``test_routing.py`` tests the decisions without a server.
"""

from __future__ import annotations

import gc
import runpy
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

import podlink
from podlink import (
    AsyncLinkRouter,
    AsyncStatefulExecutor,
    LinkRouter,
    PodState,
    RedisConfig,
    StatefulExecutor,
)
from pytest_podlink import servers
from redis_emulator import RedisEmulator
from tests.support.real_servers import real_servers
from tests.support.routers import PROCESSES, SILENCE, Caller, report
from tests.support.waiting import until

LINK = "sf:{n:lk:u}s"


@pytest.fixture
def admin(url: str) -> Iterator[redis.Redis]:
    """A client of the store that podlink does not use."""
    if url.startswith("emulator"):
        client = RedisEmulator.named(url.removeprefix("emulator://")).client()
    else:
        client = redis.Redis.from_url(url)
    with client:
        yield client


@pytest.fixture(params=["sync", "async"])
def caller(request: pytest.FixtureRequest, url: str) -> Iterator[Caller]:
    made = Caller(request.param, url)
    yield made
    made.close()


# Results


def test_new_uid_is_linked_to_the_least_loaded_pod(
    caller: Caller, executor: StatefulExecutor
) -> None:
    report(executor, {0: 3, 1: 1, 2: 2})
    assert caller.open().resolve() == 1
    assert executor.get_linked_pod_if_persist("n", "u", "s") == 1
    report(executor, {1: 100})
    assert caller.resolve() == 1


def test_links_get_the_ttl_of_persist_seconds(caller: Caller, executor: StatefulExecutor) -> None:
    report(executor, {0: 3, 1: 1})
    executor.set_linked_pod("n", "v", "s", 7)
    caller.open(persist_seconds=60)
    assert (caller.resolve("u"), caller.resolve("v")) == (1, 1)
    for uid in ("u", "v"):
        link = executor.read_pod_link("n", uid, "s")
        assert link is not None
        assert link.expires_at is not None
    assert executor.get_link_service("n", "v") == {}


def test_link_to_a_dead_pod_is_replaced(caller: Caller, executor: StatefulExecutor) -> None:
    report(executor, {0: 0})
    now = time.time()
    caller.open(wall_clock=lambda: now, states_ttl=0)
    assert caller.resolve() == 0
    report(executor, {1: 5})
    now += 20
    assert caller.resolve() == 0
    now += 11
    report(executor, {1: 5}, ago=-31)
    assert caller.resolve() == 1
    assert executor.get_link_service("n", "u") == {"s": 1}


def test_error_without_live_pods_gives_the_reason(
    caller: Caller, executor: StatefulExecutor
) -> None:
    caller.open()
    with pytest.raises(podlink.ServiceNotFoundError, match="service s in n has no pods"):
        caller.resolve()
    report(executor, {4: 0}, ago=99)
    with pytest.raises(podlink.PodNotFoundError, match=r"pod 4 is stale, its heartbeat was 99\."):
        caller.resolve()
    assert {code: count.count for code, count in caller.executor.metrics.snapshot().items()} == {
        podlink.ErrorCode.SERVICE_NOT_FOUND: 1,
        podlink.ErrorCode.POD_NOT_FOUND: 1,
    }
    assert executor.get_linked_pod("n", "u", "s") is None
    report(executor, {4: 0})
    assert caller.resolve() == 4


@pytest.mark.parametrize(
    ("option", "value"),
    [("cache_size", -1), ("cache_size", 1.5), ("max_silence", 0), ("max_staleness", -1),
     ("states_ttl", True), ("persist_seconds", 0)],
)  # fmt: skip
@pytest.mark.parametrize("cls", [LinkRouter, AsyncLinkRouter])
def test_invalid_options_are_rejected(cls: Any, option: str, value: Any) -> None:
    kind = StatefulExecutor if cls is LinkRouter else AsyncStatefulExecutor
    with pytest.raises(podlink.InvalidParameterError, match=f"{option} must be"):
        cls(kind(), **{option: value})


def test_invalid_arguments_are_rejected(caller: Caller) -> None:
    caller.open()
    with pytest.raises(podlink.InvalidParameterError, match="uid must be"):
        caller.resolve("{")
    with pytest.raises(podlink.InvalidParameterError, match="timeout must be"):
        caller.resolve(timeout=0)
    assert caller.executor.metrics.total == 2


# Caching


def resolves_to(caller: Caller, pod: int) -> bool:
    return caller.resolve() == pod


def test_link_is_cached_until_it_changes(
    caller: Caller, executor: StatefulExecutor, admin: redis.Redis
) -> None:
    report(executor, {0: 0, 1: 5, 2: 7})
    caller.open().tracked()
    changes: list[tuple[Callable[[], Any], int]] = [
        (lambda: executor.set_linked_pod("n", "u", "s", 2), 2),
        (lambda: executor.set_linked_pod("n", "u", "s", 1, persist_seconds=100), 1),
        (lambda: executor.remove_linked_pod("n", "u", "s"), 0),
        (lambda: admin.set(LINK, "2"), 2),
        (lambda: admin.pexpire(LINK, 1), 0),
        (lambda: admin.set(LINK, "1"), 1),
    ]
    for change, pod in changes:
        until(caller.hits)
        change()
        until(partial(resolves_to, caller, pod))
        until(caller.hits)
        assert caller.resolve() == pod
    admin.flushall()
    until(lambda: not caller.router.stats().links)


def test_forget_drops_a_cached_link(caller: Caller, executor: StatefulExecutor) -> None:
    report(executor, {0: 0})
    caller.open().tracked()
    caller.router.forget("n", "u", "s")
    assert not caller.hits()
    assert caller.hits()


def test_cache_size_limits_the_number_of_links(caller: Caller, executor: StatefulExecutor) -> None:
    report(executor, {0: 0})
    caller.open(cache_size=2).tracked()
    for uid in "abcdef":
        until(partial(caller.hits, uid))
        assert caller.router.stats().links <= 2


def test_router_without_cache_opens_no_tracking_connection(
    caller: Caller, executor: StatefulExecutor, admin: redis.Redis
) -> None:
    report(executor, {0: 0})
    caller.open(cache_size=0)
    for _ in range(3):
        assert caller.resolve() == 0
        assert not caller.hits()
    assert not any("t" in client["flags"] for client in admin.client_list())


def test_every_namespace_in_use_is_tracked(caller: Caller, executor: StatefulExecutor) -> None:
    report(executor, {0: 0, 1: 1})
    executor.set_service_state("m", "s", 5, str(PodState(0, time.time())))
    caller.open().tracked()

    def hits() -> bool:
        before = caller.router.stats().hits
        assert caller.finish(caller.router.resolve("m", "u", "s")) == 5
        return bool(caller.router.stats().hits > before)

    until(hits)
    executor.set_service_state("m", "s", 6, str(PodState(0, time.time())))
    executor.set_linked_pod("m", "u", "s", 6)
    until(lambda: caller.finish(caller.router.resolve("m", "u", "s")) == 6)


def kill_tracking(admin: redis.Redis) -> None:
    """Close the tracking connections."""
    for client in admin.client_list():
        if "t" in client["flags"]:
            admin.client_kill_filter(_id=client["id"])


def test_broken_tracking_connection_empties_the_cache(
    caller: Caller, executor: StatefulExecutor, admin: redis.Redis
) -> None:
    report(executor, {0: 0, 1: 1})
    caller.open().tracked()
    for pod in (1, 0, 1):
        kill_tracking(admin)
        until(lambda: caller.router.stats().links == 0)
        executor.set_linked_pod("n", "u", "s", pod)  # there is no invalidation
        assert caller.resolve() == pod
        caller.tracked()
        assert caller.resolve() == pod


def test_closed_router_reads_from_the_server(
    caller: Caller, executor: StatefulExecutor, admin: redis.Redis
) -> None:
    report(executor, {0: 0, 1: 1})
    caller.open().tracked()
    caller.finish(caller.router.close())
    executor.set_linked_pod("n", "u", "s", 1)
    assert caller.resolve() == 1
    assert not caller.hits()
    until(lambda: not any("t" in client["flags"] for client in admin.client_list()))
    caller.finish(caller.router.close())


def test_links_of_another_server_are_not_served(caller: Caller, executor: StatefulExecutor) -> None:
    report(executor, {0: 0, 1: 1})
    with StatefulExecutor("emulator://another-router") as second:
        report(second, {0: 0, 1: 1})
        second.set_linked_pod("n", "u", "s", 1)
        caller.open(states_ttl=0).tracked()
        assert caller.resolve() == 0
        config = second.manager.get_config()
        caller.finish(caller.executor.manager.update_config(config))
        assert caller.resolve() == 1
        caller.tracked()
        second.set_linked_pod("n", "u", "s", 0)
        until(lambda: caller.resolve() == 0)


def test_tracking_ends_when_the_router_is_garbage_collected(
    url: str, executor: StatefulExecutor, admin: redis.Redis
) -> None:
    report(executor, {0: 0})
    router = LinkRouter(executor, max_silence=0.1)
    router.resolve("n", "u", "s")
    until(lambda: any("t" in client["flags"] for client in admin.client_list()))
    del router
    gc.collect()
    until(lambda: not any("t" in client["flags"] for client in admin.client_list()))


# Failures of the server


@pytest.mark.parametrize("server", real_servers(PROCESSES), indirect=True)
def test_no_cached_link_is_served_while_the_server_is_silent(
    caller: Caller, executor: StatefulExecutor, server: Any
) -> None:
    report(executor, {0: 0})
    now = 0.0
    caller.open(states_ttl=100, monotonic=lambda: now).tracked()
    server.pause()
    try:
        assert caller.resolve(timeout=9) == 0
        now = SILENCE + 0.001
        assert not caller.router.stats().tracked
        with pytest.raises(podlink.OperationTimeoutError):
            caller.resolve(timeout=0.05)
    finally:
        server.resume()
    caller.tracked()


@pytest.mark.parametrize("server", real_servers(PROCESSES), indirect=True)
def test_restarted_server_is_tracked_again(
    caller: Caller, executor: StatefulExecutor, server: Any
) -> None:
    report(executor, {0: 0, 1: 1})
    caller.open(states_ttl=0).tracked()
    server.restart()
    report(executor, {1: 1})
    until(lambda: caller.resolve() == 1)
    caller.tracked()
    report(executor, {2: 2})
    executor.set_linked_pod("n", "u", "s", 2)
    until(lambda: caller.resolve() == 2)


def test_server_without_tracking_is_cached_for_max_staleness_only(
    caller: Caller, executor: StatefulExecutor, admin: redis.Redis
) -> None:
    report(executor, {0: 0, 1: 1})
    rules = ["ACL", "SETUSER", "weak", "on", ">pw", "~*", "+@all", "-client|tracking"]
    admin.execute_command(*rules)
    try:
        weak = RedisConfig.from_url(caller.url, username="weak", password="pw")
        now = 0.0
        caller.open(weak)
        assert [caller.hits() for _ in range(3)] == [False] * 3
        caller.open(weak, max_staleness=2, states_ttl=9, monotonic=lambda: now)
        assert [caller.hits() for _ in range(3)] == [False, True, True]
        executor.set_linked_pod("n", "u", "s", 1)
        assert caller.resolve() == 0
        now = 2.0
        assert caller.resolve() == 1
        assert not caller.router.stats().tracked
    finally:
        caller.finish(caller.executor.close())
        admin.execute_command("ACL", "DELUSER", "weak")


@pytest.mark.parametrize("server", real_servers(PROCESSES), indirect=True)
def test_resolve_times_out(caller: Caller, executor: StatefulExecutor, server: Any) -> None:
    report(executor, {0: 0})
    caller.open()
    server.pause()
    try:
        with pytest.raises(podlink.OperationTimeoutError):
            caller.resolve(timeout=0.05)
    finally:
        server.resume()
    assert caller.resolve(timeout=5) == 0


# Cluster


@pytest.fixture(scope="module", params=real_servers(["redis-8.2"]))
def cluster_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a cluster with one node."""
    with servers.start(request.param, extra_args=("--cluster-enabled", "yes")) as node:
        with node.client() as admin:
            admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            until(lambda: "cluster_state:ok" in str(admin.execute_command("CLUSTER", "INFO")))
        yield f"redis+cluster://127.0.0.1:{node.port}"


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_cluster_is_cached_for_max_staleness_only(cluster_url: str, kind: str) -> None:
    caller = Caller(kind, cluster_url)
    with StatefulExecutor(cluster_url) as executor:
        executor.remove_linked_pod("n", "u", "s")
        report(executor, {0: 0, 1: 1})
        now = 0.0
        caller.open(monotonic=lambda: now)
        assert [caller.hits() for _ in range(3)] == [False] * 3
        caller.open(monotonic=lambda: now, max_staleness=0.5)
        assert [caller.hits() for _ in range(3)] == [False, True, True]
        executor.set_linked_pod("n", "u", "s", 1)
        now = 0.5
        assert caller.resolve() == 1
        assert not caller.router.stats().tracked
    caller.close()


def test_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    example = Path(__file__).parents[2] / "examples" / "router.py"
    runpy.run_path(str(example))["main"]("emulator://router-example")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("pod 0 has 6, pod 1 has 4, pod 2 has 2")
    assert lines[2].endswith("pod 1 has 7, pod 2 has 5")
    assert lines[3].endswith("pod 1 has 7, pod 2 has 5")
    assert lines[4] == "user-0 is linked again, to pod 0"
