"""Histories that the state machine cannot compare to their end, because a server was too slow."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck

from pytest_podlink.conformance.machine import run
from pytest_podlink.conformance.store import Store, Undecided
from pytest_podlink.stores import EmulatorBackend
from redis_emulator import RedisEmulator


class SlowStore(Store):
    """A store whose comparisons are randomly undecided."""

    chance: random.Random
    share = 0.0
    undecided = 0

    def compare(self, *args: Any) -> None:
        super().compare(*args)
        if self.chance.random() < self.share:
            self.undecided += 1
            raise Undecided


@pytest.fixture
def store(redis_emulator: RedisEmulator) -> Iterator[SlowStore]:
    store = SlowStore(EmulatorBackend(redis_emulator), loop=None, protocol=2)
    store.chance = random.Random(1)
    yield store
    store.close()


def run_few(store: SlowStore) -> None:
    """Run the same histories every time."""
    checks = list(HealthCheck)
    run([store], 12, database=None, derandomize=True, suppress_health_check=checks)


def test_few_undecided_histories_are_accepted(store: SlowStore) -> None:
    store.share = 0.01
    run_few(store)
    assert store.undecided


def test_run_with_many_undecided_histories_fails(store: SlowStore) -> None:
    store.share = 0.5
    with pytest.raises(Undecided, match=r"\d+ of \d+ histories were compared only in part"):
        run_few(store)
