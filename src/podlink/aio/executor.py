"""`AsyncStatefulExecutor`: the operations, for asyncio.

Each method sends what `podlink.operations` built and returns what it parsed; there is no key,
script or reply format here. `podlink.executor` has the same methods without asyncio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter
from types import TracebackType
from typing import Any

from podlink import operations, repair, telemetry
from podlink.aio.batching import Batcher  # async-only
from podlink.aio.manager import AsyncRedisManager
from podlink.aio.running import Runner
from podlink.config import RedisConfig
from podlink.drain import DrainProgress, check_nodes, steps
from podlink.errors import ErrorMetrics
from podlink.keys import DELETE_NOW, PERSIST_FOREVER
from podlink.models import (
    PodLink,
    Repair,
    ReplaceResult,
    ServiceState,
    StoredKey,
    TrySetResult,
    WorkloadState,
)


class AsyncStatefulExecutor:
    """Links of users to the pods of services, in Redis. Tasks may share one.

    Every method may raise, besides what it names: `InvalidParameterError` (an argument is outside
    its limits; nothing was sent), `RedisConnectionError`, `OperationTimeoutError` (the outcome of a
    write is then unknown), `RedisOperationError` (the server refused), `LuaScriptError`, and
    `InternalError` (a stored value is not what the wire format allows; the message names the key).

    Every method takes a ``timeout``: seconds that it may take in all, with connecting, waiting for
    a free connection, the reply and what is sent again. Without one, the manager's counts.

    A call that may safely be sent again after a connection error is; see `podlink.calls`.

    Args:
        source: a URL (``redis://``, ``rediss://``, ``unix://``, ``emulator://``), a `RedisConfig`,
            an `AsyncRedisManager`, or a client (``redis.asyncio.Redis``,
            ``redis.asyncio.RedisCluster``).
        track_link_times: keep the creation time of links, in one more key per link.
        batching: send what concurrent tasks ask for in one turn of the event loop together; see
            `podlink.aio.batching`. Such an executor belongs to one event loop.
        metrics: where errors are counted; by default a new `ErrorMetrics`.

    Attributes:
        manager: owns the client; closed by `close` unless it was handed in.
        metrics: the counts of errors.
    """

    def __init__(
        self,
        source: str | RedisConfig | AsyncRedisManager | Any = "emulator://",
        *,
        track_link_times: bool = False,
        batching: bool = False,  # async-only
        metrics: ErrorMetrics | None = None,
    ) -> None:
        self._owned = not isinstance(source, AsyncRedisManager)
        self.manager = (
            source if isinstance(source, AsyncRedisManager) else AsyncRedisManager(source)
        )
        self.metrics = ErrorMetrics() if metrics is None else metrics
        self._track = bool(track_link_times)
        self._batcher = Batcher(self.manager) if batching else None  # async-only
        runner = Runner(self.manager, self.metrics)
        runner.batcher = self._batcher  # async-only
        self._run = runner.run
        self._run_batch = runner.run_batch
        self._repair = runner.repair
        self._follow = runner.follow

    async def set_service_state(
        self,
        namespace: str,
        service_name: str,
        pod_id: int,
        state: str,
        *,
        timeout: float | None = None,
    ) -> None:
        """Write the state of one pod of a service, a non-blank string."""
        return await self._run(
            timeout, operations.set_service_state, namespace, service_name, pod_id, state
        )

    async def get_service_state(
        self, namespace: str, service_name: str, *, timeout: float | None = None
    ) -> dict[int, str]:
        """The state of each pod of a service; empty when the service is unknown."""
        return await self._run(timeout, operations.get_service_state, namespace, service_name)

    async def require_service_state(
        self, namespace: str, service_name: str, *, timeout: float | None = None
    ) -> dict[int, str]:
        """The state of each pod of a service.

        Raises:
            ServiceNotFoundError: no pod of the service has one.
        """
        return await self._run(timeout, operations.require_service_state, namespace, service_name)

    async def read_service_state(
        self, namespace: str, service_name: str, *, timeout: float | None = None
    ) -> ServiceState | None:
        """The states of a service with the time of the latest; ``None`` when it is unknown."""
        return await self._run(timeout, operations.read_service_state, namespace, service_name)

    async def set_workload_state(
        self, namespace: str, service_name: str, state: str, *, timeout: float | None = None
    ) -> None:
        """Write the state of a workload, a non-blank string."""
        return await self._run(
            timeout, operations.set_workload_state, namespace, service_name, state
        )

    async def get_workload_state(
        self, namespace: str, service_names: Iterable[str], *, timeout: float | None = None
    ) -> dict[str, str]:
        """The states of workloads; those without one are left out."""
        return await self._run_batch(
            timeout,
            operations.get_workload_state,
            namespace,
            service_names,
            self.manager.is_cluster,
        )

    async def read_workload_state(
        self, namespace: str, service_name: str, *, timeout: float | None = None
    ) -> WorkloadState | None:
        """The state of a workload with its time; ``None`` when there is none."""
        return await self._run(timeout, operations.read_workload_state, namespace, service_name)

    async def set_linked_pod(
        self,
        namespace: str,
        uid: str,
        service_name: str,
        pod_id: int,
        *,
        persist_seconds: int = PERSIST_FOREVER,
        timeout: float | None = None,
    ) -> int | None:
        """Link a uid to a pod, whatever it was linked to.

        Args:
            persist_seconds: how long, or `PERSIST_FOREVER`.

        Returns:
            The pod it was linked to before, or ``None``.
        """
        return await self._run(
            timeout, operations.set_linked_pod,
            namespace, uid, service_name, pod_id, persist_seconds, self._track,
        )  # fmt: skip

    async def try_set_linked_pod(
        self,
        namespace: str,
        uid: str,
        service_name: str,
        pod_id: int,
        *,
        persist_seconds: int = PERSIST_FOREVER,
        timeout: float | None = None,
    ) -> TrySetResult:
        """Link a uid to a pod unless another pod owns it, that is, has a persistent link.

        Returns:
            Whether it is linked to ``pod_id`` now, and the pod it is linked to.
        """
        return await self._run(
            timeout, operations.try_set_linked_pod,
            namespace, uid, service_name, pod_id, persist_seconds, self._track,
        )  # fmt: skip

    async def set_linked_pod_if_absent(
        self,
        namespace: str,
        uid: str,
        service_name: str,
        pod_id: int,
        *,
        persist_seconds: int = PERSIST_FOREVER,
        timeout: float | None = None,
    ) -> int:
        """Link a uid to a pod if it is linked to none; an existing link is left as it is.

        Returns:
            The pod it is linked to now.
        """
        return await self._run(
            timeout, operations.set_linked_pod_if_absent,
            namespace, uid, service_name, pod_id, persist_seconds, self._track,
        )  # fmt: skip

    async def create_linked_pod(
        self,
        namespace: str,
        uid: str,
        service_name: str,
        pod_id: int,
        *,
        persist_seconds: int = PERSIST_FOREVER,
        timeout: float | None = None,
    ) -> int:
        """Link a uid that is linked to no pod.

        Returns:
            ``pod_id``.

        Raises:
            LinkExistsError: it is linked already, be it to the same pod; has the ``pod_id``.
        """
        return await self._run(
            timeout, operations.create_linked_pod,
            namespace, uid, service_name, pod_id, persist_seconds, self._track,
        )  # fmt: skip

    async def replace_linked_pod(
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
        """Link a uid to a pod if it is linked to ``expected_pod_id``: compare and set.

        Returns:
            Whether it was, and the pod it is linked to now (``None`` when it is linked to none).
        """
        return await self._run(
            timeout, operations.replace_linked_pod,
            namespace, uid, service_name, expected_pod_id, pod_id, persist_seconds, self._track,
        )  # fmt: skip

    async def refresh_linked_pod(
        self,
        namespace: str,
        uid: str,
        service_name: str,
        pod_id: int,
        persist_seconds: int,
        *,
        timeout: float | None = None,
    ) -> bool:
        """Renew the transient link of a uid, if it is still to that pod.

        Args:
            persist_seconds: how long from now on; a persistent link is left as it is.

        Returns:
            Whether the uid is linked to that pod.
        """
        return await self._run(
            timeout,
            operations.refresh_linked_pod,
            namespace,
            uid,
            service_name,
            pod_id,
            persist_seconds,
        )

    async def batch_set_linked_pod_if_absent(
        self,
        namespace: str,
        uids: Iterable[str],
        service_name: str,
        pod_id: int,
        *,
        persist_seconds: int = PERSIST_FOREVER,
        timeout: float | None = None,
    ) -> dict[int, list[str]]:
        """Link each uid to a pod if it is linked to none: `set_linked_pod_if_absent` for many.

        Each uid is one step on the server; all are sent together. If some fail, the others are
        done, and the error's ``undone`` names those that are not.

        Returns:
            The uids by the pod they are linked to now, in the order given, each once.
        """
        return await self._run_batch(
            timeout, operations.batch_set_linked_pod_if_absent,
            namespace, uids, service_name, pod_id, persist_seconds, self._track,
        )  # fmt: skip

    async def get_linked_pod(
        self, namespace: str, uid: str, service_name: str, *, timeout: float | None = None
    ) -> int | None:
        """The pod a uid is linked to, or ``None``."""
        return await self._run(timeout, operations.get_linked_pod, namespace, uid, service_name)

    async def require_linked_pod(
        self, namespace: str, uid: str, service_name: str, *, timeout: float | None = None
    ) -> int:
        """The pod a uid is linked to.

        Raises:
            PodNotFoundError: it is linked to none.
        """
        return await self._run(timeout, operations.require_linked_pod, namespace, uid, service_name)

    async def get_linked_pod_if_persist(
        self, namespace: str, uid: str, service_name: str, *, timeout: float | None = None
    ) -> int | None:
        """The pod that owns a uid, or ``None`` when the link is transient or absent."""
        return await self._run(
            timeout, operations.get_linked_pod_if_persist, namespace, uid, service_name
        )

    async def batch_get_linked_pod(
        self,
        namespace: str,
        uids: Iterable[str],
        service_name: str,
        *,
        timeout: float | None = None,
    ) -> dict[int, list[str]]:
        """The uids by the pod they are linked to.

        Up to 10,000 uids are read in one step on a server; on a cluster each uid is one.

        Returns:
            Pod to uids in the order asked, each once; unlinked uids are left out.
        """
        return await self._run_batch(
            timeout, operations.batch_get_linked_pod,
            namespace, uids, service_name, self.manager.is_cluster,
        )  # fmt: skip

    async def read_pod_link(
        self, namespace: str, uid: str, service_name: str, *, timeout: float | None = None
    ) -> PodLink | None:
        """A link with its times, or ``None`` when there is none."""
        return await self._run(timeout, operations.read_pod_link, namespace, uid, service_name)

    async def remove_linked_pod(
        self,
        namespace: str,
        uid: str,
        service_name: str,
        *,
        persist_seconds: int = DELETE_NOW,
        timeout: float | None = None,
    ) -> bool:
        """Remove the link of a uid.

        Args:
            persist_seconds: keep it as a transient link for so long, or `DELETE_NOW`.

        Returns:
            Whether there was a link.
        """
        return await self._run(
            timeout, operations.remove_linked_pod, namespace, uid, service_name, persist_seconds
        )

    async def remove_linked_pod_with_id(
        self,
        namespace: str,
        uid: str,
        service_name: str,
        pod_id: int,
        *,
        persist_seconds: int = DELETE_NOW,
        timeout: float | None = None,
    ) -> bool:
        """Remove the link of a uid if it is to that pod.

        Args:
            persist_seconds: keep it as a transient link for so long, or `DELETE_NOW`.

        Returns:
            Whether a link to that pod was there and was removed.
        """
        return await self._run(
            timeout, operations.remove_linked_pod_with_id,
            namespace, uid, service_name, pod_id, persist_seconds,
        )  # fmt: skip

    async def batch_remove_linked_pod(
        self,
        namespace: str,
        uids: Iterable[str],
        service_name: str,
        *,
        persist_seconds: int = DELETE_NOW,
        timeout: float | None = None,
    ) -> list[str]:
        """Remove the link of each uid: `remove_linked_pod` for many.

        Each uid is one step on the server; all are sent together. If some fail, the others are
        done, and the error's ``undone`` names those that are not.

        Args:
            persist_seconds: keep them as transient links for so long, or `DELETE_NOW`.

        Returns:
            The uids that had a link, in the order given, each once.
        """
        return await self._run_batch(
            timeout,
            operations.batch_remove_linked_pod,
            namespace,
            uids,
            service_name,
            persist_seconds,
        )

    async def drain_pod(
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
        """Remove every link to a pod that goes away, or move it to another pod.

        All nodes of a cluster are searched with SCAN, a page at a time; each link is changed by
        compare-and-set, so that a uid which is linked elsewhere meanwhile stays there. A moved link
        keeps its time to live. Drain again until nothing is found where links may still be made to
        the pod, or a cluster is being resharded.

        Args:
            to: the pod to move the links to; ``None`` removes them.
            on_progress: called after each page. After an interruption, hand the ``resume`` of the
                last progress to another call, to go on where this one ended.
            resume: where an interrupted drain had come to.
            timeout: seconds that each request may take, not the whole.

        Returns:
            The counts. ``failed`` counts links that could not be changed: the drain went on.

        Raises:
            RedisConnectionError: the primaries of the cluster changed meanwhile, so that a link may
                have been missed: drain again.
        """
        started = perf_counter()
        try:
            nodes = await self.manager.nodes(timeout=timeout)
            plan = steps(
                namespace, service_name, pod_id, to, nodes, self._track, on_progress, resume
            )
            result = await self._follow(plan, timeout)
            check_nodes(nodes, await self.manager.nodes(timeout=timeout))
        except Exception as raised:
            error = telemetry.failure("drain_pod", None, started, raised, self.metrics)
            if error is raised:
                raise
            raise error from raised
        telemetry.drained(result)
        return result

    async def get_link_service(
        self, namespace: str, uid: str, *, timeout: float | None = None
    ) -> dict[str, int]:
        """The persistent links of a uid: service to pod."""
        return await self._run(timeout, operations.get_link_service, namespace, uid)

    async def inspect_link(
        self, namespace: str, uid: str, service_name: str, *, timeout: float | None = None
    ) -> list[StoredKey]:
        """What is stored about a link, whatever it is: never an error about a malformed value.

        Returns:
            The key of the link, of the index of the uid, and of the creation time.
        """
        return await self._run(timeout, repair.inspect_link, namespace, uid, service_name)

    async def inspect_service(
        self, namespace: str, service_name: str, *, timeout: float | None = None
    ) -> list[StoredKey]:
        """What is stored about a service, whatever it is: never an error about a malformed value.

        Returns:
            The key of the pod states, of their times, of the workload state, and of its time.
        """
        return await self._run_batch(timeout, repair.inspect_service, namespace, service_name)

    async def repair_link(
        self,
        namespace: str,
        uid: str,
        service_name: str,
        *,
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> list[Repair]:
        """Delete what is malformed at the keys of a link; every other operation refuses it.

        The link is absent, transient or persistent afterwards: the index has an entry if, and only
        if, the link is persistent. Sound keys are not changed.

        Args:
            dry_run: only tell what would be done.

        Returns:
            What was done; empty if nothing had to be. Each is logged as a warning.
        """
        return await self._repair(
            timeout, dry_run, repair.repair_link, namespace, uid, service_name, dry_run
        )

    async def repair_service_state(
        self,
        namespace: str,
        service_name: str,
        *,
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> list[Repair]:
        """Delete what is malformed in the pod states of a service; see `repair_link`."""
        return await self._repair(
            timeout, dry_run, repair.repair_service_state, namespace, service_name, dry_run
        )

    async def repair_workload_state(
        self,
        namespace: str,
        service_name: str,
        *,
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> list[Repair]:
        """Delete the state of a workload if it is malformed; see `repair_link`."""
        return await self._repair(
            timeout, dry_run, repair.repair_workload_state, namespace, service_name, dry_run
        )

    async def close(self) -> None:
        """Close the connections that were made here; further calls are refused."""
        if self._batcher is not None:  # async-only
            await self._batcher.close()
        if self._owned:
            await self.manager.close()

    async def __aenter__(self) -> AsyncStatefulExecutor:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.manager!r}>"
