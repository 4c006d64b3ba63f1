"""Clients that wait for lists, and for other types where they meet, beside real servers."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from redis_emulator import ManualClock, RedisEmulator
from tests.emulator.blocking import Clients
from tests.emulator.pair import Pair, Wire

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
MODERN = ("redis-8.2", "redis-7.0", "valkey-9.1")
NEWEST = ("redis-8.2", "valkey-9.1")

Step = tuple[str, ...]
"""A client and what it sends; a client with a capital letter waits, and alone is looked after."""

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


def play(same: Pair, steps: list[Step]) -> None:
    clients = Clients(same)
    for name, *words in steps:
        if name.endswith("+"):
            clients.send(name[0], *words)
        elif not name.isupper():
            clients(name, *words)
        elif words:
            clients.block(name, *words)
        else:
            clients.outcome(name)
    clients.events()


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("story", ORDER)
def test_order_of_service(same: Pair, story: str) -> None:
    play(same, ORDER[story])


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("story", TYPES)
def test_types(same: Pair, story: str) -> None:
    play(same, TYPES[story])


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("story", TRANSACTIONS)
def test_transactions_and_scripts(same: Pair, story: str) -> None:
    play(same, TRANSACTIONS[story])


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("story", ARRIVALS)
def test_every_way_to_make_a_list_wakes(same: Pair, story: str) -> None:
    play(same, ARRIVALS[story])


@pytest.mark.servers(*ALL)
def test_restore_wakes(same: Pair) -> None:
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
@pytest.mark.parametrize("story", GROUPS)
def test_stream_groups_that_go(same: Pair, story: str) -> None:
    start: list[Step] = [
        ("x", "XGROUP CREATE a g $ MKSTREAM"),
        ("A", "XREADGROUP GROUP g c BLOCK 0 STREAMS a >"),
    ]
    play(same, start + GROUPS[story])


@pytest.mark.servers(*ALL)
def test_readers_of_several_streams(same: Pair) -> None:
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
def test_blmpop(same: Pair) -> None:
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


@pytest.mark.servers(*NEWEST)
def test_blocking_commands_in_scripts(same: Pair) -> None:
    same("RPUSH l 1 2 3")
    for call in (
        "'BLPOP','no',0",
        "'BLPOP','l',0",
        "'BLMOVE','no','d','LEFT','LEFT',0",
        "'BRPOPLPUSH','l','d',0",
        "'BLMPOP',0,1,'no','LEFT'",
        "'BLMPOP',0,1,'l','LEFT'",
    ):
        same("EVAL", f"local r = redis.call({call}) return {{r == false, r}}", 0)
        same("EVAL", f"redis.setresp(3) return redis.call({call})", 0)


TIMEOUTS = (
    "x -1 inf -inf nan 1e400 1e4932 1e5000 1e30 -1e30 9223372036854776 9223372036854775807 "
    "0.1.1 1e 1,5 0x 0x1p -0.1 -1e-2 ."
).split()


@pytest.mark.servers(*ALL)
def test_timeouts_that_are_refused(same: Pair) -> None:
    same("SET s v")
    for timeout in [*TIMEOUTS, "", " 1", "1 ", "\t1"]:
        same("BLPOP", "no", timeout)
        same("BRPOP", "s", "no", timeout)
        same("BLMOVE", "no", "d", "LEFT", "RIGHT", timeout)
        same("BRPOPLPUSH", "no", "d", timeout)
        same("BLMPOP", timeout, 1, "no", "LEFT")


@pytest.mark.servers(*NEWEST)
def test_timeouts_beyond_the_calendar_are_refused(same: Pair) -> None:
    for timeout in ("9223372036854775", "9223372036854774", "9223372036000000"):
        same("BLPOP", "no", timeout)


@pytest.mark.servers(*ALL)
def test_long_timeouts(same: Pair) -> None:
    clients = Clients(same)
    for place, timeout in enumerate(
        ("1e15", "0x10", "+1", "9223372036", "-0", "-0.0001", "00", "0")
    ):
        clients.block(f"A{place}", "BLPOP", "l", timeout)
    same("RPUSH l 1 2 3 4 5 6 7 8")
    for place in range(8):
        clients.served(f"A{place}")


@pytest.mark.servers("redis-7.0", "redis-6.2")
def test_timeouts_beyond_the_calendar_are_for_ever(same: Pair) -> None:
    clients = Clients(same)
    clients.block("A", "BLPOP l 9223372036854775")
    same.emulator.engine.tick()
    clients.waits("A")
    same("RPUSH l 1")
    clients.served("A")


@pytest.mark.servers(*ALL)
def test_timeouts_pass(same: Pair) -> None:
    clients = Clients(same)
    clients.block("A", "BLPOP a b 0.25")
    clients.block("B", "BLMOVE a b LEFT RIGHT 0.25")
    clients.block("C", "BRPOPLPUSH a b 0.25")
    clients.block("D", "BRPOP a 0.25")
    for name in "ABCD":
        clients.times_out(name)
    same("RPUSH a 1")
    same("LLEN a")


@pytest.mark.servers("redis-6.2")
def test_less_than_a_millisecond_was_for_ever(same: Pair) -> None:
    clients = Clients(same)
    clients.block("A", "BLPOP l 0.001")
    same("RPUSH l 1")
    clients.served("A")


@pytest.mark.servers(*ALL)
def test_arguments(same: Pair) -> None:
    same("SET s v")
    for line in (
        "BLPOP",
        "BLPOP l",
        "BLPOP s 0",
        "BLPOP no s 0",
        "BLMOVE l d LEFT FOO x",
        "BLMOVE l d FOO LEFT x",
        "BLMOVE l d LEFT RIGHT",
        "BLMOVE s d LEFT RIGHT 0",
        "BRPOPLPUSH s d 0",
        "BRPOPLPUSH l d",
        "BLMPOP 0 0 l LEFT",
        "BLMPOP x 0 l LEFT",
        "BLMPOP x 1 l FOO",
        "BLMPOP x 1 l LEFT COUNT 0",
        "BLMPOP 0 1 l LEFT COUNT x",
        "BLMPOP 0 1 l LEFT COUNT 1 COUNT 1",
        "BLMPOP 0 2 l LEFT",
        "BLMPOP 0 1 l",
        "BLMPOP 0 2 s l LEFT",
    ):
        same(line)
    same("RPUSH l 1 2 3 4 5 6")
    for line in (
        "BLPOP no l 0",
        "BRPOP l no 0",
        "BLMOVE l d LEFT RIGHT 0",
        "BRPOPLPUSH l d 0",
        "BLMOVE l s LEFT RIGHT 0",
        "LRANGE l 0 -1",
        "LRANGE d 0 -1",
        "BLPOP s l 0",
    ):
        same(line)


@pytest.mark.servers(*ALL)
def test_client_unblock(same: Pair) -> None:
    clients = Clients(same)
    for command in ("BLPOP l 0", "BLMOVE l d LEFT LEFT 0", "BRPOPLPUSH l d 0"):
        for words in ((), ("TIMEOUT",), ("error",), ("FOO",)):
            clients.block("A", command)
            clients("x", "CLIENT", "UNBLOCK", "{A}", *words)
            if words == ("FOO",):
                clients("x", "CLIENT", "UNBLOCK", "{A}")
            clients.served("A")
            clients("x", "CLIENT", "UNBLOCK", "{A}", *words)
    clients("x", "RPUSH l 1")
    clients("x", "LLEN l")


@pytest.mark.servers(*ALL)
def test_client_unblock_inside_a_transaction(same: Pair) -> None:
    clients = Clients(same)
    clients.block("A", "BLPOP l 0")
    clients.send("A", "RPUSH seen {A}")
    for line in ("MULTI", "RPUSH seen before", "CLIENT UNBLOCK {A}", "RPUSH seen after", "EXEC"):
        clients("x", line)
    clients.served("A")
    clients.served("A")
    clients("x", "LINDEX seen 1")


@pytest.mark.servers(*ALL)
def test_blocked_clients_are_shown(same: Pair) -> None:
    clients = Clients(same)
    clients.block("A", "BLPOP k l 100")
    clients.block("B", "XREAD BLOCK 0 STREAMS k $")
    for name in "AB":
        clients("x", "CLIENT", "LIST", "ID", f"{{{name}}}", key=_flags_and_command)
    clients("x", "INFO clients", key=_counts)
    clients("x", "CLIENT UNBLOCK {A}")
    clients.served("A")
    clients("x", "CLIENT LIST ID {A}", key=_flags_and_command)
    clients("x", "INFO clients", key=_counts)


def _flags_and_command(reply: Any) -> Any:
    fields = dict(word.split(b"=", 1) for word in reply[1].split()[: None if reply[1] else 0])
    return fields.get(b"flags"), fields.get(b"cmd")


def _counts(reply: Any) -> Any:
    lines = [line.split(b":") for line in reply[1].split() if b":" in line]
    wanted = (b"blocked_clients", b"clients_in_timeout_table", b"total_blocking_keys")
    return [line for line in lines if line[0].startswith(wanted)]


@pytest.mark.servers(*ALL)
def test_when_calls_are_counted(same: Pair) -> None:
    clients = Clients(same)

    def count() -> None:
        clients("x", "INFO commandstats", key=_calls)
        clients("x", "INFO errorstats", key=lambda reply: b"UNBLOCKED:count" in reply[1])

    clients("x", "CONFIG RESETSTAT")
    clients.block("A", "BLPOP l 0")
    clients.block("B", "BLPOP l 0")
    count()
    clients("x", "RPUSH l 1")
    clients.served("A")
    count()
    clients("x", "RPUSH l 1")
    clients.served("B")
    clients.block("A", "BRPOP l 0")
    clients("x", "CLIENT UNBLOCK {A} TIMEOUT")
    clients.served("A")
    count()
    clients.block("A", "BRPOP l 0")
    clients("x", "CLIENT UNBLOCK {A} ERROR")
    clients.served("A")
    count()


def _calls(reply: Wire) -> Any:
    return sorted(
        (name, *numbers)
        for name, *numbers in re.findall(
            rb"cmdstat_(b\w+):calls=(\d+).*rejected_calls=(\d+),failed_calls=(\d+)", reply[1]
        )
    )


@pytest.mark.servers(*ALL)
def test_a_client_that_hangs_up_waits_no_more(same: Pair) -> None:
    clients = Clients(same)
    clients.block("A", "BLPOP l 0")
    clients.block("B", "BLPOP l 0")
    clients("x", "CLIENT", "KILL", "ID", "{A}")
    clients("x", "RPUSH l 1")
    clients.served("B")
    clients("x", "EXISTS l")


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.001)


def blocked_clients(emulator: RedisEmulator) -> int:
    return int(emulator.client().info("clients")["blocked_clients"])


def test_a_thread_waits() -> None:
    emulator = RedisEmulator()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(emulator.client().blpop(["a", "b"])))
    thread.start()
    until(lambda: blocked_clients(emulator) == 1)
    emulator.client().rpush("b", "x", "y")
    thread.join(5)
    assert found[0] == [b"b", b"x"] or found[0] == (b"b", b"x")
    assert emulator.client().lrange("b", 0, -1) == [b"y"]


def test_threads_are_served_in_order() -> None:
    emulator = RedisEmulator()
    found: dict[int, Any] = {}

    def wait(number: int) -> None:
        found[number] = emulator.client().brpop("l")

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(5)]
    for number, thread in enumerate(threads, 1):
        thread.start()
        until(lambda: blocked_clients(emulator) == number)  # noqa: B023
    emulator.client().lpush("l", *range(5))
    for thread in threads:
        thread.join(5)
    assert [int(found[number][1]) for number in range(5)] == [0, 1, 2, 3, 4]


def test_a_timeout_follows_the_clock() -> None:
    clock = ManualClock()
    emulator = RedisEmulator(clock=clock)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(emulator.client().blpop("l", 1000)))
    thread.start()
    until(lambda: blocked_clients(emulator) == 1)
    clock.advance(999.999)
    assert blocked_clients(emulator) == 1
    clock.advance(0.001)
    thread.join(5)
    assert found == [None]


async def test_a_task_waits() -> None:
    emulator = RedisEmulator()
    client, other = emulator.async_client(), emulator.async_client()
    task = asyncio.ensure_future(client.blpop("l", 5))
    moved = asyncio.ensure_future(client.blmove("m", "l", 5))
    while blocked_clients(emulator) < 2:
        await asyncio.sleep(0)
    await other.rpush("m", "x")
    reply: Any = await asyncio.wait_for(task, 5)
    assert list(reply) == [b"l", b"x"]
    assert await asyncio.wait_for(moved, 5) == b"x"
    assert await client.blpop("l", 0.01) is None
    await client.aclose()
    await other.aclose()


async def test_a_cancelled_task_takes_nothing() -> None:
    emulator = RedisEmulator()
    client = emulator.async_client()
    task = asyncio.ensure_future(client.blpop("l", 0))
    while blocked_clients(emulator) < 1:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert blocked_clients(emulator) == 0
    await client.rpush("l", "x")
    assert await client.lrange("l", 0, -1) == [b"x"]
    await client.aclose()


def test_over_tcp() -> None:
    emulator = RedisEmulator()
    with emulator.serve() as server:
        waiting, pushing = (redis.Redis.from_url(server.url) for _ in range(2))
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(waiting.blpop("l", 5)))
        thread.start()
        until(lambda: blocked_clients(emulator) == 1)
        pushing.rpush("l", "x")
        thread.join(5)
        assert list(found[0]) == [b"l", b"x"]
        assert waiting.blpop("l", 0.02) is None
        thread = threading.Thread(target=lambda: found.append(waiting.brpop("l", 5)))
        thread.start()
        until(lambda: blocked_clients(emulator) == 1)
        emulator.client().rpush("l", "from inside")
        thread.join(5)
        assert list(found[1]) == [b"l", b"from inside"]
        waiting.close()
        pushing.close()


def test_an_error_ends_the_waiting() -> None:
    emulator = RedisEmulator()
    client = emulator.client()
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            client.blpop("l")
        except redis.ResponseError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: blocked_clients(emulator) == 1)
    [waiting] = [each for each in emulator.client().client_list() if "b" in each["flags"]]
    assert emulator.client().client_unblock(int(waiting["id"]), error=True)
    thread.join(5)
    assert str(caught[0]).startswith("UNBLOCKED")
