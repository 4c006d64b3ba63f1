"""What a test can run on: the emulator, a server started for the run, or the database a URL names.

A backend is one store that a test finds empty. `Backends` holds those that a run was asked for,
opens each when a test first needs it, and closes them at the end.

A server started here is ours: between tests its data, scripts, functions and statistics are
dropped, and it is replaced when a test has stopped it or left its configuration or users changed. A
URL names somebody's server: only its one database is touched, and that only if it was empty when
the run began or `--stateful-flush` was given. Under pytest-xdist worker N takes the database N
further on. The names `redis` and `valkey` mean the server of the environment's `STATEFUL_REDIS_URL`
and `STATEFUL_VALKEY_URL`, if they are set, before any executable.

No pytest fixture or option is defined here; no process is started except through `servers`.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from pytest_podlink import servers
from pytest_podlink.clock import EmulatorClock, ServerClock, StatefulClock

if TYPE_CHECKING:
    from redis_emulator import RedisEmulator

EMULATOR = "emulator"
ALL = "all"
URL_SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster")
URL_VARIABLES = {"redis": "STATEFUL_REDIS_URL", "valkey": "STATEFUL_VALKEY_URL"}
ADMIN_TIMEOUT = 5.0


class BackendError(Exception):
    """A backend that was asked for cannot be had; the text is one line that says what to do."""


class Backend(ABC):
    """One store for tests. `client` and `async_client` give redis-py clients of it."""

    name: str
    clock: StatefulClock

    @abstractmethod
    def client(self, **options: Any) -> redis.Redis:
        """A client; `options` are redis-py's own (`protocol=3`, `decode_responses=True` …)."""

    @abstractmethod
    def async_client(self, **options: Any) -> redis.asyncio.Redis:
        """An asyncio client for any event loop, even for one after another."""

    def nodes(self) -> list[redis.Redis]:
        """A client, speaking RESP2, of each node that holds keys."""
        return [self.client(protocol=2)]

    def node_of(self, key: bytes) -> int:
        """Which of `nodes` holds a key."""
        return 0

    @abstractmethod
    def reset(self) -> None:
        """Empty the store, and set back its clock."""

    def set_back_clock(self) -> None:  # noqa: B027
        """Let time be what it was at the beginning; that of a server is never moved."""

    @abstractmethod
    def release(self) -> None:
        """Close the clients that were handed out."""

    def close(self) -> None:
        """Give back everything. The backend is not used again."""
        self.release()

    @abstractmethod
    def __str__(self) -> str:
        """What this is, for a reader: product, version, where it is from."""


class EmulatorBackend(Backend):
    """A `redis_emulator.RedisEmulator`, in this process."""

    def __init__(self, emulator: RedisEmulator) -> None:
        self.name = EMULATOR
        self.emulator = emulator
        self.clock: EmulatorClock = EmulatorClock(emulator.clock)
        self._clients: list[redis.Redis] = []

    def client(self, **options: Any) -> redis.Redis:
        """As `RedisEmulator.client`."""
        client = self.emulator.client(**options)
        self._clients.append(client)
        return client

    def async_client(self, **options: Any) -> redis.asyncio.Redis:
        """As `RedisEmulator.async_client`."""
        return self.emulator.async_client(**options)

    def reset(self) -> None:
        """Empty the store, and set back its clock."""
        self.emulator.reset()
        self.set_back_clock()

    def set_back_clock(self) -> None:
        """Let time be what it was at the beginning."""
        self.clock.set_back()

    def release(self) -> None:
        """Close the clients that were handed out; those of asyncio hold nothing."""
        for client in self._clients:
            client.close()
        self._clients.clear()

    def close(self) -> None:
        """Let go of the emulator."""
        super().close()
        self.emulator.close()

    def __str__(self) -> str:
        return "in this process"


