"""The page of all commands: ``python -m redis_emulator.commands > docs/commands.md``.

The page is generated from the table and from `WITHOUT`, which lists the commands of features that
the emulator does not have. They reply as a server on which the feature is off.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from redis_emulator.table import Spec, load

WITHOUT: Final = {
    "no append-only file": ("bgrewriteaof", "waitaof"),
    "no drawing": ("lolwut",),
    "no modules": ("module|load", "module|loadex", "module|unload"),
    "no replication": ("failover", "psync", "replconf", "sync"),
    "the master is not reached": ("replicaof", "slaveof"),
    "nothing is written": ("bgsave", "config|rewrite", "save"),
    "nothing to free": ("memory|malloc-stats", "memory|purge"),
    "for the tests of clients": ("debug", "pfdebug", "pfselftest"),
    "no debugger": ("script|debug",),
}
"""Notes, and the commands that they apply to."""

_TITLES: Final = {
    "string": "Strings",
    "bitmap": "Bitmaps",
    "hash": "Hashes",
    "list": "Lists",
    "set": "Sets",
    "sorted-set": "Sorted sets",
    "stream": "Streams",
    "geo": "Geospatial",
    "hyperloglog": "HyperLogLogs",
    "generic": "Keys",
    "pubsub": "Publish and subscribe",
    "transactions": "Transactions",
    "scripting": "Scripts and functions",
    "connection": "Connections",
    "server": "The server",
    "cluster": "The cluster",
}
_HEAD: Final = """\
# Commands

Every command and subcommand of Redis 8.2 and Valkey 9.1, by family; the emulator has {have} of
{all}. An emulator of an older release has those that the release had, with the arguments that they
took then. `-` is for a server that never had the command. Where nothing is noted, a command does
what it does on a real server.

This page is made by `python -m redis_emulator.commands > docs/commands.md`.
"""


def page(emulated: set[str]) -> str:
    """The page in Markdown.

    Args:
        emulated: The names of all commands that an emulator of any release has.
    """
    rows = load()
    notes = {name: note for note, names in WITHOUT.items() for name in names}
    unknown = notes.keys() - rows.keys()
    if unknown:
        raise KeyError(f"no such commands: {', '.join(sorted(unknown))}")
    groups: dict[str, list[Spec]] = {group: [] for group in _TITLES}
    for name in sorted(rows):
        groups[rows[name].group].append(rows[name])
    parts = [_HEAD.format(have=len(emulated & rows.keys()), all=len(rows))]
    for group, specs in groups.items():
        parts.append("\n".join(_section(_TITLES[group], specs, notes, emulated)))
    return "\n".join(parts)


def _section(
    title: str, specs: list[Spec], notes: dict[str, str], emulated: set[str]
) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| command | Redis | Valkey | time | |"
    yield "|---|---|---|---|---|"
    for spec in specs:
        note = notes.get(spec.name, "") if spec.name in emulated else "not emulated"
        cells = (
            f"`{spec.name.upper().replace('|', ' ')}`",
            _since(spec, "redis"),
            _since(spec, "valkey"),
            spec.complexity.replace("|", "\\|"),
            note,
        )
        yield "| " + " | ".join(cells) + " |"
    yield ""


def _since(spec: Spec, flavour: str) -> str:
    if flavour not in spec.flavours:
        return "-"
    since = spec.since if flavour == "redis" else spec.valkey_since
    first = ".".join(since.split(".")[:2])
    if flavour == "redis" and spec.until:
        return f"{first}, not in {'.'.join(spec.until.split('.')[:2])}"
    return first
