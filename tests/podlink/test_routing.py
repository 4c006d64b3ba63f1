"""The decisions of the routers, without a server: policy, plan, cache, and all of it at once."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import podlink
from podlink import LeastLoaded, PodState, ReplaceResult
from podlink.cache import LinkCache, changed_keys, track
from podlink.keys import link_keys
from podlink.routing import ATTEMPTS, MakeLink, ReadLink, ReadStates, ReplaceLink, Routing

SERVER = object()
NOW = 1_764_009_600.0
READ_STATES = ReadStates("n", "s")
READ_LINK = ReadLink("n", "u", "s")
KEY = link_keys("n", "u", "s")[0]


class Time:
    """Both clocks, moved by the test."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return NOW + self.now

    def state(self, load: float = 0, ago: float = 0) -> str:
        """The state of a pod that reports it now."""
        return str(PodState(load, self.wall() - ago))


@pytest.fixture
def time() -> Time:
    return Time()


def routing(time: Time, **changes: Any) -> Routing:
    options: dict[str, Any] = {
        "policy": LeastLoaded(),
        "persist_seconds": -1,
        "states_ttl": 1.0,
        "random": Random(0),
    }
    cache = LinkCache(
        changes.pop("size", 100), changes.pop("max_staleness", 0.0), 1.0, time.monotonic
    )
    return Routing(
        **{**options, **changes}, cache=cache, wall_clock=time.wall, monotonic=time.monotonic
    )


def follow(
    router: Routing, *exchange: tuple[Any, Any], uid: str = "u", source: Any = SERVER
) -> int:
    """Resolve, expecting these questions and giving these answers; the pod."""
    plan = router.plan(source, "n", uid, "s")
    answer: Any = None
    for question, reply in exchange:
        assert plan.send(answer) == question
        answer = reply
    with pytest.raises(StopIteration) as stop:
        plan.send(answer)
    return int(stop.value.value)


def run(plan: Any, step: Any, answer: Callable[[Any], Any]) -> None:
    """Answer everything that a plan asks, to its end."""
    while True:
        step = plan.send(answer(step))


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
def test_a_state_is_load_and_timestamp(text: str, state: PodState | None) -> None:
    assert PodState.parse(text) == state


@given(st.integers(0, 10**9), st.integers(0, 10**13))
def test_a_state_is_written_as_it_is_read(load: int, milliseconds: int) -> None:
    state = PodState(load / 8, milliseconds / 1000)
    assert PodState.parse(str(state)) == state
    assert str(state).endswith(f"-{milliseconds}")


def test_pods_are_alive_while_their_heartbeat_is_near(time: Time) -> None:
    states = {
        pod: time.state(pod, ago) for pod, ago in enumerate((0, 30, 30.001, -30, -30.001, 10_000))
    }
    states |= {10: "ready", 11: "5"}
    assert LeastLoaded().loads(states, time.wall()) == {0: 0, 1: 1, 3: 3}
    assert set(LeastLoaded(stale_after=31).loads(states, time.wall())) == {0, 1, 2, 3, 4}


def test_the_least_loaded_pod_is_chosen_and_ties_are_broken_at_random() -> None:
    policy = LeastLoaded()
    assert policy.choose({1: 5, 2: 3, 3: 4}, {}, Random(1)) == 2
    assert policy.choose({1: 5, 2: 3, 3: 4}, {2: 2}, Random(1)) == 3
    random = Random(1)
    ties = Counter(policy.choose({1: 5, 2: 3, 3: 3}, {}, random) for _ in range(1_000))
    assert set(ties) == {2, 3}
    assert min(ties.values()) > 400


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), True, "1", None])
def test_a_policy_refuses_what_is_no_duration(value: Any) -> None:
    with pytest.raises(podlink.InvalidParameterError, match="stale_after must be"):
        LeastLoaded(stale_after=value)
    with pytest.raises(podlink.InvalidParameterError, match="load_per_link must be"):
        LeastLoaded(load_per_link=value)


# The plan


