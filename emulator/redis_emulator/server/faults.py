"""What a test may break: commands that fail, connections that drop, replies that come late, and the
states in which a real server refuses work.

A fault is planted for commands by name, pattern or predicate, and is spent after the number of
times it was planted for. A state (`Faults.loading`, `Faults.readonly` …) refuses what the real
server refuses in it, in its words. While nothing is planted the engine does not look here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from redis_emulator.glob import glob
from redis_emulator.table.keyspec import keys
from redis_emulator.version import Version

if TYPE_CHECKING:
    from types import TracebackType

    from redis_emulator.clients.session import Session
    from redis_emulator.table.entry import Entry

Which: TypeAlias = "str | Callable[[list[bytes]], bool]"

_OUT_OF_MEMORY: Final = "OOM command not allowed when used memory > 'maxmemory'."
_READ_ONLY: Final = "READONLY You can't write against a read only replica."
MASTER_DOWN: Final = (
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
)
_STALE: Final = "ERR Can not execute the command on a stale replica"
_NO_REPLICAS: Final = "NOREPLICAS Not enough good replicas to write."
_NO_SCRIPT: Final = "NOSCRIPT No matching script. Please use EVAL."


_WITHOUT_MASTER: Final = frozenset({"masterdown", "stale"})
_REFUSES_WRITES: Final = frozenset({"readonly", "masterdown", "replica"})
"""States; ``replica`` and ``stale`` are those of a server that was told to follow another."""
_HANDSHAKE: Final = frozenset({b"hello", b"auth", b"client setinfo", b"client setname"})
"""What clients send on their own when they connect; only its name hits it, no pattern."""
_SINCE_7: Final = frozenset({"echo", "eval", "evalsha", "readonly", "readwrite"})
"""What is answered while loading, or without a master, since Redis 7 only."""
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
"""What Valkey answers in a state and Redis does not."""
_IN_A_TRANSACTION: Final = frozenset({"exec", "discard", "multi", "watch", "quit", "reset"})
"""What is not queued."""


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

    def strikes(self, names: tuple[bytes, ...], argv: list[bytes]) -> bool:
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
    """A state of the server that is switched on and off, or on for the length of a ``with``."""

    __slots__ = ("_faults", "_name")

    def __init__(self, faults: Faults, name: str) -> None:
        self._faults = faults
        self._name = name

    def on(self) -> None:
        """Be in this state from now on."""
        self._faults.enter(self._name)

    def off(self) -> None:
        """Be in this state no more."""
        self._faults.leave(self._name)

    def __bool__(self) -> bool:
        return self._name in self._faults.states

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
    """Everything that is broken in one emulator.

    Args:
        changed: Called after something was planted or taken back.
        version: The server whose words are used.
        seed: Makes faults that strike by chance repeat themselves.

    Attributes:
        planted: Faults in the order in which they are tried; the first that strikes counts.
        states: Names of the states that are on.
        random: What decides about faults that strike by chance.
    """

    def __init__(self, changed: Callable[[], None], version: Version, seed: int | None) -> None:
        self._changed = changed
        self._version = version
        self._seed = seed
        self.random = random.Random(seed)
        self.planted: list[Fault] = []
        self.states: set[str] = set()
        self.way_out = "SCRIPT KILL"
        self.loading = State(self, "loading")
        """Nothing but what a server answers while it loads its data."""
        self.busy = State(self, "busy")
        """A script runs too long: only a few commands are answered."""
        self.readonly = State(self, "readonly")
        """A read-only replica: nothing can be written."""
        self.oom = State(self, "oom")
        """Memory is used up: nothing that may need more is run."""
        self.noscript = State(self, "noscript")
        """Every script is unknown to EVALSHA."""
        self.clusterdown = State(self, "clusterdown")
        """A cluster that is down: nothing on keys is run."""
        self.misconf = State(self, "misconf")
        """Saving fails: nothing can be written."""
        self.masterdown = State(self, "masterdown")
        """A replica that has lost its master and serves no stale data."""
        self.noreplicas = State(self, "noreplicas")
        """Fewer replicas than writing needs."""

    @property
    def stale(self) -> bool:
        """Whether there is no master, without whom nothing is served."""
        return not self.states.isdisjoint(_WITHOUT_MASTER)

    @property
    def active(self) -> bool:
        """Whether anything is broken."""
        return bool(self.planted or self.states)

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
        """Take back everything."""
        self.planted.clear()
        self.states.clear()
        self.random.seed(self._seed)
        self._changed()

    def withdraw(self, fault: Fault) -> None:
        """Take back one fault."""
        if fault in self.planted:
            self.planted.remove(fault)
            self._changed()

    def enter(self, state: str) -> None:
        """Switch a state on."""
        self.states.add(state)
        self._changed()

    def leave(self, state: str) -> None:
        """Switch a state off."""
        self.states.discard(state)
        self._changed()

    def strike(self, argv: list[bytes]) -> Fault | None:
        """The fault that this command meets, if any."""
        name = argv[0].lower()
        names = (name,) if len(argv) < 2 else (name, b"%b %b" % (name, argv[1].lower()))
        for fault in tuple(self.planted):
            if fault.strikes(names, argv):
                return fault
        return None

    def refusal(self, session: Session, entry: Entry, argv: list[bytes]) -> str | None:
        """The error with which the server refuses a command in the states it is in."""
        states, flags = self.states, entry.flags
        if entry.name == "exec" and session.queue:
            flags = flags.union(*(queued.flags for queued, _ in session.queue))
        writes = "write" in flags or session.server.script_writes(entry, argv)
        if "clusterdown" in states and keys(entry.spec, argv):
            return "CLUSTERDOWN The cluster is down"
        release = self._version.compatible
        queues = session.queue is not None and entry.name not in _IN_A_TRANSACTION
        if "oom" in states and ("denyoom" in flags or (queues and release < (7, 2))):
            return _OUT_OF_MEMORY
        if "misconf" in states and (writes or entry.name == "ping"):
            return _misconf(self._version)
        if "noreplicas" in states and writes and not (session.script and release < (7, 0)):
            return _NO_REPLICAS
        stale = self.stale and not self._answers(entry, "stale")
        if stale and session.script and release >= (7, 0):
            return _STALE
        if writes and not states.isdisjoint(_REFUSES_WRITES):
            return _READ_ONLY
        if stale:
            return MASTER_DOWN
        if "loading" in states and not self._answers(entry, "loading"):
            return f"LOADING {_product(self._version)} is loading the dataset in memory"
        if "busy" in states and not self._answers(entry, "allow_busy"):
            return (
                f"BUSY {_product(self._version)} is busy running a script. "
                f"You can only call {self.way_out} or SHUTDOWN NOSAVE."
            )
        if "noscript" in states and entry.name in ("evalsha", "evalsha_ro"):
            return _NO_SCRIPT
        return None

    def _answers(self, entry: Entry, flag: str) -> bool:
        """Whether a command has a flag, also where this server differs from the table."""
        if self._version.compatible < (7, 0):
            if entry.name in _SINCE_7:
                return False
            if entry.name == "ping" and flag == "stale":
                return True
        if self._version.flavour == "valkey" and entry.name in _VALKEY.get(flag, ()):
            return True
        return flag in entry.flags

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


def _product(version: Version) -> str:
    return "Valkey" if version.flavour == "valkey" else "Redis"


def _misconf(version: Version) -> str:
    product = _product(version)
    return (
        f"MISCONF {product} is configured to save RDB snapshots, but it's currently unable to "
        "persist to disk. Commands that may modify the data set are disabled, because this "
        "instance is configured to report errors during writes if RDB snapshotting fails "
        f"(stop-writes-on-bgsave-error option). Please check the {product} logs for details about "
        "the RDB error."
    )
