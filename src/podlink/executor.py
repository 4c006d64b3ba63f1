# Generated from aio/executor.py by .ci/generate_sync.py: do not edit, run `make generate`.
"""`StatefulExecutor`: the operations on links and states, synchronously.

This is the main class of the library. Each method builds a command with `podlink.operations`, sends
it with `podlink.running`, and returns the parsed reply. Keys, scripts and reply formats do not
belong here. `podlink.aio.executor` has the same methods for asyncio. ``docs/semantics.md`` defines
what each operation does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter
from types import TracebackType
from typing import Any

from podlink import operations, repair, telemetry
from podlink.config import RedisConfig
from podlink.drain import DrainProgress, check_nodes, drain_steps
from podlink.errors import ErrorMetrics
from podlink.keys import DELETE_NOW, PERSIST_FOREVER
from podlink.manager import RedisManager
from podlink.models import (
    PodLink,
    Repair,
    ReplaceResult,
    ServiceState,
    StoredKey,
    TrySetResult,
    WorkloadState,
)
from podlink.running import Runner


class StatefulExecutor:
    """Reads and writes the links of uids to pods, and the states of services, in Redis.

    Threads may share one executor. ``docs/semantics.md`` defines the operations, the limits of the
    arguments and the errors.

    Every method takes a ``timeout``: the seconds that the whole call may take, including
    connecting, waiting for a free connection, the reply and retries. ``None`` means the timeout of
    the manager. With a client that was passed as ``source``, an attempt may take as long as the
    timeouts of that client allow.

    ``persist_seconds`` is the TTL of the link that a method writes, in seconds. `PERSIST_FOREVER`
    makes the link persistent. A method that removes a link keeps it as a transient link for so
    long; `DELETE_NOW` deletes it at once.

    After a connection error a call is retried if that is safe; `podlink.calls` has the rules.

    Every method may raise the following errors, in addition to those that it lists:
    `InvalidParameterError` (an argument is outside its limits; nothing was sent),
    `RedisConnectionError`, `OperationTimeoutError` (the outcome of a write is unknown),
    `RedisOperationError` (the server refused the command), `LuaScriptError`, and `InternalError` (a
    stored value is malformed; the message names the key).

    Args:
        source: a URL (``redis://``, ``rediss://``, ``unix://``, ``emulator://``), a `RedisConfig`,
            a `RedisManager`, or a client (``redis.Redis``, ``redis.RedisCluster``).
        track_link_times: store the creation time of each link, in one additional key per link.
        metrics: counts the errors; the default is a new `ErrorMetrics`.

    Attributes:
        manager: owns the client. `close` closes it unless it was passed as ``source``.
        metrics: the number of errors by code.
    """

    def __init__(
        self,
        source: str | RedisConfig | RedisManager | Any = "emulator://",
        *,
        track_link_times: bool = False,
        metrics: ErrorMetrics | None = None,
    ) -> None:
        self._owned = not isinstance(source, RedisManager)
        self.manager = source if isinstance(source, RedisManager) else RedisManager(source)
        self.metrics = ErrorMetrics() if metrics is None else metrics
        self._track = bool(track_link_times)
        runner = Runner(self.manager, self.metrics)
        self._run = runner.run
        self._run_batch = runner.run_batch
        self._repair = runner.repair
        self._run_drain = runner.run_drain

    def set_service_state(
        self,
        namespace: str,
        service_name: str,
        pod_id: int,
        state: str,
        *,
        timeout: float | None = None,
    ) -> None:
        """Write the state of one pod of a service, a non-blank string, and the time (HSET)."""
        return self._run(
            timeout, operations.set_service_state, namespace, service_name, pod_id, state
        )

    def get_service_state(
        self, namespace: str, service_name: str, *, timeout: float | None = None
    ) -> dict[int, str]:
        """Return pod id to state of a service; empty if it has no pods (HGETALL)."""
        return self._run(timeout, operations.get_service_state, namespace, service_name)

    def require_service_state(
        self, namespace: str, service_name: str, *, timeout: float | None = None
    ) -> dict[int, str]:
        """Return pod id to state of a service, which must have at least one pod (HGETALL).

        Raises:
            ServiceNotFoundError: the service has no pods.
        """
        return self._run(timeout, operations.require_service_state, namespace, service_name)

    def read_service_state(
        self, namespace: str, service_name: str, *, timeout: float | None = None
    ) -> ServiceState | None:
        """Return the states of a service with the latest time, or ``None`` if it has no pods."""
        return self._run(timeout, operations.read_service_state, namespace, service_name)

    def set_workload_state(
        self, namespace: str, service_name: str, state: str, *, timeout: float | None = None
    ) -> None:
        """Write the state of a workload, a non-blank string, and the time (SET)."""
        return self._run(timeout, operations.set_workload_state, namespace, service_name, state)

    def get_workload_state(
        self, namespace: str, service_names: Iterable[str], *, timeout: float | None = None
    ) -> dict[str, str]:
        """Return the states of several workloads.

        Up to 10,000 are read in one atomic step; on a cluster each is read by itself.

        Returns:
            Service to state; services without a workload state are left out.
        """
        return self._run_batch(
            timeout,
            operations.get_workload_state,
            namespace,
            service_names,
            self.manager.is_cluster,
        )

    def read_workload_state(
        self, namespace: str, service_name: str, *, timeout: float | None = None
    ) -> WorkloadState | None:
        """Return the state of a workload and its time, or ``None`` if it has no state."""
        return self._run(timeout, operations.read_workload_state, namespace, service_name)

    def set_linked_pod(
        self,
        namespace: str,
        uid: str,
        service_name: str,
        pod_id: int,
        *,
        persist_seconds: int = PERSIST_FOREVER,
        timeout: float | None = None,
    ) -> int | None:
        """Link a uid to a pod. An existing link is overwritten.

        Returns:
            The pod that the uid was linked to before, or ``None``.
        """
        return self._run(
            timeout, operations.set_linked_pod,
            namespace, uid, service_name, pod_id, persist_seconds, self._track,
        )  # fmt: skip

    def try_set_linked_pod(
        self,
        namespace: str,
        uid: str,
        service_name: str,
        pod_id: int,
        *,
        persist_seconds: int = PERSIST_FOREVER,
        timeout: float | None = None,
    ) -> TrySetResult:
        """Link a uid to a pod, unless the uid has a persistent link to another pod.

        Returns:
            Whether the uid is linked to ``pod_id`` now, and the pod that it is linked to.
        """
        return self._run(
            timeout, operations.try_set_linked_pod,
            namespace, uid, service_name, pod_id, persist_seconds, self._track,
        )  # fmt: skip

    def set_linked_pod_if_absent(
        self,
        namespace: str,
        uid: str,
        service_name: str,
        pod_id: int,
        *,
        persist_seconds: int = PERSIST_FOREVER,
        timeout: float | None = None,
    ) -> int:
        """Link a uid to a pod if it has no link. An existing link is not changed.

        Returns:
            The pod that the uid is linked to now.
        """
        return self._run(
            timeout, operations.set_linked_pod_if_absent,
            namespace, uid, service_name, pod_id, persist_seconds, self._track,
        )  # fmt: skip

    def create_linked_pod(
        self,
        namespace: str,
        uid: str,
        service_name: str,
        pod_id: int,
        *,
        persist_seconds: int = PERSIST_FOREVER,
        timeout: float | None = None,
    ) -> int:
        """Link a uid to a pod; the uid must not have a link.

        Returns:
            ``pod_id``.

        Raises:
            LinkExistsError: the uid has a link, to this pod or another; its ``pod_id`` says which.
        """
        return self._run(
            timeout, operations.create_linked_pod,
            namespace, uid, service_name, pod_id, persist_seconds, self._track,
        )  # fmt: skip

    def replace_linked_pod(
        self,
        namespace: str,
        uid: str,
        service_name: str,
        expected_pod_id: int,
        pod_id: int,
        *,
        persist_seconds: int = PERSIST_FOREVER,
        timeout: float | None = None,
    ) -> ReplaceResult:
        """Link a uid to a pod if it is linked to ``expected_pod_id`` (compare and set).

        Returns:
            Whether the link was replaced, and the pod that the uid is linked to now, or ``None``.
        """
        return self._run(
            timeout, operations.replace_linked_pod,
            namespace, uid, service_name, expected_pod_id, pod_id, persist_seconds, self._track,
        )  # fmt: skip

    def refresh_linked_pod(
        self,
        namespace: str,
        uid: str,
        service_name: str,
        pod_id: int,
        persist_seconds: int,
        *,
        timeout: float | None = None,
    ) -> bool:
        """Set a new TTL for the transient link of a uid, if it is a link to ``pod_id``.

        A persistent link is not changed.

        Args:
            persist_seconds: the new TTL in seconds.

        Returns:
            Whether the uid is linked to ``pod_id``.
        """
        return self._run(
            timeout,
            operations.refresh_linked_pod,
            namespace,
            uid,
            service_name,
            pod_id,
            persist_seconds,
        )

    def batch_set_linked_pod_if_absent(
        self,
        namespace: str,
        uids: Iterable[str],
        service_name: str,
        pod_id: int,
        *,
        persist_seconds: int = PERSIST_FOREVER,
        timeout: float | None = None,
    ) -> dict[int, list[str]]:
        """Link each of several uids to a pod if it has no link; see `set_linked_pod_if_absent`.

        The calls are sent in pipelines. Each uid is one atomic step, the batch is not: if some uids
        fail, the others are linked, and the error's ``undone`` lists those that failed.

        Returns:
            Pod id to the uids that are linked to it now, in the order given, without duplicates.
        """
        return self._run_batch(
            timeout, operations.batch_set_linked_pod_if_absent,
            namespace, uids, service_name, pod_id, persist_seconds, self._track,
        )  # fmt: skip

    def get_linked_pod(
        self, namespace: str, uid: str, service_name: str, *, timeout: float | None = None
    ) -> int | None:
        """Return the pod that a uid is linked to, or ``None`` if it has no link (GET)."""
        return self._run(timeout, operations.get_linked_pod, namespace, uid, service_name)

    def require_linked_pod(
        self, namespace: str, uid: str, service_name: str, *, timeout: float | None = None
    ) -> int:
        """Return the pod that a uid is linked to; the uid must have a link (GET).

        Raises:
            PodNotFoundError: the uid has no link.
        """
        return self._run(timeout, operations.require_linked_pod, namespace, uid, service_name)

    def get_linked_pod_if_persist(
        self, namespace: str, uid: str, service_name: str, *, timeout: float | None = None
    ) -> int | None:
        """Return the pod of a persistent link, or ``None`` if the link is transient or absent."""
        return self._run(
            timeout, operations.get_linked_pod_if_persist, namespace, uid, service_name
        )

    def batch_get_linked_pod(
        self,
        namespace: str,
        uids: Iterable[str],
        service_name: str,
        *,
        timeout: float | None = None,
    ) -> dict[int, list[str]]:
        """Return the pods that several uids are linked to.

        Up to 10,000 uids are read in one atomic step; on a cluster each is read by itself.

        Returns:
            Pod id to uids, in the order given, without duplicates; uids without a link are left
            out.
        """
        return self._run_batch(
            timeout, operations.batch_get_linked_pod,
            namespace, uids, service_name, self.manager.is_cluster,
        )  # fmt: skip

    def read_pod_link(
        self, namespace: str, uid: str, service_name: str, *, timeout: float | None = None
    ) -> PodLink | None:
        """Return a link with its creation and expiry times, or ``None`` if the uid has no link."""
        return self._run(timeout, operations.read_pod_link, namespace, uid, service_name)

    def remove_linked_pod(
        self,
        namespace: str,
        uid: str,
        service_name: str,
        *,
        persist_seconds: int = DELETE_NOW,
        timeout: float | None = None,
    ) -> bool:
        """Remove the link of a uid.

        Returns:
            Whether the uid had a link.
        """
        return self._run(
            timeout, operations.remove_linked_pod, namespace, uid, service_name, persist_seconds
        )

    def remove_linked_pod_with_id(
        self,
        namespace: str,
        uid: str,
        service_name: str,
        pod_id: int,
        *,
        persist_seconds: int = DELETE_NOW,
        timeout: float | None = None,
    ) -> bool:
        """Remove the link of a uid if it is a link to ``pod_id``.

        Returns:
            Whether the uid was linked to ``pod_id``, so that the link was removed.
        """
        return self._run(
            timeout, operations.remove_linked_pod_with_id,
            namespace, uid, service_name, pod_id, persist_seconds,
        )  # fmt: skip

    def batch_remove_linked_pod(
        self,
        namespace: str,
        uids: Iterable[str],
        service_name: str,
        *,
        persist_seconds: int = DELETE_NOW,
        timeout: float | None = None,
    ) -> list[str]:
        """Remove the links of several uids; see `remove_linked_pod`.

        The calls are sent in pipelines. Each uid is one atomic step, the batch is not: if some uids
        fail, the links of the others are removed, and the error's ``undone`` lists those that
        failed.

        Returns:
            The uids that had a link, in the order given, without duplicates.
        """
        return self._run_batch(
            timeout,
            operations.batch_remove_linked_pod,
            namespace,
            uids,
            service_name,
            persist_seconds,
        )

    def drain_pod(
        self,
        namespace: str,
        service_name: str,
        pod_id: int,
        to: int | None = None,
        *,
        on_progress: Callable[[DrainProgress], object] | None = None,
        resume: str | None = None,
        timeout: float | None = None,
    ) -> DrainProgress:
        """Remove all links to a pod, or move them to another pod. Use it before a pod shuts down.

        The links are found with SCAN, page by page, on all nodes of a cluster. Each is changed with
        compare-and-set: a uid that is linked to another pod in the meantime keeps that link. A
        moved link keeps its TTL. Links that are created during the drain, or that a cluster moves
        to another node, may be missed: repeat the drain until it finds none.

        Args:
            to: the pod to move the links to; ``None`` removes them.
            on_progress: called after each page.
            resume: the ``resume`` of the last `DrainProgress` of an interrupted drain, to continue
                there.
            timeout: seconds that each request may take. The whole drain has no limit.

        Returns:
            The counts. Links that could not be changed are counted in ``failed``; they do not end
            the drain.

        Raises:
            RedisConnectionError: the primaries of the cluster changed during the drain, so that
                links may have been missed: repeat the drain.
        """
        started = perf_counter()
        try:
            nodes = self.manager.nodes(timeout=timeout)
            plan = drain_steps(
                namespace, service_name, pod_id, to, nodes, self._track, on_progress, resume
            )
            result = self._run_drain(plan, timeout)
            check_nodes(nodes, self.manager.nodes(timeout=timeout))
        except Exception as raised:
            error = telemetry.record_failure("drain_pod", None, started, raised, self.metrics)
            if error is raised:
                raise
            raise error from raised
        telemetry.record_drain(result)
        return result

    def get_link_service(
        self, namespace: str, uid: str, *, timeout: float | None = None
    ) -> dict[str, int]:
        """Return service to pod id of the persistent links of a uid (HGETALL of its index)."""
        return self._run(timeout, operations.get_link_service, namespace, uid)

    def inspect_link(
        self, namespace: str, uid: str, service_name: str, *, timeout: float | None = None
    ) -> list[StoredKey]:
        """Return the stored link, index and creation time as they are, even if malformed."""
        return self._run(timeout, repair.inspect_link, namespace, uid, service_name)

    def inspect_service(
        self, namespace: str, service_name: str, *, timeout: float | None = None
    ) -> list[StoredKey]:
        """Return the stored pod states, workload state and their times, even if malformed."""
        return self._run_batch(timeout, repair.inspect_service, namespace, service_name)

    def repair_link(
        self,
        namespace: str,
        uid: str,
        service_name: str,
        *,
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> list[Repair]:
        """Delete malformed values of a link, so that the other operations work on it again.

        Afterwards the link is absent, transient or persistent, and the index has an entry if and
        only if the link is persistent. Well-formed keys are not changed. Each repair is logged as a
        warning.

        Args:
            dry_run: return the repairs, but change nothing.

        Returns:
            The repairs; empty if nothing was malformed.
        """
        return self._repair(
            timeout, dry_run, repair.repair_link, namespace, uid, service_name, dry_run
        )

    def repair_service_state(
        self,
        namespace: str,
        service_name: str,
        *,
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> list[Repair]:
        """Delete malformed pod states of a service; see `repair_link`."""
        return self._repair(
            timeout, dry_run, repair.repair_service_state, namespace, service_name, dry_run
        )

    def repair_workload_state(
        self,
        namespace: str,
        service_name: str,
        *,
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> list[Repair]:
        """Delete the state of a workload if it is malformed; see `repair_link`."""
        return self._repair(
            timeout, dry_run, repair.repair_workload_state, namespace, service_name, dry_run
        )

    def close(self) -> None:
        """Close the manager, unless it was passed as ``source``.

        Later calls raise `RedisConnectionError`.
        """
        if self._owned:
            self.manager.close()

    def __enter__(self) -> StatefulExecutor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.manager!r}>"
