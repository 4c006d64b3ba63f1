"""The parts of the chaos tests: the schedule, and the detection of errors."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from unittest.mock import ANY

import pytest

from podlink import (
    DrainProgress,
    InternalError,
    RedisConnectionError,
    StatefulError,
    StatefulExecutor,
)
from podlink.drain import PAGE
from pytest_podlink.conformance.linearizability import Event, Subject
from tests.chaos.history import History, Step, batch, drain, resolve
from tests.chaos.load import DEAD, MARGIN, SERVICE, Load, Targets
from tests.chaos.report import Report, judge, run
from tests.chaos.schedule import KINDS, LONGEST_GAP, TOPOLOGIES, schedule
from tests.chaos.worlds import WORLDS

WHO: Subject = ("chaos", "u", "s")


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_schedule_depends_on_the_seed_only(topology: str) -> None:
    first = schedule(7, topology, 60.0)
    assert first == schedule(7, topology, 60.0)
    assert first != schedule(8, topology, 60.0)
    assert first[:5] == schedule(7, topology, 600.0)[:5]
    assert len(first) >= 60 / LONGEST_GAP - 1
    assert all(0 < fault.at < 60 for fault in first)
    assert {fault.kind for fault in schedule(7, topology, 600.0)} == set(KINDS[topology])


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_every_topology_implements_its_faults(topology: str) -> None:
    for kind in KINDS[topology]:
        assert callable(getattr(WORLDS[topology], kind))


def event(at: float, operation: str, *arguments: int, gives: Any = None) -> Event:
    return Event(WHO, operation, arguments, at, at + 0.5, gives)


RIGHT = [event(0, "set_linked_pod", 1, -1), event(1, "get_linked_pod", gives=1)]


def judged(events: list[Event], pod: int | None, index: dict[str, int]) -> Report:
    """Return the report of a history after which the server has a link to this pod."""

    def read(subjects: Iterable[Subject]) -> tuple[list[Event], dict[Subject, Any]]:
        last = [
            event(100, "get_linked_pod", gives=pod),
            event(101, "get_linked_pod_if_persist", gives=index.get("s")),
        ]
        return last, dict.fromkeys(subjects, index)

    report = Report("none", 0)
    judge(report, events, read)
    return report


def test_linearizable_history_is_good() -> None:
    report = judged(RIGHT, 1, {"s": 1})
    assert report.good
    assert report.operations == 2


def test_a_run_without_operations_is_not_good() -> None:
    assert not judged([], None, {}).good


def test_wrong_result_is_reported() -> None:
    report = judged([*RIGHT, event(2, "set_linked_pod", 2, -1, gives=2)], 2, {"s": 2})
    assert len(report.wrong) == 1
    assert not report.good


def test_lost_link_is_reported() -> None:
    report = judged(RIGHT, None, {})
    assert (len(report.lost), len(report.wrong)) == (1, 0)
    assert not report.good


def test_link_may_be_absent_if_the_outcome_of_a_removal_is_unknown() -> None:
    removal = Event(WHO, "remove_linked_pod", (-1,), 2, math.inf, unknown=True)
    assert judged([*RIGHT, removal], None, {}).good
    assert judged([*RIGHT, removal], 1, {"s": 1}).good


def test_wrong_index_is_reported() -> None:
    assert not judged(RIGHT, 1, {"s": 1, "t": 4}).good


def test_hung_call_and_unexpected_error_are_reported() -> None:
    load = Load("redis://127.0.0.1:1", 0)
    load.note_time("get_linked_pod", 1.0 + MARGIN, 2.0)
    assert load.hung == []
    load.note_time("get_linked_pod", 3.0 + MARGIN, 2.0)
    assert len(load.hung) == 1
    load.note(InternalError("broken"))
    load.note(TypeError("broken"))
    assert len(load.unexpected) == 2


def test_a_write_that_was_denied_is_named_if_it_shows() -> None:
    denied = [((WHO, "set_linked_pod", (2, -1)), "RedisConnectionError('nothing was sent')")]

    def read(subjects: Iterable[Subject]) -> tuple[list[Event], dict[Subject, Any]]:
        gives = [event(100, "get_linked_pod", gives=2)]
        gives.append(event(101, "get_linked_pod_if_persist", gives=2))
        return gives, {subject: {"s": 2} for subject in subjects}

    report = Report("none", 0)
    judge(report, RIGHT, read, denied)
    assert "seen, but denied: set_linked_pod(2, -1): RedisConnectionError" in report.lost[0]


def recorded(step: Step, result: Any) -> list[Event]:
    """The events of a call with this result, or that raises it."""
    history = History()
    with contextlib.suppress(StatefulError, asyncio.CancelledError):
        with history.record(step) as results:
            if isinstance(result, BaseException):
                raise result
            results.append(result)
    return history.events


def summary(events: list[Event]) -> list[tuple[str, str, tuple[int, ...], Any]]:
    return [
        (e.subject[1], e.operation, e.arguments, "unknown" if e.unknown else e.result)
        for e in events
    ]


U, V = ("chaos", "u", "s"), ("chaos", "v", "s")


def test_a_batch_is_an_operation_on_each_of_its_links() -> None:
    get = batch("batch_get_linked_pod", [U, V])
    assert summary(recorded(get, {4: ["v"]})) == [
        ("u", "get_linked_pod", (), None),
        ("v", "get_linked_pod", (), 4),
    ]
    link = batch("batch_set_linked_pod_if_absent", [U, V], 5, seconds=-1)
    assert summary(recorded(link, {4: ["v"], 5: ["u"]})) == [
        ("u", "set_linked_pod_if_absent", (5, -1), 5),
        ("v", "set_linked_pod_if_absent", (5, -1), 4),
    ]
    remove = batch("batch_remove_linked_pod", [U, V], seconds=9)
    assert summary(recorded(remove, ["v"])) == [
        ("u", "remove_linked_pod", (9,), False),
        ("v", "remove_linked_pod", (9,), True),
    ]


@pytest.mark.parametrize("unknown", [True, False])
def test_what_a_batch_says_of_the_links_that_failed(unknown: bool) -> None:
    error = RedisConnectionError("broken")
    error.undone, error.outcome_unknown = ("v",), unknown
    link = batch("batch_set_linked_pod_if_absent", [U, V], 5, seconds=-1)
    done, *others = recorded(link, error)
    assert (done.subject, done.unknown, done.result) == (U, False, ANY)
    assert summary(others) == [("v", *link.parts[1][1:], "unknown")] * unknown


def test_a_batch_that_is_cancelled_may_have_been_done() -> None:
    link = batch("batch_set_linked_pod_if_absent", [U, V], 5, seconds=-1)
    assert all(event.unknown for event in recorded(link, asyncio.CancelledError()))


@pytest.mark.parametrize(
    ("to", "operation"),
    [(None, ("remove_linked_pod_with_id", (3, -1))), (4, ("move_linked_pod", (3, 4)))],
)
def test_a_drain_is_a_compare_and_set(to: int | None, operation: Any) -> None:
    excused: Counter[str] = Counter()
    step = drain(U, 3, to, 1, excused)

    def told(result: Any) -> Any:
        return summary(recorded(step, result))

    assert told(DrainProgress(PAGE, 1, done=1)) == [("u", *operation, True)]
    assert told(DrainProgress(PAGE, 1, changed=1)) == [("u", *operation, False)]
    assert told(DrainProgress(PAGE)) == [("u", "refresh_linked_pod", (3, 3600), False)]
    assert told(RedisConnectionError("broken")) == [("u", *operation, "unknown")]
    assert not excused
    assert told(DrainProgress(2 * PAGE)) == []
    assert sum(excused.values()) == 1


def test_a_drain_that_leaves_a_link_is_wrong() -> None:
    found_nothing = recorded(drain(WHO, 1, None, 1, Counter()), DrainProgress(PAGE))
    during = [replace(each, called=2, returned=3) for each in found_nothing]
    assert not judged([*RIGHT, *during], 1, {"s": 1}).good


def test_a_link_that_a_router_remembers_may_be_that_old() -> None:
    (event,) = recorded(resolve(U, 1.0), 4)
    assert (event.operation, event.result) == ("get_linked_pod", 4)
    assert event.returned - event.called >= 1.0


def test_a_router_links_through_the_history() -> None:
    load = Load("emulator://chaos", 0)
    with StatefulExecutor(load.config) as executor:
        executor.set_service_state(*SERVICE, 1, "up")
        targets = Targets(executor, load)
        executor.set_linked_pod(*U, DEAD)
        pods = {router.resolve(*U, timeout=9.0) for router in targets.routers}
        assert pods == {executor.get_linked_pod(*U)}
        operations = [each.operation for each in targets.history.events]
        assert operations == ["get_linked_pod", "replace_linked_pod", "get_linked_pod"]
        for router in targets.routers:
            router.close()


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_attempts_with_unplanned_failovers_are_excused_and_counted(
    monkeypatch: pytest.MonkeyPatch, topology: str
) -> None:
    attempts = iter([(1, ["lost"]), (2, ["lost", "lost"]), (0, [])])

    def attempt(*args: Any) -> Report:
        unplanned, lost = next(attempts)
        return Report(topology, 1, operations=9, unplanned=unplanned, lost=lost)

    monkeypatch.setattr("tests.chaos.report.run_once", attempt)
    report = run(topology, 1, 1.0)
    assert report.good
    assert report.excused["attempts with unplanned failovers"] == 2
    assert report.excused["lost links in such attempts"] == 3
    assert "lost links in such attempts 3" in str(report)
    assert "attempt 2: lost" in str(report)


def test_the_last_attempt_is_not_excused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tests.chaos.report.run_once",
        lambda *args: Report("sentinel", 1, operations=9, unplanned=1, lost=["lost"]),
    )
    assert not run("sentinel", 1, 1.0).good
