"""The models are immutable and survive a round trip through JSON."""

from __future__ import annotations

import copy
import json
from dataclasses import FrozenInstanceError
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podlink import (
    HealthStatus,
    InvalidParameterError,
    PodLink,
    PoolStats,
    Repair,
    ServiceState,
    StoredKey,
    TrySetResult,
    WorkloadState,
)
from podlink.models import from_epoch_ms

times = st.none() | st.integers(0, 4_000_000_000_000).map(from_epoch_ms)
pods = st.integers(0, 2**31 - 1)


@given(st.builds(PodLink, st.text(), st.text(), st.text(), pods, times, times))
def test_pod_link_round_trip_through_json(link: PodLink) -> None:
    assert PodLink.from_dict(json.loads(json.dumps(link.to_dict()))) == link


@given(st.builds(ServiceState, st.text(), st.text(), st.dictionaries(pods, st.text()), times))
def test_service_state_round_trip_through_json(state: ServiceState) -> None:
    assert ServiceState.from_dict(json.loads(json.dumps(state.to_dict()))) == state


@given(st.builds(WorkloadState, st.text(), st.text(), st.text(), times))
def test_workload_state_round_trip_through_json(state: WorkloadState) -> None:
    assert WorkloadState.from_dict(json.loads(json.dumps(state.to_dict()))) == state


def test_json_field_names() -> None:
    time = datetime(2025, 1, 2, 3, 4, 5, 678000, tzinfo=timezone.utc)
    assert PodLink("n", "u", "s", 3, time, None).to_dict() == {
        "namespace": "n", "uid": "u", "service_name": "s", "pod_id": 3,
        "expires_at": "2025-01-02T03:04:05.678000+00:00", "created_at": None,
    }  # fmt: skip
    assert ServiceState("n", "s", {1: "UP"}, time).to_dict().keys() == {
        "namespace", "service_name", "pod_states", "updated_at",
    }  # fmt: skip
    assert WorkloadState("n", "s", "UP", time).to_dict().keys() == {
        "namespace", "service_name", "state", "updated_at",
    }  # fmt: skip


def test_models_are_frozen_and_slotted() -> None:
    link = PodLink("n", "u", "s", 3)
    with pytest.raises(FrozenInstanceError):
        link.pod_id = 4  # type: ignore[misc]
    assert not hasattr(link, "__dict__")


