"""Conditions in which a server refuses commands: loading, busy script, replica, out of memory …

A condition is set by the server itself (REPLICAOF, CONFIG SET, a slow script) or by a test
(`redis_emulator.server.faults`). The two sets are separate, so that `Faults.clear` does not end a
condition that the server itself has set. `Conditions.refusal` makes the checks in the order of
``processCommand`` in Redis.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from redis_emulator.resp import errors
from redis_emulator.table.entry import Entry
from redis_emulator.table.keyspec import keys
from redis_emulator.version import Version


class Condition(Enum):
    """A condition in which a server refuses commands."""

    LOADING = "loading"
    BUSY = "busy"
    READ_ONLY = "readonly"
    OUT_OF_MEMORY = "oom"
    NO_SCRIPT = "noscript"
    CLUSTER_DOWN = "clusterdown"
    CANNOT_SAVE = "misconf"
    MASTER_DOWN = "masterdown"
    NO_REPLICAS = "noreplicas"
    REPLICA = "replica"
    """REPLICAOF made the server a replica, and ``replica-read-only`` is ``yes``."""
    STALE = "stale"
    """REPLICAOF made the server a replica, and ``replica-serve-stale-data`` is ``no``."""


_WITHOUT_MASTER: Final = frozenset({Condition.MASTER_DOWN, Condition.STALE})
_REFUSES_WRITES: Final = frozenset({Condition.READ_ONLY, Condition.MASTER_DOWN, Condition.REPLICA})
_SINCE_7: Final = frozenset({"echo", "eval", "evalsha", "readonly", "readwrite"})
"""Commands that are allowed while loading, or without a master, since Redis 7 only."""
_VALKEY: Final = {
    "allow_busy": frozenset(
        {
            *(
                "client|caching",
                "client|getname",
                "client|getredir",
                "client|id",
                "client|no-evict",
            ),
            *("client|no-touch", "client|reply", "client|setinfo", "client|setname", "select"),
        }
    ),
    "stale": frozenset({"script|exists", "script|flush"}),
    "loading": frozenset(
        {
            *("cluster|info", "cluster|myid", "cluster|myshardid", "cluster|nodes"),
            *("memory|malloc-stats", "memory|purge"),
        }
    ),
}
"""Commands that are allowed in a condition by Valkey but not by Redis, by command flag."""


class Conditions:
    """The conditions that one server is in.

    Attributes:
        current: All conditions.
        kill_command: The command that kills the script of `Condition.BUSY`.
    """

    __slots__ = ("_injected", "_own", "_version", "current", "kill_command")

    def __init__(self, version: Version) -> None:
        self._version = version
        self._own: set[Condition] = set()
        self._injected: set[Condition] = set()
        self.current: frozenset[Condition] = frozenset()
        self.kill_command = "SCRIPT KILL"

    def set(self, condition: Condition, on: bool) -> None:
        """Set or clear a condition of the server itself."""
        (self._own.add if on else self._own.discard)(condition)
        self.current = frozenset(self._own | self._injected)

    def inject(self, condition: Condition, on: bool) -> None:
        """Set or clear a condition for a test."""
        (self._injected.add if on else self._injected.discard)(condition)
        self.current = frozenset(self._own | self._injected)

    @property
    def has_injected(self) -> bool:
        """Whether a test has set any condition."""
        return bool(self._injected)

    def clear_injected(self) -> None:
        """Clear all conditions that a test has set."""
        self._injected.clear()
        self.current = frozenset(self._own)

    @property
    def stale(self) -> bool:
        """Whether commands are refused because the link to the master is down."""
        return not self.current.isdisjoint(_WITHOUT_MASTER)

    def refusal(
        self,
        entry: Entry,
        argv: list[bytes],
        *,
        flags: frozenset[str],
        writes: bool,
        is_queued: bool,
        in_script: bool,
    ) -> str | None:
        """The error text if a condition refuses the command; None if it may run.

        Args:
            entry: The command.
            argv: Its arguments.
            flags: Its flags; for EXEC together with those of all queued commands.
            writes: Whether it writes, or runs a script that may write.
            is_queued: Whether MULTI queues it.
            in_script: Whether a script calls it.
        """
        current, version = self.current, self._version
        if Condition.CLUSTER_DOWN in current and keys(entry.spec, argv):
            return errors.CLUSTER_DOWN
        if Condition.OUT_OF_MEMORY in current and (
            "denyoom" in flags or (is_queued and version.before(7, 2))
        ):
            return errors.OUT_OF_MEMORY
        if Condition.CANNOT_SAVE in current and (writes or entry.name == "ping"):
            return errors.cannot_save(self._version.product)
        if Condition.NO_REPLICAS in current and writes and not (in_script and version.before(7)):
            return errors.NO_REPLICAS
        stale = self.stale and not self._has_flag(entry, "stale")
        if stale and in_script and not version.before(7):
            return errors.STALE_REPLICA
        if writes and not current.isdisjoint(_REFUSES_WRITES):
            return errors.READ_ONLY
        if stale:
            return errors.MASTER_DOWN
        if Condition.LOADING in current and not self._has_flag(entry, "loading"):
            return errors.loading(self._version.product)
        if Condition.BUSY in current and not self._has_flag(entry, "allow_busy"):
            return errors.busy(self._version.product, self.kill_command)
        if Condition.NO_SCRIPT in current and entry.name in ("evalsha", "evalsha_ro"):
            return errors.NO_SCRIPT
        return None

    def _has_flag(self, entry: Entry, flag: str) -> bool:
        """Whether a command has a flag, including differences of this release from the table."""
        if self._version.before(7):
            if entry.name in _SINCE_7:
                return False
            if entry.name == "ping" and flag == "stale":
                return True
        if self._version.is_valkey() and entry.name in _VALKEY.get(flag, ()):
            return True
        return flag in entry.flags
