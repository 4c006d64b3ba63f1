"""The decisions of routers under the test's own clocks, without a server."""

from __future__ import annotations

from random import Random
from typing import Any

from podlink import LeastLoaded, PodState
from podlink.cache import LinkCache
from podlink.routing import Routing

SERVER = object()
NOW = 1_764_009_600.0


class Time:
    """Both clocks, moved by the test."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return NOW + self.now

    def state(self, load: float = 0, ago: float = 0) -> str:
        """The state of a pod that reports it now."""
        return str(PodState(load, self.wall() - ago))


def routing(time: Time, **changes: Any) -> Routing:
    options: dict[str, Any] = {
        "policy": LeastLoaded(),
        "persist_seconds": -1,
        "states_ttl": 1.0,
        "random": Random(0),
    }
    cache = LinkCache(
        changes.pop("size", 100), changes.pop("max_staleness", 0.0), 1.0, time.monotonic
    )
    return Routing(
        **{**options, **changes}, cache=cache, wall_clock=time.wall, monotonic=time.monotonic
    )
