"""Redirections, CLUSTER, scripts and replicas of an emulated cluster, compared with real ones."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from functools import partial

import pytest

from tests.support.pair import Connection, Pair, Wire
from tests.support.processes import until
from tests.support.twin import (
    Twin,
    eval_,
    fields,
    lists_replicas,
    nodes,
    numberless,
    of_version,
    shards,
    text_of,
    timeless,
    unordered,
    without_messages,
)

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")

# Slots: b and bar are served by the first master, c by the second, foo by the third.


ON_THE_FIRST_MASTER = {
    "own-key": ("SET b 1", "GET b"),
    "moved": (
        *("GET foo", "SORT c", "OBJECT ENCODING foo", "XREAD COUNT 1 STREAMS foo 0"),
        *("BLPOP foo 0", "WATCH foo"),
    ),
    "keys-in-different-slots": (
        *("MGET b c", "MGET b foo", "DEL b bar", "COPY b foo", "ZUNION 2 b foo", "WATCH b bar"),
    ),
    "hash-tags": (
        *("MSET {b}1 1 {b}2 2", "MGET {b}1 {b}2", "EXISTS {}a", "EXISTS {b}{c}"),
        *("EXISTS foo{", "EXISTS {b"),
    ),
    "errors-before-redirections": ("GET", "FOO foo", "RANDOMKEY FOO"),
    "without-keys": ("WATCH b", "UNWATCH", "DBSIZE"),
    "select": ("SELECT 0", "SELECT 1", "SELECT x", "SELECT -1"),
    "move-and-swapdb": (
        *("SET b 1", "MOVE b 1", "MOVE b 0", "MOVE foo 0", "SWAPDB 0 1", "SWAPDB 0 0"),
    ),
    "copy-to-a-database": (
        *("SET b 1", "COPY b {b}y DB 0", "COPY b {b}z", "COPY b {b}x DB 1", "COPY b {b}x DB 99"),
        "COPY b {b}x DB x",
    ),
    "replicaof-and-failover-are-errors": ("REPLICAOF NO ONE", "FAILOVER"),
    "parameters": ("CONFIG GET databases", "CONFIG GET cluster-enabled"),
    "transaction-aborted-by-moved": ("MULTI", "SET b 2", "GET foo", "EXEC", "GET b"),
    "transaction-aborted-by-crossslot": (
        *("MULTI", "SET b 2", "MGET b foo", "EXEC", "GET b"),
        *("MULTI", "SET bar 1", "MGET b foo", "SET b 1", "EXEC"),
    ),
    "transaction-of-one-slot": ("SET b 1", "MULTI", "SET b 2", "INCR b", "EXEC"),
    "transaction-of-several-slots": ("MULTI", "SET b 1", "SET bar 1", "EXEC", "GET b"),
    "empty-transaction": ("MULTI", "EXEC", "EXEC"),
    "discard": ("MULTI", "GET b", "DISCARD", "GET b", "MULTI", "WATCH foo", "DISCARD"),
}


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("commands", ON_THE_FIRST_MASTER.values(), ids=ON_THE_FIRST_MASTER)
def test_commands_on_a_master(twin: Twin, commands: tuple[str, ...]) -> None:
    twin.all(0, *commands)


@pytest.mark.servers(*ALL)
def test_other_masters_redirect(twin: Twin) -> None:
    twin(1, "GET b")
    twin(2, "GET b")


@pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
def test_shard_channels_in_other_slots_are_redirected(twin: Twin) -> None:
    twin.all(0, "SPUBLISH foo x", "SPUBLISH b x", "PUBLISH foo x", "SSUBSCRIBE foo")
    twin(0, "SSUBSCRIBE b foo")
    twin(0, "SSUBSCRIBE b")


def test_published_messages_reach_subscribers_of_other_nodes(twin: Twin) -> None:
    twin(1, "SUBSCRIBE news")
    twin(3, "SSUBSCRIBE {b}news")
    twin(0, "PUBLISH news hello")
    twin(0, "SPUBLISH {b}news hello")
    for place in (1, 3):
        emulated, real = twin.clients[place]
        assert emulated.read() == real.read()


ON_A_REPLICA = {
    "redirected-without-readonly": ("SET b x", "GET b", "WATCH b"),
    "readonly": (
        *("READONLY", "GET b", "SET b 1", "GET foo", "BLPOP b 1", "XREAD STREAMS b 0"),
        *("COPY b {b} DB 1", "WATCH b", "UNWATCH", "READWRITE", "GET b"),
    ),
    "transactions": (*("READONLY", "MULTI", "GET b", "SET b 1", "EXEC", "MULTI", "GET b", "EXEC"),),
    "without-keys": ("FLUSHALL", "FLUSHDB", "PUBLISH a b", "DBSIZE", "WAIT 1 10"),
    "cluster-subcommands": (
        *("CLUSTER SETSLOT 3300 STABLE", "CLUSTER COUNTKEYSINSLOT 3300"),
        *("CLUSTER GETKEYSINSLOT 3300 1", "CLUSTER REPLICATE $replica", "CLUSTER FORGET $master"),
        *("CLUSTER FLUSHSLOTS", "CLUSTER ADDSLOTS 1"),
    ),
}


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("commands", ON_A_REPLICA.values(), ids=ON_A_REPLICA)
def test_commands_on_a_replica(twin: Twin, commands: tuple[str, ...]) -> None:
    twin(0, "SET b 1")
    twin.in_step()
    for command in commands:
        twin(3, command.replace("$replica", twin.ids[3]).replace("$master", twin.ids[0]))
    twin(0, "WAIT 1 100")


@pytest.mark.servers(*ALL)
def test_keys_of_scripts(twin: Twin) -> None:
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
def test_scripts_that_access_keys_of_other_nodes(twin: Twin) -> None:
    eval_(twin, 0, "return redis.call('get','foo')", "b")
    eval_(twin, 0, "return redis.call('get','foo')")
    eval_(twin, 0, "return redis.call('mget','bar','b')")
    eval_(twin, 0, "return redis.pcall('get','foo')", "b")
    eval_(twin, 0, "return redis.call('select',1)")
    eval_(twin, 0, "return redis.call('sort','{b}l','by','foo*')")


@pytest.mark.servers("redis-8.2", "redis-7.0")
def test_script_flags_no_cluster_and_allow_cross_slot_keys(twin: Twin) -> None:
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
def test_sort_by_and_get_patterns_in_other_slots(twin: Twin) -> None:
    twin.all(
        0,
        *("SORT b BY foo*", "SORT {b}l BY {b}w_*", "SORT {b}l BY nosort", "SORT {b}l GET #"),
        *("SORT {b}l BY {b}*", "SORT {b}l GET foo*", "SORT {b}l GET {b}x", "SORT {b}l GET x"),
        *("SORT {b}l BY {c}*", "SORT {b}l BY *{b}", "SORT {b}l STORE foo"),
    )


@pytest.fixture
def migrating(twin: Twin) -> Iterator[None]:
    """Slot 3300 is migrating from the first to the second master; two of its keys are set."""
    twin.all(0, "SET {b}1 1", "SET {b}2 2")
    twin(1, f"CLUSTER SETSLOT 3300 IMPORTING {twin.ids[0]}")
    twin(0, f"CLUSTER SETSLOT 3300 MIGRATING {twin.ids[1]}")
    yield
    for place in (0, 1):
        twin(place, "CLUSTER SETSLOT 3300 STABLE")


@pytest.mark.servers(*ALL)
@pytest.mark.usefixtures("migrating")
def test_source_of_a_migrating_slot_redirects_missing_keys(twin: Twin) -> None:
    for place in (0, 1, 3):
        twin(place, "CLUSTER NODES", key=nodes)
    twin.all(
        0,
        *("GET {b}1", "GET b", "SET b 1", "MGET {b}1 b", "MGET b {b}9", "MGET {b}1 {b}2"),
        *("MULTI", "GET b", "EXEC", "MULTI", "GET {b}1", "SET {b}1 2", "EXEC"),
    )
    eval_(twin, 0, "return 1", "b")
    eval_(twin, 0, "return 1", "{b}1", "b")
    twin.in_step()
    twin.all(3, "READONLY", "GET b", "GET {b}1", "MGET {b}1 b")


@pytest.mark.servers(*ALL)
@pytest.mark.usefixtures("migrating")
def test_target_of_a_migrating_slot_serves_keys_after_asking(twin: Twin) -> None:
    twin.all(
        1,
        *("GET {b}1", "ASKING", "GET b", "GET b", "ASKING", "MGET {b}1 b", "ASKING"),
        *("SET {b}5 1", "ASKING", "MGET {b}5 b", "ASKING", "MGET {b}5", "MGET {b}5"),
        *("ASKING", "MULTI", "GET b", "GET b", "EXEC", "GET b", "MULTI", "ASKING", "GET b"),
        *("EXEC", "ASKING", "PING", "GET b", "ASKING", "ASKING", "GET b", "RESTORE {b}7 0 x"),
    )
    twin(1, "ASKING")
    eval_(twin, 1, "return redis.call('get','b')", "b")


@pytest.mark.servers(*ALL)
@pytest.mark.usefixtures("migrating")
def test_migrate(twin: Twin) -> None:
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


@pytest.mark.servers(*ALL)
@pytest.mark.usefixtures("migrating")
def test_setslot_node_ends_a_migration(twin: Twin) -> None:
    first, second = twin.ids[0], twin.ids[1]
    twin(0, f"MIGRATE 127.0.0.1 {twin.ports[1]} {{b}}1 0 1000")
    twin.all(1, "ASKING", "SET {b}5 1")
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
def test_clients_blocked_on_a_moved_slot_are_redirected(twin: Twin) -> None:
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
def test_subscribers_of_a_moved_shard_channel_are_unsubscribed(twin: Twin) -> None:
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


def test_asking_holds_for_one_command(twin: Twin) -> None:
    twin(1, f"CLUSTER SETSLOT 3300 IMPORTING {twin.ids[0]}")
    for between in ("FOO", "GET", "PING", "CLUSTER FOO"):
        twin.all(1, "ASKING", between, "GET b")
    twin(1, "CLUSTER SETSLOT 3300 STABLE")


@pytest.mark.servers("redis-8.2", "redis-7.0", "redis-6.2")
def test_slot_that_migrates_to_its_own_node(twin: Twin) -> None:
    twin(0, f"CLUSTER SETSLOT 3300 MIGRATING {twin.ids[0]}")
    twin.all(0, "GET b", "SET b 1", "MGET b {b}1", "CLUSTER SETSLOT 3300 STABLE")


@pytest.mark.servers(*ALL)
def test_information_about_the_cluster(twin: Twin) -> None:
    # A node lists a replica once it has received its replication offset.
    for _, node in twin.clients:
        until("replicas are listed", partial(lists_replicas, node))
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
def test_cluster_announce_parameters(twin: Twin) -> None:
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
    until("the address is back", lambda: all(has_own_address(r) for r in places))
    until("all is well", lambda: all(b"state:ok" in r("CLUSTER INFO")[1] for r in places))
    until("the name is gone", lambda: all(b"a.ex" not in r("CLUSTER NODES")[1] for r in places))
    twin.agree()
    until("the replica is back", lambda: twin.clients[0][1]("WAIT 1 100")[1] == b"1")


def has_own_address(real: Connection) -> bool:
    return re.search(rb"127.0.0.2|7777@", real("CLUSTER NODES")[1]) is None


def places_of(reply: Wire) -> list[list[str]]:
    """Ids and announced addresses of all nodes."""
    return sorted(line.split()[:2] for line in text_of(reply).splitlines() if line)


def test_cluster_myshardid(twin: Twin) -> None:
    for _, real in twin.clients:
        assert len(real("CLUSTER MYSHARDID")[1]) == 40
    names = [emulated("CLUSTER MYSHARDID")[1] for emulated, _ in twin.clients]
    assert names[:3] == names[3:]
    assert len(set(names)) == 3


@pytest.mark.servers("valkey-9.1")
def test_cluster_replicate_no_one(twin: Twin) -> None:
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
def test_clients_of_a_master_that_becomes_a_replica(twin: Twin) -> None:
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


ARGUMENTS = {
    "KEYSLOT": ("", "a b"),
    "SLOTS": ("x",),
    "COUNTKEYSINSLOT": ("3300", "-1", "16384", "12182", "x"),
    "GETKEYSINSLOT": ("3300 10", "3300 -1", "3300 x", "x 1", "16384 1", "3300 0"),
    "ADDSLOTS": ("1", "-1", "16384", "x", "1 1"),
    "DELSLOTS": ("x", "16384"),
    "FLUSHSLOTS": ("",),
    "SETSLOT": (
        *("3300", "3300 FOO", "3300 MIGRATING", "x STABLE", "99999 STABLE", "1 NODE"),
        *("3300 STABLE x", "3300 STABLE", "3300 MIGRATING $unknown", "3300 IMPORTING $other"),
        *("12182 MIGRATING $other", "12182 IMPORTING $unknown", "3300 NODE $unknown"),
        "3300 NODE $other",
    ),
    "REPLICATE": ("$unknown", "$self", "$other", "$replica", "x"),
    "REPLICAS": ("$unknown", "$replica", "x"),
    "FAILOVER": ("", "FORCE", "FOO", "FORCE x"),
    "RESET": ("", "FOO", "SOFT x"),
    "FORGET": ("$unknown", "$self", "x"),
    "MEET": (
        *("x", "x 1", "127.0.0.1 x", "127.0.0.1 0", "127.0.0.1 70000", "127.0.0.1 7000 x"),
        *("127.0.0.1 7000 70000", "127.0.0.1 7000 0", "a b c d e"),
    ),
    "BUMPEPOCH": ("x",),
    "SAVECONFIG": ("",),
    "SET-CONFIG-EPOCH": ("x", "-1", "5"),
    "COUNT-FAILURE-REPORTS": ("$unknown", "$other"),
}
"""Arguments of CLUSTER subcommands that change nothing; names with ``$`` are ids of nodes."""


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("subcommand", ARGUMENTS)
def test_arguments_of_cluster_subcommands(twin: Twin, subcommand: str) -> None:
    ids = {"unknown": "f" * 40, "self": twin.ids[0], "other": twin.ids[1], "replica": twin.ids[4]}
    twin(0, "SET b 1")
    for arguments in ARGUMENTS[subcommand]:
        twin(0, f"CLUSTER {subcommand} {string.Template(arguments).substitute(ids)}")


@pytest.mark.servers(*ALL)
def test_unknown_subcommands_and_arguments_of_asking_and_readonly(twin: Twin) -> None:
    twin.all(0, "CLUSTER", "CLUSTER FOO")
    twin.all(0, "ASKING x", "READONLY x", "ASKING", "READONLY", "READWRITE")


@pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
def test_slot_ranges_and_migrations_to_replicas(twin: Twin) -> None:
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
def test_cluster_slot_stats(twin: Twin) -> None:
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


def test_cluster_is_down_if_a_slot_is_not_served(twin: Twin) -> None:
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
def test_replicas_publish_keyspace_events(twin: Twin) -> None:
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
def test_cluster_commands_without_cluster_mode(same: Pair) -> None:
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
