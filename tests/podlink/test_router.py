"""Routers on the emulator and on real servers, sync and asyncio: what they tell and
remember, and whether all of them tell the same while pods die and come back.

The decisions have tests of their own, without a server, in ``test_routing.py``.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import runpy
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

import podlink
from podlink import (
    AsyncLinkRouter,
    AsyncStatefulExecutor,
    LeastLoaded,
    LinkRouter,
    PodState,
    RedisConfig,
    ReplaceResult,
    StatefulExecutor,
)
from podlink.routing import ATTEMPTS
from pytest_podlink import servers
from redis_emulator import RedisEmulator

PROCESSES = [name for name in ("redis-8.2", "valkey-9.1") if servers.is_expected(name)]
TARGETS = ["emulator", *PROCESSES]
LINK = "sf:{n:lk:u}s"
SILENCE = 0.3
_numbers = itertools.count()


@pytest.fixture(scope="module", params=TARGETS)
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A server process, or ``None`` for the emulator."""
    if request.param == "emulator":
        yield None
        return
    with servers.start(request.param) as started:
        yield started


@pytest.fixture
def url(server: Any) -> Iterator[str]:
    """An empty store."""
    if server is None:
        yield f"emulator://router-{next(_numbers)}"
        return
    with server.client() as client:
        client.flushall()
    yield server.url


@pytest.fixture
def admin(url: str) -> Iterator[redis.Redis]:
    """A client of the store that is not podlink's."""
    if url.startswith("emulator"):
        client = RedisEmulator.named(url.removeprefix("emulator://")).client()
    else:
        client = redis.Redis.from_url(url)
    with client:
        yield client


@pytest.fixture
def executor(url: str) -> Iterator[StatefulExecutor]:
    with StatefulExecutor(url) as made:
        yield made


class Loop:
    """An event loop in a thread, which runs coroutines for tests that are not asynchronous."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


class Caller:
    """Makes routers of one kind and calls them synchronously."""

    def __init__(self, kind: str, url: str) -> None:
        self.is_async = kind == "async"
        self.url = url
        self.loop = Loop()
        self.opened: list[Any] = []
        self.executor: Any = None
        self.router: Any = None

    def open(self, config: RedisConfig | None = None, **options: Any) -> Caller:
        """A router on an executor of its own."""
        source = RedisConfig.from_url(self.url) if config is None else config
        self.executor = (AsyncStatefulExecutor if self.is_async else StatefulExecutor)(source)
        options.setdefault("max_silence", SILENCE)
        self.router = (AsyncLinkRouter if self.is_async else LinkRouter)(self.executor, **options)
        self.opened += [self.executor, self.router]
        return self

    def finish(self, result: Any) -> Any:
        return self.loop.run(result) if asyncio.iscoroutine(result) else result

    def resolve(self, uid: str = "u", service: str = "s", **options: Any) -> int:
        return int(self.finish(self.router.resolve("n", uid, service, **options)))

    def tracked(self) -> Caller:
        """Wait until changes are heard of, and the link is remembered."""
        self.resolve()
        until(lambda: self.router.stats().tracked)
        until(self.hits)
        return self

    def hits(self, uid: str = "u") -> bool:
        """Whether the cache answers a resolve."""
        before = self.router.stats().hits
        self.resolve(uid)
        return bool(self.router.stats().hits > before)

    def close(self) -> None:
        for each in reversed(self.opened):
            self.finish(each.close())
        self.loop.close()


@pytest.fixture(params=["sync", "async"])
def caller(request: pytest.FixtureRequest, url: str) -> Iterator[Caller]:
    made = Caller(request.param, url)
    yield made
    made.close()


def until(what: Callable[[], Any], seconds: float = 10) -> None:
    """Wait for something to be so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "that does not come"
        time.sleep(0.001)


def report(executor: StatefulExecutor, loads: dict[int, float], ago: float = 0) -> None:
    """Let pods say that they are there."""
    for pod, load in loads.items():
        executor.set_service_state("n", "s", pod, str(PodState(load, time.time() - ago)))


# What is told


