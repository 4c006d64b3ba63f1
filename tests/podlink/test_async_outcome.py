"""The outcome of a failed asyncio write is known only if the write cannot have been executed."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

import podlink
from podlink import AsyncStatefulExecutor, RedisConfig
from podlink.aio.sending import run_with_deadline
from podlink.calls import RAW, Call
from redis_emulator import RedisEmulator
from tests.support.scripted_server import ScriptedServer
from tests.support.waiting import PATIENCE, LoopClock

SOON = 0.05
"""Timeout of calls that no server receives, however late the timeout is."""

OPTIONS: dict[str, Any] = {
    "socket_timeout": 2 * PATIENCE,
    "socket_connect_timeout": 2 * PATIENCE,
    "retries": 1,
    "retry_backoff": 0.001,
    "protocol": 2,
}


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as started:
        yield started


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(params=[False, True], ids=["single", "batching"])
def batching(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def executor_of(url: str, batching: bool = False, **changes: Any) -> AsyncStatefulExecutor:
    config = RedisConfig.from_url(url, **{**OPTIONS, **changes})
    return AsyncStatefulExecutor(config, batching=batching)


async def failure(executor: AsyncStatefulExecutor, **kwargs: Any) -> podlink.StatefulError:
    with pytest.raises(podlink.StatefulError) as caught:
        await executor.set_linked_pod("n", "u", "s", 1, **kwargs)
    return caught.value


def check_unsent(error: podlink.StatefulError) -> None:
    assert not error.outcome_unknown
    assert "outcome" not in str(error)
    assert error.code.value in ("TIMEOUT", "REDIS_CONNECTION_ERROR")


@pytest.mark.parametrize("timeout", [SOON, None])
@pytest.mark.parametrize("scheme", ["redis", "redis+cluster", "redis+sentinel"])
async def test_outcome_is_known_if_the_server_never_replied(
    mute: str, batching: bool, scheme: str, timeout: float | None
) -> None:
    url = f"{scheme}://{mute}" + ("/service" if scheme == "redis+sentinel" else "")
    changes: Any = {"socket_timeout": 4 * SOON, "socket_connect_timeout": 4 * SOON}
    async with executor_of(url, batching, password="secret", **changes) as executor:
        check_unsent(await failure(executor, timeout=timeout))


async def test_hanging_name_lookup_ends_at_the_timeout(
    batching: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", hang)
    for timeout in (SOON, None):
        changes = {"socket_connect_timeout": 4 * SOON}
        async with executor_of("redis://somewhere", batching, **changes) as executor:
            check_unsent(await failure(executor, timeout=timeout))


async def test_exhausted_pool_is_an_error_with_known_outcome(
    server: ScriptedServer, batching: bool
) -> None:
    url = f"redis://{server.address}"
    async with executor_of(url, batching, max_connections=1, pool_timeout=SOON) as executor:
        async with executor.manager.connection():
            check_unsent(await failure(executor))
            check_unsent(await failure(executor, timeout=SOON))
        assert await executor.set_linked_pod("n", "u", "s", 1) is None
    assert len(server.executed) == 1


async def test_write_without_reply_has_unknown_outcome(
    server: ScriptedServer, batching: bool
) -> None:
    clock = LoopClock(asyncio.get_running_loop())
    async with executor_of(f"redis://{server.address}", batching) as executor:
        server.hold()
        for count, timeout in enumerate((PATIENCE, None), 1):
            call = asyncio.ensure_future(failure(executor, timeout=timeout))
            await server.until_executed(count)
            await clock.expire(call)
            error = call.result()
            assert isinstance(error, podlink.OperationTimeoutError)
            assert error.outcome_unknown
    assert len(server.executed) == 2, "none is repeated"


async def test_write_on_a_broken_connection_is_not_repeated(
    server: ScriptedServer, batching: bool
) -> None:
    async with executor_of(f"redis://{server.address}", batching) as executor:
        server.answer = None
        error = await failure(executor)
        assert isinstance(error, podlink.RedisConnectionError)
        assert error.outcome_unknown
        with pytest.raises(podlink.RedisConnectionError) as caught:
            await executor.get_linked_pod("n", "u", "s")
        assert not caught.value.outcome_unknown
    assert len(server.executed) == 1 + 2, "the write is not repeated, the read is"


async def test_call_cancelled_before_its_batch_is_sent_is_not_sent(server: ScriptedServer) -> None:
    async with executor_of(f"redis://{server.address}", True, socket_timeout=None) as executor:
        server.hold()
        first = asyncio.ensure_future(executor.set_linked_pod("n", "first", "s", 1))
        await server.until_executed(1)
        check_unsent(await failure(executor, timeout=SOON))
        cancelled = asyncio.ensure_future(executor.set_linked_pod("n", "cancelled", "s", 1))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        server.release()
        assert await first is None
        assert await executor.set_linked_pod("n", "last", "s", 1) is None
    assert [command[3] for command in server.executed] == [
        b"sf:{n:lk:first}s", b"sf:{n:lk:last}s",
    ]  # fmt: skip


async def test_call_timed_out_while_its_batch_connects_is_not_sent(
    server: ScriptedServer,
) -> None:
    server.hold_handshakes()
    changes: Any = {"socket_timeout": None, "password": "secret"}
    async with executor_of(f"redis://{server.address}", True, **changes) as executor:
        patient = asyncio.ensure_future(executor.set_linked_pod("n", "patient", "s", 1))
        check_unsent(await failure(executor, timeout=SOON))
        server.release()
        assert await patient is None
    assert [command[3] for command in server.executed] == [b"sf:{n:lk:patient}s"]


@pytest.mark.parametrize("timeout", [PATIENCE, None])
async def test_partly_answered_batch_names_the_uids_that_are_undone(
    server: ScriptedServer, timeout: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = LoopClock(asyncio.get_running_loop())
    read_response: Any = redis.asyncio.Connection.read_response
    replies: list[int] = []
    all_read = asyncio.Event()

    async def recorded(*args: Any, **options: Any) -> Any:
        reply = await read_response(*args, **options)
        if reply == 1:
            replies.append(reply)
            if len(replies) == 3:
                all_read.set()
        return reply

    monkeypatch.setattr(redis.asyncio.Connection, "read_response", recorded)
    server.answer = b":1\r\n"
    async with executor_of(f"redis://{server.address}") as executor:
        server.hold(after=3)
        uids = [f"u{number}" for number in range(8)]
        call = executor.batch_remove_linked_pod("n", uids, "s", timeout=timeout)
        task = asyncio.ensure_future(call)
        await all_read.wait()
        await clock.expire(task)
        with pytest.raises(podlink.OperationTimeoutError) as caught:
            await task
        assert caught.value.undone == tuple(uids[3:])
        assert caught.value.outcome_unknown


async def test_unsent_batch_names_all_uids_as_undone(mute: str) -> None:
    async with executor_of(f"redis://{mute}", password="secret") as executor:
        with pytest.raises(podlink.OperationTimeoutError) as caught:
            await executor.batch_remove_linked_pod("n", ["a", "b"], "s", timeout=SOON)
        assert caught.value.undone == ("a", "b")
        check_unsent(caught.value)


async def test_unexpected_exception_is_an_internal_error(
    server: ScriptedServer, batching: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with executor_of(f"redis://{server.address}", batching) as executor:
        await executor.set_linked_pod("n", "u", "s", 1)

        async def odd(*_: Any, **__: Any) -> Any:
            raise ArithmeticError("odd")

        monkeypatch.setattr(redis.asyncio.Connection, "read_response", odd)
        error = await failure(executor)
        assert isinstance(error, podlink.InternalError)
        assert error.outcome_unknown
        with pytest.raises(podlink.InternalError) as caught:
            await executor.get_linked_pod("n", "u", "s")
        assert not caught.value.outcome_unknown


async def test_closing_a_connection_in_use_is_a_connection_error(server: ScriptedServer) -> None:
    """redis-py then fails with an AttributeError of its own."""
    async with executor_of(f"redis://{server.address}", socket_timeout=None) as executor:
        server.hold()
        task = asyncio.ensure_future(executor.set_linked_pod("n", "u", "s", 1))
        await server.until_executed(1)
        await executor.manager.client.connection_pool.disconnect()
        with pytest.raises(podlink.RedisConnectionError) as caught:
            await task
        assert caught.value.outcome_unknown


async def test_argument_that_cannot_be_encoded_is_rejected(server: ScriptedServer) -> None:
    async with executor_of(f"redis://{server.address}") as executor:
        with pytest.raises(podlink.InvalidParameterError) as caught:
            await executor.manager.execute_script("set_linked_pod", ["k"], [object()])
        assert not caught.value.outcome_unknown
    assert not server.executed


@pytest.mark.parametrize("work", ["call", "pipeline", "batching"])
async def test_users_client_closing_a_connection_in_use_is_a_connection_error(
    server: ScriptedServer, work: str
) -> None:
    """redis-py then fails with an AttributeError of its own."""
    host, port = server.address.split(":")
    client = redis.asyncio.Redis(host=host, port=int(port), protocol=2, retry=Retry(NoBackoff(), 0))
    executor = AsyncStatefulExecutor(client, batching=work == "batching")
    server.hold()
    if work == "pipeline":
        task: Any = executor.batch_set_linked_pod_if_absent("n", ["u", "v"], "s", 1)
    else:
        task = executor.set_linked_pod("n", "u", "s", 1)
    task = asyncio.ensure_future(task)
    await server.until_executed(1)
    await client.connection_pool.disconnect()
    with pytest.raises(podlink.RedisConnectionError) as caught:
        await task
    assert caught.value.outcome_unknown
    server.release()
    await client.aclose()


async def test_undecodable_reply_is_an_internal_error(
    server: ScriptedServer,
) -> None:
    server.answer = b"$1\r\n\xff\r\n"
    url = f"redis://{server.address}?protocol=2"
    async with redis.asyncio.Redis.from_url(url, decode_responses=True) as client:
        manager = podlink.AsyncRedisManager(client)
        with pytest.raises(podlink.InternalError, match="UnicodeDecodeError"):
            await manager.execute_script("set_linked_pod", ["k"], [1])


async def test_cancellation_is_not_lost_when_it_comes_with_the_reply() -> None:
    """A call that has not ended when it is cancelled ends with `CancelledError`."""
    for turns in range(20):  # of the event loop, between the reply and the cancellation
        reply: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def work(reply: asyncio.Future[None] = reply) -> None:
            await reply

        call = asyncio.ensure_future(run_with_deadline(work(), (), 60))
        for _ in range(3):
            await asyncio.sleep(0)
        reply.set_result(None)
        for _ in range(turns):
            await asyncio.sleep(0)
        if not call.cancel():
            assert turns > 0
            return
        with pytest.raises(asyncio.CancelledError):
            await call
    raise AssertionError("the call never ends")


async def test_cancellation_is_not_lost_while_connecting_and_writing() -> None:
    """It would be by redis-py, which uses `asyncio.wait_for`."""
    moments = random.Random(1)
    with RedisEmulator() as emulator, emulator.serve() as served:
        for _ in range(60):
            async with AsyncStatefulExecutor(f"redis://127.0.0.1:{served.port}") as executor:
                endless = Call("test", ("BLPOP", "l", "0"), (b"l",), lambda _, reply: reply)
                call = asyncio.ensure_future(executor.manager.send(endless, RAW))
                await asyncio.sleep(moments.uniform(0, 0.006))
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
