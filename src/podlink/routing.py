"""The decisions of the routers: which pod a uid is linked to. No IO.

`Routing.plan` is a generator. It yields one read or write at a time, receives the result, and
returns the pod. `LinkRouter` and `AsyncLinkRouter` run it with an executor. `podlink.cache` decides
for how long a link may be used without reading it.

The rules:

- If the pod of a link is alive, the link is kept.
- A pod counts as dead only on states that were read after its link, because it may have started in
  between. A dead link is replaced with compare-and-set: if several routers replace the same link,
  one succeeds, and the others use the link that it wrote.
- A uid without a link is linked with set-if-absent. If several routers do so, the first succeeds.
- A link is not cached after a write, only after a read. The invalidation message of a later change
  could arrive before the reply to the write.

The states of a service are cached for ``states_ttl`` seconds. Then one caller reads them again,
while the others use the cached states for at most another ``states_ttl`` seconds.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from podlink import deadline, forks
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
"""How often one call tries to link a uid, if each time another router links it to a dead pod."""

_STATE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)-([0-9]{1,15})", re.ASCII).fullmatch
_SHOWN_PODS: Final = 10


class PodState(NamedTuple):
    """The load and heartbeat of a pod, which it writes as a state ``load-timestamp``.

    Attributes:
        load: the load of the pod, in any unit; not negative.
        heartbeat: when the pod wrote the state, in seconds since the epoch.
    """

    load: float
    heartbeat: float

    @classmethod
    def parse(cls, state: str) -> PodState | None:
        """Parse ``12-1764009600000`` or ``0.75-1764009600000`` (the time is in milliseconds).

        Returns:
            The state, or ``None`` if the text has another format.
        """
        match = _STATE(state)
        return None if match is None else cls(float(match[1]), int(match[2]) / 1000)

    def __str__(self) -> str:
        """Format the state as it is stored in Redis."""
        load = format(self.load, "f").rstrip("0").rstrip(".")
        return f"{load}-{round(self.heartbeat * 1000)}"


class Policy(Protocol):
    """Decides which pods of a service are alive, and selects one for a new link.

    The methods may be called from any thread.
    """

    def loads(self, states: Mapping[int, str], now: float) -> Mapping[int, float]:
        """Return the pods that are alive, and their loads.

        Args:
            states: the state of each pod.
            now: seconds since the epoch.
        """

    def choose(
        self, loads: Mapping[int, float], assigned: Mapping[int, int], random: Random
    ) -> int:
        """Return one of the pods that are alive.

        Args:
            loads: the result of `loads`; never empty.
            assigned: how many uids this router has linked to each pod since the pod last wrote its
                state.
            random: the random number generator to use.
        """


@dataclass(frozen=True, slots=True)
class LeastLoaded:
    """Selects the pod with the least load, at random among several.

    The states must be written ``load-timestamp``; see `PodState`.

    Attributes:
        stale_after: a pod is alive if its heartbeat differs from the present time by at most this
            many seconds. A heartbeat in the future comes from a wrong clock.
        load_per_link: how much each new link adds to the load of a pod, until the pod reports a new
            load.
    """

    stale_after: float = 30.0
    load_per_link: float = 1.0

    def __post_init__(self) -> None:
        check_duration("stale_after", self.stale_after, may_be_zero=False)
        check_duration("load_per_link", self.load_per_link)

    def loads(self, states: Mapping[int, str], now: float) -> dict[int, float]:
        """Return the pods whose heartbeat is not stale, and their loads."""
        loads = {}
        for pod, text in states.items():
            state = PodState.parse(text)
            if state is not None and abs(now - state.heartbeat) <= self.stale_after:
                loads[pod] = state.load
        return loads

    def choose(
        self, loads: Mapping[int, float], assigned: Mapping[int, int], random: Random
    ) -> int:
        """Return the pod with the least load, including the links made since it was reported."""
        each = self.load_per_link
        expected = {pod: load + each * assigned.get(pod, 0) for pod, load in loads.items()}
        least = min(expected.values())
        return random.choice([pod for pod, load in expected.items() if load == least])


# The steps of a plan. Each is a method of the executor to call; the plan receives its result.


class ReadStates(NamedTuple):
    """Call ``get_service_state``."""

    namespace: str
    service_name: str


class ReadLink(NamedTuple):
    """Call ``get_linked_pod``."""

    namespace: str
    uid: str
    service_name: str


class MakeLink(NamedTuple):
    """Call ``set_linked_pod_if_absent``."""

    namespace: str
    uid: str
    service_name: str
    pod_id: int


class ReplaceLink(NamedTuple):
    """Call ``replace_linked_pod``."""

    namespace: str
    uid: str
    service_name: str
    expected_pod_id: int
    pod_id: int


Step: TypeAlias = ReadStates | ReadLink | MakeLink | ReplaceLink


class _ServiceStates:
    """The cached states of a service.

    Attributes:
        states: pod id to state, as read.
        loads: the pods that are alive, and their loads.
        assigned: how many uids this router has linked to each pod since its state changed.
        read_at: when the read began (monotonic clock).
        refreshing: whether a caller is reading the states again.
    """

    __slots__ = ("assigned", "loads", "read_at", "refreshing", "states")

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
        self.refreshing = False


class Routing:
    """Makes the decisions of one router, and caches the states of services. Threads may share it.

    Args:
        policy: decides which pods are alive, and selects one for a new link.
        persist_seconds: the TTL of new links in seconds, or `PERSIST_FOREVER`.
        states_ttl: seconds for which the states of a service are cached.
        cache: the cached links.
        random: the random number generator.
        wall_clock: returns seconds since the epoch, to compare with heartbeats.
        monotonic: returns the seconds of a monotonic clock, for the age of cached values.
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
        self._services: dict[tuple[str, str], _ServiceStates] = {}
        forks.renew(self)

    def _after_fork(self) -> None:
        """In a child process, clear the states and seed the random numbers differently."""
        self._lock = threading.Lock()
        self._services = {}
        self._random.seed()

    def cached_pod(self, source: Any, namespace: str, uid: str, service_name: str) -> int | None:
        """Return the pod if link and states are cached and the pod is alive, otherwise ``None``.

        Args:
            source: identifies the server; see `LinkCache.get`.

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
        """Remove a link from the cache.

        Raises:
            InvalidParameterError: a name is outside the limits.
        """
        self.cache.invalidate(link_keys(namespace, uid, service_name)[:1])

    def plan(
        self, source: Any, namespace: str, uid: str, service_name: str
    ) -> Generator[Step, Any, int]:
        """Yield the steps that find the pod of a uid or link the uid; return the pod.

        Raises:
            InvalidParameterError: a name is outside the limits.
            ServiceNotFoundError: the service has no pods.
            PodNotFoundError: none of its pods is alive.
        """
        key = link_keys(namespace, uid, service_name)[0]
        service = yield from self._cached_states(namespace, service_name)
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
            pod = yield from self._link_to_live_pod(service, key, namespace, uid, service_name, pod)
        if pod is not None and pod in service.loads:
            return pod
        raise PodNotFoundError(
            f"could not link uid {shown(uid)} to a live pod of {service_name} in {namespace}: "
            f"another router linked it {ATTEMPTS} times to a pod that is not alive, last to pod "
            f"{pod}; check that the clocks and policies of all routers agree"
        )

    def _read_link(
        self, source: Any, key: bytes, namespace: str, uid: str, service_name: str
    ) -> Generator[Step, Any, int | None]:
        reading = self.cache.begin_read(source, namespace, key)
        pod: int | None = None
        try:
            pod = yield ReadLink(namespace, uid, service_name)
        finally:
            self.cache.end_read(reading, pod)
        return pod

    def _link_to_live_pod(
        self,
        service: _ServiceStates,
        key: bytes,
        namespace: str,
        uid: str,
        service_name: str,
        dead_pod: int | None,
    ) -> Generator[Step, Any, int | None]:
        """Link the uid to a live pod, in place of the dead one if any; return the linked pod."""
        chosen = self._choose(service, namespace, service_name)
        after: int | None
        try:
            if dead_pod is None:
                after = yield MakeLink(namespace, uid, service_name, chosen)
            else:
                _, after = yield ReplaceLink(namespace, uid, service_name, dead_pod, chosen)
        finally:
            self.cache.invalidate((key,))
        if after != chosen:
            with self._lock:
                service.assigned[chosen] = max(0, service.assigned.get(chosen, 0) - 1)
        return after

    def _choose(self, service: _ServiceStates, namespace: str, service_name: str) -> int:
        if not service.loads:
            raise self._no_live_pod(service, namespace, service_name)
        with self._lock:
            pod = self.policy.choose(service.loads, service.assigned, self._random)
            if pod not in service.loads:
                raise InternalError(
                    f"{self.policy!r} returned pod {shown(pod)}, which is not one of the live "
                    f"pods: {', '.join(map(str, service.loads))}"
                )
            service.assigned[pod] = service.assigned.get(pod, 0) + 1
        return pod

    def _cached_states(
        self, namespace: str, service_name: str
    ) -> Generator[Step, Any, _ServiceStates]:
        service = self._services.get((namespace, service_name))
        if service is not None:
            with self._lock:
                if self._is_usable(service, self._monotonic()):
                    return service
                service.refreshing = True
        return (yield from self._read_states(namespace, service_name))

    def _is_usable(self, service: _ServiceStates, now: float) -> bool:
        age = now - service.read_at
        return age < self.states_ttl or (service.refreshing and age < 2 * self.states_ttl)

    def _read_states(
        self, namespace: str, service_name: str
    ) -> Generator[Step, Any, _ServiceStates]:
        began = self._monotonic()
        states = yield ReadStates(namespace, service_name)
        loads = self.policy.loads(states, self._wall_clock())
        with self._lock:
            before = self._services.get((namespace, service_name))
            service = _ServiceStates(
                states, loads, {} if before is None else before.assigned, began
            )
            if not states:
                self._services.pop((namespace, service_name), None)
            elif before is None or before.read_at <= began:
                self._services[namespace, service_name] = service
                if before is not None:
                    # The new state of a pod includes the links that were assigned before.
                    for pod in before.states:
                        if states.get(pod) != before.states[pod]:
                            service.assigned.pop(pod, None)
        return service

    def _no_live_pod(
        self, service: _ServiceStates, namespace: str, service_name: str
    ) -> ServiceNotFoundError | PodNotFoundError:
        """Return the error that says why no pod of a service is alive."""
        if not service.states:
            return ServiceNotFoundError(f"service {service_name} in {namespace} has no pods")
        pods = sorted(service.states)
        reasons = [_describe_pod(pod, service.states[pod], self._wall_clock()) for pod in pods]
        if len(reasons) > _SHOWN_PODS:
            reasons[_SHOWN_PODS:] = [f"{len(pods) - _SHOWN_PODS} more"]
        return PodNotFoundError(
            f"no pod of {service_name} in {namespace} is alive: {'; '.join(reasons)}"
        )


def _describe_pod(pod: int, text: str, now: float) -> str:
    state = PodState.parse(text)
    if state is None:
        return f"pod {pod} has the state {shown(text)}, which is not load-timestamp"
    age = now - state.heartbeat
    when = f"{age:.1f} s ago" if age >= 0 else f"{-age:.1f} s ahead of this process's clock"
    return f"pod {pod} is stale, its heartbeat was {when}"


def check_duration(name: str, value: float, *, may_be_zero: bool = True) -> float:
    """Return a number of seconds or of load units if it is valid.

    Raises:
        InvalidParameterError: it is not finite, is negative, or is 0 where that is not allowed.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if 0 < value < 2**31 or (may_be_zero and value == 0):
            return value
    raise InvalidParameterError(
        f"{name} must be a number {'from' if may_be_zero else 'above'} 0; got {shown(value)}"
    )


