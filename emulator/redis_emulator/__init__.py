"""A Redis emulator in the Python process: no server to start, and a clock that tests can move.

>>> from redis_emulator import ManualClock, RedisEmulator
>>> emulator = RedisEmulator(clock=ManualClock())
>>> client = emulator.client(decode_responses=True)
>>> client.set("greeting", "hello", ex=60)
True
>>> emulator.clock.advance(61)
>>> client.get("greeting") is None
True
"""

from __future__ import annotations

from redis_emulator.clock import Clock, ManualClock, SystemClock
from redis_emulator.cluster_emulator import ClusterEmulator, ClusterSnapshot, NodeEmulator
from redis_emulator.forks import ForkedError
from redis_emulator.keyspace.snapshots import Snapshot
from redis_emulator.server.command_log import Log, Logged
from redis_emulator.server.faults import Fault, Faults
from redis_emulator.standalone import RedisEmulator
from redis_emulator.tools.mapping import DatabaseMapping as Database
from redis_emulator.tools.mapping import Entries, Scores

__all__ = [
    "Clock",
    "ClusterEmulator",
    "ClusterSnapshot",
    "Database",
    "Entries",
    "Fault",
    "Faults",
    "ForkedError",
    "Log",
    "Logged",
    "ManualClock",
    "NodeEmulator",
    "RedisEmulator",
    "Scores",
    "Snapshot",
    "SystemClock",
]
