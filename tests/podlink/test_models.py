"""The models are immutable and survive a round trip through JSON."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podlink import InvalidParameterError, PodLink, ServiceState, TrySetResult, WorkloadState
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
