"""`podlink.cache`: which links are cached, for how long, and what invalidates them."""

from __future__ import annotations

import os

import pytest

from podlink.cache import LinkCache, RouterStats, invalidated_keys, tracking_command
from tests.support.children import in_child

SERVER, OTHER = object(), object()
U, V, W = b"sf:{n:lk:u}s", b"sf:{n:lk:v}s", b"sf:{n:lk:w}s"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def tracked(clock: Clock, size: int = 3, staleness: float = 0.0) -> LinkCache:
    cache = LinkCache(size, staleness, 1.0, clock)
    cache.start_tracking(SERVER, ["n"])
    cache.confirm_until(SERVER, clock.now)
    return cache


def remember(cache: LinkCache, key: bytes, pod: int | None) -> None:
    cache.end_read(cache.begin_read(SERVER, "n", key), pod)


def test_nothing_is_cached_before_tracking(clock: Clock) -> None:
    cache = LinkCache(3, 0.0, 1.0, clock)
    assert cache.begin_read(SERVER, "n", U) is None
    assert cache.get(SERVER, "n", U) is None
    assert cache.stats() == RouterStats(0, 1, 0, False)


def test_link_is_served_while_the_tracking_connection_is_alive(clock: Clock) -> None:
    cache = tracked(clock)
    remember(cache, U, 4)
    clock.now += 1.0
    assert cache.get(SERVER, "n", U) == 4
    assert cache.stats() == RouterStats(1, 1, 1, True)
    clock.now += 0.5
    assert cache.get(SERVER, "n", U) is None
    assert cache.stats() == RouterStats(1, 1, 1, False)
    cache.confirm_until(SERVER, clock.now)
    assert cache.get(SERVER, "n", U) == 4, "nothing has changed meanwhile"
    cache.confirm_until(SERVER, 5.0)
    assert cache.get(SERVER, "n", U) == 4, "an older moment does not count"
    cache.confirm_until(OTHER, clock.now + 100)
    clock.now += 2
    assert cache.get(SERVER, "n", U) is None, "another server's word does not count"


def test_untracked_namespace_is_not_served(clock: Clock) -> None:
    cache = tracked(clock)
    assert cache.begin_read(SERVER, "m", U) is None
    remember(cache, U, 4)
    assert cache.get(SERVER, "m", U) is None


def test_untracked_link_is_served_for_max_staleness(clock: Clock) -> None:
    cache = LinkCache(3, 2.0, 1.0, clock)
    remember(cache, U, 4)
    clock.now += 1.5
    assert cache.get(SERVER, "n", U) == 4
    clock.now += 0.5
    assert cache.get(SERVER, "n", U) is None


def test_least_recently_used_link_is_evicted(clock: Clock) -> None:
    cache = tracked(clock, size=2)
    remember(cache, U, 1)
    remember(cache, V, 2)
    assert cache.get(SERVER, "n", U) == 1
    remember(cache, W, 3)
    assert [cache.get(SERVER, "n", key) for key in (U, V, W)] == [1, None, 3]
    remember(cache, U, 5)
    remember(cache, V, 6)
    assert [cache.get(SERVER, "n", key) for key in (U, V, W)] == [5, 6, None]


def test_cache_of_size_zero_stores_nothing(clock: Clock) -> None:
    assert tracked(clock, size=0).begin_read(SERVER, "n", U) is None


@pytest.mark.parametrize("what", ["key", "all", "lost", "source", "tracks"])
def test_link_invalidated_during_a_read_is_not_cached(clock: Clock, what: str) -> None:
    """Neither the cached value nor a read in flight is served after the change."""
    cache = tracked(clock)
    remember(cache, U, 1)
    readings = [cache.begin_read(SERVER, "n", U), cache.begin_read(SERVER, "n", U)]
    assert readings[0] is readings[1]
    source = SERVER
    if what == "key":
        cache.invalidate([V, U])
    elif what == "all":
        cache.invalidate(None)
    elif what == "lost":
        cache.stop_tracking()
    elif what == "source":
        cache.begin_read(OTHER, "n", V)
        source = OTHER
    else:
        cache.start_tracking(OTHER, ["n"])
        source = OTHER
    for reading in readings:
        cache.end_read(reading, 2)
    cache.start_tracking(source, ["n"])
    cache.confirm_until(source, clock.now)
    assert cache.get(source, "n", U) is None
    fresh = cache.begin_read(source, "n", U)
    assert fresh is not None
    assert fresh is not readings[0]
    cache.end_read(fresh, 3)
    assert cache.get(source, "n", U) == 3


