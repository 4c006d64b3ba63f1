"""The linearizability checker: which histories it accepts, and which it rejects."""

from __future__ import annotations

import asyncio
import math
import random
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podlink import StatefulError, StatefulExecutor
from pytest_podlink.conformance.linearizability import (
    Event,
    HistoryUndecided,
    Link,
    NotLinearizable,
    Recorder,
    apply,
    check,
    is_linearizable,
)
from redis_emulator import RedisEmulator
from tests.support.examples import examples

WHO = ("n", "u", "s")
CALLS = st.one_of(
    st.tuples(st.just("set_linked_pod"), st.tuples(st.integers(0, 2), st.sampled_from([-1, 900]))),
    st.tuples(st.just("try_set_linked_pod"), st.tuples(st.integers(0, 2))),
    st.tuples(st.just("set_linked_pod_if_absent"), st.tuples(st.integers(0, 2))),
    st.tuples(st.just("create_linked_pod"), st.tuples(st.integers(0, 2))),
    st.tuples(st.just("replace_linked_pod"), st.tuples(st.integers(0, 2), st.integers(0, 2))),
    st.tuples(st.just("refresh_linked_pod"), st.tuples(st.integers(0, 2), st.just(900))),
    st.tuples(st.just("remove_linked_pod"), st.tuples(st.sampled_from([-1, 900]))),
    st.tuples(st.just("remove_linked_pod_with_id"), st.tuples(st.integers(0, 2))),
    st.tuples(st.sampled_from(["get_linked_pod", "get_linked_pod_if_persist"]), st.just(())),
)
NAMES = ["set_linked_pod", "try_set_linked_pod", "set_linked_pod_if_absent", "get_linked_pod",
         "create_linked_pod", "get_linked_pod_if_persist", "remove_linked_pod",
         "remove_linked_pod_with_id", "replace_linked_pod", "refresh_linked_pod"]  # fmt: skip


def event(
    called: float, returned: float, operation: str, *arguments: int, gives: Any = None
) -> Event:
    return Event(WHO, operation, arguments, called, returned, gives)


@given(st.lists(st.tuples(CALLS, st.floats(0, 5), st.floats(0, 5)), max_size=12))
def test_history_with_a_sequential_order_is_linearizable(
    calls: list[tuple[tuple[str, tuple[int, ...]], float, float]],
) -> None:
    link, events = None, []
    for moment, ((operation, arguments), before, after) in enumerate(calls):
        link, result = apply(link, operation, arguments)
        events.append(event(moment - before, moment + after, operation, *arguments, gives=result))
    random.Random(len(calls)).shuffle(events)
    assert is_linearizable(events)


@given(st.lists(CALLS, min_size=1, max_size=15), st.data())
def test_history_with_one_wrong_result_is_rejected(
    calls: list[tuple[str, tuple[int, ...]]], data: st.DataObject
) -> None:
    link, events = None, []
    for moment, (operation, arguments) in enumerate(calls):
        link, result = apply(link, operation, arguments)
        events.append(event(moment, moment + 0.5, operation, *arguments, gives=result))
    place = data.draw(st.integers(0, len(events) - 1))
    wrong = events[place]
    events[place] = event(
        wrong.called, wrong.returned, wrong.operation, *wrong.arguments, gives="no such thing"
    )
    assert not is_linearizable(events)


def test_model_agrees_with_the_executor() -> None:
    """Compare the checker's model with the results of a real executor, one call after another."""
    recorder = Recorder(StatefulExecutor(RedisEmulator().client()))
    chance = random.Random(5)
    for _ in range(600):
        operation = chance.choice(NAMES)
        recorder.call(operation, WHO, *arguments_of(operation, chance))
    assert check(recorder.events) == 600


def arguments_of(operation: str, chance: random.Random) -> tuple[int, ...]:
    """Return random arguments with few different pods, so that operations conflict."""
    pods = [chance.randrange(3) for _ in range(2)]
    seconds = chance.choice([-1, 900])
    chosen: dict[str, tuple[int, ...]] = {
        "get_linked_pod": (),
        "get_linked_pod_if_persist": (),
        "remove_linked_pod": (seconds,),
        "replace_linked_pod": (*pods, seconds),
        "refresh_linked_pod": (pods[0], 900),
    }
    return chosen.get(operation, (pods[0], seconds))


