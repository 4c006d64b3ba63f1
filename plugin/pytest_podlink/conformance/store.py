"""A store under test: a backend, the executors on it, and the comparison with the model.

After each step, the result or error is compared, and the whole key space with types, values and
TTLs. On the emulator the clock does not move by itself, so TTLs and stamps must be equal to the
millisecond. On a real server the time goes on while a history runs: a TTL may be shorter than that
of the model by the time that has passed, and a stamp must be between the server's times before and
after the step. To keep that time short, TTLs are set to those of the model again after they have
been compared (`Store.restore_ttls`). If the machine was so slow that a key may really have expired,
the comparison raises `Undecided`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from podlink import (
    AsyncStatefulExecutor,
    DrainProgress,
    ErrorCode,
    LinkExistsError,
    PodLink,
    ServiceState,
    StatefulError,
    StatefulExecutor,
    StoredKey,
    WorkloadState,
)
from pytest_podlink.backend import Backend
from pytest_podlink.conformance.model import Model
from pytest_podlink.conformance.strategies import Executor
from pytest_podlink.conformance.values import (
    Dated,
    Drained,
    Entry,
    Inspected,
    LinkRead,
    Moment,
    Refused,
    Repaired,
    ServiceRead,
    Stamp,
    WorkloadRead,
)
from pytest_podlink.stores import EmulatorBackend

ROUNDING = 3
"""Tolerance in milliseconds for the rounding of a real server."""

DRIFT = 100
"""TTLs are restored when a real server is this many milliseconds ahead of the model."""

_DUMP_KEYSPACE = """
local keys, cursor = {}, '0'
repeat
  local reply = redis.call('SCAN', cursor, 'COUNT', 1000)
  cursor = reply[1]
  for _, key in ipairs(reply[2]) do keys[key] = true end
