"""The topologies, and how each fault is injected into them.

No fault may lose a write that Redis has acknowledged, so a lost link is always an error of podlink:

- A standalone server writes its append-only file before it replies, and loads it when restarted.
- A master with replicas is killed only after its writes were paused and its replicas had applied
  all of them, so that asynchronous replication loses nothing. It never executes writes that arrive
  during the pause.
- `CLUSTER FAILOVER` itself waits for the replica.

If the machine is too busy, a failover may happen that no fault asked for. It can lose acknowledged
writes, because Redis replicates asynchronously. `failovers` counts all of them, so that such a run
is repeated.

Proxies stand before every server: a master or node announces the port of its proxy, and clients
know the proxies of the Sentinels. Replicas, and Sentinels that look after a master, connect through
the proxies too. Proxies fail for less than `DOWN_AFTER_MS`, so that no failover comes of it, and
replication continues where the connection broke.

A master with replicas is never stopped with SIGSTOP: after SIGCONT it would serve reads and accept
writes until it learns that it was replaced, and no client can notice that.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import redis

from pytest_podlink import servers
from tests.chaos.schedule import Fault
from tests.support.processes import Cluster, Sentinels, until
from tests.support.proxy import Proxy

SERVER = "redis-8.2"
PAUSE_MS = 30_000
DOWN_AFTER_MS = 2_000


class World:
    """A topology under load.

    Attributes:
        url: where clients connect to.
        masters: how many nodes with different keys it has.
    """

    url: str
    masters = 1

    def inject(self, fault: Fault) -> None:
        """Inject a fault and undo it when its time is over."""
        getattr(self, fault.kind)(fault)

    def nodes(self) -> Sequence[servers.Server]:
        """Return every server with data."""
        raise NotImplementedError

    def heal(self) -> None:
        """Wait until the topology serves all keys again."""

    def failovers(self) -> int:
        """Return the number of failovers, whether a fault asked for them or not."""
        return 0

    def close(self) -> None:
        """Stop all processes."""
        raise NotImplementedError

    def client_kill(self, fault: Fault) -> None:
        self._each("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def script_flush(self, fault: Fault) -> None:
        self._each("SCRIPT", "FLUSH")

    def proxy(self, fault: Fault) -> Proxy:
        """The proxy that a fault is about. Every server that clients connect to has one."""
        raise NotImplementedError

    def cut(self, fault: Fault) -> None:
        self.proxy(fault).cut()

    def stall(self, fault: Fault) -> None:
        proxy = self.proxy(fault)
        proxy.freeze()
        time.sleep(fault.seconds)
        proxy.thaw()

    def refuse(self, fault: Fault) -> None:
        proxy = self.proxy(fault)
        proxy.refuse()
        time.sleep(fault.seconds)
        proxy.accept_again()

    def cut_reply(self, fault: Fault) -> None:
        proxy = self.proxy(fault)
        proxy.cut_after = fault.choice % 40 + 1
        time.sleep(fault.seconds)
        proxy.cut_after = None

    def _each(self, *command: str) -> None:
        for node in self.nodes():
            with contextlib.suppress(redis.RedisError), node.client() as admin:
                admin.execute_command(*command)


class Standalone(World):
    """One server behind a proxy."""

    def __init__(self) -> None:
        durable = ("--appendonly", "yes", "--appendfsync", "always")
        self._server = servers.start(SERVER, extra_args=durable)
        self._proxy = Proxy(self._server.port)
        self.url = self._proxy.url

    def nodes(self) -> Sequence[servers.Server]:
        return [self._server]

    def kill(self, fault: Fault) -> None:
        self._server.kill()
        time.sleep(fault.seconds)
        self._server.restart()

    def pause(self, fault: Fault) -> None:
        self._server.pause()
        time.sleep(fault.seconds)
        self._server.resume()

    def proxy(self, fault: Fault) -> Proxy:
        return self._proxy

    def close(self) -> None:
        self._proxy.close()
        self._server.stop()


class SentinelWorld(World):
    """A master, two replicas and three Sentinels."""

    def __init__(self) -> None:
        self._sentinels = Sentinels(SERVER, down_after_ms=DOWN_AFTER_MS, behind_proxies=True)
        self.url = self._sentinels.url

    def nodes(self) -> Sequence[servers.Server]:
        return [self._sentinels.master, *self._sentinels.replicas]

    def kill(self, fault: Fault) -> None:
        victim = self._sentinels.current()
        pause_and_replicate(victim, [node for node in self.nodes() if node is not victim])
        self._sentinels.kill(victim)
        self._sentinels.rejoin(victim)

    def proxy(self, fault: Fault) -> Proxy:
        """The master's in half of the cases, else that of a Sentinel."""
        sentinels = self._sentinels.sentinels
        place = fault.choice % (2 * len(sentinels))
        if place < len(sentinels):
            return self._sentinels.proxies[sentinels[place]]
        return self._sentinels.proxies[self._sentinels.current()]

    def pause_replica(self, fault: Fault) -> None:
        master = self._sentinels.current()
        replicas = [node for node in self.nodes() if node is not master]
        pause(replicas[fault.choice % len(replicas)], fault)

    def heal(self) -> None:
        self._sentinels.current()

    def failovers(self) -> int:
        return max(each.log.count("+switch-master") for each in self._sentinels.sentinels)

    def close(self) -> None:
        self._sentinels.stop()


