"""Clients blocked on lists and on keys of other types, compared with real servers."""

from __future__ import annotations

import pytest

from tests.support.blocking import Clients, Step, play
from tests.support.pair import Pair

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
MODERN = ("redis-8.2", "redis-7.0", "valkey-9.1")
NEWEST = ("redis-8.2", "valkey-9.1")

ORDER: dict[str, list[Step]] = {
    "first come": [
        ("A", "BLPOP a 0"),
        ("B", "BRPOP a 0"),
        ("C", "BLPOP a 0"),
        ("x", "RPUSH a 1 2"),
        ("A",),
        ("B",),
        ("C",),
        ("x", "RPUSH a 3 4"),
        ("C",),
        ("x", "LRANGE a 0 -1"),
    ],
    "keys in order": [
        ("A", "BLPOP a b 0"),
        ("x", "MULTI"),
        ("x", "LPUSH b x"),
        ("x", "LPUSH a y"),
        ("x", "EXEC"),
        ("A",),
    ],
    "a key twice": [("A", "BLPOP a a b a 0"), ("x", "LPUSH b 1"), ("A",), ("x", "LPUSH a 1")],
    "chain": [
        ("A", "BLMOVE a b LEFT RIGHT 0"),
        ("B", "BLMOVE b c LEFT RIGHT 0"),
        ("C", "BLPOP c 0"),
        ("x", "RPUSH a 1 2"),
        ("A",),
        ("B",),
        ("C",),
    ],
    "chain from its end": [
        ("C", "BLPOP c 0"),
        ("B", "BLMOVE b c LEFT RIGHT 0"),
        ("A", "BRPOPLPUSH a b 0"),
        ("x", "RPUSH a 1 2"),
        ("A",),
        ("B",),
        ("C",),
    ],
    "circle": [
        ("A", "BRPOPLPUSH a b 0"),
        ("B", "BRPOPLPUSH b a 0"),
        ("x", "RPUSH a 1"),
        ("A",),
        ("B",),
        ("x", "LRANGE a 0 -1"),
    ],
    "to itself": [
        ("A", "BLMOVE a a LEFT RIGHT 0"),
        ("B", "BLPOP a 0"),
        ("x", "RPUSH a 1 2 3"),
        ("A",),
        ("B",),
    ],
    "moved and taken": [
        ("A", "BLMOVE a b LEFT LEFT 0"),
        ("B", "BLPOP b 0"),
        ("C", "BLPOP a 0"),
        ("x", "RPUSH a 1 2 3"),
        ("A",),
        ("B",),
        ("C",),
    ],
    "moved twice": [
        ("A", "BLMOVE a b LEFT LEFT 0"),
        ("B", "BLMOVE a b LEFT LEFT 0"),
        ("C", "BRPOP b 0"),
        ("D", "BRPOP b 0"),
        ("x", "RPUSH a 1 2 3"),
        ("A",),
        ("B",),
        ("C",),
        ("D",),
    ],
    "a transaction behind": [
        ("A", "BLPOP a 0"),
        ("A+", "MULTI"),
        ("A+", "RPUSH b 1"),
        ("A+", "EXEC"),
        ("B", "BLPOP b 0"),
        ("x", "RPUSH a 1"),
        ("A",),
        ("A",),
        ("A",),
        ("A",),
        ("B",),
    ],
    "behind": [
        ("A", "BLPOP a 0"),
        ("A+", "LPUSH r z"),
        ("B", "BLPOP r 0"),
        ("x", "RPUSH a 1"),
        ("A",),
        ("A",),
        ("B",),
    ],
    "blocked again behind": [
        ("A", "BLPOP a 0"),
        ("A+", "BLPOP a 0"),
        ("B", "BLPOP a 0"),
        ("x", "RPUSH a 1 2 3"),
        ("A",),
        ("B",),
        ("A",),
    ],
}

