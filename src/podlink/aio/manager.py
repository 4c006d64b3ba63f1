"""`AsyncRedisManager`: as `podlink.manager`, for asyncio.

A replaced client is closed by the last call that used it: asyncio connections cannot be left to the
garbage collector. So each client is kept with the number of its users.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from types import TracebackType
from typing import Any, TypeVar

import redis.asyncio
from redis.exceptions import NoScriptError

from podlink import telemetry
from podlink.aio import connections
from podlink.calls import Call, Reply, again, as_text, script_load
from podlink.clients import emulated_cluster, emulator_named, pool_stats, primaries, server_version
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
from podlink.scripts import Script, ScriptRegistry

T = TypeVar("T")


class Lease:
    """A client and how many calls and reserved connections use it."""

    __slots__ = ("client", "owned", "retired", "users")

    def __init__(self, client: Any, owned: bool) -> None:
        self.client = client
        self.owned = owned
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
        if not self.users:
            await self.close()
        elif self.owned and hasattr(self.client, "connection_pool"):
            await self.client.connection_pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        """Close all connections of a client that was made here."""
        if self.owned:
            await connections.disconnect(self.client)


class AsyncRedisManager:
    """The client, the scripts and the configuration of asynchronous executors. Tasks may share it.

    Args:
        source: a URL, a `RedisConfig`, or a client (``redis.asyncio.Redis``,
            ``redis.asyncio.RedisCluster``). A client that was handed in stays the caller's: it is
            not closed here, and it keeps its own policy of retries.

    Attributes:
        lease: the client in use and its users; `update_config` replaces it.
        timeout: seconds that an operation may take, unless it is told otherwise.
        slow: seconds that make an operation slow.
        is_cluster: whether it is one of a cluster, so that keys are in several slots.
        retry_policy: how often the executors send a call again.
    """

    def __init__(self, source: str | RedisConfig | Any = "emulator://") -> None:
        self._scripts = ScriptRegistry()
        self._config = as_config(source)
        self._connections: dict[int, Lease] = {}
        self.retry_policy = NO_RETRIES
        self.timeout: float | None = None
        self.slow = SLOW
        telemetry.watch(self)
        if self._config is not None:
            self._use(self._config)
        elif isinstance(source, (redis.asyncio.Redis, redis.asyncio.RedisCluster)):
            self.lease = Lease(source, owned=False)
            self.is_cluster = isinstance(source, redis.asyncio.RedisCluster)
        else:
            raise InvalidParameterError(
                "a source must be a URL, a RedisConfig, redis.asyncio.Redis or "
                "redis.asyncio.RedisCluster (for a synchronous client use the synchronous class), "
                f"not {type(source).__name__}"
            )

    def _use(self, config: RedisConfig) -> None:
        self._config = config
        self.retry_policy = config.retry_policy
        self.timeout = config.timeout
        self.slow = config.slow_operation
        self.is_cluster = config.is_cluster
        self.lease = Lease(_connect(config), owned=True)

    @property
    def client(self) -> Any:
        """The client in use."""
        return self.lease.client

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
                await self._within(timeout, connection.initialize())
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
        """Ask the server for a sign of life. What is wrong is in the result.

        Args:
            timeout: seconds that this may take in all; ``None`` means the manager's.

        Raises:
            InvalidParameterError: the timeout is no number of seconds above 0.
        """
        seconds = self.timeout if timeout is None else check_timeout(timeout)
        url = None if self._config is None else self._config.url
        started = perf_counter()
        try:
            with errors_as_ours("health_check"):
                await self._within(seconds, self.client.execute_command("PING"))
        except StatefulError as error:
            return HealthStatus(False, url, error=error)
        latency = perf_counter() - started
        rest = None if seconds is None else max(seconds - latency, 1e-9)
        try:
            asked = self.client.execute_command("INFO", "server")
            server, version = server_version(await self._within(rest, asked))
        except Exception:  # an access control list may forbid INFO; the server is well all the same
            server = version = None
        return HealthStatus(True, url, latency, server, version)

    async def close(self) -> None:
        """Close the connections and refuse further calls. A client handed in is left open."""
        lease, self.lease = self.lease, Lease(Closed(), owned=False)
        await lease.close()

    async def get_pool_stats(self) -> PoolStats:
        """How many connections there are."""
        return pool_stats(self.client)

    def count_connections(self) -> PoolStats | None:
        """As `get_pool_stats`; ``None`` when the manager is closed."""
        return None if isinstance(self.client, Closed) else pool_stats(self.client)

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
            return await self._within(timeout, self._load(script))

    async def _load(self, script: Script) -> str:
        if self.is_cluster:
            for address in await self.nodes():
                node = self.client.get_node(node_name=address)
                await self.client.execute_command(*script_load(script), target_nodes=node)
            return script.sha
        return as_text(await self.client.execute_command(*script_load(script)))

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
        scripts = self._scripts.all()
        with errors_as_ours("preload_scripts", script=True):
            return await self._within(timeout, self._load_all(scripts))

    async def _load_all(self, scripts: Sequence[Script]) -> dict[str, str]:
        return {script.name: await self._load(script) for script in scripts}

    async def _within(self, timeout: float | None, result: Awaitable[T]) -> T:
        """Wait for a result no longer than ``timeout`` or the manager's allow."""
        try:
            seconds = self.timeout if timeout is None else check_timeout(timeout)
        except InvalidParameterError:
            getattr(result, "close", bool)()
            raise
        return await asyncio.wait_for(result, seconds)

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
        if isinstance(self.client, Closed):
            raise RedisConnectionError("the manager is closed")
        new = changed(self._config, config, changes)
        old = self.lease
        self._use(new)
        await old.retire()

    async def send(
        self, call: Call[Any], options: Mapping[str, Any], timeout: float | None = None
    ) -> Reply:
        """Send a call, again where that is right, and return the bare reply.

        Args:
            options: of redis-py's ``execute_command``.
            timeout: seconds that all of it may take; ``None`` means the manager's.
        """
        seconds = self.timeout if timeout is None else check_timeout(timeout)
        if seconds is None:
            return await self._send(call, options)
        return await asyncio.wait_for(self._send(call, options), seconds)

    async def _send(self, call: Call[Any], options: Mapping[str, Any]) -> Reply:
        lease = self.lease
        client = lease.client
        lease.users += 1
        try:
            return await client.execute_command(*call.wire, **options)
        except Exception as error:
            return await self.recover(call, error, client, options)
        finally:
            await lease.release()

    async def send_all(
        self, calls: Sequence[Call[Any]], options: Mapping[str, Any], timeout: float | None = None
    ) -> list[Reply]:
        """Send several calls in pipelines, and return the bare replies in their order.

        On a cluster a pipeline goes to all nodes at once. What fails alone is sent again alone; a
        call that fails for good has its exception for a reply.
        """
        lease = self.lease
        lease.users += 1
        try:
            seconds = self.timeout if timeout is None else check_timeout(timeout)
            return await asyncio.wait_for(self._send_all(lease.client, calls, options), seconds)
        finally:
            await lease.release()

    async def nodes(self) -> list[str | None]:
        """The nodes that hold keys, by name; ``[None]`` when there is only one."""
        if self.is_cluster:
            await self.client.initialize()
            return [*primaries(self.client)]
        return [None]

    async def send_to(
        self,
        node: str | None,
        call: Call[Any],
        options: Mapping[str, Any],
        timeout: float | None = None,
    ) -> Reply:
        """Send a call to one of `nodes`, as `send` does."""
        if node is None:
            return await self.send(call, options, timeout)
        target = self.client.get_node(node_name=node)
        if target is None:
            raise NotFoundError(f"the cluster has no node {node} any more")
        return await self.send(call, {**options, "target_nodes": target}, timeout)

    async def _send_all(
        self, client: Any, calls: Sequence[Call[Any]], options: Mapping[str, Any]
    ) -> list[Reply]:
        replies: list[Reply] = []
        for chunk in chunks(calls):
            replies += await self.send_once(client, chunk, [call.wire for call in chunk], options)
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            telemetry.reloaded(calls[unknown[0]], len(unknown))
        for places in chunks(unknown):
            unknown_calls = [calls[place] for place in places]
            wires = [call.wire_with_source for call in unknown_calls]
            sent_again = await self.send_once(client, unknown_calls, wires, options)
            for place, reply in zip(places, sent_again, strict=True):
                replies[place] = reply
        for place, reply in enumerate(replies):
            if isinstance(reply, Exception):
                try:
                    replies[place] = await self.recover(calls[place], reply, client, options)
                except Exception as error:
                    replies[place] = error
        return replies

    async def send_once(
        self,
        client: Any,
        calls: Sequence[Call[Any]],
        wires: Sequence[tuple[Any, ...]],
        options: Mapping[str, Any],
    ) -> list[Reply]:
        """Send calls as these commands, together and nothing again; replies or exceptions."""
        try:
            if len(wires) == 1:
                return [await client.execute_command(*wires[0], **options)]
            if self.is_cluster and connections.PIPELINES_NEED_RETRIES:
                sent = (client.execute_command(*wire, **options) for wire in wires)
                return await asyncio.gather(*sent, return_exceptions=True)
            pipeline = client.pipeline(transaction=False)
            for wire in wires:
                pipeline.execute_command(*wire, **options)
            return list(await pipeline.execute(raise_on_error=False))
        except Exception as error:
            return [error] * len(wires)

    async def recover(
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
                await asyncio.sleep(next_try.delay)
            try:
                return await client.execute_command(*next_try.wire, **options)
            except Exception as next_error:
                error = next_error
            attempt += 1
        raise error

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
        return f"<{type(self).__name__} {described(self._config, self.client)}>"


def _connect(config: RedisConfig) -> Any:
    if config.emulator is None:
        return connections.connect(config)
    if config.emulator_cluster:
        cluster, kwargs = emulated_cluster(config, redis.asyncio.RedisCluster)
        return cluster.async_client(**kwargs)
    return emulator_named(config.emulator).async_client(**config.client_kwargs())
