"""A node of a Redis Cluster: its view of the topology, and redirections.

All nodes of an emulated cluster are in one process and share a lock and a clock. Slots and roles
are stored once, in `topology.Cluster`, so there is no gossip and all nodes see a change at once.
Each node has its own list of known nodes (CLUSTER MEET, FORGET, RESET), its own migrating and
importing slots, and its own clients. A replica uses the database objects of its master and never
lags behind.

The engine calls `Node.refuse` before every command. `Node.redirect` has the rules of
``getNodeByQuery`` in Redis: MOVED, ASK, TRYAGAIN, CROSSSLOT and CLUSTERDOWN.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from redis_emulator.clients.client import Client
from redis_emulator.clients.session import Engine, Session
from redis_emulator.cluster.slots import SLOTS, Store, slot_of
from redis_emulator.keyspace.database import Database
from redis_emulator.resp.errors import CLUSTER_DOWN, READ_ONLY
from redis_emulator.resp.types import RedisError
from redis_emulator.table.entry import Entry
from redis_emulator.table.keyspec import channels, keys

CONNECTING: Final = "connecting"
"""The state of a migration that has not ended."""
BUS: Final = 10_000
"""Offset of the cluster bus port from the client port."""
_SHARD_CHANNELS: Final = frozenset({"ssubscribe", "spublish"})
_COVERAGE: Final = "cluster-require-full-coverage"
_NO_KEYS, _FIRST, _SOME = range(3)


class Redirection(str):
    """Why a node does not serve a command, as the error line.

    Attributes:
        reason: ``moved``, ``ask``, ``crossslot``, ``unstable``, ``unbound``, ``down`` or
            ``read-only``.
    """

    __slots__ = ("reason",)
    reason: str

    @classmethod
    def make(cls, reason: str, text: str) -> Redirection:
        """Create a redirection."""
        made = cls(text)
        made.reason = reason
        return made


CROSS_SLOT: Final = Redirection.make(
    "crossslot", "CROSSSLOT Keys in request don't hash to the same slot"
)
_UNSTABLE: Final = Redirection.make(
    "unstable", "TRYAGAIN Multiple keys request during rehashing of slot"
)
_UNBOUND: Final = Redirection.make("unbound", "CLUSTERDOWN Hash slot not served")
_DOWN: Final = Redirection.make("down", CLUSTER_DOWN)
_DOWN_READ_ONLY: Final = Redirection.make(
    "read-only", "CLUSTERDOWN The cluster is down and only accepts read commands"
)


@dataclass(slots=True)
class _RequestedKeys:
    """The keys of a command, or of all commands of a transaction.

    Attributes:
        slot: The slot of the keys; None if there is no key.
        first: The first key.
        several: Whether there is more than one different key.
        there: How many keys exist on this node. Counted only while the slot is moving.
        missing: How many keys do not exist on this node, likewise.
    """

    slot: int | None = None
    first: bytes = b""
    several: bool = False
    there: int = 0
    missing: int = 0


@dataclass(slots=True)
class SlotMigration:
    """One job of CLUSTER MIGRATESLOTS, as stored on one of the nodes.

    Attributes:
        name: The job name, 40 hexadecimal digits, the same on all nodes.
        operation: ``EXPORT`` or ``IMPORT``.
        ranges: First and last slot of each range.
        source: The source node; None on a replica.
        target: The target node; None on a replica.
        created: The time of creation, in seconds since the epoch.
        updated: The time of the last change of state, in seconds since the epoch.
        state: ``connecting``, ``success``, ``failed`` or ``cancelled``.
        message: The error if it failed.
    """

    name: bytes
    operation: str
    ranges: list[tuple[int, int]]
    source: Node | None
    target: Node | None
    created: int
    updated: int
    state: str = CONNECTING
    message: str = ""

    def end(self, at: int, state: str, message: str = "") -> None:
        """Set the final state."""
        self.updated, self.state, self.message = at, state, message

    def slots(self) -> set[int]:
        """All slots of all ranges."""
        return {slot for first, last in self.ranges for slot in range(first, last + 1)}


class Topology:
    """The nodes of a cluster and the owners of slots: the part of
    `redis_emulator.cluster.topology.Cluster` that nodes use.

    Attributes:
        nodes: All nodes, in the order of their addresses.
        owners: The master that serves each slot.
        epoch: The current epoch.
        changes: Counts the changes of slots, nodes and roles.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self.nodes: list[Node] = []
        self.owners: list[Node | None] = [None] * SLOTS
        self.epoch = 0
        self.changes = 0
        self._seen_changes = 0

    def new_id(self) -> bytes:
        """A random node id or shard id."""
        return b"%040x" % self._random.getrandbits(160)

    def node_at(self, port: int) -> Node | None:
        """The node that listens on a port."""
        return next((node for node in self.nodes if node.port == port), None)

    def redirect_blocked_clients(self) -> None:
        """If the topology has changed since the last call, unblock clients whose keys are now
        served by another node, with a redirection.
        """
        if self._seen_changes != self.changes:
            self._seen_changes = self.changes
            for node in self.nodes:
                node.redirect_blocked_clients()
                node.engine.tick()


