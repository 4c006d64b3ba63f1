"""Concurrent histories of threads, coroutines and processes are linearizable.

``HISTORY_OPERATIONS`` sets how many operations each history has.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from podlink import AsyncStatefulExecutor, StatefulExecutor
from pytest_podlink import servers
from pytest_podlink.conformance.linearizability import Event, Recorder, Subject, check
from redis_emulator import RedisEmulator
from tests.support.processes import Cluster
from tests.support.real_servers import real_servers

pytestmark = pytest.mark.xdist_group("topologies")

OPERATIONS = int(os.environ.get("HISTORY_OPERATIONS", "40000"))
THREADS, COROUTINES, PROCESSES = 8, 50, 2
NAMES = ["set_linked_pod", "try_set_linked_pod", "set_linked_pod_if_absent", "get_linked_pod",
         "get_linked_pod", "create_linked_pod", "get_linked_pod_if_persist", "remove_linked_pod",
         "remove_linked_pod_with_id", "replace_linked_pod", "refresh_linked_pod"]  # fmt: skip


def choose(chance: random.Random) -> tuple[str, Subject, tuple[int, ...]]:
    """Return a random operation on one of few links, so that callers conflict."""
    operation = chance.choice(NAMES)
    pods = chance.randrange(4), chance.randrange(4)
    seconds = chance.choice([-1, 3600])
    arguments: tuple[int, ...] = {
        "get_linked_pod": (),
        "get_linked_pod_if_persist": (),
        "remove_linked_pod": (seconds,),
        "replace_linked_pod": (*pods, seconds),
        "refresh_linked_pod": (pods[0], 3600),
    }.get(operation, (pods[0], seconds))
    return operation, ("n", f"u{chance.randrange(max(4, OPERATIONS // 200))}", "s"), arguments


def by_threads(executor: StatefulExecutor, operations: int) -> list[Event]:
    recorders = [Recorder(executor) for _ in range(THREADS)]

    def work(recorder: Recorder, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(operations // THREADS):
            operation, subject, arguments = choose(chance)
            recorder.call(operation, subject, *arguments)

    threads = [
        threading.Thread(target=work, args=(recorder, seed))
        for seed, recorder in enumerate(recorders)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [event for recorder in recorders for event in recorder.events]


async def by_coroutines(executor: AsyncStatefulExecutor, operations: int) -> list[Event]:
    recorders = [Recorder(executor) for _ in range(COROUTINES)]

    async def work(recorder: Recorder, seed: int) -> None:
        chance = random.Random(1000 + seed)
        for _ in range(operations // COROUTINES):
            operation, subject, arguments = choose(chance)
            await recorder.acall(operation, subject, *arguments)

    await asyncio.gather(*(work(recorder, seed) for seed, recorder in enumerate(recorders)))
    return [event for recorder in recorders for event in recorder.events]


async def open_and_work(url: str, operations: int) -> list[Event]:
    async with AsyncStatefulExecutor(url) as executor:
        return await by_coroutines(executor, operations)


def by_process(url: str, seed: int, operations: int) -> list[Event]:
    """Return the events of one process. All processes of the machine share the monotonic clock."""
    with StatefulExecutor(url) as executor:
        recorder, chance = Recorder(executor), random.Random(2000 + seed)
        for _ in range(operations):
            operation, subject, arguments = choose(chance)
            recorder.call(operation, subject, *arguments)
    return recorder.events


def by_all(url: str) -> list[Event]:
    """Run threads, coroutines and processes at the same time, and return their events."""
    share = OPERATIONS // 4
    events: list[Event] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        others = [pool.submit(by_process, url, seed, share) for seed in range(PROCESSES)]
        with StatefulExecutor(url) as executor:
            threads = threading.Thread(target=lambda: events.extend(by_threads(executor, share)))
            threads.start()
            events_of_coroutines = asyncio.run(open_and_work(url, share))
            threads.join()
        for other in others:
            events += other.result()
    return events + events_of_coroutines


@pytest.fixture(scope="module", params=real_servers(["redis-8.2"]))
def server(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    with servers.start(request.param) as started:
        yield started


def test_history_on_a_server_is_linearizable(server: servers.Server) -> None:
    with server.client() as admin:
        admin.flushall()
    assert check(by_all(server.url)) >= OPERATIONS * 0.95


def test_history_on_a_cluster_is_linearizable(cluster: Cluster) -> None:
    for master in cluster.masters():
        master.client().flushall()
    assert check(by_all(cluster.url)) >= OPERATIONS * 0.95


def test_history_on_the_emulator_is_linearizable() -> None:
    emulator = RedisEmulator()
    events: list[Event] = []
    with StatefulExecutor(emulator.client()) as executor:
        threads = threading.Thread(
            target=lambda: events.extend(by_threads(executor, OPERATIONS // 2))
        )
        threads.start()
        with_loop = asyncio.run(
            by_coroutines(AsyncStatefulExecutor(emulator.async_client()), OPERATIONS // 2)
        )
        threads.join()
    assert check(events + with_loop) >= OPERATIONS * 0.95


def test_history_with_one_changed_result_is_rejected(server: servers.Server) -> None:
    """Change one result of a real history."""
    with server.client() as admin:
        admin.flushall()
    with StatefulExecutor(server.url) as executor:
        events = by_threads(executor, 800)
    assert check(events) == 800
    place = max(
        (i for i, event in enumerate(events) if event.operation == "get_linked_pod"),
        key=lambda i: events[i].called,
    )
    real = events[place]
    events[place] = Event(
        real.subject, real.operation, real.arguments, real.called, real.returned, 99
    )
    with pytest.raises(AssertionError, match="are not linearizable"):
        check(events)
