"""CONFIG, compared with real servers: accepted values and error texts of every parameter."""

from __future__ import annotations

import pytest

from redis_emulator.server.config import parameters
from redis_emulator.table.parameters import _NOT_TRIED
from tests.support.pair import Pair, Wire

EVERY_SERVER = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
TRIALS = ("zzz", "-1", "yes", "1", "0", "9223372036854775807", "99999999999999999999", "101%")
NOT_TRIED = (
    set(_NOT_TRIED)
    | {"maxclients", "oom-score-adj", "cluster-announce-human-nodename"}
    | {
        *("latency-tracking-info-percentiles", "locale-collate", "tls-auth-clients", "maxmemory"),
        *(
            "tls-protocols",
            "tls-ciphers",
            "tls-ciphersuites",
            "proc-title-template",
            "bind-source-addr",
        ),
        "watchdog-period",  # it kills the older servers
        *("availability-zone", "active-defrag-cycle-us", "jemalloc-bg-thread"),
        *("loading-process-events-interval-bytes", "maxmemory-clients", "timeout", "activedefrag"),
    }
)
"""Parameters that would disturb the servers of other tests or depend on the machine."""


def pairs(reply: Wire) -> object:
    """The parameters in a reply of CONFIG GET, sorted."""
    kind, items = reply
    if kind == "*":
        items = list(zip(items[::2], items[1::2], strict=True))
    return kind, sorted(map(repr, items)) if isinstance(items, list) else items


@pytest.mark.servers(*EVERY_SERVER)
def test_config_set_of_every_parameter(same: Pair) -> None:
    """Compare accepted values, error texts and the values that CONFIG GET returns."""
    known = parameters(same.emulator.engine.server.version)
    names = {name for name, _ in _items(same.real("CONFIG", "GET", "*"))}
    assert names == set(known)
    for name in sorted(names - NOT_TRIED):
        before = dict(_items(same.real("CONFIG", "GET", name)))[name]
        same.emulated("CONFIG", "SET", name, before)
        for trial in TRIALS:
            if same("CONFIG", "SET", name, trial)[0] == "+":
                same("CONFIG", "GET", name, key=pairs)
        same("CONFIG", "SET", name, before)


def _items(reply: Wire) -> list[tuple[str, bytes]]:
    kind, items = reply
    if kind == "*":
        items = list(zip(items[::2], items[1::2], strict=True))
    return [(name[1].decode(), value[1]) for name, value in items]


CALLS = {
    "get": (
        "CONFIG GET",
        "CONFIG GET nosuch",
        "CONFIG GET MAXMEMORY-P*",
        "CONFIG GET hz maxmemory-samples hz",
        "CONFIG GET hash-max-*entries",
    ),
    "set": (
        "CONFIG SET",
        "CONFIG SET hz",
        "CONFIG SET nosuch 1",
        "CONFIG SET HZ 11",
        "CONFIG GET hz",
        "CONFIG SET databases 17",
    ),
    "set-several-with-an-error-sets-none": (
        "CONFIG SET hz 12 hz 13",
        "CONFIG SET hz 12 nosuch 1",
        "CONFIG SET hz 12 maxmemory-samples",
        "CONFIG SET hz 12 maxmemory-samples 0",
        "CONFIG SET hz 12 databases 3 nosuch 1",
        "CONFIG GET hz",
    ),
    "other-subcommands": (
        "CONFIG NOSUCH x",
        "CONFIG REWRITE",
        "CONFIG REWRITE x",
        "CONFIG RESETSTAT",
        "CONFIG HELP",
    ),
}


@pytest.mark.servers(*EVERY_SERVER)
@pytest.mark.parametrize("calls", CALLS.values(), ids=CALLS)
def test_config_calls(same: Pair, calls: tuple[str, ...]) -> None:
    for line in calls:
        same(line, key=pairs if " GET " in line else None)
    same("CONFIG SET hz 10")
    same("CONFIG SET maxmemory-samples 5")


