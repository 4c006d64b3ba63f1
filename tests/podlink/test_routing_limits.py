"""Edge cases of routing decisions: draining pods, links of other routers, assignments that are
undone.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from random import Random
from types import SimpleNamespace
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
    advance,
    check_duration,
    check_size,
    count_errors,
    make_routing,
    time_left,
)
from tests.support.children import in_child
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
    router.cache.start_tracking(SERVER, ["n"])
    router.cache.confirm_until(SERVER, time.now)
    return router


def test_cached_link_to_a_draining_pod_is_not_served(time: Time) -> None:
    """The link has not changed, but the pod's state says that it accepts no users."""
    router = tracking(time)
    follow(router, (READ_STATES, {1: time.state(), 2: time.state()}), (READ_LINK, 1))
    assert router.cached_pod(SERVER, "n", "u", "s") == 1
    time.now = 0.9
    router.cache.confirm_until(SERVER, 0.9)
    states = {1: "draining", 2: time.state()}
    plan = router.plan(SERVER, "n", "other", "s")
    time.now = 1.1
    assert next(plan) == READ_STATES
    plan.send(states)
    plan.close()
    assert router.cached_pod(SERVER, "n", "u", "s") is None
    replacement = ReplaceLink("n", "u", "s", 1, 2)
    assert follow(router, (READ_STATES, states), (replacement, (True, 2))) == 2


def test_write_drops_only_its_own_cached_link(time: Time) -> None:
    states = {1: time.state()}
    other = ReadLink("n", "v", "s")
    made = MakeLink("n", "u", "s", 1)
    router = tracking(time)
    follow(router, (READ_STATES, states), (other, 1), uid="v")
    reading = router.cache.begin_read(SERVER, "n", KEY)
    follow(router, (READ_LINK, None), (made, 1))
    router.cache.end_read(reading, 1)
    assert router.cached_pod(SERVER, "n", "u", "s") is None, "it was read before it was written"
    assert router.cached_pod(SERVER, "n", "v", "s") == 1


def test_service_without_pods_serves_no_cached_link(time: Time) -> None:
    router = tracking(time, states_ttl=10.0)
    follow(router, (READ_STATES, {1: time.state()}), (READ_LINK, 1))
    follow_read = router.plan(SERVER, "n", "v", "s")
    assert next(follow_read) == ReadLink("n", "v", "s")
    assert follow_read.send(9) == READ_STATES, "pod 9 is not known"
    with pytest.raises(podlink.ServiceNotFoundError):
        follow_read.send({})
    assert router.cached_pod(SERVER, "n", "u", "s") is None


def test_resolve_fails_after_eight_lost_races_and_names_the_uid(time: Time) -> None:
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

    with pytest.raises(podlink.PodNotFoundError, match="could not link uid 'user 7'") as caught:
        run(plan, next(plan), answer)
    assert len(links()) == ATTEMPTS == 8
    assert "last to pod 58" in str(caught.value)


def test_assignment_that_lost_the_race_is_undone(time: Time) -> None:
    """Four uids that other routers linked do not count as load of the chosen pod."""
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


def test_choices_that_came_to_nothing_leave_the_others_counted(time: Time) -> None:
    router = routing(time)
    states = {1: time.state(0), 2: time.state(1.5)}
    follow(router, (READ_STATES, states), (READ_LINK, None), (MakeLink("n", "u", "s", 1), 1))
    for uid, chosen, linked in (("f", 1, 2), ("g", 1, 1), ("h", 2, 2)):
        made = (MakeLink("n", uid, "s", chosen), linked)
        assert follow(router, (ReadLink("n", uid, "s"), None), made, uid=uid) == linked


def test_a_failed_read_is_not_remembered(time: Time) -> None:
    router = tracking(time)
    plan = router.plan(SERVER, "n", "u", "s")
    assert [next(plan), plan.send({1: time.state()})] == [READ_STATES, READ_LINK]
    with pytest.raises(OSError):
        plan.throw(OSError())
    assert router.cache.stats().links == 0
    assert follow(router, (READ_LINK, 1)) == 1


@pytest.mark.parametrize(("load", "text"), [
    (0, "0"), (10, "10"), (0.5, "0.5"), (100.25, "100.25"), (0.000001, "0.000001"),
])  # fmt: skip
def test_pod_state_is_written_without_trailing_digits(load: float, text: str) -> None:
    assert str(PodState(load, 1.5)) == f"{text}-1500"


