"""Interrupted clients never read the reply to another command.

An interrupt is a `BaseException` in the middle of a call: Ctrl-C, an exception that a signal
handler raises (pytest-timeout), gevent's Timeout, the cancellation of a task. Most tests here
raise one at random moments, with the signal of a timer. Raising from a trace or profile function at
chosen places crashes CPython 3.11.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import os
import random
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType
from typing import Any

import pytest
import redis
import redis.asyncio

from podlink import StatefulError, StatefulExecutor
from redis_emulator import ClusterEmulator, RedisEmulator, transports
from redis_emulator.emulator import Emulator
from redis_emulator.transports import aio, sync
from redis_emulator.transports.tcp import TcpServer
from tests.support.transports import REDIS_PY
from tests.support.waiting import PATIENCE, until

pytestmark = [
    # By a thread: the tests use the timer that pytest-timeout would use otherwise.
    pytest.mark.timeout(120, method="thread"),
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="signals of timers are POSIX"),
    # An interrupt in redis-py's own `__del__`:
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
_LOCKS = (threading.__file__, logging.__file__)
"""Modules with locks in Python code, which an exception inside leaves locked in any program."""

ROUNDS = int(os.environ.get("INTERRUPTS", "60"))
"""The number of interrupts of each call."""


class Interrupt(BaseException):
    """The exception that the signal handler raises."""


class Alarm:
    """A timer whose signal raises an `Interrupt` at whatever the main thread is doing.

    Attributes:
        in_tasks: Raise only in code of the transports. What a handler raises in the event loop ends
            the loop, and what it raises in redis-py's asyncio code can leave its locks locked.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.in_tasks = False
        self._armed = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        if not self._armed:
            return
        file = "" if frame is None else frame.f_code.co_filename
        if file in _LOCKS or (self.in_tasks and not file.startswith(transports.__path__[0])):
            signal.setitimer(signal.ITIMER_REAL, 5e-5)
            return
        self._armed = False
        raise Interrupt

    def arm(self, seconds: float) -> None:
        self._armed = True
        signal.setitimer(signal.ITIMER_REAL, self.random.uniform(1e-6, seconds))

    def disarm(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._armed = False


@pytest.fixture
def alarm() -> Iterator[Alarm]:
    alarm = Alarm(seed=7)
    before = signal.signal(signal.SIGALRM, alarm.handle)
    yield alarm
    alarm.disarm()
    signal.signal(signal.SIGALRM, before)


def interrupt_often(alarm: Alarm, call: Callable[[], object], check: Callable[[], None]) -> None:
    """Interrupt a call at `ROUNDS` random moments, and check after each."""
    seconds = math.inf
    for _ in range(4):  # the first one may have much to set up
        started = time.perf_counter()
        call()
        seconds = min(seconds, time.perf_counter() - started)
        check()
    count = 0
    for _ in range(ROUNDS):
        try:
            try:
                alarm.arm(seconds)
                call()
            finally:
                alarm.disarm()
        except Interrupt:
            count += 1
        except redis.RedisError:
            pass
        check()
    assert count


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll more often, so that a waiting client is interrupted at many places."""
    monkeypatch.setattr(sync, "POLL_SECONDS", 0.0001)
    monkeypatch.setattr(aio, "POLL_SECONDS", 0.0001)


@pytest.fixture
def emulator() -> Iterator[RedisEmulator]:
    with RedisEmulator() as emulator:
        yield emulator


def assert_no_client_is_blocked(*emulators: Emulator) -> None:
    for emulator in emulators:
        clients = emulator.engine.clients
        assert not any(client.blocked for client in clients.by_id.values())


class InStep:
    """Checks that a client gets the replies to its own commands."""

    def __init__(self, client: Any, *emulators: Emulator) -> None:
        self._client = client
        self._emulators = emulators
        self._number = 0

    def __call__(self) -> None:
        assert_no_client_is_blocked(*self._emulators)
        self._number += 1
        client, number = self._client, self._number
        assert client.set("check", number) is True
        assert client.get("check") == b"%d" % number
        assert client.ping() is True
        pipeline = client.pipeline(transaction=False)
        assert pipeline.incr("check").get("check").execute() == [number + 1, b"%d" % (number + 1)]
        assert client.get("check") == b"%d" % (number + 1)


def watch(client: Any) -> None:
    with client.pipeline() as pipeline:
        pipeline.watch("check")
        pipeline.get("check")
        pipeline.multi()
        pipeline.set("other", 1)
        pipeline.execute()


def listen(client: Any) -> None:
    with client.pubsub() as pubsub:
        pubsub.subscribe("channel")
        client.publish("channel", "message")
        pubsub.get_message(timeout=0.001)
        pubsub.get_message()


CALLS: dict[str, Callable[[Any], object]] = {
    "get": lambda client: client.get("k"),
    "blpop-served": lambda client: (client.rpush("l", "x"), client.blpop("l", 0)),
    "blpop-timeout": lambda client: client.blpop("nothing", 0.002),
    "xread": lambda client: client.xread({"stream": "$"}, block=2),
    "pipeline": lambda client: client.pipeline(transaction=False).get("a").incr("b").execute(),
    "transaction": lambda client: client.pipeline().get("a").incr("b").execute(),
    "watch": watch,
    "pubsub": listen,
    "error": lambda client: client.lpush("check", "x"),
    "script": lambda client: client.eval("return redis.call('incr', KEYS[1])", 1, "n"),
}


OPTIONS: dict[str, dict[str, Any]] = {
    "resp2": {},
    "resp3": {"protocol": 3},
    "one-connection": {"single_connection_client": True},
}


def _ignore_errors(call: Callable[[Any], object], client: Any) -> None:
    with contextlib.suppress(redis.RedisError):
        call(client)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_interrupted_sync_client(
    emulator: RedisEmulator, alarm: Alarm, call: Callable[[Any], object], options: dict[str, Any]
) -> None:
    client = emulator.client(max_connections=1 << 20, **options)  # redis-py loses some of them
    check = InStep(client, emulator)

    client.get("k")
    interrupt_often(alarm, lambda: _ignore_errors(call, client), check)


@pytest.mark.parametrize("name", ["get", "blpop-served", "blpop-timeout", "pipeline"])
def test_interrupted_sync_cluster_client(alarm: Alarm, name: str) -> None:
    with ClusterEmulator(nodes=2, replicas=0, seed=1) as cluster:
        client = cluster.client(max_connections=1 << 20)
        check = InStep(client, *cluster.nodes)
        call = CALLS[name]
        interrupt_often(alarm, lambda: call(client), check)


class AsyncInStep:
    """`InStep` for asyncio clients."""

    def __init__(self, client: Any, *emulators: Emulator) -> None:
        self._client = client
        self._emulators = emulators
        self._number = 0

    async def __call__(self) -> None:
        assert_no_client_is_blocked(*self._emulators)
        self._number += 1
        client, number = self._client, self._number
        assert await client.set("check", number) is True
        assert await client.get("check") == b"%d" % number
        pipeline = client.pipeline(transaction=False)
        assert await pipeline.incr("check").get("check").execute() == [
            number + 1,
            b"%d" % (number + 1),
        ]


async def served(client: Any) -> None:
    await client.rpush("l", "x")
    await client.blpop("l", 0)


async def listen_async(client: Any) -> None:
    async with client.pubsub() as pubsub:
        await pubsub.subscribe("channel")
        await client.publish("channel", "message")
        await pubsub.get_message(timeout=0.001)
        await pubsub.get_message()


ASYNC_CALLS: dict[str, Callable[[Any], Awaitable[object]]] = {
    "get": lambda client: client.get("k"),
    "blpop-served": served,
    "blpop-timeout": lambda client: client.blpop("nothing", 0.002),
    "pipeline": lambda client: client.pipeline(transaction=False).get("a").incr("b").execute(),
    "transaction": lambda client: client.pipeline().get("a").incr("b").execute(),
    "pubsub": listen_async,
}
ON_CLUSTERS = ["get", "blpop-served", "pipeline"]
if REDIS_PY >= (8, 0):  # older ones do not ask a connection when they give it back
    ON_CLUSTERS.append("blpop-timeout")


async def interrupt_coroutine(
    alarm: Alarm, call: Callable[[Any], Awaitable[object]], client: Any, check: AsyncInStep
) -> None:
    """Interrupt a call at random moments at which a task runs, and check after each."""
    alarm.in_tasks = True
    seconds = math.inf
    for _ in range(4):  # the first one may have much to set up
        started = time.perf_counter()
        await call(client)
        seconds = min(seconds, time.perf_counter() - started)
        await check()
    for _ in range(ROUNDS):
        try:
            try:
                alarm.arm(seconds)
                await call(client)
            finally:
                alarm.disarm()
        except (Interrupt, redis.RedisError):
            pass
        await check()


async def cancel_everywhere(
    alarm: Alarm, call: Callable[[Any], Awaitable[object]], client: Any, check: AsyncInStep
) -> None:
    """Cancel a call after 0, 1, 2, … iterations of the event loop, until it ends by itself."""
    for count in range(1000):
        task = asyncio.ensure_future(call(client))
        for _ in range(count):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            await check()
        else:
            await check()
            return
    raise AssertionError("the call never ends")


HOW = {"interrupted": interrupt_coroutine, "cancelled": cancel_everywhere}


@pytest.mark.parametrize("how", HOW.values(), ids=HOW.keys())
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("call", ASYNC_CALLS.values(), ids=ASYNC_CALLS.keys())
async def test_interrupted_or_cancelled_asyncio_client(
    emulator: RedisEmulator, alarm: Alarm, how: Any, options: dict[str, Any], call: Any
) -> None:
    if how is interrupt_coroutine and "single_connection_client" in options:
        options = {}  # redis-py takes a lock outside of its try, and never gives it back
    client = emulator.async_client(**options)
    await client.get("k")
    await how(alarm, call, client, AsyncInStep(client, emulator))
    await client.aclose()


@pytest.mark.parametrize("how", HOW.values(), ids=HOW.keys())
@pytest.mark.parametrize("name", ON_CLUSTERS)
async def test_interrupted_or_cancelled_asyncio_cluster_client(
    alarm: Alarm, how: Any, name: str
) -> None:
    with ClusterEmulator(nodes=2, replicas=0, seed=1) as cluster:
        client = cluster.async_client(max_connections=1 << 20)
        await client.get("k")
        await how(alarm, ASYNC_CALLS[name], client, AsyncInStep(client, *cluster.nodes))
        await client.aclose()


def test_disconnecting_a_pool_ends_blocking_commands(emulator: RedisEmulator) -> None:
    client = emulator.client(retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0))
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            client.blpop("l", 0)
        except redis.ConnectionError as error:
            failed.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: emulator.engine.clients.blocked.waiting)
    client.connection_pool.disconnect()
    thread.join(PATIENCE)
    assert failed
    assert_no_client_is_blocked(emulator)


async def test_garbage_collected_asyncio_client_disconnects(emulator: RedisEmulator) -> None:
    client = emulator.async_client()
    await client.ping()
    before = len(emulator.engine.clients.by_id)
    del client
    gc.collect()
    assert len(emulator.engine.clients.by_id) < before


@pytest.fixture
def server(emulator: RedisEmulator) -> Iterator[TcpServer]:
    with emulator.serve() as server:
        yield server


@pytest.mark.parametrize("name", ["get", "blpop-served", "pipeline", "watch"])
def test_interrupted_client_over_a_socket(server: TcpServer, alarm: Alarm, name: str) -> None:
    """redis-py may put a connection with unread replies back, so they are closed here."""
    client = redis.Redis(port=server.port or 0, max_connections=1 << 20)
    check = InStep(client)

    def check_new_connections() -> None:
        client.connection_pool.disconnect()
        check()

    interrupt_often(alarm, lambda: _ignore_errors(CALLS[name], client), check_new_connections)
    client.close()


class LinksInStep:
    """Checks that an executor gets the replies to its own calls."""

    def __init__(self, executor: StatefulExecutor) -> None:
        self._executor = executor
        self._number = 0

    def __call__(self) -> None:
        self._number += 1
        links, number = self._executor, self._number
        links.set_linked_pod("n", "check", "s", number)
        assert links.get_linked_pod("n", "check", "s") == number
        assert links.try_set_linked_pod("n", "check", "s", number + 1) == (False, number)
        assert links.batch_get_linked_pod("n", ["check", "nobody"], "s") == {number: ["check"]}
        assert links.get_link_service("n", "check") == {"s": number}


LINK_CALLS: dict[str, Callable[[StatefulExecutor], object]] = {
    "get": lambda links: links.get_linked_pod("n", "u", "s"),
    "set": lambda links: links.set_linked_pod("n", "u", "s", 1),
    "batch": lambda links: links.batch_set_linked_pod_if_absent("n", ["a", "b", "c"], "s", 2),
    "drain": lambda links: links.drain_pod("n", "s", 2),
}


def _ignore_stateful_errors(call: Callable[[Any], object], links: StatefulExecutor) -> None:
    with contextlib.suppress(StatefulError):
        call(links)


@pytest.mark.parametrize("call", LINK_CALLS.values(), ids=LINK_CALLS.keys())
def test_interrupted_executor_over_a_socket(
    server: TcpServer, alarm: Alarm, call: Callable[[StatefulExecutor], object]
) -> None:
    with StatefulExecutor(f"{server.url}?max_connections=4") as links:
        check = LinksInStep(links)
        interrupt_often(alarm, lambda: _ignore_stateful_errors(call, links), check)


@pytest.mark.parametrize("name", ["set", "batch"])
def test_interrupted_executor_on_a_served_cluster(alarm: Alarm, name: str) -> None:
    with ClusterEmulator(nodes=2, replicas=0, seed=1) as cluster, cluster.serve():
        with StatefulExecutor(f"redis+cluster://127.0.0.1:{cluster.nodes[0].port}") as links:
            check = LinksInStep(links)
            interrupt_often(alarm, lambda: _ignore_stateful_errors(LINK_CALLS[name], links), check)
