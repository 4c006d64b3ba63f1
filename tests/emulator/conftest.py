"""The fixtures ``same`` and ``twin``, which compare the emulator with real servers.

``same`` is an emulator and a server, see `tests.support.pair`; ``twin`` is an emulated and a real
cluster, see `tests.support.twin`.

A test that uses one of them runs against Redis 8.2, over RESP2 and RESP3, unless
``@pytest.mark.servers(...)`` names other servers. A server that a PyPI wheel brings for this
interpreter must be there; one that has none runs where it is found on PATH.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_podlink import servers
from tests.support.pair import Pair
from tests.support.processes import Cluster
from tests.support.twin import Twin

_running: dict[str, servers.Server] = {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture in {"same", "twin"}.intersection(metafunc.fixturenames):
        marker = metafunc.definition.get_closest_marker("servers")
        names = [n for n in (marker.args if marker else ("redis-8.2",)) if servers.is_expected(n)]
        sides = [
            pytest.param(
                (name, protocol), marks=pytest.mark.needs_servers, id=f"{name}-resp{protocol}"
            )
            for name in names
            for protocol in (2, 3)
        ]
        metafunc.parametrize(fixture, sides, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests of servers that are not available for this machine."""
    idle = [item for item in items if "NOTSET" in item.name]
    if idle:
        config.hook.pytest_deselected(items=idle)
        items[:] = [item for item in items if item not in idle]


@pytest.fixture
def same(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """An emulator and a real server, both empty; call it with commands."""
    name, protocol = request.param
    if name not in _running:
        _running[name] = servers.start(name)
    elif not _running[name].running:
        _running[name].restart()  # a test before this one has crashed it, and has failed for it
    pair = Pair(_running[name], protocol)
    yield pair
    pair.close()


@pytest.fixture(scope="module")
def clusters() -> Iterator[dict[str, Cluster]]:
    """The real clusters that the tests of a module have started, by server name."""
    started: dict[str, Cluster] = {}
    yield started
    for cluster in started.values():
        cluster.stop()


@pytest.fixture
def twin(request: pytest.FixtureRequest, clusters: dict[str, Cluster]) -> Iterator[Twin]:
    """An emulated cluster and a real one, both empty; call it with a node and a command."""
    name, protocol = request.param
    if name not in clusters:
        clusters[name] = Cluster(name)
    twin = Twin(clusters[name], name, protocol)
    yield twin
    twin.close()


def pytest_unconfigure() -> None:
    while _running:
        _running.popitem()[1].stop()
