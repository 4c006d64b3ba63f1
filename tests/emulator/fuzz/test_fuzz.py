"""Runs every family's grammar: replies to the letter, the whole keyspace, and the published events.

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
from tests.emulator.pair import Pair, Wire, unordered

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
SERVERS = tuple(os.environ.get("FUZZ_SERVERS", "redis-8.2").split(","))
FAMILIES = sorted(
    module.name
    for module in pkgutil.iter_modules(package.__path__)
    if not module.name.startswith("test_")
)
TTL_SLACK_MS = 2_000


@pytest.mark.servers(*SERVERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_family(family: str, same: Pair) -> None:
    """Random sequences of one family behave alike."""
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


class EventWatcher:
    """Listens to keyspace events on both sides."""

    def __init__(self, same: Pair) -> None:
        same("CONFIG", "SET", "notify-keyspace-events", "KEA")
        self._same = same
        self._emulated, self._real = same.connect()
        for connection in (self._emulated, self._real):
            connection("PSUBSCRIBE", "__key*__:*")
            connection("PSUBSCRIBE", "end")

    def collect(self) -> tuple[list[Wire], list[Wire]]:
        """All events since the last call: the server's, the emulator's.

        A server removes what has expired when it gets round to it, so that these come last.
        """
        self._same("PUBLISH", "end", "-")
        real, emulated = self._drain(self._real), self._drain(self._emulated)
        for events in (real, emulated):
            events.sort(key=_is_of_expiry)
        return real, emulated

    def _drain(self, connection: Any) -> list[Wire]:
        events = []
        while (event := connection.read())[1][2][1] != b"end":
            events.append((event[1][2][1], event[1][3][1]))
        return events


def _is_of_expiry(event: tuple[bytes, bytes]) -> bool:
    return b"expired" in (event[1], event[0].rpartition(b":")[2])


def leave_modes(same: Pair) -> None:
    """End a transaction that a sequence may have left open, and stop watching keys."""
    for connection in (same.emulated, same.real):
        connection("DISCARD")
        connection("UNWATCH")


_READS: dict[bytes, tuple[Any, ...]] = {
    b"string": ("GET",),
    b"hash": ("HGETALL",),
    b"list": ("LRANGE", 0, -1),
    b"set": ("SMEMBERS",),
    b"zset": ("ZRANGE", 0, -1, "WITHSCORES"),
    b"stream": ("XRANGE", "-", "+"),
}


def compare_keyspaces(same: Pair) -> None:
    """Every key on both sides: type, value, encoding, TTL. What has expired is removed before."""
    for connection in (same.emulated, same.real):
        connection("SCAN", "0", "COUNT", "1000")
    names = same("KEYS", "*", key=unordered)[1]
    for _, name in names:
        read, *rest = _READS[same("TYPE", name)[1]]
        key = _pairs if read == "HGETALL" else unordered if read == "SMEMBERS" else None
        same(read, name, *rest, key=key)
        same("OBJECT", "ENCODING", name)
        same("PTTL", name, key=lambda reply: _about(reply, same))


def _pairs(reply: Wire) -> Any:
    if reply[0] == "*":
        items = [item[1] for item in reply[1]]
        return dict(zip(items[::2], items[1::2], strict=True))
    return sorted(map(repr, reply[1]))


def _about(reply: Wire, same: Pair) -> Any:
    milliseconds = int(reply[1])
    return milliseconds if milliseconds < 0 else "expires"
