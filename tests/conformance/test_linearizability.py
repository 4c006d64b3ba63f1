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
def test_what_happened_in_some_order_is_linearizable(
    calls: list[tuple[tuple[str, tuple[int, ...]], float, float]],
) -> None:
    link, events = None, []
    for moment, ((operation, arguments), before, after) in enumerate(calls):
        link, result = apply(link, operation, arguments)
        events.append(event(moment - before, moment + after, operation, *arguments, gives=result))
    random.Random(len(calls)).shuffle(events)
    assert is_linearizable(events)


@given(st.lists(CALLS, min_size=1, max_size=15), st.data())
def test_one_wrong_answer_is_found(
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


def test_the_model_is_what_the_executor_does() -> None:
    """One caller after another: the small model here against the real thing."""
    recorder = Recorder(StatefulExecutor(RedisEmulator().client()))
    chance = random.Random(5)
    for _ in range(600):
        operation = chance.choice(NAMES)
        recorder.call(operation, WHO, *arguments_of(operation, chance))
    assert check(recorder.events) == 600


def arguments_of(operation: str, chance: random.Random) -> tuple[int, ...]:
    """Arguments with few pods, so that operations meet."""
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
        # A read that overlaps no write sees neither the old value nor one never written.
        [event(0, 1, "set_linked_pod", 1), event(2, 3, "get_linked_pod", gives=None)],
        [event(0, 1, "set_linked_pod", 1), event(2, 3, "get_linked_pod", gives=2)],
        # Two creators cannot both have been the first.
        [event(0, 9, "create_linked_pod", 1, gives=1),
         event(0, 9, "create_linked_pod", 2, gives=2)],
        # Reads one after the other cannot go back in time.
        [event(0, 9, "set_linked_pod", 1), event(1, 2, "get_linked_pod", gives=1),
         event(3, 4, "get_linked_pod", gives=None)],
        # Both replaced the same pod.
        [event(0, 1, "set_linked_pod", 0), event(2, 9, "replace_linked_pod", 0, 1, gives=(True, 1)),
         event(2, 9, "replace_linked_pod", 0, 2, gives=(True, 2))],
    ],
)  # fmt: skip
def test_violations_are_found(events: list[Event]) -> None:
    assert not is_linearizable(events)
    with pytest.raises(NotLinearizable, match="have no order"):
        check(events)


def test_an_unknown_outcome_may_be_either() -> None:
    write = lost("set_linked_pod", 1)
    assert is_linearizable([write, *reads(None)])
    assert is_linearizable([write, *reads(1)])
    assert is_linearizable([write, *reads(None, 1)])
    assert not is_linearizable([write, *reads(None, 1, None)])


def lost(operation: str, *arguments: int, called: float = 0) -> Event:
    """An operation with unknown outcome."""
    return Event(WHO, operation, arguments, called, math.inf, unknown=True)


def reads(*pods: int | None, start: float = 1000) -> list[Event]:
    """Reads one after the other."""
    return [
        event(start + 2 * i, start + 2 * i + 1, "get_linked_pod", gives=pod)
        for i, pod in enumerate(pods)
    ]


def brute_force(events: Sequence[Event], link: Link = None) -> bool:
    """Try every order, and every choice of the operations with unknown outcome."""
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
    """Up to eight operations. Most return what they would in some order; some are lost, of which
    some were applied, late perhaps; one may return what another one did.
    """
    link: Link = None
    events: list[Event] = []
    late: list[tuple[str, tuple[int, ...]]] = []
    for moment, (operation, arguments) in enumerate(draw(st.lists(CALLS, max_size=8))):
        called = moment - draw(st.integers(0, 3))
        returned = moment + draw(st.integers(0, 3))
        if draw(st.booleans()):
            events.append(lost(operation, *arguments, called=called))
            late.append((operation, arguments))
        else:
            link, result = apply(link, operation, arguments)
            events.append(event(called, returned, operation, *arguments, gives=result))
        while late and draw(st.booleans()):
            link, _ = apply(link, *late.pop(draw(st.integers(0, len(late) - 1))))
    known = [place for place, each in enumerate(events) if not each.unknown]
    if known and draw(st.booleans()):
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
@settings(max_examples=500)
def test_the_search_agrees_with_trying_everything(events: list[Event]) -> None:
    assert is_linearizable(events) == brute_force(events)


def test_an_unknown_outcome_is_used_once() -> None:
    once = [lost("set_linked_pod", 1), lost("set_linked_pod", 2)]
    assert is_linearizable([*once, *reads(1, 2)])
    assert is_linearizable([*once, *reads(2, 1)])
    assert not is_linearizable([*once, *reads(1, 2, 1)])
    assert is_linearizable([*once, lost("try_set_linked_pod", 1), lost("remove_linked_pod"),
                            *reads(1, 2, None, 1)])  # fmt: skip


