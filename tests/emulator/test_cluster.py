"""The emulated cluster beside real ones: redirections, CLUSTER, scripts, replicas."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import pytest

from tests.emulator.pair import Connection, Pair, Wire
from tests.emulator.twin import Twin, unordered
from tests.topologies.processes import Cluster, until

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
_running: dict[str, Cluster] = {}

# Slots: b and bar are served by the first master, c by the second, foo by the third.


@pytest.fixture
def twin(request: pytest.FixtureRequest) -> Iterator[Twin]:
    name, protocol = request.param
    if name not in _running:
        _running[name] = Cluster(name)
    twin = Twin(_running[name], name, protocol)
    yield twin
    twin.close()


@pytest.fixture(scope="module", autouse=True)
def ended() -> Iterator[None]:
    yield
    while _running:
        _running.popitem()[1].stop()


def of_version(twin: Twin) -> tuple[str, tuple[int, int, int]]:
    version = twin.emulator._version
    return version.flavour, version.number


@pytest.mark.servers(*ALL)
def test_keys_lead_to_their_nodes(twin: Twin) -> None:
    twin.all(
        0,
        *("GET foo", "SET b 1", "GET b", "MGET b c", "MGET b foo", "DEL b bar"),
        *("MSET {b}1 1 {b}2 2", "MGET {b}1 {b}2", "GET", "FOO foo", "COPY b foo"),
        *("SORT c", "ZUNION 2 b foo", "XREAD COUNT 1 STREAMS foo 0", "OBJECT ENCODING foo"),
        *("WATCH foo", "WATCH b bar", "WATCH b", "UNWATCH", "DBSIZE", "RANDOMKEY FOO"),
        *("BLPOP foo 0", "EXISTS {}a", "EXISTS {b}{c}", "EXISTS foo{", "EXISTS {b"),
    )
    twin(1, "GET b")
    twin(2, "GET b")


@pytest.mark.servers(*ALL)
def test_databases(twin: Twin) -> None:
    twin.all(
        0,
        *("SET b 1", "SELECT 0", "SELECT 1", "SELECT x", "SELECT -1", "MOVE b 1", "MOVE b 0"),
        *("MOVE foo 0", "SWAPDB 0 1", "SWAPDB 0 0", "COPY b {b}y DB 0", "COPY b {b}z"),
        *("COPY b {b}x DB 1", "COPY b {b}x DB 99", "COPY b {b}x DB x"),
        *("REPLICAOF NO ONE", "FAILOVER", "CONFIG GET databases", "CONFIG GET cluster-enabled"),
    )


@pytest.mark.servers(*ALL)
def test_transactions(twin: Twin) -> None:
    twin.all(
        0,
        *("MULTI", "SET b 2", "GET foo", "EXEC", "MULTI", "SET b 2", "MGET b foo", "EXEC"),
        *("MULTI", "SET b 2", "INCR b", "EXEC", "MULTI", "SET b 1", "SET bar 1", "EXEC"),
        *("GET b", "MULTI", "EXEC", "EXEC", "MULTI", "GET b", "DISCARD", "GET b"),
        *("MULTI", "SET bar 1", "MGET b foo", "SET b 1", "EXEC", "MULTI", "WATCH foo", "DISCARD"),
    )


@pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
def test_shard_channels(twin: Twin) -> None:
    twin.all(0, "SPUBLISH foo x", "SPUBLISH b x", "PUBLISH foo x", "SSUBSCRIBE foo")
    twin(0, "SSUBSCRIBE b foo")
    twin(0, "SSUBSCRIBE b")


def test_messages_reach_other_nodes(twin: Twin) -> None:
    twin(1, "SUBSCRIBE news")
    twin(3, "SSUBSCRIBE {b}news")
    twin(0, "PUBLISH news hello")
    twin(0, "SPUBLISH {b}news hello")
    for place in (1, 3):
        emulated, real = twin.clients[place]
        assert emulated.read() == real.read()


@pytest.mark.servers(*ALL)
def test_replicas(twin: Twin) -> None:
    twin(0, "SET b 1")
    twin.in_step()
    twin.all(
        3,
        *("SET b x", "GET b", "READONLY", "GET b", "SET b 1", "GET foo", "MULTI", "GET b"),
        *("SET b 1", "EXEC", "MULTI", "GET b", "EXEC", "FLUSHALL", "FLUSHDB", "PUBLISH a b"),
        *("DBSIZE", "WATCH b", "UNWATCH", "BLPOP b 1", "XREAD STREAMS b 0", "WAIT 1 10"),
        *("COPY b {b} DB 1", "READWRITE", "GET b", "CLUSTER SETSLOT 3300 STABLE"),
        *("CLUSTER COUNTKEYSINSLOT 3300", "CLUSTER GETKEYSINSLOT 3300 1", "WATCH b"),
        *(f"CLUSTER REPLICATE {twin.ids[3]}", f"CLUSTER FORGET {twin.ids[0]}"),
        *("CLUSTER FLUSHSLOTS", "CLUSTER ADDSLOTS 1"),
    )
    twin(0, "WAIT 1 100")


def eval_(twin: Twin, place: int, source: str, *keys: str) -> Wire:
    return twin(place, "EVAL", source, len(keys), *keys)


@pytest.mark.servers(*ALL)
def test_scripts(twin: Twin) -> None:
    twin(0, "SET b 1")
    get = "return redis.call('get',KEYS[1])"
    eval_(twin, 0, get, "foo")
    eval_(twin, 0, get, "b")
    eval_(twin, 0, "return 1", "foo", "b")
    eval_(twin, 0, "return redis.call('get','b')")
    eval_(twin, 0, "return redis.call('get','bar')", "b")
    eval_(twin, 0, "redis.call('get','b') return redis.call('get','bar')")
    eval_(twin, 0, "return redis.call('cluster','myid')")
    eval_(twin, 0, "return redis.call('select',0)")
    twin(0, "MULTI")
    twin(0, "EVAL", "return 1", 1, "foo")
    twin(0, "EXEC")
    twin.in_step()
    twin(3, "READONLY")
    eval_(twin, 3, get, "b")
    eval_(twin, 3, "return redis.call('set',KEYS[1],1)", "b")
    eval_(twin, 3, "return 1")


@pytest.mark.servers("redis-8.2", "redis-7.0", "redis-6.2")
def test_scripts_that_leave_their_node(twin: Twin) -> None:
    eval_(twin, 0, "return redis.call('get','foo')", "b")
    eval_(twin, 0, "return redis.call('get','foo')")
    eval_(twin, 0, "return redis.call('mget','bar','b')")
    eval_(twin, 0, "return redis.pcall('get','foo')", "b")
    eval_(twin, 0, "return redis.call('select',1)")
    eval_(twin, 0, "return redis.call('sort','{b}l','by','foo*')")


@pytest.mark.servers("redis-8.2", "redis-7.0")
def test_scripts_with_flags(twin: Twin) -> None:
    twin(0, "SET b 1")
    two = "redis.call('get','bar') return redis.call('get','b')"
    eval_(twin, 0, f"#!lua\n{two}")
    eval_(twin, 0, "#!lua\nreturn redis.call('get','bar')", "b")
    eval_(twin, 0, "#!lua\nreturn redis.call('get','b')")
    eval_(twin, 0, "#!lua\nreturn redis.call('get','foo')")
    eval_(twin, 0, "#!lua flags=no-cluster\nreturn 1")
    eval_(twin, 0, f"#!lua flags=allow-cross-slot-keys\n{two}")
    eval_(twin, 0, f"#!lua flags=allow-cross-slot-keys\n{two}", "b")
    eval_(twin, 0, "#!lua flags=allow-cross-slot-keys\nreturn redis.call('get','foo')", "b")
    eval_(twin, 0, "#!lua flags=allow-cross-slot-keys\nreturn redis.call('mget','b','bar')", "b")
    eval_(twin, 0, "#!lua flags=allow-cross-slot-keys\nreturn 1", "b", "bar")
    twin.in_step()
    twin(3, "READONLY")
    eval_(twin, 3, "#!lua\nreturn 1")
    eval_(twin, 3, "#!lua\nreturn 1", "b")
    eval_(twin, 3, "#!lua flags=no-writes\nreturn redis.call('get',KEYS[1])", "b")
    twin(3, "EVAL_RO", "return redis.call('get',KEYS[1])", 1, "b")
    library = (
        "#!lua name=l\nredis.register_function('f', function(k) return redis.call('get', k[1]) end)"
        "\nredis.register_function{function_name='n', callback=function() return 1 end, "
        "flags={'no-cluster'}}"
    )
    twin(0, "FUNCTION", "LOAD", library)
    twin.all(0, "FCALL f 1 b", "FCALL f 1 foo", "FCALL n 0", "FUNCTION FLUSH")


@pytest.mark.servers(*ALL)
def test_sort(twin: Twin) -> None:
    twin.all(
        0,
        *("SORT b BY foo*", "SORT {b}l BY {b}w_*", "SORT {b}l BY nosort", "SORT {b}l GET #"),
        *("SORT {b}l BY {b}*", "SORT {b}l GET foo*", "SORT {b}l GET {b}x", "SORT {b}l GET x"),
        *("SORT {b}l BY {c}*", "SORT {b}l BY *{b}", "SORT {b}l STORE foo"),
    )


@pytest.mark.servers(*ALL)
def test_a_slot_on_its_way(twin: Twin) -> None:
    first, second = twin.ids[0], twin.ids[1]
    twin.all(0, "SET {b}1 1", "SET {b}2 2")
    twin(1, f"CLUSTER SETSLOT 3300 IMPORTING {first}")
    twin(0, f"CLUSTER SETSLOT 3300 MIGRATING {second}")
    for place in (0, 1, 3):
        twin(place, "CLUSTER NODES", key=nodes)
    twin.all(
        0,
        *("GET {b}1", "GET b", "SET b 1", "MGET {b}1 b", "MGET b {b}9", "MGET {b}1 {b}2"),
        *("MULTI", "GET b", "EXEC", "MULTI", "GET {b}1", "SET {b}1 2", "EXEC"),
    )
    twin.all(
        1,
        *("GET {b}1", "ASKING", "GET b", "GET b", "ASKING", "MGET {b}1 b", "ASKING"),
        *("SET {b}5 1", "ASKING", "MGET {b}5 b", "ASKING", "MGET {b}5", "MGET {b}5"),
        *("ASKING", "MULTI", "GET b", "GET b", "EXEC", "GET b", "MULTI", "ASKING", "GET b"),
        *("EXEC", "ASKING", "PING", "GET b", "ASKING", "ASKING", "GET b", "RESTORE {b}7 0 x"),
    )
    twin(1, "ASKING")
    eval_(twin, 1, "return redis.call('get','b')", "b")
    eval_(twin, 0, "return 1", "b")
    eval_(twin, 0, "return 1", "{b}1", "b")
    twin.in_step()
    twin.all(3, "READONLY", "GET b", "GET {b}1", "MGET {b}1 b")
    to = f"MIGRATE 127.0.0.1 {twin.ports[1]}"
    twin.all(
        0,
        *(f"{to} b 0 1000", f"{to} {{b}}1 0 1000 COPY", f"{to} {{b}}1 0 1000"),
        *(f"{to} {{b}}1 0 1000 REPLACE", f"{to} {{b}}1 0 1000", f"{to} {{b}}2 x 1000"),
        *(f"{to} {{b}}2 0 x", f"{to} {{b}}2 0 10 FOO", f"{to} {{b}}2 0 10 KEYS {{b}}2"),
        *(f"{to} {{b}}2 0 10 AUTH", f"{to} {{b}}2 0 1000 AUTH x", f"{to} {{b}}2 1 1000"),
        f"{to} {{b}}2 0 1000 AUTH2 x y",
        *(f"MIGRATE 127.0.0.1 {twin.ports[place]} {{b}}2 0 1000" for place in (2, 3, 4)),
    )
    to_all = ("MIGRATE", "127.0.0.1", twin.ports[1], "", 0, 1000)
    twin(0, *to_all, "KEYS", "{b}3")
    twin(0, *to_all, "KEYS", "{b}3", "foo")
    twin(0, *to_all)
    twin(0, f"CLUSTER SETSLOT 3300 NODE {second}")
    twin(0, *to_all, "REPLACE", "KEYS", "{b}2", "{b}3")
    twin(1, f"CLUSTER SETSLOT 3300 NODE {second}")
    twin(0, f"CLUSTER SETSLOT 3300 NODE {second}")
    twin.agree()
    twin.all(0, "GET {b}1", "CLUSTER COUNTKEYSINSLOT 3300")
    twin.all(1, "MGET {b}1 {b}2 {b}5", "CLUSTER SLOTS", "DEL {b}1 {b}2 {b}5")
    twin(0, "CLUSTER NODES", key=nodes)
    twin(0, f"CLUSTER SETSLOT 3300 IMPORTING {second}")
    twin(1, f"CLUSTER SETSLOT 3300 MIGRATING {first}")
    twin(0, f"CLUSTER SETSLOT 3300 NODE {first}")
    twin(1, f"CLUSTER SETSLOT 3300 NODE {first}")
    twin.agree()
    twin(0, "CLUSTER SLOTS")


@pytest.mark.servers(*ALL)
def test_who_waits_for_a_key_is_led_after_it(twin: Twin) -> None:
    waiting = twin.connect(0)
    for connection in waiting:
        connection.send([b"BLPOP", b"b", b"0"])
    twin(1, f"CLUSTER SETSLOT 3300 IMPORTING {twin.ids[0]}")
    twin(1, f"CLUSTER SETSLOT 3300 NODE {twin.ids[1]}")
    emulated, real = waiting
    assert emulated.read() == real.read()
    twin(0, f"CLUSTER SETSLOT 3300 IMPORTING {twin.ids[1]}")
    twin(0, f"CLUSTER SETSLOT 3300 NODE {twin.ids[0]}")
    twin.agree()
    for connection in waiting:
        connection.close()


@pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
def test_shard_channels_end_with_their_slot(twin: Twin) -> None:
    listening = twin.connect(0)
    for connection in listening:
        connection("SSUBSCRIBE", "{b}x")
    twin(1, f"CLUSTER SETSLOT 3300 IMPORTING {twin.ids[0]}")
    twin(1, f"CLUSTER SETSLOT 3300 NODE {twin.ids[1]}")
    emulated, real = listening
    assert emulated.read() == real.read()
    assert emulated("SSUBSCRIBE", "{b}x") == real("SSUBSCRIBE", "{b}x")
    twin(0, f"CLUSTER SETSLOT 3300 IMPORTING {twin.ids[1]}")
    twin(0, f"CLUSTER SETSLOT 3300 NODE {twin.ids[0]}")
    twin.agree()
    for connection in listening:
        connection.close()


def test_askings_end(twin: Twin) -> None:
    twin(1, f"CLUSTER SETSLOT 3300 IMPORTING {twin.ids[0]}")
    for between in ("FOO", "GET", "PING", "CLUSTER FOO"):
        twin.all(1, "ASKING", between, "GET b")
    twin(1, "CLUSTER SETSLOT 3300 STABLE")


@pytest.mark.servers("redis-8.2", "redis-7.0", "redis-6.2")
def test_a_slot_on_its_way_to_itself(twin: Twin) -> None:
    twin(0, f"CLUSTER SETSLOT 3300 MIGRATING {twin.ids[0]}")
    twin.all(0, "GET b", "SET b 1", "MGET b {b}1", "CLUSTER SETSLOT 3300 STABLE")


@pytest.mark.servers(*ALL)
def test_what_a_node_tells(twin: Twin) -> None:
    for place in (0, 1, 3):
        twin(place, "CLUSTER INFO", key=without_messages)
        twin(place, "CLUSTER NODES", key=nodes)
        twin(place, "CLUSTER SLOTS")
        twin(place, "CLUSTER MYID")
        twin(place, "ROLE", key=numberless)
        twin(place, "INFO replication", key=fields)
        twin(place, "INFO cluster")
        twin(place, "HELLO", key=lambda reply: repr(numberless(reply)).partition("modules")[0])
        twin(place, f"CLUSTER REPLICAS {twin.ids[0]}", key=timeless)
    twin.all(0, "CLUSTER HELP", "CLUSTER KEYSLOT a{b}c", "CLUSTER KEYSLOT {}x")
    if of_version(twin)[1] >= (7, 0):
        for place in (0, 3):
            twin(place, "CLUSTER SHARDS", key=shards)
            twin(place, "CLUSTER LINKS", key=lambda reply: unordered(numberless(reply)))


@pytest.mark.servers(*ALL)
def test_what_a_node_announces(twin: Twin) -> None:
    modern = of_version(twin)[1] >= (7, 0)
    announced = {"ip": "127.0.0.2"}
    if modern:
        bus = twin.ports[0] + 10_000
        announced |= {"port": "7777", "bus-port": str(bus), "hostname": "a.example"}
    for name, value in announced.items():
        twin(0, "CONFIG", "SET", f"cluster-announce-{name}", value)
    places = [real for _, real in twin.clients]
    until("the nodes know", lambda: all(b"127.0.0.2" in r("CLUSTER NODES")[1] for r in places))
    if modern:
        until("the name is known", lambda: all(b"a.ex" in r("CLUSTER NODES")[1] for r in places))
    for place in (0, 1):
        for kind in ("ip", "hostname", "unknown-endpoint", "ip") if modern else ("",):
            if kind:
                twin(place, f"CONFIG SET cluster-preferred-endpoint-type {kind}")
                twin(place, "CLUSTER SHARDS", key=shards)
            twin(place, "CLUSTER SLOTS", key=unordered)
            twin.all(place, "GET b", "GET foo")
            twin(place, "CLUSTER NODES", key=places_of)
    for name in announced:
        at = "127.0.0.1" if name == "ip" else twin.ports[0] if name == "port" else ""
        twin(0, "CONFIG", "SET", f"cluster-announce-{name}", at or (0 if "port" in name else ""))
    until("the address is back", lambda: all(not_moved(r) for r in places))
    until("all is well", lambda: all(b"state:ok" in r("CLUSTER INFO")[1] for r in places))
    until("the name is gone", lambda: all(b"a.ex" not in r("CLUSTER NODES")[1] for r in places))
    twin.agree()
    until("the replica is back", lambda: twin.clients[0][1]("WAIT 1 100")[1] == b"1")


def not_moved(real: Connection) -> bool:
    return re.search(rb"127.0.0.2|7777@", real("CLUSTER NODES")[1]) is None


def places_of(reply: Wire) -> list[list[str]]:
    """The nodes with what they announce."""
    return sorted(line.split()[:2] for line in text_of(reply).splitlines() if line)


def test_shards_have_names(twin: Twin) -> None:
    for _, real in twin.clients:
        assert len(real("CLUSTER MYSHARDID")[1]) == 40
    names = [emulated("CLUSTER MYSHARDID")[1] for emulated, _ in twin.clients]
    assert names[:3] == names[3:]
    assert len(set(names)) == 3


@pytest.mark.servers("valkey-9.1")
def test_a_replica_parts(twin: Twin) -> None:
    twin.all(0, "SET b 1", "CLUSTER REPLICATE NO ONE", "CLUSTER REPLICATE NO TWO")
    twin.all(0, "CLUSTER REPLICATE x y z", "CLUSTER FAILOVER FORCE TAKEOVER")
    twin.in_step()
    twin.all(3, "READONLY", "GET b", "CLUSTER REPLICATE no TWO", "CLUSTER REPLICATE no one")
    twin.all(3, "DBSIZE", "GET b", "CLUSTER REPLICATE no one")
    twin(3, "ROLE", key=numberless)
    twin(3, f"CLUSTER REPLICATE {twin.ids[0]}")
    twin.agree()
    until("the replica is back", lambda: twin.clients[0][1]("WAIT 1 100")[1] == b"1")


@pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
def test_clients_of_a_master_that_steps_down(twin: Twin) -> None:
    waiting, listening = twin.connect(0), twin.connect(0)
    for place, words in ((waiting, (b"BLPOP", b"b", b"0")), (listening, (b"SSUBSCRIBE", b"b"))):
        for connection in place:
            connection.send(words)
    assert listening[0].read() == listening[1].read()
    real = twin.clients[0][1]
    until("it waits", lambda: b"blocked_clients:1\r" in real("INFO clients")[1])
    twin(3, "CLUSTER FAILOVER TAKEOVER")
    for emulated, server in (waiting, listening):
        assert emulated.read() == server.read()
        emulated.close()
        server.close()
    twin.agree()
    until("the old master follows", lambda: twin.clients[3][1]("WAIT 1 100")[1] == b"1")
    twin(0, "CLUSTER FAILOVER TAKEOVER")
    twin.agree()
    until("the replica is back", lambda: twin.clients[0][1]("WAIT 1 100")[1] == b"1")


@pytest.mark.servers(*ALL)
def test_wrong_commands(twin: Twin) -> None:
    unknown = "f" * 40
    me, other, replica = twin.ids[0], twin.ids[1], twin.ids[4]
    twin(0, "SET b 1")
    twin.all(
        0,
        *("CLUSTER", "CLUSTER FOO", "CLUSTER KEYSLOT", "CLUSTER KEYSLOT a b", "CLUSTER SLOTS x"),
        *(f"CLUSTER COUNTKEYSINSLOT {slot}" for slot in (3300, -1, 16384, 12182, "x")),
        *(f"CLUSTER GETKEYSINSLOT {slot}" for slot in ("3300 10", "3300 -1", "3300 x", "x 1")),
        *("CLUSTER GETKEYSINSLOT 16384 1", "CLUSTER GETKEYSINSLOT 3300 0"),
        *(f"CLUSTER ADDSLOTS {slot}" for slot in (1, -1, 16384, "x", "1 1")),
        *("CLUSTER DELSLOTS x", "CLUSTER DELSLOTS 16384", "CLUSTER FLUSHSLOTS"),
        *("CLUSTER SETSLOT 3300", "CLUSTER SETSLOT 3300 FOO", "CLUSTER SETSLOT 3300 MIGRATING"),
        *("CLUSTER SETSLOT x STABLE", "CLUSTER SETSLOT 99999 STABLE", "CLUSTER SETSLOT 1 NODE"),
        *("CLUSTER SETSLOT 3300 STABLE x", "CLUSTER SETSLOT 3300 STABLE"),
        f"CLUSTER SETSLOT 3300 MIGRATING {unknown}",
        f"CLUSTER SETSLOT 3300 IMPORTING {other}",
        f"CLUSTER SETSLOT 12182 MIGRATING {other}",
        f"CLUSTER SETSLOT 12182 IMPORTING {unknown}",
        *(f"CLUSTER SETSLOT 3300 NODE {name}" for name in (unknown, other)),
        *(f"CLUSTER REPLICATE {name}" for name in (unknown, me, other, replica, "x")),
        *(f"CLUSTER REPLICAS {name}" for name in (unknown, replica, "x")),
        *("CLUSTER FAILOVER", "CLUSTER FAILOVER FORCE", "CLUSTER FAILOVER FOO"),
        *("CLUSTER FAILOVER FORCE x", "CLUSTER RESET", "CLUSTER RESET FOO", "CLUSTER RESET SOFT x"),
        *(f"CLUSTER FORGET {name}" for name in (unknown, me, "x")),
        *(f"CLUSTER MEET {where}" for where in ("x", "x 1", "127.0.0.1 x", "127.0.0.1 0")),
        *(f"CLUSTER MEET 127.0.0.1 {port}" for port in (70000, "7000 x", "7000 70000", "7000 0")),
        *("CLUSTER MEET a b c d e", "CLUSTER BUMPEPOCH x", "CLUSTER SAVECONFIG"),
        *(f"CLUSTER SET-CONFIG-EPOCH {epoch}" for epoch in ("x", -1, 5)),
        *(f"CLUSTER COUNT-FAILURE-REPORTS {name}" for name in (unknown, other)),
        *("ASKING x", "READONLY x", "ASKING", "READONLY", "READWRITE"),
    )


@pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
def test_ranges_and_replicas_as_targets(twin: Twin) -> None:
    replica = twin.ids[4]
    twin.all(
        0,
        *(f"CLUSTER ADDSLOTSRANGE {slots}" for slots in ("1 2", "2 1", "2", "2 x", "2 3 4")),
        *(f"CLUSTER DELSLOTSRANGE {slots}" for slots in ("2 1", "2 x", "1 2 3")),
        f"CLUSTER SETSLOT 3300 MIGRATING {replica}",
        f"CLUSTER SETSLOT 12182 IMPORTING {replica}",
        f"CLUSTER SETSLOT 12182 NODE {replica}",
    )


@pytest.mark.servers("redis-8.2", "valkey-9.1")
def test_slot_statistics(twin: Twin) -> None:
    twin.all(0, "MSET {b}1 1 {b}2 2", "SET bar 1")
    twin.all(
        0,
        *(f"CLUSTER SLOT-STATS SLOTSRANGE {slots}" for slots in ("0 1", "5460 5462", "3300 3300")),
        *(f"CLUSTER SLOT-STATS SLOTSRANGE {slots}" for slots in ("2 1", "x 1", "0 16384")),
        *("CLUSTER SLOT-STATS", "CLUSTER SLOT-STATS SLOTSRANGE 0", "CLUSTER SLOT-STATS FOO 0 1"),
        "CLUSTER SLOT-STATS SLOTSRANGE 0 1 2",
        *(f"CLUSTER SLOT-STATS ORDERBY {how}" for how in ("key-count LIMIT 3", "KEY-COUNT ASC")),
        *(f"CLUSTER SLOT-STATS ORDERBY {how}" for how in ("foo", "cpu-usec LIMIT 1")),
        *(f"CLUSTER SLOT-STATS ORDERBY key-count {how}" for how in ("LIMIT 0", "LIMIT x")),
        *(f"CLUSTER SLOT-STATS ORDERBY key-count {how}" for how in ("DESC ASC", "FOO", "LIMIT")),
        "CLUSTER SLOT-STATS ORDERBY key-count ASC LIMIT 2",
        "CLUSTER SLOT-STATS ORDERBY key-count LIMIT 1 LIMIT 2",
    )


def test_slots_that_nobody_serves(twin: Twin) -> None:
    twin(0, "CLUSTER DELSLOTS 0")
    twin.all(
        0,
        *("CLUSTER DELSLOTS 0", "GET b", "SET b 1", "PING", "DBSIZE", "MULTI", "GET b", "EXEC"),
        *("SPUBLISH b 1", "SSUBSCRIBE {06S}", "SET {06S} 1"),
    )
    twin(0, "CLUSTER INFO", key=without_messages)
    eval_(twin, 0, "return 1", "b")
    eval_(twin, 0, "return 1")
    eval_(twin, 0, "return redis.call('get','b')")
    eval_(twin, 0, "return redis.call('set','{06S}',1)")
    twin(0, "CLUSTER ADDSLOTS 0 0")
    twin(0, "CLUSTER ADDSLOTS 0")


FIRST = re.compile(rb"^[^-]+-(?={\w+}-\d+$)")


def portable(reply: Wire) -> str:
    """A reply of CLUSTERSCAN without the node's fingerprint, its keys in any order."""
    if reply[0] != "*":
        return repr(reply)
    (_, cursor), keys = reply[1]
    return FIRST.sub(b"", cursor).decode() + repr(unordered(keys))


