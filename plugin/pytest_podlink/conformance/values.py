"""How the contract stores things, and the limits of arguments: what `model` is built from.

No operation is here. Values are in the forms that a Redis would hold, but for the times that a
store stamps: for each there is a `Stamp`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from podlink import ErrorCode


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


class Inspected(NamedTuple):
    """What `inspect_link` or `inspect_service` tells: all that is at these keys, in this order."""

    keys: tuple[bytes, ...]


class Repaired(NamedTuple):
    """What a repair tells: key, field (if any) and deed, in any order."""

    done: frozenset[tuple[bytes, bytes | None, str]]


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


# The limits of arguments: each says whether a value is within them.


def check(*within: bool) -> None:
    """Refuse a call if any of its arguments is outside its limits."""
    if not all(within):
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


def is_each(values: Any, within: Callable[[Any], bool]) -> bool:
    return isinstance(values, (list, tuple)) and all(within(value) for value in values)


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


# The forms of stored values: each gives what a value means, or None.


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
    """The moment in a stored time, if that was stamped for this value."""
    if isinstance(time, Dated):
        return time.stamp if time.value == value else None
    found = _stored_time(time)
    return int(found[1]) if found and found[2] == value else None


def latest(moments: list[Moment | None]) -> Moment | None:
    """The latest; a stamp of this history is later than what was written before it."""
    return max(moments, key=lambda m: (isinstance(m, Stamp), m), default=None)
