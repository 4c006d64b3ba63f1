"""REPLICAOF with an unreachable master, and PSYNC to the emulator, compared with real servers."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_podlink import servers
from redis_emulator import ManualClock, RedisEmulator
from tests.support.pair import Pair, Wire, unordered
from tests.support.processes import until
from tests.support.transports import program, wire

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
SINCE_7 = ("redis-8.2", "redis-7.0", "valkey-9.1")
LIBRARY = """#!lua name=l
local function add(name, body, ...)
    redis.register_function{function_name=name, callback=body, flags={...}}
end
add('w', function() return redis.call('set', 'a', 1) end)
add('r', function() return redis.call('get', 'k') end, 'no-writes')
add('stale', function() return redis.call('ping') end, 'allow-stale', 'no-writes')
add('echo', function() return redis.call('echo', 'a') end, 'allow-stale')
"""


@contextlib.contextmanager
def replica(same: Pair) -> Iterator[None]:
    """Make both servers replicas of an unreachable master inside the ``with`` block."""
    same("REPLICAOF 127.0.0.1 1")
    try:
        yield
    finally:
        for words in (
            "CONFIG SET replica-serve-stale-data yes",
            "CONFIG SET replica-read-only yes",
            "REPLICAOF NO ONE",
        ):
            same(words)


def state(reply: Wire) -> Wire:
    """A reply of ROLE without the state of the link to the master."""
    return reply if len(reply[1]) < 5 else ("*", [*reply[1][:3], *reply[1][4:]])


def fields(reply: Wire) -> list[str]:
    """Lines of INFO without values that depend on time or chance."""
    lines = reply[1].decode().split("\r\n")
    changing = ("replid", "attempts", "down_since", "disconnect_time", "second_repl")
    return [
        line.partition(":")[0] if any(word in line for word in changing) else line for line in lines
    ]


ON_A_REPLICA = {
    "reads-and-writes": (
        *("SET k w", "GET k", "DEL k", "FLUSHALL", "COPY k l", "PFCOUNT p", "PUBLISH a b"),
        *("BLPOP l 0", "SET k"),
    ),
    "transactions": ("MULTI", "GET k", "EXEC", "MULTI", "SET k w", "EXEC"),
    "replication-commands": (
        *("WAIT 0 0", "WAITAOF 0 0 0", "FAILOVER", "FAILOVER ABORT", "PSYNC ? -1", "SYNC"),
    ),
    "writable-replica": (
        *("CONFIG SET replica-read-only no", "SET w 1", "CONFIG SET min-replicas-to-write 1"),
        *("SET w 2", "CONFIG SET min-replicas-to-write 0", "DEL w", "GET k"),
    ),
}


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("commands", ON_A_REPLICA.values(), ids=ON_A_REPLICA)
def test_commands_on_a_replica(same: Pair, commands: tuple[str, ...]) -> None:
    same("SET k v")
    with replica(same):
        for command in commands:
            same(command)


@pytest.mark.servers(*ALL)
def test_replicaof_role_and_info(same: Pair) -> None:
    same("SET k v")
    with replica(same):
        same("REPLICAOF 127.0.0.1 1")
        same("SLAVEOF 127.0.0.1 01")
        same("REPLICAOF 127.0.0.1 2")
        same("ROLE", key=state)
        same("INFO replication", key=fields)
        same("HELLO", key=lambda reply: "replica" in repr(reply))
        same("CONFIG GET slaveof")
    for command in ("SET k w", "CONFIG GET slaveof", "WAIT 0 0", "REPLICAOF NO ONE"):
        same(command)
    same("ROLE", key=lambda reply: reply[1][0])


@pytest.mark.servers(*ALL)
def test_replica_that_does_not_serve_stale_data(same: Pair) -> None:
    same("SET k v")
    with replica(same):
        same("CONFIG SET replica-serve-stale-data no")
        for command in (
            *("GET k", "SET k v", "PING", "ECHO a", "DBSIZE", "KEYS *", "MULTI", "GET k", "EXEC"),
            *("SUBSCRIBE a", "UNSUBSCRIBE a", "WATCH k", "UNWATCH", "CONFIG SET hz 10"),
            *("CONFIG SET replica-read-only no", "SET k v"),
        ):
            same(command)
        same("ROLE", key=state)


@pytest.mark.servers(*SINCE_7)
def test_scripts_and_functions_on_a_replica(same: Pair) -> None:
    same("SET k v")
    same("FUNCTION", "LOAD", "REPLACE", LIBRARY)
    sha = same("SCRIPT", "LOAD", "return 1")[1]
    scripts = (
        *("return redis.call('get', 'k')", "return redis.call('set', 'k', 'w')", "return 1"),
        *("#!lua\nreturn redis.call('get', 'k')", "#!lua flags=nope\nreturn 1"),
        "#!lua flags=no-writes\nreturn redis.call('get', 'k')",
        "#!lua flags=no-writes\nreturn redis.call('set', 'k', 1)",
        "#!lua flags=allow-stale\nreturn redis.call('echo', 'a')",
        "#!lua flags=allow-stale,no-writes\nreturn redis.call('get', 'k')",
        "#!lua flags=allow-stale,no-writes\nreturn redis.pcall('ping')",
    )
    with replica(same):
        for stale in ("yes", "no"):
            same("CONFIG", "SET", "replica-serve-stale-data", stale)
            for read_only in ("yes", "no"):
                same("CONFIG", "SET", "replica-read-only", read_only)
                for script in scripts:
                    same("EVAL", script, 0)
                    same("EVAL_RO", script, 0)
                same("EVALSHA", sha, 0)
                for name in ("w", "r", "stale", "echo", "nope"):
                    same("FCALL", name, 0)
                    same("FCALL_RO", name, 0)
                same("MULTI")
                same("EVALSHA", sha, 0)
                same("EXEC")
    same("FUNCTION FLUSH")


@pytest.mark.servers(*SINCE_7)
def test_read_only_scripts_may_not_publish_to_replicas(same: Pair) -> None:
    for call in ("'publish', 'a', 'b'", "'spublish', 'a', 'b'", "'pfcount', 'a'"):
        same("EVAL_RO", f"return redis.call({call})", 0)
        same("EVAL", f"#!lua flags=no-writes\nreturn redis.call({call})", 0)
        same("EVAL", f"return redis.call({call})", 0)


@pytest.mark.servers(*ALL)
def test_blocked_clients_are_unblocked_by_replicaof(same: Pair) -> None:
    waiting = [same.connect() for _ in range(3)]
    for pair, command in zip(
        waiting, ("BLPOP l 0", "XREAD BLOCK 0 STREAMS s $", "WAIT 1 0"), strict=True
    ):
        for connection in pair:
            connection.send([word.encode() for word in command.split()])
    until("all wait", lambda: b"blocked_clients:3\r" in same.real("INFO clients")[1])
    with replica(same):
        for emulated, real in waiting:
            assert emulated.read() == real.read()
            real.close()
            emulated.close()


@pytest.mark.servers("redis-8.2")
def test_replica_does_not_delete_expired_keys(same: Pair) -> None:
    same("SET k v PX 20")
    same("SET stays v")
    with replica(same):
        same("BLPOP l 0.05")
        for command in ("GET k", "EXISTS k", "TTL k", "DBSIZE", "TYPE k"):
            same(command)
        same("KEYS *", key=unordered)


def test_expired_keys_are_deleted_after_replicaof_no_one() -> None:
    clock = ManualClock()
    emulator = RedisEmulator(clock=clock)
    emulator.execute("SET", "k", "v", "PX", 10)
    emulator.execute("REPLICAOF", "somewhere", 6379)
    clock.advance(1)
    assert emulator.execute("GET", "k") is None
    assert emulator.execute("DBSIZE") == 1
    emulator.execute("REPLICAOF", "NO", "ONE")
    assert emulator.execute("DBSIZE") == 0


def filled(version: str, flavour: str) -> RedisEmulator:
    """An emulator with values of every type."""
    emulator = RedisEmulator(version=version, flavour=flavour)
    for command in (
        *("SET s v", "SET n 12345", "SET t v PX 10000000", "RPUSH l a b 3", "SADD ints 1 2 3"),
        *("SADD words a b", "ZADD z 1 a 2.5 b", "HSET h f v g w", "XADD x 1-1 a b"),
        *("XGROUP CREATE x g 0", "XREADGROUP GROUP g c STREAMS x >", "PFADD p a b"),
    ):
        emulator.execute(*command.split())
    emulator.execute("SET", "long", "abc" * 1000)
    emulator.execute("HSET", "wide", *[f"f{number}" for number in range(2000)])
    emulator.execute("ZADD", "high", *[str(number // 2) for number in range(2000)])
    emulator[3]["elsewhere"] = "v"
    if emulator._version.compatible >= (7, 0):
        emulator.execute("FUNCTION", "LOAD", LIBRARY)
    if emulator._version.compatible >= (7, 4):
        emulator.execute(*"HPEXPIRE h 10000000 FIELDS 1 f".split())
    return emulator


def words(emulator: RedisEmulator) -> list[str]:
    """The words of an emulator's dump, sorted and without times."""
    text = re.sub(r"[0-9.]+s\b", "later", emulator.dump())
    return sorted(re.split(r"[][ ,{}()\n]+", text))


