"""Compares the keys that a command reads: keyspace hits, misses and ``keymiss`` events."""

from __future__ import annotations

from tests.support.keyspace import EventWatcher
from tests.support.pair import Connection, Pair


def compare_reads(same: Pair, calls: tuple[str, ...]) -> None:
    """Run ``calls`` on both sides; after each, compare the hits and misses and the published
    events.
    """
    watcher = EventWatcher(same)
    same("CONFIG SET notify-keyspace-events KEAm")
    try:
        watcher.collect()
        for call in calls:
            for side in (same.emulated, same.real):
                side("CONFIG", "RESETSTAT")
            same(call)
            emulated, real = _counts(same.emulated), _counts(same.real)
            assert emulated == real, f"{call}: emulator {emulated}, server {real}"
            events, published = watcher.collect()
            assert published == events, f"{call}: emulator {published}, server {events}"
    finally:
        same("CONFIG SET notify-keyspace-events KEA")


def _counts(side: Connection) -> list[bytes]:
    lines = side("INFO", "stats")[1].split(b"\r\n")
    return sorted(line for line in lines if line.startswith((b"keyspace_hits", b"keyspace_misses")))
