"""A fault of the server is the same exception in process and over TCP. No write is sent twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import pytest

from podlink import AsyncStatefulExecutor, StatefulError, StatefulExecutor
from redis_emulator import ClusterEmulator, RedisEmulator
from redis_emulator.emulator import Emulator

_names = count()
WAYS = ("emulator", "tcp", "emulator+cluster", "redis+cluster")


@pytest.fixture(params=WAYS)
def store(request: pytest.FixtureRequest) -> Iterator[tuple[str, Sequence[Emulator]]]:
    """A URL, and the emulators that it leads to."""
    name = f"same-failure-{next(_names)}"
    if "cluster" in request.param:
        cluster = ClusterEmulator.named(name)
        if request.param.startswith("emulator"):
            yield f"emulator+cluster://{name}", cluster.nodes
        else:
            with cluster.serve():
                ports = [node.port for node in cluster.masters]
                hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
                yield f"redis+cluster://{hosts}", cluster.nodes
        cluster.close()
        return
    emulator = RedisEmulator.named(name)
    if request.param == "emulator":
        yield f"emulator://{name}", [emulator]
    else:
        with emulator.serve() as server:
            yield server.url, [emulator]
    emulator.close()


def outcome(error: StatefulError) -> tuple[str, bool]:
    return str(error.code.value), error.outcome_unknown


@pytest.mark.parametrize("when", ["before", "after"])
def test_connection_dropped_before_or_after_a_write(
    store: tuple[str, Sequence[Emulator]], when: Any
) -> None:
    url, emulators = store
    with StatefulExecutor(url) as links:
        links.set_linked_pod("ns", "uid", "service", 1)
        faults = [each.faults.drop("EVALSHA", when=when, times=1) for each in emulators]
        with pytest.raises(StatefulError) as caught:
            links.set_linked_pod("ns", "uid", "service", 2)
        assert outcome(caught.value) == ("REDIS_CONNECTION_ERROR", True)
        assert sum(fault.hits for fault in faults) == 1
        for fault in faults:
            fault.withdraw()
        assert links.get_linked_pod("ns", "uid", "service") == (2 if when == "after" else 1)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_asyncio_connection_dropped_before_or_after_a_write(
    store: tuple[str, Sequence[Emulator]], when: Any
) -> None:
    url, emulators = store
    async with AsyncStatefulExecutor(url) as links:
        await links.set_linked_pod("ns", "uid", "service", 1)
        faults = [each.faults.drop("EVALSHA", when=when, times=1) for each in emulators]
        with pytest.raises(StatefulError) as caught:
            await links.set_linked_pod("ns", "uid", "service", 2)
        assert outcome(caught.value) == ("REDIS_CONNECTION_ERROR", True)
        assert sum(fault.hits for fault in faults) == 1
        for fault in faults:
            fault.withdraw()
        assert await links.get_linked_pod("ns", "uid", "service") == (2 if when == "after" else 1)


@pytest.mark.parametrize("stateful_backend", ["emulator"], indirect=True)
def test_plugin_executor_sends_no_write_twice(
    stateful_executor: StatefulExecutor, redis_emulator: RedisEmulator
) -> None:
    stateful_executor.set_linked_pod("ns", "uid", "service", 1)
    fault = redis_emulator.faults.drop("EVALSHA", when="after", times=1)
    with pytest.raises(StatefulError) as caught:
        stateful_executor.set_linked_pod("ns", "uid", "service", 2)
    assert outcome(caught.value) == ("REDIS_CONNECTION_ERROR", True)
    assert fault.hits == 1


@pytest.mark.parametrize("stateful_backend", ["emulator"], indirect=True)
async def test_asyncio_plugin_executor_sends_no_write_twice(
    async_stateful_executor: AsyncStatefulExecutor, redis_emulator: RedisEmulator
) -> None:
    await async_stateful_executor.set_linked_pod("ns", "uid", "service", 1)
    fault = redis_emulator.faults.drop("EVALSHA", when="after", times=1)
    with pytest.raises(StatefulError) as caught:
        await async_stateful_executor.set_linked_pod("ns", "uid", "service", 2)
    assert outcome(caught.value) == ("REDIS_CONNECTION_ERROR", True)
    assert fault.hits == 1
