"""Atomic slot migration of Valkey: CLUSTER MIGRATESLOTS and SYNCSLOTS, compared with Valkey."""

from __future__ import annotations

import contextlib
from functools import partial

import pytest

from tests.support.pair import ServerConnection, Wire
from tests.support.processes import until
from tests.support.twin import Twin, nodes

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")

# Slots: b and bar are served by the first master, c by the second, foo by the third.


def jobs(reply: Wire) -> str:
    """A reply of GETSLOTMIGRATIONS without job names, times and memory sizes."""
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
    return f"{reply[0]}{fixed}"


def _has_no_jobs(node: ServerConnection) -> bool:
    return not node("CLUSTER GETSLOTMIGRATIONS")[1]


def clear_job_logs(twin: Twin) -> None:
    """Empty the migration logs of all nodes on both sides."""
    for place, (emulated, real) in enumerate(twin.clients):
        for client in (emulated, real):
            client("CONFIG SET cluster-slot-migration-log-max-len 0")
        until("jobs are forgotten", partial(_has_no_jobs, real))
        twin(place, "CLUSTER GETSLOTMIGRATIONS")
        twin(place, "CONFIG SET cluster-slot-migration-log-max-len 1000")


def wait_for_jobs(twin: Twin, place: int) -> None:
    """Wait until the real node reports the same migration jobs as the emulated one."""
    emulated, real = twin.clients[place]
    asked = "CLUSTER GETSLOTMIGRATIONS"
    with contextlib.suppress(AssertionError):
        until("the jobs have ended", lambda: jobs(real(asked)) == jobs(emulated(asked)))
    twin(place, asked, key=jobs)


@pytest.mark.servers("valkey-9.1")
def test_migrateslots_moves_keys_and_redirects_clients(twin: Twin) -> None:
    clear_job_logs(twin)
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
        wait_for_jobs(twin, 0)
    for place in (0, 1, 2, 3, 4):
        wait_for_jobs(twin, place)
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
        wait_for_jobs(twin, place)
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
def test_argument_errors_of_migrateslots(twin: Twin) -> None:
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
def test_cancelled_and_failed_migrations(twin: Twin) -> None:
    clear_job_logs(twin)
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
    wait_for_jobs(twin, 0)
    for state in ("MIGRATING", "IMPORTING"):
        slot = 9 if state == "IMPORTING" else 5461
        twin(1, f"CLUSTER SETSLOT {slot} {state} {first}")
        twin(0, f"CLUSTER MIGRATESLOTS SLOTSRANGE 0 1 NODE {second}")
        wait_for_jobs(twin, 0)
        twin(1, f"CLUSTER SETSLOT {slot} STABLE")
    twin(1, "CLUSTER GETSLOTMIGRATIONS")


@pytest.mark.servers("valkey-9.1")
def test_syncslots(twin: Twin) -> None:
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
    clear_job_logs(twin)
    job = f"{twin.protocol}" * 40
    for connection in twin.connect(1):
        connection.send([b"CLUSTER", b"SYNCSLOTS", b"CAPA"])
        assert connection("PING") == ("+", b"PONG")
        established = f"CLUSTER SYNCSLOTS ESTABLISH SOURCE {first} NAME {job} SLOTSRANGE 1 1"
        assert connection(established) == ("+", b"OK")
        connection.close()
    wait_for_jobs(twin, 1)
    for state in ("foo", "success", "failed"):
        twin(1, f"CLUSTER SYNCSLOTS FINISH STATE {state} NAME {job}")
        twin(1, "CLUSTER GETSLOTMIGRATIONS", key=jobs)
    twin(1, f"CLUSTER SYNCSLOTS FINISH STATE failed NAME {job} MESSAGE x")
    twin(1, "CLUSTER GETSLOTMIGRATIONS", key=jobs)