class _RedisBackend(Backend):
    """Whatever is reached by a URL: its clients, and closing them."""

    def __init__(self, name: str, url: str, database: int | None) -> None:
        self.name = name
        self.url = url
        self._admin = redis.Redis.from_url(
            url, socket_timeout=ADMIN_TIMEOUT, retry=Retry(NoBackoff(), 0)
        )
        self.clock = ServerClock(self._admin, database)
        self._clients: list[redis.Redis] = []
        self._async_clients: list[LoopBoundClient] = []

    def client(self, **options: Any) -> redis.Redis:
        """A client of the server, closed after the test."""
        client = redis.Redis.from_url(self.url, **options)
        self._clients.append(client)
        return client

    def async_client(self, **options: Any) -> redis.asyncio.Redis:
        """An asyncio client of the server, closed with the loop it runs in or after the test."""
        client = LoopBoundClient(self.url, options)
        self._async_clients.append(client)
        return client.redis

    def release(self) -> None:
        """Close the clients that were handed out."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        for async_client in self._async_clients:
            async_client.close()
        self._async_clients.clear()

    def close(self) -> None:
        """Close every client."""
        super().close()
        self._admin.close()


class ServerBackend(_RedisBackend):
    """A server process of our own."""

    def __init__(self, name: str) -> None:
        try:
            self.server = servers.start(name)
        except servers.ServerStartError as error:
            raise BackendError(str(error)) from error
        super().__init__(name, self.server.url, database=None)
        self._pristine = self._settings()

    def reset(self) -> None:
        """Make the server as good as new; start it anew where commands cannot."""
        try:
            pipeline = self._admin.pipeline(transaction=False)
            pipeline.execute_command("FLUSHALL")
            pipeline.execute_command("SCRIPT", "FLUSH")
            pipeline.execute_command("CONFIG", "RESETSTAT")
            if not self.server.version.startswith("6."):
                pipeline.execute_command("FUNCTION", "FLUSH")
            pipeline.execute()
            pristine = self._settings() == self._pristine
        except redis.RedisError:
            pristine = False
        if not pristine:
            self._admin.connection_pool.disconnect()
            self.server.restart()

    def close(self) -> None:
        """Stop the server."""
        super().close()
        self.server.stop()

    def __str__(self) -> str:
        return str(self.server.executable)

    def _settings(self) -> list[Any]:
        """What a test may have changed besides data: configuration and users."""
        pipeline = self._admin.pipeline(transaction=False)
        pipeline.execute_command("CONFIG", "GET", "*")
        pipeline.execute_command("ACL", "LIST")
        return pipeline.execute()


class UrlBackend(_RedisBackend):
    """One database of somebody else's server. It must be empty, or `flush` must be true."""

    def __init__(self, name: str, url: str, *, flush: bool, shared: bool) -> None:
        self.database = _database(url)
        self._shared = shared
        super().__init__(name, url, self.database)
        try:
            info = self._admin.info("server")
            size = self._admin.dbsize()
        except redis.RedisError as error:
            self._admin.close()
            raise BackendError(f"cannot use {name}, database {self.database}: {error}") from error
        if size and not flush:
            self._admin.close()
            raise BackendError(
                f"database {self.database} of {name} holds {size} keys, which tests would delete:"
                " name an empty database, or give --stateful-flush"
            )
        self._version = info.get("valkey_version") or info.get("redis_version")
        self._product = "Valkey" if "valkey_version" in info else "Redis"

    def reset(self) -> None:
        """Empty the database; drop cached scripts too when no other worker may be using them."""
        self._admin.flushdb()
        if not self._shared:
            self._admin.script_flush()

    def close(self) -> None:
        """Leave the database empty."""
        try:
            self._admin.flushdb()
        except redis.RedisError:
            pass  # gone already, and nothing of ours with it
        self.disconnect()

    def disconnect(self) -> None:
        """Close every client and leave the database as it is."""
        super().close()

    def __str__(self) -> str:
        return f"{self._product} {self._version}, database {self.database}"


