"""Resets objects in a child process after ``os.fork``.

In a child process only the thread that called ``fork`` exists. A lock that another thread held is
never released, a socket is shared with the parent, and a cache receives no invalidation messages.
Objects that have locks, connections or caches register with `renew`. Modules register a function
with `in_child`.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Protocol


class Renewable(Protocol):
    """An object that must be reset in a child process."""

    def _after_fork(self) -> None:
        """Replace locks, connections and caches. Must not do IO, take a lock or raise."""


_parents: list[object] = []


def keep_for_parent(*things: object) -> None:
    """Keep objects of the parent's event loop alive in a child process.

    An asyncio connection that is closed or collected as garbage removes its socket from the
    selector of its event loop. On Linux the parent shares this selector (epoll), and would receive
    no more data.
    """
    _parents.extend(things)


_functions: list[Callable[[], object]] = []
_objects: dict[int, weakref.ref[Renewable]] = {}


def in_child(function: Callable[[], object]) -> None:
    """Call a function in every child process."""
    _functions.append(function)


def renew(thing: Renewable) -> None:
    """Call ``thing._after_fork()`` in every child process, until ``thing`` is collected."""
    number = id(thing)
    reference = weakref.ref(thing, lambda reference: _drop(number, reference))
    _objects[number] = reference


def _drop(number: int, reference: weakref.ref[Renewable]) -> None:
    if _objects.get(number) is reference:
        del _objects[number]


def _renew_all() -> None:
    for function in _functions:
        function()
    for reference in list(_objects.values()):
        thing = reference()
        if thing is not None:
            thing._after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_renew_all)
