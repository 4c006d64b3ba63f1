"""`AsyncRedisManager`: as `podlink.manager`, for asyncio.

asyncio connections belong to the event loop that made them, and cannot be left to the garbage
collector. So there is a client for each event loop that uses the manager, kept with the number of
its users: a replaced client is closed by the last call that used it.
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
from podlink.aio.sending import Sender, Sending, keep_deadline, repeat, running_loop
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


class Lease:
    """A client, what sends to where it leads, and how many calls and reserved connections use it.

    Attributes:
        client: the client.
        sender: sends calls.
        source: identifies what it leads to; the same object for the clients of all event loops.
        owned: whether the client was made here.
        loop: the event loop that its connections belong to; ``None`` until it is used.
        users: how many use it.
        retired: whether it is closed by its last user.
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
        """One user less; the last user of a replaced client closes it."""
        self.users -= 1
        if self.retired and not self.users:
            await self.close()

    async def retire(self) -> None:
        """Close what is idle now, and the rest with its last user."""
        self.retired = True
        if self.users:
            await self.sender.close(idle_only=True)
        else:
            await self.close()

    async def close(self) -> None:
        """Close all connections of a client that was made here."""
        if not self.owned:
            return
        await self.sender.close()
        if isinstance(self.client, redis.asyncio.RedisCluster):
            await self.client.aclose()

    async def end(self, *, now: bool) -> None:
        """`close` or `retire` it from any event loop."""
        ending = self.close() if now else self.retire()
        if self.loop is None or self.loop is asyncio.get_running_loop():
            await ending
        elif self.loop.is_closed():
            ending.close()
            self.sender.abandon()
        else:
            asyncio.run_coroutine_threadsafe(ending, self.loop)


