"""Permission checks of a limited user, compared with real servers."""

from __future__ import annotations

import pytest

from tests.support.acl import (
    ALL,
    LIBRARY,
    LIMITED,
    MODERN,
    both,
    only_the_default_user,
    rules_of,
)
from tests.support.pair import Pair

__all__ = ["only_the_default_user"]  # a fixture that pytest finds here


CHECKED = {
    "commands": ("DEL k", "WATCH k", "NOSUCH", "GET"),
    "subcommands": (
        *("CONFIG SET a b", "config Set a b", "CONFIG GET maxmemory", "CONFIG FOO"),
        *("SELECT 1", "SELECT 0"),
    ),
    "keys": ("GET x", "GET k", "MSET k1 1 x 2", "RENAME k x", "EVAL 'return(1)' 1 x"),
    "channels": (
        *("PUBLISH d d", "PUBLISH c d", "SUBSCRIBE d d", "SUBSCRIBE c d", "PSUBSCRIBE c1 d d"),
    ),
    "transaction-aborted-by-a-key": ("EXEC", "MULTI", "GET k", "GET x", "PING", "EXEC"),
    "transaction-discarded-after-a-denied-command": ("MULTI", "DEL k", "DISCARD"),
    "transaction-of-permitted-commands": ("MULTI", "GET k", "EXEC"),
}


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("commands", CHECKED.values(), ids=CHECKED)
def test_permissions_are_checked(same: Pair, commands: tuple[str, ...]) -> None:
    same("ACL", "SETUSER", "u", *LIMITED.split())
    mine = same.connect()
    both(mine, "AUTH u x")
    for line in commands:
        both(mine, line)
    same("ACL DELUSER u")


@pytest.mark.servers(*ALL)
def test_permissions_that_change_while_commands_are_queued(same: Pair) -> None:
    same("ACL", "SETUSER", "u", *LIMITED.split())
    mine = same.connect()
    both(mine, "AUTH u x")
    for line in ("MULTI", "GET k", "SET k v", "PUBLISH c1 v", "PING"):
        both(mine, line)
    same("ACL SETUSER u -get resetkeys resetchannels")
    both(mine, "EXEC")
    same("ACL SETUSER u -exec +multi")
    for line in ("MULTI", "PING", "EXEC", "PING", "EXEC"):
        both(mine, line)
    same("ACL SETUSER u off")
    both(mine, "PING")
    both(same.connect(), "AUTH u x")
    same("ACL SETUSER u reset")
    both(mine, "PING")
    same("ACL DELUSER u")


SELECTORS = "ACL SETUSER v on nopass +@all ~k* resetchannels &c* (+get ~a* &d*) (+set %R~b* ~c)"


@pytest.mark.servers(*MODERN)
def test_selectors(same: Pair) -> None:
    same(SELECTORS)
    mine = same.connect()
    both(mine, "AUTH v x")
    for line in (
        "GET a1",
        "SET a1 x",
        "SET b1 x",
        "SET b1 x GET",
        "SET c 1 GET",
        "GET b1",
        "GET c",
        "MGET k a b",
        "RENAME k1 zz",
        "COPY zz k1",
        "COPY k1 zz",
        "PUBLISH d1 x",
        "XREAD STREAMS k zz 0 0",
        "KEYS *",
        "EXISTS zz",
        "TYPE zz",
        "OBJECT ENCODING zz",
        "MEMORY USAGE zz",
        "WATCH zz",
    ):
        both(mine, line)
    same("ACL DELUSER v")


@pytest.mark.servers(*MODERN)
def test_dryrun(same: Pair) -> None:
    same(SELECTORS)
    for line in (
        "get zz",
        "set b1 x",
        "mget k zz",
        "publish q x",
        "subscribe q x",
        "subscribe c x",
        "psubscribe c* x",
        "psubscribe d* x",
        "ACL FOO",
        "CONFIG",
        "CONFIG GET",
        "CONFIG GET x",
        "foo",
        "get",
    ):
        same(f"ACL DRYRUN v {line}")
        same(f"ACL DRYRUN nobody {line}")
    same("ACL SETUSER v -config +config|get")
    for line in ("CONFIG GET x", "config set x y", "CONFIG FOO"):
        same(f"ACL DRYRUN v {line}")
    same("ACL DELUSER v")


@pytest.mark.servers(*ALL)
def test_permissions_that_change_while_a_client_is_blocked(same: Pair) -> None:
    for rules, key in (("-blpop", "l"), ("+blpop resetkeys ~k*", "kk"), ("resetkeys", "k")):
        same("ACL SETUSER u on nopass +@all allkeys")
        mine = same.connect()
        both(mine, "AUTH u x")
        for connection in mine:
            connection.send([b"BLPOP", key.encode(), b"0"])
        for connection in same.connect():
            while b"blocked_clients:1" not in connection("INFO", "clients")[1]:
                continue
        same(f"ACL SETUSER u {rules}")
        same("RPUSH", key, 1)
        assert mine[0].read() == mine[1].read()
        same("LRANGE", key, 0, -1)
        same("DEL", key)