def test_change_of_another_key_does_not_invalidate(clock: Clock) -> None:
    cache = tracked(clock)
    reading = cache.begin_read(SERVER, "n", U)
    cache.invalidate([V])
    cache.end_read(reading, 2)
    assert cache.get(SERVER, "n", U) == 2


def test_concurrent_callers_share_a_read(clock: Clock) -> None:
    cache = tracked(clock)
    first, second = cache.begin_read(SERVER, "n", U), cache.begin_read(SERVER, "n", U)
    cache.end_read(first, None)
    assert cache.get(SERVER, "n", U) is None
    cache.end_read(second, 7)
    assert cache.get(SERVER, "n", U) == 7
    assert cache.stats().misses == 2
    third = cache.begin_read(SERVER, "n", U)
    assert third is not second, "a reading ends with its last caller"
    cache.end_read(third, None)
    cache.end_read(None, 9)
    assert cache.get(SERVER, "n", U) == 7


def test_staleness_counts_from_the_start_of_the_read(clock: Clock) -> None:
    cache = LinkCache(3, 2.0, 1.0, clock)
    reading = cache.begin_read(SERVER, "n", U)
    clock.now += 1.5
    cache.end_read(reading, 4)
    assert cache.get(SERVER, "n", U) == 4
    clock.now += 0.6
    assert cache.get(SERVER, "n", U) is None


def test_link_read_before_tracking_is_not_served_as_tracked(clock: Clock) -> None:
    cache = LinkCache(3, 2.0, 1.0, clock)
    reading = cache.begin_read(None, "n", U)
    cache.start_tracking(None, ["n"])
    cache.confirm_until(None, clock.now)
    cache.end_read(reading, 4)
    clock.now += 3
    cache.confirm_until(None, clock.now)
    assert cache.get(None, "n", U) is None


def test_lost_connection_does_not_affect_untracked_links(clock: Clock) -> None:
    cache = LinkCache(3, 2.0, 1.0, clock)
    remember(cache, U, 4)
    cache.stop_tracking()
    assert cache.get(SERVER, "n", U) == 4


def test_lost_connection_empties_the_cache(clock: Clock) -> None:
    cache = tracked(clock)
    remember(cache, U, 4)
    cache.stop_tracking()
    assert not cache.stats().tracked
    assert cache.stats().links == 0
    cache.confirm_until(SERVER, clock.now)
    assert not cache.stats().tracked
    for _ in range(2):
        assert cache.begin_read(SERVER, "n", U) is None, "no namespace is tracked"
        cache.confirm_until(SERVER, clock.now)


def test_forked_child_has_an_empty_cache(clock: Clock) -> None:
    cache = tracked(clock)
    remember(cache, U, 4)
    cache._lock.acquire()  # another thread of the parent may hold it
    cache._after_fork()
    assert cache.get(SERVER, "n", U) is None
    assert cache.stats() == RouterStats(0, 1, 0, False)
    assert cache.begin_read(SERVER, "n", U) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_cache_is_emptied_by_a_fork(clock: Clock) -> None:
    cache = tracked(clock)
    remember(cache, U, 4)
    assert in_child(cache.stats) == RouterStats(0, 1, 0, False)
    assert cache.get(SERVER, "n", U) == 4


def test_tracking_command_and_invalidation_messages() -> None:
    assert tracking_command(["n", "m"]) == (
        "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", b"sf:{n:lk:", "PREFIX", b"sf:{m:lk:",
    )  # fmt: skip
    assert invalidated_keys([b"invalidate", [b"k", "l"]]) == [b"k", b"l"]
    assert invalidated_keys([b"invalidate", None]) is None
