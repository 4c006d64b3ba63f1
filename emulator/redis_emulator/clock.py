"""The clocks of the emulator. No other module reads the time.

`SystemClock` calls the `time` module each time, so that freezegun and time-machine also change the
time of the emulator. `ManualClock` moves only when it is told to.
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
"""freezegun and time-machine replace `time.monotonic` or let it be, but never stop this one."""


def real_seconds() -> float:
    """Seconds of a clock that always runs. For timeouts of clients, never for data."""
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
    """A clock that moves only when told to.

    Args:
        start: Seconds since the epoch, or an aware datetime. The system time by default.
    """

    def __init__(self, start: float | datetime | None = None) -> None:
        self.own_lock: forks.Lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._us = time.time_ns() // 1_000 if start is None else _to_us(start)
        forks.register(self)

    def after_fork(self, whole: bool) -> None:
        """Have a lock of its own in a child process."""
        if not whole:
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
            seconds: By how much; not negative.

        Raises:
            ValueError: The clock would go backwards; use `set` for that.
        """
        if isinstance(seconds, timedelta):
            seconds = seconds.total_seconds()
        if seconds < 0:
            raise ValueError(f"advance() moves forward only, got {seconds}; use set() to go back")
        with self.own_lock:
            self._us += round(seconds * 1_000_000)
        self._tell()

    def set(self, when: float | datetime) -> None:
        """Jump to ``when``: seconds since the epoch or an aware datetime."""
        with self.own_lock:
            self._us = _to_us(when)
        self._tell()

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after every move. Returns a function that unsubscribes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            listener()


def _to_us(when: float | datetime) -> int:
    if isinstance(when, datetime):
        if when.tzinfo is None:
            raise ValueError(f"a clock needs an aware datetime, got the naive {when!r}; add tzinfo")
        when = when.timestamp()
    return round(when * 1_000_000)