class Node:
    """One node of a cluster.

    Attributes:
        id: The node id, 40 hexadecimal digits.
        shard: The shard id. A master and its replicas have the same.
        epoch: The configuration epoch.
        migrating: The target node of each migrating slot.
        importing: The source node of each importing slot.
        migrations: The jobs of CLUSTER MIGRATESLOTS, newest first.
        exports: The unfinished jobs of which this node is the source.
        known: The known nodes, including itself.
        forgotten: Ids of nodes removed with CLUSTER FORGET.
        down: Whether the node was killed.
        engine: The engine of this node.
    """

    def __init__(self, cluster: Topology, engine: Engine, host: str, port: int) -> None:
        self.cluster = cluster
        self.engine = engine
        self.server = server = engine.server
        self.host = host
        self.port = port
        self.id = cluster.new_id()
        self.shard = cluster.new_id()
        self._master: Node | None = None
        self.epoch = 0
        self.migrating: dict[int, Node] = {}
        self.importing: dict[int, Node] = {}
        self.migrations: list[SlotMigration] = []
        self.exports: list[SlotMigration] = []
        self.known: list[Node] = [self]
        self.forgotten: set[bytes] = set()
        self.down = False
        self.store = Store(server.keyspace)
        self.created_at = server.clock.ms()
        self._is_valkey = server.version.is_valkey()
        self._key_position_kinds: dict[str, int] = {}
        self._cluster_ok_inputs: tuple[int, str] | None = None
        self._cluster_ok = False

    @property
    def master(self) -> Node | None:
        """The master of this node; None for a master."""
        return self._master

    @master.setter
    def master(self, master: Node | None) -> None:
        self._master = master
        self.server.replication.is_replica = master is not None

    @property
    def is_replica(self) -> bool:
        """Whether it replicates another node."""
        return self._master is not None

    def reset(self) -> None:
        """Configure a server that was just reset as this node."""
        config = self.server.config
        config["cluster-enabled"] = "yes"
        config["port"] = str(self.port)
        if self.server.version.is_redis(8):
            config["databases"] = "1"
        self.server.replication.is_replica = self.is_replica
        self.migrations.clear()
        self.exports.clear()

    @property
    def shard_master(self) -> Node:
        """The master of this node's shard: its master, or the node itself."""
        return self.master or self

    @property
    def slot_state_node(self) -> Node:
        """The node whose migrating and importing slots apply here. On Valkey a replica uses those
        of its master.
        """
        return self.shard_master if self._is_valkey else self

    @property
    def node_address(self) -> tuple[str, int]:
        """The host and port that this node announces to other nodes."""
        port = int(self._parameter("cluster-announce-port"))
        return self._parameter("cluster-announce-ip") or self.host, port or self.port

    @property
    def ip(self) -> str:
        """The IP address that this node announces to clients."""
        return self._parameter("cluster-announce-client-ipv4") or self.node_address[0]

    @property
    def announced_port(self) -> int:
        """The port that this node announces to clients."""
        port = int(self._parameter("cluster-announce-client-port") or 0)
        return port or self.node_address[1]

    @property
    def bus_port(self) -> int:
        """The cluster bus port that this node announces."""
        return int(self._parameter("cluster-announce-bus-port")) or self.node_address[1] + BUS

    @property
    def hostname(self) -> str:
        """The host name that this node announces; empty for none."""
        return self._parameter("cluster-announce-hostname")

    def _parameter(self, parameter: str) -> str:
        return self.server.config.values.get(parameter, "")

    def endpoint(self, node: Node) -> str | None:
        """The host of ``node`` in replies to clients (``cluster-preferred-endpoint-type``). None
        means the host to which the client is connected.
        """
        preferred = self._parameter("cluster-preferred-endpoint-type")
        if preferred == "unknown-endpoint":
            return None
        return (node.hostname or "?") if preferred == "hostname" else node.ip

    def replicas(self) -> list[Node]:
        """The nodes that replicate this one."""
        return [node for node in self.cluster.nodes if node.master is self]

    def owner(self, slot: int) -> Node | None:
        """The owner of a slot; None if there is none or this node does not know it."""
        owner = self.cluster.owners[slot]
        return owner if owner in self.known else None

    def ranges(self) -> list[tuple[int, int]]:
        """The slots of this node as (first, last) ranges."""
        found: list[tuple[int, int]] = []
        for slot, owner in enumerate(self.cluster.owners):
            if owner is self:
                if found and found[-1][1] == slot - 1:
                    found[-1] = (found[-1][0], slot)
                else:
                    found.append((slot, slot))
        return found

    def cluster_is_ok(self) -> bool:
        """Whether the cluster state is ``ok`` in the view of this node (``cluster_state``)."""
        judged = (self.cluster.changes, self.server.config[_COVERAGE])
        if self._cluster_ok_inputs != judged:
            self._cluster_ok_inputs, self._cluster_ok = judged, self._compute_cluster_ok()
        return self._cluster_ok

    def _compute_cluster_ok(self) -> bool:
        owners = {self.owner(slot) for slot in range(SLOTS)}
        covered = None not in owners
        masters = owners - {None}
        dead = sum(master is not None and master.down for master in masters)
        if masters and 2 * dead >= len(masters):
            return False
        return self.server.config[_COVERAGE] == "no" or (covered and not dead)

    def use_store(self, store: Store) -> None:
        """Replace the keys that this node serves."""
        if store is self.store:
            return
        clients = self.engine.clients
        for client in clients.by_id.values():
            clients.watches.unwatch(client)
            client.db = store.databases[client.db.index]
        self.store = store
        self.server.serve(store.keyspace)

    def keys_in(self, slot: int) -> Iterator[tuple[Database, bytes]]:
        """The keys of a slot."""
        for db in self.store.databases:
            for key in tuple(db.data):
                if slot_of(key) == slot:
                    yield db, key

    def broadcast(self, channel: bytes, message: bytes) -> None:
        """Publish a message on all other known nodes."""
        for node in self.known:
            if node is not self and not node.down:
                node.engine.clients.pubsub.publish(channel, message)

    def other_shard_nodes(self) -> list[Node]:
        """The other nodes of this shard."""
        shard_master = self.shard_master
        return [node for node in (shard_master, *shard_master.replicas()) if node is not self]

    def after_command(self, session: Session, argv: list[bytes]) -> None:
        """Called after each command: reset ASKING, and serve blocked clients of other nodes."""
        if session.asking and session.queue is None:
            if argv[0].lower() != b"asking":
                session.asking = False
                session.refresh()
        self.cluster.redirect_blocked_clients()
        for node in self.cluster.nodes:
            if node is not self and node.engine.clients.blocked.ready:
                node.engine.tick()

    def redirect_blocked_clients(self) -> None:
        """Unblock clients whose keys this node no longer serves, with a redirection."""
        for client in tuple(self.engine.clients.by_id.values()):
            blocked = client.blocked
            if blocked is not None and blocked.keys:
                refusal = self._redirection_of_blocked(client, slot_of(blocked.keys[0]))
                if refusal is not None:
                    self.engine.unblock(client, RedisError(str(refusal)))

    def _redirection_of_blocked(self, client: Client, slot: int) -> Redirection | None:
        if not self.cluster_is_ok():
            return _DOWN
        owner, entry = self.owner(slot), client.last_command
        reads = client.readonly and entry is not None and not entry.write
        if owner is self or slot in self.importing or (owner is self.master and owner and reads):
            return None
        return _UNBOUND if owner is None else self._redirect_to("moved", slot, owner)

    def end_shard_subscriptions(self, slot: int) -> None:
        """End all subscriptions to shard channels of a slot."""
        pubsub = self.engine.clients.pubsub
        for channel in [each for each in pubsub.shard_channels if slot_of(each) == slot]:
            pubsub.close_shard_channel(channel)

    def prepare_session(self, session: Session) -> None:
        """Prepare one of the emulator's own sessions for a command: use this node's databases."""
        session.db = self.store.databases[session.db.index]
        self._expire_due()

    def refuse(self, session: Session, entry: Entry, argv: list[bytes]) -> str | None:
        """The redirection or error if this node does not run a command; None if it does."""
        self._expire_due()
        redirection = self.redirect(session, entry, argv)
        if redirection is not None:
            return redirection
        if self.master is not None and self._writes(session, entry, argv):
            return READ_ONLY
        return None

    def _expire_due(self) -> None:
        """Expire due keys."""
        keyspace = self.store.keyspace
        if keyspace.now >= keyspace.next_deadline:
            keyspace.expire_due(keyspace.now)

    def _writes(self, session: Session, entry: Entry, argv: list[bytes]) -> bool:
        if entry.name == "exec":
            return any(queued.write for queued, _ in session.queue or ())
        return self.engine.may_write(entry, argv)

    def redirect(self, session: Session, entry: Entry, argv: list[bytes]) -> Redirection | None:
        """The redirection for a command; None if this node runs it.

        Args:
            session: The client, or the session of a script.
            entry: The command.
            argv: Its arguments.
        """
        asked = self._keys_and_slot(session, entry, argv)
        if not isinstance(asked, _RequestedKeys):
            return asked
        if (slot := asked.slot) is None:
            return None
        if entry.name == "watch" and session.queue is not None and self._is_valkey:
            return None
        owner = self.owner(slot)
        assert owner is not None
        on_channel = entry.name in _SHARD_CHANNELS
        if not self.cluster_is_ok():
            config = self.server.config
            if on_channel:
                if config["cluster-allow-pubsubshard-when-down"] == "no":
                    return _DOWN
            elif config["cluster-allow-reads-when-down"] == "no":
                return _DOWN
            elif self._writes(session, entry, argv):
                return _DOWN_READ_ONLY
        mine = owner is self or (owner is self.slot_state_node and session.readonly)
        migrating = mine and slot in self.slot_state_node.migrating
        importing = owner is not self and slot in self.importing
        if (migrating or importing) and entry.name == "migrate":
            return None
        if migrating and asked.missing:
            if asked.there and not self.server.version.before(7):
                return _UNSTABLE
            target = self.slot_state_node.migrating[slot]
            return None if target is self else self._redirect_to("ask", slot, target)
        if importing and (session.asking or "asking" in entry.flags):
            return _UNSTABLE if asked.several and asked.missing else None
        if owner is self:
            return None
        if (
            owner is self.master
            and (session.readonly or on_channel)
            and not self._writes(session, entry, argv)
        ):
            return None
        return self._redirect_to("moved", slot, owner)

    def slot_of_command(self, session: Session, entry: Entry, argv: list[bytes]) -> int | None:
        """The slot of the first key of a command; None without keys."""
        found = self._keys(entry, argv)
        return slot_of(found[0]) if found else None

    def _redirect_to(self, reason: str, slot: int, node: Node) -> Redirection:
        place = f"{self.endpoint(node) or ''}:{node.announced_port}"
        return Redirection.make(reason, f"{reason.upper()} {slot} {place}")

    def _keys_and_slot(
        self, session: Session, entry: Entry, argv: list[bytes]
    ) -> _RequestedKeys | Redirection:
        asked = _RequestedKeys()
        if entry.name == "exec":
            for queued, words in session.queue or ():
                if (wrong := self._add_keys(asked, session, queued, words)) is not None:
                    return wrong
        elif (wrong := self._add_keys(asked, session, entry, argv)) is not None:
            return wrong
        return asked

    def _add_keys(
        self, asked: _RequestedKeys, session: Session, entry: Entry, argv: list[bytes]
    ) -> Redirection | None:
        """Add the keys of one command. Returns an error if they cannot be served together."""
        # Valkey checks only at EXEC which keys of a moving slot exist.
        later = self._is_valkey and session.queue is not None and session.last_command is entry
        for key in self._keys(entry, argv):
            slot = slot_of(key)
            if asked.slot is None:
                if self.owner(slot) is None:
                    return _UNBOUND
                asked.slot, asked.first = slot, key
            elif slot != asked.slot:
                return CROSS_SLOT
            elif key != asked.first:
                asked.several = True
            moves = slot in self.slot_state_node.importing or slot in self.slot_state_node.migrating
            if moves and entry.name not in _SHARD_CHANNELS and not later:
                if key in session.db.data:
                    asked.there += 1
                else:
                    asked.missing += 1
        return None

    def _keys(self, entry: Entry, argv: list[bytes]) -> Sequence[bytes]:
        """The keys and shard channels of a command."""
        kind = self._key_position_kinds.get(entry.name)
        if kind is None:
            kind = self._key_position_kinds[entry.name] = _key_position_kind(entry)
        if kind == _NO_KEYS:
            return ()
        if kind == _FIRST:
            return argv[1:2]
        found = [argv[key.position] for key in keys(entry.spec, argv)]
        return found or [argv[each] for each in channels(entry.spec, argv)]


def _key_position_kind(entry: Entry) -> int:
    specs = entry.spec.key_specs
    if not specs:
        return _NO_KEYS
    begin, find = specs[0]["begin_search"], specs[0]["find_keys"]
    if (
        len(specs) == 1
        and begin == {"type": "index", "spec": {"index": 1}}
        and find["type"] == "range"
        and find["spec"]["lastkey"] == 0
        and entry.name != "migrate"
    ):
        return _FIRST
    return _SOME


def node_of(session: Session) -> Node | None:
    """The cluster node of a client; None outside a cluster."""
    node = session.engine.cluster
    assert node is None or isinstance(node, Node)
    return node
