"""The algorithm of ``drain_pod``: find all links to a pod, and remove or move each. No IO.

`drain_steps` is a generator that both executors run. It yields what to send and receives the
replies: a `Scan` reads the next page of keys of one node, a list of `Call`s is sent as a pipeline.
Only one page is held in memory.

SCAN returns each key that exists during the whole scan (see https://redis.io/commands/scan). Each
link is changed with compare-and-set, so a uid that is linked to another pod in the meantime keeps
that link. Links that are created during the drain, or that a cluster moves to another node, may be
missed: stop assigning users to the pod first, and repeat the drain until it finds no links.
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
"""COUNT of SCAN: about how many keys a node examines for one page."""

_SHOWN_FAILURES: Final = 100
_RESUME: Final = re.compile(r"(\S+) (\d+)")


class Scan(NamedTuple):
    """Read the next page of the keys of a node; ``node`` is ``None`` without a cluster."""

    node: str | None
    call: Call[tuple[int, list[bytes]]]


@dataclass(frozen=True, slots=True)
class DrainProgress:
    """The counts of a drain so far, and where it can be resumed.

    Attributes:
        scanned: about how many keys were examined.
        found: how many links to the pod were found.
        done: how many of them were removed or moved.
        changed: how many had been changed by another client before the drain could change them.
        failed: how many could not be changed because of an error.
        failures: uid and error of the first hundred of these.
        resume: pass it as ``resume`` to continue after an interruption; ``None`` when the drain is
            complete.
    """

    scanned: int = 0
    found: int = 0
    done: int = 0
    changed: int = 0
    failed: int = 0
    failures: tuple[tuple[str, Exception], ...] = field(default=(), repr=False)
    resume: str | None = None


Step: TypeAlias = Scan | Sequence[Call[Any]]


def drain_steps(
    namespace: str,
    service_name: str,
    pod_id: int,
    to: int | None,
    nodes: Sequence[str | None],
    track: bool,
    on_progress: Callable[[DrainProgress], object] | None,
    resume: str | None,
) -> Generator[Step, Any, DrainProgress]:
    """Yield what to send, page by page; return the final counts.

    Args:
        nodes: all nodes that own slots, in any order.
        resume: the ``resume`` of an earlier `DrainProgress`; nodes before it are skipped.

    Raises:
        InvalidParameterError: an argument is outside its limits, or ``to`` is the pod itself.
    """
    check_name("namespace", namespace)
    check_name("service_name", service_name)
    pod = check_pod_id(pod_id)
    if to is not None and check_pod_id(to) == pod:
        raise InvalidParameterError(f"pod {pod} cannot be drained to itself: choose another pod")
    ordered = sorted(nodes, key=str)
    first, cursor = _parse_resume(resume)
    progress = DrainProgress()
    for node in ordered:
        if first is not None and str(node) < first:
            continue
        at = cursor if str(node) == first else 0
        while True:
            at, keys = yield Scan(node, _scan(namespace, service_name, at))
            uids = _uids(keys, namespace, service_name)
            linked = yield from _filter_linked(namespace, uids, service_name, pod)
            progress = yield from _change_links(
                progress, namespace, linked, service_name, pod, to, track
            )
            following = _resume_position(ordered, node, at)
            progress = replace(progress, scanned=progress.scanned + PAGE, resume=following)
            if on_progress is not None:
                on_progress(progress)
            if not at:
                break
    return progress


def check_nodes(before: Sequence[str | None], after: Sequence[str | None]) -> None:
    """Check that all nodes that were scanned are still primaries.

    A node that was demoted during the drain answers SCAN as a replica, whose data may be outdated.

    Raises:
        RedisConnectionError: a node is no longer a primary.
    """
    for node in before:
        if node is not None and node not in after:
            raise no_primary(node)


def _parse_resume(resume: str | None) -> tuple[str | None, int]:
    if resume is None:
        return None, 0
    match = _RESUME.fullmatch(resume) if isinstance(resume, str) else None
    if match is None:
        raise InvalidParameterError(
            f"resume must be the resume attribute of a DrainProgress; got {shown(resume)}"
        )
    return match[1], int(match[2])


def _resume_position(nodes: list[str | None], node: str | None, cursor: int) -> str | None:
    """Return where the scan continues: on this node, or at the start of the next one."""
    if cursor:
        return f"{node} {cursor}"
    later = nodes[nodes.index(node) + 1 :]
    return f"{later[0]} 0" if later else None


def _scan(namespace: str, service_name: str, cursor: int) -> Call[tuple[int, list[bytes]]]:
    pattern = f"sf:{{{_escape_pattern(namespace)}:lk:*}}{_escape_pattern(service_name)}"
    wire = ("SCAN", cursor, "MATCH", pattern.encode(), "COUNT", PAGE, "TYPE", "string")
    return Call(
        "drain_pod", wire, (pattern.encode(),), _parse_page,
        namespace=namespace, service_name=service_name,
    )  # fmt: skip


def _escape_pattern(name: str) -> str:
    """Escape a name for use in a glob pattern."""
    return re.sub(r"([\\*?\[\]])", r"\\\1", name)


def _parse_page(call: Call[Any], reply: Reply) -> tuple[int, list[bytes]]:
    """Parse the reply of SCAN. redis-py's cluster client returns the cursor by node."""
    cursor, keys = reply
    if isinstance(cursor, dict):
        (cursor,) = cursor.values()
    return int(cursor), [key if isinstance(key, bytes) else key.encode() for key in keys]


def _uids(keys: list[bytes], namespace: str, service_name: str) -> list[str]:
    """Return the uids of the keys that are links; the pattern also matches some other keys."""
    prefix = f"sf:{{{namespace}:lk:".encode()
    suffix = f"}}{service_name}".encode()
    uids = []
    for key in dict.fromkeys(keys):
        uid = key[len(prefix) : len(key) - len(suffix)]
        try:
            uids.append(uid.decode())
        except UnicodeDecodeError:
            pass  # not UTF-8, so not a uid
    return uids


def _filter_linked(
    namespace: str, uids: list[str], service_name: str, pod: int
) -> Generator[Step, Any, list[str]]:
    """Read the links of the uids; return those that are linked to the pod, or failed."""
    calls = []
    for uid in uids:
        try:
            calls.append(get_linked_pod(namespace, uid, service_name))
        except InvalidParameterError:
            pass  # the key matches the pattern, but has no valid uid
    if not calls:
        return []
    value = b"%d" % pod
    replies = yield calls
    return [
        str(call.uid)
        for call, reply in zip(calls, replies, strict=True)
        if reply == value or isinstance(reply, Exception)
    ]


def _change_links(
    progress: DrainProgress,
    namespace: str,
    uids: list[str],
    service_name: str,
    pod: int,
    to: int | None,
    track: bool,
) -> Generator[Step, Any, DrainProgress]:
    """Remove or move the links of the uids, and return the updated counts."""
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
