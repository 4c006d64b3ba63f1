"""Real topologies: a cluster, a master behind Sentinels, a server with TLS and users."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import redis

from pytest_podlink import servers
from tests.support.proxy import Proxy

SLOTS = 16384
NODE_TIMEOUT_MS = 1_000


def until(
    what: str,
    true: Callable[[], object],
    about: Callable[[], str] = str,
    seconds: float = 60.0,
) -> None:
    """Poll until ``true()`` is true; errors of the server count as false.

    Raises:
        AssertionError: it was not true within ``seconds``; the message ends with ``about()``.
    """
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(redis.RedisError, OSError):
            if true():
                return
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s\n{about()}"
        time.sleep(0.02)


class Cluster:
    """Masters, each with one replica.

    Attributes:
        proxies: of each node, with ``behind_proxies``: the nodes announce them, so that clients and
            replicas connect through them. The cluster bus does not.
    """

    def __init__(
        self, name: str, masters: int = 3, *extra_args: str, behind_proxies: bool = False
    ) -> None:
        arguments = (
            *("--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS)),
            *("--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"),
            *extra_args,
        )
        self._stack = contextlib.ExitStack()
        self.proxies: dict[servers.Server, Proxy] = {}
        try:
            self.nodes = [
                self._stack.enter_context(servers.start(name, extra_args=arguments))
                for _ in range(2 * masters)
            ]
            if behind_proxies:
                for node in self.nodes:
                    self._announce_proxy(node)
            self._form(masters)
        except BaseException:
            self._stack.close()
            raise

    def _announce_proxy(self, node: servers.Server) -> None:
        proxy = self.proxies[node] = self._stack.enter_context(Proxy(node.port))
        ports = {"cluster-announce-port": proxy.port, "cluster-announce-bus-port": _bus(node)}
        for setting, port in ports.items():
            node.client().config_set(setting, port)
            node.extra_args += (f"--{setting}", str(port))

    def port(self, node: servers.Server) -> int:
        """The port that a node announces."""
        return self.proxies[node].port if node in self.proxies else node.port

    def _form(self, masters: int) -> None:
        admins = [node.client() for node in self.nodes]
        for place, admin in enumerate(admins):
            admin.execute_command("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
            if place < masters:
                first, last = SLOTS * place // masters, SLOTS * (place + 1) // masters - 1
                admin.execute_command("CLUSTER", "ADDSLOTS", *range(first, last + 1))
            if place:
                first_node = self.nodes[0]
                where = "127.0.0.1", self.port(first_node), _bus(first_node)
                admin.execute_command("CLUSTER", "MEET", *where)
        everybody = len(self.nodes)
        for admin in admins:
            until("the nodes know each other", partial(self._knows, admin, everybody))
        ids = [admin.execute_command("CLUSTER", "MYID").decode() for admin in admins]
        for place, admin in enumerate(admins[masters:]):
            admin.execute_command("CLUSTER", "REPLICATE", ids[place])
        for admin in admins:
            until("the cluster is well", partial(self._is_well, admin))
        for admin in admins[masters:]:
            until("replicas are in step", partial(_link_is_up, admin))

    @staticmethod
    def _knows(admin: redis.Redis, nodes: int) -> bool:
        return int(_info(admin)["cluster_known_nodes"]) == nodes

    @staticmethod
    def _is_well(admin: redis.Redis) -> bool:
        info = _info(admin)
        return info["cluster_state"] == "ok" and info["cluster_slots_ok"] == str(SLOTS)

    @property
    def url(self) -> str:
        """The cluster's URL, with two of its nodes."""
        return "redis+cluster://" + ",".join(
            f"127.0.0.1:{self.port(node)}" for node in self.nodes[:2]
        )

    def client(self) -> redis.RedisCluster:
        """Return a cluster client."""
        return redis.RedisCluster(host="127.0.0.1", port=self.nodes[0].port)

    def masters(self) -> list[servers.Server]:
        """Return the running nodes that are masters."""
        return [n for n in self.nodes if n.running and n.client().role()[0] == b"master"]

    def master_of(self, key: bytes) -> servers.Server:
        """Return the master that serves a key."""
        slot = next(iter(self.masters())).client().execute_command("CLUSTER", "KEYSLOT", key)
        for master in self.masters():
            for first, last, (_, port, *_), *_ in _slots(master.client()):
                if first <= slot <= last and port == self.port(master):
                    return master
        raise LookupError(f"nobody serves slot {slot}")

    def slots_of(self, master: servers.Server) -> list[int]:
        """Return the slots that a master serves."""
        return [
            slot
            for first, last, (_, port, *_), *_ in _slots(master.client())
            for slot in range(first, last + 1)
            if port == self.port(master)
        ]

    def move_slot(self, slot: int, source: servers.Server, target: servers.Server) -> None:
        """Move a slot with its keys, as redis-cli does."""
        giver, taker = source.client(), target.client()
        giver_id = giver.execute_command("CLUSTER", "MYID").decode()
        taker_id = taker.execute_command("CLUSTER", "MYID").decode()
        taker.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", giver_id)
        giver.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", taker_id)
        while keys := giver.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            giver.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for admin in (taker, giver):
            admin.execute_command("CLUSTER", "SETSLOT", slot, "NODE", taker_id)

    def fail_over(self, master: servers.Server) -> None:
        """Promote the replica of a master, whether the master runs or not."""
        for node in self.nodes:
            role = node.client().role() if node.running else [b""]
            if role[0] == b"slave" and role[2] == self.port(master):
                how = () if master.running else ("FORCE",)
                for attempt in range(10):  # servers give up a failover after five seconds
                    node.client().execute_command("CLUSTER", "FAILOVER", *how)
                    try:
                        until("the replica is master", partial(_is_master, node), seconds=6)
                        return
                    except AssertionError:
                        if attempt == 9:
                            raise
                return
        raise LookupError("the master has no replica")

    def wait(self) -> None:
        """Wait until all running nodes report that the cluster is ok."""
        for node in self.nodes:
            if node.running:
                until("the cluster is well", partial(self._is_well, node.client()))

    def stop(self) -> None:
        self._stack.close()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Sentinels:
    """A master, two replicas, and three Sentinels that watch them.

    Attributes:
        proxies: of each process, with ``behind_proxies``. Clients know the proxies of the Sentinels
            only, and those of master and replicas are announced, so that clients, replicas and
            Sentinels connect through them.
    """

    service = "links"

    def __init__(
        self, name: str, *, down_after_ms: int = 500, behind_proxies: bool = False
    ) -> None:
        self._down_after_ms = down_after_ms
        self._behind_proxies = behind_proxies
        self.proxies: dict[servers.Server, Proxy] = {}
        self._own_args: dict[servers.Server, tuple[str, ...]] = {}
        self._stack = contextlib.ExitStack()
        try:
            self.master = self._start(name)
            place = ("127.0.0.1", str(self.port(self.master)))
            self.replicas = [
                self._start(name, extra_args=("--replicaof", *place)) for _ in range(2)
            ]
            self.sentinels = [self._start(name, config=self._config()) for _ in range(3)]
            for replica in self.replicas:
                until("replicas are in step", partial(_link_is_up, replica.client()))
            for sentinel in self.sentinels:
                until("Sentinels know each other", partial(self._knows_all, sentinel))
        except BaseException:
            self._stack.close()
            raise

    def _start(
        self, name: str, *, extra_args: tuple[str, ...] = (), config: str | None = None
    ) -> servers.Server:
        proxy = self._stack.enter_context(Proxy(0)) if self._behind_proxies else None
        own: tuple[str, ...] = ("--sentinel",)
        if config is None:
            own = ("--repl-diskless-sync-delay", "0")
            if proxy is not None:
                own += ("--replica-announce-ip", "127.0.0.1")
                own += ("--replica-announce-port", str(proxy.port))
        started = servers.start(name, extra_args=(*own, *extra_args), config=config)
        if proxy is not None:
            proxy.target = started.port
            self.proxies[started] = proxy
        self._own_args[started] = own
        return self._stack.enter_context(started)

    def port(self, process: servers.Server) -> int:
        """The port that clients connect to."""
        return self.proxies[process].port if process in self.proxies else process.port

    def _config(self) -> str:
        return "\n".join(
            (
                f"sentinel monitor {self.service} 127.0.0.1 {self.port(self.master)} 2",
                f"sentinel down-after-milliseconds {self.service} {self._down_after_ms}",
                f"sentinel failover-timeout {self.service} 3000",
                "",
            )
        )

    def _knows_all(self, sentinel: servers.Server) -> bool:
        told = _asked(sentinel, "MASTER", self.service)
        return bool(told["num-slaves"] == 2 and told["num-other-sentinels"] == 2)

    @property
    def url(self) -> str:
        """The URL of the service, with all Sentinels."""
        nodes = ",".join(f"127.0.0.1:{self.port(sentinel)}" for sentinel in self.sentinels)
        return f"redis+sentinel://{nodes}/{self.service}"

    def current(self, other_than: servers.Server | None = None) -> servers.Server:
        """Wait until all Sentinels name one master, other than ``other_than``, and return it."""
        found: servers.Server | None = None

        def agreed() -> bool:
            nonlocal found
            found = self._agreed()
            return found not in (None, other_than)

        until("Sentinels agree", agreed, self._about)
        assert found is not None
        return found

    def _agreed(self) -> servers.Server | None:
        ports = set()
        for sentinel in self.sentinels:
            ports.add(int(_asked(sentinel, "GET-MASTER-ADDR-BY-NAME", self.service)[1]))
        nodes = (self.master, *self.replicas)
        return next((node for node in nodes if ports == {self.port(node)}), None)

    def kill(self, node: servers.Server) -> None:
        """End a process as a crash would; connections to it are refused until `rejoin`."""
        node.kill()
        if node in self.proxies:
            self.proxies[node].refuse()

    def rejoin(self, node: servers.Server) -> None:
        """Restart a node that is no longer the master, and wait until another node may be stopped.

        It starts as a replica that serves no stale data. If it started as an empty master, writes
        to it would be lost: the Sentinel that carries out the failover lists it as the master,
        which redis-py believes, for seconds after `current` has returned the promoted replica.
        """
        master = self.current(other_than=node)
        node.extra_args = (
            *(*self._own_args[node], "--replica-serve-stale-data", "no"),
            *("--replicaof", "127.0.0.1", str(self.port(master))),
        )
        node.restart()
        if node in self.proxies:
            self.proxies[node].accept_again()
        until("all follow the master", self._all_follow, self._about)
        for sentinel in self.sentinels:
            until(
                "Sentinels see that they do",
                partial(self._sees_all_follow, sentinel),
                self._about,
            )

    def _about(self) -> str:
        """Return what Sentinels and servers report, and the end of their logs."""
        told = []
        for sentinel in self.sentinels:
            told.append(f"{sentinel.port}: {_asked(sentinel, 'MASTER', self.service)}")
        for node in (self.master, *self.replicas):
            told.append(f"{node.port}: {node.client().info('replication')}")
        for process in (*self.sentinels, self.master, *self.replicas):
            told += [f"{process.port}:", *process.log.splitlines()[-25:]]
        return "\n".join(told)

    def _all_follow(self) -> bool:
        master = self._agreed()
        if master is None or master.client().info("replication")["role"] != "master":
            return False
        followers = [node for node in (self.master, *self.replicas) if node is not master]
        abouts: list[Any] = [node.client().info("replication") for node in followers]
        return all(
            (about["role"], about.get("master_port"), about.get("master_link_status"))
            == ("slave", self.port(master), "up")
            for about in abouts
        )

    def _sees_all_follow(self, sentinel: servers.Server) -> bool:
        port = self.port(self.current())
        master = _asked(sentinel, "MASTER", self.service)
        replicas = _asked(sentinel, "SLAVES", self.service)
        return (
            (master["port"], master["flags"]) == (port, "master")
            and len(replicas) == 2
            and all(
                (replica["flags"], replica["master-link-status"], replica["master-port"])
                == ("slave", "ok", port)
                for replica in replicas
            )
        )

    def stop(self) -> None:
        self._stack.close()

    def __enter__(self) -> Sentinels:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _asked(sentinel: servers.Server, subcommand: str, service: str) -> Any:
    """Return the reply of a Sentinel. redis-py 6.4's own methods fail."""
    return sentinel.client().execute_command(f"SENTINEL {subcommand}", service)


