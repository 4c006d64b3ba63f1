"""Where a uid belongs: every decision of the routers, without IO.

`Routing.plan` is a generator. It asks for what it needs, a read or a write at a time, and returns
the pod; `LinkRouter` and `AsyncLinkRouter` do what it asks for with an executor. What a link is
believed to be without asking is in `podlink.cache`.

The rules:

- A link to a pod that is alive is right, whoever made it.
- No pod is held dead by states that were read before its link was: it may have come up in between.
  So a link is replaced only after a fresh look, and by compare-and-set: of those who replace the
  same link one wins, and the others take what it wrote.
- A link that is absent is made only if it is still absent, and again the first one wins.
- What was written is not remembered, but read when it is asked for next: by then it may have been
  changed again, and word of that may have come before the reply to the write.

The states are kept for ``states_ttl`` seconds. Then one caller reads them while the others go on
with what is there, for another ``states_ttl`` at most.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from podlink import forks
from podlink.cache import LinkCache
from podlink.errors import (
    ErrorMetrics,
    InternalError,
    InvalidParameterError,
    OperationTimeoutError,
    PodNotFoundError,
    ServiceNotFoundError,
    StatefulError,
)
from podlink.keys import check_persist_seconds, check_timeout, link_keys, shown

ATTEMPTS: Final = 8
"""How often one call tries to link before it gives up: each time another router was faster, and
linked to a pod that is not alive."""

_STATE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)-([0-9]{1,15})", re.ASCII).fullmatch
_SHOWN_PODS: Final = 10


class PodState(NamedTuple):
    """What a pod says of itself, in a state written ``load-timestamp``.

    Attributes:
        load: how much it has to do; any unit, not below 0.
        heartbeat: when it wrote this, in seconds since the epoch.
    """

    load: float
    heartbeat: float

    @classmethod
    def parse(cls, state: str) -> PodState | None:
        """Read ``12-1764009600000`` or ``0.75-1764009600000`` (the time is in milliseconds).

        Returns:
            ``None`` when the state is of another form.
        """
        match = _STATE(state)
        return None if match is None else cls(float(match[1]), int(match[2]) / 1000)

    def __str__(self) -> str:
        """As it is written to Redis."""
        load = format(self.load, "f").rstrip("0").rstrip(".")
        return f"{load}-{round(self.heartbeat * 1000)}"


class Policy(Protocol):
    """Which pods of a service are alive, and which of them a uid is given; for any thread."""

    def loads(self, states: Mapping[int, str], now: float) -> Mapping[int, float]:
        """The pods that are alive, and their loads.

        Args:
            states: the state of each pod.
            now: seconds since the epoch.
        """

    def choose(
        self, loads: Mapping[int, float], assigned: Mapping[int, int], random: Random
    ) -> int:
        """One of the pods that are alive.

        Args:
            loads: what `loads` returned; never empty.
            assigned: how many uids this router has given to a pod since the pod wrote its state.
            random: the only source of chance to use.
        """


@dataclass(frozen=True, slots=True)
class LeastLoaded:
    """The pod with the least load; one of them at random if there are several.

    A state is ``load-timestamp``; see `PodState`.

    Attributes:
        stale_after: a pod whose heartbeat is more seconds away from now than this is not alive:
            longer ago, or further ahead, as a clock that is wrong would have it.
        load_per_link: how much a uid adds to the load, until the pod reports a new one.
    """

    stale_after: float = 30.0
    load_per_link: float = 1.0

    def __post_init__(self) -> None:
        check_duration("stale_after", self.stale_after, may_be_zero=False)
        check_duration("load_per_link", self.load_per_link)

    def loads(self, states: Mapping[int, str], now: float) -> dict[int, float]:
        """The pods whose heartbeat is fresh, and their loads."""
        loads = {}
        for pod, text in states.items():
            state = PodState.parse(text)
            if state is not None and abs(now - state.heartbeat) <= self.stale_after:
                loads[pod] = state.load
        return loads

    def choose(
        self, loads: Mapping[int, float], assigned: Mapping[int, int], random: Random
    ) -> int:
        """The pod with the least load, with what was given to it since it reported that."""
        each = self.load_per_link
        expected = {pod: load + each * assigned.get(pod, 0) for pod, load in loads.items()}
        least = min(expected.values())
        return random.choice([pod for pod, load in expected.items() if load == least])


# What a plan asks for; the answer to each is what the executor's method of that kind returns.


class ReadStates(NamedTuple):
    """``get_service_state``."""

    namespace: str
    service_name: str


class ReadLink(NamedTuple):
    """``get_linked_pod``."""

    namespace: str
    uid: str
    service_name: str


class MakeLink(NamedTuple):
    """``set_linked_pod_if_absent``."""

    namespace: str
    uid: str
    service_name: str
    pod_id: int


class ReplaceLink(NamedTuple):
    """``replace_linked_pod``."""

    namespace: str
    uid: str
    service_name: str
    expected_pod_id: int
    pod_id: int


Step: TypeAlias = ReadStates | ReadLink | MakeLink | ReplaceLink


class _Service:
    """The pods of a service as they were read, and what was given to them since."""

    __slots__ = ("assigned", "being_read", "loads", "read_at", "states")

    def __init__(
        self,
        states: Mapping[int, str],
        loads: Mapping[int, float],
        assigned: dict[int, int],
        read_at: float,
    ) -> None:
        self.states = states
        self.loads = loads
        self.assigned = assigned
        self.read_at = read_at
        self.being_read = False


class Routing:
    """The decisions of one router, and what they rest on. Threads may share one.

    Args:
        policy: which pods are alive, and which a uid is given.
        persist_seconds: of the links that are made.
        states_ttl: seconds for which the states of a service are kept.
        cache: what is known of the links.
        random: the source of chance.
        wall_clock: seconds since the epoch, for heartbeats.
        monotonic: seconds, for how long something has been kept.
    """

    def __init__(
        self,
        policy: Policy,
        persist_seconds: int,
        states_ttl: float,
        cache: LinkCache,
        random: Random,
        wall_clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self.policy = policy
        self.persist_seconds = check_persist_seconds(persist_seconds)
        self.states_ttl = check_duration("states_ttl", states_ttl)
        self.cache = cache
        self._random = random
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._services: dict[tuple[str, str], _Service] = {}
        forks.renew(self)

    def _after_fork(self) -> None:
        """Forget the states in a child process, and choose otherwise than the other children."""
        self._lock = threading.Lock()
        self._services = {}
        self._random.seed()

    def known(self, source: Any, namespace: str, uid: str, service_name: str) -> int | None:
        """The pod, if nothing has to be asked for; see `LinkCache.get` for ``source``.

        Raises:
            InvalidParameterError: a name is outside the limits.
        """
        key = link_keys(namespace, uid, service_name)[0]
        service = self._services.get((namespace, service_name))
        if service is None or not self._is_usable(service, self._monotonic()):
            return None
        pod = self.cache.get(source, namespace, key)
        return pod if pod in service.loads else None

    def forget(self, namespace: str, uid: str, service_name: str) -> None:
        """Remember a link no more.

        Raises:
            InvalidParameterError: a name is outside the limits.
        """
        self.cache.changed(link_keys(namespace, uid, service_name)[:1])

    def plan(
        self, source: Any, namespace: str, uid: str, service_name: str
    ) -> Generator[Step, Any, int]:
        """What to ask for, one after the other; returns the pod.

        Raises:
            InvalidParameterError: a name is outside the limits.
            ServiceNotFoundError: the service has no pods.
            PodNotFoundError: none of its pods is alive.
        """
        key = link_keys(namespace, uid, service_name)[0]
        service = yield from self._states(namespace, service_name)
        pod = self.cache.get(source, namespace, key)
        if pod is None:
            pod = yield from self._read_link(source, key, namespace, uid, service_name)
        for _ in range(ATTEMPTS):
            if pod is not None and pod in service.loads:
                return pod
            if pod is not None or not service.loads:
                service = yield from self._read_states(namespace, service_name)
                if pod is not None and pod in service.loads:
                    return pod
            pod = yield from self._link(service, key, namespace, uid, service_name, pod)
        if pod is not None and pod in service.loads:
            return pod
        raise PodNotFoundError(
            f"uid {shown(uid)} was linked {ATTEMPTS} times by somebody else, at last to pod {pod}, "
            f"while it was being linked to a pod of {service_name} in {namespace} that is alive; "
            "do the clocks and policies of all routers agree?"
        )

    def _read_link(
        self, source: Any, key: bytes, namespace: str, uid: str, service_name: str
    ) -> Generator[Step, Any, int | None]:
        reading = self.cache.begin(source, namespace, key)
        pod: int | None = None
        try:
            pod = yield ReadLink(namespace, uid, service_name)
        finally:
            self.cache.end(reading, pod)
        return pod

    def _link(
        self,
        service: _Service,
        key: bytes,
        namespace: str,
        uid: str,
        service_name: str,
        dead: int | None,
    ) -> Generator[Step, Any, int | None]:
        """Link to a pod that is alive, in place of the dead one; the pod afterwards."""
        chosen = self._choose(service, namespace, service_name)
        after: int | None
        try:
            if dead is None:
                after = yield MakeLink(namespace, uid, service_name, chosen)
            else:
                _, after = yield ReplaceLink(namespace, uid, service_name, dead, chosen)
        finally:
            self.cache.changed((key,))
        if after != chosen:
            with self._lock:
                service.assigned[chosen] = max(0, service.assigned.get(chosen, 0) - 1)
        return after

    def _choose(self, service: _Service, namespace: str, service_name: str) -> int:
        if not service.loads:
            raise self._nobody(service, namespace, service_name)
        with self._lock:
            pod = self.policy.choose(service.loads, service.assigned, self._random)
            if pod not in service.loads:
                raise InternalError(
                    f"{self.policy!r} chose {shown(pod)}, which is not among the pods that are "
                    f"alive: {', '.join(map(str, service.loads))}"
                )
            service.assigned[pod] = service.assigned.get(pod, 0) + 1
        return pod

    def _states(self, namespace: str, service_name: str) -> Generator[Step, Any, _Service]:
        service = self._services.get((namespace, service_name))
        if service is not None:
            with self._lock:
                if self._is_usable(service, self._monotonic()):
                    return service
                service.being_read = True
        return (yield from self._read_states(namespace, service_name))

    def _is_usable(self, service: _Service, now: float) -> bool:
        age = now - service.read_at
        return age < self.states_ttl or (service.being_read and age < 2 * self.states_ttl)

    def _read_states(self, namespace: str, service_name: str) -> Generator[Step, Any, _Service]:
        began = self._monotonic()
        states = yield ReadStates(namespace, service_name)
        loads = self.policy.loads(states, self._wall_clock())
        with self._lock:
            before = self._services.get((namespace, service_name))
            service = _Service(states, loads, {} if before is None else before.assigned, began)
            if not states:
                self._services.pop((namespace, service_name), None)
            elif before is None or before.read_at <= began:
                self._services[namespace, service_name] = service
                if before is not None:
                    # A pod that has reported since has counted what it was given.
                    for pod in before.states:
                        if states.get(pod) != before.states[pod]:
                            service.assigned.pop(pod, None)
        return service

    def _nobody(
        self, service: _Service, namespace: str, service_name: str
    ) -> ServiceNotFoundError | PodNotFoundError:
        """Why there is no pod to link to."""
        if not service.states:
            return ServiceNotFoundError(f"service {service_name} in {namespace} has no pods")
        pods = sorted(service.states)
        reasons = [_condition(pod, service.states[pod], self._wall_clock()) for pod in pods]
        if len(reasons) > _SHOWN_PODS:
            reasons[_SHOWN_PODS:] = [f"{len(pods) - _SHOWN_PODS} more"]
        return PodNotFoundError(
            f"no pod of {service_name} in {namespace} is alive: {'; '.join(reasons)}"
        )


def _condition(pod: int, text: str, now: float) -> str:
    state = PodState.parse(text)
    if state is None:
        return f"pod {pod} has the state {shown(text)}, which is not load-timestamp"
    age = now - state.heartbeat
    when = f"{age:.1f} s ago" if age >= 0 else f"{-age:.1f} s ahead of this process's clock"
    return f"pod {pod} is stale, its heartbeat was {when}"


def check_duration(name: str, value: float, *, may_be_zero: bool = True) -> float:
    """Refuse a number that is not finite, is below 0, or is 0 where it may not be."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if 0 < value < 2**31 or (may_be_zero and value == 0):
            return value
    raise InvalidParameterError(
        f"{name} must be a number {'from' if may_be_zero else 'above'} 0; got {shown(value)}"
    )


