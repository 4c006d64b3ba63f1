"""A Redis Cluster as a whole: who serves which slot, and who replicates whom.

Everything that changes slots and roles goes through here, whether a command or a test asks for it.
What a single node makes of it is in `redis_emulator.cluster.node`.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

from redis_emulator.cluster.node import SLOTS, Node, Store, slot_of
from redis_emulator.keyspace.database import (
    GENERIC,
    HASH,
    LIST,
    SET,
    STREAM,
    STRING,
    ZSET,
    Database,
)
from redis_emulator.values.kinds import type_name

_WRITTEN: Final = {
    b"string": (b"set", STRING),
    b"list": (b"rpush", LIST),
    b"set": (b"sadd", SET),
    b"zset": (b"zadd", ZSET),
    b"hash": (b"hset", HASH),
    b"stream": (b"xadd", STREAM),
}
"""The event, and its class, of a command that writes a value of each type."""


class Cluster:
    """What is true for the whole cluster.

    Attributes:
        nodes: All nodes, in the order of their addresses.
        owners: The master that serves each slot.
        epoch: The current epoch.
        changes: Grows with every change of slots, nodes and roles.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self.nodes: list[Node] = []
        self.owners: list[Node | None] = [None] * SLOTS
        self.epoch = 0
        self.changes = 0
        self._heard = 0

    def new_id(self) -> bytes:
        """A name for a node or shard."""
        return b"%040x" % self._random.getrandbits(160)

    def node_at(self, port: int) -> Node | None:
        """The node that listens on a port."""
        return next((node for node in self.nodes if node.port == port), None)

    def bump(self, node: Node) -> bool:
        """Give a node the greatest epoch of all; whether it did not have it yet."""
        greatest = max(each.epoch for each in self.nodes)
        if node.epoch and node.epoch == greatest:
            return False
        self.epoch = max(self.epoch, greatest) + 1
        node.epoch = self.epoch
        return True

    def turn_away(self) -> None:
        """Let clients who wait for keys hear of changes since the last time."""
        if self._heard != self.changes:
            self._heard = self.changes
            for node in self.nodes:
                node.turn_away()
                node.tick()

    def assign(self, slot: int, node: Node | None) -> None:
        """Have a slot served by ``node``. Keys that the master before it still has are lost."""
        before = self.owners[slot]
        if before is node:
            return
        self._pass_on(slot, node)
        if before is not None and node is not None:
            for db, key in before.keys_in(slot):
                db.remove(key)
                db.changed(key, b"del", GENERIC)

    def _pass_on(self, slot: int, node: Node | None) -> None:
        before = self.owners[slot]
        self.owners[slot] = node
        self.changes += 1
        if before is not None:
            for each in (before, *before.replicas()):
                each.silence(slot)
            before.migrating.pop(slot, None)
        if node is not None:
            node.importing.pop(slot, None)

    def hand_over(self, slots: set[int], source: Node, target: Node) -> None:
        """Give slots of one master to another, with their keys.

        The target publishes events as if clients had written the keys there; the source is silent.
        """
        for db in source.store.databases:
            theirs = target.store.databases[db.index]
            theirs.server.now = db.server.now
            for key in [key for key in db.data if slot_of(key) in slots]:
                value, at = db.data[key], db.expires.get(key)
                theirs.set(key, value)
                theirs.changed(key, *_WRITTEN[type_name(value)])
                if at is not None:
                    theirs.set_expiry(key, at)
                    theirs.changed(key, b"expire", GENERIC)
                db.remove(key)
                db.touched(key)
        self.bump(target)
        for slot in slots:
            self._pass_on(slot, target)

    def replicate(self, node: Node, master: Node) -> None:
        """Make ``node`` a replica of ``master``."""
        node.master = master
        node.shard = master.shard
        node.migrating.clear()
        node.importing.clear()
        node.use(master.store)
        self.changes += 1

    def fail_over(self, replica: Node) -> None:
        """Have a replica take the place of its master, which becomes its replica."""
        master = replica.master
        if master is None:
            raise ValueError("only a replica can take over")
        self.epoch = max(self.epoch, *(node.epoch for node in self.nodes)) + 1
        replica.epoch = self.epoch
        others = [node for node in master.replicas() if node is not replica]
        replica.master = None
        for node in (master, *others):
            node.master = replica
        for slot, owner in enumerate(self.owners):
            if owner is master:
                self.owners[slot] = replica
        for node in self.nodes:
            for moving in (node.migrating, node.importing):
                for slot, other in tuple(moving.items()):
                    if other is master:
                        moving[slot] = replica
        if replica.server.version.flavour == "valkey":
            replica.migrating.update(master.migrating)
            replica.importing.update(master.importing)
        master.migrating.clear()
        master.importing.clear()
        for slot in {slot_of(channel) for channel in master.server.shard_channels}:
            master.silence(slot)
        if replica.server.version.flavour == "redis":
            master.server.send_waiting_away()
        replica.lead()
        self.changes += 1

    def meet(self, node: Node, other: Node) -> None:
        """Have two nodes, and all whom they know, know one another."""
        everybody = list(dict.fromkeys((*node.known, *other.known)))
        for each in everybody:
            each.known = [one for one in self.nodes if one in everybody]
        self.changes += 1

    def forget(self, node: Node, gone: Node, *, everywhere: bool) -> None:
        """Have ``node``, or all whom it knows, know ``gone`` no more."""
        for each in tuple(node.known) if everywhere else (node,):
            if each is not gone and gone in each.known and each.master is not gone:
                each.known.remove(gone)
                each.forgotten.add(gone.id)
        self.changes += 1

    def leave(self, node: Node, *, hard: bool) -> None:
        """Reset a node: alone, a master without slots or keys."""
        for slot, owner in enumerate(self.owners):
            if owner is node:
                self.owners[slot] = None
        if node.master is not None:
            self.part(node)
        node.known = [node]
        node.migrating.clear()
        node.importing.clear()
        if hard:
            node.id, node.shard = self.new_id(), self.new_id()
            node.epoch = 0
        self.changes += 1

    def part(self, node: Node) -> None:
        """Make a replica an empty master; Valkey gives it a shard of its own."""
        node.master = None
        if node.server.version.flavour == "valkey":
            node.shard = self.new_id()
        node.use(Store([Database(node.server, db.index) for db in node.store.databases]))
        self.changes += 1

    def state(self) -> object:
        """Who serves and replicates what, to be put back."""
        return (
            list(self.owners),
            self.epoch,
            [tuple(_copied(getattr(node, name)) for name in _TOPOLOGY) for node in self.nodes],
        )

    def put_back(self, state: Any) -> None:
        """Make the topology what it was."""
        owners, self.epoch, nodes = state
        self.owners = list(owners)
        for node, values in zip(self.nodes, nodes, strict=True):
            for name, value in zip(_TOPOLOGY, values, strict=True):
                if name == "store":
                    node.use(value)
                else:
                    setattr(node, name, _copied(value))
        for node in self.nodes:
            if node.master is None:
                node.lead()
        self.changes += 1


_TOPOLOGY: Final = (
    *("id", "shard", "master", "epoch", "migrating", "importing", "known"),
    "store",
)


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, (dict, list)) else value
