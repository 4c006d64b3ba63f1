"""The wire format: names of keys, limits of arguments, and the reading of stored values.

Every key that podlink touches is built here, and every argument that becomes part of a key or a
value is checked here first, because keys are joined by ``:`` ``{`` ``}`` ``@``: a part that
contains a joiner could name somebody else's key. Other programs (Go, Java) share this layout, so
nothing here may change on its own. No IO, and nothing that knows a command or a script.

=====================================  ======  ============================================
``sf:{<namespace>:lk:<uid>}<service>``  string  the pod a uid is linked to
``sf:{<namespace>:lk:<uid>}``           hash    its persistent links: service to pod
``sf:{<namespace>:state:<service>}``    hash    pod to state
``sf:{<namespace>:workload:<service>}`` string  state of the workload
any of these, then ``@``                same    milliseconds and what they were stamped for
=====================================  ======  ============================================

The braces are the hash tag of Redis Cluster: all keys of one uid are in one slot.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from podlink.errors import InternalError, InvalidParameterError, printable

PERSIST_FOREVER: Final = -1
"""``persist_seconds`` of a link that stays until it is removed."""

DELETE_NOW: Final = -1
"""``persist_seconds`` of a removal without a grace period."""

MAX_POD_ID: Final = 2**31 - 1
MAX_PERSIST_SECONDS: Final = 2**31 - 1
MAX_NAME_LENGTH: Final = 253
MAX_UID_BYTES: Final = 512

_CONTROL: Final = r"\x00-\x1f\x7f-\x9f"
_SURROGATES: Final = r"\ud800-\udfff"
_name = re.compile(rf"[^\s{_CONTROL}{_SURROGATES}:{{}}@]{{1,{MAX_NAME_LENGTH}}}").fullmatch
_uid = re.compile(rf"[^{_CONTROL}{_SURROGATES}{{}}]{{1,{MAX_UID_BYTES}}}").fullmatch
_stored_pod_id = re.compile(rb"0|[1-9][0-9]{0,9}").fullmatch


def link_keys(namespace: str, uid: str, service_name: str) -> tuple[bytes, bytes, bytes]:
    """Check the three names and build the keys of the link they mean.

    Returns:
        The link, the index of the uid and the creation time of the link, all in one cluster slot.

    Raises:
        InvalidParameterError: a name is outside the limits.
    """
    check_name("namespace", namespace)
    check_uid(uid)
    check_name("service_name", service_name)
    index = ("sf:{" + namespace + ":lk:" + uid + "}").encode()
    link = index + service_name.encode()
    return link, index, link + b"@"


def link_prefix(namespace: str) -> bytes:
    """What the key of every link in a namespace begins with, and every index of links."""
    check_name("namespace", namespace)
    return ("sf:{" + namespace + ":lk:").encode()


def link_keys_of_many(namespace: str, uids: list[str], service_name: str) -> list[bytes]:
    """Check all names and build the keys of the links alone, as `link_keys` does for one.

    Raises:
        InvalidParameterError: a name is outside the limits.
    """
    check_name("namespace", namespace)
    check_name("service_name", service_name)
    for uid in uids:
        if not _uid(uid) or len(uid) * 4 > MAX_UID_BYTES:
            check_uid(uid)
    before, after = "sf:{" + namespace + ":lk:", "}" + service_name
    return [(before + uid + after).encode() for uid in uids]


def index_key(namespace: str, uid: str) -> bytes:
    """The hash of the persistent links of a uid."""
    check_name("namespace", namespace)
    check_uid(uid)
    return ("sf:{" + namespace + ":lk:" + uid + "}").encode()


def state_key(namespace: str, service_name: str) -> bytes:
    """The hash of the pod states of a service."""
    check_name("namespace", namespace)
    check_name("service_name", service_name)
    return ("sf:{" + namespace + ":state:" + service_name + "}").encode()


def workload_key(namespace: str, service_name: str) -> bytes:
    """The string that holds the workload state of a service."""
    check_name("namespace", namespace)
    check_name("service_name", service_name)
    return ("sf:{" + namespace + ":workload:" + service_name + "}").encode()


def times_key(key: bytes) -> bytes:
    """The key of the times that belong to ``key``."""
    return key + b"@"


@lru_cache(maxsize=4096)
def _is_name(value: str) -> bool:
    """The few namespaces and services of a program are looked at once."""
    return _name(value) is not None


def check_name(what: str, value: str) -> None:
    """Refuse a namespace or service name outside the limits."""
    if isinstance(value, str) and _is_name(value):
        return
    raise InvalidParameterError(
        f"{what} must be a string of 1 to {MAX_NAME_LENGTH} characters without whitespace, control "
        f"characters, ':', '{{', '}}' or '@'; got {shown(value)}"
    )


def check_uid(value: str) -> None:
    """Refuse a uid outside the limits."""
    # A character takes at most four bytes, so that a short uid need not be encoded to be measured.
    if (
        isinstance(value, str)
        and _uid(value)
        and (len(value) * 4 <= MAX_UID_BYTES or len(value.encode()) <= MAX_UID_BYTES)
    ):
        return
    raise InvalidParameterError(
        f"uid must be a string of 1 to {MAX_UID_BYTES} bytes of UTF-8 without control characters, "
        f"'{{' or '}}'; got {shown(value)}"
    )


def check_pod_id(value: int) -> int:
    """Refuse a pod id outside the limits; ``bool`` is not an integer here."""
    if isinstance(value, int) and value is not True and value is not False:
        if 0 <= value <= MAX_POD_ID:
            return int(value)
    raise InvalidParameterError(
        f"pod_id must be an integer from 0 to {MAX_POD_ID}; got {shown(value)}"
    )


def check_persist_seconds(value: int) -> int:
    """Refuse a duration outside the limits; ``bool`` is not an integer here."""
    if isinstance(value, int) and value is not True and value is not False:
        if 1 <= value <= MAX_PERSIST_SECONDS or value == -1:
            return int(value)
    raise InvalidParameterError(
        "persist_seconds must be PERSIST_FOREVER or DELETE_NOW (both -1), or an integer number of "
        f"seconds from 1 to {MAX_PERSIST_SECONDS}; got {shown(value)}"
    )


def check_seconds(value: int) -> int:
    """Refuse a duration that is no number of seconds within the limits, "for ever" included."""
    if value == -1 or check_persist_seconds(value) == -1:
        raise InvalidParameterError(
            "persist_seconds must be an integer number of seconds from 1 to "
            f"{MAX_PERSIST_SECONDS}; got {shown(value)}"
        )
    return int(value)


def check_timeout(seconds: float) -> float:
    """Refuse a timeout that is no number of seconds above 0."""
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 < seconds < 2**31:
        return seconds
    raise InvalidParameterError(
        f"timeout must be a number of seconds above 0; got {shown(seconds)}"
    )


def check_state(value: str) -> bytes:
    """Refuse a state that is blank or cannot be written in UTF-8, and encode it."""
    if isinstance(value, str) and value.strip():
        try:
            return value.encode()
        except UnicodeEncodeError:
            pass
    raise InvalidParameterError(f"state must be a non-blank string; got {shown(value)}")


def check_names(what: str, values: Iterable[str]) -> list[str]:
    """The distinct values in the order given; the caller checks each of them."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise InvalidParameterError(f"{what} must be a list of strings; got {shown(values)}")
    given = list(values)
    for value in given:
        if not isinstance(value, str):
            raise InvalidParameterError(f"{what} must be a list of strings; it has {shown(value)}")
    return list(dict.fromkeys(given))


def shown(value: object) -> str:
    """A value as an error message shows it: its repr, cut at 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def read_pod_id(value: object, where: bytes) -> int:
    """A pod id as Redis holds it, in canonical decimal; ``where`` is the key it came from.

    Raises:
        InternalError: it is not one; the message names the key.
    """
    if type(value) is int:
        if 0 <= value <= MAX_POD_ID:
            return value
    elif isinstance(value, bytes) and _stored_pod_id(value):
        pod_id = int(value)
        if pod_id <= MAX_POD_ID:
            return pod_id
    raise InternalError(f"{shown_key(where)} holds {shown(value)}, which is not a decimal pod id")


def read_text(value: object, where: bytes) -> str:
    """A stored string, non-blank UTF-8; ``where`` is the key it came from.

    Raises:
        InternalError: it is not one; the message names the key.
    """
    if isinstance(value, bytes):
        try:
            text = value.decode()
        except UnicodeDecodeError:
            text = ""
        if text.strip():
            return text
    raise InternalError(f"{shown_key(where)} holds {shown(value)}, which is not a non-blank string")


def shown_key(key: bytes) -> str:
    """A key as an error message names it."""
    return printable(key.decode(errors="backslashreplace"))
