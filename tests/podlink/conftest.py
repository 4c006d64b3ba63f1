"""Stores for the tests of routers: the emulator and real servers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from podlink import (
    StatefulExecutor,
)
from pytest_podlink import servers
from tests.support.real_servers import real_servers
from tests.support.routers import PROCESSES

TARGETS = ["emulator", *real_servers(PROCESSES)]
_numbers = itertools.count()


@pytest.fixture(scope="module", params=TARGETS)
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A server process, or ``None`` for the emulator."""
    if request.param == "emulator":
        yield None
        return
    with servers.start(request.param) as started:
        yield started


@pytest.fixture
def url(server: Any) -> Iterator[str]:
    """The URL of an empty store."""
    if server is None:
        yield f"emulator://router-{next(_numbers)}"
        return
    with server.client() as client:
        client.flushall()
    yield server.url


@pytest.fixture
def executor(url: str) -> Iterator[StatefulExecutor]:
    with StatefulExecutor(url) as made:
        yield made
