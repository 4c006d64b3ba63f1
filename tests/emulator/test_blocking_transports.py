"""Blocking commands of clients in threads, in asyncio tasks and over TCP."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import redis

from redis_emulator import ManualClock, RedisEmulator
from tests.support.waiting import PATIENCE, until

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
MODERN = ("redis-8.2", "redis-7.0", "valkey-9.1")
NEWEST = ("redis-8.2", "valkey-9.1")


def blocked_clients(emulator: RedisEmulator) -> int:
    return int(emulator.client().info("clients")["blocked_clients"])


def test_blpop_in_a_thread() -> None:
    emulator = RedisEmulator()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(emulator.client().blpop(["a", "b"])))
    thread.start()
    until(lambda: blocked_clients(emulator) == 1)
    emulator.client().rpush("b", "x", "y")
    thread.join(PATIENCE)
    assert found[0] == [b"b", b"x"] or found[0] == (b"b", b"x")
    assert emulator.client().lrange("b", 0, -1) == [b"y"]


def test_threads_are_served_in_order() -> None:
    emulator = RedisEmulator()
    found: dict[int, Any] = {}

    def wait(number: int) -> None:
        found[number] = emulator.client().brpop("l")

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(5)]
    for number, thread in enumerate(threads, 1):
        thread.start()
        until(lambda: blocked_clients(emulator) == number)  # noqa: B023
    emulator.client().lpush("l", *range(5))
    for thread in threads:
        thread.join(PATIENCE)
    assert [int(found[number][1]) for number in range(5)] == [0, 1, 2, 3, 4]


def test_a_blocking_timeout_follows_the_manual_clock() -> None:
    clock = ManualClock()
    emulator = RedisEmulator(clock=clock)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(emulator.client().blpop("l", 1000)))
    thread.start()
    until(lambda: blocked_clients(emulator) == 1)
    clock.advance(999.999)
    assert blocked_clients(emulator) == 1
    clock.advance(0.001)
    thread.join(PATIENCE)
    assert found == [None]


async def test_blpop_and_blmove_in_asyncio_tasks() -> None:
    emulator = RedisEmulator()
    client, other = emulator.async_client(), emulator.async_client()
    task = asyncio.ensure_future(client.blpop("l", PATIENCE))
    moved = asyncio.ensure_future(client.blmove("m", "l", int(PATIENCE)))
    while blocked_clients(emulator) < 2:
        await asyncio.sleep(0)
    await other.rpush("m", "x")
    reply: Any = await asyncio.wait_for(task, PATIENCE)
    assert list(reply) == [b"l", b"x"]
    assert await asyncio.wait_for(moved, PATIENCE) == b"x"
    assert await client.blpop("l", 0.01) is None
    await client.aclose()
    await other.aclose()


async def test_a_cancelled_task_does_not_pop_an_element() -> None:
    emulator = RedisEmulator()
    client = emulator.async_client()
    task = asyncio.ensure_future(client.blpop("l", 0))
    while blocked_clients(emulator) < 1:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert blocked_clients(emulator) == 0
    await client.rpush("l", "x")
    assert await client.lrange("l", 0, -1) == [b"x"]
    await client.aclose()


def test_blocking_commands_over_tcp() -> None:
    emulator = RedisEmulator()
    with emulator.serve() as server:
        waiting, pushing = (redis.Redis.from_url(server.url) for _ in range(2))
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(waiting.blpop("l", PATIENCE)))
        thread.start()
        until(lambda: blocked_clients(emulator) == 1)
        pushing.rpush("l", "x")
        thread.join(PATIENCE)
        assert list(found[0]) == [b"l", b"x"]
        assert waiting.blpop("l", 0.02) is None
        thread = threading.Thread(target=lambda: found.append(waiting.brpop("l", PATIENCE)))
        thread.start()
        until(lambda: blocked_clients(emulator) == 1)
        emulator.client().rpush("l", "from inside")
        thread.join(PATIENCE)
        assert list(found[1]) == [b"l", b"from inside"]
        waiting.close()
        pushing.close()


def test_client_unblock_error_reaches_the_blocked_thread() -> None:
    emulator = RedisEmulator()
    client = emulator.client()
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            client.blpop("l")
        except redis.ResponseError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: blocked_clients(emulator) == 1)
    [waiting] = [each for each in emulator.client().client_list() if "b" in each["flags"]]
    assert emulator.client().client_unblock(int(waiting["id"]), error=True)
    thread.join(PATIENCE)
    assert str(caught[0]).startswith("UNBLOCKED")
