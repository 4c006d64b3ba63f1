"""Metrics and spans recorded with OpenTelemetry's SDK."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import podlink
from podlink import (
    AsyncRedisManager,
    AsyncStatefulExecutor,
    RedisConfig,
    StatefulExecutor,
    otel,
    telemetry,
)
from redis_emulator import RedisEmulator


class Telemetry:
    """An SDK that only the test uses."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._spans = InMemorySpanExporter()
        meters = MeterProvider([self._reader])
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.instruments = otel.Instruments(
            meters.get_meter("podlink"), self.tracers.get_tracer("podlink")
        )

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """Return attributes and data points of an instrument."""
        data = self._reader.get_metrics_data()
        return [
            (dict(point.attributes or {}), point)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def values(self, name: str, attribute: str) -> dict[Any, Any]:
        """Return the values of a counter by one attribute."""
        return {found[attribute]: point.value for found, point in self.points(name)}

    def spans(self) -> list[Any]:
        return [span for span in self._spans.get_finished_spans() if span.name != "request"]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Telemetry:
    made = Telemetry()
    monkeypatch.setattr(telemetry, "_instruments", made.instruments)
    return made


@pytest.fixture
def executor() -> StatefulExecutor:
    return StatefulExecutor(RedisEmulator().client())


def test_operations_record_durations_and_counts(
    told: Telemetry, executor: StatefulExecutor
) -> None:
    for _ in range(5):
        executor.set_linked_pod("n", "u", "s", 1)
    executor.batch_get_linked_pod("n", ["u"], "s")
    assert told.values("podlink.client.operations", "db.operation.name") == {
        "set_linked_pod": 5,
        "batch_get_linked_pod": 1,
    }
    durations = {
        found["db.operation.name"]: point
        for found, point in told.points("db.client.operation.duration")
    }
    assert durations["set_linked_pod"].sum > 0
    assert all(found["db.system.name"] == "redis" for found, _ in told.points(
        "db.client.operation.duration"))  # fmt: skip


def test_every_error_is_counted(told: Telemetry, executor: StatefulExecutor) -> None:
    for _ in range(300):
        executor.get_linked_pod("n", "u", "s")
    for _ in range(7):
        with pytest.raises(podlink.PodNotFoundError):
            executor.require_linked_pod("n", "u", "s")
    assert told.values("podlink.client.errors", "error.type") == {"POD_NOT_FOUND": 7}
    failed = [
        point.count
        for found, point in told.points("db.client.operation.duration")
        if found.get("error.type") == "POD_NOT_FOUND"
    ]
    assert failed == [7]


def test_durations_are_sampled_and_operations_are_counted(told: Telemetry) -> None:
    call = podlink.operations.get_linked_pod("n", "u", "s")
    for number in range(20_000):
        told.instruments.record_operation("get_linked_pod", 0.001, None, call, number / 20_000)
    [(_, point)] = told.points("db.client.operation.duration")
    assert 100 < point.count < 5_000
    assert told.values("podlink.client.operations", "db.operation.name") == {
        "get_linked_pod": 20_000
    }


def test_operations_of_ended_threads_are_counted(
    told: Telemetry, executor: StatefulExecutor
) -> None:
    def work() -> None:
        executor.set_linked_pod("n", "u", "s", 1)

    for _ in range(6):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert told.values("podlink.client.operations", "db.operation.name")["set_linked_pod"]
    assert told.values("podlink.client.operations", "db.operation.name") == {"set_linked_pod": 6}


def test_spans_are_created_only_inside_a_span_of_the_caller(
    told: Telemetry, executor: StatefulExecutor
) -> None:
    executor.set_linked_pod("n", "u", "s", 1)
    assert told.spans() == []
    with told.tracers.get_tracer("app").start_as_current_span("request") as request:
        executor.set_linked_pod("n", "u", "s", 1)
        with pytest.raises(podlink.LinkExistsError):
            executor.create_linked_pod("n", "u", "s", 1)
    first, second = told.spans()
    assert first.name == "set_linked_pod"
    assert first.parent.span_id == request.get_span_context().span_id
    assert first.kind is trace.SpanKind.CLIENT
    assert first.attributes["podlink.service"] == "s"
    assert first.attributes["podlink.pod"] == 1
    assert "u" not in first.attributes.values()
    assert first.start_time < first.end_time
    assert second.attributes["error.type"] == "LINK_EXISTS"
    assert second.status.status_code is trace.StatusCode.ERROR


def test_script_reloads_and_drained_links_are_counted(told: Telemetry) -> None:
    client = RedisEmulator().client()
    executor = StatefulExecutor(client)
    executor.batch_set_linked_pod_if_absent("n", [f"u{i}" for i in range(10)], "s", 1)
    client.script_flush()
    executor.set_linked_pod("n", "u0", "s", 1)
    reloads = told.values("podlink.client.script_reloads", "db.operation.name")
    assert reloads == {"batch_set_linked_pod_if_absent": 10, "set_linked_pod": 1}
    executor.drain_pod("n", "s", 1)
    assert told.values("podlink.client.drained_links", "podlink.drain.outcome") == {"done": 10}


def test_retries_are_counted(told: Telemetry) -> None:
    config = RedisConfig(host="127.0.0.1", port=1, retries=2, retry_backoff=0.001)
    with StatefulExecutor(config) as executor, pytest.raises(podlink.RedisConnectionError):
        executor.get_linked_pod("n", "u", "s")
    assert told.values("podlink.client.retries", "error.type") == {"ConnectionError": 2}


async def test_retries_of_an_asyncio_manager_are_counted(told: Telemetry) -> None:
    with RedisEmulator() as emulator, emulator.serve() as server:
        async with AsyncRedisManager(server.url) as manager:
            emulator.faults.drop("SCRIPT LOAD", times=1)
            emulator.faults.drop("PING", times=1)
            emulator.faults.drop("INFO", times=1)
            await manager.load_script("one", "return 1")
            assert (await manager.health_check()).server == "redis"
    retries = told.values("podlink.client.retries", "db.operation.name")
    assert retries == {"load_script": 1, "health_check": 2}


def test_connections_are_counted(told: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otel, "is_set_up", lambda: True)
    with StatefulExecutor("emulator://otel") as executor:
        executor.get_linked_pod("n", "u", "s")
        with executor.manager.connection():
            states = {
                found["db.client.connection.state"]: point.value
                for found, point in told.points("db.client.connection.count")
                if "emulator://otel" in found["db.client.connection.pool.name"]
            }
    assert states["used"] == 1


def test_asyncio_operations_are_counted(told: Telemetry) -> None:
    async def work() -> None:
        async with AsyncStatefulExecutor("emulator://otel-async", batching=True) as executor:
            await executor.set_linked_pod("n", "u", "s", 1)
            async with executor.manager.connection() as connection:
                await connection.script_flush()
            calls = (executor.set_linked_pod("n", f"u{i}", "s", 1) for i in range(3))
            await asyncio.gather(*calls, executor.remove_linked_pod("n", "u0", "s"))
            assert (await executor.manager.get_pool_stats()).total == 1

    asyncio.run(work())
    assert told.values("podlink.client.operations", "db.operation.name") == {
        "set_linked_pod": 4,
        "remove_linked_pod": 1,
    }
    assert told.values("podlink.client.script_reloads", "db.operation.name") == {
        "set_linked_pod": 4,
        "remove_linked_pod": 1,
    }


def test_asyncio_connections_are_counted(told: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otel, "is_set_up", lambda: True)

    async def work() -> dict[str, Any]:
        async with AsyncStatefulExecutor("emulator://otel-counted") as executor:
            async with executor.manager.connection():
                return {
                    found["db.client.connection.state"]: point.value
                    for found, point in told.points("db.client.connection.count")
                    if "emulator://otel-counted" in found["db.client.connection.pool.name"]
                }

    assert asyncio.run(work())["used"] == 1


def test_slow_operations_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    executor = StatefulExecutor("emulator://slow?slow_operation=0")
    with caplog.at_level(logging.WARNING, "podlink"):
        executor.get_linked_pod("n", "u", "s")
    [record] = caplog.records
    assert "get_linked_pod was slow" in record.message
    assert record.__dict__["service"] == "s"
    assert record.__dict__["duration"] > 0


@pytest.mark.parametrize("hidden", [True, False])
def test_nothing_is_instrumented_without_an_sdk(hidden: bool) -> None:
    """This holds without the API, and with the API alone."""
    code = (
        f"import sys; hidden = {hidden}\n"
        "if hidden: sys.modules['opentelemetry'] = None\n"
        "import podlink\n"
        "podlink.StatefulExecutor('emulator://').get_linked_pod('n', 'u', 's')\n"
        "assert podlink.telemetry._instruments is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
