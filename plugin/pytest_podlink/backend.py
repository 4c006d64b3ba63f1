"""The interface of a backend: one store that a test finds empty.

The kinds of backends are in `stores` and `cluster`; `backends` chooses among them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import redis
import redis.asyncio

from pytest_podlink.clock import StatefulClock


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
