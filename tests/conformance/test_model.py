"""The model follows the tables of the semantics page, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from podlink import DELETE_NOW, PERSIST_FOREVER, ErrorCode, TrySetResult
from pytest_podlink.conformance.model import Model
from pytest_podlink.conformance.values import (
    YEAR,
    Dated,
    Entry,
    LinkRead,
    Refused,
    ServiceRead,
    Stamp,
    WorkloadRead,
)

AT = ("ns", "u", "svc")
LINK, INDEX, CREATED = b"sf:{ns:lk:u}svc", b"sf:{ns:lk:u}", b"sf:{ns:lk:u}svc@"
P, Q = 3, 7


def persistent(pod: int) -> dict[bytes, Entry]:
    return {LINK: Entry(b"%d" % pod), INDEX: Entry({b"svc": b"%d" % pod})}


def transient(pod: int, seconds: int) -> dict[bytes, Entry]:
    return {LINK: Entry(b"%d" % pod, seconds * 1000)}


def created(step: int, pod: int, seconds: int) -> Entry:
    return Entry(Dated(Stamp(step, LINK), b"%d" % pod), seconds * 1000)


ABSENT: dict[bytes, Entry] = {}
BEFORE = {
    "absent": ABSENT,
    "transient(q)": transient(Q, 50),
    "transient(p)": transient(P, 50),
    "persistent(q)": persistent(Q),
    "persistent(p)": persistent(P),
}
UNCHANGED = None
SET_FOREVER = (Q, PERSIST_FOREVER)
SET_A_WHILE = (Q, 9)
MADE = {SET_FOREVER: persistent(Q), SET_A_WHILE: transient(Q, 9)}


@pytest.mark.parametrize("arguments", [SET_FOREVER, SET_A_WHILE])
@pytest.mark.parametrize(
    ("operation", "before", "result", "changes"),
    [
        ("set_linked_pod", "absent", None, True),
        ("set_linked_pod", "transient(q)", Q, True),
        ("set_linked_pod", "transient(p)", P, True),
        ("set_linked_pod", "persistent(q)", Q, True),
        ("set_linked_pod", "persistent(p)", P, True),
        ("try_set_linked_pod", "absent", TrySetResult(True, Q), True),
        ("try_set_linked_pod", "transient(q)", TrySetResult(True, Q), True),
        ("try_set_linked_pod", "transient(p)", TrySetResult(True, Q), True),
        ("try_set_linked_pod", "persistent(q)", TrySetResult(True, Q), True),
        ("try_set_linked_pod", "persistent(p)", TrySetResult(False, P), False),
        ("set_linked_pod_if_absent", "absent", Q, True),
        ("set_linked_pod_if_absent", "transient(q)", Q, False),
        ("set_linked_pod_if_absent", "transient(p)", P, False),
        ("set_linked_pod_if_absent", "persistent(q)", Q, False),
        ("set_linked_pod_if_absent", "persistent(p)", P, False),
    ],
)
def test_operations_that_create_links(
    operation: str, before: str, result: Any, changes: bool, arguments: tuple[int, int]
) -> None:
    model = holding(BEFORE[before])
    assert getattr(model, operation)(*AT, *arguments) == result
    assert model.keys == (MADE[arguments] if changes else BEFORE[before])


@pytest.mark.parametrize(
    ("operation", "arguments", "before", "result", "after"),
    [
        ("remove_linked_pod", (DELETE_NOW,), "absent", False, ABSENT),
        ("remove_linked_pod", (DELETE_NOW,), "transient(q)", True, ABSENT),
        ("remove_linked_pod", (DELETE_NOW,), "persistent(p)", True, ABSENT),
        ("remove_linked_pod", (9,), "absent", False, ABSENT),
        ("remove_linked_pod", (9,), "transient(q)", True, transient(Q, 9)),
        ("remove_linked_pod", (9,), "persistent(p)", True, transient(P, 9)),
        ("remove_linked_pod_with_id", (Q, DELETE_NOW), "absent", False, ABSENT),
        ("remove_linked_pod_with_id", (Q, DELETE_NOW), "transient(q)", True, ABSENT),
        ("remove_linked_pod_with_id", (Q, DELETE_NOW), "transient(p)", False, UNCHANGED),
        ("remove_linked_pod_with_id", (Q, DELETE_NOW), "persistent(q)", True, ABSENT),
        ("remove_linked_pod_with_id", (Q, DELETE_NOW), "persistent(p)", False, UNCHANGED),
        ("remove_linked_pod_with_id", (Q, 9), "absent", False, ABSENT),
        ("remove_linked_pod_with_id", (Q, 9), "transient(q)", True, transient(Q, 9)),
        ("remove_linked_pod_with_id", (Q, 9), "transient(p)", False, UNCHANGED),
        ("remove_linked_pod_with_id", (Q, 9), "persistent(q)", True, transient(Q, 9)),
        ("remove_linked_pod_with_id", (Q, 9), "persistent(p)", False, UNCHANGED),
    ],
)
def test_operations_that_remove_links(
    operation: str,
    arguments: tuple[int, ...],
    before: str,
    result: bool,
    after: dict[bytes, Entry] | None,
) -> None:
    model = holding(BEFORE[before])
    assert getattr(model, operation)(*AT, *arguments) is result
    assert model.keys == (BEFORE[before] if after is None else after)


@pytest.mark.parametrize(
    ("before", "pod", "persistent_pod", "remaining"),
    [
        ("absent", None, None, None),
        ("transient(q)", Q, None, 50_000),
        ("persistent(q)", Q, Q, None),
    ],
)
def test_operations_that_read_links(
    before: str, pod: int | None, persistent_pod: int | None, remaining: int | None
) -> None:
    model = holding(BEFORE[before])
    assert model.get_linked_pod(*AT) == pod
    assert model.get_linked_pod_if_persist(*AT) == persistent_pod
    assert model.get_link_service("ns", "u") == ({} if persistent_pod is None else {"svc": Q})
    assert model.batch_get_linked_pod("ns", ["x", "u", "u"], "svc") == (
        {} if pod is None else {Q: ["u"]}
    )
    read = model.read_pod_link(*AT)
    assert read == (None if pod is None else LinkRead(*AT, pod, remaining, None))
    if pod is None:
        assert refused(model, "require_linked_pod", *AT) == {ErrorCode.POD_NOT_FOUND}
    else:
        assert model.require_linked_pod(*AT) == pod
        assert refused(model, "create_linked_pod", *AT, 1) == {ErrorCode.LINK_EXISTS}


@pytest.mark.parametrize("operation", ["remove_linked_pod", "remove_linked_pod_with_id"])
def test_removal_deletes_the_index_entry_of_an_evicted_link(operation: str) -> None:
    model = holding({INDEX: Entry({b"svc": b"3", b"other": b"1"})})
    arguments = () if operation == "remove_linked_pod" else (Q,)
    assert getattr(model, operation)(*AT, *arguments) is False
    assert model.keys == {INDEX: Entry({b"other": b"1"})}


def test_transient_link_expires() -> None:
    model = holding({})
    model.set_linked_pod(*AT, Q, 9)
    model.advance(8_999)
    assert model.get_linked_pod(*AT) == Q
    assert model.remaining() == [1]
    model.advance(1)
    assert model.keys == {}


def test_creation_time_has_the_ttl_of_its_link() -> None:
    model = holding({})
    model.track_link_times = True
    model.step = 1
    model.set_linked_pod(*AT, Q)
    assert model.keys == {**persistent(Q), CREATED: created(1, Q, YEAR)}
    model.step = 2
    model.set_linked_pod(*AT, Q, 9)
    assert model.keys == {**transient(Q, 9), CREATED: created(1, Q, 9)}
    model.set_linked_pod(*AT, P)
    assert model.read_pod_link(*AT) == LinkRead(*AT, P, None, Stamp(2, LINK))
    model.remove_linked_pod(*AT, 9)
    assert model.keys == {**transient(P, 9), CREATED: created(2, P, 9)}
    model.remove_linked_pod(*AT)
    assert model.keys == {}


def test_service_and_workload_states() -> None:
    model = holding({})
    assert model.get_service_state("ns", "svc") == {}
    assert refused(model, "require_service_state", "ns", "svc") == {ErrorCode.SERVICE_NOT_FOUND}
    assert model.read_service_state("ns", "svc") is None
    assert model.read_workload_state("ns", "svc") is None
    for step, (pod, state) in enumerate([(0, "up"), (1, "é"), (0, "down")]):
        model.step = step
        model.set_service_state("ns", "svc", pod, state)
    model.set_workload_state("ns", "svc", "busy")
    assert model.keys == {
        b"sf:{ns:state:svc}": Entry({b"0": b"down", b"1": "é".encode()}),
        b"sf:{ns:state:svc}@": Entry(
            {b"0": Dated(Stamp(2), b"down"), b"1": Dated(Stamp(1), "é".encode())}, YEAR * 1000
        ),
        b"sf:{ns:workload:svc}": Entry(b"busy"),
        b"sf:{ns:workload:svc}@": Entry(Dated(Stamp(2), b"busy"), YEAR * 1000),
    }
    states = {0: "down", 1: "é"}
    assert model.get_service_state("ns", "svc") == states
    assert model.require_service_state("ns", "svc") == states
    assert model.read_service_state("ns", "svc") == ServiceRead("ns", "svc", states, Stamp(2))
    assert model.get_workload_state("ns", ["other", "svc"]) == {"svc": "busy"}
    assert model.read_workload_state("ns", "svc") == WorkloadRead("ns", "svc", "busy", Stamp(2))


@pytest.mark.parametrize(
    "value", [b"", b"x", b"-1", b"+1", b"01", b" 1", b"1\n", b"1.0", b"2147483648"]
)
def test_malformed_pod_id_is_an_error_that_names_the_key(value: bytes) -> None:
    for key, keys in [
        (LINK, {LINK: Entry(value)}),
        (INDEX, {**persistent(Q), INDEX: Entry({b"svc": value})}),
    ]:
        model = holding(keys)
        with pytest.raises(Refused) as caught:
            model.set_linked_pod(*AT, Q)
        assert caught.value.codes == {ErrorCode.INTERNAL_ERROR}
        assert caught.value.keys == {key}
        assert model.keys == keys


def test_errors_of_all_malformed_keys_are_allowed() -> None:
    model = holding({LINK: Entry(b"x"), INDEX: Entry(b"a string")})
    both = {ErrorCode.INTERNAL_ERROR, ErrorCode.REDIS_OPERATION_ERROR}
    assert refused(model, "remove_linked_pod", *AT) == both
    assert refused(model, "get_link_service", "ns", "u") == {ErrorCode.REDIS_OPERATION_ERROR}


@pytest.mark.parametrize(
    ("limit", "good", "bad"),
    [
        ("name", ["a", "ü" * 253, "a-b_c.d"], ["", "a" * 254, "a b", "a:b", "{", "}", "@", "\x00"]),
        ("name", ["\u2060"], ["\x7f", "\x85", "\u00a0", "\u2028", "\ud800", b"a", None, 1]),
        ("uid", [" ", "a:b@c", "ü" * 256, "\u2028"], ["", "ü" * 257, "a{", "}", "\n", "\x9f"]),
        ("uid", ["💡"], ["\udfff", b"u", None, 0]),
        ("pod", [0, 2**31 - 1], [-1, 2**31, True, 1.0, "1", None]),
        ("seconds", [-1, 1, 2**31 - 1], [0, -2, 2**31, True, 1.0, "1", None]),
        ("state", ["x", " x ", "\x00"], ["", " ", "\n\t", "\u2003", "\ud800", b"x", None]),
    ],
)
def test_limits_of_arguments(limit: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        call_with(limit, value)
    for value in bad:
        with pytest.raises(Refused) as caught:
            call_with(limit, value)
        assert caught.value.codes == {ErrorCode.INVALID_PARAMETER}


def call_with(limit: str, value: Any) -> None:
    model = holding({})
    if limit == "state":
        model.set_service_state("ns", "svc", 0, value)
        model.set_workload_state("ns", "svc", value)
        return
    arguments = {"name": "svc", "uid": "u", "pod": 0, "seconds": 5} | {limit: value}
    name, uid, pod, seconds = arguments.values()
    model.set_linked_pod(name, uid, name, pod, seconds)
    model.batch_get_linked_pod(name, [uid], name)
    model.get_workload_state(name, (name,))


def holding(keys: dict[bytes, Entry]) -> Model:
    """Return a model that starts with copies of these keys."""
    return Model(
        {
            key: Entry(dict(e.value) if isinstance(e.value, dict) else e.value, e.expires_at)
            for key, e in keys.items()
        }
    )


def refused(model: Model, operation: str, *arguments: Any) -> set[ErrorCode]:
    with pytest.raises(Refused) as caught:
        getattr(model, operation)(*arguments)
    return set(caught.value.codes)
