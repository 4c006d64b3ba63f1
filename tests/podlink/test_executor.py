"""The transition table, row by row, on every backend of the run, sync and asyncio.

The state machine of ``tests/conformance`` tests more; here a failing row is named.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis

import podlink
from podlink import AsyncStatefulExecutor, ErrorCode, StatefulExecutor

YEAR = 365 * 24 * 60 * 60
LINK, INDEX, CREATED = "sf:{n:lk:u}s", "sf:{n:lk:u}", "sf:{n:lk:u}s@"
P, Q = 1, 2

Do = Callable[..., Any]
"""Runs an operation by name, sync or async."""


@pytest.fixture(params=["sync", "async"])
def do(
    request: pytest.FixtureRequest,
    stateful_executor: StatefulExecutor,
    async_stateful_executor: AsyncStatefulExecutor,
) -> Iterator[Do]:
    if request.param == "sync":
        yield lambda name, *args, **kwargs: getattr(stateful_executor, name)(*args, **kwargs)
        return
    loop = asyncio.new_event_loop()

    def run(name: str, *args: Any, **kwargs: Any) -> Any:
        return loop.run_until_complete(getattr(async_stateful_executor, name)(*args, **kwargs))

    yield run
    loop.run_until_complete(async_stateful_executor.manager.client.aclose())
    loop.run_until_complete(async_stateful_executor.manager.client.connection_pool.disconnect())
    loop.close()


BEFORE: dict[str, tuple[int, int] | None] = {
    "absent": None,
    "transient(q)": (Q, 500),
    "transient(p)": (P, 500),
    "persistent(q)": (Q, -1),
    "persistent(p)": (P, -1),
}
"""State of the link before the operation: pod and TTL."""

LINKED = {-1: (Q, -1), 60: (Q, 60)}
TABLE: list[tuple[str, str, int, Any, Any]] = [
    # operation, before, seconds, reply, after ("same", or pod and TTL)
    *(("set_linked_pod", "absent", s, None, LINKED[s]) for s in (-1, 60)),
    *(("set_linked_pod", before, s, pod, LINKED[s])
      for before, pod in (("transient(q)", Q), ("transient(p)", P), ("persistent(q)", Q),
                          ("persistent(p)", P))
      for s in (-1, 60)),
    *(("try_set_linked_pod", before, s, (True, Q), LINKED[s])
      for before in ("absent", "transient(q)", "transient(p)", "persistent(q)") for s in (-1, 60)),
    *(("try_set_linked_pod", "persistent(p)", s, (False, P), "same") for s in (-1, 60)),
    *(("set_linked_pod_if_absent", "absent", s, Q, LINKED[s]) for s in (-1, 60)),
    *(("set_linked_pod_if_absent", before, s, pod, "same")
      for before, pod in (("transient(q)", Q), ("transient(p)", P), ("persistent(q)", Q),
                          ("persistent(p)", P))
      for s in (-1, 60)),
    *(("replace_linked_pod", "absent", s, (False, None), "same") for s in (-1, 60)),
    *(("replace_linked_pod", before, s, (True, Q), LINKED[s])
      for before in ("transient(p)", "persistent(p)") for s in (-1, 60)),
    *(("replace_linked_pod", before, s, (False, Q), "same")
      for before in ("transient(q)", "persistent(q)") for s in (-1, 60)),
    ("refresh_linked_pod", "absent", 60, False, None),
    ("refresh_linked_pod", "transient(q)", 60, True, (Q, 60)),
    ("refresh_linked_pod", "persistent(q)", 60, True, "same"),
    ("refresh_linked_pod", "transient(p)", 60, False, "same"),
    ("refresh_linked_pod", "persistent(p)", 60, False, "same"),
    *(("remove_linked_pod", "absent", s, False, None) for s in (-1, 60)),
    *(("remove_linked_pod", before, -1, True, None)
      for before in ("transient(q)", "transient(p)", "persistent(q)", "persistent(p)")),
    *(("remove_linked_pod", before, 60, True, (pod, 60))
      for before, pod in (("transient(q)", Q), ("transient(p)", P), ("persistent(q)", Q),
                          ("persistent(p)", P))),
    *(("remove_linked_pod_with_id", "absent", s, False, None) for s in (-1, 60)),
    *(("remove_linked_pod_with_id", before, -1, True, None)
      for before in ("transient(q)", "persistent(q)")),
    *(("remove_linked_pod_with_id", before, 60, True, (Q, 60))
      for before in ("transient(q)", "persistent(q)")),
    *(("remove_linked_pod_with_id", before, s, False, "same")
      for before in ("transient(p)", "persistent(p)") for s in (-1, 60)),
]  # fmt: skip


def put(server: redis.Redis, state: tuple[int, int] | None) -> None:
    """Create a link as another program would."""
    if state is not None:
        pod, ttl = state
        server.set(LINK, pod, ex=None if ttl == -1 else ttl)
        if ttl == -1:
            server.hset(INDEX, "s", pod)


def found(server: redis.Redis) -> tuple[int, int] | None:
    """Return the state of the link, after checking that its keys agree."""
    value, ttl, index = server.get(LINK), server.ttl(LINK), server.hgetall(INDEX)
    if value is None:
        assert index == {}
        return None
    assert isinstance(value, (str, bytes))
    assert index == ({b"s": str(int(value)).encode()} if ttl == -1 else {})
    return int(value), int(ttl)


@pytest.mark.parametrize(
    ("operation", "before", "seconds", "reply", "after"),
    TABLE,
    ids=[f"{row[0]}-{row[1]}-{row[2]}" for row in TABLE],
)
def test_transition(
    do: Do,
    stateful_redis: redis.Redis,
    operation: str,
    before: str,
    seconds: int,
    reply: Any,
    after: Any,
) -> None:
    put(stateful_redis, BEFORE[before])
    pods = {"remove_linked_pod": (), "replace_linked_pod": (P, Q)}.get(operation, (Q,))
    assert do(operation, "n", "u", "s", *pods, persist_seconds=seconds) == reply
    expected: tuple[int, int] | None = BEFORE[before] if after == "same" else after
    state = found(stateful_redis)
    assert (state is None) == (expected is None)
    if state is not None and expected is not None:
        assert state[0] == expected[0]
        assert expected[1] - 1 <= state[1] <= expected[1]
    assert stateful_redis.exists(CREATED) == 0


@pytest.mark.parametrize(
    ("operation", "args"),
    [("remove_linked_pod", ()), ("remove_linked_pod_with_id", (P,)),
     ("remove_linked_pod_with_id", (Q,))],
)  # fmt: skip
def test_removal_deletes_the_index_entry_of_an_evicted_link(
    do: Do, stateful_redis: redis.Redis, operation: str, args: tuple[int, ...]
) -> None:
    stateful_redis.hset(INDEX, mapping={"s": P, "other": P})
    assert do(operation, "n", "u", "s", *args) is False
    assert stateful_redis.hgetall(INDEX) == {b"other": b"1"}


def test_reads_of_persistent_transient_and_absent_links(do: Do) -> None:
    assert do("get_linked_pod", "n", "u", "s") is None
    assert do("get_linked_pod_if_persist", "n", "u", "s") is None
    assert do("get_link_service", "n", "u") == {}
    assert do("read_pod_link", "n", "u", "s") is None
    do("set_linked_pod", "n", "u", "s", 4, persist_seconds=60)
    do("set_linked_pod", "n", "u", "t", 0)
    do("set_linked_pod", "n", "v", "s", 2147483647)
    assert do("get_linked_pod", "n", "u", "s") == 4
    assert do("get_linked_pod_if_persist", "n", "u", "s") is None
    assert do("get_linked_pod_if_persist", "n", "u", "t") == 0
    assert do("get_link_service", "n", "u") == {"t": 0}
    asked = ["v", "nobody", "u", "v"]
    assert do("batch_get_linked_pod", "n", asked, "s") == {2147483647: ["v"], 4: ["u"]}
    assert do("batch_get_linked_pod", "n", [], "s") == {}


def test_replace_keeps_the_creation_time_only_for_the_same_pod(
    stateful_redis: redis.Redis, stateful_clock: Any
) -> None:
    executor = StatefulExecutor(stateful_redis, track_link_times=True)
    executor.set_linked_pod("n", "u", "s", P)
    first = stateful_redis.get(CREATED)
    stateful_clock.advance(5)
    assert executor.replace_linked_pod("n", "u", "s", P, P, persist_seconds=60) == (True, P)
    assert stateful_redis.get(CREATED) == first
    assert 59 <= stateful_redis.ttl(CREATED) <= 60
    executor.replace_linked_pod("n", "u", "s", P, Q, persist_seconds=90)
    assert 89 <= stateful_redis.ttl(CREATED) <= 90
    assert executor.refresh_linked_pod("n", "u", "s", Q, 30)
    assert 29 <= stateful_redis.ttl(CREATED) <= 30
    executor.replace_linked_pod("n", "u", "s", Q, P)
    assert YEAR - 1 <= stateful_redis.ttl(CREATED) <= YEAR


def test_batch_writes_return_results_by_uid(do: Do, stateful_redis: redis.Redis) -> None:
    do("set_linked_pod", "n", "b", "s", P)
    uids = ["c", "b", "a", "c"]
    assert do("batch_set_linked_pod_if_absent", "n", uids, "s", Q) == {Q: ["c", "a"], P: ["b"]}
    assert do("get_link_service", "n", "c") == {"s": Q}
    assert do("batch_set_linked_pod_if_absent", "n", [], "s", Q) == {}
    asked = ["a", "nobody", "b"]
    assert do("batch_remove_linked_pod", "n", asked, "s", persist_seconds=60) == ["a", "b"]
    assert 59 <= stateful_redis.ttl("sf:{n:lk:b}s") <= 60
    assert do("batch_remove_linked_pod", "n", ["c", "a"], "s") == ["c", "a"]
    assert do("batch_get_linked_pod", "n", ["a", "b", "c"], "s") == {P: ["b"]}
    assert do("batch_remove_linked_pod", "n", [], "s") == []


@pytest.mark.parametrize("before", ["transient(q)", "persistent(q)"])
@pytest.mark.parametrize("seconds", [-1, 0])
def test_refresh_rejects_seconds_that_are_not_positive(
    do: Do, stateful_redis: redis.Redis, before: str, seconds: int
) -> None:
    """``EXPIRE`` with a TTL that is not positive would delete the link."""
    put(stateful_redis, BEFORE[before])
    kept = found(stateful_redis)
    with pytest.raises(podlink.InvalidParameterError, match="persist_seconds"):
        do("refresh_linked_pod", "n", "u", "s", Q, seconds)
    assert kept is not None
    assert found(stateful_redis) == kept


def test_batch_continues_after_a_failed_uid(do: Do, stateful_redis: redis.Redis) -> None:
    stateful_redis.set("sf:{n:lk:bad}s", "x")
    with pytest.raises(podlink.InternalError, match=r"sf:\{n:lk:bad\}s") as caught:
        do("batch_set_linked_pod_if_absent", "n", ["a", "bad", "b"], "s", Q)
    assert caught.value.undone == ("bad",)
    assert "1 of 3" in str(caught.value)
    assert not caught.value.outcome_unknown
    assert do("batch_get_linked_pod", "n", ["a", "b"], "s") == {Q: ["a", "b"]}
    with pytest.raises(podlink.InternalError) as caught:
        do("batch_remove_linked_pod", "n", ["a", "bad", "b"], "s")
    assert caught.value.undone == ("bad",)
    assert do("batch_get_linked_pod", "n", ["a", "b"], "s") == {}


def test_batch_of_thousands_of_uids(do: Do) -> None:
    uids = [f"u{i}" for i in range(2_500)]
    assert do("batch_set_linked_pod_if_absent", "n", uids, "s", Q) == {Q: uids}
    assert do("batch_get_linked_pod", "n", uids, "s") == {Q: uids}
    assert do("batch_remove_linked_pod", "n", uids, "s") == uids


def test_service_and_workload_states(do: Do) -> None:
    assert do("get_service_state", "n", "s") == {}
    assert do("read_service_state", "n", "s") is None
    assert do("set_service_state", "n", "s", 1, "STARTING") is None
    do("set_service_state", "n", "s", 1, "RÜN")
    do("set_service_state", "n", "s", 0, "DOWN")
    assert do("get_service_state", "n", "s") == {1: "RÜN", 0: "DOWN"}
    assert do("read_service_state", "n", "s").pod_states == {1: "RÜN", 0: "DOWN"}
    assert do("set_workload_state", "n", "b", "UP") is None
    assert do("get_workload_state", "n", ["a", "b", "b"]) == {"b": "UP"}
    assert do("read_workload_state", "n", "b").state == "UP"
    assert do("read_workload_state", "n", "a") is None


def test_require_and_create_raise(do: Do) -> None:
    with pytest.raises(podlink.PodNotFoundError):
        do("require_linked_pod", "n", "u", "s")
    assert do("create_linked_pod", "n", "u", "s", 4) == 4
    assert do("require_linked_pod", "n", "u", "s") == 4
    for pod in (4, 5):
        with pytest.raises(podlink.LinkExistsError) as caught:
            do("create_linked_pod", "n", "u", "s", pod)
        assert caught.value.pod_id == 4
    with pytest.raises(podlink.ServiceNotFoundError):
        do("require_service_state", "n", "s")
    do("set_service_state", "n", "s", 1, "UP")
    assert do("require_service_state", "n", "s") == {1: "UP"}


def server_time(server: redis.Redis) -> datetime:
    seconds, microseconds = server.time()
    start = datetime.fromtimestamp(seconds, timezone.utc)
    return start.replace(microsecond=microseconds // 1000 * 1000)


def test_update_times_come_from_the_server_clock(
    stateful_executor: StatefulExecutor, stateful_redis: redis.Redis, stateful_clock: Any
) -> None:
    before = server_time(stateful_redis)
    stateful_executor.set_service_state("n", "s", 1, "UP")
    stateful_executor.set_workload_state("n", "s", "UP")
    after = server_time(stateful_redis)
    service = stateful_executor.read_service_state("n", "s")
    workload = stateful_executor.read_workload_state("n", "s")
    assert service is not None
    assert workload is not None
    for time in (service.updated_at, workload.updated_at):
        assert time is not None
        assert before <= time <= after
        assert time.utcoffset() == timedelta(0)
    stateful_redis.hset("sf:{n:state:s}", "2", "UP")
    assert stateful_executor.read_service_state("n", "s") == podlink.ServiceState(
        "n", "s", {1: "UP", 2: "UP"}, None
    )


def test_update_time_of_a_state_overwritten_by_others_is_unknown(
    stateful_executor: StatefulExecutor, stateful_redis: redis.Redis
) -> None:
    stateful_executor.set_service_state("n", "s", 1, "UP")
    stateful_executor.set_workload_state("n", "s", "UP")
    stateful_redis.hset("sf:{n:state:s}", "1", "DOWN")
    stateful_redis.set("sf:{n:workload:s}", "DOWN")
    service = stateful_executor.read_service_state("n", "s")
    workload = stateful_executor.read_workload_state("n", "s")
    assert service == podlink.ServiceState("n", "s", {1: "DOWN"}, None)
    assert workload == podlink.WorkloadState("n", "s", "DOWN", None)


def test_update_times_of_states_deleted_by_others_expire(
    stateful_executor: StatefulExecutor, stateful_redis: redis.Redis, stateful_clock: Any
) -> None:
    states = "sf:{n:state:s}"
    for pod in (1, 2, 3):
        stateful_executor.set_service_state("n", "s", pod, "UP")
    stateful_redis.hdel(states, "1", "2")
    stateful_executor.set_service_state("n", "s", 3, "UP")
    assert stateful_redis.hlen(states + "@") == 3
    stateful_clock.advance(3601)
    stateful_executor.set_service_state("n", "s", 3, "UP")
    assert stateful_redis.hkeys(states + "@") in (["3"], [b"3"])
    stateful_executor.set_workload_state("n", "s", "UP")
    stateful_redis.delete(states, "sf:{n:workload:s}")
    stateful_clock.advance(YEAR - 10)
    assert len(stateful_redis.keys("*")) == 2
    stateful_clock.advance(20)
    assert stateful_redis.keys("*") == []


def test_update_time_of_a_state_written_by_others_is_unknown(
    stateful_executor: StatefulExecutor, stateful_redis: redis.Redis
) -> None:
    stateful_redis.hset("sf:{n:state:s}", "2", "UP")
    stateful_redis.set("sf:{n:workload:s}", "UP")
    service = stateful_executor.read_service_state("n", "s")
    workload = stateful_executor.read_workload_state("n", "s")
    assert service is not None
    assert service.updated_at is None
    assert workload is not None
    assert workload.updated_at is None


def test_read_pod_link_returns_the_expiry_time(
    stateful_executor: StatefulExecutor, stateful_redis: redis.Redis, stateful_clock: Any
) -> None:
    stateful_executor.set_linked_pod("n", "u", "s", 4, persist_seconds=60)
    now = server_time(stateful_redis)
    link = stateful_executor.read_pod_link("n", "u", "s")
    assert link is not None
    assert link.expires_at is not None
    assert abs(link.expires_at - now - timedelta(seconds=60)) < timedelta(seconds=1)
    assert link.created_at is None
    stateful_clock.advance(61)
    assert stateful_executor.read_pod_link("n", "u", "s") is None
    assert stateful_executor.get_linked_pod("n", "u", "s") is None


@pytest.fixture
def tracking(stateful_redis: redis.Redis) -> StatefulExecutor:
    return StatefulExecutor(stateful_redis, track_link_times=True)


MAKERS = ["set_linked_pod", "try_set_linked_pod", "set_linked_pod_if_absent", "create_linked_pod"]


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("seconds", [-1, 60])
def test_creation_time_is_stored_if_times_are_tracked(
    tracking: StatefulExecutor, stateful_redis: redis.Redis, maker: str, seconds: int
) -> None:
    before = server_time(stateful_redis)
    getattr(tracking, maker)("n", "u", "s", 4, persist_seconds=seconds)
    link = tracking.read_pod_link("n", "u", "s")
    assert link is not None
    assert link.created_at is not None
    assert before <= link.created_at <= server_time(stateful_redis)
    expected = YEAR if seconds == -1 else seconds
    assert expected - 1 <= stateful_redis.ttl(CREATED) <= expected


def test_creation_time_is_kept_while_the_link_exists(
    tracking: StatefulExecutor, stateful_redis: redis.Redis, stateful_clock: Any
) -> None:
    def created_at() -> datetime | None:
        link = tracking.read_pod_link("n", "u", "s")
        return None if link is None else link.created_at

    tracking.set_linked_pod("n", "u", "s", 4)
    first = created_at()
    assert first is not None
    tracking.remove_linked_pod("n", "u", "s", persist_seconds=60)
    assert created_at() == first
    assert 59 <= stateful_redis.ttl(CREATED) <= 60
    tracking.set_linked_pod("n", "u", "s", 4)
    assert created_at() == first
    assert YEAR - 1 <= stateful_redis.ttl(CREATED) <= YEAR
    stateful_clock.advance(100)
    tracking.refresh_linked_pod("n", "u", "s", 4, 60)
    assert YEAR - 1 <= stateful_redis.ttl(CREATED) <= YEAR
    stateful_redis.set(CREATED, "1000 4")
    tracking.set_linked_pod("n", "u", "s", 5, persist_seconds=60)
    second = created_at()
    assert second is not None
    assert second >= first
    stateful_clock.advance(61)
    assert stateful_redis.exists(CREATED) == 0


RENEWALS: dict[str, Callable[[StatefulExecutor], object]] = {
    "set": lambda executor: executor.set_linked_pod("n", "u", "s", 5),
    "set for a while": lambda executor: executor.set_linked_pod(
        "n", "u", "s", 5, persist_seconds=9
    ),
    "try_set": lambda executor: executor.try_set_linked_pod("n", "u", "s", 5),
    "replace": lambda executor: executor.replace_linked_pod("n", "u", "s", 5, 5),
    "refresh": lambda executor: executor.refresh_linked_pod("n", "u", "s", 5, 9),
    "remove": lambda executor: executor.remove_linked_pod("n", "u", "s", persist_seconds=9),
    "remove_with_id": lambda executor: executor.remove_linked_pod_with_id(
        "n", "u", "s", 5, persist_seconds=9
    ),
}


@pytest.mark.parametrize("seconds", [-1, 60])
@pytest.mark.parametrize("stamp", ["made", "1700000000000", "1700000000000 6", "x", {"a": "b"}])
@pytest.mark.parametrize("renew", RENEWALS.values(), ids=RENEWALS)
def test_creation_time_of_another_link_is_unknown_and_deleted(
    tracking: StatefulExecutor,
    stateful_redis: redis.Redis,
    renew: Callable[[StatefulExecutor], object],
    stamp: Any,
    seconds: int,
) -> None:
    """Another program linked the uid to another pod; podlink keeps that link."""
    tracking.set_linked_pod("n", "u", "s", 4, persist_seconds=seconds)
    stateful_redis.set(LINK, "5", ex=None if seconds == -1 else seconds)
    if isinstance(stamp, dict):
        stateful_redis.delete(CREATED)
        stateful_redis.hset(CREATED, mapping=stamp)
    elif stamp != "made":
        stateful_redis.set(CREATED, stamp)
    if stamp not in ("x", {"a": "b"}):
        link = tracking.read_pod_link("n", "u", "s")
        assert link is not None
        assert link.created_at is None
    renew(tracking)
    assert stateful_redis.exists(LINK) == 1
    assert stateful_redis.exists(CREATED) == 0


def test_creation_time_of_a_link_removed_by_others_expires(
    tracking: StatefulExecutor, stateful_redis: redis.Redis, stateful_clock: Any
) -> None:
    tracking.set_linked_pod("n", "u", "s", 4)
    stateful_redis.delete(LINK, INDEX)
    assert tracking.read_pod_link("n", "u", "s") is None
    stateful_clock.advance(YEAR + 1)
    assert stateful_redis.exists(CREATED) == 0


@pytest.mark.parametrize("maker", MAKERS)
def test_new_link_after_removal_by_others_has_a_new_creation_time(
    tracking: StatefulExecutor, stateful_redis: redis.Redis, maker: str
) -> None:
    tracking.set_linked_pod("n", "u", "s", 4)
    stateful_redis.set(CREATED, "1000 4")
    stateful_redis.delete(LINK, INDEX)
    getattr(tracking, maker)("n", "u", "s", 4)
    link = tracking.read_pod_link("n", "u", "s")
    assert link is not None
    assert link.created_at is not None
    assert link.created_at.year > 1970


@pytest.mark.parametrize("maker", MAKERS[:2])
def test_link_created_without_tracking_has_no_creation_time(
    tracking: StatefulExecutor, stateful_executor: StatefulExecutor, maker: str
) -> None:
    tracking.set_linked_pod("n", "u", "s", 4, persist_seconds=60)
    getattr(stateful_executor, maker)("n", "u", "s", 5)
    link = tracking.read_pod_link("n", "u", "s")
    assert link is not None
    assert link.created_at is None


def test_removed_link_leaves_no_keys(
    tracking: StatefulExecutor, stateful_executor: StatefulExecutor, stateful_redis: redis.Redis
) -> None:
    tracking.set_linked_pod("n", "u", "s", 4)
    stateful_executor.remove_linked_pod("n", "u", "s")
    tracking.set_linked_pod("n", "u", "s", 4)
    tracking.remove_linked_pod_with_id("n", "u", "s", 4)
    assert stateful_redis.keys("*") == []


def test_invalid_argument_is_counted_and_nothing_is_sent(
    stateful_executor: StatefulExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sent(*args: Any, **options: Any) -> None:
        raise AssertionError("something was sent")

    monkeypatch.setattr(stateful_executor.manager.client, "execute_command", sent)
    with pytest.raises(ValueError, match="INVALID_PARAMETER: pod_id"):
        stateful_executor.set_linked_pod("n", "u", "s", -1)
    entry = stateful_executor.metrics.get(ErrorCode.INVALID_PARAMETER)
    assert entry is not None
    assert entry.count == 1


def test_log_records_of_operations(
    stateful_executor: StatefulExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="podlink"):
        stateful_executor.set_linked_pod("n", "u", "s", 4)
        stateful_executor.batch_get_linked_pod("n", ["u"], "s")
        with pytest.raises(podlink.PodNotFoundError):
            stateful_executor.require_linked_pod("n", "x", "s")
    done, batch, failed = caplog.records
    fields = ("operation", "namespace", "service", "uid", "pod", "code")
    assert [getattr(done, f) for f in fields] == ["set_linked_pod", "n", "s", "u", 4, None]
    assert [getattr(batch, f) for f in fields] == [
        "batch_get_linked_pod", "n", "s", None, None, None,
    ]  # fmt: skip
    assert [getattr(failed, f) for f in fields] == [
        "require_linked_pod", "n", "s", "x", None, "POD_NOT_FOUND",
    ]  # fmt: skip
    for record in caplog.records:
        assert 0 <= record.__dict__["duration"] < 60
        assert record.levelno == logging.DEBUG


def test_logger_has_a_null_handler() -> None:
    assert any(isinstance(h, logging.NullHandler) for h in logging.getLogger("podlink").handlers)


def test_sync_and_asyncio_classes_have_the_same_signatures() -> None:
    def members(cls: type) -> dict[str, list[str] | None]:
        """Return the arguments of the public methods with kinds and defaults; `None` for a
        property.
        """
        return {
            name: [
                f"{argument.kind.name} {argument.name} {argument.default}"
                for argument in inspect.signature(member).parameters.values()
            ]
            if inspect.isfunction(member)
            else None
            for name, member in vars(cls).items()
            if not name.startswith("_")
        }

    assert members(StatefulExecutor) == members(AsyncStatefulExecutor)
    assert members(podlink.LinkRouter) == members(podlink.AsyncLinkRouter)
    asynchronous = members(podlink.AsyncRedisManager)
    del asynchronous["lease"]  # asyncio has a client for each event loop
    assert members(podlink.RedisManager) == asynchronous


@pytest.mark.parametrize("source", [None, 5, object(), b"redis://h"])
def test_source_of_another_type_is_rejected(source: Any) -> None:
    for cls in (StatefulExecutor, AsyncStatefulExecutor):
        with pytest.raises(podlink.InvalidParameterError, match="a source must be"):
            cls(source)


def test_client_of_the_other_kind_is_rejected(stateful_redis: redis.Redis) -> None:
    with pytest.raises(podlink.InvalidParameterError, match="asynchronous class"):
        StatefulExecutor(redis.asyncio.Redis())
    with pytest.raises(podlink.InvalidParameterError, match="synchronous class"):
        AsyncStatefulExecutor(stateful_redis)
