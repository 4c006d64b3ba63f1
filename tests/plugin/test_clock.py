"""`stateful_clock` has the same effect on the emulator and on real servers."""

from __future__ import annotations

import math
import time

import pytest
import redis

from pytest_podlink.backend import Backend
from pytest_podlink.clock import StatefulClock


def supports(client: redis.Redis, command: str) -> bool:
    with pytest.raises(redis.ResponseError) as refused:
        client.execute_command(command)
    return "unknown command" not in str(refused.value)


def test_keys_expire_after_advance(
    stateful_redis: redis.Redis, stateful_clock: StatefulClock
) -> None:
    stateful_redis.set("short", "v", px=5_000)
    stateful_redis.set("long", "v", ex=3_600)
    stateful_redis.set("forever", "v")
    stateful_clock.advance(4)
    assert 0 < stateful_redis.pttl("short") <= 1_000
    assert 3_590_000 < stateful_redis.pttl("long") <= 3_596_000
    stateful_clock.advance(1.001)
    assert stateful_redis.get("short") is None
    assert sorted(stateful_redis.keys()) == [b"forever", b"long"]
    assert stateful_redis.pttl("forever") == -1


def test_advance_affects_every_database(
    stateful_backend: Backend, stateful_clock: StatefulClock
) -> None:
    for database in (0, 3):
        stateful_backend.client(db=database).set("k", "v", ex=10)
    stateful_clock.advance(10.001)
    for database in (0, 3):
        assert stateful_backend.client(db=database).dbsize() == 0


def test_advance_shortens_each_of_many_ttls_once(
    stateful_redis: redis.Redis, stateful_clock: StatefulClock
) -> None:
    pipeline = stateful_redis.pipeline(transaction=False)
    for number in range(3_000):
        pipeline.set(f"k{number}", "v", ex=1_000 if number % 2 else 100)
    pipeline.execute()
    stateful_clock.advance(99)
    assert stateful_redis.dbsize() == 3_000
    stateful_clock.advance(1.001)
    left = stateful_redis.keys()
    assert len(left) == 1_500
    assert all(int(key[1:]) % 2 for key in left)
    assert all(890_000 < stateful_redis.pttl(key) <= 900_000 for key in left[:50])


def test_hash_fields_expire_if_the_server_supports_field_ttls(
    stateful_redis: redis.Redis, stateful_clock: StatefulClock
) -> None:
    stateful_redis.hset("h", mapping={"short": "1", "long": "2", "forever": "3"})
    if not supports(stateful_redis, "HPEXPIRE"):
        stateful_clock.advance(60)
        assert stateful_redis.hlen("h") == 3
        return
    stateful_redis.execute_command("HPEXPIRE", "h", 5_000, "FIELDS", 1, "short")
    stateful_redis.execute_command("HPEXPIRE", "h", 9_000, "FIELDS", 1, "long")
    stateful_clock.advance(5.001)
    assert sorted(stateful_redis.hkeys("h")) == [b"forever", b"long"]
    [left] = stateful_redis.execute_command("HPTTL", "h", "FIELDS", 1, "long")
    assert 3_000 < left <= 3_999
    stateful_clock.advance(4)
    assert stateful_redis.hgetall("h") == {b"forever": b"3"}


@pytest.mark.parametrize("seconds", [-0.001, math.inf, math.nan])
def test_advance_rejects_negative_and_infinite_times(
    stateful_clock: StatefulClock, seconds: float
) -> None:
    with pytest.raises(ValueError, match="finite and not negative"):
        stateful_clock.advance(seconds)


@pytest.mark.parametrize("_", range(2))
def test_advanced_clock_does_not_affect_the_next_test(
    _: int, stateful_redis: redis.Redis, stateful_clock: StatefulClock
) -> None:
    century = 100 * 365 * 86_400
    seconds, _microseconds = stateful_redis.time()
    assert seconds < time.time() + century
    stateful_clock.advance(century)
