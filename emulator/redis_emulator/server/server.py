"""The server's own state, which knows no client and no command.

A map of what one emulated server consists of, and where to find it:

====================  ====================================================  ========================
attribute             what it is                                            module
====================  ====================================================  ========================
``keyspace``          the databases, the time, deadlines, key observers     ``keyspace.keyspace``
``keyspace.stats``    hits, misses, expired and evicted keys                ``keyspace.context``
``ledger``            sizes of keys, while ``maxmemory`` limits them        ``keyspace.eviction``
``config``            parameters                                            ``server.config``
``stats``             everything else that INFO counts                      ``server.stats``
``commands``          the commands with their statistics                    ``table.entry``
``conditions``        why commands are refused: loading, replica …          ``server.conditions``
``faults``            what a test has broken                                ``server.faults``
``replication``       the server's place among others                       ``server.replication``
``logs``              slow log, command logs of Valkey, latency events      ``server.logs``
``recorder``          commands and replies, recorded for a test             ``server.command_log``
``debug``             what DEBUG has switched                               here
``saves``             SAVE and LASTSAVE                                     here
====================  ====================================================  ========================

Clients are in `redis_emulator.clients.clients.Clients`, scripts in
`redis_emulator.scripting`, a cluster's node in `redis_emulator.cluster.node`. The engine
(`redis_emulator.engine.dispatch`) holds one of each.

`Server.reset` replaces everything that a new server would have new by calling the same `_start` as
the constructor; only the clock, the version and what users hold references to (`faults`,
`commands`, the databases) are kept and emptied.
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
    """What DEBUG has switched.

    Attributes:
        active_expiry: Whether keys expire without being accessed (SET-ACTIVE-EXPIRE).
        packed_threshold: From which size on list elements are nodes of their own; 0 for the
            default (QUICKLIST-PACKED-THRESHOLD).
    """

    active_expiry: bool = True
    packed_threshold: int = 0


@dataclass(slots=True)
class Saves:
    """What SAVE and BGSAVE have done.

    Attributes:
        last_at: When the last save was, in milliseconds since the epoch; the start of the server
            if there was none.
        count: How many there were.
    """

    last_at: int
    count: int = 0


class Server:
    """State of one emulated Redis.

    Args:
        clock: The source of time.
        version: What server to be.
        seed: Seeds the random source of RANDOMKEY, SPOP and all others; None for an unpredictable
            one.
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
        """Make everything anew that a server has when it starts."""
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
        """Be as a new server is; what observes keys stays registered."""
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
        """Start counting anew, as CONFIG RESETSTAT does."""
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
        """Tell ``observer`` of changes of keys from now on."""
        if observer not in self._observers:
            self._observers = (*self._observers, observer)
            self.keyspace.observe(observer)

    def ignore(self, observer: KeyObserver) -> None:
        """Tell ``observer`` of changes of keys no longer."""
        self._observers = tuple(each for each in self._observers if each is not observer)
        self.keyspace.ignore(observer)

    def serve(self, keyspace: Keyspace) -> None:
        """Serve other keys: those of the master that a node of a cluster replicates now."""
        for observer in self._observers:
            self.keyspace.ignore(observer)
            keyspace.observe(observer)
        keyspace.now = self.keyspace.now
        self.keyspace = keyspace
        if self.ledger is not None:
            self.ledger.databases = keyspace.databases

    def limit_memory(self, limited: bool) -> None:
        """Keep a ledger of the sizes of all keys, or none."""
        if not limited and self.ledger is not None:
            self.ignore(self.ledger)
            self.ledger = None
        elif limited and self.ledger is None:
            self.ledger = Ledger(self.databases, self.random)
            self.observe(self.ledger)

    def logs_small_commands(self) -> bool:
        """Whether requests or replies below the usual megabyte are logged as large (Valkey)."""
        numbers = self.config.numbers
        return self.version.is_valkey() and any(
            0 <= numbers[name] < 1 << 20 for name in (LARGE_REQUEST, LARGE_REPLY)
        )

    def logs_fast_commands(self) -> bool:
        """Whether commands of less than a millisecond go to the slow log."""
        return 0 <= self.config.numbers["slowlog-log-slower-than"] < 1000
