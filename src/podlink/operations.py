"""The operations: how arguments are checked, which command they become, how its reply is read.

A function here checks its arguments and returns a `Call` (or a `BatchCall`), complete with the
function that reads the reply. Both executors send these and do nothing else, so all that is true of
an operation is true in both, and is tested without a server. No IO, no await, nothing of redis-py.

The transition table of the links is in ``docs/semantics.md``; the part of it that must happen in
one step on the server is in the scripts of ``lua/``.

Replies come as bytes whatever the client decodes. A value that the contract rules out is an
`InternalError` that names the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

from podlink import scripts
from podlink.calls import BatchCall, Call, Reply, run_script
from podlink.errors import InternalError, LinkExistsError, PodNotFoundError, ServiceNotFoundError
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
    read_pod_id,
    read_text,
    shown,
    shown_key,
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
    from_epoch_ms,
)
from podlink.scripts import Script

T = TypeVar("T")

KEYS_PER_CALL: Final = 10_000
"""How many keys one batch call reads: more would hold up the server for other clients."""


# Service and workload states


def set_service_state(namespace: str, service_name: str, pod_id: int, state: str) -> Call[None]:
    """Write the state of one pod, and the time."""
    key = state_key(namespace, service_name)
    pod = check_pod_id(pod_id)
    keys = (key, times_key(key))
    wire = run_script(scripts.SET_SERVICE_STATE, keys, (pod, check_state(state)))
    return Call(
        "set_service_state", wire, keys, _nothing, scripts.SET_SERVICE_STATE, True,
        namespace, service_name, None, pod,
    )  # fmt: skip


def get_service_state(namespace: str, service_name: str) -> Call[dict[int, str]]:
    """The states of all pods of a service."""
    key = state_key(namespace, service_name)
    return Call(
        "get_service_state", ("HGETALL", key), (key,), _pod_states,
        namespace=namespace, service_name=service_name,
    )  # fmt: skip


def require_service_state(namespace: str, service_name: str) -> Call[dict[int, str]]:
    """As `get_service_state`; no pod at all is an error."""
    key = state_key(namespace, service_name)
    return Call(
        "require_service_state", ("HGETALL", key), (key,), _some_pod_states,
        namespace=namespace, service_name=service_name,
    )  # fmt: skip


def read_service_state(namespace: str, service_name: str) -> Call[ServiceState | None]:
    """The states of all pods of a service, with the time of the latest."""
    key = state_key(namespace, service_name)
    keys = (key, times_key(key))
    return Call(
        "read_service_state", run_script(scripts.READ_SERVICE_STATE, keys, ()), keys,
        _service_state, scripts.READ_SERVICE_STATE,
        namespace=namespace, service_name=service_name,
    )  # fmt: skip


def set_workload_state(namespace: str, service_name: str, state: str) -> Call[None]:
    """Write the state of a workload, and the time."""
    key = workload_key(namespace, service_name)
    keys = (key, times_key(key))
    wire = run_script(scripts.SET_WORKLOAD_STATE, keys, (check_state(state),))
    return Call(
        "set_workload_state", wire, keys, _nothing, scripts.SET_WORKLOAD_STATE, True,
        namespace, service_name,
    )  # fmt: skip


def get_workload_state(
    namespace: str, service_names: Iterable[str], one_slot_each: bool
) -> BatchCall[dict[str, str]]:
    """The states of several workloads; ``one_slot_each`` when the keys live on a cluster."""
    check_name("namespace", namespace)
    names = check_names("service_names", service_names)
    keys = [workload_key(namespace, name) for name in names]
    size = 1 if one_slot_each else KEYS_PER_CALL
    return BatchCall(
        "get_workload_state",
        _get_each("get_workload_state", keys, size),
        names,
        size,
        partial(_workload_states, names, keys),
        namespace,
    )


def read_workload_state(namespace: str, service_name: str) -> Call[WorkloadState | None]:
    """The state of a workload with its time."""
    key = workload_key(namespace, service_name)
    keys = (key, times_key(key))
    return Call(
        "read_workload_state", run_script(scripts.GET_EACH, keys, ()), keys,
        _workload_state, scripts.GET_EACH, namespace=namespace, service_name=service_name,
    )  # fmt: skip


# Making links


def set_linked_pod(
    namespace: str, uid: str, service_name: str, pod_id: int, persist_seconds: int, track: bool
) -> Call[int | None]:
    """Link, whatever was there; the previous pod."""
    return _link(
        "set_linked_pod", scripts.SET_LINKED_POD, _pod_or_none,
        namespace, uid, service_name, pod_id, persist_seconds, track,
    )  # fmt: skip


def try_set_linked_pod(
    namespace: str, uid: str, service_name: str, pod_id: int, persist_seconds: int, track: bool
) -> Call[TrySetResult]:
    """Link unless another pod owns the uid."""
    return _link(
        "try_set_linked_pod", scripts.TRY_SET_LINKED_POD, _try_set_result,
        namespace, uid, service_name, pod_id, persist_seconds, track,
    )  # fmt: skip


def set_linked_pod_if_absent(
    namespace: str, uid: str, service_name: str, pod_id: int, persist_seconds: int, track: bool
) -> Call[int]:
    """Link if there is no link; the pod afterwards."""
    return _link(
        "set_linked_pod_if_absent", scripts.SET_LINKED_POD_IF_ABSENT, _pod_afterwards,
        namespace, uid, service_name, pod_id, persist_seconds, track,
    )  # fmt: skip


def create_linked_pod(
    namespace: str, uid: str, service_name: str, pod_id: int, persist_seconds: int, track: bool
) -> Call[int]:
    """As `set_linked_pod_if_absent`; a link that is there already is an error."""
    return _link(
        "create_linked_pod", scripts.SET_LINKED_POD_IF_ABSENT, _pod_created,
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
    """Link if the uid is linked to the expected pod: compare and set."""
    return _link(
        "replace_linked_pod", scripts.REPLACE_LINKED_POD, _replace_result,
        namespace, uid, service_name, pod_id, persist_seconds, track, check_pod_id(expected_pod_id),
    )  # fmt: skip


def move_linked_pod(
    namespace: str, uid: str, service_name: str, expected_pod_id: int, pod_id: int, track: bool
) -> Call[bool]:
    """As `replace_linked_pod`, for as long as the link would have lasted; whether it was moved."""
    return _link(
        "drain_pod", scripts.REPLACE_LINKED_POD, _whether_replaced,
        namespace, uid, service_name, pod_id, _KEEP, track, check_pod_id(expected_pod_id),
    )  # fmt: skip


def refresh_linked_pod(
    namespace: str, uid: str, service_name: str, pod_id: int, persist_seconds: int
) -> Call[bool]:
    """Renew a transient link to one pod."""
    keys = link_keys(namespace, uid, service_name)
    pod = check_pod_id(pod_id)
    seconds = check_seconds(persist_seconds)
    wire = run_script(scripts.REFRESH_LINKED_POD, keys, (service_name.encode(), pod, seconds))
    return Call(
        "refresh_linked_pod", wire, keys, _whether, scripts.REFRESH_LINKED_POD, True,
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
    """As `set_linked_pod_if_absent` for each of many uids; the uids by pod afterwards."""
    check_name("namespace", namespace)
    check_name("service_name", service_name)
    pod = check_pod_id(pod_id)
    check_persist_seconds(persist_seconds)
    distinct = check_names("uids", uids)
    calls = [
        _link(
            "batch_set_linked_pod_if_absent", scripts.SET_LINKED_POD_IF_ABSENT,
            _listed(_pod_afterwards), namespace, uid, service_name, pod, persist_seconds, track,
        )
        for uid in distinct
    ]  # fmt: skip
    return BatchCall(
        "batch_set_linked_pod_if_absent",
        calls,
        distinct,
        1,
        partial(_uids_by_pod, distinct),
        namespace,
        service_name,
        pod,
    )


_KEEP: Final[Any] = object()


def _link(
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
    """A call of one of the scripts that link.

    Args:
        persist_seconds: `_KEEP` when the link keeps the time it has.
        more: the arguments that only this script takes.
    """
    keys = link_keys(namespace, uid, service_name)
    pod = check_pod_id(pod_id)
    seconds = b"keep" if persist_seconds is _KEEP else check_persist_seconds(persist_seconds)
    wire = (
        "EVALSHA", script.sha, 3, *keys,
        service_name.encode(), pod, seconds, b"1" if track else b"0", *more,
    )  # fmt: skip
    return Call(operation, wire, keys, parse, script, True, namespace, service_name, uid, pod)


# Reading links


def get_linked_pod(namespace: str, uid: str, service_name: str) -> Call[int | None]:
    """The pod of a link."""
    keys = link_keys(namespace, uid, service_name)
    return Call(
        "get_linked_pod", ("GET", keys[0]), keys, _pod_or_none,
        None, False, namespace, service_name, uid,
    )  # fmt: skip


def require_linked_pod(namespace: str, uid: str, service_name: str) -> Call[int]:
    """As `get_linked_pod`; no link is an error."""
    keys = link_keys(namespace, uid, service_name)
    return Call(
        "require_linked_pod", ("GET", keys[0]), keys, _pod_required,
        None, False, namespace, service_name, uid,
    )  # fmt: skip


def get_linked_pod_if_persist(namespace: str, uid: str, service_name: str) -> Call[int | None]:
    """The pod of a persistent link."""
    keys = link_keys(namespace, uid, service_name)
    return Call(
        "get_linked_pod_if_persist",
        run_script(scripts.GET_LINKED_POD_IF_PERSIST, keys[:1], ()),
        keys, _pod_if_persist, scripts.GET_LINKED_POD_IF_PERSIST, False,
        namespace, service_name, uid,
    )  # fmt: skip


def batch_get_linked_pod(
    namespace: str, uids: Iterable[str], service_name: str, one_slot_each: bool
) -> BatchCall[dict[int, list[str]]]:
    """The pods of many uids; ``one_slot_each`` when the keys live on a cluster."""
    distinct = check_names("uids", uids)
    keys = link_keys_of_many(namespace, distinct, service_name)
    size = 1 if one_slot_each else KEYS_PER_CALL
    return BatchCall(
        "batch_get_linked_pod",
        _get_each("batch_get_linked_pod", keys, size),
        distinct,
        size,
        partial(_uids_by_stored_pod, distinct, keys),
        namespace,
        service_name,
    )


def get_link_service(namespace: str, uid: str) -> Call[dict[str, int]]:
    """The persistent links of a uid."""
    key = index_key(namespace, uid)
    return Call(
        "get_link_service", ("HGETALL", key), (key,), _services, namespace=namespace, uid=uid
    )


def read_pod_link(namespace: str, uid: str, service_name: str) -> Call[PodLink | None]:
    """A link with its times."""
    keys = link_keys(namespace, uid, service_name)
    return Call(
        "read_pod_link",
        run_script(scripts.READ_POD_LINK, (keys[0], keys[2]), ()),
        keys, _pod_link, scripts.READ_POD_LINK, False, namespace, service_name, uid,
    )  # fmt: skip


# Removing links


def remove_linked_pod(
    namespace: str, uid: str, service_name: str, persist_seconds: int
) -> Call[bool]:
    """Remove a link, or let it run out."""
    keys = link_keys(namespace, uid, service_name)
    seconds = check_persist_seconds(persist_seconds)
    wire = run_script(scripts.REMOVE_LINKED_POD, keys, (service_name.encode(), seconds))
    return Call(
        "remove_linked_pod", wire, keys, _whether, scripts.REMOVE_LINKED_POD, True,
        namespace, service_name, uid,
    )  # fmt: skip


def remove_linked_pod_with_id(
    namespace: str, uid: str, service_name: str, pod_id: int, persist_seconds: int
) -> Call[bool]:
    """Remove a link to one pod, or let it run out."""
    keys = link_keys(namespace, uid, service_name)
    pod = check_pod_id(pod_id)
    seconds = check_persist_seconds(persist_seconds)
    wire = run_script(
        scripts.REMOVE_LINKED_POD_WITH_ID, keys, (service_name.encode(), seconds, pod)
    )
    return Call(
        "remove_linked_pod_with_id", wire, keys, _whether, scripts.REMOVE_LINKED_POD_WITH_ID, True,
        namespace, service_name, uid, pod,
    )  # fmt: skip


def batch_remove_linked_pod(
    namespace: str, uids: Iterable[str], service_name: str, persist_seconds: int
) -> BatchCall[list[str]]:
    """As `remove_linked_pod` for each of many uids; those that had a link."""
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
                "batch_remove_linked_pod", wire, keys, _listed(_whether),
                scripts.REMOVE_LINKED_POD, True, namespace, service_name, uid,
            )
        )  # fmt: skip
    return BatchCall(
        "batch_remove_linked_pod",
        calls,
        distinct,
        1,
        partial(_uids_that_were_linked, distinct),
        namespace,
        service_name,
    )


# Reading replies


def _listed(parse: Callable[[Call[Any], Reply], T]) -> Callable[[Call[Any], Reply], list[T]]:
    """What ``parse`` makes of a reply, as the one value of a call in a batch."""
    return lambda call, reply: [parse(call, reply)]


def _nothing(call: Call[None], reply: Reply) -> None:
    return None


def _whether(call: Call[bool], reply: Reply) -> bool:
    if type(reply) is int and 0 <= reply <= 1:
        return reply == 1
    raise _unexpected(call, reply)


def _pod_or_none(call: Call[int | None], reply: Reply) -> int | None:
    return None if reply is None else read_pod_id(reply, call.keys[0])


def _pod_required(call: Call[int], reply: Reply) -> int:
    if reply is None:
        raise PodNotFoundError(
            f"uid {shown(call.uid)} is linked to no pod of {call.service_name} in {call.namespace}"
        )
    return read_pod_id(reply, call.keys[0])


def _pod_if_persist(call: Call[int | None], reply: Reply) -> int | None:
    value, persistent = _several(call, reply, 2)
    pod = None if value is None else read_pod_id(value, call.keys[0])
    return pod if persistent else None


def _try_set_result(call: Call[TrySetResult], reply: Reply) -> TrySetResult:
    linked, pod = _several(call, reply, 2)
    return TrySetResult(linked == 1, read_pod_id(pod, call.keys[0]))


def _replace_result(call: Call[ReplaceResult], reply: Reply) -> ReplaceResult:
    replaced, pod = _several(call, reply, 2)
    return ReplaceResult(replaced == 1, None if pod is None else read_pod_id(pod, call.keys[0]))


def _whether_replaced(call: Call[bool], reply: Reply) -> bool:
    return bool(_several(call, reply, 2)[0] == 1)


def _pod_afterwards(call: Call[int], reply: Reply) -> int:
    return read_pod_id(_several(call, reply, 2)[1], call.keys[0])


def _pod_created(call: Call[int], reply: Reply) -> int:
    created, value = _several(call, reply, 2)
    pod = read_pod_id(value, call.keys[0])
    if not created:
        raise LinkExistsError(
            f"uid {shown(call.uid)} is linked to pod {pod} of {call.service_name} in "
            f"{call.namespace} already",
            pod,
        )
    return pod


def _pod_link(call: Call[PodLink | None], reply: Reply) -> PodLink | None:
    value, ttl, now, created = _several(call, reply, 4)
    if value is None:
        return None
    pod = read_pod_id(value, call.keys[0])
    assert call.namespace is not None
    assert call.uid is not None
    assert call.service_name is not None
    return PodLink(
        call.namespace,
        call.uid,
        call.service_name,
        pod,
        from_epoch_ms(_time(now, call.keys[0]) + ttl) if ttl >= 0 else None,
        None if created is None else _moment(_time_of(created, value, call.keys[2])),
    )


def _pod_states(call: Call[Any], reply: Reply) -> dict[int, str]:
    key = call.keys[0]
    return {read_pod_id(pod, key): read_text(state, key) for pod, state in _pairs(call, reply)}


def _some_pod_states(call: Call[dict[int, str]], reply: Reply) -> dict[int, str]:
    states = _pod_states(call, reply)
    if not states:
        raise ServiceNotFoundError(
            f"service {call.service_name} has no pod with a state in {call.namespace}"
        )
    return states


def _service_state(call: Call[ServiceState | None], reply: Reply) -> ServiceState | None:
    fields, stamps = _several(call, reply, 2)
    states = _pod_states(call, fields)
    if not states:
        return None
    # A state that another program wrote has no time, and then the latest time is not known.
    key = call.keys[1]
    times = {
        read_pod_id(pod, key): _time_of(stamp, states.get(read_pod_id(pod, key), "").encode(), key)
        for pod, stamp in _pairs(call, stamps)
    }
    known = [ms for ms in map(times.get, states) if ms is not None]
    updated_at = _moment(max(known)) if len(known) == len(states) else None
    assert call.namespace is not None
    assert call.service_name is not None
    return ServiceState(call.namespace, call.service_name, states, updated_at)


def _workload_state(call: Call[WorkloadState | None], reply: Reply) -> WorkloadState | None:
    value, stamp = _several(call, reply, 2)
    if value is None:
        return None
    state = read_text(value, call.keys[0])
    updated_at = None if stamp is None else _moment(_time_of(stamp, value, call.keys[1]))
    assert call.namespace is not None
    assert call.service_name is not None
    return WorkloadState(call.namespace, call.service_name, state, updated_at)


def _services(call: Call[dict[str, int]], reply: Reply) -> dict[str, int]:
    key = call.keys[0]
    return {read_text(name, key): read_pod_id(pod, key) for name, pod in _pairs(call, reply)}


def _workload_states(
    names: Sequence[str], keys: Sequence[bytes], values: list[Reply]
) -> dict[str, str]:
    return {
        name: read_text(value, key)
        for name, key, value in zip(names, keys, values, strict=True)
        if value is not None
    }


def _uids_by_stored_pod(
    uids: Sequence[str], keys: Sequence[bytes], values: list[Reply]
) -> dict[int, list[str]]:
    linked: dict[int, list[str]] = {}
    lists: dict[bytes, list[str]] = {}  # by the stored form, read when it is first met
    for uid, key, value in zip(uids, keys, values, strict=True):
        if value is not None:
            if value not in lists:
                lists[value] = linked.setdefault(read_pod_id(value, key), [])
            lists[value].append(uid)
    return linked


def _uids_by_pod(uids: Sequence[str], pods: list[int]) -> dict[int, list[str]]:
    linked: dict[int, list[str]] = {}
    for uid, pod in zip(uids, pods, strict=True):
        linked.setdefault(pod, []).append(uid)
    return linked


def _uids_that_were_linked(uids: Sequence[str], linked: list[bool]) -> list[str]:
    return [uid for uid, was in zip(uids, linked, strict=True) if was]


def _get_each(operation: str, keys: Sequence[bytes], size: int) -> list[Call[list[Reply]]]:
    """Calls that read these strings, so many in each."""
    chunks = (tuple(keys[i : i + size]) for i in range(0, len(keys), size))
    return [
        Call(operation, run_script(scripts.GET_EACH, chunk, ()), chunk, _values, scripts.GET_EACH)
        for chunk in chunks
    ]


def _values(call: Call[list[Reply]], reply: Reply) -> list[Reply]:
    return _several(call, reply, len(call.keys))


def _several(call: Call[Any], reply: Reply, count: int) -> list[Reply]:
    if isinstance(reply, list) and len(reply) == count:
        return reply
    raise _unexpected(call, reply)


def _pairs(call: Call[Any], reply: Reply) -> Iterator[tuple[Reply, Reply]]:
    """The fields and values of a hash: a map, or flat as scripts and RESP2 give it."""
    if isinstance(reply, dict):
        return iter(reply.items())
    if isinstance(reply, list) and len(reply) % 2 == 0:
        return zip(reply[::2], reply[1::2], strict=True)
    raise _unexpected(call, reply)


def _time(value: Reply, where: bytes) -> int:
    if isinstance(value, bytes) and value.isdigit() and len(value) <= 14:
        return int(value)
    raise InternalError(
        f"{shown_key(where)} holds {shown(value)}, which is not a time in milliseconds"
    )


def _time_of(stamp: Reply, value: bytes, where: bytes) -> int | None:
    """The time in a stamp, ``<milliseconds> <value it was made for>``.

    ``None`` if it was made for another value. A stamp of the first release is only the time: nobody
    knows what it was made for.
    """
    time, _, made_for = stamp.partition(b" ") if isinstance(stamp, bytes) else (stamp, b"", b"")
    milliseconds = _time(time, where)
    return milliseconds if made_for and made_for == value else None


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else from_epoch_ms(milliseconds)


def _unexpected(call: Call[Any], reply: Reply) -> InternalError:
    return InternalError(f"{call.operation} got an unexpected reply: {shown(reply)}")
