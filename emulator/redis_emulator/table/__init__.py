"""The command table: one JSON file per group, one row per command or subcommand.

``python -m redis_emulator.table`` reads the rows from running servers; `load` returns them as
`Spec` objects. A new command needs a row here and a function in `redis_emulator.commands`, nothing
else: COMMAND, ACL, cluster slots, MULTI, scripts and ``docs/commands.md`` use the row.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from redis_emulator.version import Version


@dataclass(frozen=True, slots=True)
class Spec:
    """A row of the command table.

    Attributes:
        name: Lower case; a subcommand is ``container|sub``.
        arity: Number of arguments with the name; negative for "at least".
        flags: As in the reply of COMMAND.
        keys: First key, last key, step, as in the reply of COMMAND.
        categories: ACL categories, without ``@``.
        tips: Hints for clients.
        key_specs: Key specifications as in the reply of COMMAND INFO.
        group: The group of the command, as in the reply of COMMAND DOCS.
        since: The Redis version that added it.
        complexity: Time complexity.
        summary: What the command does, for COMMAND DOCS. Left out of the rows that were read from
            servers, whose documents are in ``documents/docs.json``.
        arguments: Its arguments as COMMAND DOCS describes them; left out likewise.
        flavours: The servers that have it: ``redis``, ``valkey``.
        valkey_since: The Valkey version that added it, if that differs from ``since``.
        legacy_arity: The arity of older releases, if it was different; else 0.
        legacy_before: The Redis version that introduced the present arity.
        valkey_arity: The arity since Valkey 9.0, if it is different; else 0.
        until: The Redis version that removed the command, if any.
    """

    name: str
    arity: int
    flags: tuple[str, ...]
    keys: tuple[int, int, int]
    categories: tuple[str, ...]
    tips: tuple[str, ...]
    key_specs: tuple[dict[str, Any], ...]
    group: str
    since: str
    complexity: str
    flavours: tuple[str, ...]
    valkey_since: str
    legacy_arity: int
    legacy_before: str
    valkey_arity: int = 0
    until: str = ""
    summary: str = ""
    arguments: tuple[dict[str, Any], ...] = ()

    def of(self, version: Version) -> Spec:
        """The row as a server of ``version`` has it."""
        if self.legacy_arity and version.compatible < _numbers(self.legacy_before):
            return replace(self, arity=self.legacy_arity)
        if self.valkey_arity and version.is_valkey(9):
            return replace(self, arity=self.valkey_arity)
        return self

    def exists_in(self, version: Version) -> bool:
        """Whether a server of ``version`` has the command."""
        if version.flavour not in self.flavours:
            return False
        if self.until and version.compatible >= _numbers(self.until):
            return False
        since = self.since if version.is_redis() else self.valkey_since
        return _numbers(since) <= max(version.number, version.compatible)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


@cache
def load() -> dict[str, Spec]:
    """All rows by name."""
    rows: dict[str, Spec] = {}
    for file in resources.files(__name__).iterdir():
        if not file.name.endswith(".json"):
            continue
        for name, row in json.loads(file.read_text("utf-8")).items():
            rows[name] = Spec(
                name=name,
                arity=row["arity"],
                flags=tuple(row["flags"]),
                keys=tuple(row.get("keys", (0, 0, 0))),
                categories=tuple(row["categories"]),
                tips=tuple(row.get("tips", ())),
                key_specs=tuple(row.get("key_specs", ())),
                group=row["group"],
                since=row["since"],
                complexity=row.get("complexity", ""),
                flavours=tuple(row.get("flavours", ("redis", "valkey"))),
                valkey_since=row.get("valkey_since", row["since"]),
                legacy_arity=row.get("legacy_arity", 0),
                legacy_before=row.get("legacy_before", "7.0.0"),
                valkey_arity=row.get("valkey_arity", 0),
                until=row.get("until", ""),
                summary=row.get("summary", ""),
                arguments=tuple(row.get("arguments", ())),
            )
    return rows