TYPES: dict[str, list[Step]] = {
    "another type first": [
        ("A", "BLPOP a b 0"),
        ("x", "SET a s"),
        ("x", "LPUSH b x"),
        ("A",),
        ("x", "EXISTS b"),
    ],
    "target of another type": [
        ("A", "BLMOVE a b LEFT RIGHT 0"),
        ("B", "BLPOP a 0"),
        ("x", "SET b s"),
        ("x", "RPUSH a 1"),
        ("A",),
        ("B",),
    ],
    "another type, deleted": [
        ("A", "BLPOP a 0"),
        ("x", "SET a s"),
        ("A",),
        ("x", "DEL a"),
        ("x", "RPUSH a 1"),
        ("A",),
    ],
    "three types": [
        ("A", "BLPOP a 0"),
        ("B", "BZPOPMIN a 0"),
        ("D", "XREAD BLOCK 0 STREAMS a 0"),
        ("x", "ZADD a 1 m"),
        ("A",),
        ("B",),
        ("D",),
        ("x", "RPUSH a v"),
        ("A",),
        ("D",),
        ("x", "XADD a 1-1 f v"),
        ("D",),
    ],
    "sorted sets in order": [
        ("A", "BZPOPMIN a b 0"),
        ("B", "BZPOPMAX b 0"),
        ("x", "MULTI"),
        ("x", "ZADD b 1 m 2 n"),
        ("x", "ZADD a 1 o"),
        ("x", "EXEC"),
        ("A",),
        ("B",),
    ],
    "sorted set behind another type": [
        ("A", "BZPOPMIN a b 0"),
        ("x", "SET a s"),
        ("x", "ZADD b 1 m"),
        ("A",),
        ("x", "EXISTS b"),
    ],
    "sorted set stored over a string": [
        ("A", "BZPOPMIN a 0"),
        ("x", "SET a s"),
        ("x", "ZADD z 1 m"),
        ("x", "ZUNIONSTORE a 1 z"),
        ("A",),
    ],
    "stream reader meets a list": [
        ("A", "XREAD BLOCK 0 STREAMS a $"),
        ("x", "RPUSH a v"),
        ("A",),
        ("x", "DEL a"),
        ("x", "XADD a 1-1 f v"),
        ("A",),
    ],
}

TRANSACTIONS: dict[str, list[Step]] = {
    "deleted": [
        ("A", "BLPOP a 0"),
        ("x", "MULTI"),
        ("x", "RPUSH a 1"),
        ("x", "DEL a"),
        ("x", "EXEC"),
        ("A",),
    ],
    "deleted and made again": [
        ("A", "BLPOP a 0"),
        ("x", "MULTI"),
        ("x", "RPUSH a 1"),
        ("x", "DEL a"),
        ("x", "RPUSH a 2"),
        ("x", "EXEC"),
        ("A",),
    ],
    "made again as another type": [
        ("A", "BLPOP a 0"),
        ("x", "MULTI"),
        ("x", "RPUSH a 1"),
        ("x", "DEL a"),
        ("x", "ZADD a 1 m"),
        ("x", "EXEC"),
        ("A",),
        ("x", "DEL a"),
        ("x", "RPUSH a 2"),
        ("A",),
    ],
    "a command fails": [
        ("A", "BLPOP a 0"),
        ("x", "MULTI"),
        ("x", "RPUSH a 1"),
        ("x", "INCR a"),
        ("x", "RPUSH a 2 3"),
        ("x", "EXEC"),
        ("A",),
        ("x", "LRANGE a 0 -1"),
    ],
    "order of making": [
        ("A", "BLMOVE a c LEFT RIGHT 0"),
        ("B", "BLMOVE b c LEFT RIGHT 0"),
        ("x", "MULTI"),
        ("x", "SET a s"),
        ("x", "RPUSH b 1"),
        ("x", "DEL a"),
        ("x", "RPUSH a 2"),
        ("x", "EXEC"),
        ("A",),
        ("B",),
        ("x", "LRANGE c 0 -1"),
    ],
    "blocking commands inside": [
        ("x", "RPUSH l 1 2 3 4"),
        ("x", "MULTI"),
        ("x", "BLPOP no 0"),
        ("x", "BRPOP no l 0"),
        ("x", "BLMOVE no d LEFT LEFT 0"),
        ("x", "BLMOVE l d LEFT LEFT 0"),
        ("x", "BRPOPLPUSH no d 0"),
        ("x", "BRPOPLPUSH l d 0"),
        ("x", "XREAD BLOCK 0 STREAMS no $"),
        ("x", "BZPOPMIN no 0"),
        ("x", "BLPOP no x"),
        ("x", "EXEC"),
    ],
    "script": [
        ("A", "BLPOP a 0"),
        (
            "x",
            "EVAL",
            "redis.call('RPUSH','a',1) redis.call('RPUSH','a',2) redis.pcall('INCR','a') "
            "return redis.call('LLEN','a')",
            "0",
        ),
        ("A",),
        ("x", "LRANGE a 0 -1"),
    ],
}

