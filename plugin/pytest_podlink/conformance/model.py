"""The contract of linked pods in plain Python: what each operation returns and leaves behind.

Written from the semantics page alone, and sharing nothing with podlink but its public names: the
two would otherwise be wrong together. It holds the whole key space, as a Redis would: names of
keys, types, values and times of expiry. No Redis, no IO, no randomness and no clock of its own.

What stores may do differently has a symbol here instead of a value: a time that a store stamps on
something is a `Stamp`, the number of the step that did it. Whoever compares knows which moment
that step was on which store. Where several things are wrong at once, an operation may name any of
them: `Refused` lists them all.

The contract leaves some readings open. These are taken:

- A link key without a TTL is a persistent link, also where the index (evicted, say) lacks it.
- An operation that changes links looks at the link key and at the index field of its service, and
  refuses both unless they are well-formed, even if it would not have changed them.
- A pod id in Redis is decimal as Python and Java write it: no sign, blank or leading zero.
- The creation time of a link belongs to uid and pod: linking to the same pod again keeps it, with
  the new TTL; to another pod replaces it; a link without one is not given one afterwards.
- A time that was stamped for another value, or does not say for which, is not known; a write that
  keeps the link deletes it. A time that is left of something that is gone is no error.
- The time of something without a TTL has a TTL of a year from the last write on.
- Writing the state of a workload replaces whatever was at the key, as SET does.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from podlink import DELETE_NOW, PERSIST_FOREVER, ErrorCode, ReplaceResult, TrySetResult

T = TypeVar("T")


class Stamp(NamedTuple):
    """The moment on a store at which it did this step, to this link if the step is about many."""

    step: int
    link: bytes = b""


class Dated(NamedTuple):
    """A stamp and the value it was made for, as they are stored: ``<milliseconds> <value>``."""

    stamp: Stamp
    value: bytes


Moment = Stamp | int
"""A stamp, or epoch milliseconds that somebody else wrote."""

YEAR = 365 * 24 * 60 * 60
"""Seconds that the time of something without a TTL is kept after a write."""

HOUR = 60 * 60
"""Seconds after which a write looks for times of pods without a state."""

Value = bytes | Dated | dict[bytes, bytes | Dated]
"""A string, or a hash."""


@dataclass
class Entry:
    """What is at a key. ``expires_at`` is in milliseconds of the model's time."""

    value: Value
    expires_at: int | None = None

    @property
    def type(self) -> str:
        """The type as Redis names it."""
        return "hash" if isinstance(self.value, dict) else "string"


@dataclass
class Refused(Exception):
    """The operation fails, with one of these codes.

    Attributes:
        codes: the codes, one for each thing that is wrong.
        keys: one of these is named in the message, if the code is INTERNAL_ERROR.
        pod_id: what the error carries, if the code is LINK_EXISTS.
        undone: the uids of a batch that failed.
    """

    codes: frozenset[ErrorCode]
    keys: frozenset[bytes] = frozenset()
    pod_id: int | None = None
    undone: tuple[str, ...] = ()


class LinkRead(NamedTuple):
    """What `read_pod_link` tells. ``remaining`` is in milliseconds."""

    namespace: str
    uid: str
    service_name: str
    pod_id: int
    remaining: int | None
    created: Moment | None


class ServiceRead(NamedTuple):
    """What `read_service_state` tells."""

    namespace: str
    service_name: str
    pod_states: dict[int, str]
    updated: Moment | None


class WorkloadRead(NamedTuple):
    """What `read_workload_state` tells."""

    namespace: str
    service_name: str
    state: str
    updated: Moment | None


class Drained(NamedTuple):
    """What `drain_pod` tells: how many links were found, removed or moved, and left as they are."""

    found: int
    done: int
    failed: int


class Place(NamedTuple):
    """The keys of a link, and its field in the index."""

    link: bytes
    index_key: bytes
    created: bytes
    service: bytes


def place(namespace: str, uid: str, service_name: str) -> Place:
    """Where a link is kept."""
    index = b"sf:{%s:lk:%s}" % (namespace.encode(), uid.encode())
    service = service_name.encode()
    return Place(index + service, index, index + service + b"@", service)


def state_key(namespace: str, service_name: str) -> bytes:
    """Where the pod states of a service are kept."""
    return b"sf:{%s:state:%s}" % (namespace.encode(), service_name.encode())


