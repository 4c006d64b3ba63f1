"""The decisions of a router without a server: the policy and the plan of a resolve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import podlink
from podlink import LeastLoaded, PodState, ReplaceResult
from podlink.routing import ATTEMPTS, MakeLink, ReadLink, ReadStates, ReplaceLink
from tests.support.routing import (
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


# States and the policy


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("12-1764009600000", PodState(12, 1_764_009_600)),
        ("0-0", PodState(0, 0)),
        ("0.75-1764009600001", PodState(0.75, 1_764_009_600.001)),
        *((text, None) for text in ("", "ready", "12", "12-", "-1764009600000", "-1-1764009600000",
                                    "12-1764009600000 ", "12-1764009600000\n", "1e3-1", "1,5-1",
                                    "nan-1", "١-١", "12-1.5", "9" * 16 + "-1", "1-" + "9" * 16)),
    ],
)  # fmt: skip
def test_pod_state_is_load_and_timestamp(text: str, state: PodState | None) -> None:
    assert PodState.parse(text) == state


@given(st.integers(0, 10**9), st.integers(0, 10**13))
def test_pod_state_round_trip(load: int, milliseconds: int) -> None:
    state = PodState(load / 8, milliseconds / 1000)
    assert PodState.parse(str(state)) == state
    assert str(state).endswith(f"-{milliseconds}")


def test_pods_are_alive_while_their_heartbeat_is_recent(time: Time) -> None:
    states = {
        pod: time.state(pod, ago) for pod, ago in enumerate((0, 30, 30.001, -30, -30.001, 10_000))
    }
    states |= {10: "ready", 11: "5"}
    assert LeastLoaded().loads(states, time.wall()) == {0: 0, 1: 1, 3: 3}
    assert set(LeastLoaded(stale_after=31).loads(states, time.wall())) == {0, 1, 2, 3, 4}


def test_least_loaded_pod_is_chosen_and_ties_are_broken_at_random() -> None:
    policy = LeastLoaded()
    assert policy.choose({1: 5, 2: 3, 3: 4}, {}, Random(1)) == 2
    assert policy.choose({1: 5, 2: 3, 3: 4}, {2: 2}, Random(1)) == 3
    random = Random(1)
    ties = Counter(policy.choose({1: 5, 2: 3, 3: 3}, {}, random) for _ in range(1_000))
    assert set(ties) == {2, 3}
    assert min(ties.values()) > 400


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), True, "1", None])
def test_policy_rejects_invalid_durations(value: Any) -> None:
    with pytest.raises(podlink.InvalidParameterError, match="stale_after must be"):
        LeastLoaded(stale_after=value)
    with pytest.raises(podlink.InvalidParameterError, match="load_per_link must be"):
        LeastLoaded(load_per_link=value)


# The plan


def test_link_to_a_live_pod_is_returned(time: Time) -> None:
    states = {0: time.state(9), 1: time.state(1)}
    assert follow(routing(time), (READ_STATES, states), (READ_LINK, 0)) == 0


def test_uid_without_link_is_linked_to_the_least_loaded_pod(time: Time) -> None:
    states = {0: time.state(9), 1: time.state(1)}
    assert follow(
        routing(time), (READ_STATES, states), (READ_LINK, None), (MakeLink("n", "u", "s", 1), 1)
    ) == 1  # fmt: skip


def test_link_created_by_another_router_first_is_returned(time: Time) -> None:
    states = {0: time.state(9), 1: time.state(1)}
    assert follow(
        routing(time), (READ_STATES, states), (READ_LINK, None), (MakeLink("n", "u", "s", 1), 0)
    ) == 0  # fmt: skip


def test_link_to_a_dead_pod_is_replaced_after_reading_the_states_again(time: Time) -> None:
    states = {0: time.state(0, ago=31), 1: time.state(1)}
    assert follow(
        routing(time),
        (READ_STATES, states),
        (READ_LINK, 0),
        (READ_STATES, states),
        (ReplaceLink("n", "u", "s", 0, 1), ReplaceResult(True, 1)),
    ) == 1  # fmt: skip


def test_pod_that_has_just_started_is_not_treated_as_dead(time: Time) -> None:
    router = routing(time)
    states = {1: time.state(1)}
    assert follow(router, (READ_STATES, states), (READ_LINK, 1)) == 1
    fresh = {1: time.state(1), 2: time.state(0)}
    assert follow(router, (READ_LINK, 2), (READ_STATES, fresh)) == 2


def test_cached_link_to_a_draining_pod_is_replaced(time: Time) -> None:
    """The link is still cached, but in the latest states its pod is not alive."""
    router = routing(time, max_staleness=600.0)
    states = {1: time.state(), 2: time.state(9)}
    assert follow(router, (READ_STATES, states), (READ_LINK, 1)) == 1
    assert router.cached_pod(SERVER, "n", "u", "s") == 1
    time.now += 2.0
    draining = {1: "draining", 2: time.state(9)}
    assert follow(router, (READ_STATES, draining), (ReadLink("n", "v", "s"), 2), uid="v") == 2
    assert router.cached_pod(SERVER, "n", "v", "s") == 2
    assert router.cached_pod(SERVER, "n", "u", "s") is None
    replaced = (ReplaceLink("n", "u", "s", 1, 2), ReplaceResult(True, 2))
    assert follow(router, (READ_STATES, draining), replaced) == 2


def test_link_replaced_by_another_router_first_is_returned(time: Time) -> None:
    states = {0: "gone", 1: time.state(1), 2: time.state(5)}
    assert follow(
        routing(time),
        (READ_STATES, states),
        (READ_LINK, 0),
        (READ_STATES, states),
        (ReplaceLink("n", "u", "s", 0, 1), ReplaceResult(False, 2)),
    ) == 2  # fmt: skip


def test_link_removed_before_its_replacement_is_created(time: Time) -> None:
    states = {1: time.state(1)}
    assert follow(
        routing(time),
        (READ_STATES, states),
        (READ_LINK, 0),
        (READ_STATES, states),
        (ReplaceLink("n", "u", "s", 0, 1), ReplaceResult(False, None)),
        (MakeLink("n", "u", "s", 1), 1),
    ) == 1  # fmt: skip


def test_resolve_fails_if_others_always_link_to_dead_pods(time: Time) -> None:
    states = {1: time.state(1)}
    plan = routing(time).plan(SERVER, "n", "u", "s")
    questions: Counter[type] = Counter()
    step: Any = next(plan)

    def answer(step: Any) -> Any:
        questions[type(step)] += 1
        if isinstance(step, ReplaceLink):
            return ReplaceResult(False, step.expected_pod_id + 10)
        return 10 if isinstance(step, ReadLink) else states

    with pytest.raises(podlink.PodNotFoundError, match="check that the clocks and policies"):
        run(plan, step, answer)
    assert questions == {ReadStates: ATTEMPTS + 1, ReadLink: 1, ReplaceLink: ATTEMPTS}


def test_service_without_pods_is_not_found(time: Time) -> None:
    plan = routing(time).plan(SERVER, "n", "u", "s")
    assert [next(plan), plan.send({}), plan.send(None)] == [READ_STATES, READ_LINK, READ_STATES]
    with pytest.raises(podlink.ServiceNotFoundError, match="service s in n has no pods"):
        plan.send({})


@pytest.mark.parametrize("link", [None, 1, 7])
def test_error_names_the_stale_pods(time: Time, link: int | None) -> None:
    states = {3: time.state(0, ago=-99), 1: time.state(0, ago=45.25), 2: "starting"}
    plan = routing(time).plan(SERVER, "n", "u", "s")
    assert [next(plan), plan.send(states), plan.send(link)] == [READ_STATES, READ_LINK, READ_STATES]
    with pytest.raises(podlink.PodNotFoundError) as caught:
        plan.send(states)
    assert caught.value.message == (
        "no pod of s in n is alive: "
        "pod 1 is stale, its heartbeat was 45.2 s ago; "
        "pod 2 has the state 'starting', which is not load-timestamp; "
        "pod 3 is stale, its heartbeat was 99.0 s ahead of this process's clock"
    )


def test_error_names_at_most_ten_pods(time: Time) -> None:
    states = dict.fromkeys(range(50), "x")
    plan = routing(time).plan(SERVER, "n", "u", "s")
    assert [next(plan), plan.send(states), plan.send(None)] == [READ_STATES, READ_LINK, READ_STATES]
    with pytest.raises(podlink.PodNotFoundError, match=r"pod 9 has.*; 40 more$"):
        plan.send(states)


def test_burst_of_new_uids_is_spread_over_the_pods(time: Time) -> None:
    router = routing(time)
    states = {0: time.state(0), 1: time.state(10), 2: time.state(20)}
    given: Counter[int] = Counter()
    for number in range(60):
        uid = f"u{number}"
        plan = router.plan(SERVER, "n", uid, "s")
        step: Any = next(plan)
        if step == READ_STATES:
            step = plan.send(states)
        assert step == ReadLink("n", uid, "s")
        step = plan.send(None)
        assert isinstance(step, MakeLink)
        with pytest.raises(StopIteration):
            plan.send(step.pod_id)
        given[step.pod_id] += 1
        time.now += 0.1  # the states are read repeatedly, but do not change
    assert given == {0: 30, 1: 20, 2: 10}


def test_reported_load_replaces_the_count_of_assigned_uids(time: Time) -> None:
    router = routing(time)
    states = {0: time.state(0), 1: time.state(3)}
    for number in range(3):
        exchange: list[Any] = [] if number else [(READ_STATES, states)]
        uid = f"u{number}"
        exchange += [(ReadLink("n", uid, "s"), None), (MakeLink("n", uid, "s", 0), 0)]
        follow(router, *exchange, uid=uid)
    time.now += 2
    states = {0: time.state(1), 1: states[1]}  # two of the three have left that pod
    for uid, pod in (("u3", 0), ("u4", 0)):
        exchange = [(READ_STATES, states)] if uid == "u3" else []
        exchange += [(ReadLink("n", uid, "s"), None), (MakeLink("n", uid, "s", pod), pod)]
        follow(router, *exchange, uid=uid)


def test_lost_race_does_not_count_as_load(time: Time) -> None:
    router = routing(time)
    states = {0: time.state(0), 1: time.state(0.5)}
    follow(router, (READ_STATES, states), (READ_LINK, None), (MakeLink("n", "u", "s", 0), 1))
    follow(router, (READ_LINK, None), (MakeLink("n", "u", "s", 0), 0))


def test_states_are_cached_for_states_ttl_and_read_by_one_caller(time: Time) -> None:
    router = routing(time)
    states = {0: time.state()}
    assert follow(router, (READ_STATES, states), (READ_LINK, 0)) == 0
    time.now = 0.9
    assert follow(router, (READ_LINK, 0)) == 0
    time.now = 1.0
    reader = router.plan(SERVER, "n", "u", "s")
    assert next(reader) == READ_STATES
    assert follow(router, (READ_LINK, 0)) == 0  # a concurrent call
    time.now = 2.0
    assert follow(router, (READ_STATES, states), (READ_LINK, 0)) == 0  # the reader is late
    reader.close()


def test_late_reply_does_not_replace_newer_states(time: Time) -> None:
    router = routing(time)
    slow = router.plan(SERVER, "n", "u", "s")
    assert next(slow) == READ_STATES
    time.now = 0.5
    assert follow(router, (READ_STATES, {5: time.state()}), (READ_LINK, 5)) == 5
    slow.send({6: time.state()})
    slow.close()
    assert follow(router, (READ_LINK, 5)) == 5


def test_custom_policy_chooses_the_pod(time: Time) -> None:
    class First:
        def loads(self, states: Mapping[int, str], now: float) -> dict[int, float]:
            return {pod: 0.0 for pod, state in states.items() if state == "ready"}

        def choose(self, loads: Any, assigned: Any, random: Random) -> int:
            return int(min(loads))

    states = {0: "draining", 4: "ready", 3: "ready"}
    policy: podlink.Policy = First()
    assert follow(
        routing(time, policy=policy),
        (READ_STATES, states),
        (READ_LINK, None),
        (MakeLink("n", "u", "s", 3), 3),
    ) == 3  # fmt: skip


def test_policy_that_chooses_a_dead_pod_is_an_error(time: Time) -> None:
    class Bad(LeastLoaded):
        def choose(self, loads: Any, assigned: Any, random: Random) -> int:
            return 77

    plan = routing(time, policy=Bad()).plan(SERVER, "n", "u", "s")
    assert [next(plan), plan.send({0: time.state()})] == [READ_STATES, READ_LINK]
    with pytest.raises(podlink.InternalError, match="returned pod 77"):
        plan.send(None)


@pytest.mark.parametrize("names", [("", "u", "s"), ("n", "{", "s"), ("n", ["u"], "s"), (1, 2, 3)])
def test_invalid_names_are_rejected_before_anything_is_sent(time: Time, names: Any) -> None:
    router = routing(time)
    for refused in (lambda: router.cached_pod(SERVER, *names), lambda: router.forget(*names),
                    lambda: next(router.plan(SERVER, *names))):  # fmt: skip
        with pytest.raises(podlink.InvalidParameterError):
            refused()
