"""What chaos calls, and what each call says about each link that it is about.

The checker knows operations on one link. A batch is one operation for each of its uids, a drain is
one compare-and-set for each link of the pod, and a router reads and writes with an executor whose
operations are recorded too.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any
from unittest.mock import ANY

from podlink import DrainProgress, LinkExistsError, StatefulError
from podlink.drain import PAGE
from pytest_podlink.conformance.linearizability import Event, Subject

Part = tuple[Subject, str, tuple[int, ...]]
"""A link, the operation of the checker on it, and its arguments."""

UNKNOWN = object()
"""The result of an operation that may have been done, or may yet be."""


@dataclass
class Step:
    """One call of an executor's or router's method.

    Attributes:
        name: the method.
        args, named: its arguments.
        parts: what it does to each link.
        read: the events of a result, without their times: for each of ``parts`` that something is
            known about, the operation, its arguments and its result.
        earlier: seconds before the call at which the result may have been true.
    """

    name: str
    args: tuple[Any, ...]
    named: dict[str, Any]
    parts: Sequence[Part]
    read: Callable[[Any], list[tuple[Part, Any]]]
    earlier: float = 0.0


def one(name: str, subject: Subject, *arguments: int, seconds: int | None = None) -> Step:
    """An operation on one link; ``seconds`` is its argument ``persist_seconds``."""
    named = {} if seconds is None else {"persist_seconds": seconds}
    part = (subject, name, (*arguments, *named.values()))

    def read(result: Any) -> list[tuple[Part, Any]]:
        return [(part, tuple(result) if isinstance(result, tuple) else result)]

    return Step(name, (*subject, *arguments), named, [part], read)


def refresh(subject: Subject, pod: int) -> Step:
    """`refresh_linked_pod`, whose seconds have no default."""
    part: Part = (subject, "refresh_linked_pod", (pod, 3600))
    return Step(
        "refresh_linked_pod", (*subject, pod, 3600), {}, [part], lambda result: [(part, result)]
    )


def batch(name: str, subjects: Sequence[Subject], *arguments: int, seconds: int = -1) -> Step:
    """`batch_get_linked_pod`, `batch_set_linked_pod_if_absent` or `batch_remove_linked_pod`."""
    namespace, _, service = subjects[0]
    uids = [uid for _, uid, _ in subjects]
    named = {} if name == "batch_get_linked_pod" else {"persist_seconds": seconds}
    single = name.removeprefix("batch_")
    parts = [(subject, single, (*arguments, *named.values())) for subject in subjects]

    def read(result: Any) -> list[tuple[Part, Any]]:
        if name == "batch_remove_linked_pod":
            return [(part, part[0][1] in result) for part in parts]
        pods = {uid: pod for pod, linked in result.items() for uid in linked}
        return [(part, pods.get(part[0][1])) for part in parts]

    return Step(name, (namespace, uids, service, *arguments), named, parts, read)


def drain(subject: Subject, pod: int, to: int | None, nodes: int, excused: Counter[str]) -> Step:
    """`drain_pod` of a pod that no uid was ever linked to but this one.

    If it finds no link, there was a moment at which the uid was not linked to the pod: SCAN returns
    each key that is there all the time. A server that fails between two pages of a scan is excused
    from that.
    """
    operation = ("remove_linked_pod_with_id", (pod, -1))
    if to is not None:
        operation = ("move_linked_pod", (pod, to))
    part = (subject, *operation)

    def read(result: DrainProgress) -> list[tuple[Part, Any]]:
        if result.failed:
            failure = result.failures[0][1]
            return [(part, UNKNOWN)] if getattr(failure, "outcome_unknown", True) else []
        if result.done or result.changed:
            return [(part, bool(result.done))]
        if result.scanned > PAGE * nodes:
            excused["drains of several pages that found nothing"] += 1
            return []
        return [((subject, "refresh_linked_pod", (pod, 3600)), False)]

    return Step("drain_pod", (subject[0], subject[2], pod, to), {}, [part], read)


def resolve(subject: Subject, staleness: float) -> Step:
    """`resolve` of a router: the pod of the uid at some moment, or that much earlier."""
    part: Part = (subject, "get_linked_pod", ())
    return Step("resolve", subject, {}, [part], lambda pod: [(part, pod)], staleness)


@dataclass
class History:
    """What one caller saw.

    Attributes:
        events: for the checker.
        refused: the pods that calls wanted to write which were not done, with their errors: a link
            to one of them was written by a call that denied it.
    """

    events: list[Event] = field(default_factory=list)
    refused: list[tuple[Part, str]] = field(default_factory=list)

    @contextlib.contextmanager
    def record(self, step: Step) -> Iterator[list[Any]]:
        """Record a call; its result is appended to what this gives."""
        called = perf_counter()
        results: list[Any] = []
        try:
            yield results
        except BaseException as error:
            self._failed(step, called, error)
            raise
        returned = perf_counter()
        for part, result in step.read(results[0]):
            if result is UNKNOWN:
                self.events.append(Event(*part, called, math.inf, unknown=True))
            else:
                self.events.append(Event(*part, called - step.earlier, returned, result))

    def _failed(self, step: Step, called: float, error: BaseException) -> None:
        if step.name == "resolve":
            return  # what its executor did is recorded
        undone = getattr(error, "undone", ())
        partly = step.name.startswith("batch_") and undone
        known = isinstance(error, StatefulError) and not error.outcome_unknown
        for part in step.parts:
            (_, uid, _), operation, _ = part
            if isinstance(error, LinkExistsError):
                seen = (error.code, error.pod_id)
                self.events.append(Event(*part, called, perf_counter(), seen))
            elif operation.startswith("get_"):
                pass
            elif partly and uid not in undone:
                # The operation was done, and its result is lost with the error.
                self.events.append(Event(*part, called, perf_counter(), ANY))
            elif known and step.name != "drain_pod":
                self.refused.append((part, repr(error)))
            else:
                self.events.append(Event(*part, called, math.inf, unknown=True))


class Recorded:
    """An executor for a router: the operations on links are recorded, the rest passes through."""

    def __init__(self, executor: Any, history: History) -> None:
        self._executor = executor
        self._history = history

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._executor, name)
        if not name.endswith("linked_pod") and not name.endswith("if_absent"):
            return method

        def step(namespace: str, uid: str, service: str, *pods: int, **named: Any) -> Step:
            return one(name, (namespace, uid, service), *pods, seconds=named.get("persist_seconds"))

        def call(*args: Any, **named: Any) -> Any:
            with self._history.record(step(*args, **named)) as results:
                results.append(method(*args, **named))
            return results[0]

        async def acall(*args: Any, **named: Any) -> Any:
            with self._history.record(step(*args, **named)) as results:
                results.append(await method(*args, **named))
            return results[0]

        return acall if asyncio.iscoroutinefunction(method) else call
