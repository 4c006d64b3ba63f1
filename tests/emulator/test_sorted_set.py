"""Sorted set commands, compared with real servers: scores, encodings, pops, random members."""

from __future__ import annotations

import itertools
import math
import random
import struct
from typing import Any

import pytest

from redis_emulator import RedisEmulator
from redis_emulator.values.sorted_set import SortedSet
from tests.emulator.fuzz.sorted_set import key_for
from tests.support.keyspace import EventWatcher
from tests.support.pair import Pair

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
MODERN = ("redis-8.2", "redis-7.0", "valkey-9.1")
SCORES = (
    "0 -0 1 3.0 -1.5 .5 1. +1 1e2 0.1 0.30000000000000004 1e-5 1e-6 1e-7 0.00001234 5e-324 1e-310 "
    "1e15 1e16 1e17 1e18 1e19 1e20 1e21 1e22 1.5e300 1.7976931348623157e308 9007199254740993 "
    "99999999999999999 123456789012345678 12345678901234567890 4611686018427387904 "
    "4611686018427388928 9223372036854775807 -9223372036854775808 123456.789e15 9.2e18 1.23456e21 "
    "inf -inf +inf infinity -Infinity INF 0x10 0x1p-3 0e-400 nan -nan 1e400 -1e400 1e-400 1e-330 "
    "0x1p-1080 0x1p2000 1e x in infi 1_0 0x ++1"
).split()
ODD_SCORES = ("", " 1", "1 ", b"1\0", b"1\0002", "\t1")


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("entries", ["128", "0"])
def test_score_formats(same: Pair, entries: str) -> None:
    same("CONFIG", "SET", "zset-max-ziplist-entries", entries)
    for score in (*SCORES, *ODD_SCORES):
        same("DEL", "z")
        same("ZADD", "z", score, "m")
        same("ZSCORE", "z", "m")
        same("ZSCAN", "z", "0", key=key_for([b"ZSCAN"]))
        same("ZRANGE", "z", 0, -1, "WITHSCORES")
        same("ZADD", "z", "INCR", "0", "m")
        same("ZINCRBY", "z", score, "m")
        same("ZMSCORE", "z", "m", "n")
        same("ZINCRBY", "y", score, "m")
    same("CONFIG", "SET", "zset-max-ziplist-entries", "128")


@pytest.mark.servers("redis-8.2", "redis-6.2")
def test_random_scores_are_printed_alike(same: Pair) -> None:
    chance = random.Random(7)
    numbers = [struct.unpack("d", chance.randbytes(8))[0] for _ in range(150)]
    numbers += [chance.uniform(-1, 1) * 10.0 ** chance.randint(-12, 24) for _ in range(150)]
    numbers += [round(chance.uniform(-1000, 1000), chance.randint(0, 12)) for _ in range(150)]
    numbers += [float(chance.getrandbits(chance.randint(1, 70))) for _ in range(100)]
    numbers += [math.ldexp(1, chance.randint(-1074, 1023)) for _ in range(100)]
    pairs = [(repr(n), f"m{i}") for i, n in enumerate(numbers) if math.isfinite(n)]
    same("ZADD", "z", *itertools.chain(*pairs))
    same("ZRANGE", "z", 0, -1, "WITHSCORES")


@pytest.mark.servers(*ALL)
def test_zadd_and_zincrby(same: Pair) -> None:
    watcher = EventWatcher(same)
    same("SET str x")
    words = ("NX", "XX", "GT", "LT", "CH", "INCR", "FOO")
    chosen = [(), *itertools.permutations(words, 1), *itertools.permutations(words, 2)]
    for options in (*chosen, ("XX", "GT", "CH"), ("XX", "LT", "INCR"), ("nx", "ch", "incr")):
        same("DEL z")
        same("ZADD z 1 a 2 b")
        for rest in ("1 a", "5 a", "-5 b", "3 new", "1", "1 a 2 b", "x a", "7 b 8 b 9 c"):
            same("ZADD", "z", *options, *rest.split())
        same("ZADD", "none", *options, "1", "a")
        same("ZADD", "str", *options, "1", "a")
        same("ZADD", "str", *options, "x", "a")
        same("ZRANGE z 0 -1 WITHSCORES")
        same("DEL none")
    same("ZADD z")
    same("ZADD z 1")
    same("ZADD z XX")
    same("ZINCRBY z 1")
    same("ZINCRBY z x a")
    same("ZINCRBY str 1 a")
    same("ZADD inf inf a")
    same("ZINCRBY inf -inf a")
    same("ZADD inf INCR -inf a")
    real, emulated = watcher.collect()
    assert emulated == real


