"""The load: threads, coroutines, and coroutines of a batching executor, each with a recorder."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
from collections import Counter
from typing import Any

from podlink import AsyncStatefulExecutor, ErrorCode, RedisConfig, StatefulError, StatefulExecutor
from pytest_podlink.conformance.linearizability import Event, Recorder, Subject

THREADS, COROUTINES, BATCHING = 2, 4, 4
UIDS, SECONDS_PER_UID = 12, 2.0
MARGIN = 10.0
"""Seconds that a call may exceed its timeout by, because the machine may be busy."""
TIMEOUTS = (0.05, 0.5, 1.0, 2.0, 2.0)
NAMES = ["set_linked_pod", "try_set_linked_pod", "set_linked_pod_if_absent", "create_linked_pod",
         "get_linked_pod", "get_linked_pod", "get_linked_pod_if_persist", "remove_linked_pod",
         "remove_linked_pod_with_id", "replace_linked_pod", "refresh_linked_pod"]  # fmt: skip
EXPECTED = {
    ErrorCode.TIMEOUT,
    ErrorCode.REDIS_CONNECTION_ERROR,
    ErrorCode.REDIS_OPERATION_ERROR,
    ErrorCode.LINK_EXISTS,
}


class WatchedExecutor:
    """An executor that reports unexpected errors and calls that exceed their timeout."""

    def __init__(self, executor: Any, load: Load) -> None:
        self._executor = executor
        self._load = load

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._executor, name)
        if not asyncio.iscoroutinefunction(method):
            return lambda *args, **named: self._call(method, *args, **named)
        return lambda *args, **named: self._acall(method, *args, **named)

    def _call(self, method: Any, *args: Any, timeout: float, **named: Any) -> Any:
        started = time.monotonic()
        try:
            return method(*args, timeout=timeout, **named)
        except Exception as error:
            self._load.note(error)
            raise
        finally:
            self._load.note_time(method.__name__, time.monotonic() - started, timeout)

    async def _acall(self, method: Any, *args: Any, timeout: float, **named: Any) -> Any:
        started = time.monotonic()
        try:
            return await method(*args, timeout=timeout, **named)
        except Exception as error:
            self._load.note(error)
            raise
        finally:
            self._load.note_time(method.__name__, time.monotonic() - started, timeout)


class Load:
    """Callers that link, read and unlink until they are stopped.

    Every write has a pod of its own, so that a wrong result matches no other write. Uids are
    replaced by new ones every few seconds, so that the history of each stays short enough to check.
    """

    def __init__(self, url: str, seed: int) -> None:
        self.config = RedisConfig.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)
        self.errors: Counter[str] = Counter()
        self.unexpected: list[str] = []
        self.hung: list[str] = []
        self._recorders: list[Recorder] = []
        self._pods = itertools.count(1)
        self._seen: dict[Subject, int] = {}
        self._started = time.monotonic()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._synchronous, args=(seed,), daemon=True),
            threading.Thread(target=lambda: asyncio.run(self._asynchronous(seed)), daemon=True),
        ]

    def start(self) -> None:
        """Start all callers."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop all callers; one that does not end counts as hung."""
        self._stop.set()
        deadline = time.monotonic() + max(TIMEOUTS) + 2 * MARGIN
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                self.hung.append(f"{thread.name} did not end")

    @property
    def events(self) -> list[Event]:
        """The events of all callers."""
        return [event for recorder in self._recorders for event in list(recorder.events)]

    def note(self, error: Exception) -> None:
        """Count an error, and record it if no fault explains it."""
        code = error.code if isinstance(error, StatefulError) else type(error).__name__
        self.errors[str(code)] += 1
        if code not in EXPECTED:
            self.unexpected.append(repr(error) + f" caused by {error.__cause__!r}")

    def note_time(self, operation: str, took: float, timeout: float) -> None:
        """Record a call that took longer than its timeout and the margin."""
        if took > timeout + MARGIN:
            self.hung.append(f"{operation} took {took:.1f} s, timeout {timeout} s")

    def _recorder(self, executor: Any) -> Recorder:
        recorder = Recorder(WatchedExecutor(executor, self))
        self._recorders.append(recorder)
        return recorder

    def _choose(self, chance: random.Random) -> tuple[str, Subject, tuple[int, ...], float]:
        operation = chance.choice(NAMES)
        generation = int((time.monotonic() - self._started) / SECONDS_PER_UID)
        subject = ("chaos", f"u{generation}-{chance.randrange(UIDS)}", "s")
        pod, known = next(self._pods), self._seen.get(subject, 0)
        seconds = chance.choice([-1, -1, 3600])
        arguments: dict[str, tuple[int, ...]] = {
            "get_linked_pod": (),
            "get_linked_pod_if_persist": (),
            "remove_linked_pod": (seconds,),
            "remove_linked_pod_with_id": (known, seconds),
            "replace_linked_pod": (known, pod, seconds),
            "refresh_linked_pod": (known, 3600),
        }
        return operation, subject, arguments.get(operation, (pod, seconds)), chance.choice(TIMEOUTS)

    def _remember_pod(self, operation: str, subject: Subject, result: Any) -> None:
        if operation.startswith("get_") and result is not None:
            self._seen[subject] = result

    def _synchronous(self, seed: int) -> None:
        with StatefulExecutor(self.config) as executor:
            threads = [
                threading.Thread(
                    target=self._call, args=(self._recorder(executor), random.Random(seed + i))
                )
                for i in range(THREADS)
            ]
            for thread in threads:
                thread.daemon = True
                thread.start()
            for thread in threads:
                thread.join()

    def _call(self, recorder: Recorder, chance: random.Random) -> None:
        while not self._stop.is_set():
            operation, subject, arguments, timeout = self._choose(chance)
            try:
                result = recorder.call(operation, subject, *arguments, timeout=timeout)
            except Exception:
                continue  # already counted
            self._remember_pod(operation, subject, result)

    async def _asynchronous(self, seed: int) -> None:
        async with (
            AsyncStatefulExecutor(self.config) as plain,
            AsyncStatefulExecutor(self.config, batching=True) as batching,
        ):
            executors = [plain] * COROUTINES + [batching] * BATCHING
            await asyncio.gather(
                *(
                    self._acall(self._recorder(executor), random.Random(seed + 100 + i))
                    for i, executor in enumerate(executors)
                )
            )

    async def _acall(self, recorder: Recorder, chance: random.Random) -> None:
        while not self._stop.is_set():
            operation, subject, arguments, timeout = self._choose(chance)
            call = asyncio.ensure_future(
                recorder.acall(operation, subject, *arguments, timeout=timeout)
            )
            if chance.random() < 0.05:
                for _ in range(chance.randrange(8)):
                    await asyncio.sleep(0)
                call.cancel()
            try:
                self._remember_pod(operation, subject, await call)
            except (Exception, asyncio.CancelledError):
                self.errors["cancelled"] += call.cancelled()
