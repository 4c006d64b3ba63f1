"""`ClusterEmulator`: the public class for an emulated Redis Cluster in this process.

It creates one `NodeEmulator` for each node and offers what tests of cluster clients need: moving
slots, failovers, killing nodes. The state of the cluster is in `redis_emulator.cluster`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from random import Random
from types import TracebackType
from typing import Any, TypeAlias

import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode

from redis_emulator.clock import Clock, SystemClock
from redis_emulator.cluster.migration import finish
from redis_emulator.cluster.node import Node
from redis_emulator.cluster.slots import SLOTS, slot_of
from redis_emulator.cluster.topology import Cluster
from redis_emulator.emulator import Emulator
from redis_emulator.engine.dispatch import Engine
from redis_emulator.forks import NamedObjects
from redis_emulator.keyspace.snapshots import Snapshot
from redis_emulator.tools.mapping import encoded
from redis_emulator.transports.cluster import (
    AsyncClusterClient,
    async_connection_class,
    connection_class,
)
from redis_emulator.transports.sync import EmulatorPool
from redis_emulator.transports.tcp import TcpServer
from redis_emulator.version import Version, latest

FIRST_PORT = 7000
_HOST = "127.0.0.1"


class NodeEmulator(Emulator):
    """One node of an emulated cluster.

    `execute` and ``node[0]`` use the node's own keys and are never redirected.
    """

    def __init__(
        self,
        cluster: Cluster,
        version: Version,
        clock: Clock,
        seed: int | None,
        lock: threading.RLock,
        port: int,
        on_shutdown: Callable[[], None],
    ) -> None:
        engine = Engine(clock=clock, version=version, seed=seed, lock=lock, on_shutdown=on_shutdown)
        super().__init__(engine)
        del engine.server.databases[1:]
        self.node = node = Node(cluster, engine, _HOST, port)
        engine.cluster = node
        node.reset()
        engine.refresh()
        cluster.nodes.append(node)

    def execute(self, *args: Any) -> Any:
        """Run a command without a client on the node's own keys, as `Emulator.execute`."""
        with self._engine.lock:
            reply = super().execute(*args)
            finish(self.node)
            return reply

    @property
    def id(self) -> str:
        """The node id."""
        return self.node.id.decode()

    @property
    def port(self) -> int:
        """The port of the node in the replies of CLUSTER."""
        return self.node.port

    @property
    def is_master(self) -> bool:
        """Whether it is currently a master."""
        return self.node.master is None

    @property
    def is_down(self) -> bool:
        """Whether it was killed."""
        return self.node.down

    @property
    def slots(self) -> list[int]:
        """The slots it serves."""
        return [s for first, last in self.node.ranges() for s in range(first, last + 1)]

    def __repr__(self) -> str:
        role = "master" if self.is_master else "replica"
        return f"<{role} {_HOST}:{self.port}{' (down)' if self.is_down else ''}>"


Which: TypeAlias = "NodeEmulator | int | str"