ARRIVALS: dict[str, list[Step]] = {
    "RENAME": [("A", "BLPOP a 0"), ("x", "RPUSH l 3 1 2"), ("x", "RENAME l a"), ("A",)],
    "RENAME over a string": [
        ("A", "BLPOP a 0"),
        ("x", "SET a s"),
        ("x", "RPUSH l 3 1 2"),
        ("x", "RENAME l a"),
        ("A",),
    ],
    "COPY": [("A", "BLPOP a 0"), ("x", "RPUSH l 3 1 2"), ("x", "COPY l a"), ("A",)],
    "COPY over a string": [
        ("A", "BLPOP a 0"),
        ("x", "SET a s"),
        ("x", "RPUSH l 3 1 2"),
        ("x", "COPY l a REPLACE"),
        ("A",),
    ],
    "SORT": [("A", "BLPOP a 0"), ("x", "RPUSH l 3 1 2"), ("x", "SORT l STORE a"), ("A",)],
    "SORT over a string": [
        ("A", "BLPOP a 0"),
        ("x", "SET a s"),
        ("x", "RPUSH l 3 1 2"),
        ("x", "SORT l STORE a"),
        ("A",),
        ("x", "LRANGE a 0 -1"),
    ],
    "MOVE": [
        ("A", "BLPOP a 0"),
        ("x", "SELECT 1"),
        ("x", "RPUSH a 3 1 2"),
        ("A",),
        ("x", "MOVE a 0"),
        ("A",),
    ],
    "SWAPDB": [
        ("A", "BLPOP a 0"),
        ("x", "SELECT 1"),
        ("x", "RPUSH a 3 1 2"),
        ("x", "SWAPDB 0 1"),
        ("A",),
    ],
    "SWAPDB leaves clients": [
        ("A", "BLPOP a 0"),
        ("x", "SWAPDB 0 1"),
        ("x", "SELECT 1"),
        ("x", "RPUSH a 1"),
        ("A",),
        ("x", "SELECT 0"),
        ("x", "RPUSH a 2"),
        ("A",),
    ],
    "a hash between": [
        ("A", "BLPOP a 0"),
        ("x", "HSET a f v"),
        ("A",),
        ("x", "RENAME a b"),
        ("x", "LPUSH a 1"),
        ("A",),
    ],
    "LMOVE": [("A", "BLPOP a 0"), ("x", "RPUSH l 1"), ("x", "LMOVE l a LEFT LEFT"), ("A",)],
    "RPOPLPUSH": [("A", "BLPOP a 0"), ("x", "RPUSH l 1"), ("x", "RPOPLPUSH l a"), ("A",)],
    "LPUSHX": [("A", "BLPOP a 0"), ("x", "LPUSHX a 1"), ("A",), ("x", "LPUSH a 1"), ("A",)],
}

