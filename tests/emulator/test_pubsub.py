"""Pub/Sub and keyspace events, compared with real servers."""

from __future__ import annotations

import pytest

from tests.support.pair import Connection, Pair

EVERY_SERVER = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
MODERN = ("redis-8.2", "redis-7.0", "valkey-9.1")


class Listeners:
    """One subscriber on each side."""

    def __init__(self, same: Pair) -> None:
        self.both: tuple[Connection, Connection] = same.connect()

    def __call__(self, line: str, replies: int = 1) -> None:
        """Send a command that has ``replies`` replies; compare them."""
        for connection in self.both:
            connection.send([word.encode() for word in line.split()])
        self.read(replies)

    def read(self, count: int = 1) -> None:
        """Compare the next ``count`` messages."""
        emulated, real = ([c.read() for _ in range(count)] for c in self.both)
        assert emulated == real


@pytest.mark.servers(*EVERY_SERVER)
def test_channels_and_patterns(same: Pair) -> None:
    listen = Listeners(same)
    listen("SUBSCRIBE a b a", 3)
    listen("PSUBSCRIBE a* [bc]", 2)
    for line in (
        "PUBLISH a hello",
        "PUBLISH b x",
        "PUBLISH c x",
        "PUBLISH nobody x",
        "PUBSUB CHANNELS",
        "PUBSUB CHANNELS x*",
        "PUBSUB NUMSUB",
        "PUBSUB NUMSUB a nosuch a",
        "PUBSUB NUMPAT",
        "PUBSUB NUMPAT x",
        "PUBSUB FOO",
        "PUBSUB",
        "PUBSUB CHANNELS a b",
        "PUBLISH a",
    ):
        same(line, key=None if "CHANNELS" not in line else lambda r: (r[0], sorted(r[1])))
    listen.read(2 + 2 + 1)
    listen("UNSUBSCRIBE a", 1)
    listen("UNSUBSCRIBE nosuch", 1)
    listen("UNSUBSCRIBE")
    listen("UNSUBSCRIBE")
    listen("PUNSUBSCRIBE a*")
    listen("PUNSUBSCRIBE")
    listen("PUNSUBSCRIBE")
    listen("GET x")
    same("PUBSUB NUMPAT")


@pytest.mark.servers(*EVERY_SERVER)
def test_commands_of_a_subscribed_client(same: Pair) -> None:
    listen = Listeners(same)
    listen("SUBSCRIBE a")
    for line in (
        "PING",
        "PING hello",
        "GET x",
        "PUBLISH a x",
        "NOSUCH",
        "MULTI",
        "SELECT 1",
        "HELLO 9",
    ):
        if same.protocol == 2 or not line.startswith(("PUBLISH", "MULTI")):
            listen(line)
    listen("RESET")
    listen("GET x")


@pytest.mark.servers(*MODERN)
def test_ssubscribe_and_spublish(same: Pair) -> None:
    listen = Listeners(same)
    listen("SSUBSCRIBE a b", 2)
    for line in (
        "SPUBLISH a x",
        "SPUBLISH nobody x",
        "PUBLISH a x",
        "PUBSUB SHARDNUMSUB a nosuch",
        "PUBSUB SHARDCHANNELS a*",
        "PUBSUB CHANNELS",
        "PUBSUB SHARDNUMSUB",
    ):
        same(line)
    listen.read(1)
    listen("GET x")
    listen("SUBSCRIBE c")
    listen("SUNSUBSCRIBE a")
    listen("SUNSUBSCRIBE")
    listen("SUNSUBSCRIBE")
    listen("UNSUBSCRIBE")


@pytest.mark.servers(*EVERY_SERVER)
def test_subscribe_and_publish_inside_a_transaction(same: Pair) -> None:
    same("MULTI")
    same("PUBLISH a x")
    same("SUBSCRIBE a")
    same("PUBSUB NUMSUB a")
    same("EXEC")
    same("PING")


@pytest.mark.servers(*MODERN)
def test_shard_channels_inside_a_transaction(same: Pair) -> None:
    same("MULTI")
    same("SSUBSCRIBE a")
    same("PUBSUB SHARDNUMSUB a")
    same("EXEC")


@pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
def test_new_key_events(same: Pair) -> None:
    listen = Listeners(same)
    listen("PSUBSCRIBE __key*__:*")
    try:
        for classes, events in (("Kn", 1), ("KAn", 2), ("KA", 1)):
            same(f"CONFIG SET notify-keyspace-events {classes}")
            same("CONFIG GET notify-keyspace-events")
            same("SET", f"new-{classes}", "v")
            listen.read(events)
    finally:
        same("CONFIG", "SET", "notify-keyspace-events", "")
    listen("PUNSUBSCRIBE")


@pytest.mark.servers(*EVERY_SERVER)
def test_keyspace_events(same: Pair) -> None:
    listen = Listeners(same)
    listen("PSUBSCRIBE __key*__:*")
    try:
        same("CONFIG SET notify-keyspace-events KEA")
        same("SET k v")
        listen.read(2)
        same("EXPIRE k 100")
        listen.read(2)
        same("DEL k nosuch")
        listen.read(2)
        same("CONFIG SET notify-keyspace-events Kg")
        same("SET k v")
        same("DEL k")
        listen.read(1)
        same("CONFIG SET notify-keyspace-events Em")
        same("GET nosuch")
        listen.read(1)
    finally:
        same("CONFIG", "SET", "notify-keyspace-events", "")
    same("SET k v")
    listen("PUNSUBSCRIBE")


@pytest.mark.servers("redis-6.2", "redis-7.0", "redis-8.2")
def test_subscribe_error_names_the_subcommand(same: Pair) -> None:
    same("SUBSCRIBE a")
    same("CLIENT SETNAME me")
