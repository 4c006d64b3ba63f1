"""Every wait of a synchronous call ends at its timeout, and the error says whether the call was
sent.

A mute server is a socket that listens and never replies: the kernel accepts connections for it. A
hanging lookup waits for an event. The other limits of the configuration are minutes, so a call that
ends has kept its own timeout.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
import redis.asyncio

import podlink
from podlink import (
    AsyncRedisManager,
    ErrorCode,
    OperationTimeoutError,
    RedisConfig,
    RedisManager,
    StatefulExecutor,
    lookup,
    manager,
)
from podlink.calls import RetryPolicy
from redis_emulator import RedisEmulator

LONG = 100.0
SHORT = 0.05
PATIENT: dict[str, Any] = {
    "socket_timeout": LONG,
    "socket_connect_timeout": LONG,
    "pool_timeout": LONG,
    "retries": 3,
    "retry_backoff": LONG,
    "retry_backoff_cap": LONG,
}


class Hanging:
    """Replaces ``socket.getaddrinfo`` and blocks until `let_go` is set."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.asked = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.asked += 1
        self.let_go.wait(LONG)
        raise socket.gaierror(socket.EAI_NONAME, "let go")


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    made = Hanging()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    yield made
    made.let_go.set()
    while lookup._pending:
        pass


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of a server that never replies."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def url() -> Iterator[str]:
    with RedisEmulator().serve(port=0) as server:
        yield f"redis://127.0.0.1:{server.port}"


MUTE = {
    "plain": "redis://{}",
    "tls": "rediss://{}?ssl_cert_reqs=none",
    "sentinel": "redis+sentinel://{}/mymaster",
    "sentinel_tls": "rediss+sentinel://{}/mymaster?ssl_cert_reqs=none",
    "cluster": "redis+cluster://{}",
    "cluster_tls": "rediss+cluster://{}?ssl_cert_reqs=none",
    "authenticated": "redis://:secret@{}?protocol=3",
}
WRITES: dict[str, Callable[[StatefulExecutor], Any]] = {
    "one": lambda executor: executor.set_linked_pod("n", "u", "s", 1, timeout=SHORT),
    "batch": lambda executor: executor.batch_set_linked_pod_if_absent(
        "n", ["u", "v"], "s", 1, timeout=SHORT
    ),
}


def check_not_sent(call: Callable[[], Any]) -> None:
    """Check that a call times out and its outcome is known."""
    with pytest.raises(OperationTimeoutError) as caught:
        call()
    assert not caught.value.outcome_unknown
    assert "unknown" not in str(caught.value)


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("kind", MUTE)
def test_connecting_to_a_mute_server_ends_at_the_timeout(mute: str, kind: str, write: str) -> None:
    config = RedisConfig.from_url(MUTE[kind].format(mute), **PATIENT)
    with StatefulExecutor(config) as executor:
        check_not_sent(lambda: WRITES[write](executor))


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("kind", MUTE)
def test_hanging_name_lookup_ends_at_the_timeout(hanging: Hanging, kind: str, write: str) -> None:
    config = RedisConfig.from_url(MUTE[kind].format("redis.invalid:6379"), **PATIENT)
    with StatefulExecutor(config) as executor:
        for _ in range(3):
            check_not_sent(lambda: WRITES[write](executor))
    assert hanging.asked == 1, "calls share a look-up that hangs"


QUICK: dict[str, Any] = {**PATIENT, "socket_connect_timeout": SHORT, "retries": 0}


def test_connect_timeout_applies_to_name_lookup(hanging: Hanging) -> None:
    with StatefulExecutor(RedisConfig(host="redis.invalid", **QUICK)) as executor:
        check_not_sent(lambda: executor.set_linked_pod("n", "u", "s", 1))


def test_connect_timeout_applies_to_the_tls_handshake(mute: str) -> None:
    with StatefulExecutor(RedisConfig.from_url(MUTE["tls"].format(mute), **QUICK)) as executor:
        check_not_sent(lambda: executor.set_linked_pod("n", "u", "s", 1))


def test_unknown_host_name_is_a_connection_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with StatefulExecutor(RedisConfig(host="redis.invalid", retries=0)) as executor:
        with pytest.raises(podlink.RedisConnectionError, match="Name or service") as caught:
            executor.set_linked_pod("n", "u", "s", 1)
    assert not caught.value.outcome_unknown


