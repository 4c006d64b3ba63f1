"""Range commands of sorted sets, compared with real servers."""

from __future__ import annotations

import itertools

import pytest

from tests.support.keyspace import EventWatcher
from tests.support.pair import Pair

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
FAR = 9_223_372_036_854_775_807
INDEXES = (0, 1, 3, 4, 7, -1, -2, -4, -9, FAR, -FAR - 1)
WRONG = ("x", "", "1.0", "+1", " 1", FAR + 1)
BOUNDS = "-inf +inf inf (inf (-inf 0 1 (1 2 (2 2.5 3 (3 9 1e400 -1e400 1e-400 -0".split()
UNUSUAL_BOUNDS = (
    *"x nan (nan ( ((1 0x1 (0X2 infinity (+inf in infi 0x 1e nan(1) 1. - . + + 1.5.5 1_0".split(),
    *("", " 1", "1 ", b"1\0x", b"(\0", b"inf\0", "( 1", "\t1", "+ 1"),
)
LEX = ("-", "+", "[a", "(a", "[b", "(b", "[bb", "(c", "[", "(", "[zz", "[A")
INVALID_LEX = ("", "a", "-a", "+a", "--", b"\0", "inf")


def _fill(same: Pair) -> None:
    same("ZADD z 1 a 2 b 2 bb 3 c inf d")
    same("ZADD l 0 a 0 b 0 bb 0 c 0 d")
    same("SET str x")


@pytest.mark.servers(*ALL)
def test_ranges_by_rank(same: Pair) -> None:
    _fill(same)
    for start, end in itertools.product(INDEXES, INDEXES):
        same("ZRANGE", "z", start, end)
        same("ZREVRANGE", "z", start, end)
    for start, end in ((0, -1), (1, 2), (3, 1)):
        same("ZRANGE", "z", start, end, "REV", "WITHSCORES")
        same("ZREVRANGE", "z", start, end, "WITHSCORES")
    for odd in WRONG:
        for key in ("z", "none", "str"):
            same("ZRANGE", key, odd, 1)
            same("ZREVRANGE", key, 0, odd)
            same("ZREMRANGEBYRANK", key, odd, 1)


@pytest.mark.servers(*ALL)
def test_ranges_by_score(same: Pair) -> None:
    _fill(same)
    for low, high in itertools.product(BOUNDS, BOUNDS):
        same("ZRANGEBYSCORE", "z", low, high)
        same("ZCOUNT", "z", low, high)
    for low, high in (("1", "(3"), ("(1", "3"), ("-inf", "inf"), ("3", "1"), ("inf", "(inf")):
        for limit in (
            "",
            "LIMIT 0 1",
            "LIMIT 1 2",
            "LIMIT 1 -1",
            "LIMIT -2 1",
            "LIMIT -9 -1",
            "LIMIT 9 9",
        ):
            for scores in ("", "WITHSCORES"):
                same(f"ZREVRANGEBYSCORE z {high} {low} {scores} {limit}")
                same(f"ZRANGE z {low} {high} BYSCORE {limit} {scores}")
                same(f"ZRANGE z {high} {low} BYSCORE {limit} {scores} REV")
    for odd in UNUSUAL_BOUNDS:
        for key in ("z", "none", "str"):
            same("ZRANGEBYSCORE", key, odd, 3)
            same("ZREVRANGEBYSCORE", key, 3, odd)
            same("ZRANGE", key, odd, odd, "BYSCORE")
            same("ZCOUNT", key, "-inf", odd)
            same("ZREMRANGEBYSCORE", key, odd, "-inf")


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("entries", ["128", "0"])
def test_ranges_by_lex(same: Pair, entries: str) -> None:
    same("CONFIG", "SET", "zset-max-ziplist-entries", entries)
    _fill(same)
    same("CONFIG SET zset-max-ziplist-entries 128")
    for low, high in itertools.product(LEX, LEX):
        same("ZRANGEBYLEX", "l", low, high)
        same("ZREVRANGEBYLEX", "l", high, low)
        same("ZLEXCOUNT", "l", low, high)
    for low, high in (("-", "+"), ("(a", "[c"), ("+", "-"), ("[b", "[b")):
        for limit in (
            "",
            "LIMIT 0 1",
            "LIMIT 1 2",
            "LIMIT 1 -1",
            "LIMIT -2 1",
            "LIMIT -9 -1",
            "LIMIT 9 9",
        ):
            same(f"ZRANGE l {low} {high} BYLEX {limit}")
            same(f"ZRANGE l {high} {low} BYLEX {limit} REV")
    for odd in INVALID_LEX:
        for key in ("l", "none", "str"):
            same("ZRANGEBYLEX", key, odd, "+")
            same("ZREVRANGEBYLEX", key, "+", odd)
            same("ZLEXCOUNT", key, "-", odd)
            same("ZREMRANGEBYLEX", key, "(c", odd)


