"""The deadline of a synchronous operation, which all functions that it calls respect.

An operation with a ``timeout`` sets the deadline in a context variable with `limited`. Functions
that wait on its behalf call `limit_wait` or `left`: the pool for a free connection, a socket for
the server, a retry for its delay. asyncio does not need this, because a task can be cancelled.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, Final, TypeVar

T = TypeVar("T")

monotonic: Final[Callable[[], float]] = (
    partial(time.clock_gettime, time.CLOCK_MONOTONIC)
    if hasattr(time, "clock_gettime")
    else partial(time.monotonic)
)
"""The clock of all deadlines. freezegun does not stop it: it replaces only `time.monotonic`."""


class TimeUp(TimeoutError):
    """The deadline has passed, and the command was not sent."""


_at: ContextVar[float | None] = ContextVar("podlink_deadline", default=None)


def limited(seconds: float | None, function: Callable[..., T], *args: Any) -> T:
    """Call a function with a deadline in ``seconds``; ``None`` sets no deadline.

    The deadline is set in a copy of the context, which the interpreter discards at the end of the
    call. A ``with`` block would not be safe: a KeyboardInterrupt at its first or last instruction
    would leave the thread with a deadline that has passed.
    """
    if seconds is None:
        return function(*args)
    return copy_context().run(_limited, seconds, function, args)


def _limited(seconds: float, function: Callable[..., T], args: tuple[Any, ...]) -> T:
    outer = _at.get()
    at = monotonic() + seconds
    _at.set(at if outer is None else min(outer, at))
    return function(*args)


def left() -> float | None:
    """Return the seconds until the deadline, negative after it; ``None`` without a deadline."""
    at = _at.get()
    return None if at is None else at - monotonic()


def limit_wait(seconds: float | None) -> float | None:
    """Return ``seconds``, or the seconds until the deadline if these are fewer.

    Raises:
        TimeUp: the deadline has passed.
    """
    rest = left()
    if rest is None:
        return seconds
    if rest <= 0:
        raise TimeUp("the time of the operation is up")
    return rest if seconds is None else min(rest, seconds)


def check(error: BaseException) -> None:
    """Raise `TimeUp` if the deadline has passed, because that is then the reason of ``error``.

    Args:
        error: the exception of an attempt to connect.
    """
    rest = left()
    if rest is not None and rest <= 0 and not isinstance(error, TimeUp):
        raise TimeUp("the time of the operation is up") from error


class _Running(threading.Event):
    def __init__(self) -> None:
        super().__init__()
        self.since = monotonic()


class SingleFlight:
    """Lets one thread at a time do a job, while the other threads wait for it.

    Unlike with a lock, a thread that is interrupted before it calls `end` blocks the others for at
    most ``at_most`` seconds.
    """

    def __init__(self, at_most: float) -> None:
        self._at_most = at_most
        self._running: dict[None, _Running] = {}

    def begin(self) -> _Running | None:
        """Begin the job if no other thread does it; pass the result to `end`.

        Otherwise wait for the other thread, and return ``None``.

        Raises:
            TimeUp: the deadline of the operation passed.
        """
        mine = _Running()
        running = self._running.setdefault(None, mine)
        if running is mine:
            return mine
        until = running.since + self._at_most
        if not running.wait(limit_wait(max(0.0, until - monotonic()))) and monotonic() >= until:
            self.end(running)
        return None

    def end(self, running: _Running) -> None:
        """End the job, and wake the waiting threads."""
        if self._running.get(None) is running:
            del self._running[None]
        running.set()
