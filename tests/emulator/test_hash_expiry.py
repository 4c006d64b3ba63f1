"""Expiry of hash fields: commands compared with real servers, deadlines on a manual clock."""

from __future__ import annotations

import itertools
from datetime import datetime, timezone
from typing import Any

import pytest

from redis_emulator import ManualClock, RedisEmulator
from tests.support.keyspace import EventWatcher
from tests.support.pair import Pair, unordered
from tests.support.waiting import let_pass

BOTH = ("redis-8.2", "valkey-9.1")
FAR = 4_102_444_800_000
BIGGEST = 9_223_372_036_854_775_807
SETTERS = ("HEXPIRE", "HPEXPIRE", "HEXPIREAT", "HPEXPIREAT")
READERS = ("HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME", "HPERSIST", "HGETDEL")


def run(same: Pair, script: str) -> None:
    """Run lines of commands on both sides and compare replies and events."""
    valkey = same.emulator.engine.server.version.flavour == "valkey"
    watcher = EventWatcher(same)
    for line in filter(None, map(str.strip, script.splitlines())):
        same(line, key=unordered if valkey and line.startswith("HGETALL") else None)
        real, emulated = watcher.collect()
        assert emulated == real, line


@pytest.mark.servers(*BOTH)
def test_hexpire_and_commands_that_drop_deadlines(same: Pair) -> None:
    run(
        same,
        f"""
        HSET h a 1 b 2 c 3 d 4
        HEXPIRE h 100 NX FIELDS 1 zz
        OBJECT ENCODING h
        HPEXPIREAT h {FAR} FIELDS 2 b a
        OBJECT ENCODING h
        HGETALL h
        HPEXPIREAT h {FAR - 1} FIELDS 1 d
        HGETALL h
        HPEXPIREAT h {FAR} FIELDS 2 b d
        HGETALL h
        HPEXPIREAT h {FAR} FIELDS 3 b zz b
        HGETALL h
        HSET h e 1 b 9 a 8
        HGETALL h
        HEXPIRETIME h FIELDS 4 a b d zz
        HPEXPIRETIME h FIELDS 4 a b d zz
        HPERSIST h FIELDS 4 d b zz d
        HGETALL h
        OBJECT ENCODING h
        HPEXPIREAT h {FAR} FIELDS 2 c d
        HINCRBY h c 1
        HINCRBYFLOAT h c 1
        HSETNX h c 1
        HPEXPIRETIME h FIELDS 1 c
        HGETALL h
        HMSET h c 1
        HPEXPIRETIME h FIELDS 1 c
        HGETALL h
        HDEL h d
        HGETALL h
        """,
    )


@pytest.mark.servers(*BOTH)
def test_times_in_the_past_delete_fields(same: Pair) -> None:
    run(
        same,
        f"""
        HSET h a 1 b 2 c 3
        HEXPIRE h 0 FIELDS 2 a a
        OBJECT ENCODING h
        HPEXPIREAT h {FAR} FIELDS 1 b
        HPEXPIREAT h 1 GT FIELDS 2 b c
        HPEXPIREAT h 1 XX FIELDS 2 b c
        HPEXPIREAT h 1 NX FIELDS 2 c zz
        EXISTS h
        HSET h a 1 b 2 c 3 d 4
        HGETEX h PX 0 FIELDS 3 a a zz
        OBJECT ENCODING h
        HGETEX h EXAT 1 FIELDS 1 b
        HSETEX h PXAT 1 FIELDS 2 c 4 new 1
        OBJECT ENCODING h
        HSETEX h PXAT 1 FIELDS 1 c {"x" * 65}
        OBJECT ENCODING h
        HGETEX h EX 0 FIELDS 1 d
        EXISTS h
        HSETEX h EX 0 FIELDS 2 a 1 b 2
        EXISTS h
        """,
    )


@pytest.mark.servers(*BOTH)
def test_hgetex_and_hgetdel(same: Pair) -> None:
    run(
        same,
        f"""
        HGETEX none PXAT {FAR} FIELDS 2 a b
        HSET h a 1 b 2 c 3
        HGETEX h FIELDS 2 a zz
        OBJECT ENCODING h
        HGETEX h PXAT {FAR} FIELDS 1 zz
        OBJECT ENCODING h
        HGETEX h PXAT {FAR} FIELDS 3 b zz a
        HGETALL h
        HGETEX h PERSIST FIELDS 2 a c
        HGETEX h PERSIST FIELDS 2 a c
        HGETALL h
        HPEXPIRETIME h FIELDS 3 a b c
        HGETDEL h FIELDS 3 a zz a
        HGETDEL h FIELDS 1 zz
        HGETDEL h FIELDS 2 b c
        EXISTS h
        HSET h a 1
        HGETEX h PERSIST FIELDS 1 a
        OBJECT ENCODING h
        """,
    )


