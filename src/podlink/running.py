# Generated from aio/running.py by .ci/generate_sync.py: do not edit, run `make generate`.
"""How an executor runs an operation, synchronously.

It is sent, its reply is read, and a failure becomes one of our errors, counted and logged.
`podlink.aio.running` is the same for asyncio.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from time import perf_counter
from typing import Any, ParamSpec, TypeVar

from podlink import telemetry
from podlink.calls import RAW, BatchCall, Call
from podlink.drain import DrainProgress, Scan, Step
from podlink.errors import ErrorMetrics
from podlink.manager import RedisManager
from podlink.models import Repair

P = ParamSpec("P")
T = TypeVar("T")


class Runner:
    """Sends the calls of one executor.

    Args:
        manager: has the client.
        metrics: where errors are counted.
    """

    def __init__(self, manager: RedisManager, metrics: ErrorMetrics) -> None:
        self._manager = manager
        self._metrics = metrics

    def run(
        self, timeout: float | None, build: Callable[P, Call[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        call: Call[T] | None = None
        started = perf_counter()
        try:
            call = build(*args, **kwargs)
            reply = self._manager.send(call, RAW, timeout)
            result = call.parse(call, reply)
        except Exception as raised:
            error = telemetry.failure(build.__name__, call, started, raised, self._metrics)
            if error is raised:
                raise
            raise error from raised
        telemetry.done(call, started, self._manager.slow)
        return result

    def repair(
        self,
        timeout: float | None,
        dry_run: bool,
        build: Callable[P, Call[list[Repair]]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> list[Repair]:
        done = self.run(timeout, build, *args, **kwargs)
        telemetry.repaired(build.__name__, () if dry_run else done)
        return done

    def follow(
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
                reply = self._manager.send_to(step.node, step.call, RAW, timeout)
                answer = step.call.parse(step.call, reply)
            else:
                answer = self._manager.send_all(step, RAW, timeout)

    def run_batch(
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
            result = batch.result(self._manager.send_all(batch.calls, RAW, timeout))
        except Exception as raised:
            error = telemetry.failure(build.__name__, batch, started, raised, self._metrics)
            if error is raised:
                raise
            raise error from raised
        telemetry.done(batch, started, self._manager.slow)
        return result
