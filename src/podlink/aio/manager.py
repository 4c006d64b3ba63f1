"""`AsyncRedisManager` owns the redis-py client, the scripts and the configuration, for asyncio.

`podlink.manager` is the synchronous version. asyncio connections belong to the event loop that
created them, and must be closed explicitly. Therefore the manager has one client for each event
loop that uses it. A `Lease` counts the users of a client; when a client has been replaced, its last
user closes it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from types import TracebackType
from typing import Any, TypeVar

import redis.asyncio

from podlink import forks, telemetry
from podlink.aio import connections
from podlink.aio.pool import await_within
from podlink.aio.sending import (
    Sender,
    Sending,
    retry,
    run_with_deadline,
    running_loop,
)
from podlink.calls import RAW, Call, Reply, script_load
from podlink.clients import count_connections, renew_async_client, server_version
from podlink.config import RedisConfig
from podlink.errors import (
    InvalidParameterError,
    RedisConnectionError,
    StatefulError,
)
from podlink.keys import check_timeout
from podlink.management import (
    DEFAULT_SLOW_OPERATION,
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


class Lease:
    """A client and the number of its users.

    Attributes:
        client: the redis-py client.
        sender: sends calls with it.
        source: identifies the server; the same object for the clients of all event loops.
        owned: whether the manager created the client, and therefore closes it.
        loop: the event loop that its connections belong to; ``None`` before the first use.
        users: how many calls and reserved connections use it.
        retired: whether the last user closes it.
    """

    __slots__ = ("client", "loop", "owned", "retired", "sender", "source", "users")

    def __init__(self, client: Any, sender: Sender, source: object, owned: bool) -> None:
        self.client = client
        self.sender = sender
        self.source = source
        self.owned = owned
        self.loop: asyncio.AbstractEventLoop | None = None
        self.users = 0
        self.retired = False

    async def release(self) -> None:
        """Decrement the number of users. Close a retired client that has no more users."""
        self.users -= 1
        if self.retired and not self.users:
            await self.close()

    async def retire(self) -> None:
        """Close the idle connections now, and the others when the last user releases the client."""
        self.retired = True
        if self.users:
            await self.sender.close(idle_only=True)
        else:
            await self.close()

    async def close(self) -> None:
        """Close all connections, if the manager created the client."""
        if not self.owned:
            return
        await self.sender.close()
        if isinstance(self.client, redis.asyncio.RedisCluster):
            await self.client.aclose()

    async def end(self, *, now: bool) -> None:
        """Close (``now``) or retire the client, in the event loop that it belongs to."""
        ending = self.close() if now else self.retire()
        if self.loop is None or self.loop is asyncio.get_running_loop():
            await ending
        elif self.loop.is_closed():
            ending.close()
            self.sender.abandon()
        else:
            asyncio.run_coroutine_threadsafe(ending, self.loop)


class AsyncRedisManager:
    """Owns the client, the scripts and the configuration of asynchronous executors.

    Tasks may share one manager. Each event loop that uses it gets its own connections, unless a
    client was passed as ``source``: a client belongs to one event loop.

    Args:
        source: a URL, a `RedisConfig`, or a client (``redis.asyncio.Redis``,
            ``redis.asyncio.RedisCluster``). The caller closes a client that it passed. A
            ``redis.asyncio.Redis`` retries as it is configured to, and podlink adds no retries.
            With a ``redis.asyncio.RedisCluster`` podlink retries, as often as the client would.

    Attributes:
        timeout: seconds that an operation may take if it is called without a timeout.
        slow: an operation that takes at least this many seconds is logged as slow.
        is_cluster: whether the client is one of a Redis Cluster, so that keys are in several slots.
        retry_policy: how often a failed call is retried.
    """

    def __init__(self, source: str | RedisConfig | Any = "emulator://") -> None:
        self._scripts = ScriptRegistry()
        self._config = config_of(source)
        self._connections: dict[int, Lease] = {}
        self._lock = threading.Lock()
        self._other_leases: dict[asyncio.AbstractEventLoop, Lease] = {}
        self._forked = False
        self.timeout: float | None = None
        self.slow = DEFAULT_SLOW_OPERATION
        if self._config is not None:
            self._use(self._config)
        elif isinstance(source, (redis.asyncio.Redis, redis.asyncio.RedisCluster)):
            self._lease = Lease(source, connections.sender_of(source), source, owned=False)
            self.is_cluster = isinstance(source, redis.asyncio.RedisCluster)
            self.retry_policy = connections.retries_of(source)
        else:
            raise InvalidParameterError(
                "a source must be a URL, a RedisConfig, redis.asyncio.Redis or "
                "redis.asyncio.RedisCluster (for a synchronous client use the synchronous class), "
                f"not {type(source).__name__}"
            )

        telemetry.observe_pool(self)
        forks.renew(self)

    def _after_fork(self) -> None:
        """Discard the connections of the parent process in a child process."""
        lease, config = self._lease, self._config
        self._lock = threading.Lock()
        if isinstance(lease.client, ClosedClient):
            return
        forks.keep_for_parent(lease, self._other_leases, self._connections)
        self._other_leases, self._connections = {}, {}
        if config is None:
            renew_async_client(lease.client)
            sender = connections.sender_of(lease.client)
            self._lease = Lease(lease.client, sender, lease.client, owned=False)
        elif config.emulator is None:
            self._lease = _connect(config, object())
        else:
            # An emulator creates clients only after its own fork handler, which may run later.
            self._lease = Lease(lease.client, lease.sender, lease.source, owned=True)
            self._forked = True

    def _use(self, config: RedisConfig) -> None:
        # First, because it may raise, and then nothing may be changed.
        self._lease = _connect(config, object())
        self._config = config
        self.retry_policy = config.retry_policy
        self.timeout = config.timeout
        self.slow = config.slow_operation
        self.is_cluster = config.is_cluster

    @property
    def client(self) -> Any:
        """The client of the running event loop, or without one the client that was used last."""
        try:
            return self.lease.client
        except InvalidParameterError:
            return self._lease.client

    @property
    def source(self) -> object:
        """Identifies the server; `update_config` and `close` replace it by another object."""
        return self if self.is_cluster else self.lease.source

    @property
    def lease(self) -> Lease:
        """The lease of the client of the running event loop; created at the first use.

        Raises:
            InvalidParameterError: no asyncio event loop is running.
        """
        loop = running_loop()
        lease = self._lease
        if lease.loop is loop or not lease.owned:
            return lease
        with self._lock:
            return self._lease_for(loop)

    def _lease_for(self, loop: asyncio.AbstractEventLoop) -> Lease:
        last = self._lease
        if self._forked:
            last = self._lease = _connect(require_config(self._config), last.source)
            self._forked = False
        if not last.owned:  # the client was passed in, or the manager is closed
            return last
        if last.loop is None:
            last.loop = loop
        self._other_leases[last.loop] = last
        for other in [other for other in self._other_leases if other.is_closed()]:
            self._other_leases.pop(other).sender.abandon()
        lease = self._other_leases.pop(loop, None)
        if lease is None:
            lease = _connect(require_config(self._config), last.source)
            lease.loop = loop
        self._lease = lease
        return lease

    async def get_connection(self, *, timeout: float | None = None) -> Any:
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
        seconds = self._seconds(timeout)
        lease = self.lease
        if self.is_cluster:
            return lease.client
        lease.users += 1
        try:
            with translated_errors("get_connection"):
                connection: Any = redis.asyncio.Redis(
                    connection_pool=lease.client.connection_pool, single_connection_client=True
                )
                await self._within(connection.initialize(), seconds)
        except BaseException:
            await lease.release()
            raise
        self._connections[id(connection)] = lease
        return connection

    async def release_connection(self, connection: Any) -> None:
        """Return a connection from `get_connection` to the pool. A second call does nothing."""
        lease = self._connections.pop(id(connection), None)
        if lease is not None:
            await connection.aclose()
            await lease.release()

    @asynccontextmanager
    async def connection(self, *, timeout: float | None = None) -> AsyncIterator[Any]:
        """Reserve a connection for an ``async with`` block; see `get_connection`."""
        connection = await self.get_connection(timeout=timeout)
        try:
            yield connection
        finally:
            await self.release_connection(connection)

    async def health_check(self, *, timeout: float | None = None) -> HealthStatus:
        """Send PING to the server, or to all primaries of a cluster, and ask for its version.

        Errors do not raise; they are in the result.

        Args:
            timeout: seconds that the whole check may take; ``None`` means the manager's timeout.

        Raises:
            InvalidParameterError: the timeout is not a number of seconds above 0.
        """
        url = None if self._config is None else self._config.url
        seconds = self._seconds(timeout)
        started = perf_counter()
        try:
            with translated_errors("health_check"):
                nodes = await self._within(self._ping(), seconds)
        except StatefulError as error:
            return HealthStatus(False, url, error=error)
        latency = perf_counter() - started
        rest = None if seconds is None else max(seconds - latency, 1e-9)
        try:
            server, version = server_version(await self.send_to(nodes[0], _INFO, {}, rest))
        except Exception:  # for example an ACL forbids INFO; PING was answered
            server = version = None
        return HealthStatus(True, url, latency, server, version)

    async def _ping(self) -> list[str | None]:
        nodes = await self.nodes()
        for node in nodes:
            await self.send_to(node, _PING, {})
        return nodes

    async def close(self) -> None:
        """Close the connections. A client that was passed as ``source`` stays open.

        Later calls raise `RedisConnectionError`.
        """
        closed = ClosedClient()
        await self._replace(Lease(closed, closed, closed, owned=False), now=True)

    async def _replace(self, lease: Lease, *, now: bool) -> None:
        with self._lock:
            leases = [self._lease, *self._other_leases.values()]
            self._lease = lease
            self._other_leases.clear()
        for each in leases:
            await each.end(now=now)

    async def get_pool_stats(self) -> PoolStats:
        """Count the connections of the running event loop."""
        return count_connections(self.lease.sender.pools())

    def count_connections(self) -> PoolStats | None:
        """Count the connections of the client that was used last; ``None`` after `close`."""
        lease = self._lease
        return (
            None
            if isinstance(lease.client, ClosedClient)
            else count_connections(lease.sender.pools())
        )

    async def load_script(
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
        with translated_errors(f"load_script {name}", script=True):
            return await self._within(self._load(script), timeout)

    async def _load(self, script: Script) -> str:
        call = Call("load_script", script_load(script), (), _raw_reply)
        for node in await self.nodes():
            await self.send_to(node, call, RAW)
        return script.sha

    async def execute_script(
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
            return await self.send(call, {}, timeout)

    async def preload_scripts(self, *, timeout: float | None = None) -> dict[str, str]:
        """Load all scripts into the server, so that the first calls need not send their source.

        Args:
            timeout: seconds that the whole call may take; ``None`` means the manager's timeout.

        Returns:
            Script name to SHA1.
        """
        with translated_errors("preload_scripts", script=True):
            return await self._within(self._load_all(), timeout)

    async def _load_all(self) -> dict[str, str]:
        return {script.name: await self._load(script) for script in self._scripts.all()}

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

    async def update_config(self, config: RedisConfig | str | None = None, **changes: Any) -> None:
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
            if isinstance(self._lease.client, ClosedClient):
                raise RedisConnectionError("the manager is closed: create a new one")
            new = updated_config(self._config, config, changes)
            leases = [self._lease, *self._other_leases.values()]
            self._use(new)
            self._other_leases.clear()
        for lease in leases:
            await lease.end(now=False)

    async def send(
        self, call: Call[Any], options: Mapping[str, Any], timeout: float | None = None
    ) -> Reply:
        """Send a call, retry it if that is safe, and return the reply of redis-py.

        Args:
            options: `podlink.calls.RAW` for bytes, or empty to decode as the client is configured.
            timeout: seconds that the whole call may take; ``None`` means the manager's timeout.

        Raises:
            Exception: what redis-py or a socket raised in the last attempt.
        """
        seconds = self._seconds(timeout)
        sending = Sending(call)
        await run_with_deadline(self._send((sending,), options), (sending,), seconds)
        return sending.result()

    async def send_all(
        self, calls: Sequence[Call[Any]], options: Mapping[str, Any], timeout: float | None = None
    ) -> list[Reply]:
        """Send several calls in pipelines, and return the replies of redis-py in the same order.

        On a cluster the nodes are asked concurrently. Failed calls are retried if that is safe. The
        reply of a call that failed is its exception.

        Args:
            options: `podlink.calls.RAW` for bytes, or empty to decode as the client is configured.
            timeout: seconds that all calls together may take; ``None`` means the manager's timeout.
        """
        seconds = self._seconds(timeout)
        sendings = [Sending(call) for call in calls]
        await run_with_deadline(self._send(sendings, options), sendings, seconds)
        return [sending.reply for sending in sendings]

    async def nodes(self, *, timeout: float | None = None) -> list[str | None]:
        """Read the names of the nodes that own slots; ``[None]`` without a cluster.

        Args:
            timeout: seconds that CLUSTER SLOTS may take; ``None`` means the manager's timeout.
        """
        with translated_errors("reading the map of slots"):
            return await self._within(self._nodes(), timeout)

    async def _nodes(self) -> list[str | None]:
        lease = self.lease
        lease.users += 1
        try:
            return await lease.sender.nodes()
        finally:
            await lease.release()

    async def send_to(
        self,
        node: str | None,
        call: Call[Any],
        options: Mapping[str, Any],
        timeout: float | None = None,
    ) -> Reply:
        """Send a call to one of `nodes`; see `send`."""
        seconds = self._seconds(timeout)
        sending = Sending(call)
        await run_with_deadline(self._send((sending,), options, node), (sending,), seconds)
        return sending.result()

    async def _within(self, work: Coroutine[Any, Any, T], timeout: float | None) -> T:
        try:
            running_loop()
            seconds = self._seconds(timeout)
        except InvalidParameterError:
            work.close()
            raise
        return await await_within(work, seconds)

    def _seconds(self, timeout: float | None) -> float | None:
        return self.timeout if timeout is None else check_timeout(timeout)

    async def _send(
        self, sendings: Sequence[Sending], options: Mapping[str, Any], node: str | None = None
    ) -> None:
        lease = self.lease
        lease.users += 1
        try:
            for chunk in chunks(sendings):
                await lease.sender.send(chunk, options, node)
            await retry(lease.sender, sendings, options, self.retry_policy, node)
        finally:
            await lease.release()

    async def __aenter__(self) -> AsyncRedisManager:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {describe_target(self._config, self._lease.client)}>"


def _connect(config: RedisConfig, source: object) -> Lease:
    return Lease(*connections.connect(config), source, owned=True)


def _raw_reply(call: Call[Any], reply: Reply) -> Reply:
    return reply


_PING = Call[Any]("health_check", ("PING",), (), _raw_reply)
_INFO = Call[Any]("health_check", ("INFO", "server"), (), _raw_reply)
