"""A well tested function, a half tested class, and functions that are not run or may not end."""

from __future__ import annotations

LIMIT = 10


def within(value: int) -> bool:
    """Tested on both sides of the limit."""
    return value <= LIMIT


class Account:
    """Half tested."""

    @property
    def is_open(self) -> bool:
        """Tested, although it is decorated."""
        return True

    def close(self, log: list[str]) -> int:
        """Its side effect is tested, its result is not."""
        log.append("closed")
        return 7


def never_run(value: int) -> int:
    """Not run by any test."""
    return value + 1


def count_down(value: int) -> int:
    """Some of its mutants never end."""
    while value > 0:
        value -= 1
    return value
