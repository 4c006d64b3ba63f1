"""The redis-py clients that a `RedisConfig` means: one server, a cluster, or behind Sentinel.

Connections made here keep the deadline of the operation that uses them (`podlink.deadline`):
connecting, waiting for a free connection of the pool, and each read and write of a socket takes at
most the time that is left. They never repeat a command; `podlink.calls` says what may be repeated.

No operation and no retry is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.client import NEVER_DECODE
from redis.cluster import ClusterNode
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection

from podlink import deadline
from podlink.calls import packed
from podlink.clients import (
    GET_CONNECTION,
    cluster_policy,
    connection_kwargs,
    sentinels_of,
    without_maintenance,
)
from podlink.config import RedisConfig


class TimedSocket:
    """A socket that waits no longer than the operation of the thread may take."""

    __slots__ = ("_cut", "_socket", "_timeout")

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._timeout: float | None = socket.gettimeout()
        self._cut = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def settimeout(self, seconds: float | None) -> None:
        """As a socket's; what is waited for by itself, without a deadline."""
        self._timeout = seconds
        self._cut = False
        self._socket.settimeout(seconds)

    def gettimeout(self) -> float | None:
        """What `settimeout` was given."""
        return self._timeout

    def recv(self, *args: Any) -> bytes:
        """As a socket's."""
        self._set_time()
        received: bytes = self._socket.recv(*args)
        return received

    def recv_into(self, *args: Any) -> int:
        """As a socket's."""
        self._set_time()
        return int(self._socket.recv_into(*args))

    def sendall(self, *args: Any) -> None:
        """As a socket's."""
        self._set_time()
        self._socket.sendall(*args)

    def _set_time(self) -> None:
        if deadline.left() is None:
            if self._cut:
                self.settimeout(self._timeout)
        elif self._timeout != 0:
            try:
                self._socket.settimeout(deadline.wait_at_most(self._timeout))
            except deadline.TimeUp as late:
                # Something may have been sent before.
                raise TimeoutError(str(late)) from None
            self._cut = True


class _Timed:
    """For a connection class of redis-py: sockets that keep to the deadline."""

    socket_connect_timeout: float | None

    def _connect(self) -> TimedSocket:
        own = self.socket_connect_timeout
        self.socket_connect_timeout = deadline.wait_at_most(own)
        try:
            return TimedSocket(super()._connect())  # type: ignore[misc]
        finally:
            self.socket_connect_timeout = own


class TimedConnection(_Timed, Connection):  # type: ignore[misc]
    """TCP."""


class TimedSSLConnection(_Timed, SSLConnection):  # type: ignore[misc]
    """TLS."""


class TimedUnixConnection(_Timed, UnixDomainSocketConnection):  # type: ignore[misc]
    """A unix socket."""


class TimedSentinelConnection(_Timed, SentinelManagedConnection):
    """TCP, to where Sentinel says the master is."""


class TimedSentinelSSLConnection(TimedSentinelConnection, SSLConnection):  # type: ignore[misc]
    """TLS, to where Sentinel says the master is."""


class TimedPool(redis.BlockingConnectionPool):  # type: ignore[misc]
    """Waits for a free connection, but no longer than the operation may take."""

    @property
    def timeout(self) -> float | None:
        """Seconds to wait."""
        return deadline.wait_at_most(self._wait)

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        self._wait = seconds


class Client(redis.Redis):
    """Sends podlink's calls, whose replies it is told not to decode, with no more than they need.

    What redis-py does beside (its retries, its metrics, a look for commands that a connection has
    to be prepared for) is podlink's own or not for podlink's commands, and takes as long as they
    do. Any other command goes redis-py's way.
    """

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """As `redis.Redis.execute_command`."""
        if NEVER_DECODE not in options:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        pool = self.connection_pool
        connection = pool.get_connection(*GET_CONNECTION)
        whole = False
        try:
            connection.send_packed_command([packed(args)])
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


def connect(config: RedisConfig) -> Any:
    """A client of one server or of the master that Sentinel names. Sends nothing yet."""
    if config.sentinel_nodes:
        client = _of_sentinel(config)
    else:
        client = Client(connection_pool=_pool(config))
    # Otherwise the client, when it is replaced and forgotten, would also close connections in use.
    client.auto_close_connection_pool = False
    return client


