"""The replication commands: REPLICAOF, REPLCONF, PSYNC, ROLE and FAILOVER.

The emulator has no replication stream. After REPLICAOF it is a replica whose link to the master is
down. PSYNC and SYNC send an RDB snapshot and nothing after it. A client that has sent REPLCONF
listening-port, as real replicas do, gets an error instead.
"""

from __future__ import annotations

import re
from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.cluster.node import node_of
from redis_emulator.commands.helpers.arguments import parse_integer, parse_range, syntax_error
from redis_emulator.commands.helpers.rdb_file import rdb_file
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import NO_REPLY, OK, File, RedisError, Reply, SimpleString, quote
from redis_emulator.server.conditions import Condition
from redis_emulator.server.config import effect
from redis_emulator.version import Version

_VERSION: Final = re.compile(rb"([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})").fullmatch
_NOT_BOOLEAN: Final = "ERR value is out of range, value must between 0 and 1"


@command("replconf")
def replconf(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) % 2 == 0:
        raise syntax_error()
    version = ctx.server.version
    for option, value in zip(argv[1::2], argv[2::2], strict=True):
        word = option.lower()
        if word in (b"ack", b"getack"):
            return NO_REPLY
        if not _is_known_option(version, word, value):
            raise RedisError(f"ERR Unrecognized REPLCONF option: {quote(option)}")
        _store_option(ctx, word, value)
    return OK


def _store_option(ctx: Session, word: bytes, value: bytes) -> None:
    """Store an option of the client that PSYNC uses."""
    if word == b"rdb-only":
        ctx.rdb_only = bool(int(value))
    elif word == b"rdb-filter-only":
        ctx.rdb_filter = "functions" if b"functions" in value.lower() else "nothing"
    elif word == b"listening-port":
        ctx.is_replica = True


def _is_known_option(version: Version, word: bytes, value: bytes) -> bool:
    """Whether a server of ``version`` has the option. Raises an error if its value is invalid."""
    if word in (b"ip-address", b"capa"):
        return True
    if word == b"listening-port":
        parse_integer(value)
    elif word == b"rdb-only":
        _check_boolean(value)
    elif word == b"rdb-filter-only" and not version.before(7):
        _check_filter(value)
    elif word == b"rdb-channel" and version.is_8:
        _check_boolean(value)
    elif version.is_valkey(8):
        return _is_known_valkey_option(version, word, value)
    elif word == b"main-ch-client-id" and version.is_8:
        parse_integer(value)
        raise RedisError(f"ERR Unrecognized RDB client id: {quote(value)}")
    else:
        return False
    return True


def _is_known_valkey_option(version: Version, word: bytes, value: bytes) -> bool:
    if word == b"set-rdb-client-id":
        parse_integer(value)
        raise RedisError(f"ERR Unrecognized RDB client id {quote(value)}")
    if word == b"set-cluster-node-id" and version.is_valkey(9):
        raise RedisError("ERR This instance has cluster support disabled")
    if word == b"version":
        match = _VERSION(value)
        if match is None or any(int(part) > 255 for part in match.groups()):
            raise RedisError(f"ERR Unrecognized version format: {quote(value)}")
        return True
    return False


def _check_boolean(value: bytes) -> None:
    if parse_integer(value) not in (0, 1):
        raise RedisError(_NOT_BOOLEAN)


def _check_filter(value: bytes) -> None:
    """Check the value of rdb-filter-only: ``functions`` or nothing."""
    if value.count(b'"') % 2 or value.count(b"'") % 2:
        raise RedisError("ERR Missing rdb-filter-only values")
    for word in value.split():
        if word.lower() != b"functions":
            raise RedisError(f"ERR Unsupported rdb-filter-only option: {quote(word)}")


