"""Draining a pod: finding every link to it, and removing or moving each. Pure code, no IO.

`steps` is a generator that says what to send next and is told what came back, so that the two
executors share it: a `Scan` asks one node for the next page of keys, a list of `Call`s is sent
together. One page is held at a time, whatever the number of links.

SCAN finds each link that is there from beginning to end. Each is then changed by compare-and-set,
so a uid that has been linked elsewhere meanwhile is left alone. Links that are made to the pod
while it is drained, and links that a cluster moves from one node to another meanwhile, may be
missed: stop giving the pod new users first, and drain again until nothing is found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, TypeAlias

from podlink.calls import Call, Reply
from podlink.errors import InvalidParameterError, no_primary
from podlink.keys import check_name, check_pod_id, shown
from podlink.operations import get_linked_pod, move_linked_pod, remove_linked_pod_with_id

PAGE: Final = 1_000
"""How many keys a node looks at for one page."""

_SHOWN_FAILURES: Final = 100
_RESUME: Final = re.compile(r"(\S+) (\d+)")


class Scan(NamedTuple):
    """The next page of a node's keys is wanted; ``node`` is ``None`` when there is only one."""

    node: str | None
    call: Call[tuple[int, list[bytes]]]


@dataclass(frozen=True, slots=True)
class DrainProgress:
    """How far a drain has come.

    Attributes:
        scanned: about how many keys have been looked at.
        found: how many links to the pod were found.
        done: how many of them were removed or moved.
        changed: how many were linked elsewhere, or to none, by the time they were to be changed.
        failed: for how many that failed.
        failures: uid and error of the first hundred that failed.
        resume: where to go on after an interruption, as the argument ``resume``; ``None`` when the
            drain is complete.
    """

    scanned: int = 0
    found: int = 0
    done: int = 0
    changed: int = 0
    failed: int = 0
    failures: tuple[tuple[str, Exception], ...] = field(default=(), repr=False)
    resume: str | None = None


Step: TypeAlias = Scan | Sequence[Call[Any]]


def steps(
    namespace: str,
    service_name: str,
    pod_id: int,
    to: int | None,
    nodes: Sequence[str | None],
    track: bool,
    on_progress: Callable[[DrainProgress], object] | None,
    resume: str | None,
) -> Generator[Step, Any, DrainProgress]:
    """What to send, page by page; returns where the drain ended.

    Args:
        nodes: all nodes that hold keys, in any order.
        resume: of an earlier `DrainProgress`; nodes before that one are not asked again.

    Raises:
        InvalidParameterError: an argument is outside its limits, or ``to`` is the pod itself.
    """
    check_name("namespace", namespace)
    check_name("service_name", service_name)
    pod = check_pod_id(pod_id)
    if to is not None and check_pod_id(to) == pod:
        raise InvalidParameterError(f"pod {pod} cannot be drained to itself")
    ordered = sorted(nodes, key=str)
    first, cursor = _resumed(resume)
    progress = DrainProgress()
    for node in ordered:
        if first is not None and str(node) < first:
            continue
        at = cursor if str(node) == first else 0
        while True:
            at, keys = yield Scan(node, _scan(namespace, service_name, at))
            uids = _uids(keys, namespace, service_name)
            linked = yield from _linked(namespace, uids, service_name, pod)
            progress = yield from _unlink(progress, namespace, linked, service_name, pod, to, track)
            following = _following(ordered, node, at)
            progress = replace(progress, scanned=progress.scanned + PAGE, resume=following)
            if on_progress is not None:
                on_progress(progress)
            if not at:
                break
    return progress


def check_nodes(before: Sequence[str | None], after: Sequence[str | None]) -> None:
    """Check that the nodes that were scanned are those that hold the keys at the end.

    A node that was demoted meanwhile answers SCAN as a replica, with what it has by then.

    Raises:
        RedisConnectionError: they are not.
    """
    for node in before:
        if node is not None and node not in after:
            raise no_primary(node)


