"""The sans-IO core: arguments to commands, replies to results, without server or client."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
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

Make = partial[Call[Any]]
"""Creates a call when it is called, so that importing this module creates none."""

WRITES: list[tuple[Make, scripts.Script, list[Any], bool]] = [
    (partial(operations.set_linked_pod, "n", "u", "s", 7, -1, False), scripts.SET_LINKED_POD,
     [LINK, INDEX, CREATED, b"s", 7, -1, b"0"], True),
    (partial(operations.try_set_linked_pod, "n", "u", "s", 7, 60, True), scripts.TRY_SET_LINKED_POD,
     [LINK, INDEX, CREATED, b"s", 7, 60, b"1"], True),
    (partial(operations.set_linked_pod_if_absent, "n", "u", "s", 7, 60, False),
     scripts.SET_LINKED_POD_IF_ABSENT, [LINK, INDEX, CREATED, b"s", 7, 60, b"0"], True),
    (partial(operations.create_linked_pod, "n", "u", "s", 7, 60, False),
     scripts.SET_LINKED_POD_IF_ABSENT, [LINK, INDEX, CREATED, b"s", 7, 60, b"0"], True),
    (partial(operations.replace_linked_pod, "n", "u", "s", 6, 7, 60, True),
     scripts.REPLACE_LINKED_POD, [LINK, INDEX, CREATED, b"s", 7, 60, b"1", 6], True),
    (partial(operations.refresh_linked_pod, "n", "u", "s", 7, 60), scripts.REFRESH_LINKED_POD,
     [LINK, INDEX, CREATED, b"s", 7, 60], True),
    (partial(operations.remove_linked_pod, "n", "u", "s", -1), scripts.REMOVE_LINKED_POD,
     [LINK, INDEX, CREATED, b"s", -1], True),
    (partial(operations.remove_linked_pod_with_id, "n", "u", "s", 7, 60),
     scripts.REMOVE_LINKED_POD_WITH_ID, [LINK, INDEX, CREATED, b"s", 60, 7], True),
    (partial(operations.set_service_state, "n", "s", 7, "é"), scripts.SET_SERVICE_STATE,
     [STATES, STATES + b"@", 7, "é".encode()], True),
    (partial(operations.set_workload_state, "n", "s", "UP"), scripts.SET_WORKLOAD_STATE,
     [WORKLOAD, WORKLOAD + b"@", b"UP"], True),
    (partial(operations.get_linked_pod_if_persist, "n", "u", "s"),
     scripts.GET_LINKED_POD_IF_PERSIST, [LINK], False),
    (partial(operations.read_pod_link, "n", "u", "s"), scripts.READ_POD_LINK,
     [LINK, CREATED], False),
    (partial(operations.read_service_state, "n", "s"), scripts.READ_SERVICE_STATE,
     [STATES, STATES + b"@"], False),
    (partial(operations.read_workload_state, "n", "s"), scripts.GET_EACH,
     [WORKLOAD, WORKLOAD + b"@"], False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "script", "sent", "write"), WRITES, ids=[make.func.__name__ for make, *_ in WRITES]
)
def test_operation_becomes_a_script_call(
    make: Make, script: scripts.Script, sent: list[Any], write: bool
) -> None:
    call = make()
    keys = sum(isinstance(part, bytes) and part.startswith(b"sf:") for part in sent)
    assert call.wire == ("EVALSHA", script.sha, keys, *sent)
    assert call.script is script
    assert call.write is write
    assert call.wire_with_source[:3] == ("EVAL", script.source, keys)


@pytest.mark.parametrize(
    ("make", "wire"),
    [
        (partial(operations.get_linked_pod, "n", "u", "s"), ("GET", LINK)),
        (partial(operations.require_linked_pod, "n", "u", "s"), ("GET", LINK)),
        (partial(operations.get_link_service, "n", "u"), ("HGETALL", INDEX)),
        (partial(operations.get_service_state, "n", "s"), ("HGETALL", STATES)),
        (partial(operations.require_service_state, "n", "s"), ("HGETALL", STATES)),
    ],
    ids=lambda value: value.func.__name__ if isinstance(value, partial) else "",
)
def test_operation_becomes_a_command(make: Make, wire: tuple[Any, ...]) -> None:
    call = make()
    assert call.wire == wire
    assert call.write is False


def parsed(make: Make, reply: Any) -> Any:
    call = make()
    return call.parse(call, reply)


SET = partial(operations.set_linked_pod, "n", "u", "s", 7, -1, False)
TRY = partial(operations.try_set_linked_pod, "n", "u", "s", 7, -1, False)
ABSENT = partial(operations.set_linked_pod_if_absent, "n", "u", "s", 7, -1, False)
CREATE = partial(operations.create_linked_pod, "n", "u", "s", 7, -1, False)
PERSIST = partial(operations.get_linked_pod_if_persist, "n", "u", "s")
REMOVE = partial(operations.remove_linked_pod, "n", "u", "s", -1)
READ = partial(operations.read_pod_link, "n", "u", "s")
GET = partial(operations.get_linked_pod, "n", "u", "s")
REQUIRE = partial(operations.require_linked_pod, "n", "u", "s")
SERVICES = partial(operations.get_link_service, "n", "u")
GET_STATES = partial(operations.get_service_state, "n", "s")
READ_STATES = partial(operations.read_service_state, "n", "s")
READ_WORKLOAD = partial(operations.read_workload_state, "n", "s")


@pytest.mark.parametrize(
    ("make", "reply", "value"),
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
        (partial(operations.set_service_state, "n", "s", 1, "UP"), None, None),
        (partial(operations.set_workload_state, "n", "s", "UP"), None, None),
        (partial(operations.refresh_linked_pod, "n", "u", "s", 7, 60), 1, True),
        (partial(operations.refresh_linked_pod, "n", "u", "s", 7, 60), 0, False),
        (partial(operations.remove_linked_pod_with_id, "n", "u", "s", 7, -1), 1, True),
        (partial(operations.remove_linked_pod_with_id, "n", "u", "s", 7, -1), 0, False),
    ],
    ids=lambda value: value.func.__name__ if isinstance(value, partial) else repr(value),
)  # fmt: skip
def test_reply_becomes_a_result(make: Make, reply: Any, value: Any) -> None:
    assert parsed(make, reply) == value


@pytest.mark.parametrize(
    ("make", "reply", "named"),
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
    ids=lambda value: value.func.__name__ if isinstance(value, partial) else repr(value),
)  # fmt: skip
def test_malformed_reply_is_an_error_that_names_the_key_or_operation(
    make: Make, reply: Any, named: str
) -> None:
    with pytest.raises(InternalError) as caught:
        parsed(make, reply)
    assert named in str(caught.value)


def test_replies_that_raise_not_found_and_link_exists() -> None:
    with pytest.raises(PodNotFoundError, match="uid 'u' is linked to no pod of s in n"):
        parsed(REQUIRE, None)
    with pytest.raises(ServiceNotFoundError, match="service s has no pod"):
        parsed(partial(operations.require_service_state, "n", "s"), {})
    with pytest.raises(LinkExistsError, match="already linked to pod 3 of s in n") as caught:
        parsed(CREATE, [0, 3])
    assert caught.value.pod_id == 3


def replied(batch: BatchCall[Any], stored: dict[bytes, bytes]) -> Any:
    """Return the result of a batch on a store with these keys."""
    return batch.result([[stored.get(key) for key in call.keys] for call in batch.calls])


@pytest.mark.parametrize("cluster", [False, True])
def test_batch_of_links_is_split_per_key_on_a_cluster(cluster: bool) -> None:
    batch = operations.batch_get_linked_pod("n", ["c", "a", "b", "c", "d"], "s", cluster)
    assert len(batch.calls) == (4 if cluster else 1)
    stored = {b"sf:{n:lk:a}s": b"1", b"sf:{n:lk:b}s": b"0", b"sf:{n:lk:c}s": b"1"}
    assert replied(batch, stored) == {1: ["c", "a"], 0: ["b"]}
    with pytest.raises(InternalError, match=r"sf:\{n:lk:d\}s"):
        replied(batch, {**stored, b"sf:{n:lk:d}s": b"pod-1"})


@pytest.mark.parametrize("cluster", [False, True])
def test_batch_of_workload_states(cluster: bool) -> None:
    batch = operations.get_workload_state("n", ["s", "t", "s"], cluster)
    assert len(batch.calls) == (2 if cluster else 1)
    assert replied(batch, {WORKLOAD: b"UP"}) == {"s": "UP"}
    with pytest.raises(InternalError, match=r"sf:\{n:workload:s\}"):
        replied(batch, {WORKLOAD: b""})


def test_empty_batch_sends_nothing() -> None:
    batch = operations.batch_get_linked_pod("n", [], "s", False)
    assert list(batch.calls) == []
    assert replied(batch, {}) == {}


def test_large_batch_is_split() -> None:
    uids = [str(i) for i in range(10_001)]
    batch = operations.batch_get_linked_pod("n", uids, "s", False)
    assert [len(call.keys) for call in batch.calls] == [10_000, 1]
    stored = {f"sf:{{n:lk:{uid}}}s".encode(): b"2" for uid in uids}
    assert replied(batch, stored) == {2: uids}


def test_failed_batch_of_writes_names_the_uids_that_are_undone() -> None:
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


def test_batch_of_removals_returns_the_uids_that_were_linked() -> None:
    batch = operations.batch_remove_linked_pod("n", ["c", "a", "b", "c"], "s", 60)
    assert [call.uid for call in batch.calls] == ["c", "a", "b"]
    assert batch.result([1, 0, 1]) == ["c", "b"]
    with pytest.raises(BatchFailure) as caught:
        batch.result([1, TimeoutError(), 1])
    assert caught.value.undone == ("a",)


def test_failed_batch_of_reads_names_the_uids_of_the_failed_call() -> None:
    uids = [str(i) for i in range(2 * operations.KEYS_PER_CALL + 1)]
    batch = operations.batch_get_linked_pod("n", uids, "s", False)
    replies = [[None] * len(call.keys) for call in batch.calls]
    with pytest.raises(BatchFailure) as caught:
        batch.result([replies[0], TimeoutError(), replies[2]])
    assert caught.value.undone == tuple(uids[operations.KEYS_PER_CALL : -1])


def test_replies_of_replace() -> None:
    make = partial(operations.replace_linked_pod, "n", "u", "s", 1, 2, -1, False)
    assert parsed(make, [1, 2]) == (True, 2)
    assert parsed(make, [0, 3]) == (False, 3)
    assert parsed(make, [0, None]) == (False, None)


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

OF_LINK = ("s", "u", (LINK, INDEX, CREATED))
OF_STATES, OF_WORKLOAD = (
    ("s", None, (STATES, STATES + b"@")),
    ("s", None, (WORKLOAD, WORKLOAD + b"@")),
)
SUBJECTS: dict[Operation, tuple[str | None, str | None, tuple[bytes, ...]]] = {
    **dict.fromkeys(OPERATIONS, OF_LINK),
    operations.set_service_state: OF_STATES,
    operations.read_service_state: OF_STATES,
    operations.get_service_state: ("s", None, (STATES,)),
    operations.require_service_state: ("s", None, (STATES,)),
    operations.set_workload_state: OF_WORKLOAD,
    operations.read_workload_state: OF_WORKLOAD,
    operations.get_link_service: (None, "u", (INDEX,)),
}
"""Service, uid and keys of each operation's call."""

