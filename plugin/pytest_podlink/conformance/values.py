"""The stored values, results and argument limits of the contract, for `model`.

Values have the form in which Redis holds them, except times that the server stamps: those are
`Stamp` objects.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from podlink import ErrorCode


class Stamp(NamedTuple):
    """The server time of a step, and the link if the step changed several."""

    step: int
    link: bytes = b""


class Dated(NamedTuple):
    """A time and the value that it belongs to, stored as ``<milliseconds> <value>``."""

    stamp: Stamp
    value: bytes


Moment = Stamp | int
"""A stamp, or the epoch milliseconds that another program wrote."""

YEAR = 365 * 24 * 60 * 60
"""TTL in seconds of the time of a value without a TTL, from the last write."""

HOUR = 60 * 60
"""Seconds after which a write deletes the times of pods without a state."""

Value = bytes | Dated | dict[bytes, bytes | Dated]
"""A string, or a hash."""


@dataclass
class Entry:
    """The value of a key. `expires_at` is in milliseconds of the model's time."""

    value: Value
    expires_at: int | None = None

    @property
    def type(self) -> str:
        """The type as Redis names it."""
        return "hash" if isinstance(self.value, dict) else "string"


@dataclass
class Refused(Exception):
    """The operation raises an error with one of these codes.

    Attributes:
        codes: one code for each error; the operation may raise any of them.
        keys: the message names one of these, if the code is INTERNAL_ERROR.
        pod_id: the attribute of the error, if the code is LINK_EXISTS.
        undone: the uids of a batch that failed.
    """

    codes: frozenset[ErrorCode]
    keys: frozenset[bytes] = frozenset()
    pod_id: int | None = None
    undone: tuple[str, ...] = ()


class LinkRead(NamedTuple):
    """Result of `read_pod_link`. `remaining` is the TTL in milliseconds."""

    namespace: str
    uid: str
    service_name: str
    pod_id: int
    remaining: int | None
    created: Moment | None


class ServiceRead(NamedTuple):
    """Result of `read_service_state`."""

    namespace: str
    service_name: str
    pod_states: dict[int, str]
    updated: Moment | None


class WorkloadRead(NamedTuple):
    """Result of `read_workload_state`."""

    namespace: str
    service_name: str
    state: str
    updated: Moment | None


class Drained(NamedTuple):
    """Result of `drain_pod`: how many links were found, removed or moved, and failed."""

    found: int
    done: int
    failed: int


class Inspected(NamedTuple):
    """Result of `inspect_link` or `inspect_service`: the values of these keys, in this order."""

    keys: tuple[bytes, ...]


class Repaired(NamedTuple):
    """Result of a repair: (key, field or None, what was done), in any order."""

    done: frozenset[tuple[bytes, bytes | None, str]]


class Place(NamedTuple):
    """The keys of a link, and its field in the index hash."""

    link: bytes
    index_key: bytes
    created: bytes
    service: bytes


def place(namespace: str, uid: str, service_name: str) -> Place:
    """The keys of a link."""
    index = b"sf:{%s:lk:%s}" % (namespace.encode(), uid.encode())
    service = service_name.encode()
    return Place(index + service, index, index + service + b"@", service)


def state_key(namespace: str, service_name: str) -> bytes:
    """The key of the pod states of a service."""
    return b"sf:{%s:state:%s}" % (namespace.encode(), service_name.encode())


def workload_key(namespace: str, service_name: str) -> bytes:
    """The key of the state of a workload."""
    return b"sf:{%s:workload:%s}" % (namespace.encode(), service_name.encode())


class StoredErrors:
    """Collects the malformed values and wrong types that an operation reads."""

    def __init__(self) -> None:
        self.codes: set[ErrorCode] = set()
        self.keys: set[bytes] = set()

    def wrong_type(self) -> None:
        """Note that a key has the wrong type."""
        self.codes.add(ErrorCode.REDIS_OPERATION_ERROR)

    def wrong_value(self, key: bytes) -> None:
        """Note that the value of a key is malformed."""
        self.codes.add(ErrorCode.INTERNAL_ERROR)
        self.keys.add(key)

    def raise_if_any(self) -> None:
        """Raise Refused if an error was added."""
        if self.codes:
            raise Refused(frozenset(self.codes), frozenset(self.keys))


# Limits of arguments. Each function returns whether a value is allowed.


def check(*valid: bool) -> None:
    """Raise Refused unless every argument is valid."""
    if not all(valid):
        raise Refused(frozenset({ErrorCode.INVALID_PARAMETER}))


def is_name(value: Any) -> bool:
    return (
        isinstance(value, str)
        and 1 <= len(value) <= 253
        and not any(c.isspace() or _is_control(c) or c in ":{}@" for c in value)
        and _is_unicode(value)
    )


def is_uid(value: Any) -> bool:
    return (
        isinstance(value, str)
        and not any(_is_control(c) or c in "{}" for c in value)
        and _is_unicode(value)
        and 1 <= len(value.encode()) <= 512
    )


def is_each(values: Any, is_valid: Callable[[Any], bool]) -> bool:
    return isinstance(values, (list, tuple)) and all(is_valid(value) for value in values)


def is_pod_id(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 2**31 - 1


def is_duration(value: Any) -> bool:
    return type(value) is int and (value == -1 or 1 <= value <= 2**31 - 1)


def is_state(value: Any) -> bool:
    return isinstance(value, str) and not (value == "" or value.isspace()) and _is_unicode(value)


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc"


def _is_unicode(value: str) -> bool:
    return not any(unicodedata.category(character) == "Cs" for character in value)


# Parsing stored values. Each function returns what a value means, or None if it is malformed.


def stored_pod_id(value: bytes | Dated | None) -> int | None:
    if isinstance(value, bytes) and re.fullmatch(rb"0|[1-9][0-9]*", value):
        return int(value) if int(value) <= 2**31 - 1 else None
    return None


def stored_text(value: bytes | Dated | None) -> str | None:
    try:
        text = value.decode() if isinstance(value, bytes) else ""
    except UnicodeDecodeError:
        return None
    return None if text == "" or text.isspace() else text


def _stored_time(value: bytes) -> re.Match[bytes] | None:
    return re.fullmatch(rb"([0-9]{1,14})(?: (.*))?", value, re.DOTALL)


def is_stored_time(value: bytes | Dated) -> bool:
    return isinstance(value, Dated) or _stored_time(value) is not None


def stored_moment(time: bytes | Dated, value: bytes) -> Moment | None:
    """The time, or None if it was not stamped for this value."""
    if isinstance(time, Dated):
        return time.stamp if time.value == value else None
    found = _stored_time(time)
    return int(found[1]) if found and found[2] == value else None


def latest(moments: list[Moment | None]) -> Moment | None:
    """The latest time. A stamp of this history is later than a time that another program wrote."""
    return max(moments, key=lambda m: (isinstance(m, Stamp), m), default=None)