@command("psync", "sync")
def psync(ctx: Session, argv: list[bytes]) -> Reply:
    name = argv[0].decode().upper()
    if ctx.server.replication.master is not None:
        raise RedisError("NOMASTERLINK Can't SYNC while not connected with my master")
    if name == "PSYNC":
        if len(argv) > 3 and argv[3].lower() == b"failover":
            raise RedisError("ERR PSYNC FAILOVER can't be sent to a master.")
        if not ctx.server.version.before(7):
            parse_integer(argv[2])
    if ctx.is_replica and not ctx.rdb_only:
        raise RedisError(
            f"ERR {name} from a replica is not supported: the emulator has no replication stream"
        )
    if name == "PSYNC":
        ctx.deliver(SimpleString(f"FULLRESYNC {ctx.server.replication.id} 0".encode()))
    everything = ctx.rdb_filter is None
    return File(
        rdb_file(ctx, keys=everything, functions=everything or ctx.rdb_filter == "functions")
    )


@command("role")
def role(ctx: Session, argv: list[bytes]) -> Reply:
    node = node_of(ctx)
    if node is None:
        if (master := ctx.server.replication.master) is None:
            return [b"master", 0, []]
        return [b"slave", master[0].encode(), master[1], b"connect", -1]
    offset = node.store.offset
    if node.master is not None:
        link = b"connect" if node.master.down else b"connected"
        host, port = node.master.node_address
        return [b"slave", host.encode(), port, link, offset]
    return [
        b"master",
        offset,
        [
            [replica.host.encode(), b"%d" % replica.port, b"%d" % offset]
            for replica in node.replicas()
            if not replica.down
        ],
    ]


@command("replicaof", "slaveof")
def replicaof(ctx: Session, argv: list[bytes]) -> Reply:
    server = ctx.server
    if node_of(ctx) is not None:
        raise RedisError("ERR REPLICAOF not allowed in cluster mode.")
    if argv[1].lower() == b"no" and argv[2].lower() == b"one":
        if server.replication.master is not None:
            server.replication.lead()
            server.config["slaveof"] = ""
            _update_conditions(ctx)
        return OK
    if server.version.before(7):
        port = parse_integer(argv[2])
    else:
        port = parse_range(argv[2], 0, 65535, "ERR Invalid master port")
    host = quote(argv[1])
    if server.replication.master == (host, port):
        return SimpleString(b"OK Already connected to specified master")
    server.replication.follow(host, port)
    server.config["slaveof"] = f"{host} {port}"
    ctx.engine.disconnect_blocked()
    _update_conditions(ctx)
    return OK


@effect(
    *("slave-read-only", "slave-serve-stale-data", "min-slaves-to-write", "min-slaves-max-lag"),
)
def _update_conditions(ctx: Session) -> None:
    """Set the conditions that reject commands, from the role and the configuration."""
    server = ctx.server
    config, replica = server.config, server.replication.master is not None
    min_replicas = config.integer("min-slaves-to-write") and config.integer("min-slaves-max-lag")
    conditions = server.conditions
    conditions.set(Condition.REPLICA, replica and config["slave-read-only"] == "yes")
    conditions.set(Condition.STALE, replica and config["slave-serve-stale-data"] == "no")
    conditions.set(
        Condition.NO_REPLICAS, bool(min_replicas) and not replica and node_of(ctx) is None
    )
    ctx.engine.refresh()


@command("failover")
def failover(ctx: Session, argv: list[bytes]) -> Reply:
    if node_of(ctx) is not None:
        raise RedisError(
            "ERR FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead."
        )
    options = [word.lower() for word in argv[1:]]
    if options == [b"abort"]:
        raise RedisError("ERR No failover in progress.")
    index = 0
    seen: set[bytes] = set()
    while index < len(options):
        word = options[index]
        remaining = len(options) - 1 - index
        if word in seen:
            raise syntax_error()
        seen.add(word)
        if word == b"timeout" and remaining >= 1:
            timeout = parse_integer(
                options[index + 1], "ERR value is not an integer or out of range"
            )
            if timeout <= 0:
                raise RedisError("ERR FAILOVER timeout must be greater than 0")
            index += 2
        elif word == b"to" and remaining >= 2:
            parse_integer(options[index + 2])
            index += 3
        elif word == b"force":
            index += 1
        else:
            raise syntax_error()
    if ctx.server.replication.master is not None:
        raise RedisError("ERR FAILOVER is not valid when server is a replica.")
    raise RedisError("ERR FAILOVER requires connected replicas.")