@pytest.mark.servers(*ALL)
def test_ranges_by_lex_with_different_scores(same: Pair) -> None:
    same("ZADD z 1 c 2 a 3 e 4 b 5 d")
    bounds = ("-", "+", "[a", "(a", "[c", "(c", "[d", "[e", "(e")
    for low, high in itertools.product(bounds, bounds):
        same("ZRANGEBYLEX", "z", low, high)
        same("ZREVRANGEBYLEX", "z", high, low)
        same("ZLEXCOUNT", "z", low, high)
        same("COPY z y REPLACE")
        same("ZREMRANGEBYLEX", "y", low, high)
        same("ZRANGE y 0 -1")


@pytest.mark.servers(*ALL)
def test_zrange_options(same: Pair) -> None:
    _fill(same)
    words = ("REV", "BYSCORE", "BYLEX", "WITHSCORES", "LIMIT 0 -1", "LIMIT 1 2", "LIMIT 1", "FOO")
    for options in [*itertools.permutations(words, 1), *itertools.permutations(words, 2)]:
        for key in ("z", "none", "str"):
            same("ZRANGE", key, 0, 2, *" ".join(options).split())
        same("ZRANGE", "l", "-", "+", "BYLEX", *" ".join(options).split())
        same("ZRANGESTORE", "to", "z", 0, 2, *" ".join(options).split())
    for name in ("ZREVRANGE", "ZRANGEBYSCORE", "ZREVRANGEBYSCORE"):
        for word in (*words, "limit x 1", "limit 1 x", "withscores withscores"):
            same(f"{name} z 0 2 {word}")
    for name in ("ZRANGEBYLEX", "ZREVRANGEBYLEX"):
        for word in words:
            same(f"{name} l - + {word}")
    for name in ("ZRANGE", "ZREVRANGE", "ZRANGESTORE", "ZCOUNT", "ZLEXCOUNT", "ZREMRANGEBYRANK"):
        same(f"{name} z 0")


@pytest.mark.servers(*ALL)
def test_zrangestore(same: Pair) -> None:
    watcher = EventWatcher(same)
    _fill(same)
    for line in (
        "ZRANGESTORE to z 0 -1",
        "ZRANGESTORE to z 1 1 REV",
        "ZRANGESTORE to z 5 9",
        "ZRANGESTORE to z 5 9",
        "ZRANGESTORE to z (1 3 BYSCORE LIMIT 1 5",
        "ZRANGESTORE to z 3 (1 BYSCORE REV LIMIT 1 5",
        "ZRANGESTORE to l (a [c BYLEX",
        "ZRANGESTORE to str 0 -1",
        "ZRANGESTORE str z 0 0",
        "ZRANGESTORE str none 0 0",
        "ZRANGESTORE z z 1 2",
        "ZRANGESTORE to z 0 -1 WITHSCORES",
        "ZRANGESTORE to z x -1",
        "ZRANGESTORE to z (1 3",
    ):
        same("EXPIRE to 100")
        same(line)
        same("ZRANGE to 0 -1 WITHSCORES")
        same("TTL to")
    same("ZRANGE z 0 -1 WITHSCORES")
    real, emulated = watcher.collect()
    assert emulated == real


@pytest.mark.servers(*ALL)
def test_zremrange_commands(same: Pair) -> None:
    watcher = EventWatcher(same)
    for line in (
        "ZREMRANGEBYRANK z 0 1",
        "ZREMRANGEBYRANK z -2 -1",
        "ZREMRANGEBYRANK z 3 1",
        "ZREMRANGEBYRANK z 0 -1",
        "ZREMRANGEBYSCORE z (1 2",
        "ZREMRANGEBYSCORE z 5 1",
        "ZREMRANGEBYSCORE z -inf +inf",
        "ZREMRANGEBYLEX l [b (c",
        "ZREMRANGEBYLEX l + -",
        "ZREMRANGEBYLEX l - +",
        "ZREMRANGEBYRANK none 0 -1",
        "ZREMRANGEBYRANK str 0 -1",
        "ZREMRANGEBYSCORE str 0 1",
        "ZREMRANGEBYLEX str - +",
    ):
        _fill(same)
        same(line)
        for key in ("z", "l"):
            same(f"ZRANGE {key} 0 -1 WITHSCORES")
    real, emulated = watcher.collect()
    assert emulated == real
