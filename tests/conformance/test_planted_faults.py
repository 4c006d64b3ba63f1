"""The machine finds what is wrong: each planted fault, in a few seconds, and none where none is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase

from pytest_podlink.backends import Backend
from pytest_podlink.conformance.machine import run
from pytest_podlink.conformance.store import Difference, Store
from tests.conformance.faults import FAULTS, Fault

EXAMPLES = 1_000
"""Far more than any of them needs."""


@pytest.fixture
def store(stateful_backend: Backend) -> Iterator[Store]:
    store = Store(stateful_backend, loop=None, protocol=2)
    yield store
    store.close()


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_found(fault: Fault, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fault.plant(monkeypatch)
    with pytest.raises(Difference):
        run(
            [store],
            EXAMPLES,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
