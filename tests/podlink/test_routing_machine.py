"""State machine of several routers with a server, time, and late or lost invalidation messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import podlink
from podlink import LeastLoaded, ReplaceResult
from podlink.keys import link_keys
from podlink.routing import ATTEMPTS, MakeLink, ReadLink, ReadStates, ReplaceLink
from tests.support.examples import examples
from tests.support.routing import SERVER, Time, routing

PODS = range(3)
UIDS = ("u", "u", "u", "v")
STALE, SILENCE, STALENESS, TTL = 10.0, 1.0, 0.5, 1.0


class Router:
    """One router: its decisions, the messages sent to it, and its resolves in progress."""

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
    """A resolve in progress: its next request, its start time, its uid."""

    def __init__(self, router: Router, uid: str, began: int, now: float) -> None:
        self.plan = router.routing.plan(SERVER, "n", uid, "s")
        self.uid = uid
        self.began = began
        self.at = now
        self.step: Any = None


class Routers(RuleBasedStateMachine):
    """Routers that share a server. Every result was true shortly before."""

    def __init__(self) -> None:
        super().__init__()
        self.time = Time()
        self.states: dict[int, str] = {}
        self.links: dict[str, int] = {}
        self.routers = [Router(self.time, seed, seed * STALENESS) for seed in (0, 1)]
        self.moments: list[tuple[float, dict[str, int], frozenset[int]]] = []
        self.time_passes(0.1, (0, 1), PODS)

    def look(self) -> None:
        """Record the links and live pods of this moment."""
        alive = LeastLoaded(stale_after=STALE).loads(self.states, self.time.wall())
        self.moments.append((self.time.now, dict(self.links), frozenset(alive)))

    def moments_since(self, began: int, ago: float) -> list[tuple[float, Any, frozenset[int]]]:
        """Return the moments from ``ago`` seconds before the moment ``began`` on."""
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
        known = self.routers[router].routing.cached_pod(SERVER, "n", uid, "s")
        if known is not None:
            self.check(plan, known)
            return
        if self.go_on(self.routers[router], plan, None):
            self.routers[router].plans.append(plan)

    @rule(router=st.sampled_from((0, 1)), uid=st.sampled_from(UIDS))
    def a_resolve_is_quick(self, router: int, uid: str) -> None:
        one = self.routers[router]
        plan = Plan(one, uid, len(self.moments) - 1, self.time.now)
        known = one.routing.cached_pod(SERVER, "n", uid, "s")
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
        if data.draw(st.integers(0, 9)) == 0:  # the caller times out, or the request fails
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
                one.routing.cache.invalidate(what)
                continue
            if kind == "begins":
                one.routing.cache.start_tracking(SERVER, ["n"])
            one.routing.cache.confirm_until(SERVER, what)

    @rule(router=st.sampled_from((0, 1)))
    def the_connection_breaks(self, router: int) -> None:
        one = self.routers[router]
        one.tracked = False
        one.sent.clear()
        one.routing.cache.stop_tracking()

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


Routers.TestCase.settings = settings(
    max_examples=examples(100), stateful_step_count=40, deadline=None
)
TestRouters = Routers.TestCase