def walk(twin: Twin, *options: str) -> None:
    """Scan both clusters to the end: each must tell all keys that the real one has, once."""
    found = []
    for side in (0, 1):
        keys, cursor, place = [], b"0", 0
        while True:
            kind, told = twin.clients[place][side]("CLUSTERSCAN", cursor, *options)
            if kind == "-":
                place = twin.ports.index(int(told.rpartition(b":")[2]))
                continue
            cursor = told[0][1]
            keys += [key for _, key in told[1][1]]
            if cursor == b"0":
                break
        found.append(sorted(keys))
    assert found[0] == found[1]


@pytest.mark.servers("valkey-9.1")
def test_scanning_the_cluster(twin: Twin) -> None:
    for place, key in enumerate(("b", "c", "foo")):
        twin(place, "MSET", *(word for n in range(30) for word in (f"{{{key}}}{n}", n)))
    twin(0, "SET bar 1")
    twin(0, "LPUSH 06S 1")
    for options in ("", "COUNT 1", "COUNT 1000", "MATCH *1*", "MATCH {c}1*", "MATCH bar"):
        walk(twin, *options.split())
    for options in ("MATCH nothing", "MATCH ", "TYPE list", "TYPE string COUNT 3", "MATCH {}1"):
        walk(twin, *options.split(" "))


