"""The machine finds what is wrong: each planted fault, in a few seconds, and none where none is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase

from pytest_podlink.backend import Backend
from pytest_podlink.conformance.machine import run
from pytest_podlink.conformance.store import Difference, Store
from pytest_podlink.stores import EmulatorBackend
from redis_emulator import RedisEmulator
from tests.conformance.faults import FAULTS, SCRIPT_FAULTS, Fault

EXAMPLES = 3_000
"""Far more than any of them needs."""


@pytest.fixture
def store(redis_emulator: RedisEmulator) -> Iterator[Store]:
    store = Store(EmulatorBackend(redis_emulator), loop=None, protocol=2)
    yield store
    store.close()


@pytest.fixture
def any_store(stateful_backend: Backend) -> Iterator[Store]:
    store = Store(stateful_backend, loop=None, protocol=3)
    yield store
    store.close()


def find(store: Store) -> None:
    """Try histories until one shows a difference."""
    run(
        [store],
        EXAMPLES,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_found(fault: Fault, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fault.plant(monkeypatch)
    with pytest.raises(Difference):
        find(store)


@pytest.mark.parametrize("fault", SCRIPT_FAULTS[::10], ids=str)
def test_found_on_any_backend(
    fault: Fault, any_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault.plant(monkeypatch)
    with pytest.raises(Difference):
        find(any_store)
