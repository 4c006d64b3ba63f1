"""Error texts that several modules use."""

from __future__ import annotations

from typing import Final

OUT_OF_MEMORY: Final = "OOM command not allowed when used memory > 'maxmemory'."
READ_ONLY: Final = "READONLY You can't write against a read only replica."
MASTER_DOWN: Final = (
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
)
STALE_REPLICA: Final = "ERR Can not execute the command on a stale replica"
NO_REPLICAS: Final = "NOREPLICAS Not enough good replicas to write."
NO_SCRIPT: Final = "NOSCRIPT No matching script. Please use EVAL."
CLUSTER_DOWN: Final = "CLUSTERDOWN The cluster is down"
NOAUTH: Final = "NOAUTH Authentication required."
ROLE_CHANGED: Final = (
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
)


def busy(product: str, kill_command: str) -> str:
    """The error while a script exceeds its time limit; ``kill_command`` is the way to stop it."""
    return (
        f"BUSY {product} is busy running a script. You can only call {kill_command} or "
        "SHUTDOWN NOSAVE."
    )


def loading(product: str) -> str:
    """The error while the server is loading its data."""
    return f"LOADING {product} is loading the dataset in memory"


def cannot_save(product: str) -> str:
    """The error for writes after a failed save, with ``stop-writes-on-bgsave-error yes``."""
    return (
        f"MISCONF {product} is configured to save RDB snapshots, but it's currently unable to "
        "persist to disk. Commands that may modify the data set are disabled, because this "
        "instance is configured to report errors during writes if RDB snapshotting fails "
        f"(stop-writes-on-bgsave-error option). Please check the {product} logs for details about "
        "the RDB error."
    )
