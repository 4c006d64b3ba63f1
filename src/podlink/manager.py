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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter, sleep
from types import TracebackType
from typing import Any, TypeVar

import redis
from redis.exceptions import NoScriptError

from podlink import connections, deadline, telemetry
from podlink.calls import Call, Reply, again, as_text, script_load
from podlink.clients import (
    emulated_cluster,
    emulator_named,
    pool_stats,
    pools,
    primaries,
    sentinels_of,
    server_version,
)
from podlink.config import RedisConfig
from podlink.errors import (
    InvalidParameterError,
    NotFoundError,
    RedisConnectionError,
    StatefulError,
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
from podlink.scripts import ScriptRegistry

T = TypeVar("T")


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

    def _use(self, config: RedisConfig) -> None:
        self._config = config
        self.retry_policy = config.retry_policy
        self.timeout = config.timeout
        self.slow = config.slow_operation
        self.is_cluster = config.is_cluster
        self._client = None if self.is_cluster else _connect(config)

    @property
    def client(self) -> Any:
        """The client in use; `update_config` replaces it.

        Raises:
            RedisConnectionError: no node of the cluster answers, at the first use.
        """
        client = self._client
        if client is not None:
            return client
        # A cluster client asks for the slots when it is made, so it is made when it is needed.
        with self._lock:
            if self._client is None:
                assert self._config is not None
                with errors_as_ours("connecting to the cluster"):
                    self._client = _connect_cluster(self._config)
            return self._client

    def get_connection(self) -> Any:
        """Reserve one connection, as a client that sends everything on it.

        On a cluster this is the client itself. Give it back with `release_connection`; `connection`
        does both.

        Raises:
            RedisConnectionError: there is no server, or no connection is free.
        """
        client = self.client
        if self.is_cluster:
            return client
        with errors_as_ours("get_connection"):
            return redis.Redis(
                connection_pool=client.connection_pool, single_connection_client=True
            )

    def release_connection(self, connection: Any) -> None:
        """Give back what `get_connection` returned; a second time does nothing."""
        if not self.is_cluster:
            connection.close()

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """A connection for a ``with`` block; see `get_connection`."""
        connection = self.get_connection()
        try:
            yield connection
        finally:
            self.release_connection(connection)

    def health_check(self) -> HealthStatus:
        """Ask the server for a sign of life. Raises nothing: what is wrong is in the result."""
        url = None if self._config is None else self._config.url
        started = perf_counter()
        try:
            with errors_as_ours("health_check"):
                self.client.execute_command("PING")
        except StatefulError as error:
            return HealthStatus(False, url, error=error)
        latency = perf_counter() - started
        try:
            server, version = server_version(self.client.execute_command("INFO", "server"))
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

    def load_script(self, name: str, source: str | None = None) -> str:
        """Load a script into the server (all primaries of a cluster), and return its SHA1.

        Args:
            name: a script of podlink, or one kept before; with ``source`` any other name.
            source: Lua source to keep under that name.

        Raises:
            NotFoundError: no source was given and no script has that name.
            LuaScriptError: the source does not compile.
        """
        script = self._scripts.get(name) if source is None else self._scripts.add(name, source)
        with errors_as_ours(f"load_script {name}", script=True):
            return as_text(self.client.execute_command(*script_load(script)))

    def execute_script(
        self, name: str, keys: Sequence[Any] = (), args: Sequence[Any] = ()
    ) -> Reply:
        """Run a script by its name, loading it if the server does not know it.

        Returns:
            The reply as the client gives it, decoded if the client decodes.

        Raises:
            NotFoundError: no script has that name.
            LuaScriptError: the script failed.
        """
        call = script_call(self._scripts.get(name), keys, args)
        with errors_as_ours(f"execute_script {name}", script=True, write=True):
            return self.send(call, {})

    def preload_scripts(self) -> dict[str, str]:
        """Load all scripts into the server, so that no first call has to; name to SHA1."""
        return {script.name: self.load_script(script.name) for script in self._scripts.all()}

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
        # What is in use is closed with the pool, when its last user lets go of it.
        if owned and old is not None:
            for pool in (*pools(old), *map(_pool_of, sentinels_of(old))):
                pool.disconnect(inuse_connections=False)

    def send(
        self, call: Call[Any], options: Mapping[str, Any], timeout: float | None = None
    ) -> Reply:
        """Send a call, again where that is right, and return the bare reply.

        Args:
            options: of redis-py's ``execute_command``.
            timeout: seconds that all of it may take; ``None`` means the manager's.
        """
        seconds = self.timeout if timeout is None else check_timeout(timeout)
        if seconds is None:
            return self._send(call, options)
        with deadline.within(seconds):
            return self._send(call, options)

    def _send(self, call: Call[Any], options: Mapping[str, Any]) -> Reply:
        client = self.client
        try:
            return client.execute_command(*call.wire, **options)
        except Exception as error:
            return self.recover(call, error, client, options)

    def send_all(
        self, calls: Sequence[Call[Any]], options: Mapping[str, Any], timeout: float | None = None
    ) -> list[Reply]:
        """Send several calls in pipelines, and return the bare replies in their order.

        On a cluster a pipeline goes to all nodes at once. What fails alone is sent again alone; a
        call that fails for good has its exception for a reply.
        """
        seconds = self.timeout if timeout is None else check_timeout(timeout)
        with deadline.within(seconds):
            return self._send_all(self.client, calls, options)

    def nodes(self) -> list[str | None]:
        """The nodes that hold keys, by name; ``[None]`` when there is only one."""
        if self.is_cluster:
            return [*primaries(self.client)]
        return [None]

    def send_to(
        self,
        node: str | None,
        call: Call[Any],
        options: Mapping[str, Any],
        timeout: float | None = None,
    ) -> Reply:
        """Send a call to one of `nodes`, as `send` does."""
        if node is None:
            return self.send(call, options, timeout)
        target = self.client.get_node(node_name=node)
        if target is None:
            raise NotFoundError(f"the cluster has no node {node} any more")
        return self.send(call, {**options, "target_nodes": target}, timeout)

    def _send_all(
        self, client: Any, calls: Sequence[Call[Any]], options: Mapping[str, Any]
    ) -> list[Reply]:
        replies: list[Reply] = []
        for chunk in chunks(calls):
            replies += self.send_once(client, chunk, [call.wire for call in chunk], options)
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            telemetry.reloaded(calls[unknown[0]], len(unknown))
        for places in chunks(unknown):
            unknown_calls = [calls[place] for place in places]
            wires = [call.wire_with_source for call in unknown_calls]
            sent_again = self.send_once(client, unknown_calls, wires, options)
            for place, reply in zip(places, sent_again, strict=True):
                replies[place] = reply
        for place, reply in enumerate(replies):
            if isinstance(reply, Exception):
                try:
                    replies[place] = self.recover(calls[place], reply, client, options)
                except Exception as error:
                    replies[place] = error
        return replies

    def send_once(
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
                return connections.send_to_cluster(client, keys, wires, options)
            pipeline = client.pipeline(transaction=False)
            for wire in wires:
                pipeline.execute_command(*wire, **options)
            return list(pipeline.execute(raise_on_error=False))
        except Exception as error:
            return [error] * len(wires)

    def recover(
        self, call: Call[Any], error: Exception, client: Any, options: Mapping[str, Any]
    ) -> Reply:
        """Send a call again after ``error`` as often as that is right, or raise what came last."""
        attempt = 0
        while (next_try := again(call, error, attempt, self.retry_policy)) is not None:
            if isinstance(error, NoScriptError):
                telemetry.reloaded(call)
            else:
                telemetry.sent_again(call, error)
            if next_try.delay:
                sleep(deadline.wait_at_most(next_try.delay) or 0.0)
            try:
                return client.execute_command(*next_try.wire, **options)
            except Exception as next_error:
                error = next_error
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
        return f"<{type(self).__name__} {described(self._config, self.client)}>"


def _pool_of(client: Any) -> Any:
    return client.connection_pool


def _connect_cluster(config: RedisConfig) -> Any:
    if config.emulator is None:
        return connections.connect_cluster(config)
    cluster, kwargs = emulated_cluster(config, redis.RedisCluster)
    return cluster.client(**kwargs)


def _connect(config: RedisConfig) -> Any:
    if config.emulator is None:
        return connections.connect(config)
    client = emulator_named(config.emulator).client(**config.client_kwargs())
    client.auto_close_connection_pool = False
    return client
