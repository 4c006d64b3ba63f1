"""Whatever interrupts a client wherever it is, nobody ever reads the reply to another's command.

An interrupt is a `BaseException` in the middle of a call: Ctrl-C, an exception that a signal
handler raises (pytest-timeout), gevent's Timeout, the cancellation of a task. Most tests here
raise one at lines of redis-py and of the emulator's transports, one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import linecache
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType
from typing import Any

import pytest
import redis
import redis.asyncio

from redis_emulator import ClusterEmulator, RedisEmulator, transports
from redis_emulator.transports import aio, sync
from tests.support.transports import REDIS_PY

pytestmark = [
    pytest.mark.timeout(60),
    # An interrupt in redis-py's own `__del__`:
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
_PLACES = (redis.__path__[0], transports.__path__[0])
"""Not the engine: an exception of a trace function can leave its lock locked, where a signal
handler is not called. `test_a_signal_handler_that_raises` is for that.
"""


class Interrupt(BaseException):
    """What is thrown in."""


INTERRUPTED = (Interrupt, redis.RedisError, TypeError)
"""How a call ends. CPython 3.11 at times makes a TypeError of what a trace function raises."""


class Thrower:
    """Raises an `Interrupt` at one line of redis-py or the transports that a ``with`` block runs.

    Attributes:
        left: How many lines are let pass.
        thrown: Whether it has been raised.
        where: At which line.
    """

    def __init__(self, after: int) -> None:
        self.left = after
        self.thrown = False
        self.where = ""

    def __enter__(self) -> Thrower:
        self._before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _call(self, frame: FrameType, event: str, arg: object) -> Any:
        return self._line if frame.f_code.co_filename.startswith(_PLACES) else None

    def _line(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "line" and not self.thrown and _can_be_interrupted(frame):
            self.left -= 1
            if self.left < 0:
                self.thrown = True
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                raise Interrupt  # which also ends the tracing
        return self._line


def _can_be_interrupted(frame: FrameType) -> bool:
    """Python handles no signal between the end of a ``with`` block and its ``__exit__``."""
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip()
    return not line.startswith(("with ", "async with "))


STEP = int(os.environ.get("INTERRUPT_STEP", "37"))
"""Every which line; 1 takes many minutes."""


def interrupt_everywhere(call: Callable[[], object], check: Callable[[], None]) -> int:
    """Interrupt a call at every `STEP` of its lines, and check after each; how many there were."""
    count = 0
    while True:
        with Thrower(count * STEP) as thrower, contextlib.suppress(*INTERRUPTED):
            call()
        try:
            check()
        except Exception as error:
            raise AssertionError(f"after an interrupt at {thrower.where}") from error
        if not thrower.thrown:
            return count
        count += 1


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits runs many lines."""
    monkeypatch.setattr(sync, "POLL_SECONDS", 0.0001)
    monkeypatch.setattr(aio, "POLL_SECONDS", 0.0001)


@pytest.fixture
def emulator() -> Iterator[RedisEmulator]:
    with RedisEmulator() as emulator:
        yield emulator


def nobody_waits(*emulators: RedisEmulator) -> None:
    for emulator in emulators:
        clients = emulator.engine.clients
        assert not any(client.blocked for client in clients.by_id.values())


class InStep:
    """Checks that a client gets the replies to its own commands."""

    def __init__(self, client: Any, *emulators: RedisEmulator) -> None:
        self._client = client
        self._emulators = emulators
        self._number = 0

    def __call__(self) -> None:
        nobody_waits(*self._emulators)
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


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_sync_client(
    emulator: RedisEmulator, call: Callable[[Any], object], options: dict[str, Any]
) -> None:
    client = emulator.client(max_connections=1 << 20, **options)  # redis-py loses some of them
    check = InStep(client, emulator)

    client.get("k")
    assert interrupt_everywhere(lambda: call(client), check) > 100 // STEP