@pytest.mark.parametrize(("value", "may_be_zero", "is_good"), [
    (0, True, True), (0, False, False), (0.0, True, True), (1e-9, False, True),
    (-1e-9, True, False), (2**31 - 1, False, True), (2**31, True, False),
    (float("nan"), True, False), (float("inf"), True, False), (True, True, False),
    ("1", True, False), (None, True, False),
])  # fmt: skip
def test_invalid_durations_are_rejected(value: Any, may_be_zero: bool, is_good: bool) -> None:
    if is_good:
        assert check_duration("x", value, may_be_zero=may_be_zero) == value
        return
    with pytest.raises(podlink.InvalidParameterError) as caught:
        check_duration("x", value, may_be_zero=may_be_zero)
    limit = "from" if may_be_zero else "above"
    assert f"x must be a number {limit} 0; got {shown(value)}" in str(caught.value)


@pytest.mark.parametrize("value", [-1, 1.0, True, None, "1"])
def test_invalid_sizes_are_rejected(value: Any) -> None:
    assert check_size("x", 0) == 0
    with pytest.raises(podlink.InvalidParameterError) as caught:
        check_size("x", value)
    assert f"x must be an integer from 0; got {shown(value)}" in str(caught.value)


def test_policy_is_immutable_and_checks_its_limits() -> None:
    with pytest.raises(podlink.InvalidParameterError, match="stale_after must be a number above 0"):
        LeastLoaded(stale_after=0)
    assert LeastLoaded(load_per_link=0).load_per_link == 0
    with pytest.raises(AttributeError):
        LeastLoaded().stale_after = 1  # type: ignore[misc]


def test_a_process_that_was_forked_reads_the_states_anew_and_chooses_differently(
    time: Time,
) -> None:
    states = {pod: time.state() for pod in range(1000)}
    routers = [routing(time), routing(time)]

    def choose(router: Routing) -> list[int]:
        chosen = []
        for uid in "abc":
            plan = router.plan(SERVER, "n", uid, "s")
            step = next(plan)
            if uid == "a":
                assert step == READ_STATES
                step = plan.send(states)
            assert step == ReadLink("n", uid, "s")
            made = plan.send(None)
            assert isinstance(made, MakeLink)
            chosen.append(made.pod_id)
            plan.close()
        return chosen

    first, second = map(choose, routers)
    assert first == second
    for router in routers:
        router._lock.acquire()  # another thread of the parent may hold it
        router._after_fork()
    first, second = map(choose, routers)
    assert first != second


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_is_noticed(time: Time) -> None:
    router = routing(time, max_staleness=600.0)
    follow(router, (READ_STATES, {1: time.state()}), (READ_LINK, 1))
    assert router.cached_pod(SERVER, "n", "u", "s") == 1
    assert next(router.plan(SERVER, "n", "v", "s")) == ReadLink("n", "v", "s")

    def child() -> Any:
        step = next(router.plan(SERVER, "n", "v", "s"))
        return router.cached_pod(SERVER, "n", "u", "s"), step == READ_STATES

    assert in_child(child) == (None, True)


def test_the_last_of_eight_links_may_be_to_a_pod_that_is_alive(time: Time) -> None:
    router = routing(time)
    asked: list[Any] = []

    def answer(step: Any) -> Any:
        if isinstance(step, ReadStates):
            return {1: time.state(), 2: time.state(9)}
        if isinstance(step, ReadLink):
            return 50
        asked.append(step)
        return (False, 50 + len(asked) if len(asked) < ATTEMPTS else 2)

    plan = router.plan(SERVER, "n", "u", "s")
    with pytest.raises(StopIteration) as stop:
        run(plan, next(plan), answer)
    assert stop.value.value == 2
    assert len(asked) == ATTEMPTS


def test_states_are_used_while_they_are_read_for_twice_their_time(time: Time) -> None:
    router = routing(time, states_ttl=10.0)
    states = {1: time.state()}
    follow(router, (READ_STATES, states), (READ_LINK, 1))
    time.now = 10.0
    reader = router.plan(SERVER, "n", "u", "s")
    assert next(reader) == READ_STATES
    for now, step in ((10.0, READ_LINK), (19.9, READ_LINK), (20.0, READ_STATES)):
        time.now = now
        assert next(router.plan(SERVER, "n", "u", "s")) == step


def test_of_two_reads_that_began_together_the_last_reply_counts(time: Time) -> None:
    router = routing(time)
    plans = [router.plan(SERVER, "n", "u", "s") for _ in range(2)]
    assert [next(plan) for plan in plans] == [READ_STATES] * 2
    for pod, plan in enumerate(plans, 1):
        assert plan.send({pod: time.state()}) == READ_LINK
    assert follow(router, (READ_LINK, 2)) == 2


class NobodyAlive(LeastLoaded):
    def loads(self, states: Any, now: float) -> dict[int, float]:
        return {}


