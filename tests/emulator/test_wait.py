"""WAIT and WAITAOF, compared with real servers without replicas."""

from __future__ import annotations

import pytest

from redis_emulator import ManualClock, RedisEmulator
from redis_emulator.resp.types import PENDING
from tests.support.pair import EmulatorConnection, Pair

WAITS = (
    "0 0",
    "-1 0",
    "x 0",
    "0 x",
    "0 -1",
    "0 9223372036854775808",
    "0 9223372036854775807",
    "9223372036854775808 0",
    "0",
)


@pytest.mark.servers("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
def test_wait(same: Pair) -> None:
    for arguments in WAITS:
        same("WAIT", *arguments.split())
    for line in ("MULTI", "WAIT 1 0", "EXEC"):
        same(line)


@pytest.mark.servers("redis-8.2", "valkey-9.1")
def test_waitaof(same: Pair) -> None:
    for arguments in WAITS:
        same("WAITAOF", "0", *arguments.split())
        same("WAITAOF", "1", *arguments.split())
    for local in ("2", "-1", "x", ""):
        same("WAITAOF", local, "0", "0")
    for line in ("MULTI", "WAITAOF 0 1 0", "EXEC"):
        same(line)


def test_wait_times_out_by_the_manual_clock() -> None:
    clock = ManualClock()
    emulator = RedisEmulator(clock=clock)
    connection = EmulatorConnection(emulator)
    assert emulator.engine.execute(connection.session, [b"WAIT", b"1", b"5000"]) is PENDING
    clock.advance(4.999)
    assert connection.session.blocked is not None
    clock.advance(0.001)
    assert connection.read() == (":", b"0")
