"""maxmemory: OOM errors compared with real servers, and which keys are evicted first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from redis_emulator import ManualClock, RedisEmulator
from redis_emulator.clients.description import used_memory
from tests.support.acl import LIBRARY
from tests.support.keyspace import EventWatcher
from tests.support.pair import Pair, unordered

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
MODERN = ("redis-8.2", "redis-7.0", "valkey-9.1")


@pytest.fixture
def full(same: Pair) -> Iterator[Pair]:
    """A pair with a few keys that has reached maxmemory."""
    same("FLUSHALL")
    same("MSET k v a 1")
    same("LPUSH l 1")
    same("CONFIG SET maxmemory 1")
    yield same
    for connection in (same.emulated, same.real):
        connection("CONFIG SET maxmemory 0")
        connection("CONFIG SET maxmemory-policy noeviction")


@pytest.mark.servers(*ALL)
def test_which_commands_return_oom_errors(full: Pair) -> None:
    for line in (
        "SET k v",
        "GET k",
        "INCR z",
        "SET k",
        "NOSUCH",
        "PING",
        "LPUSH l 1",
        "LPOP l",
        "SETRANGE k 0 a",
        "RENAME a b",
        "EXPIRE k 100",
        "COPY k b",
        "RESTORE k 0 x",
        "APPEND k x",
        "HSET h f v",
        "DEL k",
        "WATCH k",
        "UNWATCH",
        "PUBLISH a b",
        "CONFIG GET maxmemory",
        "ECHO x",
    ):
        full(line)


@pytest.mark.servers(*ALL)
def test_oom_errors_in_transactions(full: Pair) -> None:
    for line in (
        "MULTI",
        "GET k",
        "SET k v",
        "EXEC",
        "MULTI",
        "EXEC",
        "MULTI",
        "DEL k",
        "EXEC",
        "EXEC",
        "MULTI",
        "DISCARD",
    ):
        full(line)


@pytest.mark.servers(*ALL)
def test_memory_that_is_used_up_between_multi_and_exec(full: Pair) -> None:
    for line in ("CONFIG SET maxmemory 0", "MULTI", "SET k v", "GET k"):
        full(line)
    for connection in full.connect():
        connection("CONFIG SET maxmemory 1")
    full("EXEC")
    full("GET k")
    full("CONFIG SET maxmemory 0")
    full("MULTI")
    full("GET k")
    for connection in full.connect():
        connection("CONFIG SET maxmemory 1")
    full("EXEC")


@pytest.mark.servers(*ALL)
def test_oom_errors_in_scripts(full: Pair) -> None:
    for script in (
        "return redis.call('set','k','v')",
        "return redis.pcall('set','k','v')",
        "return redis.call('get','k')",
        "redis.call('del','k') return redis.call('set','k','v')",
        "redis.call('del','nosuch') return redis.call('set','k','v')",
        "redis.call('get','nosuch') return redis.call('set','k','v')",
        "return 1",
    ):
        full("EVAL", script, 0)
    if full.emulator._version.compatible >= (7, 0):
        for script in (
            "#!lua\nreturn redis.call('set','k','v')",
            "#!lua\nreturn 1",
            "#!lua flags=allow-oom\nreturn redis.call('set','k','v')",
            "#!lua flags=no-writes\nreturn redis.call('get','k')",
        ):
            full("EVAL", script, 0)
        full("EVAL_RO", "return redis.call('get','k')", 0)


@pytest.mark.servers(*MODERN)
def test_oom_errors_in_functions(full: Pair) -> None:
    full("CONFIG SET maxmemory 0")
    full("FUNCTION FLUSH")
    full("FUNCTION", "LOAD", LIBRARY)
    full("CONFIG SET maxmemory 1")
    full("FUNCTION", "LOAD", "REPLACE", LIBRARY)
    for line in ("FCALL w 1 k", "FCALL o 1 k", "FCALL n 1 k", "FCALL_RO n 1 k", "FCALL d 0 k"):
        full(line)
    full("FUNCTION FLUSH")


@pytest.mark.servers(*ALL)
def test_oom_check_among_other_checks_of_a_command(full: Pair) -> None:
    others = full.connect()
    full("ACL SETUSER oom on nopass ~x +get +subscribe")
    for line in ("AUTH oom x", "SET k v", "GET k", "GET x", "SET"):
        shown = [connection(line) for connection in others]
        assert shown[0] == shown[1]
    full("ACL DELUSER oom")
    subscribers = full.connect_raw()
    for line in ("SUBSCRIBE c", "SET k v", "GET k"):
        shown = [connection(line) for connection in subscribers]
        assert shown[0] == shown[1]


@pytest.mark.servers(*ALL)
def test_all_keys_are_evicted_under_every_policy(full: Pair) -> None:
    full("CONFIG SET maxmemory 0")
    before = [evicted(connection) for connection in (full.emulated, full.real)]
    watcher = EventWatcher(full)
    for policy in ("allkeys-lru", "allkeys-lfu", "allkeys-random"):
        full("CONFIG", "SET", "maxmemory-policy", policy)
        full("MSET a 1 b 2 c 3")
        full("EXPIRE b 100")
        full("CONFIG SET maxmemory 1")
        full("DBSIZE")
        full("SET k v")
        full("CONFIG SET maxmemory 0")
    for policy in ("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"):
        full("CONFIG", "SET", "maxmemory-policy", policy)
        full("MSET a 1 b 2 c 3")
        full("EXPIRE b 100")
        full("EXPIRE c 10")
        full("CONFIG SET maxmemory 1")
        full("KEYS *", key=unordered)
        full("SET k v")
        full("CONFIG SET maxmemory 0")
    real, emulated = watcher.collect()
    assert sorted(map(repr, emulated)) == sorted(map(repr, real))
    after = [evicted(connection) for connection in (full.emulated, full.real)]
    assert after[0] - before[0] == after[1] - before[1]
    full("CONFIG SET notify-keyspace-events ''")


def evicted(connection: object) -> int:
    """INFO's counter ``evicted_keys``."""
    text: bytes = connection("INFO", "stats")[1]  # type: ignore[operator]
    return int(text.split(b"evicted_keys:")[1].split(b"\r\n")[0])


