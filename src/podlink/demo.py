"""The scenario of ``podlink demo``.

Services and pods register, and users are linked. Some users reconnect within their grace period,
some move to another pod, and some do not reconnect, so that their transient links expire. On the
emulator the demo advances the clock; on a server it waits for a few seconds.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from podlink.clients import emulator_package
from podlink.executor import StatefulExecutor

SERVICES = {"chat": 4, "match": 3, "voice": 2}
T = TypeVar("T")


def run(console: Console, url: str, *, users: int, seed: int) -> None:
    """Run the demo on the server at ``url``, and print the results.

    Args:
        console: prints the output.
        url: a URL for `RedisManager`. For an ``emulator://`` URL the demo creates a new emulator
            with a manual clock.
        users: how many users to link.
        seed: the seed of the random numbers.

    Raises:
        StatefulError: the server cannot be reached or refuses a command.
    """
    executor, wait = _connect(url)
    with executor:
        status = executor.manager.health_check()
        if status.error is not None:
            raise status.error
        console.print(
            f"[bold]podlink[/bold] on {status.server} {status.version}, {status.url or url}"
        )
        day = Day(console, executor, users=users, seed=seed, wait=wait)
        try:
            day.play()
        finally:
            day.clean_up()


class Day:
    """One run of the demo, in a new namespace.

    Attributes:
        grace: the TTL in seconds of the link of a user who has disconnected. It is long enough for
            all reconnects of the demo.
    """

    def __init__(
        self,
        console: Console,
        executor: StatefulExecutor,
        *,
        users: int,
        seed: int,
        wait: Callable[[float], None],
    ) -> None:
        self.console = console
        self.executor = executor
        self.random = random.Random(seed)
        self.wait = wait
        self.grace = 0
        self.namespace = f"demo-{time.time_ns():x}"
        self.users = [f"user-{number:06d}" for number in range(users)]
        self.rates: list[tuple[str, int, float]] = []
        self.outcomes: Counter[str] = Counter()

    def play(self) -> None:
        """Run all steps of the demo."""
        self.register()
        service = "chat"
        self._each("link", self.users, lambda uid: self._link(uid, service))
        self.grace = 2 + math.ceil(self.rates[-1][2])
        leaving = self.random.sample(self.users, len(self.users) // 5)
        self._each("disconnect, with grace", leaving, lambda uid: self._leave(uid, service))
        back, gone = leaving[: len(leaving) // 2], leaving[len(leaving) // 2 :]
        self._each("reconnect", back, lambda uid: self._reconnect(uid, service))
        staying = sorted(set(self.users) - set(leaving))
        moving = self.random.sample(staying, len(staying) // 10)
        self._each("move to another pod", moving, lambda uid: self._move(uid, service))
        for other in ("match", "voice"):
            some = self.random.sample(self.users, len(self.users) // 3)
            self._each(f"link to {other}", some, partial(self._link, service=other))
        self.wait(self.grace + 0.1)
        found = self._timed(
            "look up (batch)",
            len(self.users),
            lambda: self.executor.batch_get_linked_pod(self.namespace, self.users, service),
        )
        lost = len(self.users) - sum(map(len, found.values()))
        self.outcomes[f"did not come back in {self.grace} s: link ran out"] = lost
        if lost != len(gone):
            raise AssertionError(f"{len(gone)} links should have run out, {lost} did")
        self.show()

    def register(self) -> None:
        """Write the states of all pods and services."""
        for service, pods in SERVICES.items():
            for pod in range(pods):
                self.executor.set_service_state(self.namespace, service, pod, "ready")
            self.executor.set_workload_state(self.namespace, service, "running")

    def show(self) -> None:
        """Print the pods with their users, the results of the steps, and the rates."""
        pods = Table(title="Pods and their users", title_justify="left")
        pods.add_column("service")
        pods.add_column("pod", justify="right")
        pods.add_column("state")
        pods.add_column("users", justify="right")
        pods.add_column("")
        for service in SERVICES:
            states = self.executor.get_service_state(self.namespace, service)
            linked = self.executor.batch_get_linked_pod(self.namespace, self.users, service)
            most = max(map(len, linked.values()), default=1)
            for pod, state in sorted(states.items()):
                count = len(linked.get(pod, ()))
                bar = "[green]" + "█" * round(20 * count / most) + "[/green]"
                pods.add_row(service, str(pod), state, str(count), bar)
            pods.add_section()
        self.console.print(pods)
        outcomes = Table("what happened", "users", title="Links", title_justify="left")
        for outcome, count in self.outcomes.items():
            outcomes.add_row(outcome, str(count))
        self.console.print(outcomes)
        rates = Table("step", "operations", "per second", title="Rates", title_justify="left")
        for step, count, seconds in self.rates:
            rates.add_row(step, str(count), f"{count / seconds:,.0f}")
        self.console.print(rates)

    def clean_up(self) -> None:
        """Delete all keys of the demo's namespace."""
        client: Any = self.executor.manager.client
        for key in client.scan_iter(match=f"sf:{{{self.namespace}:*", count=1000):
            client.unlink(key)

    def _link(self, uid: str, service: str) -> None:
        pod = self.random.randrange(SERVICES[service])
        if self.executor.set_linked_pod(self.namespace, uid, service, pod) is None:
            self.outcomes[f"linked to {service}"] += 1

    def _leave(self, uid: str, service: str) -> None:
        if self.executor.remove_linked_pod(
            self.namespace, uid, service, persist_seconds=self.grace
        ):
            self.outcomes["disconnected, link kept for a while"] += 1

    def _reconnect(self, uid: str, service: str) -> None:
        pod = self.executor.require_linked_pod(self.namespace, uid, service)
        if self.executor.try_set_linked_pod(self.namespace, uid, service, pod).linked:
            self.outcomes["came back to the same pod"] += 1

    def _move(self, uid: str, service: str) -> None:
        before = self.executor.require_linked_pod(self.namespace, uid, service)
        after = (before + 1) % SERVICES[service]
        if self.executor.set_linked_pod(self.namespace, uid, service, after) == before:
            self.outcomes["moved to another pod"] += 1

    def _each(self, step: str, uids: Sequence[str], act: Callable[[str], None]) -> None:
        progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
        )
        with progress:
            tracked = progress.track(uids, description=step)
            self._timed(step, len(uids), lambda: _exhaust(act, tracked))

    def _timed(self, step: str, count: int, act: Callable[[], T]) -> T:
        started = time.perf_counter()
        result = act()
        self.rates.append((step, count, time.perf_counter() - started))
        return result


def _exhaust(act: Callable[[str], None], uids: Iterable[str]) -> None:
    for uid in uids:
        act(uid)


def _connect(url: str) -> tuple[StatefulExecutor, Callable[[float], None]]:
    """Create an executor, and a function that waits or advances the emulator's clock."""
    if not url.startswith("emulator:"):
        return StatefulExecutor(url), time.sleep
    emulator = emulator_package().RedisEmulator(clock=emulator_package().ManualClock())
    return StatefulExecutor(emulator.client()), emulator.clock.advance
