"""The engine: which command runs, when, and for whom. The only place with order.

One lock, one command at a time, and never a wait. `Engine.execute` is the way in for every
transport. A map of the engine:

==============  =============================================================  ==============
step            what happens                                                   module
==============  =============================================================  ==============
short path      look up, count arguments, expire what is due, call             here
full checks     injected faults, then all steps below                          here
lookup          command and subcommand by name, unknown commands               ``lookup``
admission       login, MULTI, ACL, cluster, conditions, memory, subscriptions  ``admission``
pause, MULTI    the command is held, or queued                                 here
call            the command's function, tracking                               here
keys due        expired or hidden while none expires by itself                 ``due``
waiting         the client blocks; blocked clients are served                  ``waiting``
transaction     EXEC runs the queue of MULTI                                   ``transaction``
accounting      statistics, slow log, MONITOR                                  ``accounting``
==============  =============================================================  ==============

A command takes the short path if neither the command, nor its client, nor the server needs full
checks: see `Entry.needs_full_checks`, `Client.needs_full_checks`, `Engine.needs_full_checks`. The
short path measures no time and makes no entries in logs. Whatever turns on a mode of a client or of
the server calls ``refresh`` of the client or the engine.

Replies that come later than the command (of a blocked client, messages) go to `Client.deliver`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from operator import methodcaller
from typing import Any, Final

from redis_emulator.clients.client import Blocked, Client, ReplyMode
from redis_emulator.clients.clients import Clients
from redis_emulator.clients.session import ClusterNode, Scripts, Session
from redis_emulator.clock import Clock, ManualClock
from redis_emulator.cluster.migration import after_command
from redis_emulator.cluster.node import Node
from redis_emulator.commands import registry
from redis_emulator.engine.accounting import NOT_MONITORED, Accounting
from redis_emulator.engine.admission import UNQUEUED, Admission
from redis_emulator.engine.due import meet_due
from redis_emulator.engine.lookup import Lookup, exec_aborted, failing, wrong_arity
from redis_emulator.engine.ownership import Listener, Ownership
from redis_emulator.engine.transaction import Queue, run_queue
from redis_emulator.engine.waiting import Waiting
from redis_emulator.keyspace.context import NEVER
from redis_emulator.resp.errors import NOAUTH, ROLE_CHANGED
from redis_emulator.resp.types import CLOSED, NO_REPLY, PENDING, QUEUED, RedisError, Reply
from redis_emulator.scripting.functions import function_writes, promises_no_writes
from redis_emulator.scripting.scripts import MAY_REPLICATE
from redis_emulator.server.command_log import Log
from redis_emulator.server.conditions import Condition
from redis_emulator.server.server import Server
from redis_emulator.table.entry import Entry
from redis_emulator.version import Version

_HTTP: Final = frozenset({b"post", b"host:"})
"""HTTP verbs. Like Redis, close the connection (cross-protocol scripting)."""
_CALL: Final = methodcaller("__call__")
_NAP: Final = partial(time.sleep, 0.001)


class _Delayed(list[bytes]):
    """A command that a fault has delayed already."""

    __slots__ = ()


class Engine:
    """Runs commands for the clients of one `Server`.

    Args:
        clock: The source of time.
        version: What server to be.
        seed: See `Server`.
        lock: Held while a command runs; the nodes of a cluster share one.
        on_shutdown: What SHUTDOWN does; `stop` by default.

    Attributes:
        listeners: The servers that listen for clients.
        cluster: The node of a cluster that this server is, None outside a cluster.
        scripts: Its scripts, None before the first one is used.
        needs_full_checks: Whether no command takes the short path.
        lock: Held while a command runs. In a child process entering it raises `ForkedError`.
        ownership: Says so.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        version: Version,
        seed: int | None,
        lock: threading.RLock | None = None,
        on_shutdown: Callable[[], None] | None = None,
    ) -> None:
        lock = threading.RLock() if lock is None else lock
        self.lock: AbstractContextManager[object] = lock
        self._ms = clock.ms
        self._commands = registry.entries(version)
        self.server = Server(
            clock=clock,
            version=version,
            seed=seed,
            commands=self._commands,
            changed=self._faults_changed,
        )
        self.clients = Clients(self.server)
        self.cluster: ClusterNode | None = None
        self.scripts: Scripts | None = None
        self.listeners: list[Listener] = []
        self.needs_full_checks = self._logs_fast = self._logs_small = False
        self._on_shutdown = on_shutdown
        self._lookup = Lookup(self._commands, version)
        self._admission = Admission(self)
        self._accounting = Accounting(self.server, self.clients)
        self._waiting = Waiting(self, self._accounting)
        self._blocked = self.clients.blocked
        self.ownership = Ownership(self, lock)
        if isinstance(clock, ManualClock):
            clock.subscribe(self._clock_moved)

    def execute(self, session: Session, argv: list[bytes]) -> Reply:
        """Run one command for ``session``; errors are returned, not raised.

        Returns:
            The reply, a `RedisError`, `NO_REPLY`, or `PENDING` when the client is blocked now.
        """
        with self.lock:
            keyspace = self.server.keyspace
            keyspace.now = now = self._ms()
            entry = self._commands.get(argv[0])
            if (
                entry is None
                or entry.needs_full_checks
                or session.needs_full_checks
                or self.needs_full_checks
            ):
                return self._with_full_checks(session, argv, now)
            argc = len(argv)
            if argc < entry.min_argc or argc > entry.max_argc:
                session.fail_transaction(argv[0])
                return self._accounting.rejected(entry, wrong_arity(entry))
            if now >= keyspace.next_deadline:
                keyspace.expire_due(now)
            session.last_command = entry
            session.last_active = now
            try:
                reply = entry.handler(session, argv)
            except RedisError as error:
                reply = self._accounting.failed(entry, error)
            session.commands += 1
            entry.calls += 1
            if self._blocked.ready:
                self._waiting.serve()
            return reply

    def run(self, session: Session, argv: list[bytes]) -> Reply:
        """Run a command for one of the emulator's own sessions, whatever the server's conditions.

        Raises:
            RedisError: The command failed.
        """
        with self.lock:
            self._start_command()
            if self.cluster is not None:
                self._node().enter(session)
            reply = self.call(session, self.find(argv), argv)
            if type(reply) is Blocked:
                reply = reply.on_timeout
            self._serve()
            return reply

    def find(self, argv: list[bytes]) -> Entry:
        """The command or subcommand that ``argv`` names.

        Raises:
            RedisError: There is none, or the number of arguments is wrong.
        """
        return self._lookup.find(argv, self.cluster is not None)

    def call(self, session: Session, entry: Entry, argv: list[bytes]) -> Reply:
        """Run a command that may run now, and note what it did.

        Raises:
            RedisError: The command failed; the error is counted.
        """
        server, clients = self.server, self.clients
        hidden: dict[bytes, object] = {}
        if server.keyspace.now >= server.keyspace.next_deadline and self._keeps_due():
            hidden = meet_due(session, entry, argv, hides=self._hides_due())
        if session.is_script and server.conditions.current:
            refusal = self._admission.condition(session, entry, argv)
            if refusal is not None:
                raise self._accounting.rejected(entry, refusal)
        if clients.monitors and "skip_monitor" in entry.flags and entry.name != "exec":
            self._accounting.show(session, argv)
        started = server.clock.us()
        if clients.tracker is not None:
            clients.tracker.before_call(session, entry, argv)
        try:
            return entry.handler(session, argv)
        except RedisError as error:
            self._accounting.failed(entry, error)
            raise
        finally:
            entry.calls += 1
            if hidden:
                session.db.show(hidden)
            if clients.tracker is not None:
                clients.tracker.after_call(session, entry, argv)
            waiting = self._waiting
            took, waiting.slept = server.clock.us() - started + waiting.slept, 0
            entry.usec += took
            if took >= 1000 or self._logs_fast:
                self._accounting.note_time(session, entry, argv, took)
            if clients.monitors and not entry.flags & NOT_MONITORED:
                self._accounting.show(session, argv)

    def run_transaction(self, session: Session, queue: Queue) -> Reply:
        """Run the commands that MULTI has queued."""
        return run_queue(self, session, queue)

    def count_failure(self, entry: Entry, error: RedisError) -> RedisError:
        """Count an error of a command that ran; returns the error."""
        return self._accounting.failed(entry, error)

    def may_write(self, entry: Entry, argv: list[bytes]) -> bool:
        """Whether the command writes, or runs a script or function that says that it may."""
        return entry.write or function_writes(self, entry, argv)

    def record(self, log: Log | None) -> None:
        """Record every command from now on in ``log``, or none."""
        with self.lock:
            self.server.recorder = log
            self.refresh()

    def refresh(self) -> None:
        """Decide anew whether commands need full checks."""
        server, clients = self.server, self.clients
        self._logs_fast = server.logs_fast_commands()
        self._logs_small = server.logs_small_commands()
        self.needs_full_checks = bool(
            self.cluster is not None
            or clients.monitors
            or (clients.tracker is not None and clients.tracker.clients)
            or self._keeps_due()
            or self._logs_fast
            or self._logs_small
            or server.ledger is not None
            or server.recorder is not None
            or server.faults.planted
            or server.conditions.current
        )

    def limit_memory(self) -> None:
        """Have ``maxmemory`` take effect after it was set."""
        self.server.limit_memory(self.server.config.numbers["maxmemory"] != 0)
        self.refresh()
        self._admission.make_room()

    def tick(self) -> None:
        """Let time have its effect: expire keys, time out blocked clients. Called when a clock
        moves.
        """
        with self.lock:
            now = self._start_command()
            self._waiting.time_out(now)
            pause = self.clients.pause
            if pause is not None and pause.until <= now:
                self.unpause()
            self._serve()
            timeout = self.server.config.numbers["timeout"]
            if timeout:
                self._close_idle(now - 1000 * timeout)

    def connect(self, session: Session) -> None:
        """A client has connected."""
        with self.lock:
            self.clients.by_id[session.id] = session
            self.server.stats.connections_received += 1

    def disconnect(self, client: Client) -> None:
        """Forget a client; its connection is closed after the reply."""
        if self.ownership.is_foreign:
            return
        with self.lock:
            self.clients.remove(client)
            self.refresh()

    def close(self, client: Client) -> None:
        """Disconnect a client from the server's side; its transport is told by `CLOSED`."""
        if not client.closing:
            client.closing = True
            self.disconnect(client)
            client.deliver(CLOSED)

    def close_after_reply(self, client: Client) -> None:
        """Disconnect a client; the one that is being served gets its reply first."""
        if client is self.clients.current:
            client.closing = True
            self.disconnect(client)
        else:
            self.close(client)

    def disconnect_blocked(self) -> None:
        """The server is a replica now: disconnect the clients that wait for changes of keys."""
        for client in tuple(self.clients.by_id.values()):
            if client.blocked is not None and not self._waiting.is_held(client):
                self.unblock(client, RedisError(ROLE_CHANGED))
                self.close(client)

    def unblock(self, client: Client, reply: Reply) -> bool:
        """Give a blocked client ``reply`` and let it go on after the command that is running;
        whether it was blocked.
        """
        return self._waiting.unblock(client, reply)

    def pause(self, until: int, writes_only: bool) -> None:
        """Hold commands, or those that write, until ``until``, milliseconds since the epoch."""
        self._waiting.pause(until, writes_only)

    def unpause(self) -> None:
        """End a pause; what came in during it runs now."""
        self._waiting.unpause()

    def sleep(self, session: Session, milliseconds: int) -> Reply:
        """Do nothing for a while, and serve nobody: what a command that sleeps returns."""
        return self._waiting.sleep(session, milliseconds)

    def reset(self) -> None:
        """Make the server what it was when new; clients stay connected and keep their settings."""
        with self.lock:
            self.server.keyspace.now = self._ms()
            for client in tuple(self.clients.by_id.values()):
                if client.blocked is not None:
                    self.unblock(client, client.blocked.on_timeout)
                self.clients.end_transaction(client)
            self.unpause()
            self.server.reset()
            self.clients.reset()
            if self.scripts is not None:
                self.scripts.reset()
            if self.cluster is not None:
                self.cluster.reset()
            self.refresh()
            self._waiting.serve()

    def shutdown(self) -> None:
        """SHUTDOWN: what the owner of the engine wants to happen, or `stop`."""
        if self._on_shutdown is not None:
            self._on_shutdown()
        else:
            self.stop()

    def stop(self) -> None:
        """Drop every client and all data; servers that listen for clients stop."""
        if self.ownership.is_foreign:
            return
        with self.lock:
            for listener in tuple(self.listeners):
                listener.request_stop()
            for client in tuple(self.clients.by_id.values()):
                self.close(client)
            self.reset()

    def serve_other_clients(self, way_out: str) -> None:
        """Release the lock for a moment in the middle of a script that runs for too long.

        Other clients are told that the server is busy; nothing of the server moves on, neither
        time nor clients that wait for a key.

        Args:
            way_out: The command that ends the script.
        """
        conditions, keyspace = self.server.conditions, self.server.keyspace
        if Condition.BUSY in conditions.current:
            return
        now, deadline, ready = keyspace.now, keyspace.next_deadline, self._blocked.ready
        lock: Any = self.lock
        released: list[Any] = []

        def go_on() -> None:
            if not lock._is_owned():
                lock._acquire_restore(released[0])
            self.ownership.in_script = False
            self.server.conditions.set(Condition.BUSY, False)
            self.refresh()
            nearest = min(deadline, keyspace.next_deadline)
            if self._blocked.ready is not ready:
                changed, self._blocked.ready = self._blocked.ready, ready
                ready.extend(changed)
            keyspace.now, keyspace.next_deadline = now, nearest

        try:
            keyspace.next_deadline, self._blocked.ready = NEVER, deque()
            conditions.way_out = way_out
            conditions.set(Condition.BUSY, True)
            self.refresh()
            for listener in tuple(self.listeners):
                listener.serve_during_script()
            self.ownership.in_script = True
            # No signal is handled between the two calls, and what the first returns is kept when a
            # handler ends the second.
            released.extend(map(_CALL, (lock._release_save, _NAP)))
        finally:
            try:
                go_on()
            except BaseException:  # of a signal handler
                go_on()
                raise

    def _clock_moved(self) -> None:
        if not self.ownership.is_foreign:
            self.tick()

    def _faults_changed(self) -> None:
        with self.lock:
            self.refresh()

    def _node(self) -> Node:
        assert isinstance(self.cluster, Node)
        return self.cluster

    def _start_command(self) -> int:
        """Read the clock, and let expire what is due, unless it stays until a command meets it."""
        keyspace = self.server.keyspace
        keyspace.now = now = self._ms()
        if now >= keyspace.next_deadline and not self._keeps_due():
            keyspace.expire_due(now)
        return now

    def _serve(self) -> None:
        if self._blocked.ready or self._waiting.resumed:
            self._waiting.serve()

    def _close_idle(self, since: int) -> None:
        """Disconnect the clients that have sent nothing since then and wait for nothing."""
        for client in tuple(self.clients.by_id.values()):
            if (
                client.last_active < since
                and client.blocked is None
                and not client.monitoring
                and not client.subscribed()
            ):
                self.close(client)

    def _with_full_checks(self, session: Session, argv: list[bytes], now: int) -> Reply:
        session.last_active = now
        if session.blocked is not None:
            session.backlog.append(argv)
            return PENDING
        clients = self.clients
        outer, clients.current = clients.current, session
        run = self._apply_fault if self.server.faults.planted else self._check_and_call
        try:
            reply = run(session, argv, now)
            if clients.tracker is not None:
                clients.tracker.after_command(session)
            if self.cluster is not None:
                after_command(self._node(), session, argv)
        finally:
            clients.current = outer
        recorder = self.server.recorder
        if recorder is not None and not (session.backlog and session.backlog[-1] == argv):
            at = self.server.keyspace.now / 1000
            recorder.add(at, session.id, session.name, session.db.index, argv, reply)
        if session.pending_pushes:
            reply = self._with_late(session, reply)
        if session.reply_mode is ReplyMode.ON or reply is PENDING:
            return reply
        if session.reply_mode is not ReplyMode.OFF:
            skips = session.reply_mode is ReplyMode.SKIP_NEXT
            session.reply_mode = ReplyMode.SKIP if skips else ReplyMode.ON
            session.refresh()
        return NO_REPLY

    def _with_late(self, session: Session, reply: Reply) -> Reply:
        """Deliver a reply and the messages that come after it."""
        late, session.pending_pushes = session.pending_pushes, []
        answered = reply is not PENDING and reply is not NO_REPLY
        if answered and session.reply_mode is ReplyMode.ON:
            session.deliver(reply)
        for message in late:
            session.deliver(message)
        return PENDING if reply is PENDING else NO_REPLY

    def _apply_fault(self, session: Session, argv: list[bytes], now: int) -> Reply:
        """Run a command while faults are injected."""
        fault = None if type(argv) is _Delayed else self.server.faults.match(argv)
        if fault is None:
            return self._check_and_call(session, argv, now)
        if fault.error is not None:
            session.fail_transaction(argv[0])
            error = RedisError(fault.error)
            self.server.stats.count_error(error)
            return error
        if fault.drop is None:
            milliseconds = max(1, round(fault.seconds * 1000))
            self._waiting.delay(session, _Delayed(argv), now + milliseconds)
            return PENDING
        if fault.drop == "after":
            self._check_and_call(session, argv, now)
        session.close()
        return NO_REPLY

    def _check_and_call(self, session: Session, argv: list[bytes], now: int) -> Reply:
        try:
            entry = self._lookup.find(argv, self.cluster is not None)
        except RedisError as error:
            return self._not_found(session, argv, error)
        session.last_command = entry
        refusal = self._admission.refusal(session, entry, argv)
        if refusal is not None:
            session.fail_transaction(argv[0])
            if entry.name == "exec" and type(refusal) is str:
                refusal = exec_aborted(refusal)
            return self._accounting.rejected(entry, refusal)
        if self.clients.pause is not None and self._is_paused(session, entry, argv, now):
            self._waiting.hold(session, argv)
            return PENDING
        if session.queue is not None and entry.name not in UNQUEUED:
            if not session.queue_failed and not session.dirty:
                session.queue.append((entry, argv))
            return QUEUED
        keyspace = self.server.keyspace
        if now >= keyspace.next_deadline and not self._keeps_due():
            keyspace.expire_due(now)
        try:
            reply = self.call(session, entry, argv)
        except RedisError as error:
            reply = error
        session.commands += 1
        if type(reply) is Blocked:
            reply.argv = argv
            reply = self._waiting.block(session, reply)
        elif self._logs_small:
            self._accounting.note_size(session, entry, argv, reply)
        if self._blocked.ready or self._waiting.resumed:
            self._waiting.serve()
        return reply

    def _not_found(self, session: Session, argv: list[bytes], error: RedisError) -> Reply:
        """What a client gets for a command that does not exist or has too few arguments."""
        if argv[0].lower() in _HTTP and not self.server.version.before(6, 2):
            session.closing = True
            self.disconnect(session)
            return NO_REPLY
        container = self._lookup.container(argv)
        if session.queue is not None and container is not None:
            session.queue.append((failing(container, error), argv))
            return QUEUED
        session.fail_transaction(argv[0])
        if self._admission.must_log_in(session) and self._lookup.login_comes_first(argv):
            error = RedisError(NOAUTH)
        elif refusal := self._admission.refused_container(session, container, argv):
            error = RedisError(refusal)
        self.server.stats.count_error(error)
        return error

    def _is_paused(self, session: Session, entry: Entry, argv: list[bytes], now: int) -> bool:
        """Whether a command has to wait for the end of the pause; ends a pause that is over."""
        pause = self.clients.pause
        assert pause is not None
        if pause.until <= now:
            self.unpause()
            return False
        if not pause.writes_only or self._may_change(entry, argv):
            return True
        queued = session.queue if entry.name == "exec" and session.queue else ()
        return any(self._may_change(*each) for each in queued)

    def _may_change(self, entry: Entry, argv: list[bytes]) -> bool:
        """Whether a pause of writes holds a command."""
        if entry.write:
            return True
        return entry.name in MAY_REPLICATE and not promises_no_writes(self, entry, argv)

    def _keeps_due(self) -> bool:
        """Whether keys that are due stay until a command meets them: DEBUG SET-ACTIVE-EXPIRE 0, a
        pause, or a master that has not deleted them.
        """
        return not self.server.debug.active_expiry or self._hides_due()

    def _hides_due(self) -> bool:
        """Whether commands leave keys that are due as they are, and only do not see them."""
        return self.clients.pause is not None or self.server.replication.master is not None