class AsyncRedisManager:
    """The client, the scripts and the configuration of asynchronous executors. Tasks may share it.

    Each event loop that uses it has connections of its own, except with a client that was handed
    in, which belongs to one event loop.

    Args:
        source: a URL, a `RedisConfig`, or a client (``redis.asyncio.Redis``,
            ``redis.asyncio.RedisCluster``). A client that was handed in stays the caller's: it is
            not closed here. A `redis.asyncio.Redis` keeps its own policy of retries; of a cluster's
            client only the number of retries counts, and podlink repeats what may be repeated.

    Attributes:
        timeout: seconds that an operation may take, unless it is told otherwise.
        slow: seconds that make an operation slow.
        is_cluster: whether it is one of a cluster, so that keys are in several slots.
        retry_policy: how often the executors send a call again.
    """

    def __init__(self, source: str | RedisConfig | Any = "emulator://") -> None:
        self._scripts = ScriptRegistry()
        self._config = as_config(source)
        self._connections: dict[int, Lease] = {}
        self._lock = threading.Lock()
        self._others: dict[asyncio.AbstractEventLoop, Lease] = {}
        self._forked = False
        self.retry_policy = NO_RETRIES
        self.timeout: float | None = None
        self.slow = SLOW
        telemetry.watch(self)
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

        forks.renew(self)

    def _after_fork(self) -> None:
        """Use connections of its own in a child process."""
        lease, config = self._lease, self._config
        self._lock = threading.Lock()
        if isinstance(lease.client, Closed):
            return
        forks.leave_to_parent(lease, self._others, self._connections)
        self._others, self._connections = {}, {}
        if config is None:
            renew_async_client(lease.client)
            sender = connections.sender_of(lease.client)
            self._lease = Lease(lease.client, sender, lease.client, owned=False)
        elif config.emulator is None:
            self._lease = _connect(config, object())
        else:
            # An emulator gives a client only when it has noticed the fork as well.
            self._lease = Lease(lease.client, lease.sender, lease.source, owned=True)
            self._forked = True

    def _use(self, config: RedisConfig) -> None:
        self._config = config
        self.retry_policy = config.retry_policy
        self.timeout = config.timeout
        self.slow = config.slow_operation
        self.is_cluster = config.is_cluster
        self._lease = _connect(config, object())

    @property
    def client(self) -> Any:
        """The client in use, in the running event loop if there is one."""
        try:
            return self.lease.client
        except InvalidParameterError:
            return self._lease.client

    @property
    def source(self) -> object:
        """Identifies what links are read from: another object after `update_config` and `close`."""
        return self if self.is_cluster else self.lease.source

    @property
    def lease(self) -> Lease:
        """The client of the running event loop.

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
        if self._forked and self._config is not None:
            last = self._lease = _connect(self._config, last.source)
            self._forked = False
        if last.loop is None:
            last.loop = loop
        if last.loop is loop or not last.owned or self._config is None:
            return last
        self._others[last.loop] = last
        for other in [other for other in self._others if other.is_closed()]:
            self._others.pop(other).sender.abandon()
        lease = self._others.pop(loop, None)
        if lease is None:
            lease = _connect(self._config, last.source)
            lease.loop = loop
        self._lease = lease
        return lease

    async def get_connection(self, *, timeout: float | None = None) -> Any:
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
        lease = self.lease
        if self.is_cluster:
            return lease.client
        lease.users += 1
        try:
            with errors_as_ours("get_connection"):
                connection: Any = redis.asyncio.Redis(
                    connection_pool=lease.client.connection_pool, single_connection_client=True
                )
                await self._within(connection.initialize(), timeout)
        except BaseException:
            await lease.release()
            raise
        self._connections[id(connection)] = lease
        return connection

    async def release_connection(self, connection: Any) -> None:
        """Give back what `get_connection` returned; a second time does nothing."""
        lease = self._connections.pop(id(connection), None)
        if lease is not None:
            await connection.aclose()
            await lease.release()

    @asynccontextmanager
    async def connection(self, *, timeout: float | None = None) -> AsyncIterator[Any]:
        """A connection for an ``async with`` block; see `get_connection`."""
        connection = await self.get_connection(timeout=timeout)
        try:
            yield connection
        finally:
            await self.release_connection(connection)

    async def health_check(self, *, timeout: float | None = None) -> HealthStatus:
        """Ask the server (all primaries of a cluster) for a sign of life. Errors are in the result.

        Args:
            timeout: seconds that this may take in all; ``None`` means the manager's.

        Raises:
            InvalidParameterError: the timeout is no number of seconds above 0.
        """
        url = None if self._config is None else self._config.url
        seconds = self._seconds(timeout)
        started = perf_counter()
        try:
            with errors_as_ours("health_check"):
                nodes = await self._within(self._ping(), seconds)
        except StatefulError as error:
            return HealthStatus(False, url, error=error)
        latency = perf_counter() - started
        rest = None if seconds is None else max(seconds - latency, 1e-9)
        try:
            server, version = server_version(await self.send_to(nodes[0], _INFO, {}, rest))
        except Exception:  # an access control list may forbid INFO; the server is well all the same
            server = version = None
        return HealthStatus(True, url, latency, server, version)

    async def _ping(self) -> list[str | None]:
        nodes = await self.nodes()
        for node in nodes:
            await self.send_to(node, _PING, {})
        return nodes

    async def close(self) -> None:
        """Close the connections and refuse further calls. A client handed in is left open."""
        closed = Closed()
        await self._replace(Lease(closed, closed, closed, owned=False), now=True)

    async def _replace(self, lease: Lease, *, now: bool) -> None:
        with self._lock:
            leases = [self._lease, *self._others.values()]
            self._lease = lease
            self._others.clear()
        for each in leases:
            await each.end(now=now)

    async def get_pool_stats(self) -> PoolStats:
        """How many connections there are in the running event loop."""
        return count_connections(self.lease.sender.pools())

    def count_connections(self) -> PoolStats | None:
        """As `get_pool_stats`; ``None`` when the manager is closed."""
        lease = self._lease
        return None if isinstance(lease.client, Closed) else count_connections(lease.sender.pools())

    async def load_script(
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
        with errors_as_ours(f"load_script {name}", script=True):
            return await self._within(self._load(script), timeout)

    async def _load(self, script: Script) -> str:
        call = Call("load_script", script_load(script), (), _as_is)
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
            return await self.send(call, {}, timeout)

    async def preload_scripts(self, *, timeout: float | None = None) -> dict[str, str]:
        """Load all scripts into the server, so that no first call has to; name to SHA1.

        Args:
            timeout: seconds that this may take in all; ``None`` means the manager's.
        """
        with errors_as_ours("preload_scripts", script=True):
            return await self._within(self._load_all(), timeout)

    async def _load_all(self) -> dict[str, str]:
        return {script.name: await self._load(script) for script in self._scripts.all()}

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

    async def update_config(self, config: RedisConfig | str | None = None, **changes: Any) -> None:
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
        if isinstance(self._lease.client, Closed):
            raise RedisConnectionError("the manager is closed")
        new = changed(self._config, config, changes)
        with self._lock:
            leases = [self._lease, *self._others.values()]
            self._use(new)
            self._others.clear()
        for lease in leases:
            await lease.end(now=False)

    async def send(
        self, call: Call[Any], options: Mapping[str, Any], timeout: float | None = None
    ) -> Reply:
        """Send a call, again where that is right, and return the bare reply.

        Args:
            options: `podlink.calls.RAW`, or empty for a reply that is decoded if the client does.
            timeout: seconds that all of it may take; ``None`` means the manager's.
        """
        sending = Sending(call)
        await keep_deadline(self._send((sending,), options), (sending,), self._seconds(timeout))
        return sending.result()

    async def send_all(
        self, calls: Sequence[Call[Any]], options: Mapping[str, Any], timeout: float | None = None
    ) -> list[Reply]:
        """Send several calls in pipelines, and return the bare replies in their order.

        On a cluster a pipeline goes to all nodes at once. What fails is sent again where that is
        right; a call that fails for good has its exception for a reply.
        """
        sendings = [Sending(call) for call in calls]
        await keep_deadline(self._send(sendings, options), sendings, self._seconds(timeout))
        return [sending.reply for sending in sendings]

    async def nodes(self, *, timeout: float | None = None) -> list[str | None]:
        """The names of the nodes that hold keys, read anew; ``[None]`` if it is no cluster.

        Args:
            timeout: seconds for reading the map of slots; ``None`` means the manager's.
        """
        with errors_as_ours("reading the map of slots"):
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
        """Send a call to one of `nodes`, as `send` does."""
        sending = Sending(call)
        await keep_deadline(
            self._send((sending,), options, node), (sending,), self._seconds(timeout)
        )
        return sending.result()

    async def _within(self, work: Coroutine[Any, Any, T], timeout: float | None) -> T:
        try:
            running_loop()
            seconds = self._seconds(timeout)
        except InvalidParameterError:
            work.close()
            raise
        return await asyncio.wait_for(work, seconds)

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
            await repeat(lease.sender, sendings, options, self.retry_policy, node)
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
        return f"<{type(self).__name__} {described(self._config, self._lease.client)}>"


def _connect(config: RedisConfig, source: object) -> Lease:
    return Lease(*connections.connect(config), source, owned=True)


def _as_is(call: Call[Any], reply: Reply) -> Reply:
    return reply


_PING = Call[Any]("health_check", ("PING",), (), _as_is)
_INFO = Call[Any]("health_check", ("INFO", "server"), (), _as_is)
