"""Faults that a test injects: errors, dropped connections, delayed replies, and server states.

A `Fault` selects commands by name, pattern or predicate, and ends after ``times`` matches. A
`State` (`Faults.loading`, `Faults.readonly` …) sets a `redis_emulator.server.conditions.Condition`:
the server then refuses the commands that a real server refuses in this condition, with the same
error. Without active faults, commands have no extra cost.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from redis_emulator.glob import glob
from redis_emulator.server.conditions import Condition, Conditions

if TYPE_CHECKING:
    from types import TracebackType

Which: TypeAlias = "str | Callable[[list[bytes]], bool]"

_HANDSHAKE: Final = frozenset({b"hello", b"auth", b"client setinfo", b"client setname"})
"""Commands that clients send when they connect. Patterns do not match them, names do."""


class Fault:
    """One injected fault. As a context manager it is withdrawn at the end of the ``with`` block.

    Attributes:
        error: The error to reply with, or None.
        drop: When to close the connection: ``"before"`` or ``"after"`` the command, or None.
        seconds: How long to delay the command.
        times: How many times it still applies; None for always.
        skip: How many matching commands to skip first.
        hits: How many times it has applied.
    """

    __slots__ = (
        "_faults",
        "_wanted",
        "chance",
        "drop",
        "error",
        "hits",
        "seconds",
        "skip",
        "times",
    )

    def __init__(
        self,
        faults: Faults,
        command: Which,
        *,
        error: str | None = None,
        drop: Literal["before", "after"] | None = None,
        seconds: float = 0,
        times: int | None,
        skip: int,
        chance: float,
    ) -> None:
        if times is not None and times < 1:
            raise ValueError(f"times must be at least 1, got {times}")
        if not 0 < chance <= 1:
            raise ValueError(f"chance must be above 0 and at most 1, got {chance}")
        self._faults = faults
        self._wanted = _matcher(command)
        self.error = error
        self.drop = drop
        self.seconds = seconds
        self.times = times
        self.skip = skip
        self.chance = chance
        self.hits = 0

    def withdraw(self) -> None:
        """Remove the fault. Does nothing if it has ended already."""
        self._faults.withdraw(self)

    def matches(self, names: tuple[bytes, ...], argv: list[bytes]) -> bool:
        """Whether the fault applies to this command. Updates `hits`, `times` and `skip`."""
        if not self._wanted(names, argv):
            return False
        if self.chance < 1 and self._faults.random.random() >= self.chance:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.hits += 1
        if self.times is not None:
            self.times -= 1
            if not self.times:
                self.withdraw()
        return True

    def __enter__(self) -> Fault:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.withdraw()


class State:
    """A server condition that a test sets with `on` and `off`, or with a ``with`` block."""

    __slots__ = ("_condition", "_faults")

    def __init__(self, faults: Faults, condition: Condition) -> None:
        self._faults = faults
        self._condition = condition

    def on(self) -> None:
        """Set the condition."""
        self._faults.switch(self._condition, True)

    def off(self) -> None:
        """Clear the condition."""
        self._faults.switch(self._condition, False)

    def __bool__(self) -> bool:
        return self._faults.is_on(self._condition)

    def __enter__(self) -> State:
        self.on()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.off()


class Faults:
    """The faults of one emulator.

    Args:
        conditions: The conditions of the server.
        changed: Called after a fault was added, withdrawn or has ended.
        seed: Makes faults with a ``chance`` reproducible.

    Attributes:
        injected: The faults in the order in which they were added. The first match applies.
        random: The random source for faults with a ``chance``.
    """

    def __init__(
        self, conditions: Conditions, changed: Callable[[], None], seed: int | None
    ) -> None:
        self._conditions = conditions
        self._changed = changed
        self._seed = seed
        self.random = random.Random(seed)
        self.injected: list[Fault] = []
        self.loading = State(self, Condition.LOADING)
        """The server is loading its data: few commands are allowed."""
        self.busy = State(self, Condition.BUSY)
        """A slow script is running: few commands are allowed."""
        self.readonly = State(self, Condition.READ_ONLY)
        """A read-only replica: writes are refused."""
        self.oom = State(self, Condition.OUT_OF_MEMORY)
        """Memory exceeds ``maxmemory``: commands with the flag ``denyoom`` are refused."""
        self.noscript = State(self, Condition.NO_SCRIPT)
        """EVALSHA finds no script."""
        self.clusterdown = State(self, Condition.CLUSTER_DOWN)
        """The cluster is down: commands on keys are refused."""
        self.misconf = State(self, Condition.CANNOT_SAVE)
        """Saving fails: writes are refused."""
        self.masterdown = State(self, Condition.MASTER_DOWN)
        """A replica without a link to its master that serves no stale data."""
        self.noreplicas = State(self, Condition.NO_REPLICAS)
        """Fewer replicas than ``min-replicas-to-write``: writes are refused."""

    @property
    def active(self) -> bool:
        """Whether a fault or state is active. Conditions of the server itself do not count."""
        return bool(self.injected) or self._conditions.has_injected

    def fail(
        self,
        command: Which = "*",
        *,
        error: str = "ERR injected fault",
        times: int | None = None,
        skip: int = 0,
        chance: float = 1,
    ) -> Fault:
        """Reply with an error instead of running the command.

        Args:
            command: A name (``"SET"``, ``"CONFIG GET"``), a pattern (``"Z*"``), or a predicate of
                the argument list. Patterns do not match the commands that clients send when they
                connect (HELLO, AUTH, CLIENT SETINFO and SETNAME).
            error: The error text, starting with the error code.
            times: How many times the fault applies; None for always.
            skip: How many matching commands to skip first.
            chance: The probability that the fault applies, above 0 and at most 1.
        """
        return self._add(Fault(self, command, error=error, times=times, skip=skip, chance=chance))

    def drop(
        self,
        command: Which = "*",
        *,
        when: Literal["before", "after"] = "before",
        times: int | None = None,
        skip: int = 0,
        chance: float = 1,
    ) -> Fault:
        """Close the connection instead of replying.

        Args:
            command: As for `fail`.
            when: ``"before"`` or ``"after"`` the command runs.
            times: As for `fail`.
            skip: As for `fail`.
            chance: As for `fail`.
        """
        if when not in ("before", "after"):
            raise ValueError(f"when must be 'before' or 'after', got {when!r}")
        return self._add(Fault(self, command, drop=when, times=times, skip=skip, chance=chance))

    def delay(
        self,
        command: Which = "*",
        *,
        seconds: float,
        times: int | None = None,
        skip: int = 0,
        chance: float = 1,
    ) -> Fault:
        """Delay the command. Commands of other clients are not delayed.

        Args:
            command: As for `fail`.
            seconds: How long, by the emulator's clock. With a `ManualClock` the command runs when
                the clock has been moved this far.
            times: As for `fail`.
            skip: As for `fail`.
            chance: As for `fail`.
        """
        if seconds <= 0:
            raise ValueError(f"seconds must be above 0, got {seconds}")
        return self._add(
            Fault(self, command, seconds=seconds, times=times, skip=skip, chance=chance)
        )

    def clear(self) -> None:
        """Remove all faults and clear all states. Conditions that the server itself has set
        (CONFIG SET, REPLICAOF) stay.
        """
        self.injected.clear()
        self._conditions.clear_injected()
        self.random.seed(self._seed)
        self._changed()

    def withdraw(self, fault: Fault) -> None:
        """Remove one fault."""
        if fault in self.injected:
            self.injected.remove(fault)
            self._changed()

    def switch(self, condition: Condition, on: bool) -> None:
        """Set or clear a condition."""
        self._conditions.inject(condition, on)
        self._changed()

    def is_on(self, condition: Condition) -> bool:
        """Whether a condition is set, by a test or by the server itself."""
        return condition in self._conditions.current

    def reset(self, conditions: Conditions) -> None:
        """Remove all faults, and use the new conditions of a server that was reset."""
        self._conditions = conditions
        self.injected.clear()
        self.random.seed(self._seed)

    def match(self, argv: list[bytes]) -> Fault | None:
        """The fault that applies to this command, if any."""
        name = argv[0].lower()
        names = (name,) if len(argv) < 2 else (name, b"%b %b" % (name, argv[1].lower()))
        for fault in tuple(self.injected):
            if fault.matches(names, argv):
                return fault
        return None

    def _add(self, fault: Fault) -> Fault:
        self.injected.append(fault)
        self._changed()
        return fault


def _matcher(command: Which) -> Callable[[tuple[bytes, ...], list[bytes]], bool]:
    if callable(command):
        predicate = command
        return lambda names, argv: predicate(argv)
    wanted = command.lower().encode()
    if not any(sign in wanted for sign in b"*?["):
        return lambda names, argv: wanted in names
    matches = glob(wanted)
    return lambda names, argv: _HANDSHAKE.isdisjoint(names) and any(map(matches, names))
