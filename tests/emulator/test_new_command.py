"""Adding a command to a copy of the emulator takes a row of the table and a function."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import redis_emulator

ROWS = {
    "shout": {
        "arity": -2,
        "flags": ["readonly", "fast"],
        "keys": [1, -1, 1],
        "categories": ["read", "string", "fast"],
        "key_specs": [
            {
                "flags": ["RO", "ACCESS"],
                "begin_search": {"type": "index", "spec": {"index": 1}},
                "find_keys": {"type": "range", "spec": {"lastkey": -1, "keystep": 1, "limit": 0}},
            }
        ],
        "group": "string",
        "since": "7.0.0",
        "complexity": "O(N)",
        "summary": "Returns strings in capitals.",
        "arguments": [{"name": "key", "type": "key", "key_spec_index": 0}],
    },
    "client|shout": {
        "arity": 2,
        "flags": ["loading"],
        "categories": ["slow", "connection"],
        "group": "connection",
        "since": "7.0.0",
        "summary": "Returns the name of the client in capitals.",
    },
}
FAMILY = '''
"""Commands that shout."""

from redis_emulator.commands.registry import command


@command("shout")
def shout(ctx, argv):
    return [(ctx.db.lookup(key) or b"").upper() for key in argv[1:]]


@command("client|shout")
def client_shout(ctx, argv):
    return ctx.name.upper()
'''
USE = """
import redis
from redis_emulator import ClusterEmulator, RedisEmulator
from redis_emulator.commands.registry import emulated
from redis_emulator.table.catalogue import page


def error_of(client, *words):
    try:
        client.execute_command(*words)
    except redis.ResponseError as error:
        return str(error)


for flavour, version in (("redis", "8.2"), ("valkey", "9.1"), ("redis", "7.0")):
    emulator = RedisEmulator(flavour=flavour, version=version)
    client = emulator.client(decode_responses=True, single_connection_client=True)
    client.set("a", "b")
    assert client.execute_command("SHOUT", "a", "x") == ["B", ""]
    client.client_setname("me")
    assert client.execute_command("CLIENT SHOUT") == "ME"
    assert client.eval("return redis.call('SHOUT', KEYS[1])", 1, "a") == ["B"]
    assert error_of(client, "SHOUT").startswith("wrong number of arguments for 'shout'")
    run = emulator.execute
    info = run("COMMAND", "INFO", "shout")[0]
    assert info[:2] == [b"shout", -2] and info[3:6] == [1, -1, 1], info
    docs = run("COMMAND", "DOCS", "shout", "client|shout")
    assert docs[b"shout"][b"summary"] == b"Returns strings in capitals.", docs
    assert docs[b"shout"][b"since"] == b"7.0.0"
    assert docs[b"shout"][b"arguments"][0][b"name"] == b"key"
    assert b"capitals" in docs[b"client|shout"][b"summary"]
    assert b"client|shout" in run("COMMAND", "DOCS", "client")[b"client"][b"subcommands"]
    assert run("COMMAND", "GETKEYS", "SHOUT", "a", "b") == [b"a", b"b"]
    assert b"shout" in run("COMMAND", "LIST", "FILTERBY", "ACLCAT", "string")
    assert b"shout" in run("ACL", "CAT", "string")
    run("ACL", "SETUSER", "ann", "on", "nopass", "+@all", "-shout", "~*")
    run("ACL", "SETUSER", "bob", "on", "nopass", "+shout", "~a")
    assert b"no permissions to run the 'shout'" in run("ACL", "DRYRUN", "ann", "SHOUT", "a")
    assert run("ACL", "DRYRUN", "bob", "SHOUT", "a") == b"OK"
    assert b"key" in run("ACL", "DRYRUN", "bob", "SHOUT", "b")

assert "unknown command" in error_of(RedisEmulator(version="6.2").client(), "SHOUT", "a")
cluster = ClusterEmulator(nodes=2, replicas=0)
owner = cluster.node_of("a")
other = next(node for node in cluster.nodes if node is not owner)
assert error_of(other.client(), "SHOUT", "a").startswith("15495 ")
text = page(emulated())
assert "| `SHOUT` | 7.0 | 7.0 | O(N) |  |" in text
assert "| `CLIENT SHOUT` | 7.0 |" in text
print("done")
"""


def test_adding_a_command_takes_a_row_and_a_function(tmp_path: Path) -> None:
    copy = tmp_path / "redis_emulator"
    source = Path(redis_emulator.__file__).parent
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, row in ROWS.items():
        file = copy / "table" / f"{row['group']}.json"
        rows = json.loads(file.read_text("utf-8"))
        file.write_text(json.dumps(rows | {name: row}), "utf-8")
    (copy / "commands" / "shouting.py").write_text(FAMILY, "utf-8")
    done = subprocess.run(
        [sys.executable, "-c", USE],
        env={"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.stdout == "done\n", done.stderr
