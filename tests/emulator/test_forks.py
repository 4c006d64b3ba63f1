"""Emulators that were created before ``os.fork``, used in the child process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from podlink import AsyncStatefulExecutor, StatefulError, StatefulExecutor
from redis_emulator import ClusterEmulator, ForkedError, ManualClock, RedisEmulator
from redis_emulator import forks as forking
from tests.support.children import NEEDS_FORK, in_child
from tests.support.transports import Transport
from tests.support.waiting import until

pytestmark = NEEDS_FORK


@pytest.fixture
def emulator() -> Iterator[RedisEmulator]:
    with RedisEmulator() as emulator:
        yield emulator


@contextlib.contextmanager
def busy_threads(*calls: Callable[[], object], threads: int = 3) -> Iterator[None]:
    """Run calls continuously in several threads."""
    over = threading.Event()
    started = threading.Semaphore(0)

    def hammer() -> None:
        started.release()
        while not over.is_set():
            for call in calls:
                call()

    running = [threading.Thread(target=hammer) for _ in range(threads)]
    for thread in running:
        thread.start()
        started.acquire()
    try:
        yield
    finally:
        over.set()
        for thread in running:
            thread.join()


def error_in_child(use: Callable[[], object]) -> str:
    """The text of the `ForkedError` that ``use`` raises in a child process."""

    def child() -> str:
        try:
            use()
        except ForkedError as error:
            return str(error)
        return "no ForkedError"

    return str(in_child(child))


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


async def use_pipeline(client: Any) -> Any:
    return await client.pipeline().set("k", 1).execute()


USES: dict[str, Callable[[RedisEmulator, Any], object]] = {
    "client": lambda emulator, client: client.get("k"),
    "new-client": lambda emulator, client: emulator.client().set("k", 1),
    "resp3": lambda emulator, client: emulator.client(protocol=3).set("k", 1),
    "one-connection": lambda emulator, client: emulator.client(single_connection_client=True).set(
        "k", 1
    ),
    "pipeline": lambda emulator, client: client.pipeline().set("k", 1).execute(),
    "pubsub": lambda emulator, client: client.pubsub().subscribe("channel"),
    "monitor": lambda emulator, client: client.monitor().__enter__(),
    "asyncio": lambda emulator, client: run(emulator.async_client().get("k")),
    "asyncio-resp3": lambda emulator, client: run(emulator.async_client(protocol=3).get("k")),
    "asyncio-pipeline": lambda emulator, client: run(use_pipeline(emulator.async_client())),
    "execute": lambda emulator, client: emulator.execute("PING"),
    "mapping-read": lambda emulator, client: emulator[0]["k"],
    "mapping-write": lambda emulator, client: emulator[0].update(k=1),
    "mapping-size": lambda emulator, client: len(emulator[0]),
    "serve": lambda emulator, client: emulator.serve(),
    "reset": lambda emulator, client: emulator.reset(),
    "snapshot": lambda emulator, client: emulator.snapshot(),
    "dump": lambda emulator, client: emulator.dump(),
    "faults": lambda emulator, client: emulator.faults.fail("GET"),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_using_an_emulator_in_a_child_raises_forked_error(
    emulator: RedisEmulator, use: Callable[[RedisEmulator, redis.Redis], object]
) -> None:
    client = emulator.client()
    client.set("k", "v")
    text = error_in_child(lambda: use(emulator, client))
    assert "emulator.serve()" in text
    assert f"process {os.getpid()}," in text
    assert client.get("k") == b"v"


def test_connections_of_the_parent_raise_forked_error_in_a_child(emulator: RedisEmulator) -> None:
    client = emulator.client(single_connection_client=True)
    pubsub = emulator.client().pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("channel")
    pubsub.get_message()
    connection = emulator.client().connection_pool.make_connection()
    connection.connect()
    assert "serve()" in error_in_child(client.ping)
    assert "serve()" in error_in_child(lambda: pubsub.subscribe("another"))
    assert "serve()" in error_in_child(lambda: pubsub.get_message(timeout=30))
    assert "serve()" in error_in_child(lambda: connection.send_command("PING"))
    assert client.ping()
    connection.disconnect()


async def test_asyncio_connections_of_the_parent_raise_forked_error(
    emulator: RedisEmulator,
) -> None:
    client = emulator.async_client()
    await client.ping()

    assert "serve()" in error_in_child(lambda: run(client.get("k")))
    assert await client.ping()
    await client.aclose()


CLUSTER_USES: dict[str, Callable[[ClusterEmulator, redis.RedisCluster], object]] = {
    "client": lambda cluster, client: client.get("k"),
    "new-client": lambda cluster, client: cluster.client(),
    "pipeline": lambda cluster, client: client.pipeline().set("k", 1).execute(),
    "asyncio": lambda cluster, client: run(cluster.async_client().get("k")),
    "execute": lambda cluster, client: cluster.execute("GET", "k"),
    "node": lambda cluster, client: cluster.nodes[0].execute("PING"),
    "serve": lambda cluster, client: cluster.serve().__enter__(),
    "reset": lambda cluster, client: cluster.reset(),
    "snapshot": lambda cluster, client: cluster.snapshot(),
    "kill": lambda cluster, client: cluster.kill(0),
    "move": lambda cluster, client: cluster.move_slot(1, 0),
}


@pytest.mark.parametrize("use", CLUSTER_USES.values(), ids=CLUSTER_USES.keys())
def test_using_a_cluster_in_a_child_raises_forked_error(
    use: Callable[[ClusterEmulator, redis.RedisCluster], object],
) -> None:
    with ClusterEmulator(nodes=2, replicas=0) as cluster:
        client = cluster.client()
        client.set("k", "v")
        assert "serve()" in error_in_child(lambda: use(cluster, client))
        assert client.get("k") == b"v"


async def test_asyncio_cluster_client_of_the_parent_raises_forked_error() -> None:
    with ClusterEmulator(nodes=1, replicas=0) as cluster:
        client = cluster.async_client()
        await client.set("k", "v")

        assert "serve()" in error_in_child(lambda: run(client.get("k")))
        assert await client.get("k") == b"v"
        await client.aclose()


@pytest.mark.parametrize("url", ["emulator://forks", "emulator+cluster://forks"])
def test_podlink_raises_the_text_of_forked_error(url: str) -> None:
    def use(call: Callable[[], object]) -> tuple[str, bool, str]:
        try:
            call()
        except StatefulError as error:
            return str(error.code), error.outcome_unknown, str(error)
        return "", False, "no error"

    async def use_async(executor: AsyncStatefulExecutor) -> object:
        return await executor.set_linked_pod("n", "u", "s", 1)

    with StatefulExecutor(url) as executor:
        executor.set_linked_pod("n", "u", "s", 1)
        asynchronous = AsyncStatefulExecutor(url)
        for call in (
            lambda: executor.set_linked_pod("n", "u", "s", 2),
            lambda: executor.get_linked_pod("n", "u", "s"),
            lambda: StatefulExecutor(url).set_linked_pod("n", "u", "s", 2),
            lambda: run(use_async(asynchronous)),
            lambda: run(use_async(AsyncStatefulExecutor(url))),
        ):
            told = in_child(partial(use, call))
            assert type(told) is tuple, told
            code, unknown, text = told
            # podlink loads the slots itself; its error names the nodes that did not reply.
            assert code in ("REDIS_OPERATION_ERROR", "REDIS_CONNECTION_ERROR"), text
            assert not unknown
            assert "emulator.serve()" in text
        assert executor.get_linked_pod("n", "u", "s") == 1


def test_a_child_may_close_emulators_of_the_parent(emulator: RedisEmulator) -> None:
    client = emulator.client()
    client.ping()
    clock = ManualClock()
    other = RedisEmulator(clock=clock)
    with ClusterEmulator(nodes=1, replicas=0) as cluster:

        def child() -> str:
            client.close()
            emulator.close()
            gc.collect()
            new = RedisEmulator(clock=clock).client()
            new.set("k", "v", ex=1)
            clock.advance(2)
            return str(new.get("k"))

        def leave_blocks() -> None:
            with cluster, cluster.serve():
                raise KeyError(in_child(lambda: contextlib.nullcontext()))

        assert in_child(child) == "None"
        assert client.ping()
        with pytest.raises(KeyError):
            leave_blocks()
        other.close()


@pytest.mark.parametrize("cluster", [False, True])
@pytest.mark.parametrize("how", ["error_in_child", "copied before", "copied after"])
def test_a_child_does_not_wait_for_locks_of_other_threads(how: str, cluster: bool) -> None:
    """Other threads run commands, wait for replies and advance the clock during the fork."""
    clock = ManualClock()
    emulator: Any = (
        ClusterEmulator(nodes=2, replicas=0, clock=clock)
        if cluster
        else (RedisEmulator(clock=clock))
    )
    client = emulator.client()

    def push() -> None:
        client.rpush("l", *range(10))
        client.delete("l")

    def pop() -> None:
        client.lpush("m", 1)
        client.blpop("m", 1)

    def child() -> str:
        if how == "copied after":
            emulator.use_copy_after_fork()
        try:
            # Locks of redis-py's cluster client may stay locked in the child.
            own = emulator.client() if cluster else client
            own.set("mine", "v")
            emulator.execute("SET", "k", "v")
            clock.advance(1)
            RedisEmulator.named("new").execute("PING")
            with emulator.serve():
                pass
            return str((own.get("mine"), own.llen("l") % 10 == 0))
        except ForkedError:
            return "error_in_child"

    if how == "copied before":
        emulator.use_copy_after_fork()
    expected = "error_in_child" if how == "error_in_child" else "(b'v', True)"
    with (
        emulator.serve(),
        busy_threads(
            push,
            pop,
            lambda: emulator.execute("INCR", "n"),
            lambda: clock.advance(0.001),
            lambda: RedisEmulator.named("forks"),
        ),
    ):
        for _ in range(12):
            assert in_child(child) == expected
    assert client.get("mine") is None
    emulator.close()


def test_changes_in_a_child_do_not_reach_the_parent(emulator: RedisEmulator) -> None:
    emulator.use_copy_after_fork()
    client = emulator.client(single_connection_client=True)
    client.set("k", "parent")
    waiting = threading.Thread(target=lambda: emulator.client().blpop("l", 0), daemon=True)
    waiting.start()
    until(lambda: emulator.engine.clients.blocked.waiting)

    def grandchild() -> list[Any]:
        client.append("k", "/grandchild")
        return [client.get("k"), client.llen("l")]

    def child() -> list[Any]:
        client.set("k", "child")
        client.rpush("l", 1)  # not popped: the blocked client exists in the parent only
        return [client.get("k"), client.llen("l"), in_child(grandchild)]

    assert in_child(child) == [b"child", 1, [b"child/grandchild", 1]]
    assert client.get("k") == b"parent"
    client.rpush("l", 1)
    waiting.join()


def test_a_fork_during_a_command_of_another_thread_raises_forked_error(
    emulator: RedisEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forking, "FORK_SECONDS", 0.01)
    emulator.use_copy_after_fork()
    inside, over = threading.Event(), threading.Event()

    def wait(argv: list[bytes]) -> bool:
        inside.set()
        over.wait()
        return False

    with emulator.faults.fail(wait), contextlib.ExitStack() as stack:
        thread = threading.Thread(target=lambda: emulator.client().set("k", "v"))
        thread.start()
        stack.callback(thread.join)
        stack.callback(over.set)
        inside.wait()
        text = error_in_child(lambda: emulator.execute("PING"))
        assert "was running at the fork()" in text
        text = error_in_child(emulator.use_copy_after_fork)
        assert "was running at the fork()" in text
    assert emulator.execute("GET", "k") == b"v"


def test_a_fork_during_a_script_raises_forked_error(emulator: RedisEmulator) -> None:
    emulator.use_copy_after_fork()
    client = emulator.client()
    client.config_set("lua-time-limit", 1)

    def run_script() -> None:
        with pytest.raises(redis.ResponseError, match="kill"):
            client.eval("while true do end", 0)

    thread = threading.Thread(target=run_script)
    thread.start()
    while True:
        with contextlib.suppress(redis.ResponseError):
            emulator.client().ping()
            continue
        break
    assert "was running at the fork()" in error_in_child(lambda: emulator.execute("PING"))
    emulator.client().script_kill()
    thread.join()
    assert in_child(lambda: emulator.execute("PING")) == b"PONG"


@pytest.mark.parametrize("name", ["tcp", "unix"])
def test_a_server_keeps_serving_parent_and_child(
    emulator: RedisEmulator, name: str, tmp_path: Path
) -> None:
    transport = Transport(name, emulator, tmp_path)
    assert transport.server is not None
    client = transport.client()
    client.set("k", "parent")
    hanging = transport.client().connection_pool.make_connection()
    hanging.connect()

    def child() -> list[Any]:
        assert transport.server is not None
        mine = redis.Redis.from_url(transport.server.url)
        found = [mine.get("k"), client.get("k")]
        mine.set("k", "child")
        transport.server.stop()
        emulator.close()
        return [*found, transport.server.running, mine.get("k"), mine.rpush("l", 1)]

    with busy_threads(lambda: client.incr("n")):
        for _ in range(3):
            client.set("k", "parent")
            assert in_child(child)[:4] == [b"parent", b"parent", False, b"child"]
    assert client.get("k") == b"child"
    assert client.llen("l") == 3
    hanging.send_command("PING")
    assert hanging.read_response() in (b"PONG", "PONG", True)
    assert transport.server.running
    transport.close()


def test_a_child_closes_the_sockets_of_the_server(emulator: RedisEmulator) -> None:
    """Clients see the server's end and the port is free while a child is still running."""
    ours, theirs = os.pipe()
    ready, is_ready = os.pipe()
    with emulator.serve() as server:
        with redis.Redis.from_url(server.url, socket_timeout=30) as client:
            connection = client.connection_pool.make_connection()
            connection.connect()
            child = os.fork()
            if not child:
                os.write(is_ready, b"1")
                os.close(theirs)
                os.read(ours, 1)
                os._exit(0)
            try:
                os.read(ready, 1)
                server.stop()
                with pytest.raises(redis.ConnectionError):
                    connection.read_response()
                with emulator.serve(port=server.port) as again:
                    assert redis.Redis.from_url(again.url).ping()
            finally:
                for pipe in (ours, theirs, ready, is_ready):
                    os.close(pipe)
                os.waitpid(child, 0)