def test_a_link_to_a_pod_that_is_alive_is_taken(time: Time) -> None:
    states = {0: time.state(9), 1: time.state(1)}
    assert follow(routing(time), (READ_STATES, states), (READ_LINK, 0)) == 0


def test_who_has_no_link_is_given_the_least_loaded_pod(time: Time) -> None:
    states = {0: time.state(9), 1: time.state(1)}
    assert follow(
        routing(time), (READ_STATES, states), (READ_LINK, None), (MakeLink("n", "u", "s", 1), 1)
    ) == 1  # fmt: skip


def test_who_makes_a_link_too_late_takes_the_winners(time: Time) -> None:
    states = {0: time.state(9), 1: time.state(1)}
    assert follow(
        routing(time), (READ_STATES, states), (READ_LINK, None), (MakeLink("n", "u", "s", 1), 0)
    ) == 0  # fmt: skip


def test_a_link_to_a_dead_pod_is_replaced_after_a_fresh_look(time: Time) -> None:
    states = {0: time.state(0, ago=31), 1: time.state(1)}
    assert follow(
        routing(time),
        (READ_STATES, states),
        (READ_LINK, 0),
        (READ_STATES, states),
        (ReplaceLink("n", "u", "s", 0, 1), ReplaceResult(True, 1)),
    ) == 1  # fmt: skip


def test_a_pod_that_has_just_come_up_is_not_taken_for_dead(time: Time) -> None:
    router = routing(time)
    states = {1: time.state(1)}
    assert follow(router, (READ_STATES, states), (READ_LINK, 1)) == 1
    fresh = {1: time.state(1), 2: time.state(0)}
    assert follow(router, (READ_LINK, 2), (READ_STATES, fresh)) == 2


def test_who_replaces_a_link_too_late_takes_the_winners(time: Time) -> None:
    states = {0: "gone", 1: time.state(1), 2: time.state(5)}
    assert follow(
        routing(time),
        (READ_STATES, states),
        (READ_LINK, 0),
        (READ_STATES, states),
        (ReplaceLink("n", "u", "s", 0, 1), ReplaceResult(False, 2)),
    ) == 2  # fmt: skip


def test_a_dead_link_that_has_gone_meanwhile_is_made(time: Time) -> None:
    states = {1: time.state(1)}
    assert follow(
        routing(time),
        (READ_STATES, states),
        (READ_LINK, 0),
        (READ_STATES, states),
        (ReplaceLink("n", "u", "s", 0, 1), ReplaceResult(False, None)),
        (MakeLink("n", "u", "s", 1), 1),
    ) == 1  # fmt: skip


def test_a_plan_gives_up_when_others_always_win_with_dead_pods(time: Time) -> None:
    states = {1: time.state(1)}
    plan = routing(time).plan(SERVER, "n", "u", "s")
    questions: Counter[type] = Counter()
    step: Any = next(plan)

    def answer(step: Any) -> Any:
        questions[type(step)] += 1
        if isinstance(step, ReplaceLink):
            return ReplaceResult(False, step.expected_pod_id + 10)
        return 10 if isinstance(step, ReadLink) else states

    with pytest.raises(podlink.PodNotFoundError, match="do the clocks and policies"):
        run(plan, step, answer)
    assert questions == {ReadStates: ATTEMPTS + 1, ReadLink: 1, ReplaceLink: ATTEMPTS}


def test_a_service_without_pods_is_not_found(time: Time) -> None:
    plan = routing(time).plan(SERVER, "n", "u", "s")
    assert [next(plan), plan.send({}), plan.send(None)] == [READ_STATES, READ_LINK, READ_STATES]
    with pytest.raises(podlink.ServiceNotFoundError, match="service s in n has no pods"):
        plan.send({})


@pytest.mark.parametrize("link", [None, 1, 7])
def test_the_error_says_which_pods_are_stale(time: Time, link: int | None) -> None:
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


