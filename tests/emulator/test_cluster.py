"""The emulated cluster beside real ones: redirections, CLUSTER, scripts, replicas."""

from __future__ import annotations

import re
from functools import partial

import pytest

from tests.support.pair import Connection, Pair, ServerConnection, Wire
from tests.support.processes import until
from tests.support.twin import Twin, eval_, nodes, numberless, of_version, text_of, unordered

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")

# Slots: b and bar are served by the first master, c by the second, foo by the third.


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


def _lists_replicas(node: ServerConnection) -> bool:
    return all(len(slots) > 3 for _, slots in node("CLUSTER SLOTS")[1])


@pytest.mark.servers(*ALL)
def test_what_a_node_tells(twin: Twin) -> None:
    # A node lists a replica once it has heard of its replication offset.
    for _, node in twin.clients:
        until("replicas are listed", partial(_lists_replicas, node))
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


def without_messages(reply: Wire) -> tuple[str, list[str]]:
    lines = text_of(reply).splitlines()
    return reply[0], [line for line in lines if not line.startswith("cluster_stats_")]


def fields(reply: Wire) -> tuple[str, list[str]]:
    return reply[0], [line.partition(":")[0] for line in text_of(reply).splitlines()]


def timeless(reply: Wire) -> str:
    return re.sub(r" \d+ (\d+ connected)", r" \1", repr(reply))


def shards(reply: Wire) -> list[list[str]]:
    """Each shard with its slots and nodes, in any order and without offsets."""
    found = []
    for kind, content in reply[1]:
        told = dict(content) if kind == "%" else dict(zip(content[::2], content[1::2], strict=True))
        members = told[("$", b"nodes")][1]
        slots = [slot for _, slot in told[("$", b"slots")][1]]
        found.append([str(slots), *sorted(str(numberless(member)) for member in members)])
    return sorted(found)