def test_a_new_uid_goes_to_the_least_loaded_pod(caller: Caller, executor: StatefulExecutor) -> None:
    report(executor, {0: 3, 1: 1, 2: 2})
    assert caller.open().resolve() == 1
    assert executor.get_linked_pod_if_persist("n", "u", "s") == 1
    report(executor, {1: 100})
    assert caller.resolve() == 1


def test_links_last_as_long_as_the_router_is_told(
    caller: Caller, executor: StatefulExecutor
) -> None:
    report(executor, {0: 3, 1: 1})
    executor.set_linked_pod("n", "v", "s", 7)
    caller.open(persist_seconds=60)
    assert (caller.resolve("u"), caller.resolve("v")) == (1, 1)
    for uid in ("u", "v"):
        link = executor.read_pod_link("n", uid, "s")
        assert link is not None
        assert link.expires_at is not None
    assert executor.get_link_service("n", "v") == {}


def test_a_dead_pod_is_replaced(caller: Caller, executor: StatefulExecutor) -> None:
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


def test_no_pod_is_an_error_that_says_why(caller: Caller, executor: StatefulExecutor) -> None:
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
def test_bad_options_are_refused(cls: Any, option: str, value: Any) -> None:
    kind = StatefulExecutor if cls is LinkRouter else AsyncStatefulExecutor
    with pytest.raises(podlink.InvalidParameterError, match=f"{option} must be"):
        cls(kind(), **{option: value})


def test_bad_arguments_are_refused(caller: Caller) -> None:
    caller.open()
    with pytest.raises(podlink.InvalidParameterError, match="uid must be"):
        caller.resolve("{")
    with pytest.raises(podlink.InvalidParameterError, match="timeout must be"):
        caller.resolve(timeout=0)
    assert caller.executor.metrics.total == 2


# What is remembered


