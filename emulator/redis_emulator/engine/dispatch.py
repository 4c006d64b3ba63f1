"""The engine: which command runs, when, and for whom. The only place with order.

One lock, one command at a time, and never a wait. `Engine.execute` is the way in for every door. A
plain client's command takes the short way: look up, check the argument count, expire what is due,
call. Whatever needs more care (a transaction, a subscriber, a user with limits, an injected fault
…) is flagged on the session, the server or the command, and goes through `_careful`, where the
checks stand in the order in which the real server makes them.

A blocked client is a `Blocked` note under each of its keys. A change of such a key puts the key on
the ready list; when the command that made the change is over, `_serve` lets the waiting clients try
in the order in which they came. A door is told through `Session.deliver`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from functools import partial

from redis_emulator.clients.session import Blocked, Pause, Session
from redis_emulator.clock import Clock, ManualClock
from redis_emulator.commands import registry
from redis_emulator.commands.client import describe
from redis_emulator.commands.function import function_writes, promises_no_writes
from redis_emulator.commands.scripting import MAY_REPLICATE
from redis_emulator.glob import glob
from redis_emulator.keyspace.eviction import OUT_OF_MEMORY
from redis_emulator.resp.encode import encode
from redis_emulator.resp.types import (
    NO_REPLY,
    OK,
    PENDING,
    QUEUED,
    Push,
    RedisError,
    Reply,
    SimpleString,
    quote,
)
from redis_emulator.server.command_log import Log
from redis_emulator.server.faults import Faults
from redis_emulator.server.logs import monitor_line, without_secrets
from redis_emulator.server.server import LARGE, Server
from redis_emulator.table.entry import Entry
from redis_emulator.table.keyspec import keys
from redis_emulator.version import Version

_UNQUEUED = frozenset({"exec", "discard", "multi", "watch", "quit", "reset"})
_NOT_REDIS = frozenset({b"post", b"host:"})
"""What a browser says that was lured here: nothing of its request may run."""
_EXEC_ABORTED = "EXECABORT Transaction discarded because of: "
_NO_LOGIN = "NOAUTH Authentication required."
_WALKS = frozenset({"keys", "randomkey", "scan"})
_ON_KEYS = frozenset({"write", "readonly"})
_LOOK_FIRST = frozenset({"xgroup", "xinfo"})
"""The containers that, before Redis 7, look at the key before they refuse a subcommand."""
_UNSEEN = frozenset({"admin", "skip_monitor"})
_SUBSCRIBER = frozenset(
    {
        "subscribe",
        "unsubscribe",
        "psubscribe",
        "punsubscribe",
        "ssubscribe",
        "sunsubscribe",
        "ping",
        "quit",
        "reset",
    }
)


class _Late(list[bytes]):
    """A command that has been delayed already."""

    __slots__ = ()


class Engine:
    """Runs commands for sessions on one `Server`."""

    def __init__(
        self,
        *,
        clock: Clock,
        version: Version,
        seed: int | None,
        lock: threading.RLock | None = None,
    ) -> None:
        self.lock = threading.RLock() if lock is None else lock
        self.server = server = Server(clock=clock, version=version, seed=seed)
        self._gap = threading.Condition(self.lock)
        self._ms = clock.ms
        self._resumed: list[Session] = []
        self._slept = 0
        self._retries = version.compatible >= (7, 2)
        server.commands = registry.entries(version)
        server.call = self._call
        server.failed = self._failed
        server.find = self.find
        server.publish = self.publish
        server.unblock = self.unblock
        server.disconnect = self.disconnect
        server.pause = self.pause
        server.unpause = self.unpause
        server.sleep = self.sleep
        server.shutdown = self.shutdown
        server.let_others_in = self.let_others_in
        server.access.describe = describe
        server.faults = Faults(self._refresh, version, seed)
        server.script_writes = partial(function_writes, server)
        server.on_restart.append(server.faults.clear)
        if isinstance(clock, ManualClock):
            clock.subscribe(self.tick)

    def execute(self, session: Session, argv: list[bytes]) -> Reply:
        """Run one command for ``session``; errors are returned, not raised.

        Returns:
            The reply, a `RedisError`, `NO_REPLY`, or `PENDING` when the client is blocked now.
        """
        server = self.server
        with self.lock:
            server.now = now = self._ms()
            entry = server.commands.get(argv[0])
            if (
                entry is None
                or entry.needs_full_checks
                or session.needs_full_checks
                or server.needs_full_checks
            ):
                return self._careful(session, argv, now)
            argc = len(argv)
            if argc < entry.min_argc or argc > entry.max_argc:
                session.fail_transaction(argv[0])
                return self._reject(entry, _wrong_arity(entry))
            if now >= server.next_deadline:
                server.expire_due(now)
            session.last_command = entry
            session.last_active = now
            try:
                reply = entry.handler(session, argv)
            except RedisError as error:
                reply = self._failed(entry, error)
            session.commands += 1
            entry.calls += 1
            if server.ready:
                self._serve()
            return reply

    def run(self, session: Session, argv: list[bytes]) -> Reply:
        """Run a command for one of the emulator's own sessions, whatever state the server is in.

        Raises:
            RedisError: The command failed.
        """
        server = self.server
        with self.lock:
            server.now = now = self._ms()
            if now >= server.next_deadline and not server.keeps_due():
                server.expire_due(now)
            if server.cluster is not None:
                server.cluster.enter(session)
            reply = self._call(session, self.find(argv), argv)
            if type(reply) is Blocked:
                reply = reply.on_timeout
            if server.ready or self._resumed:
                self._serve()
            return reply

    def record(self, log: Log | None) -> None:
        """Have every command from now on recorded in ``log``, or none."""
        with self.lock:
            self.server.log = log
            self.server.refresh()

    def _refresh(self) -> None:
        with self.lock:
            self.server.refresh()

    def find(self, argv: list[bytes]) -> Entry:
        """The command or subcommand that ``argv`` names.

        Raises:
            RedisError: There is none, or the number of arguments is wrong.
        """
        commands = self.server.commands
        entry = commands.get(argv[0]) or commands.get(argv[0].lower())
        if entry is None:
            raise RedisError(_unknown_command(argv, self.server.version))
        if entry.subcommands is not None and len(argv) > 1:
            sub = entry.subcommands.get(argv[1]) or entry.subcommands.get(argv[1].lower())
            if sub is None:
                return self._without_subcommand(entry, argv)
            if not sub.min_argc <= len(argv) <= sub.max_argc:
                sub.rejected += 1
                if self.server.version.compatible < (7, 0):
                    return self._without_subcommand(entry, argv)
                raise RedisError(_wrong_arity(sub))
            return sub
        if not entry.min_argc <= len(argv) <= entry.max_argc:
            entry.rejected += 1
            raise RedisError(_wrong_arity(entry))
        return entry

    def _without_subcommand(self, entry: Entry, argv: list[bytes]) -> Entry:
        """What runs when no subcommand of a container fits.

        Raises:
            RedisError: Nothing does.
        """
        if entry.name in _LOOK_FIRST and self.server.version.compatible < (7, 0):
            return entry
        raise RedisError(self._unknown_subcommand(entry, argv))

    def _unknown_subcommand(self, entry: Entry, argv: list[bytes]) -> str:
        word, help_ = quote(argv[1][:128]), entry.name.split("|")[0].upper()
        if self.server.version.compatible < (7, 0):
            if help_ == "CLUSTER" and self.server.cluster is None:
                return "ERR This instance has cluster support disabled"
            wrong = f"ERR Unknown subcommand or wrong number of arguments for '{word}'."
            return f"{wrong} Try {help_} HELP."
        return f"ERR unknown subcommand '{word}'. Try {help_} HELP."

    def tick(self) -> None:
        """Let time have its effect: expire keys, time out blocked clients. Called when a clock
        moves.
        """
        server = self.server
        with self.lock:
            server.now = now = self._ms()
            if now >= server.next_deadline and not server.keeps_due():
                server.expire_due(now)
            late = [
                (blocked.deadline, session.id, blocked)
                for session in server.sessions.values()
                if (blocked := session.blocked) is not None
                and blocked.deadline is not None
                and blocked.deadline <= now
            ]
            for _, _, blocked in sorted(late, key=lambda entry: entry[:2]):
                self.unblock(blocked.session, blocked.on_timeout)
            if server.paused is not None and server.paused.until <= now:
                self.unpause()
            if server.ready or self._resumed:
                self._serve()
            patience = server.config.numbers["timeout"]
            if patience:
                self._hang_up(now - 1000 * patience)

    def _hang_up(self, since: int) -> None:
        """End the clients that have sent nothing since then and wait for nothing."""
        for session in tuple(self.server.sessions.values()):
            if (
                session.last_active < since
                and session.blocked is None
                and session not in self.server.monitors
                and not session.subscribed()
            ):
                session.close()

    def connect(self, session: Session) -> None:
        """A client has come."""
        with self.lock:
            self.server.sessions[session.id] = session
            self.server.connections_received += 1

    def disconnect(self, session: Session) -> None:
        """A client has gone: forget its subscriptions, watches and waiting."""
        server = self.server
        with self.lock:
            if session.blocked is not None:
                self._forget(session)
            session.end_transaction()
            server.stop_listening(session)
            server.modes_off(session)
            server.sessions.pop(session.id, None)

    def reset(self) -> None:
        """Make the server what it was when new; clients stay connected and keep their settings."""
        server = self.server
        with self.lock:
            server.now = self._ms()
            for session in tuple(server.sessions.values()):
                if session.blocked is not None:
                    self.unblock(session, session.blocked.on_timeout)
                session.end_transaction()
            self.unpause()
            for db in server.databases:
                db.clear()
            server.restart()
            self._serve()

    def shutdown(self) -> None:
        """Drop every client and all data; servers that listen for clients stop."""
        with self.lock:
            for stop in tuple(self.server.on_shutdown):
                stop()
            for session in tuple(self.server.sessions.values()):
                session.close()
            self.reset()

    def let_others_in(self, way_out: str) -> None:
        """Open the lock for a moment in the middle of a script that runs for too long.

        Other clients are told that the server is busy; nothing of the server moves on, neither
        time nor those who wait for a key.
        """
        server = self.server
        faults = server.faults
        if "busy" in faults.states:
            return
        now, deadline, ready = server.now, server.next_deadline, server.ready
        server.next_deadline, server.ready = 1 << 62, deque()
        faults.way_out = way_out
        with faults.busy:
            for serve in tuple(server.on_gap):
                serve()
            self._gap.wait(0.001)
        ready.extend(server.ready)
        server.now, server.ready = now, ready
        server.next_deadline = min(deadline, server.next_deadline)

    def publish(self, channel: bytes, message: bytes) -> int:
        """Send ``message`` to everybody who listens to ``channel``; returns how many did."""
        server = self.server
        count = 0
        for listener in tuple(server.channels.get(channel, ())):
            server.push(listener, Push((b"message", channel, message)))
            count += 1
        for pattern, listeners in tuple(server.patterns.items()):
            if glob(pattern)(channel):
                for listener in tuple(listeners):
                    server.push(listener, Push((b"pmessage", pattern, channel, message)))
                    count += 1
        return count

    def unblock(self, session: Session, reply: Reply) -> bool:
        """Give a blocked client ``reply`` and let it go on after the command that is running;
        whether it was blocked.
        """
        blocked = session.blocked
        if blocked is None:
            return False
        self._forget(session)
        if self._retries and blocked.argv and session.last_command is not None:
            session.last_command.calls += 1
        if self.server.log is not None:
            self.server.log.answered(session, reply)
        if reply is not NO_REPLY and session.reply_mode == "on":
            session.deliver(reply)
        late, session.late = session.late, []
        for message in late:
            session.deliver(message)
        self._resumed.append(session)
        return True

    def pause(self, until: int, writes_only: bool) -> None:
        """Keep commands (or those that write) waiting until ``until``, milliseconds since the
        epoch.

        A pause that is on already never gets shorter or weaker by another one.
        """
        paused = self.server.paused
        if paused is None:
            self.server.paused = Pause(until, writes_only)
            self.server.refresh()
        else:
            paused.until = max(paused.until, until)
            paused.writes_only = paused.writes_only and writes_only

    def unpause(self) -> None:
        """End a pause; what came in during it runs now, in the order of its clients."""
        paused, self.server.paused = self.server.paused, None
        self.server.refresh()
        if paused is not None:
            self.server.ready.extend(dict.fromkeys(paused.changes))
        for session in paused.waiting if paused is not None else ():
            blocked = session.blocked
            if blocked is not None:
                self._forget(session)
                if self._retries and blocked.argv and session.last_command is not None:
                    session.last_command.calls += 1
                if blocked.on_timeout is not None:
                    session.deliver(blocked.on_timeout)
                self._work_off(session)

    def sleep(self, session: Session, ms: int) -> Reply:
        """Do nothing for ``ms`` milliseconds, and answer nobody: what a command that sleeps
        returns.

        A clock that stands still is moved; with one that runs by itself everybody waits.
        """
        clock = self.server.clock
        if ms == 0:
            return OK
        if isinstance(clock, ManualClock):
            clock.advance(ms / 1000)
            return OK
        if session.deny_blocking:
            time.sleep(ms / 1000)
            return OK
        self._slept = 1000 * ms
        blocked = Blocked(session, [], None, lambda key: None, OK)
        self.pause(self.server.now + ms, writes_only=False)
        assert self.server.paused is not None
        self.server.paused.waiting.append(session)
        return blocked

    def _careful(self, session: Session, argv: list[bytes], now: int) -> Reply:
        session.last_active = now
        if session.blocked is not None:
            session.backlog.append(argv)
            return PENDING
        server = self.server
        outer, server.current = server.current, session
        run = self._struck if server.faults.planted else self._checked
        try:
            reply = run(session, argv, now)
            if server.tracker is not None:
                server.tracker.after_command(session)
            if server.cluster is not None:
                server.cluster.after(session, argv)
        finally:
            server.current = outer
        if server.log is not None and not (session.backlog and session.backlog[-1] == argv):
            server.log.add(session, argv, reply)
        if session.late:
            reply = self._with_late(session, reply)
        if session.reply_mode == "on" or reply is PENDING:
            return reply
        if session.reply_mode != "off":
            session.reply_mode = "skip" if session.reply_mode == "skip-next" else "on"
            session.refresh()
        return NO_REPLY

    def _with_late(self, session: Session, reply: Reply) -> Reply:
        """Deliver a reply and the messages that come after it."""
        late, session.late = session.late, []
        if reply is not PENDING and reply is not NO_REPLY and session.reply_mode == "on":
            session.deliver(reply)
        for message in late:
            session.deliver(message)
        return PENDING if reply is PENDING else NO_REPLY

    def _struck(self, session: Session, argv: list[bytes], now: int) -> Reply:
        """Run a command while faults are planted."""
        fault = None if type(argv) is _Late else self.server.faults.strike(argv)
        if fault is None:
            return self._checked(session, argv, now)
        if fault.error is not None:
            session.fail_transaction(argv[0])
            error = RedisError(fault.error)
            self.server.count(error)
            return error
        if fault.drop is None:
            session.backlog.append(_Late(argv))
            deadline = now + max(1, round(fault.seconds * 1000))
            session.blocked = Blocked(session, [], deadline, lambda key: None, NO_REPLY)
            session.needs_full_checks = True
            return PENDING
        if fault.drop == "after":
            self._checked(session, argv, now)
        session.close()
        return NO_REPLY

    def _checked(self, session: Session, argv: list[bytes], now: int) -> Reply:
        server = self.server
        try:
            entry = self.find(argv)
        except RedisError as error:
            if argv[0].lower() in _NOT_REDIS and server.version.compatible >= (6, 2):
                session.closing = True
                self.disconnect(session)
                return NO_REPLY
            if session.queue is not None and (late := self._fails_late(argv, error)):
                session.queue.append((late, argv))
                return QUEUED
            session.fail_transaction(argv[0])
            if self._must_log_in(session) and self._login_comes_first(argv):
                error = RedisError(_NO_LOGIN)
            else:
                error = self._forbidden(session, argv) or error
            server.count(error)
            return error
        session.last_command = entry
        refusal = self._refusal(session, entry, argv)
        if refusal is not None:
            session.fail_transaction(argv[0])
            if entry.name == "exec" and type(refusal) is str:
                refusal = f"{_EXEC_ABORTED}{refusal.removeprefix('ERR ')}"
            return self._reject(entry, refusal)
        if server.paused is not None and self._held_up(session, entry, argv, now):
            return PENDING
        if session.queue is not None and entry.name not in _UNQUEUED:
            if not session.queue_failed and not session.dirty:
                session.queue.append((entry, argv))
            return QUEUED
        if now >= server.next_deadline and not server.keeps_due():
            server.expire_due(now)
        try:
            reply = self._call(session, entry, argv)
        except RedisError as error:
            reply = error
        session.commands += 1
        if type(reply) is Blocked:
            reply.argv = argv
            reply = self._block(session, reply)
        elif server.weighs():
            self._weigh(session, entry, argv, reply)
        if server.ready or self._resumed:
            self._serve()
        return reply

    def _fails_late(self, argv: list[bytes], error: RedisError) -> Entry | None:
        """Before Redis 7, MULTI takes a container with whatever word after it; EXEC refuses it."""
        entry = self.server.commands.get(argv[0].lower())
        if (
            entry is None
            or entry.subcommands is None
            or self.server.version.compatible >= (7, 0)
            or not entry.min_argc <= len(argv) <= entry.max_argc
        ):
            return None

        def refuse(*_: object) -> Reply:
            raise error

        return Entry(entry.spec, refuse)

    def _forbidden(self, session: Session, argv: list[bytes]) -> RedisError | None:
        """Before Redis 7, who may not call a container hears of that before a bad subcommand."""
        server = self.server
        entry = server.commands.get(argv[0].lower())
        if session.limited and entry is not None and server.version.compatible < (7, 0):
            takes = entry.min_argc <= len(argv) <= entry.max_argc
            if entry.subcommands is not None and takes:
                refusal = server.access.refuse(session, entry, argv)
                if refusal is not None:
                    return RedisError(refusal)
        return None

    def _login_comes_first(self, argv: list[bytes]) -> bool:
        """Whether a client that is not logged in hears of that before it hears of a bad command."""
        version = self.server.version
        entry = self.server.commands.get(argv[0].lower())
        if entry is not None and "no_auth" in entry.flags:
            return False
        if version.flavour == "valkey":
            return True
        return version.number < (7, 0) and entry is not None and entry.subcommands is not None

    def _refusal(self, session: Session, entry: Entry, argv: list[bytes]) -> str | None:
        server = self.server
        if self._must_log_in(session) and not self._without_login(entry):
            return _NO_LOGIN
        if session.queue is not None and "no_multi" in entry.flags:
            return "ERR Command not allowed inside a transaction"
        if session.limited and (refusal := server.access.refuse(session, entry, argv)):
            return refusal
        if server.cluster is not None and (refusal := server.cluster.refuse(session, entry, argv)):
            return refusal
        if server.faults.states and (refusal := server.faults.refusal(session, entry, argv)):
            return refusal
        if server.ledger is not None and server.ledger.relieve() and _needs_memory(session, entry):
            return OUT_OF_MEMORY
        if (
            session.protocol == 2
            and (session.channels or session.patterns or session.shard_channels)
            and entry.name not in _SUBSCRIBER
        ):
            older = server.version.compatible < (7, 0)
            kinds = "(P)" if older else "(P|S)"
            name = entry.name.split("|")[0] if older else entry.name
            return (
                f"ERR Can't execute '{name}': only {kinds}SUBSCRIBE / {kinds}UNSUBSCRIBE / "
                "PING / QUIT / RESET are allowed in this context"
            )
        if "monitor" in session.modes and entry.flags & _ON_KEYS:
            word = "interact" if server.version.compatible >= (7, 0) else "interract"
            return f"ERR Replica can't {word} with the keyspace"
        return None

    def _must_log_in(self, session: Session) -> bool:
        return not session.authenticated and self.server.needs_password()

    def _without_login(self, entry: Entry) -> bool:
        if entry.name == "reset" and self.server.version.compatible < (7, 0):
            return False
        return "no_auth" in entry.flags

    def _held_up(self, session: Session, entry: Entry, argv: list[bytes], now: int) -> bool:
        """Keep a command for the end of the pause, if it is one that has to wait."""
        paused = self.server.paused
        assert paused is not None
        if paused.until <= now:
            self.unpause()
            return False
        if paused.writes_only and not self._may_change(entry, argv):
            queued = session.queue if entry.name == "exec" and session.queue else ()
            if not any(self._may_change(*each) for each in queued):
                return False
        session.backlog.append(argv)
        session.blocked = Blocked(session, [], None, lambda key: None, None)
        session.needs_full_checks = True
        paused.waiting.append(session)
        return True

    def _may_change(self, entry: Entry, argv: list[bytes]) -> bool:
        if entry.write:
            return True
        return entry.name in MAY_REPLICATE and not promises_no_writes(self.server, entry, argv)

    def _call(self, session: Session, entry: Entry, argv: list[bytes]) -> Reply:
        server = self.server
        if server.now >= server.next_deadline and server.keeps_due():
            hidden = self._meet_due(session, entry, argv)
        else:
            hidden = {}
        if server.faults.states and session.script is not None:
            refusal = server.faults.refusal(session, entry, argv)
            if refusal is not None:
                raise self._reject(entry, refusal)
        if server.monitors and "skip_monitor" in entry.flags and entry.name != "exec":
            self._show(session, argv)
        started = server.clock.us()
        if server.tracker is not None:
            server.tracker.begin(session, entry, argv)
        try:
            return entry.handler(session, argv)
        except RedisError as error:
            self._failed(entry, error)
            raise
        finally:
            entry.calls += 1
            if hidden:
                session.db.show(hidden)
            if server.tracker is not None:
                server.tracker.end(session, entry, argv)
            took, self._slept = server.clock.us() - started + self._slept, 0
            entry.usec += took
            if took >= 1000 or server.slowlog.eager:
                self._note(session, entry, argv, took)
            if server.monitors and not entry.flags & _UNSEEN:
                self._show(session, argv)

    def _show(self, session: Session, argv: list[bytes]) -> None:
        server = self.server
        client = "lua" if session.script is not None else session.addr
        line = monitor_line(
            server.clock.us(), f"{session.db.index} {client}", without_secrets(argv)
        )
        for monitor in tuple(server.monitors):
            if monitor is server.current:
                monitor.late.append(SimpleString(line))
            else:
                monitor.deliver(SimpleString(line))

    def _meet_due(self, session: Session, entry: Entry, argv: list[bytes]) -> dict[bytes, object]:
        """What a command does to keys that are due while none expires by itself: those it
        touches expire, or are out of its sight when writes are paused or a master is to say so.
        EXEC fails by those watched.

        Returns:
            What is hidden from the command, to be shown again afterwards.
        """
        db, now, hides = session.db, self.server.now, self.server.hides_due()
        if entry.name == "exec":
            session.dirty |= any(db.expires.get(key, now + 1) <= now for db, key in session.watched)
            return {}
        if entry.name in _WALKS:
            met = [] if self.server.paused and entry.name == "randomkey" else list(db.expires)
        else:
            met = [argv[key.position] for key in keys(entry.spec, argv)]
        if hides or entry.name == "keys":
            return db.hide([key for key in met if db.expires.get(key, now + 1) <= now])
        for key in met:
            db.expire_due(key, now)
        return {}

    def _note(self, session: Session, entry: Entry, argv: list[bytes], took: int) -> None:
        server = self.server
        numbers = server.config.numbers
        seconds = server.clock.ms() // 1000
        threshold = numbers["slowlog-log-slower-than"]
        if 0 <= threshold <= took and "skip_slowlog" not in entry.flags:
            argv = without_secrets(argv)
            longest = numbers["slowlog-max-len"]
            if longest or not self._retries:
                server.slowlog.add(seconds, took, argv, session.addr, session.name, longest)
        if 0 < numbers["latency-monitor-threshold"] <= took // 1000:
            event = "fast-command" if "fast" in entry.flags else "command"
            server.latency.add(event, seconds, took // 1000)

    def _weigh(self, session: Session, entry: Entry, argv: list[bytes], reply: Reply) -> None:
        """Note a request or a reply that is larger than configured, as it is on the wire."""
        server = self.server
        if "skip_commandlog" in entry.flags or reply is NO_REPLY:
            return
        numbers = server.config.numbers
        shown = without_secrets(argv)
        for log, threshold, longest, content in (
            (server.large_requests, LARGE[0], "commandlog-large-request-max-len", argv),
            (server.large_replies, LARGE[1], "commandlog-large-reply-max-len", reply),
        ):
            size = len(encode(content, session.protocol))
            if 0 <= numbers[threshold] <= size and numbers[longest]:
                log.add(
                    server.clock.ms() // 1000,
                    size,
                    shown,
                    session.addr,
                    session.name,
                    numbers[longest],
                )

    def _failed(self, entry: Entry, error: RedisError) -> RedisError:
        entry.failed += 1
        if not error.counted:
            self.server.count(error)
        return error

    def _reject(self, entry: Entry, text: str) -> RedisError:
        entry.rejected += 1
        error = RedisError(text)
        self.server.count(error)
        return error

    def _block(self, session: Session, blocked: Blocked) -> Reply:
        if session.deny_blocking:
            return blocked.on_timeout
        session.blocked = blocked
        if self._retries and session.last_command is not None:
            session.last_command.calls -= 1
        for key in dict.fromkeys(blocked.keys):
            self.server.waiting.setdefault((blocked.db.index, key), []).append(blocked)
        session.needs_full_checks = True
        self.server.refresh()
        return PENDING

    def _forget(self, session: Session) -> None:
        blocked, session.blocked = session.blocked, None
        assert blocked is not None
        waiting = self.server.waiting
        for key in dict.fromkeys(blocked.keys):
            place = (blocked.db.index, key)
            waiting[place] = [other for other in waiting[place] if other is not blocked]
            if not waiting[place]:
                del waiting[place]
        session.refresh()
        self.server.refresh()

    def _serve(self) -> None:
        """Let blocked clients try what they wait for, then run what they have sent since."""
        server = self.server
        while server.ready:
            db, key = server.ready.popleft()
            for blocked in tuple(server.waiting.get((db.index, key), ())):
                if blocked.session.blocked is blocked and blocked.concerns(db.data.get(key)):
                    self._attempt(blocked, key)
        resumed, self._resumed = self._resumed, []
        for session in resumed:
            self._work_off(session)

    def _no_longer_allowed(self, blocked: Blocked) -> RedisError | None:
        """Since Redis 7.2 a blocked client is asked anew whether it may do what it waits for."""
        session, server = blocked.session, self.server
        entry = session.last_command
        if not session.limited or entry is None or server.version.compatible < (7, 2):
            return None
        refusal = server.access.refuse(session, entry, blocked.argv)
        return None if refusal is None else self._reject(entry, refusal)

    def _attempt(self, blocked: Blocked, key: bytes) -> None:
        server = self.server
        if self._retries and server.paused is not None and self._tries_later(blocked, key):
            return
        outer, server.current = server.current, blocked.session
        try:
            reply = self._no_longer_allowed(blocked) or blocked.attempt(key)
        except RedisError as error:
            entry = blocked.session.last_command
            reply = error if entry is None else self._failed(entry, error)
        finally:
            server.current = outer
        if reply is not None:
            self.unblock(blocked.session, reply)
        elif self._retries:
            self._queue_again(blocked)

    def _tries_later(self, blocked: Blocked, key: bytes) -> bool:
        """Since Redis 7.2 a client that could be served now is kept for the end of a pause."""
        paused, entry = self.server.paused, blocked.session.last_command
        assert paused is not None
        if entry is None or (paused.writes_only and not entry.write):
            return False
        paused.changes.append((blocked.db, key))
        return True

    def _queue_again(self, blocked: Blocked) -> None:
        """A client that tried in vain comes behind all others who wait for its keys."""
        for key in dict.fromkeys(blocked.keys):
            waiting = self.server.waiting[blocked.db.index, key]
            waiting.remove(blocked)
            waiting.append(blocked)

    def _work_off(self, session: Session) -> None:
        """Run what a client sent while it was blocked."""
        while session.backlog and session.blocked is None:
            reply = self.execute(session, session.backlog.pop(0))
            if reply is not PENDING and reply is not NO_REPLY:
                session.deliver(reply)


def _wrong_arity(entry: Entry) -> str:
    text = f"wrong number of arguments for '{entry.name}' command"
    if entry.name == "exec":
        return f"{_EXEC_ABORTED}{text}"
    return f"ERR {text}"


def _needs_memory(session: Session, entry: Entry) -> bool:
    """Whether a command is refused when memory is used up: it may need more, or queues, or runs
    one that may.
    """
    if "denyoom" in entry.flags:
        return True
    if session.queue is None:
        return False
    if entry.name == "exec":
        return any("denyoom" in queued.flags for queued, _ in session.queue)
    return session.server.version.compatible < (7, 2) and entry.name not in _UNQUEUED


def _unknown_command(argv: list[bytes], version: Version) -> str:
    old = version.compatible < (7, 0)
    name = quote(argv[0] if old else argv[0][:128])
    opening, closing = ("`", "`, ") if old else ("'", "' ")
    quoted = ""
    for argument in argv[1:]:
        if len(quoted) >= 128:
            break
        quoted += f"{opening}{quote(argument[: 128 - len(quoted)])}{closing}"
    if old:
        return f"ERR unknown command `{name}`, with args beginning with: {quoted}"
    return f"ERR unknown command '{name}', with args beginning with: {quoted}"
