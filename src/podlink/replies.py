"""Parsers of the replies of the operations.

Each function returns the result of a `Call`, given the call and its reply, or the result of a
`BatchCall`, given the values of its calls. Strings in replies are bytes. A malformed value raises
`InternalError`, whose message names the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from podlink.calls import Call, Reply
from podlink.errors import InternalError, LinkExistsError, PodNotFoundError, ServiceNotFoundError
from podlink.keys import (
    read_pod_id,
    read_text,
    shown,
    shown_key,
)
from podlink.models import (
    PodLink,
    ReplaceResult,
    ServiceState,
    TrySetResult,
    WorkloadState,
    from_epoch_ms,
)

T = TypeVar("T")


def as_list(parse: Callable[[Call[Any], Reply], T]) -> Callable[[Call[Any], Reply], list[T]]:
    """Wrap a parser so that it returns a list of one value, as calls of a batch must."""
    return lambda call, reply: [parse(call, reply)]


def no_result(call: Call[None], reply: Reply) -> None:
    return None


def whether_done(call: Call[bool], reply: Reply) -> bool:
    if type(reply) is int and 0 <= reply <= 1:
        return reply == 1
    raise _unexpected(call, reply)


def pod_or_none(call: Call[int | None], reply: Reply) -> int | None:
    return None if reply is None else read_pod_id(reply, call.keys[0])


def pod_required(call: Call[int], reply: Reply) -> int:
    if reply is None:
        raise PodNotFoundError(
            f"uid {shown(call.uid)} is linked to no pod of {call.service_name} in {call.namespace}"
        )
    return read_pod_id(reply, call.keys[0])


def pod_if_persist(call: Call[int | None], reply: Reply) -> int | None:
    value, persistent = _list_of(call, reply, 2)
    pod = None if value is None else read_pod_id(value, call.keys[0])
    return pod if persistent else None


def try_set_result(call: Call[TrySetResult], reply: Reply) -> TrySetResult:
    linked, pod = _list_of(call, reply, 2)
    return TrySetResult(linked == 1, read_pod_id(pod, call.keys[0]))


def replace_result(call: Call[ReplaceResult], reply: Reply) -> ReplaceResult:
    replaced, pod = _list_of(call, reply, 2)
    return ReplaceResult(replaced == 1, None if pod is None else read_pod_id(pod, call.keys[0]))


def whether_replaced(call: Call[bool], reply: Reply) -> bool:
    return bool(_list_of(call, reply, 2)[0] == 1)


def pod_afterwards(call: Call[int], reply: Reply) -> int:
    return read_pod_id(_list_of(call, reply, 2)[1], call.keys[0])


def pod_created(call: Call[int], reply: Reply) -> int:
    created, value = _list_of(call, reply, 2)
    pod = read_pod_id(value, call.keys[0])
    if not created:
        raise LinkExistsError(
            f"uid {shown(call.uid)} is already linked to pod {pod} of {call.service_name} in "
            f"{call.namespace}",
            pod,
        )
    return pod


def pod_link(call: Call[PodLink | None], reply: Reply) -> PodLink | None:
    value, ttl, now, created = _list_of(call, reply, 4)
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
        None if created is None else _datetime(_stamped_time(created, value, call.keys[2])),
    )


def pod_states(call: Call[Any], reply: Reply) -> dict[int, str]:
    key = call.keys[0]
    return {read_pod_id(pod, key): read_text(state, key) for pod, state in _pairs(call, reply)}


def some_pod_states(call: Call[dict[int, str]], reply: Reply) -> dict[int, str]:
    states = pod_states(call, reply)
    if not states:
        raise ServiceNotFoundError(
            f"service {call.service_name} has no pod with a state in {call.namespace}"
        )
    return states


def service_state_with_time(call: Call[ServiceState | None], reply: Reply) -> ServiceState | None:
    fields, stamps = _list_of(call, reply, 2)
    states = pod_states(call, fields)
    if not states:
        return None
    # If another program wrote a state, it has no time, so the latest time is unknown.
    key = call.keys[1]
    times = {
        read_pod_id(pod, key): _stamped_time(
            stamp, states.get(read_pod_id(pod, key), "").encode(), key
        )
        for pod, stamp in _pairs(call, stamps)
    }
    known = [ms for ms in map(times.get, states) if ms is not None]
    updated_at = _datetime(max(known)) if len(known) == len(states) else None
    assert call.namespace is not None
    assert call.service_name is not None
    return ServiceState(call.namespace, call.service_name, states, updated_at)


def workload_state_with_time(
    call: Call[WorkloadState | None], reply: Reply
) -> WorkloadState | None:
    value, stamp = _list_of(call, reply, 2)
    if value is None:
        return None
    state = read_text(value, call.keys[0])
    updated_at = None if stamp is None else _datetime(_stamped_time(stamp, value, call.keys[1]))
    assert call.namespace is not None
    assert call.service_name is not None
    return WorkloadState(call.namespace, call.service_name, state, updated_at)


def service_pods(call: Call[dict[str, int]], reply: Reply) -> dict[str, int]:
    key = call.keys[0]
    return {read_text(name, key): read_pod_id(pod, key) for name, pod in _pairs(call, reply)}


def workload_states(
    names: Sequence[str], keys: Sequence[bytes], values: list[Reply]
) -> dict[str, str]:
    return {
        name: read_text(value, key)
        for name, key, value in zip(names, keys, values, strict=True)
        if value is not None
    }


def uids_by_stored_pod(
    uids: Sequence[str], keys: Sequence[bytes], values: list[Reply]
) -> dict[int, list[str]]:
    linked: dict[int, list[str]] = {}
    lists: dict[bytes, list[str]] = {}  # by stored value, so that each value is parsed once
    for uid, key, value in zip(uids, keys, values, strict=True):
        if value is not None:
            if value not in lists:
                lists[value] = linked.setdefault(read_pod_id(value, key), [])
            lists[value].append(uid)
    return linked


def uids_by_pod(uids: Sequence[str], pods: list[int]) -> dict[int, list[str]]:
    linked: dict[int, list[str]] = {}
    for uid, pod in zip(uids, pods, strict=True):
        linked.setdefault(pod, []).append(uid)
    return linked


def uids_that_were_linked(uids: Sequence[str], linked: list[bool]) -> list[str]:
    return [uid for uid, was in zip(uids, linked, strict=True) if was]


def string_values(call: Call[list[Reply]], reply: Reply) -> list[Reply]:
    return _list_of(call, reply, len(call.keys))


def _list_of(call: Call[Any], reply: Reply, count: int) -> list[Reply]:
    if isinstance(reply, list) and len(reply) == count:
        return reply
    raise _unexpected(call, reply)


def _pairs(call: Call[Any], reply: Reply) -> Iterator[tuple[Reply, Reply]]:
    """Iterate over the fields of a hash: a map in RESP3, a flat list in RESP2 and from scripts."""
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


def _stamped_time(stamp: Reply, value: bytes, where: bytes) -> int | None:
    """Parse a stamp, ``<milliseconds> <value>``, and return its milliseconds.

    Returns ``None`` if the stamp belongs to another value. Stamps of the first release have no
    value, so their time is ignored.
    """
    time, _, made_for = stamp.partition(b" ") if isinstance(stamp, bytes) else (stamp, b"", b"")
    milliseconds = _time(time, where)
    return milliseconds if made_for and made_for == value else None


def _datetime(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else from_epoch_ms(milliseconds)


def _unexpected(call: Call[Any], reply: Reply) -> InternalError:
    return InternalError(f"{call.operation} got an unexpected reply: {shown(reply)}")
