"""The API of `RedisEmulator`: direct key access, command log, seed, clock, snapshots."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import redis

from redis_emulator import Entries, ManualClock, RedisEmulator, Scores
from tests.support.transports import connection_of


@pytest.fixture
def emulator() -> RedisEmulator:
    return RedisEmulator(clock=ManualClock())


VALUES = {
    "string": (b"value", "value"),
    "number": (b"5", 5),
    "fraction": (b"1.5", 1.5),
    "empty": (b"", ""),
    "binary": (b"\0\xff", bytearray(b"\0\xff")),
    "list": ([b"a", b"2", b"a"], ["a", 2, b"a"]),
    "tuple": ([b"a"], ("a",)),
    "hash": ({b"f": b"1", b"g": b"x"}, {"f": 1, "g": "x"}),
    "set": ({b"a", b"b"}, {"a", "b"}),
    "frozen": ({b"a"}, frozenset("a")),
    "sorted set": (Scores({b"a": 1.0, b"b": 2.5}), Scores(b=2.5, a=1)),
    "stream": (
        Entries([(b"1-1", {b"f": b"v"}), (b"2-0", {b"g": b"w", b"h": b"x"})]),
        Entries([("1-1", {"f": "v"}), ("2-0", {"g": "w", "h": "x"})]),
    ),
}


@pytest.mark.parametrize("kind", VALUES)
def test_values_of_every_type_are_written_and_read_directly(
    emulator: RedisEmulator, kind: str
) -> None:
    wanted, value = VALUES[kind]
    emulator[0]["key"] = {"old": "value"}
    emulator[0]["key"] = value
    assert emulator[0]["key"] == wanted
    assert type(emulator[0]["key"]) is type(wanted)
    with emulator.client() as client:
        kinds = {"list": "list", "tuple": "list", "hash": "hash", "set": "set", "frozen": "set"}
        kinds |= {"sorted set": "zset", "stream": "stream"}
        assert client.type("key") == kinds.get(kind, "string").encode()


def test_a_database_is_a_mutable_mapping(emulator: RedisEmulator) -> None:
    db, other = emulator[0], emulator[1]
    db.update(a="1", b="2", c=["x"])
    assert set(db) == {b"a", b"b", b"c"}
    assert len(db) == 3
    assert "a" in db
    assert b"a" in db
    number: Any = 1
    assert number not in db
    assert "a" not in other
    assert dict(db) == {b"a": b"1", b"b": b"2", b"c": [b"x"]}
    assert db.pop("a") == b"1"
    assert db.get("a") is None
    assert db.setdefault("a", "new") == "new"
    with pytest.raises(KeyError):
        del db["nothing"]
    with pytest.raises(KeyError):
        db["nothing"]
    db["c"] = []
    assert "c" not in db
    db.clear()
    assert not db
    with pytest.raises(IndexError):
        emulator[16]
    with pytest.raises(TypeError, match="not text"):
        db["a"] = object()
    with pytest.raises(TypeError, match="not text"):
        db["a"] = ["x", None]
    assert repr(db) == "<Database 0: 0 keys>"


def test_ttl_and_expire_of_a_database(emulator: RedisEmulator) -> None:
    db = emulator[0]
    db["k"] = "v"
    assert db.ttl("k") is None
    db.expire("k", 1.5)
    assert db.ttl("k") == 1.5
    emulator.clock.advance(1)
    assert db.ttl("k") == 0.5
    db.expire("k", None)
    emulator.clock.advance(1)
    assert db["k"] == b"v"
    db.expire("k", 1)
    db["k"] = "w"
    assert db.ttl("k") is None
    with pytest.raises(KeyError):
        db.ttl("nothing")
    with pytest.raises(KeyError):
        db.expire("nothing", 1)


def test_direct_writes_serve_blocked_clients_and_abort_transactions(
    emulator: RedisEmulator,
) -> None:
    with emulator.client() as client, emulator.client() as watching:
        connection = connection_of(client)
        connection.send_command("BLPOP", "queue", 0)
        emulator[0]["queue"] = ["job"]
        assert connection.read_response() == [b"queue", b"job"]
        pipeline = watching.pipeline()
        pipeline.watch("k")
        emulator[0]["k"] = "changed"
        pipeline.multi()
        pipeline.get("k")
        with pytest.raises(redis.WatchError):
            pipeline.execute()


def test_execute(emulator: RedisEmulator) -> None:
    execute = emulator.execute
    assert execute("SET", "k", 5) == b"OK"
    assert execute("INCRBY", b"k", 2) == 7
    assert execute("HSET", "h", "f", 1) == 1
    assert execute("HGETALL", "h") == {b"f": b"1"}
    assert execute("GET", "nothing") is None
    assert execute("BLPOP", "nothing", 0) is None
    with pytest.raises(redis.ResponseError, match="wrong kind"):
        execute("LPOP", "k")
    with pytest.raises(redis.ResponseError, match="unknown command"):
        execute("NOSUCH")
    execute("CONFIG", "SET", "requirepass", "secret")
    emulator.faults.loading.on()
    emulator.faults.fail("GET")
    assert execute("GET", "k") == b"7"
    assert emulator[0]["k"] == b"7"


def test_command_log_is_off_by_default(emulator: RedisEmulator) -> None:
    with emulator.client() as client:
        client.set("k", "v")
    assert len(emulator.log) == 0
    assert not emulator.engine.needs_full_checks


def test_entries_of_the_command_log() -> None:
    clock = ManualClock(1000)
    emulator = RedisEmulator(clock=clock, log=100)
    client = emulator.client(client_name="me", db=2)
    client.set("k", "a b")
    clock.advance(1.5)
    with pytest.raises(redis.ResponseError):
        client.lpop("k")
    entry, failed = emulator.log[-2:]
    assert (entry.at, entry.name, entry.db) == (1000, b"me", 2)
    assert entry.command == (b"SET", b"k", b"a b")
    assert entry.reply == b"OK"
    assert entry.client == client.client_id()
    assert (failed.at, failed.failed, entry.failed) == (1001.5, True, False)
    assert str(entry) == f"1000.000000 client {entry.client} db 2: SET k 'a b' -> b'OK'"
    assert [each.command[0] for each in emulator.log.of("l*")] == [b"LPOP"]
    emulator[0]["not"] = "a client's"
    assert emulator.log.of("SET") == [entry]
    emulator.log.clear()
    assert list(emulator.log) == []


def test_command_log_is_bounded_and_cleared_by_reset() -> None:
    emulator = RedisEmulator(log=10)
    with emulator.client() as client:
        for number in range(50):
            client.set("k", number)
        assert [entry.command[2] for entry in emulator.log][-2:] == [b"48", b"49"]
        assert len(emulator.log) == 10
        emulator.reset()
        assert len(emulator.log) == 0
        client.get("k")
        assert len(emulator.log) == 1


def test_command_log_of_transactions_and_blocked_commands() -> None:
    emulator = RedisEmulator(log=100)
    with emulator.client() as client:
        client.pipeline().set("k", 1).get("k").execute()
        replies = [(each.command[0], each.reply) for each in emulator.log][-4:]
        assert replies == [
            (b"MULTI", b"OK"),
            (b"SET", b"QUEUED"),
            (b"GET", b"QUEUED"),
            (b"EXEC", [b"OK", b"1"]),
        ]
        waiting = threading.Thread(target=client.blpop, args=(["list"], 10))
        waiting.start()
        while not emulator.log.of("BLPOP"):
            pass
        assert emulator.log.of("BLPOP")[0].reply is None
        emulator[0]["list"] = ["x"]
        waiting.join()
        assert emulator.log.of("BLPOP")[0].reply == [b"list", b"x"]


def test_same_seed_gives_the_same_random_results() -> None:
    def drawn(seed: int) -> list[object]:
        emulator = RedisEmulator(seed=seed, clock=ManualClock(0))
        emulator[0]["set"] = {str(number) for number in range(100)}
        found = [emulator.execute("SRANDMEMBER", "set", 5), emulator.execute("SPOP", "set", 5)]
        emulator.reset()
        emulator[0]["set"] = {str(number) for number in range(100)}
        assert emulator.execute("SRANDMEMBER", "set", 5) == found[0]
        return found

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_blocking_timeout_ends_when_the_clock_advances(emulator: RedisEmulator) -> None:
    with emulator.client() as client:
        connection = connection_of(client)
        connection.send_command("BLPOP", "list", 60)
        emulator.clock.advance(59.9)
        assert not connection.can_read()
        emulator.clock.advance(0.1)
        assert connection.read_response() is None


def test_named_emulators_are_shared() -> None:
    assert RedisEmulator.named("face") is RedisEmulator.named("face")
    assert RedisEmulator.named("face") is not RedisEmulator.named("other")


def test_restore_undoes_direct_writes(emulator: RedisEmulator) -> None:
    emulator[0]["k"] = ["a"]
    before = emulator.snapshot()
    emulator[0]["k"] = ["b"]
    emulator[1]["new"] = "x"
    emulator.restore(before)
    assert emulator[0]["k"] == [b"a"]
    assert not emulator[1]


def test_close_disconnects_clients(emulator: RedisEmulator) -> None:
    client = emulator.client()
    connection = connection_of(client)
    emulator.close()
    connection.send_command("PING")
    with pytest.raises(redis.ConnectionError):
        connection.read_response()
    client.close()


def test_dump_as_text_and_load(emulator: RedisEmulator) -> None:
    emulator[0]["list"] = ["a", "b"]
    emulator[3]["hash"] = {"f": 1}
    emulator[3].expire("hash", 60)
    text = emulator.dump()
    assert "list" in text
    assert "hash" in text
    copy = RedisEmulator()
    with emulator.client() as client:
        assert copy.load(client) == 2
    assert copy[0]["list"] == [b"a", b"b"]
    assert copy[3]["hash"] == {b"f": b"1"}
    assert 59 < (copy[3].ttl("hash") or 0) <= 60


@pytest.mark.parametrize(("version", "flavour"), [("1.0", "redis"), ("8.2", "memcached")])
def test_unknown_version_or_flavour_raises_value_error(version: str, flavour: str) -> None:
    with pytest.raises(ValueError, match=r"emulated|flavour"):
        RedisEmulator(version=version, flavour=flavour)