@pytest.mark.servers(*ALL)
def test_config_set_maxmemory(same: Pair) -> None:
    for value in ("1mb", "100b", "-1", "x", "0", "1gb", "0"):
        same("CONFIG", "SET", "maxmemory", value)
        same("CONFIG", "GET", "maxmemory")
    same("CONFIG SET maxmemory-policy foo")


def room_for(client: Redis, emulator: RedisEmulator, size: int) -> None:
    """Set maxmemory to the used memory plus ``size`` bytes."""
    engine = emulator.engine
    used = used_memory(engine.server, len(engine.clients.by_id))
    client.config_set("maxmemory", used + size)


def filled(policy: str, keys: str, **options: Any) -> tuple[RedisEmulator, ManualClock]:
    """An emulator with a key of one kilobyte for each letter, written one minute apart."""
    clock = ManualClock()
    emulator = RedisEmulator(clock=clock, seed=1)
    client = emulator.client()
    client.config_set("maxmemory-policy", policy)
    for key in keys:
        client.set(key, "v" * 1000, **options)
        clock.advance(60)
    return emulator, clock


def test_allkeys_lru_evicts_the_least_recently_used_key() -> None:
    emulator, clock = filled("allkeys-lru", "abcde")
    client = emulator.client()
    client.get("a")
    client.get("c")
    clock.advance(1)
    room_for(client, emulator, 100)
    for name, left in (("x", "acdex"), ("y", "acexy"), ("z", "acxyz"), ("q", "cqxyz")):
        client.set(name, "v" * 1000)
        clock.advance(1)
        assert sorted(client.keys()) == [name.encode() for name in left]
    assert client.info("stats")["evicted_keys"] == 4


def test_allkeys_lfu_evicts_the_least_frequently_used_key() -> None:
    emulator, _ = filled("allkeys-lfu", "abc")
    client = emulator.client()
    client.config_set("lfu-decay-time", 0)
    client.config_set("lfu-log-factor", 0)
    for _ in range(5):
        client.get("a")
        client.get("c")
    room_for(client, emulator, 0)
    client.set("c", "w" * 1500)
    assert sorted(client.keys()) == [b"a", b"c"]


def test_volatile_ttl_evicts_the_key_that_expires_first() -> None:
    emulator = RedisEmulator(clock=ManualClock())
    client = emulator.client()
    client.config_set("maxmemory-policy", "volatile-ttl")
    for name, seconds in (("late", 300), ("soon", 100), ("later", 500), ("never", None)):
        client.set(name, "v" * 1000, ex=seconds)
    room_for(client, emulator, 0)
    client.append("never", "v" * 900)
    assert sorted(client.keys()) == [b"late", b"later", b"never"]
    client.append("never", "v" * 2000)
    assert sorted(client.keys()) == [b"never"]


def test_used_memory_after_flushes_swaps_and_snapshots() -> None:
    emulator = RedisEmulator()
    client = emulator.client()
    client.config_set("maxmemory", 10_000_000)
    ledger = emulator.engine.server.ledger
    assert ledger is not None
    empty = ledger.used()
    client.set("a", "v" * 5000)
    one = ledger.used()
    assert one > empty + 5000
    snapshot = emulator.snapshot()
    client.set("b", "v" * 5000)
    client.rpush("l", *range(1000))
    client.swapdb(0, 3)
    assert ledger.used() > one + 5000
    emulator.restore(snapshot)
    assert ledger.used() == one
    client.flushall()
    assert ledger.used() == empty
    client.config_set("maxmemory", 0)
    assert emulator.engine.server.ledger is None
    assert not emulator.engine.needs_full_checks