def test_the_error_names_ten_pods_at_most(time: Time) -> None:
    states = dict.fromkeys(range(50), "x")
    plan = routing(time).plan(SERVER, "n", "u", "s")
    assert [next(plan), plan.send(states), plan.send(None)] == [READ_STATES, READ_LINK, READ_STATES]
    with pytest.raises(podlink.PodNotFoundError, match=r"pod 9 has.*; 40 more$"):
        plan.send(states)


def test_a_burst_is_spread_over_the_pods(time: Time) -> None:
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
        time.now += 0.1  # the states are read again and again, but say the same
    assert given == {0: 30, 1: 20, 2: 10}


def test_a_pod_that_has_reported_counts_anew(time: Time) -> None:
    router = routing(time)
    states = {0: time.state(0), 1: time.state(3)}
    for number in range(3):
        exchange: list[Any] = [] if number else [(READ_STATES, states)]
        uid = f"u{number}"
        exchange += [(ReadLink("n", uid, "s"), None), (MakeLink("n", uid, "s", 0), 0)]
        follow(router, *exchange, uid=uid)
    time.now += 2
    states = {0: time.state(1), 1: states[1]}  # two of the three have left it
    for uid, pod in (("u3", 0), ("u4", 0)):
        exchange = [(READ_STATES, states)] if uid == "u3" else []
        exchange += [(ReadLink("n", uid, "s"), None), (MakeLink("n", uid, "s", pod), pod)]
        follow(router, *exchange, uid=uid)


def test_who_loses_the_race_has_not_added_to_the_load(time: Time) -> None:
    router = routing(time)
    states = {0: time.state(0), 1: time.state(0.5)}
    follow(router, (READ_STATES, states), (READ_LINK, None), (MakeLink("n", "u", "s", 0), 1))
    follow(router, (READ_LINK, None), (MakeLink("n", "u", "s", 0), 0))


def test_states_are_kept_for_a_while_and_then_read_by_one(time: Time) -> None:
    router = routing(time)
    states = {0: time.state()}
    assert follow(router, (READ_STATES, states), (READ_LINK, 0)) == 0
    time.now = 0.9
    assert follow(router, (READ_LINK, 0)) == 0
    time.now = 1.0
    reader = router.plan(SERVER, "n", "u", "s")
    assert next(reader) == READ_STATES
    assert follow(router, (READ_LINK, 0)) == 0  # meanwhile
    time.now = 2.0
    assert follow(router, (READ_STATES, states), (READ_LINK, 0)) == 0  # the reader takes too long
    reader.close()


def test_late_states_do_not_replace_newer_ones(time: Time) -> None:
    router = routing(time)
    slow = router.plan(SERVER, "n", "u", "s")
    assert next(slow) == READ_STATES
    time.now = 0.5
    assert follow(router, (READ_STATES, {5: time.state()}), (READ_LINK, 5)) == 5
    slow.send({6: time.state()})
    slow.close()
    assert follow(router, (READ_LINK, 5)) == 5


def test_another_policy_decides(time: Time) -> None:
    class First:
        def loads(self, states: Mapping[int, str], now: float) -> dict[int, float]:
            return {pod: 0.0 for pod, state in states.items() if state == "ready"}

        def choose(self, loads: Any, assigned: Any, random: Random) -> int:
            return min(loads)

    states = {0: "draining", 4: "ready", 3: "ready"}
    policy: podlink.Policy = First()
    assert follow(
        routing(time, policy=policy),
        (READ_STATES, states),
        (READ_LINK, None),
        (MakeLink("n", "u", "s", 3), 3),
    ) == 3  # fmt: skip


def test_a_policy_that_chooses_a_dead_pod_is_refused(time: Time) -> None:
    class Bad(LeastLoaded):
        def choose(self, loads: Any, assigned: Any, random: Random) -> int:
            return 77

    plan = routing(time, policy=Bad()).plan(SERVER, "n", "u", "s")
    assert [next(plan), plan.send({0: time.state()})] == [READ_STATES, READ_LINK]
    with pytest.raises(podlink.InternalError, match="chose 77"):
        plan.send(None)


