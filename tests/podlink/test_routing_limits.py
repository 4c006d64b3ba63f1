"""Decisions of the routers at their limits: draining pods, links of others, choices taken back."""

from __future__ import annotations

from typing import Any

import pytest

import podlink
from podlink import LeastLoaded, PodState
from podlink.keys import shown
from podlink.routing import (
    ATTEMPTS,
    MakeLink,
    ReadLink,
    ReadStates,
    ReplaceLink,
    Routing,
    check_duration,
    check_size,
)
from tests.support.routing import (
    KEY,
    READ_LINK,
    READ_STATES,
    SERVER,
    Time,
    follow,
    routing,
    run,
)


@pytest.fixture
def time() -> Time:
    return Time()


def tracking(time: Time, **changes: Any) -> Routing:
    router = routing(time, **changes)
    router.cache.tracks(SERVER, ["n"])
    router.cache.heard_until(SERVER, time.now)
    return router


def test_a_remembered_link_to_a_pod_that_is_draining_is_not_served(time: Time) -> None:
    """Its link has not changed, but its state says that it takes no users."""
    router = tracking(time)
    follow(router, (READ_STATES, {1: time.state(), 2: time.state()}), (READ_LINK, 1))
    assert router.known(SERVER, "n", "u", "s") == 1
    time.now = 0.9
    router.cache.heard_until(SERVER, 0.9)
    states = {1: "draining", 2: time.state()}
    plan = router.plan(SERVER, "n", "other", "s")
    time.now = 1.1
    assert next(plan) == READ_STATES
    plan.send(states)
    plan.close()
    assert router.known(SERVER, "n", "u", "s") is None
    replacement = ReplaceLink("n", "u", "s", 1, 2)
    assert follow(router, (READ_STATES, states), (replacement, (True, 2))) == 2


def test_a_link_that_was_written_is_forgotten_and_no_other(time: Time) -> None:
    states = {1: time.state()}
    other = ReadLink("n", "v", "s")
    made = MakeLink("n", "u", "s", 1)
    router = tracking(time)
    follow(router, (READ_STATES, states), (other, 1), uid="v")
    reading = router.cache.begin(SERVER, "n", KEY)
    follow(router, (READ_LINK, None), (made, 1))
    router.cache.end(reading, 7)
    assert router.known(SERVER, "n", "u", "s") is None, "it was read before it was written"
    assert router.known(SERVER, "n", "v", "s") == 1


def test_a_service_without_pods_is_forgotten(time: Time) -> None:
    router = tracking(time, states_ttl=10.0)
    follow(router, (READ_STATES, {1: time.state()}), (READ_LINK, 1))
    follow_read = router.plan(SERVER, "n", "v", "s")
    assert next(follow_read) == ReadLink("n", "v", "s")
    assert follow_read.send(9) == READ_STATES, "pod 9 is not known"
    with pytest.raises(podlink.ServiceNotFoundError):
        follow_read.send({})
    assert router.known(SERVER, "n", "u", "s") is None


def test_eight_links_by_others_are_given_up_and_the_uid_is_named(time: Time) -> None:
    router = routing(time)
    plan = router.plan(SERVER, "n", "user 7", "s")
    asked: list[Any] = []

    def answer(step: Any) -> Any:
        asked.append(step)
        if isinstance(step, ReadStates):
            return {1: time.state()}
        other = 50 + len(links())
        return {ReadLink: None, MakeLink: other, ReplaceLink: (False, other)}[type(step)]

    def links() -> list[Any]:
        return [step for step in asked if isinstance(step, (MakeLink, ReplaceLink))]

    with pytest.raises(podlink.PodNotFoundError, match="uid 'user 7' was linked 8 times") as caught:
        run(plan, next(plan), answer)
    assert len(links()) == ATTEMPTS == 8
    assert "at last to pod 58" in str(caught.value)


def test_a_choice_that_came_to_nothing_is_taken_back(time: Time) -> None:
    """Four uids that were linked by others add nothing to the load of the pod that was chosen."""
    router = routing(time)
    states = {1: time.state(0), 2: time.state(0.5)}
    for uid in "abcd":
        questions = (
            *([(READ_STATES, states)] if uid == "a" else []),
            (ReadLink("n", uid, "s"), None),
            (MakeLink("n", uid, "s", 1), 2),
        )
        assert follow(router, *questions, uid=uid) == 2
    for pod, uid in zip((1, 2, 1), "efg", strict=True):
        questions = ((ReadLink("n", uid, "s"), None), (MakeLink("n", uid, "s", pod), pod))
        assert follow(router, *questions, uid=uid) == pod


@pytest.mark.parametrize(("load", "text"), [
    (0, "0"), (10, "10"), (0.5, "0.5"), (100.25, "100.25"), (0.000001, "0.000001"),
])  # fmt: skip
def test_a_state_is_written_without_needless_digits(load: float, text: str) -> None:
    assert str(PodState(load, 1.5)) == f"{text}-1500"


@pytest.mark.parametrize(("value", "may_be_zero", "is_good"), [
    (0, True, True), (0, False, False), (0.0, True, True), (1e-9, False, True),
    (-1e-9, True, False), (2**31 - 1, False, True), (2**31, True, False),
    (float("nan"), True, False), (float("inf"), True, False), (True, True, False),
    ("1", True, False), (None, True, False),
])  # fmt: skip
def test_durations(value: Any, may_be_zero: bool, is_good: bool) -> None:
    if is_good:
        assert check_duration("x", value, may_be_zero=may_be_zero) == value
        return
    with pytest.raises(podlink.InvalidParameterError) as caught:
        check_duration("x", value, may_be_zero=may_be_zero)
    limit = "from" if may_be_zero else "above"
    assert f"x must be a number {limit} 0; got {shown(value)}" in str(caught.value)


@pytest.mark.parametrize("value", [-1, 1.0, True, None, "1"])
def test_sizes(value: Any) -> None:
    assert check_size("x", 0) == 0
    with pytest.raises(podlink.InvalidParameterError) as caught:
        check_size("x", value)
    assert f"x must be an integer from 0; got {shown(value)}" in str(caught.value)


def test_a_policy_is_a_value_with_limits() -> None:
    with pytest.raises(podlink.InvalidParameterError, match="stale_after must be a number above 0"):
        LeastLoaded(stale_after=0)
    assert LeastLoaded(load_per_link=0).load_per_link == 0
    with pytest.raises(AttributeError):
        LeastLoaded().stale_after = 1  # type: ignore[misc]
