"""`RedisManager`: owns the client and its pool, the scripts and the configuration.

Knows no operation: what is sent to do what is decided in `podlink.operations`. The parts that do
not depend on IO are shared with `podlink.aio.manager`.

Clients made here do not let redis-py repeat a command: it would also repeat a write whose outcome
is unknown. The executors repeat what may be repeated (`podlink.calls` says what). A connection that
has died in the pool is noticed when it is taken, and made anew, so that nothing needs to be done
when a server is back.
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
from podlink.calls import RAW, Call, Reply, again, as_text, script_load
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
    NO_RETRIES,
    SLOW,
    Closed,
    as_config,
    changed,
    chunks,
    described,
    errors_as_ours,
    known,
    script_call,
)
from podlink.models import HealthStatus, PoolStats
from podlink.scripts import Script, ScriptRegistry

T = TypeVar("T")

CONNECT_AT_MOST = 10.0
"""Seconds that a thread waits for the connection to a cluster that another thread makes."""


class RedisManager:
    """The client, the scripts and the configuration of synchronous executors. Threads may share it.

    Args:
        source: a URL, a `RedisConfig`, or a client (``redis.Redis``, ``redis.RedisCluster``). A
            client that was handed in stays the caller's: it is not closed here, and it keeps its
            own policy of retries.

    Attributes:
        timeout: seconds that an operation may take, unless it is told otherwise.
        slow: seconds that make an operation slow.
        is_cluster: whether it is one of a cluster, so that keys are in several slots.
        retry_policy: how often the executors send a call again.
    """

    def __init__(self, source: str | RedisConfig | Any = "emulator://") -> None:
        self._lock = threading.Lock()
        self._connecting = deadline.SingleFlight(CONNECT_AT_MOST)
        self._scripts = ScriptRegistry()
        self._config = as_config(source)
        self.retry_policy = NO_RETRIES
        self.timeout: float | None = None
        self.slow = SLOW
        telemetry.watch(self)
        self._client: Any = None
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
        forks.renew(self)

    def _after_fork(self) -> None:
        """Use connections of its own in a child process; a client handed in gets new locks."""
        client = self._client
        self._lock = threading.Lock()
        self._connecting = deadline.SingleFlight(CONNECT_AT_MOST)
        if client is not None and not isinstance(client, Closed):
            renew_client(client)
            if self._config is not None:
                self._client = None

    def _use(self, config: RedisConfig) -> None:
        self._config = config
        self.retry_policy = config.retry_policy
        self.timeout = config.timeout
        self.slow = config.slow_operation
        self.is_cluster = config.is_cluster
        self._client = None if self.is_cluster else _client_of(config)

    @property
    def client(self) -> Any:
        """The client in use; `update_config` replaces it.

        Raises:
            RedisConnectionError: no node of the cluster answers, at the first use.
            OperationTimeoutError: none answers in time.
        """
        client = self._client
        return self._connect() if client is None else client

    @property
    def source(self) -> object:
        """Identifies what links are read from: another object after `update_config` and `close`."""
        return self if self.is_cluster else self.client

    def _connect(self) -> Any:
        """Make the client: that of a cluster, which asks for the slots, or the first in a child."""
        while self._client is None:
            running = self._connecting.begin()
            if running is None:
                continue
            try:
                if self._client is None:
                    config = known(self._config)
                    with errors_as_ours("connecting to the server"):
                        self._keep(config, _client_of(config))
            finally:
                self._connecting.end(running)
        return self._client

    def _keep(self, config: RedisConfig, client: Any) -> None:
        """Use a client, unless the manager was closed or configured otherwise meanwhile."""
        with self._lock:
            if self._client is None and self._config is config:
                self._client = client
                return
        connections.disconnect(client)

    def get_connection(self, *, timeout: float | None = None) -> Any:
        """Reserve one connection, as a client that sends everything on it.

        On a cluster this is the client itself. Give it back with `release_connection`; `connection`
        does both.

        Args:
            timeout: seconds that connecting and waiting for a free connection may take; ``None``
                means the manager's.

        Raises:
            RedisConnectionError: there is no server, or no connection is free.
            OperationTimeoutError: there is none in time.
        """
        with errors_as_ours("get_connection"):
            return self._limited(timeout, self._reserve)

    def _reserve(self) -> Any:
        client = self.client
        if self.is_cluster:
            return client
        return redis.Redis(connection_pool=client.connection_pool, single_connection_client=True)

    def release_connection(self, connection: Any) -> None:
        """Give back what `get_connection` returned; a second time does nothing."""
        if not self.is_cluster:
            connection.close()

    @contextmanager
    def connection(self, *, timeout: float | None = None) -> Iterator[Any]:
        """A connection for a ``with`` block; see `get_connection`."""
        connection = self.get_connection(timeout=timeout)
        try:
            yield connection
        except Exception:
            raise
        except BaseException:  # interrupted: a reply may still come
            if not self.is_cluster:
                connection.connection.disconnect()
            raise
        finally:
            self.release_connection(connection)

    def health_check(self, *, timeout: float | None = None) -> HealthStatus:
        """Ask the server for a sign of life. What is wrong is in the result.

        Args:
            timeout: seconds that this may take in all; ``None`` means the manager's.

        Raises:
            InvalidParameterError: the timeout is no number of seconds above 0.
        """
        return self._limited(timeout, self._health)

    def _health(self) -> HealthStatus:
        url = None if self._config is None else self._config.url
        started = perf_counter()
        try:
            with errors_as_ours("health_check"):
                client = self.client
                options = {} if self.is_cluster else RAW
                client.execute_command("PING", **options)
        except StatefulError as error:
            return HealthStatus(False, url, error=error)
        latency = perf_counter() - started
        try:
            info = client.execute_command("INFO", "server", **options)
            server, version = server_version(info)
        except Exception:  # an access control list may forbid INFO; the server is well all the same
            server = version = None
        return HealthStatus(True, url, latency, server, version)

    def close(self) -> None:
        """Close the connections and refuse further calls. A client handed in is left open."""
        with self._lock:
            client, self._client = self._client, Closed()
        if self._config is not None and client is not None and not isinstance(client, Closed):
            connections.disconnect(client)

    def get_pool_stats(self) -> PoolStats:
        """How many connections there are."""
        return pool_stats(self.client)

    def count_connections(self) -> PoolStats | None:
        """As `get_pool_stats`; ``None`` when there is no client yet, or no longer."""
        client = self._client
        return None if client is None or isinstance(client, Closed) else pool_stats(client)

    def load_script(
        self, name: str, source: str | None = None, *, timeout: float | None = None
    ) -> str:
        """Load a script into the server (all primaries of a cluster), and return its SHA1.

        Args:
            name: a script of podlink, or one kept before; with ``source`` any other name.
            source: Lua source to keep under that name.
            timeout: seconds that this may take in all; ``None`` means the manager's.

        Raises:
            NotFoundError: no source was given and no script has that name.
            LuaScriptError: the source does not compile.
        """
        script = self._scripts.get(name) if source is None else self._scripts.add(name, source)
        return self._limited(timeout, self._load, script)

    def _load(self, script: Script) -> str:
        with errors_as_ours(f"load_script {script.name}", script=True):
            client, reply = self.client, None
            for node in self.nodes():
                target = {} if node is None else {"target_nodes": client.get_node(node_name=node)}
                reply = client.execute_command(*script_load(script), **RAW, **target)
            return as_text(reply)

    def execute_script(
        self,
        name: str,
        keys: Sequence[Any] = (),
        args: Sequence[Any] = (),
        *,
        timeout: float | None = None,
    ) -> Reply:
        """Run a script by its name, loading it if the server does not know it.

        Args:
            name: a script of podlink, or one that `load_script` was given.
            keys: its ``KEYS``.
            args: its ``ARGV``.
            timeout: seconds that this may take in all; ``None`` means the manager's.

        Returns:
            The reply as the client gives it, decoded if the client decodes.

        Raises:
            NotFoundError: no script has that name.
            LuaScriptError: the script failed.
        """
        call = script_call(self._scripts.get(name), keys, args)
        with errors_as_ours(f"execute_script {name}", script=True, write=True):
            return self.send(call, {}, timeout)

    def preload_scripts(self, *, timeout: float | None = None) -> dict[str, str]:
        """Load all scripts into the server, so that no first call has to; name to SHA1.

        Args:
            timeout: seconds that this may take in all; ``None`` means the manager's.
        """
        return self._limited(timeout, self._load_all)

    def _load_all(self) -> dict[str, str]:
        return {script.name: self._load(script) for script in self._scripts.all()}

    def get_script_sha(self, name: str) -> str:
        """The SHA1 of a script, without asking the server.

        Raises:
            NotFoundError: no script has that name.
        """
        return self._scripts.get(name).sha

    def get_config(self) -> RedisConfig:
        """The configuration.

        Raises:
            NotFoundError: the manager was made from a client, and has none.
        """
        return known(self._config)

    def update_config(self, config: RedisConfig | str | None = None, **changes: Any) -> None:
        """Use another configuration from the next call on.

        Calls under way end on their old connections, and reserved connections stay open until they
        are released.

        Args:
            config: a whole configuration or URL; without it the present one is the base.
            changes: fields to change in it.

        Raises:
            InvalidParameterError: a value is outside its limits; nothing has changed then.
            NotFoundError: the manager was made from a client, and no ``config`` is given.
        """
        with self._lock:
            if isinstance(self._client, Closed):
                raise RedisConnectionError("the manager is closed")
            new = changed(self._config, config, changes)
            owned, old = self._config is not None, self._client
            self._use(new)
        if owned and old is not None:
            connections.retire(old)

    def _limited(self, timeout: float | None, function: Callable[..., T], *args: Any) -> T:
        """Call a function with so many seconds for all that it sends."""
        seconds = self.timeout if timeout is None else check_timeout(timeout)
        return deadline.limited(seconds, function, *args)

    def send(
        self, call: Call[Any], options: Mapping[str, Any], timeout: float | None = None
    ) -> Reply:
        """Send a call, again where that is right, and return the bare reply.

        Args:
            options: of redis-py's ``execute_command``.
            timeout: seconds that all of it may take; ``None`` means the manager's.
        """
        return self._limited(timeout, self._send, call, options)

    def _send(self, call: Call[Any], options: Mapping[str, Any]) -> Reply:
        client = self.client
        try:
            return client.execute_command(*call.wire, **options)
        except Exception as error:
            return self._recover(call, call.wire, as_connection_error(error), client, options)

    def send_all(
        self, calls: Sequence[Call[Any]], options: Mapping[str, Any], timeout: float | None = None
    ) -> list[Reply]:
        """Send several calls in pipelines, and return the bare replies in their order.

        On a cluster a pipeline goes to all nodes at once. What fails alone is sent again alone; a
        call that fails for good has its exception for a reply.
        """
        return self._limited(timeout, self._send_all, calls, options)

    def nodes(self, *, timeout: float | None = None) -> list[str | None]:
        """The names of the nodes that hold keys, read anew; ``[None]`` if it is no cluster.

        Args:
            timeout: seconds for connecting to a cluster; ``None`` means the manager's.
        """
        return self._limited(timeout, self._nodes)

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
        """Send a call to one of `nodes`, as `send` does.

        Raises:
            RedisConnectionError: no slot belongs to the node any more; nothing was sent.
        """
        if node is None:
            return self.send(call, options, timeout)
        client = self.client
        target = client.get_node(node_name=node)
        if target is None or node not in primaries(client):
            raise no_primary(node)
        return self.send(call, {**options, "target_nodes": target}, timeout)

    def _send_all(self, calls: Sequence[Call[Any]], options: Mapping[str, Any]) -> list[Reply]:
        client = self.client
        replies: list[Reply] = []
        for chunk in chunks(calls):
            replies += self._send_once(client, chunk, [call.wire for call in chunk], options)
        sent = [call.wire for call in calls]
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            telemetry.reloaded(calls[unknown[0]], len(unknown))
        for places in chunks(unknown):
            unknown_calls = [calls[place] for place in places]
            wires = [call.wire_with_source for call in unknown_calls]
            sent_again = self._send_once(client, unknown_calls, wires, options)
            for place, wire, reply in zip(places, wires, sent_again, strict=True):
                sent[place], replies[place] = wire, reply
        for place, reply in enumerate(replies):
            if isinstance(reply, Exception):
                try:
                    replies[place] = self._recover(
                        calls[place], sent[place], reply, client, options
                    )
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
        """Send calls as these commands, together and nothing again; replies or exceptions."""
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

    def _recover(
        self,
        call: Call[Any],
        wire: tuple[Any, ...],
        error: Exception,
        client: Any,
        options: Mapping[str, Any],
    ) -> Reply:
        """Send a call again after ``error`` as often as that is right, or raise what came last."""
        attempt = 0
        while (next_try := again(call, wire, error, attempt, self.retry_policy)) is not None:
            if isinstance(error, NoScriptError):
                telemetry.reloaded(call)
            else:
                telemetry.sent_again(call, error)
            if next_try.delay:
                sleep(deadline.wait_at_most(next_try.delay) or 0.0)
                deadline.wait_at_most(None)
            try:
                wire = next_try.wire
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
        return f"<{type(self).__name__} {described(self._config, self._client)}>"


def _client_of(config: RedisConfig) -> Any:
    """The client that a configuration means. That of a cluster asks for the slots."""
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