def test_a_link_is_remembered_until_somebody_changes_it(
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
        until(lambda pod=pod: caller.resolve() == pod)
        until(caller.hits)
        assert caller.resolve() == pod
    admin.flushall()
    until(lambda: not caller.router.stats().links)


def test_a_link_can_be_forgotten(caller: Caller, executor: StatefulExecutor) -> None:
    report(executor, {0: 0})
    caller.open().tracked()
    caller.router.forget("n", "u", "s")
    assert not caller.hits()
    assert caller.hits()


def test_no_more_links_are_kept_than_asked_for(caller: Caller, executor: StatefulExecutor) -> None:
    report(executor, {0: 0})
    caller.open(cache_size=2).tracked()
    for uid in "abcdef":
        until(lambda uid=uid: caller.hits(uid))
        assert caller.router.stats().links <= 2


def test_a_router_without_a_cache_has_no_connection_for_it(
    caller: Caller, executor: StatefulExecutor, admin: redis.Redis
) -> None:
    report(executor, {0: 0})
    caller.open(cache_size=0)
    for _ in range(3):
        assert caller.resolve() == 0
        assert not caller.hits()
    assert not any("t" in client["flags"] for client in admin.client_list())


def test_every_namespace_in_use_is_heard_of(caller: Caller, executor: StatefulExecutor) -> None:
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
    """End the connections that hear of changes."""
    for client in admin.client_list():
        if "t" in client["flags"]:
            admin.client_kill_filter(_id=client["id"])


def test_nothing_is_served_after_the_connection_broke(
    caller: Caller, executor: StatefulExecutor, admin: redis.Redis
) -> None:
    report(executor, {0: 0, 1: 1})
    caller.open().tracked()
    for pod in (1, 0, 1):
        kill_tracking(admin)
        until(lambda: not caller.router.stats().tracked)
        assert caller.router.stats().links == 0
        executor.set_linked_pod("n", "u", "s", pod)  # nobody tells
        assert caller.resolve() == pod
        caller.tracked()
        assert caller.resolve() == pod


def test_a_closed_router_asks_the_server(
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


def test_another_server_is_not_taken_for_the_first(
    caller: Caller, executor: StatefulExecutor
) -> None:
    report(executor, {0: 0, 1: 1})
    with StatefulExecutor(f"emulator://router-{next(_numbers)}") as second:
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


def test_a_router_that_is_forgotten_ends_its_thread(
    url: str, executor: StatefulExecutor, admin: redis.Redis
) -> None:
    report(executor, {0: 0})
    router = LinkRouter(executor, max_silence=0.1)
    router.resolve("n", "u", "s")
    until(lambda: any("t" in client["flags"] for client in admin.client_list()))
    del router
    gc.collect()
    until(lambda: not any("t" in client["flags"] for client in admin.client_list()))


# When the server is in trouble


@pytest.mark.parametrize("server", PROCESSES, indirect=True)
def test_a_server_that_falls_silent_is_not_believed(
    caller: Caller, executor: StatefulExecutor, server: Any
) -> None:
    report(executor, {0: 0})
    caller.open(states_ttl=100).tracked()
    server.pause()
    try:
        assert caller.resolve(timeout=0.05) == 0
        until(lambda: not caller.router.stats().tracked)
        with pytest.raises(podlink.OperationTimeoutError):
            caller.resolve(timeout=0.05)
    finally:
        server.resume()
    caller.tracked()


@pytest.mark.parametrize("server", PROCESSES, indirect=True)
def test_a_restarted_server_is_tracked_again(
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


def test_a_server_that_does_not_track_is_asked_or_believed_for_a_while(
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


@pytest.mark.parametrize("server", PROCESSES, indirect=True)
def test_time_is_up(caller: Caller, executor: StatefulExecutor, server: Any) -> None:
    report(executor, {0: 0})
    caller.open()
    server.pause()
    try:
        with pytest.raises(podlink.OperationTimeoutError):
            caller.resolve(timeout=0.05)
    finally:
        server.resume()
    assert caller.resolve(timeout=5) == 0


# All routers tell the same


class Write(NamedTuple):
    """A link that a router made or replaced, and when, by the clock of this process."""

    began: float
    ended: float
    old: int | None
    new: int


class Answer(NamedTuple):
    """What a resolve told, and when."""

    began: float
    ended: float
    pod: int


@dataclass
class History:
    """What happened, by uid."""

    writes: defaultdict[str, list[Write]] = field(default_factory=lambda: defaultdict(list))
    answers: defaultdict[str, list[Answer]] = field(default_factory=lambda: defaultdict(list))

    def linked(self, uid: str, began: float, asked: int, after: int) -> None:
        if asked == after:
            self.writes[uid].append(Write(began, time.monotonic(), None, asked))

    def replaced(self, uid: str, began: float, old: int, new: int, result: ReplaceResult) -> None:
        if result.replaced:
            self.writes[uid].append(Write(began, time.monotonic(), old, new))

    def check(self, uid: str, bound: float) -> int:
        """Every answer is what the link was at some moment of the resolve, or within ``bound``
        seconds before it; how often the link was replaced."""
        order = in_order(self.writes[uid])
        assert order is not None, f"no order explains {self.writes[uid]}"
        spans = [
            (write.began, following.ended if following else float("inf"), write.new)
            for write, following in itertools.zip_longest(order, order[1:])
        ]
        for answer in self.answers[uid]:
            assert any(
                pod == answer.pod and begins <= answer.ended and ends >= answer.began - bound
                for begins, ends, pod in spans
            ), f"{answer} of {uid} is not among {spans}"
        return len(order) - 1


def in_order(writes: list[Write]) -> list[Write] | None:
    """The writes in an order in which the server can have done them."""
    firsts = [write for write in writes if write.old is None]
    # Of those who made the link first, each was told the pod that it asked for.
    first = Write(min(w.began for w in firsts), min(w.ended for w in firsts), None, firsts[0].new)
    rest = sorted(write for write in writes if write.old is not None)

    def extend(order: list[Write], left: list[Write]) -> list[Write] | None:
        if not left:
            return order
        latest = min(write.ended for write in left)
        for write in left:
            if write.old == order[-1].new and write.began <= latest:
                others = [other for other in left if other is not write]
                found = extend([*order, write], others)
                if found is not None:
                    return found
        return None

    return extend([first], rest)


class Recorded(StatefulExecutor):
    """An executor that notes what it writes."""

    history: History

    def set_linked_pod_if_absent(self, *args: Any, **options: Any) -> int:
        began = time.monotonic()
        after = super().set_linked_pod_if_absent(*args, **options)
        self.history.linked(args[1], began, args[3], after)
        return after

    def replace_linked_pod(self, *args: Any, **options: Any) -> ReplaceResult:
        began = time.monotonic()
        result = super().replace_linked_pod(*args, **options)
        self.history.replaced(args[1], began, args[3], args[4], result)
        return result


class AsyncRecorded(AsyncStatefulExecutor):
    """As `Recorded`."""

    history: History

    async def set_linked_pod_if_absent(self, *args: Any, **options: Any) -> int:
        began = time.monotonic()
        after = await super().set_linked_pod_if_absent(*args, **options)
        self.history.linked(args[1], began, args[3], after)
        return after

    async def replace_linked_pod(self, *args: Any, **options: Any) -> ReplaceResult:
        began = time.monotonic()
        result = await super().replace_linked_pod(*args, **options)
        self.history.replaced(args[1], began, args[3], args[4], result)
        return result


UIDS = [f"u{number}" for number in range(12)]
PODS = range(4)
DURATION = 0.8
BOUND = 0.2


def pods_that_die(executor: StatefulExecutor, end: float, chance: random.Random) -> None:
    """Let pods die and come back until then; one is always there."""
    alive = set(PODS)
    while time.monotonic() < end:
        pod = chance.choice(PODS)
        if pod not in alive:
            alive.add(pod)
            report(executor, {pod: chance.randrange(9)})
        elif len(alive) > 1:
            alive.remove(pod)
            executor.set_service_state("n", "s", pod, "gone")
        time.sleep(0.02)


def move(executor: Recorded, end: float, chance: random.Random) -> None:
    """Move some uids between pods that are alive, so that not only dead links change."""
    while time.monotonic() < end:
        uid = chance.choice(UIDS[:3])
        now = executor.get_linked_pod("n", uid, "s")
        if now is not None:
            executor.replace_linked_pod("n", uid, "s", now, (now + 1) % len(PODS))
        time.sleep(0.1)


@pytest.mark.parametrize("cache_size", [0, 8, 10_000])
def test_all_routers_tell_the_same_while_pods_die_and_come_back(
    url: str, executor: StatefulExecutor, cache_size: int
) -> None:
    """Two routers with threads and one with tasks; the clock of the check is this process's."""
    history = History()
    executor.metrics.reset()
    report(executor, dict.fromkeys(PODS, 0.0))
    end = 0.0
    warm, go = threading.Event(), threading.Event()
    failures: list[Exception] = []
    hits: list[int] = []
    options: dict[str, Any] = {
        "cache_size": cache_size,
        "states_ttl": 0.01,
        "max_silence": BOUND,
        "policy": LeastLoaded(stale_after=60),
    }

    def note(uid: str, began: float, pod: int) -> None:
        history.answers[uid].append(Answer(began, time.monotonic(), pod))

    def resolve_all(router: LinkRouter, seed: int) -> None:
        chance = random.Random(seed)
        try:
            while time.monotonic() < end:
                uid = chance.choice(UIDS)
                began = time.monotonic()
                note(uid, began, router.resolve("n", uid, "s"))
        except Exception as error:
            failures.append(error)

    async def task(router: AsyncLinkRouter, seed: int) -> None:
        chance = random.Random(seed)
        while time.monotonic() < end:
            uid = chance.choice(UIDS)
            began = time.monotonic()
            note(uid, began, await router.resolve("n", uid, "s"))
            await asyncio.sleep(0)

    async def tasks() -> None:
        async with AsyncRecorded(url) as made:
            made.history = history
            async with AsyncLinkRouter(made, **options) as router:
                while cache_size and not router.stats().hits:  # it is not tracking yet
                    await router.resolve("n", "first", "s")
                    await asyncio.sleep(0.01)
                warm.set()
                go.wait(20)
                await asyncio.gather(*(task(router, seed) for seed in range(6)))
                hits.append(router.stats().hits)

    def run_tasks() -> None:
        try:
            asyncio.run(tasks())
        except Exception as error:
            failures.append(error)

    def pods() -> None:
        pods_that_die(executor, end, random.Random(7))

    def mover() -> None:
        with Recorded(url) as made:
            made.history = history
            move(made, end, random.Random(8))

    executors = [Recorded(url), Recorded(url)]
    routers = []
    for made in executors:
        made.history = history
        routers.append(LinkRouter(made, **options))
        while cache_size and not routers[-1].stats().hits:
            routers[-1].resolve("n", "first", "s")
            time.sleep(0.01)
    threads = [threading.Thread(target=target) for target in (run_tasks, pods, mover)]
    for number, router in enumerate(routers * 3):
        threads.append(threading.Thread(target=resolve_all, args=(router, number)))
    threads[0].start()
    assert warm.wait(20), failures
    end = time.monotonic() + DURATION
    go.set()
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join()
    for router, made in zip(routers, executors, strict=True):
        hits.append(router.stats().hits)
        router.close()
        made.close()
    assert failures == []
    bound = BOUND if cache_size else 0
    replaced = sum(history.check(uid, bound) for uid in UIDS)
    assert replaced >= len(UIDS) / 2, "hardly anything happened"
    assert (min(hits) > 0) == (cache_size > 0)


def test_the_check_finds_routers_that_disagree() -> None:
    history = History()
    history.writes["u"] = [Write(0, 1, None, 1), Write(5, 6, 1, 2), Write(7, 8, 2, 1)]
    history.answers["u"] = [Answer(2, 3, 1), Answer(5, 5, 1), Answer(5, 7, 2), Answer(9, 9, 1)]
    assert history.check("u", 0) == 2
    history.answers["u"].append(Answer(8.5, 9, 2))
    assert history.check("u", 0.5) == 2
    with pytest.raises(AssertionError, match="is not among"):
        history.check("u", 0.4)
    history.answers["u"] = [Answer(2, 3, 2)]
    with pytest.raises(AssertionError, match="is not among"):
        history.check("u", 1)
    history.writes["u"].append(Write(9, 10, 2, 3))
    with pytest.raises(AssertionError, match="no order explains"):
        history.check("u", 0)


def test_a_race_for_a_dead_pod_has_one_winner(url: str, executor: StatefulExecutor) -> None:
    report(executor, dict.fromkeys(range(1, 9), 0.0))
    barrier = threading.Barrier(8)
    uids = [f"u{number}" for number in range(40)]
    told: dict[str, set[int]] = {uid: set() for uid in uids}
    executor.batch_set_linked_pod_if_absent("n", uids, "s", 0)

    def race() -> None:
        with StatefulExecutor(url) as own, LinkRouter(own) as router:
            for uid in uids:
                barrier.wait()
                told[uid].add(router.resolve("n", uid, "s"))

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {len(pods) for pods in told.values()} == {1}
    found = executor.batch_get_linked_pod("n", uids, "s")
    assert {uid: {pod} for pod, them in found.items() for uid in them} == told
    assert ATTEMPTS > 2
    assert min(map(len, found.values())) >= 1
    assert len(found) == 8


# A cluster


@pytest.fixture(scope="module")
def cluster_url() -> Iterator[str]:
    """A cluster of one node."""
    with servers.start("redis-8.2", extra_args=("--cluster-enabled", "yes")) as node:
        with node.client() as admin:
            admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            until(lambda: "cluster_state:ok" in str(admin.execute_command("CLUSTER", "INFO")))
        yield f"redis+cluster://127.0.0.1:{node.port}"


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_cluster_is_not_tracked_but_believed_for_max_staleness(
    cluster_url: str, kind: str
) -> None:
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


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    example = Path(__file__).parents[2] / "examples" / "router.py"
    runpy.run_path(str(example))["main"](f"emulator://router-{next(_numbers)}")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("pod 0 has 6, pod 1 has 4, pod 2 has 2")
    assert lines[2].endswith("pod 1 has 7, pod 2 has 5")
    assert lines[3].endswith("pod 1 has 7, pod 2 has 5")
    assert lines[4] == "user-0 comes back to pod 0"
