"""Backends of one server: the emulator, a server started for the run, or one that a URL names.

Between two tests, a server that the plugin started loses its keys, scripts, functions and
statistics; it is restarted if a test stopped it or changed its configuration or users. On a server
that a URL names, the plugin uses only that database, and only if it was empty when the run began or
`--stateful-flush` is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from pytest_podlink import servers
from pytest_podlink.backend import Backend, BackendError
from pytest_podlink.clock import EmulatorClock, ServerClock
from pytest_podlink.loops import LoopBoundClient
from pytest_podlink.urls import database_of

if TYPE_CHECKING:
    from redis_emulator import RedisEmulator

EMULATOR = "emulator"
ADMIN_TIMEOUT = 5.0


class EmulatorBackend(Backend):
    """A `redis_emulator.RedisEmulator`, in this process."""

    def __init__(self, emulator: RedisEmulator) -> None:
        self.name = EMULATOR
        self.emulator = emulator
        self.clock: EmulatorClock = EmulatorClock(emulator.clock)
        self._clients: list[redis.Redis] = []

    def client(self, **options: Any) -> redis.Redis:
        """A client from `RedisEmulator.client`, closed after the test."""
        client = self.emulator.client(**options)
        self._clients.append(client)
        return client

    def async_client(self, **options: Any) -> redis.asyncio.Redis:
        """A client from `RedisEmulator.async_client`."""
        return self.emulator.async_client(**options)

    def reset(self) -> None:
        """Reset the emulator and its clock."""
        self.emulator.reset()
        self.reset_clock()

    def reset_clock(self) -> None:
        """Reset the clock to its initial time."""
        self.clock.reset()

    def release(self) -> None:
        """Close the clients that `client` returned; asyncio clients hold no resources."""
        for client in self._clients:
            client.close()
        self._clients.clear()

    def close(self) -> None:
        """Close the emulator."""
        super().close()
        self.emulator.close()

    def __str__(self) -> str:
        return "in this process"


class _RedisBackend(Backend):
    """A server with a URL: creates and closes its clients."""

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
        """An asyncio client of the server, closed with its event loop or after the test."""
        client = LoopBoundClient(self.url, options)
        self._async_clients.append(client)
        return client.redis

    def release(self) -> None:
        """Close the clients that `client` and `async_client` returned."""
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
    """A server process that the plugin starts and stops."""

    def __init__(self, name: str) -> None:
        try:
            self.server = servers.start(name)
        except servers.ServerStartError as error:
            raise BackendError(str(error)) from error
        super().__init__(name, self.server.url, database=None)
        self._initial_settings = self._settings()

    def reset(self) -> None:
        """Restore the initial state. Restarts the server if a test stopped or reconfigured it."""
        try:
            pipeline = self._admin.pipeline(transaction=False)
            pipeline.execute_command("FLUSHALL")
            pipeline.execute_command("SCRIPT", "FLUSH")
            pipeline.execute_command("CONFIG", "RESETSTAT")
            if not self.server.version.startswith("6."):
                pipeline.execute_command("FUNCTION", "FLUSH")
            pipeline.execute()
            unchanged = self._settings() == self._initial_settings
        except redis.RedisError:
            unchanged = False
        if not unchanged:
            self._admin.connection_pool.disconnect()
            self.server.restart()

    def close(self) -> None:
        """Stop the server."""
        super().close()
        self.server.stop()

    def __str__(self) -> str:
        return str(self.server.executable)

    def _settings(self) -> list[Any]:
        """The configuration and ACL users, to detect whether a test changed them."""
        pipeline = self._admin.pipeline(transaction=False)
        pipeline.execute_command("CONFIG", "GET", "*")
        pipeline.execute_command("ACL", "LIST")
        return pipeline.execute()


class UrlBackend(_RedisBackend):
    """One database of a running server. It must be empty, unless `flush` is true."""

    def __init__(self, name: str, url: str, *, flush: bool, shared: bool) -> None:
        self.database = database_of(url)
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
                " use an empty database, or pass --stateful-flush"
            )
        self._version = info.get("valkey_version") or info.get("redis_version")
        self._product = "Valkey" if "valkey_version" in info else "Redis"

    def reset(self) -> None:
        """Delete the keys; flush the scripts too, unless other workers share the server."""
        self._admin.flushdb()
        if not self._shared:
            self._admin.script_flush()

    def close(self) -> None:
        """Delete the keys and close every client."""
        try:
            self._admin.flushdb()
        except redis.RedisError:
            pass  # the server has stopped
        self.disconnect()

    def disconnect(self) -> None:
        """Close every client, without deleting keys."""
        super().close()

    def __str__(self) -> str:
        return f"{self._product} {self._version}, database {self.database}"


def new_emulator() -> RedisEmulator:
    """An emulator with a `ManualClock`.

    Raises:
        BackendError: the packages that the emulator needs are not installed.
    """
    try:
        from redis_emulator import ManualClock, RedisEmulator
    except ModuleNotFoundError as error:
        raise BackendError(
            f"the emulator needs {error.name}: pip install 'podlink[emulator]'"
        ) from error
    return RedisEmulator(clock=ManualClock())
