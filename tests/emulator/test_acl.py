"""ACL commands and requirepass, compared with real servers."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from redis_emulator import RedisEmulator
from tests.support.acl import (
    ALL,
    MODERN,
    both,
    only_the_default_user,
    rules_of,
)
from tests.support.pair import (
    Pair,
    Wire,
    unordered,
)

__all__ = ["only_the_default_user"]  # a fixture that pytest finds here


HASH = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"

RULES = {
    "passwords": (
        ">p1",
        "<nopw",
        "!nopw",
        f"!{HASH}",
        "#zz",
        f"#{HASH}",
        f"#{HASH}",
        "nopass",
        ">x >y >x",
        "<x",
        "resetpass",
    ),
    "flags-and-reset": (
        "~foo:* &ch* +get on",
        "skip-sanitize-payload",
        "sanitize-payload",
        "reset",
        "allcommands nocommands",
        "ON OFF NOPASS ALLKEYS",
        "allcommands ON >a >b <a RESETPASS allchannels resetchannels",
    ),
    "commands-and-categories": (
        "+@all -@dangerous +config|get -config +config|get +select|0 +SELECT|1",
        "+select",
        "-@all +@read +get -@read",
        "+@read +GET -get|x",
        "+GET -@READ +@Write -set",
        "+@all +@read -@all",
        "+@all -@all +@all",
        "+@all -@all +@list +@hash -@slow +client|kill -client|list",
        "+@all -@slow +@fast -@read +@keyspace",
        "+@all -acl|list -acl +acl|whoami",
        "-@all +@connection -@fast +object|freq -object",
        "+@scripting +@pubsub +@blocking -@stream",
    ),
    "subcommands-and-first-arguments": (
        "+config|foo",
        "+config|get|x",
        "+config|get|",
        "-@all +set|x -set|x",
        "-@all +set|x +SET|Y +set|x",
        "-set",
        "+config|get +config -config|set",
        "-config|get|foo",
        "-config|foo",
        "+config|",
        "+get|",
    ),
    "unknown-and-empty-names": ("+foo", "-foo", "+@foo", "foo", "+", "-", "+@", "~ & >"),
    "key-and-channel-patterns": (
        "~foo:* &ch*",
        "~* ~x",
        "allkeys ~x",
        "allkeys ~*",
        "allchannels &x",
        "resetchannels &x &*",
    ),
    "read-and-write-permissions": (
        "%R~r* %W~w* %RW~rw* ~z %WR~q",
        "resetkeys %R~r* %W~w* %RW~rw* ~z %WR~q",
        "%R~w*",
        "~r*",
        "resetkeys %~x",
        "%R",
        "%RR~x",
        "%x~x",
        "%R~*",
        "%W~*",
        "~x",
        "~*",
    ),
    "selectors": (
        "( +get ~a )",
        "(+get ~a) (-@all +set %R~b &c)",
        "( +get",
        "(+get) x",
        "()",
        "(on)",
        ")",
        "(+foo)",
        "(>a)",
        "(reset)",
        "(~a ~* ~b)",
        "(allkeys +@all allchannels)",
        "clearselectors",
        "(+get ~a)",
        "resetselectors",
    ),
}


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_setuser_rules(same: Pair, rules: tuple[str, ...]) -> None:
    key = rules_of(same)
    same("ACL SETUSER u")
    for line in rules:
        same("ACL", "SETUSER", "u", *line.split())
        same("ACL", "GETUSER", "u", key=key)
        same("ACL", "LIST", key=key)
    same("ACL", "DELUSER", "u")


@pytest.mark.servers(*ALL)
def test_setuser_rules_with_whitespace_and_quotes(same: Pair) -> None:
    for rules in (
        ["~a b"],
        ["&a b"],
        [">a b"],
        ["( +get", "~x )"],
        ["( +get", "~x", ")"],
        ["(+get", "~x", "y)"],
        ["(( +get ))"],
        ["(+get) "],
        ["reset x"],
        [""],
        ["()", "clearselectors"],
        ["(~'x' +get)"],
        ['(~a"b)'],
        ['(~"x y")'],
        ["(~a\\b)"],
        [b"(~a\xff* &\xfe)"],
    ):
        same("ACL", "SETUSER", "u", "reset", *rules)
        same("ACL", "GETUSER", "u", key=rules_of(same))


@pytest.mark.servers(*ALL)
def test_user_names_that_are_empty_or_have_whitespace_or_binary_bytes(same: Pair) -> None:
    same("ACL", "SETUSER", "u", "reset")
    same("ACL", "SETUSER", "a b", "on")
    same("ACL", "SETUSER", b"a\0b", "on")
    same("ACL", "SETUSER", "", "on")
    same("ACL", "SETUSER", b"\xff\xfe", "on")
    same("ACL", "LIST", key=rules_of(same))
    same("ACL", "USERS")
    same("ACL", "DELUSER", "", "u", "default")
    same("ACL", "DELUSER", "", "u", "nobody", b"\xff\xfe")
    same("ACL", "LIST")


@pytest.mark.servers("valkey-9.1")
def test_database_rules_are_checked_before_command_rules(same: Pair) -> None:
    mine = same.connect()
    for rules in ("resetdbs", "resetdbs +get", "db=1 +get", "resetdbs (+get ~*)", "+get db=0"):
        same("ACL", "SETUSER", "u", "reset", "on", "nopass", *rules.split(" ", 1))
        for words in ("GET k", "SET k v", "SELECT 1", "COPY k l DB 1", "FLUSHALL", "PING"):
            same("ACL", "DRYRUN", "u", *words.split())
            both(mine, "AUTH u x")
            both(mine, words)


@pytest.mark.servers("valkey-9.1")
def test_setuser_database_rules(same: Pair) -> None:
    for rules in (
        "db=0",
        "db=3,1,1",
        "DB=2",
        "resetdbs",
        "alldbs db=1",
        "ALLDBS",
        "db=",
        "db=x",
        "db=1,",
        "db=99",
        "db=1 (db=2 +get)",
        "reset",
    ):
        same("ACL", "SETUSER", "d", *rules.split())
        same("ACL", "GETUSER", "d")
        same("ACL", "LIST")


@pytest.mark.servers("valkey-9.1")
def test_commands_on_databases_that_a_user_may_not_access(same: Pair) -> None:
    same("ACL SETUSER d on nopass +@all ~k* allchannels db=0,2")
    mine = same.connect()
    both(mine, "AUTH d x")
    for line in (
        "GET k",
        "SELECT 1",
        "MOVE k 1",
        "MOVE k 2",
        "COPY k k2 DB 1",
        "COPY k k2 DB x",
        "COPY k k2",
        "SWAPDB 0 1",
        "SWAPDB 0 x",
        "FLUSHALL",
        "FLUSHDB",
        "GET x",
        "MULTI",
        "GET k",
    ):
        both(mine, line)
    same("ACL SETUSER d db=1")
    for line in ("EXEC", "GET k", "PING", "RANDOMKEY", "DBSIZE", "WATCH k", "CONFIG GET databases"):
        both(mine, line)
    for line in ("GET k", "SELECT 0", "SELECT 1", "COPY k k2 DB 0", "MOVE k 0", "FLUSHALL"):
        same(f"ACL DRYRUN d {line}")
    same("ACL DELUSER d")


DEFAULT_USER = {
    "requirepass": (
        "0 CONFIG SET requirepass foo",
        "0 ACL LIST",
        "0 CONFIG GET requirepass",
        "0 PING",
        "1 PING",
        "1 AUTH bar",
        "1 AUTH foo",
        "1 PING",
        "0 AUTH a b c",
    ),
    "second-password": (
        "0 CONFIG SET requirepass foo",
        "0 ACL SETUSER default >bar",
        "0 CONFIG GET requirepass",
        "2 AUTH bar",
        "3 AUTH default bar",
        "4 PING",
    ),
    "nopass-lets-connected-clients-in": (
        "0 CONFIG SET requirepass foo",
        "4 PING",
        "0 ACL SETUSER default nopass",
        "5 PING",
        "4 PING",
        "4 ACL WHOAMI",
        "4 AUTH x",
        "4 AUTH default x",
    ),
    "requirepass-keeps-connected-clients": (
        "4 PING",
        "0 CONFIG SET requirepass foo",
        "4 PING",
        "6 MULTI",
        "6 EXEC",
    ),
    "disabled": (
        "0 ACL SETUSER default off nopass",
        "7 PING",
        "7 HELLO",
        "7 HELLO 3",
        "7 AUTH x",
        "7 AUTH default x",
        "7 GET",
        "7 RESET",
        "0 ACL SETUSER default on",
        "7 PING",
    ),
    "resetpass": ("0 ACL SETUSER default resetpass", "8 PING", "8 AUTH x"),
    "limited-permissions": (
        "0 ACL SETUSER default nopass -get",
        "0 GET k",
        "0 ACL SETUSER default +@all resetkeys",
        "0 GET k",
        "0 ACL SETUSER default allkeys",
        "0 GET k",
    ),
}
"""Commands after the number of the client that sends them; client 0 was connected before."""


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("steps", DEFAULT_USER.values(), ids=DEFAULT_USER)
def test_default_user(same: Pair, steps: tuple[str, ...]) -> None:
    connections: dict[str, Any] = {"0": (same.emulated, same.real)}
    try:
        for step in steps:
            name, line = step.split(" ", 1)
            if name not in connections:
                connections[name] = same.connect_raw()
            both(connections[name], line)
    finally:
        same.real("ACL SETUSER default on nopass +@all allkeys")
        same.real("CONFIG", "SET", "requirepass", "")


@pytest.mark.servers(*MODERN)
def test_subscribers_are_disconnected_when_they_lose_a_channel(same: Pair) -> None:
    same("ACL SETUSER u on nopass +@all resetchannels &c* &d* &p")
    kept, lost, pattern = (same.connect_raw() for _ in range(3))
    for pair, line in (
        (kept, "SUBSCRIBE c1"),
        (lost, "SUBSCRIBE c2 d1"),
        (pattern, "PSUBSCRIBE p"),
    ):
        for connection in pair:
            connection("HELLO 3 AUTH u x")
        both(pair, line)
    for connection in lost:
        connection.read()
    same("ACL SETUSER u resetchannels &c* &p")
    both(kept, "PING")
    both(pattern, "PING")
    for connection in lost:
        with pytest.raises(ConnectionError):
            connection("PING")
    same("ACL SETUSER u resetchannels &c* &p*")
    both(kept, "PING")
    for connection in pattern:
        with pytest.raises(ConnectionError):
            connection("PING")
    same("ACL SETUSER u allchannels")
    both(kept, "PING")
    same("ACL DELUSER u nobody")
    for connection in kept:
        with pytest.raises(ConnectionError):
            connection("PING")


@pytest.mark.servers(*ALL)
def test_deluser_of_the_calling_user_disconnects_it(same: Pair) -> None:
    same("ACL SETUSER u on nopass +@all allkeys")
    mine = same.connect()
    both(mine, "AUTH u x")
    both(mine, "ACL WHOAMI")
    both(mine, "ACL DELUSER u")
    for connection in mine:
        with pytest.raises(ConnectionError):
            connection("PING")


@pytest.mark.servers(*ALL)
def test_acl_cat(same: Pair) -> None:
    same("ACL CAT")
    for name in ("read", "dangerous", "SLOW", "scripting", "connection", "blocking"):
        same("ACL", "CAT", name, key=known_commands)
    same("ACL CAT foo")
    same("ACL CAT x y")


@pytest.mark.servers(*ALL)
def test_acl_subcommands_with_missing_and_wrong_arguments(same: Pair) -> None:
    for line in (
        "WHOAMI",
        "USERS",
        "SAVE",
        "LOAD",
        "DRYRUN",
        "DRYRUN default get x",
        "FOO",
        "SETUSER",
        "GETUSER",
        "GETUSER nobody",
        "DELUSER",
        "LIST x",
        "HELP",
        "HELP x",
    ):
        same(f"ACL {line}")


@pytest.mark.servers(*ALL)
def test_acl_genpass(same: Pair) -> None:
    for arguments in ("0", "4097", "x", "1 2"):
        same(f"ACL GENPASS {arguments}")
    for bits in (1, 4, 5, 256, 4096):
        same("ACL", "GENPASS", bits, key=lambda reply: (reply[0], len(reply[1])))
    same("ACL GENPASS", key=lambda reply: (reply[0], len(reply[1])))


NOT_COMPARED = (b"v", b"host:", b"post", b"stralgo", b"quit")


def known_commands(reply: Wire) -> Any:
    """A list of commands without vector sets (a module) and internal commands of Redis 6.2."""
    kind, names = unordered((reply[0], [n for n in reply[1] if not n[1].startswith(NOT_COMPARED)]))
    return kind, names


@pytest.mark.servers("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
def test_acl_log_with_acllog_max_len_0(same: Pair) -> None:
    same("ACL LOG RESET")
    same("ACL SETUSER joe reset on nopass +@all ~k*")
    same("AUTH joe x")
    same("GET a")
    same("GET b")
    same("CONFIG SET acllog-max-len 0")
    same("GET b")
    same("ACL LOG", key=lambda reply: len(reply[1]))
    same("CONFIG SET acllog-max-len 128")


@pytest.mark.servers("redis-6.2", "redis-7.0", "redis-8.2")
def test_noperm_and_unknown_subcommand_errors_of_a_container_command(same: Pair) -> None:
    same("ACL SETUSER joe reset on nopass -@all")
    same("AUTH joe x")
    same("ACL")
    same("ACL NOSUCH")


@pytest.mark.servers("redis-6.2", "redis-7.0", "redis-8.2", "valkey-9.1")
def test_options_before_a_failing_option_of_hello_take_effect(same: Pair) -> None:
    same("ACL SETUSER joe reset on >p +@all")
    same("HELLO 2 AUTH joe x SETNAME")
    same("HELLO", "2", "AUTH", "joe", "p", "SETNAME", "a b")
    same("ACL WHOAMI")
    same("HELLO 2 AUTH joe p SETNAME ann NOSUCH")
    same("CLIENT GETNAME")


def test_redis_py_client_of_a_user_with_few_permissions() -> None:
    emulator = RedisEmulator()
    admin = emulator.client()
    admin.acl_setuser("reader", enabled=True, passwords=["+p"], keys=["cache:*"], commands=["+get"])
    reader = emulator.client(username="reader", password="p")
    admin.set("cache:1", "v")
    assert reader.get("cache:1") == b"v"
    with pytest.raises(Exception, match="No permissions to access a key"):
        reader.get("other")
    with pytest.raises(Exception, match="has no permissions to run the 'set' command"):
        reader.set("cache:1", "w")
    emulator.reset()
    assert admin.acl_users() == ["default"]


def test_acl_check_cmd_with_missing_key_arguments_raises_an_error() -> None:
    """Not compared: real servers crash if the arguments that name keys are missing."""
    emulator = RedisEmulator()
    admin = emulator.client()
    admin.execute_command("ACL SETUSER u on nopass ~a* +@all")
    client = emulator.client(username="u", password="x")
    with pytest.raises(redis.ResponseError, match="Invalid command passed to redis"):
        client.eval("return redis.acl_check_cmd('set')", 0)
    assert client.eval("return redis.acl_check_cmd('set', 'ab', 1)", 0) == 1


BINARY_PASSWORD = b"abc\0\r\ndef"


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize(
    ("password", "attempts"),
    [
        (
            BINARY_PASSWORD,
            (
                *(b"abc", b"abc\0", b"abc\0\r\nde", BINARY_PASSWORD + b"\0", b""),
                BINARY_PASSWORD,
            ),
        ),
        (b"\0secret", (b"", b"\0", b"\0secret")),
    ],
    ids=["in-the-middle", "at-the-beginning"],
)
def test_requirepass_with_a_zero_byte(
    same: Pair, password: bytes, attempts: tuple[bytes, ...]
) -> None:
    try:
        same("CONFIG", "SET", "requirepass", password)
        same("CONFIG", "GET", "requirepass")
        for attempt in attempts:
            same("AUTH", attempt)
            same("AUTH", "default", attempt)
            same("HELLO", "2", "AUTH", "default", attempt, key=lambda reply: reply[0])
            same("HELLO", "3" if same.protocol == 3 else "2", key=lambda reply: reply[0])
    finally:
        same("AUTH", "default", password)
        same("CONFIG", "SET", "requirepass", "")


@pytest.mark.servers(*ALL)
def test_user_password_with_a_zero_byte(same: Pair) -> None:
    same("ACL", "SETUSER", "u", "on", "+@all", b">p\0q")
    same("ACL", "SETUSER", "u", b"<p")
    for attempt in (b"p", b"p\0", b"p\0q"):
        same("AUTH", "u", attempt)
    same("ACL", "SETUSER", "u", b"<p\0q")


@pytest.mark.servers(*ALL)
def test_masterauth_and_masteruser_with_a_zero_byte(same: Pair) -> None:
    try:
        for name, value in (("masterauth", BINARY_PASSWORD), ("masteruser", b"m\0x")):
            same("CONFIG", "SET", name, value)
            same("CONFIG", "GET", name)
    finally:
        for name in ("masterauth", "masteruser"):
            same("CONFIG", "SET", name, "")
