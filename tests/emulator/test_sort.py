"""SORT and SORT_RO, compared with real servers."""

from __future__ import annotations

import random

import pytest

from redis_emulator import RedisEmulator
from tests.support.keyspace import EventWatcher
from tests.support.pair import Pair

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")


def run(same: Pair, script: str) -> None:
    """Run one command per line."""
    for line in script.strip().splitlines():
        same(line.strip())


@pytest.fixture
def filled(same: Pair) -> Pair:
    run(
        same,
        """
        RPUSH l 3 1 2 10 5
        MSET w_1 3 w_2 x w_10 2
        HSET h_1 f 9
        SET s v
        SADD st c a b
        ZADD z 3 a 1 b 2 c
        RPUSH a foo bar Baz \xe9 foo
        """,
    )
    return same


@pytest.mark.servers(*ALL)
def test_sort_options(filled: Pair) -> None:
    run(
        filled,
        """
        SORT l
        SORT l DESC
        SORT l desc asc
        SORT no
        SORT s
        SORT no BY
        SORT s BY
        SORT l FOO
        SORT l LIMIT 1
        SORT l LIMIT x 1
        SORT l LIMIT 1 x
        SORT l LIMIT 99999999999999999999 1
        SORT l LIMIT -1 3
        SORT l LIMIT 10 3
        SORT l LIMIT 1 -1
        SORT l LIMIT 1 0
        SORT l LIMIT -5 -1
        SORT l LIMIT 1 9223372036854775807
        SORT l LIMIT 9223372036854775807 9223372036854775807
        SORT l LIMIT 0 2 LIMIT 1 1
        SORT a
        SORT a ALPHA
        SORT a ALPHA DESC
        SORT
        SORT_RO
        SORT_RO a ALPHA LIMIT 1 2
        SORT_RO a ALPHA STORE d
        SORT_RO a ALPHA STORE
        """,
    )


@pytest.mark.servers(*ALL)
def test_sort_by_and_get(filled: Pair) -> None:
    run(
        filled,
        """
        SORT l BY w_*
        SORT l BY w_* ALPHA
        SORT l BY w_* ALPHA DESC
        SORT l BY w_* ALPHA LIMIT 1 2
        SORT l BY h_*->f
        SORT l BY h_*->f DESC
        SORT l BY h_*->
        SORT l BY nosort
        SORT l BY nosort DESC
        SORT l BY nosort DESC LIMIT 1 2
        SORT l BY nosort GET # GET h_*->f GET w_* GET nope GET s GET h_*-> GET h_*->g GET *
        SORT l GET
        SORT l GET # LIMIT 0 2
        SORT a BY w_* GET # ALPHA
        SORT a BY nosort BY w_* ALPHA
        SORT a BY w_* BY nosort ALPHA
        SORT a BY x ALPHA
        SORT st ALPHA
        SORT st ALPHA DESC LIMIT 1 5
        SORT st
        SORT z BY nosort
        OBJECT ENCODING z
        SORT z BY nosort DESC
        SORT z BY nosort LIMIT 1 1
        SORT z BY nosort DESC LIMIT -1 -1
        SORT z ALPHA
        SORT z
        """,
    )


@pytest.mark.servers(*ALL)
def test_sort_store(filled: Pair) -> None:
    watcher = EventWatcher(filled)
    run(
        filled,
        """
        EXPIRE s 100
        SORT l STORE s
        TTL s
        LRANGE s 0 -1
        SORT no STORE s
        SORT no STORE s
        EXISTS s
        SORT l GET w_* STORE d
        LRANGE d 0 -1
        SORT st BY nosort STORE d
        LRANGE d 0 -1
        SORT st BY nosort DESC STORE d
        LRANGE d 0 -1
        SORT l STORE l
        LRANGE l 0 -1
        SORT a STORE a LIMIT 0 1 BY nosort STORE b
        LRANGE b 0 -1
        SORT l STORE
        """,
    )
    filled("RPUSH", "long", *("x" * 90 + str(number) for number in range(200)))
    filled("SORT long ALPHA STORE long")
    filled("OBJECT ENCODING long")
    filled("DUMP long")
    real, emulated = watcher.collect()
    assert emulated == real


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize(
    "number",
    "|+5|5 | 5|\t5| |.5|5.|007|-0|-|+|1e5|1e|0x10|0x1p3|1_0|5\0abc|\0|9223372036854775808"
    "|inf|-inf|INFINITY|nan|-nan".split("|"),
)
def test_number_formats_of_elements(same: Pair, number: str) -> None:
    same("RPUSH", "l", "1", number, "7")
    same("SORT l")


@pytest.mark.servers("redis-8.2", "valkey-9.1")
@pytest.mark.parametrize("number", ["1e400", "-1e400", "1e-400", "0e-999", "1e-320", "4.9e-324"])
def test_elements_out_of_the_range_of_a_double(same: Pair, number: str) -> None:
    """Not compared with older releases, which also refuse valid numbers after such an error."""
    same("RPUSH", "l", "1", number, "7")
    same("SORT l")


@pytest.mark.servers(*ALL)
def test_alpha_compares_up_to_a_zero_byte(same: Pair) -> None:
    same("RPUSH", "l", b"x\0b", b"x\0a", b"x", b"w\xff", b"")
    for command in ("SORT l ALPHA", "SORT l ALPHA DESC", "SORT l BY nosort\0* ALPHA"):
        same(*command.split())
    same("SORT l ALPHA STORE d")
    same("LRANGE d 0 -1")
    same("SET", b"w_x\0a", "v")
    same("SORT", "l", "BY", "nosort", "GET", "w_*", "GET", b"w_*\0", "GET", b"w\0_*")


@pytest.mark.servers(*ALL)
def test_order_of_equal_elements_with_limit(same: Pair) -> None:
    """Equal elements are in the order that the servers' partial quicksort leaves."""
    source = random.Random(7)
    for _ in range(30):
        same("FLUSHALL")
        count = source.randrange(2, 120)
        same("RPUSH", "l", *(source.randrange(30) for _ in range(count)))
        for number in range(0, 30, 2):
            same("SET", f"w_{number}", source.choice("abc"))
        limit = ("LIMIT", source.randrange(5), source.randrange(1, count + 2))
        same("SORT", "l", "BY", "w_*", "ALPHA", *limit)
        same("SORT", "l", "BY", "w_*", "ALPHA", "DESC", *limit)
        same("SORT", "l", "BY", "w_*", "ALPHA")


def test_sort_of_a_set_by_nosort_in_a_script_is_sorted() -> None:
    client = RedisEmulator().client()
    client.sadd("s", *(f"m{number}" for number in range(600)))
    found = client.eval("return redis.call('SORT', KEYS[1], 'BY', 'nosort')", 1, "s")
    assert found == sorted(found)
