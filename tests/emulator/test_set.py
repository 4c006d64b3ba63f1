"""Set commands, compared with real servers, and the distribution of random members."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest

from redis_emulator import RedisEmulator
from tests.support.keyspace import EventWatcher
from tests.support.pair import Connection, Pair, Wire, unordered
from tests.support.reads import compare_reads

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
MODERN = ("redis-8.2", "redis-7.0", "valkey-9.1")
FAR = 9_223_372_036_854_775_807


def compare_members(same: Pair, key: str) -> None:
    """Compare encoding and members; in order, except in a hash table."""
    encoding = same("OBJECT", "ENCODING", key)
    same("SMEMBERS", key, key=unordered if encoding[1] == b"hashtable" else None)


def set_limits(same: Pair, intset: int, entries: int, value: int) -> None:
    for connection in (same.emulated, same.real):
        connection("CONFIG", "SET", "set-max-intset-entries", intset)
        connection("CONFIG", "SET", "set-max-listpack-entries", entries)
        connection("CONFIG", "SET", "set-max-listpack-value", value)


@pytest.mark.servers(*ALL)
def test_sadd_srem_and_membership(same: Pair) -> None:
    same("SADD s 1 2 3")
    same("SADD s 3 4 4")
    same("SCARD s")
    same("SISMEMBER s 4")
    same("SISMEMBER s 5")
    same("SMISMEMBER s 1 5 3")
    same("SREM s 1 1 9")
    same("SREM no 1")
    same("SMEMBERS s")
    same("SREM s 2 3 4 5")
    same("EXISTS s")
    for name in ("SCARD", "SMEMBERS", "SPOP", "SRANDMEMBER"):
        same(name, "no")
    same("SISMEMBER no x")
    same("SMISMEMBER no x y")


@pytest.mark.servers(*ALL)
def test_wrong_types_and_counts_of_arguments(same: Pair) -> None:
    same("SET str v")
    same("SADD s a")
    for call in (
        "SADD str a",
        "SREM str a",
        "SCARD str",
        "SISMEMBER str a",
        "SMISMEMBER str a",
        "SMEMBERS str",
        "SPOP str",
        "SPOP str 1",
        "SPOP str x",
        "SPOP s x",
        "SPOP s -1",
        "SPOP s 1 2",
        "SRANDMEMBER str",
        "SRANDMEMBER str x",
        "SRANDMEMBER s x",
        "SRANDMEMBER s 1 2",
        f"SRANDMEMBER no {-FAR - 1}",
        f"SRANDMEMBER no {-FAR}",
        f"SRANDMEMBER s {FAR + 1}",
        "SMOVE str s a",
        "SMOVE s str a",
        "SMOVE s str b",
        "SMOVE no str a",
        "SINTER no str",
        "SUNION s str",
        "SDIFF no no str",
        "SINTERSTORE d s str",
        "SSCAN str 0",
        "SSCAN str x",
        "SSCAN s x",
        "SSCAN no 0 FOO",
        "SSCAN s 0 FOO",
        "SSCAN s 0 COUNT 0",
        "SADD s",
        "SREM s",
        "SMOVE s d",
        "SINTERSTORE d",
        "SSCAN s",
    ):
        same(call)


@pytest.mark.servers(*ALL)
def test_intsets_are_in_numeric_order(same: Pair) -> None:
    same("SADD", "s", 3, -1, FAR, 2, -FAR - 1, 70_000)
    compare_members(same, "s")
    same("SADD s 10")
    compare_members(same, "s")
    same("SADD s 1.0")
    compare_members(same, "s")


@pytest.mark.parametrize("word", ["a", "01", "-0", "+1", " 1", "1.0", str(FAR + 1), ""])
@pytest.mark.servers(*ALL)
def test_strings_that_are_not_canonical_integers(same: Pair, word: str) -> None:
    same("SADD", "s", 5, 1)
    same("SADD", "s", word)
    compare_members(same, "s")
    same("SADD", "t", word, 5, 1)
    compare_members(same, "t")


@pytest.mark.servers(*ALL)
def test_listpacks_are_in_insertion_order(same: Pair) -> None:
    same("SADD s c a b 3 1 a")
    compare_members(same, "s")
    same("SREM s a")
    same("SADD s a")
    compare_members(same, "s")
    same("SADD", "s", "x" * 64)
    compare_members(same, "s")
    same("SADD", "s", "x" * 65)
    compare_members(same, "s")
    same("SREM", "s", "x" * 65)
    compare_members(same, "s")


@pytest.mark.servers(*ALL)
def test_encodings_at_the_limits(same: Pair) -> None:
    numbers, words = [*range(512)], [f"w{n}" for n in range(128)]
    same("SADD", "i", *numbers)
    compare_members(same, "i")
    same("SADD i 512")
    compare_members(same, "i")
    same("SADD", "i2", *numbers, 512)
    compare_members(same, "i2")
    same("SADD", "w", *words)
    compare_members(same, "w")
    same("SADD", "w", *words)
    compare_members(same, "w")
    same("SADD w more")
    compare_members(same, "w")
    same("SADD", "m", *range(127), "a", "b")
    compare_members(same, "m")
    same("SADD", "m2", *range(128))
    same("SADD", "m2", "a")
    compare_members(same, "m2")
    same("SADD", "r", *["a"] * 129)
    compare_members(same, "r")


@pytest.mark.servers(*ALL)
def test_encodings_when_limits_are_exceeded(same: Pair) -> None:
    set_limits(same, 5, 3, 3)
    try:
        for calls in (
            ["SADD s 1 2 3 4 5 6"],
            ["SADD s 1 2 3", "SADD s 1 2 3 1 2 3"],
            ["SADD s 1 2 3", "SADD s 4 5 6"],
            ["SADD s a a a a"],
            ["SADD s a", "SADD s a a a a"],
            ["SADD s 1 1 1 1", "SADD s a"],
            ["SADD s 1234", "SADD s a"],
            ["SADD s 123", "SADD s a"],
        ):
            same("DEL s")
            for call in calls:
                same(call)
                compare_members(same, "s")
    finally:
        set_limits(same, 512, 128, 64)


SETS = {
    "i": "1 2 3 4 5",
    "j": "4 5 6",
    "k": "5",
    "w": "b a 5 c",
    "v": "c d a 4 5",
    "x": "zzzz a b c d e f g",
}


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("small", [False, True])
def test_sinter_sunion_and_sdiff(same: Pair, small: bool) -> None:
    if small:
        set_limits(same, 3, 2, 3)
    try:
        for key, members in SETS.items():
            same(f"SADD {key} {members}")
        names = [*SETS, "no"]
        triples = list(itertools.product(names, repeat=3))[::4]
        for keys in (*itertools.product(names), *itertools.product(names, repeat=2), *triples):
            for name in ("SINTER", "SUNION", "SDIFF"):
                same(name, *keys, key=unordered)
                same(f"{name}STORE", "d", *keys)
                if small:
                    same("OBJECT ENCODING d")
                    same("SMEMBERS", "d", key=unordered)
                else:
                    compare_members(same, "d")
    finally:
        set_limits(same, 512, 128, 64)


@pytest.mark.servers(*ALL)
def test_store_commands_replace_the_key(same: Pair) -> None:
    watcher = EventWatcher(same)
    same("SADD a 1 2")
    same("SADD b 2 3")
    for name in ("SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"):
        same("SET d v EX 100")
        same(name, "d", "a", "b")
        same("TTL d")
        same("TYPE d")
        same(name, "a2", "no", "no2")
        same(name, "d", "no", "no2")
        same("EXISTS d")
    same("SUNIONSTORE a a b")
    same("SMEMBERS a")
    real, emulated = watcher.collect()
    assert emulated == real


@pytest.mark.servers(*MODERN)
def test_sintercard(same: Pair) -> None:
    same("SADD a 1 2 3 4")
    same("SADD b 2 3 4 5")
    same("SET str v")
    for call in (
        "2 a b",
        "2 a b LIMIT 0",
        "2 a b limit 2",
        "2 a b LIMIT 9",
        "2 a b LIMIT 1 LIMIT 2",
        "2 a b LIMIT",
        "2 a b LIMIT -1",
        "2 a b LIMIT x",
        "2 a b FOO",
        "2 a no",
        "2 no str",
        "3 a b",
        "1 a b",
        "0 a",
        "-1 a",
        "x a",
        "1",
    ):
        same(f"SINTERCARD {call}")


@pytest.mark.servers(*ALL)
def test_smove(same: Pair) -> None:
    watcher = EventWatcher(same)
    same("SADD a 1 x")
    same("SMOVE a a 1")
    same("SMOVE a a 9")
    same("SMOVE a b 9")
    same("SMOVE a b 1")
    compare_members(same, "b")
    same("SMOVE a b x")
    same("EXISTS a")
    compare_members(same, "b")
    same("SADD a x")
    same("SMOVE a b x")
    same("SMOVE no b x")
    real, emulated = watcher.collect()
    assert emulated == real


@pytest.mark.servers(*ALL)
def test_spop_of_all_members(same: Pair) -> None:
    watcher = EventWatcher(same)
    for members in ("3 1 2", "c a b"):
        same(f"SADD s {members}")
        same("SRANDMEMBER", "s", 5, key=unordered)
        same("SPOP s 0")
        same("SPOP", "s", 3, key=unordered)
        same("EXISTS s")
    same("SADD s only")
    same("SRANDMEMBER s")
    same("SRANDMEMBER s -3")
    same("SPOP s")
    same("SPOP s 2")
    real, emulated = watcher.collect()
    assert emulated == real


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("size", [5, 200, 600])
def test_spop_and_srandmember_of_some_members(same: Pair, size: int) -> None:
    def shape(reply: Wire) -> tuple[str, int, int, set[str]]:
        return reply[0], len(reply[1]), len(set(reply[1])), {item[0] for item in reply[1]}

    members = [f"m{number}" for number in range(size)]
    same("SADD", "s", *members)
    same("SPOP", "s", 2, key=shape)
    same("SPOP", "s", size - 4, key=shape)
    same("SCARD s")
    same("SRANDMEMBER", "s", 1, key=shape)
    left = same("SRANDMEMBER", "s", -50, key=lambda reply: (reply[0], len(reply[1])))[1]
    assert len(set(left)) <= 2


@pytest.mark.servers("redis-8.2", "valkey-9.1")
def test_random_members_of_a_listpack_are_in_its_order(same: Pair) -> None:
    def in_order(reply: Wire) -> bool:
        return bool(reply[1] == sorted(reply[1]))

    for count in (1, 3, 9, 17):
        same("SADD", "s", *(f"m{number:02}" for number in range(20)))
        assert same("SRANDMEMBER", "s", count, key=in_order)
        same("SPOP", "s", count, key=in_order)
        same("SMEMBERS", "s", key=in_order)
        same("DEL s")


@pytest.mark.servers(*ALL)
def test_which_commands_count_keyspace_hits_and_misses(same: Pair) -> None:
    same("SADD s a")
    compare_reads(
        same,
        (
            "SADD s a",
            "SREM no a",
            "SCARD no",
            "SISMEMBER no a",
            "SMISMEMBER s a",
            "SMEMBERS no",
            "SPOP no",
            "SPOP no 1",
            "SRANDMEMBER no",
            "SRANDMEMBER no 2",
            "SMOVE no d a",
            "SMOVE s d z",
            "SINTER no no s",
            "SINTERSTORE d no s",
            "SUNIONSTORE d s no",
            "SDIFFSTORE d no no",
            "SSCAN no 0",
        ),
    )


@pytest.mark.servers(*ALL)
def test_sscan(same: Pair) -> None:
    def sides(key: str, *options: object) -> set[frozenset[bytes]]:
        return {frozenset(_scan(side, key, *options)) for side in (same.emulated, same.real)}

    same("SADD i 3 1 2")
    same("SSCAN i 0")
    same("SSCAN i 0 COUNT 1")
    same("SSCAN i 7")
    same("SSCAN i 0 MATCH [12]")
    same("SSCAN no 0")
    same("SADD", "h", *(f"m{number}" for number in range(700)))
    assert sides("h") == {frozenset(b"m%d" % number for number in range(700))}
    assert len(sides("h", "COUNT", 100)) == 1
    assert len(sides("h", "MATCH", "*7")) == 1


def _scan(connection: Connection, key: str, *options: object) -> list[bytes]:
    cursor, found = b"0", []
    while True:
        reply = connection("SSCAN", key, cursor, *options)
        cursor = reply[1][0][1]
        found += [item[1] for item in reply[1][1][1]]
        if cursor == b"0":
            return found


@pytest.mark.parametrize("size", [4, 20, 150])
def test_random_members_are_equally_likely(size: int) -> None:
    client: Any = RedisEmulator(seed=7).client()
    members = [f"m{number}".encode() for number in range(size)]
    client.sadd("s", *members)
    drawn: Counter[bytes] = Counter()
    for _ in range(2000):
        drawn[client.srandmember("s")] += 1
        drawn.update(client.srandmember("s", 2))
        drawn.update(client.srandmember("s", -2))
        drawn[client.spop("s")] += 1
        client.sadd("s", *members)
        drawn.update(client.spop("s", 2))
        client.sadd("s", *members)
    expected = 16_000 / size
    chi = sum((drawn[member] - expected) ** 2 / expected for member in members)
    assert chi < size + 5 * (2 * size) ** 0.5 + 10


def test_spop_empties_a_large_set() -> None:
    client: Any = RedisEmulator(seed=1).client()
    members = {b"%d" % number for number in range(2000)}
    client.sadd("s", *members)
    gone = {client.spop("s") for _ in range(500)}
    client.srem("s", *list(members - gone)[:500])
    client.sadd("s", *list(gone)[:100])
    rest = client.smembers("s")
    assert len(rest) == 1100
    assert {client.spop("s") for _ in range(1100)} == rest
    assert client.exists("s") == 0


def test_snapshots_keep_sets() -> None:
    emulator = RedisEmulator(seed=1)
    client = emulator.client()
    client.sadd("s", *range(1000))
    client.srandmember("s")
    snapshot = emulator.snapshot()
    client.spop("s", 990)
    client.spop("s")
    emulator.restore(snapshot)
    assert len(client.smembers("s")) == client.scard("s") == 1000
    assert len({client.spop("s") for _ in range(1000)}) == 1000
