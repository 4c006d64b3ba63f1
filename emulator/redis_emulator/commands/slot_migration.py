"""Atomic slot migration of Valkey 9: CLUSTER MIGRATESLOTS, SYNCSLOTS and the related subcommands.

`redis_emulator.cluster.migration` runs the migration jobs. Real nodes send SYNCSLOTS to each other.
Emulated nodes do not use it; it only replies to clients that send it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.cluster.migration import (
    LOST,
    add_jobs,
    cancel,
    refusal,
    trim_jobs,
)
from redis_emulator.cluster.node import Node, SlotMigration
from redis_emulator.commands.cluster import own_node, parse_slot
from redis_emulator.commands.helpers.arguments import syntax_error
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import NO_REPLY, OK, RedisError, Reply, quote

_NAME_LENGTH: Final = 40
"""The length of node ids and job names."""
_NODE_SUBCOMMANDS: Final = frozenset(
    b"ack failover-granted paused request-failover request-pause snapshot-eof".split()
)


@command("cluster|migrateslots")
def cluster_migrateslots(ctx: Session, argv: list[bytes]) -> Reply:
    node = _migrating_node(ctx)
    jobs = list(_parse_jobs(node, argv))
    seen: set[int] = set()
    for job in jobs:
        slots = job.slots()
        if slots & seen:
            raise RedisError("ERR Slot ranges in migrations overlap")
        seen |= slots
    add_jobs(node, jobs)
    return OK


def _migrating_node(ctx: Session) -> Node:
    """The client's node, if it can take part in slot migrations.

    Raises:
        RedisError: It cannot.
    """
    node = own_node(ctx)
    error = refusal(node)
    if error is not None:
        raise RedisError(error)
    return node


def _parse_jobs(node: Node, argv: list[bytes]) -> Iterator[SlotMigration]:
    """Parse the arguments of MIGRATESLOTS; yield one job for each SLOTSRANGE and NODE."""
    index, now = 2, node.server.keyspace.now // 1000
    while index < len(argv):
        if argv[index].lower() != b"slotsrange":
            raise syntax_error()
        ranges, owner, index = _parse_ranges(node, argv, index + 1)
        if owner is not node:
            raise RedisError("ERR Slots are not served by this node.")
        _check_not_exporting(node, ranges)
        if index + 1 >= len(argv) or argv[index].lower() != b"node":
            raise syntax_error()
        target = _parse_target(node, argv[index + 1])
        yield SlotMigration(node.cluster.new_id(), "EXPORT", ranges, node, target, now, now)
        index += 2


def _parse_ranges(
    node: Node, argv: list[bytes], index: int
) -> tuple[list[tuple[int, int]], Node, int]:
    """Parse the slot ranges from ``argv[index]`` on.

    Returns:
        The ranges, the node that owns all of them, and the index of the next argument.

    Raises:
        RedisError: There is no range, a range is invalid, or several nodes own the slots.
    """
    ranges: list[tuple[int, int]] = []
    owners: set[Node] = set()
    while index < len(argv) and _is_number(argv[index]):
        if index + 1 == len(argv):
            raise RedisError("ERR No end slot for final slot range")
        first, last = parse_slot(argv[index]), parse_slot(argv[index + 1])
        if first > last:
            raise RedisError(
                f"ERR Start slot number {first} is greater than end slot number {last}."
            )
        for slot in range(first, last + 1):
            owner = node.owner(slot)
            if owner is None:
                raise RedisError(f"ERR Slot {slot} has no node served.")
            owners.add(owner)
            if len(owners) > 1:
                raise RedisError("ERR Requested slots span multiple shards")
        for other in ranges:
            if first <= other[1] and other[0] <= last:
                raise RedisError(
                    f"ERR Slot range {first}-{last} overlaps with previous range "
                    f"{other[0]}-{other[1]}."
                )
        ranges.append((first, last))
        index += 2
    if not ranges:
        raise RedisError("ERR No slot ranges specified")
    return ranges, owners.pop(), index


def _is_number(raw: bytes) -> bool:
    digits = raw.removeprefix(b"-")
    return digits.isdigit() and len(digits) < 19


def _check_not_exporting(node: Node, ranges: list[tuple[int, int]]) -> None:
    exported = {slot for job in node.exports for slot in job.slots()}
    for first, last in ranges if exported else ():
        for slot in range(first, last + 1):
            if slot in exported:
                raise RedisError(f"ERR I am already migrating slot {slot}.")


def _parse_target(node: Node, name: bytes) -> Node:
    if len(name) != _NAME_LENGTH:
        raise RedisError(f"ERR Invalid node name: {quote(name)}")
    target = _find_node(node, name)
    if target is None:
        raise RedisError(f"ERR Unknown node name: {quote(name)}")
    if target is node:
        raise RedisError("ERR Target node can not be this node.")
    return target


def _find_node(node: Node, name: bytes) -> Node | None:
    return next((each for each in node.known if each.id == name), None)


@command("cluster|getslotmigrations")
def cluster_getslotmigrations(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    trim_jobs(node)
    return [_describe_job(job) for job in node.migrations]


def _describe_job(job: SlotMigration) -> Reply:
    nodes: dict[bytes, Reply] = {}
    if job.target is not None and job.source is not None:
        nodes = {b"target_node": job.target.id, b"source_node": job.source.id}
    return {
        b"name": job.name,
        b"operation": job.operation.encode(),
        b"slot_ranges": " ".join(f"{first}-{last}" for first, last in job.ranges).encode(),
        **nodes,
        b"create_time": job.created,
        b"last_update_time": job.updated,
        b"last_ack_time": job.updated,
        b"state": job.state.encode(),
        b"message": job.message.encode(),
        b"cow_size": 0,
        b"remaining_repl_size": 0,
    }


@command("cluster|cancelslotmigrations")
def cluster_cancelslotmigrations(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    if not cancel(node):
        raise RedisError("ERR No migrations ongoing")
    return OK


@command("cluster|syncslots")
def cluster_syncslots(ctx: Session, argv: list[bytes]) -> Reply:
    node = own_node(ctx)
    word = argv[2].lower()
    if word == b"establish":
        return _syncslots_establish(ctx, argv)
    if word == b"finish":
        return _syncslots_finish(node, _parse_options(argv, b"state", b"name", b"message"))
    if word == b"capa":
        return NO_REPLY if ctx.can_block else None
    if word in _NODE_SUBCOMMANDS:
        name = quote(word).upper()
        raise RedisError(
            f"ERR CLUSTER SYNCSLOTS {name} should only be used by slot migration clients"
        )
    raise syntax_error()


def _parse_options(argv: list[bytes], *names: bytes) -> dict[bytes, bytes]:
    """Parse the options of SYNCSLOTS FINISH, each with one value.

    Raises:
        RedisError: An option is unknown, or its value is missing.
    """
    words = argv[3:]
    if len(words) % 2 or not {word.lower() for word in words[::2]} <= set(names):
        raise syntax_error()
    return {name.lower(): value for name, value in zip(words[::2], words[1::2], strict=True)}


def _syncslots_finish(node: Node, options: dict[bytes, bytes]) -> Reply:
    name, state = options.get(b"name", b""), options.get(b"state")
    if state is None or len(name) != _NAME_LENGTH:
        raise syntax_error()
    job = next((each for each in node.migrations if each.name == name), None)
    if job is None:
        raise RedisError("ERR No such slot migration job")
    if state.lower() not in (b"success", b"failed", b"cancelled"):
        raise syntax_error()
    if job not in node.exports:
        message = quote(options.get(b"message", b""))
        job.end(node.server.keyspace.now // 1000, quote(state.lower()), message)
    return OK


def _syncslots_establish(ctx: Session, argv: list[bytes]) -> Reply:
    """SYNCSLOTS ESTABLISH, the first command of a source node.

    A client that is not a node cannot send the snapshot, so the job fails at once.
    """
    node = _migrating_node(ctx)
    source: Node | None = None
    name, index = b"", 3
    ranges: list[tuple[int, int]] = []
    while index < len(argv):
        word, index = argv[index].lower(), index + 1
        value = argv[index] if index < len(argv) else b""
        if word == b"source" and source is None and len(value) == _NAME_LENGTH:
            source, index = _find_node(node, value), index + 1
            if source is None:
                raise RedisError("ERR Target node does not know the source node")
            if source is node:
                raise RedisError("ERR Source node is target node itself")
        elif word == b"name" and not name and len(value) == _NAME_LENGTH:
            name, index = value, index + 1
        elif word == b"slotsrange" and not ranges:
            ranges, owner, index = _parse_ranges(node, argv, index)
        else:
            raise syntax_error()
    if source is None or not name or not ranges:
        raise syntax_error()
    if owner is not source:
        raise RedisError("ERR Target node does not agree about current slot ownership")
    now = node.server.keyspace.now // 1000
    add_jobs(node, [SlotMigration(name, "IMPORT", ranges, source, node, now, now, "failed", LOST)])
    return OK