def workload_key(namespace: str, service_name: str) -> bytes:
    """Where the state of a workload is kept."""
    return b"sf:{%s:workload:%s}" % (namespace.encode(), service_name.encode())


class Faults:
    """What is wrong with the stored values that an operation reads."""

    def __init__(self) -> None:
        self.codes: set[ErrorCode] = set()
        self.keys: set[bytes] = set()

    def wrong_type(self) -> None:
        """A key is of another type than the contract gives it."""
        self.codes.add(ErrorCode.REDIS_OPERATION_ERROR)

    def wrong_value(self, key: bytes) -> None:
        """The value at a key is not what the contract allows."""
        self.codes.add(ErrorCode.INTERNAL_ERROR)
        self.keys.add(key)

    def refuse(self) -> None:
        """End the operation if anything is wrong."""
        if self.codes:
            raise Refused(frozenset(self.codes), frozenset(self.keys))


@dataclass
class Model:
    """A store, and the operations on it under their public names.

    Attributes:
        keys: everything stored.
        now: milliseconds; starts anywhere.
        step: the number of the present step, for stamps.
        track_link_times: as the executor of the present step was made.
    """

    keys: dict[bytes, Entry] = field(default_factory=dict)
    now: int = 0
    step: int = 0
    track_link_times: bool = False

    # Service and workload states

    def set_service_state(self, namespace: Any, service_name: Any, pod_id: Any, state: Any) -> None:
        check(_name(namespace), _name(service_name), _pod_id(pod_id), _state(state))
        key = state_key(namespace, service_name)
        faults = Faults()
        self._hash(key, faults)
        self._hash(key + b"@", faults)
        faults.refuse()
        pod, value = b"%d" % pod_id, state.encode()
        self._put_field(key, pod, value)
        self._put_field(key + b"@", pod, Dated(Stamp(self.step), value))
        expires_at = self.keys[key + b"@"].expires_at
        if expires_at is None or expires_at - self.now < (YEAR - HOUR) * 1000:
            for pod in self._hash(key + b"@", faults).keys() - self._hash(key, faults).keys():
                self._drop_field(key + b"@", pod)
            self._set_ttl(key + b"@", YEAR)

    def get_service_state(self, namespace: Any, service_name: Any) -> dict[int, str]:
        check(_name(namespace), _name(service_name))
        faults = Faults()
        states = self._pod_states(state_key(namespace, service_name), faults)
        faults.refuse()
        return states

    def require_service_state(self, namespace: Any, service_name: Any) -> dict[int, str]:
        states = self.get_service_state(namespace, service_name)
        if not states:
            raise Refused(frozenset({ErrorCode.SERVICE_NOT_FOUND}))
        return states

    def read_service_state(self, namespace: Any, service_name: Any) -> ServiceRead | None:
        check(_name(namespace), _name(service_name))
        key = state_key(namespace, service_name)
        faults = Faults()
        states = self._pod_states(key, faults)
        times = self._hash(key + b"@", faults)
        known = []
        for name, time in times.items() if key in self.keys else ():
            pod = _stored_pod_id(name)
            if pod is None or not _is_stored_time(time):
                faults.wrong_value(key + b"@")
            elif pod in states:
                known.append(_stored_moment(time, states[pod].encode()))
        faults.refuse()
        if not states:
            return None
        updated = None if None in known or len(known) < len(states) else _latest(known)
        return ServiceRead(namespace, service_name, states, updated)

    def set_workload_state(self, namespace: Any, service_name: Any, state: Any) -> None:
        check(_name(namespace), _name(service_name), _state(state))
        key = workload_key(namespace, service_name)
        self.keys[key] = Entry(state.encode())
        self.keys[key + b"@"] = Entry(Dated(Stamp(self.step), state.encode()))
        self._set_ttl(key + b"@", YEAR)

    def get_workload_state(self, namespace: Any, service_names: Any) -> dict[str, str]:
        check(_name(namespace), _each(service_names, _name))
        faults = Faults()
        states = {}
        for name in service_names:
            state = self._text(workload_key(namespace, name), faults)
            if state is not None:
                states[name] = state
        faults.refuse()
        return states

    def read_workload_state(self, namespace: Any, service_name: Any) -> WorkloadRead | None:
        check(_name(namespace), _name(service_name))
        key = workload_key(namespace, service_name)
        faults = Faults()
        state = self._text(key, faults)
        updated = self._moment(key + b"@", faults, key)
        faults.refuse()
        return None if state is None else WorkloadRead(namespace, service_name, state, updated)

    # Making links

    def set_linked_pod(
        self,
        namespace: Any,
        uid: Any,
        service_name: Any,
        pod_id: Any,
        persist_seconds: Any = PERSIST_FOREVER,
    ) -> int | None:
        check(_pod_id(pod_id), _seconds(persist_seconds))
        at, before = self._open(namespace, uid, service_name)
        self._link(at, before, pod_id, persist_seconds)
        return before

    def try_set_linked_pod(
        self,
        namespace: Any,
        uid: Any,
        service_name: Any,
        pod_id: Any,
        persist_seconds: Any = PERSIST_FOREVER,
    ) -> TrySetResult:
        check(_pod_id(pod_id), _seconds(persist_seconds))
        at, before = self._open(namespace, uid, service_name)
        if before is not None and before != pod_id and self.keys[at.link].expires_at is None:
            return TrySetResult(False, before)
        self._link(at, before, pod_id, persist_seconds)
        return TrySetResult(True, pod_id)

    def set_linked_pod_if_absent(
        self,
        namespace: Any,
        uid: Any,
        service_name: Any,
        pod_id: Any,
        persist_seconds: Any = PERSIST_FOREVER,
    ) -> int:
        check(_pod_id(pod_id), _seconds(persist_seconds))
        at, before = self._open(namespace, uid, service_name)
        if before is not None:
            return before
        self._link(at, before, pod_id, persist_seconds)
        return int(pod_id)

    def create_linked_pod(
        self,
        namespace: Any,
        uid: Any,
        service_name: Any,
        pod_id: Any,
        persist_seconds: Any = PERSIST_FOREVER,
    ) -> int:
        check(_pod_id(pod_id), _seconds(persist_seconds))
        at, before = self._open(namespace, uid, service_name)
        if before is not None:
            raise Refused(frozenset({ErrorCode.LINK_EXISTS}), pod_id=before)
        self._link(at, before, pod_id, persist_seconds)
        return int(pod_id)

    def replace_linked_pod(
        self,
        namespace: Any,
        uid: Any,
        service_name: Any,
        expected_pod_id: Any,
        pod_id: Any,
        persist_seconds: Any = PERSIST_FOREVER,
    ) -> ReplaceResult:
        check(_pod_id(expected_pod_id), _pod_id(pod_id), _seconds(persist_seconds))
        at, before = self._open(namespace, uid, service_name)
        if before != expected_pod_id:
            return ReplaceResult(False, before)
        self._link(at, before, pod_id, persist_seconds)
        return ReplaceResult(True, pod_id)

    def refresh_linked_pod(
        self, namespace: Any, uid: Any, service_name: Any, pod_id: Any, persist_seconds: Any
    ) -> bool:
        check(_pod_id(pod_id), _seconds(persist_seconds), persist_seconds != PERSIST_FOREVER)
        at, before = self._open(namespace, uid, service_name)
        if before != pod_id:
            return False
        if self.keys[at.link].expires_at is None:
            persist_seconds = PERSIST_FOREVER
        self._set_ttl(at.link, persist_seconds)
        self._keep_created(at, persist_seconds)
        return True

    def batch_set_linked_pod_if_absent(
        self,
        namespace: Any,
        uids: Any,
        service_name: Any,
        pod_id: Any,
        persist_seconds: Any = PERSIST_FOREVER,
    ) -> dict[int, list[str]]:
        check(
            _name(namespace),
            _each(uids, _uid),
            _name(service_name),
            _pod_id(pod_id),
            _seconds(persist_seconds),
        )
        linked: dict[int, list[str]] = {}
        for uid, pod in self._each_uid(
            uids,
            lambda uid: self.set_linked_pod_if_absent(
                namespace, uid, service_name, pod_id, persist_seconds
            ),
        ):
            linked.setdefault(pod, []).append(uid)
        return linked

    # Reading links

    def get_linked_pod(self, namespace: Any, uid: Any, service_name: Any) -> int | None:
        check(_name(namespace), _uid(uid), _name(service_name))
        faults = Faults()
        pod = self._pod(place(namespace, uid, service_name).link, faults)
        faults.refuse()
        return pod

    def require_linked_pod(self, namespace: Any, uid: Any, service_name: Any) -> int:
        pod = self.get_linked_pod(namespace, uid, service_name)
        if pod is None:
            raise Refused(frozenset({ErrorCode.POD_NOT_FOUND}))
        return pod

    def get_linked_pod_if_persist(self, namespace: Any, uid: Any, service_name: Any) -> int | None:
        pod = self.get_linked_pod(namespace, uid, service_name)
        if pod is None:
            return None
        at = place(namespace, uid, service_name)
        return pod if self.keys[at.link].expires_at is None else None

    def batch_get_linked_pod(
        self, namespace: Any, uids: Any, service_name: Any
    ) -> dict[int, list[str]]:
        check(_name(namespace), _each(uids, _uid), _name(service_name))
        faults = Faults()
        linked: dict[int, list[str]] = {}
        for uid in dict.fromkeys(uids):
            pod = self._pod(place(namespace, uid, service_name).link, faults)
            if pod is not None:
                linked.setdefault(pod, []).append(uid)
        faults.refuse()
        return linked

    def get_link_service(self, namespace: Any, uid: Any) -> dict[str, int]:
        check(_name(namespace), _uid(uid))
        key = place(namespace, uid, "").index_key
        faults = Faults()
        services = {}
        for name, value in self._hash(key, faults).items():
            pod = _stored_pod_id(value)
            if pod is None:
                faults.wrong_value(key)
            else:
                services[name.decode()] = pod
        faults.refuse()
        return services

    def read_pod_link(self, namespace: Any, uid: Any, service_name: Any) -> LinkRead | None:
        check(_name(namespace), _uid(uid), _name(service_name))
        at = place(namespace, uid, service_name)
        faults = Faults()
        pod = self._pod(at.link, faults)
        created = self._moment(at.created, faults, at.link)
        faults.refuse()
        if pod is None:
            return None
        expires_at = self.keys[at.link].expires_at
        remaining = None if expires_at is None else expires_at - self.now
        return LinkRead(namespace, uid, service_name, pod, remaining, created)

    # Removing links

    def remove_linked_pod(
        self, namespace: Any, uid: Any, service_name: Any, persist_seconds: Any = DELETE_NOW
    ) -> bool:
        check(_seconds(persist_seconds))
        at, before = self._open(namespace, uid, service_name)
        self._unlink(at, persist_seconds)
        return before is not None

    def remove_linked_pod_with_id(
        self,
        namespace: Any,
        uid: Any,
        service_name: Any,
        pod_id: Any,
        persist_seconds: Any = DELETE_NOW,
    ) -> bool:
        check(_pod_id(pod_id), _seconds(persist_seconds))
        at, before = self._open(namespace, uid, service_name)
        if before is not None and before != pod_id:
            return False
        self._unlink(at, persist_seconds)
        return before is not None

    def batch_remove_linked_pod(
        self, namespace: Any, uids: Any, service_name: Any, persist_seconds: Any = DELETE_NOW
    ) -> list[str]:
        check(_name(namespace), _each(uids, _uid), _name(service_name), _seconds(persist_seconds))
        removed = self._each_uid(
            uids,
            lambda uid: self.remove_linked_pod(namespace, uid, service_name, persist_seconds),
        )
        return [uid for uid, was_linked in removed if was_linked]

    def drain_pod(self, namespace: Any, service_name: Any, pod_id: Any, to: Any = None) -> Drained:
        check(_name(namespace), _name(service_name), _pod_id(pod_id))
        check(to is None or _pod_id(to), to != pod_id)
        start, end = place(namespace, "", service_name).index_key[:-1], b"}" + service_name.encode()
        found = failed = 0
        for key, entry in list(self.keys.items()):
            uid = key[len(start) : -len(end)]
            if not (key.startswith(start) and key.endswith(end)) or b"}" in uid:
                continue
            if isinstance(entry.value, dict) or _stored_pod_id(entry.value) != pod_id:
                continue
            found += 1
            try:
                self._leave(namespace, uid.decode(), service_name, to)
            except Refused:
                failed += 1
        return Drained(found, found - failed, failed)

    def _leave(self, namespace: str, uid: str, service_name: str, to: int | None) -> None:
        at, before = self._open(namespace, uid, service_name)
        if to is None:
            self._unlink(at, DELETE_NOW)
            return
        expires_at = self.keys[at.link].expires_at
        self._link(at, before, to, PERSIST_FOREVER if expires_at is None else 1)
        for key in (at.link, at.created):
            if key in self.keys and expires_at is not None:
                self.keys[key].expires_at = expires_at

    def _each_uid(self, uids: Any, act: Callable[[str], T]) -> list[tuple[str, T]]:
        """Do it for each distinct uid. One that is refused does not hold up the others."""
        done: list[tuple[str, T]] = []
        refusals: list[Refused] = []
        undone: list[str] = []
        for uid in dict.fromkeys(uids):
            try:
                done.append((uid, act(uid)))
            except Refused as refused:
                refusals.append(refused)
                undone.append(uid)
        if refusals:
            first = refusals[0]
            raise Refused(first.codes, first.keys, undone=tuple(undone))
        return done

    # Time, and other writers

    def advance(self, milliseconds: int) -> None:
        """Let time pass."""
        self.now += milliseconds
        for key, entry in list(self.keys.items()):
            if entry.expires_at is not None and entry.expires_at <= self.now:
                del self.keys[key]

    def remaining(self) -> list[int]:
        """The TTLs of all keys that have one, in milliseconds, shortest first."""
        times = (entry.expires_at for entry in self.keys.values())
        return sorted(time - self.now for time in times if time is not None)

    def write(self, name: str, key: bytes, *arguments: Any) -> None:
        """What another program does to the store: one of the Redis commands below."""
        commands: dict[str, Callable[..., object]] = {
            "SET": lambda key, value: self.keys.update({key: Entry(value)}),
            "HSET": self._put_field,
            "HDEL": self._drop_field,
            "EXPIRE": self._set_ttl,
            "PERSIST": lambda key: self._set_ttl(key, PERSIST_FOREVER),
            "DEL": lambda key: self.keys.pop(key, None),
        }
        commands[name](key, *arguments)

    # How a link is kept

    def _open(self, namespace: Any, uid: Any, service_name: Any) -> tuple[Place, int | None]:
        """The keys of a link that is to be changed, and its pod, once all of it is well-formed."""
        check(_name(namespace), _uid(uid), _name(service_name))
        at = place(namespace, uid, service_name)
        faults = Faults()
        before = self._pod(at.link, faults)
        entry = self._hash(at.index_key, faults).get(at.service)
        if entry is not None and _stored_pod_id(entry) is None:
            faults.wrong_value(at.index_key)
        faults.refuse()
        return at, before

    def _link(self, at: Place, before: int | None, pod: int, seconds: int) -> None:
        self.keys[at.link] = Entry(b"%d" % pod)
        self._set_ttl(at.link, seconds)
        if seconds == PERSIST_FOREVER:
            self._put_field(at.index_key, at.service, b"%d" % pod)
        else:
            self._drop_field(at.index_key, at.service)
        if before != pod and self.track_link_times:
            self.keys[at.created] = Entry(Dated(Stamp(self.step, at.link), b"%d" % pod))
        elif before != pod:
            self.keys.pop(at.created, None)
        self._keep_created(at, seconds)

    def _keep_created(self, at: Place, seconds: int) -> None:
        """Keep the creation time of a link as long as the link, if it is that of this link."""
        if at.created in self.keys:
            stamp, link = self.keys[at.created].value, self.keys[at.link].value
            assert isinstance(link, bytes)
            if isinstance(stamp, dict) or _stored_moment(stamp, link) is None:
                del self.keys[at.created]
        self._set_ttl(at.created, YEAR if seconds == PERSIST_FOREVER else seconds)

    def _unlink(self, at: Place, seconds: int) -> None:
        self._drop_field(at.index_key, at.service)
        if at.link in self.keys and seconds != DELETE_NOW:
            self._set_ttl(at.link, seconds)
            self._keep_created(at, seconds)
        else:
            self.keys.pop(at.link, None)
            self.keys.pop(at.created, None)

    # How stored values are read

    def _hash(self, key: bytes, faults: Faults) -> dict[bytes, bytes | Dated]:
        entry = self.keys.get(key)
        if entry is None:
            return {}
        if isinstance(entry.value, dict):
            return entry.value
        faults.wrong_type()
        return {}

    def _string(self, key: bytes, faults: Faults) -> bytes | Dated | None:
        entry = self.keys.get(key)
        if entry is None:
            return None
        if not isinstance(entry.value, dict):
            return entry.value
        faults.wrong_type()
        return None

    def _pod(self, key: bytes, faults: Faults) -> int | None:
        value = self._string(key, faults)
        pod = _stored_pod_id(value)
        if value is not None and pod is None:
            faults.wrong_value(key)
        return pod

    def _text(self, key: bytes, faults: Faults) -> str | None:
        value = self._string(key, faults)
        text = _stored_text(value)
        if value is not None and text is None:
            faults.wrong_value(key)
        return text

    def _moment(self, key: bytes, faults: Faults, of: bytes) -> Moment | None:
        """The time at a key, if it was stamped for the value at the key ``of``."""
        time = self._string(key, faults)
        if time is None or of not in self.keys:
            return None
        if not _is_stored_time(time):
            faults.wrong_value(key)
        value = self.keys[of].value
        return _stored_moment(time, value) if isinstance(value, bytes) else None

    def _pod_states(self, key: bytes, faults: Faults) -> dict[int, str]:
        states = {}
        for name, value in self._hash(key, faults).items():
            pod, state = _stored_pod_id(name), _stored_text(value)
            if pod is None or state is None:
                faults.wrong_value(key)
            else:
                states[pod] = state
        return states

    # How Redis stores

    def _put_field(self, key: bytes, name: bytes, value: bytes | Dated) -> None:
        entry = self.keys.setdefault(key, Entry({}))
        assert isinstance(entry.value, dict)
        entry.value[name] = value

    def _drop_field(self, key: bytes, name: bytes) -> None:
        entry = self.keys.get(key)
        if entry is not None:
            assert isinstance(entry.value, dict)
            entry.value.pop(name, None)
            if not entry.value:
                del self.keys[key]

    def _set_ttl(self, key: bytes, seconds: int) -> None:
        if key in self.keys:
            ttl = None if seconds == PERSIST_FOREVER else self.now + seconds * 1000
            self.keys[key].expires_at = ttl


