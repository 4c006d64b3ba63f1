"""`Server`: the state of one emulated server, except its clients.

This module knows neither clients nor the functions of commands. The parts of the state:

====================  ====================================================  ========================
attribute             what it is                                            module
====================  ====================================================  ========================
``keyspace``          databases, current time, expiry queue, key observers  ``keyspace.keyspace``
``keyspace.stats``    hits, misses, expired and evicted keys                ``keyspace.context``
``ledger``            sizes of keys and eviction, if ``maxmemory`` is set   ``keyspace.eviction``
``config``            configuration parameters                              ``server.config``
``stats``             the other counters of INFO                            ``server.stats``
``commands``          the commands with their statistics                    ``table.entry``
``conditions``        conditions that refuse commands: loading, replica …   ``server.conditions``
``faults``            faults injected by a test                             ``server.faults``
``replication``       role, master, replication ids                         ``server.replication``
``logs``              slow log, command logs of Valkey, latency events      ``server.logs``
``recorder``          the log of commands and replies for tests             ``server.command_log``
``debug``             settings of DEBUG                                     here
``saves``             SAVE and LASTSAVE                                     here
====================  ====================================================  ========================

Clients are in `redis_emulator.clients.clients.Clients`, scripts in
`redis_emulator.scripting`, a cluster's node in `redis_emulator.cluster.node`. The engine
(`redis_emulator.engine.dispatch`) holds one of each.

`Server.reset` creates these objects anew, like the constructor: both call `_start`. Only the clock,
the version and objects to which users hold references (`faults`, `commands`, the databases) are
kept; `faults`, `commands` and the databases are reset in place.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from redis_emulator.clock import Clock
from redis_emulator.keyspace.context import KeyObserver, KeyStats
from redis_emulator.keyspace.database import Database
from redis_emulator.keyspace.eviction import Ledger
from redis_emulator.keyspace.keyspace import Keyspace
from redis_emulator.server.command_log import Log
from redis_emulator.server.conditions import Conditions
from redis_emulator.server.config import Config
from redis_emulator.server.faults import Faults
from redis_emulator.server.logs import LARGE_REPLY, LARGE_REQUEST, Logs
from redis_emulator.server.replication import Replication
from redis_emulator.server.stats import Stats
from redis_emulator.table.entry import Entry
from redis_emulator.version import Version


@dataclass(slots=True)
class Debug:
    """Settings of DEBUG.

    Attributes:
        active_expiry: Whether keys expire without being accessed (SET-ACTIVE-EXPIRE).
        packed_threshold: The size from which list elements get their own node; 0 for the default
            (QUICKLIST-PACKED-THRESHOLD).
    """

    active_expiry: bool = True
    packed_threshold: int = 0


@dataclass(slots=True)
class Saves:
    """The saves by SAVE and BGSAVE.

    Attributes:
        last_at: The time of the last save, in milliseconds since the epoch; the start of the server
            if there was none.
        count: The number of saves.
    """

    last_at: int
    count: int = 0


class Server:
    """The state of one emulated server.

    Args:
        clock: The source of time.
        version: The release to emulate.
        seed: The seed of all random results (RANDOMKEY, SPOP …); None for unpredictable ones.
        commands: The commands of this version, by lower-case and upper-case name.
        changed: Called after a fault was added, withdrawn or has ended.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        version: Version,
        seed: int | None,
        commands: dict[bytes, Entry],
        changed: Callable[[], None],
    ) -> None:
        self.clock = clock
        self.version = version
        self.commands = commands
        self._seed = seed
        self.random = random.Random(seed)
        self._observers: tuple[KeyObserver, ...] = ()
        self.recorder: Log | None = None
        self.conditions = Conditions(version)
        self.faults = Faults(self.conditions, changed, seed)
        self.config = Config(version)
        self.keyspace = Keyspace(self.config.integer("databases"), clock.ms())
        self._start()

    def _start(self) -> None:
        """Create the state that a server has when it starts."""
        self.started_at = self.clock.ms()
        self.run_id = b"%040x" % self.random.getrandbits(160)
        self.replication = Replication(self.run_id[::-1].decode(), self.random)
        self.stats = Stats(self.version)
        self.logs = Logs()
        self.debug = Debug()
        self.saves = Saves(self.started_at)
        self.ledger: Ledger | None = None
        self.peak_memory = 0

    def reset(self) -> None:
        """Return to the state of a new server. Key observers stay registered."""
        self.random.seed(self._seed)
        self.config = Config(self.version)
        self.conditions = Conditions(self.version)
        self.faults.reset(self.conditions)
        self.limit_memory(False)
        self.keyspace.now = self.clock.ms()
        self.keyspace.clear()
        self._start()
        self.reset_statistics()
        if self.recorder is not None:
            self.recorder.clear()

    def reset_statistics(self) -> None:
        """Reset all statistics (CONFIG RESETSTAT)."""
        self.stats = Stats(self.version)
        self.keyspace.stats = KeyStats()
        for entry in self.commands.values():
            for each in (entry, *(entry.subcommands or {}).values()):
                each.reset_statistics()

    @property
    def databases(self) -> list[Database]:
        """The databases by index."""
        return self.keyspace.databases

    def observe(self, observer: KeyObserver) -> None:
        """Register an observer of keys."""
        if observer not in self._observers:
            self._observers = (*self._observers, observer)
            self.keyspace.observe(observer)

    def ignore(self, observer: KeyObserver) -> None:
        """Unregister an observer of keys."""
        self._observers = tuple(each for each in self._observers if each is not observer)
        self.keyspace.ignore(observer)

    def serve(self, keyspace: Keyspace) -> None:
        """Replace the keyspace. A cluster node that becomes a replica uses that of its master."""
        for observer in self._observers:
            self.keyspace.ignore(observer)
            keyspace.observe(observer)
        keyspace.now = self.keyspace.now
        self.keyspace = keyspace
        if self.ledger is not None:
            self.ledger.databases = keyspace.databases

    def limit_memory(self, limited: bool) -> None:
        """Create or remove the `Ledger` for ``maxmemory``."""
        if not limited and self.ledger is not None:
            self.ignore(self.ledger)
            self.ledger = None
        elif limited and self.ledger is None:
            self.ledger = Ledger(self.databases, self.random)
            self.observe(self.ledger)

    def logs_small_commands(self) -> bool:
        """Whether Valkey logs requests or replies smaller than the default of 1 MiB as large."""
        numbers = self.config.numbers
        return self.version.is_valkey() and any(
            0 <= numbers[name] < 1 << 20 for name in (LARGE_REQUEST, LARGE_REPLY)
        )

    def logs_fast_commands(self) -> bool:
        """Whether the slow log includes commands faster than one millisecond."""
        return 0 <= self.config.numbers["slowlog-log-slower-than"] < 1000