def check_size(name: str, value: int) -> int:
    """Return a size if it is valid.

    Raises:
        InvalidParameterError: it is not an integer from 0.
    """
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
    """Create the `Routing` and the `LinkCache` of a router from its arguments.

    Raises:
        InvalidParameterError: an argument is outside its limits.
    """
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
    """Send the result of a step to a plan. Return the next step, or the pod at the end."""
    try:
        return plan.send(answer)
    except StopIteration as stop:
        return int(stop.value)


@contextmanager
def count_errors(metrics: ErrorMetrics) -> Iterator[None]:
    """Count an error that the routing raises. The executor counts its own errors."""
    try:
        yield
    except StatefulError as error:
        metrics.record(error)
        raise


def time_left(timeout: float | None) -> TimeLeft:
    """Return a function that returns the seconds left of ``timeout``, or ``None`` for no limit.

    The function raises `OperationTimeoutError` when the time is up.

    Raises:
        InvalidParameterError: the timeout is not a number of seconds above 0.
    """
    if timeout is None:
        return _no_limit
    end = deadline.monotonic() + check_timeout(timeout)

    def left() -> float:
        rest = end - deadline.monotonic()
        if rest <= 0:
            raise OperationTimeoutError("resolve did not finish in time; no request is in flight")
        return rest

    return left


def _no_limit() -> None:
    return None