@pytest.mark.servers(*ALL)
def test_acl_pubsub_default(same: Pair) -> None:
    key = rules_of(same)
    for value in ("allchannels", "resetchannels"):
        same("CONFIG", "SET", "acl-pubsub-default", value)
        for rules in ("()", "reset", "resetchannels reset"):
            same("ACL DELUSER w")
            same("ACL", "SETUSER", "w", *rules.split())
            same("ACL LIST", key=key)
    default = "resetchannels" if same.emulator._version.compatible >= (7, 0) else "allchannels"
    same("CONFIG", "SET", "acl-pubsub-default", default)


@pytest.mark.servers(*ALL)
def test_auth_inside_a_transaction(same: Pair) -> None:
    same("ACL SETUSER u on nopass +@all ~* allchannels")
    same("ACL SETUSER u3 on nopass +@all ~*")
    mine = same.connect()
    for line in ("AUTH u x", "MULTI", "AUTH u3 x", "GET k", "ACL WHOAMI"):
        both(mine, line)
    same("ACL SETUSER u3 -get")
    both(mine, "EXEC")


@pytest.mark.servers(*ALL)
def test_permission_checks_among_other_checks_of_a_command(same: Pair) -> None:
    same("ACL SETUSER m on nopass +@all allkeys resetchannels &c -get")
    mine = same.connect_raw()
    for line in ("AUTH m x", "GET", "GET k", "NOSUCH", "MULTI", "MULTI x", "MULTI", "SUBSCRIBE x"):
        both(mine, line)
    for line in (
        "GET k",
        "SET k v",
        "UNSUBSCRIBE",
        "GET",
        "EXEC",
        "SUBSCRIBE c",
        "GET k",
        "SET k v",
    ):
        both(mine, line)
    for line in ("SUBSCRIBE x", "PING", "UNSUBSCRIBE c", "CONFIG", "CONFIG NOSUCH", "WATCH k"):
        both(mine, line)


@pytest.mark.servers(*MODERN)
def test_sort_by_and_get_need_permission_for_all_keys(same: Pair) -> None:
    same("SET ks v")
    mine = same.connect()
    same("ACL SETUSER s on nopass +@all")
    both(mine, "AUTH s x")
    for rules in (
        "~k* %R~r*",
        "resetkeys ~k* %R~*",
        "resetkeys ~k* (+sort ~*)",
        "clearselectors (+get ~*)",
        "clearselectors resetkeys ~*",
    ):
        same("ACL", "SETUSER", "s", *rules.split())
        for words in (
            "k1 BY r*",
            "k1 GET #",
            "k1 BY k",
            "ks BY r*",
            "k1 BY r* FOO",
            "k1 FOO BY r*",
        ):
            both(mine, f"SORT {words}")
        both(mine, "SORT_RO k1 GET r* BY r*")
        both(mine, "", "EVAL", "return redis.pcall('sort',KEYS[1],'get','r*')", 1, "k1")


@pytest.mark.servers(*ALL)
def test_commands_of_scripts_are_checked(same: Pair) -> None:
    same("ACL", "SETUSER", "u", *LIMITED.split())
    mine = same.connect()
    both(mine, "AUTH u x")
    for script in (
        "return redis.call('get','k')",
        "return redis.call('get','x')",
        "return redis.call('del','k')",
        "return redis.call('publish','x','y')",
        "return redis.call('config','set','x','y')",
        "return redis.pcall('del','k')",
        "return redis.call('set','x','v')",
    ):
        both(mine, script, "EVAL", script, 0)
    same("EVAL", "return redis.call('get','x')", 0)
    same("ACL DELUSER u")


@pytest.mark.servers(*MODERN)
def test_acl_check_cmd(same: Pair) -> None:
    same("ACL", "SETUSER", "u", *LIMITED.split())
    mine = same.connect()
    both(mine, "AUTH u x")
    for call in (
        "'get','k'",
        "'get','x'",
        "'del','k'",
        "'publish','c1','k'",
        "'publish','d1','k'",
        "'config','get','k'",
        "'config','set','k'",
        "'config','foo'",
        "'get'",
        "'nosuch'",
    ):
        script = f"return redis.acl_check_cmd({call})"
        both(mine, script, "EVAL", script, 0)


@pytest.mark.servers(*MODERN)
def test_commands_of_functions_are_checked(same: Pair) -> None:
    same("FUNCTION FLUSH")
    same("FUNCTION", "LOAD", LIBRARY)
    same("ACL SETUSER f on nopass +@all ~k* -del")
    mine = same.connect()
    for line in (
        "AUTH f x",
        "FCALL w 1 k",
        "FCALL w 1 z",
        "FCALL d 0 k",
        "FCALL n 1 k",
        "FCALL_RO n 1 z",
        "FCALL_RO n 1 k",
    ):
        both(mine, line)
    same("FUNCTION FLUSH")
