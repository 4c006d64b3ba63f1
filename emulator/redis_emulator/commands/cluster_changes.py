"""The CLUSTER subcommands that change the cluster: slots, migration, replication, known nodes."""

from __future__ import annotations

import ipaddress
from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.cluster.node import BUS, Node
from redis_emulator.cluster.topology import cluster_of
from redis_emulator.commands.cluster import find_node, own_node, parse_slot
from redis_emulator.commands.helpers.arguments import (
    parse_integer,
    syntax_error,
    unknown_subcommand,
)
from redis_emulator.commands.registry import command
from redis_emulator.keyspace.events import GENERIC
from redis_emulator.resp.types import OK, RedisError, Reply, SimpleString, quote

_BAD_SETSLOT: Final = "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP"


@command("cluster|addslots")
def cluster_addslots(ctx: Session, argv: list[bytes]) -> Reply:
    return _add_slots(own_node(ctx), list(map(parse_slot, argv[2:])))


@command("cluster|addslotsrange")
def cluster_addslotsrange(ctx: Session, argv: list[bytes]) -> Reply:
    return _add_slots(own_node(ctx), _parse_ranges(argv))


@command("cluster|delslots")
def cluster_delslots(ctx: Session, argv: list[bytes]) -> Reply:
    return _delete_slots(own_node(ctx), list(map(parse_slot, argv[2:])))


@command("cluster|delslotsrange")
def cluster_delslotsrange(ctx: Session, argv: list[bytes]) -> Reply:
    return _delete_slots(own_node(ctx), _parse_ranges(argv))


def _parse_ranges(argv: list[bytes]) -> list[int]:
    if len(argv) % 2:
        name = argv[1].decode().lower()
        raise RedisError(f"ERR wrong number of arguments for 'cluster|{name}' command")
    slots: list[int] = []
    for index in range(2, len(argv), 2):
        first, last = parse_slot(argv[index]), parse_slot(argv[index + 1])
        if first > last:
            raise RedisError(
                f"ERR start slot number {first} is greater than end slot number {last}"
            )
        slots += range(first, last + 1)
    return slots


def _add_slots(node: Node, slots: list[int]) -> Reply:
    seen: set[int] = set()
    for slot in slots:
        if node.owner(slot) is not None:
            raise RedisError(f"ERR Slot {slot} is already busy")
        _check_unique(slot, seen)
    for slot in slots:
        cluster_of(node).assign(slot, node)
    return OK


def _delete_slots(node: Node, slots: list[int]) -> Reply:
    seen: set[int] = set()
    for slot in slots:
        if node.owner(slot) is None:
            raise RedisError(f"ERR Slot {slot} is already unassigned")
        _check_unique(slot, seen)
    for slot in slots:
        # A slot of another node stays: that node's next heartbeat would assign it again.
        if node.owner(slot) is node:
            cluster_of(node).assign(slot, None)
    return OK


def _check_unique(slot: int, seen: set[int]) -> None:
    if slot in seen:
        raise RedisError(f"ERR Slot {slot} specified multiple times")
    seen.add(slot)


