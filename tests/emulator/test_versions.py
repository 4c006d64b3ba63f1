"""Every release that can be emulated: reported version, commands and arguments.

Other tests compare with real servers, for the releases that are installed.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest
import redis

from redis_emulator import RedisEmulator
from redis_emulator.table.entry import Entry

RELEASES = (
    *(("redis", version) for version in ("6.2", "7.0", "7.2", "7.4", "8.0", "8.2")),
    *(("valkey", version) for version in ("7.2", "8.0", "8.1", "9.0", "9.1")),
)
NEVER = "99.0"

ARGUMENTS = (
    ("SET k v NX GET", "7.0", "7.2"),
    ("SET k v IFEQ v", NEVER, "8.1"),
    ("EXPIRE k 100 NX", "7.0", "7.2"),
    ("PEXPIRE k 100000 XX", "7.0", "7.2"),
    ("EXPIREAT k 4102444800 GT", "7.0", "7.2"),
    ("PEXPIREAT k 4102444800000 LT", "7.0", "7.2"),
    ("BITCOUNT k 0 1 BIT", "7.0", "7.2"),
    ("BITPOS k 1 0 1 BIT", "7.0", "7.2"),
    ("BITOP DIFF d k k", "8.2", NEVER),
    ("BITOP ONE d k k", "8.2", NEVER),
    ("ZRANK z a WITHSCORE", "7.2", "7.2"),
    ("ZREVRANK z a WITHSCORE", "7.2", "7.2"),
    ("HSCAN h 0 NOVALUES", "7.4", "8.0"),
    ("XADD s 7-* f v", "7.0", "7.2"),
    ("XADD s KEEPREF 8-1 f v", "8.2", NEVER),
    ("XTRIM s MAXLEN 100 DELREF", "8.2", NEVER),
    ("XREAD STREAMS s +", "7.4", "8.0"),
    ("XGROUP CREATE s h 0 ENTRIESREAD 1", "7.0", "7.2"),
    ("XGROUP SETID s g 0 ENTRIESREAD 1", "7.0", "7.2"),
    ("XSETID s 9-9 ENTRIESADDED 9", "7.0", "7.2"),
    ("GEOSEARCH geo FROMLONLAT 1 1 BYBOX 10 10 km", "6.2", "7.2"),
    ("GEOSEARCH geo BYPOLYGON 3 0 0 0 3 3 0", NEVER, "9.0"),
    ("CONFIG GET save port", "7.0", "7.2"),
    ("CONFIG SET hz 10 timeout 0", "7.0", "7.2"),
    ("INFO server clients", "7.0", "7.2"),
    ("CLIENT KILL MAXAGE 10000", "7.4", "8.0"),
    ("CLIENT KILL NAME nobody", NEVER, "9.0"),
    ("CLIENT LIST ID 1", "6.2", "7.2"),
    ("CLIENT LIST USER default", NEVER, "8.1"),
    ("CLIENT LIST NOT-USER default", NEVER, "9.0"),
    ("CLIENT LIST CAPA r", NEVER, "9.0"),
    ("ACL SETUSER u %R~k", "7.0", "7.2"),
    ("ACL SETUSER u (+get)", "7.0", "7.2"),
    ("ACL SETUSER u +config|get", "6.2", "7.2"),
    ("DEBUG PAUSE-CRON 0", "7.0", "7.2"),
    ("DEBUG DICT-RESIZING 1", "7.2", "7.2"),
)
"""A command, the releases of Redis and Valkey from which on it is understood."""

COMMANDS = (
    ("GETEX k", "6.2", "7.2"),
    ("COPY k l", "6.2", "7.2"),
    ("ZRANGE z [a [b BYLEX", "6.2", "7.2"),
    ("ZRANGESTORE d z 0 -1", "6.2", "7.2"),
    ("XAUTOCLAIM s g c 0 0", "6.2", "7.2"),
    ("STRALGO LCS KEYS k k", "6.2", NEVER),
    ("LCS k k", "7.0", "7.2"),
    ("SINTERCARD 1 no", "7.0", "7.2"),
    ("LMPOP 1 no LEFT", "7.0", "7.2"),
    ("ZMPOP 1 no MIN", "7.0", "7.2"),
    ("EXPIRETIME k", "7.0", "7.2"),
    ("SORT_RO no", "7.0", "7.2"),
    ("FUNCTION LIST", "7.0", "7.2"),
    ("SPUBLISH c m", "7.0", "7.2"),
    ("COMMAND DOCS get", "7.0", "7.2"),
    ("ACL DRYRUN default get k", "7.0", "7.2"),
    ("LATENCY HISTOGRAM", "7.0", "7.2"),
    ("CLIENT NO-EVICT on", "7.0", "7.2"),
    ("CLIENT NO-TOUCH on", "7.2", "7.2"),
    ("CLIENT SETINFO LIB-NAME x", "7.2", "7.2"),
    ("WAITAOF 0 0 1", "7.2", "7.2"),
    ("HEXPIRE h 100 FIELDS 1 f", "7.4", "9.0"),
    ("HGETEX h FIELDS 1 f", "8.0", "9.0"),
    ("HGETDEL h FIELDS 1 no", "8.0", "9.1"),
    ("XDELEX s IDS 1 5-5", "8.2", NEVER),
    ("XACKDEL s g IDS 1 5-5", "8.2", NEVER),
    ("SCRIPT SHOW 0123456789012345678901234567890123456789", NEVER, "8.0"),
    ("COMMANDLOG LEN slow", NEVER, "8.1"),
    ("CLIENT CAPA redirect", NEVER, "8.0"),
    ("DELIFEQ k x", NEVER, "9.0"),
    ("MSETEX 1 k v", NEVER, "9.1"),
)
UNDERSTOOD = ("NOSCRIPT",)
"""Errors of commands that are known."""


def number(version: str) -> tuple[int, ...]:
    """A version for comparing."""
    return tuple(map(int, version.split(".")))


def emulator_of(flavour: str, version: str) -> RedisEmulator:
    """An emulator with a key of each kind that the cases need."""
    emulator = RedisEmulator(version=version, flavour=flavour)
    for words in (
        *("SET k v", "HSET h f v", "ZADD z 1 a", "GEOADD geo 1 1 a", "XADD s 1-1 f v"),
        *("XGROUP CREATE s g 0",),
    ):
        emulator.execute(*words.split())
    return emulator


def is_understood(emulator: RedisEmulator, words: str) -> bool:
    """Whether the server accepts the command and its arguments."""
    try:
        emulator.execute(*words.split())
    except redis.ResponseError as error:
        return str(error).startswith(UNDERSTOOD)
    return True


@pytest.mark.parametrize(("flavour", "version"), RELEASES)
def test_arguments_exist_since_a_release(flavour: str, version: str) -> None:
    for words, since, valkey_since in (*ARGUMENTS, *COMMANDS):
        first = since if flavour == "redis" else valkey_since
        expected = number(version) >= number(first)
        if words.startswith("STRALGO"):
            expected = version == "6.2"
        assert is_understood(emulator_of(flavour, version), words) is expected, words


@pytest.mark.parametrize(("flavour", "version"), RELEASES)
def test_reported_version(flavour: str, version: str) -> None:
    emulator = RedisEmulator(version=version, flavour=flavour)
    info = emulator.client().info("server")
    full = emulator.engine.server.version.text
    hello: Any = emulator.execute("HELLO", "3")
    drawn: Any = emulator.execute("LOLWUT")
    assert full.startswith(f"{version}.")
    assert hello[b"server"].decode() == flavour
    assert hello[b"version"].decode() == full
    assert full.encode() in drawn
    if flavour == "redis":
        assert info["redis_version"] == full
        assert "valkey_version" not in info
    else:
        assert info["redis_version"] == "7.2.4"
        assert (info["server_name"], info["valkey_version"]) == ("valkey", full)


def test_unknown_releases_raise_value_error() -> None:
    for flavour, version in (("redis", "5.0"), ("redis", "9.1"), ("valkey", "6.2"), ("other", "1")):
        with pytest.raises(ValueError, match=r"choose|must be one of"):
            RedisEmulator(version=version, flavour=flavour)
    assert RedisEmulator(version="7.2.5").engine.server.version.number[:2] == (7, 2)


def commands_of(flavour: str, version: str) -> set[str]:
    """The names of the commands that an emulator of that release has."""
    names = set()
    commands: dict[bytes, Entry] = RedisEmulator(
        version=version, flavour=flavour
    ).engine.server.commands
    for entry in commands.values():
        names.add(entry.name)
        names.update(sub.name for sub in (entry.subcommands or {}).values())
    return names


@pytest.mark.parametrize(("flavour", "version"), RELEASES)
def test_commands_are_those_of_the_release(flavour: str, version: str) -> None:
    every = {name for release in RELEASES for name in commands_of(*release)}
    expected = set()
    for file in resources.files("redis_emulator.table").iterdir():
        for name, row in (
            json.loads(file.read_text()) if file.name.endswith("json") else {}
        ).items():
            since = row["since"] if flavour == "redis" else row.get("valkey_since", row["since"])
            until = row.get("until", NEVER)
            if flavour in row.get("flavours", ("redis", "valkey")):
                if number(since)[:2] <= number(version) < number(until)[:2]:
                    expected.add(name)
    assert commands_of(flavour, version) == expected & every
