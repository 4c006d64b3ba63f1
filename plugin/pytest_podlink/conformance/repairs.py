"""The contract of the repairs: what each deletes, and that it leaves everything else as it is."""

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


def of_link(keys: Keys, at: Place) -> Repaired:
    """The link is absent, transient or persistent afterwards, and its index entry says so."""
    done: Done = set()
    pod = _sound_string(keys, at.link, done)
    if pod is not None and stored_pod_id(pod) is None:
        _delete(keys, at.link, done)
        pod = None
    fields = _sound_hash(keys, at.index_key, done)
    for field, value in list(fields.items()):
        if stored_text(field) is None or stored_pod_id(value) is None:
            _drop(keys, at.index_key, field, done)
    owner = pod if pod is not None and keys[at.link].expires_at is None else None
    entry = fields.get(at.service)
    if owner is None and entry is not None:
        _drop(keys, at.index_key, at.service, done)
    elif owner is not None and entry != owner:
        fields[at.service] = owner
        keys.setdefault(at.index_key, Entry(fields)).value = fields
        done.add((at.index_key, at.service, "set"))
    _repair_time(keys, at.created, pod, done)
    return Repaired(frozenset(done))


def of_states(keys: Keys, key: bytes) -> Repaired:
    """Every pod and every state is well-formed afterwards, and each time is that of a state."""
    done: Done = set()
    states = _sound_hash(keys, key, done)
    for pod, state in list(states.items()):
        if stored_pod_id(pod) is None or stored_text(state) is None:
            _drop(keys, key, pod, done)
    for pod, time in list(_sound_hash(keys, key + b"@", done).items()):
        if not _is_time_of(time, states.get(pod)):
            _drop(keys, key + b"@", pod, done)
    return Repaired(frozenset(done))


def of_workload(keys: Keys, key: bytes) -> Repaired:
    """The state is well-formed or absent afterwards, and the time is that of the state."""
    done: Done = set()
    state = _sound_string(keys, key, done)
    if state is not None and stored_text(state) is None:
        _delete(keys, key, done)
        state = None
    _repair_time(keys, key + b"@", state, done)
    return Repaired(frozenset(done))


def _repair_time(keys: Keys, key: bytes, value: Stored | None, done: Done) -> None:
    time = _sound_string(keys, key, done)
    if time is not None and not _is_time_of(time, value):
        _delete(keys, key, done)


def _is_time_of(time: Stored, value: Stored | None) -> bool:
    return (
        isinstance(value, bytes) and is_stored_time(time) and stored_moment(time, value) is not None
    )


def _sound_string(keys: Keys, key: bytes, done: Done) -> Stored | None:
    """The string at a key; a key of another type is deleted."""
    entry = keys.get(key)
    if entry is None:
        return None
    if isinstance(entry.value, dict):
        _delete(keys, key, done)
        return None
    return entry.value


def _sound_hash(keys: Keys, key: bytes, done: Done) -> dict[bytes, Stored]:
    """The fields of the hash at a key; a key of another type is deleted."""
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


def _drop(keys: Keys, key: bytes, field: bytes, done: Done) -> None:
    fields = keys[key].value
    assert isinstance(fields, dict)
    del fields[field]
    if not fields:
        del keys[key]
    done.add((key, field, "deleted"))
