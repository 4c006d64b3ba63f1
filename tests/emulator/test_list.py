"""List commands, compared with real servers: replies and the nodes of a quicklist."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from redis_emulator import RedisEmulator
from tests.support.keyspace import EventWatcher
from tests.support.pair import Pair

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
NEWEST = ("redis-8.2", "valkey-9.1")
FAR = 9_223_372_036_854_775_807
INDEXES = (0, 1, 2, 3, -1, -3, -4, 100, -100, FAR, -FAR - 1, FAR + 1, "x", "", "1.0", "+1", " 1")


@pytest.mark.servers(*ALL)
def test_push_and_pop(same: Pair) -> None:
    same("SET s v")
    for line in (
        "LPUSHX l a",
        "RPUSHX l a",
        "RPUSH l a b c",
        "LPUSH l d e f",
        "LPUSHX l g h",
        "RPUSHX l i j",
        "LRANGE l 0 -1",
        "LPOP l",
        "RPOP l",
        "LPOP l 2",
        "RPOP l 2",
        "LPOP l 100",
        "EXISTS l",
        "LPUSH",
        "LPUSH l",
        "LPUSH s a",
        "RPUSHX s a",
    ):
        same(line)
    same("RPUSH", "l", "", b"\x00\xff\r\n", "a b")
    same("LRANGE l 0 -1")
    same("LLEN l")
    same("LLEN s")
    same("LLEN no")


@pytest.mark.servers(*ALL)
def test_counts_of_lpop_and_rpop(same: Pair) -> None:
    same("SET s v")
    for name in ("LPOP", "rpop"):
        for count in (0, 1, -1, "x", "", FAR, FAR + 1):
            for key in ("l", "s", "no"):
                same("RPUSH l 1 2")
                same(name, key, count)
                same(name, key)
        same(name, "l", 1, 2)
        same(name)


@pytest.mark.servers(*ALL)
def test_indexes_of_lindex_lset_lrange_and_ltrim(same: Pair) -> None:
    same("SET s v")
    for index in INDEXES:
        same("DEL l")
        same("RPUSH l a b c")
        for key in ("l", "s", "no"):
            same("LINDEX", key, index)
            same("LSET", key, index, "v")
        for other in INDEXES:
            same("LRANGE", "l", index, other)
            same("LTRIM", "l", index, other)
            same("LRANGE", "l", 0, -1)
            same("RPUSH", "l", "x", "y")
    for line in ("LRANGE s 0 -1", "LRANGE s x 0", "LTRIM s 0 1", "LTRIM s 0 x", "LTRIM no 0 1"):
        same(line)


@pytest.mark.servers(*ALL)
def test_lset_index_of_more_than_32_bits(same: Pair) -> None:
    same("RPUSH l a b c")
    for index in ((1 << 32) + 1, -(1 << 32), (1 << 31), (1 << 32) - 1, FAR, FAR - 3):
        same("LSET", "l", index, index)
        same("LINDEX", "l", index)
        same("LRANGE l 0 -1")


@pytest.mark.servers(*ALL)
def test_linsert_and_lrem(same: Pair) -> None:
    same("SET s v")
    same("RPUSH l a b c b a b")
    for line in (
        "LINSERT l BEFORE b x",
        "LINSERT l after b y",
        "LINSERT l BETWEEN b z",
        "LINSERT l BEFORE no z",
        "LINSERT no BEFORE b z",
        "LINSERT s BEFORE b z",
        "LINSERT s FOO b z",
        "LINSERT l BEFORE b",
        "LRANGE l 0 -1",
        "LREM l 1 b",
        "LRANGE l 0 -1",
        "LREM l -2 a",
        "LREM l 0 no",
        "LREM l x b",
        "LREM s 0 b",
        "LREM s x b",
        "LREM no 0 b",
        "LREM l 100 b",
        "LRANGE l 0 -1",
        "LREM l 0 x",
        "LREM l 0 y",
        "LREM l 0 c",
        "EXISTS l",
    ):
        same(line)
    for count in (0, 1, 2, 3, 100, -1, -2, -3, -100, FAR, -FAR - 1):
        same("DEL l")
        same("RPUSH l a b a c a b a")
        same("LREM", "l", count, "a")
        same("LRANGE l 0 -1")


@pytest.mark.servers(*ALL)
def test_lpos(same: Pair) -> None:
    same("SET s v")
    same("RPUSH l a b c 1 2 3 c c")
    numbers = (0, 1, 2, 3, 4, -1, -2, -4, FAR, -FAR, "x")
    for rank, count, longest in itertools.product(numbers, (None, 0, 1, 2, -1, "x"), (0, 3, 100)):
        words = () if count is None else ("COUNT", count)
        same("LPOS", "l", "c", "RANK", rank, *words, "MAXLEN", longest)
    for line in (
        "LPOS l c",
        "LPOS l no",
        "LPOS l no COUNT 0",
        "LPOS no c",
        "LPOS no c COUNT 1",
        "LPOS s c",
        "LPOS s c FOO",
        "LPOS s c RANK 0",
        "LPOS l c RANK",
        "LPOS l c COUNT 1 RANK",
        "LPOS l c MAXLEN -1",
        "LPOS l c MAXLEN x",
        "LPOS l c FOO 1",
        "LPOS l c COUNT 1 count 2 rank 2",
    ):
        same(line)
    same("LPOS", "l", "c", "RANK", -FAR - 1)
    same("LPOS", "l", "c", "COUNT", FAR)


@pytest.mark.servers(*ALL)
def test_lmove_and_rpoplpush(same: Pair) -> None:
    same("SET s v")
    for line in (
        "LMOVE l d LEFT LEFT",
        "RPUSH l 1 2 3",
        "LMOVE l d LEFT LEFT",
        "LMOVE l d right left",
        "RPOPLPUSH l d",
        "EXISTS l",
        "LRANGE d 0 -1",
        "LMOVE d d LEFT RIGHT",
        "LMOVE d d RIGHT RIGHT",
        "RPOPLPUSH d d",
        "LRANGE d 0 -1",
        "LMOVE s d LEFT LEFT",
        "LMOVE d s LEFT LEFT",
        "LMOVE no s LEFT LEFT",
        "LMOVE d e FOO LEFT",
        "LMOVE d e LEFT FOO",
        "LMOVE d e LEFT",
        "RPOPLPUSH s d",
        "RPOPLPUSH d s",
        "RPOPLPUSH no d",
        "RPUSH one 1",
        "LMOVE one one LEFT LEFT",
        "LRANGE one 0 -1",
    ):
        same(line)


@pytest.mark.servers(*ALL)
def test_lmpop(same: Pair) -> None:
    same("SET s v")
    same("RPUSH l 1 2 3 4 5")
    for line in (
        "LMPOP 1 l LEFT",
        "LMPOP 2 no l right count 2",
        "LMPOP 2 l no RIGHT COUNT 100",
        "LMPOP 1 l LEFT",
        "LMPOP 2 s l LEFT",
        "LMPOP 2 no s LEFT",
        "LMPOP 0 l LEFT",
        "LMPOP -1 l LEFT",
        "LMPOP x l LEFT",
        "LMPOP 2 l LEFT",
        "LMPOP 1 l m LEFT",
        "LMPOP 1 l UP",
        "LMPOP 1 l LEFT COUNT",
        "LMPOP 1 l LEFT COUNT 0",
        "LMPOP 1 l LEFT COUNT -1",
        "LMPOP 1 l LEFT COUNT x",
        "LMPOP 1 l LEFT COUNT 1 COUNT 1",
        "LMPOP 1 l LEFT FOO 1",
        "LMPOP 1 l",
    ):
        same(line)


@pytest.mark.servers(*ALL)
def test_keyspace_events_of_list_commands(same: Pair) -> None:
    watcher = EventWatcher(same)
    for line in (
        "RPUSH l 1 2 3 4 5 6 7 8 9",
        "LPUSH l 0",
        "LPUSHX no 1",
        "LPOP l",
        "RPOP l 2",
        "LPOP l 0",
        "LSET l 0 x",
        "LSET l 100 x",
        "LINSERT l BEFORE x y",
        "LINSERT l BEFORE no y",
        "LREM l 0 y",
        "LREM l 0 y",
        "LTRIM l 1 -2",
        "LTRIM l 0 -1",
        "LMOVE l m LEFT RIGHT",
        "RPOPLPUSH l m",
        "RPOPLPUSH m m",
        "LREM l 0 4",
        "LREM l 0 5",
        "LTRIM m 5 6",
        "RPUSH l a",
        "LMOVE l m LEFT LEFT",
        "LPOP m 5",
    ):
        same(line)
    real, emulated = watcher.collect()
    assert emulated == real


@pytest.fixture
def parameters(same: Pair) -> Iterator[None]:
    """Switch off compression of payloads, which is slow; restore the parameters afterwards."""
    same("CONFIG SET rdbcompression no")
    yield
    same("CONFIG SET rdbcompression yes list-max-listpack-size -2")


def run_and_compare_nodes(same: Pair, *line: object) -> None:
    """Run a command and compare encoding and nodes of ``l`` after it."""
    same(*line)
    same("OBJECT ENCODING l")
    same("DUMP l")


@pytest.mark.usefixtures("parameters")
@pytest.mark.servers(*NEWEST)
@pytest.mark.parametrize("limit", [-6, -2, -1, 0, 2, 3, 100])
def test_nodes_of_a_growing_and_shrinking_list(same: Pair, limit: int) -> None:
    same("CONFIG", "SET", "list-max-listpack-size", limit)
    elements = ("1", "-129", "a" * 63, "b" * 64, "c" * 2000, "2147483648", "d" * 4090)
    for element in itertools.islice(itertools.cycle(elements), 25):
        run_and_compare_nodes(same, "RPUSH", "l", element)
    for _ in range(24):
        run_and_compare_nodes(same, "LPOP", "l")
    for element in elements:
        run_and_compare_nodes(same, "LPUSH", "l", element, element)
    run_and_compare_nodes(same, "LTRIM", "l", 3, -3)
    run_and_compare_nodes(same, "LREM", "l", 0, "c" * 2000)
    for _ in range(8):
        run_and_compare_nodes(same, "RPOP", "l", 1)


@pytest.mark.usefixtures("parameters")
@pytest.mark.servers(*NEWEST)
@pytest.mark.parametrize("limit", [-1, 2, 5])
def test_nodes_are_split_and_joined(same: Pair, limit: int) -> None:
    same("CONFIG", "SET", "list-max-listpack-size", limit)
    large = "z" * 9000
    size = 900 if limit < 0 else 1
    for place in range(17):
        same("RPUSH", "l", chr(97 + place) * size)
    for place in range(0, 17, 4):
        run_and_compare_nodes(same, "LINSERT", "l", "BEFORE", chr(97 + place) * size, "Y" * size)
        run_and_compare_nodes(same, "LINSERT", "l", "AFTER", chr(97 + place) * size, "Z" * size)
        run_and_compare_nodes(same, "LINSERT", "l", "AFTER", chr(97 + place) * size, large)
        run_and_compare_nodes(same, "LSET", "l", place * 3, large)
        run_and_compare_nodes(same, "LSET", "l", place * 2, "X" * size)
        run_and_compare_nodes(same, "LREM", "l", 1, large)


@pytest.mark.usefixtures("parameters")
@pytest.mark.servers(*NEWEST)
def test_lset_of_a_large_element_merges_neighbour_nodes(same: Pair) -> None:
    same("CONFIG SET list-max-listpack-size 4")
    same("RPUSH l a b c d e f g h i j k l")
    same("LREM l 0 f")
    same("LREM l 0 g")
    same("LREM l 0 j")
    run_and_compare_nodes(same, "LSET", "l", 3, "z" * 9000)
    run_and_compare_nodes(same, "LSET", "l", 3, "y")
    run_and_compare_nodes(same, "LSET", "l", 0, "z" * 9000)
    run_and_compare_nodes(same, "LSET", "l", 0, "z" * 8193)


@pytest.mark.usefixtures("parameters")
@pytest.mark.servers(*NEWEST)
def test_lists_stay_quicklists_after_commands_without_an_effect(same: Pair) -> None:
    """Servers convert the encoding before they know whether the command stores anything."""
    big = "x" * 9000
    for line in (("LINSERT", "l", "BEFORE", "no", big), ("LSET", "l", 5, big)):
        same("DEL l")
        same("RPUSH l 1 2")
        run_and_compare_nodes(same, *line)
        run_and_compare_nodes(same, "LSET", "l", 0, 1)
    same("CONFIG SET list-max-listpack-size 3")
    same("DEL l m")
    same("RPUSH l 1 2 3")
    same("RPUSH m 4")
    run_and_compare_nodes(same, "LMOVE", "m", "l", "LEFT", "RIGHT")
    run_and_compare_nodes(same, "LMOVE", "l", "l", "LEFT", "RIGHT")
    same("CONFIG SET list-max-listpack-size 100")
    run_and_compare_nodes(same, "RPUSH", "l", 5, 6)
    run_and_compare_nodes(same, "LPOP", "l")
    run_and_compare_nodes(same, "LPOP", "l", 4)


@pytest.mark.usefixtures("parameters")
@pytest.mark.servers(*NEWEST)
def test_moved_integers_are_stored_as_strings(same: Pair) -> None:
    same("CONFIG SET list-max-listpack-size -1")
    for filler in range(4070, 4092):
        same("DEL l m")
        same("RPUSH", "l", "x" * filler)
        same("RPUSH m 1234567890 abcdefghij")
        run_and_compare_nodes(same, "LMOVE", "m", "l", "LEFT", "RIGHT")
        same("DEL l")
        same("RPUSH", "l", "x" * filler)
        run_and_compare_nodes(same, "LMOVE", "m", "l", "LEFT", "RIGHT")


@pytest.mark.servers(*ALL)
def test_lists_of_6000_elements(same: Pair) -> None:
    for start in range(0, 6000, 1000):
        same("RPUSH", "l", *range(start, start + 1000))
    for index in (0, 1, 2999, 3000, 3001, 5999, -1, -6000, -6001, 6000):
        same("LINDEX", "l", index)
        same("LRANGE", "l", index, index + 600)
    same("LRANGE", "l", 2000, 5000)
    same("LSET", "l", 4321, "x")
    same("LPOS", "l", "x")
    same("LINSERT", "l", "BEFORE", "x", "y")
    same("LREM", "l", -1, "77")
    same("LTRIM", "l", 1500, -1500)
    same("LRANGE", "l", 0, -1)
    same("OBJECT ENCODING l")


def test_snapshots_keep_lists() -> None:
    emulator = RedisEmulator()
    client = emulator.client()
    client.rpush("l", *range(5000))
    snapshot = emulator.snapshot()
    client.ltrim("l", 10, 20)
    client.lset("l", 0, "x")
    client.linsert("l", "before", "x", "y")
    emulator.restore(snapshot)
    assert client.lrange("l", 0, -1) == [b"%d" % number for number in range(5000)]
    assert client.object("encoding", "l") == b"quicklist"
