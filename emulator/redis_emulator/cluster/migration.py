"""Valkey's way to migrate slots: jobs that a node keeps, and what becomes of them.

The emulator moves slots as soon as the command, or the transaction around it, is over. Until then a
job is ``connecting`` and can be cancelled.
"""

from __future__ import annotations

from typing import Final

from redis_emulator.clients.session import Session
from redis_emulator.cluster.node import CONNECTING, Node, SlotMigration
from redis_emulator.cluster.topology import cluster_of

LOST: Final = (
    "Connection lost to source. Check CLUSTER GETSLOTMIGRATIONS on the source node for more "
    "information."
)
_LOG: Final = "cluster-slot-migration-log-max-len"


def refusal(node: Node) -> str | None:
    """Why a node takes no part in migrations now, None when it does."""
    if node.master is not None:
        return "ERR Slot migration can only be used on primary nodes."
    if node.migrating:
        return "ERR Slots are being manually migrated"
    if node.importing:
        return "ERR Slots are being manually imported"
    return None


def keep(node: Node, jobs: list[SlotMigration]) -> None:
    """Put new jobs in front of those that a node has."""
    node.migrations[:0] = jobs
    node.exports += [job for job in jobs if job.state == CONNECTING]


def cancel(node: Node) -> bool:
    """End the jobs of a node that have not ended; whether there were any."""
    jobs, node.exports = node.exports, []
    for job in jobs:
        job.end(node.server.keyspace.now // 1000, "cancelled")
    return bool(jobs)


def forget_old(node: Node) -> None:
    """Let go of ended jobs beyond the number that the node is to remember."""
    left = node.server.config.integer(_LOG)
    kept = []
    for job in node.migrations:
        left -= job.state != CONNECTING
        if left >= 0 or job.state == CONNECTING:
            kept.append(job)
    node.migrations[:] = kept


def finish(node: Node) -> None:
    """Carry out the jobs of a node that have not ended."""
    jobs, node.exports = node.exports, []
    for job in jobs:
        now = node.server.clock.ms() // 1000
        failure = _move(job)
        job.end(now, "success" if failure is None else "failed", failure or "")


def _move(job: SlotMigration) -> str | None:
    """Move the slots of a job; what is in the way, if anything is."""
    source, target, slots = job.source, job.target, job.slots()
    assert source is not None
    assert target is not None
    cluster = cluster_of(source)
    if any(cluster.owners[slot] is not source for slot in slots):
        return "Slots are no longer owned by myself"
    if target.down:
        return "Unable to connect to target node: Connection refused"
    refused = refusal(target)
    if refused is None and source not in target.known:
        refused = "ERR Target node does not know the source node"
    if refused is not None:
        return f"Received error during handshake to target: -{refused}\r\n"
    cluster.hand_over(slots, source, target)
    told = (job.name, "IMPORT", job.ranges)
    times = (job.created, source.server.clock.ms() // 1000, "success")
    keep(target, [SlotMigration(*told, source, target, *times)])
    for replica in target.replicas():
        keep(replica, [SlotMigration(*told, None, None, *times)])
    return None


def after_command(node: Node, session: Session, argv: list[bytes]) -> None:
    """A command of a node's client is over: migrate what it has asked to migrate."""
    if node.exports:
        finish(node)
    node.after(session, argv)
