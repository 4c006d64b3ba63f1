"""`podlink.forks`: what is called in a child process, and for how long."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from podlink import AsyncRedisManager, RedisManager, forks
from tests.support.children import NEEDS_FORK, in_child

pytestmark = NEEDS_FORK


class Counting:
    def __init__(self) -> None:
        self.renewed = 0
        forks.renew(self)

    def _after_fork(self) -> None:
        self.renewed += 1


def test_objects_in_use_are_renewed_in_a_child_once() -> None:
    things = [Counting(), Counting()]
    assert in_child(lambda: [thing.renewed for thing in things]) == [1, 1]
    assert [thing.renewed for thing in things] == [0, 0], "not in the parent"


def test_objects_that_are_gone_leave_nothing() -> None:
    gc.collect()
    before = len(forks._objects)
    kept = Counting()
    for _ in range(100):
        Counting()
    gc.collect()
    assert len(forks._objects) == before + 1
    assert in_child(lambda: kept.renewed) == 1


def test_an_object_with_the_id_of_a_former_one_is_renewed() -> None:
    """The former one's reference may be told late that it is gone."""
    former = Counting()
    number, reference = id(former), forks._objects[id(former)]
    thing = Counting()
    forks._objects[number] = forks._objects.pop(id(thing))
    forks._drop(number, reference)
    assert in_child(lambda: thing.renewed) == 1
    del forks._objects[number]


def test_functions_are_called_in_a_child() -> None:
    called: list[int] = []

    def note() -> None:
        called.append(len(called))

    forks.in_child(note)
    try:
        assert in_child(lambda: called) == [0]
    finally:
        forks._functions.remove(note)
    assert called == []


def test_what_is_left_to_the_parent_is_not_collected() -> None:
    class Thing:
        pass

    alive: list[str] = []

    def child() -> list[str]:
        thing = Thing()
        weakref.finalize(thing, alive.append, "collected")
        forks.keep_for_parent(thing)
        del thing
        gc.collect()
        return alive

    assert in_child(child) == []


@pytest.mark.parametrize("flavour", [RedisManager, AsyncRedisManager])
def test_manager_has_another_client_in_a_child(flavour: Any) -> None:
    manager = flavour("redis://127.0.0.1:1")
    client = manager.client
    assert in_child(lambda: manager.client is client) is False
    assert manager.client is client
