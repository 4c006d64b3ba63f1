"""`PubSub.get_message(timeout=…)` returns None on a timeout, and no message is lost: clients of one
server and of a cluster, sharded and not, synchronous and asyncio, on the emulator and a server.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis
import redis.asyncio

from pytest_podlink import servers
from redis_emulator import ClusterEmulator, RedisEmulator
from tests.support.processes import SLOTS
from tests.support.waiting import until

MESSAGES = 60
STORES = ["in-process", "tcp", "redis-8.2"]


@pytest.fixture(scope="module", params=STORES)
def single(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Functions that return a synchronous and an asyncio client of one server."""
    with ExitStack() as stack:
        if request.param == "redis-8.2":
            port = stack.enter_context(servers.start(request.param)).port
        else:
            emulator = stack.enter_context(RedisEmulator())
            if request.param == "in-process":
                yield emulator.client, emulator.async_client
                return
            port = stack.enter_context(emulator.serve()).port or 0
        yield lambda: redis.Redis(port=port), lambda: redis.asyncio.Redis(port=port)


@pytest.fixture(scope="module", params=STORES)
def cluster(request: pytest.FixtureRequest) -> Iterator[Any]:
    """As `single`, of a cluster."""
    with ExitStack() as stack:
        if request.param == "redis-8.2":
            node = stack.enter_context(
                servers.start(request.param, extra_args=("--cluster-enabled", "yes"))
            )
            node.client().execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
            until(lambda: b"cluster_state:ok" in _cluster_info(node), "the cluster is ok")
            port = node.port
        else:
            emulator = stack.enter_context(ClusterEmulator(nodes=3, replicas=0))
            if request.param == "in-process":
                yield emulator.client, emulator.async_client
                return
            port = stack.enter_context(emulator.serve()).nodes[0].port
        yield (
            lambda: redis.RedisCluster(host="127.0.0.1", port=port),
            lambda: redis.asyncio.RedisCluster(host="127.0.0.1", port=port),
        )


def _cluster_info(node: servers.Server) -> bytes:
    with node.client(decode_responses=False) as admin:
        connection = admin.connection_pool.make_connection()
        connection.send_command("CLUSTER", "INFO")
        reply = connection.read_response()
        connection.disconnect()
    assert isinstance(reply, bytes)
    return reply


def poll(client: Any, sharded: bool) -> None:
    """Publish numbers, and poll for each with timeouts that mostly end before it arrives."""
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    subscribe, publish = pubsub.subscribe, client.publish
    get = pubsub.get_message
    if sharded:
        subscribe, publish = pubsub.ssubscribe, client.spublish
        get = getattr(pubsub, "get_sharded_message", get)
    subscribe("channel")
    until(lambda: get(timeout=0.001) is None and pubsub.subscribed, "the subscription")
    heard: list[int] = []

    def hear() -> bool:
        message = get(timeout=0.0001)
        if message is not None:
            heard.append(int(message["data"]))
        return len(heard) > number

    for number in range(MESSAGES):
        if number % 3 == 0:
            assert get(timeout=0) is None
            assert get(timeout=0.0001) is None
        publish("channel", number)
        until(hear, f"message {number}")
    assert heard == [*range(MESSAGES)]
    assert get(timeout=0.0001) is None
    pubsub.close()
    client.close()


async def poll_async(client: Any, sharded: bool) -> None:
    """The asyncio twin of `poll`."""
    await client.get("k")  # a cluster client must know the slots
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    subscribe, publish = pubsub.subscribe, client.publish
    get = pubsub.get_message
    if sharded:
        subscribe, publish = pubsub.ssubscribe, client.spublish
        get = getattr(pubsub, "get_sharded_message", get)
    await subscribe("channel")
    while await get(timeout=0.001) is not None:
        pass
    heard: list[int] = []
    for number in range(MESSAGES):
        if number % 3 == 0:
            assert await get(timeout=0) is None
            assert await get(timeout=0.0001) is None
        await publish("channel", number)
        while len(heard) <= number:
            message = await get(timeout=0.0001)
            if message is not None:
                heard.append(int(message["data"]))
    assert heard == [*range(MESSAGES)]
    assert await get(timeout=0.0001) is None
    await pubsub.aclose()
    await client.aclose()


def test_client_of_one_server(single: Any) -> None:
    poll(single[0](), sharded=False)


async def test_asyncio_client_of_one_server(single: Any) -> None:
    await poll_async(single[1](), sharded=False)


@pytest.mark.parametrize("sharded", [False, True], ids=["plain", "sharded"])
def test_client_of_a_cluster(cluster: Any, sharded: bool) -> None:
    poll(cluster[0](), sharded)


@pytest.mark.skipif(
    not hasattr(redis.asyncio.RedisCluster, "pubsub"),
    reason="this redis-py has no pub/sub for asyncio cluster clients",
)
@pytest.mark.parametrize("sharded", [False, True], ids=["plain", "sharded"])
async def test_asyncio_client_of_a_cluster(cluster: Any, sharded: bool) -> None:
    await poll_async(cluster[1](), sharded)
