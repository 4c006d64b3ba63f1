"""What `pytest --pyargs pytest_podlink.conformance` runs: the machine, on every backend at once.

The model, the emulator and each backend of `--stateful-backend` go in lock-step. Every way to reach
them is a test of its own: sync and asyncio, RESP2 and RESP3. How many histories each tries is
hypothesis' ``max_examples`` (100, or what ``--hypothesis-profile`` says).
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
    """The emulator, and all that the run was asked for."""
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
    """Where asyncio executors run; None for sync ones."""
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
