"""The contract of the repairs: what each of them deletes; everything else stays as it is."""

from __future__ import annotations

from pytest_podlink.conformance.values import (
    Dated,
    Entry,
    Place,
    Repaired,
    is_stored_time,
    stored_moment,
    stored_pod_id,
    stored_text,
)

Keys = dict[bytes, Entry]
Stored = bytes | Dated
Done = set[tuple[bytes, "bytes | None", str]]


def repair_link(keys: Keys, at: Place) -> Repaired:
    """Afterwards the link is absent, transient or persistent, and its index entry agrees."""
    done: Done = set()
    pod = _string_or_delete(keys, at.link, done)
    if pod is not None and stored_pod_id(pod) is None:
        _delete(keys, at.link, done)
        pod = None
    fields = _hash_or_delete(keys, at.index_key, done)
    for field, value in list(fields.items()):
        if stored_text(field) is None or stored_pod_id(value) is None:
            _delete_field(keys, at.index_key, field, done)
    owner = pod if pod is not None and keys[at.link].expires_at is None else None
    entry = fields.get(at.service)
    if owner is None and entry is not None:
        _delete_field(keys, at.index_key, at.service, done)
    elif owner is not None and entry != owner:
        fields[at.service] = owner
        keys.setdefault(at.index_key, Entry(fields)).value = fields
        done.add((at.index_key, at.service, "set"))
    _repair_time(keys, at.created, pod, done)
    return Repaired(frozenset(done))


def repair_states(keys: Keys, key: bytes) -> Repaired:
    """Afterwards every pod and state is well-formed, and every time belongs to a state."""
    done: Done = set()
    states = _hash_or_delete(keys, key, done)
    for pod, state in list(states.items()):
        if stored_pod_id(pod) is None or stored_text(state) is None:
            _delete_field(keys, key, pod, done)
    for pod, time in list(_hash_or_delete(keys, key + b"@", done).items()):
        if not _is_time_of(time, states.get(pod)):
            _delete_field(keys, key + b"@", pod, done)
    return Repaired(frozenset(done))


def repair_workload(keys: Keys, key: bytes) -> Repaired:
    """Afterwards the state is well-formed or absent, and the time belongs to the state."""
    done: Done = set()
    state = _string_or_delete(keys, key, done)
    if state is not None and stored_text(state) is None:
        _delete(keys, key, done)
        state = None
    _repair_time(keys, key + b"@", state, done)
    return Repaired(frozenset(done))


def _repair_time(keys: Keys, key: bytes, value: Stored | None, done: Done) -> None:
    time = _string_or_delete(keys, key, done)
    if time is not None and not _is_time_of(time, value):
        _delete(keys, key, done)


def _is_time_of(time: Stored, value: Stored | None) -> bool:
    return (
        isinstance(value, bytes) and is_stored_time(time) and stored_moment(time, value) is not None
    )


def _string_or_delete(keys: Keys, key: bytes, done: Done) -> Stored | None:
    """Returns the string at a key. Deletes a key of another type and returns None."""
    entry = keys.get(key)
    if entry is None:
        return None
    if isinstance(entry.value, dict):
        _delete(keys, key, done)
        return None
    return entry.value


def _hash_or_delete(keys: Keys, key: bytes, done: Done) -> dict[bytes, Stored]:
    """Returns the fields of the hash at a key. Deletes a key of another type and returns {}."""
    entry = keys.get(key)
    if entry is None:
        return {}
    if not isinstance(entry.value, dict):
        _delete(keys, key, done)
        return {}
    return entry.value


def _delete(keys: Keys, key: bytes, done: Done) -> None:
    del keys[key]
    done.add((key, None, "deleted"))


def _delete_field(keys: Keys, key: bytes, field: bytes, done: Done) -> None:
    fields = keys[key].value
    assert isinstance(fields, dict)
    del fields[field]
    if not fields:
        del keys[key]
    done.add((key, field, "deleted"))
