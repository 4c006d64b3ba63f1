"""Runs the grammar of every command family and compares replies, keyspaces and events.

``FUZZ_EXAMPLES`` sets the number of sequences per family and server, ``FUZZ_SERVERS`` the servers
(``make fuzz FAMILY=list EXAMPLES=50000``).
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

import tests.emulator.fuzz as package
from tests.support.keyspace import EventWatcher, compare_keyspaces
from tests.support.pair import Pair

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
SERVERS = tuple(os.environ.get("FUZZ_SERVERS", "redis-8.2").split(","))
FAMILIES = sorted(
    module.name
    for module in pkgutil.iter_modules(package.__path__)
    if not module.name.startswith("test_")
)


@pytest.mark.servers(*SERVERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_family(family: str, same: Pair) -> None:
    """Random command sequences of one family behave as on the real server."""
    module = importlib.import_module(f"{package.__name__}.{family}")
    key_for: Callable[[list[bytes]], Any] = getattr(module, "key_for", lambda argv: None)
    prepare: Callable[[Pair], None] = getattr(module, "prepare", lambda same: None)
    parameters: dict[str, str] = getattr(module, "PARAMETERS", {})
    watcher = EventWatcher(same)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(st.lists(module.commands(), min_size=1, max_size=30))
    def run(sequence: list[list[bytes]]) -> None:
        prepare(same)
        leave_modes(same)
        restore_parameters(same, parameters)
        same("SELECT", "0")
        same("FLUSHALL")
        watcher.collect()
        for argv in sequence:
            note(repr(argv))
            same(*argv, key=key_for(argv))
        prepare(same)
        leave_modes(same)
        compare_keyspaces(same)
        real, emulated = watcher.collect()
        assert emulated == real, f"events: emulator {emulated}, server {real}"

    try:
        run()
    finally:
        restore_parameters(same, parameters)


def restore_parameters(same: Pair, parameters: dict[str, str]) -> None:
    """Set what a grammar changes to the defaults it names; some servers lack some of them."""
    for name, value in parameters.items():
        for connection in (same.emulated, same.real):
            connection("CONFIG", "SET", name, value)


def leave_modes(same: Pair) -> None:
    """End a transaction that a sequence may have left open, and stop watching keys."""
    for connection in (same.emulated, same.real):
        connection("DISCARD")
        connection("UNWATCH")
