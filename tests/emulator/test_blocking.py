"""Behaviour that all blocking commands share: timeouts, arguments, CLIENT UNBLOCK, counters."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.blocking import Clients
from tests.support.pair import Pair, Wire

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
MODERN = ("redis-8.2", "redis-7.0", "valkey-9.1")
NEWEST = ("redis-8.2", "valkey-9.1")


@pytest.mark.servers(*NEWEST)
def test_blocking_commands_never_block_in_scripts(same: Pair) -> None:
    same("RPUSH l 1 2 3")
    for call in (
        "'BLPOP','no',0",
        "'BLPOP','l',0",
        "'BLMOVE','no','d','LEFT','LEFT',0",
        "'BRPOPLPUSH','l','d',0",
        "'BLMPOP',0,1,'no','LEFT'",
        "'BLMPOP',0,1,'l','LEFT'",
    ):
        same("EVAL", f"local r = redis.call({call}) return {{r == false, r}}", 0)
        same("EVAL", f"redis.setresp(3) return redis.call({call})", 0)


TIMEOUTS = (
    "x -1 inf -inf nan 1e400 1e4932 1e5000 1e30 -1e30 9223372036854776 9223372036854775807 "
    "0.1.1 1e 1,5 0x 0x1p -0.1 -1e-2 ."
).split()


@pytest.mark.servers(*ALL)
def test_invalid_timeouts(same: Pair) -> None:
    same("SET s v")
    for timeout in [*TIMEOUTS, "", " 1", "1 ", "\t1"]:
        same("BLPOP", "no", timeout)
        same("BRPOP", "s", "no", timeout)
        same("BLMOVE", "no", "d", "LEFT", "RIGHT", timeout)
        same("BRPOPLPUSH", "no", "d", timeout)
        same("BLMPOP", timeout, 1, "no", "LEFT")


@pytest.mark.servers(*NEWEST)
def test_timeouts_that_overflow_64_bit_milliseconds_are_errors(same: Pair) -> None:
    for timeout in ("9223372036854775", "9223372036854774", "9223372036000000"):
        same("BLPOP", "no", timeout)


@pytest.mark.servers(*ALL)
def test_number_formats_of_timeouts(same: Pair) -> None:
    clients = Clients(same)
    for place, timeout in enumerate(
        ("1e15", "0x10", "+1", "9223372036", "-0", "-0.0001", "00", "0")
    ):
        clients.block(f"A{place}", "BLPOP", "l", timeout)
    same("RPUSH l 1 2 3 4 5 6 7 8")
    for place in range(8):
        clients.served(f"A{place}")


@pytest.mark.servers("redis-7.0", "redis-6.2")
def test_timeouts_that_overflow_64_bit_milliseconds_block_indefinitely(same: Pair) -> None:
    clients = Clients(same)
    clients.block("A", "BLPOP l 9223372036854775")
    same.emulator.engine.tick()
    clients.waits("A")
    same("RPUSH l 1")
    clients.served("A")


@pytest.mark.servers(*ALL)
def test_replies_after_the_timeout(same: Pair) -> None:
    clients = Clients(same)
    clients.send("A", "BLPOP a b 0.05")
    clients.send("B", "BLMOVE a b LEFT RIGHT 0.05")
    clients.send("C", "BRPOPLPUSH a b 0.05")
    clients.send("D", "BRPOP a 0.05")
    for name in "ABCD":
        clients.times_out(name)
    same("RPUSH a 1")
    same("LLEN a")


@pytest.mark.servers("redis-6.2")
def test_timeout_of_a_millisecond_blocks_indefinitely_on_redis_6(same: Pair) -> None:
    clients = Clients(same)
    clients.block("A", "BLPOP l 0.001")
    same("RPUSH l 1")
    clients.served("A")


@pytest.mark.servers(*ALL)
def test_argument_errors_and_wrong_types(same: Pair) -> None:
    same("SET s v")
    for line in (
        "BLPOP",
        "BLPOP l",
        "BLPOP s 0",
        "BLPOP no s 0",
        "BLMOVE l d LEFT FOO x",
        "BLMOVE l d FOO LEFT x",
        "BLMOVE l d LEFT RIGHT",
        "BLMOVE s d LEFT RIGHT 0",
        "BRPOPLPUSH s d 0",
        "BRPOPLPUSH l d",
        "BLMPOP 0 0 l LEFT",
        "BLMPOP x 0 l LEFT",
        "BLMPOP x 1 l FOO",
        "BLMPOP x 1 l LEFT COUNT 0",
        "BLMPOP 0 1 l LEFT COUNT x",
        "BLMPOP 0 1 l LEFT COUNT 1 COUNT 1",
        "BLMPOP 0 2 l LEFT",
        "BLMPOP 0 1 l",
        "BLMPOP 0 2 s l LEFT",
    ):
        same(line)


@pytest.mark.servers(*ALL)
def test_commands_reply_at_once_if_an_element_is_there(same: Pair) -> None:
    same("SET s v")
    same("RPUSH l 1 2 3 4 5 6")
    for line in (
        "BLPOP no l 0",
        "BRPOP l no 0",
        "BLMOVE l d LEFT RIGHT 0",
        "BRPOPLPUSH l d 0",
        "BLMOVE l s LEFT RIGHT 0",
        "LRANGE l 0 -1",
        "LRANGE d 0 -1",
        "BLPOP s l 0",
    ):
        same(line)


@pytest.mark.servers(*ALL)
def test_client_unblock_with_each_reason(same: Pair) -> None:
    clients = Clients(same)
    for command in ("BLPOP l 0", "BLMOVE l d LEFT LEFT 0", "BRPOPLPUSH l d 0"):
        for words in ((), ("TIMEOUT",), ("error",), ("FOO",)):
            clients.block("A", command)
            clients("x", "CLIENT", "UNBLOCK", "{A}", *words)
            if words == ("FOO",):
                clients("x", "CLIENT", "UNBLOCK", "{A}")
            clients.served("A")
            clients("x", "CLIENT", "UNBLOCK", "{A}", *words)
    clients("x", "RPUSH l 1")
    clients("x", "LLEN l")


@pytest.mark.servers(*ALL)
def test_client_unblock_inside_a_transaction(same: Pair) -> None:
    clients = Clients(same)
    clients.block("A", "BLPOP l 0")
    clients.send("A", "RPUSH seen {A}")
    for line in ("MULTI", "RPUSH seen before", "CLIENT UNBLOCK {A}", "RPUSH seen after", "EXEC"):
        clients("x", line)
    clients.served("A")
    clients.served("A")
    clients("x", "LINDEX seen 1")


@pytest.mark.servers(*ALL)
def test_blocked_clients_in_client_list_and_info(same: Pair) -> None:
    clients = Clients(same)
    clients.block("A", "BLPOP k l 100")
    clients.block("B", "XREAD BLOCK 0 STREAMS k $")
    for name in "AB":
        clients("x", "CLIENT", "LIST", "ID", f"{{{name}}}", key=_flags_and_command)
    clients("x", "INFO clients", key=_counts)
    clients("x", "CLIENT UNBLOCK {A}")
    clients.served("A")
    clients("x", "CLIENT LIST ID {A}", key=_flags_and_command)
    clients("x", "INFO clients", key=_counts)


def _flags_and_command(reply: Any) -> Any:
    fields = dict(word.split(b"=", 1) for word in reply[1].split()[: None if reply[1] else 0])
    return fields.get(b"flags"), fields.get(b"cmd")


def _counts(reply: Any) -> Any:
    lines = [line.split(b":") for line in reply[1].split() if b":" in line]
    wanted = (b"blocked_clients", b"clients_in_timeout_table", b"total_blocking_keys")
    return [line for line in lines if line[0].startswith(wanted)]


@pytest.mark.servers(*ALL)
def test_calls_are_counted_when_clients_are_unblocked(same: Pair) -> None:
    clients = Clients(same)

    def compare_statistics() -> None:
        clients("x", "INFO commandstats", key=_calls)
        clients("x", "INFO errorstats", key=lambda reply: b"UNBLOCKED:count" in reply[1])

    clients("x", "CONFIG RESETSTAT")
    clients.block("A", "BLPOP l 0")
    clients.block("B", "BLPOP l 0")
    compare_statistics()
    clients("x", "RPUSH l 1")
    clients.served("A")
    compare_statistics()
    clients("x", "RPUSH l 1")
    clients.served("B")
    clients.block("A", "BRPOP l 0")
    clients("x", "CLIENT UNBLOCK {A} TIMEOUT")
    clients.served("A")
    compare_statistics()
    clients.block("A", "BRPOP l 0")
    clients("x", "CLIENT UNBLOCK {A} ERROR")
    clients.served("A")
    compare_statistics()


def _calls(reply: Wire) -> Any:
    return sorted(
        (name, *numbers)
        for name, *numbers in re.findall(
            rb"cmdstat_(b\w+):calls=(\d+).*rejected_calls=(\d+),failed_calls=(\d+)", reply[1]
        )
    )


@pytest.mark.servers(*ALL)
def test_a_killed_client_is_not_served(same: Pair) -> None:
    clients = Clients(same)
    clients.block("A", "BLPOP l 0")
    clients.block("B", "BLPOP l 0")
    clients("x", "CLIENT", "KILL", "ID", "{A}")
    clients("x", "RPUSH l 1")
    clients.served("B")
    clients("x", "EXISTS l")
