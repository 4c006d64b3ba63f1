"""What has to be renewed in the child after ``os.fork``.

In a child only the thread that called ``fork`` exists. A lock that another thread held stays
locked for ever, a socket is shared with the parent, and a cache is no longer told of changes.
Objects that own such things are registered here with `renew`, and `in_child` registers functions
for what belongs to a module.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Protocol


class Renewable(Protocol):
    """An object that has to be renewed in a child."""

    def _after_fork(self) -> None:
        """Replace locks, connections and caches. Does no IO, takes no lock, raises nothing."""


_parents: list[object] = []


def keep_for_parent(*things: object) -> None:
    """Keep objects of the parent's event loop in a child, so that they are not collected.

    An asyncio connection that is collected or closed removes its socket from the selector of its
    event loop, which on Linux is shared with the parent: the parent would hear no more.
    """
    _parents.extend(things)


_functions: list[Callable[[], object]] = []
_objects: dict[int, weakref.ref[Renewable]] = {}


def in_child(function: Callable[[], object]) -> None:
    """Call a function in every child process."""
    _functions.append(function)


def renew(thing: Renewable) -> None:
    """Call ``thing._after_fork()`` in every child process, for as long as ``thing`` is in use."""
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
