"""HELLO, AUTH, SELECT, RESET, QUIT and unknown commands, compared with real servers."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.pair import Pair, Wire

EVERY_SERVER = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")


def greeting(reply: Wire) -> Any:
    """A HELLO reply without the client id and the modules."""
    if reply[0] == "-":
        return reply
    items = reply[1] if reply[0] == "%" else list(zip(reply[1][::2], reply[1][1::2], strict=True))
    return reply[0], [pair for pair in items if pair[0][1] not in (b"id", b"modules")]


@pytest.mark.servers(*EVERY_SERVER)
def test_hello(same: Pair) -> None:
    for line in (
        "HELLO",
        "HELLO 2",
        "HELLO 3",
        "HELLO 2 AUTH default x",
        "HELLO 3 SETNAME me",
        "HELLO 3 SETNAME me AUTH default any",
        "HELLO 2 AUTH nobody x",
        "HELLO 3 AUTH default",
        "HELLO 3 SETNAME",
        "HELLO 3 FOO",
        "HELLO 1",
        "HELLO 4",
        "HELLO abc",
        "HELLO 3.0",
        "HELLO 2 setname x setname y",
    ):
        same(line, key=greeting)
        same("CLIENT GETNAME")
    same("HELLO", "3", "SETNAME", "a b")


@pytest.mark.servers(*EVERY_SERVER)
def test_ping_echo_select(same: Pair) -> None:
    for line in (
        "PING",
        "PING hello",
        "PING a b",
        "ECHO",
        "ECHO x",
        "ECHO x y",
        "SELECT 3",
        "SELECT abc",
        "SELECT 16",
        "SELECT -1",
        "SELECT 0",
        "SELECT 00",
        "SELECT 9999999999999999999999",
    ):
        same(line)


@pytest.mark.servers(*EVERY_SERVER)
def test_auth_without_requirepass(same: Pair) -> None:
    for line in ("AUTH x", "AUTH default x", "AUTH nobody x", "AUTH a b c", "AUTH"):
        same(line)


@pytest.mark.servers(*EVERY_SERVER)
def test_auth_and_hello_with_requirepass(same: Pair) -> None:
    same("CONFIG SET requirepass secret")
    try:
        emulated, real = same.connect_raw()
        for line in (
            "PING",
            "GET x",
            "FOO",
            "HELLO 2",
            "HELLO 2 AUTH default wrong",
            "AUTH wrong",
            "AUTH default wrong",
            "CLIENT GETNAME",
            "MULTI",
            "AUTH secret",
            "PING",
            "AUTH wrong",
            "PING",
        ):
            assert emulated(line) == real(line), line
        emulated, real = same.connect_raw()
        line = "HELLO 3 AUTH default secret SETNAME me"
        assert greeting(emulated(line)) == greeting(real(line))
        assert emulated("CLIENT GETNAME") == real("CLIENT GETNAME")
        same("PING")
    finally:
        same("CONFIG", "SET", "requirepass", "")
    same("AUTH x")


@pytest.mark.servers(*EVERY_SERVER)
def test_quit_closes_the_connection(same: Pair) -> None:
    same("QUIT")
    for connection in (same.emulated, same.real):
        with pytest.raises(ConnectionError):
            connection("PING")


@pytest.mark.servers(*EVERY_SERVER)
def test_reset_clears_the_state_of_the_client(same: Pair) -> None:
    same("SELECT 3")
    same("CLIENT SETNAME me")
    same("WATCH k")
    same("MULTI")
    same("SET k v")
    same("RESET")
    for line in ("CLIENT GETNAME", "EXEC", "GET k", "PING"):
        same(line)
    same("SUBSCRIBE news")
    same("RESET")
    same("GET k")
    info = [c("CLIENT", "LIST")[1].decode() for c in (same.emulated, same.real)]
    fields = [re.findall(r" (?:flags|db|sub|name|resp)=\S*", text)[:5] for text in info]
    assert fields[0] == fields[1]


@pytest.mark.servers(*EVERY_SERVER)
def test_clients_stay_unauthenticated_when_requirepass_is_removed(same: Pair) -> None:
    same("CONFIG SET requirepass secret")
    late = same.connect_raw()
    try:
        for command in ("PING", "HELLO 2"):
            assert late[0](command) == late[1](command)
    finally:
        same("CONFIG", "SET", "requirepass", "")
    for command in ("PING", "HELLO", "HELLO 3", "GET k"):
        assert late[0](command) == late[1](command)


@pytest.mark.servers(*EVERY_SERVER)
def test_unknown_commands_and_subcommands(same: Pair) -> None:
    same("NOSUCH a b")
    same("NOSUCH", "a\r\nb", b"\xff\x00")
    same("NOSUCH", "x" * 200, "y" * 200, "z")
    for line in ("CLIENT", "CLIENT NOSUCH", "CONFIG NOSUCH x", "CONFIG", "CLIENT ID x"):
        same(line)
