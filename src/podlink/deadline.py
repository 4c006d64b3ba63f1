"""How much time a synchronous operation has left, for whatever waits beneath it.

An operation with a ``timeout`` notes for its thread when it has to be over. Whoever waits on its
behalf asks `left`: the pool for a free connection, a connection for the server, a retry for its
pause. Asyncio needs none of this: a task is cancelled.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic


class TimeUp(TimeoutError):
    """Time is up, and nothing has been sent that could have been done."""


class _Now(threading.local):
    at: float | None = None


_now = _Now()


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Give what runs in the block so many seconds; ``None`` as many as it takes."""
    if seconds is None:
        yield
        return
    outer = _now.at
    at = monotonic() + seconds
    _now.at = at if outer is None else min(outer, at)
    try:
        yield
    finally:
        _now.at = outer


def left() -> float | None:
    """Seconds that are left, below 0 when time is up; ``None`` when there is no deadline."""
    return None if _now.at is None else _now.at - monotonic()


def wait_at_most(seconds: float | None) -> float | None:
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
