"""The emulator has exactly the commands and subcommands that a real server lists."""

from __future__ import annotations

import pytest

from redis_emulator.table.entry import Entry
from tests.support.pair import Pair, Wire

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")

NOT_COMMANDS = {"host:", "post"}
"""Internal commands of Redis 6.2 that detect HTTP requests."""


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
def test_every_command_of_the_server_is_emulated(same: Pair) -> None:
    lacking = listed(same.real("COMMAND")) - emulated(same.emulator.engine.server.commands)
    assert lacking == set()


@pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
def test_every_emulated_command_is_one_of_the_server(same: Pair) -> None:
    server = same.emulator.engine.server
    assert emulated(server.commands) - listed(same.real("COMMAND")) == set()
