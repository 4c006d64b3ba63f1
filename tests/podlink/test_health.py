"""Health checks of both managers, on emulators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import podlink
from podlink import AsyncRedisManager, RedisManager
from redis_emulator import ClusterEmulator, RedisEmulator
from tests.support.managers import FLAVOURS, finished, url_of


@pytest.fixture
def emulator() -> Iterator[RedisEmulator]:
    with RedisEmulator() as made:
        yield made


@pytest.fixture
def url(emulator: RedisEmulator) -> Iterator[str]:
    with emulator.serve() as server:
        yield server.url


@pytest.fixture
def cluster() -> Iterator[ClusterEmulator]:
    with ClusterEmulator(replicas=0) as made, made.serve():
        yield made


@FLAVOURS
@pytest.mark.parametrize("on_cluster", [False, True])
async def test_health(flavour: Any, on_cluster: bool, request: pytest.FixtureRequest) -> None:
    made = request.getfixturevalue("cluster" if on_cluster else "url")
    manager = flavour(url_of(made) if on_cluster else made)
    health = await finished(manager.health_check(timeout=50.0))
    assert health
    assert (health.server, health.error) == ("redis", None)
    assert health.version is not None
    assert 0 < health.latency < 50
    assert health.url == manager.get_config().url
    await finished(manager.close())
    closed = await finished(manager.health_check())
    assert not closed
    assert isinstance(closed.error, podlink.RedisConnectionError)
    assert closed.url == health.url
    assert closed.latency is None


@FLAVOURS
async def test_health_without_permission_for_info(
    flavour: Any, emulator: RedisEmulator, url: str
) -> None:
    with emulator.client() as admin:
        admin.acl_setuser("me", enabled=True, nopass=True, commands=["+ping"], keys=["*"])
    manager = flavour(url.replace("//", "//me:any@"))
    health = await finished(manager.health_check())
    assert health
    assert (health.server, health.version) == (None, None)
    await finished(manager.close())


@FLAVOURS
async def test_health_of_a_client_that_was_handed_in(flavour: Any, emulator: RedisEmulator) -> None:
    client: Any = emulator.client() if flavour is RedisManager else emulator.async_client()
    health = await finished(flavour(client).health_check())
    assert health
    assert health.url is None
    await finished(client.close() if flavour is RedisManager else client.aclose())


@FLAVOURS
async def test_health_asks_all_primaries(flavour: Any, cluster: ClusterEmulator) -> None:
    manager = flavour(url_of(cluster))
    assert await finished(manager.health_check())
    for node in cluster.masters:
        with node.faults.fail("PING", error="ERR not well"):
            health = await finished(manager.health_check())
        assert isinstance(health.error, podlink.RedisOperationError)
        assert "not well" in str(health.error)
    assert await finished(manager.health_check())
    await finished(manager.close())


@FLAVOURS
async def test_health_of_a_server_that_does_not_answer_info(
    flavour: Any, emulator: RedisEmulator, url: str
) -> None:
    manager = flavour(f"{url}?retry_backoff=0.0001")
    with emulator.faults.drop("INFO"):
        health = await finished(manager.health_check())
    assert health
    assert (health.server, health.version) == (None, None)
    await finished(manager.close())


@pytest.mark.parametrize(("latency", "rest"), [(30.0, 20.0), (70.0, 1e-9)])
async def test_version_is_asked_for_in_the_rest_of_the_time(
    url: str, monkeypatch: pytest.MonkeyPatch, latency: float, rest: float
) -> None:
    manager = AsyncRedisManager(url)
    limits: list[Any] = []

    async def send_to(node: Any, call: Any, options: Any, timeout: Any = None) -> Any:
        if call.wire[0] == "INFO":
            limits.append(timeout)

    monkeypatch.setattr(manager, "send_to", send_to)
    monkeypatch.setattr(podlink.aio.manager, "perf_counter", iter([5.0, 5.0 + latency]).__next__)
    health = await manager.health_check(timeout=50.0)
    assert health.latency == latency
    assert limits == [pytest.approx(rest)]
    await manager.close()
