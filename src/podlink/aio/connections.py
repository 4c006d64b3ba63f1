"""The redis-py asyncio clients that a `RedisConfig` means; see `podlink.connections`.

Deadlines are kept by cancelling: redis-py drops a connection whose reply nobody waits for.
"""

from __future__ import annotations

import asyncio
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import NoBackoff
from redis.client import NEVER_DECODE

from podlink.calls import packed
from podlink.clients import (
    GET_CONNECTION,
    cluster_policy,
    connection_kwargs,
    sentinels_of,
    without_maintenance,
)
from podlink.config import RedisConfig

PIPELINES_NEED_RETRIES = int(redis.__version__.partition(".")[0]) < 6
"""Whether a cluster's pipeline does nothing when it must not repeat, as redis-py 5's does."""


class Client(redis.asyncio.Redis):
    """Sends podlink's calls with no more than they need; as the synchronous one."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """As `redis.asyncio.Redis.execute_command`."""
        if NEVER_DECODE not in options:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        pool = self.connection_pool
        connection = await take(pool)
        whole = False
        try:
            await connection.send_packed_command(packed(args))
            reply = await self.parse_response(connection, args[0], **options)
            whole = True
            return reply
        except redis.ResponseError:
            whole = True
            raise
        finally:
            if not whole:  # a reply may still come
                await connection.disconnect(nowait=True)
            await pool.release(connection)


async def take(pool: Any) -> Any:
    """A connection of a pool; ``pool.release`` gives it back.

    redis-py 5 does not notice that the server has closed it meanwhile.
    """
    connection = await pool.get_connection(*GET_CONNECTION)
    reader = getattr(connection, "_reader", None)
    if isinstance(reader, asyncio.StreamReader) and reader.at_eof():
        try:
            await connection.disconnect()
            await connection.connect()
        except BaseException:
            await pool.release(connection)
            raise
    return connection


def connect(config: RedisConfig) -> Any:
    """A client of what the configuration leads to. Sends nothing yet."""
    if config.cluster_nodes:
        return _of_cluster(config)
    if config.sentinel_nodes:
        return Client(connection_pool=_sentinel_pool(config))
    return Client(connection_pool=_pool(config))


async def disconnect(client: Any) -> None:
    """Close every connection of a client that was made here."""
    if not hasattr(client, "connection_pool"):
        await client.aclose()
        return
    await client.connection_pool.disconnect()
    for sentinel in sentinels_of(client):
        await sentinel.connection_pool.disconnect()


def _of_cluster(config: RedisConfig) -> redis.asyncio.RedisCluster:
    kwargs = connection_kwargs(config)
    kwargs.pop("db")
    if config.ssl:
        kwargs["ssl"] = True
    nodes = [ClusterNode(*address) for address in config.addresses(config.cluster_nodes)]
    return redis.asyncio.RedisCluster(
        startup_nodes=nodes,
        **cluster_policy(redis.asyncio.RedisCluster),
        **without_maintenance(redis.asyncio.RedisCluster),
        **kwargs,
    )


def _pool(config: RedisConfig) -> Any:
    kwargs = connection_kwargs(config)
    if config.unix_socket_path is not None:
        kwargs |= {"connection_class": UnixDomainSocketConnection, "path": config.unix_socket_path}
    else:
        kwargs["connection_class"] = SSLConnection if config.ssl else Connection
        kwargs |= {"host": config.host, "port": config.port}
    kwargs |= {"retry": Retry(NoBackoff(), 0)}
    kwargs |= without_maintenance(redis.asyncio.ConnectionPool)
    if config.max_connections is None:
        return redis.asyncio.ConnectionPool(**kwargs)
    return redis.asyncio.BlockingConnectionPool(timeout=config.pool_timeout, **kwargs)


def _sentinel_pool(config: RedisConfig) -> Any:
    sentinel = Sentinel([])
    sentinel.sentinels = [
        redis.asyncio.Redis(connection_pool=_pool(config.sentinel(host, port)))
        for host, port in config.addresses(config.sentinel_nodes)
    ]
    kwargs = connection_kwargs(config) | without_maintenance(redis.asyncio.ConnectionPool)
    kwargs["connection_class"] = (
        SentinelManagedSSLConnection if config.ssl else SentinelManagedConnection
    )
    return SentinelConnectionPool(
        config.sentinel_service, sentinel, retry=Retry(NoBackoff(), 0), **kwargs
    )
