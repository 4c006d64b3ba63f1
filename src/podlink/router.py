# Generated from aio/router.py by .ci/generate_sync.py: do not edit, run `make generate`.
"""`LinkRouter`: which pod a uid belongs to now, linking it to one if need be; synchronously.

It does with an executor what `podlink.routing` asks for, and decides nothing. `podlink.aio.router`
is the same for asyncio. What routers promise is in ``docs/router.md``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from random import Random
from types import TracebackType
from typing import Any

from podlink.cache import RouterStats
from podlink.executor import StatefulExecutor
from podlink.keys import PERSIST_FOREVER
from podlink.routing import (
    MakeLink,
    Policy,
    ReadLink,
    ReadStates,
    Step,
    TimeLeft,
    advance,
    errors_counted,
    make_routing,
    time_left,
)
from podlink.tracking import Tracker


class LinkRouter:
    """Tells which pod of a service a uid belongs to. Threads may share one.

    Use it in a ``with`` block, or `close` it: it has a connection and a thread of its own, from the
    first `resolve` on, that hear of changed links. The executor stays open.

    Args:
        executor: reads and writes the links.
        policy: which pods are alive, and which a uid is given; by default `LeastLoaded`.
        persist_seconds: how long the links that are made persist, or `PERSIST_FOREVER`.
        states_ttl: seconds for which the states of a service's pods are kept.
        cache_size: how many links are remembered; 0 turns that off.
        max_silence: seconds without a sign of life of the connection that hears of changes, after
            which nothing that is remembered is believed.
        max_staleness: seconds for which a link is believed without such a connection: on a cluster,
            or a server that cannot track, or while it is being made. 0 asks the server instead.
        random: the source of chance.
        wall_clock: seconds since the epoch, to compare with the heartbeats of the pods.
        monotonic: a clock for everything that is kept for a while.

    Raises:
        InvalidParameterError: an argument is outside its limits.
    """

    def __init__(
        self,
        executor: StatefulExecutor,
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
        self._tracker = Tracker(executor.manager, self._routing.cache)
        self._tracker.end_with(self)

    def resolve(
        self, namespace: str, uid: str, service_name: str, *, timeout: float | None = None
    ) -> int:
        """The pod that a uid belongs to now.

        The pod it is linked to, if that is alive. Otherwise one that is, to which it is linked
        then.

        Args:
            timeout: seconds that this may take in all; without one the executor's counts for each
                request.

        Raises:
            ServiceNotFoundError: the service has no pods.
            PodNotFoundError: none of its pods is alive; the message says what is wrong with each.
            StatefulError: whatever the executor raises. If the time is up during a write, the uid
                may have been linked: resolve it again.
        """
        manager = self.executor.manager
        source = manager.source
        with errors_counted(self.executor.metrics):
            left = time_left(timeout)
            pod = self._routing.known(source, namespace, uid, service_name)
        if pod is None:
            pod = self._ask(self._routing.plan(source, namespace, uid, service_name), left)
            if self._routing.cache.size and not manager.is_cluster:
                self._tracker.watch(namespace)
        return pod

    def forget(self, namespace: str, uid: str, service_name: str) -> None:
        """Ask the server for this link the next time, whatever is remembered.

        For a caller whom a pod has told that the uid is not there.
        """
        self._routing.forget(namespace, uid, service_name)

    def stats(self) -> RouterStats:
        """How the cache does."""
        return self._routing.cache.stats()

    def close(self) -> None:
        """End the connection that hears of changes. `resolve` goes on, remembering nothing."""
        self._tracker.close()

    def __enter__(self) -> LinkRouter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self.executor!r}>"

    def _ask(self, plan: Generator[Step, Any, int], left: TimeLeft) -> int:
        answer: Any = None
        try:
            while True:
                with errors_counted(self.executor.metrics):
                    step = advance(plan, answer)
                    if isinstance(step, int):
                        return step
                    timeout = left()
                answer = self._do(step, timeout)
        finally:
            plan.close()

    def _do(self, step: Step, timeout: float | None) -> Any:
        executor, seconds = self.executor, self._routing.persist_seconds
        if isinstance(step, ReadLink):
            return executor.get_linked_pod(*step, timeout=timeout)
        if isinstance(step, ReadStates):
            return executor.get_service_state(*step, timeout=timeout)
        if isinstance(step, MakeLink):
            return executor.set_linked_pod_if_absent(
                *step, persist_seconds=seconds, timeout=timeout
            )
        return executor.replace_linked_pod(*step, persist_seconds=seconds, timeout=timeout)