class LoopGuard:
    """Closes an asyncio client's connections before the event loop that they belong to.

    A connection cannot be closed once its loop is. Here the first use in a loop starts an
    asynchronous generator there; asyncio closes those before it closes the loop
    (`shutdown_asyncgens`), and closing this one closes the connections. So a client may be used in
    any loop, by a sync fixture that knows no loop, and in one `asyncio.run` after another.
    """

    def __init__(self, close: Callable[[], Awaitable[None]]) -> None:
        self._close = close
        self._guards: dict[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = {}

    async def enter(self) -> None:
        """To be called in the loop, before a connection is made there."""
        loop = asyncio.get_running_loop()
        if loop not in self._guards:
            self._guards[loop] = self._guard()
            await anext(self._guards[loop])

    def close(self) -> None:
        """Close what is still open in loops that do not run at the moment."""
        for loop, guard in self._guards.items():
            if not loop.is_closed() and not loop.is_running():
                loop.run_until_complete(guard.aclose())
        self._guards.clear()

    async def _guard(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self._close()


class LoopBoundClient:
    """An asyncio client for any event loop; see `LoopGuard`."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self._make = partial(
            redis.asyncio.Redis.from_url, url, redis_connect_func=self._on_connect, **options
        )
        self.redis = self._make()
        self._guard = LoopGuard(self._end)

    def close(self) -> None:
        """Close the connections of loops that do not run at the moment."""
        self._guard.close()

    async def _end(self) -> None:
        """Close the connections, and their pool with them: its lock belongs to the loop."""
        await self.redis.aclose(close_connection_pool=True)
        self.redis.connection_pool = self._make().connection_pool

    async def _on_connect(self, connection: redis.asyncio.Connection) -> None:
        await self._guard.enter()
        await connection.on_connect()


class Backends:
    """The backends that a run was asked for, by name, in the order asked.

    `worker` and `workers` are the number of this pytest-xdist worker and how many there are.

    Raises:
        BackendError: one of them is unknown or not to be had.
    """

    def __init__(
        self, wanted: Sequence[str], *, flush: bool = False, worker: int = 0, workers: int = 1
    ) -> None:
        self._flush = flush
        self._worker = worker
        self._workers = workers
        self._open: dict[str, Backend] = {}
        self._urls: dict[str, str] = {}
        self._about: dict[str, str] = {}
        self.names: list[str] = []
        for name in wanted:
            self._want(name)

    def __getitem__(self, name: str) -> Backend:
        """The backend of that name, opened if it is not yet.

        Raises:
            BackendError: it cannot be opened.
        """
        if name not in self._open:
            self._open[name] = self._make(name)
        return self._open[name]

    def check(self) -> None:
        """Make sure that the URLs can be used by every worker, before any test runs.

        Raises:
            BackendError: one cannot.
        """
        for name, url in self._urls.items():
            if _is_cluster(name):
                self._about[name] = str(self[name])
                continue
            for worker in reversed(range(self._workers)):
                url_backend = UrlBackend(
                    name, _shifted(url, worker), flush=self._flush, shared=self._workers > 1
                )
                self._about[name] = str(url_backend)
                url_backend.disconnect()

    def describe(self) -> list[str]:
        """A line for each backend: its name and what it is."""
        return [f"{name}: {self._about[name]}" for name in self.names]

    def close(self) -> None:
        """Close those that were opened."""
        while self._open:
            self._open.popitem()[1].close()

    def _want(self, name: str) -> None:
        if name == EMULATOR:
            self._add(name, "in this process")
        elif name == ALL:
            for every in (EMULATOR, *_every_server()):
                self._want(every)
        elif urlsplit(name).scheme in URL_SCHEMES and "://" in name:
            self._want_url(_without_secrets(name), name)
        elif os.environ.get(URL_VARIABLES.get(name, "")):
            self._want_url(name, os.environ[URL_VARIABLES[name]])
        elif servers.is_name(name):
            try:
                executable = servers.find(name)
            except servers.ServerNotFoundError as error:
                raise BackendError(str(error)) from error
            self._add(name, str(executable))
        else:
            raise BackendError(
                f"{name!r} is no backend: use emulator, redis, valkey, redis-8.2, valkey-9.1 …,"
                " a redis:// URL, or all"
            )

    def _want_url(self, name: str, url: str) -> None:
        if not _is_cluster(url):
            _database(url)
        self._urls[name] = url
        self._add(name, _without_secrets(url))

    def _add(self, name: str, about: str) -> None:
        """Note a backend, once: `redis` and `redis-8.2` may be the same executable."""
        if about not in self._about.values():
            self._about[name] = about
            self.names.append(name)

    def _make(self, name: str) -> Backend:
        if name == EMULATOR:
            return EmulatorBackend(new_emulator())
        if name in self._urls and _is_cluster(name):
            from pytest_podlink.cluster import ClusterBackend

            if self._workers > 1:
                raise BackendError(f"{name}: a cluster has one database; run without pytest-xdist")
            return ClusterBackend(name, self._urls[name], flush=self._flush)
        if name in self._urls:
            url = _shifted(self._urls[name], self._worker)
            return UrlBackend(name, url, flush=self._flush, shared=self._workers > 1)
        return ServerBackend(name)


def _is_cluster(url: str) -> bool:
    return "+cluster:" in url


def new_emulator() -> RedisEmulator:
    """An emulator whose time stands still until it is moved.

    Raises:
        BackendError: the extra that brings what the emulator needs is not installed.
    """
    try:
        from redis_emulator import ManualClock, RedisEmulator
    except ModuleNotFoundError as error:
        raise BackendError(
            f"the emulator needs {error.name}: pip install 'podlink[emulator]'"
        ) from error
    return RedisEmulator(clock=ManualClock())


def _every_server() -> list[str]:
    """The names of all servers found, by product and version.

    Raises:
        BackendError: a product is missing although a wheel of it exists for this interpreter.
    """
    found = servers.installed()
    for product in servers.PRODUCTS:
        could = any(wheel.fits for wheel in servers.WHEELS if wheel.product == product)
        if could and not any(server.product == product for server in found):
            try:
                servers.find(product)
            except servers.ServerNotFoundError as error:
                raise BackendError(str(error)) from error
    return sorted({server.name for server in found}, key=_version_key)


def _version_key(name: str) -> tuple[str, list[int]]:
    product, version = name.split("-")
    return product, [int(part) for part in version.split(".")]


def _database(url: str) -> int:
    """The database that a URL names, as redis-py reads it: query, then path, then 0."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    number = query.get("db") or (parts.path.strip("/") if parts.scheme != "unix" else "") or "0"
    if not number.isdecimal():
        raise BackendError(f"{_without_secrets(url)} names no database: {number!r} is not a number")
    return int(number)


def _shifted(url: str, by: int) -> str:
    """The same URL, `by` databases further on."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    query["db"] = str(_database(url) + by)
    return urlunsplit(parts._replace(query=urlencode(query, quote_via=quote)))


def _without_secrets(url: str) -> str:
    """The URL without user, password and options: what may be shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
