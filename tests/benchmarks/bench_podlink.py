"""podlink compared with what it uses, on a real server: redis-py's own calls and MGET."""

from __future__ import annotations

import asyncio
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from podlink import AsyncStatefulExecutor, StatefulExecutor, otel, telemetry
from pytest_podlink import servers
from tests.benchmarks.contenders import LINK, RATIOS, SET_LINK, in_turns

TASKS, EACH = 200, 25
UIDS = [f"user-{number}" for number in range(10_000)]
LINKS = int(os.environ.get("DRAIN_LINKS", "100000"))
ARGUMENTS = (3, *LINK, b"chat", b"1", b"-1", b"0")
BARE, PODLINK, WITH_SDK, BATCHING = "redis-py", "podlink", "podlink, telemetry", "podlink, batching"

RATIOS += [
    ("set a link", PODLINK, BARE, 0.9),
    ("set a link", WITH_SDK, PODLINK, 0.95),
    ("200 tasks set links", BATCHING, BARE, 4),
    ("look up 10,000 links", PODLINK, BARE, 0.8),
]


@pytest.fixture
def admin(real_server: servers.Server) -> Iterator[redis.Redis]:
    with real_server.client() as client:
        client.flushall()
        client.script_load(SET_LINK.source)
        yield client


def mark(benchmark: Any, group: str, contender: str) -> None:
    benchmark.group = group
    benchmark.extra_info["contender"] = contender


def bench_set_a_link(
    admin: redis.Redis, real_server: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One synchronous caller."""
    meter = MeterProvider([InMemoryMetricReader()]).get_meter("podlink")
    instruments = otel.Instruments(meter)
    with StatefulExecutor(real_server.url) as executor:

        def bare() -> None:
            admin.evalsha(SET_LINK.sha, *ARGUMENTS)

        def podlink() -> None:
            executor.set_linked_pod("bench", "user", "chat", 1)

        def with_sdk() -> None:
            telemetry._instruments = instruments
            executor.set_linked_pod("bench", "user", "chat", 1)
            telemetry._instruments = None

        monkeypatch.setattr(telemetry, "_instruments", None)
        in_turns("set a link", {BARE: bare, PODLINK: podlink, WITH_SDK: with_sdk})


@pytest.mark.parametrize("name", [BARE, PODLINK, BATCHING])
def bench_tasks(name: str, admin: redis.Redis, real_server: servers.Server, benchmark: Any) -> None:
    """Many asyncio tasks, each with one call after another."""
    mark(benchmark, "200 tasks set links", name)
    loop = asyncio.new_event_loop()
    client = redis.asyncio.Redis(port=real_server.port, max_connections=TASKS + 1)
    executor = AsyncStatefulExecutor(real_server.url, batching=name == BATCHING)

    async def task(number: int) -> None:
        uid = f"user-{number}"
        for _ in range(EACH):
            if name == BARE:
                await client.evalsha(SET_LINK.sha, *ARGUMENTS)
            else:
                await executor.set_linked_pod("bench", uid, "chat", 1)

    async def all_tasks() -> None:
        await asyncio.gather(*map(task, range(TASKS)))

    benchmark.pedantic(
        lambda: loop.run_until_complete(all_tasks()), rounds=8, iterations=1, warmup_rounds=2
    )
    loop.run_until_complete(client.aclose())
    loop.run_until_complete(executor.close())
    loop.close()


@pytest.mark.parametrize("name", [BARE, PODLINK])
def bench_batch_get(
    name: str, admin: redis.Redis, real_server: servers.Server, benchmark: Any
) -> None:
    """Ten thousand links in one call, compared with one MGET."""
    mark(benchmark, "look up 10,000 links", name)
    keys = [f"sf:{{bench:lk:{uid}}}chat" for uid in UIDS]
    admin.mset({key: number % 7 for number, key in enumerate(keys)})
    with StatefulExecutor(real_server.url) as executor:
        act: Callable[[], object] = (
            (lambda: admin.mget(keys))
            if name == BARE
            else (lambda: executor.batch_get_linked_pod("bench", UIDS, "chat"))
        )
        benchmark.pedantic(act, rounds=20, iterations=1, warmup_rounds=2)


def bench_drain(admin: redis.Redis, real_server: servers.Server) -> None:
    """Drain ``DRAIN_LINKS`` links of one pod: links per second and memory."""
    for first in range(0, LINKS, 10_000):
        pipeline = admin.pipeline(transaction=False)
        for number in range(first, min(first + 10_000, LINKS)):
            index = f"sf:{{bench:lk:user-{number}}}"
            pipeline.set(f"{index}chat", 3)
            pipeline.hset(index, "chat", 3)
        pipeline.execute()
    with StatefulExecutor(real_server.url) as executor:
        tracemalloc.start()
        started = time.perf_counter()
        done = executor.drain_pod("bench", "chat", 3)
        seconds = time.perf_counter() - started
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (done.found, done.done) == (LINKS, LINKS)
    print(
        f"\ndrain_pod: {LINKS:,} links, {LINKS / seconds:,.0f} a second (while memory is traced), "
        f"at most {held / 2**20:.1f} MiB held"
    )
