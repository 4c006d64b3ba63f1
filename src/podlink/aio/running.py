"""How an operation is run, for asyncio.

The `Runner` of an executor builds the call of an operation, sends it through the manager and parses
the reply. An exception becomes a `StatefulError`, which is counted and logged.
`podlink.running` is the same without asyncio.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from time import perf_counter
from typing import Any, ParamSpec, TypeVar

from podlink import telemetry
from podlink.aio.batching import Batcher  # async-only
from podlink.aio.manager import AsyncRedisManager
from podlink.calls import RAW, BatchCall, Call
from podlink.drain import DrainProgress, Scan, Step
from podlink.errors import ErrorMetrics
from podlink.models import Repair

P = ParamSpec("P")
T = TypeVar("T")


class Runner:
    """Runs the operations of one executor.

    The arguments of each method are the ``timeout`` in seconds, the function that builds the call
    (of `podlink.operations` or `podlink.repair`), and the arguments of that function.

    Args:
        manager: sends the calls.
        metrics: counts the errors.

    Attributes:
        batcher: collects the calls of concurrent tasks into pipelines; ``None`` without batching.
    """

    def __init__(self, manager: AsyncRedisManager, metrics: ErrorMetrics) -> None:
        self._manager = manager
        self._metrics = metrics
        self.batcher: Batcher | None = None  # async-only

    async def run(
        self, timeout: float | None, build: Callable[P, Call[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run an operation that is one call, and return its result.

        Raises:
            StatefulError: the operation failed.
        """
        call: Call[T] | None = None
        started = perf_counter()
        try:
            call = build(*args, **kwargs)
            if self.batcher is not None:  # async-only
                reply = await self.batcher.send(call, timeout)
            else:
                reply = await self._manager.send(call, RAW, timeout)
            result = call.parse(call, reply)
        except Exception as raised:
            error = telemetry.record_failure(build.__name__, call, started, raised, self._metrics)
            if error is raised:
                raise
            raise error from raised
        telemetry.record_success(call, started, self._manager.slow)
        return result

    async def repair(
        self,
        timeout: float | None,
        dry_run: bool,
        build: Callable[P, Call[list[Repair]]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> list[Repair]:
        """Run a repair, and log what it did unless ``dry_run`` is set.

        Raises:
            StatefulError: the operation failed.
        """
        done = await self.run(timeout, build, *args, **kwargs)
        telemetry.log_repairs(build.__name__, () if dry_run else done)
        return done

    async def run_drain(
        self, plan: Generator[Step, Any, DrainProgress], timeout: float | None
    ) -> DrainProgress:
        """Send what `podlink.drain.steps` yields until it returns; ``timeout`` is for each step.

        Raises:
            Exception: SCAN failed. Failed calls of a list do not raise.
        """
        answer: Any = None
        while True:
            try:
                step = plan.send(answer)
            except StopIteration as stop:
                result: DrainProgress = stop.value
                return result
            if isinstance(step, Scan):
                reply = await self._manager.send_to(step.node, step.call, RAW, timeout)
                answer = step.call.parse(step.call, reply)
            else:
                answer = await self._manager.send_all(step, RAW, timeout)

    async def run_batch(
        self,
        timeout: float | None,
        build: Callable[P, BatchCall[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run an operation that is several calls, sent in pipelines, and return its result.

        Raises:
            StatefulError: at least one call failed; ``undone`` lists the uids or services of those.
        """
        batch: BatchCall[T] | None = None
        started = perf_counter()
        try:
            batch = build(*args, **kwargs)
            result = batch.result(await self._manager.send_all(batch.calls, RAW, timeout))
        except Exception as raised:
            error = telemetry.record_failure(build.__name__, batch, started, raised, self._metrics)
            if error is raised:
                raise
            raise error from raised
        telemetry.record_success(batch, started, self._manager.slow)
        return result
