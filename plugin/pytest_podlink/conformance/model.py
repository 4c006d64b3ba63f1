"""The contract of linked pods in plain Python: what each operation returns and stores.

The model follows the semantics page of the documentation. It uses only podlink's public constants
and result types, so that an error in podlink cannot hide in the model too. It holds the whole key
space (names of keys, types, values, times of expiry) and does no IO.

Where stores may differ, the model has a symbol instead of a value: a time that the server stamps is
a `Stamp` with the number of the step that stamped it, and `store.Store` knows the time of that step
on its server. If several things are wrong at once, an operation may report any of them:
`Refused` lists them all.

The semantics page leaves some questions open. The model answers them so:

- A link key without a TTL is a persistent link, even if the index has no entry for it (evicted, for
  example).
- An operation that changes links checks the link key and the index field of its service, and fails
  unless both are well-formed, even if it would not have changed them.
- A stored pod id is decimal as Python and Java write it: no sign, space or leading zero.
- The creation time of a link belongs to its uid and pod. Linking to the same pod again keeps it,
  with the new TTL; linking to another pod replaces it. A link without one does not get one later.
- A time that was stamped for another value, or that does not say for which value, is read as
  unknown; a write that keeps the link deletes it. A time without its value is not an error.
- The time of something without a TTL has a TTL of a year from the last write.
- Writing the state of a workload replaces whatever was at the key, as SET does.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeVar

from podlink import DELETE_NOW, PERSIST_FOREVER, ErrorCode, ReplaceResult, TrySetResult
from pytest_podlink.conformance import repairs
from pytest_podlink.conformance.keyspace import Keyspace
from pytest_podlink.conformance.values import (
    HOUR,
    YEAR,
    Dated,
    Drained,
    Entry,
    Inspected,
    LinkRead,
    Place,
    Refused,
    Repaired,
    ServiceRead,
    Stamp,
    StoredErrors,
    WorkloadRead,
    check,
    is_duration,
    is_each,
    is_name,
    is_pod_id,
    is_state,
    is_stored_time,
    is_uid,
    latest,
    place,
    state_key,
    stored_moment,
    stored_pod_id,
    workload_key,
)

T = TypeVar("T")


@dataclass
class Model(Keyspace):
    """The operations, under their public names, on a key space.

    Attributes:
        step: the number of the current step, for stamps.
        track_link_times: whether the executor of the current step has this option.
    """

    step: int = 0
    track_link_times: bool = False

    # Service and workload states

    def set_service_state(self, namespace: Any, service_name: Any, pod_id: Any, state: Any) -> None:
        check(is_name(namespace), is_name(service_name), is_pod_id(pod_id), is_state(state))
        key = state_key(namespace, service_name)
        errors = StoredErrors()
        self._hash(key, errors)
        self._hash(key + b"@", errors)
        errors.raise_if_any()
        pod, value = b"%d" % pod_id, state.encode()
        self._put_field(key, pod, value)
        self._put_field(key + b"@", pod, Dated(Stamp(self.step), value))
        expires_at = self.keys[key + b"@"].expires_at
        if expires_at is None or expires_at - self.now < (YEAR - HOUR) * 1000:
            for pod in self._hash(key + b"@", errors).keys() - self._hash(key, errors).keys():
                self._drop_field(key + b"@", pod)
            self._set_ttl(key + b"@", YEAR)

    def get_service_state(self, namespace: Any, service_name: Any) -> dict[int, str]:
        check(is_name(namespace), is_name(service_name))
        errors = StoredErrors()
        states = self._pod_states(state_key(namespace, service_name), errors)
        errors.raise_if_any()
        return states

    def require_service_state(self, namespace: Any, service_name: Any) -> dict[int, str]:
        states = self.get_service_state(namespace, service_name)
        if not states:
            raise Refused(frozenset({ErrorCode.SERVICE_NOT_FOUND}))
        return states

    def read_service_state(self, namespace: Any, service_name: Any) -> ServiceRead | None:
        check(is_name(namespace), is_name(service_name))
        key = state_key(namespace, service_name)
        errors = StoredErrors()
        states = self._pod_states(key, errors)
        times = self._hash(key + b"@", errors)
        known = []
        for name, time in times.items() if key in self.keys else ():
            pod = stored_pod_id(name)
            if pod is None or not is_stored_time(time):
                errors.wrong_value(key + b"@")
            elif pod in states:
                known.append(stored_moment(time, states[pod].encode()))
        errors.raise_if_any()
        if not states:
            return None
        updated = None if None in known or len(known) < len(states) else latest(known)
        return ServiceRead(namespace, service_name, states, updated)

    def set_workload_state(self, namespace: Any, service_name: Any, state: Any) -> None:
        check(is_name(namespace), is_name(service_name), is_state(state))
        key = workload_key(namespace, service_name)
        self.keys[key] = Entry(state.encode())
        self.keys[key + b"@"] = Entry(Dated(Stamp(self.step), state.encode()))
        self._set_ttl(key + b"@", YEAR)

    def get_workload_state(self, namespace: Any, service_names: Any) -> dict[str, str]:
        check(is_name(namespace), is_each(service_names, is_name))
        errors = StoredErrors()
        states = {}
        for name in service_names:
            state = self._text(workload_key(namespace, name), errors)
            if state is not None:
                states[name] = state
        errors.raise_if_any()
        return states

    def read_workload_state(self, namespace: Any, service_name: Any) -> WorkloadRead | None:
        check(is_name(namespace), is_name(service_name))
        key = workload_key(namespace, service_name)
        errors = StoredErrors()
        state = self._text(key, errors)
        updated = self._moment(key + b"@", errors, key)
        errors.raise_if_any()
        return None if state is None else WorkloadRead(namespace, service_name, state, updated)

    # Creating and changing links

    def set_linked_pod(
        self,
        namespace: Any,
        uid: Any,
        service_name: Any,
        pod_id: Any,
        persist_seconds: Any = PERSIST_FOREVER,
    ) -> int | None:
        check(is_pod_id(pod_id), is_duration(persist_seconds))
        at, before = self._check_link(namespace, uid, service_name)
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
        check(is_pod_id(pod_id), is_duration(persist_seconds))
        at, before = self._check_link(namespace, uid, service_name)
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
        check(is_pod_id(pod_id), is_duration(persist_seconds))
        at, before = self._check_link(namespace, uid, service_name)
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
        check(is_pod_id(pod_id), is_duration(persist_seconds))
        at, before = self._check_link(namespace, uid, service_name)
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
        check(is_pod_id(expected_pod_id), is_pod_id(pod_id), is_duration(persist_seconds))
        at, before = self._check_link(namespace, uid, service_name)
        if before != expected_pod_id:
            return ReplaceResult(False, before)
        self._link(at, before, pod_id, persist_seconds)
        return ReplaceResult(True, pod_id)

    def refresh_linked_pod(
        self, namespace: Any, uid: Any, service_name: Any, pod_id: Any, persist_seconds: Any
    ) -> bool:
        check(is_pod_id(pod_id), is_duration(persist_seconds), persist_seconds != PERSIST_FOREVER)
        at, before = self._check_link(namespace, uid, service_name)
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
            is_name(namespace),
            is_each(uids, is_uid),
            is_name(service_name),
            is_pod_id(pod_id),
            is_duration(persist_seconds),
        )
        linked: dict[int, list[str]] = {}
        for uid, pod in self._for_each_uid(
            uids,
            lambda uid: self.set_linked_pod_if_absent(
                namespace, uid, service_name, pod_id, persist_seconds
            ),
        ):
            linked.setdefault(pod, []).append(uid)
        return linked

    # Reading links

    def get_linked_pod(self, namespace: Any, uid: Any, service_name: Any) -> int | None:
        check(is_name(namespace), is_uid(uid), is_name(service_name))
        errors = StoredErrors()
        pod = self._pod(place(namespace, uid, service_name).link, errors)
        errors.raise_if_any()
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
        check(is_name(namespace), is_each(uids, is_uid), is_name(service_name))
        errors = StoredErrors()
        linked: dict[int, list[str]] = {}
        for uid in dict.fromkeys(uids):
            pod = self._pod(place(namespace, uid, service_name).link, errors)
            if pod is not None:
                linked.setdefault(pod, []).append(uid)
        errors.raise_if_any()
        return linked

    def get_link_service(self, namespace: Any, uid: Any) -> dict[str, int]:
        check(is_name(namespace), is_uid(uid))
        key = place(namespace, uid, "").index_key
        errors = StoredErrors()
        services = {}
        for name, value in self._hash(key, errors).items():
            pod = stored_pod_id(value)
            if pod is None:
                errors.wrong_value(key)
            else:
                services[name.decode()] = pod
        errors.raise_if_any()
        return services

    def read_pod_link(self, namespace: Any, uid: Any, service_name: Any) -> LinkRead | None:
        check(is_name(namespace), is_uid(uid), is_name(service_name))
        at = place(namespace, uid, service_name)
        errors = StoredErrors()
        pod = self._pod(at.link, errors)
        created = self._moment(at.created, errors, at.link)
        errors.raise_if_any()
        if pod is None:
            return None
        expires_at = self.keys[at.link].expires_at
        remaining = None if expires_at is None else expires_at - self.now
        return LinkRead(namespace, uid, service_name, pod, remaining, created)

    # Removing links

    def remove_linked_pod(
        self, namespace: Any, uid: Any, service_name: Any, persist_seconds: Any = DELETE_NOW
    ) -> bool:
        check(is_duration(persist_seconds))
        at, before = self._check_link(namespace, uid, service_name)
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
        check(is_pod_id(pod_id), is_duration(persist_seconds))
        at, before = self._check_link(namespace, uid, service_name)
        if before is not None and before != pod_id:
            return False
        self._unlink(at, persist_seconds)
        return before is not None

    def batch_remove_linked_pod(
        self, namespace: Any, uids: Any, service_name: Any, persist_seconds: Any = DELETE_NOW
    ) -> list[str]:
        check(
            is_name(namespace),
            is_each(uids, is_uid),
            is_name(service_name),
            is_duration(persist_seconds),
        )
        removed = self._for_each_uid(
            uids,
            lambda uid: self.remove_linked_pod(namespace, uid, service_name, persist_seconds),
        )
        return [uid for uid, was_linked in removed if was_linked]

    def drain_pod(self, namespace: Any, service_name: Any, pod_id: Any, to: Any = None) -> Drained:
        check(is_name(namespace), is_name(service_name), is_pod_id(pod_id))
        check(to is None or is_pod_id(to), to != pod_id)
        start, end = place(namespace, "", service_name).index_key[:-1], b"}" + service_name.encode()
        found = failed = 0
        for key, entry in list(self.keys.items()):
            uid = key[len(start) : -len(end)]
            if not (key.startswith(start) and key.endswith(end)) or b"}" in uid:
                continue
            if isinstance(entry.value, dict) or stored_pod_id(entry.value) != pod_id:
                continue
            found += 1
            try:
                self._drain(namespace, uid.decode(), service_name, to)
            except Refused:
                failed += 1
        return Drained(found, found - failed, failed)

    def _drain(self, namespace: str, uid: str, service_name: str, to: int | None) -> None:
        at, before = self._check_link(namespace, uid, service_name)
        if to is None:
            self._unlink(at, DELETE_NOW)
            return
        expires_at = self.keys[at.link].expires_at
        self._link(at, before, to, PERSIST_FOREVER if expires_at is None else 1)
        for key in (at.link, at.created):
            if key in self.keys and expires_at is not None:
                self.keys[key].expires_at = expires_at

    def _for_each_uid(self, uids: Any, act: Callable[[str], T]) -> list[tuple[str, T]]:
        """Call `act` for each distinct uid, also if it fails for some of them."""
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

    # Inspection and repair

    def inspect_link(self, namespace: Any, uid: Any, service_name: Any) -> Inspected:
        check(is_name(namespace), is_uid(uid), is_name(service_name))
        return Inspected(place(namespace, uid, service_name)[:3])

    def inspect_service(self, namespace: Any, service_name: Any) -> Inspected:
        check(is_name(namespace), is_name(service_name))
        states, workload = state_key(namespace, service_name), workload_key(namespace, service_name)
        return Inspected((states, states + b"@", workload, workload + b"@"))

    def repair_link(
        self, namespace: Any, uid: Any, service_name: Any, dry_run: bool = False
    ) -> Repaired:
        check(is_name(namespace), is_uid(uid), is_name(service_name))
        return repairs.repair_link(
            self._keys_to_repair(dry_run), place(namespace, uid, service_name)
        )

    def repair_service_state(
        self, namespace: Any, service_name: Any, dry_run: bool = False
    ) -> Repaired:
        check(is_name(namespace), is_name(service_name))
        return repairs.repair_states(
            self._keys_to_repair(dry_run), state_key(namespace, service_name)
        )

    def repair_workload_state(
        self, namespace: Any, service_name: Any, dry_run: bool = False
    ) -> Repaired:
        check(is_name(namespace), is_name(service_name))
        return repairs.repair_workload(
            self._keys_to_repair(dry_run), workload_key(namespace, service_name)
        )

    def _keys_to_repair(self, dry_run: bool) -> dict[bytes, Entry]:
        return deepcopy(self.keys) if dry_run else self.keys

    # Reading and writing a link

    def _check_link(self, namespace: Any, uid: Any, service_name: Any) -> tuple[Place, int | None]:
        """The keys and pod of a link to change. Raises Refused unless all of it is well-formed."""
        check(is_name(namespace), is_uid(uid), is_name(service_name))
        at = place(namespace, uid, service_name)
        errors = StoredErrors()
        before = self._pod(at.link, errors)
        entry = self._hash(at.index_key, errors).get(at.service)
        if entry is not None and stored_pod_id(entry) is None:
            errors.wrong_value(at.index_key)
        errors.raise_if_any()
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
        """Give the creation time the TTL of the link, or delete it if it is of another link."""
        if at.created in self.keys:
            stamp, link = self.keys[at.created].value, self.keys[at.link].value
            assert isinstance(link, bytes)
            if isinstance(stamp, dict) or stored_moment(stamp, link) is None:
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
