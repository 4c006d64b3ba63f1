"""The contenders of the benchmarks, and alternating measurement of contenders that are close."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis
from redis.connection import Connection

from podlink.scripts import SCRIPTS

ALONE = "redis-py alone"
EMULATOR = "emulator"
FAKEREDIS = "fakeredis"
SERVER = "real server"
CONTENDERS = (ALONE, EMULATOR, FAKEREDIS, SERVER)

Ratio = tuple[str, str, str, float]
RATIOS: list[Ratio] = []
"""Group, contender, the contender it is compared with, and how many times faster it should be."""

FASTEST: dict[tuple[str, str], float] = {}
"""Seconds of the fastest round by group and contender, for contenders measured `in_turns`."""


def in_turns(group: str, contenders: dict[str, Callable[[], object]], rounds: int = 400) -> None:
    """Measure close contenders in alternating rounds, so that other load of the machine affects all
    of them.
    """
    for _ in range(rounds):
        for name, act in contenders.items():
            started = time.perf_counter()
            for _ in range(100):
                act()
            seconds = time.perf_counter() - started
            FASTEST[group, name] = min(seconds, FASTEST.get((group, name), seconds))


class Silent(Connection):  # type: ignore[misc]
    """A connection that does nothing: it shows the cost of redis-py itself."""

    answer: Any = None
    _sock: Any = None

    def connect(self) -> None:
        self._sock = self

    def connect_check_health(self, *_: Any, **__: Any) -> None:
        self._sock = self

    def disconnect(self, *_: Any, **__: Any) -> None:
        self._sock = None

    def send_command(self, *_: Any, **__: Any) -> None:
        pass

    def can_read(self, timeout: float = 0) -> bool:
        return False

    def read_response(self, *_: Any, **__: Any) -> Any:
        return self.answer


@dataclass(frozen=True)
class Operation:
    """A client's call, and the server's reply to it."""

    name: str
    run: Callable[[redis.Redis], object]
    answer: object


LINK = b"sf:{bench:lk:user}chat", b"sf:{bench:lk:user}", b"sf:{bench:lk:user}chat@"
SET_LINK = SCRIPTS["set_linked_pod"]
OPERATIONS = (
    Operation("GET", lambda c: c.get("key:1"), b"x" * 10),
    Operation("SET", lambda c: c.set("key:1", "x" * 10), b"OK"),
    Operation("HSET", lambda c: c.hset("hash", "field", "value"), 0),
    Operation(
        "EVALSHA set-link",
        lambda c: c.evalsha(SET_LINK.sha, 3, *LINK, b"chat", b"1", b"-1", b"0"),
        1,
    ),
)
