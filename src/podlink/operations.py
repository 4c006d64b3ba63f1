"""The operations of the executors: one function for each, which builds its command.

A function checks its arguments and returns a `Call` (or a `BatchCall`) with the command and the
function of `podlink.replies` that parses the reply. Both executors send these calls. IO and
redis-py do not belong here, so an operation can be tested without a server.

``docs/semantics.md`` has the transition table of the links. Transitions that must be atomic are Lua
scripts in ``lua/``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from podlink import replies, scripts
from podlink.calls import BatchCall, Call, Reply, run_script
from podlink.keys import (
    check_name,
    check_names,
    check_persist_seconds,
    check_pod_id,
    check_seconds,
    check_state,
    index_key,
    link_keys,
    link_keys_of_many,
    state_key,
    times_key,
    workload_key,
)
from podlink.models import (
    PodLink,
    ReplaceResult,
    ServiceState,
    TrySetResult,
    WorkloadState,
)
from podlink.scripts import Script

T = TypeVar("T")

KEYS_PER_CALL: Final = 10_000
"""How many keys one call of a batch reads. More would block other clients for too long."""


# Service and workload states


def set_service_state(namespace: str, service_name: str, pod_id: int, state: str) -> Call[None]:
    """Write the state of one pod and the time."""
    key = state_key(namespace, service_name)
    pod = check_pod_id(pod_id)
    keys = (key, times_key(key))
    wire = run_script(scripts.SET_SERVICE_STATE, keys, (pod, check_state(state)))
    return Call(
        "set_service_state", wire, keys, replies.no_result, scripts.SET_SERVICE_STATE, True,
        namespace, service_name, None, pod,
    )  # fmt: skip


def get_service_state(namespace: str, service_name: str) -> Call[dict[int, str]]:
    """Read the states of all pods of a service."""
    key = state_key(namespace, service_name)
    return Call(
        "get_service_state", ("HGETALL", key), (key,), replies.pod_states,
        namespace=namespace, service_name=service_name,
    )  # fmt: skip


def require_service_state(namespace: str, service_name: str) -> Call[dict[int, str]]:
    """As `get_service_state`, but a service without pods is an error."""
    key = state_key(namespace, service_name)
    return Call(
        "require_service_state", ("HGETALL", key), (key,), replies.some_pod_states,
        namespace=namespace, service_name=service_name,
    )  # fmt: skip


def read_service_state(namespace: str, service_name: str) -> Call[ServiceState | None]:
    """Read the states of all pods of a service and the time of the latest write."""
    key = state_key(namespace, service_name)
    keys = (key, times_key(key))
    return Call(
        "read_service_state", run_script(scripts.READ_SERVICE_STATE, keys, ()), keys,
        replies.service_state_with_time, scripts.READ_SERVICE_STATE,
        namespace=namespace, service_name=service_name,
    )  # fmt: skip


def set_workload_state(namespace: str, service_name: str, state: str) -> Call[None]:
    """Write the state of a workload and the time."""
    key = workload_key(namespace, service_name)
    keys = (key, times_key(key))
    wire = run_script(scripts.SET_WORKLOAD_STATE, keys, (check_state(state),))
    return Call(
        "set_workload_state", wire, keys, replies.no_result, scripts.SET_WORKLOAD_STATE, True,
        namespace, service_name,
    )  # fmt: skip


def get_workload_state(
    namespace: str, service_names: Iterable[str], one_slot_each: bool
) -> BatchCall[dict[str, str]]:
    """Read the states of several workloads; ``one_slot_each`` on a cluster, with one call each."""
    check_name("namespace", namespace)
    names = check_names("service_names", service_names)
    keys = [workload_key(namespace, name) for name in names]
    size = 1 if one_slot_each else KEYS_PER_CALL
    return BatchCall(
        "get_workload_state",
        _get_each_calls("get_workload_state", keys, size),
        names,
        size,
        partial(replies.workload_states, names, keys),
        namespace,
    )


def read_workload_state(namespace: str, service_name: str) -> Call[WorkloadState | None]:
    """Read the state of a workload and its time."""
    key = workload_key(namespace, service_name)
    keys = (key, times_key(key))
    return Call(
        "read_workload_state", run_script(scripts.GET_EACH, keys, ()), keys,
        replies.workload_state_with_time, scripts.GET_EACH,
        namespace=namespace, service_name=service_name,
    )  # fmt: skip


# Writing links


def set_linked_pod(
    namespace: str, uid: str, service_name: str, pod_id: int, persist_seconds: int, track: bool
) -> Call[int | None]:
    """Link a uid to a pod, overwriting its link. The result is the previous pod."""
    return _linking_call(
        "set_linked_pod", scripts.SET_LINKED_POD, replies.pod_or_none,
        namespace, uid, service_name, pod_id, persist_seconds, track,
    )  # fmt: skip


def try_set_linked_pod(
    namespace: str, uid: str, service_name: str, pod_id: int, persist_seconds: int, track: bool
) -> Call[TrySetResult]:
    """Link a uid unless it has a persistent link to another pod."""
    return _linking_call(
        "try_set_linked_pod", scripts.TRY_SET_LINKED_POD, replies.try_set_result,
        namespace, uid, service_name, pod_id, persist_seconds, track,
    )  # fmt: skip


def set_linked_pod_if_absent(
    namespace: str, uid: str, service_name: str, pod_id: int, persist_seconds: int, track: bool
) -> Call[int]:
    """Link a uid if it has no link. The result is the pod that it is linked to afterwards."""
    return _linking_call(
        "set_linked_pod_if_absent", scripts.SET_LINKED_POD_IF_ABSENT, replies.pod_afterwards,
        namespace, uid, service_name, pod_id, persist_seconds, track,
    )  # fmt: skip


def create_linked_pod(
    namespace: str, uid: str, service_name: str, pod_id: int, persist_seconds: int, track: bool
) -> Call[int]:
    """As `set_linked_pod_if_absent`, but an existing link is an error."""
    return _linking_call(
        "create_linked_pod", scripts.SET_LINKED_POD_IF_ABSENT, replies.pod_created,
        namespace, uid, service_name, pod_id, persist_seconds, track,
    )  # fmt: skip


def replace_linked_pod(
    namespace: str,
    uid: str,
    service_name: str,
    expected_pod_id: int,
    pod_id: int,
    persist_seconds: int,
    track: bool,
) -> Call[ReplaceResult]:
    """Link a uid if it is linked to the expected pod (compare and set)."""
    return _linking_call(
        "replace_linked_pod", scripts.REPLACE_LINKED_POD, replies.replace_result,
        namespace, uid, service_name, pod_id, persist_seconds, track, check_pod_id(expected_pod_id),
    )  # fmt: skip


def move_linked_pod(
    namespace: str, uid: str, service_name: str, expected_pod_id: int, pod_id: int, track: bool
) -> Call[bool]:
    """As `replace_linked_pod`, but keep the TTL. The result is whether the link was replaced."""
    return _linking_call(
        "drain_pod", scripts.REPLACE_LINKED_POD, replies.whether_replaced,
        namespace, uid, service_name, pod_id, _KEEP_TTL, track, check_pod_id(expected_pod_id),
    )  # fmt: skip


def refresh_linked_pod(
    namespace: str, uid: str, service_name: str, pod_id: int, persist_seconds: int
) -> Call[bool]:
    """Set a new TTL for a transient link to the given pod."""
    keys = link_keys(namespace, uid, service_name)
    pod = check_pod_id(pod_id)
    seconds = check_seconds(persist_seconds)
    wire = run_script(scripts.REFRESH_LINKED_POD, keys, (service_name.encode(), pod, seconds))
    return Call(
        "refresh_linked_pod", wire, keys, replies.whether_done, scripts.REFRESH_LINKED_POD, True,
        namespace, service_name, uid, pod,
    )  # fmt: skip


def batch_set_linked_pod_if_absent(
    namespace: str,
    uids: Iterable[str],
    service_name: str,
    pod_id: int,
    persist_seconds: int,
    track: bool,
) -> BatchCall[dict[int, list[str]]]:
    """As `set_linked_pod_if_absent` for several uids. The result is pod to uids afterwards."""
    check_name("namespace", namespace)
    check_name("service_name", service_name)
    pod = check_pod_id(pod_id)
    check_persist_seconds(persist_seconds)
    distinct = check_names("uids", uids)
    calls = [
        _linking_call(
            "batch_set_linked_pod_if_absent", scripts.SET_LINKED_POD_IF_ABSENT,
            replies.as_list(replies.pod_afterwards),
            namespace, uid, service_name, pod, persist_seconds, track,
        )
        for uid in distinct
    ]  # fmt: skip
    return BatchCall(
        "batch_set_linked_pod_if_absent",
        calls,
        distinct,
        1,
        partial(replies.uids_by_pod, distinct),
        namespace,
        service_name,
        pod,
    )


_KEEP_TTL: Final[Any] = object()


def _linking_call(
    operation: str,
    script: Script,
    parse: Any,
    namespace: str,
    uid: str,
    service_name: str,
    pod_id: int,
    persist_seconds: int,
    track: bool,
    *more: int,
) -> Call[Any]:
    """Build a call of one of the scripts that link a uid.

    Args:
        persist_seconds: `_KEEP_TTL` keeps the TTL of the link.
        more: the arguments that only this script takes.
    """
    keys = link_keys(namespace, uid, service_name)
    pod = check_pod_id(pod_id)
    seconds = b"keep" if persist_seconds is _KEEP_TTL else check_persist_seconds(persist_seconds)
    wire = (
        "EVALSHA", script.sha, 3, *keys,
        service_name.encode(), pod, seconds, b"1" if track else b"0", *more,
    )  # fmt: skip
    return Call(operation, wire, keys, parse, script, True, namespace, service_name, uid, pod)


# Reading links


def get_linked_pod(namespace: str, uid: str, service_name: str) -> Call[int | None]:
    """Read the pod of a link."""
    keys = link_keys(namespace, uid, service_name)
    return Call(
        "get_linked_pod", ("GET", keys[0]), keys, replies.pod_or_none,
        None, False, namespace, service_name, uid,
    )  # fmt: skip


def require_linked_pod(namespace: str, uid: str, service_name: str) -> Call[int]:
    """As `get_linked_pod`, but a uid without a link is an error."""
    keys = link_keys(namespace, uid, service_name)
    return Call(
        "require_linked_pod", ("GET", keys[0]), keys, replies.pod_required,
        None, False, namespace, service_name, uid,
    )  # fmt: skip


def get_linked_pod_if_persist(namespace: str, uid: str, service_name: str) -> Call[int | None]:
    """Read the pod of a persistent link."""
    keys = link_keys(namespace, uid, service_name)
    return Call(
        "get_linked_pod_if_persist",
        run_script(scripts.GET_LINKED_POD_IF_PERSIST, keys[:1], ()),
        keys, replies.pod_if_persist, scripts.GET_LINKED_POD_IF_PERSIST, False,
        namespace, service_name, uid,
    )  # fmt: skip


def batch_get_linked_pod(
    namespace: str, uids: Iterable[str], service_name: str, one_slot_each: bool
) -> BatchCall[dict[int, list[str]]]:
    """Read the pods of several uids; ``one_slot_each`` on a cluster, with one call each."""
    distinct = check_names("uids", uids)
    keys = link_keys_of_many(namespace, distinct, service_name)
    size = 1 if one_slot_each else KEYS_PER_CALL
    return BatchCall(
        "batch_get_linked_pod",
        _get_each_calls("batch_get_linked_pod", keys, size),
        distinct,
        size,
        partial(replies.uids_by_stored_pod, distinct, keys),
        namespace,
        service_name,
    )


def get_link_service(namespace: str, uid: str) -> Call[dict[str, int]]:
    """Read the persistent links of a uid from its index."""
    key = index_key(namespace, uid)
    return Call(
        "get_link_service",
        ("HGETALL", key),
        (key,),
        replies.service_pods,
        namespace=namespace,
        uid=uid,
    )


def read_pod_link(namespace: str, uid: str, service_name: str) -> Call[PodLink | None]:
    """Read a link, its TTL and its creation time."""
    keys = link_keys(namespace, uid, service_name)
    return Call(
        "read_pod_link",
        run_script(scripts.READ_POD_LINK, (keys[0], keys[2]), ()),
        keys, replies.pod_link, scripts.READ_POD_LINK, False, namespace, service_name, uid,
    )  # fmt: skip


# Removing links


def remove_linked_pod(
    namespace: str, uid: str, service_name: str, persist_seconds: int
) -> Call[bool]:
    """Remove a link, or make it transient."""
    keys = link_keys(namespace, uid, service_name)
    seconds = check_persist_seconds(persist_seconds)
    wire = run_script(scripts.REMOVE_LINKED_POD, keys, (service_name.encode(), seconds))
    return Call(
        "remove_linked_pod", wire, keys, replies.whether_done, scripts.REMOVE_LINKED_POD, True,
        namespace, service_name, uid,
    )  # fmt: skip


def remove_linked_pod_with_id(
    namespace: str, uid: str, service_name: str, pod_id: int, persist_seconds: int
) -> Call[bool]:
    """Remove a link, or make it transient, if it is a link to the given pod."""
    keys = link_keys(namespace, uid, service_name)
    pod = check_pod_id(pod_id)
    seconds = check_persist_seconds(persist_seconds)
    wire = run_script(
        scripts.REMOVE_LINKED_POD_WITH_ID, keys, (service_name.encode(), seconds, pod)
    )
    return Call(
        "remove_linked_pod_with_id", wire, keys, replies.whether_done,
        scripts.REMOVE_LINKED_POD_WITH_ID, True, namespace, service_name, uid, pod,
    )  # fmt: skip


def batch_remove_linked_pod(
    namespace: str, uids: Iterable[str], service_name: str, persist_seconds: int
) -> BatchCall[list[str]]:
    """As `remove_linked_pod` for several uids. The result is those that had a link."""
    check_name("namespace", namespace)
    check_name("service_name", service_name)
    seconds = check_persist_seconds(persist_seconds)
    distinct = check_names("uids", uids)
    calls = []
    for uid in distinct:
        keys = link_keys(namespace, uid, service_name)
        wire = run_script(scripts.REMOVE_LINKED_POD, keys, (service_name.encode(), seconds))
        calls.append(
            Call(
                "batch_remove_linked_pod", wire, keys, replies.as_list(replies.whether_done),
                scripts.REMOVE_LINKED_POD, True, namespace, service_name, uid,
            )
        )  # fmt: skip
    return BatchCall(
        "batch_remove_linked_pod",
        calls,
        distinct,
        1,
        partial(replies.uids_that_were_linked, distinct),
        namespace,
        service_name,
    )


def _get_each_calls(operation: str, keys: Sequence[bytes], size: int) -> list[Call[list[Reply]]]:
    """Build calls that read the given string keys, ``size`` keys in each."""
    chunks = (tuple(keys[i : i + size]) for i in range(0, len(keys), size))
    return [
        Call(
            operation,
            run_script(scripts.GET_EACH, chunk, ()),
            chunk,
            replies.string_values,
            scripts.GET_EACH,
        )
        for chunk in chunks
    ]
