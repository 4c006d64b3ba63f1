"""Time limits end while freezegun or time-machine has stopped the time of Python."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
import time_machine
from freezegun import freeze_time
from redis.backoff import NoBackoff
from redis.retry import Retry

from podlink import (
    LinkRouter,
    OperationTimeoutError,
    RedisConfig,
    RedisConnectionError,
    StatefulExecutor,
)
from redis_emulator import RedisEmulator
from tests.support.transports import REDIS_PY, TRANSPORTS, Transport
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.timeout(30)


FROZEN: dict[str, Callable[[], Any]] = {
    "freezegun-future": lambda: freeze_time("2099-01-01"),
    "freezegun-past": lambda: freeze_time("2001-01-01"),
    "time-machine": lambda: time_machine.travel(0, tick=False),
}


@pytest.mark.parametrize("name", TRANSPORTS)
@pytest.mark.parametrize("frozen", FROZEN.values(), ids=FROZEN.keys())
def test_timeouts_expire_while_time_is_frozen(
    name: str, frozen: Callable[[], Any], tmp_path: Path
) -> None:
    transport = Transport(name, RedisEmulator(), tmp_path)
    with frozen():
        client = transport.client()
        assert client.blpop("nothing", 0.01) is None
        assert client.xread({"nothing": "$"}, block=10) in ([], {})
        assert client.wait(1, 10) == 0
        pubsub = client.pubsub()
        pubsub.subscribe("channel")
        assert pubsub.get_message(timeout=PATIENCE) is not None
        assert pubsub.get_message(timeout=0.01) is None
        client.set("k", "v", px=1)
        for _ in range(3):  # the server's timer also sees the frozen time
            assert client.blpop("nothing", 0.01) is None
            transport.emulator.engine.tick()
        assert client.get("k") == b"v"  # keys expire by the frozen time
        if name != "unix" or REDIS_PY >= (5, 1):
            impatient = transport.client(socket_timeout=0.01, retry=Retry(NoBackoff(), 0))
            with pytest.raises(redis.TimeoutError):
                impatient.blpop("nothing", 0)
    transport.close()


@pytest.mark.parametrize("frozen", FROZEN.values(), ids=FROZEN.keys())
def test_operations_keep_their_deadline_while_time_is_frozen(frozen: Callable[[], Any]) -> None:
    with RedisEmulator() as emulator, socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        with emulator.serve() as server, frozen():
            with StatefulExecutor(server.url) as executor:
                assert executor.set_linked_pod("n", "u", "s", 1, timeout=9.0) is None
                assert executor.get_linked_pod("n", "u", "s", timeout=9.0) == 1
            config = RedisConfig.from_url(server.url, max_connections=1, pool_timeout=0.01)
            with StatefulExecutor(config) as executor:
                held = executor.manager.client.connection_pool.get_connection()
                with pytest.raises(RedisConnectionError, match="No connection available"):
                    executor.get_linked_pod("n", "u", "s", timeout=9.0)
                with LinkRouter(executor) as router, pytest.raises(OperationTimeoutError):
                    router.resolve("n", "u", "s", timeout=0.001)
                executor.manager.client.connection_pool.release(held)
            with StatefulExecutor(f"redis://127.0.0.1:{port}") as executor:
                with pytest.raises(OperationTimeoutError):
                    executor.get_linked_pod("n", "u", "s", timeout=0.01)


def test_moving_the_time_past_a_timeout_ends_it() -> None:
    with RedisEmulator() as emulator, freeze_time("2030-01-01") as frozen:
        client = emulator.client()
        connection = client.connection_pool.make_connection()
        connection.send_command("BLPOP", "nothing", 1000)
        assert not connection.can_read()
        frozen.tick(1001)
        assert connection.read_response() is None
        connection.disconnect()


async def test_a_coroutine_while_time_stands_still() -> None:
    with RedisEmulator() as emulator, freeze_time("2030-01-01", real_asyncio=True):
        client = emulator.async_client()
        assert await client.blpop("nothing", 0.01) is None
        async with client.pubsub() as pubsub:
            await pubsub.subscribe("channel")
            assert await pubsub.get_message(timeout=PATIENCE) is not None
            assert await pubsub.get_message(timeout=0.01) is None
        await client.aclose()


async def test_a_coroutine_that_polls_loses_no_message() -> None:
    with RedisEmulator() as emulator:
        client = emulator.async_client()
        async with client.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe("channel")
            heard = []
            for number in range(300):
                if number % 3 == 0:
                    assert await pubsub.get_message(timeout=0) is None
                    assert await pubsub.get_message(timeout=0.0001) is None
                await client.publish("channel", number)
                message = None
                while message is None:
                    message = await pubsub.get_message(timeout=0.0001)
                heard.append(int(message["data"]))
            assert heard == [*range(300)]
        await client.aclose()
