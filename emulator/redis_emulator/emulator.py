"""`Emulator`: the public methods of one emulated server, standalone or a node of a cluster."""

from __future__ import annotations

from types import TracebackType
from typing import Any, TypeVar

import redis
import redis.asyncio

from redis_emulator.engine.dispatch import Engine
from redis_emulator.keyspace.snapshots import Snapshot
from redis_emulator.resp.types import RedisError
from redis_emulator.server.command_log import Log
from redis_emulator.server.faults import Faults
from redis_emulator.tools import copying, text_dump
from redis_emulator.tools.mapping import DatabaseMapping, encoded, own_session, plain
from redis_emulator.transports.aio import (
    AsyncEmulatorConnection,
    AsyncEmulatorPool,
    AsyncOneConnectionClient,
)
from redis_emulator.transports.sync import EmulatorConnection, EmulatorPool, OneConnectionClient
from redis_emulator.transports.tcp import TcpServer

Self = TypeVar("Self", bound="Emulator")


class Emulator:
    """One emulated server, alone or as a node of a cluster. Threads and event loops can share it.

    Args:
        engine: The server's engine.
        log: How many commands to keep in `log`; 0 turns it off.
    """

    def __init__(self, engine: Engine, *, log: int = 0) -> None:
        self._engine = engine
        self._version = engine.server.version
        self._log = Log(log)
        if log:
            engine.record(self._log)
        self._session = own_session(engine)
        self._servers: list[TcpServer] = []

    @property
    def clock(self) -> Any:
        """The clock; advance it when it is a `ManualClock`."""
        return self._engine.server.clock

    @property
    def engine(self) -> Engine:
        """The engine, to which transports connect."""
        return self._engine

    @property
    def faults(self) -> Faults:
        """Faults that a test injects: commands that fail, drop or wait, and server states."""
        return self._engine.server.faults

    @property
    def log(self) -> Log:
        """The last commands of all clients; empty unless created with ``log=…``."""
        return self._log

    def __getitem__(self, index: int) -> DatabaseMapping:
        """A database as a mapping of keys to Python values.

        Raises:
            IndexError: There is no such database.
        """
        return DatabaseMapping(self._engine, index)

    def execute(self, *args: Any) -> Any:
        """Run a command without a client. Faults, passwords and CLIENT PAUSE do not apply.

        Args:
            args: The arguments of the command: text, bytes or numbers.

        Returns:
            The reply as plain values: bytes, integers, lists, dicts, None.

        Raises:
            redis.ResponseError: The server answers with an error.
        """
        try:
            return plain(self._engine.run(self._session, list(map(encoded, args))))
        except RedisError as error:
            raise redis.ResponseError(error.text) from None

    def client(self, **kwargs: Any) -> redis.Redis:
        """A redis-py client of this emulator.

        Args:
            kwargs: The arguments of `redis.Redis`; those about sockets are ignored.
        """
        single = kwargs.pop("single_connection_client", False)
        template = redis.Redis(**kwargs).connection_pool
        pool = EmulatorPool(
            connection_class=EmulatorConnection,
            max_connections=kwargs.get("max_connections"),
            engine=self._engine,
            **_cache_of(template),
            **_without_sockets(template.connection_kwargs),
        )
        client_class = OneConnectionClient if single else redis.Redis
        client = client_class(connection_pool=pool, single_connection_client=single)
        client.auto_close_connection_pool = True
        return client

    def async_client(self, **kwargs: Any) -> redis.asyncio.Redis:
        """A redis-py asyncio client of this emulator.

        Args:
            kwargs: The arguments of `redis.asyncio.Redis`; those about sockets are ignored.
        """
        single = kwargs.pop("single_connection_client", False)
        template = redis.asyncio.Redis(**kwargs).connection_pool
        pool = AsyncEmulatorPool(
            connection_class=AsyncEmulatorConnection,
            max_connections=kwargs.get("max_connections"),
            engine=self._engine,
            **_without_sockets(template.connection_kwargs),
        )
        client_class = AsyncOneConnectionClient if single else redis.asyncio.Redis
        client = client_class(connection_pool=pool, single_connection_client=single)
        client.auto_close_connection_pool = True
        return client

    def serve(
        self, *, host: str = "127.0.0.1", port: int | None = 0, unixsocket: str | None = None
    ) -> TcpServer:
        """Start a TCP server for clients in any language. The result is a context manager.

        Args:
            host: The address to listen on.
            port: The port; 0 for a free one, None for no TCP port.
            unixsocket: Path of a unix socket to listen on as well.

        Raises:
            OSError: The server cannot listen on the address.
            ForkedError: The emulator was created in a parent process.
        """
        server = TcpServer(self._engine, host=host, port=port, unixsocket=unixsocket)
        self._servers = [each for each in self._servers if each.running] + [server]
        return server

    def use_copy_after_fork(self) -> None:
        """Let child processes use the copy of this emulator that they have after ``fork``.

        Writes of a child are visible in that child only. All connections of the parent are closed
        in the child. To share an emulator between processes, use `serve` instead.

        Call it before the fork, or in the child.

        Raises:
            ForkedError: This is a child, and another thread of its parent was running a command at
                the time of the fork.
        """
        self._engine.ownership.use_copy()

    def dump(self) -> str:
        """All keys of all databases as text, with types, TTLs and values."""
        return text_dump.dump(self._engine)

    def load(self, client: redis.Redis) -> int:
        """Copy all keys of all databases from the server of ``client``. Returns their number.

        Existing keys with the same names are overwritten; other keys stay.

        Raises:
            TransferError: A value cannot be copied.
        """
        return copying.load(self._engine, client)

    def reset(self) -> None:
        """Return to the state of a new server: no keys, no scripts, the default configuration.
        Clients stay connected.
        """
        self._engine.reset()

    def snapshot(self) -> Snapshot:
        """Save all keys of all databases. The cost is proportional to what changes afterwards."""
        with self._engine.lock:
            return self._engine.server.keyspace.journal.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Restore all keys of ``snapshot``. A snapshot can be restored several times.

        Raises:
            ValueError: The snapshot belongs to another emulator.
        """
        with self._engine.lock:
            self._engine.server.keyspace.journal.restore(snapshot)

    def close(self) -> None:
        """Disconnect every client, stop every TCP server and delete all data."""
        self._engine.stop()
        for server in self._servers:
            server.stop()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _cache_of(template: redis.ConnectionPool) -> dict[str, Any]:
    """The client-side cache that redis-py made for ``cache_config``, if it supports that."""
    cache = getattr(template, "cache", None)
    return {} if cache is None else {"cache": cache}


def _without_sockets(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if not name.startswith("maint_")}
