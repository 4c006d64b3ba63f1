"""How much time a synchronous operation has left, for whatever waits beneath it.

An operation with a ``timeout`` notes for its thread when it has to be over. Whatever waits on its
behalf asks `left`: the pool for a free connection, a connection for the server, a retry for its
pause. Asyncio needs none of this: a task is cancelled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from time import monotonic
from typing import Any, TypeVar

T = TypeVar("T")


class TimeUp(TimeoutError):
    """Time is up, and nothing has been sent that could have been done."""


_at: ContextVar[float | None] = ContextVar("podlink_deadline", default=None)


def limited(seconds: float | None, function: Callable[..., T], *args: Any) -> T:
    """Call a function, with so many seconds for all of it; ``None`` sets no limit.

    The limit ends with the call, whatever ends it: it is set in a context of its own, which the
    interpreter leaves by itself. A ``with`` block that a KeyboardInterrupt meets at its first or
    last instruction would leave the thread with a deadline that has passed.
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
    """Seconds that are left, below 0 when time is up; ``None`` when there is no deadline."""
    at = _at.get()
    return None if at is None else at - monotonic()


def limit_wait(seconds: float | None) -> float | None:
    """How long to wait for something that may take ``seconds`` by itself.

    Raises:
        TimeUp: time is up.
    """
    rest = left()
    if rest is None:
        return seconds
    if rest <= 0:
        raise TimeUp("the time of the operation is up")
    return rest if seconds is None else min(rest, seconds)


def check(error: BaseException) -> None:
    """Raise `TimeUp` if the time is up, which then is why nothing could be sent.

    Args:
        error: what was raised instead.
    """
    rest = left()
    if rest is not None and rest <= 0 and not isinstance(error, TimeUp):
        raise TimeUp("the time of the operation is up") from error


class _Running(threading.Event):
    def __init__(self) -> None:
        super().__init__()
        self.since = monotonic()


class SingleFlight:
    """Has one thread at a time do a job, and the others wait for it as long as they may.

    It is no lock: a thread that is interrupted before it says that it is done holds up nobody for
    more than ``at_most`` seconds.
    """

    def __init__(self, at_most: float) -> None:
        self._at_most = at_most
        self._running: dict[None, _Running] = {}

    def begin(self) -> _Running | None:
        """Begin the job. Otherwise wait until another thread has ended it, and return ``None``.

        Raises:
            TimeUp: the time of the operation passed.
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
        """Let the others go on."""
        if self._running.get(None) is running:
            del self._running[None]
        running.set()