BATCHES: dict[Operation, tuple[str | None, str | None, tuple[bytes, ...]]] = {
    operations.batch_set_linked_pod_if_absent: OF_LINK,
    operations.batch_remove_linked_pod: OF_LINK,
    operations.batch_get_linked_pod: (None, None, (LINK,)),
    operations.get_workload_state: (None, None, (WORKLOAD,)),
}
"""The same for the calls of a batch."""


@pytest.mark.parametrize(
    "operation",
    [each for each in OPERATIONS if each not in BATCHES],
    ids=lambda each: each.__name__,
)
def test_call_has_the_attributes_of_its_operation(operation: Operation) -> None:
    """Logs, metrics and error messages use these attributes."""
    arguments = OPERATIONS[operation]
    call = operation(*arguments)
    service, uid, keys = SUBJECTS[operation]
    names_pod = "pod_id" in inspect.signature(operation).parameters
    pod = (
        arguments[[*inspect.signature(operation).parameters].index("pod_id")] if names_pod else None
    )
    assert call.operation == operation.__name__
    assert (call.namespace, call.service_name, call.uid, call.pod_id) == ("n", service, uid, pod)
    assert call.keys == keys


@pytest.mark.parametrize("operation", BATCHES, ids=lambda each: each.__name__)
def test_batch_has_the_attributes_of_its_operation(operation: Operation) -> None:
    batch = operation(*OPERATIONS[operation])
    assert batch.operation == operation.__name__
    assert batch.namespace == "n"
    assert batch.service_name == (None if operation is operations.get_workload_state else "s")
    assert batch.pod_id == (1 if operation is operations.batch_set_linked_pod_if_absent else None)
    assert batch.write == (
        operation.__name__ in ("batch_set_linked_pod_if_absent", "batch_remove_linked_pod")
    )
    (call,) = batch.calls
    service, uid, keys = BATCHES[operation]
    assert call.operation == operation.__name__
    assert (call.service_name, call.uid, call.keys) == (service, uid, keys)
    assert call.namespace == ("n" if batch.write else None)
    assert call.pod_id == batch.pod_id
    assert list(batch.names) == (["s"] if operation is operations.get_workload_state else ["u"])


