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

from redis_emulator.clock import Clock, ManualClock
from redis_emulator.commands import registry
from redis_emulator.glob import glob
from redis_emulator.resp.types import (
    NO_REPLY,
    PENDING,
    QUEUED,
    Push,
    RedisError,
    Reply,
    quote,
)
from redis_emulator.server import Entry, Server
from redis_emulator.session import Blocked, Session
from redis_emulator.version import Version

_UNQUEUED = frozenset({"exec", "discard", "multi", "watch", "quit", "reset"})
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


class Engine:
    """Runs commands for sessions on one `Server`."""

    def __init__(self, *, clock: Clock, version: Version, seed: int | None) -> None:
        self.lock = threading.RLock()
        self.server = server = Server(clock=clock, version=version, seed=seed)
        self._ms = clock.ms
        server.commands = registry.entries(version)
        server.call = self._call
        server.find = self.find
        server.publish = self.publish
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
            if entry is None or entry.careful or session.special or server.special:
                return self._careful(session, argv, now)
            argc = len(argv)
            if argc < entry.min_argc or argc > entry.max_argc:
                return self._reject(entry, _wrong_arity(entry))
            if now >= server.next_deadline:
                server.expire_due(now)
            session.last_command = entry
            session.last_active = now
            entry.calls += 1
            try:
                reply = entry.handler(session, argv)
            except RedisError as error:
                return self._failed(entry, error)
            if server.ready:
                self._serve()
            return reply

    def find(self, argv: list[bytes]) -> Entry:
        """The command or subcommand that ``argv`` names.

        Raises:
            RedisError: There is none, or the number of arguments is wrong.
        """
        commands = self.server.commands
        entry = commands.get(argv[0]) or commands.get(argv[0].lower())
        if entry is None:
            raise RedisError(_unknown_command(argv))
        if entry.subcommands is not None and len(argv) > 1:
            sub = entry.subcommands.get(argv[1]) or entry.subcommands.get(argv[1].lower())
            if sub is not None:
                entry = sub
            elif entry.handler is registry.no_subcommand:
                raise RedisError(_unknown_subcommand(entry, argv))
        if not entry.min_argc <= len(argv) <= entry.max_argc:
            entry.rejected += 1
            raise RedisError(_wrong_arity(entry))
        return entry

    def tick(self) -> None:
        """Let time have its effect: expire keys, time out blocked clients. Called when a clock
        moves.
        """
        server = self.server
        with self.lock:
            server.now = now = self._ms()
            if now >= server.next_deadline:
                server.expire_due(now)
            for blocked in {
                id(b): b for waiting in server.waiting.values() for b in waiting
            }.values():
                if blocked.deadline is not None and blocked.deadline <= now:
                    self.unblock(blocked.session, blocked.on_timeout)
            if server.ready:
                self._serve()

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
            for channels, everybody in (
                (session.channels, server.channels),
                (session.patterns, server.patterns),
                (session.shard_channels, server.shard_channels),
            ):
                for channel in channels:
                    listeners = everybody[channel]
                    listeners.pop(session, None)
                    if not listeners:
                        del everybody[channel]
                channels.clear()
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
            for db in server.databases:
                db.clear()
            server.restart()

    def shutdown(self) -> None:
        """Drop every client and all data."""
        with self.lock:
            for session in tuple(self.server.sessions.values()):
                session.closing = True
                self.disconnect(session)
            self.reset()

    def publish(self, channel: bytes, message: bytes) -> int:
        """Send ``message`` to everybody who listens to ``channel``; returns how many did."""
        server = self.server
        count = 0
        for listener in tuple(server.channels.get(channel, ())):
            listener.deliver(Push((b"message", channel, message)))
            count += 1
        for pattern, listeners in tuple(server.patterns.items()):
            if glob(pattern)(channel):
                for listener in tuple(listeners):
                    listener.deliver(Push((b"pmessage", pattern, channel, message)))
                    count += 1
        return count

    def unblock(self, session: Session, reply: Reply) -> bool:
        """Give a blocked client ``reply`` and let it go on; whether it was blocked."""
        if session.blocked is None:
            return False
        self._forget(session)
        session.deliver(reply)
        self._work_off(session)
        return True

    def _careful(self, session: Session, argv: list[bytes], now: int) -> Reply:
        server = self.server
        session.last_active = now
        if session.blocked is not None:
            session.backlog.append(argv)
            return PENDING
        try:
            entry = self.find(argv)
        except RedisError as error:
            if session.queue is not None:
                session.queue_failed = True
            return error
        session.last_command = entry
        refusal = self._refusal(session, entry)
        if refusal is not None:
            if session.queue is not None:
                session.queue_failed = True
            return self._reject(entry, refusal)
        if session.queue is not None and entry.name not in _UNQUEUED:
            session.queue.append((entry, argv))
            return QUEUED
        if now >= server.next_deadline:
            server.expire_due(now)
        try:
            reply = self._call(session, entry, argv)
        except RedisError as error:
            reply = error
        if type(reply) is Blocked:
            reply = self._block(session, reply)
        if server.ready:
            self._serve()
        return reply

    def _refusal(self, session: Session, entry: Entry) -> str | None:
        if not session.authenticated and "no_auth" not in entry.flags:
            return "NOAUTH Authentication required."
        if session.queue is not None and "no_multi" in entry.flags:
            return "ERR Command not allowed inside a transaction"
        if (
            session.protocol == 2
            and (session.channels or session.patterns or session.shard_channels)
            and entry.name not in _SUBSCRIBER
        ):
            return (
                f"ERR Can't execute '{entry.name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / "
                "QUIT / RESET are allowed in this context"
            )
        return None

    def _call(self, session: Session, entry: Entry, argv: list[bytes]) -> Reply:
        entry.calls += 1
        try:
            return entry.handler(session, argv)
        except RedisError as error:
            self._failed(entry, error)
            raise

    def _failed(self, entry: Entry, error: RedisError) -> RedisError:
        entry.failed += 1
        self._count(error)
        if self.server.ready:
            self._serve()
        return error

    def _reject(self, entry: Entry, text: str) -> RedisError:
        entry.rejected += 1
        error = RedisError(text)
        self._count(error)
        return error

    def _count(self, error: RedisError) -> None:
        errors = self.server.errors
        errors[error.code] = errors.get(error.code, 0) + 1

    def _block(self, session: Session, blocked: Blocked) -> Reply:
        if session.deny_blocking:
            return blocked.on_timeout
        session.blocked = blocked
        for key in blocked.keys:
            self.server.waiting.setdefault((blocked.db.index, key), []).append(blocked)
        session.special = True
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
        server = self.server
        resumed: list[Session] = []
        while server.ready:
            db, key = server.ready.popleft()
            for blocked in tuple(server.waiting.get((db.index, key), ())):
                if blocked.session.blocked is blocked and self._attempt(blocked, key):
                    resumed.append(blocked.session)
        for session in resumed:
            self._work_off(session)

    def _attempt(self, blocked: Blocked, key: bytes) -> bool:
        try:
            reply = blocked.attempt(key)
        except RedisError as error:
            reply = error
        if reply is None:
            return False
        self._forget(blocked.session)
        blocked.session.deliver(reply)
        return True

    def _work_off(self, session: Session) -> None:
        """Run what a client sent while it was blocked."""
        while session.backlog and session.blocked is None:
            reply = self.execute(session, session.backlog.pop(0))
            if reply is not PENDING and reply is not NO_REPLY:
                session.deliver(reply)


def _wrong_arity(entry: Entry) -> str:
    return f"ERR wrong number of arguments for '{entry.name}' command"


def _unknown_command(argv: list[bytes]) -> str:
    name = quote(argv[0][:128])
    quoted = ""
    for argument in argv[1:]:
        if len(quoted) >= 128:
            break
        quoted += f"'{quote(argument[: 128 - len(quoted)])}' "
    return f"ERR unknown command '{name}', with args beginning with: {quoted}"


def _unknown_subcommand(entry: Entry, argv: list[bytes]) -> str:
    return f"ERR unknown subcommand '{quote(argv[1][:128])}'. Try {entry.name.upper()} HELP."
