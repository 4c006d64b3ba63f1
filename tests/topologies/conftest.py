"""Fixtures for topologies. Each topology is started once per run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.processes import Cluster, Sentinels
from tests.support.real_servers import real_servers
from tests.support.topologies import PRODUCTS, Caller


@pytest.fixture(scope="session", params=real_servers(PRODUCTS))
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with Cluster(request.param) as started:
        yield started


@pytest.fixture(scope="session", params=real_servers(PRODUCTS))
def sentinels(request: pytest.FixtureRequest) -> Iterator[Sentinels]:
    with Sentinels(request.param) as started:
        yield started


@pytest.fixture(params=["sync", "async"])
def caller(request: pytest.FixtureRequest) -> Iterator[Caller]:
    made = Caller(request.param)
    yield made
    made.close()
    made.loop.run_until_complete(made.loop.shutdown_asyncgens())
    made.loop.close()
