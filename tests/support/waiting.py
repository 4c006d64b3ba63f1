"""Waiting for an event, with a time limit that also holds on a busy machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.pair import Connection

PATIENCE = 60.0
"""Seconds after which a test fails."""


def until(condition: Callable[[], object], what: str = "what the test waits for") -> None:
    """Poll until ``condition()`` is true.

    Raises:
        AssertionError: it was not true within `PATIENCE`.
    """
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up, f"{what}: not within {PATIENCE:.0f} s"
        time.sleep(0.002)


def let_pass(milliseconds: int) -> None:
    """Wait until the system clock, which servers and emulators use, has advanced."""
    end = time.time() + milliseconds / 1000
    until(lambda: time.time() > end, "the clock")


class LoopClock:
    """The clock of an asyncio event loop, which a test advances so that timers expire."""

    def __init__(self, loop: Any) -> None:
        real = loop.time
        self._ahead = 0.0
        loop.time = lambda: real() + self._ahead

    async def expire(self, task: asyncio.Future[Any]) -> None:
        """Advance the clock by `PATIENCE` in each iteration of the loop until the task is done."""
        while not task.done():
            self._ahead += PATIENCE
            await asyncio.sleep(0)


def is_busy(connection: Connection) -> bool:
    """Return whether the server replies that a script is running."""
    kind, text = connection("PING")
    return bool(kind == "-" and text.startswith("BUSY" if isinstance(text, str) else b"BUSY"))
