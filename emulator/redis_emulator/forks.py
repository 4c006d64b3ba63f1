"""Fork safety: a child process must never wait for a lock that a thread of its parent holds.

In a child only the thread that called ``os.fork`` exists. A lock that another thread held stays
locked for ever, and the data it protects may be inconsistent. Therefore the forking thread acquires
the lock of every registered object before the fork, waiting at most `FORK_SECONDS` for each, and
both processes release them afterwards.
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
    """A child process used an emulator of its parent.

    It is a `redis.ResponseError` because redis-py does not retry those or wrap them in another
    exception.
    """


class Lock(Protocol):
    """A `threading.Lock` or `threading.RLock`."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Acquire the lock. Returns whether it was acquired before the timeout."""
        ...

    def release(self) -> None:
        """Release the lock."""
        ...

    def __enter__(self) -> bool: ...

    def __exit__(self, *_: Any) -> None: ...


class Forkable(Protocol):
    """An object whose lock is acquired before each fork.

    Attributes:
        own_lock: The lock that protects its data.
    """

    own_lock: Lock

    def after_fork(self, consistent: bool) -> None:
        """Called in every child.

        Args:
            consistent: Whether `own_lock` could be acquired before the fork. If not, it stays
                locked, and the data it protects may be inconsistent.
        """
        ...


_references: Final[dict[int, weakref.ref[Forkable]]] = {}
_held: Final[dict[int, list[Lock]]] = {}
"""The locks acquired for a fork, by the identifier of the forking thread."""
_cleanup_threshold = 100
"""Number of references above which `register` removes those whose object no longer exists."""


def register(thing: Forkable) -> None:
    """Acquire the lock of ``thing`` before each fork. Keeps only a weak reference."""
    global _cleanup_threshold
    reference = weakref.ref(thing)
    _references[id(reference)] = reference
    if len(_references) > _cleanup_threshold:
        for number, each in list(_references.items()):
            if each() is None:
                _references.pop(number, None)
        _cleanup_threshold = 2 * len(_references) + 100


class NamedObjects(Generic[T]):
    """NamedObjects objects, created at the first access to the name. Thread-safe.

    Args:
        make: Creates an object.
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

    def after_fork(self, consistent: bool) -> None:
        """Replace the lock in a child process if another thread held it at the fork."""
        if not consistent:
            self.own_lock = threading.Lock()


def _live_objects() -> list[Forkable]:
    things = [reference() for reference in list(_references.values())]
    return [thing for thing in things if thing is not None]


def _acquire_locks() -> None:
    held = _held[threading.get_ident()] = []
    for lock in {id(thing.own_lock): thing.own_lock for thing in _live_objects()}.values():
        if lock.acquire(timeout=FORK_SECONDS):
            held.append(lock)


def _release_locks() -> list[Lock]:
    """Release the locks acquired by this thread. Returns them."""
    held = _held.pop(threading.get_ident(), [])
    for lock in held:
        lock.release()
    return held


def _after_in_child() -> None:
    held = set(map(id, _release_locks()))
    _held.clear()
    for thing in _live_objects():
        thing.after_fork(id(thing.own_lock) in held)


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(
        before=_acquire_locks, after_in_parent=_release_locks, after_in_child=_after_in_child
    )