@pytest.mark.servers("valkey-9.1")
def test_cursors_of_the_cluster(twin: Twin) -> None:
    twin.all(0, "SET b 1", "SET bar 1", "LPUSH 06S 1")
    twin(2, "SET foo 1")
    for cursor in (
        *(
            "0",
            "0-{06S}-0",
            "0-{b}-0",
            "0-{bar}-0",
            "0-{8M}-0",
            "0-{9Le}-0",
            "0-{b}1-0",
            "0-x{b}-0",
        ),
        *(
            "0-{b}-01",
            "0-{b}-+1",
            "0-{b}--1",
            "0-{b}-x",
            "0-{b}-",
            "0-{b}",
            "0-{b}0",
            "0{b}-0",
            "{b}",
        ),
        *("0-{b}-0-1", "0-{b}-0x1", "0-{b}-99999999999999999999", "-{b}-0", "xx-{b}-68836", ""),
        *(
            "0-foo-0",
            "1-b-0",
            "2-b-0",
            "3-b-0",
            "4-b-0",
            "00",
            "x",
            "1",
            "-",
            "0-{b}-18446744073709551615",
        ),
    ):
        for place in (0, 1, 2, 3):
            twin(place, "CLUSTERSCAN", cursor, key=portable)
    for options in (
        *(
            "COUNT 1",
            "COUNT 2",
            "COUNT 3",
            "COUNT 0",
            "COUNT x",
            "TYPE list",
            "TYPE foo",
            "NOVALUES",
        ),
        *(
            "FOO",
            "FOO BAR",
            "MATCH",
            "SLOT",
            "SLOT 0",
            "SLOT 3300",
            "SLOT x",
            "SLOT -1",
            "SLOT 16384",
        ),
        *("SLOT 0 SLOT 0", "SLOT 0 SLOT x", "SLOT 3300 FOO", "SLOT 99999 FOO", "SLOT 0 COUNT 1"),
        *(
            "MATCH b",
            "MATCH b?",
            "MATCH {b}*",
            "MATCH a{b}?",
            "MATCH *{b}",
            "MATCH {b[a]}*",
            "MATCH b[",
        ),
        *(
            "MATCH {}*",
            "MATCH {}x",
            "MATCH {b",
            "MATCH b]",
            "MATCH {b}[",
            "MATCH {b\\a}*",
            "MATCH b\\a",
        ),
        *("MATCH {06S}*", "MATCH 06S", "MATCH {foo}*", "MATCH {b}* SLOT 0", "MATCH 06S SLOT 0"),
        *("MATCH {b}* SLOT 3300", "MATCH nothing TYPE set", "MATCH 06? COUNT 1"),
    ):
        for place, cursor in ((0, "0-{06S}-0"), (0, "0-{b}-0"), (0, "x{06S}"), (2, "0")):
            twin(place, "CLUSTERSCAN", cursor, *options.split(), key=portable)
    twin.in_step()
    twin(3, "READONLY")
    twin(3, "CLUSTERSCAN 0-{06S}-0 COUNT 1", key=portable)
    twin.all(0, "MULTI", "CLUSTERSCAN 0-{foo}-0", "EXEC", "MULTI", "CLUSTERSCAN 0-{b}-0", "GET bar")
    twin.all(0, "EXEC", "CLUSTERSCAN", "COMMAND GETKEYS CLUSTERSCAN 0-{b}-0")
    eval_(twin, 0, "return redis.call('CLUSTERSCAN','0-{bar}-0')")
    eval_(twin, 0, "return redis.call('CLUSTERSCAN','0')")
    twin(1, f"CLUSTER SETSLOT 3300 IMPORTING {twin.ids[0]}")
    twin(0, f"CLUSTER SETSLOT 3300 MIGRATING {twin.ids[1]}")
    for place, command in ((0, ""), (1, ""), (1, "ASKING"), (3, "")):
        if command:
            twin(place, command)
        twin(place, "CLUSTERSCAN 0-{b}-0", key=portable)
    twin(0, "CLUSTERSCAN 0-{06S}-0 COUNT 2", key=portable)
    twin(0, "CLUSTER SETSLOT 3300 STABLE")
    twin(1, "CLUSTER SETSLOT 3300 STABLE")


