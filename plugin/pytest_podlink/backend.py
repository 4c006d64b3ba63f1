"""The interface of a backend: one Redis that is empty when a test starts.

The kinds of backends are in `stores` and `cluster`; `backends` opens those that a run requests.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import redis
import redis.asyncio

from pytest_podlink.clock import StatefulClock


class BackendError(Exception):
    """A requested backend is not available. The message is one line and says what to do."""


class Backend(ABC):
    """A Redis server, cluster or emulator for tests, with methods that return redis-py clients."""

    name: str
    clock: StatefulClock

    @abstractmethod
    def client(self, **options: Any) -> redis.Redis:
        """A client; `options` are those of redis-py (`protocol=3`, `decode_responses=True` …)."""

    @abstractmethod
    def async_client(self, **options: Any) -> redis.asyncio.Redis:
        """An asyncio client that can be used in several event loops, one after another."""

    def nodes(self) -> list[redis.Redis]:
        """A RESP2 client of each node that holds keys."""
        return [self.client(protocol=2)]

    def node_of(self, key: bytes) -> int:
        """The index in `nodes` of the node that holds a key."""
        return 0

    @abstractmethod
    def reset(self) -> None:
        """Delete all keys and reset the clock."""

    def reset_clock(self) -> None:  # noqa: B027
        """Reset the emulator's clock to its initial time. The clock of a server is never moved."""

    @abstractmethod
    def release(self) -> None:
        """Close the clients that `client` and `async_client` returned."""

    def close(self) -> None:
        """Close all clients and stop what the backend started. It cannot be used afterwards."""
        self.release()

    @abstractmethod
    def __str__(self) -> str:
        """Product, version and origin, for the header of the run."""
