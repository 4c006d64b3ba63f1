"""A Redis Cluster as a backend: ``--stateful-backend redis+cluster://host:port,host:port``.

The cluster must be empty when the run begins, unless `--stateful-flush` is given.
"""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio

from podlink.clients import connection_kwargs
from podlink.config import RedisConfig
from podlink.connections import connect_cluster
from pytest_podlink.backend import Backend, BackendError
from pytest_podlink.clock import ServerClock
from pytest_podlink.loops import LoopGuard


class ClusterBackend(Backend):
    """A running cluster, given by a URL."""

    def __init__(self, name: str, url: str, *, flush: bool) -> None:
        self.name = name
        self._config = RedisConfig.from_url(url)
        self._clients: list[Any] = []
        self._guards: list[LoopGuard] = []
        try:
            self._admin = connect_cluster(self._config)
            self._nodes = self._connect_nodes()
            size = sum(int(node.dbsize()) for node in self._nodes)
        except redis.RedisError as error:
            raise BackendError(f"cannot use {name}: {error}") from error
        if size and not flush:
            raise BackendError(
                f"{name} holds {size} keys, which tests would delete: use an empty cluster, or"
                " pass --stateful-flush"
            )
        self.clock = _ClusterClock(self._nodes)

    def client(self, **options: Any) -> Any:
        """A `redis.RedisCluster`, closed after the test."""
        (host, port), *_ = self._config.addresses(self._config.cluster_nodes)
        client = redis.RedisCluster(host=host, port=port, **self._kwargs(), **options)
        self._clients.append(client)
        return client

    def async_client(self, **options: Any) -> Any:
        """A `redis.asyncio.RedisCluster`, closed with its event loop or after the test."""
        (host, port), *_ = self._config.addresses(self._config.cluster_nodes)
        client = LoopBoundCluster(host=host, port=port, **self._kwargs(), **options)
        self._guards.append(client.guard)
        return client

    def nodes(self) -> list[redis.Redis]:
        """A client of each master."""
        return list(self._nodes)

    def node_of(self, key: bytes) -> int:
        """The index in `nodes` of the master that serves a key's slot."""
        node = self._admin.get_node_from_key(key.decode())
        ports = [client.get_connection_kwargs()["port"] for client in self._nodes]
        return ports.index(node.port)

    def reset(self) -> None:
        """Delete the keys and scripts of every master."""
        for node in self._nodes:
            node.flushall()
            node.script_flush()

    def release(self) -> None:
        """Close the clients that `client` and `async_client` returned."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        for guard in self._guards:
            guard.close()
        self._guards.clear()

    def close(self) -> None:
        """Close every client."""
        super().close()
        for node in self._nodes:
            node.close()
        self._admin.close()

    def __str__(self) -> str:
        info: Any = self._nodes[0].info("server")
        valkey = info.get("valkey_version")
        product = f"Valkey {valkey}" if valkey else f"Redis {info['redis_version']}"
        return f"{product}, a cluster of {len(self._nodes)} masters"

    def _kwargs(self) -> dict[str, Any]:
        kwargs = connection_kwargs(self._config)
        kwargs.pop("db")
        return kwargs | ({"ssl": True} if self._config.ssl else {})

    def _connect_nodes(self) -> list[redis.Redis]:
        kwargs = self._kwargs() | {"protocol": 2}
        return [
            redis.Redis(host=node.host, port=node.port, **kwargs)
            for node in self._admin.get_primaries()
        ]


class LoopBoundCluster(redis.asyncio.RedisCluster):
    """A cluster client that can be used in several event loops; see `LoopGuard`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.guard = LoopGuard(self.aclose)

    async def initialize(self, *args: Any, **kwargs: Any) -> Any:
        """Read the slots. The connections are closed before the event loop is."""
        await self.guard.enter()
        return await super().initialize(*args, **kwargs)


class _ClusterClock:
    """Shortens every TTL on every master."""

    def __init__(self, nodes: list[redis.Redis]) -> None:
        self._clocks = [ServerClock(node, 0) for node in nodes]

    def advance(self, seconds: float) -> None:
        """Move the time forward; see `StatefulClock.advance`."""
        for clock in self._clocks:
            clock.advance(seconds)
