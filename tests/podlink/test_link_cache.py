"""The link cache of a router, without a server."""

from __future__ import annotations

import pytest

import podlink
from podlink import ReplaceResult
from podlink.cache import LinkCache, invalidated_keys, tracking_command
from podlink.routing import MakeLink, ReplaceLink
from tests.support.routing import (
    READ_LINK,
    READ_STATES,
    SERVER,
    Time,
    follow,
    routing,
)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def cache(time: Time) -> LinkCache:
    """A tracked cache of at most three links whose connection was alive at time 0."""
    made = LinkCache(3, 0.0, 1.0, time.monotonic)
    made.start_tracking(SERVER, ["n"])
    made.confirm_until(SERVER, 0.0)
    return made


def put(cache: LinkCache, key: bytes, pod: int) -> None:
    cache.end_read(cache.begin_read(SERVER, "n", key), pod)


def test_link_is_served_until_it_is_invalidated(cache: LinkCache) -> None:
    put(cache, b"a", 1)
    put(cache, b"b", 2)
    assert (cache.get(SERVER, "n", b"a"), cache.get(SERVER, "n", b"b")) == (1, 2)
    cache.invalidate([b"a", b"other"])
    assert (cache.get(SERVER, "n", b"a"), cache.get(SERVER, "n", b"b")) == (None, 2)
    cache.invalidate(None)
    assert cache.get(SERVER, "n", b"b") is None
    assert cache.stats() == podlink.RouterStats(3, 2, 0, True)


def test_link_invalidated_during_a_read_is_not_cached(cache: LinkCache) -> None:
    early, other = cache.begin_read(SERVER, "n", b"a"), cache.begin_read(SERVER, "n", b"b")
    cache.invalidate([b"a"])
    late = cache.begin_read(SERVER, "n", b"a")
    cache.end_read(late, 2)
    cache.end_read(early, 1)
    cache.end_read(other, 3)
    assert (cache.get(SERVER, "n", b"a"), cache.get(SERVER, "n", b"b")) == (2, 3)


def test_concurrent_reads_of_one_link_are_independent(cache: LinkCache) -> None:
    readings = [cache.begin_read(SERVER, "n", b"a") for _ in range(3)]
    cache.end_read(readings[0], None)  # its read failed
    cache.end_read(readings[1], 1)
    cache.end_read(readings[2], 1)
    assert cache.get(SERVER, "n", b"a") == 1
    assert not cache._readings


def test_least_recently_used_link_is_evicted(cache: LinkCache) -> None:
    for pod, key in enumerate((b"a", b"b", b"c")):
        put(cache, key, pod)
    assert cache.get(SERVER, "n", b"a") == 0
    put(cache, b"d", 3)
    assert [cache.get(SERVER, "n", key) for key in (b"a", b"b", b"c", b"d")] == [0, None, 2, 3]


def test_no_link_is_served_after_max_silence(cache: LinkCache, time: Time) -> None:
    put(cache, b"a", 1)
    time.now = 1.0
    assert cache.get(SERVER, "n", b"a") == 1
    time.now = 1.001
    assert cache.get(SERVER, "n", b"a") is None
    assert not cache.stats().tracked
    cache.confirm_until(SERVER, 1.0)
    assert cache.get(SERVER, "n", b"a") == 1  # no invalidation was missed
    cache.confirm_until(SERVER, 0.5)
    assert cache.get(SERVER, "n", b"a") == 1


def test_lost_connection_empties_the_cache(cache: LinkCache) -> None:
    put(cache, b"a", 1)
    during = cache.begin_read(SERVER, "n", b"b")
    cache.stop_tracking()
    cache.start_tracking(SERVER, ["n"])
    cache.confirm_until(SERVER, 0.0)
    cache.end_read(during, 2)
    assert cache.get(SERVER, "n", b"a") is None
    assert cache.get(SERVER, "n", b"b") is None


def test_link_read_before_tracking_is_served_for_max_staleness(time: Time) -> None:
    cache = LinkCache(3, 5.0, 1.0, time.monotonic)
    put(cache, b"a", 1)
    cache.start_tracking(SERVER, ["n"])
    cache.confirm_until(SERVER, 0.0)
    time.now = 4.9
    cache.confirm_until(SERVER, 4.9)
    assert cache.get(SERVER, "n", b"a") == 1  # not older than max_staleness
    time.now = 5.0
    assert cache.get(SERVER, "n", b"a") is None


