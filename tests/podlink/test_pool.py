"""The synchronous pool: limits, waiting, and exceptions at every point.

`interrupted` raises `KeyboardInterrupt` before one chosen bytecode instruction. A signal handler
can raise it in fewer places, so code that passes these tests survives Ctrl-C.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

import pytest

import podlink
from podlink import OperationTimeoutError, RedisConfig, RedisConnectionError, StatefulExecutor
from podlink.pool import Pool, PoolExhausted
from pytest_podlink import servers
from redis_emulator import RedisEmulator

LIMIT = 2
POINTS = int(os.environ.get("INTERRUPTIONS", "30"))
"""The number of points of each action at which an exception is raised."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with RedisEmulator().serve(port=0) as server:
        yield f"redis://127.0.0.1:{server.port}"


@pytest.fixture
def executor(url: str) -> Iterator[StatefulExecutor]:
    config = RedisConfig.from_url(url, max_connections=LIMIT, pool_timeout=0.0, retries=0)
    with StatefulExecutor(config) as made:
        yield made


def steps(action: Callable[[], Any]) -> int:
    """Return the number of bytecode instructions of an action in podlink and redis-py."""
    return _traced(action, None)


def interrupted(action: Callable[[], Any], step: int) -> bool:
    """Run an action, raise before its instruction number ``step``, and return whether that was
    reached.
    """
    try:
        _traced(action, step)
    except KeyboardInterrupt:
        return True
    return False


_LIBRARIES = ("podlink", "redis")


def _is_traced(code: CodeType) -> bool:
    return any(f"/{name}/" in code.co_filename for name in _LIBRARIES)


def _traced(action: Callable[[], Any], stop: int | None) -> int:
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        if not _is_traced(frame.f_code):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode":
            count += 1
            if count == stop:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


def pool_of(executor: StatefulExecutor) -> Pool:
    pool = executor.manager.client.connection_pool
    assert isinstance(pool, Pool)
    return pool


ACTIONS: dict[str, Callable[[StatefulExecutor, int], Any]] = {
    "write": lambda executor, n: executor.set_linked_pod("n", f"u{n}", "s", n),
    "read": lambda executor, n: executor.get_linked_pod("n", "fixed", "s"),
    "batch": lambda executor, n: executor.batch_set_linked_pod_if_absent(
        "n", [f"b{n}", "fixed", f"c{n}"], "s", n
    ),
    "reserved": lambda executor, n: reserve(executor),
    "health": lambda executor, n: executor.manager.health_check(),
}


def reserve(executor: StatefulExecutor) -> None:
    with executor.manager.connection() as connection:
        connection.echo("reserved")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("fresh", [False, True], ids=["connected", "connecting"])
@pytest.mark.parametrize("action", ACTIONS)
def test_interrupted_call_keeps_connections_and_replies_apart(
    executor: StatefulExecutor, action: str, fresh: bool
) -> None:
    """Afterwards the pool still has both connections, and each caller reads its own reply."""
    executor.set_linked_pod("n", "fixed", "s", 7)
    run, pool = ACTIONS[action], pool_of(executor)
    number = 0

    def act() -> None:
        run(executor, number)

    act()
    if fresh:
        pool.disconnect()
    total = steps(act)
    chance = random.Random(f"{action} {fresh}")
    points = sorted(chance.sample(range(1, total + 1), min(total, POINTS)))
    hit = 0
    for number in points:
        if fresh:
            pool.disconnect()
        hit += interrupted(act, number)
        assert executor.get_linked_pod("n", "fixed", "s") == 7, number
        assert executor.batch_get_linked_pod("n", ["fixed", "nobody"], "s") == {7: ["fixed"]}
        with executor.manager.connection() as one, executor.manager.connection() as two:
            assert (one.echo("1"), two.echo("2")) == (b"1", b"2"), number
        assert pool._in_use_connections == set()
    assert hit > len(points) // 2


