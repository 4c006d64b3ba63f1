"""DUMP and RESTORE: same payloads as real servers, and errors for damaged payloads."""

from __future__ import annotations

import struct

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_podlink import servers
from redis_emulator import ManualClock, RedisEmulator
from redis_emulator.rdb import payload
from redis_emulator.rdb.crc64 import crc64
from redis_emulator.rdb.lzf import compress, decompress
from redis_emulator.rdb.packed import pack, pack_ziplist, unpack, unpack_ziplist
from redis_emulator.rdb.wire import Writer
from redis_emulator.tools.copying import TransferError
from redis_emulator.values.stream import Stream
from tests.emulator.fuzz.dump import FAR, comparable, contents, payloads
from tests.support.examples import examples
from tests.support.keyspace import EventWatcher, compare_keyspaces
from tests.support.pair import EmulatorConnection, Pair
from tests.support.waiting import let_pass

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")

VALUES = {
    "integer": "SET k 12345",
    "large integer": "SET k 123456789012",
    "short": "SET k v",
    "compressed": "SET k " + "abc" * 50,
    "incompressible": "SET k " + "".join(chr(33 + i * 37 % 90) for i in range(60)),
    "long": "SET k " + "".join(f"line{i % 7}," for i in range(900)),
    "list": "RPUSH k a 1 -1 200 70000 9223372036854775807 " + "x" * 100,
    "long list": "RPUSH k " + " ".join("x" * (i % 90) + str(i) for i in range(900)),
    "intset": "SADD k 1 2 -3 40000",
    "wide intset": "SADD k 1 99999999999",
    "sorted set": "ZADD k 1 a 1.5 b -inf c 1e20 d 0.1 e 100000 f",
    "large sorted set": "ZADD k " + " ".join(f"{i / 8} m{i}" for i in range(200)),
    "long member": "ZADD k 2.5 a 1 " + "x" * 70,
    "hash": "HSET k a 1 b " + "x" * 60,
    "stream": "XADD k 1-1 a 1",
}


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("line", VALUES.values(), ids=VALUES.keys())
def test_dump_payloads_are_equal(same: Pair, line: str) -> None:
    same(line)
    same("DUMP k")
    same("CONFIG SET rdbcompression no")
    same("DUMP k")
    same("CONFIG SET rdbcompression yes")


@pytest.mark.servers("redis-8.2", "valkey-9.1")
def test_dump_payloads_of_encodings_of_newer_releases(same: Pair) -> None:
    for line in (
        "SADD small a b 1",
        f"RPUSH large a b {'x' * 9000} c",
        "CONFIG SET list-max-listpack-size 2",
        "RPUSH divided a b c d e",
        "CONFIG SET list-max-listpack-size -2",
    ):
        same(line)
    for key in ("small", "large", "divided"):
        same("DUMP", key)


def test_dump_payloads_of_hashes_with_expiring_fields(same: Pair) -> None:
    same("HSET k a 1 b 2 c 3")
    same(f"HPEXPIREAT k {FAR} FIELDS 1 b")
    same("DUMP k")
    same(f"HPEXPIREAT k {FAR - 9_000} FIELDS 2 c a")
    same("DUMP k")
    same("HSET", "k", "d", "x" * 100)
    same("DUMP k", key=comparable)


@pytest.mark.servers(*ALL)
def test_dump_payloads_of_streams(same: Pair) -> None:
    for line in (
        "XADD s 1-1 a 1 b 2",
        "XADD s 1-2 a 1 b 3",
        "XADD s 2-1 c x",
        "XADD s 700-9 a 1 b " + "y" * 100,
        "XDEL s 1-2",
        "XGROUP CREATE s g 0",
        "XGROUP CREATE s h 2-1",
        "XREADGROUP GROUP g c COUNT 2 STREAMS s >",
        "XREADGROUP GROUP g d STREAMS s >",
        "XACK s g 1-1",
        "XTRIM s MAXLEN 2",
    ):
        same(line)
        same("DUMP s", key=comparable)
    same("XADD t 1-1 a 1")
    same("XDEL t 1-1")
    same("DUMP t")


