"""A node of a Redis Cluster: the keys it serves, and where it sends clients.

All nodes of an emulated cluster live in one process, under one lock and one clock, so there is one
truth about slots and masters (`topology.Cluster`) and no gossip: what one node is told, all that
know it see at once. What is a node's own: whom it knows (CLUSTER MEET, FORGET, RESET), which of its
slots move, its clients. A replica serves the databases of its master, the same objects, and is in
step at every moment. `Node.refuse` is asked before every command and holds the rules of
redirection.
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
"""What is added to a node's port for its port on the cluster bus."""
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
        """The redirection for this reason."""
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
class _Asked:
    """The keys of a command, or of all commands of a transaction.

    Attributes:
        slot: Their slot, None as long as there is no key.
        several: Whether there are different ones.
        there: How many exist here, counted while the slot moves.
        missing: How many do not.
    """

    slot: int | None = None
    first: bytes = b""
    several: bool = False
    there: int = 0
    missing: int = 0


@dataclass(slots=True)
class SlotMigration:
    """One job, as one of the nodes concerned keeps it.

    Attributes:
        name: Forty hexadecimal digits, the same on all nodes.
        operation: ``EXPORT`` or ``IMPORT``.
        ranges: First and last slot of each range.
        source: Who gives the slots; None for a replica, which is told of the slots alone.
        target: Who takes them; None for a replica.
        created: When, in seconds since the epoch.
        updated: The last change of its state, likewise.
        state: ``connecting``, ``success``, ``failed`` or ``cancelled``.
        message: Why it failed.
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
        """Change the state for good."""
        self.updated, self.state, self.message = at, state, message

    def slots(self) -> set[int]:
        """All slots of all ranges."""
        return {slot for first, last in self.ranges for slot in range(first, last + 1)}


class Topology:
    """Which nodes there are, and who serves which slot; `redis_emulator.cluster.topology.Cluster`
    changes it.

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

    def turn_away(self) -> None:
        """Let clients who wait for keys hear of changes since the last time."""
        if self._heard != self.changes:
            self._heard = self.changes
            for node in self.nodes:
                node.turn_away()
                node.engine.tick()


