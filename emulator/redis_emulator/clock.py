"""The clocks of the emulator. No other module reads the time.

`SystemClock` calls the `time` module each time, so that freezegun and time-machine also change the
time of the emulator. `ManualClock` stands still until a test moves it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

from redis_emulator import forks

_MONOTONIC: Final[Callable[[], float]] = (
    partial(time.clock_gettime, time.CLOCK_MONOTONIC)
    if hasattr(time, "clock_gettime")
    else partial(time.monotonic)
)
"""A monotonic clock that freezegun and time-machine do not stop: they replace only attributes of
the `time` module, and this is a reference taken before.
"""


def real_seconds() -> float:
    """Seconds of the monotonic clock, in real time. For timeouts of clients, never for data."""
    return _MONOTONIC()


class Clock(Protocol):
    """The wall-clock time of a server."""

    def us(self) -> int:
        """Microseconds since the epoch."""
        ...

    def ms(self) -> int:
        """Milliseconds since the epoch."""
        ...


class SystemClock:
    """The system clock."""

    def us(self) -> int:
        """Microseconds since the epoch."""
        return time.time_ns() // 1_000

    def ms(self) -> int:
        """Milliseconds since the epoch."""
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that moves only when a test calls `advance` or `set`.

    Args:
        start: Seconds since the epoch, or an aware datetime. The system time by default.
    """

    def __init__(self, start: float | datetime | None = None) -> None:
        self.own_lock: forks.Lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._us = time.time_ns() // 1_000 if start is None else _to_us(start)
        forks.register(self)

    def after_fork(self, consistent: bool) -> None:
        """Replace the lock in a child process if another thread held it at the fork."""
        if not consistent:
            self.own_lock = threading.Lock()

    def us(self) -> int:
        """Microseconds since the epoch."""
        return self._us

    def ms(self) -> int:
        """Milliseconds since the epoch."""
        return self._us // 1000

    def advance(self, seconds: float | timedelta) -> None:
        """Move forward. Before this returns, keys expire and timeouts of blocked clients end.

        Args:
            seconds: How far; not negative.

        Raises:
            ValueError: ``seconds`` is negative. Use `set` to move backwards.
        """
        if isinstance(seconds, timedelta):
            seconds = seconds.total_seconds()
        if seconds < 0:
            raise ValueError(
                f"seconds must not be negative, got {seconds}; use set() to move backwards"
            )
        with self.own_lock:
            self._us += round(seconds * 1_000_000)
        self._notify()

    def set(self, when: float | datetime) -> None:
        """Jump to ``when``: seconds since the epoch or an aware datetime."""
        with self.own_lock:
            self._us = _to_us(when)
        self._notify()

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after every move. Returns a function that unsubscribes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _notify(self) -> None:
        for listener in tuple(self._listeners):
            listener()


def _to_us(when: float | datetime) -> int:
    if isinstance(when, datetime):
        if when.tzinfo is None:
            raise ValueError(f"a clock needs an aware datetime, got the naive {when!r}; add tzinfo")
        when = when.timestamp()
    return round(when * 1_000_000)
