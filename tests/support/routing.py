"""Routing decisions with clocks that the test moves, without a server."""

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
    """The wall clock and the monotonic clock."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return NOW + self.now

    def state(self, load: float = 0, ago: float = 0) -> str:
        """Return the state of a pod that reported it ``ago`` seconds ago."""
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
    """Resolve a uid and return the pod; check each question of the plan and give it the answer."""
    plan = router.plan(source, "n", uid, "s")
    answer: Any = None
    for question, reply in exchange:
        assert plan.send(answer) == question
        answer = reply
    with pytest.raises(StopIteration) as stop:
        plan.send(answer)
    return int(stop.value.value)


def run(plan: Any, step: Any, answer: Callable[[Any], Any]) -> None:
    """Run a plan to its end with the answers that ``answer`` returns."""
    while True:
        step = plan.send(answer(step))