class Node:
    """One node of a cluster.

    Attributes:
        id: Forty hexadecimal digits.
        shard: The same for a master and its replicas.
        epoch: Its configuration epoch.
        migrating: To whom its slots are moving.
        importing: From whom slots are coming.
        migrations: The jobs of CLUSTER MIGRATESLOTS that concern it, the last one first.
        exports: Those of them by which it gives slots and which have not ended.
        known: The nodes it knows, itself included.
        forgotten: Names of nodes that it was told to forget.
        down: Whether it is dead; the others know it at once.
        engine: Runs commands of its clients.
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
        self._kinds: dict[str, int] = {}
        self._judged: tuple[int, str] | None = None
        self._well = False

    @property
    def master(self) -> Node | None:
        """The node that it replicates, None for a master."""
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
        """Configure a server that has just started as this node."""
        config = self.server.config
        config["cluster-enabled"] = "yes"
        config["port"] = str(self.port)
        if self.server.version.is_redis(8):
            config["databases"] = "1"
        self.server.replication.is_replica = self.is_replica
        self.migrations.clear()
        self.exports.clear()

    @property
    def top(self) -> Node:
        """The master of this shard."""
        return self.master or self

    @property
    def told(self) -> Node:
        """The node whose moving slots this one heeds: replicas of Valkey go by their master."""
        return self.top if self._is_valkey else self

    @property
    def peer_address(self) -> tuple[str, int]:
        """The host and port that it announces to other nodes."""
        port = int(self._said("cluster-announce-port"))
        return self._said("cluster-announce-ip") or self.host, port or self.port

    @property
    def ip(self) -> str:
        """The address that it announces to clients."""
        return self._said("cluster-announce-client-ipv4") or self.peer_address[0]

    @property
    def announced_port(self) -> int:
        """The port that it announces to clients."""
        port = int(self._said("cluster-announce-client-port") or 0)
        return port or self.peer_address[1]

    @property
    def bus_port(self) -> int:
        """The port for other nodes that it announces."""
        return int(self._said("cluster-announce-bus-port")) or self.peer_address[1] + BUS

    @property
    def hostname(self) -> str:
        """The host name it announces, empty for none."""
        return self._said("cluster-announce-hostname")

    def _said(self, parameter: str) -> str:
        return self.server.config.values.get(parameter, "")

    def endpoint(self, node: Node) -> str | None:
        """The host by which this node tells clients of ``node``; None leaves it to them."""
        preferred = self._said("cluster-preferred-endpoint-type")
        if preferred == "unknown-endpoint":
            return None
        return (node.hostname or "?") if preferred == "hostname" else node.ip

    def replicas(self) -> list[Node]:
        """The nodes that replicate this one."""
        return [node for node in self.cluster.nodes if node.master is self]

    def owner(self, slot: int) -> Node | None:
        """Who serves a slot, as far as this node knows."""
        owner = self.cluster.owners[slot]
        return owner if owner in self.known else None

    def ranges(self) -> list[tuple[int, int]]:
        """The slots this node serves, as first and last of each run."""
        found: list[tuple[int, int]] = []
        for slot, owner in enumerate(self.cluster.owners):
            if owner is self:
                if found and found[-1][1] == slot - 1:
                    found[-1] = (found[-1][0], slot)
                else:
                    found.append((slot, slot))
        return found

    def is_well(self) -> bool:
        """Whether this node takes the cluster for able to serve."""
        judged = (self.cluster.changes, self.server.config[_COVERAGE])
        if self._judged != judged:
            self._judged, self._well = judged, self._judge()
        return self._well

    def _judge(self) -> bool:
        owners = {self.owner(slot) for slot in range(SLOTS)}
        covered = None not in owners
        masters = owners - {None}
        dead = sum(master is not None and master.down for master in masters)
        if masters and 2 * dead >= len(masters):
            return False
        return self.server.config[_COVERAGE] == "no" or (covered and not dead)

    def use(self, store: Store) -> None:
        """Serve these keys from now on."""
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
        """Publish on all other nodes that this one knows."""
        for node in self.known:
            if node is not self and not node.down:
                node.engine.clients.pubsub.publish(channel, message)

    def shard_mates(self) -> list[Node]:
        """The other nodes of this shard."""
        top = self.top
        return [node for node in (top, *top.replicas()) if node is not self]

    def after(self, session: Session, argv: list[bytes]) -> None:
        """A command is over: ASKING has had its effect, clients of other nodes may go on."""
        if session.asking and session.queue is None:
            if argv[0].lower() != b"asking":
                session.asking = False
                session.refresh()
        self.cluster.turn_away()
        for node in self.cluster.nodes:
            if node is not self and node.engine.clients.blocked.ready:
                node.engine.tick()

    def turn_away(self) -> None:
        """End the waiting of clients for keys that are no longer served here."""
        for client in tuple(self.engine.clients.by_id.values()):
            blocked = client.blocked
            if blocked is not None and blocked.keys:
                refusal = self._turned_away(client, slot_of(blocked.keys[0]))
                if refusal is not None:
                    self.engine.unblock(client, RedisError(str(refusal)))

    def _turned_away(self, client: Client, slot: int) -> Redirection | None:
        if not self.is_well():
            return _DOWN
        owner, entry = self.owner(slot), client.last_command
        reads = client.readonly and entry is not None and not entry.write
        if owner is self or slot in self.importing or (owner is self.master and owner and reads):
            return None
        return _UNBOUND if owner is None else self._lead_to("moved", slot, owner)

    def silence(self, slot: int) -> None:
        """End subscriptions to shard channels of a slot."""
        pubsub = self.engine.clients.pubsub
        for channel in [each for each in pubsub.shard_channels if slot_of(each) == slot]:
            pubsub.close_shard_channel(channel)

    def enter(self, session: Session) -> None:
        """One of the emulator's own sessions is about to run a command: let it find the keys."""
        session.db = self.store.databases[session.db.index]
        self._move_on()

    def refuse(self, session: Session, entry: Entry, argv: list[bytes]) -> str | None:
        """The error with which this node refuses a command, None when it serves it."""
        self._move_on()
        redirection = self.redirect(session, entry, argv)
        if redirection is not None:
            return redirection
        if self.master is not None and self._writes(session, entry, argv):
            return READ_ONLY
        return None

    def _move_on(self) -> None:
        """Let what is due in the keys served here expire."""
        keyspace = self.store.keyspace
        if keyspace.now >= keyspace.next_deadline:
            keyspace.expire_due(keyspace.now)

    def _writes(self, session: Session, entry: Entry, argv: list[bytes]) -> bool:
        if entry.name == "exec":
            return any(queued.write for queued, _ in session.queue or ())
        return self.engine.may_write(entry, argv)

    def redirect(self, session: Session, entry: Entry, argv: list[bytes]) -> Redirection | None:
        """Where a command on keys belongs, or why nobody serves it; None to run it here.

        Args:
            session: The client, or the script's session.
            entry: The command.
            argv: Its arguments.
        """
        asked = self._asked(session, entry, argv)
        if not isinstance(asked, _Asked):
            return asked
        if (slot := asked.slot) is None:
            return None
        if entry.name == "watch" and session.queue is not None and self._is_valkey:
            return None
        owner = self.owner(slot)
        assert owner is not None
        on_channel = entry.name in _SHARD_CHANNELS
        if not self.is_well():
            config = self.server.config
            if on_channel:
                if config["cluster-allow-pubsubshard-when-down"] == "no":
                    return _DOWN
            elif config["cluster-allow-reads-when-down"] == "no":
                return _DOWN
            elif self._writes(session, entry, argv):
                return _DOWN_READ_ONLY
        mine = owner is self or (owner is self.told and session.readonly)
        migrating = mine and slot in self.told.migrating
        importing = owner is not self and slot in self.importing
        if (migrating or importing) and entry.name == "migrate":
            return None
        if migrating and asked.missing:
            if asked.there and not self.server.version.before(7):
                return _UNSTABLE
            target = self.told.migrating[slot]
            return None if target is self else self._lead_to("ask", slot, target)
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
        return self._lead_to("moved", slot, owner)

    def slot_of_command(self, session: Session, entry: Entry, argv: list[bytes]) -> int | None:
        """The slot of a command's first key."""
        found = self._keys(entry, argv)
        return slot_of(found[0]) if found else None

    def _lead_to(self, reason: str, slot: int, node: Node) -> Redirection:
        place = f"{self.endpoint(node) or ''}:{node.announced_port}"
        return Redirection.make(reason, f"{reason.upper()} {slot} {place}")

    def _asked(self, session: Session, entry: Entry, argv: list[bytes]) -> _Asked | Redirection:
        asked = _Asked()
        if entry.name == "exec":
            for queued, words in session.queue or ():
                if (wrong := self._ask(asked, session, queued, words)) is not None:
                    return wrong
        elif (wrong := self._ask(asked, session, entry, argv)) is not None:
            return wrong
        return asked

    def _ask(
        self, asked: _Asked, session: Session, entry: Entry, argv: list[bytes]
    ) -> Redirection | None:
        """Take the keys of one more command into account."""
        # Valkey looks only at EXEC which keys of a moving slot are there.
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
            moves = slot in self.told.importing or slot in self.told.migrating
            if moves and entry.name not in _SHARD_CHANNELS and not later:
                if key in session.db.data:
                    asked.there += 1
                else:
                    asked.missing += 1
        return None

    def _keys(self, entry: Entry, argv: list[bytes]) -> Sequence[bytes]:
        """The keys and shard channels of a command."""
        kind = self._kinds.get(entry.name)
        if kind is None:
            kind = self._kinds[entry.name] = _kind(entry)
        if kind == _NO_KEYS:
            return ()
        if kind == _FIRST:
            return argv[1:2]
        found = [argv[key.position] for key in keys(entry.spec, argv)]
        return found or [argv[each] for each in channels(entry.spec, argv)]


def _kind(entry: Entry) -> int:
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
    """The node of a cluster that serves a client, None outside a cluster."""
    node = session.engine.cluster
    assert node is None or isinstance(node, Node)
    return node
