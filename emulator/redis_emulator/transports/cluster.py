"""Connection classes for redis-py's cluster clients. A connection selects the node by its port."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, ClassVar, Final

import redis.asyncio
from redis import exceptions

from redis_emulator.engine.dispatch import Engine
from redis_emulator.engine.ownership import Ownership
from redis_emulator.transports import aio, sync

EngineAt = Callable[[int], Engine]


_ERRORS: Final = {
    "ASK": exceptions.AskError,
    "CLUSTERDOWN": exceptions.ClusterDownError,
    "CROSSSLOT": exceptions.ClusterCrossSlotError,
    "MASTERDOWN": exceptions.MasterDownError,
    "MOVED": exceptions.MovedError,
    "TRYAGAIN": exceptions.TryAgainError,
}


class _Parser(sync._Parser):
    EXCEPTION_CLASSES: ClassVar = {**sync._Parser.EXCEPTION_CLASSES, **_ERRORS}


class _AsyncParser(aio._Parser):
    EXCEPTION_CLASSES: ClassVar = {**aio._Parser.EXCEPTION_CLASSES, **_ERRORS}


def connection_class(engine_at: EngineAt) -> type:
    """A class of connections to the nodes of one cluster.

    Args:
        engine_at: Returns the engine of the node with this port. Raises OSError if no running node
            has the port.
    """

    class ClusterConnection(sync.EmulatorConnection):
        """A connection to one node. It looks the node up by its port at each connect."""

        def __init__(self, *, host: str = "127.0.0.1", port: int = 0, **kwargs: Any) -> None:
            self.host, self.port = host, int(port)
            unset: Any = None
            super().__init__(engine=unset, **kwargs)

        def set_parser(self, parser_class: Any) -> None:
            super().set_parser(_Parser)

        def repr_pieces(self) -> list[tuple[str, Any]]:
            return [("host", self.host), ("port", self.port), ("db", self.db)]

        def _connect(self) -> Any:
            self._engine = engine_at(self.port)
            return super()._connect()

    return ClusterConnection


def async_connection_class(engine_at: EngineAt) -> type:
    """Like `connection_class`, for asyncio."""

    class AsyncClusterConnection(aio.AsyncEmulatorConnection):
        """A connection to one node. It looks the node up by its port at each connect."""

        def __init__(self, *, host: str = "127.0.0.1", port: int = 0, **kwargs: Any) -> None:
            self.host, self.port = host, int(port)
            unset: Any = None
            super().__init__(engine=unset, **kwargs)

        def set_parser(self, parser_class: Any) -> None:
            super().set_parser(_AsyncParser)

        def repr_pieces(self) -> list[tuple[str, Any]]:
            return [("host", self.host), ("port", self.port), ("db", self.db)]

        def _check_process(self) -> None:
            with contextlib.suppress(OSError):
                engine_at(self.port).ownership.check()

        async def _connect(self) -> None:
            self._engine = engine_at(self.port)
            await super()._connect()

        def should_reconnect(self) -> bool:
            """Whether to reconnect. Newer releases of redis-py ask after each command, also after a
            failed one.
            """
            sock = self._writer
            if sock is not None and sock.has_unread():
                return True
            return bool(getattr(self, "_should_reconnect", False))

        async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            """Send on a new connection if an earlier caller was interrupted before it read its
            reply.

            redis-py's asyncio cluster nodes are their own connection pools, so `AsyncEmulatorPool`
            cannot do this.
            """
            sock = self._writer
            if sock is not None and sock.has_unread():
                await self.disconnect(nowait=True)
            await super().send_packed_command(command, check_health)

    return AsyncClusterConnection


class AsyncClusterClient(redis.asyncio.RedisCluster):
    """An asyncio client of an emulated cluster.

    Args:
        ownership: Checks that the cluster may be used in this process.
        kwargs: The arguments of `redis.asyncio.RedisCluster`.
    """

    def __init__(self, *, ownership: Ownership, **kwargs: Any) -> None:
        self._ownership = ownership
        super().__init__(**kwargs)

    async def initialize(self, *args: Any, **kwargs: Any) -> Any:
        """Raise `ForkedError` here, because redis-py would replace it by another exception."""
        self._ownership.check()
        return await super().initialize(*args, **kwargs)