@pytest.mark.servers("valkey-9.1")
def test_flushing_a_slot(twin: Twin) -> None:
    twin.all(
        0,
        *(
            "MSET {b}1 1 {b}2 2",
            "SET bar 1",
            "CLUSTER FLUSHSLOT 3300",
            "DBSIZE",
            "SET b 1",
            "WATCH b",
        ),
        *("CLUSTER FLUSHSLOT 3300 SYNC", "MULTI", "PING", "EXEC", "CLUSTER FLUSHSLOT 5061 async"),
        *(
            f"CLUSTER FLUSHSLOT {words}"
            for words in ("x", "-1", "16384", "x FOO", "1 FOO", "1 SYNC SYNC")
        ),
        *("DBSIZE", "CLUSTER FLUSHSLOT", "CLUSTER FLUSHSLOT 12182", "SET b 1", "MULTI"),
        *("CLUSTER FLUSHSLOT 3300", "EXEC", "DBSIZE", "SET {b}1 1"),
        "CONFIG SET notify-keyspace-events KEA",
    )
    twin(3, "CLUSTER FLUSHSLOT 3300")
    listening = twin.connect(0)
    for connection in listening:
        connection("PSUBSCRIBE", "__key*")
    twin(0, "CLUSTER FLUSHSLOT 3300")
    emulated, real = listening
    for _ in range(2):
        assert emulated.read() == real.read()
    twin(0, "CONFIG", "SET", "notify-keyspace-events", "")
    for connection in listening:
        connection.close()


