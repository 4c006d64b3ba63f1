"""Everything a server knows of its clients, in one object.

Each part is a module of its own: the connected clients (`registry`), users (`access`),
subscriptions (`pubsub`), watched keys (`watching`), blocked clients (`blocking`), client-side
caching (`tracking`).
"""

from __future__ import annotations

from redis_emulator.clients.access import Access
from redis_emulator.clients.blocking import BlockedClients, Pause
from redis_emulator.clients.client import Client
from redis_emulator.clients.pubsub import KeyspaceEvents, PubSub
from redis_emulator.clients.registry import Registry
from redis_emulator.clients.tracking import Tracker
from redis_emulator.clients.watching import Watches
from redis_emulator.server.server import Server


class Clients(Registry):
    """The clients of one server.

    Attributes:
        access: Users and what they may do.
        pubsub: Subscriptions.
        events: Publishes keyspace events.
        watches: Watched keys.
        blocked: Blocked clients.
        tracker: Client-side caching, None before the first client asks for it.
        pause: The pause that holds clients, None if there is none.
    """

    def __init__(self, server: Server) -> None:
        super().__init__(server.version)
        self._server = server
        self.access = Access(server, self)
        self.pubsub = PubSub(self)
        self.events = KeyspaceEvents(server, self.pubsub)
        self.watches = Watches(server)
        self.blocked = BlockedClients(server)
        self.tracker: Tracker | None = None
        self.pause: Pause | None = None

    def reset(self) -> None:
        """Back to the users and the tracking table of a new server. Clients stay connected."""
        self.access = Access(self._server, self)
        for client in self.by_id.values():
            client.user = "default"
            self.access.admit(client)
        self.events.choose(0)
        if self.tracker is not None:
            self.tracker.keys.clear()

    def leave_modes(self, client: Client) -> None:
        """End tracking and MONITOR of a client."""
        if self.tracker is not None:
            self.tracker.leave(client)
        client.monitoring = False
        self.monitors.pop(client, None)
        client.refresh()

    def end_transaction(self, client: Client) -> None:
        """Leave MULTI: drop the queue, unwatch."""
        client.queue = None
        client.queue_failed = False
        if client.watched:
            self.watches.forget(client)
        client.dirty = False
        client.refresh()

    def remove(self, client: Client) -> None:
        """Forget a client that has disconnected, and all that it waits, watches or subscribes."""
        if client.blocked is not None:
            self.blocked.remove(client)
        self.end_transaction(client)
        self.pubsub.leave(client)
        self.leave_modes(client)
        self.by_id.pop(client.id, None)