RESTORE_ARGUMENTS = {
    "existing-key": ("s 0 P", "s x P", "s -1 P", "s 0 P REPLACE", "s 0 P absttl"),
    "ttl": (
        "n -1 P",
        "n x P",
        "n 0 P",
        "n 100000 P replace",
        "n 1 P REPLACE ABSTTL",
        "n 1 P REPLACE ABSTTL",
        f"n {FAR} P ABSTTL",
        f"n {2**63 - 1} P REPLACE",
        f"n {2**63 - 1} P REPLACE ABSTTL",
    ),
    "idletime-and-freq": (
        "i 0 P REPLACE IDLETIME 100",
        "i 0 P REPLACE IDLETIME -1",
        "i 0 P REPLACE IDLETIME x",
        "i 0 P REPLACE IDLETIME",
        "i 0 P REPLACE IDLETIME 1 IDLETIME 2",
        "i 0 P REPLACE IDLETIME 1 FREQ 1",
        "i 0 P REPLACE FREQ 1 IDLETIME 1",
        "i 0 P REPLACE FREQ 256",
        "i 0 P REPLACE FREQ -1",
        "i 0 P REPLACE FREQ 5",
    ),
    "syntax-errors": ("i 0 P FOO", "q", "q 0"),
    "damaged-payload": (
        *("s 0 bad", "q 0 bad", "q x bad", "q 0 badbadbadbadbadbad", "q -1 bad FREQ 999"),
    ),
}
"""Arguments of RESTORE in which ``P`` stands for a valid payload; the key ``s`` exists."""


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("calls", RESTORE_ARGUMENTS.values(), ids=RESTORE_ARGUMENTS)
def test_arguments_of_restore(same: Pair, calls: tuple[str, ...]) -> None:
    watcher = EventWatcher(same)
    same("SET s hello")
    data = same("DUMP s")[1]
    for arguments in calls:
        same("RESTORE", *(data if word == "P" else word for word in arguments.split()))
        same("EXISTS n")
    same("OBJECT IDLETIME i")
    same("DUMP no")
    same("DUMP")
    same("DUMP s x")
    real, emulated = watcher.collect()
    assert emulated == real


def test_restore_with_idletime_and_freq() -> None:
    client = RedisEmulator(clock=ManualClock()).client()
    client.set("k", "v")
    data = client.dump("k")
    assert data is not None
    client.restore("i", 0, data, idletime=90)
    assert client.object("IDLETIME", "i") == 90
    client.config_set("maxmemory-policy", "allkeys-lfu")
    client.restore("f", 0, data, frequency=77)
    assert client.object("FREQ", "f") == 77


@pytest.mark.servers(*ALL)
def test_restore_checks_version_checksum_and_length(same: Pair) -> None:
    for version in (1, 6, 9, 10, 11, 12, 13, 79, 80, 81, 65535):
        same("RESTORE", "k", 0, signed(b"\0\5hello", version), "REPLACE")
    for body in (b"", b"\0", b"\0\5hell", b"\0\5hello there", b"\xff\5hello", b"\6", b"\7"):
        same("RESTORE", "k", 0, signed(body, 9), "REPLACE")
        same("GET k")
    data = signed(b"\0\5hello", 9)
    for damaged in (data[:-1], data[:-8] + bytes(8), b"x" + data, data + b"x", data[:9], b""):
        same("RESTORE", "k", 0, damaged, "REPLACE")


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("limit", [1, 100_000])
def test_encodings_after_restore(same: Pair, limit: int) -> None:
    """A value in a compact encoding keeps it unless it has too many members."""
    limits = [
        f"{kind}-max-{form}-{what}"
        for kind in ("hash", "zset", "set")
        for form in ("ziplist", "listpack")
        for what in ("entries", "value")
    ] + ["set-max-intset-entries"]
    known = [name for name in limits if config(same, name) is not None]
    before = {name: config(same, name) for name in known}
    for count, width in ((10, 3), (10, 70), (130, 4), (600, 4)):
        members = [str(number).ljust(width, "x") for number in range(count)]
        for name in known:
            same("CONFIG", "SET", name, limit)
        same("HSET", "hash", *(part for member in members for part in (member, 1)))
        same("ZADD", "zset", *(part for member in members for part in (1, member)))
        same("SADD", "set", *members)
        same("SADD", "intset", *range(count))
        for name, value in before.items():
            same("CONFIG", "SET", name, value)
        for key in ("hash", "zset", "set", "intset"):
            data = same.real("DUMP", key)[1]
            same("RESTORE", key, 0, data, "REPLACE")
        compare_keyspaces(same)
        same("FLUSHALL")


def config(same: Pair, name: str) -> bytes | None:
    """A configuration value of the server."""
    kind, content = same.real("CONFIG", "GET", name)
    if not content:
        return None
    value: bytes = content[0][1][1] if kind == "%" else content[1][1]
    return value


@pytest.mark.servers(*ALL)
@settings(
    max_examples=examples(25),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.lists(payloads(), min_size=1, max_size=8))