GROUPS: dict[str, list[Step]] = {
    "DEL": [("x", "DEL a"), ("A",)],
    "SET": [("x", "SET a v"), ("A",)],
    "FLUSHALL": [("x", "FLUSHALL"), ("A",)],
    "XGROUP DESTROY": [("x", "XGROUP DESTROY a g"), ("A",)],
    "RENAME away": [("x", "RENAME a b"), ("A",)],
    "RENAME over": [("x", "SET b v"), ("x", "RENAME b a"), ("A",)],
    "SWAPDB": [("x", "SWAPDB 0 1"), ("A",)],
    "PEXPIREAT": [("x", "PEXPIREAT a 1"), ("A",)],
    "trimmed": [
        ("x", "XADD b 1-1 f v"),
        ("x", "XTRIM b MAXLEN 0"),
        ("A",),
        ("x", "XADD a 1-1 f v"),
        ("A",),
    ],
    "made again": [
        ("x", "MULTI"),
        ("x", "DEL a"),
        ("x", "XGROUP CREATE a g $ MKSTREAM"),
        ("x", "EXEC"),
        ("A",),
        ("x", "XADD a 1-1 f v"),
        ("A",),
    ],
    "made again without the group": [
        ("x", "MULTI"),
        ("x", "DEL a"),
        ("x", "XADD a 1-1 f v"),
        ("x", "EXEC"),
        ("A",),
    ],
    "two readers": [
        ("B", "XREADGROUP GROUP g d BLOCK 0 STREAMS a >"),
        ("x", "XADD a 1-1 f v"),
        ("A",),
        ("B",),
        ("x", "XADD a 2-1 f v"),
        ("B",),
    ],
}


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("case", ORDER)
def test_order_in_which_blocked_clients_are_served(same: Pair, case: str) -> None:
    play(same, ORDER[case])


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("case", TYPES)
def test_clients_blocked_on_keys_of_different_types(same: Pair, case: str) -> None:
    play(same, TYPES[case])


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("case", TRANSACTIONS)
def test_blocked_clients_are_served_after_transactions_and_scripts(same: Pair, case: str) -> None:
    play(same, TRANSACTIONS[case])


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("case", ARRIVALS)
def test_every_command_that_creates_a_list_serves_blocked_clients(same: Pair, case: str) -> None:
    play(same, ARRIVALS[case])


@pytest.mark.servers(*ALL)
def test_restore_serves_blocked_clients(same: Pair) -> None:
    clients = Clients(same)
    same("RPUSH l 1 2 3")
    payload = same.real("DUMP", "l")[1]
    for command in (("RESTORE", "a", 0, payload), ("RESTORE", "a", 0, payload, "REPLACE")):
        clients.block("A", "BLPOP a 0")
        if "REPLACE" in command:
            clients("x", "SET a s")
            clients.waits("A")
        clients("x", *command)
        clients.served("A")
        clients("x", "LRANGE a 0 -1")
        clients("x", "DEL a")
    clients.events()


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("case", GROUPS)
def test_clients_blocked_on_a_consumer_group_that_is_removed(same: Pair, case: str) -> None:
    start: list[Step] = [
        ("x", "XGROUP CREATE a g $ MKSTREAM"),
        ("A", "XREADGROUP GROUP g c BLOCK 0 STREAMS a >"),
    ]
    play(same, start + GROUPS[case])


@pytest.mark.servers(*ALL)
def test_clients_blocked_on_several_streams(same: Pair) -> None:
    play(
        same,
        [
            ("A", "XREAD BLOCK 0 STREAMS a b 0 0"),
            ("x", "MULTI"),
            ("x", "XADD b 1-1 f v"),
            ("x", "XADD a 1-1 f v"),
            ("x", "EXEC"),
            ("A",),
            ("x", "XGROUP CREATE a g $"),
            ("x", "XGROUP CREATE b g $"),
            ("B", "XREADGROUP GROUP g c BLOCK 0 STREAMS a b > >"),
            ("C", "XREADGROUP GROUP g d BLOCK 0 STREAMS b >"),
            ("x", "MULTI"),
            ("x", "XADD a 2-1 f v"),
            ("x", "XREADGROUP GROUP g e STREAMS a >"),
            ("x", "EXEC"),
            ("B",),
            ("C",),
            ("x", "XADD b 2-1 f v"),
            ("B",),
            ("C",),
        ],
    )


@pytest.mark.servers(*MODERN)
def test_clients_blocked_by_blmpop(same: Pair) -> None:
    play(
        same,
        [
            ("A", "BLMPOP 0 2 a b LEFT COUNT 2"),
            ("B", "BLMPOP 0 2 b a RIGHT COUNT 2"),
            ("x", "RPUSH b 1 2 3"),
            ("A",),
            ("B",),
            ("x", "RPUSH a 1 2 3"),
            ("x", "BLMPOP 0 2 b a RIGHT COUNT 2"),
            ("x", "MULTI"),
            ("x", "BLMPOP 0 1 no LEFT"),
            ("x", "BLMPOP 0 1 a LEFT"),
            ("x", "EXEC"),
        ],
    )
