"""CLUSTERSCAN and CLUSTER FLUSHSLOT, compared with Valkey."""

from __future__ import annotations

import re

import pytest

from tests.support.pair import Wire
from tests.support.twin import Twin, eval_, unordered

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")

# Slots: b and bar are served by the first master, c by the second, foo by the third.


FIRST = re.compile(rb"^[^-]+-(?={\w+}-\d+$)")


def comparable(reply: Wire) -> str:
    """A reply of CLUSTERSCAN with sorted keys and without the fingerprint of the node."""
    if reply[0] != "*":
        return repr(reply)
    (_, cursor), keys = reply[1]
    return FIRST.sub(b"", cursor).decode() + repr(unordered(keys))


def scan_both(twin: Twin, *options: str) -> None:
    """Scan both clusters completely and compare the keys that were returned."""
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
def test_clusterscan_returns_all_keys(twin: Twin) -> None:
    for place, key in enumerate(("b", "c", "foo")):
        twin(place, "MSET", *(word for n in range(30) for word in (f"{{{key}}}{n}", n)))
    twin(0, "SET bar 1")
    twin(0, "LPUSH 06S 1")
    for options in ("", "COUNT 1", "COUNT 1000", "MATCH *1*", "MATCH {c}1*", "MATCH bar"):
        scan_both(twin, *options.split())
    for options in ("MATCH nothing", "MATCH ", "TYPE list", "TYPE string COUNT 3", "MATCH {}1"):
        scan_both(twin, *options.split(" "))


def set_keys(twin: Twin) -> None:
    """Set keys in three slots of the first master and in one of the third."""
    twin.all(0, "SET b 1", "SET bar 1", "LPUSH 06S 1")
    twin(2, "SET foo 1")


@pytest.mark.servers("valkey-9.1")
def test_clusterscan_cursors(twin: Twin) -> None:
    set_keys(twin)
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
            twin(place, "CLUSTERSCAN", cursor, key=comparable)


@pytest.mark.servers("valkey-9.1")
def test_clusterscan_options(twin: Twin) -> None:
    set_keys(twin)
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
            twin(place, "CLUSTERSCAN", cursor, *options.split(), key=comparable)


@pytest.mark.servers("valkey-9.1")
def test_clusterscan_on_replicas_in_transactions_and_in_scripts(twin: Twin) -> None:
    set_keys(twin)
    twin.in_step()
    twin(3, "READONLY")
    twin(3, "CLUSTERSCAN 0-{06S}-0 COUNT 1", key=comparable)
    twin.all(0, "MULTI", "CLUSTERSCAN 0-{foo}-0", "EXEC", "MULTI", "CLUSTERSCAN 0-{b}-0", "GET bar")
    twin.all(0, "EXEC", "CLUSTERSCAN", "COMMAND GETKEYS CLUSTERSCAN 0-{b}-0")
    eval_(twin, 0, "return redis.call('CLUSTERSCAN','0-{bar}-0')")
    eval_(twin, 0, "return redis.call('CLUSTERSCAN','0')")


@pytest.mark.servers("valkey-9.1")
def test_clusterscan_of_a_migrating_slot(twin: Twin) -> None:
    set_keys(twin)
    twin.in_step()
    twin(3, "READONLY")
    twin(1, f"CLUSTER SETSLOT 3300 IMPORTING {twin.ids[0]}")
    twin(0, f"CLUSTER SETSLOT 3300 MIGRATING {twin.ids[1]}")
    for place, command in ((0, ""), (1, ""), (1, "ASKING"), (3, "")):
        if command:
            twin(place, command)
        twin(place, "CLUSTERSCAN 0-{b}-0", key=comparable)
    twin(0, "CLUSTERSCAN 0-{06S}-0 COUNT 2", key=comparable)
    twin(0, "CLUSTER SETSLOT 3300 STABLE")
    twin(1, "CLUSTER SETSLOT 3300 STABLE")


@pytest.mark.servers("valkey-9.1")
def test_cluster_flushslot(twin: Twin) -> None:
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
