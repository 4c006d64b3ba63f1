"""The emulator's in-process client compared with redis-py alone, fakeredis and a real server."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from redis_emulator import RedisEmulator
from tests.benchmarks.contenders import (
    ALONE,
    CONTENDERS,
    EMULATOR,
    FAKEREDIS,
    OPERATIONS,
    RATIOS,
    SERVER,
    Operation,
    Silent,
)

RATIOS += [(name, EMULATOR, ALONE, 0.6) for name in ("GET", "SET", "HSET")]
RATIOS += [("EVALSHA set-link", EMULATOR, FAKEREDIS, 4), ("EVALSHA set-link", EMULATOR, SERVER, 3)]
RATIOS += [("fresh store", EMULATOR, FAKEREDIS, 1)]


@pytest.mark.parametrize("contender", CONTENDERS, indirect=True)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def bench_operation(
    operation: Operation,
    contender: redis.Redis,
    benchmark: Any,
    request: pytest.FixtureRequest,
) -> None:
    """One client makes one call after another."""
    Silent.answer = operation.answer
    benchmark.group = operation.name
    benchmark.extra_info["contender"] = request.node.callspec.params["contender"]
    benchmark.pedantic(operation.run, (contender,), rounds=30, iterations=200, warmup_rounds=3)


@pytest.mark.parametrize("name", [EMULATOR, FAKEREDIS])
def bench_fresh_store(name: str, benchmark: Any) -> None:
    """The cost of an empty store for each test."""
    import fakeredis

    def fake() -> None:
        fakeredis.FakeRedis(server=fakeredis.FakeServer()).set("key", "value")

    emulator = RedisEmulator()
    client = emulator.client()

    def emulated() -> None:
        emulator.reset()
        client.set("key", "value")

    benchmark.group = "fresh store"
    benchmark.extra_info["contender"] = name
    benchmark.pedantic(
        emulated if name == EMULATOR else fake, rounds=20, iterations=20, warmup_rounds=2
    )