STEPS = 2_000_000
"""Enough for all histories below; a search exponential in the unknown outcomes needs far more."""


@pytest.mark.parametrize("distinct", [4, 200])
def test_hundreds_of_unknown_writes_and_all_were_seen(distinct: int) -> None:
    writes = [lost("set_linked_pod", i % distinct, called=i) for i in range(200)]
    seen = reads(*(i % distinct for i in range(200)))
    assert is_linearizable([*writes, *seen], max_steps=STEPS)


@pytest.mark.parametrize("distinct", [4, 200])
def test_hundreds_of_unknown_writes_and_one_was_seen_too_often(distinct: int) -> None:
    writes = [lost("set_linked_pod", i % distinct, called=i) for i in range(200)]
    seen = reads(*(i % distinct for i in range(201)))
    assert not is_linearizable([*writes, *seen], max_steps=STEPS)


@pytest.mark.parametrize("operation", ["set_linked_pod", "try_set_linked_pod"])
def test_hundreds_of_unknown_writes_and_a_pod_that_nobody_wrote(operation: str) -> None:
    writes = [lost(operation, i, 900, called=i) for i in range(200)]
    assert not is_linearizable([*writes, *reads(1, 999)], max_steps=STEPS)


@pytest.mark.parametrize("seed", range(2))
def test_hundreds_of_unknown_writes_of_every_kind(seed: int) -> None:
    events = random_history(random.Random(seed), operations=700, unknown=0.5)
    assert sum(each.unknown for each in events) > 200
    assert is_linearizable(events, max_steps=STEPS)
    place = max(i for i, each in enumerate(events) if each.operation == "get_linked_pod")
    read = events[place]
    events[place] = event(read.called, read.returned, read.operation, gives=99)
    assert not is_linearizable(events, max_steps=STEPS)


def random_history(chance: random.Random, operations: int, unknown: float) -> list[Event]:
    """What eight callers see. Of the unknown outcomes a third happens at once, a third later."""
    link: Link = None
    events: list[Event] = []
    later: list[tuple[str, tuple[int, ...]]] = []
    for moment in range(operations):
        operation = chance.choice(NAMES)
        arguments = arguments_of(operation, chance)
        called, returned = moment - 8 * chance.random(), moment + 8 * chance.random()
        is_read = operation.startswith("get_")
        if not is_read and chance.random() < unknown:
            events.append(lost(operation, *arguments, called=called))
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


def test_what_takes_too_many_steps_is_undecided() -> None:
    events = random_history(random.Random(1), operations=400, unknown=0.5)
    with pytest.raises(HistoryUndecided, match=r"undecided: 400 operations .* max_steps"):
        is_linearizable(events, max_steps=100)
    with pytest.raises(HistoryUndecided, match="undecided"):
        check(events, max_steps=100)
    assert is_linearizable(events)


def test_a_wrong_link_is_found_beside_an_undecided_one() -> None:
    other = Event(("n", "v", "s"), "get_linked_pod", (), 0, 1, 7)
    events = random_history(random.Random(1), operations=400, unknown=0.5)
    with pytest.raises(NotLinearizable, match="'v'"):
        check([*events, other], max_steps=100)


class Cancelled(BaseException):
    """What ends a call from outside."""


class Unlucky:
    """An executor whose calls end in an exception."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def set_linked_pod(self, *_: object, **__: object) -> None:
        raise self.error

    async def get_linked_pod(self, *_: object, **__: object) -> None:
        raise self.error


def test_the_recorder_tells_unknown_outcomes_from_refusals() -> None:
    refused, unknown = StatefulError("refused"), StatefulError("broken")
    unknown.outcome_unknown = True
    recorder = Recorder(Unlucky(refused))
    assert recorder.call("set_linked_pod", WHO, 1) is None
    assert recorder.events == []
    recorder.executor = Unlucky(unknown)
    assert recorder.call("set_linked_pod", WHO, 1) is None
    recorder.executor = Unlucky(Cancelled())
    with pytest.raises(Cancelled):
        recorder.call("set_linked_pod", WHO, 2)
    with pytest.raises(Cancelled):
        asyncio.run(recorder.acall("get_linked_pod", WHO))
    assert [(each.arguments, each.unknown) for each in recorder.events] == [
        ((1,), True),
        ((2,), True),
        ((), True),
    ]


class Careless(StatefulExecutor):
    """Looks first and writes then, in two steps."""

    def set_linked_pod_if_absent(self, *link: Any, **options: Any) -> int:
        found = self.get_linked_pod(*link[:3])
        if found is not None:
            return found
        meeting.wait()
        self.set_linked_pod(*link, **options)
        return int(link[3])


meeting = threading.Barrier(2)


def test_a_planted_race_is_found() -> None:
    client = RedisEmulator().client()
    recorders = [Recorder(Careless(client)) for _ in range(2)]
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
