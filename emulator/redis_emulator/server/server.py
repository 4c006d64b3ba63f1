"""What is true for the whole emulator: databases, clock, random, configuration, statistics,
commands.

One `Server` is one Redis. It holds state; deciding what happens in which order is the engine's
business, and the hooks at the end are how state and commands reach the engine without importing it.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redis_emulator.clients.access import Access
from redis_emulator.clock import Clock
from redis_emulator.keyspace.database import KEYEVENT, KEYSPACE, Database, Deadlines
from redis_emulator.keyspace.snapshots import Journal
from redis_emulator.resp.types import Push, RedisError, Reply, quote
from redis_emulator.server.config import Config
from redis_emulator.server.logs import Latency, SlowLog
from redis_emulator.server.replication import Replication
from redis_emulator.table.entry import Entry
from redis_emulator.version import Version

if TYPE_CHECKING:
    from redis_emulator.clients.session import Blocked, Pause, Session
    from redis_emulator.clients.tracking import Tracker
    from redis_emulator.cluster.node import Node
    from redis_emulator.keyspace.eviction import Ledger
    from redis_emulator.server.command_log import Log
    from redis_emulator.server.faults import Faults

_NO_MASTER_ANY_MORE = (
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
)
LARGE = ("commandlog-request-larger-than", "commandlog-reply-larger-than")
"""The parameters that say from which size on Valkey notes requests and replies."""

_ERROR_CODES_MAX = 128
_OTHER_ERRORS = "ERRORSTATS_OVERFLOW"
_NO_ERRORS = "ERRORSTATS_DISABLED"


class Server:
    """State of one emulated Redis.

    Args:
        clock: The source of time.
        version: What server to be, see `Version`.
        seed: Seeds the random source of RANDOMKEY, SPOP and all others; None for an unpredictable
            one.
    """

    def __init__(self, *, clock: Clock, version: Version, seed: int | None) -> None:
        self.clock = clock
        self.version = version
        self.seed = seed
        self.random = random.Random(seed)
        self.config = Config(version)
        self.run_id = b"%040x" % self.random.getrandbits(160)
        self.replication = Replication(self.run_id[::-1].decode(), self.random)
        self.commands: dict[bytes, Entry] = {}
        self.started_at = clock.ms()
        self.now = self.started_at
        self.deadlines = Deadlines()
        self.next_deadline = 1 << 62
        self.databases = [
            Database(self, index) for index in range(self.config.integer("databases"))
        ]
        self.journal = Journal(self)
        self.sessions: dict[int, Session] = {}
        self.waiting: dict[tuple[int, bytes], list[Blocked]] = {}
        self.ready: deque[tuple[Database, bytes]] = deque()
        self.channels: dict[bytes, dict[Session, None]] = {}
        self.patterns: dict[bytes, dict[Session, None]] = {}
        self.shard_channels: dict[bytes, dict[Session, None]] = {}
        self.modes: dict[str, object] = {}
        self.monitors: dict[Session, None] = {}
        self.paused: Pause | None = None
        self.current: Session | None = None
        self.access = Access(self)
        self.tracker: Tracker | None = None
        self.ledger: Ledger | None = None
        self.cluster: Node | None = None
        self.faults: Faults
        self.log: Log | None = None
        self.slowlog = SlowLog()
        self.large_requests = SlowLog()
        self.large_replies = SlowLog()
        self.latency = Latency()
        self.last_client_id = 0
        self.active_expiry = True
        self.packed_threshold = 0
        self.notify = 0
        self.observed = False
        self.needs_full_checks = False
        self.reset_statistics()
        self.dirty = 0
        self.saved_at = self.started_at
        self.saves = 0
        self.peak_memory = 0
        self.scripting: Any = None
        self.call: Callable[[Session, Entry, list[bytes]], Reply] = _unbound
        self.failed: Callable[[Entry, RedisError], RedisError] = _unbound
        self.find: Callable[[list[bytes]], Entry] = _unbound
        self.publish: Callable[[bytes, bytes], int] = _unbound
        self.unblock: Callable[[Session, Reply], bool] = _unbound
        self.disconnect: Callable[[Session], None] = _unbound
        self.pause: Callable[[int, bool], None] = _unbound
        self.sleep: Callable[[Session, int], Reply] = _unbound
        self.unpause: Callable[[], None] = _unbound
        self.shutdown: Callable[[], None] = _unbound
        self.let_others_in: Callable[[str], None] = _unbound
        self.script_writes: Callable[[Entry, list[bytes]], bool] = _unbound
        self.on_restart: list[Callable[[], None]] = []
        self.on_shutdown: list[Callable[[], None]] = []
        self.on_gap: list[Callable[[], None]] = []
        self.on_touch: list[Callable[[Database, bytes], None]] = []

    def restart(self) -> None:
        """Forget configuration changes, scripts and statistics; the databases are the engine's
        to clear.
        """
        self.config = Config(self.version)
        self.random.seed(self.seed)
        self.run_id = b"%040x" % self.random.getrandbits(160)
        self.replication = Replication(self.run_id[::-1].decode(), self.random)
        self.modes.clear()
        self.access.restart()
        self.ledger = None
        self.on_touch.clear()
        self.deadlines = Deadlines()
        self.next_deadline = 1 << 62
        self.notify = 0
        self.active_expiry = True
        self.packed_threshold = 0
        self.dirty = 0
        self.slowlog = SlowLog()
        self.large_requests = SlowLog()
        self.large_replies = SlowLog()
        self.latency = Latency()
        for forget in self.on_restart:
            forget()
        self.reset_statistics()
        self.refresh()

    def reset_statistics(self) -> None:
        """Start counting anew, as CONFIG RESETSTAT does."""
        self.hits = 0
        self.misses = 0
        self.expired = 0
        self.expired_fields = 0
        self.evicted = 0
        self.connections_received = 0
        self.commands_processed = 0
        self.errors: dict[str, int] = {}
        self.counters: Counter[str] = Counter()
        for entry in self.commands.values():
            for each in (entry, *(entry.subcommands or {}).values()):
                each.reset_statistics()

    def count(self, error: RedisError) -> None:
        """Have INFO errorstats know of an error that somebody is told."""
        self.counters["total_error_replies"] += 1
        code = error.code
        if code not in self.errors and len(self.errors) >= _ERROR_CODES_MAX:
            if self.version.flavour == "valkey":
                code = code if code == "ERR" else _OTHER_ERRORS
            elif self.version.number >= (7, 2):
                self.errors = {_NO_ERRORS: 1}
        if _NO_ERRORS not in self.errors:
            self.errors[code] = self.errors.get(code, 0) + 1

    def keeps_due(self) -> bool:
        """Whether what is due stays until a command meets it: DEBUG SET-ACTIVE-EXPIRE 0, a pause,
        or a master that has not said so.
        """
        return not self.active_expiry or self.hides_due()

    def follows(self) -> bool:
        """Whether it is a replica, of a cluster's master or of a server it was told to follow."""
        return (self.replication if self.cluster is None else self.cluster).master is not None

    def hides_due(self) -> bool:
        """Whether commands leave what is due as it is, and only do not see it."""
        return self.paused is not None or self.replication.master is not None

    def send_waiting_away(self) -> None:
        """Hang up on the clients that wait, as what they wait for is up to a master now."""
        for session in tuple(self.sessions.values()):
            held_up = self.paused is not None and session in self.paused.waiting
            if session.blocked is not None and not held_up:
                self.unblock(session, RedisError(_NO_MASTER_ANY_MORE))
                session.close()

    def next_client_id(self) -> int:
        """A number no client had before."""
        self.last_client_id += 1
        return self.last_client_id

    def needs_password(self) -> bool:
        """Whether a new client must authenticate first."""
        return self.access.needs_password()

    def accepts(self, user: bytes, password: bytes) -> bool:
        """Whether ``password`` is right for ``user``."""
        found = self.access.users.get(quote(user))
        return found is not None and found.accepts(password)

    def has_user(self, user: bytes) -> bool:
        """Whether there is a user of this name."""
        return quote(user) in self.access.users

    def wrong_words(self, argv: list[bytes]) -> RedisError:
        """The error for a subcommand that is unknown or has a wrong number of arguments."""
        unknown = "unknown" if self.version.compatible >= (7, 0) else "Unknown"
        return RedisError(
            f"ERR {unknown} subcommand or wrong number of arguments for '{quote(argv[1][:128])}'. "
            f"Try {quote(argv[0]).upper()} HELP."
        )

    def stop_listening(self, session: Session) -> None:
        """End all subscriptions of a client without telling it."""
        for channels, everybody in (
            (session.channels, self.channels),
            (session.patterns, self.patterns),
            (session.shard_channels, self.shard_channels),
        ):
            for channel in channels:
                del everybody[channel][session]
                if not everybody[channel]:
                    del everybody[channel]
            channels.clear()

    def modes_off(self, session: Session) -> None:
        """Take a client out of every mode the server keeps a list of."""
        if self.tracker is not None:
            self.tracker.leave(session)
        session.modes.clear()
        self.monitors.pop(session, None)
        self.refresh()

    def schedule(self, at: int, index: int, key: bytes) -> None:
        """Look at ``key`` of database ``index`` for expiry at ``at``."""
        deadlines = self.deadlines
        deadlines.add(at, index, key)
        if at < self.next_deadline:
            self.next_deadline = at
        if len(deadlines.heap) > 256:
            live = sum(len(db.expires) + len(db.hash_deadlines) for db in self.databases)
            if len(deadlines.heap) > 2 * live + 256:
                deadlines.sweep(self.databases)

    def expire_due(self, now: int) -> None:
        """Remove every key and hash field whose time has come."""
        for _, index, key in self.deadlines.due(now):
            self.databases[index].expire_due(key, now)
        heap = self.deadlines.heap
        self.next_deadline = heap[0][0] if heap else 1 << 62

    def refresh(self) -> None:
        """Decide anew whether changes must be reported and commands need the careful path."""
        self.observed = bool(
            self.notify
            or self.waiting
            or self.on_touch
            or "tracking" in self.modes
            or any(db.watchers for db in self.databases)
        )
        self.needs_full_checks = bool(
            self.modes
            or self.monitors
            or self.keeps_due()
            or self.slowlog.eager
            or self.weighs()
            or self.ledger
            or self.cluster is not None
            or self.log is not None
            or self.faults.active
        )

    def weighs(self) -> bool:
        """Whether requests or replies below the usual megabyte are to be noted as large."""
        numbers, valkey = self.config.numbers, self.version.flavour == "valkey"
        return valkey and any(0 <= numbers[name] < 1 << 20 for name in LARGE)

    def key_touched(self, db: Database, key: bytes) -> None:
        """A key changed while somebody observes."""
        for told in self.on_touch:
            told(db, key)
        if self.tracker is not None:
            self.tracker.invalidate(db, key)

    def key_came(self, db: Database, key: bytes, value: object) -> None:
        """A key came into being, or a stream has news: wake those who wait for such a value."""
        for blocked in self.waiting.get((db.index, key), ()):
            if blocked.concerns(value):
                self.ready.append((db, key))
                return

    def key_went(self, db: Database, key: bytes) -> None:
        """A stream is deleted or overwritten: wake those who cannot go on without it."""
        for blocked in self.waiting.get((db.index, key), ()):
            if blocked.without_key:
                self.ready.append((db, key))
                return

    def publish_event(self, index: int, key: bytes, event: bytes) -> None:
        """Send a keyspace event to its two channels, where configured."""
        if self.notify & KEYSPACE:
            self.publish(b"__keyspace@%d__:%b" % (index, key), event)
        if self.notify & KEYEVENT:
            self.publish(b"__keyevent@%d__:%b" % (index, event), key)

    def push(self, session: Session, message: Push, *, after_reply: bool | None = None) -> None:
        """Hand an out-of-band message to a client.

        Args:
            session: Who gets it.
            message: What it is.
            after_reply: Whether it comes after the reply when the client is being served; left
                out, as servers of this version do it.
        """
        if after_reply is None:
            after_reply = self.version.compatible >= (7, 2)
        if after_reply and session is self.current:
            session.late.append(message)
        else:
            session.deliver(message)


def _unbound(*_: object) -> Any:
    raise RuntimeError("the server has no engine yet")