def jobs(reply: Wire) -> str:
    """A reply of GETSLOTMIGRATIONS without names of jobs, times and memory."""
    fixed = []
    for _, content in reply[1]:
        pairs = (
            content
            if isinstance(content[0][0], tuple)
            else zip(content[::2], content[1::2], strict=True)
        )
        told = {name[1]: value for name, value in pairs}
        assert len(told.pop(b"name")[1]) == 40
        for name in (b"create_time", b"last_update_time", b"last_ack_time", b"cow_size"):
            told[name] = told[name][0]
        fixed.append(list(told.items()))
    return reply[0] + repr(fixed)


def forget_jobs(twin: Twin) -> None:
    """Empty the lists of jobs of all nodes on both sides."""
    for place, (emulated, real) in enumerate(twin.clients):
        for client in (emulated, real):
            client("CONFIG SET cluster-slot-migration-log-max-len 0")
        until("jobs are forgotten", lambda r=real: not r("CLUSTER GETSLOTMIGRATIONS")[1])
        twin(place, "CLUSTER GETSLOTMIGRATIONS")
        twin(place, "CONFIG SET cluster-slot-migration-log-max-len 1000")


def migrated(twin: Twin, place: int) -> None:
    """Wait until the real node tells of its jobs what the emulated one tells."""
    emulated, real = twin.clients[place]
    asked = "CLUSTER GETSLOTMIGRATIONS"
    with contextlib.suppress(AssertionError):
        until("the jobs have ended", lambda: jobs(real(asked)) == jobs(emulated(asked)))
    twin(place, asked, key=jobs)


