"""Routers agree while pods die and come back, on the emulator and on real servers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import pytest

from podlink import (
    AsyncLinkRouter,
    AsyncStatefulExecutor,
    LeastLoaded,
    LinkRouter,
    ReplaceResult,
    StatefulExecutor,
)
from podlink.routing import ATTEMPTS
from tests.support.routers import report
from tests.support.waiting import PATIENCE, until


class Write(NamedTuple):
    """A link that a router created or replaced, and the time on the clock of this process."""

    began: float
    ended: float
    old: int | None
    new: int


class Answer(NamedTuple):
    """The result of a resolve, and its time."""

    began: float
    ended: float
    pod: int


@dataclass
class History:
    """Writes and results by uid."""

    writes: defaultdict[str, list[Write]] = field(default_factory=lambda: defaultdict(list))
    answers: defaultdict[str, list[Answer]] = field(default_factory=lambda: defaultdict(list))

    def linked(self, uid: str, began: float, asked: int, after: int) -> None:
        if asked == after:
            self.writes[uid].append(Write(began, time.monotonic(), None, asked))

    def replaced(self, uid: str, began: float, old: int, new: int, result: ReplaceResult) -> None:
        if result.replaced:
            self.writes[uid].append(Write(began, time.monotonic(), old, new))

    def check(self, uid: str, bound: float) -> int:
        """Check that every result was the link at some moment of the resolve, or within ``bound``
        seconds before it, and return how often the link was replaced.
        """
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
    """Return the writes in an order in which the server can have executed them."""
    firsts = [write for write in writes if write.old is None]
    # Of the calls that created the link, each got the pod that it asked for.
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
    """An executor that records its writes."""

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
    """Like `Recorded`, for asyncio."""

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
CHANGES = 24
"""How often a pod dies or comes back."""
RESOLVES = 30
"""How many results are waited for after each of them."""
BOUND = 0.2


class Disturber:
    """Lets pods die and come back, and moves links between pods.

    Attributes:
        failures: the exceptions of the threads that resolve.
    """

    def __init__(self, executor: Recorded, failures: list[Exception]) -> None:
        self.executor = executor
        self.failures = failures
        self._chance = random.Random(7)
        self._alive = set(PODS)

    def run(self) -> None:
        """Make `CHANGES` changes, each after more results. At least one pod is always alive."""
        for number in range(CHANGES):
            pod = self._chance.choice(PODS)
            if pod not in self._alive:
                self._alive.add(pod)
                report(self.executor, {pod: self._chance.randrange(9)})
            elif len(self._alive) > 1:
                self._kill(pod)
            if number % 4 == 0:
                self._move()
            wanted = self._results() + RESOLVES
            self._until(partial(self._has_results, wanted), f"{RESOLVES} results")

    def _kill(self, pod: int) -> None:
        """Let a pod die. In half of the cases wait until all its links are replaced."""
        self._alive.remove(pod)
        self.executor.set_service_state("n", "s", pod, "gone")
        if self._chance.random() < 0.5:
            self._until(partial(self._has_no_links, pod), f"replacements of pod {pod}")

    def _move(self) -> None:
        """Move a link, so that not only links to dead pods change."""
        uid = self._chance.choice(UIDS[:3])
        now = self.executor.get_linked_pod("n", uid, "s")
        if now is not None:
            self.executor.replace_linked_pod("n", uid, "s", now, (now + 1) % len(PODS))

    def _has_no_links(self, pod: int) -> bool:
        return pod not in self.executor.batch_get_linked_pod("n", UIDS, "s")

    def _has_results(self, count: int) -> bool:
        return self._results() >= count

    def _results(self) -> int:
        return sum(map(len, tuple(self.executor.history.answers.values())))

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        until(lambda: self.failures or condition(), what)


@pytest.mark.parametrize("cache_size", [0, 8, 10_000])
def test_routers_agree_while_pods_die_and_come_back(
    url: str, executor: StatefulExecutor, cache_size: int
) -> None:
    """Two routers run in threads, one runs tasks. All times are on the clock of this process."""
    history = History()
    report(executor, dict.fromkeys(PODS, 0.0))
    warm, over = threading.Event(), threading.Event()
    failures: list[Exception] = []
    hits: list[int] = []
    options: dict[str, Any] = {
        "cache_size": cache_size,
        "states_ttl": 0.01,
        "max_silence": BOUND,
        "policy": LeastLoaded(stale_after=3600),
    }

    def note(uid: str, began: float, pod: int) -> None:
        history.answers[uid].append(Answer(began, time.monotonic(), pod))

    def resolve_all(router: LinkRouter, seed: int) -> None:
        chance = random.Random(seed)
        try:
            while not over.is_set():
                uid = chance.choice(UIDS)
                began = time.monotonic()
                note(uid, began, router.resolve("n", uid, "s"))
        except Exception as error:
            failures.append(error)

    async def task(router: AsyncLinkRouter, seed: int) -> None:
        chance = random.Random(seed)
        while not over.is_set():
            uid = chance.choice(UIDS)
            began = time.monotonic()
            note(uid, began, await router.resolve("n", uid, "s"))
            await asyncio.sleep(0)

    async def tasks() -> None:
        made = AsyncRecorded(url)
        made.history = history
        async with made:
            async with AsyncLinkRouter(made, **options) as router:
                while cache_size and not router.stats().hits:  # tracking has not started yet
                    await router.resolve("n", "first", "s")
                    await asyncio.sleep(0)
                warm.set()
                await asyncio.gather(*(task(router, seed) for seed in range(6)))
                hits.append(router.stats().hits)

    def run_tasks() -> None:
        try:
            asyncio.run(tasks())
        except Exception as error:
            failures.append(error)
            warm.set()

    def resolves_from_cache(router: LinkRouter) -> bool:
        router.resolve("n", "first", "s")
        return router.stats().hits > 0

    with contextlib.ExitStack() as stack:
        made = [Recorded(url) for _ in range(3)]
        for each in made:
            stack.enter_context(each)
            each.history = history
        disturber = Disturber(made.pop(), failures)
        routers = []
        for each in made:
            routers.append(stack.enter_context(LinkRouter(each, **options)))
            if cache_size:
                until(partial(resolves_from_cache, routers[-1]), "the cache")
        threads = [threading.Thread(target=run_tasks)]
        for number, router in enumerate(routers * 3):
            threads.append(threading.Thread(target=resolve_all, args=(router, number)))
        try:
            threads[0].start()
            assert warm.wait(PATIENCE)
            for thread in threads[1:]:
                thread.start()
            disturber.run()
        finally:
            over.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        hits += [router.stats().hits for router in routers]
    assert failures == []
    bound = BOUND if cache_size else 0
    replaced = sum(history.check(uid, bound) for uid in UIDS)
    assert replaced >= len(UIDS), "hardly anything happened"
    assert len(hits) == 3
    assert (min(hits) > 0) == (cache_size > 0)


def test_check_reports_routers_that_disagree() -> None:
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


def test_concurrent_replacements_of_a_dead_pod_have_one_winner(
    url: str, executor: StatefulExecutor
) -> None:
    report(executor, dict.fromkeys(range(1, 9), 0.0))
    barrier = threading.Barrier(8, timeout=PATIENCE)
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
