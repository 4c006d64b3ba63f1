"""WATCH: the watched keys and the clients that watch them."""

from __future__ import annotations

from collections.abc import Collection

from redis_emulator.clients.client import Client
from redis_emulator.keyspace.context import KeyObserver
from redis_emulator.server.server import Server


class Watches(KeyObserver):
    """Sets `Client.dirty` when a watched key changes. Observes keys while any key is watched.

    Attributes:
        clients: The watching clients by (database index, key).
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.clients: dict[tuple[int, bytes], set[Client]] = {}

    def add(self, client: Client, key: bytes) -> None:
        """Watch ``key`` of the client's database."""
        place = (client.db.index, key)
        client.watched.add(place)
        self.clients.setdefault(place, set()).add(client)
        self._server.observe(self)

    def unwatch(self, client: Client) -> None:
        """End watching all keys of ``client``."""
        for place in client.watched:
            clients = self.clients.get(place, set())  # missing if WATCH was interrupted
            clients.discard(client)
            if not clients:
                self.clients.pop(place, None)
        if client.watched:
            client.watched = set()
            if not self.clients:
                self._server.ignore(self)
        client.dirty = False

    def changed(self, index: int, key: bytes) -> None:
        for client in self.clients.get((index, key), ()):
            client.dirty = True

    def exchanged(self, index: int, keys: Collection[bytes]) -> None:
        for (watched_index, key), clients in self.clients.items():
            if watched_index == index and key in keys:
                for client in clients:
                    client.dirty = True
