"""Faults that a test injects: commands that fail, connections that drop, late replies, and the
conditions in which a real server refuses work.

A fault is for commands by name, pattern or predicate, and ends after the number of times it was
added for. A state (`Faults.loading`, `Faults.readonly` …) switches on a
`redis_emulator.server.conditions.Condition`: the server then refuses what a real one refuses in it,
with the same error. While no fault is active, commands do not pay for faults.
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
"""What clients send on their own when they connect; only its name hits it, no pattern."""


class Fault:
    """One planted fault; as a context manager it is withdrawn at the end.

    Attributes:
        error: The error line to answer with, or None.
        drop: When to end the connection: ``"before"`` or ``"after"`` the command, or None.
        seconds: How long to keep the command waiting.
        times: How often it strikes yet; None for always.
        skip: How many matching commands it lets pass first.
        hits: How often it has struck.
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
        """Take it back; nothing happens when it is spent."""
        self._faults.withdraw(self)

    def matches(self, names: tuple[bytes, ...], argv: list[bytes]) -> bool:
        """Whether it is this command's turn to fail."""
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
    """A condition of the server that a test switches on and off, or on for the length of a
    ``with``.
    """

    __slots__ = ("_condition", "_faults")

    def __init__(self, faults: Faults, condition: Condition) -> None:
        self._faults = faults
        self._condition = condition

    def on(self) -> None:
        """Be in this state from now on."""
        self._faults.switch(self._condition, True)

    def off(self) -> None:
        """Be in this state no more."""
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
    """What a test has broken in one emulator.

    Args:
        conditions: The conditions of the server.
        changed: Called after a fault was added, withdrawn or has ended.
        seed: Makes faults that match by chance repeat themselves.

    Attributes:
        planted: Faults in the order in which they were added; the first match applies.
        random: Decides about faults that match by chance.
    """

    def __init__(
        self, conditions: Conditions, changed: Callable[[], None], seed: int | None
    ) -> None:
        self._conditions = conditions
        self._changed = changed
        self._seed = seed
        self.random = random.Random(seed)
        self.planted: list[Fault] = []
        self.loading = State(self, Condition.LOADING)
        """Nothing but what a server answers while it loads its data."""
        self.busy = State(self, Condition.BUSY)
        """A script runs too long: only a few commands are answered."""
        self.readonly = State(self, Condition.READ_ONLY)
        """A read-only replica: nothing can be written."""
        self.oom = State(self, Condition.OUT_OF_MEMORY)
        """Memory is used up: nothing that may need more is run."""
        self.noscript = State(self, Condition.NO_SCRIPT)
        """Every script is unknown to EVALSHA."""
        self.clusterdown = State(self, Condition.CLUSTER_DOWN)
        """A cluster that is down: nothing on keys is run."""
        self.misconf = State(self, Condition.CANNOT_SAVE)
        """Saving fails: nothing can be written."""
        self.masterdown = State(self, Condition.MASTER_DOWN)
        """A replica that has lost its master and serves no stale data."""
        self.noreplicas = State(self, Condition.NO_REPLICAS)
        """Fewer replicas than writing needs."""

    @property
    def active(self) -> bool:
        """Whether anything is broken here; conditions that the server itself is in do not count."""
        return bool(self.planted) or self._conditions.has_injected

    def fail(
        self,
        command: Which = "*",
        *,
        error: str = "ERR injected fault",
        times: int | None = None,
        skip: int = 0,
        chance: float = 1,
    ) -> Fault:
        """Answer with an error instead of running the command.

        Args:
            command: A name (``"SET"``, ``"CONFIG GET"``), a pattern (``"Z*"``), or a predicate of
                the argument list. Patterns leave alone what clients send when they connect
                (HELLO, AUTH, CLIENT SETINFO and SETNAME).
            error: The error line, code first.
            times: How often; None for always.
            skip: How many matching commands to let pass first.
            chance: How likely each is to fail, up to 1.
        """
        return self._plant(Fault(self, command, error=error, times=times, skip=skip, chance=chance))

    def drop(
        self,
        command: Which = "*",
        *,
        when: Literal["before", "after"] = "before",
        times: int | None = None,
        skip: int = 0,
        chance: float = 1,
    ) -> Fault:
        """End the connection instead of answering.

        Args:
            command: As for `fail`.
            when: ``"before"`` the command runs, or ``"after"`` it has had its effect.
            times: As for `fail`.
            skip: As for `fail`.
            chance: As for `fail`.
        """
        if when not in ("before", "after"):
            raise ValueError(f"when must be 'before' or 'after', got {when!r}")
        return self._plant(Fault(self, command, drop=when, times=times, skip=skip, chance=chance))

    def delay(
        self,
        command: Which = "*",
        *,
        seconds: float,
        times: int | None = None,
        skip: int = 0,
        chance: float = 1,
    ) -> Fault:
        """Keep the command waiting; others go on.

        Args:
            command: As for `fail`.
            seconds: How long, by the emulator's clock: with a `ManualClock`, until it was moved so
                far.
            times: As for `fail`.
            skip: As for `fail`.
            chance: As for `fail`.
        """
        if seconds <= 0:
            raise ValueError(f"seconds must be above 0, got {seconds}")
        return self._plant(
            Fault(self, command, seconds=seconds, times=times, skip=skip, chance=chance)
        )

    def clear(self) -> None:
        """Withdraw all faults, and leave the conditions that were switched on here. Conditions that
        the server itself is in, by CONFIG SET or REPLICAOF, stay.
        """
        self.planted.clear()
        self._conditions.clear_injected()
        self.random.seed(self._seed)
        self._changed()

    def withdraw(self, fault: Fault) -> None:
        """Take back one fault."""
        if fault in self.planted:
            self.planted.remove(fault)
            self._changed()

    def switch(self, condition: Condition, on: bool) -> None:
        """Switch a condition on or off."""
        self._conditions.inject(condition, on)
        self._changed()

    def is_on(self, condition: Condition) -> bool:
        """Whether the server is in a condition, for whatever reason."""
        return condition in self._conditions.current

    def reset(self, conditions: Conditions) -> None:
        """Forget everything, and switch the conditions of a server that starts anew from now on."""
        self._conditions = conditions
        self.planted.clear()
        self.random.seed(self._seed)

    def match(self, argv: list[bytes]) -> Fault | None:
        """The fault that applies to this command, if any."""
        name = argv[0].lower()
        names = (name,) if len(argv) < 2 else (name, b"%b %b" % (name, argv[1].lower()))
        for fault in tuple(self.planted):
            if fault.matches(names, argv):
                return fault
        return None

    def _plant(self, fault: Fault) -> Fault:
        self.planted.append(fault)
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
