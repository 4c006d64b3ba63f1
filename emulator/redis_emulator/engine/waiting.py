"""Blocking and unblocking clients, CLIENT PAUSE, and DEBUG SLEEP.

A blocking command returns a `Blocked`, and `Waiting.block` registers it. A change of one of its
keys adds the key to `BlockedClients.ready`. After the command that made the change, `Waiting.serve`
calls ``attempt`` of the waiting clients in the order in which they blocked, and `unblock` sends the
reply. Commands that a client sends while it is blocked or paused are stored in `Client.backlog`;
`_run_backlog` runs them afterwards.

A new blocking command needs a `Blocked` with an ``attempt``, and an observer method of
`BlockedClients` that makes its keys ready.
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
    """Blocks and unblocks the clients of one server.

    Attributes:
        resumed: Unblocked clients whose backlog must be run.
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
        """Block a client. If it must not block, return the reply for a timeout."""
        if not session.can_block:
            return blocked.on_timeout
        session.blocked = blocked
        if self._retries and session.last_command is not None:
            session.last_command.calls -= 1
        self._blocked.add(blocked)
        session.needs_full_checks = True
        return PENDING

    def unblock(self, client: Client, reply: Reply) -> bool:
        """Unblock a client with ``reply``. Returns whether it was blocked.

        Its backlog runs after the running command.
        """
        blocked = client.blocked
        if blocked is None:
            return False
        try:
            self._blocked.remove(client)
        finally:  # an interrupt (Ctrl-C) must not lose the reply of another client
            if client.blocked is not None:
                self._blocked.remove(client)
            if reply is not NO_REPLY and client.reply_mode is ReplyMode.ON:
                client.deliver(reply)
        self._count_call(client, blocked)
        if self._server.recorder is not None:
            self._server.recorder.answered(client.id, reply)
        pushes, client.pending_pushes = client.pending_pushes, []
        for message in pushes:
            client.deliver(message)
        self.resumed.append(client)
        return True

    def _count_call(self, client: Client, blocked: Blocked) -> None:
        """Since Redis 7.2, count a blocking command when it is served, not when it blocks."""
        if self._retries and blocked.argv and client.last_command is not None:
            client.last_command.calls += 1

    def serve(self) -> None:
        """Try to serve the blocked clients of all ready keys, then run backlogs."""
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
        if self._retries and pause is not None and self._defer_to_pause_end(pause, blocked, key):
            return
        client = blocked.client
        outer, self._clients.current = self._clients.current, client
        try:
            reply = self._acl_error(blocked) or blocked.attempt(key)
        except RedisError as error:
            entry = client.last_command
            reply = error if entry is None else self._accounting.count_failed(entry, error)
        finally:
            self._clients.current = outer
        if reply is not None:
            self.unblock(client, reply)
        elif self._retries:
            self._blocked.requeue(blocked)

    def _acl_error(self, blocked: Blocked) -> RedisError | None:
        """Since Redis 7.2, check ACL again before a blocked client is served."""
        client = blocked.client
        entry = client.last_command
        if not client.limited or entry is None or not self._retries:
            return None
        refusal = self._clients.access.refuse(client, entry, blocked.argv)
        return None if refusal is None else self._accounting.count_rejected(entry, refusal)

    def _defer_to_pause_end(self, pause: Pause, blocked: Blocked, key: bytes) -> bool:
        """Since Redis 7.2, CLIENT PAUSE delays serving a blocked client."""
        entry = blocked.client.last_command
        if entry is None or (pause.writes_only and not entry.write):
            return False
        pause.changes.append((blocked.db.index, key))
        return True

    def _run_backlog(self, client: Client) -> None:
        """Run the commands that a client sent while it was blocked."""
        assert isinstance(client, Session)
        while client.backlog and client.blocked is None:
            reply = self._engine.execute(client, client.backlog.pop(0))
            if reply is not PENDING and reply is not NO_REPLY:
                client.deliver(reply)

    def time_out(self, now: int) -> None:
        """Time out blocked clients whose deadline has passed, the earliest deadline first."""
        expired = [
            (blocked.deadline, client.id, blocked)
            for client in self._clients.by_id.values()
            if (blocked := client.blocked) is not None
            and blocked.deadline is not None
            and (
                blocked.deadline <= now
                or self._is_over_in_real_time(blocked, blocked.deadline - now)
            )
        ]
        for _, _, blocked in sorted(expired, key=lambda entry: entry[:2]):
            self.unblock(blocked.client, blocked.on_timeout)

    def _is_over_in_real_time(self, blocked: Blocked, left: int) -> bool:
        """Whether a timeout has passed in real time although the system clock has not moved
        (freezegun). Applies only to `SystemClock`.
        """
        if not isinstance(self._server.clock, SystemClock):
            return False
        if blocked.real_deadline is None:
            blocked.real_deadline = real_seconds() + left / 1000
        return real_seconds() >= blocked.real_deadline

    def is_paused(self, client: Client) -> bool:
        """Whether CLIENT PAUSE has delayed a command of the client."""
        pause = self._clients.pause
        return pause is not None and client in pause.waiting

    def delay_until_unpaused(self, session: Session, argv: list[bytes]) -> None:
        """Delay a command until the end of the pause."""
        assert self._clients.pause is not None
        session.backlog.append(argv)
        self._delay(session, Blocked(session, [], None, lambda key: None, None))
        self._clients.pause.waiting.append(session)

    def delay(self, session: Session, argv: list[bytes], until: int) -> None:
        """Delay a command until ``until`` (milliseconds since the epoch)."""
        session.backlog.append(argv)
        self._delay(session, Blocked(session, [], until, lambda key: None, NO_REPLY))

    def _delay(self, session: Session, blocked: Blocked) -> None:
        session.blocked = blocked
        session.needs_full_checks = True

    def pause(self, until: int, writes_only: bool) -> None:
        """Pause all commands, or only writes, until ``until`` (milliseconds since the epoch)."""
        if self._clients.pause is None:
            self._clients.pause = Pause(until, writes_only)
            self._engine.refresh()
        else:
            self._clients.pause.extend(until, writes_only)

    def unpause(self) -> None:
        """End the pause and run the paused commands in order."""
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
        """Block the whole server (DEBUG SLEEP). Returns what the command must return.

        A `ManualClock` is advanced. With another clock all clients are paused.
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