@pytest.mark.servers(*BOTH)
def test_hsetex(same: Pair) -> None:
    long = "x" * 65
    run(
        same,
        f"""
        HSETEX h FIELDS 2 a 1 b 2
        OBJECT ENCODING h
        HSETEX h PXAT {FAR} FXX FIELDS 1 zz 1
        HSETEX h PXAT {FAR} FNX FIELDS 1 a 1
        OBJECT ENCODING h
        HSETEX h PXAT {FAR} FIELDS 2 b 1 a 2
        OBJECT ENCODING h
        HGETALL h
        HSETEX h KEEPTTL FIELDS 2 c 1 b 4
        HGETALL h
        HPEXPIRETIME h FIELDS 3 a b c
        HSETEX h FIELDS 2 d 1 b 5
        HGETALL h
        HPEXPIRETIME h FIELDS 3 a b c
        HSETEX h FNX FIELDS 2 x 5 x 6
        HSETEX h FXX FIELDS 2 x 5 y 1
        HSETEX h FXX FIELDS 2 x 7 a 1
        HSETEX new FXX FIELDS 1 x 5
        HSETEX new FNX PXAT {FAR} FIELDS 1 x 5
        HSETEX h PXAT {FAR} FIELDS 1 x {long}
        OBJECT ENCODING h
        HGETALL new
        """,
    )


