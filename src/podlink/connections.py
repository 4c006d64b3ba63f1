"""The redis-py clients that a `RedisConfig` means: one server, a cluster, or behind Sentinel.

Their connections keep the deadline of the operation that uses them (`podlink.sockets`) and come
from a pool that loses none (`podlink.pool`). The clients never repeat a command; `podlink.calls`
says what may be repeated.

No operation and no retry is decided here.
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
    cluster_policy,
    connection_kwargs,
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
    """Sends podlink's calls, whose replies it is told not to decode, with no more than they need.

    What redis-py does beside (its retries, its metrics, a look for commands that a connection has
    to be prepared for) is podlink's own or not for podlink's commands, and takes as long as they
    do. Any other command goes redis-py's way.
    """

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """As `redis.Redis.execute_command`.

        Raises:
            NotSent: with `NEVER_DECODE`: there was no connection.
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
            if not whole:  # a reply may still come
                connection.disconnect()
            pool.release(connection)

    def execute_many(
        self, wires: Sequence[tuple[Any, ...]], options: Mapping[str, Any]
    ) -> list[Any]:
        """Send commands together; their replies or exceptions."""
        replies: list[Any] = [None] * len(wires)
        exchange([(self, range(len(wires)))], wires, options, replies)
        return replies


def connect(config: RedisConfig) -> Any:
    """A client of one server or of the master that Sentinel names. Sends nothing yet."""
    if config.sentinel_service is not None:
        return _create_sentinel_client(config, config.sentinel_service)
    return Client(connection_pool=_pool(config))


def disconnect(client: Any) -> None:
    """Close every connection of a client that was made here."""
    # The client of a cluster does not close those of its nodes, which it is given.
    for pool in _all_pools(client):
        pool.disconnect()


def retire(client: Any) -> None:
    """Close the idle connections of a client that is replaced, and each one in use when it is free.

    The emulator's pools, which are redis-py's, close those in use with the pool.
    """
    for pool in _all_pools(client):
        if isinstance(pool, Pool):
            pool.retire()
        else:
            pool.disconnect(inuse_connections=False)


def _all_pools(client: Any) -> list[Any]:
    return [pool for each in (client, *sentinels_of(client)) for pool in pools(each)]


def connect_cluster(config: RedisConfig) -> redis.RedisCluster:
    """A client of a cluster. Asks its nodes for the slots.

    Raises:
        deadline.TimeUp: the time of the operation passed before one of them answered.
        RedisClusterException: no node answers.
    """
    kwargs = connection_kwargs(config)
    kwargs.pop("db")
    (host, port), *others = config.addresses(config.cluster_nodes)
    shown_host = f"[{host}]" if ":" in host else host
    kwargs["connection_class"] = TimedSSLConnection if config.ssl else TimedConnection
    try:
        return ClusterClient(
            # Not rediss://, for which redis-py takes a connection class of its own.
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


def _create_sentinel_client(config: RedisConfig, service: str) -> Client:
    sentinel = Sentinel([])
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
