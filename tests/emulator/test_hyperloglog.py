"""HyperLogLog commands: counts and every byte of the strings, compared with real servers."""

from __future__ import annotations

import pytest

from redis_emulator import RedisEmulator
from tests.support.keyspace import EventWatcher
from tests.support.pair import Pair
from tests.support.reads import compare_reads

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
EMPTY = b"HYLL\x01" + bytes(10) + b"\x80"


@pytest.mark.servers(*ALL)
def test_pfadd_of_elements_of_every_length(same: Pair) -> None:
    for size in range(40):
        same("PFADD", "h", bytes(range(200, 200 + size)))
        same("GET h")
        same("PFCOUNT h")
        same("GET h")


@pytest.mark.servers(*ALL)
def test_sparse_strings_grow_one_element_at_a_time(same: Pair) -> None:
    for number in range(150):
        same("PFADD", "h", number)
        same("GET h")
    same("PFADD", "h", *range(150, 400))
    same("GET h")
    same("PFDEBUG ENCODING h")
    same("PFDEBUG DECODE h")
    same("PFCOUNT h")


@pytest.mark.servers(*ALL)
def test_dense_strings(same: Pair) -> None:
    for start in range(0, 3000, 250):
        same("PFADD", "h", *range(start, start + 250))
        same("GET h")
        same("PFCOUNT h")
        same("PFDEBUG ENCODING h")
    same("PFDEBUG GETREG h")


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("longest", [0, 18, 20, 40, 20_000])
def test_hll_sparse_max_bytes(same: Pair, longest: int) -> None:
    same("CONFIG", "SET", "hll-sparse-max-bytes", longest)
    try:
        for number in range(12):
            same("PFADD", "h", number)
            same("GET h")
        same("PFADD", "h", *range(1200))
        same("GET h")
        same("PFCOUNT h")
        same("PFMERGE copy h")
        same("GET copy")
    finally:
        same("CONFIG SET hll-sparse-max-bytes 3000")


@pytest.mark.servers(*ALL)
def test_pfmerge_and_pfcount_of_several_keys(same: Pair) -> None:
    watcher = EventWatcher(same)
    same("PFADD", "a", *range(100))
    same("PFADD", "b", *range(50, 300))
    same("PFADD", "big", *range(9000))
    for keys in (["d"], ["d", "no"], ["d", "a"], ["d", "a", "b"], ["d"], ["d", "big"], ["a", "a"]):
        same("PFMERGE", *keys)
        same("GET", keys[0])
        same("PFCOUNT", *keys)
        same("GET", keys[0])
        same("PFCOUNT", keys[0])
        same("GET", keys[0])
    same("PFCOUNT no a b big no")
    same("PFCOUNT no no2")
    real, emulated = watcher.collect()
    assert emulated == real


@pytest.mark.servers(*ALL)
def test_pfadd_reports_changes(same: Pair) -> None:
    watcher = EventWatcher(same)
    same("PFADD h")
    same("GET h")
    same("PFADD h")
    same("PFADD h a")
    same("PFADD h a a")
    same("PFADD h a b")
    same("PFCOUNT h")
    same("PFADD h a")
    same("GET h")
    same("SET", "copy", same("GET h")[1])
    same("EXPIRE copy 100")
    same("OBJECT ENCODING copy")
    same("PFADD copy a")
    same("OBJECT ENCODING copy")
    same("PFADD copy c")
    same("TTL copy")
    real, emulated = watcher.collect()
    assert emulated == real


VALUES = {
    "short": b"HYLL\x01",
    "only a header": EMPTY,
    "other magic": b"hyll" + EMPTY[4:] + b"\x7f\xff",
    "unknown encoding": b"HYLL\x02" + EMPTY[5:] + b"\x7f\xff",
    "dense, too short": b"HYLL\x00" + EMPTY[5:] + b"\x7f\xff",
    "dense, too long": b"HYLL\x00" + EMPTY[5:] + bytes(12289),
    "dense": b"HYLL\x00abc" + EMPTY[8:] + b"\x41" * 12288,
    "all registers at most": b"HYLL\x00" + EMPTY[5:] + b"\xff" * 12288,
    "too few registers": EMPTY + b"\x7f\xfe",
    "too many registers": EMPTY + b"\x7f\xff\x00",
    "values beyond the last register": EMPTY + b"\x7f\xff\x80",
    "too many values": EMPTY + b"\x7f\xfe\x83",
    "remembers a count": b"HYLL\x01abc\x05" + bytes(7) + b"\x7f\xff",
    "remembers a count, damaged": b"HYLL\x01abc\x05" + bytes(7) + b"\x80",
    "long runs": EMPTY + b"\x00\x3f\x40\x05" + b"\x83" * 30 + b"\x7f\x40",
    "number": b"12345",
}


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("name", VALUES)
def test_strings_that_were_set_by_a_client(same: Pair, name: str) -> None:
    value = VALUES[name]
    same("PFADD other x y z")
    for call in (
        "PFCOUNT k",
        "PFCOUNT k other",
        "PFADD k a",
        "PFADD k",
        "PFMERGE k other",
        "PFMERGE k",
        "PFMERGE new k other",
        "PFDEBUG ENCODING k",
        "PFDEBUG DECODE k",
        "PFDEBUG TODENSE k",
        "PFDEBUG GETREG k",
    ):
        same("SET", "k", value)
        same(call)
        same("GET k")
        same("GET new")


@pytest.mark.servers(*ALL)
def test_wrong_types(same: Pair) -> None:
    same("SADD s a")
    same("PFADD h a")
    for call in ("PFADD s a", "PFCOUNT s", "PFCOUNT h s", "PFMERGE h s", "PFMERGE s h"):
        same(call)
    for call in ("PFADD", "PFCOUNT", "PFMERGE", "PFDEBUG GETREG s", "PFDEBUG GETREG"):
        same(call)


@pytest.mark.servers(*ALL)
def test_pfdebug(same: Pair) -> None:
    same("PFADD h a b c")
    for name in ("encoding", "decode", "TODENSE", "TODENSE", "DECODE", "ENCODING", "FOO"):
        same("PFDEBUG", name, "h")
        same("PFDEBUG", name, "no")
        same("PFDEBUG", name, "h", "x")
        same("PFDEBUG", name, "no", "x")
    same("GET h")


@pytest.mark.servers(*ALL)
def test_which_commands_count_keyspace_hits_and_misses(same: Pair) -> None:
    compare_reads(
        same,
        (
            "PFADD h a",
            "PFADD h b",
            "PFCOUNT no",
            "PFCOUNT h",
            "PFCOUNT h",
            "PFCOUNT no h",
            "PFMERGE h no",
            "PFMERGE new no",
            "PFDEBUG ENCODING no",
            "PFDEBUG ENCODING h",
        ),
    )


def test_pfselftest(same: Pair) -> None:
    same("PFSELFTEST")


def test_estimation_error_is_small() -> None:
    client = RedisEmulator().client()
    client.pfadd("h", *range(50_000))
    assert abs(client.pfcount("h") - 50_000) < 1500
