"""Which clients, pools and connections a configuration means, and that all of them are closed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection
from redis.backoff import NoBackoff

from podlink import AsyncRedisManager, RedisConfig, RedisManager, connections, sockets
from podlink.aio import connections as aio_connections
from podlink.aio import pool as aio_pool
from podlink.calls import RetryPolicy
from podlink.pool import Pool, SentinelPool
from redis_emulator import ClusterEmulator

FIELDS: dict[str, Any] = {
    "username": "me",
    "password": "secret",
    "client_name": "web",
    "max_connections": 7,
    "pool_timeout": 1.5,
    "socket_timeout": 2.5,
    "socket_connect_timeout": 3.5,
    "health_check_interval": 4,
}
PASSED = [name for name in FIELDS if name not in ("max_connections", "pool_timeout")]

KINDS: dict[str, tuple[type, type, dict[str, Any]]] = {
    "redis://h:1/2": (sockets.TimedConnection, Connection, {"host": "h", "port": 1, "db": 2}),
    "rediss://h:1/2": (sockets.TimedSSLConnection, SSLConnection, {"host": "h", "port": 1}),
    "unix:///run/r?db=2": (
        sockets.TimedUnixConnection, UnixDomainSocketConnection, {"path": "/run/r", "db": 2},
    ),
    "redis+sentinel://a:1,b:2/m?db=2": (
        sockets.TimedSentinelConnection, SentinelManagedConnection, {"db": 2},
    ),
    "rediss+sentinel://a:1,b:2/m?db=2": (
        sockets.TimedSentinelSSLConnection, SentinelManagedSSLConnection, {"db": 2},
    ),
}  # fmt: skip
"""The connection classes of a URL, and arguments of connections."""


def retries(retry: Any) -> int:
    return int(retry.get_retries() if hasattr(retry, "get_retries") else retry._retries)


def check_pool(pool: Any, kind: type, passed: dict[str, Any]) -> None:
    assert pool.connection_class.__name__ == kind.__name__  # a subclass
    assert pool.max_connections == 7
    arguments = pool.connection_kwargs
    assert {name: arguments[name] for name in passed} == passed
    assert {name: arguments[name] for name in PASSED} == {name: FIELDS[name] for name in PASSED}
    assert retries(arguments["retry"]) == 0, "podlink decides what is repeated"
    maintenance = arguments.get("maint_notifications_config")
    assert maintenance is None or not maintenance.enabled


@pytest.mark.parametrize("url", KINDS)
def test_connections_of_a_configuration(url: str) -> None:
    kind, _, passed = KINDS[url]
    client = RedisManager(RedisConfig.from_url(url, **FIELDS)).client
    assert isinstance(client, connections.Client)
    pool = client.connection_pool
    assert type(pool) is (SentinelPool if "sentinel" in url else Pool)
    assert pool._wait == 1.5
    check_pool(pool, kind, passed)


@pytest.mark.parametrize("url", KINDS)
async def test_asyncio_connections_of_a_configuration(url: str) -> None:
    _, kind, passed = KINDS[url]
    pool = AsyncRedisManager(RedisConfig.from_url(url, **FIELDS)).client.connection_pool
    assert type(pool) is (aio_pool.SentinelPool if "sentinel" in url else aio_pool.Pool)
    assert pool.pool_timeout == 1.5
    check_pool(pool, kind, passed)


@pytest.mark.parametrize("flavour", [RedisManager, AsyncRedisManager])
@pytest.mark.parametrize("scheme", ["redis", "rediss"])
async def test_sentinels_of_a_configuration(flavour: Any, scheme: str) -> None:
    """They are reached as the master is, with credentials of their own and in no database."""
    url = f"{scheme}+sentinel://a:1,b:2/m?db=2"
    config = RedisConfig.from_url(url, sentinel_username="s", sentinel_password="t", **FIELDS)
    pool = flavour(config).client.connection_pool
    assert pool.service_name == "m"
    found = [each.connection_pool for each in pool.sentinel_manager.sentinels]
    assert [(each.connection_kwargs["host"], each.connection_kwargs["port"]) for each in found] == [
        ("a", 1), ("b", 2),
    ]  # fmt: skip
    is_sync = flavour is RedisManager
    sync_class, async_class, _ = KINDS[f"{scheme}://h:1/2"]
    for each in found:
        assert isinstance(each, Pool if is_sync else aio_pool.Pool)
        assert each.connection_class.__name__ == (sync_class if is_sync else async_class).__name__
        assert each.connection_kwargs["username"] == "s"
        assert each.connection_kwargs["db"] == 0
        assert retries(each.connection_kwargs["retry"]) == 0


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
@pytest.mark.parametrize(
    ("nodes", "first"), [("h:1,b:2", "redis://h:1"), ("[::1]:1,b:2", "redis://[::1]:1")]
)
def test_cluster_client(scheme: str, nodes: str, first: str, monkeypatch: Any) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(connections, "ClusterClient", lambda **kwargs: given.update(kwargs))
    connections.connect_cluster(RedisConfig.from_url(f"{scheme}+cluster://{nodes}", **FIELDS))
    assert given["url"] == first
    assert [(node.host, node.port) for node in given["startup_nodes"]] == [("b", 2)]
    kind = sockets.TimedSSLConnection if scheme == "rediss" else sockets.TimedConnection
    assert given["connection_class"] is kind
    assert given["require_full_coverage"] is False
    assert "db" not in given
    pool = given["connection_pool_class"]()
    assert isinstance(pool, Pool)
    assert pool._wait == 1.5
    assert {name: given[name] for name in PASSED} == {name: FIELDS[name] for name in PASSED}
    if "retry" in given:
        assert retries(given["retry"]) == 0
    else:
        assert given["cluster_error_retry_attempts"] == 0
    maintenance = given.get("maint_notifications_config")
    assert maintenance is None or not maintenance.enabled


def test_cluster_client_has_its_nodes_served_by_pools_of_podlink(served: str) -> None:
    config = RedisConfig.from_url(served, pool_timeout=1.5, max_connections=3)
    with RedisManager(config) as manager:
        for node in manager.client.get_nodes():
            pool = manager.client.get_redis_connection(node).connection_pool
            assert isinstance(pool, Pool)
            assert (pool._wait, pool.max_connections) == (1.5, 3)
            assert pool.connection_class is sockets.TimedConnection


@pytest.fixture
def served() -> Iterator[str]:
    with ClusterEmulator() as cluster, cluster.serve():
        yield f"redis+cluster://127.0.0.1:{cluster.masters[0].port}"


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
async def test_asyncio_cluster_client(scheme: str) -> None:
    config = RedisConfig.from_url(f"{scheme}+cluster://a:1,b:2", **FIELDS)
    manager = AsyncRedisManager(config)
    client = manager.client
    assert isinstance(client, redis.asyncio.RedisCluster)
    assert set(client.nodes_manager.startup_nodes) == {"a:1", "b:2"}
    assert "db" not in client.connection_kwargs or client.connection_kwargs["db"] == 0
    sender: Any = manager.lease.sender
    assert sender._seeds == [("a", 1), ("b", 2)]
    pool: Any = sender._pool(("c", 3))
    assert isinstance(pool, aio_pool.Pool)
    assert pool.pool_timeout == 1.5
    kind = SSLConnection if scheme == "rediss" else Connection
    check_pool(pool, kind, {"host": "c", "port": 3})
    assert sender._pool(("c", 3)) is pool
    await manager.close()


async def test_asyncio_client_of_an_emulator_has_a_pool_of_podlink() -> None:
    config = RedisConfig.from_url("emulator://connections?db=2&max_connections=3", pool_timeout=1.5)
    async with AsyncRedisManager(config) as manager:
        pool = manager.client.connection_pool
        assert isinstance(pool, aio_pool.Pool)
        assert (pool.max_connections, pool.pool_timeout) == (3, 1.5)
        assert await manager.client.client_getname() is None
        async with manager.connection() as connection:
            await connection.set("key", "value")
    with RedisManager("emulator://connections?db=2") as other, other.connection() as client:
        assert client.get("key") == b"value"


def test_retries_of_a_client_that_was_handed_in() -> None:
    retries_of = aio_connections.retries_of
    assert retries_of(redis.asyncio.Redis()) == (0, 0.0, 0.0)
    node = AsyncClusterNode("127.0.0.1", 1)
    if not redis.__version__.startswith("5."):
        retry = AsyncRetry(NoBackoff(), 7)
        client = redis.asyncio.RedisCluster(startup_nodes=[node], retry=retry)
        assert retries_of(client) == RetryPolicy(7, 0.01, 0.25)

    class Older(redis.asyncio.RedisCluster):
        """As redis-py 5 makes them."""

        retry: Any = None

        def __init__(self, **attributes: int) -> None:
            for name, value in {**attributes, "_initialize": True}.items():
                setattr(self, name, value)

        def __del__(self, *_: Any) -> None:
            pass

    assert retries_of(Older(cluster_error_retry_attempts=2)) == RetryPolicy(2, 0.01, 0.25)
    assert retries_of(Older()) == RetryPolicy(3, 0.01, 0.25)


async def test_addresses_of_a_cluster_client_that_was_handed_in() -> None:
    """Its own translation of addresses holds for podlink's connections too."""
    client = redis.asyncio.RedisCluster(
        startup_nodes=[AsyncClusterNode("127.0.0.1", 1)], address_remap=lambda address: ("b", 2)
    )
    sender: Any = aio_connections.sender_of(client)
    assert sender._reachable("a", 1) == ("b", 2)
    assert sender._seeds == [("127.0.0.1", 1)]
    assert sender._prepare == client.initialize
