"""The conformance state machine on a cluster, with Sentinel, over TLS and as an ACL user."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck

from podlink import RedisConfig
from podlink.aio.connections import connect as connect_async
from podlink.connections import connect, disconnect
from pytest_podlink import servers
from pytest_podlink.backend import Backend
from pytest_podlink.clock import ServerClock
from pytest_podlink.cluster import ClusterBackend
from pytest_podlink.conformance.machine import run
from pytest_podlink.conformance.store import Store
from pytest_podlink.loops import LoopGuard
from tests.support.processes import Cluster, Sentinels, tls_proxy
from tests.support.real_servers import real_servers
from tests.support.topologies import EXAMPLES

pytestmark = pytest.mark.xdist_group("topologies")


class ConfiguredBackend(Backend):
    """A backend for any configuration, with a client of an administrator for `reset`."""

    def __init__(self, config: RedisConfig, admin: redis.Redis) -> None:
        self.name = config.url
        self.clock = ServerClock(admin)
        self._config = config
        self._admin = admin
        self._clients: list[Any] = []
        self._guards: list[LoopGuard] = []

    def client(self, **options: Any) -> Any:
        decode = options.pop("decode_responses", False)
        client = connect(self._config.with_changes(**options))
        client.connection_pool.connection_kwargs["decode_responses"] = decode
        self._clients.append(client)
        return client

    def async_client(self, **options: Any) -> Any:
        decode = options.pop("decode_responses", False)
        client, sender = connect_async(self._config.with_changes(**options))
        client.connection_pool.connection_kwargs["decode_responses"] = decode
        guard = LoopGuard(sender.close)
        asyncio.get_event_loop_policy().get_event_loop().run_until_complete(guard.enter())
        self._guards.append(guard)
        return client

    def nodes(self) -> list[redis.Redis]:
        return [self._admin]

    def reset(self) -> None:
        self._admin.flushall()

    def release(self) -> None:
        for client in self._clients:
            disconnect(client)
        for guard in self._guards:
            guard.close()

    def __str__(self) -> str:
        return self.name


@pytest.fixture(params=["sync", "asyncio"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop | None]:
    if request.param == "sync":
        yield None
        return
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    asyncio.set_event_loop(None)
    loop.close()


def run_histories(backend: Backend, loop: asyncio.AbstractEventLoop | None) -> None:
    """Run histories of the state machine on a backend."""
    backend.reset()
    store = Store(backend, loop=loop, protocol=3)
    try:
        run([store], EXAMPLES, database=None, suppress_health_check=list(HealthCheck))
    finally:
        store.close()


def test_cluster_conforms(cluster: Cluster, loop: asyncio.AbstractEventLoop | None) -> None:
    backend = ClusterBackend(cluster.url, cluster.url, flush=True)
    run_histories(backend, loop)
    backend.close()


def test_sentinel_conforms(sentinels: Sentinels, loop: asyncio.AbstractEventLoop | None) -> None:
    with sentinels.current().client() as admin:
        run_histories(ConfiguredBackend(RedisConfig.from_url(sentinels.url), admin), loop)


@pytest.fixture(scope="module", params=real_servers(["redis-8.2"]))
def server(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    with servers.start(request.param) as started:
        yield started


def test_tls_server_conforms(
    server: servers.Server,
    loop: asyncio.AbstractEventLoop | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with server.client() as admin, tls_proxy(server, tmp_path_factory.mktemp("tls")) as url:
        run_histories(ConfiguredBackend(RedisConfig.from_url(url), admin), loop)


COMMANDS = (
    "del dump expire get hdel hexists hget hgetall hkeys hset mget pexpire pttl set time type "
    "evalsha eval scan hello client|setinfo client|setname"
)


def test_restricted_acl_user_conforms(
    server: servers.Server, loop: asyncio.AbstractEventLoop | None
) -> None:
    """A user with only the commands that podlink's documentation lists, and only podlink's keys."""
    rules = [f"+{name}" for name in COMMANDS.split()]
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "links", "reset", "on", ">pw", "~sf:*", *rules)
        url = f"redis://links:pw@127.0.0.1:{server.port}"
        run_histories(ConfiguredBackend(RedisConfig.from_url(url), admin), loop)
        admin.execute_command("ACL", "DELUSER", "links")