@pytest.mark.parametrize(
    "events",
    [
        # A read that overlaps no write returns the last value written.
        [event(0, 1, "set_linked_pod", 1), event(2, 3, "get_linked_pod", gives=None)],
        [event(0, 1, "set_linked_pod", 1), event(2, 3, "get_linked_pod", gives=2)],
        # Two calls cannot both have created the link.
        [event(0, 9, "create_linked_pod", 1, gives=1),
         event(0, 9, "create_linked_pod", 2, gives=2)],
        # A later read cannot return an older value.
        [event(0, 9, "set_linked_pod", 1), event(1, 2, "get_linked_pod", gives=1),
         event(3, 4, "get_linked_pod", gives=None)],
        # Two calls cannot both have replaced the same pod.
        [event(0, 1, "set_linked_pod", 0), event(2, 9, "replace_linked_pod", 0, 1, gives=(True, 1)),
         event(2, 9, "replace_linked_pod", 0, 2, gives=(True, 2))],
    ],
)  # fmt: skip
def test_histories_without_an_order_are_rejected(events: list[Event]) -> None:
    assert not is_linearizable(events)
    with pytest.raises(NotLinearizable, match="are not linearizable"):
        check(events)


def test_operation_with_unknown_outcome_may_have_happened_or_not() -> None:
    write = with_unknown_outcome("set_linked_pod", 1)
    assert is_linearizable([write, *reads(None)])
    assert is_linearizable([write, *reads(1)])
    assert is_linearizable([write, *reads(None, 1)])
    assert not is_linearizable([write, *reads(None, 1, None)])


def with_unknown_outcome(operation: str, *arguments: int, called: float = 0) -> Event:
    """Return an operation with unknown outcome."""
    return Event(WHO, operation, arguments, called, math.inf, unknown=True)


def reads(*pods: int | None, start: float = 1000) -> list[Event]:
    """Return reads, one after another."""
    return [
        event(start + 2 * i, start + 2 * i + 1, "get_linked_pod", gives=pod)
        for i, pod in enumerate(pods)
    ]


def brute_force(events: Sequence[Event], link: Link = None) -> bool:
    """Try every order, with and without each operation of unknown outcome."""
    known = [each for each in events if not each.unknown]
    if not known:
        return True
    for place, first in enumerate(events):
        if any(first.called > other.returned for other in known if other is not first):
            continue
        after, result = apply(link, first.operation, first.arguments)
        rest = [*events[:place], *events[place + 1 :]]
        if (first.unknown or result == first.result) and brute_force(rest, after):
            return True
    return False


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Draw up to eight operations with the results of some order. Some have an unknown outcome and
    were applied at once, later or never. One may have the result of another.
    """
    link: Link = None
    events: list[Event] = []
    late: list[tuple[str, tuple[int, ...]]] = []
    for moment, (operation, arguments) in enumerate(draw(st.lists(CALLS, max_size=8))):
        called = moment - draw(st.integers(0, 3))
        returned = moment + draw(st.integers(0, 3))
        if draw(st.booleans()):
            events.append(with_unknown_outcome(operation, *arguments, called=called))
            late.append((operation, arguments))
        else:
            link, result = apply(link, operation, arguments)
            events.append(event(called, returned, operation, *arguments, gives=result))
        while late:
            if not draw(st.booleans()):
                break
            link, _ = apply(link, *late.pop(draw(st.integers(0, len(late) - 1))))
    known = [place for place, each in enumerate(events) if not each.unknown]
    is_wrong: bool = draw(st.booleans()) if known else False
    if is_wrong:
        place, other = draw(st.sampled_from(known)), draw(st.sampled_from(known))
        wrong = events[place]
        events[place] = event(
            wrong.called,
            wrong.returned,
            wrong.operation,
            *wrong.arguments,
            gives=events[other].result,
        )
    return events


@given(histories())
@settings(max_examples=examples(500))
def test_search_agrees_with_brute_force(events: list[Event]) -> None:
    assert is_linearizable(events) == brute_force(events)


def test_operation_with_unknown_outcome_happens_at_most_once() -> None:
    once = [with_unknown_outcome("set_linked_pod", 1), with_unknown_outcome("set_linked_pod", 2)]
    assert is_linearizable([*once, *reads(1, 2)])
    assert is_linearizable([*once, *reads(2, 1)])
    assert not is_linearizable([*once, *reads(1, 2, 1)])
    twice = [
        with_unknown_outcome("try_set_linked_pod", 1),
        with_unknown_outcome("remove_linked_pod"),
    ]
    assert is_linearizable([*once, *twice, *reads(1, 2, None, 1)])


STEPS = 2_000_000
"""Enough for all histories below. A search that is exponential in the unknown outcomes needs far
more.
"""


@pytest.mark.parametrize("distinct", [4, 200])
def test_hundreds_of_unknown_writes_that_were_all_read_are_accepted(distinct: int) -> None:
    writes = [with_unknown_outcome("set_linked_pod", i % distinct, called=i) for i in range(200)]
    seen = reads(*(i % distinct for i in range(200)))
    assert is_linearizable([*writes, *seen], max_steps=STEPS)


@pytest.mark.parametrize("distinct", [4, 200])
def test_a_read_more_than_hundreds_of_unknown_writes_explain_is_rejected(distinct: int) -> None:
    writes = [with_unknown_outcome("set_linked_pod", i % distinct, called=i) for i in range(200)]
    seen = reads(*(i % distinct for i in range(201)))
    assert not is_linearizable([*writes, *seen], max_steps=STEPS)


@pytest.mark.parametrize("operation", ["set_linked_pod", "try_set_linked_pod"])
def test_pod_that_none_of_hundreds_of_unknown_writes_wrote_is_rejected(operation: str) -> None:
    writes = [with_unknown_outcome(operation, i, 900, called=i) for i in range(200)]
    assert not is_linearizable([*writes, *reads(1, 999)], max_steps=STEPS)


@pytest.mark.parametrize("seed", range(2))
def test_hundreds_of_unknown_operations_of_every_kind_are_decided(seed: int) -> None:
    events = random_history(random.Random(seed), operations=700, unknown=0.5)
    assert sum(each.unknown for each in events) > 200
    assert is_linearizable(events, max_steps=STEPS)
    place = max(i for i, each in enumerate(events) if each.operation == "get_linked_pod")
    read = events[place]
    events[place] = event(read.called, read.returned, read.operation, gives=99)
    assert not is_linearizable(events, max_steps=STEPS)


def random_history(chance: random.Random, operations: int, unknown: float) -> list[Event]:
    """Return the events of eight callers. A third of the unknown outcomes is applied at once, a
    third later.
    """
    link: Link = None
    events: list[Event] = []
    later: list[tuple[str, tuple[int, ...]]] = []
    for moment in range(operations):
        operation = chance.choice(NAMES)
        arguments = arguments_of(operation, chance)
        called, returned = moment - 8 * chance.random(), moment + 8 * chance.random()
        is_read = operation.startswith("get_")
        if not is_read and chance.random() < unknown:
            events.append(with_unknown_outcome(operation, *arguments, called=called))
            fate = chance.randrange(3)
            if fate == 0:
                link, _ = apply(link, operation, arguments)
            elif fate == 1:
                later.append((operation, arguments))
        else:
            link, result = apply(link, operation, arguments)
            events.append(event(called, returned, operation, *arguments, gives=result))
        if later and chance.random() < 0.1:
            link, _ = apply(link, *later.pop(0))
    return events


def test_search_beyond_max_steps_is_undecided() -> None:
    events = random_history(random.Random(1), operations=400, unknown=0.5)
    with pytest.raises(HistoryUndecided, match=r"undecided: 400 operations .* max_steps"):
        is_linearizable(events, max_steps=100)
    with pytest.raises(HistoryUndecided, match="undecided"):
        check(events, max_steps=100)
    assert is_linearizable(events)


def test_violation_is_reported_although_another_link_is_undecided() -> None:
    other = Event(("n", "v", "s"), "get_linked_pod", (), 0, 1, 7)
    events = random_history(random.Random(1), operations=400, unknown=0.5)
    with pytest.raises(NotLinearizable, match="'v'"):
        check([*events, other], max_steps=100)


class Cancelled(BaseException):
    """An exception that cancels a call."""


class FailingExecutor:
    """An executor whose calls raise an exception."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def set_linked_pod(self, *_: object, **__: object) -> None:
        raise self.error

    async def get_linked_pod(self, *_: object, **__: object) -> None:
        raise self.error


