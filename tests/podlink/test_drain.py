"""Draining a pod: the plan without a server, and drains on every backend of the run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

import podlink
from podlink import AsyncStatefulExecutor, DrainProgress, StatefulExecutor
from podlink.drain import PAGE, Scan, check_nodes, drain_steps
from podlink.operations import move_linked_pod

GONE, OTHER, NEW = 3, 4, 5
Drain = Callable[..., DrainProgress]


@pytest.fixture(params=["sync", "async"])
def drain(
    request: pytest.FixtureRequest,
    stateful_executor: StatefulExecutor,
    async_stateful_executor: AsyncStatefulExecutor,
) -> Iterator[Drain]:
    if request.param == "sync":
        yield stateful_executor.drain_pod
        return
    loop = asyncio.new_event_loop()
    yield lambda *args, **kwargs: loop.run_until_complete(
        async_stateful_executor.drain_pod(*args, **kwargs)
    )
    loop.run_until_complete(async_stateful_executor.manager.client.aclose())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@pytest.fixture
def links(stateful_executor: StatefulExecutor) -> StatefulExecutor:
    """An executor with links to the pod, and keys that only look like such links."""
    for number in range(20):
        stateful_executor.set_linked_pod("n", f"u{number}", "s", GONE)
    for number in range(20, 30):
        stateful_executor.set_linked_pod("n", f"u{number}", "s", GONE, persist_seconds=500)
    for number in range(30, 40):
        stateful_executor.set_linked_pod("n", f"u{number}", "s", OTHER)
    stateful_executor.set_linked_pod("n", "a:b*[?]", "s", GONE)
    stateful_executor.set_linked_pod("n", "u1", "t", GONE)
    stateful_executor.set_linked_pod("m", "u1", "s", GONE)
    stateful_executor.set_linked_pod("n", "u1", "ss", GONE)
    return stateful_executor


def counts(progress: DrainProgress) -> tuple[int, int, int, int]:
    return progress.found, progress.done, progress.changed, progress.failed


def test_drain_removes_the_links_of_the_pod_only(drain: Drain, links: StatefulExecutor) -> None:
    assert counts(drain("n", "s", GONE)) == (31, 31, 0, 0)
    uids = [f"u{number}" for number in range(40)]
    assert list(links.batch_get_linked_pod("n", uids, "s")) == [OTHER]
    assert links.get_link_service("n", "u1") == {"t": GONE, "ss": GONE}
    assert links.get_linked_pod("m", "u1", "s") == GONE
    assert counts(drain("n", "s", GONE)) == (0, 0, 0, 0)


def test_drain_moves_links_with_their_ttls(drain: Drain, links: StatefulExecutor) -> None:
    assert counts(drain("n", "s", GONE, NEW)) == (31, 31, 0, 0)
    assert links.get_linked_pod_if_persist("n", "u1", "s") == NEW
    assert links.get_link_service("n", "u1") == {"s": NEW, "t": GONE, "ss": GONE}
    link = links.read_pod_link("n", "u25", "s")
    assert link is not None
    assert link.pod_id == NEW
    assert link.expires_at is not None
    assert links.get_link_service("n", "u25") == {}
    assert links.get_linked_pod("n", "u35", "s") == OTHER


def test_drain_escapes_patterns_in_names(drain: Drain, stateful_executor: StatefulExecutor) -> None:
    stateful_executor.set_linked_pod("n*", "u", "s?", GONE)
    stateful_executor.set_linked_pod("nx", "u", "sx", GONE)
    stateful_executor.set_linked_pod("n[a]", "u\\", "s\\", GONE)
    assert counts(drain("n*", "s?", GONE))[:2] == (1, 1)
    assert counts(drain("n[a]", "s\\", GONE))[:2] == (1, 1)
    assert stateful_executor.get_linked_pod("nx", "u", "sx") == GONE


def test_drain_continues_after_a_failed_link(
    drain: Drain, links: StatefulExecutor, stateful_redis: redis.Redis
) -> None:
    stateful_redis.set("sf:{n:lk:u5}", "not a hash")
    stateful_redis.hset("sf:{n:lk:hash}s", "a", "b")
    progress = drain("n", "s", GONE)
    assert counts(progress) == (31, 30, 0, 1)
    [(uid, error)] = progress.failures
    assert uid == "u5"
    assert "WRONGTYPE" in str(error)


def test_interrupted_drain_can_be_resumed(
    drain: Drain, stateful_executor: StatefulExecutor
) -> None:
    uids = [f"u{number}" for number in range(3 * PAGE)]
    stateful_executor.batch_set_linked_pod_if_absent("n", uids, "s", GONE)
    seen: list[DrainProgress] = []

    class Stop(Exception):
        pass

    def stop_after_the_first(progress: DrainProgress) -> None:
        seen.append(progress)
        raise Stop

    with pytest.raises((Stop, podlink.InternalError)):
        drain("n", "s", GONE, on_progress=stop_after_the_first)
    assert seen[0].resume is not None
    rest = drain("n", "s", GONE, resume=seen[0].resume)
    assert seen[0].done + rest.done == len(uids)
    assert rest.resume is None
    assert stateful_executor.batch_get_linked_pod("n", uids, "s") == {}


@pytest.mark.parametrize(
    "bad",
    [
        ("n n", "s", 1),
        ("n", "", 1),
        ("n", "s", -1),
        ("n", "s", True),
        ("n", "s", 1, 1),
        ("n", "s", 1, 2**31),
    ],
)
def test_invalid_arguments_are_rejected(drain: Drain, bad: tuple[Any, ...]) -> None:
    with pytest.raises(podlink.InvalidParameterError):
        drain(*bad)


@pytest.mark.parametrize("resume", ["", "5", "node x", 5, "a b 3"])
def test_invalid_resume_is_rejected(drain: Drain, resume: Any) -> None:
    with pytest.raises(podlink.InvalidParameterError, match="resume"):
        drain("n", "s", 1, resume=resume)


class Cluster:
    """Answers a plan like cluster nodes whose cursors count through a list of keys."""

    def __init__(self, nodes: dict[str, list[str]]) -> None:
        self.nodes = nodes
        self.links = {uid: GONE for uids in nodes.values() for uid in uids}
        self.asked: list[tuple[str | None, int]] = []

    def follow(self, stop_after: int | None = None, resume: str | None = None) -> DrainProgress:
        seen: list[DrainProgress] = []
        plan = drain_steps("n", "s", GONE, None, [*self.nodes], False, seen.append, resume)
        answer: Any = None
        while True:
            try:
                step = plan.send(answer)
            except StopIteration as stop:
                result: DrainProgress = stop.value
                return result
            if stop_after is not None and len(seen) == stop_after:
                return seen[-1]
            answer = self.answer(step)

    def answer(self, step: Any) -> Any:
        if isinstance(step, Scan):
            cursor = step.call.wire[1]
            self.asked.append((step.node, cursor))
            uids = self.nodes[str(step.node)]
            following = cursor + 2 if cursor + 2 < len(uids) else 0
            return following, [f"sf:{{n:lk:{u}}}s".encode() for u in uids[cursor : cursor + 2]]
        replies: list[Any] = []
        for call in step:
            if call.operation == "get_linked_pod":
                pod = self.links.get(call.uid)
                replies.append(None if pod is None else b"%d" % pod)
            else:
                replies.append(int(self.links.pop(call.uid, None) is not None))
        return replies


@given(st.lists(st.integers(0, 7), min_size=1, max_size=4), st.integers(1, 12))
def test_drain_of_a_cluster_can_be_resumed_at_any_page(sizes: list[int], pages: int) -> None:
    nodes = {f"10.0.0.{i}:70": [f"{i}-{n}" for n in range(size)] for i, size in enumerate(sizes)}
    cluster = Cluster(nodes)
    total = sum(sizes)
    first = cluster.follow(stop_after=pages)
    done = first.done
    if first.resume is not None:
        done += cluster.follow(resume=first.resume).done
    assert done == total
    assert cluster.links == {}
    assert len(cluster.asked) == len(set(cluster.asked)), "a page was asked for twice"


def conclude(plan: Any, answer: Callable[[Any], Any]) -> DrainProgress:
    """Run a plan to its end and return its result."""
    step = plan.send(None)
    while True:
        try:
            step = plan.send(answer(step))
        except StopIteration as stop:
            result: DrainProgress = stop.value
            return result


def test_empty_page_does_not_end_the_drain() -> None:
    cluster = Cluster({"a": ["1", "2", "3", "4", "5"], "b": ["6"]})
    answer = cluster.answer

    def answer_without_the_second_page(step: Any) -> Any:
        if isinstance(step, Scan) and step.call.wire[1] == 2:
            cluster.asked.append((step.node, 2))
            return 4, []
        return answer(step)

    cluster.answer = answer_without_the_second_page  # type: ignore[method-assign]
    assert cluster.follow().done == 4
    assert cluster.asked == [("a", 0), ("a", 2), ("a", 4), ("b", 0)]
    assert set(cluster.links) == {"3", "4"}


def test_progress_is_reported_for_every_page() -> None:
    cluster = Cluster({"b": ["4"], "a": ["1", "2", "3"]})
    del cluster.links["2"]
    seen: list[DrainProgress] = []
    plan = drain_steps("n", "s", GONE, None, ["b", "a"], False, seen.append, None)
    result = conclude(plan, cluster.answer)
    assert seen == [
        DrainProgress(PAGE, 1, 1, 0, 0, (), "a 2"),
        DrainProgress(2 * PAGE, 2, 2, 0, 0, (), "b 0"),
        DrainProgress(3 * PAGE, 3, 3, 0, 0, (), None),
    ]
    assert result == seen[-1]


def test_resumed_drain_starts_later_nodes_at_their_first_page() -> None:
    cluster = Cluster({"a": ["1"], "b": ["2", "3", "4", "5"], "c": ["6", "7", "8"]})
    assert cluster.follow(resume="b 2").done == 5
    assert cluster.asked == [("b", 2), ("c", 0), ("c", 2)]


def test_progress_counts_all_failures_and_names_at_most_a_hundred() -> None:
    uids = [f"u{number:03}" for number in range(110)]
    plan = drain_steps("n", "s", GONE, NEW, ["a"], False, None, None)
    plan.send(None)
    page = [f"sf:{{n:lk:{uid}}}s".encode() for uid in (*uids, "gone", "moved", "taken")]
    plan.send((0, page))
    error = redis.ResponseError("WRONGTYPE of this one")
    # Links are read first, then changed. A link whose read failed is changed anyway.
    calls: Any = plan.send([error] * 110 + [None, b"3", b"3"])
    assert [call.uid for call in calls] == [*uids, "moved", "taken"]
    with pytest.raises(StopIteration) as stop:
        plan.send([error] * 110 + [[1, NEW], [0, OTHER]])
    progress: DrainProgress = stop.value.value
    assert counts(progress) == (112, 1, 1, 110)
    assert progress.failures == tuple((uid, error) for uid in uids[:100])


def test_keys_that_are_not_links_are_ignored() -> None:
    plan = drain_steps("n", "s", GONE, None, [None], False, None, None)
    scan = plan.send(None)
    assert isinstance(scan, Scan)
    assert scan.node is None
    assert scan.call.wire == (
        "SCAN", 0, "MATCH", b"sf:{n:lk:*}s", "COUNT", 1000, "TYPE", "string",
    )  # fmt: skip
    page = [b"sf:{n:lk:u}s", b"sf:{n:lk:u}s", b"sf:{n:lk:}s", b"sf:{n:lk:\xff}s", b"sf:{n:lk:a}x}s",
            b"sf:{n:lk:{a}s", b"sf:{n:lk:" + b"x" * 513 + b"}s"]  # fmt: skip
    calls: Any = plan.send((0, page))
    assert [call.uid for call in calls] == ["u"]


@pytest.mark.parametrize("cursor", [7, b"7", {"10.0.0.1:70": 7}])
@pytest.mark.parametrize("key", [b"sf:{n:lk:u}s", "sf:{n:lk:u}s"])
def test_scan_replies_of_all_clients_are_parsed(cursor: Any, key: Any) -> None:
    plan = drain_steps("n", "s", GONE, None, [None], False, None, None)
    call = plan.send(None).call  # type: ignore[union-attr]
    assert call.parse(call, [cursor, [key]]) == (7, [b"sf:{n:lk:u}s"])


def test_progress_is_immutable_and_its_repr_shows_no_errors() -> None:
    progress = DrainProgress(failures=(("u", ValueError("secret")),))
    assert "secret" not in repr(progress)
    assert DrainProgress() == DrainProgress(0, 0, 0, 0, 0, (), None)
    with pytest.raises(AttributeError):
        progress.done = 1  # type: ignore[misc]


def test_drain_scans_nodes_in_order() -> None:
    plan = drain_steps("n", "s", GONE, None, ["b", None, "a"], False, None, None)
    asked = []
    step: Any = plan.send(None)
    while True:
        asked.append(step.node)
        call = step.call
        assert (call.operation, call.namespace, call.service_name) == ("drain_pod", "n", "s")
        assert call.keys == (b"sf:{n:lk:*}s",)
        assert not call.write
        try:
            step = plan.send((0, []))
        except StopIteration:
            break
    assert asked == [None, "a", "b"]


@pytest.mark.parametrize("track", [False, True])
def test_moved_links_get_a_creation_time_if_times_are_tracked(track: bool) -> None:
    plan = drain_steps("n", "s", GONE, NEW, ["a"], track, None, None)
    plan.send(None)
    plan.send((0, [b"sf:{n:lk:u}s"]))
    calls: Any = plan.send([b"3"])
    assert [call.wire for call in calls] == [move_linked_pod("n", "u", "s", GONE, NEW, track).wire]


@pytest.mark.parametrize(("args", "name"), [
    (("n n", "s", 1, None), " namespace"), (("n", "s s", 1, None), " service_name"),
    (("n", "s", "1", None), "pod_id"), (("n", "s", 1, 1), "drained to itself"),
])  # fmt: skip
def test_error_of_an_invalid_argument_names_it(args: Any, name: str) -> None:
    namespace, service, pod, to = args
    with pytest.raises(podlink.InvalidParameterError, match=name):
        next(drain_steps(namespace, service, pod, to, [None], False, None, None))


def test_error_of_an_invalid_resume_shows_it() -> None:
    with pytest.raises(podlink.InvalidParameterError, match="got 'here'"):
        next(drain_steps("n", "s", 1, None, [None], False, None, "here"))


def test_keys_with_braces_in_the_uid_are_ignored() -> None:
    plan = drain_steps("n", "s", GONE, None, [None], False, None, None)
    plan.send(None)
    page = [b"sf:{n:lk:a{b}s", b"sf:{n:lk:a}b}s", b"sf:{n:lk:u}s"]
    calls: Any = plan.send((0, page))
    assert [call.uid for call in calls] == ["u"]


def test_unexpected_reply_names_the_operation_and_the_key() -> None:
    plan = drain_steps("n", "s", GONE, None, ["a"], False, None, None)
    plan.send(None)
    plan.send((0, [b"sf:{n:lk:u}s"]))
    plan.send([b"3"])
    with pytest.raises(StopIteration) as stop:
        plan.send(["x"])
    [(uid, error)] = stop.value.value.failures
    assert uid == "u"
    assert isinstance(error, podlink.InternalError)
    assert "remove_linked_pod_with_id" in str(error)


def test_only_nodes_of_a_cluster_must_still_be_primaries() -> None:
    check_nodes(["a:1", "b:2"], ["c:3", "b:2", "a:1"])
    check_nodes([None], [None])
    check_nodes([None], ["a:1"])
    with pytest.raises(podlink.RedisConnectionError, match="b:2"):
        check_nodes(["a:1", "b:2"], ["a:1", "c:3"])
