"""`Cluster`: all changes of slots, roles and known nodes of a cluster.

Commands (CLUSTER SETSLOT, FAILOVER, MEET …) and the methods of `ClusterEmulator` call it. The view
of a single node, with redirections, is in `redis_emulator.cluster.node`.
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
"""The keyspace event and its class for writing a value of each type."""


class Cluster(Topology):
    """The topology of a cluster and the operations that change it."""

    def bump_epoch(self, node: Node) -> bool:
        """Raise a node's epoch above all others. Returns whether the epoch changed."""
        greatest = max(each.epoch for each in self.nodes)
        if node.epoch and node.epoch == greatest:
            return False
        self.epoch = max(self.epoch, greatest) + 1
        node.epoch = self.epoch
        return True

    def assign(self, slot: int, node: Node | None) -> None:
        """Assign a slot to ``node``. Keys of the slot that the previous master has are deleted."""
        before = self.owners[slot]
        if before is node:
            return
        self._set_owner(slot, node)
        if before is not None and node is not None:
            for db, key in before.keys_in(slot):
                db.remove(key)
                db.changed(key, b"del", GENERIC)

    def _set_owner(self, slot: int, node: Node | None) -> None:
        before = self.owners[slot]
        self.owners[slot] = node
        self.changes += 1
        if before is not None:
            for each in (before, *before.replicas()):
                each.end_shard_subscriptions(slot)
            before.migrating.pop(slot, None)
        if node is not None:
            node.importing.pop(slot, None)

    def move_slots(self, slots: set[int], source: Node, target: Node) -> None:
        """Move slots with their keys from one master to another.

        The target publishes keyspace events as for writes of clients, the source publishes none.
        """
        for db in source.store.databases:
            target_db = target.store.databases[db.index]
            target_db.context.now = db.context.now
            for key in [key for key in db.data if slot_of(key) in slots]:
                value, at = db.data[key], db.expires.get(key)
                target_db.set(key, value)
                target_db.changed(key, *_WRITTEN[type_name(value)])
                if at is not None:
                    target_db.set_expiry(key, at)
                    target_db.changed(key, b"expire", GENERIC)
                db.remove(key)
                db.touched(key)
        self.bump_epoch(target)
        for slot in slots:
            self._set_owner(slot, target)

    def replicate(self, node: Node, master: Node) -> None:
        """Make ``node`` a replica of ``master``."""
        node.master = master
        node.shard = master.shard
        node.migrating.clear()
        node.importing.clear()
        node.use_store(master.store)
        self.changes += 1

    def fail_over(self, replica: Node) -> None:
        """Promote a replica. Its master becomes its replica."""
        master = replica.master
        if master is None:
            raise ValueError("cannot fail over to this node: it is not a replica")
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
            master.end_shard_subscriptions(slot)
        if replica.server.version.is_redis():
            master.engine.disconnect_blocked()
        self.changes += 1

    def meet(self, node: Node, other: Node) -> None:
        """CLUSTER MEET: two nodes and all nodes that they know get to know each other."""
        members = list(dict.fromkeys((*node.known, *other.known)))
        for each in members:
            each.known = [one for one in self.nodes if one in members]
        self.changes += 1

    def forget(self, node: Node, gone: Node, *, everywhere: bool) -> None:
        """CLUSTER FORGET: remove ``gone`` from the nodes that ``node`` knows, or from those of all
        nodes.
        """
        for each in tuple(node.known) if everywhere else (node,):
            if each is not gone and gone in each.known and each.master is not gone:
                each.known.remove(gone)
                each.forgotten.add(gone.id)
        self.changes += 1

    def reset_node(self, node: Node, *, hard: bool) -> None:
        """CLUSTER RESET: make a node an empty master without slots that knows only itself."""
        for slot, owner in enumerate(self.owners):
            if owner is node:
                self.owners[slot] = None
        if node.master is not None:
            self.stop_replicating(node)
        node.known = [node]
        node.migrating.clear()
        node.importing.clear()
        if hard:
            node.id, node.shard = self.new_id(), self.new_id()
            node.epoch = 0
        self.changes += 1

    def stop_replicating(self, node: Node) -> None:
        """Make a replica an empty master. On Valkey it gets a new shard id."""
        node.master = None
        if node.server.version.is_valkey():
            node.shard = self.new_id()
        keyspace = node.server.keyspace
        node.use_store(Store(Keyspace(len(keyspace.databases), keyspace.now)))
        self.changes += 1

    def state(self) -> object:
        """The slots and roles of all nodes, for `restore_state`."""
        return (
            list(self.owners),
            self.epoch,
            [tuple(_copied(getattr(node, name)) for name in _TOPOLOGY) for node in self.nodes],
        )

    def restore_state(self, state: Any) -> None:
        """Restore slots and roles."""
        owners, self.epoch, nodes = state
        self.owners = list(owners)
        for node, values in zip(self.nodes, nodes, strict=True):
            for name, value in zip(_TOPOLOGY, values, strict=True):
                if name == "store":
                    node.use_store(value)
                else:
                    setattr(node, name, _copied(value))
        self.changes += 1


def cluster_of(node: Node) -> Cluster:
    """The cluster of a node."""
    assert isinstance(node.cluster, Cluster)
    return node.cluster


_TOPOLOGY: Final = (
    *("id", "shard", "master", "epoch", "migrating", "importing", "known"),
    "store",
)


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, (dict, list)) else value
