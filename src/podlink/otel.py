"""OpenTelemetry metrics and spans of operations (extra ``otel``).

Names and attributes follow the semantic conventions for database clients where they define one:

| instrument | kind | attributes |
|---|---|---|
| ``db.client.operation.duration`` | histogram, s | ``db.operation.name``, ``error.type`` |
| ``podlink.client.operations`` | observable counter | ``db.operation.name`` |
| ``podlink.client.errors`` | counter | ``db.operation.name``, ``error.type`` (a code) |
| ``podlink.client.retries`` | counter | ``db.operation.name``, ``error.type`` (of redis-py) |
| ``podlink.client.script_reloads`` | counter | ``db.operation.name`` |
| ``podlink.client.drained_links`` | counter | ``podlink.drain.outcome`` |
| ``db.client.connection.count`` | observable | ``db.client.connection.state``, ``….pool.name`` |

All have ``db.system.name`` = ``redis``. An operation gets a span only if it runs inside a span that
is being recorded.

All operations are counted, and the durations of all failures are recorded. The durations of
successful operations are sampled: each thread records about 250 a second, one of every n. Recording
takes the SDK several microseconds, which is noticeable at tens of thousands of operations a second.
Sampling does not change the shape of the distribution.

Set up the SDK before creating the first executor. Without an SDK nothing is instrumented.
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
"""Seconds after which a thread computes its sampling interval again."""
_SYSTEM = {"db.system.name": "redis"}
_NO_TRACES = (trace.NoOpTracerProvider, trace.ProxyTracerProvider)
_managers: weakref.WeakSet[Any] = weakref.WeakSet()


@lru_cache(maxsize=1024)
def _attributes(operation: str, error: str | None) -> dict[str, str]:
    """Return the attributes of a measurement. Cached: the SDK is faster with the same dict."""
    found = {**_SYSTEM, "db.operation.name": operation}
    return found if error is None else {**found, "error.type": error}


class _ThreadCounts(threading.local):
    """The counts of one thread, and its sampling of durations.

    Attributes:
        counts: number of operations by name.
        until_recorded: the duration is recorded when this count of operations reaches 0.
    """

    def __init__(self, instruments: Instruments) -> None:
        self.counts: dict[str, int] = defaultdict(int)
        self.until_recorded = 1
        self._interval = 1
        self._seen = 0
        self._window_began = 0.0
        instruments.count_thread(self.counts)

    def set_next_recorded(self, now: float) -> None:
        """Set the number of operations until the next one is recorded."""
        self._seen += self._interval
        if now - self._window_began >= WINDOW:
            rate = self._seen / (now - self._window_began)
            self._interval = 1 + int(rate / RECORDED_PER_SECOND)
            self._seen = 0
            self._window_began = now
        self.until_recorded = self._interval


def _add(total: dict[str, int], counts: dict[str, int]) -> None:
    for operation, count in list(counts.items()):
        total[operation] = total.get(operation, 0) + count


class Instruments:
    """The instruments of podlink, and its tracer.

    Args:
        meter, tracer: the default is those of the global providers.
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
        self._finished: dict[str, int] = {}
        self._thread = _ThreadCounts(self)
        forks.renew(self)

    def _after_fork(self) -> None:
        """Replace the lock in a child process, and reset the counts."""
        self._lock = threading.Lock()
        self._threads = []
        self._finished = {}
        self._thread = _ThreadCounts(self)

    def record_operation(
        self, operation: str, seconds: float, error: str | None, about: Any, ended: float
    ) -> None:
        """Count an operation, record its duration and error, and create its span.

        Args:
            operation: its name.
            seconds: its duration.
            error: the error code, or ``None`` after success.
            about: the call, for the attributes of the span; ``None`` if its arguments were invalid.
            ended: when it ended (`time.perf_counter`).
        """
        thread = self._thread
        thread.counts[operation] += 1
        thread.until_recorded -= 1
        if error is not None:
            self._duration.record(seconds, _attributes(operation, error))
            self._errors.add(1, _attributes(operation, error))
        elif thread.until_recorded <= 0:
            thread.set_next_recorded(ended)
            self._duration.record(seconds, _attributes(operation, None))
        if self._traced and trace.get_current_span().is_recording():
            self._span(operation, seconds, error, about)

    def count_thread(self, counts: dict[str, int]) -> None:
        """Register the counts of the current thread."""
        with self._lock:
            self._threads.append((threading.current_thread(), counts))

    def _operations(self, _: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        with self._lock:
            living = []
            for thread, counts in self._threads:
                if thread.is_alive():
                    living.append((thread, counts))
                else:
                    _add(self._finished, counts)
            self._threads = living
            total = dict(self._finished)
            for _thread, counts in living:
                _add(total, counts)
        return [
            metrics.Observation(n, _attributes(operation, None)) for operation, n in total.items()
        ]

    def record_retry(self, operation: str, error: str) -> None:
        """Count a retry; ``error`` is the class name of the exception."""
        self._retries.add(1, _attributes(operation, error))

    def record_script_reloads(self, operation: str, scripts: int) -> None:
        """Count calls that got NOSCRIPT."""
        self._reloads.add(scripts, _attributes(operation, None))

    def record_drain(self, outcome: str, links: int) -> None:
        """Count links that a drain found; ``outcome`` is done, changed or failed."""
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
    """Return whether a meter provider or tracer provider other than the default is set."""
    meters = type(metrics.get_meter_provider())
    no_meters = meters is metrics.NoOpMeterProvider or meters.__name__ == "_ProxyMeterProvider"
    return not (no_meters and isinstance(trace.get_tracer_provider(), _NO_TRACES))


def observe_pool(manager: Any) -> None:
    """Report the connections of a manager until it is collected as garbage."""
    _managers.add(manager)


def _connections(_: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
    for manager in list(_managers):
        stats = manager.count_connections()
        if stats is None:
            continue
        pool = {**_SYSTEM, "db.client.connection.pool.name": repr(manager)}
        for state, count in (("used", stats.in_use), ("idle", stats.idle)):
            yield metrics.Observation(count, {**pool, "db.client.connection.state": state})
