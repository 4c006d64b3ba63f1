"""Blocked clients: who waits for which key, and the pause of CLIENT PAUSE.

A command that must wait returns a `redis_emulator.clients.client.Blocked`. The engine adds it here,
under each of its keys. A change of such a key puts the key on `BlockedClients.ready`; when the
command that made the change is over, the engine lets the clients try in the order in which they
blocked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from redis_emulator.clients.client import Blocked, Client
from redis_emulator.keyspace.context import KeyObserver
from redis_emulator.server.server import Server
from redis_emulator.values.kinds import type_name

_FOR_CONSUMERS = frozenset({b"xadd", b"xgroup-destroy"})
"""Events after which clients try again who wait for entries of a stream."""


class BlockedClients(KeyObserver):
    """The blocked clients of one server. Observes keys while there is one.

    Attributes:
        waiting: Who waits for a key, by index of the database and key, in order of arrival.
        ready: The keys that clients may be served from, as index of the database and key.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.waiting: dict[tuple[int, bytes], list[Blocked]] = {}
        self.ready: deque[tuple[int, bytes]] = deque()

    def add(self, blocked: Blocked) -> None:
        """Have a client wait for its keys."""
        for key in dict.fromkeys(blocked.keys):
            self.waiting.setdefault((blocked.db.index, key), []).append(blocked)
        if blocked.keys:
            self._server.observe(self)

    def remove(self, client: Client) -> Blocked:
        """Have a blocked client wait no longer; returns what it waited for.

        The client counts as blocked until that is done, so that it can be done again after an
        interrupt (Ctrl-C) in here.
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

    def move_back(self, blocked: Blocked) -> None:
        """A client has tried in vain: put it behind all others that wait for its keys."""
        for key in dict.fromkeys(blocked.keys):
            waiting = self.waiting[blocked.db.index, key]
            waiting.remove(blocked)
            waiting.append(blocked)

    def created(self, index: int, key: bytes, value: object) -> None:
        for blocked in self.waiting.get((index, key), ()):
            if blocked.concerns(value):
                self.ready.append((index, key))
                return

    def removed(self, index: int, key: bytes, value: object) -> None:
        if (index, key) not in self.waiting or type_name(value) != b"stream":
            return
        if any(blocked.without_key for blocked in self.waiting[index, key]):
            self.ready.append((index, key))

    def exchanged(self, index: int, keys: Collection[bytes]) -> None:
        self.ready.extend(place for place in self.waiting if place[0] == index and place[1] in keys)

    def event(self, index: int, key: bytes, event: bytes, kind: int) -> None:
        if event in _FOR_CONSUMERS and (index, key) in self.waiting:
            self.created(index, key, self._server.databases[index].data[key])


class Pause:
    """CLIENT PAUSE: how long clients are held, and who is held.

    Args:
        until: Milliseconds since the epoch.
        writes_only: Whether commands that change nothing run.

    Attributes:
        waiting: The clients whose commands run when the pause is over.
        changes: The keys, as index of the database and key, that blocked clients may be served
            from when the pause is over.
    """

    __slots__ = ("changes", "until", "waiting", "writes_only")

    def __init__(self, until: int, writes_only: bool) -> None:
        self.until = until
        self.writes_only = writes_only
        self.waiting: list[Client] = []
        self.changes: list[tuple[int, bytes]] = []

    def extend(self, until: int, writes_only: bool) -> None:
        """Pause again: a pause never gets shorter or weaker by another one."""
        self.until = max(self.until, until)
        self.writes_only = self.writes_only and writes_only