# The limits of arguments: each says whether a value is within them.


def check(*within: bool) -> None:
    """Refuse a call if any of its arguments is outside its limits."""
    if not all(within):
        raise Refused(frozenset({ErrorCode.INVALID_PARAMETER}))


def _name(value: Any) -> bool:
    return (
        isinstance(value, str)
        and 1 <= len(value) <= 253
        and not any(c.isspace() or _is_control(c) or c in ":{}@" for c in value)
        and _is_unicode(value)
    )


def _uid(value: Any) -> bool:
    return (
        isinstance(value, str)
        and not any(_is_control(c) or c in "{}" for c in value)
        and _is_unicode(value)
        and 1 <= len(value.encode()) <= 512
    )


def _each(values: Any, within: Callable[[Any], bool]) -> bool:
    return isinstance(values, (list, tuple)) and all(within(value) for value in values)


def _pod_id(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 2**31 - 1


def _seconds(value: Any) -> bool:
    return type(value) is int and (value == -1 or 1 <= value <= 2**31 - 1)


def _state(value: Any) -> bool:
    return isinstance(value, str) and not (value == "" or value.isspace()) and _is_unicode(value)


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc"


def _is_unicode(value: str) -> bool:
    return not any(unicodedata.category(character) == "Cs" for character in value)


# The forms of stored values: each gives what a value means, or None.


def _stored_pod_id(value: bytes | Dated | None) -> int | None:
    if isinstance(value, bytes) and re.fullmatch(rb"0|[1-9][0-9]*", value):
        return int(value) if int(value) <= 2**31 - 1 else None
    return None


def _stored_text(value: bytes | Dated | None) -> str | None:
    try:
        text = value.decode() if isinstance(value, bytes) else ""
    except UnicodeDecodeError:
        return None
    return None if text == "" or text.isspace() else text


def _stored_time(value: bytes) -> re.Match[bytes] | None:
    return re.fullmatch(rb"([0-9]{1,14})(?: (.*))?", value, re.DOTALL)


def _is_stored_time(value: bytes | Dated) -> bool:
    return isinstance(value, Dated) or _stored_time(value) is not None


def _stored_moment(time: bytes | Dated, value: bytes) -> Moment | None:
    """The moment in a stored time, if that was stamped for this value."""
    if isinstance(time, Dated):
        return time.stamp if time.value == value else None
    found = _stored_time(time)
    return int(found[1]) if found and found[2] == value else None


def _latest(moments: list[Moment | None]) -> Moment | None:
    """The latest; a stamp of this history is later than what was written before it."""
    return max(moments, key=lambda m: (isinstance(m, Stamp), m), default=None)
