"""COMMAND subcommands for every emulated command, compared with a real server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.pair import Pair, Wire, arguments

GETKEYS = """
SET
SET a
SET a b
SET a b GET
SET a b NX GET EX 10
GET x
FOO
PING
MULTI
DEL a b c
MSET a b c d
MSET a b c
EVAL a 1 b
EVAL a 0
EVAL a -1 b
EVAL a abc b
EVAL a 5 b
FCALL f 2 a b c
BITFIELD a GET u8 0
BITFIELD a SET u8 0 1
BITFIELD a GET u8 0 INCRBY u8 0 1
BITFIELD a
SORT a
SORT a BY w_* GET x_* STORE b
SORT a LIMIT store x STORE b
SORT a STORE b STORE c
SORT a STORE
SORT_RO a BY x
MIGRATE h p k 0 10
MIGRATE h p k 0 10 KEYS a b
GEORADIUS a 1 2 3 km STORE b STOREDIST c
GEORADIUS a 1 2 3 km
GEORADIUSBYMEMBER a m 3 km STORE d
ZUNIONSTORE a 0 b
ZUNIONSTORE a 5 b
ZUNIONSTORE a 1 b WEIGHTS 1
ZDIFF 9223372036854775807 a
ZDIFF 2 a
ZMPOP 2 a b MIN
BZMPOP 0 2 a b MIN
SINTERCARD 1 a LIMIT 5
LMPOP 2 a b LEFT
BLPOP a b 0
OBJECT
OBJECT ENCODING
OBJECT ENCODING a
OBJECT FOO a
CONFIG GET a
XREAD STREAMS a b c 0 0 0
XREAD COUNT STREAMS STREAMS a 0
XREAD BLOCK 0 STREAMS a
XREAD foo
XREADGROUP GROUP g c STREAMS a >
XGROUP CREATE a b c
XADD s * f v
SPUBLISH a b
SSUBSCRIBE a b
PFCOUNT a b
MEMORY USAGE k
COPY a b
RENAME a b
WATCH a b
DEBUG OBJECT a
RESTORE a 0 x
HSET a b c
BITOP AND a b c
EXISTS a b
"""


def implemented(same: Pair) -> list[bytes]:
    """Commands and subcommands that both sides have."""

    def names(connection: Any) -> set[bytes]:
        return {name for _, name in connection("COMMAND", "LIST")[1]}

    have = names(same.emulated)
    assert have <= names(same.real)
    return sorted(have)


def without_vector_sets(reply: Wire) -> list[bytes]:
    """Names of commands without those in capitals: vector sets are a module, not emulated."""
    return sorted(name for _, name in reply[1] if not name.isupper())


def canonical(reply: Wire) -> Any:
    """A reply in which sets, maps and lists of subcommands have a fixed order."""
    kind, value = reply
    if kind == "~":
        return kind, sorted(map(repr, map(canonical, value)))
    if kind == "%":
        return kind, sorted((repr(key), canonical(part)) for key, part in value)
    if kind == "*" and value:
        parts = [canonical(part) for part in value]
        if all(isinstance(part[1], list) and part[0] == "*" for part in parts):
            parts.sort(key=repr)
        return kind, parts
    return reply


def sorted_reply(reply: Wire) -> Any:
    return reply[0], sorted(map(repr, reply[1]))


def without_missing_subcommands(have: list[bytes], reply: Wire) -> Wire:
    """``reply`` without subcommands that the emulator does not have."""
    kind, value = reply
    if not isinstance(value, list) or kind not in "*~":
        return reply
    parts = [without_missing_subcommands(have, part) for part in value]
    kept = [
        p for p in parts if not isinstance(p[1], list) or not p[1] or is_emulated(have, p[1][0][1])
    ]
    return ("*" if kind == "~" and not value else kind), kept


def is_emulated(have: list[bytes], name: Any) -> bool:
    return not isinstance(name, bytes) or b"|" not in name or name in have


def test_command_info_of_every_command(same: Pair) -> None:
    have = implemented(same)
    for name in have:
        same(
            "COMMAND",
            "INFO",
            name,
            key=lambda reply: canonical(without_missing_subcommands(have, reply)),
        )
    same("COMMAND INFO nosuch get|x GET")
    same("COMMAND INFO a b c")


def test_command_docs_of_every_command(same: Pair) -> None:
    containers = {name.split(b"|")[0] for name in implemented(same) if b"|" in name}
    for name in implemented(same):
        if name not in containers:
            same("COMMAND", "DOCS", name, key=canonical)
    same("COMMAND DOCS nosuch")
    same("COMMAND DOCS get nosuch config|get")


@pytest.mark.parametrize("form", ["GETKEYS", "GETKEYSANDFLAGS"])
def test_command_getkeys(form: str, same: Pair) -> None:
    have = {name.split(b"|")[0] for name in implemented(same)}
    for line in GETKEYS.strip().splitlines():
        words = arguments((line,))
        if words[0].lower() in have or words[0] == b"FOO":
            same("COMMAND", form, *words, key=canonical)
    if b"migrate" in have:
        same("COMMAND", form, "MIGRATE", "h", "p", "", "0", "10", "KEYS", "a", "b")
        same("COMMAND", form, *"MIGRATE h p".split(), "", *"0 10 AUTH keys KEYS a b".split())


def test_command_list_filters(same: Pair) -> None:
    same("COMMAND LIST", key=without_vector_sets)
    for line in (
        "COMMAND LIST FILTERBY PATTERN config|*",
        "COMMAND LIST FILTERBY PATTERN CLIENT|S*",
        "COMMAND LIST FILTERBY PATTERN nosuch*",
        "COMMAND LIST FILTERBY MODULE nosuch",
        "COMMAND LIST FILTERBY ACLCAT nosuch",
    ):
        same(line, key=sorted_reply)
    have = implemented(same)
    for category in ("admin", "connection", "pubsub", "dangerous"):
        line = f"COMMAND LIST FILTERBY ACLCAT {category}"
        emulated, real = ({name for _, name in c(line)[1]} for c in (same.emulated, same.real))
        assert emulated == real & set(have)


def test_argument_errors_and_help(same: Pair) -> None:
    for line in (
        "COMMAND LIST FILTERBY FOO x",
        "COMMAND LIST FILTERBY",
        "COMMAND LIST FILTERBY PATTERN",
        "COMMAND LIST FOO",
        "COMMAND FOO",
        "COMMAND COUNT x",
        "COMMAND GETKEYS",
        "COMMAND HELP",
        "COMMAND HELP x",
    ):
        same(line)
