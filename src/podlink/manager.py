"""`RedisManager` owns the redis-py client with its pool, the scripts and the configuration.

It sends calls, but the operations do not belong here: `podlink.operations` builds the calls.
`podlink.aio.manager` is the asyncio version; `podlink.management` has what both share.

The clients that the manager creates do not use the retries of redis-py, which would also repeat a
write whose outcome is unknown. The manager itself retries, by the rules of `podlink.calls`. Before
a pooled connection is used, it is checked, and replaced if it is broken. Therefore nothing has to
be done after a restart of the server.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter, sleep
from types import TracebackType
from typing import Any, TypeVar

import redis
from redis.exceptions import NoScriptError

from podlink import connections, deadline, forks, telemetry
from podlink.calls import RAW, Call, Reply, as_text, next_attempt, script_load
from podlink.clients import (
    emulated_cluster,
    emulator_named,
    no_retry,
    pool_stats,
    primaries,
    renew_client,
    server_version,
)
from podlink.cluster import ClusterClient, send_to_cluster
from podlink.config import RedisConfig
from podlink.errors import (
    InvalidParameterError,
    RedisConnectionError,
    StatefulError,
    as_connection_error,
    no_primary,
)
from podlink.keys import check_timeout
from podlink.management import (
    DEFAULT_SLOW_OPERATION,
    NO_RETRIES,
    ClosedClient,
    chunks,
    config_of,
    describe_target,
    require_config,
    script_call,
    translated_errors,
    updated_config,
)
from podlink.models import HealthStatus, PoolStats
from podlink.scripts import Script, ScriptRegistry

T = TypeVar("T")

CONNECT_AT_MOST = 10.0
"""Seconds that a thread waits while another thread connects to the cluster."""


class RedisManager:
    """Owns the client, the scripts and the configuration of synchronous executors.

    Threads may share one manager.

    Args:
        source: a URL, a `RedisConfig`, or a client (``redis.Redis``, ``redis.RedisCluster``). The
            caller closes a client that it passed. Such a client retries as it is configured to, and
            podlink adds no retries.

    Attributes:
        timeout: seconds that an operation may take if it is called without a timeout.
        slow: an operation that takes at least this many seconds is logged as slow.
        is_cluster: whether the client is one of a Redis Cluster, so that keys are in several slots.
        retry_policy: how often a failed call is retried.
    """

    def __init__(self, source: str | RedisConfig | Any = "emulator://") -> None:
        self._lock = threading.Lock()
        self._connecting = deadline.SingleFlight(CONNECT_AT_MOST)
        self._scripts = ScriptRegistry()
        self._config = config_of(source)
        self.retry_policy = NO_RETRIES
        self.timeout: float | None = None
        self.slow = DEFAULT_SLOW_OPERATION
        self._client: Any
        if self._config is not None:
            self._use(self._config)
        elif isinstance(source, (redis.Redis, redis.RedisCluster)):
            self._client = source
            self.is_cluster = isinstance(source, redis.RedisCluster)
        else:
            raise InvalidParameterError(
                "a source must be a URL, a RedisConfig, redis.Redis or redis.RedisCluster (for a "
                f"redis.asyncio client use the asynchronous class), not {type(source).__name__}"
            )
        telemetry.observe_pool(self)
        forks.renew(self)

    def _after_fork(self) -> None:
        """Discard the connections of the parent process in a child process, and replace locks."""
        client = self._client
        self._lock = threading.Lock()
        self._connecting = deadline.SingleFlight(CONNECT_AT_MOST)
        if client is not None and not isinstance(client, ClosedClient):
            renew_client(client)
            if self._config is not None:
                self._client = None

    def _use(self, config: RedisConfig) -> None:
        # First, because it may raise, and then nothing may be changed.
        self._client = None if config.is_cluster else _create_client(config)
        self._config = config
        self.retry_policy = config.retry_policy
        self.timeout = config.timeout
        self.slow = config.slow_operation
        self.is_cluster = config.is_cluster

    @property
    def client(self) -> Any:
        """The redis-py client. A cluster client is created, and connected, at the first use.

        Raises:
            RedisConnectionError: no node of the cluster can be reached.
            OperationTimeoutError: no node answered in time.
        """
        client = self._client
        return self._connect() if client is None else client

    @property
    def source(self) -> object:
        """Identifies the server; `update_config` and `close` replace it by another object."""
        return self if self.is_cluster else self.client

    def _connect(self) -> Any:
        """Create the client: of a cluster, or the first one in a child process after a fork."""
        while self._client is None:
            running = self._connecting.begin()
            if running is None:
                continue
            try:
                if self._client is None:
                    config = require_config(self._config)
                    with translated_errors("connecting to the server"):
                        self._set_client(config, _create_client(config))
            finally:
                self._connecting.end(running)
        return self._client

    def _set_client(self, config: RedisConfig, client: Any) -> None:
        """Set the client, or close it if the manager was closed or got another configuration."""
        with self._lock:
            if self._client is None and self._config is config:
                self._client = client
                return
        connections.disconnect(client)

    def get_connection(self, *, timeout: float | None = None) -> Any:
        """Reserve a connection, as a redis-py client that sends all commands on it.

        On a cluster this returns the cluster client itself. Release the connection with
        `release_connection`, or use `connection`, which does both.

        Args:
            timeout: seconds that connecting and waiting for a free connection may take; ``None``
                means the manager's timeout.

        Raises:
            RedisConnectionError: the server cannot be reached, or no connection became free.
            OperationTimeoutError: the time was up.
        """
        with translated_errors("get_connection"):
            return self._with_deadline(timeout, self._reserve)

    def _reserve(self) -> Any:
        client = self.client
        if self.is_cluster:
            return client
        return redis.Redis(connection_pool=client.connection_pool, single_connection_client=True)

    def release_connection(self, connection: Any) -> None:
        """Return a connection from `get_connection` to the pool. A second call does nothing."""
        if not self.is_cluster:
            connection.close()

    @contextmanager
    def connection(self, *, timeout: float | None = None) -> Iterator[Any]:
        """Reserve a connection for a ``with`` block; see `get_connection`."""
        connection = self.get_connection(timeout=timeout)
        try:
            yield connection
        except Exception:
            raise
        except BaseException:  # interrupted: there may be an unread reply
            if not self.is_cluster:
                connection.connection.disconnect()
            raise
        finally:
            self.release_connection(connection)

    def health_check(self, *, timeout: float | None = None) -> HealthStatus:
        """Send PING to the server, or to all primaries of a cluster, and ask for its version.

        Errors do not raise; they are in the result.

        Args:
            timeout: seconds that the whole check may take; ``None`` means the manager's timeout.

        Raises:
            InvalidParameterError: the timeout is not a number of seconds above 0.
        """
        return self._with_deadline(timeout, self._health)

    def _health(self) -> HealthStatus:
        url = None if self._config is None else self._config.url
        started = perf_counter()
        try:
            with translated_errors("health_check"):
                client = self.client
                self._send_to_each_node(client, ("PING",), {})
        except StatefulError as error:
            return HealthStatus(False, url, error=error)
        latency = perf_counter() - started
        try:
            info = client.execute_command("INFO", "server")
            server, version = server_version(info)
        except Exception:  # for example an ACL forbids INFO; PING was answered
            server = version = None
        return HealthStatus(True, url, latency, server, version)

    def close(self) -> None:
        """Close the connections. A client that was passed as ``source`` stays open.

        Later calls raise `RedisConnectionError`.
        """
        with self._lock:
            client, self._client = self._client, ClosedClient()
        if self._config is not None and client is not None and not isinstance(client, ClosedClient):
            connections.disconnect(client)

    def get_pool_stats(self) -> PoolStats:
        """Count the connections of the client."""
        return pool_stats(self.client)

    def count_connections(self) -> PoolStats | None:
        """Count the connections; ``None`` before the first use of a cluster, and after `close`."""
        client = self._client
        return None if client is None or isinstance(client, ClosedClient) else pool_stats(client)

    def load_script(
        self, name: str, source: str | None = None, *, timeout: float | None = None
    ) -> str:
        """Load a script into the server, or into all primaries of a cluster (SCRIPT LOAD).

        Args:
            name: the name of a script of podlink or of one that was loaded before; with ``source``
                any name that is not one of podlink's.
            source: Lua source to register under that name.
            timeout: seconds that the whole call may take; ``None`` means the manager's timeout.

        Returns:
            The SHA1 of the script.

        Raises:
            NotFoundError: ``source`` is ``None`` and no script has that name.
            InvalidParameterError: podlink has another script of that name, or a string is blank.
            LuaScriptError: the source does not compile.
        """
        script = self._scripts.get(name) if source is None else self._scripts.add(name, source)
        return self._with_deadline(timeout, self._load, script)

    def _load(self, script: Script) -> str:
        with translated_errors(f"load_script {script.name}", script=True):
            return as_text(self._send_to_each_node(self.client, script_load(script), RAW))

    def _send_to_each_node(
        self, client: Any, wire: tuple[Any, ...], options: Mapping[str, Any]
    ) -> Reply:
        """Send a command to the server, or to all primaries of a cluster; return the last reply."""
        reply = None
        for node in self._nodes():
            target = {} if node is None else {"target_nodes": client.get_node(node_name=node)}
            reply = client.execute_command(*wire, **options, **target)
        return reply

    def execute_script(
        self,
        name: str,
        keys: Sequence[Any] = (),
        args: Sequence[Any] = (),
        *,
        timeout: float | None = None,
    ) -> Reply:
        """Run a script by its name (EVALSHA, or EVAL if the server has not loaded the script).

        Args:
            name: the name of a script of podlink or of one that was passed to `load_script`.
            keys: its ``KEYS``.
            args: its ``ARGV``.
            timeout: seconds that the whole call may take; ``None`` means the manager's timeout.

        Returns:
            The reply of redis-py, decoded if the client is configured to decode.

        Raises:
            NotFoundError: no script has that name.
            LuaScriptError: the script failed.
        """
        call = script_call(self._scripts.get(name), keys, args)
        with translated_errors(f"execute_script {name}", script=True, write=True):
            return self.send(call, {}, timeout)

    def preload_scripts(self, *, timeout: float | None = None) -> dict[str, str]:
        """Load all scripts into the server, so that the first calls need not send their source.

        Args:
            timeout: seconds that the whole call may take; ``None`` means the manager's timeout.

        Returns:
            Script name to SHA1.
        """
        return self._with_deadline(timeout, self._load_all)

    def _load_all(self) -> dict[str, str]:
        return {script.name: self._load(script) for script in self._scripts.all()}

    def get_script_sha(self, name: str) -> str:
        """Return the SHA1 of a script. Sends nothing.

        Raises:
            NotFoundError: no script has that name.
        """
        return self._scripts.get(name).sha

    def get_config(self) -> RedisConfig:
        """Return the configuration.

        Raises:
            NotFoundError: the manager was created from a client and has no configuration.
        """
        return require_config(self._config)

    def update_config(self, config: RedisConfig | str | None = None, **changes: Any) -> None:
        """Replace the configuration and the client. The next call uses them.

        Calls in flight finish on the old connections. Reserved connections stay open until they are
        released.

        Args:
            config: the new configuration or URL; ``None`` means the current configuration.
            changes: fields to change in it.

        Raises:
            InvalidParameterError: a value is outside its limits; nothing was changed.
            NotFoundError: the manager was created from a client, and ``config`` is ``None``.
            RedisConnectionError: the manager is closed.
        """
        with self._lock:
            if isinstance(self._client, ClosedClient):
                raise RedisConnectionError("the manager is closed: create a new one")
            new = updated_config(self._config, config, changes)
            owned, old = self._config is not None, self._client
            self._use(new)
        if owned and old is not None:
            connections.retire(old)

    def _with_deadline(self, timeout: float | None, function: Callable[..., T], *args: Any) -> T:
        """Call a function with a deadline for everything that it sends."""
        seconds = self.timeout if timeout is None else check_timeout(timeout)
        return deadline.limited(seconds, function, *args)

    def send(
        self, call: Call[Any], options: Mapping[str, Any], timeout: float | None = None
    ) -> Reply:
        """Send a call, retry it if that is safe, and return the reply of redis-py.

        Args:
            options: options of redis-py's ``execute_command``, such as `podlink.calls.RAW`.
            timeout: seconds that the whole call may take; ``None`` means the manager's timeout.

        Raises:
            Exception: what redis-py or a socket raised in the last attempt.
        """
        return self._with_deadline(timeout, self._send, call, options)

    def _send(self, call: Call[Any], options: Mapping[str, Any]) -> Reply:
        client = self.client
        try:
            return client.execute_command(*call.wire, **options)
        except Exception as error:
            return self._retry(call, call.wire, as_connection_error(error), client, options)

    def send_all(
        self, calls: Sequence[Call[Any]], options: Mapping[str, Any], timeout: float | None = None
    ) -> list[Reply]:
        """Send several calls in pipelines, and return the replies of redis-py in the same order.

        On a cluster the nodes are asked concurrently. Failed calls are retried if that is safe. The
        reply of a call that failed is its exception.

        Args:
            options: options of redis-py's ``execute_command``, such as `podlink.calls.RAW`.
            timeout: seconds that all calls together may take; ``None`` means the manager's timeout.
        """
        return self._with_deadline(timeout, self._send_all, calls, options)

    def nodes(self, *, timeout: float | None = None) -> list[str | None]:
        """Read the names of the nodes that own slots; ``[None]`` without a cluster.

        Args:
            timeout: seconds that CLUSTER SLOTS may take; ``None`` means the manager's timeout.
        """
        return self._with_deadline(timeout, self._nodes)

    def _nodes(self) -> list[str | None]:
        if not self.is_cluster:
            return [None]
        client = self.client
        if isinstance(client, ClusterClient):
            client.refresh()
        else:
            client.nodes_manager.initialize()
        return [*primaries(client)]

    def send_to(
        self,
        node: str | None,
        call: Call[Any],
        options: Mapping[str, Any],
        timeout: float | None = None,
    ) -> Reply:
        """Send a call to one of `nodes`; see `send`.

        Raises:
            RedisConnectionError: the node owns no slots any more; nothing was sent.
        """
        return self._with_deadline(timeout, self._send_to, node, call, options)

    def _send_to(self, node: str | None, call: Call[Any], options: Mapping[str, Any]) -> Reply:
        if node is None:
            return self._send(call, options)
        client = self.client
        if node not in primaries(client):
            raise no_primary(node)
        return self._send(call, {**options, "target_nodes": client.get_node(node_name=node)})

    def _send_all(self, calls: Sequence[Call[Any]], options: Mapping[str, Any]) -> list[Reply]:
        client = self.client
        replies: list[Reply] = []
        for chunk in chunks(calls):
            replies += self._send_once(client, chunk, [call.wire for call in chunk], options)
        sent = [call.wire for call in calls]
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            telemetry.record_script_reloads(calls[unknown[0]], len(unknown))
        for places in chunks(unknown):
            unknown_calls = [calls[place] for place in places]
            wires = [call.wire_with_source for call in unknown_calls]
            new_replies = self._send_once(client, unknown_calls, wires, options)
            for place, wire, reply in zip(places, wires, new_replies, strict=True):
                sent[place], replies[place] = wire, reply
        for place, reply in enumerate(replies):
            if isinstance(reply, Exception):
                try:
                    replies[place] = self._retry(calls[place], sent[place], reply, client, options)
                except Exception as error:
                    replies[place] = error
        return replies

    def _send_once(
        self,
        client: Any,
        calls: Sequence[Call[Any]],
        wires: Sequence[tuple[Any, ...]],
        options: Mapping[str, Any],
    ) -> list[Reply]:
        """Send the commands in a pipeline, without retries; return their replies or exceptions."""
        try:
            if len(wires) == 1:
                return [client.execute_command(*wires[0], **options)]
            if self.is_cluster:
                keys = [call.keys[0] for call in calls]
                if isinstance(client, ClusterClient):
                    return client.execute_many(keys, wires, options)
                return send_to_cluster(client, keys, wires, options)
            if isinstance(client, connections.Client):
                return client.execute_many(wires, options)
            pipeline = client.pipeline(transaction=False)
            for wire in wires:
                pipeline.execute_command(*wire, **options)
            return list(pipeline.execute(raise_on_error=False))
        except Exception as error:
            return [as_connection_error(error)] * len(wires)

    def _retry(
        self,
        call: Call[Any],
        wire: tuple[Any, ...],
        error: Exception,
        client: Any,
        options: Mapping[str, Any],
    ) -> Reply:
        """Retry a failed call while `next_attempt` allows it, else raise the last error."""
        attempt = 0
        while (retry := next_attempt(call, wire, error, attempt, self.retry_policy)) is not None:
            if isinstance(error, NoScriptError):
                telemetry.record_script_reloads(call)
            else:
                telemetry.record_retry(call, error)
            if retry.delay:
                sleep(deadline.limit_wait(retry.delay) or 0.0)
                deadline.limit_wait(None)
            try:
                wire = retry.wire
                return client.execute_command(*wire, **options)
            except Exception as next_error:
                error = as_connection_error(next_error)
            attempt += 1
        raise error

    def __enter__(self) -> RedisManager:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {describe_target(self._config, self._client)}>"


def _create_client(config: RedisConfig) -> Any:
    """Create the client of a configuration. The client of a cluster connects, to read the slots."""
    if config.cluster_nodes:
        return connections.connect_cluster(config)
    if config.emulator is None:
        return connections.connect(config)
    if config.emulator_cluster:
        cluster, kwargs = emulated_cluster(config, redis.RedisCluster)
        return cluster.client(**kwargs)
    client = emulator_named(config.emulator).client(
        retry=no_retry(redis.Redis), **config.client_kwargs()
    )
    client.auto_close_connection_pool = False
    return client
