"""The parts of the chaos tests: the schedule, and the detection of errors."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pytest

from podlink import InternalError
from pytest_podlink.conformance.linearizability import Event, Subject
from tests.chaos.load import MARGIN, Load
from tests.chaos.report import Report, judge
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