@pytest.mark.servers(*ALL)
def test_zscore_zrank_and_zrem(same: Pair) -> None:
    same("ZADD z 1 a 2 b 2 c 3 d")
    same("SET str x")
    for key in ("z", "none", "str"):
        for line in ("ZCARD", "ZSCORE {} a", "ZSCORE {} x", "ZMSCORE {} a x b", "ZRANK {} c"):
            same(line.format(key) if "{}" in line else f"{line} {key}")
        for line in ("ZREVRANK {} c", "ZRANK {} x", "ZRANK {} c WITHSCORE", "ZREVRANK {} b FOO"):
            same(line.format(key))
        same(f"ZRANK {key} x WITHSCORE")
        same(f"ZRANK {key} c WITHSCORE more")
        same(f"ZREM {key} x y")
    same("ZREM z a b x a")
    same("ZREM z c d")
    same("EXISTS z")


@pytest.mark.servers(*ALL)
def test_listpack_and_skiplist_encodings(same: Pair) -> None:
    for name, few in (("entries", "3"), ("value", "4")):
        same("CONFIG", "SET", f"zset-max-ziplist-{name}", few)
    long, short = "12345", "1234"
    for words in (
        ("ZADD", "z", 1, "a", 1, "a", 1, "a"),
        ("ZADD", "z", 1, "a", 1, "a", 1, "a", 1, "a"),
        ("ZADD", "z", 1, "a", 2, "b", 3, "c"),
        ("ZADD", "z", 1, "a", 2, "b", 3, "c", 4, "d"),
        ("ZADD", "z", 1, short),
        ("ZADD", "z", 1, long),
        ("ZADD", "z", 1, short, 1, long),
        ("ZADD", "z", "-0", "a", 1, long),
        ("ZADD", "z", 1, long, "-0", "a"),
        ("ZADD", "z", "NX", 1, "a", 1, long),
        ("ZINCRBY", "z", 1, long),
    ):
        same("DEL z d")
        same(*words)
        same("OBJECT ENCODING z")
        same("ZADD z XX 0 a")
        same("OBJECT ENCODING z")
        same("ZADD", "z", "XX", 0, long)
        same("OBJECT ENCODING z")
        same("ZADD z XX 0 n 0 n 0 n 0 n")
        same("OBJECT ENCODING z")
        same("ZADD z -0 x 0 y")
        same("ZRANGE z 0 -1 WITHSCORES")
        same("OBJECT ENCODING z")
        for store in ("ZRANGESTORE d z 0 2", "ZRANGESTORE d z -inf inf BYSCORE LIMIT 0 3"):
            same(store)
            same("OBJECT ENCODING d")
        for store in ("ZUNIONSTORE d 1 z", "ZDIFFSTORE d 2 z d", "ZINTERSTORE d 2 z z"):
            same(store)
            same("OBJECT ENCODING d")
        same("ZREM", "z", long, "x", "y")
        same("OBJECT ENCODING z")
    same("CONFIG SET zset-max-ziplist-entries 0")
    same("DEL z")
    same("ZADD z 1 a")
    same("OBJECT ENCODING z")
    same("CONFIG SET zset-max-ziplist-entries 128")
    same("CONFIG SET zset-max-ziplist-value 64")


@pytest.mark.servers(*ALL)
def test_zpopmin_and_zpopmax(same: Pair) -> None:
    watcher = EventWatcher(same)
    same("SET str x")
    for name in ("ZPOPMIN", "ZPOPMAX"):
        for rest in ("", "0", "1", "2", "9", "-1", "x", "9223372036854775808", "1 2", "1.5"):
            same("ZADD z 1 a 2 b 2 c inf d")
            for key in ("z", "none", "str"):
                same(f"{name} {key} {rest}")
    same("ZRANGE z 0 -1")
    real, emulated = watcher.collect()
    assert emulated == real


@pytest.mark.servers(*ALL)
def test_zmpop_and_bzmpop(same: Pair) -> None:
    watcher = EventWatcher(same)
    same("SET str x")
    for line in (
        "1 z MIN",
        "1 z max COUNT 2",
        "2 none z MIN COUNT 9",
        "2 str z MIN",
        "2 z str MIN",
        "1 none MIN",
        "0 z MIN",
        "x z MIN",
        "-1 z MIN",
        "1 z FOO",
        "2 z MIN",
        "3 z MIN",
        "1 z MIN COUNT",
        "1 z MIN COUNT 0",
        "1 z MIN COUNT -1",
        "1 z MIN COUNT x",
        "1 z MIN COUNT 1 COUNT 1",
        "1 z MIN MAX",
        "1 z z MIN",
        "1 z MIN FOO 1",
        "1 z MIN COUNT 1 FOO",
        "1 z",
    ):
        same("ZADD z 1 a 2 b 3 c")
        same(f"ZMPOP {line}")
        if "none" not in line or "z" in line:
            same("ZADD z 1 a 2 b 3 c")
            same(f"BZMPOP 0.01 {line}")
            same(f"BZMPOP x {line}")
    real, emulated = watcher.collect()
    assert emulated == real


