"""Clients that wait: blocking and serving them, CLIENT PAUSE, commands that sleep.

A blocking command returns a `Blocked`. `Waiting.block` registers it; a change of one of its keys
puts the key on `BlockedClients.ready`; when the command that made the change is over,
`Waiting.serve` lets the clients try in the order in which they blocked, and `unblock` gives one of
them its reply. What a client sends while it is blocked, or held by a pause, is kept in
`Client.backlog` and run by `run_backlog` afterwards.

A new kind of waiting needs a `Blocked` with an ``attempt``, and an event that makes a key ready
(`BlockedClients.created` and the other observer methods).
"""

from __future__ import annotations

import time

from redis_emulator.clients.blocking import Pause
from redis_emulator.clients.client import Blocked, Client, ReplyMode
from redis_emulator.clients.session import Engine, Session
from redis_emulator.clock import ManualClock, SystemClock, real_seconds
from redis_emulator.engine.accounting import Accounting
from redis_emulator.resp.types import NO_REPLY, OK, PENDING, RedisError, Reply


class Waiting:
    """Lets the clients of one server wait.

    Attributes:
        resumed: Clients that were unblocked and whose backlog is to be run.
        slept: Microseconds that the running command has slept.
    """

    def __init__(self, engine: Engine, accounting: Accounting) -> None:
        self._engine = engine
        self._server = engine.server
        self._clients = engine.clients
        self._accounting = accounting
        self._blocked = engine.clients.blocked
        self._retries = engine.server.version.retries_blocked
        self.resumed: list[Client] = []
        self.slept = 0

    def block(self, session: Session, blocked: Blocked) -> Reply:
        """Block a client; where it must not block, the reply is that of a timeout."""
        if not session.can_block:
            return blocked.on_timeout
        session.blocked = blocked
        if self._retries and session.last_command is not None:
            session.last_command.calls -= 1
        self._blocked.add(blocked)
        session.needs_full_checks = True
        return PENDING

    def unblock(self, client: Client, reply: Reply) -> bool:
        """Give a blocked client ``reply`` and let it go on after the command that is running;
        whether it was blocked.
        """
        blocked = client.blocked
        if blocked is None:
            return False
        try:
            self._blocked.remove(client)
        finally:  # an interrupt of this thread (Ctrl-C) must not cost another client its reply
            if client.blocked is not None:
                self._blocked.remove(client)
            if reply is not NO_REPLY and client.reply_mode is ReplyMode.ON:
                client.deliver(reply)
        self._count_call(client, blocked)
        if self._server.recorder is not None:
            self._server.recorder.answered(client.id, reply)
        late, client.pending_pushes = client.pending_pushes, []
        for message in late:
            client.deliver(message)
        self.resumed.append(client)
        return True

    def _count_call(self, client: Client, blocked: Blocked) -> None:
        """Since Redis 7.2 a command that blocks counts when it is served, not when it blocks."""
        if self._retries and blocked.argv and client.last_command is not None:
            client.last_command.calls += 1

    def serve(self) -> None:
        """Let blocked clients try what they wait for, then run what they have sent since."""
        ready, waiting = self._blocked.ready, self._blocked.waiting
        while ready:
            place = ready.popleft()
            for blocked in tuple(waiting.get(place, ())):
                value = self._server.databases[place[0]].data.get(place[1])
                if blocked.client.blocked is blocked and blocked.can_be_served_by(value):
                    self._attempt(blocked, place[1])
        resumed, self.resumed = self.resumed, []
        for client in resumed:
            self._run_backlog(client)

    def _attempt(self, blocked: Blocked, key: bytes) -> None:
        pause = self._clients.pause
        if self._retries and pause is not None and self._tries_later(pause, blocked, key):
            return
        client = blocked.client
        outer, self._clients.current = self._clients.current, client
        try:
            reply = self._no_longer_allowed(blocked) or blocked.attempt(key)
        except RedisError as error:
            entry = client.last_command
            reply = error if entry is None else self._accounting.failed(entry, error)
        finally:
            self._clients.current = outer
        if reply is not None:
            self.unblock(client, reply)
        elif self._retries:
            self._blocked.requeue(blocked)

    def _no_longer_allowed(self, blocked: Blocked) -> RedisError | None:
        """Since Redis 7.2 ACL is checked again when a blocked client could be served."""
        client = blocked.client
        entry = client.last_command
        if not client.limited or entry is None or not self._retries:
            return None
        refusal = self._clients.access.refuse(client, entry, blocked.argv)
        return None if refusal is None else self._accounting.rejected(entry, refusal)

    def _tries_later(self, pause: Pause, blocked: Blocked, key: bytes) -> bool:
        """Since Redis 7.2 a client that could be served waits for the end of a pause."""
        entry = blocked.client.last_command
        if entry is None or (pause.writes_only and not entry.write):
            return False
        pause.changes.append((blocked.db.index, key))
        return True

    def _run_backlog(self, client: Client) -> None:
        """Run what a client sent while it was blocked."""
        assert isinstance(client, Session)
        while client.backlog and client.blocked is None:
            reply = self._engine.execute(client, client.backlog.pop(0))
            if reply is not PENDING and reply is not NO_REPLY:
                client.deliver(reply)

    def time_out(self, now: int) -> None:
        """Give up waiting for those whose deadline has passed, the earliest first."""
        late = [
            (blocked.deadline, client.id, blocked)
            for client in self._clients.by_id.values()
            if (blocked := client.blocked) is not None
            and blocked.deadline is not None
            and (blocked.deadline <= now or self._is_over(blocked, blocked.deadline - now))
        ]
        for _, _, blocked in sorted(late, key=lambda entry: entry[:2]):
            self.unblock(blocked.client, blocked.on_timeout)

    def _is_over(self, blocked: Blocked, left: int) -> bool:
        """Whether the time is up although the clock does not say so: freezegun stops the machine's
        clock, but not its users' patience. A clock of the user's own is believed.
        """
        if not isinstance(self._server.clock, SystemClock):
            return False
        if blocked.real_deadline is None:
            blocked.real_deadline = real_seconds() + left / 1000
        return real_seconds() >= blocked.real_deadline

    def is_held(self, client: Client) -> bool:
        """Whether a client waits for the end of a pause."""
        pause = self._clients.pause
        return pause is not None and client in pause.waiting

    def hold(self, session: Session, argv: list[bytes]) -> None:
        """Keep a command for the end of the pause."""
        assert self._clients.pause is not None
        session.backlog.append(argv)
        self._hold(session, Blocked(session, [], None, lambda key: None, None))
        self._clients.pause.waiting.append(session)

    def delay(self, session: Session, argv: list[bytes], until: int) -> None:
        """Keep a command until then; others go on."""
        session.backlog.append(argv)
        self._hold(session, Blocked(session, [], until, lambda key: None, NO_REPLY))

    def _hold(self, session: Session, blocked: Blocked) -> None:
        session.blocked = blocked
        session.needs_full_checks = True

    def pause(self, until: int, writes_only: bool) -> None:
        """Hold commands, or those that write, until ``until``, milliseconds since the epoch."""
        if self._clients.pause is None:
            self._clients.pause = Pause(until, writes_only)
            self._engine.refresh()
        else:
            self._clients.pause.extend(until, writes_only)

    def unpause(self) -> None:
        """End a pause; what came in during it runs now, in the order of its clients."""
        pause, self._clients.pause = self._clients.pause, None
        self._engine.refresh()
        if pause is None:
            return
        self._blocked.ready.extend(dict.fromkeys(pause.changes))
        for client in pause.waiting:
            if client.blocked is not None:
                blocked = self._blocked.remove(client)
                self._count_call(client, blocked)
                if blocked.on_timeout is not None:
                    client.deliver(blocked.on_timeout)
                self._run_backlog(client)

    def sleep(self, session: Session, milliseconds: int) -> Reply:
        """Do nothing for a while, and serve nobody: what a command that sleeps returns.

        A `ManualClock` is moved; with a clock that runs by itself everybody waits.
        """
        clock = self._server.clock
        if milliseconds == 0:
            return OK
        if isinstance(clock, ManualClock):
            clock.advance(milliseconds / 1000)
            return OK
        if not session.can_block:
            time.sleep(milliseconds / 1000)
            return OK
        self.slept = 1000 * milliseconds
        blocked = Blocked(session, [], None, lambda key: None, OK)
        self.pause(self._server.keyspace.now + milliseconds, writes_only=False)
        assert self._clients.pause is not None
        self._clients.pause.waiting.append(session)
        return blocked