@pytest.mark.parametrize("name", ["get", "blpop-served", "blpop-timeout", "pipeline"])
def test_a_sync_cluster_client(name: str) -> None:
    with ClusterEmulator(nodes=2, replicas=0, seed=1) as cluster:
        client = cluster.client(max_connections=1 << 20)
        check = InStep(client, *cluster.nodes)
        call = CALLS[name]
        assert interrupt_everywhere(lambda: call(client), check) > 100 // STEP


class AsyncInStep:
    """The coroutine twin of `InStep`."""

    def __init__(self, client: Any, *emulators: RedisEmulator) -> None:
        self._client = client
        self._emulators = emulators
        self._number = 0

    async def __call__(self) -> None:
        nobody_waits(*self._emulators)
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
    call: Callable[[Any], Awaitable[object]], client: Any, check: AsyncInStep
) -> int:
    count = 0
    while True:
        with Thrower(count * STEP) as thrower, contextlib.suppress(*INTERRUPTED):
            await call(client)
        await check()
        if not thrower.thrown:
            return count
        count += 1


async def cancel_everywhere(
    call: Callable[[Any], Awaitable[object]], client: Any, check: AsyncInStep
) -> int:
    """Cancel a call after each number of turns of the event loop."""
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
            return count
    raise AssertionError("the call never ends")


HOW = {"interrupted": interrupt_coroutine, "cancelled": cancel_everywhere}


@pytest.mark.parametrize("how", HOW.values(), ids=HOW.keys())
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("call", ASYNC_CALLS.values(), ids=ASYNC_CALLS.keys())
async def test_an_asyncio_client(
    emulator: RedisEmulator, how: Any, options: dict[str, Any], call: Any
) -> None:
    if how is interrupt_coroutine and "single_connection_client" in options:
        options = {}  # redis-py takes a lock outside of its try, and never gives it back
    client = emulator.async_client(**options)
    await client.get("k")
    await how(call, client, AsyncInStep(client, emulator))
    await client.aclose()


@pytest.mark.parametrize("how", HOW.values(), ids=HOW.keys())
@pytest.mark.parametrize("name", ON_CLUSTERS)
async def test_an_asyncio_cluster_client(how: Any, name: str) -> None:
    with ClusterEmulator(nodes=2, replicas=0, seed=1) as cluster:
        client = cluster.async_client(max_connections=1 << 20)
        await client.get("k")
        await how(ASYNC_CALLS[name], client, AsyncInStep(client, *cluster.nodes))
        await client.aclose()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no such signals here")
@pytest.mark.parametrize("seed", range(2))
def test_a_signal_handler_that_raises(emulator: RedisEmulator, seed: int) -> None:
    """Real signals, at bytecodes that nobody chose."""
    source = random.Random(seed)
    client = emulator.client(max_connections=1 << 20)
    check = InStep(client, emulator)
    armed = False

    def handler(*_: object) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise Interrupt

    main = threading.get_ident()
    go, over = threading.Semaphore(0), threading.Event()

    def interrupter() -> None:
        while go.acquire() and not over.is_set():
            time.sleep(source.uniform(0, 0.0008))
            signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    thread = threading.Thread(target=interrupter)
    thread.start()
    interrupted = 0
    try:
        for _ in range(200):
            armed = True
            try:
                go.release()
                while armed:
                    source.choice(list(CALLS.values()))(client)
            except Interrupt:
                interrupted += 1
            except redis.RedisError:
                pass
            armed = False
            check()
    finally:
        over.set()
        go.release()
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert interrupted > 50


def test_closing_a_client_wakes_its_threads(emulator: RedisEmulator) -> None:
    client = emulator.client(retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0))
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            client.blpop("l", 0)
        except redis.ConnectionError as error:
            failed.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while not any(each.blocked for each in emulator.engine.clients.by_id.values()):
        time.sleep(0.0001)
    client.connection_pool.disconnect()
    thread.join(10)
    assert failed
    nobody_waits(emulator)


async def test_a_forgotten_asyncio_client_leaves_the_server(emulator: RedisEmulator) -> None:
    client = emulator.async_client()
    await client.ping()
    before = len(emulator.engine.clients.by_id)
    del client
    gc.collect()
    assert len(emulator.engine.clients.by_id) < before
