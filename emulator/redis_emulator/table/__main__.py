"""Read the command table from running servers: ``python -m redis_emulator.table REDIS VALKEY``.

REDIS and VALKEY are URLs of the newest release of each. The rows are those of Redis; the Valkey
server determines which of them Valkey has, and adds its own. Each group is written to one JSON file
next to this module, one row per line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import redis

from redis_emulator.table import Spec, load


def rows_of(url: str) -> dict[str, dict[str, Any]]:
    """Every command and subcommand of the server at ``url``."""
    pool = redis.ConnectionPool.from_url(url, protocol=3, decode_responses=True)
    link: Any = pool.get_connection()
    link.send_command("COMMAND", "DOCS")
    documents: dict[str, Any] = {}
    for name, document in link.read_response().items():
        documents[name] = document
        documents.update(document.get("subcommands", {}))
    link.send_command("COMMAND")
    rows: dict[str, dict[str, Any]] = {}

    def add(info: list[Any]) -> None:
        name, arity, flags, first, last, step, categories, tips, key_specs, subcommands = info
        document = documents.get(name, {})
        if document.get("group") == "module":
            return
        row = {
            "arity": arity,
            "flags": list(flags),
            "keys": [first, last, step],
            "categories": [category.lstrip("@") for category in categories],
            "tips": list(tips),
            "key_specs": list(key_specs),
            "group": document["group"],
            "since": document["since"],
            "complexity": formula(document.get("complexity", "")),
        }
        rows[name] = {
            field: value
            for field, value in row.items()
            if value not in ([], "", [0, 0, 0]) or field in ("flags", "categories")
        }
        for sub in subcommands:
            add(sub)

    for info in link.read_response():
        add(info)
    return rows


def _keep_legacy_attributes(rows: dict[str, dict[str, Any]], name: str, spec: Spec) -> None:
    """Keep what new servers do not report: removed commands and arities of older releases."""
    if spec.until:
        rows[name] = json.loads(_line_of(spec))[name]
    elif spec.legacy_arity and name in rows:
        rows[name]["legacy_arity"] = spec.legacy_arity
        rows[name]["legacy_before"] = spec.legacy_before
    elif spec.valkey_arity and name in rows:
        rows[name] |= {"arity": spec.arity, "valkey_arity": spec.valkey_arity}


def _line_of(spec: Spec) -> str:
    file = Path(__file__).with_name(f"{spec.group}.json")
    for line in file.read_text("utf-8").splitlines():
        if line.startswith(json.dumps(spec.name)):
            return f"{{{line.rstrip(',')}}}"
    raise LookupError(spec.name)


def formula(complexity: str) -> str:
    """The first ``O(…)`` of a description."""
    complexity = complexity[complexity.find("O(") :] if "O(" in complexity else ""
    depth = 0
    for index, letter in enumerate(complexity):
        depth += (letter == "(") - (letter == ")")
        if letter == ")" and depth == 0:
            return complexity[: index + 1]
    return ""


def main() -> None:
    """Write the table."""
    rows, valkey = rows_of(sys.argv[1]), rows_of(sys.argv[2])
    for name, row in rows.items():
        if name not in valkey:
            row["flavours"] = ["redis"]
        elif valkey[name]["since"] != row["since"]:
            row["valkey_since"] = valkey[name]["since"]
    for name, row in valkey.items():
        if name not in rows:
            rows[name] = row | {"flavours": ["valkey"]}
    for name, spec in load().items():
        _keep_legacy_attributes(rows, name, spec)
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for name in sorted(rows):
        groups.setdefault(rows[name]["group"], {})[name] = rows[name]
    for group, members in groups.items():
        lines = ",\n".join(
            f"{json.dumps(name)}: {json.dumps(row)}" for name, row in members.items()
        )
        Path(__file__).with_name(f"{group}.json").write_text(f"{{\n{lines}\n}}\n", "utf-8")


if __name__ == "__main__":
    main()