def test_times_of_other_zones_and_with_z_suffix_are_read() -> None:
    data = {**PodLink("n", "u", "s", 3).to_dict(), "expires_at": "2025-01-02T03:04:05Z"}
    expires_at = PodLink.from_dict(data).expires_at
    assert expires_at == datetime(2025, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    east = datetime(2025, 1, 2, 5, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    assert PodLink.from_dict({**data, "expires_at": east}).expires_at == expires_at


@pytest.mark.parametrize(
    "change",
    [
        {"pod_id": "x"}, {"pod_id": True}, {"pod_id": None}, {"uid": 1}, {"expires_at": "soon"},
        {"expires_at": "2025-01-02T03:04:05"}, {"created_at": 5},
    ],
    ids=str,
)  # fmt: skip
def test_error_of_an_invalid_field_names_it(change: dict[str, Any]) -> None:
    data = {**PodLink("n", "u", "s", 3).to_dict(), **change}
    with pytest.raises(InvalidParameterError, match=next(iter(change))):
        PodLink.from_dict(data)


def test_error_of_a_missing_field_names_it() -> None:
    with pytest.raises(InvalidParameterError, match="'state'"):
        WorkloadState.from_dict({"namespace": "n", "service_name": "s"})
    with pytest.raises(InvalidParameterError, match="pod_states"):
        ServiceState.from_dict({"namespace": "n", "service_name": "s", "pod_states": 1})


def test_try_set_result_is_a_tuple() -> None:
    assert TrySetResult(True, 3) == (True, 3)
    assert TrySetResult(linked=False, pod_id=2).pod_id == 2


TIME = datetime(2025, 1, 2, 3, 4, 5, 678000, tzinfo=timezone.utc)
JSON_TIME = "2025-01-02T03:04:05.678000+00:00"


def test_dictionary_of_each_model() -> None:
    assert PodLink("n", "u", "s", 3, None, TIME).to_dict() == {
        "namespace": "n", "uid": "u", "service_name": "s", "pod_id": 3,
        "expires_at": None, "created_at": JSON_TIME,
    }  # fmt: skip
    assert ServiceState("n", "s", {1: "UP", 20: "DOWN"}, TIME).to_dict() == {
        "namespace": "n", "service_name": "s", "pod_states": {"1": "UP", "20": "DOWN"},
        "updated_at": JSON_TIME,
    }  # fmt: skip
    assert WorkloadState("n", "s", "UP", TIME).to_dict() == {
        "namespace": "n", "service_name": "s", "state": "UP", "updated_at": JSON_TIME,
    }  # fmt: skip


IMMUTABLE: list[tuple[Any, str]] = [
    (PodLink("n", "u", "s", 3), "uid"),
    (ServiceState("n", "s", {}), "updated_at"),
    (WorkloadState("n", "s", "UP"), "state"),
    (StoredKey(b"k", "none", None, None), "ttl"),
    (Repair(b"k", None, None, "deleted"), "done"),
    (HealthStatus(True), "ok"),
    (PoolStats(1, 2, 3), "idle"),
]


@pytest.mark.parametrize(("value", "field"), IMMUTABLE, ids=lambda value: type(value).__name__)
def test_every_model_is_immutable(value: Any, field: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, field, None)
    assert not hasattr(value, "__dict__")
    assert value == copy.copy(value)


def test_what_is_not_known_is_none() -> None:
    assert PodLink("n", "u", "s", 3) == PodLink("n", "u", "s", 3, None, None)
    assert ServiceState("n", "s", {}).updated_at is None
    assert WorkloadState("n", "s", "UP").updated_at is None
    assert HealthStatus(False) == HealthStatus(False, None, None, None, None, None)
    without_times = {"namespace": "n", "service_name": "s", "state": "UP"}
    assert WorkloadState.from_dict(without_times) == WorkloadState("n", "s", "UP", None)


def test_health_status_is_true_if_the_server_answered() -> None:
    assert HealthStatus(True)
    assert not HealthStatus(False)


def test_pool_stats_total() -> None:
    assert PoolStats(9, 2, 3).total == 5


@pytest.mark.parametrize(("repair", "text"), [
    (Repair(b"k\xff", None, b"x", "deleted"), r"k\xff: found b'x', deleted"),
    (Repair(b"k", b"f", None, "set"), "k field b'f': found None, set"),
    (Repair("k\u202e".encode(), None, b"x", "deleted"), r"k\u202e: found b'x', deleted"),
])  # fmt: skip
def test_text_of_a_repair(repair: Repair, text: str) -> None:
    assert str(repair) == text


LINK_DATA = PodLink("n", "u", "s", 3).to_dict()
STATE_DATA = ServiceState("n", "s", {1: "UP"}).to_dict()
WORKLOAD_DATA = WorkloadState("n", "s", "UP").to_dict()


@pytest.mark.parametrize(("model", "data"), [
    (PodLink, LINK_DATA), (ServiceState, STATE_DATA), (WorkloadState, WORKLOAD_DATA),
])  # fmt: skip
def test_every_field_is_required_and_checked(model: Any, data: dict[str, Any]) -> None:
    for field in data:
        if not field.endswith("_at"):
            missing = {name: value for name, value in data.items() if name != field}
            with pytest.raises(InvalidParameterError) as caught:
                model.from_dict(missing)
            assert caught.value.message == f"the field {field!r} is missing in the dictionary"
            assert caught.value.__cause__ is None
        with pytest.raises(InvalidParameterError, match=f" {field} must be "):
            model.from_dict({**data, field: 1.5})
    with pytest.raises(InvalidParameterError, match=r"the field '\w+' is missing"):
        model.from_dict(None)


@pytest.mark.parametrize(("model", "data", "message"), [
    (PodLink, {**LINK_DATA, "uid": 1}, "uid must be a string, not int"),
    (PodLink, {**LINK_DATA, "pod_id": "\u0661"}, "pod_id must be an integer, not '\u0661'"),
    (PodLink, {**LINK_DATA, "pod_id": "1.5"}, "pod_id must be an integer, not '1.5'"),
    (PodLink, {**LINK_DATA, "pod_id": False}, "pod_id must be an integer, not False"),
    (PodLink, {**LINK_DATA, "expires_at": "soon"},
     "expires_at must be an ISO 8601 time with a zone, not 'soon'"),
    (ServiceState, {**STATE_DATA, "pod_states": [1]},
     "pod_states must be a mapping of pod id to state"),
    (ServiceState, {**STATE_DATA, "pod_states": {"x": "UP"}},
     "a pod id of pod_states must be an integer, not 'x'"),
    (ServiceState, {**STATE_DATA, "pod_states": {"1": None}},
     "a state of pod_states must be a string, not NoneType"),
])  # fmt: skip
def test_message_about_a_bad_field(model: Any, data: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        model.from_dict(data)
    assert caught.value.message == message


def test_pod_ids_may_be_integers_or_digits() -> None:
    assert PodLink.from_dict({**LINK_DATA, "pod_id": "17"}).pod_id == 17
    states = {1: "UP", "2": "DOWN"}
    assert ServiceState.from_dict({**STATE_DATA, "pod_states": states}).pod_states == {
        1: "UP",
        2: "DOWN",
    }


def test_times_are_converted_to_utc() -> None:
    for given_time in ("2025-01-02T05:04:05.678000+02:00", "2025-01-02T03:04:05.678000Z"):
        found = WorkloadState.from_dict({**WORKLOAD_DATA, "updated_at": given_time}).updated_at
        assert found == TIME
        assert found.tzinfo is timezone.utc
