"""Pub/sub: the subscribers of channels, patterns and shard channels, and publishing to them.

Keyspace events are messages to two channels for each event. `KeyspaceEvents` observes keys while
``notify-keyspace-events`` is not empty.
"""

from __future__ import annotations

from redis_emulator.clients.client import Client
from redis_emulator.clients.registry import Registry
from redis_emulator.glob import glob
from redis_emulator.keyspace.context import KeyObserver
from redis_emulator.keyspace.events import AT_REPLICAS, KEYEVENT, KEYSPACE
from redis_emulator.resp.types import Push
from redis_emulator.server.server import Server

Subscribers = dict[bytes, dict[Client, None]]


class PubSub:
    """The subscriptions of one server's clients.

    Attributes:
        channels: The subscribers of each channel.
        patterns: The subscribers of each pattern.
        shard_channels: The subscribers of each shard channel.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.channels: Subscribers = {}
        self.patterns: Subscribers = {}
        self.shard_channels: Subscribers = {}

    def publish(self, channel: bytes, message: bytes) -> int:
        """Send ``message`` to every subscriber of ``channel``. Returns their number."""
        push = self._registry.push
        count = 0
        for client in tuple(self.channels.get(channel, ())):
            push(client, Push((b"message", channel, message)))
            count += 1
        for pattern, subscribers in tuple(self.patterns.items()):
            if glob(pattern)(channel):
                for client in tuple(subscribers):
                    push(client, Push((b"pmessage", pattern, channel, message)))
                    count += 1
        return count

    def publish_in_shard(self, channel: bytes, message: bytes) -> int:
        """Send ``message`` to the subscribers of a shard channel. Returns their number."""
        subscribers = tuple(self.shard_channels.get(channel, ()))
        for client in subscribers:
            client.deliver(Push((b"smessage", channel, message)))
        return len(subscribers)

    def unsubscribe_all(self, client: Client) -> None:
        """End all subscriptions of a client without sending it messages."""
        for channels, subscribers in (
            (client.channels, self.channels),
            (client.patterns, self.patterns),
            (client.shard_channels, self.shard_channels),
        ):
            for channel in channels:
                remaining = subscribers.get(channel, {})  # missing if SUBSCRIBE was interrupted
                remaining.pop(client, None)
                if not remaining:
                    subscribers.pop(channel, None)
            channels.clear()

    def close_shard_channel(self, channel: bytes) -> None:
        """End all subscriptions to a shard channel and send ``sunsubscribe`` to the subscribers."""
        for client in self.shard_channels.pop(channel):
            del client.shard_channels[channel]
            message = Push((b"sunsubscribe", channel, len(client.shard_channels)))
            self._registry.push(client, message)
            client.refresh()


class KeyspaceEvents(KeyObserver):
    """Publishes the keyspace events that ``notify-keyspace-events`` names.

    A replica publishes the events of the commands that its master would replicate (`AT_REPLICAS`).
    """

    def __init__(self, server: Server, pubsub: PubSub) -> None:
        self._server = server
        self._pubsub = pubsub
        self._flags = 0

    def set_classes(self, flags: int) -> None:
        """Set the event classes to publish, as bits; 0 for none."""
        self._flags = flags
        if flags:
            self._server.observe(self)
        else:
            self._server.ignore(self)

    def event(self, index: int, key: bytes, event: bytes, kind: int) -> None:
        if self._server.replication.is_replica:
            if event == b"spop" and key not in self._server.databases[index].data:
                return
            event, kind = AT_REPLICAS.get(event, (event, kind))
        if not self._flags & kind:
            return
        if self._flags & KEYSPACE:
            self._pubsub.publish(b"__keyspace@%d__:%b" % (index, key), event)
        if self._flags & KEYEVENT:
            self._pubsub.publish(b"__keyevent@%d__:%b" % (index, event), key)