@pytest.mark.servers("valkey-9.1")
def test_slots_migrate_by_themselves(twin: Twin) -> None:
    forget_jobs(twin)
    first, second, third = twin.ids[:3]
    twin.all(0, "SET {b}1 1 EX 1000", "HSET {b}h f 1", "SET {b}w 1", "SET bar 1")
    waiting, watching, listening = (twin.connect(0) for _ in range(3))
    events = twin.connect(1)
    twin(1, "CONFIG SET notify-keyspace-events KA")
    for side in (0, 1):
        waiting[side].send([b"BLPOP", b"b", b"0"])
        watching[side]("WATCH {b}w")
        listening[side]("SSUBSCRIBE {b}x")
        events[side]("PSUBSCRIBE __key*")
    for slots, node in (("3300 3300 10 20", second), ("30 30", third)):
        twin(0, f"CLUSTER MIGRATESLOTS SLOTSRANGE {slots} NODE {node}")
        migrated(twin, 0)
    for place in (0, 1, 2, 3, 4):
        migrated(twin, place)
    for emulated, real in (waiting, listening):
        assert emulated.read() == real.read()
    told = [sorted(repr(client.read()) for _ in range(4)) for client in events]
    assert told[0] == told[1]
    twin(1, "CONFIG", "SET", "notify-keyspace-events", "")
    for command in ("MULTI", "PING", "EXEC"):
        assert watching[0](command) == watching[1](command)
    twin.agree()
    twin.all(0, "GET {b}1", "DBSIZE", "CLUSTER SLOTS", "CLUSTER COUNTKEYSINSLOT 3300")
    twin.all(1, "GET {b}1", "HGET {b}h f")
    twin(1, "TTL {b}1", key=lambda reply: int(reply[1]) > 900)
    twin(0, "CLUSTER NODES", key=nodes)
    twin(1, f"CLUSTER MIGRATESLOTS SLOTSRANGE 10 20 3300 3300 NODE {first}")
    twin(2, f"CLUSTER MIGRATESLOTS SLOTSRANGE 30 30 NODE {first}")
    for place in (2, 1):
        migrated(twin, place)
    twin.agree()
    twin(0, "CLUSTER SLOTS")
    twin(0, "GET {b}1")
    twin(0, "CONFIG SET cluster-slot-migration-log-max-len 1")
    until("the log is short", lambda: len(twin.clients[0][1]("CLUSTER GETSLOTMIGRATIONS")[1]) == 1)
    assert len(twin.clients[0][0]("CLUSTER GETSLOTMIGRATIONS")[1]) == 1
    twin(0, "CONFIG SET cluster-slot-migration-log-max-len 1000")
    for pair in (waiting, watching, listening, events):
        for connection in pair:
            connection.close()


