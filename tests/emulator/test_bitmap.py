"""Bitmap commands, compared with real servers."""

from __future__ import annotations

import itertools

import pytest

from redis_emulator import RedisEmulator
from tests.support.keyspace import EventWatcher
from tests.support.pair import Pair
from tests.support.reads import compare_reads

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
MODERN = ("redis-8.2", "redis-7.0", "valkey-9.1")
FAR = 9_223_372_036_854_775_807


@pytest.mark.servers(*ALL)
def test_setbit_and_getbit(same: Pair) -> None:
    watcher = EventWatcher(same)
    for offset, bit in ((7, 1), (7, 1), (7, 0), (0, 0), (100, 0), (100, 1), (3, 1)):
        same("SETBIT", "b", offset, bit)
        same("GETBIT", "b", offset)
        same("GET b")
    for offset in (0, 103, 104, 4_294_967_295):
        same("GETBIT", "b", offset)
    same("SET n 12345 EX 100")
    same("GETBIT n 3")
    same("SETBIT n 3 1")
    same("OBJECT ENCODING n")
    same("GET n")
    same("SETBIT new 0 0")
    same("GET new")
    real, emulated = watcher.collect()
    assert emulated == real


@pytest.mark.servers(*ALL)
def test_offsets_and_bits_out_of_range(same: Pair) -> None:
    same("SADD s a")
    for offset in (-1, "x", "", "#1", 4_294_967_296, FAR, FAR + 1):
        same("SETBIT", "b", offset, 1)
        same("SETBIT", "b", offset, 2)
        same("GETBIT", "b", offset)
        same("BITFIELD", "b", "SET", "u8", offset, 1)
    for bit in (2, -1, "x", "01", ""):
        same("SETBIT", "b", 0, bit)
    same("SETBIT s 0 1")
    same("GETBIT s 0")
    same("EXISTS b")


@pytest.mark.servers(*MODERN)
def test_proto_max_bulk_len_limits_the_length(same: Pair) -> None:
    same("CONFIG SET proto-max-bulk-len 1mb")
    try:
        for offset in (8_388_607, 8_388_608):
            same("SETBIT", "b", offset, 1)
            same("BITFIELD", "b", "SET", "u1", offset, 1)
            same("BITFIELD", "b", "GET", "u1", offset)
            same("GETBIT", "b", offset)
        same("STRLEN b")
    finally:
        same("CONFIG SET proto-max-bulk-len 512mb")


PLACES = (0, 1, 2, 5, 6, 40, -1, -2, -6, -7, -100)


@pytest.mark.servers(*ALL)
def test_bitcount(same: Pair) -> None:
    same("SET s foobar")
    same("BITCOUNT s")
    same("BITCOUNT no")
    for start, end in itertools.product(PLACES, PLACES):
        same("BITCOUNT", "s", start, end)
        same("BITCOUNT", "s", start, end, "BYTE")
        same("BITCOUNT", "s", start * 3, end * 5, "bit")
    same("SET", "e", "")
    same("BITCOUNT e 0 0")


@pytest.mark.servers(*ALL)
def test_bitpos(same: Pair) -> None:
    for value in (b"\xff\xf0\x00", b"\x00\x00\x10\xff", b"\x00" * 3, b"\xff" * 3, b"", b"ab" * 9):
        same("SET", "s", value)
        for bit in (0, 1):
            same("BITPOS", "s", bit)
            for start in PLACES:
                same("BITPOS", "s", bit, start)
                for end in PLACES:
                    same("BITPOS", "s", bit, start, end)
                    same("BITPOS", "s", bit, start * 3, end * 5, "BIT")
    same("BITPOS no 0")
    same("BITPOS no 1")


@pytest.mark.servers(*ALL)
def test_which_of_several_argument_errors_is_reported(same: Pair) -> None:
    same("SET a text")
    same("SADD s a")
    for key, start, end in itertools.product(("a", "s", "no"), (0, "x"), (0, "y")):
        for unit in ([], ["FOO"], ["BIT"], ["BIT", "BIT"]):
            same("BITPOS", key, 0, start, end, *unit)
            same("BITPOS", key, 2, start, end, *unit)
            same("BITCOUNT", key, start, end, *unit)
        same("BITCOUNT", key, start)
        same("BITCOUNT", key, -1, -2, "FOO")
        same("BITPOS", key, 1, start)
        same("BITPOS", key, "x")
        same("BITPOS", key, 2)


@pytest.mark.servers(*ALL)
def test_bitop(same: Pair) -> None:
    watcher = EventWatcher(same)
    same("SET", "a", b"\xf0\x0f\xaa\x55\x01")
    same("SET", "b", b"\xff\x00\xff")
    same("SET", "c", b"\x11\x22\x33\x44\x55\x66")
    same("SET n 12345")
    same("SADD s a")
    operators = ("AND", "or", "XOR", "NOT", "DIFF", "DIFF1", "ANDOR", "ONE", "FOO")
    keys = ("a", "b", "c", "n", "no")
    for operator in operators:
        for chosen in (
            *itertools.product(keys),
            *itertools.product(keys, repeat=2),
            ("a", "b", "c", "a"),
            ("no", "no", "a"),
            ("no", "no"),
            ("a", "s"),
            ("s",),
        ):
            same("BITOP", operator, "d", *chosen)
            same("GET d")
    same("OBJECT ENCODING d")
    same("SET d v EX 100")
    same("BITOP OR d n")
    same("TTL d")
    same("OBJECT ENCODING d")
    same("BITOP OR s n")
    same("GET s")
    real, emulated = watcher.collect()
    assert emulated == real


