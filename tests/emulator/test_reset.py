"""After `reset()`, introspection commands reply as on a new emulator."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from redis_emulator import ClusterEmulator, ManualClock, RedisEmulator
from redis_emulator.clients.session import Session
from redis_emulator.resp.types import RedisError, Verbatim

START = 1_700_000_000
COMMANDS = (
    "INFO everything",
    "CONFIG GET *",
    "CLIENT LIST",
    "CLIENT INFO",
    "SLOWLOG GET -1",
    "SLOWLOG LEN",
    "LATENCY LATEST",
    "LATENCY HISTORY command",
    "LASTSAVE",
    "ROLE",
    "ACL LIST",
    "ACL LOG",
    "ACL WHOAMI",
    "MEMORY STATS",
    "SCRIPT EXISTS 4e6d8fc8bb01276962cce5371fa795a7763657ae",
    "FUNCTION LIST",
    "PUBSUB CHANNELS",
    "PUBSUB NUMPAT",
    "DBSIZE",
    "DEBUG OBJECT k",
    "COMMAND COUNT",
    "COMMANDLOG GET 10 slow",
    "COMMANDLOG GET 10 large-request",
    "COMMANDLOG GET 10 large-reply",
)
CHANGED = (
    *("INFO everything", "CONFIG GET *", "SLOWLOG LEN", "LATENCY LATEST", "LASTSAVE", "ROLE"),
    *("ACL LIST", "DBSIZE"),
)
"""Commands whose replies the test changes before the reset."""
CHANGING = ("used_cpu", "used_active_time", "mem_clients_normal", "process_id")
"""Fields of INFO that depend on the machine."""


def change_everything(client: redis.Redis) -> None:
    """Change every kind of state that commands can change."""
    for name, value in {
        "slowlog-log-slower-than": "0",
        "latency-monitor-threshold": "1",
        "notify-keyspace-events": "KEA",
        "maxmemory": "100mb",
        "maxmemory-policy": "allkeys-lfu",
        "min-replicas-to-write": "1",
        "hz": "50",
        "acllog-max-len": "3",
        "hash-max-listpack-entries": "1",
    }.items():
        if name in client.config_get("*"):
            client.config_set(name, value)
    client.config_set("min-slaves-to-write", "0")
    client.set("k", "v", px=10)
    client.hset("h", mapping={str(number): "x" * 100 for number in range(100)})
    client.get("k")
    client.get("missing")
    client.eval("return redis.call('SET', KEYS[1], 1)", 1, "by script")
    client.script_load("return 1")
    client.execute_command("DEBUG", "SLEEP", "0.2")
    client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    for wrong in (("NOTHING",), ("GET",), ("INCR", "h"), ("AUTH", "nobody", "x")):
        with pytest.raises(redis.RedisError):
            client.execute_command(*wrong)
    client.acl_setuser("ann", enabled=True, nopass=True)
    client.info("memory")
    client.save()
    client.bgsave()
    client.set("k2", "v")


def replies_of(emulator: RedisEmulator) -> dict[str, object]:
    """The replies of all `COMMANDS` to a new client."""
    engine = emulator.engine
    engine.clients.last_id = 100
    session = Session(engine, lambda reply: None)
    engine.connect(session)
    found: dict[str, object] = {}
    for name in COMMANDS:
        reply = engine.execute(session, name.encode().split())
        if isinstance(reply, RedisError):
            reply = reply.text
        if isinstance(reply, Verbatim):
            lines = reply.decode().splitlines()
            found[name] = [line for line in lines if not line.startswith(CHANGING)]
        else:
            found[name] = reply
    engine.disconnect(session)
    return found


@pytest.mark.parametrize(
    ("flavour", "version"),
    [("redis", "8.2"), ("valkey", "9.1"), ("redis", "7.0"), ("redis", "6.2")],
)
def test_reset_server_replies_as_a_new_one(flavour: str, version: str) -> None:
    emulator = RedisEmulator(
        clock=ManualClock(START), seed=5, flavour=flavour, version=version, log=10
    )
    options: dict[str, Any] = {"decode_responses": True, "retry": Retry(NoBackoff(), 0)}
    with emulator.client(single_connection_client=True, **options) as client:
        change_everything(client)
        emulator.clock.advance(50)
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        emulator.faults.fail("GET")
    before = replies_of(emulator)
    emulator.faults.readonly.on()
    emulator.reset()
    new = RedisEmulator(
        clock=ManualClock(emulator.clock.us() / 1e6), seed=5, flavour=flavour, version=version
    )
    after, fresh = replies_of(emulator), replies_of(new)
    assert not {name for name in CHANGED if before[name] == fresh[name]}, "nothing to reset"
    for name in COMMANDS:
        assert after[name] == fresh[name], name
    assert not emulator.engine.server.keyspace.observed


def test_reset_cluster_nodes_reply_as_new_ones() -> None:
    cluster = ClusterEmulator(nodes=1, replicas=0, clock=ManualClock(START), seed=5)
    node = cluster.nodes[0]
    with node.client(single_connection_client=True, decode_responses=True) as client:
        client.set("k", "v")
        client.save()
        client.config_set("notify-keyspace-events", "KEA")
    cluster.clock.advance(50)
    cluster.reset()
    new = ClusterEmulator(nodes=1, replicas=0, clock=ManualClock(START + 50), seed=5)
    for name in ("CONFIG GET *", "LASTSAVE", "INFO persistence", "INFO server", "INFO stats"):
        assert node.execute(*name.split()) == new.nodes[0].execute(*name.split()), name


def test_clearing_faults_keeps_states_that_commands_have_set() -> None:
    emulator = RedisEmulator()
    client = emulator.client()
    client.config_set("min-replicas-to-write", "1")
    emulator.faults.oom.on()
    emulator.faults.clear()
    with pytest.raises(redis.ResponseError, match="Not enough good replicas"):
        client.set("k", "v")
    client.config_set("min-replicas-to-write", "0")
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    emulator.faults.clear()
    with pytest.raises(redis.exceptions.ReadOnlyError):
        client.set("k", "v")
    emulator.faults.readonly.on()
    client.execute_command("REPLICAOF", "NO", "ONE")
    with pytest.raises(redis.exceptions.ReadOnlyError):
        client.set("k", "v")
    emulator.faults.clear()
    client.set("k", "v")
