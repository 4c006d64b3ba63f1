"""The callers: threads, coroutines, and coroutines of a batching executor."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from podlink import (
    AsyncLinkRouter,
    AsyncStatefulExecutor,
    ErrorCode,
    LinkRouter,
    RedisConfig,
    StatefulError,
    StatefulExecutor,
)
from pytest_podlink.conformance.linearizability import Event, Subject
from tests.chaos.history import History, Part, Recorded, Step, batch, drain, one, refresh, resolve

SERVICE = "chaos", "s"
THREADS, COROUTINES, BATCHING = 2, 4, 4
UIDS, SECONDS_PER_UID = 12, 2.0
MARGIN = 10.0
"""Seconds that a call may exceed its timeout by, because the machine may be busy."""
DRAIN_REQUESTS = 9
"""A drain scans three nodes at most, and sends two batches for what it finds on each."""
MAX_SILENCE = 1.0
"""Seconds for which a router believes a link although no invalidation may arrive."""
READS = ("get_linked_pod", "get_linked_pod_if_persist", "resolve")
TIMEOUTS = (0.05, 0.5, 1.0, 2.0, 2.0)
NAMES = ["set_linked_pod", "try_set_linked_pod", "set_linked_pod_if_absent", "create_linked_pod",
         "get_linked_pod", "get_linked_pod", "get_linked_pod_if_persist", "remove_linked_pod",
         "remove_linked_pod_with_id", "replace_linked_pod", "refresh_linked_pod",
         "batch_get_linked_pod", "batch_set_linked_pod_if_absent", "batch_remove_linked_pod",
         "drain_pod", "resolve", "resolve"]  # fmt: skip
LONGEST_BATCH = 5
DEAD = 7
"""For the routers, a pod whose number is a multiple of this is dead."""
EXPECTED = {
    ErrorCode.TIMEOUT,
    ErrorCode.REDIS_CONNECTION_ERROR,
    ErrorCode.REDIS_OPERATION_ERROR,
    ErrorCode.LINK_EXISTS,
}


class AllPods(Mapping[int, float]):
    """The loads of all pods that are alive. They cannot be listed."""

    def __contains__(self, pod: object) -> bool:
        return isinstance(pod, int) and pod % DEAD != 0

    def __getitem__(self, pod: int) -> float:
        return 0.0

    def __iter__(self) -> Iterator[int]:
        raise NotImplementedError

    def __len__(self) -> int:
        return 1


class NewPods:
    """A policy that gives each uid a pod of its own."""

    def __init__(self, pods: Iterator[int]) -> None:
        self._pods = pods

    def loads(self, states: Mapping[int, str], now: float) -> AllPods:
        return AllPods()

    def choose(self, loads: Mapping[int, float], assigned: Mapping[int, int], random: Any) -> int:
        return next(pod for pod in self._pods if pod in loads)


class Targets:
    """An executor and its routers, and the history of their callers.

    Attributes:
        executor: of either kind.
        routers: one that asks the server each time, and one that remembers links.
        history: what all of these callers saw.
    """

    def __init__(self, executor: Any, load: Load) -> None:
        self.executor = executor
        self.history = History()
        router: Any = LinkRouter
        if isinstance(executor, AsyncStatefulExecutor):
            router = AsyncLinkRouter
        recorded = Recorded(executor, self.history)
        policy = NewPods(load.pods)
        self.routers = [router(recorded, policy=policy, cache_size=size) for size in (0, 10_000)]

    def method(self, step: Step) -> Any:
        """The method of an executor or router that does a step."""
        if step.name == "resolve":
            return self.routers[step.earlier > 0].resolve
        return getattr(self.executor, step.name)


class Load:
    """Callers that link, read and unlink until they are stopped.

    Every write has a pod of its own, so that a wrong result matches no other write. Uids are
    replaced by new ones every few seconds, so that the history of each stays short enough to check.
    """

    def __init__(self, url: str, seed: int, masters: int = 1) -> None:
        self.config = RedisConfig.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)
        self.pods = itertools.count(1)
        self.calls: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.excused: Counter[str] = Counter()
        self.unexpected: list[str] = []
        self.hung: list[str] = []
        self._masters = masters
        self._histories: list[History] = []
        self._of_batches: set[int] = set()
        self._seen: dict[Subject, int] = {}
        self._started = time.monotonic()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._synchronous, args=(seed,), daemon=True),
            threading.Thread(target=lambda: asyncio.run(self._asynchronous(seed)), daemon=True),
        ]

    def start(self) -> None:
        """Start all callers."""
        with StatefulExecutor(self.config) as executor:
            executor.set_service_state(*SERVICE, 1, "up", timeout=60.0)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop all callers; one that does not end counts as hung."""
        self._stop.set()
        deadline = time.monotonic() + max(TIMEOUTS) + 2 * MARGIN
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                self.hung.append(f"{thread.name} did not end")

    @property
    def events(self) -> list[Event]:
        """The events of all callers."""
        return [event for history in self._histories for event in list(history.events)]

    @property
    def refused(self) -> list[tuple[Part, str]]:
        """The writes that were not done, as their errors say."""
        return [each for history in self._histories for each in list(history.refused)]

    def note(self, error: Exception) -> None:
        """Count an error, and record it if no fault explains it."""
        code = error.code if isinstance(error, StatefulError) else type(error).__name__
        self.errors[str(code)] += 1
        if code not in EXPECTED:
            self.unexpected.append(repr(error) + f" caused by {error.__cause__!r}")

    def note_time(self, operation: str, took: float, timeout: float) -> None:
        """Record a call that took longer than its timeout and the margin."""
        if operation == "drain_pod":
            timeout *= DRAIN_REQUESTS  # its timeout counts for each of its requests
        if took > timeout + MARGIN:
            self.hung.append(f"{operation} took {took:.1f} s, timeout {timeout} s")

    @contextlib.contextmanager
    def _watch(self, step: Step, timeout: float) -> Iterator[None]:
        started = time.monotonic()
        self.calls[step.name] += 1
        try:
            yield
        except Exception as error:
            self.note(error)
            raise
        finally:
            self.note_time(step.name, time.monotonic() - started, timeout)

    def _targets(self, executor: Any) -> Targets:
        targets = Targets(executor, self)
        self._histories.append(targets.history)
        return targets

    def _choose(self, chance: random.Random) -> tuple[Step, float]:
        timeout = chance.choice(TIMEOUTS)
        generation = int((time.monotonic() - self._started) / SECONDS_PER_UID)
        uids = chance.sample(range(UIDS), chance.randrange(2, LONGEST_BATCH + 1))
        subjects = [(SERVICE[0], f"u{generation}-{uid}", SERVICE[1]) for uid in uids]
        subject, pod, name = subjects[0], next(self.pods), chance.choice(NAMES)
        known, seconds = self._seen.get(subject, 0), chance.choice([-1, -1, 3600])
        if name == "drain_pod" and (not known or known in self._of_batches):
            name = "get_linked_pod"
        if name == "resolve":
            remembers = not self.config.cluster_nodes and chance.random() < 0.5
            return resolve(subject, MAX_SILENCE if remembers else 0.0), timeout
        if name == "drain_pod":
            to = chance.choice([None, pod])
            return drain(subject, known, to, self._masters, self.excused), timeout
        if name == "batch_set_linked_pod_if_absent":
            self._of_batches.add(pod)
            return batch(name, subjects, pod, seconds=seconds), timeout
        if name.startswith("batch_"):
            return batch(name, subjects, seconds=seconds), timeout
        if name.startswith("get_"):
            return one(name, subject), timeout
        pods = {
            "remove_linked_pod": (),
            "remove_linked_pod_with_id": (known,),
            "replace_linked_pod": (known, pod),
        }.get(name, (pod,))
        if name == "refresh_linked_pod":
            return refresh(subject, known), timeout
        return one(name, subject, *pods, seconds=seconds), timeout

    def _remember_pod(self, step: Step, result: Any) -> None:
        subject = step.parts[0][0]
        if step.name == "resolve" and result % DEAD == 0:
            self.unexpected.append(f"resolve of {subject} gave the dead pod {result}")
        if step.name in READS and result is not None:
            self._seen[subject] = result

    def _synchronous(self, seed: int) -> None:
        with StatefulExecutor(self.config) as executor, contextlib.ExitStack() as stack:
            targets = self._targets(executor)
            for router in targets.routers:
                stack.enter_context(router)
            threads = [
                threading.Thread(
                    target=self._call, args=(targets, random.Random(seed + i)), daemon=True
                )
                for i in range(THREADS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _call(self, targets: Targets, chance: random.Random) -> None:
        while not self._stop.is_set():
            step, timeout = self._choose(chance)
            method = targets.method(step)
            with contextlib.suppress(Exception):  # already counted
                with self._watch(step, timeout), targets.history.record(step) as results:
                    results.append(method(*step.args, **step.named, timeout=timeout))
                self._remember_pod(step, results[0])

    async def _asynchronous(self, seed: int) -> None:
        async with (
            AsyncStatefulExecutor(self.config) as plain,
            AsyncStatefulExecutor(self.config, batching=True) as batching,
            contextlib.AsyncExitStack() as stack,
        ):
            callers = []
            for executor, count in (plain, COROUTINES), (batching, BATCHING):
                targets = self._targets(executor)
                for router in targets.routers:
                    await stack.enter_async_context(router)
                callers += [targets] * count
            await asyncio.gather(
                *(
                    self._acall(targets, random.Random(seed + 100 + i))
                    for i, targets in enumerate(callers)
                )
            )

    async def _acall(self, targets: Targets, chance: random.Random) -> None:
        while not self._stop.is_set():
            step, timeout = self._choose(chance)
            call = asyncio.ensure_future(self._do(targets, step, timeout))
            if chance.random() < 0.05:
                for _ in range(chance.randrange(8)):
                    await asyncio.sleep(0)
                call.cancel()
            try:
                self._remember_pod(step, await call)
            except (Exception, asyncio.CancelledError):
                self.errors["cancelled"] += call.cancelled()

    async def _do(self, targets: Targets, step: Step, timeout: float) -> Any:
        method = targets.method(step)
        with self._watch(step, timeout), targets.history.record(step) as results:
            results.append(await method(*step.args, **step.named, timeout=timeout))
        return results[0]
