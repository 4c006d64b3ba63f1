"""Creates the redis-py asyncio client of a `RedisConfig`, and the `Sender` of a client.

The connections do not retry commands; `podlink.calls` has the rules of retries. A deadline cancels
the call, and a connection with an unread reply is closed.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import redis.asyncio
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    Sentinel,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import NoBackoff

from podlink.aio.cluster import ClusterSender
from podlink.aio.pool import NodePool, Pool, SentinelPool
from podlink.aio.sending import ClientSender, PoolSender, Sender
from podlink.calls import RetryPolicy
from podlink.clients import (
    MASTER_ADDRESS,
    cluster_policy,
    connection_kwargs,
    emulated_cluster,
    emulator_named,
    master_address,
    sentinels_of,
    without_maintenance,
)
from podlink.config import RedisConfig


def connect(config: RedisConfig) -> tuple[Any, Sender]:
    """Create the client of a configuration, and its sender. Does not connect."""
    if config.is_cluster:
        client = _create_cluster_client(config)
        seeds = [(node.host, int(node.port)) for node in _startup_nodes(client)]
        return client, ClusterSender(seeds, partial(_node_pool, client, config))
    client = redis.asyncio.Redis(connection_pool=_create_pool(config))
    return client, PoolSender(client, sentinels_of(client))


def sender_of(client: Any) -> Sender:
    """Create the sender of a client that was passed by the caller."""
    if not isinstance(client, redis.asyncio.RedisCluster):
        return ClientSender(client)
    seeds = [(node.host, int(node.port)) for node in _startup_nodes(client)]
    remap = getattr(client.nodes_manager, "address_remap", None)
    return ClusterSender(seeds, partial(NodePool, client), remap, client.initialize)


def retries_of(client: Any) -> RetryPolicy:
    """Return how often podlink retries a call on a client that was passed by the caller.

    The client of a single server retries itself. For a cluster, podlink retries as often as the
    client is configured to.
    """
    if not isinstance(client, redis.asyncio.RedisCluster):
        return RetryPolicy(0, 0.0, 0.0)
    retry: Any = getattr(client, "retry", None)
    if hasattr(retry, "get_retries"):
        return RetryPolicy(retry.get_retries(), 0.01, 0.25)
    return RetryPolicy(getattr(client, "cluster_error_retry_attempts", 3), 0.01, 0.25)


def _startup_nodes(client: Any) -> list[Any]:
    return list(client.nodes_manager.startup_nodes.values())


def _create_cluster_client(config: RedisConfig) -> Any:
    if config.emulator is not None:
        cluster, kwargs = emulated_cluster(config, redis.asyncio.RedisCluster)
        return cluster.async_client(**kwargs)
    kwargs = connection_kwargs(config)
    if config.ssl:
        kwargs["ssl"] = True
    nodes = [ClusterNode(*address) for address in config.addresses(config.cluster_nodes)]
    return redis.asyncio.RedisCluster(
        startup_nodes=nodes,
        **cluster_policy(redis.asyncio.RedisCluster),
        **without_maintenance(redis.asyncio.RedisCluster),
        **kwargs,
    )


def _node_pool(client: Any, config: RedisConfig, host: str, port: int) -> Pool:
    kwargs = {**client.connection_kwargs, "host": host, "port": port}
    kwargs.pop("response_callbacks", None)
    return _pool(config, **kwargs)


def _create_pool(config: RedisConfig) -> Pool | SentinelPool:
    if config.emulator is not None:
        client = emulator_named(config.emulator).async_client(**config.client_kwargs())
        template = client.connection_pool
        return _pool(
            config,
            **{
                **template.connection_kwargs,
                "connection_class": template.connection_class,
                "max_connections": template.max_connections,
            },
        )
    if config.sentinel_nodes:
        return _sentinel_pool(config)
    kwargs = connection_kwargs(config)
    if config.unix_socket_path is not None:
        kwargs |= {"connection_class": UnixDomainSocketConnection, "path": config.unix_socket_path}
    else:
        kwargs["connection_class"] = SSLConnection if config.ssl else Connection
        kwargs |= {"host": config.host, "port": config.port}
    return _pool(config, **kwargs)


def _pool(config: RedisConfig, **kwargs: Any) -> Pool:
    kwargs["retry"] = Retry(NoBackoff(), 0)
    kwargs |= without_maintenance(redis.asyncio.ConnectionPool)
    return Pool(pool_timeout=config.pool_timeout, **kwargs)


class MasterFinder(Sentinel):
    """Asks Sentinels for the address of a master."""

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Host and port of the master, also while it is failed over.

        Raises:
            MasterNotFoundError: no Sentinel answers or knows a master that is up.
        """
        # Makes the Sentinel that answered the first of the list.
        await super().discover_master(service_name)
        reply = await self.sentinels[0].execute_command(MASTER_ADDRESS, service_name)
        return master_address(reply, service_name)


def _sentinel_pool(config: RedisConfig) -> SentinelPool:
    sentinel = MasterFinder([])  # type: ignore[no-untyped-call]
    sentinel.sentinels = [
        redis.asyncio.Redis(connection_pool=_create_pool(config.sentinel(host, port)))
        for host, port in config.addresses(config.sentinel_nodes)
    ]
    kwargs = connection_kwargs(config) | without_maintenance(redis.asyncio.ConnectionPool)
    kwargs["connection_class"] = (
        SentinelManagedSSLConnection if config.ssl else SentinelManagedConnection
    )
    return SentinelPool(
        config.sentinel_service,
        sentinel,
        pool_timeout=config.pool_timeout,
        retry=Retry(NoBackoff(), 0),
        **kwargs,
    )
