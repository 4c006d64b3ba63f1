"""The sans-IO core: arguments in, commands out; replies in, values out. No server, no client."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
import redis.exceptions
from hypothesis import given
from hypothesis import strategies as st

from podlink import (
    InternalError,
    InvalidParameterError,
    LinkExistsError,
    PodLink,
    PodNotFoundError,
    ServiceNotFoundError,
    ServiceState,
    WorkloadState,
    operations,
    scripts,
)
from podlink.calls import BatchCall, BatchFailure, Call

LINK, INDEX, CREATED = b"sf:{n:lk:u}s", b"sf:{n:lk:u}", b"sf:{n:lk:u}s@"
STATES, WORKLOAD = b"sf:{n:state:s}", b"sf:{n:workload:s}"
SECOND = datetime(2001, 9, 9, 1, 46, 40, tzinfo=timezone.utc)

WRITES: list[tuple[Call[Any], scripts.Script, list[Any], bool]] = [
    (operations.set_linked_pod("n", "u", "s", 7, -1, False), scripts.SET_LINKED_POD,
     [LINK, INDEX, CREATED, b"s", 7, -1, b"0"], True),
    (operations.try_set_linked_pod("n", "u", "s", 7, 60, True), scripts.TRY_SET_LINKED_POD,
     [LINK, INDEX, CREATED, b"s", 7, 60, b"1"], True),
    (operations.set_linked_pod_if_absent("n", "u", "s", 7, 60, False),
     scripts.SET_LINKED_POD_IF_ABSENT, [LINK, INDEX, CREATED, b"s", 7, 60, b"0"], True),
    (operations.create_linked_pod("n", "u", "s", 7, 60, False),
     scripts.SET_LINKED_POD_IF_ABSENT, [LINK, INDEX, CREATED, b"s", 7, 60, b"0"], True),
    (operations.replace_linked_pod("n", "u", "s", 6, 7, 60, True), scripts.REPLACE_LINKED_POD,
     [LINK, INDEX, CREATED, b"s", 7, 60, b"1", 6], True),
    (operations.refresh_linked_pod("n", "u", "s", 7, 60), scripts.REFRESH_LINKED_POD,
     [LINK, INDEX, CREATED, b"s", 7, 60], True),
    (operations.remove_linked_pod("n", "u", "s", -1), scripts.REMOVE_LINKED_POD,
     [LINK, INDEX, CREATED, b"s", -1], True),
    (operations.remove_linked_pod_with_id("n", "u", "s", 7, 60),
     scripts.REMOVE_LINKED_POD_WITH_ID, [LINK, INDEX, CREATED, b"s", 60, 7], True),
    (operations.set_service_state("n", "s", 7, "é"), scripts.SET_SERVICE_STATE,
     [STATES, STATES + b"@", 7, "é".encode()], True),
    (operations.set_workload_state("n", "s", "UP"), scripts.SET_WORKLOAD_STATE,
     [WORKLOAD, WORKLOAD + b"@", b"UP"], True),
    (operations.get_linked_pod_if_persist("n", "u", "s"), scripts.GET_LINKED_POD_IF_PERSIST,
     [LINK], False),
    (operations.read_pod_link("n", "u", "s"), scripts.READ_POD_LINK, [LINK, CREATED], False),
    (operations.read_service_state("n", "s"), scripts.READ_SERVICE_STATE,
     [STATES, STATES + b"@"], False),
    (operations.read_workload_state("n", "s"), scripts.GET_EACH,
     [WORKLOAD, WORKLOAD + b"@"], False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "script", "sent", "write"), WRITES, ids=[call.operation for call, *_ in WRITES]
)
def test_scripted_operation(
    call: Call[Any], script: scripts.Script, sent: list[Any], write: bool
) -> None:
    keys = sum(isinstance(part, bytes) and part.startswith(b"sf:") for part in sent)
    assert call.wire == ("EVALSHA", script.sha, keys, *sent)
    assert call.script is script
    assert call.write is write
    assert call.wire_with_source[:3] == ("EVAL", script.source, keys)


@pytest.mark.parametrize(
    ("call", "wire"),
    [
        (operations.get_linked_pod("n", "u", "s"), ("GET", LINK)),
        (operations.require_linked_pod("n", "u", "s"), ("GET", LINK)),
        (operations.get_link_service("n", "u"), ("HGETALL", INDEX)),
        (operations.get_service_state("n", "s"), ("HGETALL", STATES)),
        (operations.require_service_state("n", "s"), ("HGETALL", STATES)),
    ],
    ids=lambda value: value.operation if isinstance(value, Call) else "",
)
def test_plain_operation(call: Call[Any], wire: tuple[Any, ...]) -> None:
    assert call.wire == wire
    assert not call.write


def parsed(call: Call[Any], reply: Any) -> Any:
    return call.parse(call, reply)


SET = operations.set_linked_pod("n", "u", "s", 7, -1, False)
TRY = operations.try_set_linked_pod("n", "u", "s", 7, -1, False)
ABSENT = operations.set_linked_pod_if_absent("n", "u", "s", 7, -1, False)
CREATE = operations.create_linked_pod("n", "u", "s", 7, -1, False)
PERSIST = operations.get_linked_pod_if_persist("n", "u", "s")
REMOVE = operations.remove_linked_pod("n", "u", "s", -1)
READ = operations.read_pod_link("n", "u", "s")
GET = operations.get_linked_pod("n", "u", "s")
REQUIRE = operations.require_linked_pod("n", "u", "s")
SERVICES = operations.get_link_service("n", "u")
GET_STATES = operations.get_service_state("n", "s")
READ_STATES = operations.read_service_state("n", "s")
READ_WORKLOAD = operations.read_workload_state("n", "s")


@pytest.mark.parametrize(
    ("call", "reply", "value"),
    [
        (SET, None, None), (SET, 3, 3), (TRY, [1, 7], (True, 7)), (TRY, [0, 3], (False, 3)),
        (ABSENT, [1, 7], 7), (ABSENT, [0, 3], 3), (CREATE, [1, 7], 7), (REMOVE, 1, True),
        (REMOVE, 0, False), (GET, None, None), (GET, b"0", 0), (REQUIRE, b"5", 5),
        (PERSIST, [None, 0], None), (PERSIST, [b"3", 0], None), (PERSIST, [b"3", 1], 3),
        (SERVICES, {b"a": b"1", b"b": b"2"}, {"a": 1, "b": 2}), (SERVICES, [b"a", b"1"], {"a": 1}),
        (SERVICES, {}, {}), (SERVICES, [], {}), (GET_STATES, {b"3": b"UP"}, {3: "UP"}),
        (READ, [None, -2, b"1000000000000", None], None),
        (READ, [b"3", -1, b"1000000000000", None], PodLink("n", "u", "s", 3)),
        (READ, [b"3", 1000, b"999999999000", b"1000000000000 3"],
         PodLink("n", "u", "s", 3, SECOND, SECOND)),
        *((READ, [b"3", -1, b"1", other], PodLink("n", "u", "s", 3))
          for other in (b"1000000000000", b"1000000000000 ", b"1000000000000 33", b"7 4")),
        (READ_STATES, [[], [b"1", b"5"]], None),
        (READ_STATES, [[b"3", b"UP"], []], ServiceState("n", "s", {3: "UP"})),
        (READ_STATES, [[b"3", b"UP"], [b"3", b"1000000000000 UP", b"4", b"2000000000000 UP"]],
         ServiceState("n", "s", {3: "UP"}, SECOND)),
        (READ_STATES, [[b"3", b"a b", b"4", b"c"], [b"3", b"7 a b", b"4", b"1000000000000 c"]],
         ServiceState("n", "s", {3: "a b", 4: "c"}, SECOND)),
        *((READ_STATES, [[b"3", b"UP", b"4", b"UP"], [b"3", b"9 UP", *other]],
           ServiceState("n", "s", {3: "UP", 4: "UP"}))
          for other in ([], [b"4", b"10"], [b"4", b"10 UP "], [b"4", b"10 DOWN"])),
        (READ_WORKLOAD, [None, b"5"], None),
        (READ_WORKLOAD, [b"UP", None], WorkloadState("n", "s", "UP")),
        (READ_WORKLOAD, [b"UP", b"1000000000000 UP"], WorkloadState("n", "s", "UP", SECOND)),
        (READ_WORKLOAD, [b"UP", b"1000000000000"], WorkloadState("n", "s", "UP")),
        (READ_WORKLOAD, [b"UP", b"1000000000000 DOWN"], WorkloadState("n", "s", "UP")),
        (operations.set_service_state("n", "s", 1, "UP"), None, None),
    ],
    ids=lambda value: value.operation if isinstance(value, Call) else repr(value),
)  # fmt: skip
def test_reply(call: Call[Any], reply: Any, value: Any) -> None:
    assert parsed(call, reply) == value


@pytest.mark.parametrize(
    ("call", "reply", "named"),
    [
        (SET, -1, "sf:{n:lk:u}s"), (SET, b"x", "sf:{n:lk:u}s"), (GET, b"01", "sf:{n:lk:u}s"),
        (GET, b"", "sf:{n:lk:u}s"), (TRY, 5, "try_set_linked_pod"), (TRY, [1], "try_set_linked"),
        (REMOVE, 2, "remove_linked_pod"), (REMOVE, None, "remove_linked_pod"),
        (PERSIST, [b"x", 0], "sf:{n:lk:u}s"), (SERVICES, {b"a": b"x"}, "sf:{n:lk:u}"),
        (SERVICES, {b"\xff": b"1"}, "sf:{n:lk:u}"), (SERVICES, [b"a"], "get_link_service"),
        (SERVICES, None, "get_link_service"), (GET_STATES, {b"x": b"UP"}, "sf:{n:state:s}"),
        (GET_STATES, {b"1": b" "}, "sf:{n:state:s}"),
        (READ, [b"3", -1, b"1", b"x"], "sf:{n:lk:u}s@"),
        (READ, [b"3", -1, b"1", b" 3"], "sf:{n:lk:u}s@"), (READ, [b"3", -1, b"1", 5], "lk:u}s@"),
        (READ_STATES, [[b"3", b"UP"], [b"3", b"soon"]], "sf:{n:state:s}@"),
        (READ_WORKLOAD, [b"\xff", None], "sf:{n:workload:s}"),
        (READ_WORKLOAD, [b"UP", b"-1"], "sf:{n:workload:s}@"),
    ],
    ids=lambda value: value.operation if isinstance(value, Call) else repr(value),
)  # fmt: skip
def test_what_the_contract_rules_out_is_an_error_with_a_name(
    call: Call[Any], reply: Any, named: str
) -> None:
    with pytest.raises(InternalError) as caught:
        parsed(call, reply)
    assert named in str(caught.value)


def test_answers_that_are_errors() -> None:
    with pytest.raises(PodNotFoundError, match="uid 'u' is linked to no pod of s in n"):
        parsed(REQUIRE, None)
    with pytest.raises(ServiceNotFoundError, match="service s has no pod"):
        parsed(operations.require_service_state("n", "s"), {})
    with pytest.raises(LinkExistsError, match="pod 3 of s in n already") as caught:
        parsed(CREATE, [0, 3])
    assert caught.value.pod_id == 3


def replied(batch: BatchCall[Any], stored: dict[bytes, bytes]) -> Any:
    """The result of a batch on a store."""
    return batch.result([[stored.get(key) for key in call.keys] for call in batch.calls])


@pytest.mark.parametrize("cluster", [False, True])
def test_batch_of_links(cluster: bool) -> None:
    batch = operations.batch_get_linked_pod("n", ["c", "a", "b", "c", "d"], "s", cluster)
    assert len(batch.calls) == (4 if cluster else 1)
    stored = {b"sf:{n:lk:a}s": b"1", b"sf:{n:lk:b}s": b"0", b"sf:{n:lk:c}s": b"1"}
    assert replied(batch, stored) == {1: ["c", "a"], 0: ["b"]}
    with pytest.raises(InternalError, match=r"sf:\{n:lk:d\}s"):
        replied(batch, {**stored, b"sf:{n:lk:d}s": b"pod-1"})


@pytest.mark.parametrize("cluster", [False, True])
def test_batch_of_workloads(cluster: bool) -> None:
    batch = operations.get_workload_state("n", ["s", "t", "s"], cluster)
    assert replied(batch, {WORKLOAD: b"UP"}) == {"s": "UP"}
    with pytest.raises(InternalError, match=r"sf:\{n:workload:s\}"):
        replied(batch, {WORKLOAD: b""})


def test_an_empty_batch_sends_nothing() -> None:
    batch = operations.batch_get_linked_pod("n", [], "s", False)
    assert list(batch.calls) == []
    assert replied(batch, {}) == {}


def test_a_large_batch_is_cut() -> None:
    uids = [str(i) for i in range(operations.KEYS_PER_CALL + 1)]
    batch = operations.batch_get_linked_pod("n", uids, "s", False)
    assert [len(call.keys) for call in batch.calls] == [operations.KEYS_PER_CALL, 1]
    stored = {f"sf:{{n:lk:{uid}}}s".encode(): b"2" for uid in uids}
    assert replied(batch, stored) == {2: uids}


def test_a_batch_of_writes_tells_who_is_undone() -> None:
    batch = operations.batch_set_linked_pod_if_absent("n", list("abcd"), "s", 5, -1, False)
    assert batch.write
    broken = redis.exceptions.ConnectionError("gone")
    with pytest.raises(BatchFailure) as caught:
        batch.result([[1, 5], broken, [0, b"x"], [0, 4]])
    assert caught.value.undone == ("b", "c")
    assert caught.value.total == 4
    assert caught.value.errors[0] is broken
    assert isinstance(caught.value.errors[1], InternalError)
    assert batch.result([[1, 5], [0, 4], [1, 5], [0, 0]]) == {5: ["a", "c"], 4: ["b"], 0: ["d"]}


def test_a_batch_of_removals_tells_who_was_linked() -> None:
    batch = operations.batch_remove_linked_pod("n", ["c", "a", "b", "c"], "s", 60)
    assert [call.uid for call in batch.calls] == ["c", "a", "b"]
    assert batch.result([1, 0, 1]) == ["c", "b"]


def test_a_large_batch_of_reads_tells_which_call_failed() -> None:
    uids = [str(i) for i in range(2 * operations.KEYS_PER_CALL + 1)]
    batch = operations.batch_get_linked_pod("n", uids, "s", False)
    replies = [[None] * len(call.keys) for call in batch.calls]
    with pytest.raises(BatchFailure) as caught:
        batch.result([replies[0], TimeoutError(), replies[2]])
    assert caught.value.undone == tuple(uids[operations.KEYS_PER_CALL : -1])


def test_replaced_or_not() -> None:
    call = operations.replace_linked_pod("n", "u", "s", 1, 2, -1, False)
    assert parsed(call, [1, 2]) == (True, 2)
    assert parsed(call, [0, 3]) == (False, 3)
    assert parsed(call, [0, None]) == (False, None)


Operation = Callable[..., Any]
OPERATIONS: dict[Operation, tuple[Any, ...]] = {
    operations.set_service_state: ("n", "s", 1, "UP"),
    operations.get_service_state: ("n", "s"),
    operations.require_service_state: ("n", "s"),
    operations.read_service_state: ("n", "s"),
    operations.set_workload_state: ("n", "s", "UP"),
    operations.get_workload_state: ("n", ["s"], False),
    operations.read_workload_state: ("n", "s"),
    operations.set_linked_pod: ("n", "u", "s", 1, -1, False),
    operations.try_set_linked_pod: ("n", "u", "s", 1, -1, False),
    operations.set_linked_pod_if_absent: ("n", "u", "s", 1, -1, False),
    operations.create_linked_pod: ("n", "u", "s", 1, -1, False),
    operations.replace_linked_pod: ("n", "u", "s", 1, 2, -1, False),
    operations.refresh_linked_pod: ("n", "u", "s", 1, 60),
    operations.batch_set_linked_pod_if_absent: ("n", ["u"], "s", 1, -1, False),
    operations.batch_remove_linked_pod: ("n", ["u"], "s", -1),
    operations.get_linked_pod: ("n", "u", "s"),
    operations.require_linked_pod: ("n", "u", "s"),
    operations.get_linked_pod_if_persist: ("n", "u", "s"),
    operations.batch_get_linked_pod: ("n", ["u"], "s", False),
    operations.get_link_service: ("n", "u"),
    operations.read_pod_link: ("n", "u", "s"),
    operations.remove_linked_pod: ("n", "u", "s", -1),
    operations.remove_linked_pod_with_id: ("n", "u", "s", 1, -1),
}


@given(st.sampled_from(list(OPERATIONS)), st.data())
def test_every_argument_of_every_operation_is_checked(
    operation: Operation, data: st.DataObject
) -> None:
    """One argument replaced by one that no operation takes in any place but that of a flag."""
    good = list(OPERATIONS[operation])
    place = data.draw(st.sampled_from([i for i, part in enumerate(good) if part is not False]))
    bad: Any = data.draw(
        st.sampled_from(["", "\x00", None, True, -2, 2**31, 1.5, b"x", ["\x00"], {}, []])
    )
    if isinstance(good[place], list) and bad in ([], {}):
        return  # an empty list of uids is a question too
    if operation in (operations.set_service_state, operations.set_workload_state) and bad == "\x00":
        return  # a state may hold anything that is not blank
    good[place] = bad
    with pytest.raises(InvalidParameterError):
        operation(*good)


@pytest.mark.parametrize(
    "make",
    [
        operations.set_linked_pod,
        operations.try_set_linked_pod,
        operations.set_linked_pod_if_absent,
        operations.create_linked_pod,
    ],
)
@pytest.mark.parametrize("seconds", [None, b"keep", "keep"])
def test_a_link_keeps_its_time_only_while_a_pod_is_drained(make: Any, seconds: Any) -> None:
    with pytest.raises(InvalidParameterError, match="persist_seconds"):
        make("n", "u", "s", 7, seconds, False)
