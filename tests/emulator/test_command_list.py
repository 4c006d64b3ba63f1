"""Every command and subcommand that a real server lists is there, and none that it does not."""

from __future__ import annotations

import pytest

from redis_emulator.table.entry import Entry
from tests.support.pair import Pair, Wire

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")

NOT_COMMANDS = {"host:", "post"}
"""What Redis 6.2 lists to catch HTTP requests that reach it by mistake."""


def listed(reply: Wire) -> set[str]:
    """The names in a reply of COMMAND, subcommands as ``container|sub``.

    A server's commands have names in lower case; those of its built-in modules do not.
    """
    names = set()
    for entry in reply[1]:
        details = entry[1]
        names.add(details[0][1].decode())
        if len(details) > 9 and isinstance(details[9][1], list):
            names |= listed(details[9])
    return {name for name in names if name.islower()} - NOT_COMMANDS


def emulated(commands: dict[bytes, Entry]) -> set[str]:
    """The names of all commands that an emulator runs."""
    names = set()
    for entry in commands.values():
        names.add(entry.name)
        names.update(sub.name for sub in (entry.subcommands or {}).values())
    return names


@pytest.mark.servers(*ALL)
def test_nothing_is_lacking(same: Pair) -> None:
    lacking = listed(same.real("COMMAND")) - emulated(same.emulator.engine.server.commands)
    assert lacking == set()


@pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
def test_nothing_is_there_that_the_server_lacks(same: Pair) -> None:
    server = same.emulator.engine.server
    assert emulated(server.commands) - listed(same.real("COMMAND")) == set()