def test_values_can_be_exchanged_in_both_directions(same: Pair, data: list[bytes]) -> None:
    """Each side restores what the other has dumped, and then has the same value."""
    same("FLUSHALL")
    for number, each in enumerate(data):
        if same("RESTORE", f"k{number}", 0, each)[0] != "+":
            continue
        for source, target in ((same.emulated, same.real), (same.real, same.emulated)):
            again = source("DUMP", f"k{number}")[1]
            assert target("RESTORE", f"from{number}", 0, again, "REPLACE") == ("+", b"OK")
            assert comparable(target("DUMP", f"from{number}")) == comparable(
                source("DUMP", f"k{number}")
            )
    compare_keyspaces(same)


def test_restore_of_expired_hash_fields(same: Pair) -> None:
    watcher = EventWatcher(same)
    writer = Writer(12)
    fields = [(b"gone", b"1", 1), (b"stays", b"2", None)]
    some = payload.dump(writer, b"hash", fields, b"listpackex")
    none = payload.dump(Writer(12), b"hash", fields[:1], b"hashtable")
    same("RESTORE", "some", 0, some)
    same("RESTORE", "none", 0, none)
    for connection in (same.emulated, same.real):
        while connection("EXISTS", "none") != (":", b"0") or connection("HLEN", "some")[1] != b"1":
            let_pass(1)
    same("HGETALL some")
    same("EXISTS none")
    real, emulated = watcher.collect()
    assert sorted(emulated) == sorted(real)