@pytest.mark.parametrize("name", [name for name in ALL if servers.is_expected(name)])
@pytest.mark.needs_servers
def test_real_servers_load_the_rdb_file_of_psync(name: str, tmp_path: Path) -> None:
    flavour, _, version = name.partition("-")
    emulator = filled(version, flavour)
    with emulator.serve() as server, wire(server.port) as connection:
        connection.socket.sendall(b"PSYNC ? -1\r\n")
        stream = connection.socket.makefile("rb")
        assert stream.readline().startswith(b"+FULLRESYNC ")
        size = int(stream.readline()[1:])
        (tmp_path / "saved.rdb").write_bytes(stream.read(size))
        stream.close()
        assert connection.ask(b"PING\r\n") == b"+PONG\r\n"
    options = ("--dir", str(tmp_path), "--dbfilename", "saved.rdb")
    with servers.start(name, extra_args=options) as real, real.client() as client:
        copy = RedisEmulator(version=version, flavour=flavour)
        copy.load(client)
        assert words(copy) == words(emulator)
        if emulator._version.compatible >= (7, 0):
            assert len(client.function_list()) == 1


def test_redis_cli_option_rdb(tmp_path: Path) -> None:
    path, file = program("redis-cli"), tmp_path / "saved.rdb"
    with filled("8.2", "redis").serve() as server:
        command = [path, "-p", str(server.port), "--rdb", str(file)]
        assert subprocess.run(command, capture_output=True, timeout=20).returncode == 0
    assert b"elsewhere" in file.read_bytes()


def test_rdb_file_with_functions_only() -> None:
    """The request of ``redis-cli --functions-rdb``, an option that old releases do not have."""
    with filled("8.2", "redis").serve() as server, wire(server.port) as connection:
        assert connection.ask(b"REPLCONF rdb-filter-only functions\r\n") == b"+OK\r\n"
        connection.socket.sendall(b"SYNC\r\n")
        stream = connection.socket.makefile("rb")
        saved = stream.read(int(stream.readline()[1:]))
        stream.close()
    assert b"#!lua" in saved
    assert b"elsewhere" not in saved


def test_sync_replies_with_the_rdb_file_at_once() -> None:
    with filled("8.2", "redis").serve() as server, wire(server.port) as connection:
        connection.send(b"SYNC\r\n")
        assert re.match(rb"\$[0-9]+\r\nREDIS0012", connection.read(30))