@pytest.mark.parametrize("names", [("", "u", "s"), ("n", "{", "s"), ("n", ["u"], "s"), (1, 2, 3)])
def test_bad_names_are_refused_before_anything_is_asked(time: Time, names: Any) -> None:
    router = routing(time)
    for refused in (lambda: router.known(SERVER, *names), lambda: router.forget(*names),
                    lambda: next(router.plan(SERVER, *names))):  # fmt: skip
        with pytest.raises(podlink.InvalidParameterError):
            refused()


# The cache


@pytest.fixture
def cache(time: Time) -> LinkCache:
    """Three links at most; tracked, with everything heard of up to now."""
    made = LinkCache(3, 0.0, 1.0, time.monotonic)
    made.tracks(SERVER, ["n"])
    made.heard_until(SERVER, 0.0)
    return made


def put(cache: LinkCache, key: bytes, pod: int) -> None:
    cache.end(cache.begin(SERVER, "n", key), pod)


def test_a_link_is_served_until_it_changes(cache: LinkCache) -> None:
    put(cache, b"a", 1)
    put(cache, b"b", 2)
    assert (cache.get(SERVER, "n", b"a"), cache.get(SERVER, "n", b"b")) == (1, 2)
    cache.changed([b"a", b"other"])
    assert (cache.get(SERVER, "n", b"a"), cache.get(SERVER, "n", b"b")) == (None, 2)
    cache.changed(None)
    assert cache.get(SERVER, "n", b"b") is None
    assert cache.stats() == podlink.RouterStats(3, 2, 0, True)


def test_a_link_that_changes_while_it_is_read_is_not_remembered(cache: LinkCache) -> None:
    early, other = cache.begin(SERVER, "n", b"a"), cache.begin(SERVER, "n", b"b")
    cache.changed([b"a"])
    late = cache.begin(SERVER, "n", b"a")
    cache.end(late, 2)
    cache.end(early, 1)
    cache.end(other, 3)
    assert (cache.get(SERVER, "n", b"a"), cache.get(SERVER, "n", b"b")) == (2, 3)


def test_readers_of_one_link_do_not_disturb_each_other(cache: LinkCache) -> None:
    readings = [cache.begin(SERVER, "n", b"a") for _ in range(3)]
    cache.end(readings[0], None)  # its read failed
    cache.end(readings[1], 1)
    cache.end(readings[2], 1)
    assert cache.get(SERVER, "n", b"a") == 1
    assert not cache._readings


def test_the_least_recently_used_link_is_dropped(cache: LinkCache) -> None:
    for pod, key in enumerate((b"a", b"b", b"c")):
        put(cache, key, pod)
    assert cache.get(SERVER, "n", b"a") == 0
    put(cache, b"d", 3)
    assert [cache.get(SERVER, "n", key) for key in (b"a", b"b", b"c", b"d")] == [0, None, 2, 3]


def test_nothing_is_believed_when_nothing_is_heard(cache: LinkCache, time: Time) -> None:
    put(cache, b"a", 1)
    time.now = 1.0
    assert cache.get(SERVER, "n", b"a") == 1
    time.now = 1.001
    assert cache.get(SERVER, "n", b"a") is None
    assert not cache.stats().tracked
    cache.heard_until(SERVER, 1.0)
    assert cache.get(SERVER, "n", b"a") == 1  # silence does not mean that something was missed
    cache.heard_until(SERVER, 0.5)
    assert cache.get(SERVER, "n", b"a") == 1


def test_a_lost_connection_empties_the_cache(cache: LinkCache) -> None:
    put(cache, b"a", 1)
    during = cache.begin(SERVER, "n", b"b")
    cache.lost()
    cache.tracks(SERVER, ["n"])
    cache.heard_until(SERVER, 0.0)
    cache.end(during, 2)
    assert cache.get(SERVER, "n", b"a") is None
    assert cache.get(SERVER, "n", b"b") is None


def test_what_was_read_before_tracking_is_not_believed(time: Time) -> None:
    cache = LinkCache(3, 5.0, 1.0, time.monotonic)
    put(cache, b"a", 1)
    cache.tracks(SERVER, ["n"])
    cache.heard_until(SERVER, 0.0)
    time.now = 4.9
    cache.heard_until(SERVER, 4.9)
    assert cache.get(SERVER, "n", b"a") == 1  # as stale as it may be
    time.now = 5.0
    assert cache.get(SERVER, "n", b"a") is None