@pytest.mark.parametrize(("ago", "text"), [
    (0.0, "0.0 s ago"), (0.5, "0.5 s ago"), (-0.5, "0.5 s ahead of this process's clock"),
])  # fmt: skip
def test_the_age_of_a_heartbeat_is_shown(time: Time, ago: float, text: str) -> None:
    plan = routing(time, policy=NobodyAlive()).plan(SERVER, "n", "u", "s")
    states = {1: time.state(ago=ago)}
    with pytest.raises(podlink.PodNotFoundError, match=f"its heartbeat was {text}$"):
        run(plan, next(plan), lambda step: None if step == READ_LINK else states)


@pytest.mark.parametrize(("pods", "more"), [(10, ""), (11, "; 1 more")])
def test_ten_pods_are_shown(time: Time, pods: int, more: str) -> None:
    states = dict.fromkeys(range(pods), "x")
    plan = routing(time).plan(SERVER, "n", "u", "s")
    with pytest.raises(podlink.PodNotFoundError) as caught:
        run(plan, next(plan), lambda step: None if step == READ_LINK else states)
    last = "pod 9 has the state 'x', which is not load-timestamp"
    assert caught.value.message.endswith(last + more)


def test_a_deadline_tells_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("podlink.routing.deadline", SimpleNamespace(monotonic=lambda: now))
    assert time_left(None)() is None
    left = time_left(5.0)
    assert left() == 5.0
    now = 104.5
    assert left() == 0.5
    now = 105.0
    with pytest.raises(podlink.OperationTimeoutError, match="resolve did not finish in time"):
        left()
    with pytest.raises(podlink.InvalidParameterError, match="timeout must be"):
        time_left(0)


def test_a_router_uses_what_it_is_given(time: Time) -> None:
    def made(policy: podlink.Policy | None, random: Random | None) -> Routing:
        clocks = time.wall, time.monotonic
        return make_routing(policy, 60, 3.0, 7, 2.0, 9.0, random, *clocks)

    policy = LeastLoaded()
    router = made(policy, Random(5))
    assert router.policy is policy
    assert (router.persist_seconds, router.states_ttl) == (60, 3.0)
    assert (router.cache.size, router.cache.max_silence, router.cache.max_staleness) == (7, 2, 9)
    assert made(None, None).policy == LeastLoaded()
    states = {pod: time.state() for pod in range(1000)}
    choices = []
    for random in (Random(5), Random(5), None, None):
        plan = made(None, random).plan(SERVER, "n", "u", "s")
        assert [next(plan), plan.send(states)] == [READ_STATES, READ_LINK]
        choices.append(plan.send(None))
    assert choices[0] == choices[1]
    assert choices[2] not in (choices[0], choices[3])


@pytest.mark.parametrize(("name", "value"), [
    ("states_ttl", -1), ("cache_size", -1), ("max_silence", 0), ("max_staleness", -1),
    ("persist_seconds", 0),
])  # fmt: skip
def test_a_bad_option_of_a_router_is_named(time: Time, name: str, value: Any) -> None:
    options: dict[str, Any] = {
        "policy": None, "persist_seconds": -1, "states_ttl": 0, "cache_size": 0,
        "max_silence": 1.0, "max_staleness": 0, "random": None, "wall_clock": time.wall,
        "monotonic": time.monotonic,
    }  # fmt: skip
    make_routing(**options)
    with pytest.raises(podlink.InvalidParameterError, match=f"^INVALID_PARAMETER: {name} must be "):
        make_routing(**{**options, name: value})


def test_a_plan_is_advanced_to_its_result() -> None:
    def plan() -> Generator[Any, Any, int]:
        pod: int = yield READ_LINK
        return pod

    running = plan()
    assert advance(running, None) == READ_LINK
    assert advance(running, 5) == 5


def test_errors_of_routing_are_counted_and_raised() -> None:
    metrics = podlink.ErrorMetrics()
    error = podlink.PodNotFoundError("none")
    with pytest.raises(podlink.PodNotFoundError), count_errors(metrics):
        raise error
    counted = metrics.get(podlink.ErrorCode.POD_NOT_FOUND)
    assert counted is not None
    assert (counted.count, counted.last_error.message) == (1, "none")


def test_a_choice_may_be_taken_back_after_the_pod_has_reported(time: Time) -> None:
    router = routing(time)
    states = {1: time.state(0), 2: time.state(9)}
    plan = router.plan(SERVER, "n", "u", "s")
    assert [next(plan), plan.send(states)] == [READ_STATES, READ_LINK]
    assert plan.send(None) == MakeLink("n", "u", "s", 1)
    time.now = 1.0
    states = {1: time.state(3), 2: states[2]}
    follow(router, (READ_STATES, states), (ReadLink("n", "v", "s"), 1), uid="v")
    with pytest.raises(StopIteration):
        plan.send(2)
    follow(router, (ReadLink("n", "w", "s"), None), (MakeLink("n", "w", "s", 1), 1), uid="w")