def test_recorder_records_unknown_outcomes_and_ignores_refused_calls() -> None:
    refused, unknown = StatefulError("refused"), StatefulError("broken")
    unknown.outcome_unknown = True
    recorder = Recorder(FailingExecutor(refused))
    assert recorder.call("set_linked_pod", WHO, 1) is None
    assert recorder.events == []
    recorder.executor = FailingExecutor(unknown)
    assert recorder.call("set_linked_pod", WHO, 1) is None
    recorder.executor = FailingExecutor(Cancelled())
    with pytest.raises(Cancelled):
        recorder.call("set_linked_pod", WHO, 2)
    with pytest.raises(Cancelled):
        asyncio.run(recorder.acall("get_linked_pod", WHO))
    assert [(each.arguments, each.unknown) for each in recorder.events] == [
        ((1,), True),
        ((2,), True),
        ((), True),
    ]


class RacyExecutor(StatefulExecutor):
    """An executor with a race: it reads first and writes then, in two steps."""

    def set_linked_pod_if_absent(self, *link: Any, **options: Any) -> int:
        found = self.get_linked_pod(*link[:3])
        if found is not None:
            return found
        meeting.wait()
        self.set_linked_pod(*link, **options)
        return int(link[3])


meeting = threading.Barrier(2)


def test_check_finds_a_race_between_read_and_write() -> None:
    client = RedisEmulator().client()
    recorders = [Recorder(RacyExecutor(client)) for _ in range(2)]
    threads = [
        threading.Thread(target=recorder.call, args=("set_linked_pod_if_absent", WHO, pod))
        for pod, recorder in enumerate(recorders)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(NotLinearizable):
        check([event for recorder in recorders for event in recorder.events])