def test_another_namespace_is_not_tracked(cache: LinkCache) -> None:
    assert cache.begin(SERVER, "m", b"a") is None
    cache.tracks(SERVER, ["n", "m"])
    cache.end(cache.begin(SERVER, "m", b"a"), 1)
    assert cache.get(SERVER, "m", b"a") == 1


def test_another_server_starts_with_an_empty_cache(cache: LinkCache) -> None:
    put(cache, b"a", 1)
    other = object()
    assert cache.get(other, "n", b"a") is None
    assert cache.begin(other, "n", b"a") is None
    assert cache.get(SERVER, "n", b"a") is None
    cache.heard_until(SERVER, 0.0)
    assert not cache.stats().tracked


def test_without_tracking_a_link_is_served_for_max_staleness(time: Time) -> None:
    cache = LinkCache(3, 2.0, 1.0, time.monotonic)
    reading = cache.begin(SERVER, "n", b"a")
    time.now = 1.5  # the reply was slow: what it says may be as old as the question
    cache.end(reading, 1)
    time.now = 1.9
    assert cache.get(SERVER, "n", b"a") == 1
    time.now = 2.0
    assert cache.get(SERVER, "n", b"a") is None


def test_a_connection_that_could_not_be_made_changes_nothing(time: Time) -> None:
    cache = LinkCache(3, 2.0, 1.0, time.monotonic)
    put(cache, b"a", 1)
    cache.lost()
    assert cache.get(SERVER, "n", b"a") == 1


@pytest.mark.parametrize(("size", "staleness"), [(0, 5.0), (3, 0.0)])
def test_a_cache_that_may_keep_nothing_keeps_nothing(
    time: Time, size: int, staleness: float
) -> None:
    cache = LinkCache(size, staleness, 1.0, time.monotonic)
    assert cache.begin(SERVER, "n", b"a") is None
    cache.end(None, 1)
    assert cache.get(SERVER, "n", b"a") is None


def test_what_was_written_is_read_again_before_it_is_remembered(time: Time) -> None:
    router = routing(time)
    router.cache.tracks(SERVER, ["n"])
    router.cache.heard_until(SERVER, 0.0)
    states = {1: time.state()}
    follow(router, (READ_STATES, states), (READ_LINK, None), (MakeLink("n", "u", "s", 1), 1))
    assert router.known(SERVER, "n", "u", "s") is None
    assert follow(router, (READ_LINK, 1)) == 1
    assert router.known(SERVER, "n", "u", "s") == 1
    assert follow(router) == 1
    router.forget("n", "u", "s")
    assert router.known(SERVER, "n", "u", "s") is None


def test_a_remembered_link_to_a_dead_pod_is_not_served(time: Time) -> None:
    router = routing(time)
    router.cache.tracks(SERVER, ["n"])
    router.cache.heard_until(SERVER, 0.0)
    states = {1: time.state(), 2: time.state(5)}
    follow(router, (READ_STATES, states), (READ_LINK, 1))
    assert router.known(SERVER, "n", "u", "s") == 1
    time.now = 31
    router.cache.heard_until(SERVER, 31)
    assert router.known(SERVER, "n", "u", "s") is None  # the states are too old to say
    states = {1: states[1], 2: time.state(5)}
    assert follow(
        router,
        (READ_STATES, states),
        (READ_STATES, states),
        (ReplaceLink("n", "u", "s", 1, 2), ReplaceResult(True, 2)),
    ) == 2  # fmt: skip


def test_the_words_of_tracking() -> None:
    assert track(["n", "m"]) == (
        "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", b"sf:{n:lk:", "PREFIX", b"sf:{m:lk:",
    )  # fmt: skip
    assert changed_keys([b"invalidate", [b"a", "b"]]) == [b"a", b"b"]
    assert changed_keys([b"invalidate", None]) is None