def check_size(name: str, value: int) -> int:
    """Refuse what is no number of things."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise InvalidParameterError(f"{name} must be an integer from 0; got {shown(value)}")


TimeLeft: TypeAlias = Callable[[], "float | None"]


def make_routing(
    policy: Policy | None,
    persist_seconds: int,
    states_ttl: float,
    cache_size: int,
    max_silence: float,
    max_staleness: float,
    random: Random | None,
    wall_clock: Callable[[], float],
    monotonic: Callable[[], float],
) -> Routing:
    """What both routers make of their arguments."""
    cache = LinkCache(
        check_size("cache_size", cache_size),
        check_duration("max_staleness", max_staleness),
        check_duration("max_silence", max_silence, may_be_zero=False),
        monotonic,
    )
    return Routing(
        LeastLoaded() if policy is None else policy,
        persist_seconds,
        states_ttl,
        cache,
        Random() if random is None else random,
        wall_clock,
        monotonic,
    )


def advance(plan: Generator[Step, Any, int], answer: Any) -> Step | int:
    """What a plan asks for next, or the pod when it is done."""
    try:
        return plan.send(answer)
    except StopIteration as stop:
        return int(stop.value)


@contextmanager
def errors_counted(metrics: ErrorMetrics) -> Iterator[None]:
    """Count what is decided here; the executor counts what it raises itself."""
    try:
        yield
    except StatefulError as error:
        metrics.record(error)
        raise


def time_left(timeout: float | None) -> TimeLeft:
    """Tells how many seconds of ``timeout`` are left, whenever it is called.

    Raises:
        InvalidParameterError: the timeout is no number of seconds above 0.
    """
    if timeout is None:
        return _any_time
    end = time.monotonic() + check_timeout(timeout)

    def left() -> float:
        rest = end - time.monotonic()
        if rest <= 0:
            raise OperationTimeoutError("resolve was not finished in time; no request is under way")
        return rest

    return left


def _any_time() -> None:
    return None
