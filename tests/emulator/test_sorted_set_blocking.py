"""Clients blocked on sorted sets, compared with real servers."""

from __future__ import annotations

import pytest

from tests.support.blocking import Clients
from tests.support.pair import Pair

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
MODERN = ("redis-8.2", "redis-7.0", "valkey-9.1")

ARRIVALS = {
    "ZADD": ["ZADD a 2 n 1 m"],
    "ZADD INCR": ["ZADD a INCR 2 n"],
    "ZADD in vain": ["ZADD a XX 1 m", "ZADD a 1 m"],
    "ZINCRBY": ["ZINCRBY a 2 n"],
    "ZRANGESTORE": ["ZADD z 1 m 2 n 3 o", "ZRANGESTORE a z 1 2"],
    "ZUNIONSTORE": ["ZADD z 1 m 2 n", "ZUNIONSTORE a 1 z WEIGHTS -1"],
    "ZINTERSTORE": ["ZADD z 1 m 2 n", "ZINTERSTORE a 2 z z"],
    "ZDIFFSTORE": ["ZADD z 1 m 2 n", "ZDIFFSTORE a 2 z y"],
    "GEOADD": ["GEOADD a 13.3 38.1 p 15.0 37.5 c"],
    "GEOSEARCHSTORE": [
        "GEOADD z 13.3 38.1 p 15.0 37.5 c",
        "GEOSEARCHSTORE a z FROMLONLAT 15 37 BYRADIUS 200 km STOREDIST",
    ],
    "GEORADIUS": ["GEOADD z 13.3 38.1 p", "GEORADIUS z 15 37 200 km STORE a"],
    "RENAME": ["ZADD z 1 m 2 n", "RENAME z a"],
    "COPY": ["ZADD z 1 m 2 n", "COPY z a"],
    "another type": ["SET a s", "DEL a", "RPUSH a x", "DEL a", "ZADD a 1 m"],
}


@pytest.mark.servers(*ALL)
def test_every_command_that_creates_a_sorted_set_serves_blocked_clients(same: Pair) -> None:
    clients = Clients(same)
    for number, lines in enumerate(ARRIVALS.values()):
        clients.block("A", "BZPOPMAX no a 0" if number % 2 else "BZPOPMIN a 0")
        for line in lines[:-1]:
            clients("x", line)
            clients.waits("A")
        clients("x", lines[-1])
        clients.served("A")
        clients("x", "ZRANGE a 0 -1 WITHSCORES")
        clients("x", "FLUSHALL")
    clients.events()


@pytest.mark.servers(*MODERN)
@pytest.mark.parametrize("end", ["MIN", "MAX COUNT 2", "max count 9"])
def test_clients_blocked_by_bzmpop(same: Pair, end: str) -> None:
    clients = Clients(same)
    clients.block("A", f"BZMPOP 0 2 no a {end}")
    clients.block("B", f"BZMPOP 0 2 a b {end}")
    clients.block("C", "BZPOPMIN a 0")
    clients("x", "ZADD a 1 m 2 n 3 o")
    for name in "ABC":
        clients.outcome(name)
    clients("x", "ZADD b 5 p 4 q")
    for name in "BC":
        clients.outcome(name)
    clients("x", "ZRANGE a 0 -1 WITHSCORES")
    clients("x", "ZRANGE b 0 -1 WITHSCORES")
    clients.events()


@pytest.mark.servers(*ALL)
def test_order_in_which_blocked_clients_are_served(same: Pair) -> None:
    clients = Clients(same)
    clients.block("A", "BZPOPMIN a b 0")
    clients.block("B", "BZPOPMAX b a 0")
    clients.block("C", "BZPOPMIN a a 0")
    for line in ("MULTI", "ZADD b 1 m 2 n", "ZADD a 3 o 4 p", "EXEC"):
        clients("x", line)
    for name in "ABC":
        clients.outcome(name)
    clients("x", "ZADD a 7 q")
    clients.outcome("C")
    clients("x", "EXISTS a b")
    clients.events()


@pytest.mark.servers(*ALL)
def test_blocked_clients_are_served_after_transactions(same: Pair) -> None:
    clients = Clients(same)
    clients.block("A", "BZPOPMIN a 0")
    for line in ("MULTI", "ZADD a 1 m", "DEL a", "EXEC"):
        clients("x", line)
    clients.waits("A")
    lines = ("MULTI", "ZADD a 2 n 1 m", "ZADD a 0 o", "BZPOPMAX a 0", "BZPOPMIN no 0", "EXEC")
    for line in lines:
        clients("x", line)
    clients.served("A")
    clients("x", "ZRANGE a 0 -1")
    clients.events()


@pytest.mark.servers(*ALL)
def test_timeouts_of_bzpopmin_and_bzpopmax(same: Pair) -> None:
    clients = Clients(same)
    for line in ("BZPOPMIN no 0.02", "BZPOPMAX no nor 0.0101"):
        clients.send("A", line)
        clients.times_out("A")
    same("SET str x")
    same("ZADD z 1 m")
    for name in ("BZPOPMIN", "BZPOPMAX"):
        for keys in ("str", "str z", "no str z"):
            same(f"{name} {keys} 0")
        for timeout in ("x", "", "-1", "nan", "inf", "-inf", "1e400", "1e16", "9223372036854776"):
            same(name, "z", timeout)
            same(name, "str", timeout)
        for timeout in ("0", "0x1", "1e-400", "9e15", "1.5"):
            same("ZADD z 1 m 2 n")
            same(name, "z", timeout)
        same(f"{name} z")


@pytest.mark.servers("redis-6.2")
def test_timeout_of_a_millisecond_blocks_indefinitely_on_redis_6(same: Pair) -> None:
    clients = Clients(same)
    clients.block("A", "BZPOPMIN a 0.0009")
    clients("x", "ZADD a 1 m")
    clients.served("A")


@pytest.mark.servers(*MODERN)
def test_timeouts_of_bzmpop(same: Pair) -> None:
    clients = Clients(same)
    for timeout in ("0.02", "0.0001", "1e-30"):
        clients.send("A", f"BZMPOP {timeout} 1 no MIN")
        clients.times_out("A")
    same("SET str x")
    for timeout in ("x", "-1", "inf", "1e16", "0"):
        for rest in ("1 z MIN", "0 z MIN", "x z MIN", "2 str z MIN", "1 z FOO", "1 z MIN COUNT 0"):
            same("ZADD z 1 m 2 n")
            same(f"BZMPOP {timeout} {rest}")
