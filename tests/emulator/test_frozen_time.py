"""Time limits end while freezegun or time-machine has stopped the time of Python."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
import time_machine
from freezegun import freeze_time
from redis.backoff import NoBackoff
from redis.retry import Retry

from redis_emulator import RedisEmulator
from tests.support.transports import Transport

pytestmark = pytest.mark.timeout(30)


@pytest.mark.parametrize("name", ["in-process"])
@pytest.mark.parametrize("how", ["freezegun", "time-machine"])
def test_time_limits_end_while_time_stands_still(name: str, how: str, tmp_path: Path) -> None:
    transport = Transport(name, RedisEmulator(), tmp_path)
    frozen = freeze_time("2030-01-01") if how == "freezegun" else time_machine.travel(0, tick=False)
    with frozen:
        client = transport.client()
        assert client.blpop("nothing", 0.01) is None
        assert client.xread({"nothing": "$"}, block=10) in ([], {})
        assert client.wait(1, 10) == 0
        if name == "in-process":  # redis-py measures its own time on sockets
            impatient = transport.client(socket_timeout=0.01, retry=Retry(NoBackoff(), 0))
            with pytest.raises(redis.TimeoutError):
                impatient.blpop("nothing", 0)
            pubsub = client.pubsub()
            pubsub.subscribe("channel")
            assert pubsub.get_message(timeout=5) is not None
            assert pubsub.get_message(timeout=0.01) is None
        client.set("k", "v", px=1)
        assert client.get("k") == b"v"  # keys go by the time that stands still
    transport.close()


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
            assert await pubsub.get_message(timeout=5) is not None
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