def test_all_addresses_of_a_name_are_tried(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first address that accepts the connection is used."""
    port = int(url.rpartition(":")[2])
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        found = [(*kind, closed.getsockname()), (*kind, ("127.0.0.1", port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
        with StatefulExecutor(RedisConfig(host="redis.invalid", port=port)) as executor:
            assert executor.get_linked_pod("n", "u", "s") is None


def test_threads_waiting_for_a_cluster_keep_their_own_timeouts(hanging: Hanging) -> None:
    """One thread connects, another waits for it, each with its own timeout."""
    config = RedisConfig.from_url("redis+cluster://redis.invalid:1", **PATIENT)
    with StatefulExecutor(config) as executor:

        def connect() -> None:
            with pytest.raises(podlink.RedisConnectionError):
                executor.get_linked_pod("n", "u", "s", timeout=LONG)

        first = threading.Thread(target=connect)
        first.start()
        while not hanging.asked:
            pass
        check_not_sent(lambda: WRITES["one"](executor))
        hanging.let_go.set()
        first.join()


EXECUTORS: dict[Any, Any] = {
    RedisManager: StatefulExecutor,
    AsyncRedisManager: podlink.AsyncStatefulExecutor,
}


@pytest.mark.parametrize("kind", ["plain", "cluster", "tls"])
@pytest.mark.parametrize("by_default", [False, True], ids=["argument", "configuration"])
@pytest.mark.parametrize("flavour", [RedisManager, AsyncRedisManager])
def test_manager_methods_accept_a_timeout(
    mute: str, kind: str, by_default: bool, flavour: Any
) -> None:
    config = RedisConfig.from_url(MUTE[kind].format(mute), **PATIENT)
    arguments: dict[str, Any] = {"timeout": SHORT}
    if by_default:
        config, arguments = config.with_changes(timeout=SHORT), {}

    async def finished(result: Any) -> Any:
        return await result if inspect.isawaitable(result) else result

    async def use() -> None:
        made = flavour(config)
        executor: Any = EXECUTORS[flavour](made)
        health = await finished(made.health_check(**arguments))
        assert not health
        assert health.error is not None
        assert health.error.code is ErrorCode.TIMEOUT
        calls: list[Callable[[], Any]] = [
            lambda: made.load_script("mine", "return 1", **arguments),
            lambda: made.preload_scripts(**arguments),
            lambda: made.execute_script("set_linked_pod", ["k"], [1], **arguments),
            lambda: executor.drain_pod("n", "s", 1, **arguments),
        ]
        if kind == "cluster":
            calls.append(lambda: made.nodes(**arguments))
        if kind != "cluster":  # on a cluster it is the client itself, which asyncio connects later
            calls.append(lambda: made.get_connection(**arguments))
        for call in calls:
            with pytest.raises(OperationTimeoutError):
                await finished(call())
        await finished(made.close())

    asyncio.run(use())


@pytest.mark.parametrize("flavour", [RedisManager, AsyncRedisManager])
@pytest.mark.parametrize("bad", [0, -1, "1", True, float("nan")])
def test_invalid_timeout_is_rejected(flavour: Any, bad: Any) -> None:
    made = flavour("redis://127.0.0.1:1")
    for name in ("health_check", "preload_scripts"):
        with pytest.raises(podlink.InvalidParameterError, match="timeout"):
            asyncio.run(getattr(made, name)(timeout=bad))


def test_missing_reply_leaves_the_outcome_unknown() -> None:
    emulator = RedisEmulator()
    with emulator.serve(port=0) as server:
        config = RedisConfig.from_url(f"redis://127.0.0.1:{server.port}", **PATIENT)
        with StatefulExecutor(config) as executor:
            executor.set_linked_pod("n", "u", "s", 1)
            with server_paused(server.url):
                with pytest.raises(OperationTimeoutError) as caught:
                    executor.set_linked_pod("n", "u", "s", 2, timeout=SHORT)
                assert caught.value.outcome_unknown


@contextmanager
def server_paused(url: str) -> Iterator[None]:
    """Pause the writes of a server."""
    with redis.Redis.from_url(url) as client:
        client.client_pause(int(LONG * 1000), all=False)
        yield
        client.client_unpause()


def test_retry_delay_ends_at_the_timeout(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configured delays are minutes, but no pause exceeds the timeout."""
    slept: list[float] = []
    monkeypatch.setattr(manager, "sleep", slept.append)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        config = RedisConfig(port=closed.getsockname()[1], host="127.0.0.1", **PATIENT)
        with StatefulExecutor(config) as executor:
            with pytest.raises(podlink.RedisConnectionError):
                executor.set_linked_pod("n", "u", "s", 1, timeout=20.0)
    assert len(slept) == 3
    assert all(0 < seconds <= 20.0 for seconds in slept)


def test_nothing_is_sent_after_the_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This also holds for a client without timeouts."""
    attempts: list[tuple[Any, ...]] = []

    class Refusing(redis.Redis):
        def execute_command(self, *args: Any, **options: Any) -> Any:
            attempts.append(args)
            raise redis.ConnectionError("Error 111 connecting to nowhere")

    executor = StatefulExecutor(Refusing())
    executor.manager.retry_policy = RetryPolicy(3, LONG, LONG)
    check_not_sent(lambda: executor.set_linked_pod("n", "u", "s", 1, timeout=SHORT))
    assert len(attempts) == 1


async def test_asyncio_retry_delay_ends_at_the_timeout() -> None:
    """Nothing is sent after the pause, because the timeout has ended it."""
    attempts: list[tuple[Any, ...]] = []

    class Refusing(redis.asyncio.Redis):
        async def execute_command(self, *args: Any, **options: Any) -> Any:
            attempts.append(args)
            raise redis.ConnectionError("Error 111 connecting to nowhere")

    executor = podlink.AsyncStatefulExecutor(Refusing())
    executor.manager.retry_policy = RetryPolicy(3, 10 * SHORT, 10 * SHORT)
    with pytest.raises(OperationTimeoutError) as caught:
        await executor.set_linked_pod("n", "u", "s", 1, timeout=SHORT)
    assert not caught.value.outcome_unknown
    assert len(attempts) == 1
