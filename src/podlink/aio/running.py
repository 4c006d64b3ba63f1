"""How an executor runs an operation, for asyncio.

It is sent, its reply is read, and a failure becomes one of our errors, counted and logged.
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
    """Sends the calls of one executor.

    Args:
        manager: has the client.
        metrics: where errors are counted.

    Attributes:
        batcher: sends the calls of concurrent tasks together.
    """

    def __init__(self, manager: AsyncRedisManager, metrics: ErrorMetrics) -> None:
        self._manager = manager
        self._metrics = metrics
        self.batcher: Batcher | None = None  # async-only

    async def run(
        self, timeout: float | None, build: Callable[P, Call[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
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
            error = telemetry.failure(build.__name__, call, started, raised, self._metrics)
            if error is raised:
                raise
            raise error from raised
        telemetry.done(call, started, self._manager.slow)
        return result

    async def repair(
        self,
        timeout: float | None,
        dry_run: bool,
        build: Callable[P, Call[list[Repair]]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> list[Repair]:
        done = await self.run(timeout, build, *args, **kwargs)
        telemetry.repaired(build.__name__, () if dry_run else done)
        return done

    async def follow(
        self, plan: Generator[Step, Any, DrainProgress], timeout: float | None
    ) -> DrainProgress:
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
        batch: BatchCall[T] | None = None
        started = perf_counter()
        try:
            batch = build(*args, **kwargs)
            result = batch.result(await self._manager.send_all(batch.calls, RAW, timeout))
        except Exception as raised:
            error = telemetry.failure(build.__name__, batch, started, raised, self._metrics)
            if error is raised:
                raise
            raise error from raised
        telemetry.done(batch, started, self._manager.slow)
        return result