def test_link_of_an_untracked_namespace_is_not_cached(cache: LinkCache) -> None:
    assert cache.begin_read(SERVER, "m", b"a") is None
    cache.start_tracking(SERVER, ["n", "m"])
    cache.end_read(cache.begin_read(SERVER, "m", b"a"), 1)
    assert cache.get(SERVER, "m", b"a") == 1


def test_cache_is_emptied_for_another_server(cache: LinkCache) -> None:
    put(cache, b"a", 1)
    other = object()
    assert cache.get(other, "n", b"a") is None
    assert cache.begin_read(other, "n", b"a") is None
    assert cache.get(SERVER, "n", b"a") is None
    cache.confirm_until(SERVER, 0.0)
    assert not cache.stats().tracked


def test_untracked_link_is_served_for_max_staleness(time: Time) -> None:
    cache = LinkCache(3, 2.0, 1.0, time.monotonic)
    reading = cache.begin_read(SERVER, "n", b"a")
    time.now = 1.5  # the link may be as old as the request
    cache.end_read(reading, 1)
    time.now = 1.9
    assert cache.get(SERVER, "n", b"a") == 1
    time.now = 2.0
    assert cache.get(SERVER, "n", b"a") is None


def test_failed_connection_does_not_affect_untracked_links(time: Time) -> None:
    cache = LinkCache(3, 2.0, 1.0, time.monotonic)
    put(cache, b"a", 1)
    cache.stop_tracking()
    assert cache.get(SERVER, "n", b"a") == 1


@pytest.mark.parametrize(("size", "staleness"), [(0, 5.0), (3, 0.0)])
def test_cache_without_size_or_staleness_stores_nothing(
    time: Time, size: int, staleness: float
) -> None:
    cache = LinkCache(size, staleness, 1.0, time.monotonic)
    assert cache.begin_read(SERVER, "n", b"a") is None
    cache.end_read(None, 1)
    assert cache.get(SERVER, "n", b"a") is None


def test_written_link_is_read_before_it_is_cached(time: Time) -> None:
    router = routing(time)
    router.cache.start_tracking(SERVER, ["n"])
    router.cache.confirm_until(SERVER, 0.0)
    states = {1: time.state()}
    follow(router, (READ_STATES, states), (READ_LINK, None), (MakeLink("n", "u", "s", 1), 1))
    assert router.cached_pod(SERVER, "n", "u", "s") is None
    assert follow(router, (READ_LINK, 1)) == 1
    assert router.cached_pod(SERVER, "n", "u", "s") == 1
    assert follow(router) == 1
    router.forget("n", "u", "s")
    assert router.cached_pod(SERVER, "n", "u", "s") is None


def test_cached_link_to_a_dead_pod_is_not_served(time: Time) -> None:
    router = routing(time)
    router.cache.start_tracking(SERVER, ["n"])
    router.cache.confirm_until(SERVER, 0.0)
    states = {1: time.state(), 2: time.state(5)}
    follow(router, (READ_STATES, states), (READ_LINK, 1))
    assert router.cached_pod(SERVER, "n", "u", "s") == 1
    time.now = 31
    router.cache.confirm_until(SERVER, 31)
    assert router.cached_pod(SERVER, "n", "u", "s") is None  # the states are too old
    states = {1: states[1], 2: time.state(5)}
    assert follow(
        router,
        (READ_STATES, states),
        (READ_STATES, states),
        (ReplaceLink("n", "u", "s", 1, 2), ReplaceResult(True, 2)),
    ) == 2  # fmt: skip


def test_tracking_command_and_invalidation_messages() -> None:
    assert tracking_command(["n", "m"]) == (
        "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", b"sf:{n:lk:", "PREFIX", b"sf:{m:lk:",
    )  # fmt: skip
    assert invalidated_keys([b"invalidate", [b"a", "b"]]) == [b"a", b"b"]
    assert invalidated_keys([b"invalidate", None]) is None
