"""What is done around ``os.fork`` so that a child process never waits for a lock of its parent.

In a child only the thread that called ``fork`` exists: a lock that another thread held stays locked
for ever, and what it protects may be half changed. So the thread that forks takes the lock of every
registered object first. It waits at most `FORK_SECONDS` for each.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar

import redis

FORK_SECONDS: Final = 1.0
T = TypeVar("T")


class ForkedError(redis.ResponseError):
    """A child process uses an emulator of its parent.

    A `redis.ResponseError`, because redis-py neither retries nor replaces those.
    """


class Lock(Protocol):
    """A `threading.Lock` or `threading.RLock`."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock; whether it was free in time."""
        ...

    def release(self) -> None:
        """Give the lock back."""
        ...

    def __enter__(self) -> bool: ...

    def __exit__(self, *_: Any) -> None: ...


class Forkable(Protocol):
    """An object that takes part in forks.

    Attributes:
        own_lock: What protects it.
    """

    own_lock: Lock

    def after_fork(self, whole: bool) -> None:
        """Called in every child.

        Args:
            whole: Whether `own_lock` could be taken before the fork. Otherwise it stays locked,
                and what it protects may be half changed.
        """
        ...


_things: Final[dict[int, weakref.ref[Forkable]]] = {}
_held: Final[dict[int, list[Lock]]] = {}
"""The locks that were taken for a fork, by the thread that forks."""
_crowded = 100
"""How many references make it worthwhile to look for those whose object is gone."""


def register(thing: Forkable) -> None:
    """Have ``thing`` take part in forks for as long as it is in use."""
    global _crowded
    reference = weakref.ref(thing)
    _things[id(reference)] = reference
    if len(_things) > _crowded:
        for number, each in list(_things.items()):
            if each() is None:
                _things.pop(number, None)
        _crowded = 2 * len(_things) + 100


class Named(Generic[T]):
    """Objects that are made when they are first asked for by their name. Threads may ask at once.

    Args:
        make: Makes one.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self.own_lock: Lock = threading.Lock()
        self._make = make
        self._made: dict[str, T] = {}
        register(self)

    def __getitem__(self, name: str) -> T:
        with self.own_lock:
            if name not in self._made:
                self._made[name] = self._make()
            return self._made[name]

    def after_fork(self, whole: bool) -> None:
        """Have a lock of its own in a child."""
        if not whole:
            self.own_lock = threading.Lock()


def _registered() -> list[Forkable]:
    things = [reference() for reference in list(_things.values())]
    return [thing for thing in things if thing is not None]


def _before() -> None:
    held = _held[threading.get_ident()] = []
    for lock in {id(thing.own_lock): thing.own_lock for thing in _registered()}.values():
        if lock.acquire(timeout=FORK_SECONDS):
            held.append(lock)


def _after() -> list[Lock]:
    """Give the locks back; returns them."""
    held = _held.pop(threading.get_ident(), [])
    for lock in held:
        lock.release()
    return held


def _in_child() -> None:
    held = set(map(id, _after()))
    _held.clear()
    for thing in _registered():
        thing.after_fork(id(thing.own_lock) in held)


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_in_child)