@command("cluster|flushslots")
def cluster_flushslots(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    if any(db.data for db in node.store.databases):
        raise RedisError("ERR DB must be empty to perform CLUSTER FLUSHSLOTS.")
    for first, last in node.ranges():
        for slot in range(first, last + 1):
            cluster_of(node).assign(slot, None)
    return OK


@command("cluster|flushslot")
def cluster_flushslot(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    if len(argv) > 4:
        raise unknown_subcommand(ctx.server.version, argv)
    slot = parse_slot(argv[2])
    if len(argv) == 4 and argv[3].lower() not in (b"sync", b"async"):
        raise syntax_error()
    for db, key in node.keys_in(slot):
        db.remove(key)
        db.changed(key, b"del", GENERIC)
    return OK


@command("cluster|setslot")
def cluster_setslot(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    if node.master is not None:
        raise RedisError("ERR Please use SETSLOT only with masters.")
    if node.exports:
        raise RedisError("ERR Slot export in progress.")
    slot = parse_slot(argv[2])
    word = argv[3].lower()
    valkey = ctx.server.version.is_valkey()
    if word == b"stable" and (len(argv) == 4 or valkey):
        node.importing.pop(slot, None)
        node.migrating.pop(slot, None)
        return OK
    if word not in (b"migrating", b"importing", b"node") or len(argv) != 5:
        raise RedisError(_BAD_SETSLOT)
    if word == b"node":
        return _assign_slot(node, slot, _master_of(ctx, find_node(node, argv[4])))
    if word == b"migrating" and node.owner(slot) is not node:
        raise RedisError(f"ERR I'm not the owner of hash slot {slot}")
    if word == b"importing" and node.owner(slot) is node:
        raise RedisError(f"ERR I'm already the owner of hash slot {slot}")
    other = _master_of(ctx, find_node(node, argv[4], "I don't know about node"))
    if valkey and other is node:
        raise RedisError("ERR Target node is myself")
    (node.migrating if word == b"migrating" else node.importing)[slot] = other
    return OK


def _master_of(ctx: Session, node: Node) -> Node:
    if node.master is not None and not ctx.server.version.before(7):
        raise RedisError("ERR Target node is not a master")
    return node.shard_master


def _assign_slot(node: Node, slot: int, owner: Node) -> Reply:
    """CLUSTER SETSLOT NODE: assign the slot to ``owner``."""
    before = node.owner(slot)
    if before is node and owner is not node and any(node.keys_in(slot)):
        raise RedisError(
            f"ERR Can't assign hashslot {slot} to a different node while I still hold keys for "
            "this hash slot."
        )
    if node.migrating.get(slot) is not None and not any(node.keys_in(slot)):
        del node.migrating[slot]
    if owner is node and slot in node.importing:
        cluster_of(node).bump_epoch(node)
        del node.importing[slot]
    # If a third node owns the slot, its next heartbeat would undo the assignment.
    if before is None or before is node or owner is node:
        cluster_of(node).assign(slot, owner)
    return OK


@command("cluster|bumpepoch")
def cluster_bumpepoch(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    bumped = cluster_of(node).bump_epoch(node)
    return SimpleString(b"%b %d" % (b"BUMPED" if bumped else b"STILL", node.epoch))


@command("cluster|set-config-epoch")
def cluster_set_config_epoch(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    epoch = parse_integer(argv[2])
    if epoch < 0:
        raise RedisError(f"ERR Invalid config epoch specified: {epoch}")
    if len(node.known) > 1:
        raise RedisError(
            "ERR The user can assign a config epoch only when the node does not know any other "
            "node."
        )
    if node.epoch:
        raise RedisError("ERR Node config epoch is already non-zero")
    node.epoch = epoch
    node.cluster.epoch = max(node.cluster.epoch, epoch)
    return OK


@command("cluster|saveconfig")
def cluster_saveconfig(ctx: Session, argv: list[bytes]) -> Reply:
    own_node(ctx)
    return OK


@command("cluster|replicate")
def cluster_replicate(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    if len(argv) > 3:
        if [word.lower() for word in argv[2:]] != [b"no", b"one"]:
            raise unknown_subcommand(ctx.server.version, argv)
        if node.master is not None:
            cluster_of(node).stop_replicating(node)
        return OK
    master = find_node(node, argv[2])
    if master is node:
        raise RedisError("ERR Can't replicate myself")
    if master.master is not None:
        raise RedisError("ERR I can only replicate a master, not a replica.")
    if node.master is None and (node.ranges() or any(db.data for db in node.store.databases)):
        raise RedisError("ERR To set a master the node must be empty and without assigned slots.")
    cluster_of(node).replicate(node, master)
    return OK


@command("cluster|failover")
def cluster_failover(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    valkey = ctx.server.version.is_valkey()
    if len(argv) > 3 and not valkey:
        raise unknown_subcommand(ctx.server.version, argv)
    if any(word.lower() not in (b"force", b"takeover") for word in argv[2:]):
        raise syntax_error()
    master = node.master
    if master is None:
        raise RedisError("ERR You should send CLUSTER FAILOVER to a replica")
    if master.down and len(argv) == 2:
        raise RedisError("ERR Master is down or failed, please use CLUSTER FAILOVER FORCE")
    cluster_of(node).fail_over(node)
    return OK


@command("cluster|forget")
def cluster_forget(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    if argv[2] == node.id:
        raise RedisError("ERR I tried hard but I can't forget myself...")
    everywhere = not ctx.server.version.before(7, 2)
    known = any(each.id == argv[2] for each in node.known)
    if everywhere and not known and argv[2] in node.forgotten:
        return OK
    forgotten = find_node(node, argv[2])
    if node.master is forgotten:
        raise RedisError("ERR Can't forget my master!")
    cluster_of(node).forget(node, forgotten, everywhere=everywhere)
    return OK


@command("cluster|meet")
def cluster_meet(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    if len(argv) > 5:
        raise unknown_subcommand(ctx.server.version, argv)
    tcp = "TCP " if ctx.server.version.is_redis() else ""
    tcp = tcp if ctx.server.version.before(7, 2) else ""
    port = parse_integer(argv[3], f"ERR Invalid {tcp}base port specified: {quote(argv[3])}")
    bus = port + BUS
    if len(argv) == 5:
        bus = parse_integer(argv[4], f"ERR Invalid {tcp}bus port specified: {quote(argv[4])}")
    if ctx.server.version.is_valkey():
        if not 0 < port <= 65535:
            raise RedisError("ERR Port number is out of range")
        if not 0 < bus <= 65535:
            raise RedisError("ERR Cluster bus port number is out of range")
    if not _is_address(argv[2]) or not 0 < port <= 65535 or not 0 < bus <= 65535:
        raise RedisError(f"ERR Invalid node address specified: {quote(argv[2])}:{quote(argv[3])}")
    other = node.cluster.node_at(port)
    if other is not None and not other.down:
        cluster_of(node).meet(node, other)
    return OK


def _is_address(raw: bytes) -> bool:
    try:
        ipaddress.ip_address(quote(raw))
    except ValueError:
        return False
    return True


@command("cluster|reset")
def cluster_reset(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    if len(argv) > 3:
        raise unknown_subcommand(ctx.server.version, argv)
    word = argv[2].lower() if len(argv) == 3 else b"soft"
    if word not in (b"hard", b"soft"):
        raise syntax_error()
    if node.master is None and any(db.data for db in node.store.databases):
        raise RedisError("ERR CLUSTER RESET can't be called with master nodes containing keys")
    cluster_of(node).reset_node(node, hard=word == b"hard")
    return OK
