"""A Redis Cluster as a whole: who serves which slot, and who replicates whom.

Everything that changes slots and roles goes through here, whether a command or a test asks for it.
What a single node makes of it is in `redis_emulator.cluster.node`.
"""

from __future__ import annotations

from typing import Any, Final

from redis_emulator.cluster.node import Node, Topology
from redis_emulator.cluster.slots import Store, slot_of
from redis_emulator.keyspace.events import GENERIC, HASH, LIST, SET, STREAM, STRING, ZSET
from redis_emulator.keyspace.keyspace import Keyspace
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


class Cluster(Topology):
    """The cluster as a whole: its topology, and everything that changes it."""

    def bump(self, node: Node) -> bool:
        """Give a node the greatest epoch of all; whether it did not have it yet."""
        greatest = max(each.epoch for each in self.nodes)
        if node.epoch and node.epoch == greatest:
            return False
        self.epoch = max(self.epoch, greatest) + 1
        node.epoch = self.epoch
        return True

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
            theirs.context.now = db.context.now
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
        if replica.server.version.is_valkey():
            replica.migrating.update(master.migrating)
            replica.importing.update(master.importing)
        master.migrating.clear()
        master.importing.clear()
        for slot in {slot_of(channel) for channel in master.engine.clients.pubsub.shard_channels}:
            master.silence(slot)
        if replica.server.version.is_redis():
            master.engine.disconnect_blocked()
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
        if node.server.version.is_valkey():
            node.shard = self.new_id()
        keyspace = node.server.keyspace
        node.use(Store(Keyspace(len(keyspace.databases), keyspace.now)))
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
        self.changes += 1


def cluster_of(node: Node) -> Cluster:
    """The cluster that a node is part of."""
    assert isinstance(node.cluster, Cluster)
    return node.cluster


_TOPOLOGY: Final = (
    *("id", "shard", "master", "epoch", "migrating", "importing", "known"),
    "store",
)


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, (dict, list)) else value
