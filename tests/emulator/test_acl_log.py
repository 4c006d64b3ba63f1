"""ACL LOG: its entries, how repeated ones are merged, and the counters in INFO."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.acl import (
    ALL,
    LIMITED,
    both,
    only_the_default_user,
)
from tests.support.pair import Pair, Wire

__all__ = ["only_the_default_user"]  # a fixture that pytest finds here


FIELDS = ("id=", "addr=", "laddr=", "fd=", "qbuf", "argv-mem=", "multi-mem=", "tot-", "rb")


def log_entry(reply: Wire) -> Any:
    """Entries of ACL LOG without times and without fields that differ between connections."""
    kind, content = reply
    if kind not in "*%":
        return reply
    entries = []
    for entry in content:
        pairs = (
            entry[1] if entry[0] == "%" else list(zip(entry[1][::2], entry[1][1::2], strict=True))
        )
        shown = {}
        for (_, name), value in pairs:
            if name == b"client-info":
                fields = value[1].decode().split()
                value = [field for field in fields if not field.startswith(FIELDS)]
                value = [
                    field for field in value if not field.startswith(("age=", "idle=", "multi="))
                ]
            elif name == b"age-seconds" or name.startswith(b"timestamp"):
                value = value[0]
            elif name == b"entry-id":
                value = value[0]
            shown[name] = value
        entries.append(shown)
    return entries


def denials(same: Pair) -> list[dict[bytes, int]]:
    """INFO's ``acl_access_denied`` counters: the emulator's, the server's."""
    texts = [connection("INFO", "stats")[1] for connection in (same.emulated, same.real)]
    found = [re.findall(rb"acl_access_denied_(\w+):(\d+)", text) for text in texts]
    return [{name: int(count) for name, count in pairs} for pairs in found]


@pytest.mark.servers(*ALL)
def test_log_entries_of_commands_denied_by_exec(same: Pair) -> None:
    same("ACL LOG RESET")
    same("ACL", "SETUSER", "u", "on", "nopass", "~k*", "+@all", "-hset")
    mine = same.connect()
    both(mine, "AUTH u x")
    script = ("EVAL", "return redis.pcall('hset', 'k', 'f', 'v')", 0)
    for lines, change in (
        ((("SET", "k", "v"), ("GET", "k")), ("-get",)),
        ((script,), ("+get",)),
        ((("SET", "k", "v"),), ("resetkeys",)),
    ):
        both(mine, "MULTI")
        for words in lines:
            both(mine, "", *words)
        same("ACL", "SETUSER", "u", *change)
        both(mine, "EXEC")
        same("ACL LOG", key=_reasons_and_flags)


def _reasons_and_flags(reply: Wire) -> Any:
    said = [{**entry, b"client-info": None} for entry in log_entry(reply)]
    return said, re.findall(r" (?:flags|multi|cmd)=\S*", repr(reply))


@pytest.mark.servers(*ALL)
def test_log_entries_and_counters_of_denied_commands(same: Pair) -> None:
    same("ACL LOG RESET")
    before = denials(same)
    same("ACL", "SETUSER", "u", *LIMITED.split())
    mine = same.connect()
    both(mine, "AUTH u x")
    for line in ("DEL k", "DEL x", "GET x", "GET y", "PUBLISH d1 x", "SELECT 1", "GET x"):
        both(mine, line)
    for line in ("MULTI", "GET x", "DEL k", "DISCARD"):
        both(mine, line)
    both(mine, "", "EVAL", "return redis.call('get','x')", 0)
    for line in ("AUTH nobody x", "Auth u2 y", "AUTH nobody z", "HELLO 3 AUTH nobody x"):
        both(mine, line)
    same("ACL LOG", key=log_entry)
    counted = [
        [(name, now[name] - then[name]) for name in now]
        for now, then in zip(denials(same), before, strict=True)
    ]
    assert counted[0] == counted[1]


@pytest.mark.servers(*ALL)
def test_arguments_and_length_of_the_log(same: Pair) -> None:
    same("ACL LOG RESET")
    same("ACL", "SETUSER", "u", *LIMITED.split())
    mine = same.connect()
    for line in ("AUTH u x", "DEL k", "GET x", "GET y", "PUBLISH d1 x", "SELECT 1"):
        both(mine, line)
    for count in ("2", "0", "-1", "100"):
        same(f"ACL LOG {count}", key=log_entry)
    same("ACL LOG x")
    same("ACL LOG 1 2")
    same("CONFIG SET acllog-max-len 3")
    both(mine, "DEL q")
    same("ACL LOG", key=log_entry)
    same("CONFIG SET acllog-max-len 128")
    same("ACL LOG reset")
    same("ACL LOG")
    same("ACL DELUSER u")
