"""CLIENT subcommands, compared with real servers."""

from __future__ import annotations

import re

import pytest

from redis_emulator import ManualClock, RedisEmulator
from tests.support.blocking import Clients
from tests.support.pair import Pair
from tests.support.waiting import let_pass

EVERY_SERVER = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
MODERN = ("redis-8.2", "valkey-9.1")

CONNECTION_FIELDS = {"id", "addr", "laddr", "fd", "age", "idle", "qbuf", "qbuf-free"} | {
    *("argv-mem", "multi-mem", "rbs", "rbp", "tot-mem", "omem"),
    *("tot-net-in", "tot-net-out", "tot-cmds"),
}
"""Fields of a CLIENT LIST line that differ between two servers."""


def fields_of(text: bytes) -> dict[str, str]:
    """The fields of a CLIENT LIST line in order; those of the connection have no value."""
    fields = dict(field.split("=", 1) for field in text.decode().removeprefix("txt:").split())
    return {name: "" if name in CONNECTION_FIELDS else value for name, value in fields.items()}


@pytest.mark.servers(*EVERY_SERVER)
def test_client_info(same: Pair) -> None:
    def compare() -> None:
        shown = [fields_of(c("CLIENT", "INFO")[1]) for c in (same.emulated, same.real)]
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
def test_client_setname(same: Pair) -> None:
    for name in ("a", "a b", "a\nb", "é", "~!x", ""):
        same("CLIENT", "SETNAME", name)
        same("CLIENT", "GETNAME")


@pytest.mark.servers(*MODERN)
def test_client_setinfo(same: Pair) -> None:
    same("CLIENT SETINFO LIB-NAME lib")
    same("CLIENT SETINFO lib-ver 1.2")
    same("CLIENT", "SETINFO", "lib-name", "a b")
    same("CLIENT", "SETINFO", "LIB-VER", "a b")
    same("CLIENT SETINFO foo x")
    same("CLIENT SETINFO lib-name")
    for connection in (same.emulated, same.real):
        text = connection("CLIENT", "INFO")[1]
        assert b"lib-name=lib lib-ver=1.2" in text


ARGUMENTS = {
    "LIST": ("TYPE foo", "TYPE", "ID", "ID abc", "FOO"),
    "KILL": (
        *("foo", "1.2.3.4:5", "ID abc", "ID 0", "ID -1", "ID 99999", "TYPE foo", "USER nobody"),
        *("ADDR x", "LADDR x", "SKIPME maybe", "ID 99999 LADDR", "FOO x", "ID 99999 ID 99998"),
        *("MAXAGE abc", "MAXAGE 0"),
    ),
    "REPLY": ("foo", ""),
    "NO-EVICT": ("foo", "on", "off"),
    "NO-TOUCH": ("foo",),
    "UNBLOCK": ("abc", "99999", "99999 ERROR", "99999 FOO", "99 TIMEOUT more"),
    "PAUSE": ("abc", "-1", "1 FOO"),
    "UNPAUSE": ("", "x"),
    "GETREDIR": ("",),
    "TRACKINGINFO": ("",),
    "GETNAME": ("x",),
    "SETNAME": ("",),
}


@pytest.mark.servers(*EVERY_SERVER)
@pytest.mark.parametrize("subcommand", ARGUMENTS)
def test_arguments_without_an_effect(same: Pair, subcommand: str) -> None:
    for arguments in ARGUMENTS[subcommand]:
        same(f"CLIENT {subcommand} {arguments}")


@pytest.mark.servers(*EVERY_SERVER)
def test_client_list_by_type_and_id(same: Pair) -> None:
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
def test_client_kill_by_id_and_address(same: Pair) -> None:
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


@pytest.mark.servers(*EVERY_SERVER)
def test_client_kill_spares_the_caller_unless_told_otherwise(same: Pair) -> None:
    for connection in (same.emulated, same.real):
        number = connection("CLIENT", "ID")[1]
        assert connection("CLIENT", "KILL", "ID", number) == (":", b"0")
        assert connection("CLIENT", "KILL", "ID", number, "SKIPME", "no") == (":", b"1")
        with pytest.raises(ConnectionError):
            connection("PING")


@pytest.mark.servers(*EVERY_SERVER)
def test_client_reply_off_skip_and_on(same: Pair) -> None:
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
def test_client_pause_delays_commands(mode: str) -> None:
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
def test_blocked_clients_are_served_after_a_pause(same: Pair, mode: str) -> None:
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
def test_which_commands_a_write_pause_delays(same: Pair) -> None:
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
def test_keys_do_not_expire_during_a_write_pause(same: Pair) -> None:
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
def test_a_monitor_is_listed_as_a_normal_client(same: Pair) -> None:
    clients = Clients(same)
    clients("m", "MONITOR")
    for command in ("CLIENT LIST TYPE replica", "CLIENT KILL TYPE replica"):
        same(command)
    same("CLIENT LIST TYPE normal", key=lambda reply: reply[1].count(b" flags=O "))
    same("INFO clients", key=lambda reply: reply[1].partition(b"connected_clients:")[2][:2])


def test_unpause_runs_delayed_commands_in_order() -> None:
    emulator = RedisEmulator(clock=ManualClock())
    client = emulator.client()
    client.client_pause(10_000, all=False)
    writers = [emulator.client().connection_pool.get_connection() for _ in range(3)]
    for number, writer in enumerate(writers):
        writer.send_command("HSET", "k", "field", number)
    client.client_unpause()
    assert [writer.read_response() for writer in writers] == [1, 0, 0]
    assert client.hget("k", "field") == b"2"
