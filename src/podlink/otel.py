"""OpenTelemetry: metrics and spans of operations, where its API is installed (extra ``otel``).

Names and attributes follow the semantic conventions for database clients, as far as they go:

| instrument | kind | attributes |
|---|---|---|
| ``db.client.operation.duration`` | histogram, s | ``db.operation.name``, ``error.type`` |
| ``podlink.client.operations`` | observable counter | ``db.operation.name`` |
| ``podlink.client.errors`` | counter | ``db.operation.name``, ``error.type`` (a code) |
| ``podlink.client.retries`` | counter | ``db.operation.name``, ``error.type`` (of redis-py) |
| ``podlink.client.script_reloads`` | counter | ``db.operation.name`` |
| ``podlink.client.drained_links`` | counter | ``podlink.drain.outcome`` |
| ``db.client.connection.count`` | observable | ``db.client.connection.state``, ``….pool.name`` |

All have ``db.system.name`` = ``redis``. A span is made of an operation that runs inside a span
which is being recorded: an operation nobody traces costs no span.

Every operation is counted, and every failure recorded. Of successes, a thread records the
durations of at most about 250 a second: one in n, evenly, where there are more. The SDK
takes several microseconds for each, which a process that does tens of thousands of operations a
second would feel; the shape of the distribution does not change.

Set up the SDK before the first executor is made. Without one nothing is instrumented, and nothing
is paid for it.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from opentelemetry import metrics, trace

from podlink import forks

RECORDED_PER_SECOND = 250
WINDOW = 0.1
"""Seconds after which it is decided anew how many are recorded."""
_SYSTEM = {"db.system.name": "redis"}
_NO_TRACES = (trace.NoOpTracerProvider, trace.ProxyTracerProvider)
_managers: weakref.WeakSet[Any] = weakref.WeakSet()


@lru_cache(maxsize=1024)
def _attributes(operation: str, error: str | None) -> dict[str, str]:
    """Attributes are made once: the SDK is quicker with a dict it has seen."""
    found = {**_SYSTEM, "db.operation.name": operation}
    return found if error is None else {**found, "error.type": error}


class _Here(threading.local):
    """What a thread has counted, and when it is to record a duration next."""

    def __init__(self, instruments: Instruments) -> None:
        self.counts: dict[str, int] = defaultdict(int)
        self.until_next = 1
        self._stride = 1
        self._seen = 0
        self._window_began = 0.0
        instruments.count_thread(self.counts)

    def choose_next(self, now: float) -> None:
        """One in n, where n keeps the records of a second within `RECORDED_PER_SECOND`."""
        self._seen += self._stride
        if now - self._window_began >= WINDOW:
            rate = self._seen / (now - self._window_began)
            self._stride = 1 + int(rate / RECORDED_PER_SECOND)
            self._seen = 0
            self._window_began = now
        self.until_next = self._stride


def _add(total: dict[str, int], counts: dict[str, int]) -> None:
    for operation, count in list(counts.items()):
        total[operation] = total.get(operation, 0) + count


class Instruments:
    """What podlink reports.

    Args:
        meter, tracer: by default those of the providers that have been set up.
    """

    def __init__(
        self, meter: metrics.Meter | None = None, tracer: trace.Tracer | None = None
    ) -> None:
        meter = meter or metrics.get_meter("podlink")
        self._duration = meter.create_histogram(
            "db.client.operation.duration", "s", "Duration of operations on links and states."
        )
        self._errors = meter.create_counter(
            "podlink.client.errors", "{error}", "Operations that failed, by code."
        )
        self._retries = meter.create_counter(
            "podlink.client.retries", "{retry}", "Calls that were sent again."
        )
        self._reloads = meter.create_counter(
            "podlink.client.script_reloads", "{script}", "Scripts that a server did not know."
        )
        self._drained = meter.create_counter(
            "podlink.client.drained_links", "{link}", "Links that drain_pod found."
        )
        meter.create_observable_counter(
            "podlink.client.operations", [self._operations], "{operation}", "Operations."
        )
        meter.create_observable_up_down_counter(
            "db.client.connection.count",
            [_connections],
            "{connection}",
            "Connections of podlink's pools.",
        )
        self._tracer = tracer or trace.get_tracer("podlink")
        self._traced = not (tracer is None and isinstance(trace.get_tracer_provider(), _NO_TRACES))
        self._lock = threading.Lock()
        self._threads: list[tuple[threading.Thread, dict[str, int]]] = []
        self._past: dict[str, int] = {}
        self._here = _Here(self)
        forks.renew(self)

    def _after_fork(self) -> None:
        """Replace the lock in a child process, and count what this process does."""
        self._lock = threading.Lock()
        self._threads = []
        self._past = {}
        self._here = _Here(self)

    def operation(
        self, operation: str, seconds: float, error: str | None, about: Any, ended: float
    ) -> None:
        """An operation is over: count it, its duration, its error if it failed, and its span.

        Args:
            about: the call, whose names go into the span.
            ended: the moment, of `time.perf_counter`.
        """
        here = self._here
        here.counts[operation] += 1
        here.until_next -= 1
        if error is not None:
            self._duration.record(seconds, _attributes(operation, error))
            self._errors.add(1, _attributes(operation, error))
        elif here.until_next <= 0:
            here.choose_next(ended)
            self._duration.record(seconds, _attributes(operation, None))
        if self._traced and trace.get_current_span().is_recording():
            self._span(operation, seconds, error, about)

    def count_thread(self, counts: dict[str, int]) -> None:
        """Add what the current thread counts by itself."""
        with self._lock:
            self._threads.append((threading.current_thread(), counts))

    def _operations(self, _: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        with self._lock:
            living = []
            for thread, counts in self._threads:
                if thread.is_alive():
                    living.append((thread, counts))
                else:
                    _add(self._past, counts)
            self._threads = living
            total = dict(self._past)
            for _thread, counts in living:
                _add(total, counts)
        return [
            metrics.Observation(n, _attributes(operation, None)) for operation, n in total.items()
        ]

    def retry(self, operation: str, error: str) -> None:
        """A call is sent again."""
        self._retries.add(1, _attributes(operation, error))

    def reload(self, operation: str, scripts: int) -> None:
        """Servers did not know the scripts of so many calls."""
        self._reloads.add(scripts, _attributes(operation, None))

    def drained(self, outcome: str, links: int) -> None:
        """A drain found links, and this became of them."""
        if links:
            self._drained.add(links, {**_SYSTEM, "podlink.drain.outcome": outcome})

    def _span(self, operation: str, seconds: float, error: str | None, about: Any) -> None:
        now = time.time_ns()
        attributes: dict[str, Any] = dict(_attributes(operation, error))
        if about is not None:
            found = {
                "podlink.namespace": about.namespace,
                "podlink.service": about.service_name,
                "podlink.pod": about.pod_id,
            }
            attributes |= {name: value for name, value in found.items() if value is not None}
        span = self._tracer.start_span(
            operation,
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
            start_time=now - int(seconds * 1e9),
        )
        if error is not None:
            span.set_status(trace.Status(trace.StatusCode.ERROR, error))
        span.end(now)


def is_set_up() -> bool:
    """Whether there is anybody who wants metrics or spans."""
    meters = type(metrics.get_meter_provider())
    no_meters = meters is metrics.NoOpMeterProvider or meters.__name__ == "_ProxyMeterProvider"
    return not (no_meters and isinstance(trace.get_tracer_provider(), _NO_TRACES))


def watch(manager: Any) -> None:
    """Have the connections of a manager counted for as long as it is there."""
    _managers.add(manager)


def _connections(_: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
    for manager in list(_managers):
        stats = manager.count_connections()
        if stats is None:
            continue
        pool = {**_SYSTEM, "db.client.connection.pool.name": repr(manager)}
        for state, count in (("used", stats.in_use), ("idle", stats.idle)):
            yield metrics.Observation(count, {**pool, "db.client.connection.state": state})
