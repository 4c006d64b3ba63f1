"""Contenders, and the table of ratios at the end of ``make bench``.

Every benchmark belongs to a group (one operation) and has one contender. A ratio compares two
contenders of one group within one run, by the time of their fastest round. No test asserts a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import fakeredis
import pytest
import redis

from pytest_podlink import servers
from redis_emulator import RedisEmulator
from tests.benchmarks.contenders import (
    ALONE,
    EMULATOR,
    FAKEREDIS,
    FASTEST,
    RATIOS,
    SET_LINK,
    Silent,
)


@pytest.fixture(scope="session")
def real_server() -> Iterator[servers.Server]:
    """A real Redis."""
    with servers.start("redis-8.2") as server:
        yield server


@pytest.fixture
def contender(request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    """A client of the contender that the benchmark is parametrized with."""
    name = request.param
    if name == ALONE:
        client = redis.Redis(connection_pool=redis.ConnectionPool(connection_class=Silent))
    elif name == EMULATOR:
        client = RedisEmulator().client()
    elif name == FAKEREDIS:
        client = fakeredis.FakeRedis()
    else:
        server = request.getfixturevalue("real_server")
        client = redis.Redis(port=server.port)
    if name != ALONE:
        client.flushall()
        client.script_load(SET_LINK.source)
    yield client
    client.close()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    session = getattr(config, "_benchmarksession", None)
    if session is None:
        return
    fastest = FASTEST | {
        (bench.group, bench.extra_info["contender"]): bench.stats.min
        for bench in session.benchmarks
        if "contender" in bench.extra_info
    }
    terminalreporter.section("ratios")
    for group, one, other, wanted in RATIOS:
        if (group, one) in fastest and (group, other) in fastest:
            ratio = fastest[group, other] / fastest[group, one]
            verdict = "reached" if ratio >= wanted else "MISSED"
            terminalreporter.write_line(
                f"{group:<28} {one} / {other}: {ratio:.2f}  (wanted {wanted:g}, {verdict})"
            )