@contextlib.contextmanager
def tls_proxy(server: servers.Server, folder: Path) -> Iterator[str]:
    """Start a TLS proxy for a server (the servers of the wheels have no TLS) and yield its URL.

    openssl makes the certificate.
    """
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with Proxy(server.port, tls=context) as proxy:
        yield f"rediss://localhost:{proxy.port}/0?ssl_ca_certs={certificate}"


def _bus(node: servers.Server) -> int:
    """The port of the cluster bus."""
    return node.port + 10_000


def _info(admin: redis.Redis) -> dict[str, str]:
    info: Any = admin.execute_command("CLUSTER", "INFO")
    if isinstance(info, dict):
        return info
    return dict(line.split(":") for line in info.decode().split() if ":" in line)


def _slots(admin: redis.Redis) -> Any:
    slots: Any = admin.execute_command("CLUSTER", "SLOTS")
    if isinstance(slots, dict):
        return [
            (first, last, (None, found["primary"][1])) for (first, last), found in slots.items()
        ]
    return slots


def _is_master(node: servers.Server) -> bool:
    told: Any = node.client().role()
    return bool(told[0] == b"master")


def _link_is_up(replica: redis.Redis) -> bool:
    info: Any = replica.info("replication")
    return bool(info["role"] == "slave" and info["master_link_status"] == "up")
