"""CLIENT, beside real servers."""

from __future__ import annotations

import re

import pytest

from redis_emulator import ManualClock, RedisEmulator
from tests.support.blocking import Clients
from tests.support.pair import Pair
from tests.support.waiting import let_pass

EVERY_SERVER = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
MODERN = ("redis-8.2", "valkey-9.1")

BOUND_TO_A_CONNECTION = {"id", "addr", "laddr", "fd", "age", "idle", "qbuf", "qbuf-free"} | {
    *("argv-mem", "multi-mem", "rbs", "rbp", "tot-mem", "omem"),
    *("tot-net-in", "tot-net-out", "tot-cmds"),
}
"""Fields of a CLIENT LIST line that two servers cannot have in common."""


def line(text: bytes) -> dict[str, str]:
    """The fields of one line, in order, those of the machine blanked."""
    fields = dict(field.split("=", 1) for field in text.decode().removeprefix("txt:").split())
    return {name: "" if name in BOUND_TO_A_CONNECTION else value for name, value in fields.items()}


@pytest.mark.servers(*EVERY_SERVER)
def test_what_a_client_is_told(same: Pair) -> None:
    def compare() -> None:
        shown = [line(c("CLIENT", "INFO")[1]) for c in (same.emulated, same.real)]
        assert list(shown[0].items()) == list(shown[1].items())

    compare()
    same("CLIENT SETNAME me")
    same("SELECT 2")
    same("UNWATCH")
    compare()
    same("WATCH a b")
    compare()
    for command in ("UNWATCH", "MULTI", "EXEC"):
        same(command)
    compare()
    if same.protocol == 3:
        same("SUBSCRIBE x")
        compare()


@pytest.mark.servers(*EVERY_SERVER)
def test_names(same: Pair) -> None:
    for name in ("a", "a b", "a\nb", "é", "~!x", ""):
        same("CLIENT", "SETNAME", name)
        same("CLIENT", "GETNAME")


@pytest.mark.servers(*MODERN)
def test_library_info(same: Pair) -> None:
    same("CLIENT SETINFO LIB-NAME lib")
    same("CLIENT SETINFO lib-ver 1.2")
    same("CLIENT", "SETINFO", "lib-name", "a b")
    same("CLIENT", "SETINFO", "LIB-VER", "a b")
    same("CLIENT SETINFO foo x")
    same("CLIENT SETINFO lib-name")
    for connection in (same.emulated, same.real):
        text = connection("CLIENT", "INFO")[1]
        assert b"lib-name=lib lib-ver=1.2" in text


@pytest.mark.servers(*EVERY_SERVER)
def test_refusals(same: Pair) -> None:
    for words in (
        "LIST TYPE foo",
        "LIST TYPE",
        "LIST ID",
        "LIST ID abc",
        "LIST FOO",
        "KILL foo",
        "KILL 1.2.3.4:5",
        "KILL ID abc",
        "KILL ID 0",
        "KILL ID -1",
        "KILL ID 99999",
        "KILL TYPE foo",
        "KILL USER nobody",
        "KILL ADDR x",
        "KILL LADDR x",
        "KILL SKIPME maybe",
        "KILL ID 99999 LADDR",
        "KILL FOO x",
        "KILL ID 99999 ID 99998",
        "KILL MAXAGE abc",
        "KILL MAXAGE 0",
        "REPLY foo",
        "REPLY",
        "NO-EVICT foo",
        "NO-EVICT on",
        "NO-EVICT off",
        "NO-TOUCH foo",
        "UNBLOCK abc",
        "UNBLOCK 99999",
        "UNBLOCK 99999 ERROR",
        "UNBLOCK 99999 FOO",
        "PAUSE abc",
        "PAUSE -1",
        "PAUSE 1 FOO",
        "UNPAUSE",
        "UNPAUSE x",
        "GETREDIR",
        "TRACKINGINFO",
        "GETNAME x",
        "SETNAME",
    ):
        same(f"CLIENT {words}")


@pytest.mark.servers(*EVERY_SERVER)
def test_unblock_takes_one_reason(same: Pair) -> None:
    same("CLIENT UNBLOCK 99 TIMEOUT more")


@pytest.mark.servers(*EVERY_SERVER)
def test_list_filters(same: Pair) -> None:
    others = same.connect()
    ids = [other("CLIENT", "ID")[1] for other in others]
    for words in (["TYPE", "normal"], ["TYPE", "pubsub"], ["TYPE", "replica"], ["TYPE", "master"]):
        counts = [
            len(c("CLIENT", "LIST", *words)[1].splitlines()) for c in (same.emulated, same.real)
        ]
        assert counts[0] == counts[1], words
    for connection, number in zip((same.emulated, same.real), ids, strict=True):
        text = connection("CLIENT", "LIST", "ID", number, 999999)[1].removeprefix(b"txt:")
        assert re.findall(rb"^id=(\d+) ", text, re.MULTILINE) == [number], text


@pytest.mark.servers(*EVERY_SERVER)
def test_kill(same: Pair) -> None:
    for how in ("ID", "ADDR", "old"):
        others = same.connect()
        for killer, victim in zip((same.emulated, same.real), others, strict=True):
            number = victim("CLIENT", "ID")[1]
            address = re.search(rb" addr=(\S+)", killer("CLIENT", "LIST", "ID", number)[1])
            assert address
            if how == "old":
                assert killer("CLIENT", "KILL", address[1]) == ("+", b"OK")
            else:
                value = number if how == "ID" else address[1]
                assert killer("CLIENT", "KILL", how, value) == (":", b"1")
            with pytest.raises(ConnectionError):
                victim("PING")
    for connection in (same.emulated, same.real):
        number = connection("CLIENT", "ID")[1]
        assert connection("CLIENT", "KILL", "ID", number) == (":", b"0")
        assert connection("CLIENT", "KILL", "ID", number, "SKIPME", "no") == (":", b"1")
        with pytest.raises(ConnectionError):
            connection("PING")


