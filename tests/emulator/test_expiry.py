"""Key expiry: commands compared with real servers, and deadlines on a manual clock."""

from __future__ import annotations

import itertools
from datetime import datetime, timezone

import pytest

from redis_emulator import ManualClock, RedisEmulator
from tests.support.keyspace import EventWatcher
from tests.support.pair import Pair

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
MODERN = ("redis-8.2", "redis-7.0", "valkey-9.1")
FAR = 9_223_372_036_854_775_807
COMMANDS = ("EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT")


@pytest.mark.servers(*MODERN)
@pytest.mark.parametrize("name", COMMANDS)
def test_expire_commands_with_extreme_and_invalid_times(same: Pair, name: str) -> None:
    amounts = (0, -1, 100_000, FAR, -FAR - 1, FAR // 1000, FAR // 1000 + 1, -(FAR // 1000), FAR - 1)
    for amount in (*amounts, "", "x", "1.0", " 1", "+1", "01", FAR + 1):
        same("SET", "k", "v")
        same(name, "k", amount)
        same("EXISTS", "k")
        same(name, "no", amount)


@pytest.mark.servers(*MODERN)
def test_expireat_conditions(same: Pair) -> None:
    words = ("NX", "xx", "GT", "lt", "FOO")
    for options in [(), *itertools.product(words, repeat=1), *itertools.product(words, repeat=2)]:
        for before in (None, "4102444800", "4102444900", "4102445000"):
            same("SET", "k", "v")
            if before:
                same("EXPIREAT", "k", before)
            same("EXPIREAT", "k", "4102444900", *options)
            same("EXPIRETIME", "k")
            same("EXPIREAT", "k", "-1", *options)
            same("EXPIREAT", "no", "x", *options)


@pytest.mark.servers("redis-6.2")
def test_conditions_are_errors_on_redis_6(same: Pair) -> None:
    same("SET k v")
    for name in COMMANDS:
        same(name, "k", "10", "NX")
    same("EXPIRETIME k")
    same("EXPIREAT", "k", FAR // 1000)


@pytest.mark.servers(*ALL)
def test_ttl_pttl_and_persist(same: Pair) -> None:
    same("SET k v")
    for name in ("TTL", "PTTL", "PERSIST"):
        same(name, "k")
        same(name, "no")
        same(name)
    same("EXPIRE k 100")
    same("TTL k")
    same("PTTL k", key=lambda reply: int(reply[1]) // 1000 in (99, 100))
    same("PERSIST k")
    same("PERSIST k")
    same("TTL k")


@pytest.mark.servers(*MODERN)
def test_expiretime_rounds_to_seconds(same: Pair) -> None:
    for milliseconds in (4102444800000, 4102444800499, 4102444800500, 4102444800999):
        same("SET k v")
        same("PEXPIREAT", "k", milliseconds)
        same("EXPIRETIME k")
        same("PEXPIRETIME k")
    same("EXPIRETIME no")
    same("PEXPIRETIME no")


@pytest.mark.servers(*ALL)
def test_keyspace_events_of_expiry_commands(same: Pair) -> None:
    watcher = EventWatcher(same)
    for line in (
        "SET k v",
        "EXPIRE k 100",
        "PEXPIRE k 100000",
        "PERSIST k",
        "PERSIST k",
        "EXPIREAT k 1",
        "EXPIREAT k 1",
        "SET k v",
        "PEXPIRE k 0",
    ):
        same(line)
    real, emulated = watcher.collect()
    assert emulated == real


def test_ttl_follows_the_clock() -> None:
    clock = ManualClock(datetime(2030, 1, 1, tzinfo=timezone.utc))
    client = RedisEmulator(clock=clock).client()
    client.set("k", "v")
    client.pexpire("k", 10_000)
    clock.advance(8.499)
    assert (client.ttl("k"), client.pttl("k")) == (2, 1_501)
    clock.advance(0.002)
    assert (client.ttl("k"), client.pttl("k")) == (1, 1_499)
    clock.advance(1.498)
    assert (client.ttl("k"), client.pttl("k"), client.get("k")) == (0, 1, b"v")
    clock.advance(0.001)
    assert (client.ttl("k"), client.get("k"), client.dbsize()) == (-2, None, 0)


def test_a_later_deadline_replaces_an_earlier_one() -> None:
    clock = ManualClock()
    client = RedisEmulator(clock=clock).client()
    client.set("k", "v")
    client.expire("k", 1)
    client.expire("k", 100)
    clock.advance(50)
    assert client.exists("k")
    client.persist("k")
    clock.advance(500)
    assert client.exists("k")


def test_deadline_is_kept_by_rename_copy_move_and_swapdb() -> None:
    clock = ManualClock()
    emulator = RedisEmulator(clock=clock)
    client, other = emulator.client(), emulator.client(db=1)
    for name in ("renamed", "copied", "moved", "swapped"):
        client.set(name, "v")
        client.expire(name, 10)
    client.rename("renamed", "r")
    client.copy("copied", "c")
    client.move("moved", 1)
    client.swapdb(0, 1)
    assert sorted(client.keys()) == [b"moved"]
    assert sorted(other.keys()) == [b"c", b"copied", b"r", b"swapped"]
    clock.advance(10)
    assert client.dbsize() == other.dbsize() == 0


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("command", ["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"])
def test_expiry_times_near_the_limits_of_64_bits(same: Pair, command: str) -> None:
    """Redis 6.2 lets the conversion to milliseconds overflow, later releases return an error."""
    limit = 2**63
    for base in (limit - 1, limit // 1000, limit // 500, 2 * 10**16, 5 * 10**17, limit // 2):
        for amount in (base - 1, base, base + 1, -base - 1, -base, -base + 1):
            same("SET k v")
            same(command, "k", amount)
            same("EXISTS k")
            same(command, "missing", amount)


@pytest.mark.servers(*ALL)
def test_expiry_options_of_set_and_getex(same: Pair) -> None:
    """The last of several times with the same unit applies; releases differ in when they check."""
    same("SET k v")
    for options in (
        "EX 1 EX 200",
        "EX x EX 200",
        "EX 200 EX x",
        "PX 100000 EX 200",
        "EX 0",
        "EX 9223372036854775807",
        "EXAT 9223372036854775807",
        "EX x NX GET",
        "EX 0 GET XX",
        "EX",
        "PERSIST",
        "KEEPTTL KEEPTTL",
        "KEEPTTL EX 10",
    ):
        for command in ("SET k v", "GETEX k", "GETEX missing"):
            same(*command.split(), *options.split())
            same("TTL k")
    for command in ("SETEX k 0 v", "PSETEX k -1 v", "SETEX k 9223372036854775807 v"):
        same(command)
