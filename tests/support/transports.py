"""Clients of one emulator over each of its transports: in the process, TCP and unix socket."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from pytest_podlink import servers
from redis_emulator import RedisEmulator
from redis_emulator.transports.tcp import TcpServer
from tests.support.waiting import PATIENCE

REDIS_PY = tuple(map(int, redis.__version__.split(".")[:2]))
TRANSPORTS = ("in-process", "tcp", "unix")


class Transport:
    """One transport of an emulator.

    Attributes:
        emulator: the emulator.
        server: the server that listens; `None` for the in-process transport.
    """

    def __init__(self, name: str, emulator: RedisEmulator, directory: Path) -> None:
        self.name = name
        self.emulator = emulator
        self.server: TcpServer | None = None
        self._open: list[redis.Redis] = []
        if name == "tcp":
            self.server = emulator.serve()
        elif name == "unix":
            self.server = emulator.serve(port=None, unixsocket=str(directory / "redis.sock"))

    def client(self, **kwargs: Any) -> redis.Redis:
        """Return a client, which `close` closes."""
        client: redis.Redis = self._client(redis.Redis, self.emulator.client, kwargs)
        self._open.append(client)
        return client

    def async_client(self, **kwargs: Any) -> redis.asyncio.Redis:
        """Return an asyncio client, which the test has to close."""
        client: redis.asyncio.Redis = self._client(
            redis.asyncio.Redis, self.emulator.async_client, kwargs
        )
        return client

    def _client(self, factory: Any, in_process: Any, kwargs: dict[str, Any]) -> Any:
        if self.server is None:
            return in_process(**kwargs)
        if self.server.port is None:
            if (7, 0) <= REDIS_PY < (8, 0) and kwargs.get("protocol") == 3:
                pytest.skip("redis-py 7 cannot speak RESP3 on a unix socket")
            if REDIS_PY < (5, 1) and "socket_timeout" in kwargs:
                pytest.skip("redis-py 5.0 ignores timeouts on unix sockets")
            return factory(unix_socket_path=self.server.unixsocket, **kwargs)
        return factory(port=self.server.port, **kwargs)

    def close(self) -> None:
        for client in self._open:
            client.close()
        if self.server is not None:
            self.server.stop()
        self.emulator.close()


def connection_of(client: redis.Redis) -> Any:
    """Return a pool connection, for sending commands without reading their replies."""
    pool = client.connection_pool
    return pool.get_connection("_") if REDIS_PY < (5, 3) else pool.get_connection()


def program(name: str) -> str:
    """Return the path of a program that comes with Redis: on PATH, or in a wheel with a server."""
    if found := shutil.which(name):
        return found
    for server in servers.installed():
        if (beside := server.path.with_name(name)).exists():
            return str(beside)
    pytest.skip(f"{name} is not installed")


class Wire:
    """A raw socket connected to a port of this machine."""

    def __init__(self, port: int | None, timeout: float = PATIENCE) -> None:
        assert port is not None, "the server has no port"
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, count: int) -> bytes:
        """Read exactly ``count`` bytes, or fewer if the connection ends."""
        found = bytearray()
        while len(found) < count and (data := self.socket.recv(count - len(found))):
            found += data
        return bytes(found)

    def read_all(self) -> bytes:
        """Read until the connection ends."""
        found = bytearray()
        with contextlib.suppress(ConnectionError):
            while data := self.socket.recv(65536):
                found += data
        return bytes(found)

    def ask(self, data: bytes, end: bytes = b"\r\n") -> bytes:
        """Send ``data`` and read until ``end``."""
        self.send(data)
        found = b""
        while not found.endswith(end):
            data = self.socket.recv(65536)
            if not data:
                break
            found += data
        return found

    def close(self) -> None:
        self.socket.close()


@contextlib.contextmanager
def wire(port: int | None, timeout: float = PATIENCE) -> Iterator[Wire]:
    """Open a raw socket and close it at the end of the ``with`` block."""
    connection = Wire(port, timeout)
    try:
        yield connection
    finally:
        connection.close()
