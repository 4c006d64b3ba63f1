"""The CLUSTER subcommands that read the state of the cluster; ASKING, READONLY and READWRITE.

The subcommands that change slots and roles are in `cluster_changes`. A server with cluster support
disabled replies to most of these commands with an error.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.cluster.node import Node, node_of
from redis_emulator.cluster.slots import SLOTS, slot_of
from redis_emulator.commands.helpers.arguments import (
    parse_integer,
    parse_range,
    syntax_error,
    unknown_subcommand,
)
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import OK, RedisError, Reply, SimpleString, Verbatim, quote
from redis_emulator.table.documents import read, server_like

DISABLED: Final = "ERR This instance has cluster support disabled"
_BAD_SLOT: Final = "ERR Invalid or out of range slot"
_BAD_LIMIT: Final = "ERR Limit has to lie in between 1 and 16384 (maximum number of slots)."
_SLOT_METRICS: Final = ("cpu-usec", "network-bytes-in", "network-bytes-out")


def own_node(ctx: Session) -> Node:
    """The cluster node that the client is connected to.

    Raises:
        RedisError: Cluster support is disabled.
    """
    node = node_of(ctx)
    if node is None:
        raise RedisError(DISABLED)
    return node


def find_node(node: Node, name: bytes, unknown: str = "Unknown node") -> Node:
    """Return the node with id ``name`` from the nodes that ``node`` knows.

    Raises:
        RedisError: ``node`` does not know it. The message starts with ``unknown``.
    """
    for each in node.known:
        if each.id == name:
            return each
    raise RedisError(f"ERR {unknown} {quote(name)}")


def parse_slot(raw: bytes) -> int:
    """Parse a slot number.

    Raises:
        RedisError: It is not an integer from 0 to 16383.
    """
    slot = parse_integer(raw, _BAD_SLOT)
    if not 0 <= slot < SLOTS:
        raise RedisError(_BAD_SLOT)
    return slot


@command("asking")
def asking(ctx: Session, argv: list[bytes]) -> Reply:
    own_node(ctx)
    ctx.asking = True
    ctx.refresh()
    return OK


@command("readonly")
def readonly(ctx: Session, argv: list[bytes]) -> Reply:
    if not ctx.server.version.is_valkey():
        own_node(ctx)
    ctx.readonly = True
    ctx.refresh()
    return OK


@command("readwrite")
def readwrite(ctx: Session, argv: list[bytes]) -> Reply:
    version = ctx.server.version
    if not version.is_valkey() and not version.before(7):
        own_node(ctx)
    ctx.readonly = False
    ctx.refresh()
    return OK


@command("cluster|help")
def cluster_help(ctx: Session, argv: list[bytes]) -> Reply:
    own_node(ctx)
    lines = read("help", server_like(ctx.server.version))["cluster"]
    return [SimpleString(line.encode()) for line in lines]


@command("cluster|myid")
def cluster_myid(ctx: Session, argv: list[bytes]) -> Reply:
    return own_node(ctx).id


@command("cluster|myshardid")
def cluster_myshardid(ctx: Session, argv: list[bytes]) -> Reply:
    return own_node(ctx).shard


@command("cluster|keyslot")
def cluster_keyslot(ctx: Session, argv: list[bytes]) -> Reply:
    if not ctx.server.version.is_valkey():
        own_node(ctx)
    return slot_of(argv[2])


@command("cluster|countkeysinslot")
def cluster_countkeysinslot(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    slot = parse_integer(argv[2])
    if not 0 <= slot < SLOTS:
        raise RedisError("ERR Invalid slot")
    return sum(1 for _ in node.keys_in(slot))


@command("cluster|getkeysinslot")
def cluster_getkeysinslot(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    slot, count = parse_integer(argv[2]), parse_integer(argv[3])
    if not 0 <= slot < SLOTS or count < 0:
        raise RedisError("ERR Invalid slot or number of keys")
    return [key for _, key in node.keys_in(slot)][:count]


@command("cluster|info")
def cluster_info(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    owners = [owner for owner in map(node.owner, range(SLOTS)) if owner is not None]
    failed = sum(owner.down for owner in owners)
    dead = [each for each in node.known if each.down]
    fields: dict[str, object] = {
        "cluster_state": "ok" if node.cluster_is_ok() else "fail",
        "cluster_slots_assigned": len(owners),
        "cluster_slots_ok": len(owners) - failed,
        "cluster_slots_pfail": 0,
        "cluster_slots_fail": failed,
    }
    if ctx.server.version.is_valkey():
        fields |= {
            "cluster_nodes_pfail": 0,
            "cluster_nodes_fail": len(dead),
            "cluster_voting_nodes_pfail": 0,
            "cluster_voting_nodes_fail": sum(each.master is None for each in dead),
        }
    fields |= {
        "cluster_known_nodes": len(node.known),
        "cluster_size": len(set(owners)),
        "cluster_current_epoch": node.cluster.epoch,
        "cluster_my_epoch": node.shard_master.epoch,
        "cluster_stats_messages_sent": 0,
        "cluster_stats_messages_received": 0,
    }
    if not ctx.server.version.before(7):
        fields["total_cluster_links_buffer_limit_exceeded"] = 0
    return Verbatim("".join(f"{name}:{value}\r\n" for name, value in fields.items()).encode())


@command("cluster|nodes")
def cluster_nodes(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    return Verbatim(b"".join(_nodes_line(node, each) + b"\n" for each in node.known))


def _nodes_line(node: Node, each: Node) -> bytes:
    """The line of CLUSTER NODES for ``each``, as ``node`` replies it."""
    flags = ["myself"] if each is node else []
    flags.append("master" if each.master is None else "slave")
    if each.down:
        flags.append("fail")
    words = [
        each.id.decode(),
        f"{each.ip}:{each.announced_port}@{each.bus_port}"
        + (f",{each.hostname}" if each.hostname else ""),
        ",".join(flags),
        "-" if each.master is None else each.master.id.decode(),
        "0",
        "0" if each is node else str(node.server.clock.ms()),
        str(each.shard_master.epoch),
        "disconnected" if each.down else "connected",
    ]
    words += [str(a) if a == b else f"{a}-{b}" for a, b in each.ranges()]
    if each is node:
        moving = each.slot_state_node.migrating
        coming = each.slot_state_node.importing
        words += [f"[{slot}->-{moving[slot].id.decode()}]" for slot in sorted(moving)]
        words += [f"[{slot}-<-{coming[slot].id.decode()}]" for slot in sorted(coming)]
    return " ".join(words).encode()


@command("cluster|replicas", "cluster|slaves")
def cluster_replicas(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    master = find_node(node, argv[2])
    if master.master is not None:
        raise RedisError("ERR The specified node is not a master")
    return [_nodes_line(node, replica) for replica in master.replicas() if replica in node.known]


@command("cluster|slots")
def cluster_slots(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    found: list[tuple[int, int, Node]] = []
    for master in node.known:
        found += [(first, last, master) for first, last in master.ranges()]
    modern = not ctx.server.version.before(7)
    return [
        [
            first,
            last,
            *(
                [
                    *_endpoint(node, each),
                    each.id,
                    *([_endpoint_metadata(node, each)] if modern else []),
                ]
                for each in (master, *(r for r in master.replicas() if not r.down))
                if each in node.known
            ),
        ]
        for first, last, master in sorted(found, key=lambda each: each[0])
    ]


def _endpoint(node: Node, each: Node) -> tuple[bytes | None, int]:
    host = node.endpoint(each)
    return None if host is None else host.encode(), each.announced_port


def _endpoint_metadata(node: Node, each: Node) -> Reply:
    """The IP address and hostname of ``each``, except for its preferred endpoint."""
    names: dict[bytes, Reply] = {}
    preferred = node.server.config["cluster-preferred-endpoint-type"]
    if preferred != "ip":
        names[b"ip"] = each.ip.encode()
    if preferred != "hostname" and each.hostname:
        names[b"hostname"] = each.hostname.encode()
    return names


@command("cluster|shards")
def cluster_shards(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    shards: dict[bytes, list[Node]] = {}
    for each in node.known:
        shards.setdefault(each.shard, []).append(each)
    replies: list[Reply] = []
    for name, members in shards.items():
        reply: dict[bytes, Reply] = {
            b"slots": [end for each in members for run in each.ranges() for end in run],
            b"nodes": [_shard_member(node, each) for each in members],
        }
        if ctx.server.version.is_valkey():
            reply[b"id"] = name
        replies.append(reply)
    return replies


def _shard_member(node: Node, each: Node) -> Reply:
    """The entry of CLUSTER SHARDS for ``each``, as ``node`` replies it."""
    return {
        b"id": each.id,
        b"port": each.announced_port,
        b"ip": each.ip.encode(),
        b"endpoint": (node.endpoint(each) or "").encode(),
        **({b"hostname": each.hostname.encode()} if each.hostname else {}),
        b"role": b"master" if each.master is None else b"replica",
        b"replication-offset": each.store.offset,
        b"health": b"fail" if each.down else b"online",
    }


@command("cluster|links")
def cluster_links(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    return [
        {
            b"direction": direction,
            b"node": each.id,
            b"create-time": each.created_at,
            b"events": b"r",
            b"send-buffer-allocated": 0,
            b"send-buffer-used": 0,
        }
        for each in node.known
        if each is not node and not each.down
        for direction in (b"to", b"from")
    ]


@command("cluster|count-failure-reports")
def cluster_count_failure_reports(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    if not find_node(node, argv[2]).down:
        return 0
    return sum(bool(e.ranges()) and not e.down and e is not node for e in node.known)


@command("cluster|slot-stats")
def cluster_slot_stats(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    word = argv[2].lower()
    if word == b"slotsrange" and len(argv) == 5:
        first, last = parse_slot(argv[3]), parse_slot(argv[4])
        if first > last:
            raise RedisError(
                f"ERR Start slot number {first} is greater than end slot number {last}"
            )
        return _slot_statistics(node, range(first, last + 1), "", SLOTS)
    if word == b"orderby":
        metric, limit, descending = _parse_orderby(ctx, argv)
        return _slot_statistics(node, range(SLOTS), metric, limit, descending)
    raise unknown_subcommand(ctx.server.version, argv)


def _parse_orderby(ctx: Session, argv: list[bytes]) -> tuple[str, int, bool]:
    metric = quote(argv[3]).lower()
    measures = ctx.server.config["cluster-slot-stats-enabled"] == "yes"
    if metric != "key-count" and not (measures and metric in _SLOT_METRICS):
        raise RedisError("ERR Unrecognized sort metric for ORDERBY.")
    limit, descending = SLOTS, True
    seen: set[str] = set()
    index = 4
    while index < len(argv):
        word = argv[index].lower()
        if word == b"limit" and index + 1 < len(argv):
            kind = "limit"
            index += 1
            limit = parse_range(argv[index], 1, SLOTS, _BAD_LIMIT)
        elif word in (b"asc", b"desc"):
            kind, descending = "order", word == b"desc"
        else:
            raise syntax_error()
        if kind in seen:
            raise RedisError("ERR Multiple filters of the same type are disallowed.")
        seen.add(kind)
        index += 1
    return metric, limit, descending


def _slot_statistics(
    node: Node, slots: range, metric: str, limit: int, descending: bool = False
) -> Reply:
    counts = Counter(slot_of(key) for db in node.store.databases for key in db.data)
    served = [slot for slot in slots if node.owner(slot) is node.shard_master]
    if metric:
        sign = -1 if descending else 1
        measure = counts if metric == "key-count" else Counter[int]()
        served.sort(key=lambda slot: (sign * measure[slot], slot))
    measured: dict[bytes, Reply] = {}
    if node.server.config["cluster-slot-stats-enabled"] == "yes":
        measured = {name.encode(): 0 for name in _SLOT_METRICS}
    return [[slot, {b"key-count": counts[slot], **measured}] for slot in served[:limit]]
