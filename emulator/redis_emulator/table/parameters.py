"""Read the configuration parameters from running servers, by trying values.

``python -m redis_emulator.table.parameters redis-8.2=URL redis-7.0=URL …`` writes ``config.json``.
Use servers without data, started with ``--save ''``: every parameter is set to invalid and extreme
values, and the error texts give its type and limits. The first server determines the rows.
``servers`` lists the servers that have a parameter, if not all do; ``differs`` has the differences
of the other servers.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import redis

_AS_STARTED = {
    "daemonize": "no",
    "dir": "",
    "enable-debug-command": "local",
    "logfile": "",
    "pidfile": "",
    "port": "6379",
    "save": "3600 1 300 100 60 10000",
}
"""Values that depend on how the server was started. The emulator, being for tests, allows DEBUG."""
_NOT_TRIED: dict[str, dict[str, Any]] = {
    "tls-replication": {"type": "boolean"},
    "tls-cluster": {"type": "boolean"},
    "appendonly": {"type": "boolean"},
    "syslog-enabled": {"type": "boolean", "immutable": True},
    "port": {"type": "integer", "low": 0, "high": 65535},
    "tls-port": {"type": "integer", "low": 0, "high": 65535},
    "rdma-port": {"type": "integer", "immutable": True},
    "bind": {"type": "string"},
    "rdma-bind": {"type": "string", "immutable": True},
    "dir": {"type": "string", "protected": True},
    "unixsocket": {"type": "string", "immutable": True},
    "logfile": {"type": "string", "immutable": True},
    "aclfile": {"type": "string", "immutable": True},
    "replicaof": {"type": "string", "immutable": True},
    "slaveof": {"type": "string", "immutable": True},
    "requirepass": {"type": "string"},
    "masterauth": {"type": "string"},
}
"""Parameters that are not tried, because they would make the server unreachable or change it."""
_MULTI_VALUED = ("shutdown-on-sigint", "shutdown-on-sigterm")
"""Enums that accept several words."""
_TRIALS = (
    "zzz",
    "-1",
    "yes",
    "0",
    "9223372036854775807",
    "-9223372036854775807",
    "99999999999999999999",
    "101%",
)


def parameters(url: str) -> dict[str, dict[str, Any]]:
    """Every parameter of the server at ``url``: default, type, limits."""
    client: Any = redis.Redis.from_url(url, decode_responses=True)
    found = {}
    for name, value in sorted(client.config_get("*").items()):
        row = {"default": _AS_STARTED.get(name, value)}
        if name in _NOT_TRIED:
            row.update(_NOT_TRIED[name])
        else:
            row.update(_classify({trial: _try(client, name, trial) for trial in _TRIALS}))
            if name in _MULTI_VALUED:
                row["type"] = "enums"
            _try(client, name, value)
        found[name] = row
    for name, row in found.items():
        other = _other_name(name)
        if other in found:
            row["alias"] = other
    return found


def _try(client: Any, name: str, value: str) -> str:
    try:
        client.execute_command("CONFIG", "SET", name, value)
    except redis.ResponseError as error:
        return str(error).split(" - ", 1)[-1]
    return ""


def _classify(replies: dict[str, str]) -> dict[str, Any]:
    nonsense = replies["zzz"]
    if "immutable" in nonsense or "nsupported CONFIG parameter" in nonsense:
        return {"type": "string", "immutable": True}
    if "protected" in nonsense:
        return {"type": "string", "protected": True}
    if "'yes' or 'no'" in nonsense:
        return {"type": "boolean"}
    if "one of the following" in nonsense:
        return {"type": "enum", "values": nonsense.split(": ", 1)[1].split(", ")}
    if "percent" in nonsense:
        return {"type": "string" if "parameters" in nonsense else "percent"}
    kind = "memory" if "memory" in nonsense else "integer" if "integer" in nonsense else ""
    if not kind:
        return {"type": "string"}
    row: dict[str, Any] = {"type": kind}
    for trial in _TRIALS:
        limits = re.search(r"between (-?\d+) and (\d+)", replies[trial])
        if limits:
            row |= {"low": int(limits[1]), "high": int(limits[2])}
    if any("greater or equal to 0" in replies[trial] for trial in _TRIALS):
        row["unsigned"] = True
    return row


def _other_name(name: str) -> str | None:
    pairs = (
        ("slave", "replica"),
        ("ziplist", "listpack"),
        ("lua-time-limit", "busy-reply-threshold"),
    )
    for old, new in pairs:
        for a, b in ((old, new), (new, old)):
            if a in name:
                return name.replace(a, b)
    if name.endswith("_cpulist"):
        return name.replace("_", "-")
    return name.replace("-", "_") if name.endswith("-cpulist") else None


def main() -> None:
    """Write the parameters."""
    named = [argument.split("=", 1) for argument in sys.argv[1:]]
    servers = {name: parameters(url) for name, url in named}
    rows: dict[str, dict[str, Any]] = {}
    for name in sorted({name for found in servers.values() for name in found}):
        holders = [server for server, found in servers.items() if name in found]
        row = servers[holders[0]][name]
        differs = {}
        for holder in holders[1:]:
            other = servers[holder][name]
            if other != row:
                changed = {
                    field: value for field, value in other.items() if row.get(field) != value
                }
                changed |= {field: None for field in row if field not in other}
                differs[holder] = changed
        row = dict(row)
        if differs:
            row["differs"] = differs
        if len(holders) < len(servers):
            row["servers"] = holders
        rows[name] = row
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    path = Path(__file__).parents[1] / "server" / "config.json"
    path.write_text(f"{{\n{lines}\n}}\n", "utf-8")


if __name__ == "__main__":
    main()