VALUES = {
    "client-query-buffer-limit": ("2mb", "2MB", "3m", "1gb", "1g", "5kib", "", "1 mb"),
    "maxmemory-policy": ("NOEVICTION", "allkeys-lfu", "lru", "", "noeviction"),
    "appendfsync": ("ALWAYS", "everysec", "sometimes"),
    "repl-diskless-sync": ("YES", "No", "true"),
    "save": ("", "60 1", "60 1 30 2", "60", "60 x", "0 1", "60 -1", "60  1", ""),
    "notify-keyspace-events": ("KEA", "AKE", "Elg", "gxE$lshztd", "m", "AKm", "Z", "K!", ""),
    "client-output-buffer-limit": (
        "normal 100mb 200000000 3",
        "pubsub 1mb 1k 5 normal 0 0 0",
        "slave 0 0",
        "foo 1 2 3",
        "normal x 2 3",
        "normal 1 2 x",
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    ),
    "oom-score-adj-values": ("1 2 3", "1 2", "1 2 x", "3000 0 0", "0 200 800"),
}


@pytest.mark.servers(*EVERY_SERVER)
@pytest.mark.parametrize("name", VALUES)
def test_formats_of_values(same: Pair, name: str) -> None:
    for value in VALUES[name]:
        same("CONFIG", "SET", name, value)
        same("CONFIG", "GET", name, key=pairs)


@pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
def test_config_set_of_several_parameters_is_atomic(same: Pair) -> None:
    same("CONFIG SET hz 15 maxmemory-samples 500")
    same("CONFIG GET hz maxmemory-samples", key=pairs)
    same("CONFIG SET hz 15 maxmemory-samples 7")
    same("CONFIG GET hz maxmemory-samples", key=pairs)
    same("CONFIG SET notify-keyspace-events KEn")
    same("CONFIG GET notify-*", key=pairs)
    same("CONFIG", "SET", "notify-keyspace-events", "")
    same("CONFIG SET hash-max-ziplist-entries 5 hash-max-listpack-entries 6")
    same("CONFIG SET hash-max-ziplist-entries 5")
    same("CONFIG GET hash-max-*-entries", key=pairs)
    same("CONFIG SET hz 10 maxmemory-samples 5 hash-max-ziplist-entries 512")


def test_reset_restores_the_defaults(same: Pair) -> None:
    emulator = same.emulator
    client = emulator.client(decode_responses=True)
    client.config_set("notify-keyspace-events", "KEA")
    client.config_set("hz", 50)
    emulator.reset()
    assert client.config_get("hz") == {"hz": "10"}
    assert not emulator.engine.server.keyspace.observed


@pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
def test_parameters_that_take_several_words(same: Pair) -> None:
    for words in ("nosave now", "save nosave", "now nosave", "default force", "foo", "", "default"):
        same("CONFIG", "SET", "shutdown-on-sigint", words)
        same("CONFIG GET shutdown-on-sigint")
    for words in ("50 99", "50.5 100.0", "101", "-1", "x", ""):
        same("CONFIG", "SET", "latency-tracking-info-percentiles", words)
        same("CONFIG GET latency-tracking-info-percentiles")


@pytest.mark.servers(*EVERY_SERVER)
def test_min_replicas_to_write(same: Pair) -> None:
    try:
        same("CONFIG SET min-slaves-to-write 1")
        same("SET a b")
        same("GET a")
        same("EVAL", "return redis.call('set', KEYS[1], 'b')", 1, "a")
        same("EVAL", "return redis.call('get', KEYS[1])", 1, "a")
        same("MULTI")
        same("SET a b")
        same("EXEC")
        same("PUBLISH a b")
        same("CONFIG SET min-slaves-max-lag 0")
        same("SET a c")
        same("CONFIG SET min-slaves-max-lag 10")
        same("SET a d")
    finally:
        for connection in (same.real, same.emulated):
            connection("DISCARD")
        same("CONFIG SET min-replicas-to-write 0")
    same("SET a e")


@pytest.mark.servers("redis-8.2", "valkey-9.1")
def test_announced_node_and_host_names(same: Pair) -> None:
    for code in range(1, 128):
        same("CONFIG", "SET", "cluster-announce-human-nodename", bytes([code]))
    for name in ("a" * 300, ""):
        same("CONFIG", "SET", "cluster-announce-human-nodename", name)
        same("CONFIG", "SET", "cluster-announce-hostname", name)
    same("CONFIG", "SET", "cluster-announce-hostname", "a" * 256)