@pytest.mark.parametrize(
    ("make", "script", "sent"),
    [
        (partial(operations.batch_set_linked_pod_if_absent, "n", ["u"], "s", 7, 60, False),
         scripts.SET_LINKED_POD_IF_ABSENT, (3, LINK, INDEX, CREATED, b"s", 7, 60, b"0")),
        (partial(operations.batch_set_linked_pod_if_absent, "n", ["u"], "s", 7, 60, True),
         scripts.SET_LINKED_POD_IF_ABSENT, (3, LINK, INDEX, CREATED, b"s", 7, 60, b"1")),
        (partial(operations.batch_remove_linked_pod, "n", ["u"], "s", 60),
         scripts.REMOVE_LINKED_POD, (3, LINK, INDEX, CREATED, b"s", 60)),
        (partial(operations.batch_get_linked_pod, "n", ["u"], "s", False),
         scripts.GET_EACH, (1, LINK)),
        (partial(operations.get_workload_state, "n", ["s"], False),
         scripts.GET_EACH, (1, WORKLOAD)),
    ],
    ids=lambda value: value.func.__name__ if isinstance(value, partial) else "",
)  # fmt: skip
def test_calls_of_a_batch(
    make: partial[BatchCall[Any]], script: scripts.Script, sent: tuple[Any, ...]
) -> None:
    (call,) = make().calls
    assert call.wire == ("EVALSHA", script.sha, *sent)
    assert call.script is script