def _use_in_worker(emulator: RedisEmulator, url: str, answers: Any) -> None:
    try:
        emulator.execute("PING")
    except ForkedError as error:
        client = redis.Redis.from_url(url)
        answers.put(("serve()" in str(error), client.incr("n")))


def test_workers_of_multiprocessing_use_the_server(emulator: RedisEmulator) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    with emulator.serve() as server, busy_threads(lambda: emulator.execute("INCR", "busy_threads")):
        workers = [
            context.Process(target=_use_in_worker, args=(emulator, server.url, answers))
            for _ in range(4)
        ]
        for worker in workers:
            worker.start()
        found = [answers.get() for _ in workers]
        for worker in workers:
            worker.join()
    assert sorted(found) == [(True, number + 1) for number in range(4)]


def test_a_fork_inside_a_command(emulator: RedisEmulator) -> None:
    """The forking thread holds the emulator's lock."""
    answers: list[Any] = []

    def fork(argv: list[bytes]) -> bool:
        if not answers:
            answers.append(None)
            answers.append(in_child(lambda: refused_text(emulator)))
        return False

    with emulator.faults.fail(fork):
        emulator.client().set("k", "v")
    assert "serve()" in answers[1]
    assert emulator.execute("GET", "k") == b"v"


def refused_text(emulator: RedisEmulator) -> str:
    try:
        emulator.execute("PING")
    except ForkedError as error:
        return str(error)
    return "no ForkedError"
