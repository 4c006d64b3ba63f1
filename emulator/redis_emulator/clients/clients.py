"""`Clients`: the clients of one server and everything that belongs to them.

Each part has its own module: connected clients (`registry`), ACL users (`access`), subscriptions
(`pubsub`), watched keys (`watching`), blocked clients (`blocking`), client-side caching
(`tracking`).
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
        access: ACL users and permission checks.
        pubsub: Subscriptions.
        events: Publishes keyspace events.
        watches: Watched keys.
        blocked: Blocked clients.
        tracker: Client-side caching; None until a client calls CLIENT TRACKING.
        pause: The state of CLIENT PAUSE; None if clients are not paused.
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
        """Reset users, keyspace events and the tracking table. Clients stay connected."""
        self.access = Access(self._server, self)
        for client in self.by_id.values():
            client.user = "default"
            self.access.update_limited(client)
        self.events.set_classes(0)
        if self.tracker is not None:
            self.tracker.keys.clear()

    def end_modes(self, client: Client) -> None:
        """End tracking and MONITOR of a client."""
        if self.tracker is not None:
            self.tracker.disable(client)
        client.monitoring = False
        self.monitors.pop(client, None)
        client.refresh()

    def end_transaction(self, client: Client) -> None:
        """Leave MULTI: discard the queue and unwatch all keys."""
        client.queue = None
        client.queue_failed = False
        if client.watched:
            self.watches.unwatch(client)
        client.dirty = False
        client.refresh()

    def remove(self, client: Client) -> None:
        """Remove a disconnected client from all registries."""
        if client.blocked is not None:
            self.blocked.remove(client)
        self.end_transaction(client)
        self.pubsub.unsubscribe_all(client)
        self.end_modes(client)
        self.by_id.pop(client.id, None)
