"""Functions for synchronous and asyncio redis-py clients: arguments, pools, emulators, forks."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Sequence
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError

from podlink import forks
from podlink.config import RedisConfig
from podlink.errors import NotFoundError
from podlink.models import PoolStats

GET_CONNECTION = () if int(redis.__version__.partition(".")[0]) >= 6 else ("_",)
"""The arguments of a pool's `get_connection`: redis-py before 6 requires a command name."""


def connection_kwargs(config: RedisConfig) -> dict[str, Any]:
    """Return the arguments of a connection class, without the address."""
    kwargs = config.client_kwargs()
    for name in ("host", "port", "unix_socket_path", "ssl"):
        kwargs.pop(name, None)
    return kwargs


def cluster_policy(cls: type) -> dict[str, Any]:
    """Return arguments of a cluster client that disable retries and ``require_full_coverage``.

    A slot without a node should affect only the keys of that slot.
    """
    policy: dict[str, Any] = {"require_full_coverage": False}
    newer = int(redis.__version__.partition(".")[0]) >= 6
    if newer:
        return policy | {"retry": no_retry(cls)}
    return policy | {"cluster_error_retry_attempts": 0}


def no_retry(client_class: type) -> Any:
    """Return a retry object of redis-py that never retries, because podlink itself retries."""
    if ".asyncio." in client_class.__module__:
        from redis.asyncio.retry import Retry as AsyncRetry

        return AsyncRetry(NoBackoff(), 0)
    return Retry(NoBackoff(), 0)


def without_maintenance(client_class: type) -> dict[str, Any]:
    """Return the argument that disables maintenance notifications, if redis-py has it.

    With them, the asyncio pool does not check whether a connection is broken before it returns it,
    so that the first call on each connection after a restart of the server fails.
    """
    if "maint_notifications_config" not in inspect.signature(client_class).parameters:
        return {}
    from redis.maint_notifications import MaintNotificationsConfig

    return {"maint_notifications_config": MaintNotificationsConfig(enabled=False)}


def sentinels_of(client: Any) -> list[Any]:
    """Return the clients of the Sentinels that a client uses; empty without Sentinel."""
    pool = getattr(client, "connection_pool", None)
    return list(getattr(getattr(pool, "sentinel_manager", None), "sentinels", ()))


MASTER_ADDRESS: Final = "SENTINEL GET-MASTER-ADDR-BY-NAME"
"""What a Sentinel is asked after SENTINEL MASTERS, by which redis-py finds the master.

While a Sentinel carries out a failover, it lists the old master until all replicas follow the new
one, which takes seconds. If the old master is up again by then, its writes would be lost. This
command tells the new master's address as soon as the replica has been promoted.
"""


def master_address(reply: Any, service: str) -> tuple[str, int]:
    """Host and port from a reply to `MASTER_ADDRESS`.

    Raises:
        MasterNotFoundError: the Sentinel does not know the service any more.
    """
    if not reply:
        raise MasterNotFoundError(f"No master found for {service!r}")
    host, port = reply
    return host.decode() if isinstance(host, bytes) else str(host), int(port)


def primaries(client: Any) -> list[str]:
    """Return the names of the nodes that own slots, from the slots cache of a cluster client.

    The client's list of primaries is not used, because it lacks promoted replicas.
    """
    slots = client.nodes_manager.slots_cache.values()
    return list(dict.fromkeys(nodes[0].name for nodes in slots))


def emulator_named(name: str) -> Any:
    """Return the emulator with a name in this process.

    Raises:
        NotFoundError: the emulator is not installed; the message says how to install it.
    """
    return emulator_package().RedisEmulator.named(name)


def emulated_cluster(config: RedisConfig, client_class: type) -> tuple[Any, dict[str, Any]]:
    """Return the emulated cluster of a configuration, and the arguments of its clients.

    Raises:
        NotFoundError: the emulator is not installed; the message says how to install it.
    """
    kwargs = config.client_kwargs()
    del kwargs["db"]
    kwargs |= cluster_policy(client_class)
    kwargs |= without_maintenance(client_class)
    return emulator_package().ClusterEmulator.named(config.emulator), kwargs