def disconnect(client: Any) -> None:
    """Close every connection of a client that was made here."""
    client.close()
    if hasattr(client, "connection_pool"):
        client.connection_pool.disconnect()
    for sentinel in sentinels_of(client):
        sentinel.connection_pool.disconnect()


def connect_cluster(config: RedisConfig) -> redis.RedisCluster:
    """A client of a cluster. Asks its nodes for the slots.

    Raises:
        redis.RedisError: no node answers.
    """
    kwargs = connection_kwargs(config)
    kwargs.pop("db")
    (host, port), *others = config.addresses(config.cluster_nodes)
    scheme = "rediss" if config.ssl else "redis"
    shown_host = f"[{host}]" if ":" in host else host
    kwargs["connection_class"] = TimedSSLConnection if config.ssl else TimedConnection
    return redis.RedisCluster(
        url=f"{scheme}://{shown_host}:{port}",
        startup_nodes=[ClusterNode(*address) for address in others],
        **cluster_policy(redis.RedisCluster),
        **without_maintenance(redis.RedisCluster),
        **kwargs,
    )


def send_to_cluster(
    client: Any, keys: Sequence[bytes], wires: Sequence[tuple[Any, ...]], options: Mapping[str, Any]
) -> list[Any]:
    """Send each command to the node of its key, to all nodes at once; replies or exceptions.

    redis-py's pipeline of a cluster is not used, because it repeats commands whose outcome is
    unknown.
    """
    replies: list[Any] = [None] * len(wires)
    places: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        try:
            places.setdefault(client.get_node_from_key(key).name, []).append(place)
        except Exception as error:
            replies[place] = error
    sent = []
    try:
        for name, theirs in places.items():
            try:
                node = client.get_node(node_name=name).redis_connection
                connection = node.connection_pool.get_connection(*GET_CONNECTION)
                sent.append((node, connection, theirs))
                parts = connection.pack_commands([wires[place] for place in theirs])
                connection.send_packed_command(parts)
            except Exception as error:
                for place in theirs:
                    replies[place] = error
        for node, connection, theirs in sent:
            if replies[theirs[0]] is None:
                _read_replies(node, connection, theirs, wires, options, replies)
    finally:
        for node, connection, theirs in sent:
            if any(isinstance(replies[place], _BROKEN) for place in theirs):
                connection.disconnect()
            node.connection_pool.release(connection)
    return replies


def _read_replies(
    node: Any,
    connection: Any,
    places: Sequence[int],
    wires: Sequence[tuple[Any, ...]],
    options: Mapping[str, Any],
    replies: list[Any],
) -> None:
    for at, place in enumerate(places):
        try:
            replies[place] = node.parse_response(connection, wires[place][0], **options)
        except redis.ResponseError as error:
            replies[place] = error
        except Exception as error:
            for unread in places[at:]:
                replies[unread] = error
            return


_BROKEN = (redis.ConnectionError, redis.TimeoutError, OSError)


def _pool(config: RedisConfig) -> Any:
    kwargs = connection_kwargs(config)
    if config.unix_socket_path is not None:
        connection_class: type = TimedUnixConnection
        kwargs["path"] = config.unix_socket_path
    else:
        connection_class = TimedSSLConnection if config.ssl else TimedConnection
        kwargs |= {"host": config.host, "port": config.port}
    kwargs["connection_class"] = connection_class
    kwargs["retry"] = Retry(NoBackoff(), 0)
    if config.max_connections is None:
        return redis.ConnectionPool(**kwargs, **without_maintenance(redis.ConnectionPool))
    return TimedPool(
        timeout=config.pool_timeout, **kwargs, **without_maintenance(redis.ConnectionPool)
    )


def _of_sentinel(config: RedisConfig) -> Client:
    sentinel = Sentinel([])
    sentinel.sentinels = [
        redis.Redis(connection_pool=_pool(config.sentinel(host, port)))
        for host, port in config.addresses(config.sentinel_nodes)
    ]
    kwargs = connection_kwargs(config)
    kwargs["connection_class"] = (
        TimedSentinelSSLConnection if config.ssl else TimedSentinelConnection
    )
    pool = SentinelConnectionPool(
        config.sentinel_service,
        sentinel,
        retry=Retry(NoBackoff(), 0),
        **kwargs,
        **without_maintenance(redis.ConnectionPool),
    )
    return Client(connection_pool=pool)
