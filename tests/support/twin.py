"""Compares an emulated cluster with a real one, node by node, as `tests.support.pair` compares
servers.

The emulated nodes have the ids and ports of the real ones, so that redirections and other replies
that name a node are equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from redis_emulator import ClusterEmulator
from tests.support.pair import (
    EmulatorConnection,
    ServerConnection,
    Wire,
    arguments,
    unordered,
)
from tests.support.processes import Cluster, until

__all__ = ["Twin", "unordered"]


class Twin:
    """An emulated and a real cluster, with one client of each node.

    Args:
        cluster: the real cluster.
        name: the server of its nodes, for example ``redis-8.2``.
        protocol: the RESP version of the clients.
    """

    def __init__(self, cluster: Cluster, name: str, protocol: int) -> None:
        flavour, _, version = name.partition("-")
        self.emulator = ClusterEmulator(version=version, flavour=flavour)
        self.protocol = protocol
        self.cluster = cluster
        self.ports = [node.port for node in cluster.nodes]
        self.clients = [self.connect(place) for place in range(len(self.ports))]
        self.ids = [real("CLUSTER MYID")[1].decode() for _, real in self.clients]
        for place, emulated in enumerate(self.emulator.nodes):
            emulated.node.id = self.ids[place].encode()
            self.emulator._set_address(emulated, "127.0.0.1", self.ports[place])
        epochs = [_epoch(real) for _, real in self.clients[:3]]
        for node, epoch in zip(self.emulator.nodes, epochs, strict=False):
            node.node.epoch = epoch
        self.emulator._cluster.epoch = _epoch(self.clients[0][1], "current")
        for master in range(3):
            self.clients[master][1]("FLUSHALL")
        self.in_step()

    def connect(self, place: int) -> tuple[EmulatorConnection, ServerConnection]:
        """Open one more connection to a node on each side."""
        pair = EmulatorConnection(self.emulator.nodes[place]), ServerConnection(self.ports[place])
        if self.protocol == 3:
            for connection in pair:
                connection("HELLO", "3")
        return pair

    def __call__(self, place: int, *args: Any, key: Callable[[Wire], Any] | None = None) -> Wire:
        """Run one command on a node of both clusters, compare the replies, and return the reply."""
        emulated, real = self.clients[place]
        left, right = real(*args), emulated(*args)
        seen = (left, right) if key is None else (key(left), key(right))
        assert seen[1] == seen[0], (
            f"{place} {arguments(args)}: emulator {seen[1]}, server {seen[0]}"
        )
        return left

    def all(self, place: int, *commands: str) -> None:
        """Run several commands on one node of both clusters."""
        for command in commands:
            self(place, command)

    def in_step(self) -> None:
        """Wait until the real replicas have all writes of their masters."""
        for master in range(3):
            assert self.clients[master][1]("WAIT 1 2000")[1] == b"1"

    def agree(self) -> None:
        """Wait until all real nodes report the same slots."""

        def same() -> bool:
            return (
                len({repr(sorted(map(repr, r("CLUSTER SLOTS")[1]))) for _, r in self.clients}) == 1
            )

        until("the nodes agree", same)

    def close(self) -> None:
        for emulated, real in self.clients:
            emulated.close()
            real.close()


def _epoch(real: ServerConnection, whose: str = "my") -> int:
    text = real("CLUSTER INFO")[1].decode()
    return int(text.partition(f"cluster_{whose}_epoch:")[2].split()[0])


def of_version(twin: Twin) -> tuple[str, tuple[int, int, int]]:
    version = twin.emulator._version
    return version.flavour, version.number


def eval_(twin: Twin, place: int, source: str, *keys: str) -> Wire:
    return twin(place, "EVAL", source, len(keys), *keys)


def text_of(reply: Wire) -> str:
    text: str = reply[1].decode()
    return text.removeprefix("txt:")


def numberless(reply: Wire) -> Wire:
    """Return a reply without its integers and without strings that are numbers."""
    kind, content = reply
    if kind == "%":
        return kind, [(numberless(k), numberless(v)) for k, v in content]
    if isinstance(content, list):
        return kind, [numberless(item) for item in content]
    return (kind, b"") if kind == ":" or (content or b"").isdigit() else reply


def nodes(reply: Wire) -> list[list[str]]:
    lines = [line.split() for line in text_of(reply).splitlines() if line]
    return [reply[0], *sorted([*words[:4], *words[6:]] for words in lines)]


def lists_replicas(node: ServerConnection) -> bool:
    """Return whether CLUSTER SLOTS of a node lists the replicas of all masters."""
    return all(len(slots) > 3 for _, slots in node("CLUSTER SLOTS")[1])


def without_messages(reply: Wire) -> tuple[str, list[str]]:
    """Return the lines of CLUSTER INFO without counters of messages."""
    lines = text_of(reply).splitlines()
    return reply[0], [line for line in lines if not line.startswith("cluster_stats_")]


def fields(reply: Wire) -> tuple[str, list[str]]:
    """Return the names of the fields of CLUSTER INFO."""
    return reply[0], [line.partition(":")[0] for line in text_of(reply).splitlines()]


def timeless(reply: Wire) -> str:
    """Return CLUSTER NODES without the times of pings and pongs."""
    return re.sub(r" \d+ (\d+ connected)", r" \1", repr(reply))


def shards(reply: Wire) -> list[list[str]]:
    """Return the shards of CLUSTER SHARDS, sorted, each with slots and nodes but no offsets."""
    found = []
    for kind, content in reply[1]:
        told = dict(content) if kind == "%" else dict(zip(content[::2], content[1::2], strict=True))
        members = told[("$", b"nodes")][1]
        slots = [slot for _, slot in told[("$", b"slots")][1]]
        found.append([str(slots), *sorted(str(numberless(member)) for member in members)])
    return sorted(found)
