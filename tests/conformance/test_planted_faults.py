"""The state machine finds each planted fault within seconds, by the difference that it makes.

A test fails if its fault cannot be planted, makes podlink raise an error of the program, or is
found only after the time limit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase

from podlink import StatefulError, operations
from pytest_podlink.backend import Backend
from pytest_podlink.conformance.machine import run
from pytest_podlink.conformance.store import Difference, Outcome, Store
from pytest_podlink.stores import EmulatorBackend
from redis_emulator import RedisEmulator
from tests.conformance.faults import FAULTS, SCRIPT_FAULTS, Fault, WrongPython, WrongScript

EXAMPLES = 3_000
"""Far more examples than any fault needs."""


SECONDS = 240
"""Of CPU time, many times what any of them needs. The limit of pytest-timeout is far above it: the
exception that it raises may end a script, and then look like a difference."""

pytestmark = pytest.mark.timeout(3600)


class Broken(Exception):
    """The planted fault is not valid code: it raises an error of the program."""


class Watched(Store):
    """A store that raises `Broken` for errors of a program that is not valid."""

    def operate(self, *args: Any) -> Outcome:
        outcome = super().operate(*args)
        if outcome.error is not None:
            refuse_programming_errors(outcome.error)
        return outcome


def refuse_programming_errors(error: StatefulError) -> None:
    """Raise `Broken` for an error that Python or Lua raised because the program is not valid."""
    cause = error.cause
    if isinstance(cause, (NameError, AttributeError, ImportError, SyntaxError)):
        raise Broken(f"the fault cannot be planted: {cause!r}") from error
    text = str(cause)
    if any(part in text for part in ("nonexistent global", "compiling script", "attempt to call")):
        raise Broken(f"the fault cannot be planted: {text}") from error


@pytest.fixture
def store(redis_emulator: RedisEmulator) -> Iterator[Store]:
    store = Watched(EmulatorBackend(redis_emulator), loop=None, protocol=2)
    yield store
    store.close()


@pytest.fixture
def any_store(stateful_backend: Backend) -> Iterator[Store]:
    store = Watched(stateful_backend, loop=None, protocol=3)
    yield store
    store.close()


def find(store: Store) -> None:
    """Run histories until one shows a difference.

    Raises:
        Difference: one did, within the time limit.
    """
    started = time.process_time()
    try:
        run(
            [store],
            EXAMPLES,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
    except Difference as difference:
        took = time.process_time() - started
        if took < SECONDS:
            raise
        pytest.fail(f"found after {took:.0f} s, the limit is {SECONDS} s: {difference}")


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_machine_finds_fault_on_the_emulator(
    fault: Fault, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault.plant(monkeypatch)
    with pytest.raises(Difference):
        find(store)


ONE_OF_EACH_SCRIPT = {fault.script: fault for fault in reversed(SCRIPT_FAULTS)}.values()


@pytest.mark.parametrize("fault", ONE_OF_EACH_SCRIPT, ids=str)
def test_machine_finds_script_fault_on_every_backend(
    fault: Fault, any_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault.plant(monkeypatch)
    with pytest.raises(Difference):
        find(any_store)


@pytest.mark.parametrize(
    "fault",
    [
        WrongScript("is not Lua", "set_linked_pod", "-- set_linked_pod", "this is no Lua"),
        WrongScript("uses a name", "remove_linked_pod", "return current and", "return nothing and"),
        WrongPython("uses a name", "link_keys", lambda *_: operations.no_such_name),  # type: ignore[attr-defined]
    ],
    ids=str,
)
def test_fault_that_is_not_valid_code_fails_the_test(
    fault: Fault, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault.plant(monkeypatch)
    with pytest.raises(Broken):
        find(store)


@pytest.mark.parametrize(
    "fault",
    [
        WrongScript("replaces nothing", "set_linked_pod", "no such text", ""),
        WrongScript("has no script", "no_such_script", "", ""),
        WrongScript("replaces it by itself", "set_linked_pod", "HSET", "HSET"),
        WrongPython("has no place", "no_such_name", None),
    ],
    ids=str,
)
def test_fault_that_changes_nothing_cannot_be_planted(
    fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LookupError):
        fault.plant(monkeypatch)


def test_difference_found_after_the_time_limit_fails_the_test(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception of pytest-timeout in the middle of a step may look like a difference."""

    def too_late(*_: object) -> Outcome:
        now = time.process_time() + SECONDS
        monkeypatch.setattr(time, "process_time", lambda: now)
        raise Difference("the script was ended")

    monkeypatch.setattr(store, "operate", too_late)
    with pytest.raises(pytest.fail.Exception, match="the limit is 240 s"):
        find(store)
