"""The checker of concurrent histories: what it accepts, and what it finds."""

from __future__ import annotations

import math
import random
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podlink import StatefulExecutor
from pytest_podlink.conformance.linearizability import (
    Event,
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
    names = ["set_linked_pod", "try_set_linked_pod", "set_linked_pod_if_absent", "get_linked_pod",
             "create_linked_pod", "get_linked_pod_if_persist", "remove_linked_pod",
             "remove_linked_pod_with_id", "replace_linked_pod", "refresh_linked_pod"]  # fmt: skip
    for _ in range(600):
        operation = chance.choice(names)
        act(recorder, operation, chance)
    assert check(recorder.events) == 600


def act(recorder: Recorder, operation: str, chance: random.Random) -> None:
    pods = [chance.randrange(3) for _ in range(2)]
    seconds = chance.choice([-1, 900])
    arguments: tuple[int, ...] = {
        "get_linked_pod": (),
        "get_linked_pod_if_persist": (),
        "remove_linked_pod": (seconds,),
        "replace_linked_pod": (*pods, seconds),
        "refresh_linked_pod": (pods[0], 900),
    }.get(operation, (pods[0], seconds))
    recorder.call(operation, WHO, *arguments)


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
    lost = Event(WHO, "set_linked_pod", (1,), 0, math.inf, unknown=True)
    assert is_linearizable([lost, event(2, 3, "get_linked_pod", gives=None)])
    assert is_linearizable([lost, event(2, 3, "get_linked_pod", gives=1)])
    late = [event(2, 3, "get_linked_pod", gives=None), event(4, 5, "get_linked_pod", gives=1)]
    assert is_linearizable([lost, *late])
    assert not is_linearizable([lost, *late, event(6, 7, "get_linked_pod", gives=None)])


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
