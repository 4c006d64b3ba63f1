"""Whether concurrent operations on links happened as if one after the other.

A history is what clients saw: for every operation when it was called, when it returned, and what.
It is linearizable if each operation can be given one moment between its call and its return such
that, done in the order of these moments, one by one, all of them return what they did. Links of
different uids, or to different services, have nothing to do with each other, so each is checked by
itself.

The search is Wing and Gong's, with Lowe's memory of what has been tried: next comes any operation
that was called before the first of those left returned; a set of operations done that has led to
the same link before need not be tried again.

An operation whose outcome is unknown (a timeout) may have been done at any moment after its call,
or never. Links must not expire during a history: the model here knows no time.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

from podlink import ErrorCode, StatefulError

Subject = tuple[str, str, str]
"""Namespace, uid and service: whose link."""


class State(NamedTuple):
    """A link: its pod, and whether the pod owns the uid."""

    pod: int
    persistent: bool


Link = State | None


@dataclass(frozen=True, slots=True)
class Event:
    """One operation as its caller saw it.

    Attributes:
        subject: whose link.
        operation: the name.
        arguments: those after the service: pods, and seconds last if they were given.
        called, returned: any clock that all callers share.
        result: what it returned. Of no meaning if the outcome is unknown.
        unknown: whether it may have been done at any time after its call, or never.
    """

    subject: Subject
    operation: str
    arguments: tuple[int, ...]
    called: float
    returned: float
    result: Any = None
    unknown: bool = False


class NotLinearizable(AssertionError):
    """There is no order in which these operations return what they did."""


def check(history: Iterable[Event]) -> int:
    """Check every link of a history.

    Returns:
        How many operations were checked.

    Raises:
        NotLinearizable: of some link, no order explains what was seen; its events are shown.
    """
    by_subject: dict[Subject, list[Event]] = defaultdict(list)
    for event in history:
        by_subject[event.subject].append(event)
    for subject, events in by_subject.items():
        if not is_linearizable(events):
            shown = "\n".join(f"  {event}" for event in sorted(events, key=lambda e: e.called)[:50])
            raise NotLinearizable(f"the operations on {subject} have no order:\n{shown}")
    return sum(map(len, by_subject.values()))


def is_linearizable(events: Sequence[Event]) -> bool:
    """Whether the operations on one link, absent at first, can be put in order."""
    ordered = sorted(events, key=lambda event: event.called)
    returns = [math.inf if event.unknown else event.returned for event in ordered]
    must = sum(1 << i for i, event in enumerate(ordered) if not event.unknown)
    tried: set[tuple[int, Hashable]] = set()
    stack: list[tuple[int, Link]] = [(0, None)]
    while stack:
        done, link = stack.pop()
        if done & must == must:
            return True
        if (done, link) in tried:
            continue
        tried.add((done, link))
        for place in _next(ordered, returns, done):
            event = ordered[place]
            after, result = apply(link, event.operation, event.arguments)
            if event.unknown or result == event.result:
                stack.append((done | 1 << place, after))
    return False


def _next(ordered: Sequence[Event], returns: Sequence[float], done: int) -> list[int]:
    """The operations that may come next: called before any other that is left returned."""
    candidates: list[int] = []
    first_return = math.inf
    # All before the lowest bit that is not set have been done.
    place = (~done & (done + 1)).bit_length() - 1
    while place < len(ordered) and ordered[place].called <= first_return:
        if not done >> place & 1:
            candidates.append(place)
            first_return = min(first_return, returns[place])
        place += 1
    return [place for place in candidates if ordered[place].called <= first_return]


def apply(link: Link, operation: str, arguments: tuple[int, ...]) -> tuple[Link, Any]:
    """The link and the result after an operation: the transition table, without time."""
    return _OPERATIONS[operation](link, *arguments)


def _made(pod: int, seconds: int) -> State:
    return State(pod, seconds == -1)


def _pod(link: Link) -> int | None:
    return None if link is None else link.pod


def _set(link: Link, pod: int, seconds: int = -1) -> tuple[Link, Any]:
    return _made(pod, seconds), _pod(link)


def _try_set(link: Link, pod: int, seconds: int = -1) -> tuple[Link, Any]:
    if link is not None and link.persistent and link.pod != pod:
        return link, (False, link.pod)
    return _made(pod, seconds), (True, pod)


def _set_if_absent(link: Link, pod: int, seconds: int = -1) -> tuple[Link, Any]:
    return (_made(pod, seconds), pod) if link is None else (link, link.pod)


def _create(link: Link, pod: int, seconds: int = -1) -> tuple[Link, Any]:
    return (_made(pod, seconds), pod) if link is None else (link, (ErrorCode.LINK_EXISTS, link.pod))


def _replace(link: Link, expected: int, pod: int, seconds: int = -1) -> tuple[Link, Any]:
    if _pod(link) != expected:
        return link, (False, _pod(link))
    return _made(pod, seconds), (True, pod)


def _refresh(link: Link, pod: int, seconds: int) -> tuple[Link, Any]:
    return link, _pod(link) == pod


def _get(link: Link) -> tuple[Link, Any]:
    return link, _pod(link)


def _get_if_persist(link: Link) -> tuple[Link, Any]:
    return link, link.pod if link is not None and link.persistent else None


def _remove(link: Link, seconds: int = -1) -> tuple[Link, Any]:
    left = None if link is None or seconds == -1 else State(link.pod, False)
    return left, link is not None


def _remove_with_id(link: Link, pod: int, seconds: int = -1) -> tuple[Link, Any]:
    if link is not None and link.pod != pod:
        return link, False
    return _remove(link, seconds)


_OPERATIONS: dict[str, Callable[..., tuple[Link, Any]]] = {
    "set_linked_pod": _set,
    "try_set_linked_pod": _try_set,
    "set_linked_pod_if_absent": _set_if_absent,
    "create_linked_pod": _create,
    "replace_linked_pod": _replace,
    "refresh_linked_pod": _refresh,
    "get_linked_pod": _get,
    "get_linked_pod_if_persist": _get_if_persist,
    "remove_linked_pod": _remove,
    "remove_linked_pod_with_id": _remove_with_id,
}


class Recorder:
    """Notes what one caller does and sees. Each caller has its own; put their events together.

    ``call`` and ``acall`` take an executor's method by name and its arguments in the order of the
    contract, with the seconds last, and return what the method returned.
    """

    def __init__(self, executor: Any) -> None:
        self.executor = executor
        self.events: list[Event] = []

    def call(self, operation: str, subject: Subject, *arguments: int) -> Any:
        """Do an operation, with a synchronous executor."""
        positional, named = _as_called(operation, arguments)
        called = perf_counter()
        try:
            result = getattr(self.executor, operation)(*subject, *positional, **named)
        except StatefulError as error:
            return self._failed(subject, operation, arguments, called, error)
        return self._note(subject, operation, arguments, called, result)

    async def acall(self, operation: str, subject: Subject, *arguments: int) -> Any:
        """Do an operation, with an asyncio executor."""
        positional, named = _as_called(operation, arguments)
        called = perf_counter()
        try:
            result = await getattr(self.executor, operation)(*subject, *positional, **named)
        except StatefulError as error:
            return self._failed(subject, operation, arguments, called, error)
        return self._note(subject, operation, arguments, called, result)

    def _note(self, *what: Any) -> Any:
        subject, operation, arguments, called, result = what
        seen = tuple(result) if isinstance(result, tuple) else result
        self.events.append(Event(subject, operation, arguments, called, perf_counter(), seen))
        return result

    def _failed(
        self,
        subject: Subject,
        operation: str,
        arguments: tuple[int, ...],
        called: float,
        error: StatefulError,
    ) -> None:
        if error.code is ErrorCode.LINK_EXISTS:
            result = (error.code, getattr(error, "pod_id", None))
            self._note(subject, operation, arguments, called, result)
        elif error.outcome_unknown:
            event = Event(subject, operation, arguments, called, math.inf, unknown=True)
            self.events.append(event)


_PODS = {"replace_linked_pod": 2, "refresh_linked_pod": 1, "remove_linked_pod_with_id": 1}


def _as_called(
    operation: str, arguments: tuple[int, ...]
) -> tuple[tuple[int, ...], dict[str, int]]:
    """Positional arguments, and the seconds by name."""
    makes_a_link = operation.startswith(("set_", "try_", "create_"))
    pods = _PODS.get(operation, 1 if makes_a_link else 0)
    named = {"persist_seconds": arguments[pods]} if len(arguments) > pods else {}
    return arguments[:pods], named