class ClusterEmulator:
    """An emulated Redis Cluster. Threads and event loops can share it.

    Args:
        nodes: The number of masters.
        replicas: The number of replicas of each master.
        version: The release to emulate; by default the newest of the flavour.
        flavour: ``"redis"`` or ``"valkey"``.
        clock: The clock of all nodes; by default the system clock.
        seed: Makes random results reproducible, including node ids.

    Attributes:
        nodes: All nodes, the first masters first. A failover does not change the order.

    Raises:
        ValueError: The version or flavour is not emulated, or the number of nodes is invalid.
    """

    def __init__(
        self,
        *,
        nodes: int = 3,
        replicas: int = 1,
        version: str | None = None,
        flavour: str = "redis",
        clock: Clock | None = None,
        seed: int | None = None,
    ) -> None:
        if not 1 <= nodes <= 1000 or not 0 <= replicas <= 100:
            raise ValueError(
                f"nodes must be 1 to 1000 and replicas 0 to 100, got {nodes} and {replicas}"
            )
        self._clock: Clock = SystemClock() if clock is None else clock
        self._version = Version.parse(version or latest(flavour), flavour)
        lock = threading.RLock()
        self._cluster = cluster = Cluster(Random(seed))
        self.nodes = [
            NodeEmulator(
                cluster,
                self._version,
                self._clock,
                None if seed is None else seed + place,
                lock,
                FIRST_PORT + place,
                partial(self._kill_at, place),
            )
            for place in range(nodes * (1 + replicas))
        ]
        self._assign_initial_roles(nodes)
        self._first_state = cluster.state()
        self._ports: dict[int, NodeEmulator] = {each.port: each for each in self.nodes}
        self._servers: dict[NodeEmulator, TcpServer] = {}
        self._connection = connection_class(self._engine_at)
        self._async_connection = async_connection_class(self._engine_at)

    def _lock(self) -> AbstractContextManager[object]:
        """The lock that all nodes share."""
        return self.nodes[0].engine.lock

    def _kill_at(self, place: int) -> None:
        """Kill a node that received SHUTDOWN; the other nodes keep running."""
        self.kill(self.nodes[place])

    def _assign_initial_roles(self, masters: int) -> None:
        cluster = self._cluster
        for place, node in enumerate(cluster.nodes):
            node.known = list(cluster.nodes)
            node.epoch = place + 1
            if place < masters:
                for slot in range(SLOTS * place // masters, SLOTS * (place + 1) // masters):
                    cluster.assign(slot, node)
            else:
                cluster.replicate(node, cluster.nodes[place % masters])
        cluster.epoch = len(cluster.nodes)

    @classmethod
    def named(cls, name: str = "") -> ClusterEmulator:
        """The cluster of this name, shared by the whole process. The first call creates it, with
        three masters and one replica each.
        """
        return _named[name]

    @property
    def clock(self) -> Any:
        """The clock of all nodes; advance it when it is a `ManualClock`."""
        return self._clock

    @property
    def masters(self) -> list[NodeEmulator]:
        """The nodes that are currently masters."""
        return [node for node in self.nodes if node.is_master]

    def node_of(self, key: str | bytes) -> NodeEmulator:
        """The master that serves a key.

        Raises:
            LookupError: No node serves its slot.
        """
        owner = self._cluster.owners[slot_of(encoded(key))]
        for node in self.nodes:
            if node.node is owner:
                return node
        raise LookupError(f"no node serves the slot of {key!r}")

    def slot_of(self, key: str | bytes) -> int:
        """The slot of a key."""
        return slot_of(encoded(key))

    def move_slot(self, slot: int, to: Which) -> None:
        """Move a slot with all its keys to another master, at once.

        To leave a slot in migration, send CLUSTER SETSLOT and MIGRATE as redis-cli does.

        Raises:
            ValueError: The target is not a master.
        """
        with self._lock():
            target = self._find(to).node
            if target.master is not None:
                raise ValueError(f"cannot move a slot to {to!r}: it is a replica; name a master")
            owner = self._cluster.owners[slot]
            if owner is not None and owner is not target:
                for db, key in tuple(owner.keys_in(slot)):
                    self._copy_key(target, db.index, key, db.data[key], db.expires.get(key))
            target.importing[slot] = target
            self._cluster.bump_epoch(target)
            self._cluster.assign(slot, target)
            self._tick()

    def _copy_key(
        self, target: Node, index: int, key: bytes, value: object, at: int | None
    ) -> None:
        db = target.store.databases[index]
        db.context.now = self._clock.ms()
        db.set(key, value)
        if at is not None:
            db.set_expiry(key, at)
        db.touched(key)

    def fail_over(self, node: Which) -> NodeEmulator:
        """Promote a replica: ``node`` itself, or the first running replica of a master.

        Returns:
            The new master.

        Raises:
            ValueError: The master has no running replica.
        """
        with self._lock():
            found = self._find(node)
            if found.is_master:
                running = [r for r in found.node.replicas() if not r.down]
                if not running:
                    raise ValueError(f"{found!r} has no running replica to promote")
                found = next(each for each in self.nodes if each.node is running[0])
            self._cluster.fail_over(found.node)
            self._tick()
            return found

    def kill(self, node: Which, *, fail_over: bool = True) -> None:
        """Stop a node: its clients are disconnected, and the other nodes mark it as failed at once.

        Args:
            node: The node, its index in `nodes`, or its id.
            fail_over: Whether a replica is promoted, as in a real cluster after the node timeout.
                If not, or if there is no replica, the cluster is down. With
                ``cluster-require-full-coverage no`` only the slots of that master are down.
        """
        with self._lock():
            found = self._find(node)
            if found.is_down:
                return
            found.node.down = True
            self._cluster.changes += 1
            for session in tuple(found.engine.clients.by_id.values()):
                found.engine.close(session)
            if fail_over and found.is_master and found.slots:
                with contextlib.suppress(ValueError):
                    self.fail_over(found)
            self._tick()
        server = self._servers.get(found)
        if server is not None:
            server.stop()

    def revive(self, node: Which) -> None:
        """Start a killed node again. If one of its replicas was promoted, it becomes a replica of
        the new master.

        Raises:
            OSError: The cluster is served over TCP, and the port of the node is in use.
        """
        found = self._find(node)
        with self._lock():
            found.node.down = False
            self._cluster.changes += 1
        if found in self._servers:
            self._servers[found] = found.serve(port=found.port)

    def execute(self, *args: Any) -> Any:
        """Run a command without a client on the master that serves the first argument.

        Raises:
            redis.ResponseError: The server answers with an error.
            LookupError: No node serves the slot.
        """
        node = self.node_of(args[1]) if len(args) > 1 else self.masters[0]
        return node.execute(*args)

    def client(self, **kwargs: Any) -> redis.RedisCluster:
        """A redis-py client of this cluster.

        Args:
            kwargs: The arguments of `redis.RedisCluster`; those about sockets are ignored.

        Raises:
            ForkedError: The cluster was created in a parent process.
        """
        self.nodes[0].engine.ownership.check()
        host, port = self._first_address()
        return redis.RedisCluster(
            url=f"redis://{host}:{port}",
            connection_class=self._connection,
            connection_pool_class=EmulatorPool,
            **kwargs,
        )

    def async_client(self, **kwargs: Any) -> redis.asyncio.RedisCluster:
        """A redis-py asyncio client of this cluster.

        Args:
            kwargs: The arguments of `redis.asyncio.RedisCluster`; those about sockets are ignored.
        """
        host, port = self._first_address()
        client = AsyncClusterClient(
            ownership=self.nodes[0].engine.ownership,
            startup_nodes=[AsyncClusterNode(host, port)],
            **kwargs,
        )
        manager = client.nodes_manager
        for settings in (client.connection_kwargs, manager.connection_kwargs):
            settings["connection_class"] = self._async_connection
        for node in manager.startup_nodes.values():
            node.connection_class = self._async_connection
        return client

    def _first_address(self) -> tuple[str, int]:
        for node in self.nodes:
            if not node.is_down:
                return _HOST, node.port
        return _HOST, self.nodes[0].port

    def _engine_at(self, port: int) -> Engine:
        node = self._ports.get(port)
        if node is None or node.is_down:
            raise ConnectionRefusedError(f"no node of the cluster listens on port {port}")
        return node.engine

    @contextlib.contextmanager
    def serve(self, *, host: str = _HOST, port: int = 0) -> Iterator[ClusterEmulator]:
        """A context manager that serves each node on its own TCP port, for clients in any language.

        In the ``with`` block CLUSTER SLOTS and redirections contain these ports. In-process
        clients keep working.

        Args:
            host: The address to listen on and to announce.
            port: The first port; 0 for free ports.

        Raises:
            OSError: A node cannot listen on its address.
        """
        before = [(node.node.host, node.node.port) for node in self.nodes]
        try:
            for place, node in enumerate(self.nodes):
                server = node.serve(host=host, port=port + place if port else 0)
                self._servers[node] = server
                assert server.port is not None
                self._set_address(node, host, server.port)
            yield self
        finally:
            for server in self._servers.values():
                server.stop()
            self._servers.clear()
            if not self._commands_forbidden():
                for node, (old_host, old_port) in zip(self.nodes, before, strict=True):
                    self._set_address(node, old_host, old_port)

    def _set_address(self, node: NodeEmulator, host: str, port: int) -> None:
        with self._lock():
            node.node.host, node.node.port = host, port
            node.engine.server.config["port"] = str(port)
            self._ports[port] = node

    def reset(self) -> None:
        """Return to the state of a new cluster: no keys, the initial roles and slots, every node
        running. Clients stay connected.
        """
        for node in self.nodes:
            if node.is_down:
                self.revive(node)
        with self._lock():
            self._cluster.restore_state(self._first_state)
            for node in self.nodes:
                node.reset()

    def use_copy_after_fork(self) -> None:
        """`Emulator.use_copy_after_fork` for all nodes.

        Raises:
            ForkedError: See there.
        """
        for node in self.nodes:
            node.use_copy_after_fork()

    def _commands_forbidden(self) -> bool:
        """Whether this is a child process that must not use its copy of the cluster."""
        return self.nodes[0].engine.ownership.commands_forbidden

    def snapshot(self) -> ClusterSnapshot:
        """Save all keys, slots and roles. The cost is proportional to what changes afterwards."""
        with self._lock():
            masters = [node for node in self.nodes if node.is_master]
            stores = [node.node.store for node in masters]
            return ClusterSnapshot(
                self, self._cluster.state(), [(store, store.journal.snapshot()) for store in stores]
            )

    def restore(self, snapshot: ClusterSnapshot) -> None:
        """Restore the keys, slots and roles of ``snapshot``. Killed nodes stay down.

        Raises:
            ValueError: The snapshot belongs to another cluster.
        """
        if snapshot.owner is not self:
            raise ValueError("the snapshot belongs to another cluster; restore it there")
        with self._lock():
            self._cluster.restore_state(snapshot.state)
            for store, kept in snapshot.stores:
                store.journal.restore(kept)
            self._tick()

    def close(self) -> None:
        """Disconnect every client, stop every TCP server and delete all data."""
        for node in self.nodes:
            node.close()

    def _tick(self) -> None:
        self._cluster.redirect_blocked_clients()
        for node in self.nodes:
            node.engine.tick()

    def _find(self, which: Which) -> NodeEmulator:
        if isinstance(which, NodeEmulator):
            return which
        if isinstance(which, int):
            return self.nodes[which]
        for node in self.nodes:
            if node.id == which:
                return node
        raise ValueError(f"the cluster has no node with id {which!r}")

    def __enter__(self) -> ClusterEmulator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        masters = len(self.masters)
        version = f"{self._version.flavour} {self._version.text}"
        return f"<ClusterEmulator {version}, {masters} masters of {len(self.nodes)} nodes>"


class ClusterSnapshot:
    """A saved state of a cluster, for `ClusterEmulator.restore`."""

    __slots__ = ("owner", "state", "stores")

    def __init__(
        self, owner: ClusterEmulator, state: object, stores: list[tuple[Any, Snapshot]]
    ) -> None:
        self.owner = owner
        self.state = state
        self.stores = stores


_named = NamedObjects(ClusterEmulator)