@pytest.mark.servers(*EVERY_SERVER)
def test_reply_modes(same: Pair) -> None:
    for connection in (same.emulated, same.real):
        for words in ("CLIENT REPLY OFF", "PING", "NOSUCH", "CLIENT REPLY SKIP", "PING"):
            connection.send([word.encode() for word in words.split()])
    same("CLIENT REPLY ON")
    same("PING")
    for connection in (same.emulated, same.real):
        connection.send([b"CLIENT", b"REPLY", b"SKIP"])
        connection.send([b"PING", b"skipped"])
    same("PING heard")


@pytest.mark.parametrize("mode", ["ALL", "WRITE"])
def test_pause_holds_commands_up(mode: str) -> None:
    clock = ManualClock()
    emulator = RedisEmulator(clock=clock)
    pausing, other = emulator.client(), emulator.client()
    connection = other.connection_pool.get_connection()
    pausing.client_pause(1000, all=mode == "ALL")
    if mode == "WRITE":
        connection.send_command("GET", "k")
        assert connection.read_response() is None
    connection.send_command("SET", "k", "v")
    connection.send_command("GET", "k")
    assert not connection.can_read()
    clock.advance(0.999)
    assert not connection.can_read()
    clock.advance(0.001)
    assert [connection.read_response(), connection.read_response()] == [b"OK", b"v"]


@pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
@pytest.mark.parametrize("mode", ["ALL", "WRITE"])
def test_a_pause_and_what_blocked_clients_wait_for(same: Pair, mode: str) -> None:
    clients = Clients(same)
    for commands in (("RPUSH l a", "CLIENT PAUSE 60 {}"), ("CLIENT PAUSE 60 {}", "RPUSH l a")):
        clients.block("A", "BLPOP l 0")
        clients.block("B", "XREAD BLOCK 0 STREAMS s $")
        for line in ("MULTI", *commands, "XADD s * f v", "EXEC"):
            clients("x", line.format(mode), key=lambda reply: reply[0])
        waiting = [connection.has_reply() for connection in clients.client("A")]
        assert waiting[0] == waiting[1]
        if mode == "WRITE":
            clients("x", "LLEN l")
        let_pass(62)
        same.emulator.engine.tick()
        clients.served("A")
        assert all(connection.read() for connection in clients.client("B"))


@pytest.mark.servers(*EVERY_SERVER)
def test_writes_that_a_pause_holds_up(same: Pair) -> None:
    clients = Clients(same)
    newer = same.emulator.engine.server.version.compatible >= (7, 0)
    same("SCRIPT", "LOAD", "return 1")
    clients("x", "CLIENT PAUSE 100000 WRITE")
    clients("y", "MULTI")
    clients.block("y", "PUBLISH channel message")
    clients.block("a", "PFCOUNT none")
    clients.block("b", "EVAL", "return 1", "0")
    clients.block("c", "EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "0")
    clients("d", "GET none")
    if newer:
        clients("d", "EVAL", "#!lua flags=no-writes\nreturn 1", "0")
        clients("d", "EVAL_RO", "return 1", "0")
        clients.block("d", "SPUBLISH channel message")
        clients.block("e", "EVAL", "#!lua\nreturn 1", "0")
        clients.block("f", "FCALL f 0")
    clients("x", "CLIENT UNPAUSE")
    for name in "yabc" + ("def" if newer else ""):
        clients.served(name)


@pytest.mark.servers(*EVERY_SERVER)
def test_nothing_expires_while_writes_are_paused(same: Pair) -> None:
    counted = re.compile(rb"expired_keys:\d+|keys=\d+")

    def shown(section: str) -> None:
        same("INFO", section, key=lambda reply: counted.findall(reply[1]))

    same("CONFIG RESETSTAT")
    for command in ("MULTI", "SET a 1 PX 10", "SET b 1", "CLIENT PAUSE 100000 WRITE", "EXEC"):
        same(command)
    let_pass(12)
    for command in ("GET a", "EXISTS a", "DBSIZE", "KEYS *", "SCAN 0", "SCAN 0 TYPE string"):
        same(command)
    shown("stats")
    shown("keyspace")
    same("CLIENT UNPAUSE")
    same("GET a")
    same("DBSIZE")
    shown("stats")


@pytest.mark.servers(*EVERY_SERVER)
def test_who_monitors_is_a_client_like_any_other(same: Pair) -> None:
    clients = Clients(same)
    clients("m", "MONITOR")
    for command in ("CLIENT LIST TYPE replica", "CLIENT KILL TYPE replica"):
        same(command)
    same("CLIENT LIST TYPE normal", key=lambda reply: reply[1].count(b" flags=O "))
    same("INFO clients", key=lambda reply: reply[1].partition(b"connected_clients:")[2][:2])


def test_unpause_lets_go_in_order() -> None:
    emulator = RedisEmulator(clock=ManualClock())
    client = emulator.client()
    client.client_pause(10_000, all=False)
    writers = [emulator.client().connection_pool.get_connection() for _ in range(3)]
    for number, writer in enumerate(writers):
        writer.send_command("HSET", "k", "field", number)
    client.client_unpause()
    assert [writer.read_response() for writer in writers] == [1, 0, 0]
    assert client.hget("k", "field") == b"2"
