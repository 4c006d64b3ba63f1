"""The wire format: key names, limits of arguments, and parsing of stored values.

All keys are built here, and all arguments that become part of a key or value are checked here. Keys
use the separators ``:`` ``{`` ``}`` ``@``: an argument that contains one could produce the key of
another link. The Go and Java libraries use the same layout, so it must not change. IO, commands and
scripts do not belong here.

=====================================  ======  ============================================
``sf:{<namespace>:lk:<uid>}<service>``  string  the pod a uid is linked to
``sf:{<namespace>:lk:<uid>}``           hash    its persistent links: service to pod
``sf:{<namespace>:state:<service>}``    hash    pod to state
``sf:{<namespace>:workload:<service>}`` string  state of the workload
one of these, followed by ``@``         same    milliseconds and the value that they belong to
=====================================  ======  ============================================

The braces are the hash tag of Redis Cluster: all keys of a uid are in the same slot.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from podlink.errors import InternalError, InvalidParameterError, printable

PERSIST_FOREVER: Final = -1
"""The ``persist_seconds`` of a persistent link, which does not expire."""

DELETE_NOW: Final = -1
"""The ``persist_seconds`` of a removal that deletes the link at once."""

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
    """Check the arguments and build the keys of a link.

    Returns:
        The keys of the link, of the index of the uid, and of the creation time of the link; all are
        in the same slot.

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
    """Return the common prefix of all keys of links and of indexes in a namespace."""
    check_name("namespace", namespace)
    return ("sf:{" + namespace + ":lk:").encode()


def link_keys_of_many(namespace: str, uids: list[str], service_name: str) -> list[bytes]:
    """Check the arguments and build the keys of several links, without those of `link_keys` beside.

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
    """Build the key of the index of a uid, a hash of its persistent links."""
    check_name("namespace", namespace)
    check_uid(uid)
    return ("sf:{" + namespace + ":lk:" + uid + "}").encode()


def state_key(namespace: str, service_name: str) -> bytes:
    """Build the key of the pod states of a service, a hash."""
    check_name("namespace", namespace)
    check_name("service_name", service_name)
    return ("sf:{" + namespace + ":state:" + service_name + "}").encode()


def workload_key(namespace: str, service_name: str) -> bytes:
    """Build the key of the workload state of a service, a string."""
    check_name("namespace", namespace)
    check_name("service_name", service_name)
    return ("sf:{" + namespace + ":workload:" + service_name + "}").encode()


def times_key(key: bytes) -> bytes:
    """Build the key of the times that belong to ``key``."""
    return key + b"@"


@lru_cache(maxsize=4096)
def _is_name(value: str) -> bool:
    """Return whether a name is valid. Cached: a program uses few namespaces and services."""
    return _name(value) is not None


def check_name(what: str, value: str) -> None:
    """Raise `InvalidParameterError` if a namespace or service name is outside the limits."""
    if isinstance(value, str) and _is_name(value):
        return
    raise InvalidParameterError(
        f"{what} must be a string of 1 to {MAX_NAME_LENGTH} characters without whitespace, control "
        f"characters, ':', '{{', '}}' or '@'; got {shown(value)}"
    )


def check_uid(value: str) -> None:
    """Raise `InvalidParameterError` if a uid is outside the limits."""
    # A character has at most four bytes, so the size of a short uid is known without encoding it.
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
    """Return a pod id, or raise `InvalidParameterError` if it is outside the limits or a `bool`."""
    if isinstance(value, int) and value is not True and value is not False:
        if 0 <= value <= MAX_POD_ID:
            return int(value)
    raise InvalidParameterError(
        f"pod_id must be an integer from 0 to {MAX_POD_ID}; got {shown(value)}"
    )


def check_persist_seconds(value: int) -> int:
    """Return ``persist_seconds``, or raise `InvalidParameterError` if it is outside the limits."""
    if isinstance(value, int) and value is not True and value is not False:
        if 1 <= value <= MAX_PERSIST_SECONDS or value == -1:
            return int(value)
    raise InvalidParameterError(
        "persist_seconds must be PERSIST_FOREVER or DELETE_NOW (both -1), or an integer number of "
        f"seconds from 1 to {MAX_PERSIST_SECONDS}; got {shown(value)}"
    )


def check_seconds(value: int) -> int:
    """As `check_persist_seconds`, but -1 is refused too."""
    if value == -1 or check_persist_seconds(value) == -1:
        raise InvalidParameterError(
            "persist_seconds must be an integer number of seconds from 1 to "
            f"{MAX_PERSIST_SECONDS}; got {shown(value)}"
        )
    return int(value)


def check_timeout(seconds: float) -> float:
    """Return a timeout, or raise `InvalidParameterError` if it is not a number above 0."""
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 < seconds < 2**31:
        return seconds
    raise InvalidParameterError(
        f"timeout must be a number of seconds above 0; got {shown(seconds)}"
    )


def check_state(value: str) -> bytes:
    """Encode a state, or raise `InvalidParameterError` if it is blank or not valid UTF-8."""
    if isinstance(value, str) and value.strip():
        try:
            return value.encode()
        except UnicodeEncodeError:
            pass
    raise InvalidParameterError(f"state must be a non-blank string; got {shown(value)}")


def check_names(what: str, values: Iterable[str]) -> list[str]:
    """Remove duplicates from a list of strings. The caller checks each string.

    Raises:
        InvalidParameterError: it is not an iterable of strings.
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise InvalidParameterError(f"{what} must be a list of strings; got {shown(values)}")
    given = list(values)
    for value in given:
        if not isinstance(value, str):
            raise InvalidParameterError(f"{what} must be a list of strings; it has {shown(value)}")
    return list(dict.fromkeys(given))


def shown(value: object) -> str:
    """Return the repr of a value for an error message, cut at 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def read_pod_id(value: object, where: bytes) -> int:
    """Parse a stored pod id, a decimal number without leading zeros.

    Args:
        where: the key that it was read from, for the message.

    Raises:
        InternalError: it is malformed.
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
    """Decode a stored string, which must be non-blank UTF-8.

    Args:
        where: the key that it was read from, for the message.

    Raises:
        InternalError: it is malformed.
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
    """Return a key as text for an error message."""
    return printable(key.decode(errors="backslashreplace"))
