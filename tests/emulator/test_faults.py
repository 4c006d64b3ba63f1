"""Injected faults through every transport; server states with the error texts of real servers."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from redis_emulator import ManualClock, RedisEmulator
from tests.support.pair import Pair
from tests.support.transports import TRANSPORTS, Transport, connection_of
from tests.support.waiting import is_busy, until

EVERY_SERVER = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Transport]:
    transport = Transport(request.param, RedisEmulator(), tmp_path)
    yield transport
    transport.close()


@pytest.fixture
def client(transport: Transport) -> redis.Redis:
    """A client without retries."""
    return transport.client(retry=Retry(NoBackoff(), 0))


def test_error_is_returned_a_number_of_times(transport: Transport, client: redis.Redis) -> None:
    fault = transport.emulator.faults.fail("SET", error="OOM no memory left", times=2)
    for _ in range(2):
        with pytest.raises(redis.ResponseError, match="no memory left"):
            client.set("k", "v")
        assert client.get("k") is None
    assert client.set("k", "v")
    assert fault.hits == 2
    assert not transport.emulator.faults.active


def test_error_code_selects_the_exception_class(transport: Transport, client: redis.Redis) -> None:
    transport.emulator.faults.fail("GET", error="NOSCRIPT gone", times=1)
    with pytest.raises(redis.exceptions.NoScriptError):
        client.get("k")
    transport.emulator.faults.fail("GET", error="READONLY not here", times=1)
    with pytest.raises(redis.exceptions.ReadOnlyError):
        client.get("k")


def test_fault_applies_to_matching_commands(transport: Transport, client: redis.Redis) -> None:
    faults = transport.emulator.faults

    def failing(*command: str) -> bool:
        try:
            client.execute_command(*command)
        except redis.ResponseError as error:
            return "planted" in str(error)
        return False

    with faults.fail("h*", error="ERR planted"):
        assert failing("HSET", "h", "f", "v")
        assert failing("hget", "h", "f")
        assert not failing("SET", "k", "v")
    with faults.fail("config get", error="ERR planted"):
        assert failing("CONFIG GET", "maxmemory")
        assert not failing("CONFIG SET", "maxmemory", "0")
    with faults.fail("CONFIG", error="ERR planted"):
        assert failing("CONFIG SET", "maxmemory", "0")
    with faults.fail(lambda argv: b"bad" in argv, error="ERR planted"):
        assert failing("SET", "bad", "v")
        assert not failing("SET", "good", "v")
    assert not failing("HSET", "h", "f", "v")


def test_skip_times_and_chance() -> None:
    def outcomes(seed: int) -> list[bool]:
        with RedisEmulator(seed=seed) as emulator:
            client = emulator.client()
            emulator.faults.fail("INCR*", chance=0.5)
            results = []
            for _ in range(50):
                try:
                    client.incr("n")
                    results.append(True)
                except redis.ResponseError:
                    results.append(False)
            client.close()
            return results

    assert outcomes(1) == outcomes(1) != outcomes(2)
    assert 10 < sum(outcomes(1)) < 40
    with RedisEmulator() as emulator, emulator.client() as client:
        emulator.faults.fail("INCR*", skip=2, times=1)
        assert [client.incr("n"), client.incr("n")] == [1, 2]
        with pytest.raises(redis.ResponseError, match="injected fault"):
            client.incr("n")
        assert client.incr("n") == 3


def test_invalid_fault_parameters_raise_value_error() -> None:
    faults = RedisEmulator().faults
    with pytest.raises(ValueError, match="times"):
        faults.fail("GET", times=0)
    with pytest.raises(ValueError, match="chance"):
        faults.fail("GET", chance=0)
    with pytest.raises(ValueError, match="when"):
        faults.drop("GET", when="never")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seconds"):
        faults.delay("GET", seconds=0)


@pytest.mark.parametrize("when", ["before", "after"])
def test_dropped_connection_before_and_after_the_command_runs(
    transport: Transport, client: redis.Redis, when: str
) -> None:
    transport.emulator.faults.drop("INCR*", when=when, times=1)  # type: ignore[arg-type]
    with pytest.raises(redis.ConnectionError):
        client.incr("n")
    assert client.get("n") == (None if when == "before" else b"1")


@pytest.mark.parametrize("when", ["before", "after"])
def test_replies_before_a_dropped_connection_arrive(transport: Transport, when: str) -> None:
    """As when a server closes a connection (CLIENT KILL, QUIT): sent replies reach the client."""
    client = transport.client()
    transport.emulator.faults.drop("INCR", when=when, times=1)  # type: ignore[arg-type]
    connection = client.connection_pool.make_connection()
    connection.connect()
    commands = ("SET", "a", "1"), ("GET", "a"), ("INCR", "n"), ("SET", "b", "1")
    connection.send_packed_command(connection.pack_commands(commands))
    assert [connection.read_response() for _ in range(2)] == [b"OK", b"1"]
    with pytest.raises(redis.ConnectionError):
        connection.read_response()
    connection.disconnect()
    assert client.mget("n", "b") == [None if when == "before" else b"1", None]


async def test_replies_before_a_dropped_asyncio_connection_arrive(transport: Transport) -> None:
    client = transport.async_client()
    transport.emulator.faults.drop("INCR", times=1)
    connection = client.connection_pool.make_connection()
    await connection.connect()
    commands = ("SET", "a", "1"), ("GET", "a"), ("INCR", "n"), ("SET", "b", "1")
    await connection.send_packed_command(connection.pack_commands(commands))
    assert [await connection.read_response() for _ in range(2)] == [b"OK", b"1"]
    with pytest.raises(redis.ConnectionError):
        await connection.read_response()
    await connection.disconnect()
    await client.aclose()


def test_redis_py_retries_after_dropped_connections(transport: Transport) -> None:
    client = transport.client(retry=Retry(NoBackoff(), 3), retry_on_error=[redis.ConnectionError])
    fault = transport.emulator.faults.drop("GET", times=2)
    client.set("k", "v")
    assert client.get("k") == b"v"
    assert fault.hits == 2


async def test_faults_of_an_async_client(transport: Transport) -> None:
    client = transport.async_client(retry=None)
    transport.emulator.faults.fail("GET", error="ERR planted", times=1)
    with pytest.raises(redis.ResponseError, match="planted"):
        await client.get("k")
    transport.emulator.faults.drop("GET", times=1)
    with contextlib.suppress(redis.ConnectionError):
        await client.get("k")
    assert not transport.emulator.faults.injected
    transport.emulator.faults.delay("GET", seconds=0.05, times=1)
    started = time.monotonic()
    assert await client.get("k") is None
    assert time.monotonic() - started > 0.04
    await client.aclose()


@pytest.mark.parametrize("name", TRANSPORTS)
def test_delay_affects_one_client_only(name: str, tmp_path: Path) -> None:
    clock = ManualClock()
    transport = Transport(name, RedisEmulator(clock=clock), tmp_path)
    client, other = transport.client(), transport.client()
    other.ping()
    transport.emulator.faults.delay("SET", seconds=0.15, times=1)
    thread = threading.Thread(target=client.set, args=("k", "v"))
    thread.start()
    until(lambda: not transport.emulator.faults.injected)
    assert other.get("k") is None
    clock.advance(0.15)
    thread.join()
    assert other.get("k") == b"v"
    transport.close()


def test_delay_longer_than_the_socket_timeout(transport: Transport) -> None:
    client = transport.client(socket_timeout=0.05, retry=Retry(NoBackoff(), 0))
    transport.emulator.faults.delay("GET", seconds=5, times=1)
    with pytest.raises(redis.TimeoutError):
        client.get("k")
    assert client.get("k") is None


def test_delay_follows_the_manual_clock() -> None:
    clock = ManualClock()
    with RedisEmulator(clock=clock) as emulator, emulator.client() as client:
        connection = connection_of(client)
        emulator.faults.delay("INCR", seconds=10, times=1)
        connection.send_command("INCR", "n")
        connection.send_command("GET", "n")
        clock.advance(9.9)
        assert not connection.can_read()
        clock.advance(0.1)
        assert [connection.read_response(), connection.read_response()] == [1, b"1"]


def test_fault_inside_a_transaction(transport: Transport, client: redis.Redis) -> None:
    transport.emulator.faults.fail("SET", error="OOM planted", times=1)
    pipeline: Any = client.pipeline()
    with pytest.raises(redis.ResponseError, match="planted"):
        pipeline.set("k", "v").get("k").execute()
    assert pipeline.set("k", "v").get("k").execute() == [True, b"v"]


def test_reset_and_clear_remove_all_faults(transport: Transport, client: redis.Redis) -> None:
    faults = transport.emulator.faults
    for forget in (faults.clear, transport.emulator.reset):
        faults.fail("GET")
        faults.readonly.on()
        assert faults.readonly
        forget()
        assert client.get("k") is None
        assert not faults.readonly
        assert not faults.active


def test_server_states_raise_errors_of_redis_py(transport: Transport, client: redis.Redis) -> None:
    faults = transport.emulator.faults
    client.set("k", "v")
    with faults.loading, pytest.raises(redis.exceptions.BusyLoadingError):
        client.get("k")
    with faults.readonly:
        assert client.get("k") == b"v"
        with pytest.raises(redis.exceptions.ReadOnlyError):
            client.set("k", "w")
    with faults.clusterdown, pytest.raises(redis.ResponseError, match="cluster is down"):
        client.get("k")
    sha = client.script_load("return 1")
    with faults.noscript, pytest.raises(redis.exceptions.NoScriptError):
        client.evalsha(sha, 0)
    assert client.evalsha(sha, 0) == 1
    assert client.get("k") == b"v"


CALLS = {
    "reads": ("GET k", "EXISTS k", "DBSIZE", "WATCH a", "UNWATCH"),
    "writes": ("SET k v", "DEL k", "INCR n", "LPOP l", "EXPIRE k 1", "FLUSHALL"),
    "connection-and-server": (
        *("PING", "ECHO x", "PUBLISH a b", "NOSUCH", "CONFIG GET hz", "CLIENT GETNAME", "SELECT 0"),
    ),
    "scripts": ("EVALSHA abc 0", "EVALSHA abc 1 k"),
    "transaction-of-reads": ("MULTI", "GET k", "EXEC"),
    "transaction-with-a-write": ("MULTI", "PING", "SET k v", "EXEC"),
    "empty-transaction": ("MULTI", "EXEC"),
}
SCRIPTS = (
    "return 1",
    "return redis.call('set', KEYS[1], 'v')",
    "return redis.pcall('set', KEYS[1], 'v')",
    "return redis.pcall('get', KEYS[1])",
)

REAL_STATES = {
    "readonly": (["REPLICAOF 127.0.0.1 1"], ["REPLICAOF NO ONE"]),
    "masterdown": (
        ["REPLICAOF 127.0.0.1 1", "CONFIG SET replica-serve-stale-data no"],
        ["REPLICAOF NO ONE", "CONFIG SET replica-serve-stale-data yes"],
    ),
    "noreplicas": (["CONFIG SET min-replicas-to-write 1"], ["CONFIG SET min-replicas-to-write 0"]),
    "oom": (["CONFIG SET maxmemory 1"], ["CONFIG SET maxmemory 0"]),
}
"""Commands that put a real server into a state, and commands that end it."""


@pytest.mark.servers(*EVERY_SERVER)
@pytest.mark.parametrize("state", REAL_STATES)
def test_replies_of_a_server_in_a_state(same: Pair, state: str) -> None:
    there, back = REAL_STATES[state]
    for line in there:
        assert same.real(line) == ("+", b"OK")
    switch = getattr(same.emulator.faults, state)
    try:
        with switch:
            for line in itertools.chain(*CALLS.values()):
                same(line)
            if same.emulator.engine.server.version.compatible >= (7, 0):
                for script in SCRIPTS:
                    same("EVAL", script, 1, "k")
    finally:
        _, other = same.connect()
        for line in back:
            other(line)
    same("SET k v")


@pytest.mark.servers(*EVERY_SERVER)
def test_replies_of_a_server_that_runs_a_long_script(same: Pair) -> None:
    same.real("CONFIG SET lua-time-limit 1")
    script = "local t = redis.call('time')[1] while redis.call('time')[1] - t < 9 do end"
    _, runner = same.connect()
    runner.send([b"EVAL", script.encode(), b"0"])
    _, observer = same.connect()
    until(lambda: is_busy(observer))
    try:
        with same.emulator.faults.busy:
            for line in itertools.chain(*CALLS.values()):
                same(line)
    finally:
        _, other = same.connect()
        assert other("SCRIPT KILL") == ("+", b"OK")
        other("CONFIG SET lua-time-limit 5000")
    assert runner.read()[0] == "-"
    same("PING")
