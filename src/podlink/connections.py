"""Creates the redis-py client of a `RedisConfig`: for a server, a cluster, or with Sentinel.

The connections keep the deadline of the operation that uses them (`podlink.sockets`). The pool
tolerates interrupts at any point (`podlink.pool`). The clients do not retry commands;
`podlink.calls` has the rules of retries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.client import NEVER_DECODE
from redis.cluster import ClusterNode
from redis.retry import Retry
from redis.sentinel import Sentinel

from podlink import deadline
from podlink.calls import pack_command
from podlink.clients import (
    MASTER_ADDRESS,
    cluster_policy,
    connection_kwargs,
    master_address,
    pools,
    sentinels_of,
    without_maintenance,
)
from podlink.cluster import ClusterClient
from podlink.config import RedisConfig
from podlink.exchange import exchange, take
from podlink.pool import Pool, SentinelPool
from podlink.sockets import (
    TimedConnection,
    TimedSentinelConnection,
    TimedSentinelSSLConnection,
    TimedSSLConnection,
    TimedUnixConnection,
)


class Client(redis.Redis):
    """A client with a fast path for podlink's calls, which have the option `NEVER_DECODE`.

    The fast path skips what podlink does itself or does not need: retries, metrics, and the
    preparation of special commands. These take as long as the rest of a call. Other commands use
    the method of redis-py.
    """

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command and return its reply; see `redis.Redis.execute_command`.

        Raises:
            NotSent: there was no connection (only with `NEVER_DECODE`).
        """
        if NEVER_DECODE not in options:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        pool = self.connection_pool
        connection = take(pool)
        whole = False
        try:
            connection.send_packed_command([pack_command(args)], check_health=False)
            reply = self.parse_response(connection, args[0], **options)  # type: ignore[no-untyped-call]
            whole = True
            return reply
        except redis.ResponseError:
            whole = True
            raise
        finally:
            if not whole:  # there may be an unread reply
                connection.disconnect()
            pool.release(connection)

    def execute_many(
        self, wires: Sequence[tuple[Any, ...]], options: Mapping[str, Any]
    ) -> list[Any]:
        """Send commands as one pipeline, and return their replies or exceptions."""
        replies: list[Any] = [None] * len(wires)
        exchange([(self, range(len(wires)))], wires, options, replies)
        return replies


def connect(config: RedisConfig) -> Any:
    """Create the client of a server, or of the master that Sentinel reports. Does not connect."""
    if config.sentinel_service is not None:
        return _create_sentinel_client(config, config.sentinel_service)
    return Client(connection_pool=_pool(config))


def disconnect(client: Any) -> None:
    """Close all connections of a client that the manager has created."""
    # The client of a cluster does not close those of its nodes, which it is given.
    for pool in _all_pools(client):
        pool.disconnect()


def retire(client: Any) -> None:
    """Close the idle connections of a replaced client now, and those in use at their release.

    Clients of the emulator have pools of redis-py, which close connections in use together with
    the pool.
    """
    for pool in _all_pools(client):
        if isinstance(pool, Pool):
            pool.retire()
        else:
            pool.disconnect(inuse_connections=False)


def _all_pools(client: Any) -> list[Any]:
    return [pool for each in (client, *sentinels_of(client)) for pool in pools(each)]


def connect_cluster(config: RedisConfig) -> redis.RedisCluster:
    """Create the client of a cluster, which connects to a node to read the slots.

    Raises:
        deadline.TimeUp: the time of the operation is up.
        RedisClusterException: no node answered.
    """
    kwargs = connection_kwargs(config)
    kwargs.pop("db")
    (host, port), *others = config.addresses(config.cluster_nodes)
    shown_host = f"[{host}]" if ":" in host else host
    kwargs["connection_class"] = TimedSSLConnection if config.ssl else TimedConnection
    try:
        return ClusterClient(
            # Not rediss://, for which redis-py would use its own connection class.
            url=f"redis://{shown_host}:{port}",
            startup_nodes=[ClusterNode(*address) for address in others],
            connection_pool_class=partial(Pool, wait=config.pool_timeout),
            **cluster_policy(redis.RedisCluster),
            **without_maintenance(redis.RedisCluster),
            **kwargs,
        )
    except Exception as error:
        deadline.check(error)
        raise


def _pool(config: RedisConfig) -> Pool:
    kwargs = connection_kwargs(config)
    if config.unix_socket_path is not None:
        connection_class: type = TimedUnixConnection
        kwargs["path"] = config.unix_socket_path
    else:
        connection_class = TimedSSLConnection if config.ssl else TimedConnection
        kwargs |= {"host": config.host, "port": config.port}
    return Pool(connection_class=connection_class, **_pool_kwargs(config), **kwargs)


class MasterFinder(Sentinel):
    """Asks Sentinels for the address of a master."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Host and port of the master, also while it is failed over.

        Raises:
            MasterNotFoundError: no Sentinel answers or knows a master that is up.
        """
        # Makes the Sentinel that answered the first of the list.
        super().discover_master(service_name)  # type: ignore[no-untyped-call]
        reply = self.sentinels[0].execute_command(MASTER_ADDRESS, service_name)
        return master_address(reply, service_name)


def _create_sentinel_client(config: RedisConfig, service: str) -> Client:
    sentinel = MasterFinder([])  # type: ignore[no-untyped-call]
    sentinel.sentinels = [
        redis.Redis(connection_pool=_pool(config.sentinel(host, port)))
        for host, port in config.addresses(config.sentinel_nodes)
    ]
    pool = SentinelPool(
        service,
        sentinel,
        connection_class=TimedSentinelSSLConnection if config.ssl else TimedSentinelConnection,
        **_pool_kwargs(config),
        **connection_kwargs(config),
    )
    return Client(connection_pool=pool)


def _pool_kwargs(config: RedisConfig) -> dict[str, Any]:
    return {
        "wait": config.pool_timeout,
        "retry": Retry(NoBackoff(), 0),
        **without_maintenance(redis.ConnectionPool),
    }
