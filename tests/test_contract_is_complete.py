"""Every operation is listed in all the places that describe operations."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from podlink import AsyncStatefulExecutor, StatefulExecutor
from pytest_podlink.conformance import machine, strategies
from pytest_podlink.conformance.model import Model

ROOT = Path(__file__).parent.parent
NO_OPERATIONS = {"close"}
WITHOUT_LIMITS = {"self", "timeout", "dry_run", "on_progress", "resume"}
"""Parameters for which no strategy generates invalid values."""


def operations(cls: type) -> dict[str, list[str]]:
    """Return the public methods of an executor, with their parameters."""
    return {
        name: [each for each in inspect.signature(method).parameters if each not in WITHOUT_LIMITS]
        for name, method in vars(cls).items()
        if inspect.isfunction(method) and name[0] != "_" and name not in NO_OPERATIONS
    }


OPERATIONS = operations(StatefulExecutor)


def in_tables(page: str) -> set[str]:
    """Return the names in the first column of a page's tables."""
    text = (ROOT / page).read_text("utf-8")
    cells = re.findall(r"^\| (`[^|]*(?:\\\|[^|]*)*)", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)[(`]", cell)}


def in_machine() -> set[str]:
    """Return the operations that the rules of the state machine run."""
    source = inspect.getsource(machine.Histories)
    named = set(re.findall(r'operate\(\s*"(\w+)"', source))
    for group in re.findall(r"sampled_from\(strategies\.(\w+)\)", source):
        named |= set(getattr(strategies, group))
    return named


PLACES = {
    "AsyncStatefulExecutor": set(operations(AsyncStatefulExecutor)),
    "README.md, the table of operations": in_tables("README.md"),
    "docs/semantics.md, a table of operations": in_tables("docs/semantics.md"),
    "the conformance model (Model)": {name for name in vars(Model) if name in OPERATIONS},
    "the conformance strategies (OPERATIONS)": set(strategies.OPERATIONS),
    "the state machine (a rule of Histories)": in_machine(),
}


@pytest.mark.parametrize("place", PLACES)
def test_every_operation_is_listed_in(place: str) -> None:
    missing = sorted(OPERATIONS.keys() - PLACES[place])
    assert not missing, f"{', '.join(missing)}: not in {place}"


@pytest.mark.parametrize("operation", strategies.OPERATIONS)
def test_strategies_cover_the_parameters_of(operation: str) -> None:
    assert operation in OPERATIONS, f"strategies.OPERATIONS has {operation}, the executor has not"
    assert list(strategies.OPERATIONS[operation]) == OPERATIONS[operation], (
        f"strategies.OPERATIONS[{operation!r}] does not have the parameters of the executor"
    )