@pytest.mark.servers(*ALL)
def test_bitfield_types_and_offsets(same: Pair) -> None:
    same("SET", "b", bytes(range(40, 60)))
    for sign in "iu":
        for bits in range(66):
            for offset in (0, 1, 7, 8, 13, "#1", "#2", 150, 400):
                same("BITFIELD", "b", "GET", f"{sign}{bits}", offset)
    for kind in ("x8", "U8", "u08", "u", "", "8", "i-1", "u+8", "u8x"):
        same("BITFIELD", "b", "GET", kind, 0)
        same("BITFIELD_RO", "b", "GET", kind, 0)
    for offset in ("#", "#x", "##1", "#-1", "-1", "x", "", 4_294_967_288, 4_294_967_289):
        same("BITFIELD", "b", "GET", "u8", offset)
    for offset in (536_870_911, 536_870_912, FAR, 2**61 + 1):
        same("BITFIELD", "b", "GET", "u8", f"#{offset}")


AMOUNTS = (0, 1, -1, 3, -3, 100, -100, 255, 256, FAR, FAR - 1, -FAR, -FAR - 1, FAR // 2, -FAR // 2)


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i8", "u8", "i33", "u63", "i63"])
def test_bitfield_overflow(same: Pair, kind: str) -> None:
    for overflow, before, amount in itertools.product(("WRAP", "SAT", "FAIL"), AMOUNTS, AMOUNTS):
        way = ("OVERFLOW", overflow)
        same("BITFIELD", "b", *way, "SET", kind, 3, before, *way, "INCRBY", kind, 3, amount)
    same("GET b")


@pytest.mark.servers(*MODERN)
def test_bitfield_overflow_of_64_bits(same: Pair) -> None:
    for overflow, before, amount in itertools.product(("WRAP", "SAT", "FAIL"), AMOUNTS, AMOUNTS):
        way = ("OVERFLOW", overflow)
        same("BITFIELD", "b", *way, "SET", "i64", 3, before, *way, "INCRBY", "i64", 3, amount)


BITFIELD_CALLS = {
    "syntax-errors": (
        "BITFIELD b",
        "BITFIELD b GET u8",
        "BITFIELD b FOO",
        "BITFIELD b SET u8 0",
        "BITFIELD b SET u8 0 x",
        "BITFIELD b OVERFLOW",
        "BITFIELD b OVERFLOW FOO",
        "BITFIELD b OVERFLOW FAIL",
    ),
    "creates-the-key-only-if-a-write-succeeds": (
        "BITFIELD b GET u8 0",
        "EXISTS b",
        "BITFIELD b OVERFLOW FAIL SET u8 0 999",
        "EXISTS b",
        "BITFIELD b GET u8 0 OVERFLOW FAIL SET u8 8 999 GET u8 0",
        "STRLEN b",
        "BITFIELD b SET u8 0 0",
    ),
    "several-operations": (
        "BITFIELD b SET u8 0 1 SET u8 0 1 incrby u8 0 0",
        "BITFIELD b INCRBY u2 1 1 INCRBY u2 1 1 INCRBY u2 1 1 INCRBY u2 1 1",
        "BITFIELD b OVERFLOW FAIL SET u2 0 9 OVERFLOW SAT SET u2 0 9 OVERFLOW WRAP SET u2 0 9",
    ),
    "bitfield-ro": (
        "BITFIELD_RO b",
        "BITFIELD b SET u8 0 1",
        "BITFIELD_RO b GET u8 0 OVERFLOW FAIL GET i5 2",
        "BITFIELD_RO b SET u8 0 1",
        "BITFIELD_RO s GET u8 0",
        "BITFIELD_RO n GET u8 0",
        "OBJECT ENCODING n",
    ),
    "wrong-type": ("BITFIELD s GET u8 0", "BITFIELD s GET u99 0", "BITFIELD s SET u8 0 1"),
    "string-with-int-encoding": ("BITFIELD n SET u8 0 49", "OBJECT ENCODING n", "TTL n"),
}


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("calls", BITFIELD_CALLS.values(), ids=BITFIELD_CALLS)
def test_bitfield(same: Pair, calls: tuple[str, ...]) -> None:
    watcher = EventWatcher(same)
    same("SADD s a")
    same("SET n 12345 EX 100")
    for call in calls:
        same(call)
    real, emulated = watcher.collect()
    assert emulated == real


@pytest.mark.servers(*ALL)
def test_which_commands_count_keyspace_hits_and_misses(same: Pair) -> None:
    compare_reads(
        same,
        (
            "SETBIT b 1 1",
            "GETBIT no 1",
            "GETBIT b 1",
            "BITCOUNT no",
            "BITCOUNT no 0 1",
            "BITCOUNT b 0 1",
            "BITPOS no 1",
            "BITPOS b 1 0",
            "BITOP OR d no b",
            "BITOP NOT d no",
            "BITFIELD no",
            "BITFIELD no GET u8 0",
            "BITFIELD new SET u8 0 1",
            "BITFIELD_RO no GET u8 0",
        ),
    )


def test_bitmaps_of_32_megabytes() -> None:
    client = RedisEmulator().client()
    size = 32 * 1024 * 1024
    client.setbit("a", size * 8 - 1, 1)
    client.setbit("b", size * 8 - 2, 1)
    assert client.bitcount("a") == 1
    assert client.bitpos("a", 1) == size * 8 - 1
    assert client.bitop("OR", "c", "a", "b") == size
    assert client.bitcount("c") == 2
    client.bitop("NOT", "d", "c")
    assert client.bitpos("d", 0) == size * 8 - 2