@pytest.mark.servers("valkey-9.1")
def test_wrong_migrations(twin: Twin) -> None:
    first, second, third = twin.ids[:3]
    unknown = "f" * 40
    for words in (
        *(
            "a b",
            "SLOTSRANGE 0",
            "SLOTSRANGE 0 1",
            "SLOTSRANGE 0 1 NODE",
            "SLOTSRANGE 0 1 2 NODE $1",
        ),
        *(
            "SLOTSRANGE 0 1 FOO $1",
            "SLOTSRANGE NODE $1",
            "SLOTSRANGE 0 NODE $1",
            "SLOTSRANGE 1 x NODE $1",
        ),
        *("SLOTSRANGE x 1 NODE $1", "SLOTSRANGE -1 1 NODE $1", "SLOTSRANGE 1 16384 NODE $1"),
        *(
            "SLOTSRANGE 2 1 NODE $1",
            "SLOTSRANGE 0 1 NODE x",
            "SLOTSRANGE 0 1 NODE $?",
            "SLOTSRANGE 0 1 NODE $0",
        ),
        *(
            "SLOTSRANGE 12182 12182 NODE $2",
            "SLOTSRANGE 12182 12182 NODE x",
            "SLOTSRANGE 12182 12182 FOO",
        ),
        *(
            "SLOTSRANGE 5460 5461 NODE $1",
            "SLOTSRANGE 0 1 1 2 NODE $1",
            "SLOTSRANGE 5 6 0 3 2 5 NODE $1",
        ),
        *(
            "SLOTSRANGE 0 1 1 5461 NODE $1",
            "SLOTSRANGE 5461 5461 0 0 NODE $1",
            "SLOTSRANGE 0 1 x 2 NODE $1",
        ),
        *(
            "SLOTSRANGE 0 1 NODE $1 SLOTSRANGE 1 1 NODE $2",
            "SLOTSRANGE 0 1 NODE $1 FOO",
            "SLOTSRANGE 1.5 2",
        ),
        *(
            "SLOTSRANGE 0 1 NODE $1 SLOTSRANGE",
            "SLOTSRANGE 0 1 NODE $1 SLOTSRANGE 3 4",
            "slotsrange 0 x",
        ),
        *("SLOTSRANGE 0 1 NODE $1 NODE $2", "SLOTSRANGE 0 1 NODE $1 SLOTSRANGE 12182 12182 NODE x"),
        *("SLOTSRANGE 99999999999999999999 1 NODE $1", "SLOTSRANGE 0 1 5 6 3 1 NODE $1"),
    ):
        for name, node in (("$0", first), ("$1", second), ("$2", third), ("$?", unknown)):
            words = words.replace(name, node)
        twin(0, f"CLUSTER MIGRATESLOTS {words}")
    twin(3, f"CLUSTER MIGRATESLOTS FOO 1 NODE {second}")
    twin.all(
        0, "CLUSTER MIGRATESLOTS", "CLUSTER GETSLOTMIGRATIONS x", "CLUSTER CANCELSLOTMIGRATIONS"
    )
    twin.all(
        0,
        "CLUSTER MIGRATESLOTS a",
        f"CLUSTER SETSLOT 9 MIGRATING {second}",
        "CLUSTER MIGRATESLOTS a b",
    )
    twin.all(0, "CLUSTER SETSLOT 9 STABLE", f"CLUSTER SETSLOT 5461 IMPORTING {second}")
    twin.all(0, "CLUSTER MIGRATESLOTS a b", "CLUSTER SETSLOT 5461 STABLE")


@pytest.mark.servers("valkey-9.1")
def test_migrations_that_end_early(twin: Twin) -> None:
    forget_jobs(twin)
    first, second, third, replica = twin.ids[:4]
    for command in (
        "MULTI",
        f"CLUSTER MIGRATESLOTS SLOTSRANGE 0 1 NODE {second} SLOTSRANGE 5 6 NODE {third}",
        f"CLUSTER MIGRATESLOTS SLOTSRANGE 8 9 NODE {second}",
        f"CLUSTER MIGRATESLOTS SLOTSRANGE 9 9 NODE {second}",
        "CLUSTER MIGRATESLOTS SLOTSRANGE 7 9 NODE x",
        "CLUSTER SETSLOT 8 STABLE",
        "CLUSTER SETSLOT x FOO",
        "CLUSTER CANCELSLOTMIGRATIONS",
        "CLUSTER CANCELSLOTMIGRATIONS",
    ):
        twin(0, command)
    twin(0, "EXEC")
    twin(0, "CLUSTER GETSLOTMIGRATIONS", key=jobs)
    twin(0, f"CLUSTER MIGRATESLOTS SLOTSRANGE 0 1 NODE {replica}")
    migrated(twin, 0)
    for state in ("MIGRATING", "IMPORTING"):
        slot = 9 if state == "IMPORTING" else 5461
        twin(1, f"CLUSTER SETSLOT {slot} {state} {first}")
        twin(0, f"CLUSTER MIGRATESLOTS SLOTSRANGE 0 1 NODE {second}")
        migrated(twin, 0)
        twin(1, f"CLUSTER SETSLOT {slot} STABLE")
    twin(1, "CLUSTER GETSLOTMIGRATIONS")


@pytest.mark.servers("valkey-9.1")
def test_what_nodes_say_to_each_other(twin: Twin) -> None:
    first, second, _, replica = twin.ids[:4]
    name, unknown = f"NAME {'e' * 40}", "f" * 40
    for words in (
        *(
            "x",
            "FOO BAR",
            "ESTABLISH",
            "ACK",
            "ACK x",
            "SNAPSHOT",
            "SNAPSHOT-EOF",
            "PAUSE",
            "paused",
        ),
        *(
            "REQUEST-PAUSE",
            "REQUEST-FAILOVER",
            "FAILOVER-GRANTED",
            "FINISH",
            "FINISH STATE success",
        ),
        *(
            f"FINISH STATE success {name}",
            f"FINISH {name} STATE foo",
            "FINISH STATE success NAME x",
        ),
        *(f"FINISH STATE failed {name} MESSAGE x", f"FINISH STATE failed {name} MESSAGE"),
        *(f"ESTABLISH SOURCE {first}", "ESTABLISH SOURCE x", f"ESTABLISH {name} SLOTSRANGE 1 1"),
        f"ESTABLISH SOURCE {first} {name} SLOTSRANGE",
        f"ESTABLISH SOURCE {first} {name}",
        f"ESTABLISH SOURCE {first} NAME x SLOTSRANGE 0 1",
        *(
            f"ESTABLISH SOURCE {node} {name} SLOTSRANGE 1 1"
            for node in (second, replica, unknown, "x")
        ),
        *(
            f"ESTABLISH SOURCE {first} {name} SLOTSRANGE {slots}"
            for slots in ("1 0", "1", "x 1", "5461 5461")
        ),
        *(f"ESTABLISH SOURCE {first} {name} SLOTSRANGE {slots}" for slots in ("1 1 FOO", "0 5461")),
    ):
        twin(1, f"CLUSTER SYNCSLOTS {words}")
    twin(4, f"CLUSTER SYNCSLOTS ESTABLISH SOURCE {first} {name} SLOTSRANGE 1 1")
    twin.all(
        1, "CLUSTER SYNCSLOTS", "MULTI", "CLUSTER SYNCSLOTS ACK", "CLUSTER SYNCSLOTS x", "EXEC"
    )
    forget_jobs(twin)
    job = f"{twin.protocol}" * 40
    for connection in twin.connect(1):
        connection.send([b"CLUSTER", b"SYNCSLOTS", b"CAPA"])
        assert connection("PING") == ("+", b"PONG")
        established = f"CLUSTER SYNCSLOTS ESTABLISH SOURCE {first} NAME {job} SLOTSRANGE 1 1"
        assert connection(established) == ("+", b"OK")
        connection.close()
    migrated(twin, 1)
    for state in ("foo", "success", "failed"):
        twin(1, f"CLUSTER SYNCSLOTS FINISH STATE {state} NAME {job}")
        twin(1, "CLUSTER GETSLOTMIGRATIONS", key=jobs)
    twin(1, f"CLUSTER SYNCSLOTS FINISH STATE failed NAME {job} MESSAGE x")
    twin(1, "CLUSTER GETSLOTMIGRATIONS", key=jobs)