def _resumed(resume: str | None) -> tuple[str | None, int]:
    if resume is None:
        return None, 0
    match = _RESUME.fullmatch(resume) if isinstance(resume, str) else None
    if match is None:
        raise InvalidParameterError(
            f"resume must be what DrainProgress.resume was; got {shown(resume)}"
        )
    return match[1], int(match[2])


def _following(nodes: list[str | None], node: str | None, cursor: int) -> str | None:
    """Where the scan goes on: on this node, or at the start of the next."""
    if cursor:
        return f"{node} {cursor}"
    later = nodes[nodes.index(node) + 1 :]
    return f"{later[0]} 0" if later else None


def _scan(namespace: str, service_name: str, cursor: int) -> Call[tuple[int, list[bytes]]]:
    pattern = f"sf:{{{_literally(namespace)}:lk:*}}{_literally(service_name)}"
    wire = ("SCAN", cursor, "MATCH", pattern.encode(), "COUNT", PAGE, "TYPE", "string")
    return Call(
        "drain_pod", wire, (pattern.encode(),), _page,
        namespace=namespace, service_name=service_name,
    )  # fmt: skip


def _literally(name: str) -> str:
    """A name in a pattern, where it matches itself alone."""
    return re.sub(r"([\\*?\[\]])", r"\\\1", name)


def _page(call: Call[Any], reply: Reply) -> tuple[int, list[bytes]]:
    """Cursor and keys; a cluster client gives the cursor by node."""
    cursor, keys = reply
    if isinstance(cursor, dict):
        (cursor,) = cursor.values()
    return int(cursor), [key if isinstance(key, bytes) else key.encode() for key in keys]


def _uids(keys: list[bytes], namespace: str, service_name: str) -> list[str]:
    """The uids of keys that are links; the pattern is not quite as strict as the wire format."""
    prefix = f"sf:{{{namespace}:lk:".encode()
    suffix = f"}}{service_name}".encode()
    uids = []
    for key in dict.fromkeys(keys):
        uid = key[len(prefix) : len(key) - len(suffix)]
        try:
            uids.append(uid.decode())
        except UnicodeDecodeError:
            pass  # no uid of ours
    return uids


def _linked(
    namespace: str, uids: list[str], service_name: str, pod: int
) -> Generator[Step, Any, list[str]]:
    """Those of the uids that are linked to the pod."""
    calls = []
    for uid in uids:
        try:
            calls.append(get_linked_pod(namespace, uid, service_name))
        except InvalidParameterError:
            pass  # a key like a link's, of something that cannot be a uid
    if not calls:
        return []
    value = b"%d" % pod
    replies = yield calls
    return [
        str(call.uid)
        for call, reply in zip(calls, replies, strict=True)
        if reply == value or isinstance(reply, Exception)
    ]


def _unlink(
    progress: DrainProgress,
    namespace: str,
    uids: list[str],
    service_name: str,
    pod: int,
    to: int | None,
    track: bool,
) -> Generator[Step, Any, DrainProgress]:
    if not uids:
        return progress
    calls: list[Call[Any]] = [
        remove_linked_pod_with_id(namespace, uid, service_name, pod, -1)
        if to is None
        else move_linked_pod(namespace, uid, service_name, pod, to, track)
        for uid in uids
    ]
    replies = yield calls
    done = changed = 0
    failures: list[tuple[str, Exception]] = []
    for uid, call, reply in zip(uids, calls, replies, strict=True):
        try:
            if isinstance(reply, Exception):
                raise reply
            if call.parse(call, reply):
                done += 1
            else:
                changed += 1
        except Exception as error:
            failures.append((uid, error))
    return replace(
        progress,
        found=progress.found + len(uids),
        done=progress.done + done,
        changed=progress.changed + changed,
        failed=progress.failed + len(failures),
        failures=(progress.failures + tuple(failures))[:_SHOWN_FAILURES],
    )
