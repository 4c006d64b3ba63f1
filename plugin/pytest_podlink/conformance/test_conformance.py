"""The tests that `pytest --pyargs pytest_podlink.conformance` runs.

One state machine runs in lock-step on the model, the emulator and each backend of
`--stateful-backend`. There is one test for each of sync and asyncio, RESP2 and RESP3. The number of
histories is the ``max_examples`` of hypothesis (100, or that of ``--hypothesis-profile``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from pytest_podlink import plugin
from pytest_podlink.backend import Backend, BackendError
from pytest_podlink.conformance.machine import run
from pytest_podlink.conformance.store import Store


@pytest.fixture
def every_backend(request: pytest.FixtureRequest) -> list[Backend]:
    """The emulator and the requested backends."""
    chosen = plugin.backends(request.config)
    every: list[Backend] = []
    for name in dict.fromkeys(["emulator", *chosen.names]):
        try:
            backend = chosen[name]
        except BackendError as error:
            pytest.fail(f"podlink: {error}", pytrace=False)
        backend.reset()
        request.node.user_properties.append((plugin.USED, name))
        every.append(backend)
    return every


@pytest.fixture(params=["sync", "asyncio"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop | None]:
    """The event loop of asyncio executors; None for sync ones."""
    if request.param == "sync":
        yield None
        return
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@pytest.mark.parametrize("protocol", [2, 3], ids=["resp2", "resp3"])
def test_links_are_as_the_contract_says(
    every_backend: list[Backend], loop: asyncio.AbstractEventLoop | None, protocol: int
) -> None:
    stores = [Store(backend, loop=loop, protocol=protocol) for backend in every_backend]
    try:
        run(stores, settings().max_examples, suppress_health_check=list(HealthCheck))
    finally:
        for store in stores:
            store.close()
