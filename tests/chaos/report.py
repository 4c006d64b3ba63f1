"""Runs load and faults on one topology, and reports what was wrong."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import redis

from podlink import RedisConfig, StatefulExecutor
from pytest_podlink.conformance.linearizability import (
    Event,
    HistoryUndecided,
    NotLinearizable,
    Recorder,
    Subject,
    check,
)
from tests.chaos.history import Part
from tests.chaos.load import Load
from tests.chaos.schedule import Fault, schedule
from tests.chaos.worlds import WORLDS


@dataclass
class Report:
    """The findings of a run. The run is good if all lists are empty."""

    topology: str
    seed: int
    operations: int = 0
    unknown: int = 0
    unplanned: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    excuses: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing was wrong and at least one operation was done."""
        found = self.wrong, self.lost, self.undecided, self.hung, self.unexpected
        return not any(found) and self.operations > 0

    def __str__(self) -> str:
        lines = [
            f"{self.topology}: redis-py {redis.__version__}, seed {self.seed}",
            f"  operations {self.operations}, unknown outcomes {self.unknown}, "
            f"wrong answers {len(self.wrong)}, lost links {len(self.lost)}, "
            f"hung calls {len(self.hung)}, unexpected errors {len(self.unexpected)}, "
            f"undecided links {len(self.undecided)}, unplanned failovers {self.unplanned}",
            f"  calls: {_counts(self.calls)}",
            f"  faults: {_counts(self.faults)}",
            f"  errors: {_counts(self.errors)}",
            f"  excused: {_counts(self.excused)}",
        ]
        for name in ("wrong", "lost", "undecided", "hung", "unexpected", "excuses"):
            lines += [f"  {name}: {text[:6000]}" for text in getattr(self, name)[:2]]
        return "\n".join(lines)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items())) or "none"


ATTEMPTS = 3


def run(topology: str, seed: int, seconds: float) -> Report:
    """Put load on a topology for ``seconds`` while the faults of the seed are injected.

    An attempt with wrong answers or lost links in which Redis failed over without being asked
    proves nothing: it is excused, and repeated. The last of `ATTEMPTS` is not.
    """
    excused: Counter[str] = Counter()
    excuses: list[str] = []
    for attempt in range(1, ATTEMPTS + 1):
        report = run_once(topology, seed, seconds)
        if not report.unplanned or not (report.wrong or report.lost):
            break
        if attempt < ATTEMPTS:
            excused["attempts with unplanned failovers"] += 1
            excused["wrong answers in such attempts"] += len(report.wrong)
            excused["lost links in such attempts"] += len(report.lost)
            excuses += [f"attempt {attempt}: {text}" for text in (*report.wrong, *report.lost)[:1]]
    report.excused += excused
    report.excuses = excuses
    return report


def run_once(topology: str, seed: int, seconds: float) -> Report:
    """Do one attempt of `run`."""
    world = WORLDS[topology]()
    try:
        load = Load(world.url, seed, world.masters)
        load.start()
        report = Report(topology, seed)
        try:
            _inject(world.inject, schedule(seed, topology, seconds), seconds, report)
        finally:
            load.stop()
        world.heal()
        planned = report.faults["failover"] + report.faults["kill"] * (topology != "standalone")
        report.unplanned = max(0, world.failovers() - planned)
        report.hung, report.unexpected = load.hung, load.unexpected
        report.calls, report.errors, report.excused = load.calls, load.errors, load.excused
        judge(report, load.events, lambda subjects: read_all(load.config, subjects), load.refused)
        return report
    finally:
        world.close()


def _inject(
    inject: Callable[[Fault], None], faults: list[Fault], seconds: float, report: Report
) -> None:
    started = time.monotonic()
    for fault in [*faults, None]:
        at = seconds if fault is None else fault.at
        time.sleep(max(0.0, started + at - time.monotonic()))
        if fault is None or time.monotonic() > started + seconds:
            return
        inject(fault)
        report.faults[fault.kind] += 1


def read_all(
    config: RedisConfig, subjects: Iterable[Subject]
) -> tuple[list[Event], dict[Subject, Any]]:
    """Read every link and its index entry after all faults have ended."""
    with StatefulExecutor(config) as executor:
        recorder, index = Recorder(executor), {}
        for subject in subjects:
            recorder.call("get_linked_pod", subject, timeout=30.0)
            recorder.call("get_linked_pod_if_persist", subject, timeout=30.0)
            index[subject] = executor.get_link_service(*subject[:2], timeout=30.0)
        return recorder.events, index


def judge(
    report: Report,
    events: list[Event],
    read: Callable[[Iterable[Subject]], tuple[list[Event], dict[Subject, Any]]],
    refused: Iterable[tuple[Part, str]] = (),
) -> None:
    """Record the results that no order of the operations explains.

    A history that is right without the reads at the end, and wrong with them, has lost a link; or a
    write that was done although its error denied it shows for the first time. The text names the
    error then.
    """
    denials: dict[Subject, list[tuple[Part, str]]] = defaultdict(list)
    for part, error_text in refused:
        denials[part[0]].append((part, error_text))
    by_subject: dict[Subject, list[Event]] = defaultdict(list)
    for event in events:
        by_subject[event.subject].append(event)
    finally_read, index = read(by_subject)
    report.operations = len(events)
    report.unknown = sum(event.unknown for event in events)
    for subject, history in by_subject.items():
        last = [event for event in finally_read if event.subject == subject]
        owner = next(e.result for e in last if e.operation == "get_linked_pod_if_persist")
        if index[subject] != ({} if owner is None else {subject[2]: owner}):
            report.wrong.append(f"{subject}: owner {owner}, index {index[subject]}")
        try:
            check(history)
        except NotLinearizable as error:
            report.wrong.append(f"{error}{_denied(denials[subject], history)}")
            continue
        except HistoryUndecided as error:
            report.undecided.append(str(error))
            continue
        try:
            check([*history, *last])
        except NotLinearizable as error:
            report.lost.append(f"{error}{_denied(denials[subject], last)}")
        except HistoryUndecided as error:
            report.undecided.append(str(error))


def _denied(refused: list[tuple[Part, str]], events: Iterable[Event]) -> str:
    """The calls whose errors say that they were not done, but whose pods were seen."""
    seen = {pod for event in events for pod in _pods(event.result)}
    return "".join(
        f"\nseen, but denied: {operation}{arguments}: {error}"
        for (_, operation, arguments), error in refused
        if seen & set(arguments)
    )


def _pods(result: Any) -> list[int]:
    values = result if isinstance(result, tuple) else (result,)
    return [value for value in values if isinstance(value, int) and value > 1]
