"""The asyncio pools lose no connection, wherever a call is interrupted."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from typing import Any

import pytest

import podlink
from podlink import AsyncStatefulExecutor, RedisConfig
from redis_emulator import RedisEmulator
from tests.support.scripted_server import ScriptedServer

POINTS = 12
"""More than the number of await points of a call, connecting included."""


class Interrupted:
    """Runs a coroutine up to its await number ``point``, and raises an exception there."""

    def __init__(self, work: Coroutine[Any, Any, Any], point: int, error: BaseException) -> None:
        self._work = work
        self._point = point
        self._error = error

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._work.__await__()
        try:
            for _ in range(self._point):
                yield next(steps)
            waited_for = next(steps)
            if asyncio.isfuture(waited_for):
                waited_for.cancel()
            yield steps.throw(self._error)
            while True:
                yield next(steps)
        except StopIteration as stop:
            return stop.value


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as started:
        yield started


@pytest.fixture
def frozen_objects() -> Iterator[None]:
    """Exclude existing objects from garbage collection, which makes each collection cheap."""
    gc.freeze()
    yield
    gc.unfreeze()


def executor_of(server: ScriptedServer, scheme: str, **changes: Any) -> AsyncStatefulExecutor:
    url = f"{scheme}://{server.address}"
    config = RedisConfig.from_url(url, max_connections=1, pool_timeout=10.0, retries=0, protocol=2)
    return AsyncStatefulExecutor(config.with_changes(**changes))


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError, SystemExit])
async def test_exception_at_any_await_returns_the_connection(
    frozen_objects: None, server: ScriptedServer, error: type[BaseException]
) -> None:
    interrupted = 0
    async with executor_of(server, "redis", password="x") as executor:
        for point in range(2 * POINTS):
            if point % 2:  # half of the calls connect
                await executor.manager.client.connection_pool.disconnect()
            work = executor.set_linked_pod("n", "u", "s", 1)
            try:
                await Interrupted(work, point // 2, error())
            except error:
                interrupted += 1
            await asyncio.sleep(0)
            gc.collect()
            stats = await executor.manager.get_pool_stats()
            assert stats.in_use == 0, point
            assert await executor.get_linked_pod("n", "u", "s") is None, point
    assert interrupted > 4


async def test_cancelled_task_returns_its_connection(server: ScriptedServer) -> None:
    async with executor_of(server, "redis", password="x") as executor:
        for steps in range(60):
            tasks = [
                asyncio.ensure_future(executor.set_linked_pod("n", "u", "s", 1)) for _ in range(3)
            ]
            for _ in range(steps % 20):
                await asyncio.sleep(0)
            for task in tasks[: 1 + steps % 3]:
                task.cancel()
            await asyncio.wait(tasks)
            assert (await executor.manager.get_pool_stats()).in_use == 0
        assert await executor.set_linked_pod("n", "u", "s", 1) is None


async def test_connection_that_is_never_released_is_replaced(server: ScriptedServer) -> None:
    """A KeyboardInterrupt may be raised before the ``finally`` block is entered."""
    async with executor_of(server, "redis", pool_timeout=0.05) as executor:
        pool = executor.manager.client.connection_pool
        connection = await pool.get_connection()
        with pytest.raises(podlink.RedisConnectionError, match="No connection available"):
            await executor.set_linked_pod("n", "u", "s", 1)
        getattr(connection, "_close", connection._writer.close)()  # redis-py 5.0 has no _close
        del connection
        gc.collect()
        assert await executor.set_linked_pod("n", "u", "s", 1) is None


async def test_waiting_calls_are_served_in_order(server: ScriptedServer) -> None:
    async with executor_of(server, "redis", pool_timeout=600.0) as executor:
        server.hold()
        tasks = []
        for number in range(6):
            work = executor.set_linked_pod("n", f"u{number}", "s", 1)
            tasks.append(asyncio.ensure_future(work))
            await asyncio.sleep(0)
        await server.until_executed(1)
        tasks[2].cancel()
        server.release()
        await asyncio.wait(tasks)
        assert [command[3] for command in server.executed] == [
            b"sf:{n:lk:u%d}s" % number for number in (0, 1, 3, 4, 5)
        ]
    assert server.connections == 1


async def test_closing_idle_connections_keeps_those_in_use(server: ScriptedServer) -> None:
    async with executor_of(server, "redis", max_connections=2) as executor:
        pool = executor.manager.client.connection_pool
        first, second = await pool.get_connection(), await pool.get_connection()
        pool.give_back(first)
        pool.give_back(second)
        closing = asyncio.ensure_future(pool.disconnect(inuse_connections=False))
        await asyncio.sleep(0)
        used = await pool.get_connection()
        await closing
        assert used.is_connected
        assert not first.is_connected
        assert not second.is_connected


INTERRUPTED_BY_SIGNAL = """
import asyncio, faulthandler, signal, sys, threading
from podlink import AsyncStatefulExecutor

faulthandler.dump_traceback_later(200, exit=True)
executor = AsyncStatefulExecutor(sys.argv[1] + "?max_connections=2&pool_timeout=60")
main_thread = threading.main_thread().ident
interrupted = 0

async def link_all(first, step=0):
    calls = (executor.set_linked_pod("n", f"u{i}", "s", first + step * i) for i in range(4))
    await asyncio.gather(*calls)

async def link(sent):
    for number in range(1_000_000):
        await link_all(number)
        sent.set()

async def check():
    await link_all(0, 1)
    found = await asyncio.gather(*(executor.get_linked_pod("n", f"u{i}", "s") for i in range(4)))
    assert found == [0, 1, 2, 3], found

for _ in range(8):
    sent = threading.Event()

    def interrupt():
        sent.wait()
        signal.pthread_kill(main_thread, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        asyncio.run(link(sent))
    except KeyboardInterrupt:
        interrupted += 1
    thread.join()
    asyncio.run(check())
print(interrupted)
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals between threads")
def test_executor_works_after_asyncio_run_was_interrupted() -> None:
    """The executor works in the next ``asyncio.run``, and no call gets the reply of another."""
    with RedisEmulator() as emulator, emulator.serve() as served:
        done = subprocess.run(
            [sys.executable, "-c", INTERRUPTED_BY_SIGNAL, f"redis://127.0.0.1:{served.port}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    assert done.stdout == "8\n", done.stderr
