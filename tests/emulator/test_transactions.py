"""MULTI, EXEC and WATCH, compared with real servers."""

from __future__ import annotations

from typing import Any

import pytest

from redis_emulator import ManualClock, RedisEmulator
from tests.support.keyspace import EventWatcher
from tests.support.pair import Pair

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize(
    "script",
    [
        "EXEC | DISCARD | UNWATCH | MULTI | DISCARD | DISCARD",
        "MULTI | EXEC | EXEC",
        "MULTI | SET a 1 | GET a | EXEC | GET a",
        "MULTI | SET a 1 | DISCARD | GET a",
        "MULTI | SET a 1 | HSET a f v | GET a | HGET a f | TYPE a | EXEC | GET a",
        "MULTI | SET a | SET b 1 | EXEC | GET b | EXEC",
        "MULTI | NOSUCH | EXEC | MULTI | EXEC",
        "MULTI | NOSUCH | DISCARD | GET a",
        "MULTI | MULTI | SET a 1 | EXEC",
        "MULTI | SET a 1 | WATCH a | GET a | EXEC",
        "MULTI | UNWATCH | EXEC",
        "MULTI 1 | DISCARD 1 | UNWATCH 1 | WATCH",
        "MULTI | MULTI 1 | EXEC",
        "MULTI | DISCARD 1 | EXEC",
        "MULTI | SELECT 3 | SET a 1 | SELECT x | EXEC | GET a | SELECT 0 | GET a",
        "MULTI | SELECT 3 | DISCARD | SET a 1 | SELECT 3 | GET a",
        "MULTI | EXPIRE a x | SET a 1 | EXPIRE a -1 | EXISTS a | EXEC",
        "MULTI | FLUSHALL | SET a 1 | SWAPDB 0 1 | DBSIZE | SELECT 1 | DBSIZE | EXEC",
        "WATCH a | SET a 1 | MULTI | GET a | EXEC | MULTI | GET a | EXEC",
        "WATCH a | SET a 1 | UNWATCH | MULTI | GET a | EXEC",
        "WATCH a | SET a 1 | MULTI | DISCARD | MULTI | GET a | EXEC",
        "WATCH a | SET a 1 | MULTI | NOSUCH | EXEC",
        "WATCH a | SET a 1 | EXEC | MULTI | EXEC",
        "WATCH a | EXEC x | SET a 1 | MULTI | EXEC",
        "WATCH a | SET a 1 | EXEC x | MULTI | EXEC",
        "MULTI | OBJECT FOO | EXEC",
        "MULTI | OBJECT ENCODING | OBJECT ENCODING a b | XGROUP FOO a | EXEC",
        "WATCH a | SET a 1 | WATCH b | MULTI | EXEC",
        "EXEC 1 | MULTI | EXEC",
    ],
)
def test_command_sequences(same: Pair, script: str) -> None:
    for line in script.split("|"):
        same(line.strip())


@pytest.mark.servers("redis-8.2", "valkey-9.1")
def test_exec_with_an_argument_discards_the_transaction(same: Pair) -> None:
    for line in ("MULTI", "SET a 1", "EXEC 1", "GET a", "DISCARD"):
        same(line)


_TOUCHING = {
    "SET a 2": True,
    "SET a 1": True,
    "GET a": False,
    "DEL a": True,
    "DEL no": False,
    "DEL b": False,
    "SET b 1": True,
    "EXPIRE a 100": True,
    "EXPIRE no 100": False,
    "PEXPIRE a -1": True,
    "PERSIST a": False,
    "TOUCH a": False,
    "RENAME a c": True,
    "RENAME other a": True,
    "RENAMENX other c": False,
    "COPY other a": False,
    "COPY other a REPLACE": True,
    "COPY other c": False,
    "MOVE a 1": True,
    "MOVE other 1": False,
    "FLUSHDB": True,
    "FLUSHALL": True,
    "SWAPDB 0 1": True,
    "SWAPDB 1 2": False,
    "HSET h f v": True,
    "HSET h2 f v": False,
}


@pytest.mark.parametrize("change", _TOUCHING)
def test_which_commands_abort_a_watching_transaction(same: Pair, change: str) -> None:
    """The real server aborts as the table above expects, and the emulator does the same."""
    for line in ("SET a 1", "SET other x", "HSET h f v", "WATCH a b h no"):
        same(line)
    for connection in same.connect():
        connection(change)
    same("MULTI")
    same("PING")
    reply = same("EXEC")
    assert (reply[1] in (None, b"")) is _TOUCHING[change]


@pytest.mark.parametrize(
    ("change", "index"),
    [("SET a 1", 0), ("SET a 1", 1), ("FLUSHDB", 0), ("FLUSHDB", 1), ("SWAPDB 0 1", 0)],
)
def test_watch_belongs_to_a_database(same: Pair, change: str, index: int) -> None:
    for line in ("SELECT 1", "SET a 1", "WATCH a", "SELECT 0"):
        same(line)
    for connection in same.connect():
        connection("SELECT", index)
        connection(change)
    for line in ("MULTI", "GET a", "EXEC"):
        same(line)


def test_watch_of_an_absent_key(same: Pair) -> None:
    for change in ("FLUSHALL", "DEL a", "SWAPDB 0 1", "SWAPDB 1 2"):
        same("WATCH a")
        for connection in same.connect():
            connection(change)
        for line in ("MULTI", "PING", "EXEC"):
            same(line)


def test_expiry_of_a_watched_key() -> None:
    clock = ManualClock()
    client = RedisEmulator(clock=clock).client(single_connection_client=True)
    client.set("a", "1")
    client.expire("a", 10)
    client.execute_command("WATCH", "a")
    clock.advance(10)
    client.execute_command("MULTI")
    assert client.execute_command("EXEC") is None


def test_disconnecting_removes_watches(same: Pair) -> None:
    emulated, real = same.connect()
    for connection in (emulated, real):
        connection("WATCH", "a")
        connection("MULTI")
        connection("SET", "a", "2")
        connection.close()
    assert not same.emulator.engine.clients.watches.clients
    same("GET a")


@pytest.mark.servers(*ALL)
def test_order_of_events_of_a_transaction(same: Pair) -> None:
    watcher = EventWatcher(same)
    for line in (
        "MULTI",
        "SET a 1",
        "RENAME a b",
        "HSET b f v",
        "EXPIRE b 100",
        "DEL b",
        "EXEC",
        "MULTI",
        "SET a 1",
        "DISCARD",
    ):
        same(line)
    real, emulated = watcher.collect()
    assert emulated == real


def test_pipelines_of_redis_py() -> None:
    client = RedisEmulator().client()
    pipe: Any
    with client.pipeline() as pipe:
        pipe.watch("n")
        before = int(pipe.get("n") or 0)
        pipe.multi()
        pipe.set("n", before + 1).get("n")
        assert pipe.execute() == [True, b"1"]


@pytest.mark.servers(*ALL)
def test_unsupported_arguments_are_refused_when_queued(same: Pair) -> None:
    same("ZADD z 1 a")
    same("MULTI")
    same("ZRANK z a WITHSCORE")
    same("EXPIRE z 10 NX")
    same("EXEC")
    for script in ("return redis.call(unpack(ARGV))", "return redis.pcall(unpack(ARGV))"):
        same("EVAL", script, "1", "z", "ZREVRANK", "z", "a", "WITHSCORE")
