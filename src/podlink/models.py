"""What the operations return: plain immutable values, and their JSON forms.

Nothing here knows Redis. Times are timezone-aware UTC datetimes from the server's clock, ``None``
when not known; in JSON they are ISO 8601 strings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from podlink.errors import InvalidParameterError, StatefulError, printable

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def from_epoch_ms(milliseconds: int) -> datetime:
    """The UTC datetime of a Redis time in milliseconds, exactly."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


class TrySetResult(NamedTuple):
    """What ``try_set_linked_pod`` did.

    Attributes:
        linked: whether the uid is now linked to the pod that was asked for.
        pod_id: the pod the uid is linked to afterwards.
    """

    linked: bool
    pod_id: int


class ReplaceResult(NamedTuple):
    """What ``replace_linked_pod`` did.

    Attributes:
        replaced: whether the uid was linked to the expected pod, and is now to the one asked for.
        pod_id: the pod the uid is linked to afterwards; ``None`` when it is linked to none.
    """

    replaced: bool
    pod_id: int | None


@dataclass(frozen=True, slots=True)
class PodLink:
    """A uid linked to a pod of a service.

    Attributes:
        expires_at: when a transient link runs out; ``None`` for a persistent one.
        created_at: when the uid was linked to this pod; ``None`` unless the link was made by an
            executor with ``track_link_times=True``, and if another program has linked the uid to
            another pod since.
    """

    namespace: str
    uid: str
    service_name: str
    pod_id: int
    expires_at: datetime | None = None
    created_at: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """The value as a dictionary that ``json.dumps`` takes."""
        return {
            "namespace": self.namespace,
            "uid": self.uid,
            "service_name": self.service_name,
            "pod_id": self.pod_id,
            "expires_at": _time_to_json(self.expires_at),
            "created_at": _time_to_json(self.created_at),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PodLink:
        """The inverse of ``to_dict``.

        Raises:
            InvalidParameterError: a field is missing or is not what it should be.
        """
        return cls(
            _text(data, "namespace"),
            _text(data, "uid"),
            _text(data, "service_name"),
            _integer("pod_id", _required(data, "pod_id")),
            _time_from_json(data, "expires_at"),
            _time_from_json(data, "created_at"),
        )


@dataclass(frozen=True, slots=True)
class ServiceState:
    """The states of the pods of a service.

    Attributes:
        pod_states: pod id to state.
        updated_at: when the latest of these states was written; ``None`` if another program wrote
            one of them.
    """

    namespace: str
    service_name: str
    pod_states: Mapping[int, str]
    updated_at: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """The value as a dictionary that ``json.dumps`` takes; pod ids are strings there."""
        return {
            "namespace": self.namespace,
            "service_name": self.service_name,
            "pod_states": {str(pod): state for pod, state in self.pod_states.items()},
            "updated_at": _time_to_json(self.updated_at),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ServiceState:
        """The inverse of ``to_dict``.

        Raises:
            InvalidParameterError: a field is missing or is not what it should be.
        """
        states = _required(data, "pod_states")
        if not isinstance(states, Mapping):
            raise InvalidParameterError("pod_states must be a mapping of pod id to state")
        return cls(
            _text(data, "namespace"),
            _text(data, "service_name"),
            {
                _integer("a pod id of pod_states", pod): _string("a state of pod_states", state)
                for pod, state in states.items()
            },
            _time_from_json(data, "updated_at"),
        )


@dataclass(frozen=True, slots=True)
class WorkloadState:
    """The state of a workload.

    Attributes:
        updated_at: when it was written; ``None`` if another program wrote it.
    """

    namespace: str
    service_name: str
    state: str
    updated_at: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """The value as a dictionary that ``json.dumps`` takes."""
        return {
            "namespace": self.namespace,
            "service_name": self.service_name,
            "state": self.state,
            "updated_at": _time_to_json(self.updated_at),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WorkloadState:
        """The inverse of ``to_dict``.

        Raises:
            InvalidParameterError: a field is missing or is not what it should be.
        """
        return cls(
            _text(data, "namespace"),
            _text(data, "service_name"),
            _text(data, "state"),
            _time_from_json(data, "updated_at"),
        )


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What is at a key, whether the wire format allows it or not.

    Attributes:
        type: as Redis names it; ``"none"`` when there is no such key.
        ttl: seconds until it expires; ``None`` if it does not.
        value: bytes, or the fields and values of a hash; ``None`` when there is no such key. Of a
            type that podlink does not use, what ``DUMP`` gives, for ``RESTORE``.
    """

    key: bytes
    type: str
    ttl: float | None
    value: bytes | dict[bytes, bytes] | None


@dataclass(frozen=True, slots=True)
class Repair:
    """What a repair did, or would do.

    Attributes:
        field: of a hash; ``None`` when it is about the whole key.
        found: the value that was there, or the type of a key that is of a wrong one; ``None`` when
            nothing was.
        done: ``"deleted"``, or ``"set"`` for an index entry that a persistent link lacked.
    """

    key: bytes
    field: bytes | None
    found: bytes | None
    done: str

    def __str__(self) -> str:
        field = "" if self.field is None else f" field {self.field!r}"
        key = printable(self.key.decode(errors="backslashreplace"))
        return f"{key}{field}: found {self.found!r}, {self.done}"


@dataclass(frozen=True, slots=True)
class HealthStatus:
    """What a health check found. True in a condition when the server answered.

    Attributes:
        ok: whether the server answered.
        url: what was asked, without a password; ``None`` when the manager was given a client.
        latency: seconds that the answer to PING took; ``None`` without one.
        server: ``"redis"``, ``"valkey"`` …; ``None`` when the server would not say.
        version: its version; ``None`` when the server would not say.
        error: what was wrong; ``None`` when nothing was.
    """

    ok: bool
    url: str | None = None
    latency: float | None = None
    server: str | None = None
    version: str | None = None
    error: StatefulError | None = None

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Connections of a client, over all nodes on a cluster.

    Attributes:
        max_connections: how many there may be, per node.
        in_use: how many are carrying a call or are reserved.
        idle: how many are open and free.
    """

    max_connections: int
    in_use: int
    idle: int

    @property
    def total(self) -> int:
        """How many connections there are."""
        return self.in_use + self.idle


def _required(data: Mapping[str, Any], field: str) -> Any:
    try:
        return data[field]
    except (KeyError, TypeError):
        raise InvalidParameterError(f"the field {field!r} is missing") from None


def _text(data: Mapping[str, Any], field: str) -> str:
    return _string(field, _required(data, field))


def _string(field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidParameterError(f"{field} must be a string, not {type(value).__name__}")
    return value


def _integer(field: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    raise InvalidParameterError(f"{field} must be an integer, not {value!r}")


def _time_to_json(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _time_from_json(data: Mapping[str, Any], field: str) -> datetime | None:
    value = data.get(field)
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value[:-1] + "+00:00" if value.endswith("Z") else value)
        except ValueError:
            pass
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(timezone.utc)
    raise InvalidParameterError(f"{field} must be an ISO 8601 time with a zone, not {value!r}")
