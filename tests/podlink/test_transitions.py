"""The effect of each operation on the three keys of a link, to the byte and the millisecond.

`Model` computes it in Python for every link, index entry and creation time that can exist before. A
clock that stands still makes times exact. ``test_executor.py`` has the table of transitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import lupa.lua51
import pytest
import redis

import podlink
from podlink import StatefulExecutor, operations
from redis_emulator import ManualClock, RedisEmulator
from tests.support.exact import CLOCK, NO_POD_IDS, NOW, POD_IDS, YEAR

LINK, INDEX, CREATED = "sf:{n:lk:u}s", "sf:{n:lk:u}", "sf:{n:lk:u}s@"
P, Q = 12, 7
LATER = "1600000000000"

Stored = tuple[Any, int]
"""Value and PTTL of a key."""


@dataclass(frozen=True)
class Model:
    """The keys of a link. ``created`` is text, ``list`` for a key of another type, or ``None``."""

    pod: int | None = None
    ttl: int = -1
    entry: int | None = None
    created: str | None = None
    created_ttl: int = -1

    def link(self, pod: int, ttl: int, track: bool) -> Model:
        """Link to the pod for ``ttl`` milliseconds, or forever if -1."""
        entry = pod if ttl == -1 else None
        after = replace(self, pod=pod, ttl=ttl, entry=entry)
        if self.pod != pod and track:
            stamp = f"{NOW} {pod}"
            return replace(after, created=stamp, created_ttl=YEAR if ttl == -1 else ttl)
        return after.keep_time(pod if self.pod == pod else None, ttl)

    def keep_time(self, pod: int | None, ttl: int) -> Model:
        """Give the creation time the TTL of the link if it belongs to a link to the pod."""
        if pod is not None and self.created == f"{LATER} {pod}":
            return replace(self, created_ttl=YEAR if ttl == -1 else ttl)
        return replace(self, created=None, created_ttl=-1)

    def remove(self, grace: int) -> Model:
        """Delete the link, or make it transient for ``grace`` milliseconds."""
        if self.pod is None or grace == -1:
            return Model()
        return replace(self, entry=None, ttl=grace).keep_time(self.pod, grace)


CREATED_BEFORE = [
    None, f"{LATER} {P}", f"{LATER} {Q}", f"{LATER} {P}0", f"x{LATER} {P}", LATER, "list",
]  # fmt: skip
BEFORE = [
    Model(pod, ttl, entry, created, -1 if created is None else 5_000)
    for (pod, ttl), entry, created in product(
        [(None, -1), (P, -1), (Q, -1), (P, 90_000), (Q, 90_000)], [None, P, Q], CREATED_BEFORE
    )
]


@pytest.fixture
def emulator() -> Iterator[RedisEmulator]:
    with RedisEmulator(clock=ManualClock(CLOCK)) as made:
        yield made


@pytest.fixture
def server(emulator: RedisEmulator) -> Iterator[redis.Redis]:
    with emulator.client(decode_responses=True) as client:
        yield client


def put(server: redis.Redis, state: Model) -> None:
    server.flushall()
    if state.pod is not None:
        server.set(LINK, state.pod, px=None if state.ttl == -1 else state.ttl)
    server.hset(INDEX, "other", 3)
    if state.entry is not None:
        server.hset(INDEX, "s", state.entry)
    if state.created == "list":
        server.rpush(CREATED, "x")
    elif state.created is not None:
        server.set(CREATED, state.created)
    if state.created is not None:
        server.pexpire(CREATED, state.created_ttl)


def found(server: redis.Redis) -> Model:
    """Read the keys, and check that there are no others."""
    index: Any = server.hgetall(INDEX)
    assert index.pop("other") == "3"
    entry = index.pop("s", None)
    assert index == {}
    link: Any = server.get(LINK)
    kind = server.type(CREATED)
    created: Any = None
    if kind != "none":
        created = server.get(CREATED) if kind == "string" else kind
    keys = {INDEX} | ({LINK} if link else set()) | ({CREATED} if created else set())
    assert set(server.scan_iter()) == keys
    return Model(
        None if link is None else int(link),
        max(-1, int(server.pttl(LINK))),
        None if entry is None else int(entry),
        created,
        max(-1, int(server.pttl(CREATED))),
    )


Expect = Callable[[Model, int, bool], tuple[Any, Model]]


def try_set(before: Model, ttl: int, track: bool) -> tuple[Any, Model]:
    if before.pod not in (None, Q) and before.ttl == -1:
        return (False, before.pod), before
    return (True, Q), before.link(Q, ttl, track)


def if_absent(before: Model, ttl: int, track: bool) -> tuple[Any, Model]:
    return (Q, before.link(Q, ttl, track)) if before.pod is None else (before.pod, before)


def replaced(before: Model, ttl: int, track: bool) -> tuple[Any, Model]:
    return ((True, Q), before.link(Q, ttl, track)) if before.pod == P else (
        (False, before.pod), before,
    )  # fmt: skip


def refreshed(before: Model, ttl: int, track: bool) -> tuple[Any, Model]:
    if before.pod != P:
        return False, before
    ttl = -1 if before.ttl == -1 else ttl
    return True, replace(before, ttl=ttl).keep_time(P, ttl)


OPERATIONS: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], Expect]] = {
    "set": ("set_linked_pod", (Q,), (-1, 1, 60), lambda b, t, k: (b.pod, b.link(Q, t, k))),
    "try_set": ("try_set_linked_pod", (Q,), (-1, 60), try_set),
    "set_if_absent": ("set_linked_pod_if_absent", (Q,), (-1, 60), if_absent),
    "replace": ("replace_linked_pod", (P, Q), (-1, 60), replaced),
    "replace by itself": (
        "replace_linked_pod", (Q, Q), (-1, 60),
        lambda b, t, k: ((True, Q), b.link(Q, t, k)) if b.pod == Q else ((False, b.pod), b),
    ),
    "refresh": ("refresh_linked_pod", (P,), (60,), refreshed),
    "remove": (
        "remove_linked_pod", (), (-1, 60), lambda b, t, k: (b.pod is not None, b.remove(t)),
    ),
    "remove_with_id": (
        "remove_linked_pod_with_id", (P,), (-1, 60),
        lambda b, t, k: (False, b) if b.pod == Q else (b.pod == P, b.remove(t)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("track", [False, True])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_on_every_previous_state(server: redis.Redis, name: str, track: bool) -> None:
    method, pods, all_seconds, expect = OPERATIONS[name]
    executor = StatefulExecutor(server, track_link_times=track)
    for before, seconds in product(BEFORE, all_seconds):
        put(server, before)
        options = {} if seconds == -1 else {"persist_seconds": seconds}
        if method == "refresh_linked_pod":
            reply: object = executor.refresh_linked_pod("n", "u", "s", pods[0], seconds)
        else:
            reply = getattr(executor, method)("n", "u", "s", *pods, **options)
        expected = expect(before, seconds if seconds == -1 else seconds * 1000, track)
        assert (reply, found(server)) == expected, (before, seconds)


@pytest.mark.parametrize("track", [False, True])
def test_drained_link_keeps_its_ttl(server: redis.Redis, track: bool) -> None:
    executor = StatefulExecutor(server, track_link_times=track)
    for before in [*BEFORE, Model(P, 1), Model(P, 2)]:
        put(server, before)
        is_linked = before.pod == P
        assert executor.drain_pod("n", "s", P, Q).done == is_linked
        after = before.link(Q, before.ttl, track) if is_linked else before
        assert found(server) == after, before


def test_link_in_its_last_millisecond_is_drained() -> None:
    """Servers report a PTTL of 0 and reject it as a TTL. On the emulator the link is deleted."""
    call = operations.move_linked_pod("n", "u", "s", P, Q, False)
    assert call.script is not None
    lua = lupa.lua51.LuaRuntime(encoding="latin-1")
    sent: list[tuple[Any, ...]] = []
    answers: dict[str, Any] = {"GET": str(P), "HGET": False, "PTTL": 0}

    def answer(*command: Any) -> Any:
        sent.append(command)
        return answers.get(command[0], True)

    count = call.wire[2]
    parts = [part.decode() if isinstance(part, bytes) else str(part) for part in call.wire[3:]]
    lua.globals().KEYS = lua.table_from(parts[:count])
    lua.globals().ARGV = lua.table_from(parts[count:])
    lua.globals().redis = lua.table_from({"call": answer, "pcall": answer})
    lua.execute(call.script.source)
    assert ("SET", LINK, str(Q), "PX", "1") in sent


WRITES: dict[str, Callable[[StatefulExecutor], Any]] = {
    "set": lambda e: e.set_linked_pod("n", "u", "s", Q),
    "try_set": lambda e: e.try_set_linked_pod("n", "u", "s", Q),
    "set_if_absent": lambda e: e.set_linked_pod_if_absent("n", "u", "s", Q),
    "replace": lambda e: e.replace_linked_pod("n", "u", "s", P, Q),
    "refresh": lambda e: e.refresh_linked_pod("n", "u", "s", P, 60),
    "remove": lambda e: e.remove_linked_pod("n", "u", "s"),
    "remove, grace": lambda e: e.remove_linked_pod("n", "u", "s", persist_seconds=60),
    "remove_with_id": lambda e: e.remove_linked_pod_with_id("n", "u", "s", P),
}


@pytest.mark.parametrize("name", WRITES)
def test_malformed_value_is_an_error_that_names_the_key_and_changes_nothing(
    emulator: RedisEmulator, server: redis.Redis, name: str
) -> None:
    executor = StatefulExecutor(server, track_link_times=True)
    for bad in NO_POD_IDS:
        for key, message in ((LINK, LINK), (INDEX, f"{INDEX} field s")):
            put(server, Model(P, -1, P, f"{LATER} {P}", 5_000))
            if key == LINK:
                server.set(LINK, bad)
            else:
                server.hset(INDEX, "s", bad)
            before = emulator.dump()
            with pytest.raises(podlink.InternalError) as caught:
                WRITES[name](executor)
            text = f" at {LINK}: {message} does not hold a decimal pod id (caused by"
            assert text in str(caught.value), bad
            assert emulator.dump() == before


@pytest.mark.parametrize("name", WRITES)
def test_every_pod_id_is_accepted(server: redis.Redis, name: str) -> None:
    executor = StatefulExecutor(server)
    for pod in POD_IDS:
        put(server, Model(pod, -1, pod))
        WRITES[name](executor)
        put(server, Model(None, -1, pod))
        WRITES[name](executor)
    put(server, Model())
    for pod in POD_IDS:
        executor.set_linked_pod("n", "u", "s", pod)
        assert executor.get_linked_pod("n", "u", "s") == pod


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("key", [LINK, INDEX])
def test_key_of_another_type_is_an_error_and_changes_nothing(
    emulator: RedisEmulator, server: redis.Redis, name: str, key: str
) -> None:
    executor = StatefulExecutor(server)
    put(server, Model(P, -1, P))
    server.delete(key)
    server.rpush(key, P)
    before = emulator.dump()
    with pytest.raises(podlink.RedisOperationError, match="WRONGTYPE"):
        WRITES[name](executor)
    assert emulator.dump() == before
