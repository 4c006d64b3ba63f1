"""`AsyncLinkRouter` finds the pod of a uid, or links the uid to a live pod, for asyncio.

`podlink.routing` makes the decisions; this module performs the reads and writes with an executor.
`podlink.router` is the same without asyncio. ``docs/router.md`` describes what routers guarantee.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from random import Random
from types import TracebackType
from typing import Any

from podlink.aio.executor import AsyncStatefulExecutor
from podlink.aio.tracking import AsyncTracker
from podlink.cache import RouterStats
from podlink.keys import PERSIST_FOREVER
from podlink.routing import (
    MakeLink,
    Policy,
    ReadLink,
    ReadStates,
    Step,
    TimeLeft,
    advance,
    count_errors,
    make_routing,
    time_left,
)


class AsyncLinkRouter:
    """Returns the pod of a service that a uid is linked to, and links it to a live pod if needed.

    Tasks may share one router.

    Use it in an ``async with`` block, or `close` it. The first `resolve` starts a task with its
    own connection, which receives the invalidation messages of the server. Closing the router does
    not close the executor.

    Args:
        executor: reads and writes the links.
        policy: decides which pods are alive, and selects one for a new link; the default is
            `LeastLoaded`.
        persist_seconds: seconds until a new link expires, or `PERSIST_FOREVER`.
        states_ttl: seconds for which the pod states of a service are cached.
        cache_size: how many links are cached; 0 disables the cache.
        max_silence: seconds after which cached links are no longer used if the tracking connection
            has received no reply to a PING.
        max_staleness: seconds for which a cached link is used without tracking: on a cluster, with
            a server that has no CLIENT TRACKING, or until the connection is established. 0 reads
            such links from the server.
        random: the random number generator.
        wall_clock: returns seconds since the epoch, to compare with the heartbeats of the pods.
        monotonic: returns the seconds of a monotonic clock, for the age of cached values.

    Raises:
        InvalidParameterError: an argument is outside its limits.
    """

    def __init__(
        self,
        executor: AsyncStatefulExecutor,
        *,
        policy: Policy | None = None,
        persist_seconds: int = PERSIST_FOREVER,
        states_ttl: float = 1.0,
        cache_size: int = 10_000,
        max_silence: float = 1.0,
        max_staleness: float = 0.0,
        random: Random | None = None,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.executor = executor
        self._routing = make_routing(
            policy, persist_seconds, states_ttl, cache_size, max_silence, max_staleness,
            random, wall_clock, monotonic,
        )  # fmt: skip
        self._tracker = AsyncTracker(executor.manager, self._routing.cache)
        # sync-only: self._tracker.stop_when_collected(self)

    async def resolve(
        self, namespace: str, uid: str, service_name: str, *, timeout: float | None = None
    ) -> int:
        """Return the pod that a uid is linked to, if that pod is alive.

        If the uid has no link, or the pod is not alive, link the uid to a pod that is alive, and
        return that.

        Args:
            timeout: seconds that the whole call may take. ``None`` applies the timeout of the
                executor to each request.

        Raises:
            ServiceNotFoundError: the service has no pods.
            PodNotFoundError: none of its pods is alive; the message gives the reason for each.
            StatefulError: the executor raised it. After a timeout of a write the uid may have been
                linked: call `resolve` again.
        """
        manager = self.executor.manager
        source = manager.source
        with count_errors(self.executor.metrics):
            left = time_left(timeout)
            pod = self._routing.cached_pod(source, namespace, uid, service_name)
        if pod is None:
            pod = await self._run_plan(
                self._routing.plan(source, namespace, uid, service_name), left
            )
            if self._routing.cache.size and not manager.is_cluster:
                self._tracker.watch(namespace)
        return pod

    def forget(self, namespace: str, uid: str, service_name: str) -> None:
        """Remove a link from the cache, so that the next `resolve` reads it from the server.

        Call it when a pod reports that it does not have the state of the uid.
        """
        self._routing.forget(namespace, uid, service_name)

    def stats(self) -> RouterStats:
        """Return the counts of the cache."""
        return self._routing.cache.stats()

    async def close(self) -> None:
        """Stop tracking and clear the cache. `resolve` still works, but without tracking."""
        await self._tracker.close()

    async def __aenter__(self) -> AsyncLinkRouter:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self.executor!r}>"

    async def _run_plan(self, plan: Generator[Step, Any, int], left: TimeLeft) -> int:
        answer: Any = None
        try:
            while True:
                with count_errors(self.executor.metrics):
                    step = advance(plan, answer)
                    if isinstance(step, int):
                        return step
                    timeout = left()
                answer = await self._run_step(step, timeout)
        finally:
            plan.close()

    async def _run_step(self, step: Step, timeout: float | None) -> Any:
        executor, seconds = self.executor, self._routing.persist_seconds
        if isinstance(step, ReadLink):
            return await executor.get_linked_pod(*step, timeout=timeout)
        if isinstance(step, ReadStates):
            return await executor.get_service_state(*step, timeout=timeout)
        if isinstance(step, MakeLink):
            return await executor.set_linked_pod_if_absent(
                *step, persist_seconds=seconds, timeout=timeout
            )
        return await executor.replace_linked_pod(*step, persist_seconds=seconds, timeout=timeout)
