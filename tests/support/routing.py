"""The decisions of routers under the test's own clocks, without a server."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from podlink import LeastLoaded, PodState
from podlink.cache import LinkCache
from podlink.keys import link_keys
from podlink.routing import ReadLink, ReadStates, Routing

SERVER = object()
NOW = 1_764_009_600.0
READ_STATES = ReadStates("n", "s")
READ_LINK = ReadLink("n", "u", "s")
KEY = link_keys("n", "u", "s")[0]


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


def follow(
    router: Routing, *exchange: tuple[Any, Any], uid: str = "u", source: Any = SERVER
) -> int:
    """Resolve, expecting these questions and giving these answers; the pod."""
    plan = router.plan(source, "n", uid, "s")
    answer: Any = None
    for question, reply in exchange:
        assert plan.send(answer) == question
        answer = reply
    with pytest.raises(StopIteration) as stop:
        plan.send(answer)
    return int(stop.value.value)


def run(plan: Any, step: Any, answer: Callable[[Any], Any]) -> None:
    """Answer everything that a plan asks, to its end."""
    while True:
        step = plan.send(answer(step))
