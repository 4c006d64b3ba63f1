"""Reply texts that were read from running servers: HELP, COMMAND DOCS and the layout of INFO.

``python -m redis_emulator.table.documents redis-8.2=URL redis-7.0=URL …`` writes ``help.json``,
``docs.json`` and ``info.json`` in ``documents/``. Each contains all data of the first server, and
for every other server the differences (``null`` for what it lacks). Documentation is kept for the
first server of each flavour only. `read` loads a document at its first use.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from redis_emulator.table import Spec
from redis_emulator.version import Version

_MACHINE_FIELDS = frozenset(
    {
        "atomicvar_api",
        "availability_zone",
        "config_file",
        "executable",
        "gcc_version",
        "listener0",
        "mem_allocator",
        "module",
        "monotonic_clock",
        "multiplexing_api",
        "os",
        "process_id",
        "redis_build_id",
        "redis_git_sha1",
        "run_id",
        "total_system_memory",
        "total_system_memory_human",
    }
)
"""INFO fields that depend on the machine or build."""
_CONTAINERS = (
    *(
        "acl",
        "client",
        "cluster",
        "command",
        "commandlog",
        "config",
        "debug",
        "function",
        "latency",
    ),
    *("memory", "module", "object", "pubsub", "script", "slowlog", "xgroup", "xinfo"),
)
"""Commands with a HELP subcommand."""


@cache
def read(name: str, server: str) -> dict[str, Any]:
    """The document ``name`` (``help``, ``docs`` or ``info``) of ``server``."""
    path = resources.files("redis_emulator.table") / "documents" / f"{name}.json"
    servers: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8"))
    first, *others = servers
    found = dict(servers[first])
    if server in others:
        found.update(servers[server])
    return {key: value for key, value in found.items() if value is not None}


def document_of(spec: Spec, version: Version) -> dict[str, Any]:
    """The reply of COMMAND DOCS for a command: that of a server, else one made from its row."""
    documents = read("docs", server_like(version))
    container, _, sub = spec.name.partition("|")
    found = documents.get(container)
    if sub and found is not None:
        found = found.get("subcommands", {}).get(spec.name)
    if found is None:
        found = {
            "summary": spec.summary,
            "since": spec.since if version.is_redis() else spec.valkey_since,
            "group": spec.group,
            "complexity": spec.complexity,
            "arguments": list(spec.arguments),
        }
    return {field: value for field, value in found.items() if value not in ("", [])}


def server_like(version: Version) -> str:
    """The name of the server whose documents are used for ``version``."""
    if version.is_valkey():
        return "valkey-9.1"
    if version.before(7):
        return "redis-6.2"
    return "redis-7.0" if version.before(7, 2) else "redis-8.2"


def _read_help(client: Any) -> dict[str, Any]:
    helps = {}
    for name in _CONTAINERS:
        answer = _call(client, name, "HELP")
        if isinstance(answer, list):
            helps[name] = answer
    return helps


def _read_docs(client: Any) -> dict[str, Any]:
    found = _call(client, "COMMAND", "DOCS")
    if not isinstance(found, dict):
        return {}
    return {name: document for name, document in found.items() if document["group"] != "module"}


def _read_info(client: Any) -> dict[str, Any]:
    sections: dict[str, Any] = {}
    fields: dict[str, str] = {}
    for line in _call(client, "INFO", "EVERYTHING").splitlines():
        if line.startswith("# "):
            fields = sections[line[2:]] = {}
        elif ":" in line:
            field, value = line.split(":", 1)
            fields[field] = "" if field in _MACHINE_FIELDS else value
    for name in ("Commandstats", "Errorstats", "Latencystats", "Keyspace", "Keysizes"):
        if name in sections:
            sections[name] = {}
    return sections


def _call(client: Any, *words: str) -> Any:
    import redis

    client.send_command(*words)
    try:
        return client.read_response()
    except redis.ResponseError:
        return None


def main() -> None:
    """Write the documents."""
    import redis

    readers = {"help": _read_help, "docs": _read_docs, "info": _read_info}
    documents: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in readers}
    for argument in sys.argv[1:]:
        server, url = argument.split("=", 1)
        for name, reader in readers.items():
            flavour = server.split("-")[0]
            if name == "docs" and any(other.startswith(flavour) for other in documents["docs"]):
                continue
            pool = redis.ConnectionPool.from_url(url, protocol=3, decode_responses=True)
            documents[name][server] = reader(pool.get_connection())
            pool.disconnect()
    folder = Path(__file__).with_name("documents")
    folder.mkdir(exist_ok=True)
    for name, servers in documents.items():
        first, *others = servers
        for server in others:
            servers[server] = {
                key: servers[server].get(key)
                for key in dict.fromkeys((*servers[first], *servers[server]))
                if servers[server].get(key) != servers[first].get(key)
            }
        text = ",\n".join(
            f"{json.dumps(server)}: {{\n"
            + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in found.items())
            + "\n}"
            for server, found in servers.items()
        )
        (folder / f"{name}.json").write_text(f"{{\n{text}\n}}\n", "utf-8")


if __name__ == "__main__":
    main()