@pytest.mark.parametrize("cluster", [False, True])
def test_failed_read_of_workloads_names_them(cluster: bool) -> None:
    batch = operations.get_workload_state("n", ["s", "t"], cluster)
    with pytest.raises(BatchFailure) as caught:
        batch.result([TimeoutError(), *[[b"UP"]] * (len(batch.calls) - 1)])
    assert caught.value.undone == (("s",) if cluster else ("s", "t"))


@pytest.mark.parametrize(
    "operation",
    [
        operations.set_linked_pod,
        operations.try_set_linked_pod,
        operations.set_linked_pod_if_absent,
        operations.create_linked_pod,
    ],
)
def test_link_times_are_tracked_on_request(operation: Operation) -> None:
    for track, sent in ((False, b"0"), (True, b"1")):
        assert operation("n", "u", "s", 7, 60, track).wire[-1] == sent


BAD: dict[Operation, list[tuple[tuple[Any, ...], str]]] = {
    operations.get_workload_state: [
        (("", [], False), "namespace"),
        (("n", "s", False), "service_names"),
    ],
    operations.batch_get_linked_pod: [
        (("", [], "s", False), "namespace"),
        (("n", [], "", False), "service_name"),
        (("n", "u", "s", False), "uids"),
    ],
    operations.batch_set_linked_pod_if_absent: [
        (("", [], "s", 1, -1, False), "namespace"),
        (("n", [], "", 1, -1, False), "service_name"),
        (("n", "u", "s", 1, -1, False), "uids"),
        (("n", [], "s", -1, -1, False), "pod_id"),
        (("n", [], "s", 1, 0, False), "persist_seconds"),
    ],
    operations.batch_remove_linked_pod: [
        (("", [], "s", -1), "namespace"),
        (("n", [], "", -1), "service_name"),
        (("n", "u", "s", -1), "uids"),
        (("n", [], "s", 0), "persist_seconds"),
    ],
}


@pytest.mark.parametrize(
    ("operation", "arguments", "named"),
    [(operation, *case) for operation, cases in BAD.items() for case in cases],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_error_of_an_empty_batch_names_the_invalid_argument(
    operation: Operation, arguments: tuple[Any, ...], named: str
) -> None:
    with pytest.raises(InvalidParameterError, match=f"^INVALID_PARAMETER: {named}"):
        operation(*arguments)


def test_move_call_belongs_to_the_drain_operation() -> None:
    make = partial(operations.move_linked_pod, "n", "u", "s", 6, 7, True)
    call = make()
    assert call.operation == "drain_pod"
    assert (call.namespace, call.service_name, call.uid, call.pod_id) == ("n", "s", "u", 7)
    assert call.write
    assert call.wire[3:] == (LINK, INDEX, CREATED, b"s", 7, b"keep", b"1", 6)
    assert [parsed(make, reply) for reply in ([1, 7], [0, 6], [0, None])] == [True, False, False]


@given(st.sampled_from(list(OPERATIONS)), st.data())
def test_every_argument_of_every_operation_is_checked(
    operation: Operation, data: st.DataObject
) -> None:
    """Replace one argument by a value that no operation accepts there."""
    good = list(OPERATIONS[operation])
    place = data.draw(st.sampled_from([i for i, part in enumerate(good) if part is not False]))
    bad: Any = data.draw(
        st.sampled_from(["", "\x00", None, True, -2, 2**31, 1.5, b"x", ["\x00"], {}, []])
    )
    if isinstance(good[place], list) and bad in ([], {}):
        return  # an empty list of uids is valid
    if operation in (operations.set_service_state, operations.set_workload_state) and bad == "\x00":
        return  # a state may contain any characters
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
def test_keep_is_not_a_valid_value_of_persist_seconds(make: Any, seconds: Any) -> None:
    with pytest.raises(InvalidParameterError, match="persist_seconds"):
        make("n", "u", "s", 7, seconds, False)
