"""The values that the operations return: immutable dataclasses and named tuples.

Times are timezone-aware UTC datetimes of the server's clock, ``None`` if unknown. ``to_dict`` and
``from_dict`` convert values to and from JSON, where times are ISO 8601 strings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from podlink.errors import InvalidParameterError, StatefulError, printable

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def from_epoch_ms(milliseconds: int) -> datetime:
    """Convert milliseconds since the epoch to a UTC datetime, without rounding."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


class TrySetResult(NamedTuple):
    """The result of ``try_set_linked_pod``.

    Attributes:
        linked: whether the uid is now linked to the given pod.
        pod_id: the pod that the uid is linked to afterwards.
    """

    linked: bool
    pod_id: int


class ReplaceResult(NamedTuple):
    """The result of ``replace_linked_pod``.

    Attributes:
        replaced: whether the uid was linked to the expected pod, and is now linked to the new pod.
        pod_id: the pod that the uid is linked to afterwards, or ``None``.
    """

    replaced: bool
    pod_id: int | None


@dataclass(frozen=True, slots=True)
class PodLink:
    """The link of a uid to a pod of a service.

    Attributes:
        expires_at: when a transient link expires; ``None`` for a persistent link.
        created_at: when the uid was linked to this pod. ``None`` if the executor that wrote the
            link does not have ``track_link_times=True``, or if another program has since linked the
            uid to another pod.
    """

    namespace: str
    uid: str
    service_name: str
    pod_id: int
    expires_at: datetime | None = None
    created_at: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for ``json.dumps``."""
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
        """Create the value from the result of ``to_dict``.

        Raises:
            InvalidParameterError: a field is missing or has the wrong type.
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
        updated_at: the time of the latest write; ``None`` if another program wrote a state.
    """

    namespace: str
    service_name: str
    pod_states: Mapping[int, str]
    updated_at: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for ``json.dumps``; its pod ids are strings."""
        return {
            "namespace": self.namespace,
            "service_name": self.service_name,
            "pod_states": {str(pod): state for pod, state in self.pod_states.items()},
            "updated_at": _time_to_json(self.updated_at),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ServiceState:
        """Create the value from the result of ``to_dict``.

        Raises:
            InvalidParameterError: a field is missing or has the wrong type.
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
        updated_at: when the state was written; ``None`` if another program wrote it.
    """

    namespace: str
    service_name: str
    state: str
    updated_at: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for ``json.dumps``."""
        return {
            "namespace": self.namespace,
            "service_name": self.service_name,
            "state": self.state,
            "updated_at": _time_to_json(self.updated_at),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WorkloadState:
        """Create the value from the result of ``to_dict``.

        Raises:
            InvalidParameterError: a field is missing or has the wrong type.
        """
        return cls(
            _text(data, "namespace"),
            _text(data, "service_name"),
            _text(data, "state"),
            _time_from_json(data, "updated_at"),
        )


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key with its value, well-formed or malformed.

    Attributes:
        type: the reply of TYPE; ``"none"`` if the key does not exist.
        ttl: seconds until the key expires; ``None`` if it has no TTL.
        value: bytes, or the fields and values of a hash; ``None`` if the key does not exist. For
            other types, the reply of DUMP, which RESTORE accepts.
    """

    key: bytes
    type: str
    ttl: float | None
    value: bytes | dict[bytes, bytes] | None


@dataclass(frozen=True, slots=True)
class Repair:
    """One change of a repair, or with ``dry_run`` one that would be made.

    Attributes:
        field: the field of a hash; ``None`` if the whole key was changed.
        found: the previous value, or the type of a key of the wrong type; ``None`` if there was no
            value.
        done: ``"deleted"``, or ``"set"`` for a missing index entry of a persistent link.
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
    """The result of a health check. Its truth value is ``ok``.

    Attributes:
        ok: whether the server answered PING.
        url: the URL of the server without the password; ``None`` if the manager was created from a
            client.
        latency: seconds until the reply to PING; ``None`` if there was no reply.
        server: ``"redis"`` or ``"valkey"``; ``None`` if INFO failed.
        version: the version of the server; ``None`` if INFO failed.
        error: the error; ``None`` if the server answered.
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
    """The number of connections of a client; on a cluster, of all nodes together.

    Attributes:
        max_connections: the maximum, for each node.
        in_use: connections with a call in flight, and reserved ones.
        idle: open connections in the pool.
    """

    max_connections: int
    in_use: int
    idle: int

    @property
    def total(self) -> int:
        """The number of all connections."""
        return self.in_use + self.idle


def _required(data: Mapping[str, Any], field: str) -> Any:
    try:
        return data[field]
    except (KeyError, TypeError):
        raise InvalidParameterError(f"the field {field!r} is missing in the dictionary") from None


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