@pytest.mark.servers(*ALL)
def test_replicas_publish_events(twin: Twin) -> None:
    for place in (0, 3):
        twin(place, "CONFIG SET notify-keyspace-events KAm")
    listening = [twin.connect(place) for place in (0, 3)]
    for pair in listening:
        for connection in pair:
            connection("PSUBSCRIBE", "__key*")

    def compare(*commands: str) -> None:
        for command in commands:
            twin(0, command, key=numberless if "SPOP" in command else None)
        twin.in_step()
        for emulated, real in listening:
            while emulated.has_reply():
                assert emulated.read() == real.read(), commands

    compare("SET b 1 EX 100", "GET {b}miss", "APPEND b x", "DEL b", "INCR {b}n", "RENAME {b}n {b}m")
    compare("INCRBYFLOAT {b}n 1.5", "EXPIRE {b}n 100", "PERSIST {b}n", "GETDEL {b}n", "COPY {b}m b")
    compare("SADD {b}s 1 2 3", "SPOP {b}s", "SPOP {b}s 9", "RPUSH {b}l 1 2", "RPOPLPUSH {b}l {b}k")
    compare(
        "HSET {b}h a 1", "HINCRBYFLOAT {b}h a 1.5", "HDEL {b}h a", "ZADD {b}z 1 a", "ZPOPMIN {b}z"
    )
    compare("XADD {b}x 1-1 a b", "XTRIM {b}x MAXLEN 0", "MULTI", "SET b 1", "DEL b", "EXEC")
    twin(0, "SET b 1 PX 1")
    until("the key expires", lambda: twin.clients[0][1]("EXISTS b") == (":", b"0"))
    assert twin.clients[0][0]("EXISTS b") == (":", b"0")
    compare("PING")
    if of_version(twin)[1] >= (7, 4):
        compare("HSET {b}h f 1 g 1", "HEXPIRE {b}h 100 FIELDS 1 g")
        twin(0, "HPEXPIRE {b}h 1 FIELDS 1 f")
        until("the field expires", lambda: twin.clients[0][1]("HLEN {b}h") == (":", b"1"))
        compare("HGET {b}h f")
    twin(3, "CONFIG", "SET", "notify-keyspace-events", "")
    compare("SET b 1")
    twin(0, "CONFIG", "SET", "notify-keyspace-events", "")
    for emulated, real in listening:
        assert not real.has_reply(0.1)
        emulated.close()
        real.close()


@pytest.mark.servers(*ALL)
def test_no_cluster(same: Pair) -> None:
    for command in (
        *("CLUSTER", "CLUSTER FOO", "CLUSTER HELP", "CLUSTER INFO", "CLUSTER KEYSLOT a"),
        *("CLUSTER KEYSLOT", "CLUSTER SLOTS x", "CLUSTER MYSHARDID", "CLUSTER RESET FOO"),
        *("CLUSTER SHARDS", "CLUSTER ADDSLOTS x", "CLUSTER SETSLOT 1 FOO", "CLUSTER MEET a b"),
        *("CLUSTER SLOT-STATS SLOTSRANGE 0 1", "ASKING", "READONLY", "READWRITE", "ASKING x"),
        *("SET k 1", "MIGRATE 127.0.0.1 1 no 0 10", "MIGRATE 127.0.0.1 1 k 0 10"),
        *("INFO cluster", "CONFIG GET cluster-enabled", "CLUSTERSCAN 0", "CLUSTERSCAN x FOO"),
        *(
            "CLUSTER MIGRATESLOTS a b",
            "CLUSTER GETSLOTMIGRATIONS",
            "CLUSTER CANCELSLOTMIGRATIONS x",
        ),
        *(
            "CLUSTER CANCELSLOTMIGRATIONS",
            "CLUSTER SYNCSLOTS x",
            "CLUSTER SYNCSLOTS",
            "CLUSTERSCAN",
        ),
        *("CLUSTER FLUSHSLOT x y z", "CLUSTER FLUSHSLOT"),
    ):
        same(command)


def text_of(reply: Wire) -> str:
    return reply[1].decode().removeprefix("txt:")


def nodes(reply: Wire) -> list[list[str]]:
    lines = [line.split() for line in text_of(reply).splitlines() if line]
    return [reply[0], *sorted([*words[:4], *words[6:]] for words in lines)]


def without_messages(reply: Wire) -> tuple[str, list[str]]:
    lines = text_of(reply).splitlines()
    return reply[0], [line for line in lines if not line.startswith("cluster_stats_")]


def fields(reply: Wire) -> tuple[str, list[str]]:
    return reply[0], [line.partition(":")[0] for line in text_of(reply).splitlines()]


def timeless(reply: Wire) -> str:
    return re.sub(r" \d+ (\d+ connected)", r" \1", repr(reply))


def numberless(reply: Wire) -> Wire:
    """A reply without integers and without numbers in strings that are nothing else."""
    kind, content = reply
    if kind == "%":
        return kind, [(numberless(k), numberless(v)) for k, v in content]
    if isinstance(content, list):
        return kind, [numberless(item) for item in content]
    return (kind, b"") if kind == ":" or (content or b"").isdigit() else reply


def shards(reply: Wire) -> list[list[str]]:
    """Each shard with its slots and nodes, in any order and without offsets."""
    found = []
    for kind, content in reply[1]:
        told = dict(content) if kind == "%" else dict(zip(content[::2], content[1::2], strict=True))
        members = told[("$", b"nodes")][1]
        slots = [slot for _, slot in told[("$", b"slots")][1]]
        found.append([str(slots), *sorted(str(numberless(member)) for member in members)])
    return sorted(found)