# All at once: several routers, a server, time, and words of changes that are late or lost


PODS = range(3)
UIDS = ("u", "u", "u", "v")
STALE, SILENCE, STALENESS, TTL = 10.0, 1.0, 0.5, 1.0


class Router:
    """One router's decisions, what the server has sent it, and what it is resolving."""

    def __init__(self, time: Time, seed: int, max_staleness: float) -> None:
        self.routing = routing(
            time,
            policy=LeastLoaded(stale_after=STALE),
            random=Random(seed),
            size=2,
            max_staleness=max_staleness,
        )
        self.tracked = False
        self.sent: deque[tuple[str, Any]] = deque()
        self.plans: list[Plan] = []


class Plan:
    """A resolve under way: what it asks for next, since when, for whom."""

    def __init__(self, router: Router, uid: str, began: int, now: float) -> None:
        self.plan = router.routing.plan(SERVER, "n", uid, "s")
        self.uid = uid
        self.began = began
        self.at = now
        self.step: Any = None


class Routers(RuleBasedStateMachine):
    """Routers share a server. Whatever they tell was so not long before."""

    def __init__(self) -> None:
        super().__init__()
        self.time = Time()
        self.states: dict[int, str] = {}
        self.links: dict[str, int] = {}
        self.routers = [Router(self.time, seed, seed * STALENESS) for seed in (0, 1)]
        self.moments: list[tuple[float, dict[str, int], frozenset[int]]] = []
        self.time_passes(0.1, (0, 1), PODS)

    def look(self) -> None:
        """Note what is so at this moment."""
        alive = LeastLoaded(stale_after=STALE).loads(self.states, self.time.wall())
        self.moments.append((self.time.now, dict(self.links), frozenset(alive)))

    def moments_since(self, began: int, ago: float) -> list[tuple[float, Any, frozenset[int]]]:
        """What was so from ``ago`` seconds before that moment on."""
        start = self.moments[began][0] - ago
        first = began
        while first and self.moments[first][0] >= start:
            first -= 1
        return self.moments[first:]

    @rule(
        seconds=st.sampled_from([0.1, 0.4, 0.6, 1.1, 2.1, 11.0]),
        heard=st.sampled_from([(), (0,), (1,), (0, 1), (0, 1)]),
        reported=st.sampled_from([(), PODS, PODS, PODS[:1], PODS[1:]]),
    )
    def time_passes(self, seconds: float, heard: Sequence[int], reported: Sequence[int]) -> None:
        self.time.now += seconds
        for pod in reported:
            self.states[pod] = self.time.state(0)
        self.look()
        for router in heard:
            self.tracking_begins(router)
            self.deliver(self.routers[router], 1_000)

    @rule(pod=st.sampled_from(PODS), load=st.integers(0, 3))
    def a_pod_reports(self, pod: int, load: int) -> None:
        self.states[pod] = self.time.state(load)
        self.look()

    @rule(pod=st.sampled_from(PODS))
    def a_pod_goes(self, pod: int) -> None:
        self.states.pop(pod, None)
        self.look()

    @rule(uid=st.sampled_from(UIDS), pod=st.none() | st.sampled_from(PODS))
    def somebody_else_links(self, uid: str, pod: int | None) -> None:
        self.write(uid, pod)

    def write(self, uid: str, pod: int | None) -> None:
        if pod is None:
            self.links.pop(uid, None)
        else:
            self.links[uid] = pod
        for router in self.routers:
            if router.tracked:
                router.sent.append(("changed", link_keys("n", uid, "s")[:1]))
        self.look()

    @rule(router=st.sampled_from((0, 1)), uid=st.sampled_from(UIDS))
    def a_resolve_begins(self, router: int, uid: str) -> None:
        plan = Plan(self.routers[router], uid, len(self.moments) - 1, self.time.now)
        known = self.routers[router].routing.known(SERVER, "n", uid, "s")
        if known is not None:
            self.check(plan, known)
            return
        if self.go_on(self.routers[router], plan, None):
            self.routers[router].plans.append(plan)

    @rule(router=st.sampled_from((0, 1)), uid=st.sampled_from(UIDS))
    def a_resolve_is_quick(self, router: int, uid: str) -> None:
        one = self.routers[router]
        plan = Plan(one, uid, len(self.moments) - 1, self.time.now)
        known = one.routing.known(SERVER, "n", uid, "s")
        if known is not None:
            self.check(plan, known)
            return
        answer: Any = None
        while self.go_on(one, plan, answer):
            answer = self.answer(plan)

    @precondition(lambda self: any(router.plans for router in self.routers))
    @rule(data=st.data())
    def a_resolve_goes_on(self, data: st.DataObject) -> None:
        router = data.draw(st.sampled_from([router for router in self.routers if router.plans]))
        plan = data.draw(st.sampled_from(router.plans))
        if data.draw(st.integers(0, 9)) == 0:  # the caller has no more time, or the request fails
            plan.plan.close()
            router.plans.remove(plan)
        elif not self.go_on(router, plan, self.answer(plan)):
            router.plans.remove(plan)

    def answer(self, plan: Plan) -> Any:
        step = plan.step
        if isinstance(step, ReadStates):
            return dict(self.states)
        current = self.links.get(plan.uid)
        if isinstance(step, ReadLink):
            return current
        if isinstance(step, MakeLink):
            if current is None:
                self.write(plan.uid, step.pod_id)
            return self.links[plan.uid]
        assert isinstance(step, ReplaceLink)
        looks = self.moments_since(plan.began, 0)
        assert any(step.expected_pod_id not in alive for _, _, alive in looks), "replaced alive"
        if current == step.expected_pod_id:
            self.write(plan.uid, step.pod_id)
            return ReplaceResult(True, step.pod_id)
        return ReplaceResult(False, current)

    def go_on(self, router: Router, plan: Plan, answer: Any) -> bool:
        try:
            plan.step = plan.plan.send(answer)
        except StopIteration as stop:
            self.check(plan, stop.value)
            return False
        except podlink.ServiceNotFoundError:
            assert not self.states
            return False
        except podlink.PodNotFoundError:
            looks = self.moments_since(plan.began, 0)
            assert len(looks) > ATTEMPTS or any(not alive for _, _, alive in looks)
            return False
        return True

    def check(self, plan: Plan, pod: int) -> None:
        looks = self.moments_since(plan.began, max(SILENCE, STALENESS))
        assert any(links.get(plan.uid) == pod for _, links, _ in looks), "never linked there"
        looks = self.moments_since(plan.began, 2 * TTL)
        assert any(pod in alive for _, _, alive in looks), "not alive then"

    @rule(router=st.sampled_from((0, 1)))
    def tracking_begins(self, router: int) -> None:
        one = self.routers[router]
        one.sent.append(("begins" if not one.tracked else "pong", self.time.now))
        one.tracked = True

    @rule(router=st.sampled_from((0, 1)), many=st.integers(1, 9))
    def words_arrive(self, router: int, many: int) -> None:
        self.deliver(self.routers[router], many)

    def deliver(self, one: Router, many: int) -> None:
        for _ in range(min(many, len(one.sent))):
            kind, what = one.sent.popleft()
            if kind == "changed":
                one.routing.cache.changed(what)
                continue
            if kind == "begins":
                one.routing.cache.tracks(SERVER, ["n"])
            one.routing.cache.heard_until(SERVER, what)

    @rule(router=st.sampled_from((0, 1)))
    def the_connection_breaks(self, router: int) -> None:
        one = self.routers[router]
        one.tracked = False
        one.sent.clear()
        one.routing.cache.lost()

    @invariant()
    def nothing_leaks(self) -> None:
        for router in self.routers:
            cache = router.routing.cache
            assert len(cache._links) <= cache.size
            assert len(cache._readings) <= len(router.plans)

    def teardown(self) -> None:
        for router in self.routers:
            for plan in router.plans:
                plan.plan.close()
            assert not router.routing.cache._readings


Routers.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestRouters = Routers.TestCase