def test_max_connections_holds_for_concurrent_threads(url: str) -> None:
    config = RedisConfig.from_url(url, max_connections=3, pool_timeout=30.0)
    most = 0
    with StatefulExecutor(config) as executor:
        pool = pool_of(executor)

        def work() -> None:
            nonlocal most
            for _ in range(50):
                executor.set_linked_pod("n", "u", "s", 1)
                most = max(most, len(pool._connections()))

        threads = [threading.Thread(target=work) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert executor.metrics.total == 0
        assert most == len(pool._connections()) == 3


def test_waiting_thread_gets_the_released_connection(url: str) -> None:
    config = RedisConfig.from_url(url, max_connections=1, pool_timeout=30.0)
    with StatefulExecutor(config) as executor:
        pool = pool_of(executor)
        got: list[Any] = []
        connection = pool.get_connection()
        waiting = threading.Thread(target=lambda: got.append(pool.get_connection()))
        waiting.start()
        while not pool._waiters:
            pass
        pool.release(connection)
        waiting.join()
        assert got == [connection]
        pool.release(connection)


def test_waiting_thread_replaces_a_lost_connection(url: str) -> None:
    config = RedisConfig.from_url(url, max_connections=1, pool_timeout=30.0)
    with StatefulExecutor(config) as executor:
        pool = pool_of(executor)
        lost = [pool.get_connection()]
        waiting = threading.Thread(target=lambda: pool.release(pool.get_connection()))
        waiting.start()
        while not pool._waiters:
            pass
        lost.clear()
        waiting.join(30)
        assert not waiting.is_alive()


def test_pool_timeout_is_waited_for_once_per_call(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``pool_timeout`` is waited for once, although the executor repeats calls."""
    config = RedisConfig.from_url(url, max_connections=1, pool_timeout=0.01, retries=5)
    with StatefulExecutor(config) as executor:
        pool = pool_of(executor)
        waits: list[None] = []
        take = pool._take

        def counted() -> Any:
            waits.append(None)
            return take()

        monkeypatch.setattr(pool, "_take", counted)
        with executor.manager.connection():
            waits.clear()
            for call in (
                lambda: executor.set_linked_pod("n", "u", "s", 1),
                lambda: executor.batch_set_linked_pod_if_absent("n", ["u", "v"], "s", 1),
            ):
                with pytest.raises(RedisConnectionError, match="raise max_connections") as caught:
                    call()
                assert not caught.value.outcome_unknown
                assert isinstance(caught.value.cause, PoolExhausted)
            assert len(waits) == 2, "once for each call"


def test_timeout_ends_the_wait_for_a_connection(url: str) -> None:
    config = RedisConfig.from_url(url, max_connections=1, pool_timeout=600.0)
    with StatefulExecutor(config) as executor, executor.manager.connection():
        with pytest.raises(OperationTimeoutError) as caught:
            executor.set_linked_pod("n", "u", "s", 1, timeout=0.01)
        assert not caught.value.outcome_unknown


def test_connection_released_twice_is_idle_once(url: str) -> None:
    with StatefulExecutor(RedisConfig.from_url(url)) as executor:
        pool = pool_of(executor)
        connection = pool.get_connection()
        pool.release(connection)
        pool.release(connection)
        assert pool._idle == [connection]
        assert pool.get_connection() is connection
        assert pool.get_connection() is not connection


def test_lost_connection_is_freed_without_garbage_collection(url: str) -> None:
    """A reference cycle would keep a lost connection until the next garbage collection."""
    with StatefulExecutor(RedisConfig.from_url(url, max_connections=1)) as executor:
        pool = pool_of(executor)
        gc.disable()
        try:
            connection = pool.get_connection()
            connection.send_command("PING")
            connection.read_response()
            del connection
            assert pool._connections() == []
        finally:
            gc.enable()


@pytest.mark.needs_servers
def test_connections_of_replaced_and_closed_clients_are_closed() -> None:
    with servers.start("redis") as server, server.client() as admin:
        manager = podlink.RedisManager(RedisConfig.from_url(server.url, client_name="old"))

        def named(name: str, expected: int) -> bool:
            """Poll until this many clients have the name; return whether it happened."""
            for _ in range(500):
                listed: Any = admin.client_list()
                if sum(each["name"] == name for each in listed) == expected:
                    return True
            return False

        idle, used = manager.get_connection(), manager.get_connection()
        manager.release_connection(idle)
        assert named("old", 2)
        manager.update_config(client_name="new")
        assert named("old", 1), "the idle one is closed at once"
        assert used.ping(), "the reserved one goes on"
        manager.release_connection(used)
        assert named("old", 0), "and is closed when it is released"
        manager.client.ping()
        assert named("new", 1)
        manager.close()
        assert named("new", 0)


def test_closing_idle_connections_keeps_those_in_use(executor: StatefulExecutor) -> None:
    pool = pool_of(executor)
    first, second = pool.get_connection(), pool.get_connection()
    pool.release(first)
    pool.release(second)
    used: list[Any] = []

    def take_the_other() -> None:
        """Take a connection, as another thread may do while one is being closed."""
        if not used:
            used.append(pool.get_connection())
        type(second).disconnect(second)

    second.disconnect = take_the_other
    pool.disconnect(inuse_connections=False)
    assert used == [first]
    assert first._sock is not None, "closed while in use"
    assert pool._idle == [second]
