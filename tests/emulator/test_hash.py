"""Hash commands, compared with real servers; test_hash_expiry covers field expiry."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from redis_emulator import RedisEmulator
from tests.support.keyspace import EventWatcher
from tests.support.pair import Pair, Wire, unordered

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")


@pytest.mark.servers(*ALL)
def test_hash_commands_and_their_events(same: Pair) -> None:
    watcher = EventWatcher(same)
    for line in (
        "HSET h a 1 b 2 c 3",
        "HSET h a 9 d 4 d 5",
        "HGETALL h",
        "HKEYS h",
        "HVALS h",
        "HLEN h",
        "HMGET h a x c a",
        "HEXISTS h a",
        "HEXISTS h x",
        "HSTRLEN h a",
        "HSTRLEN h x",
        "HMSET h e 1 f 2",
        "HSETNX h e 3",
        "HSETNX h g 3",
        "HSETNX new g 3",
        "HDEL h b zz b",
        "HDEL h zz",
        "HGETALL h",
        "HDEL h a c d e f g",
        "EXISTS h",
    ):
        same(line)
    real, emulated = watcher.collect()
    assert emulated == real


READS = ("HGETALL", "HKEYS", "HVALS", "HLEN", "HRANDFIELD")
CALLS = (
    *((name,) for name in READS),
    *((name, "f") for name in ("HGET", "HMGET", "HEXISTS", "HSTRLEN", "HDEL")),
    *((name, "f", "1") for name in ("HSET", "HMSET", "HSETNX", "HINCRBY", "HINCRBYFLOAT")),
    ("HINCRBY", "f", "x"),
    ("HINCRBYFLOAT", "f", "x"),
    ("HSET", "f"),
    ("HMSET", "f"),
    ("HSET", "f", "1", "g"),
    ("HMSET", "f", "1", "g"),
    ("HSCAN", "0"),
    ("HSCAN", "x"),
    ("HSCAN", "0", "COUNT"),
    ("HRANDFIELD", "1"),
    ("HRANDFIELD", "x"),
    ("HRANDFIELD", "1", "FOO"),
    ("HRANDFIELD", "-1", "WITHVALUES"),
)


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("key", ["missing", "text"])
def test_missing_keys_wrong_types_and_argument_counts(same: Pair, key: str) -> None:
    for name, *rest in CALLS:
        same("SET", "text", "x")
        same("DEL", "missing")
        same(name, key, *rest)
        same(name)
        same(name, key, *rest, "more")
        same("TYPE", key)


@pytest.mark.servers(*ALL)
def test_hincrby_and_hincrbyfloat(same: Pair) -> None:
    numbers = ("0", "1", "-1", "1.5", " 1", "", "x", "1e400", "1e5000", "inf", "-inf", "nan", "007")
    limits = (
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "0x1p3",
        "3.0e3",
    )
    for before in (*numbers, *limits):
        for amount in (*numbers, *limits):
            for name in ("HINCRBY", "HINCRBYFLOAT"):
                same("HSET", "h", "f", before)
                same(name, "h", "f", amount)
                same("HGET", "h", "f")
            same("OBJECT", "ENCODING", "h")


@pytest.mark.servers(*ALL)
def test_hincrbyfloat_of_long_and_extreme_numbers(same: Pair) -> None:
    for length in (255, 256, 1000, 5119, 5120):
        number = "1".zfill(length)
        same("HSET", "h", "f", number)
        same("HINCRBYFLOAT", "h", "f", "1")
        same("HINCRBYFLOAT", "h", "f", number)
        same("SET", "s", number)
        same("INCRBYFLOAT", "s", number)
    for number in ("1e4931", "1e4933", "1e-4931", "1e-4940", "1e-4951", "1e-4960", "1e-20000"):
        same("HINCRBYFLOAT", "h", number, number)
    for number in (
        "0e99999",
        "0e-99999",
        "0x1p-16400",
        "0x1p-17000",
        "0x1p-99999999999",
        "1e99999999999",
    ):
        same("HINCRBYFLOAT", "h", number, number)


@pytest.mark.servers(*ALL)
def test_listpack_and_hashtable_encodings(same: Pair) -> None:
    long = "x" * 65
    calls = [
        ("HSET", "h", "f", long),
        ("HSET", "h", long, "v"),
        ("HSET", "h", "f", "x" * 64),
        ("HSETNX", "h", "f", long),
        ("HSETNX", "h", "kept", long),
        ("HMSET", "h", "f", long),
        ("HINCRBY", "h", long, "1"),
        ("HINCRBYFLOAT", "h", long, "1"),
        ("HINCRBYFLOAT", "h", "f", "1e70"),
        ("HSET", "h", *("f", "v") * 600),
        ("HSET", "h", *("f", "v") * 513),
        ("HSET", "h", *("f", "v") * 512),
        ("HMSET", "h", *("f", "v") * 513),
        ("HSET", "h", *(f"f{i // 2}" for i in range(2 * 511))),
        ("HSET", "h", *(f"f{i // 2}" for i in range(2 * 512))),
        ("HSET", "new", *("f", "v") * 513),
    ]
    for call in calls:
        same("DEL", "h", "new")
        same("HSET", "h", "kept", "v")
        same(*call)
        same("OBJECT", "ENCODING", call[1])
        same("HDEL", "h", long)
        same("OBJECT", "ENCODING", "h")


@pytest.mark.servers(*ALL)
def test_hscan_of_a_small_hash(same: Pair) -> None:
    same("HSET", "h", *"a 1 ab 2 b 3 c 4".split())
    for options in (
        (),
        ("COUNT", "1"),
        ("MATCH", "a*"),
        ("MATCH", "*", "COUNT", "2"),
        ("COUNT", "0"),
        ("COUNT", "x"),
        ("NOVALUES",),
        ("NOVALUES", "MATCH", "a*"),
        ("MATCH", "ab", "novalues"),
        ("TYPE", "hash"),
        ("FOO",),
        ("MATCH",),
    ):
        for cursor in ("0", "5", "x", "-1", "18446744073709551616"):
            same("HSCAN", "h", cursor, *options)
            same("HSCAN", "missing", cursor, *options)


def test_hscan_returns_every_field_that_stays() -> None:
    client: Any = RedisEmulator(seed=1).client()
    client.hset("h", mapping={f"kept:{i}": i for i in range(2_000)})
    client.hset("h", mapping={f"gone:{i}": i for i in range(2_000)})
    seen: list[bytes] = []
    cursor = 0
    for step in itertools.count():
        cursor, found = client.hscan("h", cursor, count=50)
        seen += found
        client.hdel("h", *(f"gone:{i}" for i in range(step * 20, step * 20 + 20)))
        client.hset("h", f"new:{step}", "x")
        if not cursor:
            break
    assert len(seen) == len(set(seen))
    assert {name for name in seen if name.startswith(b"kept")} == {
        b"kept:%d" % i for i in range(2_000)
    }


@pytest.mark.servers(*ALL)
def test_hscan_of_a_large_hash(same: Pair) -> None:
    same("HSET", "h", *(f"f{i // 2}" for i in range(3000)))
    for connection in same.emulated, same.real:
        for options in ((), ("COUNT", "100"), ("MATCH", "f*9*")):
            cursor, seen = "0", []
            while True:
                _, ((_, following), (_, items)) = connection("HSCAN", "h", cursor, *options)
                seen += [item[1] for item in items]
                cursor = following.decode()
                if cursor == "0":
                    break
            fields = [
                f"f{i}".encode() for i in range(1500) if "MATCH" not in options or "9" in str(i)
            ]
            assert sorted(seen) == sorted(fields * 2)


@pytest.mark.servers(*ALL)
def test_hrandfield_counts(same: Pair) -> None:
    same("HSET", "h", *"a 1 b 2 c 3".split())
    for count in ("3", "100", "4611686018427387903", "0", "-0", "x", "9223372036854775808"):
        for words in ((), ("WITHVALUES",), ("withvalues", "FOO"), ("FOO",)):
            same("HRANDFIELD", "h", count, *words, key=unordered)
    for count in ("1", "2", "-1", "-20"):
        same("HRANDFIELD", "h", count, key=_shape)
        same("HRANDFIELD", "h", count, "WITHVALUES", key=_shape)


@pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
def test_hrandfield_counts_out_of_range(same: Pair) -> None:
    same("HSET h a 1")
    same("HRANDFIELD", "h", -(2**63))
    same("HRANDFIELD", "h", -(2**63), "FOO")
    for count in ("4611686018427387904", "-4611686018427387904", "9223372036854775807"):
        same("HRANDFIELD", "h", count, "WITHVALUES")
        same("HRANDFIELD", "h", count, "FOO")
        same("HRANDFIELD", "text", count, "WITHVALUES")


def _shape(reply: Wire) -> Any:
    kind, items = reply
    return kind, [_shape(item) if item[0] == "*" else item[0] for item in items]


def test_hrandfield_returns_random_fields() -> None:
    client: Any = RedisEmulator(seed=1).client()
    client.hset("h", mapping={f"f{i}": i for i in range(20)})
    assert {client.hrandfield("h") for _ in range(300)} == set(client.hkeys("h"))
    assert len(set(client.hrandfield("h", 5))) == 5
    assert len(client.hrandfield("h", -50)) == 50
