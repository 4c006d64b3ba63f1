"""Blocked clients by key, and the state of CLIENT PAUSE.

A command that must wait returns a `redis_emulator.clients.client.Blocked`. The engine registers it
here under each of its keys. A change of such a key adds the key to `BlockedClients.ready`. After
the command that made the change, the engine (`redis_emulator.engine.waiting`) tries to serve the
clients in the order in which they blocked. `blocked.c` of Redis does the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from redis_emulator.clients.client import Blocked, Client
from redis_emulator.keyspace.context import KeyObserver
from redis_emulator.server.server import Server
from redis_emulator.values.kinds import type_name

_STREAM_EVENTS = frozenset({b"xadd", b"xgroup-destroy"})
"""Events that can serve clients that wait for entries of a stream."""


class BlockedClients(KeyObserver):
    """The blocked clients of one server. Observes keys while there is one.

    Attributes:
        waiting: The blocked clients of each (database index, key), in the order in which they
            blocked.
        ready: The (database index, key) pairs that may serve a client now.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.waiting: dict[tuple[int, bytes], list[Blocked]] = {}
        self.ready: deque[tuple[int, bytes]] = deque()

    def add(self, blocked: Blocked) -> None:
        """Register a blocked client under its keys."""
        for key in dict.fromkeys(blocked.keys):
            self.waiting.setdefault((blocked.db.index, key), []).append(blocked)
        if blocked.keys:
            self._server.observe(self)

    def remove(self, client: Client) -> Blocked:
        """Remove a blocked client from its keys. Returns its `Blocked`.

        `Client.blocked` is reset last, so that the caller can repeat the call after an interrupt
        (Ctrl-C) in this method.
        """
        blocked = client.blocked
        assert blocked is not None
        for key in dict.fromkeys(blocked.keys):
            place = (blocked.db.index, key)
            left = [each for each in self.waiting.get(place, ()) if each is not blocked]
            if left:
                self.waiting[place] = left
            else:
                self.waiting.pop(place, None)
        client.blocked = None
        if not self.waiting:
            self._server.ignore(self)
        client.refresh()
        return blocked

    def requeue(self, blocked: Blocked) -> None:
        """Move a client that could not be served to the end of the queues of its keys."""
        for key in dict.fromkeys(blocked.keys):
            waiting = self.waiting[blocked.db.index, key]
            waiting.remove(blocked)
            waiting.append(blocked)

    def created(self, index: int, key: bytes, value: object) -> None:
        for blocked in self.waiting.get((index, key), ()):
            if blocked.can_be_served_by(value):
                self.ready.append((index, key))
                return

    def removed(self, index: int, key: bytes, value: object) -> None:
        if (index, key) not in self.waiting or type_name(value) != b"stream":
            return
        if any(blocked.unblock_on_removal for blocked in self.waiting[index, key]):
            self.ready.append((index, key))

    def exchanged(self, index: int, keys: Collection[bytes]) -> None:
        self.ready.extend(place for place in self.waiting if place[0] == index and place[1] in keys)

    def event(self, index: int, key: bytes, event: bytes, kind: int) -> None:
        if event in _STREAM_EVENTS and (index, key) in self.waiting:
            self.created(index, key, self._server.databases[index].data[key])


class Pause:
    """The state of CLIENT PAUSE.

    Args:
        until: The end of the pause, in milliseconds since the epoch.
        writes_only: Whether only write commands are paused.

    Attributes:
        waiting: The clients whose commands run after the pause.
        changes: The (database index, key) pairs that may serve blocked clients after the pause.
    """

    __slots__ = ("changes", "until", "waiting", "writes_only")

    def __init__(self, until: int, writes_only: bool) -> None:
        self.until = until
        self.writes_only = writes_only
        self.waiting: list[Client] = []
        self.changes: list[tuple[int, bytes]] = []

    def extend(self, until: int, writes_only: bool) -> None:
        """Combine with another CLIENT PAUSE: the later end and the stricter mode apply."""
        self.until = max(self.until, until)
        self.writes_only = self.writes_only and writes_only
