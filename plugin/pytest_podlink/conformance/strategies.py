"""The values that the machine draws: names, arguments inside and outside their limits, bad values.

There are few names, so that the steps of a history act on the same links. Many of them look like
parts of other keys, to find errors in joining, splitting and decoding.
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from pytest_podlink.conformance import values

T = TypeVar("T")
_Value = bytes | dict[bytes, bytes]

NAMESPACES = ("ns", "lk", "state", "n", "sf", "N" * 253)
SERVICES = ("svc", "lk", "state", "ns", "workload", "s", "sf", "ü", "S" * 253)
UIDS = (
    "u",
    "u ",
    "ns:lk:u",
    "u:lk:ns",
    "svc",
    "u@",
    "@",
    ":",
    "state:svc",
    "a b",
    " ",
    "\u2028",
    "*[?]\\",
    "\"'%s%d",
    "-1",
    "0",
    "ü💡",
    "ü" * 256,
)
PODS = (0, 1, 10, 2, 2**31 - 1)
STATES = ("up", "down", "{}", "0", " x ", "ü💡", "\x00\r\n", "s" * 5000)
SECONDS = (1, 2, 60, 86_400, 2**31 - 1)

NOT_NAMES: tuple[Any, ...] = (
    "",
    "N" * 254,
    "a b",
    "\t",
    "\x00",
    "\x7f",
    "\x85",
    "\u00a0",
    "\u2028",
)
NOT_NAMES += ("a:b", "{", "}", "a@", "\ud800", b"ns", None, 1, ["ns"])
NOT_UIDS: tuple[Any, ...] = ("", "ü" * 257, "u" * 513, "u{", "}", "ns}svc{", "\n", "\x00", "\x9f")
NOT_UIDS += ("\udfff", b"u", None, 0, ["u"])
NOT_PODS = (-1, 2**31, 2**64, True, False, 1.0, "1", b"1", None, [1])
NOT_SECONDS = (0, -2, 2**31, True, 1.5, "60", None, [60])
NOT_STATES = ("", " ", "\t\r\n", "\u2003", "\ud800", b"up", None, 1)

NOT_POD_IDS = (b"01", b"", b"x", b"-1", b"1 ", b"1.0", b"2147483648", b"9" * 30, b"\xff")
NOT_TEXTS = (b"", b" ", b"\xff\xfe", b"\xc3")
NOT_TIMES = (b"soon", b"", b" 1", b"-1", b"1.5", b"1" * 20)
TIMES = (b"0", b"1700000000000", b"1700000000000 1", b"1700000000001 2", b"0 ", b"7 \xff")

# The parameters of every operation that have limits, in their order.
LINK = ("namespace", "uid", "service_name")
LINK_POD_SECONDS = (*LINK, "pod_id", "persist_seconds")
OPERATIONS: dict[str, tuple[str, ...]] = {
    "set_service_state": ("namespace", "service_name", "pod_id", "state"),
    "get_service_state": ("namespace", "service_name"),
    "require_service_state": ("namespace", "service_name"),
    "read_service_state": ("namespace", "service_name"),
    "set_workload_state": ("namespace", "service_name", "state"),
    "get_workload_state": ("namespace", "service_names"),
    "read_workload_state": ("namespace", "service_name"),
    "set_linked_pod": LINK_POD_SECONDS,
    "try_set_linked_pod": LINK_POD_SECONDS,
    "set_linked_pod_if_absent": LINK_POD_SECONDS,
    "create_linked_pod": LINK_POD_SECONDS,
    "replace_linked_pod": (*LINK, "expected_pod_id", "pod_id", "persist_seconds"),
    "refresh_linked_pod": LINK_POD_SECONDS,
    "batch_set_linked_pod_if_absent": (
        "namespace",
        "uids",
        "service_name",
        "pod_id",
        "persist_seconds",
    ),
    "get_linked_pod": LINK,
    "require_linked_pod": LINK,
    "get_linked_pod_if_persist": LINK,
    "batch_get_linked_pod": ("namespace", "uids", "service_name"),
    "read_pod_link": LINK,
    "remove_linked_pod": (*LINK, "persist_seconds"),
    "remove_linked_pod_with_id": LINK_POD_SECONDS,
    "batch_remove_linked_pod": ("namespace", "uids", "service_name", "persist_seconds"),
    "drain_pod": ("namespace", "service_name", "pod_id", "to"),
    "get_link_service": ("namespace", "uid"),
    "inspect_link": LINK,
    "inspect_service": ("namespace", "service_name"),
    "repair_link": LINK,
    "repair_service_state": ("namespace", "service_name"),
    "repair_workload_state": ("namespace", "service_name"),
}

CHANGING = (
    "set_linked_pod",
    "try_set_linked_pod",
    "set_linked_pod_if_absent",
    "create_linked_pod",
    "replace_linked_pod",
    "refresh_linked_pod",
    "batch_set_linked_pod_if_absent",
)
REMOVING = ("remove_linked_pod", "remove_linked_pod_with_id", "batch_remove_linked_pod")
REPAIRING = ("repair_service_state", "repair_workload_state")
READING = ("get_linked_pod", "require_linked_pod", "get_linked_pod_if_persist", "read_pod_link")
LINK_OPERATIONS = (*CHANGING, *REMOVING, *READING)
READING_STATES = ("get_service_state", "require_service_state", "read_service_state")

LINK_REPAIRS = ("inspect_link", "repair_link")
STATE_REPAIRS = ("inspect_service", "repair_service_state")
WORKLOAD_REPAIRS = ("inspect_service", "repair_workload_state")

# The operations that read each key.
OPERATIONS_BY_KEY: dict[str, tuple[str, ...]] = {
    "link": (*CHANGING, *REMOVING, *READING, "batch_get_linked_pod", *LINK_REPAIRS),
    "index": (*CHANGING, *REMOVING, "get_link_service", *LINK_REPAIRS),
    "created": (*CHANGING, *REMOVING, "read_pod_link", *LINK_REPAIRS),
    "states": ("set_service_state", *READING_STATES, *STATE_REPAIRS),
    "state_times": ("set_service_state", "read_service_state", *STATE_REPAIRS),
    "workload": (
        "set_workload_state",
        "get_workload_state",
        "read_workload_state",
        *WORKLOAD_REPAIRS,
    ),
    "workload_time": ("set_workload_state", "read_workload_state", *WORKLOAD_REPAIRS),
}


def _invalid_lists(bad: tuple[Any, ...]) -> tuple[Any, ...]:
    """Invalid lists of names: lists with an invalid name, and values that are not a list."""
    return (*((["svc", value]) for value in bad), "svc", b"svc", None, 1)


VALID: dict[str, Any] = {
    "namespace": "ns",
    "uid": "u",
    "service_name": "svc",
    "pod_id": 1,
    "expected_pod_id": 1,
    "to": 2,
    "state": "up",
    "persist_seconds": -1,
    "uids": ["u"],
    "service_names": ["svc"],
}
INVALID: dict[str, tuple[Any, ...]] = {
    "namespace": NOT_NAMES,
    "uid": NOT_UIDS,
    "service_name": NOT_NAMES,
    "pod_id": NOT_PODS,
    "expected_pod_id": NOT_PODS,
    "to": (*(pod for pod in NOT_PODS if pod is not None), 1),
    "state": NOT_STATES,
    "persist_seconds": NOT_SECONDS,
    "uids": _invalid_lists(NOT_UIDS),
    "service_names": _invalid_lists(NOT_NAMES),
}


class Link(NamedTuple):
    """The namespace, uid and service of a link."""

    namespace: str
    uid: str
    service_name: str


class Names(NamedTuple):
    """The names that one history uses."""

    namespaces: tuple[str, ...]
    uids: tuple[str, ...]
    services: tuple[str, ...]

    def links(self) -> SearchStrategy[Link]:
        """Any link; one of them is drawn more often."""
        return _first_of([Link(*names) for names in product(*self)])

    def places(self) -> SearchStrategy[tuple[str, str]]:
        """Any pair of a namespace and a service."""
        return _first_of(list(product(self.namespaces, self.services)))

    def owners(self) -> SearchStrategy[tuple[str, str]]:
        """Any pair of a namespace and a uid."""
        return _first_of(list(product(self.namespaces, self.uids)))


def _first_of(names: list[T]) -> SearchStrategy[T]:
    return st.just(names[0]) | st.sampled_from(names)


class Executor(NamedTuple):
    """The options of the executor that runs a step."""

    decode_responses: bool = False
    track_link_times: bool = False


class ForeignWrite(NamedTuple):
    """A value that another program writes to a key: a string, or the fields of a hash."""

    key: bytes
    value: _Value
    seconds: int


def _some(names: tuple[str, ...], max_size: int) -> SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(names), min_size=1, max_size=max_size, unique=True).map(tuple)


names = st.builds(Names, _some(NAMESPACES, 2), _some(UIDS, 3), _some(SERVICES, 2))
executors = st.builds(Executor, st.booleans(), st.booleans())
pods = st.sampled_from(PODS[:3]) | st.sampled_from(PODS)
states = st.sampled_from(STATES)
finite_seconds = st.sampled_from(SECONDS) | st.integers(1, 2**31 - 1)
seconds = st.just(-1) | finite_seconds
persistence: SearchStrategy[dict[str, int]] = st.fixed_dictionaries(
    {}, optional={"persist_seconds": seconds}
)


@st.composite
def bad_calls(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """An operation with one or two arguments outside their limits. Each parameter is as likely."""
    first = draw(st.sampled_from(list(INVALID)))
    operation = draw(st.sampled_from([name for name in OPERATIONS if first in OPERATIONS[name]]))
    arguments = {name: VALID[name] for name in OPERATIONS[operation]}
    for name in {first, draw(st.just(first) | st.sampled_from(OPERATIONS[operation]))}:
        arguments[name] = draw(st.sampled_from(INVALID[name]))
    return operation, arguments


@st.composite
def foreign_writes(
    draw: st.DrawFn, link: Link
) -> tuple[ForeignWrite, list[tuple[str, dict[str, Any]]]]:
    """A malformed or unusual value for a key of `link`, and a call of each operation on it."""
    where, first = draw(
        st.sampled_from([(k, o) for k, ops in OPERATIONS_BY_KEY.items() for o in ops])
    )
    at = values.place(*link)
    states, workload = values.state_key(*link[::2]), values.workload_key(*link[::2])
    kinds: dict[str, tuple[bytes, SearchStrategy[_Value], SearchStrategy[_Value]]] = {
        "link": (at.link, _pod_ids, _hashes),
        "index": (at.index_key, _fields(st.just(at.service), _pod_ids), _strings),
        "created": (at.created, _times, _hashes),
        "states": (states, _fields(_valid, _texts) | _fields(_pod_ids, _valid), _strings),
        "state_times": (
            states + b"@",
            _fields(_valid, _times) | _fields(_pod_ids, _valid),
            _strings,
        ),
        "workload": (workload, _texts, _hashes),
        "workload_time": (workload + b"@", _times, _hashes),
    }
    key, right_type, wrong_type = kinds[where]
    value = draw(right_type | right_type | wrong_type)
    calls = [
        draw(call(link, operation))
        for operation in dict.fromkeys([first, *OPERATIONS_BY_KEY[where]])
    ]
    return ForeignWrite(key, value, draw(seconds)), calls


@st.composite
def call(draw: st.DrawFn, link: Link, operation: str) -> tuple[str, dict[str, Any]]:
    """An operation on a link, or on its service."""
    given = VALID | link._asdict() | {"uids": [link.uid], "service_names": [link.service_name]}
    arguments = {name: given[name] for name in OPERATIONS[operation]}
    return operation, arguments | draw(_pod_and_time(operation))


def calls_on(link: Link) -> SearchStrategy[tuple[str, dict[str, Any]]]:
    """An operation on one link; those that remove it are drawn more often."""
    operations = st.sampled_from(REMOVING) | st.sampled_from(LINK_OPERATIONS)
    return operations.flatmap(lambda operation: call(link, operation))


def _pod_and_time(operation: str) -> SearchStrategy[dict[str, int]]:
    duration = finite_seconds if operation == "refresh_linked_pod" else seconds
    drawn = {"pod_id": pods, "expected_pod_id": pods, "persist_seconds": duration}
    return st.fixed_dictionaries({n: drawn[n] for n in OPERATIONS[operation] if n in drawn})


def _fields(
    names: SearchStrategy[bytes], values: SearchStrategy[bytes]
) -> SearchStrategy[dict[bytes, bytes]]:
    return st.dictionaries(names, values, min_size=1, max_size=2)


_valid = st.sampled_from([b"1", b"2"])
_pod_ids = st.sampled_from(NOT_POD_IDS)
_texts = st.sampled_from(NOT_TEXTS)
_times = st.sampled_from(NOT_TIMES + TIMES)
_strings = _valid | st.just(b"x")
_hashes = _fields(_valid, _valid)