until cursor == '0'
local all = {}
for key in pairs(keys) do
  local kind, value = redis.call('TYPE', key).ok, ''
  if kind == 'string' then value = redis.call('GET', key) end
  if kind == 'hash' then value = redis.call('HGETALL', key) end
  all[#all + 1] = {key, kind, redis.call('PTTL', key), value}
end
-- TIME comes last: on Redis 7.0 the time goes on between the calls of a script.
local now = redis.call('TIME')
return {now[1], now[2], all}
"""

_SET_TTLS = "for i, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[i]) end"


class Difference(AssertionError):
    """A store differs from the model."""


class Undecided(Exception):
    """The server was so slow that keys may have expired during the comparison."""


class Outcome(NamedTuple):
    """The result or the error of an operation."""

    result: Any = None
    error: StatefulError | None = None

    def __str__(self) -> str:
        return f"returned {self.result!r}" if self.error is None else f"raised {self.error!r}"


class Found(NamedTuple):
    """A key as read from a store. `ttl` is in milliseconds, -1 without one."""

    type: str
    value: Any
    ttl: int


class Store:
    """One store with its executors.

    Args:
        backend: the backend; its keys are deleted at the start of each history.
        loop: runs the operations of asyncio executors; `None` for sync ones.
        protocol: the RESP version, 2 or 3.
    """

    def __init__(
        self, backend: Backend, *, loop: asyncio.AbstractEventLoop | None, protocol: int
    ) -> None:
        self.name = backend.name
        self._backend = backend
        self._loop = loop
        self._exact = isinstance(backend, EmulatorBackend)
        self._executors = {
            Executor(decode, track): self._executor(decode, track, protocol)
            for decode in (False, True)
            for track in (False, True)
        }
        self._nodes = backend.nodes()
        self._dump_scripts = [node.register_script(_DUMP_KEYSPACE) for node in self._nodes]
        self._set_ttls = [node.register_script(_SET_TTLS) for node in self._nodes]
        self.empty()

    def empty(self) -> None:
        """Start a history: delete all keys and reset the clock."""
        for node in self._nodes:
            node.flushdb()
        self._backend.reset_clock()
        self._stamps: dict[Stamp, int] = {}
        self.read_keys()
        self._ttls_restored_at = self._now
        self._previous_shortest_ttl = math.inf

    def operate(self, executor: Executor, operation: str, arguments: dict[str, Any]) -> Outcome:
        """Call an operation of an executor."""
        method = getattr(self._executors[executor], operation)
        try:
            result = method(**arguments)
            if self._loop is not None:
                result = self._loop.run_until_complete(result)
        except StatefulError as error:
            return Outcome(error=error)
        return Outcome(result)

    def write(self, commands: Sequence[tuple[Any, ...]]) -> None:
        """Run commands of another program in one transaction; their keys are in one slot."""
        pipeline = self._nodes[self._backend.node_of(commands[0][1])].pipeline(transaction=True)
        for command in commands:
            pipeline.execute_command(*command)
        pipeline.execute()

    def flush_scripts(self) -> None:
        """Flush the script cache, as a restart would."""
        for node in self._nodes:
            node.script_flush()

    def advance(self, milliseconds: int) -> None:
        """Move the time forward."""
        self._backend.clock.advance(milliseconds / 1000)

    def read_keys(self) -> None:
        """Read the whole key space and the time of the server."""
        self._before = getattr(self, "_now", 0)
        self._found = {}
        for script in self._dump_scripts:
            seconds, microseconds, dumped = script()
            self._now = int(seconds) * 1000 + int(microseconds) // 1000
            for key, kind, ttl, value in dumped:
                if kind == b"hash":
                    value = dict(zip(value[::2], value[1::2], strict=True))
                self._found[key] = Found(kind.decode(), value, ttl)

    def compare(self, model: Model, expected: Any, outcome: Outcome | None) -> None:
        """Compare the outcome of a step, and the key space, with the model.

        Raises:
            Difference: they differ.
            Undecided: they differ, but a key may have expired during the step.
        """
        self.read_keys()
        self._max_lag_ms = 0 if self._exact else self._now - self._ttls_restored_at + ROUNDING
        try:
            if outcome is not None:
                self._compare_outcome(model, expected, outcome)
            self._compare_keys(model)
        except Difference as difference:
            if not self._exact and self._shortest_ttl(model) <= self._max_lag_ms:
                raise Undecided from difference
            raise
        self._previous_shortest_ttl = min([math.inf, *model.remaining()[:1]])

    def restore_ttls(self, model: Model) -> None:
        """Set every TTL to that of the model again, if more than `DRIFT` has passed."""
        if self._exact or self._now - self._ttls_restored_at < DRIFT:
            return
        left = {
            key: entry.expires_at - model.now
            for key, entry in model.keys.items()
            if entry.expires_at is not None
        }
        before = self._now
        for index, set_ttls in enumerate(self._set_ttls):
            # On a cluster a script can change keys of one slot only, so set one key per call.
            for key, ttl in left.items():
                if self._backend.node_of(key) == index:
                    set_ttls(keys=[key], args=[ttl])
        self.read_keys()
        self._ttls_restored_at = before

    def close(self) -> None:
        """Close all clients."""
        self._backend.release()

    # Comparing

    def _shortest_ttl(self, model: Model) -> float:
        """The shortest TTL in the model before or after this step."""
        return min([self._previous_shortest_ttl, *model.remaining()[:1]])

    def _compare_outcome(self, model: Model, expected: Any, outcome: Outcome) -> None:
        if isinstance(expected, Refused):
            matches = outcome.error is not None and self._is_error(expected, outcome.error)
        else:
            matches = outcome.error is None and self._is_result(model, expected, outcome.result)
        if not matches:
            raise Difference(f"{self.name} {outcome}, expected {expected!r}")

    def _is_error(self, expected: Refused, error: StatefulError) -> bool:
        if error.code not in expected.codes:
            return False
        if expected.undone and error.undone != expected.undone:
            return False
        if error.code is ErrorCode.INTERNAL_ERROR:
            return any(_as_printed(key) in str(error) for key in expected.keys)
        if isinstance(error, LinkExistsError):
            return error.pod_id == expected.pod_id
        return True

    def _is_result(self, model: Model, expected: Any, result: Any) -> bool:
        """Whether the result and its type are those of the model: 1 is not True, 2 is not 2.0."""
        if isinstance(expected, LinkRead):
            return (
                type(result) is PodLink
                and _same((result.namespace, result.uid, result.service_name), expected[:3])
                and _same(result.pod_id, expected.pod_id)
                and self._is_expiry(expected.remaining, result.expires_at)
                and self._is_moment(model, expected.created, result.created_at)
            )
        if isinstance(expected, ServiceRead):
            return (
                type(result) is ServiceState
                and _same((result.namespace, result.service_name), expected[:2])
                and _same(dict(result.pod_states), expected.pod_states)
                and self._is_moment(model, expected.updated, result.updated_at)
            )
        if isinstance(expected, WorkloadRead):
            return (
                type(result) is WorkloadState
                and _same((result.namespace, result.service_name, result.state), expected[:3])
                and self._is_moment(model, expected.updated, result.updated_at)
            )
        if isinstance(expected, Inspected):
            return [stored.key for stored in result] == list(expected.keys) and all(
                self._is_stored(model, stored) for stored in result
            )
        if isinstance(expected, Repaired):
            done = {(repair.key, repair.field, repair.done) for repair in result}
            return done == expected.done
        if isinstance(expected, Drained):
            counts = Drained(result.found, result.done, result.failed)
            return type(result) is DrainProgress and counts == expected and result.resume is None
        return _same(result, expected)

    def _is_stored(self, model: Model, stored: Any) -> bool:
        ttl = -1 if stored.ttl is None else round(stored.ttl * 1000)
        found = None if stored.type == "none" else Found(stored.type, stored.value, ttl)
        return type(stored) is StoredKey and self._is_entry(
            model, model.keys.get(stored.key), found
        )

    def _is_expiry(self, remaining: int | None, time: datetime | None) -> bool:
        if remaining is None or time is None:
            return remaining is None and time is None
        if time.tzinfo is not timezone.utc:
            return False
        early = self._before + remaining - self._max_lag_ms
        late = self._now + remaining + (0 if self._exact else ROUNDING)
        return early <= _epoch_ms(time) <= late

    def _is_moment(self, model: Model, expected: Moment | None, time: datetime | None) -> bool:
        if expected is None or time is None:
            return expected is None and time is None
        return time.tzinfo is timezone.utc and self._is_time(model, expected, _epoch_ms(time))

    def _is_time(self, model: Model, expected: Moment, ms: int) -> bool:
        """Whether a time is the expected one. The time of a new stamp is remembered."""
        if not isinstance(expected, Stamp):
            return ms == expected
        if expected.step == model.step and expected not in self._stamps:
            if self._before <= ms <= self._now:
                self._stamps[expected] = ms
        return self._stamps.get(expected) == ms

    def _compare_keys(self, model: Model) -> None:
        wrong = [
            f"  {key!r}: {self._found.get(key)}, expected {model.keys.get(key)}"
            for key in sorted(self._found.keys() | model.keys.keys())
            if not self._is_entry(model, model.keys.get(key), self._found.get(key))
        ]
        if wrong:
            lag = f", at most {self._max_lag_ms} ms behind the server" if self._max_lag_ms else ""
            raise Difference(
                "\n".join([f"keys of {self.name} (time of the model: {model.now}{lag})", *wrong])
            )

    def _is_entry(self, model: Model, expected: Entry | None, found: Found | None) -> bool:
        if expected is None or found is None:
            return expected is None and found is None
        return (
            found.type == expected.type
            and self._is_value(model, expected.value, found.value)
            and self._is_ttl(model, expected.expires_at, found.ttl)
        )

    def _is_value(self, model: Model, expected: Any, found: Any) -> bool:
        if isinstance(expected, dict):
            return expected.keys() == found.keys() and all(
                self._is_value(model, expected[name], found[name]) for name in expected
            )
        if isinstance(expected, Dated):
            time, _, value = found.partition(b" ")
            return (
                time.isdigit()
                and value == expected.value
                and self._is_time(model, expected.stamp, int(time))
            )
        return bool(found == expected)

    def _is_ttl(self, model: Model, expires_at: int | None, ttl: int) -> bool:
        if expires_at is None or ttl == -1:
            return expires_at is None and ttl == -1
        late = expires_at - model.now - ttl
        return late == 0 if self._exact else -ROUNDING <= late <= self._max_lag_ms

    def _executor(self, decode: bool, track: bool, protocol: int) -> Any:
        options = {"protocol": protocol, "decode_responses": decode}
        if self._loop is None:
            return StatefulExecutor(self._backend.client(**options), track_link_times=track)
        client = self._backend.async_client(**options)
        return AsyncStatefulExecutor(client, track_link_times=track)


def _as_printed(key: bytes) -> str:
    """A key as podlink's messages print it: with non-printing characters escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in key.decode()
    )


def _same(a: Any, b: Any) -> bool:
    """Whether two values and all values inside them are equal and of equal types."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(
            _same(key, other) and _same(a[key], b[other])
            for key, other in zip(sorted(a), sorted(b), strict=True)
        )
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def _epoch_ms(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(milliseconds=1)
