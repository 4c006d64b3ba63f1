"""Generic key commands beside a real server."""

from __future__ import annotations

import pytest

from redis_emulator import RedisEmulator
from tests.emulator.fuzz.test_fuzz import EventWatcher
from tests.emulator.pair import Pair, unordered

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")


def run(same: Pair, script: str) -> None:
    """Run one command per line."""
    for line in script.strip().splitlines():
        same(line.strip())


@pytest.mark.servers(*ALL)
def test_delete_and_look(same: Pair) -> None:
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


@pytest.mark.servers(*ALL)
def test_rename(same: Pair) -> None:
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


@pytest.mark.servers(*ALL)
def test_copy(same: Pair) -> None:
    run(
        same,
        """
        COPY no no
        COPY no a
        HSET h f v
        EXPIRE h 100
        COPY h h
        COPY h i
        COPY h i
        HSET i f w
        HGET h f
        TTL i
        SET s 1
        COPY s i REPLACE
        TTL i
        COPY h h DB 3
        COPY h h DB 3
        COPY h h DB 3 REPLACE
        COPY h i DB 99
        COPY h i DB -1
        COPY h i DB x
        COPY h i DB 99999999999
        COPY h i DB
        COPY h i FOO
        COPY h h FOO
        COPY h i DB 99 FOO
        COPY h q REPLACE replace DB 0 db 1
        SELECT 3
        HGET h f
        TTL h
        """,
    )


@pytest.mark.servers(*ALL)
def test_move_and_swap(same: Pair) -> None:
    run(
        same,
        """
        SET a 1
        EXPIRE a 100
        MOVE a 0
        MOVE a 99
        MOVE a -1
        MOVE a x
        MOVE a 99999999999
        MOVE no 1
        MOVE a 1
        SET a 2
        MOVE a 1
        SWAPDB 0 1
        GET a
        TTL a
        SWAPDB 0 0
        SWAPDB 0 99
        SWAPDB -1 0
        SWAPDB x 0
        SWAPDB 0 x
        SWAPDB 99999999999 0
        SWAPDB 0 99999999999
        SELECT 1
        GET a
        TTL a
        """,
    )


@pytest.mark.servers(*ALL)
def test_flush(same: Pair) -> None:
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
def test_events(same: Pair) -> None:
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
