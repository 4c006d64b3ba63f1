"""Backends of one server: the emulator, a server started for the run, or one that a URL names.

A server started here is ours: between tests its data, scripts, functions and statistics are
dropped, and it is restarted when a test has stopped it or has left its configuration or users
changed. A URL names a server of somebody else: only its one database is touched, and only if it was
empty when the run began or `--stateful-flush` was given.
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
