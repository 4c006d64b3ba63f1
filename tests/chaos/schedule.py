"""The faults to inject and their times: a pure function of seed, topology and duration."""

from __future__ import annotations

import random
from typing import NamedTuple

PROXIES = ("cut", "stall", "refuse", "cut_reply")
KINDS: dict[str, tuple[str, ...]] = {
    "standalone": ("kill", "pause", "client_kill", "script_flush", *PROXIES),
    "sentinel": ("kill", "pause_replica", "client_kill", "script_flush", *PROXIES),
    "cluster": ("kill", "failover", "pause_replica", "client_kill", "script_flush", *PROXIES),
}
TOPOLOGIES = tuple(KINDS)
LONGEST_GAP = 1.2


class Fault(NamedTuple):
    """A fault: seconds after the start, its kind, which node, and how long it lasts."""

    at: float
    kind: str
    choice: int
    seconds: float


def schedule(seed: int, topology: str, seconds: float) -> list[Fault]:
    """Return the faults of a run in order. A fault that takes long delays those after it."""
    chance = random.Random(f"{seed} {topology}")
    faults: list[Fault] = []
    at = 0.0
    while True:
        at += chance.uniform(0.2, LONGEST_GAP)
        fault = Fault(
            at,
            chance.choice(KINDS[topology]),
            chance.randrange(1_000),
            chance.uniform(0.05, 0.6),
        )
        if at >= seconds:
            return faults
        faults.append(fault)
