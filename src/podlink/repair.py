"""The operations that return stored values unchecked, and those that delete malformed values.

All other operations raise an error if a stored value is malformed. `inspect_link` and
`inspect_service` return the stored values as they are. The ``repair_…`` operations delete malformed
values, each in one atomic step; the scripts ``repair_*.lua`` define which values are malformed. As
in `podlink.operations`, IO and redis-py do not belong here.
"""

from __future__ import annotations

from typing import Any

from podlink import scripts
from podlink.calls import BatchCall, Call, Reply, run_script
from podlink.errors import InternalError
from podlink.keys import link_keys, shown, shown_key, state_key, times_key, workload_key
from podlink.models import Repair, StoredKey


def inspect_link(namespace: str, uid: str, service_name: str) -> Call[list[StoredKey]]:
    """Read the stored keys of a link: the link, the index of the uid, the creation time."""
    keys = link_keys(namespace, uid, service_name)
    return Call(
        "inspect_link", run_script(scripts.INSPECT, keys, ()), keys, _stored_keys, scripts.INSPECT,
        False, namespace, service_name, uid,
    )  # fmt: skip


def inspect_service(namespace: str, service_name: str) -> BatchCall[list[StoredKey]]:
    """Read the stored keys of a service: pod states, their times, workload state, its time."""
    calls = []
    for key in (state_key(namespace, service_name), workload_key(namespace, service_name)):
        keys = (key, times_key(key))
        wire = run_script(scripts.INSPECT, keys, ())
        calls.append(Call("inspect_service", wire, keys, _stored_keys, scripts.INSPECT))
    names = [shown_key(key) for call in calls for key in call.keys]
    return BatchCall("inspect_service", calls, names, 2, _same, namespace, service_name)


def repair_link(namespace: str, uid: str, service_name: str, dry_run: bool) -> Call[list[Repair]]:
    """Delete malformed values of a link."""
    keys = link_keys(namespace, uid, service_name)
    wire = run_script(scripts.REPAIR_LINK, keys, (service_name.encode(), _flag(dry_run)))
    return Call(
        "repair_link", wire, keys, _repairs, scripts.REPAIR_LINK, not dry_run,
        namespace, service_name, uid,
    )  # fmt: skip


def repair_service_state(namespace: str, service_name: str, dry_run: bool) -> Call[list[Repair]]:
    """Delete malformed pod states of a service."""
    key = state_key(namespace, service_name)
    keys = (key, times_key(key))
    return Call(
        "repair_service_state",
        run_script(scripts.REPAIR_SERVICE_STATE, keys, (_flag(dry_run),)),
        keys, _repairs, scripts.REPAIR_SERVICE_STATE, not dry_run, namespace, service_name,
    )  # fmt: skip


def repair_workload_state(namespace: str, service_name: str, dry_run: bool) -> Call[list[Repair]]:
    """Delete the state of a workload if it is malformed."""
    key = workload_key(namespace, service_name)
    keys = (key, times_key(key))
    return Call(
        "repair_workload_state",
        run_script(scripts.REPAIR_WORKLOAD_STATE, keys, (_flag(dry_run),)),
        keys, _repairs, scripts.REPAIR_WORKLOAD_STATE, not dry_run, namespace, service_name,
    )  # fmt: skip


def _flag(dry_run: bool) -> bytes:
    return b"1" if dry_run else b"0"


def _same(values: list[StoredKey]) -> list[StoredKey]:
    return values


def _stored_keys(call: Call[list[StoredKey]], reply: Reply) -> list[StoredKey]:
    if not isinstance(reply, list) or len(reply) != len(call.keys):
        raise InternalError(f"{call.operation} got an unexpected reply: {shown(reply)}")
    return [_stored_key(key, *found) for key, found in zip(call.keys, reply, strict=True)]


def _stored_key(key: bytes, kind: bytes, ttl: int, value: Any) -> StoredKey:
    if isinstance(value, list):
        value = dict(zip(value[::2], value[1::2], strict=True))
    return StoredKey(key, kind.decode(), ttl / 1000 if ttl >= 0 else None, value)


_DONE: dict[bytes, str] = {b"DEL": "deleted", b"HDEL": "deleted", b"HSET": "set"}


def _repairs(call: Call[list[Repair]], reply: Reply) -> list[Repair]:
    if not isinstance(reply, list):
        raise InternalError(f"{call.operation} got an unexpected reply: {shown(reply)}")
    return [Repair(key, field, found, _DONE[command]) for key, field, found, command in reply]