Change = tuple[str, float, int]
_changes = st.lists(
    st.tuples(st.sampled_from("=+-"), st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=3
)


def damaged(body: bytes, changes: list[Change]) -> bytes:
    """``body`` with bytes overwritten, inserted and removed."""
    changed = bytearray(body)
    for change, where, byte in changes:
        place = int(where * len(changed))
        changed[place : place + (change != "+")] = b"" if change == "-" else bytes([byte])
    return bytes(changed)


def signed(body: bytes, version: int) -> bytes:
    """A payload with this body and a valid version and checksum."""
    data = body + struct.pack("<H", version)
    return data + struct.pack("<Q", crc64(data))


@settings(max_examples=examples(150), deadline=None, database=None)
@given(contents(), st.booleans(), _changes)
def test_damaged_payloads_are_refused_or_readable(
    content: tuple[bytes, object, bytes, int],
    compressing: bool,
    changes: list[Change],
) -> None:
    """RESTORE replies to any bytes, and a stored value can be read and dumped again."""
    kind, value, form, version = content
    whole = payload.dump(Writer(version, compressing=compressing), kind, value, form)
    try_restore(signed(damaged(whole[:-10], changes), version), version)


@settings(max_examples=examples(150), deadline=None, database=None)
@given(_changes)
def test_damaged_streams_are_refused_or_usable(changes: list[Change]) -> None:
    emulator = RedisEmulator()
    session = EmulatorConnection(emulator)
    for line in (
        "CONFIG SET rdbcompression no",
        "XADD k 1-1 a 1 b 2",
        "XADD k 1-2 a 1 b 3",
        "XADD k 2-1 c x",
        "XDEL k 1-2",
        "XGROUP CREATE k g 0",
        "XREADGROUP GROUP g c COUNT 1 STREAMS k >",
        "XREADGROUP GROUP g d STREAMS k >",
    ):
        assert session(line)[0] != "-"
    whole = session("DUMP k")[1]
    session = try_restore(signed(damaged(whole[:-10], changes), 12), 12)
    for line in (
        "XRANGE k - +",
        "XINFO STREAM k FULL",
        "MEMORY USAGE k",
        "XADD k * a b",
        "XREADGROUP GROUP g c STREAMS k >",
        "XREADGROUP GROUP g c STREAMS k 0",
        "XAUTOCLAIM k g c 0 0",
        "XDEL k 1-1",
        "XTRIM k MAXLEN 1",
        "DUMP k",
    ):
        session(line)


def test_streams_with_unordered_ids_are_refused() -> None:
    for ids in (((1, 1), (1, 1)), ((1, 2), (1, 1))):
        stream = Stream()
        for entry_id in ids:
            stream.append(entry_id, (b"f", b"v"), 4096, 1)
        session = try_restore(payload.dump(Writer(12), b"stream", stream, b"stream"), 12)
        assert session("EXISTS k") == (":", b"0")


@settings(max_examples=examples(150), deadline=None, database=None)
@given(st.integers(0, 26), st.binary(max_size=80), st.sampled_from([9, 12, 80]))
def test_random_payloads_are_refused_or_readable(code: int, noise: bytes, version: int) -> None:
    try_restore(signed(bytes([code]) + noise, version), version)


def try_restore(data: bytes, version: int) -> EmulatorConnection:
    """Restore into a new emulator; it refuses the payload or can read the stored value."""
    emulator = RedisEmulator(flavour="valkey", version="9.1") if version == 80 else RedisEmulator()
    session = EmulatorConnection(emulator)
    reply = session("RESTORE", "k", 0, data)
    if reply[0] == "-":
        assert reply[1] == b"ERR Bad data format"
        return session
    assert reply == ("+", b"OK")
    shown = emulator.dump()
    assert shown.startswith("0 k ") or not shown  # all fields of a hash may have expired long ago
    _, again = session("DUMP", "k")
    assert again is None or session("RESTORE", "again", 0, again) == ("+", b"OK")
    return session


@given(st.binary(max_size=2000) | st.text("ab", max_size=3000).map(str.encode))
def test_lzf_round_trip(data: bytes) -> None:
    packed = compress(data, len(data))
    assert packed is None or (len(packed) <= len(data) and decompress(packed, len(data)) == data)


@given(st.lists(st.binary(max_size=300) | st.integers(-(2**63), 2**63 - 1).map(b"%d".__mod__)))
def test_listpack_and_ziplist_round_trip(items: list[bytes]) -> None:
    assert unpack(pack(items)) == items
    assert unpack_ziplist(pack_ziplist(items)) == items


@pytest.mark.parametrize("name", [name for name in ALL if servers.is_expected(name)])
@pytest.mark.needs_servers
def test_load_from_a_running_server(name: str) -> None:
    with servers.start(name) as server:
        source = redis.Redis(port=server.port, decode_responses=True)
        for line in VALUES.values():
            source.delete("k")
            source.execute_command(*line.split())
            source.rename("k", line[:40])
        source.set("text", "é")
        source.expire("text", 100)
        redis.Redis(port=server.port, db=3).set("there", b"\xff")
        emulator = RedisEmulator(clock=ManualClock())
        emulator.client().set("own", 1)
        assert emulator.load(source) == len(VALUES) + 2
        client = emulator.client()
        assert 90 <= client.ttl("text") <= 100
        assert client.get("text") == "é".encode()
        assert emulator.client(db=3).get("there") == b"\xff"
        assert client.dbsize() == len(VALUES) + 2
        binary = redis.Redis(port=server.port)
        for key in binary.keys():
            here, there = client.dump(key), binary.dump(key)
            assert here is not None
            assert there is not None
            assert here[:-10] == there[:-10] or name != "redis-8.2"


def test_load_from_another_emulator() -> None:
    source, target = RedisEmulator(), RedisEmulator(version="6.2")
    source.client().rpush("l", *range(3000))
    source.client().hset("h", "f", "v")
    source.client().hexpire("h", 50, "f")
    assert target.load(source.client()) == 2
    assert target.dump().splitlines()[1] == source.dump().splitlines()[1]
    target.client().config_set("slowlog-max-len", 1)
    source.client(db=15).set("k", "v")
    assert target.load(source.client()) == 3


def test_load_names_the_key_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    source = RedisEmulator()
    source.client(db=2).set("k", "v")

    def refuse(data: bytes, version: int | None) -> None:
        raise ValueError("unknown type 99")

    monkeypatch.setattr(payload, "load", refuse)
    with pytest.raises(TransferError, match="database 2, key b'k': unknown type 99"):
        RedisEmulator().load(source.client())


def test_dump_of_an_emulator_as_text() -> None:
    emulator = RedisEmulator(clock=ManualClock())
    client = emulator.client()
    assert emulator.dump() == ""
    client.set("a", "1", px=1500)
    client.hset("h é", "f", 'v w\n"\\')
    client.hexpire("h é", 10, "f")
    client.rpush("l", b"\xff", "é", 1)
    client.zadd("z", {"a": 1, "b": 2.5})
    client.sadd("s", "b", "a", "")
    client.xadd("x", {"a": 1}, "1-1")
    client.xgroup_create("x", "g", "0")
    client.xreadgroup("g", "c", {"x": ">"})
    emulator.client(db=2).append("q", "x")
    assert emulator.dump() == "\n".join(
        (
            "0 a string 1.5s 1",
            '0 "h é" hash - {f: "v w\\n\\"\\\\" (10s)}',
            '0 l list - ["\\xff", "é", 1]',
            '0 s set - {"", a, b}',
            "0 x stream - [1-1 {a: 1}] g@1-1(1-1 c)",
            "0 z zset - {a: 1, b: 2.5}",
            "2 q string - x",
        )
    )


@pytest.mark.servers(*ALL)
def test_stream_ids_without_sequence_number(same: Pair) -> None:
    """Redis 6.2 refuses them; the payload contains the generated ids."""
    for line in ("XADD s 1-* f v", "XADD s 1-* f v", "XADD s -* f v", "XADD s 0-* f v", "XADD s"):
        same(line)
    same("DUMP s")
