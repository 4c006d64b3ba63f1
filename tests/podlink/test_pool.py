"""The synchronous pool: limits, waiting, and interruptions at every point.

`interrupted` raises `KeyboardInterrupt` before one chosen bytecode instruction. A signal handler
can raise it in fewer places, so what survives this survives Ctrl-C.
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
"""How many points of each action are interrupted."""


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
    """How many bytecode instructions an action takes in podlink and redis-py."""
    return _traced(action, None)


def interrupted(action: Callable[[], Any], step: int) -> bool:
    """Run an action, interrupted before its instruction number ``step``; whether it was."""
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
def test_no_interruption_loses_a_connection_or_swaps_replies(
    executor: StatefulExecutor, action: str, fresh: bool
) -> None:
    """Interrupted anywhere, the pool of two has two, and each caller reads its own reply."""
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


def test_the_limit_holds_among_threads(url: str) -> None:
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


def test_a_waiting_thread_gets_the_connection_that_is_given_back(url: str) -> None:
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


def test_a_waiting_thread_gets_the_place_of_a_connection_that_is_lost(url: str) -> None:
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


def test_an_empty_pool_is_waited_for_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the executor repeats calls, ``pool_timeout`` is not waited for again."""
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


def test_the_deadline_cuts_the_wait_for_a_connection_short(url: str) -> None:
    config = RedisConfig.from_url(url, max_connections=1, pool_timeout=600.0)
    with StatefulExecutor(config) as executor, executor.manager.connection():
        with pytest.raises(OperationTimeoutError) as caught:
            executor.set_linked_pod("n", "u", "s", 1, timeout=0.01)
        assert not caught.value.outcome_unknown


def test_released_twice_it_is_there_once(url: str) -> None:
    with StatefulExecutor(RedisConfig.from_url(url)) as executor:
        pool = pool_of(executor)
        connection = pool.get_connection()
        pool.release(connection)
        pool.release(connection)
        assert pool._idle == [connection]
        assert pool.get_connection() is connection
        assert pool.get_connection() is not connection


def test_connections_are_collected_without_the_garbage_collector(url: str) -> None:
    """A reference cycle in a connection would keep a lost one until the next collection."""
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
def test_replaced_and_closed_clients_leave_no_connection_behind() -> None:
    with servers.start("redis") as server, server.client() as admin:
        manager = podlink.RedisManager(RedisConfig.from_url(server.url, client_name="old"))

        def named(name: str, expected: int) -> bool:
            """Whether so many clients have a name, once the server has seen who hung up."""
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


def test_closing_idle_connections_closes_none_that_is_in_use(executor: StatefulExecutor) -> None:
    pool = pool_of(executor)
    first, second = pool.get_connection(), pool.get_connection()
    pool.release(first)
    pool.release(second)
    used: list[Any] = []

    def take_the_other() -> None:
        """As another thread may do while a connection is being closed."""
        if not used:
            used.append(pool.get_connection())
        type(second).disconnect(second)

    second.disconnect = take_the_other
    pool.disconnect(inuse_connections=False)
    assert used == [first]
    assert first._sock is not None, "closed while in use"
    assert pool._idle == [second]