@pytest.mark.servers(*BOTH)
@pytest.mark.parametrize("name", SETTERS)
def test_extreme_and_invalid_times(same: Pair, name: str) -> None:
    limit = (1 << 46) - 1
    amounts: list[Any] = [0, -1, 100_000, BIGGEST, BIGGEST + 1, -BIGGEST - 1, BIGGEST // 1000]
    amounts += [
        limit,
        limit + 1,
        limit // 1000,
        limit // 1000 + 1,
        "",
        "x",
        "1.0",
        " 1",
        "+1",
        "01",
    ]
    for amount in amounts:
        same("HSET", "h", "f", "v")
        same(name, "h", amount, "FIELDS", "1", "f")
        same(name, "none", amount, "FIELDS", "1", "f")
        same("HEXISTS", "h", "f")
        unit = {"HEXPIRE": "EX", "HPEXPIRE": "PX", "HEXPIREAT": "EXAT", "HPEXPIREAT": "PXAT"}[name]
        same("HSETEX", "h", unit, amount, "FIELDS", "1", "f", "v")
        same("HGETEX", "h", unit, amount, "FIELDS", "1", "f")
        same("HEXISTS", "h", "f")


@pytest.mark.servers(*BOTH)
def test_hpexpireat_conditions(same: Pair) -> None:
    words = ("NX", "xx", "GT", "lt", "FOO")
    for options in [(), *itertools.product(words, repeat=1), *itertools.product(words, repeat=2)]:
        for before in (None, FAR - 1, FAR, FAR + 1):
            same("DEL", "h")
            same("HSET", "h", "a", "1", "b", "2")
            if before:
                same("HPEXPIREAT", "h", before, "FIELDS", "1", "a")
            same("HPEXPIREAT", "h", FAR, *options, "FIELDS", "3", "a", "b", "zz")
            same("HPEXPIRETIME", "h", "FIELDS", "3", "a", "b", "zz")
            same("HPEXPIREAT", "h", 1, *options, "FIELDS", "3", "a", "b", "zz")
            same("HPEXPIREAT", "none", FAR, *options, "FIELDS", "1", "a")


COUNTED = (
    "FIELDS 1 a",
    "fields 2 a b",
    "FIELDS 2 a",
    "FIELDS 1 a b",
    "FIELDS 0 a",
    "FIELDS -1 a",
    "FIELDS x a",
    "FIELDS 2147483648 a",
    "FIELDS 9223372036854775808 a",
    "FOO 1 a",
    "1 FIELDS a",
    "FIELDS 1 FIELDS",
    "FIELDS FIELDS 1 a",
    "FIELDS 1 a FIELDS 1 b",
    "a FIELDS 1 a",
)
OPTIONS = (
    "",
    f"PXAT {FAR}",
    "EX x",
    "EX -1",
    "EX",
    f"PXAT {FAR} PXAT {FAR}",
    f"PXAT {FAR} EXAT 4102444800",
    f"PXAT {FAR} PERSIST",
    f"PERSIST PXAT {FAR}",
    f"KEEPTTL PXAT {FAR}",
    f"PXAT {FAR} KEEPTTL",
    "KEEPTTL",
    "KEEPTTL KEEPTTL",
    "PERSIST",
    "PERSIST PERSIST",
    "FNX",
    "FXX",
    "FNX FNX",
    "FNX FXX",
    "FXX EX x",
    "NX",
    "XX",
    "NX NX",
    "NX XX",
    "XX FNX",
    "XX EX -1",
    "FOO",
)
KEYS = ("h", "none", "text", "fields")


@pytest.mark.servers(*BOTH)
@pytest.mark.parametrize("key", KEYS)
def test_fields_argument_of_every_command(same: Pair, key: str) -> None:
    for rest in COUNTED:
        for name in READERS:
            _prepare(same)
            same(name, key, *rest.split())
        for name, amount in itertools.product(
            ("HPEXPIREAT", "HEXPIREAT"), ("9999999999", "-1", "x")
        ):
            for condition in ((), ("NX",), ("NX", "XX"), ("FOO",)):
                _prepare(same)
                same(name, key, amount, *condition, *rest.split())


@pytest.mark.servers(*BOTH)
@pytest.mark.parametrize("key", KEYS)
def test_options_of_hgetex_and_hsetex(same: Pair, key: str) -> None:
    pairs = [f"{rest} 1" for rest in COUNTED] + ["FIELDS 2 a 1 b 2", "FIELDS 1 a 1 EX 10", "FIELDS"]
    for options in OPTIONS:
        for rest in (*COUNTED, "FIELDS", "a"):
            _prepare(same)
            same("HGETEX", key, *options.split(), *rest.split())
        for rest in pairs:
            _prepare(same)
            same("HSETEX", key, *options.split(), *rest.split())
            same("EXISTS", key)


def _prepare(same: Pair) -> None:
    for connection in (same.emulated, same.real):
        connection("FLUSHALL")
        connection("HSET", "h", "a", "1", "b", "2")
        connection("SET", "text", "x")


@pytest.mark.servers(*BOTH)
def test_keymiss_events(same: Pair) -> None:
    watcher = EventWatcher(same)
    same("CONFIG", "SET", "notify-keyspace-events", "KEAm")
    for name in ("HGETEX", *READERS):
        same(name, "none", "FIELDS", "1", "a")
    same("HGETEX none EX x FIELDS 1 a", key=lambda reply: reply[0])
    same("HSETEX none FXX FIELDS 1 a 1")
    same("HEXPIRE none 10 FIELDS 1 a")
    real, emulated = watcher.collect()
    assert emulated == real


@pytest.mark.servers(*BOTH)
def test_hexpiretime_and_httl_round_to_seconds(same: Pair) -> None:
    same("HSET h a 1")
    for rest in (0, 1, 499, 500, 501, 999):
        same("HPEXPIREAT", "h", FAR + rest, "FIELDS", "1", "a")
        same("HEXPIRETIME h FIELDS 1 a")
    for left in (10_200, 10_700):
        same("HPEXPIRE", "h", left, "FIELDS", "1", "a")
        same("HTTL h FIELDS 1 a")


@pytest.mark.servers(*BOTH)
def test_fields_and_empty_hashes_expire_actively(same: Pair) -> None:
    """Expired fields of a hash are deleted with one event, and the hash with its last field."""
    watcher = EventWatcher(same)
    same("HSET h a 1 b 2 c 3")
    same("HPEXPIRE h 30 FIELDS 2 a b")
    same("HSETEX gone PX 30 FIELDS 1 a 1")
    same("HSETEX kept PX 30 FIELDS 1 a 1")
    same("HSET kept a 1")
    for connection in (same.emulated, same.real):
        while connection("EXISTS", "gone")[1] != b"0" or connection("HLEN", "h")[1] != b"1":
            let_pass(1)
    same("HGETALL h")
    same("EXISTS gone kept")
    same("OBJECT ENCODING h")
    same("HSET end end end")
    real, emulated = watcher.collect()
    assert sorted(emulated) == sorted(real)


def client_with_clock() -> tuple[ManualClock, Any]:
    """A manual clock and a client of an emulator that uses it."""
    clock = ManualClock(datetime(2030, 1, 1, tzinfo=timezone.utc))
    return clock, RedisEmulator(clock=clock).client(protocol=3)


def test_ttl_follows_the_clock() -> None:
    clock, client = client_with_clock()
    client.hset("h", mapping={"a": 1, "b": 2, "c": 3})
    client.hexpire("h", 10, "a")
    client.hexpire("h", 20, "b")
    clock.advance(9.5)
    assert client.httl("h", "a", "b", "c") == [1, 11, -1]
    assert client.hpttl("h", "a", "b", "c") == [500, 10_500, -1]
    clock.advance(0.5)
    assert client.hgetall("h") == {b"b": b"2", b"c": b"3"}
    clock.advance(10)
    assert client.hgetall("h") == {b"c": b"3"}
    clock.advance(1000)
    assert client.hlen("h") == 1


def test_hash_is_deleted_with_its_last_field() -> None:
    clock, client = client_with_clock()
    client.hset("h", mapping={"a": 1, "b": 2})
    client.hexpire("h", 10, "a", "b")
    clock.advance(10)
    assert not client.exists("h")


def test_a_later_deadline_replaces_an_earlier_one() -> None:
    clock, client = client_with_clock()
    client.hset("h", mapping={"a": 1, "b": 2, "c": 3})
    client.hexpire("h", 1, "a", "b", "c")
    client.hexpire("h", 100, "a")
    client.hpersist("h", "b")
    client.hset("h", "c", "4")
    clock.advance(50)
    assert client.hlen("h") == 3
    clock.advance(50)
    assert set(client.hkeys("h")) == {b"b", b"c"}


def test_deadlines_of_fields_are_kept_by_rename_copy_move_and_restore() -> None:
    clock = ManualClock()
    emulator = RedisEmulator(clock=clock)
    client, other = emulator.client(), emulator.client(db=1)
    for name in ("renamed", "copied", "moved", "dumped"):
        client.hset(name, "f", "v")
        client.hexpire(name, 10, "f")
    client.rename("renamed", "r")
    client.copy("copied", "c")
    client.move("moved", 1)
    client.restore("restored", 0, client.dump("dumped") or b"")
    client.swapdb(0, 1)
    assert client.dbsize() == 1
    assert other.dbsize() == 5
    clock.advance(10)
    assert client.dbsize() == other.dbsize() == 0


def test_replacing_a_hash_removes_deadlines_of_its_fields() -> None:
    clock, client = client_with_clock()
    client.hset("h", "f", "v")
    client.hexpire("h", 10, "f")
    client.set("h", "text")
    client.hset("i", "f", "v")
    client.hexpire("i", 10, "f")
    client.delete("i")
    client.hset("i", "f", "v")
    clock.advance(20)
    assert client.get("h") == b"text"
    assert client.hget("i", "f") == b"v"


def test_snapshots_keep_deadlines_of_fields() -> None:
    clock = ManualClock()
    emulator = RedisEmulator(clock=clock)
    client = emulator.client()
    client.hset("h", mapping={"a": 1, "b": 2})
    client.hexpire("h", 10, "a")
    snapshot = emulator.snapshot()
    client.hpersist("h", "a")
    emulator.restore(snapshot)
    clock.advance(10)
    assert client.hkeys("h") == [b"b"]


def test_a_thousand_fields_with_different_deadlines() -> None:
    clock, client = client_with_clock()
    start = clock.ms() // 1_000
    client.hset("h", mapping={f"f{i}": i for i in range(1_000)})
    for i in range(1_000):
        client.hexpireat("h", start + 5_000, f"f{i}")
        client.hexpireat("h", start + 1 + (i * 7) % 1_000, f"f{i}")
    client.hpersist("h", *(f"f{i}" for i in range(0, 1_000, 3)))
    for second in range(1, 1_000, 100):
        clock.advance(100)
        kept = {f"f{i}" for i in range(1_000) if i % 3 == 0 or (i * 7) % 1_000 + 1 > second + 99}
        assert {name.decode() for name in client.hkeys("h")} == kept


@pytest.mark.servers(*BOTH)
def test_number_of_fields_that_overflows(same: Pair) -> None:
    least = -BIGGEST - 1
    run(
        same,
        f"""
        SET s 1
        HSET h a 1
        HSETEX s PXAT {FAR} FIELDS {least}
        HSETEX none PXAT {FAR} FIELDS {least}
        HSETEX none FXX PXAT {FAR} FIELDS {least}
        HSETEX none FNX PXAT {FAR} FIELDS {least}
        HSETEX none NX PXAT {FAR} FIELDS {least}
        HSETEX none XX PXAT {FAR} FIELDS {least}
        EXISTS none
        HSETEX h PXAT 1 FIELDS {least}
        HSETEX h FXX PXAT {FAR} FIELDS {least}
        HSETEX h PXAT {FAR} FIELDS 0
        HGETEX h EX 100 FIELDS {least}
        HGETEX h EX 100 FIELDS {least + 1} a
        HSETEX h FIELDS {least + 1} b 2
        HSETEX h PXAT {FAR} FIELDS {least + 1} a b
        HGETALL h
        HSETEX h PXAT 1 FIELDS {least + 1} a b
        HGETALL h
        """,
    )
