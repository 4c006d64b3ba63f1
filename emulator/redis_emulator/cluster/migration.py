"""CLUSTER MIGRATESLOTS of Valkey 9: migration jobs and running them.

The emulator moves the slots directly after the command, or after the transaction around it. Until
then a job is in the state ``connecting`` and can be cancelled.
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
    """The error if the node cannot take part in a migration; None if it can."""
    if node.master is not None:
        return "ERR Slot migration can only be used on primary nodes."
    if node.migrating:
        return "ERR Slots are being manually migrated"
    if node.importing:
        return "ERR Slots are being manually imported"
    return None


def add_jobs(node: Node, jobs: list[SlotMigration]) -> None:
    """Add new jobs to a node, newest first."""
    node.migrations[:0] = jobs
    node.exports += [job for job in jobs if job.state == CONNECTING]


def cancel(node: Node) -> bool:
    """Cancel the unfinished jobs of a node. Returns whether there were any."""
    jobs, node.exports = node.exports, []
    for job in jobs:
        job.end(node.server.keyspace.now // 1000, "cancelled")
    return bool(jobs)


def trim_jobs(node: Node) -> None:
    """Remove finished jobs beyond ``cluster-slot-migration-log-max-len``."""
    left = node.server.config.integer(_LOG)
    kept = []
    for job in node.migrations:
        left -= job.state != CONNECTING
        if left >= 0 or job.state == CONNECTING:
            kept.append(job)
    node.migrations[:] = kept


def finish(node: Node) -> None:
    """Run the unfinished jobs of a node."""
    jobs, node.exports = node.exports, []
    for job in jobs:
        now = node.server.clock.ms() // 1000
        failure = _move(job)
        job.end(now, "success" if failure is None else "failed", failure or "")


def _move(job: SlotMigration) -> str | None:
    """Move the slots of a job. Returns the error, or None on success."""
    source, target, slots = job.source, job.target, job.slots()
    assert source is not None
    assert target is not None
    cluster = cluster_of(source)
    if any(cluster.owners[slot] is not source for slot in slots):
        return "Slots are no longer owned by myself"
    if target.down:
        return "Unable to connect to target node: Connection refused"
    error = refusal(target)
    if error is None and source not in target.known:
        error = "ERR Target node does not know the source node"
    if error is not None:
        return f"Received error during handshake to target: -{error}\r\n"
    cluster.move_slots(slots, source, target)
    job_fields = (job.name, "IMPORT", job.ranges)
    times = (job.created, source.server.clock.ms() // 1000, "success")
    add_jobs(target, [SlotMigration(*job_fields, source, target, *times)])
    for replica in target.replicas():
        add_jobs(replica, [SlotMigration(*job_fields, None, None, *times)])
    return None


def after_command(node: Node, session: Session, argv: list[bytes]) -> None:
    """Called after each command of a node's client: run the migration jobs that it created."""
    if node.exports:
        finish(node)
    node.after_command(session, argv)