class ClusterWorld(World):
    """Three masters with one replica each."""

    masters = 3

    def __init__(self) -> None:
        self._cluster = Cluster(
            SERVER, 3, "--cluster-node-timeout", str(DOWN_AFTER_MS), behind_proxies=True
        )
        self._first_epoch = self._epoch()
        self.url = self._cluster.url

    def nodes(self) -> Sequence[servers.Server]:
        return self._cluster.nodes

    def kill(self, fault: Fault) -> None:
        victim = self._master(fault)
        replica = self._replica_of(victim)
        pause_and_replicate(victim, [replica])
        victim.kill()
        self._cluster.proxies[victim].refuse()
        until("the replica is master", lambda: role(replica) == b"master")
        victim.restart()
        self._cluster.proxies[victim].accept_again()
        self.heal()

    def proxy(self, fault: Fault) -> Proxy:
        return self._cluster.proxies[self._master(fault)]

    def failover(self, fault: Fault) -> None:
        self._cluster.fail_over(self._master(fault))
        self.heal()

    def pause_replica(self, fault: Fault) -> None:
        pause(self._replica_of(self._master(fault)), fault)

    def heal(self) -> None:
        self._cluster.wait()
        until("every master has its replica", self._is_complete)

    def failovers(self) -> int:
        # Every failover increments the epoch, and so does a failed election, which counts as well.
        return self._epoch() - self._first_epoch

    def _epoch(self) -> int:
        told: list[Any] = [node.client().cluster("INFO") for node in self.nodes() if node.running]
        return max(int(info["cluster_current_epoch"]) for info in told)

    def _is_complete(self) -> bool:
        masters = self._cluster.masters()
        return len(masters) * 2 == len(self.nodes()) and all(
            node in masters or node.client().info("replication")["master_link_status"] == "up"
            for node in self.nodes()
        )

    def _master(self, fault: Fault) -> servers.Server:
        masters = self._cluster.masters()
        return masters[fault.choice % len(masters)]

    def _replica_of(self, master: servers.Server) -> servers.Server:
        for node in self.nodes():
            told: Any = node.client().role()
            if told[0] == b"slave" and told[2] == self._cluster.port(master):
                return node
        raise LookupError(f"port {master.port} has no replica")

    def close(self) -> None:
        self._cluster.stop()


WORLDS: dict[str, type[World]] = {
    "standalone": Standalone,
    "sentinel": SentinelWorld,
    "cluster": ClusterWorld,
}


def role(node: servers.Server) -> bytes:
    """Return the role of a server: b"master" or b"slave"."""
    told: Any = node.client().role()
    return bytes(told[0])


def pause(node: servers.Server, fault: Fault) -> None:
    """Pause a process for the duration of the fault."""
    node.pause()
    time.sleep(fault.seconds)
    node.resume()


def pause_and_replicate(master: servers.Server, replicas: Sequence[servers.Server]) -> None:
    """Pause the writes of a master, and wait until its replicas have applied all earlier ones."""
    with master.client() as admin:
        admin.execute_command("CLIENT", "PAUSE", PAUSE_MS, "WRITE")
        info: Any = admin.info("replication")
    for replica in replicas:
        until("replicas have all writes", partial(_has_offset, replica, info["master_repl_offset"]))


def _has_offset(replica: servers.Server, offset: int) -> bool:
    info: Any = replica.client().info("replication")
    return int(info.get("slave_repl_offset", 0)) >= offset
