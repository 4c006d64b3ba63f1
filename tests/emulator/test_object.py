"""OBJECT subcommands, compared with real servers."""

from __future__ import annotations

import pytest

from redis_emulator import ManualClock, RedisEmulator
from tests.support.pair import Pair

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")


@pytest.mark.servers(*ALL)
def test_encoding_of_strings(same: Pair) -> None:
    for value in ("", "1", "-1", "01", "-0", "+1", "1.0", " 1", str(2**63 - 1), str(2**63)):
        same("SET", "s", value)
        same("OBJECT", "ENCODING", "s")
    for key in ("", "k", "k" * 10, "k" * 31, "k" * 32, "k" * 40, "k" * 41):
        for length in (0, 1, 2, 3, 9, 10, 11, 12, 23, 24, 31, 32, 33, 39, 40, 41, 42, 43, 44, 45):
            same("SET", key, "v" * length)
            same("OBJECT", "ENCODING", key)
            same("EXPIRE", key, 100)
            same("OBJECT", "ENCODING", key)
    for length in (60, 78, 79, 80, 81, 82, 83, 102, 103, 104, 111, 112, 113, 114):
        for key in ("k", "k" * 10, "k" * 31, "k" * 32):
            same("SET", key, "v" * length)
            same("OBJECT", "ENCODING", key)


@pytest.mark.servers(*ALL)
def test_encoding_of_strings_after_copy_rename_and_persist(same: Pair) -> None:
    for old, new in (("missing", "k"), ("k", "missing"), ("k" * 20, "k")):
        for length in (13, 14, 26, 27, 32, 33, 34, 35, 40, 41, 44, 45, 94, 106, 107, 112, 113):
            for ttl in ((), ("PX", 100_000)):
                for change in (("COPY", old, new), ("RENAME", old, new)):
                    same("DEL", old, new)
                    same("SET", old, "v" * length, *ttl)
                    same(*change)
                    same("OBJECT", "ENCODING", new)
                    same("GET", new)
            for persist in (("PERSIST", old), ("GETEX", old, "PERSIST")):
                same("DEL", old)
                same("SET", old, "v" * length, "EX", 100)
                same(*persist)
                same("OBJECT", "ENCODING", old)


@pytest.mark.servers(*ALL)
def test_errors_and_missing_keys(same: Pair) -> None:
    same("SET s v")
    for sub in ("ENCODING", "refcount", "FREQ", "IDLETIME"):
        same("OBJECT", sub, "no")
    for line in ("OBJECT", "OBJECT NOSUCH", "OBJECT FREQ s", "OBJECT REFCOUNT s"):
        same(line)
    for value in (0, 9_999, 10_000, -1):
        same("SET", "n", value)
        same("OBJECT REFCOUNT n")


def test_idle_time_counts_from_the_last_use() -> None:
    clock = ManualClock()
    client = RedisEmulator(clock=clock).client()
    client.set("k", "v")
    clock.advance(90.9)
    for look in (client.exists, client.type, client.ttl):
        look("k")
        assert client.object("IDLETIME", "k") == 90
    client.get("k")
    assert client.object("IDLETIME", "k") == 0
    clock.advance(5)
    client.touch("k")
    assert client.object("IDLETIME", "k") == 0


def test_frequency_under_an_lfu_policy(same: Pair) -> None:
    same("SET old v")
    same("CONFIG SET maxmemory-policy allkeys-lfu")
    same("SET new v")
    for line in ("FREQ new", "FREQ no", "IDLETIME old", "IDLETIME no"):
        same("OBJECT", *line.split())
    same("GET new")
    same("OBJECT FREQ new")
    same("CONFIG SET maxmemory-policy noeviction")
    same("OBJECT FREQ new")


def test_frequency_grows_logarithmically_and_decays() -> None:
    clock = ManualClock()
    client = RedisEmulator(clock=clock, seed=1).client()
    client.config_set("maxmemory-policy", "volatile-lfu")
    client.set("k", "v")
    for _ in range(1_000):
        client.get("k")
    grown = client.object("FREQ", "k")
    assert 10 < grown < 40
    clock.advance(120)
    assert client.object("FREQ", "k") == grown - 2
    client.flushall()
    client.set("k", "v")
    assert client.object("FREQ", "k") == 5


@pytest.mark.servers(*ALL)
def test_encoding_of_every_type(same: Pair) -> None:
    long = "x" * 65
    for number, line in enumerate(
        (
            "SET {} 1",
            "APPEND {} v",
            "RPUSH {} a",
            f"RPUSH {{}} {long * 60} {long * 60} {long * 60}",
            "SADD {} 1 2",
            "SADD {} 1 a",
            f"SADD {{}} {long}",
            "SADD {} " + " ".join(map(str, range(513))),
            "ZADD {} 1 a",
            f"ZADD {{}} 1 {long}",
            "ZADD {} " + " ".join(f"{each} {each}" for each in range(129)),
            "HSET {} f v",
            f"HSET {{}} f {long}",
            "HSET {} " + " ".join(f"{each} {each}" for each in range(513)),
            "XADD {} 1-1 f v",
            "PFADD {} a",
            "SETBIT {} 1 1",
            "GEOADD {} 1 1 a",
        )
    ):
        same(line.format(f"k{number}"))
        same(f"OBJECT ENCODING k{number}")
        same(f"OBJECT REFCOUNT k{number}")
