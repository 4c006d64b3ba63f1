"""The engine: runs the commands of all clients of one server, one at a time, under one lock.

Every transport calls `Engine.execute`. The engine never waits: a command that must wait returns
`PENDING` to the transport. The parts of the engine:

==============  =============================================================  ==============
step            what happens                                                   module
==============  =============================================================  ==============
short path      look up, check arity, expire due keys, call                     here
full checks     injected faults, then all steps below                          here
lookup          command and subcommand by name, unknown commands               ``lookup``
admission       AUTH, MULTI, ACL, cluster, conditions, memory, subscriptions   ``admission``
pause, MULTI    CLIENT PAUSE delays the command, or MULTI queues it            here
call            the command's function, tracking                               here
due keys        expired or hidden on access, while active expiry is off        ``due``
waiting         the client blocks; blocked clients are served                  ``waiting``
transaction     EXEC runs the queue of MULTI                                   ``transaction``
accounting      statistics, slow log, MONITOR                                  ``accounting``
==============  =============================================================  ==============

A command takes the short path if neither the command, nor its client, nor the server needs full
checks: see `Entry.needs_full_checks`, `Client.needs_full_checks`, `Engine.needs_full_checks`. The
short path measures no time and writes no logs. Code that changes a mode of a client or of the
server must call ``refresh`` of the client or the engine.

Messages and replies to blocked clients are sent with `Client.deliver`.
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
from redis_emulator.engine.admission import NOT_QUEUED, Admission
from redis_emulator.engine.due import expire_or_hide_due
from redis_emulator.engine.lookup import Lookup, exec_aborted, failing_entry, wrong_arity
from redis_emulator.engine.ownership import Listener, Ownership
from redis_emulator.engine.transaction import Queue, run_queue
from redis_emulator.engine.waiting import Waiting
from redis_emulator.keyspace.context import NEVER
from redis_emulator.resp.errors import NOAUTH, ROLE_CHANGED
from redis_emulator.resp.types import CLOSED, NO_REPLY, PENDING, QUEUED, RedisError, Reply
from redis_emulator.scripting.functions import function_writes, has_no_writes_flag
from redis_emulator.scripting.scripts import MAY_REPLICATE
from redis_emulator.server.command_log import Log
from redis_emulator.server.conditions import Condition
from redis_emulator.server.server import Server
from redis_emulator.table.entry import Entry
from redis_emulator.version import Version

HTTP_VERBS: Final = frozenset({b"post", b"host:"})
"""HTTP verbs. Like Redis, close the connection (cross-protocol scripting)."""
_INVOKE: Final = methodcaller("__call__")
_YIELD_THREAD: Final = partial(time.sleep, 0.001)


class _Delayed(list[bytes]):
    """The arguments of a command that `Faults.delay` has delayed. They match no fault again."""

    __slots__ = ()


class Engine:
    """Runs commands for the clients of one `Server`.

    Args:
        clock: The source of time.
        version: The release to emulate.
        seed: See `Server`.
        lock: Held while a command runs. The nodes of a cluster share one.
        on_shutdown: Called by SHUTDOWN; `stop` by default.

    Attributes:
        listeners: The TCP servers of this engine.
        cluster: The cluster node of this server; None outside a cluster.
        scripts: The scripts; None until the first one is used.
        needs_full_checks: Whether no command takes the short path.
        lock: Held while a command runs. In a child process entering it raises `ForkedError`.
        ownership: Replaces `lock` in a child process.
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
        self.needs_full_checks = self._logs_fast_commands = self._logs_small_commands = False
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
        """Run one command for ``session``. Errors are returned, not raised.

        Returns:
            The reply, a `RedisError`, `NO_REPLY`, or `PENDING` if the client is now blocked.
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
                return self._accounting.count_rejected(entry, wrong_arity(entry))
            if now >= keyspace.next_deadline:
                keyspace.expire_due(now)
            session.last_command = entry
            session.last_active = now
            try:
                reply = entry.handler(session, argv)
            except RedisError as error:
                reply = self._accounting.count_failed(entry, error)
            session.commands += 1
            entry.calls += 1
            if self._blocked.ready:
                self._waiting.serve()
            return reply

    def run(self, session: Session, argv: list[bytes]) -> Reply:
        """Run a command for one of the emulator's own sessions, without admission checks.

        Raises:
            RedisError: The command failed.
        """
        with self.lock:
            self._start_command()
            if self.cluster is not None:
                self._node().prepare_session(session)
            reply = self.call(session, self.find(argv), argv)
            if type(reply) is Blocked:
                reply = reply.on_timeout
            self._serve()
            return reply

    def find(self, argv: list[bytes]) -> Entry:
        """Look up the command or subcommand of ``argv``.

        Raises:
            RedisError: It does not exist, or the number of arguments is wrong.
        """
        return self._lookup.find(argv, self.cluster is not None)

    def call(self, session: Session, entry: Entry, argv: list[bytes]) -> Reply:
        """Run a command that has passed all checks, and update statistics, tracking and logs.

        Raises:
            RedisError: The command failed; the error is counted.
        """
        server, clients = self.server, self.clients
        hidden: dict[bytes, object] = {}
        if server.keyspace.now >= server.keyspace.next_deadline and self._expires_on_access():
            hidden = expire_or_hide_due(session, entry, argv, hides=self._hides_due_keys())
        if session.is_script and server.conditions.current:
            refusal = self._admission.condition(session, entry, argv)
            if refusal is not None:
                raise self._accounting.count_rejected(entry, refusal)
        if clients.monitors and "skip_monitor" in entry.flags and entry.name != "exec":
            self._accounting.send_to_monitors(session, argv)
        started = server.clock.us()
        if clients.tracker is not None:
            clients.tracker.before_call(session, entry, argv)
        try:
            return entry.handler(session, argv)
        except RedisError as error:
            self._accounting.count_failed(entry, error)
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
            if took >= 1000 or self._logs_fast_commands:
                self._accounting.note_time(session, entry, argv, took)
            if clients.monitors and not entry.flags & NOT_MONITORED:
                self._accounting.send_to_monitors(session, argv)

    def run_transaction(self, session: Session, queue: Queue) -> Reply:
        """Run the queued commands of a transaction."""
        return run_queue(self, session, queue)

    def count_failure(self, entry: Entry, error: RedisError) -> RedisError:
        """Count a failed call in the statistics. Returns the error."""
        return self._accounting.count_failed(entry, error)

    def may_write(self, entry: Entry, argv: list[bytes]) -> bool:
        """Whether the command writes, or runs a script or function whose flags allow writes."""
        return entry.write or function_writes(self, entry, argv)

    def record(self, log: Log | None) -> None:
        """Record all further commands in ``log``; None turns recording off."""
        with self.lock:
            self.server.recorder = log
            self.refresh()

    def refresh(self) -> None:
        """Update `needs_full_checks`."""
        server, clients = self.server, self.clients
        self._logs_fast_commands = server.logs_fast_commands()
        self._logs_small_commands = server.logs_small_commands()
        self.needs_full_checks = bool(
            self.cluster is not None
            or clients.monitors
            or (clients.tracker is not None and clients.tracker.clients)
            or self._expires_on_access()
            or self._logs_fast_commands
            or self._logs_small_commands
            or server.ledger is not None
            or server.recorder is not None
            or server.faults.injected
            or server.conditions.current
        )

    def limit_memory(self) -> None:
        """Apply a changed ``maxmemory``."""
        self.server.limit_memory(self.server.config.numbers["maxmemory"] != 0)
        self.refresh()
        self._admission.evict_keys()

    def tick(self) -> None:
        """Expire keys, time out and serve blocked clients, end a pause that is over, close idle
        clients. Called periodically and when a `ManualClock` moves.
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
                self._close_idle_clients(now - 1000 * timeout)

    def connect(self, session: Session) -> None:
        """Register a client that has connected."""
        with self.lock:
            self.clients.by_id[session.id] = session
            self.server.stats.connections_received += 1

    def disconnect(self, client: Client) -> None:
        """Remove a client. Its transport closes the connection after the reply."""
        if self.ownership.commands_forbidden:
            return
        with self.lock:
            self.clients.remove(client)
            self.refresh()

    def close(self, client: Client) -> None:
        """Disconnect a client at once. Its transport gets `CLOSED`."""
        if not client.closing:
            client.closing = True
            self.disconnect(client)
            client.deliver(CLOSED)

    def close_after_reply(self, client: Client) -> None:
        """Disconnect a client. The client whose command is running gets its reply first."""
        if client is self.clients.current:
            client.closing = True
            self.disconnect(client)
        else:
            self.close(client)

    def disconnect_blocked(self) -> None:
        """Disconnect all blocked clients, because the server has become a replica."""
        for client in tuple(self.clients.by_id.values()):
            if client.blocked is not None and not self._waiting.is_paused(client):
                self.unblock(client, RedisError(ROLE_CHANGED))
                self.close(client)

    def unblock(self, client: Client, reply: Reply) -> bool:
        """Unblock a client with ``reply``. Returns whether it was blocked.

        Its backlog runs after the running command.
        """
        return self._waiting.unblock(client, reply)

    def pause(self, until: int, writes_only: bool) -> None:
        """Pause all commands, or only writes, until ``until`` (milliseconds since the epoch)."""
        self._waiting.pause(until, writes_only)

    def unpause(self) -> None:
        """End the pause and run the paused commands."""
        self._waiting.unpause()

    def sleep(self, session: Session, milliseconds: int) -> Reply:
        """Block the whole server (DEBUG SLEEP). Returns what the command must return."""
        return self._waiting.sleep(session, milliseconds)

    def reset(self) -> None:
        """Reset the server to its initial state. Clients stay connected and keep their settings."""
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
        """SHUTDOWN: call ``on_shutdown``, or `stop` by default."""
        if self._on_shutdown is not None:
            self._on_shutdown()
        else:
            self.stop()

    def stop(self) -> None:
        """Disconnect all clients, delete all data, and stop the TCP servers."""
        if self.ownership.commands_forbidden:
            return
        with self.lock:
            for listener in tuple(self.listeners):
                listener.request_stop()
            for client in tuple(self.clients.by_id.values()):
                self.close(client)
            self.reset()

    def serve_other_clients(self, kill_command: str) -> None:
        """Release the lock for a moment while a slow script runs, so that clients get BUSY errors.

        In the meantime no keys expire and no blocked clients are served.

        Args:
            kill_command: The command that kills the script, for the BUSY error.
        """
        conditions, keyspace = self.server.conditions, self.server.keyspace
        if Condition.BUSY in conditions.current:
            return
        now, deadline, ready = keyspace.now, keyspace.next_deadline, self._blocked.ready
        lock: Any = self.lock
        released: list[Any] = []

        def resume() -> None:
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
            conditions.kill_command = kill_command
            conditions.set(Condition.BUSY, True)
            self.refresh()
            for listener in tuple(self.listeners):
                listener.serve_during_script()
            self.ownership.in_script = True
            # `extend` makes both calls in C, so no signal handler runs between them, and the result
            # of the first call is kept if a handler raises.
            released.extend(map(_INVOKE, (lock._release_save, _YIELD_THREAD)))
        finally:
            try:
                resume()
            except BaseException:  # raised by a signal handler
                resume()
                raise

    def _clock_moved(self) -> None:
        if not self.ownership.commands_forbidden:
            self.tick()

    def _faults_changed(self) -> None:
        with self.lock:
            self.refresh()

    def _node(self) -> Node:
        assert isinstance(self.cluster, Node)
        return self.cluster

    def _start_command(self) -> int:
        """Read the clock and expire due keys, unless active expiry is off."""
        keyspace = self.server.keyspace
        keyspace.now = now = self._ms()
        if now >= keyspace.next_deadline and not self._expires_on_access():
            keyspace.expire_due(now)
        return now

    def _serve(self) -> None:
        if self._blocked.ready or self._waiting.resumed:
            self._waiting.serve()

    def _close_idle_clients(self, since: int) -> None:
        """Disconnect clients that have been idle since ``since`` (``timeout``)."""
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
        run = self._apply_fault if self.server.faults.injected else self._check_and_call
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
            reply = self._deliver_with_pushes(session, reply)
        if session.reply_mode is ReplyMode.ON or reply is PENDING:
            return reply
        if session.reply_mode is not ReplyMode.OFF:
            skips = session.reply_mode is ReplyMode.SKIP_NEXT
            session.reply_mode = ReplyMode.SKIP if skips else ReplyMode.ON
            session.refresh()
        return NO_REPLY

    def _deliver_with_pushes(self, session: Session, reply: Reply) -> Reply:
        """Deliver a reply and the push messages that follow it."""
        pushes, session.pending_pushes = session.pending_pushes, []
        answered = reply is not PENDING and reply is not NO_REPLY
        if answered and session.reply_mode is ReplyMode.ON:
            session.deliver(reply)
        for message in pushes:
            session.deliver(message)
        return PENDING if reply is PENDING else NO_REPLY

    def _apply_fault(self, session: Session, argv: list[bytes], now: int) -> Reply:
        """Run a command, or apply the first injected fault that matches it."""
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
            return self._accounting.count_rejected(entry, refusal)
        if self.clients.pause is not None and self._is_paused(session, entry, argv, now):
            self._waiting.delay_until_unpaused(session, argv)
            return PENDING
        if session.queue is not None and entry.name not in NOT_QUEUED:
            if not session.queue_failed and not session.dirty:
                session.queue.append((entry, argv))
            return QUEUED
        keyspace = self.server.keyspace
        if now >= keyspace.next_deadline and not self._expires_on_access():
            keyspace.expire_due(now)
        try:
            reply = self.call(session, entry, argv)
        except RedisError as error:
            reply = error
        session.commands += 1
        if type(reply) is Blocked:
            reply.argv = argv
            reply = self._waiting.block(session, reply)
        elif self._logs_small_commands:
            self._accounting.note_size(session, entry, argv, reply)
        if self._blocked.ready or self._waiting.resumed:
            self._waiting.serve()
        return reply

    def _not_found(self, session: Session, argv: list[bytes], error: RedisError) -> Reply:
        """The reply for a command that does not exist or has a wrong number of arguments."""
        if argv[0].lower() in HTTP_VERBS and not self.server.version.before(6, 2):
            session.closing = True
            self.disconnect(session)
            return NO_REPLY
        container = self._lookup.container(argv)
        if session.queue is not None and container is not None:
            session.queue.append((failing_entry(container, error), argv))
            return QUEUED
        session.fail_transaction(argv[0])
        if self._admission.needs_authentication(
            session
        ) and self._lookup.checks_authentication_first(argv):
            error = RedisError(NOAUTH)
        elif refusal := self._admission.container_denial(session, container, argv):
            error = RedisError(refusal)
        self.server.stats.count_error(error)
        return error

    def _is_paused(self, session: Session, entry: Entry, argv: list[bytes], now: int) -> bool:
        """Whether CLIENT PAUSE applies to a command. Ends a pause that is over."""
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
        """Whether CLIENT PAUSE WRITE applies to a command."""
        if entry.write:
            return True
        return entry.name in MAY_REPLICATE and not has_no_writes_flag(self, entry, argv)

    def _expires_on_access(self) -> bool:
        """Whether keys expire on access only: DEBUG SET-ACTIVE-EXPIRE 0, CLIENT PAUSE, replica."""
        return not self.server.debug.active_expiry or self._hides_due_keys()

    def _hides_due_keys(self) -> bool:
        """Whether due keys are hidden from commands instead of deleted: CLIENT PAUSE, a replica."""
        return self.clients.pause is not None or self.server.replication.master is not None
