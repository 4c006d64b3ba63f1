"""Generic key commands, compared with real servers."""

from __future__ import annotations

import pytest

from redis_emulator import RedisEmulator
from tests.support.keyspace import EventWatcher, compare_keyspaces
from tests.support.pair import Pair, unordered

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")


def run(same: Pair, script: str) -> None:
    """Run the commands of a script, separated by lines or semicolons."""
    for line in filter(None, map(str.strip, script.replace(";", "\n").splitlines())):
        same(line)


@pytest.mark.servers(*ALL)
def test_exists_type_del_and_unlink(same: Pair) -> None:
    run(
        same,
        """
        SET a 1
        SET b 2
        HSET h f v
        EXISTS a a b no
        TOUCH a no a
        TYPE a
        TYPE h
        TYPE no
        DBSIZE
        DEL a a no
        UNLINK b h h
        DBSIZE
        DEL
        TYPE a b
        RANDOMKEY
        RANDOMKEY x
        KEYS
        DBSIZE 1
        """,
    )


@pytest.mark.parametrize(
    "pattern", ["*", "a*", "?", "[ab]", "[^a]", "[a-c]1", "a\\*", "[", "", "**1", "[b-a]*", "A*"]
)
def test_keys_by_pattern(same: Pair, pattern: str) -> None:
    for name in ("a", "b", "a1", "b1", "c1", "a*", "[", "\\", "abc1"):
        same("SET", name, "v")
    same("KEYS", pattern, key=unordered)


def test_randomkey_is_seeded_and_reaches_every_key() -> None:
    def draw() -> list[object]:
        client = RedisEmulator(seed=7).client()
        for number in range(8):
            client.set(f"k{number}", "v")
        return [client.randomkey() for _ in range(200)]

    first = draw()
    assert first == draw()
    assert set(first) == {b"k%d" % number for number in range(8)}


def test_randomkey_is_uniform() -> None:
    client = RedisEmulator(seed=11).client()
    for number in range(10):
        client.set(f"k{number}", "v")
    drawn = [client.randomkey() for _ in range(5_000)]
    assert all(400 < drawn.count(b"k%d" % number) < 600 for number in range(10))


@pytest.mark.servers(*ALL)
def test_copy_rename_and_move_of_every_type(same: Pair) -> None:
    run(
        same,
        """
        RPUSH l a b
        SADD s 1 2
        ZADD z 1 a
        XADD x 1-1 f v
        XGROUP CREATE x g 0
        APPEND t text
        """,
    )
    for key in "lszxt":
        for line in ("COPY {} copy", "RENAME copy new", "MOVE new 1", "COPY {} {} DB 2", "TYPE {}"):
            same(line.format(key, key))
        same("OBJECT", "ENCODING", key)
        for index in (1, 2):
            same("SELECT", index)
            compare_keyspaces(same)
            same("FLUSHDB")
        same("SELECT 0")


def test_changing_the_source_leaves_the_copy_unchanged(same: Pair) -> None:
    for line in (
        "RPUSH l a",
        "SADD s a",
        "ZADD z 1 a",
        "HSET h f v",
        "XADD x 1-1 f v",
        "XGROUP CREATE x g 0",
        "APPEND t a",
    ):
        same(line)
    for key in "lszhxt":
        same("COPY", key, key + "2")
    for line in (
        "RPUSH l b",
        "SADD s b",
        "ZADD z 2 a 3 b",
        "HSET h f w",
        "XADD x 2-1 f v",
        "XREADGROUP GROUP g c STREAMS x >",
        "APPEND t b",
        "XPENDING x2 g",
        "XINFO GROUPS x2",
    ):
        same(line)
    compare_keyspaces(same)


@pytest.mark.servers(*ALL)
def test_database_indexes(same: Pair) -> None:
    for number in ("0", "15", "16", "-1", "x", "", "01", str(2**31 - 1), str(2**31), str(2**64)):
        same("SELECT", number)
        same("MOVE", "no", number)
        same("COPY", "no", "no", "DB", number)
        same("SWAPDB", number, "0")


@pytest.mark.servers(*ALL)
def test_rename_and_renamenx(same: Pair) -> None:
    run(
        same,
        """
        RENAME no a
        RENAMENX no no
        SET a 1
        RENAME a a
        RENAMENX a a
        EXPIRE a 100
        SET b 2
        RENAMENX a b
        RENAME a b
        TTL b
        GET b
        EXISTS a
        RENAMENX b c
        TTL c
        HSET h f v
        RENAME h c
        TTL c
        HGET c f
        RENAME a
        """,
    )