@pytest.mark.servers(*ALL)
def test_zrandmember(same: Pair) -> None:
    same("ZADD z 1 a")
    same("ZADD y 1 a 2 b 3 c")
    same("SET str x")
    same("ZRANDMEMBER z")
    same("ZRANDMEMBER z -3")
    same("ZRANDMEMBER z -2 WITHSCORES")
    for key in ("y", "none", "str"):
        for rest in ("3", "4 WITHSCORES", "0", "0 withscores", "x", "1 FOO", "9 WITHSCORES x"):
            same(f"ZRANDMEMBER {key} {rest}")
        shape = key_for([b"ZRANDMEMBER"])
        for rest in ("", "1", "2", "-2", "2 WITHSCORES", "-5 WITHSCORES"):
            same(f"ZRANDMEMBER {key} {rest}", key=shape)
    same("ZRANDMEMBER y 9223372036854775808")


@pytest.mark.servers(*MODERN)
def test_zrandmember_counts_out_of_range(same: Pair) -> None:
    same("ZADD y 1 a 2 b 3 c")
    for key in ("y", "none"):
        for count in (-(1 << 63), 1 << 62, -(1 << 62), (1 << 63) - 1):
            same("ZRANDMEMBER", key, count, "WITHSCORES")
        same("ZRANDMEMBER", key, -(1 << 63))
        same("ZRANDMEMBER", key, (1 << 63) - 1)


@pytest.mark.servers(*ALL)
def test_rdb_changes_since_last_save(same: Pair) -> None:
    for line in (
        "ZADD z 1 a 2 b 3 c",
        "ZADD z 1 a 5 b 7 d",
        "ZADD z 1 a",
        "ZINCRBY z 1 a",
        "ZREM z a x",
        "ZADD z 1 a 2 b 3 c 4 d 5 e 6 f 7 g 8 h",
        "ZREMRANGEBYRANK z 0 1",
        "ZREMRANGEBYSCORE z 3 4",
        "ZPOPMIN z 2",
        "ZPOPMAX z",
        "ZRANGESTORE to z 0 -1",
        "ZRANGESTORE to none 0 -1",
        "ZUNIONSTORE to 2 z z",
        "ZINTERSTORE to 1 none",
        "ZREM z h g f",
        "GEOADD g 1 1 a 2 2 b",
        "GEOSEARCHSTORE to g FROMLONLAT 1 1 BYRADIUS 1000 km",
        "GEOSEARCHSTORE to none FROMLONLAT 1 1 BYRADIUS 1 km",
        "ZREMRANGEBYRANK g 0 -1",
    ):
        before = [_changes(connection) for connection in (same.real, same.emulated)]
        same(line)
        after = [_changes(connection) for connection in (same.real, same.emulated)]
        assert after[0] - before[0] == after[1] - before[1], line


def _changes(connection: Any) -> int:
    info = connection("INFO", "persistence")[1]
    return int(info.partition(b"rdb_changes_since_last_save:")[2].split()[0])


def test_zrandmember_follows_the_seed() -> None:
    def sample() -> Any:
        client = RedisEmulator(seed=3).client()
        client.zadd("z", {f"m{number}": number for number in range(100)})
        return [client.zrandmember("z", 5), client.zrandmember("z", -5), client.zrandmember("z")]

    assert sample() == sample()
    distinct, repeated, one = sample()
    assert len(set(distinct)) == 5 == len(repeated)
    assert one.startswith(b"m")


@pytest.mark.servers(*ALL)
def test_zscan(same: Pair) -> None:
    same("ZADD z 2 b 1 a 3 c")
    same("SET str x")
    for key in ("z", "none", "str"):
        for rest in (
            "0",
            "0 COUNT 1",
            "0 MATCH [ab]",
            "0 COUNT 0",
            "0 FOO",
            "x",
            "x FOO",
            "0 NOVALUES",
        ):
            same(f"ZSCAN {key} {rest}")
    same("ZSCAN z")


def test_zscan_of_a_large_set() -> None:
    client = RedisEmulator().client()
    expected = {b"m%d" % number: float(number) for number in range(1000)}
    client.zadd("z", expected)
    assert dict(client.zscan_iter("z")) == expected


def test_snapshots_keep_sorted_sets() -> None:
    emulator = RedisEmulator()
    client = emulator.client()
    client.zadd("z", {"a": 1, "b": 2})
    before = emulator.snapshot()
    client.zadd("z", {"c": 0})
    client.zrem("z", "a")
    client.zpopmax("z")
    emulator.restore(before)
    assert client.zrange("z", 0, -1, withscores=True) == [(b"a", 1.0), (b"b", 2.0)]


def test_order_and_rank_after_random_changes() -> None:
    chance = random.Random(5)
    value = SortedSet()
    scores: dict[bytes, float] = {}
    for _ in range(3000):
        member = b"%d" % chance.randrange(300)
        if chance.random() < 0.7:
            scores[member] = float(chance.randrange(20))
            value.put(member, scores[member])
        else:
            assert value.discard(member) == (scores.pop(member, None) is not None)
        if chance.random() < 0.1:
            expected = sorted((score, name) for name, score in scores.items())
            assert list(value.order()) == expected
            for rank, (_, name) in enumerate(expected[:5]):
                assert value.rank(name) == rank
