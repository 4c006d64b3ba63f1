"""The fixtures, on the backends of this run."""

from __future__ import annotations

import asyncio

import pytest
import redis

from podlink import AsyncStatefulExecutor, StatefulExecutor
from pytest_podlink.backend import Backend
from pytest_podlink.clock import StatefulClock
from pytest_podlink.stores import EmulatorBackend
from redis_emulator import RedisEmulator

LINK = ("shop", "alice", "cart")


@pytest.mark.parametrize("time", [1, 2])
def test_store_is_empty_at_the_start_of_each_test(
    stateful_redis: redis.Redis, stateful_backend: Backend, time: int
) -> None:
    elsewhere = stateful_backend.client(db=5)
    sha = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"  # of "return 1"
    assert stateful_redis.dbsize() == 0
    assert elsewhere.dbsize() == 0
    assert stateful_redis.script_exists(sha) == [False]
    stateful_redis.set("k", time)
    elsewhere.set("k", time)
    assert stateful_redis.script_load("return 1") == sha


def test_executor_client_and_clock_share_one_store(
    stateful_executor: StatefulExecutor,
    stateful_redis: redis.Redis,
    stateful_clock: StatefulClock,
) -> None:
    stateful_executor.set_linked_pod(*LINK, 3, persist_seconds=60)
    assert stateful_redis.get("sf:{shop:lk:alice}cart") == b"3"
    stateful_clock.advance(60.001)
    assert stateful_executor.get_linked_pod(*LINK) is None


async def test_sync_and_async_executors_share_one_store(
    stateful_executor: StatefulExecutor, async_stateful_executor: AsyncStatefulExecutor
) -> None:
    await async_stateful_executor.set_linked_pod(*LINK, 3)
    assert stateful_executor.get_linked_pod(*LINK) == 3


def test_async_executor_works_in_successive_event_loops(
    async_stateful_executor: AsyncStatefulExecutor,
) -> None:
    assert asyncio.run(async_stateful_executor.set_linked_pod(*LINK, 3)) is None
    assert asyncio.run(async_stateful_executor.set_linked_pod(*LINK, 4)) == 3


def test_redis_emulator_fixture_is_the_store_of_the_emulator_backend(
    stateful_redis: redis.Redis, redis_emulator: RedisEmulator, stateful_backend: Backend
) -> None:
    stateful_redis.set("k", "v")
    beneath = redis_emulator.client().get("k")
    assert beneath == (b"v" if isinstance(stateful_backend, EmulatorBackend) else None)


def test_backend_client_accepts_redis_py_options(stateful_backend: Backend) -> None:
    client = stateful_backend.client(protocol=3, decode_responses=True)
    client.hset("h", "f", "v")
    assert client.execute_command("HGETALL", "h") == {"f": "v"}
