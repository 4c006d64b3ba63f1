"""Options, ini keys and fixtures of the pytest plugin.

Every pytest run in an environment with podlink imports this module, so other packages are imported
inside the functions that need them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import redis

    from podlink import AsyncStatefulExecutor, StatefulExecutor
    from pytest_podlink.backend import Backend
    from pytest_podlink.backends import Backends
    from pytest_podlink.clock import StatefulClock
    from redis_emulator import RedisEmulator

DEFAULT = ["emulator"]
USED = "stateful_backend"

_backends = pytest.StashKey["Backends"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--stateful-backend`, `--stateful-flush` and their ini keys."""
    group = parser.getgroup("podlink", "stateful backends (podlink)")
    group.addoption(
        "--stateful-backend",
        action="append",
        metavar="NAME",
        help="run tests that use a stateful fixture on NAME: emulator (default), redis, valkey,"
        " one of a certain version (redis-8.2), a redis:// URL, or all; repeat it for several",
    )
    group.addoption(
        "--stateful-flush",
        action="store_true",
        help="allow tests to delete the keys in the database of a URL backend",
    )
    parser.addini(
        "stateful_backends", "backends to run on when --stateful-backend is not given", type="args"
    )
    parser.addini("stateful_flush", "same as --stateful-flush", type="bool", default=False)


def wanted(config: pytest.Config) -> list[str]:
    """The names of the requested backends: the option, else the ini key, else the emulator."""
    given: list[str] = config.getoption("stateful_backend") or config.getini("stateful_backends")
    return list(given) or DEFAULT


def backends(config: pytest.Config) -> Backends:
    """The backends of this run; `pytest_sessionfinish` closes them.

    Raises:
        pytest.UsageError: one of them is unknown or not available.
    """
    if _backends not in config.stash:
        from pytest_podlink.backend import BackendError
        from pytest_podlink.backends import Backends

        worker: dict[str, object] = getattr(config, "workerinput", {})
        try:
            config.stash[_backends] = Backends(
                wanted(config),
                flush=config.getoption("stateful_flush") or config.getini("stateful_flush"),
                worker=int(str(worker.get("workerid", "gw0")).removeprefix("gw")),
                workers=int(str(worker.get("workercount", 0))) or _workers(config),
            )
        except BackendError as error:
            raise pytest.UsageError(f"podlink: {error}") from error
    return config.stash[_backends]


def _workers(config: pytest.Config) -> int:
    """The number of pytest-xdist workers that this process starts; 1 without pytest-xdist."""
    return len(getattr(config.option, "tx", None) or ()) or 1


def pytest_configure(config: pytest.Config) -> None:
    """Raises a usage error before the tests are collected if a backend is not available."""
    if wanted(config) == DEFAULT:
        return
    from pytest_podlink.backend import BackendError

    chosen = backends(config)
    if not hasattr(config, "workerinput"):
        try:
            chosen.check()
        except BackendError as error:
            raise pytest.UsageError(f"podlink: {error}") from error


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Close the backends, also after Ctrl-C, and before a pytest-xdist worker reports its end."""
    if _backends in session.config.stash:
        session.config.stash[_backends].close()


def pytest_report_header(config: pytest.Config) -> list[str]:
    """One line for each requested backend: its name, product and version."""
    if wanted(config) == DEFAULT:
        return []
    return [f"stateful backend {line}" for line in backends(config).describe()]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print how many tests ran on each backend."""
    if wanted(config) == DEFAULT:
        return
    ran = Counter(
        str(value)
        for outcome in ("passed", "failed", "xfailed", "xpassed")
        for report in terminalreporter.getreports(outcome)
        for key, value in report.user_properties
        if key == USED and report.when == "call"
    )
    terminalreporter.section("stateful backends")
    for line in backends(config).describe():
        name = line.rpartition(": ")[0]
        terminalreporter.write_line(f"{line}: {ran[name]} tests")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """If several backends are requested, run a test once on each of them.

    A test that is parametrized with `stateful_backend` itself runs on those backends only.
    """
    marks = metafunc.definition.iter_markers("parametrize")
    if "stateful_backend" in metafunc.fixturenames and not any(
        "stateful_backend" in mark.args[0] for mark in marks
    ):
        names = backends(metafunc.config).names
        if len(names) > 1:
            metafunc.parametrize("stateful_backend", names, indirect=True)


@pytest.fixture
def redis_emulator(pytestconfig: pytest.Config) -> RedisEmulator:
    """The emulator of the emulator backend: a `redis_emulator.RedisEmulator` with a `ManualClock`,
    empty at the start of each test.

    To run the other fixtures on a different emulator, override this fixture:
    ``return RedisEmulator(version="7.0.15", clock=ManualClock())``.
    """
    from pytest_podlink.backend import BackendError
    from pytest_podlink.stores import EmulatorBackend

    try:
        backend = backends(pytestconfig)["emulator"]
    except BackendError as error:
        raise pytest.fail.Exception(f"podlink: {error}", pytrace=False) from None
    assert isinstance(backend, EmulatorBackend)
    backend.reset()
    return backend.emulator


@pytest.fixture
def stateful_backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The empty backend that this test runs on (`pytest_podlink.backend.Backend`)."""
    from pytest_podlink.backend import BackendError
    from pytest_podlink.stores import EmulatorBackend

    chosen = backends(request.config)
    if len(chosen.names) > 1 and not hasattr(request, "param"):
        pytest.fail(
            "podlink: with several backends a test must name its stateful fixtures as arguments,"
            " not get them with getfixturevalue()",
            pytrace=False,
        )
    name: str = getattr(request, "param", chosen.names[0])
    backend: Backend
    if name == "emulator":
        backend = EmulatorBackend(request.getfixturevalue("redis_emulator"))
    else:
        try:
            backend = chosen[name]
        except BackendError as error:
            raise pytest.exit.Exception(
                f"podlink: {error}", returncode=pytest.ExitCode.USAGE_ERROR
            ) from None
        backend.reset()
    request.node.user_properties.append((USED, name))
    yield backend
    backend.release()


@pytest.fixture
def stateful_redis(stateful_backend: Backend) -> redis.Redis:
    """A `redis.Redis` client of the test's backend, without redis-py's retries: those would repeat
    writes whose outcome is unknown. The executor has its own retry policy.
    """
    import redis

    from podlink.clients import no_retry

    return stateful_backend.client(retry=no_retry(redis.Redis))


@pytest.fixture
def stateful_executor(stateful_redis: redis.Redis) -> StatefulExecutor:
    """A `podlink.StatefulExecutor` on the test's backend."""
    from podlink import StatefulExecutor

    return StatefulExecutor(stateful_redis)


@pytest.fixture
def async_stateful_executor(stateful_backend: Backend) -> AsyncStatefulExecutor:
    """A `podlink.AsyncStatefulExecutor` on the test's backend, usable in any event loop."""
    import redis.asyncio

    from podlink import AsyncStatefulExecutor
    from podlink.clients import no_retry

    client = stateful_backend.async_client(retry=no_retry(redis.asyncio.Redis))
    return AsyncStatefulExecutor(client)


@pytest.fixture
def stateful_clock(stateful_backend: Backend) -> StatefulClock:
    """Moves the time of the test's backend: `stateful_clock.advance(seconds)`."""
    return stateful_backend.clock
