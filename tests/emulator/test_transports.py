"""redis-py clients behave the same through every transport: in-process, TCP and unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from redis_emulator import RedisEmulator
from tests.support.transports import REDIS_PY, TRANSPORTS, Transport
from tests.support.waiting import PATIENCE, let_pass, until


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Transport]:
    transport = Transport(request.param, RedisEmulator(), tmp_path)
    yield transport
    transport.close()


@pytest.fixture(params=[2, 3])
def protocol(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def client(transport: Transport, protocol: int) -> redis.Redis:
    return transport.client(protocol=protocol, decode_responses=True)


@pytest.fixture
async def coroutines(transport: Transport, protocol: int) -> AsyncIterator[redis.asyncio.Redis]:
    client = transport.async_client(protocol=protocol, decode_responses=True)
    yield client
    await client.aclose()


def no_retries() -> Retry:
    return Retry(NoBackoff(), 0)


def retry_arguments() -> dict[str, Any]:
    """Arguments of a client that tries retry_arguments; the later ones do so anyway."""
    return {"retry": Retry(NoBackoff(), 3), "retry_on_error": [redis.ConnectionError]}


def test_replies_of_every_kind(client: redis.Redis) -> None:
    assert client.set("k", "v")
    assert client.get("k") == "v"
    assert client.get("nothing") is None
    assert client.incr("n", 5) == 5
    assert client.rpush("l", "a", "b") == 2
    assert client.lrange("l", 0, -1) == ["a", "b"]
    assert client.hset("h", mapping={"f": "1"}) == 1
    assert client.hgetall("h") == {"f": "1"}
    assert client.sadd("s", "a") == 1
    assert set(client.smembers("s")) == {"a"}
    assert client.zadd("z", {"a": 1.5}) == 1
    assert client.zscore("z", "a") == 1.5
    assert client.xadd("x", {"f": "v"}, id="1-1") == "1-1"
    assert client.xrange("x") == [("1-1", {"f": "v"})]
    assert client.expire("k", 100)
    assert client.config_get("hz") == {"hz": "10"}
    assert client.execute_command("BLPOP", "nothing", 0.01) is None
    with pytest.raises(redis.ResponseError, match="wrong kind of value"):
        client.lpush("k", "x")
    with pytest.raises(redis.DataError):
        client.set("k", object())  # type: ignore[arg-type]


def test_bytes_and_encodings(transport: Transport) -> None:
    plain = transport.client()
    assert plain.set("k", bytes(range(256)))
    assert plain.get("k") == bytes(range(256))
    latin = transport.client(encoding="latin-1", decode_responses=True)
    latin.set("é", "ü")
    assert latin.get("é") == "ü"
    assert plain.get(b"\xe9") == b"\xfc"


def test_pipelines_and_transactions(client: redis.Redis) -> None:
    for transaction in (True, False):
        pipeline: Any = client.pipeline(transaction=transaction)
        pipeline.set("k", 1).lpush("k", "x").incr("k")
        replies = pipeline.execute(raise_on_error=False)
        assert replies[0] is True
        assert isinstance(replies[1], redis.ResponseError)
        assert replies[2] == 2
    with pytest.raises(redis.ResponseError, match="Command # 2"):
        pipeline.set("k", 1).lpush("k", "x").execute()

    def double(pipeline: Any) -> None:
        value = int(pipeline.get("k"))
        if value == 1:
            client.set("k", 20)
        pipeline.multi()
        pipeline.set("k", value * 2)

    assert client.transaction(double, "k") == [True]
    assert client.get("k") == "40"


@pytest.mark.parametrize("single", [False, True])
def test_waiting_and_being_served(transport: Transport, client: redis.Redis, single: bool) -> None:
    waiting = transport.client(single_connection_client=single, decode_responses=True)
    started = time.monotonic()
    assert waiting.blpop(["l"], timeout=0.05) is None
    assert time.monotonic() - started > 0.04
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(waiting.blpop(["l"], timeout=PATIENCE)))
    thread.start()
    until(lambda: transport.emulator.engine.clients.blocked.waiting)
    client.rpush("l", "job")
    thread.join()
    assert [tuple(each) for each in found] == [("l", "job")]


def test_pubsub(client: redis.Redis) -> None:
    with client.pubsub() as pubsub:
        pubsub.subscribe("a")
        pubsub.psubscribe("b*")
        kinds = [(pubsub.get_message(timeout=PATIENCE) or {})["type"] for _ in range(2)]
        assert kinds == ["subscribe", "psubscribe"]
        assert pubsub.get_message(timeout=0.01) is None
        assert client.publish("a", "one") == 1
        assert client.publish("bc", "two") == 1
        messages = [pubsub.get_message(timeout=PATIENCE) for _ in range(2)]
        assert [(m["type"], m["channel"], m["data"]) for m in messages if m] == [
            ("message", "a", "one"),
            ("pmessage", "bc", "two"),
        ]
        client.publish("a", "three")
        assert next(iter(pubsub.listen()))["data"] == "three"
        pubsub.unsubscribe()
        pubsub.punsubscribe()
        kinds = [(pubsub.get_message(timeout=PATIENCE) or {})["type"] for _ in range(2)]
        assert sorted(kinds) == ["punsubscribe", "unsubscribe"]
    until(lambda: client.publish("a", "nobody") == 0)


def test_pubsub_in_a_thread(client: redis.Redis) -> None:
    heard: list[str] = []
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(news=lambda message: heard.append(message["data"]))
    thread = pubsub.run_in_thread(sleep_time=0.01)
    for number in range(20):
        client.publish("news", number)
    until(lambda: len(heard) == 20)
    thread.stop()
    thread.join(PATIENCE)
    assert heard == [str(number) for number in range(20)]


def test_monitor(client: redis.Redis) -> None:
    with client.monitor() as monitor:
        client.set("k", "v")
        commands: list[str] = []
        while not commands or not commands[-1].startswith("SET"):
            commands.append(monitor.next_command()["command"])
        assert commands[-1] == "SET k v"


def test_killed_clients_come_back(transport: Transport, client: redis.Redis) -> None:
    victim = transport.client(client_name="victim", **retry_arguments())
    assert victim.ping()
    number = victim.client_id()
    assert client.client_kill_filter(_id=str(number)) == 1
    assert victim.ping()
    assert victim.client_id() != number
    assert victim.client_getname() in (b"victim", "victim")
    stubborn = transport.client(retry=no_retries(), single_connection_client=True)
    number = stubborn.client_id()
    client.client_kill_filter(_id=str(number))
    with pytest.raises(redis.ConnectionError):
        stubborn.ping()
    assert stubborn.ping()


def test_blocked_client_that_is_killed_gets_a_connection_error(
    transport: Transport, client: redis.Redis
) -> None:
    waiting = transport.client(retry=no_retries())
    number = waiting.client_id()
    failed: list[redis.ConnectionError] = []

    def wait() -> None:
        try:
            waiting.blpop(["l"], timeout=PATIENCE)
        except redis.ConnectionError as error:
            failed.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: transport.emulator.engine.clients.blocked.waiting)
    client.client_kill_filter(_id=str(number))
    thread.join()
    assert failed


def test_a_subscriber_that_was_killed_listens_again(
    transport: Transport, client: redis.Redis
) -> None:
    pubsub = transport.client(**retry_arguments()).pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("a")
    pubsub.get_message(timeout=PATIENCE)
    client.client_kill_filter(_type="pubsub")
    heard = None
    deadline = time.monotonic() + PATIENCE
    while heard is None and time.monotonic() < deadline:
        client.publish("a", "retry_arguments")
        with contextlib.suppress(redis.ConnectionError):
            heard = pubsub.get_message(timeout=0.05)
    assert heard
    assert heard["data"] == b"retry_arguments"
    pubsub.close()


def test_socket_timeouts(transport: Transport) -> None:
    client = transport.client(socket_timeout=0.05, retry=no_retries())
    with pytest.raises(redis.TimeoutError):
        client.execute_command("BLPOP", "l", 0)
    assert client.ping()


def test_health_checks(transport: Transport) -> None:
    client = transport.client(health_check_interval=0.01, single_connection_client=True)
    before = _calls(client, "ping")
    let_pass(20)
    client.get("k")
    assert _calls(client, "ping") > before


def _calls(client: redis.Redis, name: str) -> int:
    return int(client.info("commandstats").get(f"cmdstat_{name}", {"calls": 0})["calls"])


def test_passwords_names_and_databases(transport: Transport) -> None:
    transport.emulator.execute("CONFIG", "SET", "requirepass", "secret")
    client = transport.client(password="secret", client_name="me", db=3)
    client.set("k", "v")
    assert client.client_getname() in (b"me", "me")
    assert transport.emulator[3]["k"] == b"v"
    stranger = transport.client(retry=no_retries())
    with pytest.raises(redis.AuthenticationError):
        stranger.ping()
    wrong = transport.client(password="wrong", retry=no_retries())
    with pytest.raises(redis.AuthenticationError):
        wrong.ping()


def test_too_many_clients(transport: Transport) -> None:
    first = transport.client()
    first.config_set("maxclients", 1)
    second = transport.client(retry=no_retries())
    with pytest.raises(redis.ConnectionError):
        second.ping()
    first.config_set("maxclients", 100)
    assert second.ping()


def test_replies_that_are_switched_off(transport: Transport) -> None:
    client = transport.client(single_connection_client=True)
    connection = client.connection
    assert connection
    connection.send_command("CLIENT", "REPLY", "OFF")
    connection.send_command("SET", "k", "v")
    connection.send_command("NOSUCH")
    connection.send_command("CLIENT", "REPLY", "ON")
    assert connection.read_response() == b"OK"
    connection.send_command("CLIENT", "REPLY", "SKIP")
    connection.send_command("PING")
    connection.send_command("GET", "k")
    assert connection.read_response() == b"v"


def test_quit(transport: Transport) -> None:
    client = transport.client(single_connection_client=True, **retry_arguments())
    assert client.quit()
    assert client.ping()


@pytest.mark.skipif(REDIS_PY < (5, 1), reason="no push handlers yet")
def test_push_messages_have_a_handler(transport: Transport) -> None:
    client = transport.client(protocol=3, single_connection_client=True)
    heard: list[Any] = []
    assert client.connection
    client.connection._parser.set_invalidation_push_handler(heard.append)
    client.execute_command("CLIENT", "TRACKING", "ON")
    client.get("k")
    transport.client().set("k", "changed")
    until(lambda: client.ping() and heard)
    assert heard[0] == [b"invalidate", [b"k"]]


def test_many_threads(transport: Transport) -> None:
    client = transport.client()

    def work() -> None:
        for _ in range(50):
            client.incr("n")
            pipeline: Any = client.pipeline()
            pipeline.incr("m").incr("m").execute()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (client.get("n"), client.get("m")) == (b"400", b"800")


async def test_coroutines(transport: Transport, coroutines: redis.asyncio.Redis) -> None:
    client: Any = coroutines
    assert await client.set("k", "v")
    assert await client.get("k") == "v"
    assert await client.blpop(["nothing"], timeout=0.02) is None
    with pytest.raises(redis.ResponseError, match="wrong kind"):
        await client.lpush("k", "x")
    assert await client.pipeline().incr("n").incr("n").execute() == [1, 2]
    taken = asyncio.create_task(client.blpop(["l"], timeout=PATIENCE))
    while not transport.emulator.engine.clients.blocked.waiting:
        await asyncio.sleep(0)
    await client.rpush("l", "job")
    assert tuple(await taken) == ("l", "job")
    counted = await asyncio.gather(*(client.incr("m") for _ in range(100)))
    assert sorted(counted) == [*range(1, 101)]


async def test_coroutines_listen(coroutines: redis.asyncio.Redis) -> None:
    async with coroutines.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe("a")
        assert await pubsub.get_message(timeout=0.01) is None
        for number in range(3):
            await coroutines.publish("a", number)
        heard = []
        async for message in pubsub.listen():
            heard.append(message["data"])
            if len(heard) == 3:
                break
        assert heard == ["0", "1", "2"]


async def test_coroutines_can_be_cancelled(
    transport: Transport, coroutines: redis.asyncio.Redis
) -> None:
    await coroutines.ping()
    waiting = transport.emulator.engine.clients.blocked.waiting
    call: Any = asyncio.ensure_future(coroutines.blpop(["l"], timeout=0))
    while not waiting:
        await asyncio.sleep(0)
    while not call.done():
        # Before Python 3.12, redis-py loses a cancellation that comes as it finishes writing.
        call.cancel()
        await asyncio.sleep(0)
    assert call.cancelled()
    while waiting:
        await asyncio.sleep(0)
    assert await coroutines.rpush("l", "x") == 1
    assert await coroutines.llen("l") == 1


async def test_coroutines_that_are_killed_come_back(
    transport: Transport, coroutines: redis.asyncio.Redis
) -> None:
    number = await coroutines.client_id()
    transport.emulator.execute("CLIENT", "KILL", "ID", number)
    with contextlib.suppress(redis.ConnectionError):
        await coroutines.ping()
    assert await coroutines.ping()
    assert await coroutines.client_id() != number


async def test_timeouts_of_coroutines(transport: Transport) -> None:
    client = transport.async_client(socket_timeout=0.05, retry=None)
    with pytest.raises(redis.TimeoutError):
        await client.execute_command("BLPOP", "l", 0)
    assert await client.ping()
    await client.aclose()


async def test_monitoring_coroutines(coroutines: redis.asyncio.Redis) -> None:
    async with coroutines.monitor() as monitor:
        await coroutines.set("k", "v")
        while True:
            command = await monitor.next_command()
            if command["command"] == "SET k v":
                break
