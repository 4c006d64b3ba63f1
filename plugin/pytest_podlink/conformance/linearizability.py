"""Checks whether concurrent operations on links are linearizable.

A history lists the operations of all clients: when each was called, when it returned, and its
result. It is linearizable if each operation can be assigned a point in time between its call and
its return, such that the operations, applied one by one in that order, give the same results.
Links of different uids or services are independent, so each link is checked alone.

An operation with unknown outcome (a timeout, a broken connection, a cancelled task) may have been
applied at any time after its call, or never. Links must not expire during a history: the checker
has no clock.

The search is Wing and Gong's with Lowe's cache: the next operation is any that was called before
the first of the remaining ones returned, and a search state that was seen before is not searched
again. A search state is the set of operations with known outcome that were applied, the link, and
how many unknown ones of each kind (operation and arguments) were applied. Four rules keep the
number of states small when hundreds of outcomes are unknown; each drops only states from which
nothing can be reached that another state does not reach as well:

1. An operation that returns what was seen, and never changes a link when it returns that, is
   applied at once (reads, refused writes).
2. Of two states that differ only in the unknown operations applied, one that has applied fewer of
   each kind replaces the other. Unknown operations are never applied without a change.
3. Where several kinds make the same change, a kind whose every change another one can make too is
   used before that other one (`create_linked_pod` before `set_linked_pod`).
4. After an unknown operation, another one follows only if it could not have made its change without
   the first.

How often a kind can be applied rarely matters, so counts are kept only where they do. The first
search takes every unknown operation as repeatable. If it finds no order, there is none. If it finds
one that applies no kind more often than it was called, that order is right. Otherwise the search is
repeated with counts for the kinds that were applied too often.

The problem is NP-complete: after `max_steps` the search gives up, and the history is undecided.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, NamedTuple

from podlink import ErrorCode, LinkExistsError, StatefulError

Subject = tuple[str, str, str]
"""Namespace, uid and service of a link."""


class State(NamedTuple):
    """A link: its pod, and whether the pod owns the uid."""

    pod: int
    persistent: bool


Link = State | None


@dataclass(frozen=True, slots=True)
class Event:
    """One operation as its caller saw it.

    Attributes:
        subject: namespace, uid and service of the link.
        operation: the name.
        arguments: those after the service: pods, and seconds last if they were given.
        called, returned: times of a clock that all callers share.
        result: what it returned; ignored if the outcome is unknown.
        unknown: whether it may have been applied at any time after its call, or never.
    """

    subject: Subject
    operation: str
    arguments: tuple[int, ...]
    called: float
    returned: float
    result: Any = None
    unknown: bool = False


MAX_STEPS = 3_000_000
"""Limit of transitions in the search for one link; it is reached after some seconds."""


class NotLinearizable(AssertionError):
    """No order of these operations gives the observed results."""


class HistoryUndecided(AssertionError):
    """The search reached `max_steps` without a decision."""


def check(history: Iterable[Event], *, max_steps: int = MAX_STEPS) -> int:
    """Check every link of a history.

    Returns:
        How many operations were checked.

    Raises:
        NotLinearizable: for some link no order gives the observed results; the message shows the
            operations around the point where the search failed.
        HistoryUndecided: the search gave up for some link, and found no error in the others.
    """
    by_subject: dict[Subject, list[Event]] = defaultdict(list)
    for event in history:
        by_subject[event.subject].append(event)
    undecided: HistoryUndecided | None = None
    for subject, events in by_subject.items():
        search = _Search(events, max_steps)
        try:
            found = search.decide()
        except HistoryUndecided as error:
            undecided = undecided or error
            continue
        if not found:
            raise NotLinearizable(
                f"operations on {subject} are not linearizable: {search.report()}"
            )
    if undecided is not None:
        raise undecided
    return sum(map(len, by_subject.values()))


def is_linearizable(events: Sequence[Event], *, max_steps: int = MAX_STEPS) -> bool:
    """Whether the operations on one link, absent at first, can be put in order.

    Raises:
        HistoryUndecided: the search gave up.
    """
    return _Search(events, max_steps).decide()


def _changes_nothing(event: Event) -> bool:
    """Whether an operation that returned this cannot have changed the link."""
    if event.operation.startswith(("get_", "refresh_")):
        return True
    first = event.result[0] if isinstance(event.result, tuple) else event.result
    return first is ErrorCode.LINK_EXISTS or (
        first is False and event.operation.startswith(("try_", "replace_", "move_", "remove_"))
    )


class _Kind:
    """The unknown operations of a history that have the same name and arguments."""

    def __init__(self, operation: str, arguments: tuple[int, ...]) -> None:
        self.operation = operation
        self.arguments = arguments
        self.called: list[float] = []
        self.depends_on_link = not (
            operation == "set_linked_pod" or (operation == "remove_linked_pod" and -1 in arguments)
        )
        self.shift = self.mask = 0
        self._after: dict[Link, Link] = {}
        self._changes: frozenset[tuple[Link, Link]] | None = None

    def after(self, link: Link) -> Link:
        """The link after one of them."""
        if link not in self._after:
            self._after[link] = apply(link, self.operation, self.arguments)[0]
        return self._after[link]

    def changes(self, links: Sequence[Link]) -> frozenset[tuple[Link, Link]]:
        """Every change of a link that it makes."""
        if self._changes is None:
            made = ((link, self.after(link)) for link in links)
            self._changes = frozenset(change for change in made if change[0] != change[1])
        return self._changes


class _Candidate(NamedTuple):
    """A kind that makes a certain change, and the kinds to be used before it (rule 3)."""

    kind: _Kind
    weaker: list[_Kind]


class _Node(NamedTuple):
    """A state of the search.

    Attributes:
        done: the known operations that were applied, as bits.
        link: the link after them.
        used: how many unknown ones were applied: a bit field per kind.
        overused: the kinds that were applied more often than they were called, as bit fields.
        before: the link before the last operation if that was an unknown one, else `_KNOWN`.
    """

    done: int
    link: Link
    used: int
    overused: int
    before: Any


_KNOWN = object()


class _Search:
    """A depth-first search for an order of the operations on one link."""

    def __init__(self, events: Sequence[Event], max_steps: int) -> None:
        self.events = events
        self.known = sorted((e for e in events if not e.unknown), key=lambda event: event.called)
        self._cannot_change = [_changes_nothing(event) for event in self.known]
        self.kinds = self._kinds([event for event in events if event.unknown])
        pods = {pod for event in events for pod in event.arguments[: _pods_of(event.operation)]}
        kept = True, False
        self.links: list[Link] = [None, *(State(pod, k) for pod in sorted(pods) for k in kept)]
        self.steps = 0
        self._max_steps = max_steps
        self._candidates_by_link: dict[Link, list[tuple[Link, list[_Candidate]]]] = {}
        self._can_help: dict[Link, bool] = {}
        self._counted = 0
        self._best = _Node(0, None, 0, 0, _KNOWN)

    def _kinds(self, unknown: Sequence[Event]) -> list[_Kind]:
        kinds: dict[tuple[str, tuple[int, ...]], _Kind] = {}
        for event in sorted(unknown, key=lambda event: event.called):
            name = event.operation, event.arguments
            kind = kinds.setdefault(name, _Kind(*name))
            kind.called.append(event.called)
        # One bit more than the largest number needs: it takes the borrow when two are compared.
        width = max((len(kind.called) for kind in kinds.values()), default=0).bit_length() + 1
        for place, kind in enumerate(kinds.values()):
            kind.shift = width * place
            kind.mask = (1 << width) - 1 << kind.shift
        self._guards = sum(1 << kind.shift + width - 1 for kind in kinds.values())
        return list(kinds.values())

    def decide(self) -> bool:
        """Whether there is an order.

        Raises:
            HistoryUndecided: that took more steps than allowed.
        """
        while True:
            end = self._run()
            if end is None:
                return False
            if not end.overused:
                return True
            self._counted |= end.overused

    def _run(self) -> _Node | None:
        """Search for an order with what is counted so far: its end, or None if there is none."""
        all_done = (1 << len(self.known)) - 1
        guards = self._guards & self._counted
        seen: dict[tuple[int, Link], list[int]] = {}
        stack = [_Node(0, None, 0, 0, _KNOWN)]
        while stack:
            node = stack.pop()
            node, candidates, first_return = self._apply_unchanging(node)
            if node.done == all_done:
                return node
            if self.steps > self._max_steps:
                raise self._undecided()
            counts = node.used & self._counted
            tried = seen.setdefault((node.done, node.link), [])
            self.steps += 1 + len(tried)
            if any((counts | guards) - less & guards == guards for less in tried):
                continue
            tried.append(counts)
            if node.done.bit_count() >= self._best.done.bit_count():
                self._best = node
            if self.kinds:
                stack += self._unknown_next(node, candidates, first_return)
            for place in candidates:
                event = self.known[place]
                after, result = apply(node.link, event.operation, event.arguments)
                if result == event.result:
                    done = node.done | 1 << place
                    stack.append(_Node(done, after, node.used, node.overused, _KNOWN))
        return None

    def _apply_unchanging(self, node: _Node) -> tuple[_Node, list[int], float]:
        """Rule 1. Also gives the known operations that may come next, and the first return."""
        while True:
            candidates, first_return = self._candidates(node.done)
            self.steps += len(candidates)
            for place in candidates:
                event = self.known[place]
                if (
                    self._cannot_change[place]
                    and apply(node.link, event.operation, event.arguments)[1] == event.result
                ):
                    node = node._replace(done=node.done | 1 << place, before=_KNOWN)
                    break
            else:
                return node, candidates, first_return

    def _candidates(self, done: int) -> tuple[list[int], float]:
        candidates: list[int] = []
        first_return = math.inf
        # All before the lowest bit that is not set have been applied.
        place = (~done & (done + 1)).bit_length() - 1
        while place < len(self.known) and self.known[place].called <= first_return:
            if not done >> place & 1:
                candidates.append(place)
                first_return = min(first_return, self.known[place].returned)
            place += 1
        return [p for p in candidates if self.known[p].called <= first_return], first_return

    def _unknown_next(self, node: _Node, candidates: list[int], first_return: float) -> list[_Node]:
        """The states after one more unknown operation, the most promising last."""
        found: list[tuple[bool, int, _Node]] = []

        def left(kind: _Kind) -> int:
            called = bisect_right(kind.called, first_return)
            return called - ((node.used & kind.mask) >> kind.shift)

        def usable(kind: _Kind) -> bool:
            return kind.called[0] <= first_return and (
                not self._counted & kind.mask or left(kind) > 0
            )

        for target, ways in self._unknown_candidates(node.link):
            if node.before is not _KNOWN:
                ways = [way for way in ways if way.kind.after(node.before) != target]
            self.steps += 1
            if not ways:
                continue
            enables = any(
                apply(target, event.operation, event.arguments)[1] == event.result
                for event in map(self.known.__getitem__, candidates)
            )
            if not enables and not self._enables_change(target):
                continue
            for kind, weaker in ways:
                self.steps += 1
                if not usable(kind) or any(map(usable, weaker)):
                    continue
                used, overused, count = node.used, node.overused, left(kind)
                if count > 0:
                    used += 1 << kind.shift
                else:
                    overused |= kind.mask
                after = _Node(node.done, target, used, overused, node.link)
                found.append((enables, count, after))
        found.sort(key=lambda each: each[:2])
        return [after for _, _, after in found]

    def _unknown_candidates(self, link: Link) -> list[tuple[Link, list[_Candidate]]]:
        """Every link that an unknown operation makes of this one, and the kinds that do so."""
        if link not in self._candidates_by_link:
            self.steps += len(self.kinds)
            by_target: dict[Link, list[_Kind]] = defaultdict(list)
            for kind in self.kinds:
                target = kind.after(link)
                if target != link:
                    by_target[target].append(kind)
            self._candidates_by_link[link] = [
                (to, self._ranked(kinds)) for to, kinds in by_target.items()
            ]
        return self._candidates_by_link[link]

    def _ranked(self, kinds: list[_Kind]) -> list[_Candidate]:
        if len(kinds) == 1:
            return [_Candidate(kinds[0], [])]
        ranked = sorted(kinds, key=lambda kind: len(kind.changes(self.links)))
        return [
            _Candidate(
                kind, [w for w in ranked[:i] if w.changes(self.links) <= kind.changes(self.links)]
            )
            for i, kind in enumerate(ranked)
        ]

    def _enables_change(self, link: Link) -> bool:
        """Whether an unknown operation can make a change here that it may not make elsewhere."""
        if link not in self._can_help:
            ways = (way for _, ways in self._unknown_candidates(link) for way in ways)
            self._can_help[link] = any(way.kind.depends_on_link for way in ways)
        return self._can_help[link]

    def _undecided(self) -> HistoryUndecided:
        return HistoryUndecided(
            f"undecided: {len(self.events)} operations on {self.events[0].subject}, "
            f"{len(self.events) - len(self.known)} of them with unknown outcome, were not decided "
            f"in {self._max_steps:,} steps; record fewer on one link, or raise max_steps"
        )

    def report(self) -> str:
        """Describe the search state in which most operations were applied."""
        done = self._best.done
        candidates, _ = self._candidates(done)
        before = [event for place, event in enumerate(self.known) if done >> place & 1]
        unknown = [(kind.operation, kind.arguments, len(kind.called)) for kind in self.kinds]
        lines = [
            f"after {len(before)} of {len(self.known)} operations the link is "
            f"{self._best.link}, and none of these returned what it would return then:",
            *(f"  {self.known[place]}" for place in candidates),
            "before them:",
            *(f"  {event}" for event in before[-20:]),
            "with unknown outcome:",
            *(f"  {operation}{arguments}: {n}" for operation, arguments, n in unknown[:50]),
        ]
        return "\n".join(lines)


def apply(link: Link, operation: str, arguments: tuple[int, ...]) -> tuple[Link, Any]:
    """The link and the result after an operation: the transition table, without time."""
    return _OPERATIONS[operation](link, *arguments)


def _linked(pod: int, seconds: int) -> State:
    return State(pod, seconds == -1)


def _pod(link: Link) -> int | None:
    return None if link is None else link.pod


def _set(link: Link, pod: int, seconds: int = -1) -> tuple[Link, Any]:
    return _linked(pod, seconds), _pod(link)


def _try_set(link: Link, pod: int, seconds: int = -1) -> tuple[Link, Any]:
    if link is not None and link.persistent and link.pod != pod:
        return link, (False, link.pod)
    return _linked(pod, seconds), (True, pod)


def _set_if_absent(link: Link, pod: int, seconds: int = -1) -> tuple[Link, Any]:
    return (_linked(pod, seconds), pod) if link is None else (link, link.pod)


def _create(link: Link, pod: int, seconds: int = -1) -> tuple[Link, Any]:
    return (
        (_linked(pod, seconds), pod) if link is None else (link, (ErrorCode.LINK_EXISTS, link.pod))
    )


def _replace(link: Link, expected: int, pod: int, seconds: int = -1) -> tuple[Link, Any]:
    if _pod(link) != expected:
        return link, (False, _pod(link))
    return _linked(pod, seconds), (True, pod)


def _move(link: Link, expected: int, pod: int) -> tuple[Link, Any]:
    """What `drain_pod` does to a link if it moves it."""
    if link is None or link.pod != expected:
        return link, False
    return State(pod, link.persistent), True


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
    "move_linked_pod": _move,
    "refresh_linked_pod": _refresh,
    "get_linked_pod": _get,
    "get_linked_pod_if_persist": _get_if_persist,
    "remove_linked_pod": _remove,
    "remove_linked_pod_with_id": _remove_with_id,
}


class Recorder:
    """Records the operations of one caller. Each caller has its own; put their events together.

    ``call`` and ``acall`` take an executor's method by name and its arguments in the order of the
    contract, with the seconds last. They return what the method returned, or None if it raised a
    `StatefulError`. Any other exception (a cancelled task) is recorded as an unknown outcome and
    raised. ``options`` are passed to the method.
    """

    def __init__(self, executor: Any) -> None:
        self.executor = executor
        self.events: list[Event] = []

    def call(self, operation: str, subject: Subject, *arguments: int, **options: Any) -> Any:
        """Call and record an operation of a synchronous executor."""
        positional, named = _split_arguments(operation, arguments)
        called = perf_counter()
        try:
            result = getattr(self.executor, operation)(*subject, *positional, **named, **options)
        except BaseException as error:
            return self._record_error(error, Event(subject, operation, arguments, called, math.inf))
        return self._record(subject, operation, arguments, called, result)

    async def acall(self, operation: str, subject: Subject, *arguments: int, **options: Any) -> Any:
        """Call and record an operation of an asyncio executor."""
        positional, named = _split_arguments(operation, arguments)
        called = perf_counter()
        try:
            method = getattr(self.executor, operation)
            result = await method(*subject, *positional, **named, **options)
        except BaseException as error:
            return self._record_error(error, Event(subject, operation, arguments, called, math.inf))
        return self._record(subject, operation, arguments, called, result)

    def _record(self, *what: Any) -> Any:
        subject, operation, arguments, called, result = what
        seen = tuple(result) if isinstance(result, tuple) else result
        self.events.append(Event(subject, operation, arguments, called, perf_counter(), seen))
        return result

    def _record_error(self, error: BaseException, event: Event) -> None:
        if isinstance(error, LinkExistsError):
            result = (error.code, error.pod_id)
            self._record(event.subject, event.operation, event.arguments, event.called, result)
            return
        if not isinstance(error, StatefulError) or error.outcome_unknown:
            self.events.append(replace(event, unknown=True))
        if not isinstance(error, StatefulError):
            raise error


def _pods_of(operation: str) -> int:
    """How many of an operation's arguments are pods; they come first."""
    if operation in ("replace_linked_pod", "move_linked_pod"):
        return 2
    return int(
        operation.startswith(("set_", "try_", "create_", "refresh_")) or "_with_" in operation
    )


def _split_arguments(
    operation: str, arguments: tuple[int, ...]
) -> tuple[tuple[int, ...], dict[str, int]]:
    """Positional arguments, and the seconds by name."""
    pods = _pods_of(operation)
    named = {"persist_seconds": arguments[pods]} if len(arguments) > pods else {}
    return arguments[:pods], named