COPIES = {
    "missing-key": "COPY no no; COPY no a",
    "same-database": "COPY h h; COPY h i; COPY h i; HSET i f w; HGET h f; TTL i",
    "replace": "COPY h i; SET s 1; COPY s i REPLACE; TTL i",
    "other-database": """
        COPY h h DB 3; COPY h h DB 3; COPY h h DB 3 REPLACE; SELECT 3; HGET h f; TTL h
        """,
    "invalid-database": """
        COPY h i DB 99; COPY h i DB -1; COPY h i DB x; COPY h i DB 99999999999
        """,
    "syntax-errors": "COPY h i DB; COPY h i FOO; COPY h h FOO; COPY h i DB 99 FOO",
    "repeated-options": "COPY h q REPLACE replace DB 0 db 1",
}


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("script", COPIES.values(), ids=COPIES)
def test_copy(same: Pair, script: str) -> None:
    run(same, "HSET h f v; EXPIRE h 100;" + script)


MOVES = {
    "move": "MOVE a 0; MOVE no 1; MOVE a 1; SET a 2; MOVE a 1; SELECT 1; GET a; TTL a",
    "move-to-an-invalid-database": "MOVE a 99; MOVE a -1; MOVE a x; MOVE a 99999999999",
    "swapdb": "MOVE a 1; SET a 2; SWAPDB 0 1; GET a; TTL a; SWAPDB 0 0; SELECT 1; GET a; TTL a",
    "swapdb-of-invalid-databases": """
        SWAPDB 0 99; SWAPDB -1 0; SWAPDB x 0; SWAPDB 0 x; SWAPDB 99999999999 0
        SWAPDB 0 99999999999
        """,
}


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("script", MOVES.values(), ids=MOVES)
def test_move_and_swapdb(same: Pair, script: str) -> None:
    run(same, "SET a 1; EXPIRE a 100;" + script)


@pytest.mark.servers(*ALL)
def test_flushdb_and_flushall(same: Pair) -> None:
    run(
        same,
        """
        SET a 1
        SELECT 1
        SET b 1
        FLUSHDB FOO
        FLUSHDB SYNC ASYNC
        FLUSHDB ASYNC
        DBSIZE
        SELECT 0
        DBSIZE
        FLUSHALL FOO
        FLUSHALL ASYNC SYNC
        FLUSHALL sync
        DBSIZE
        """,
    )


@pytest.mark.servers(*ALL)
def test_keyspace_events_of_generic_commands(same: Pair) -> None:
    watcher = EventWatcher(same)
    run(
        same,
        """
        SET a 1
        RENAME a a
        RENAME a b
        SET a 1
        RENAME a b
        RENAMENX b c
        COPY c d
        COPY c d REPLACE
        COPY c e DB 3
        MOVE c 2
        SWAPDB 0 2
        UNLINK c
        DEL no
        EXPIRE d 100
        FLUSHALL
        SET a 1
        PEXPIRE a -1
        SET a 1
        EXPIRE a 10
        PERSIST a
        PERSIST a
        """,
    )
    real, emulated = watcher.collect()
    assert emulated == real


MSETEX = {
    "number-of-keys": """
        MSETEX; MSETEX 1 a; MSETEX 0 a b; MSETEX x a 1; MSETEX 2147483648 a 1
        MSETEX 2147483647 a 1; MSETEX 2 a 1 b; MSETEX 2 a 1 b 2 c
        """,
    "ttl": "MSETEX 2 a 1 b 2 EX 100; MSETEX 2 a 3 b 4 KEEPTTL; TTL a; MSETEX 2 a 1 b 2; TTL a",
    "conditions": """
        MSETEX 2 a 1 b 2 EX 100; MSETEX 2 a 1 c 2 NX; MSETEX 2 a 1 c 2 XX; MSETEX 2 a 1 b 2 XX XX
        TTL a; MSETEX 2 q 1 q 2 NX; GET q; MSETEX 1 a 2 NX XX
        """,
    "expiry-options": """
        MSETEX 1 a 2 EX; MSETEX 1 a 2 EX 0; MSETEX 1 a 2 EX x; MSETEX 1 a 2 EX x EX 10
        MSETEX 1 a 2 EX 9223372036854775807; MSETEX 1 a 2 EX 10 PX 10; MSETEX 1 a 2 EX 10 KEEPTTL
        MSETEX 1 a 2 GET; MSETEX 1 a 2 PXAT 4102444800000
        """,
}


@pytest.mark.servers("valkey-9.1")
@pytest.mark.parametrize("script", MSETEX.values(), ids=MSETEX)
def test_msetex(same: Pair, script: str) -> None:
    watcher = EventWatcher(same)
    run(same, script)
    real, emulated = watcher.collect()
    assert emulated == real


@pytest.mark.servers("valkey-9.1")
def test_msetex_in_a_script_stores_strings(same: Pair) -> None:
    same("EVAL", "return redis.call('MSETEX', 1, KEYS[1], 0)", 1, "a")
    same("OBJECT ENCODING a")
    same("MSETEX 1 a 0")
    same("OBJECT ENCODING a")