def emulator_package() -> Any:
    """Import the package `redis_emulator`.

    Raises:
        NotFoundError: it is not installed; the message says how to install it.
    """
    try:
        import redis_emulator
    except ImportError as error:
        raise NotFoundError(
            "an emulator:// URL needs the emulator: pip install 'podlink[emulator]'", error
        ) from error
    return redis_emulator


def server_version(info: Any) -> tuple[str | None, str | None]:
    """Return name and version of the server from the reply of INFO, of any node of a cluster."""
    if isinstance(info, (bytes, str)):
        text = info.decode() if isinstance(info, bytes) else info
        info = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if "redis_version" not in info:
        info = next(iter(info.values()))
    if "valkey_version" in info:
        return "valkey", str(info["valkey_version"])
    return "redis", str(info["redis_version"])


def pool_stats(client: Any) -> PoolStats:
    """Count the connections of a redis-py client. redis-py has no public method for this."""
    return count_connections(pools(client))


def count_connections(every: Sequence[Any]) -> PoolStats:
    """Count the connections of several pools."""
    counts = [_pool_counts(pool) for pool in every]
    limit = max((int(getattr(pool, "max_connections", 0)) for pool in every), default=0)
    return PoolStats(limit, sum(used for used, _ in counts), sum(idle for _, idle in counts))


def pools(client: Any) -> list[Any]:
    """Return the pools of a redis-py client. In an asyncio cluster client each node is a pool."""
    if hasattr(client, "connection_pool"):
        return [client.connection_pool]
    # A node that a redirection has named has no client until it is used.
    clients = [getattr(node, "redis_connection", node) for node in client.get_nodes()]
    return [getattr(each, "connection_pool", each) for each in clients if each is not None]


def renew_client(client: Any) -> None:
    """Replace the locks of a synchronous client in a child process.

    A thread that held one does not exist there. The pools of redis-py detect a fork themselves and
    create new connections.
    """
    things = [client, getattr(client, "nodes_manager", None), *sentinels_of(client)]
    every = [*pools(client), *(pool for each in sentinels_of(client) for pool in pools(each))]
    for thing in (*things, *every):
        renew_locks(thing)
        renew_locks(getattr(thing, "_event_dispatcher", None))


def renew_async_client(client: Any) -> None:
    """Discard the connections of an asyncio client in a child process, which redis-py does not."""
    for pool in pools(client):
        forks.keep_for_parent(dict(vars(pool)))
        if hasattr(pool, "reset"):
            pool.reset()
        else:  # a node of a cluster
            pool._connections = []
            pool._free = type(pool._free)(maxlen=pool._free.maxlen)
        renew_async_locks(pool)
    renew_async_locks(client)


def renew_async_locks(thing: Any) -> None:
    """Replace the asyncio locks of an object, which may belong to another event loop."""
    for name, value in list(vars(thing).items()):
        if isinstance(value, (asyncio.Lock, asyncio.Condition)):
            setattr(thing, name, type(value)())


def renew_locks(thing: Any) -> None:
    """Replace each lock that is an attribute of an object by a new one of its kind."""
    for name, value in list(getattr(thing, "__dict__", {}).items()):
        if isinstance(value, _LOCKS):
            setattr(thing, name, type(value)() if isinstance(value, _RLOCK) else threading.Lock())


_RLOCK = type(threading.RLock())
_LOCKS = (type(threading.Lock()), _RLOCK)


def _pool_counts(pool: Any) -> tuple[int, int]:
    """Count the connections in use and the idle ones of a pool or an asyncio cluster node."""
    if hasattr(pool, "_in_use_connections"):
        return len(pool._in_use_connections), len(pool._available_connections)
    connections = getattr(pool, "_connections", ())
    if hasattr(pool, "_free"):
        return len(connections) - len(pool._free), len(pool._free)
    queued = getattr(getattr(pool, "pool", None), "queue", ())
    idle = sum(connection is not None for connection in queued)
    return len(connections) - idle, idle
