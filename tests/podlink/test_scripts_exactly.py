"""Effects of the scripts for states, reads and repairs, to the byte and the millisecond.

``test_transitions.py`` does the same for the scripts that change links.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis

import podlink
from podlink import StatefulExecutor
from podlink.calls import Call, run_script
from redis_emulator import ManualClock, RedisEmulator
from tests.support.exact import CLOCK, NO_POD_IDS, NOW, POD_IDS, YEAR

LINK, INDEX, CREATED = b"sf:{n:lk:u}s", b"sf:{n:lk:u}", b"sf:{n:lk:u}s@"
STATES, TIMES = b"sf:{n:state:s}", b"sf:{n:state:s}@"
WORKLOAD, WORKLOAD_TIME = b"sf:{n:workload:s}", b"sf:{n:workload:s}@"
HOUR = 3600


@pytest.fixture
def emulator() -> Iterator[RedisEmulator]:
    with RedisEmulator(clock=ManualClock(CLOCK)) as made:
        yield made


@pytest.fixture
def server(emulator: RedisEmulator) -> Iterator[Any]:
    with emulator.client() as client:
        yield client


@pytest.fixture
def executor(server: redis.Redis) -> StatefulExecutor:
    return StatefulExecutor(server)


def time_of(ms: int) -> datetime:
    return datetime.fromtimestamp(0, timezone.utc) + timedelta(milliseconds=ms)


def test_state_is_stored_with_its_time(
    emulator: RedisEmulator, server: Any, executor: StatefulExecutor
) -> None:
    executor.set_service_state("n", "s", 3, "UP")
    assert server.hgetall(STATES) == {b"3": b"UP"}
    assert server.hgetall(TIMES) == {b"3": b"%d UP" % NOW}
    assert (server.pttl(STATES), server.pttl(TIMES)) == (-1, YEAR)
    state = executor.read_service_state("n", "s")
    assert state is not None
    assert state.updated_at == time_of(NOW)
    executor.set_workload_state("n", "s", "IDLE")
    assert server.get(WORKLOAD) == b"IDLE"
    assert server.get(WORKLOAD_TIME) == b"%d IDLE" % NOW
    assert (server.pttl(WORKLOAD), server.pttl(WORKLOAD_TIME)) == (-1, YEAR)
    workload = executor.read_workload_state("n", "s")
    assert workload is not None
    assert workload.updated_at == time_of(NOW)
    assert server.dbsize() == 4


def test_times_of_deleted_states_are_deleted_once_an_hour(
    emulator: RedisEmulator, server: Any, executor: StatefulExecutor
) -> None:
    for pod in (1, 2, 3):
        executor.set_service_state("n", "s", pod, "UP")
    server.hdel(STATES, 2, 3)
    emulator.clock.advance(HOUR)
    executor.set_service_state("n", "s", 1, "UP")
    assert server.hkeys(TIMES) == [b"1", b"2", b"3"], "not before an hour has passed"
    assert server.pttl(TIMES) == YEAR - HOUR * 1000
    emulator.clock.advance(0.001)
    executor.set_service_state("n", "s", 4, "UP")
    assert sorted(server.hkeys(TIMES)) == [b"1", b"4"]
    assert server.pttl(TIMES) == YEAR


@pytest.mark.parametrize("key", [STATES, TIMES])
def test_failed_script_writes_nothing(
    emulator: RedisEmulator, server: Any, executor: StatefulExecutor, key: bytes
) -> None:
    executor.set_service_state("n", "s", 1, "UP")
    server.delete(key)
    server.rpush(key, "x")
    before = emulator.dump()
    with pytest.raises(podlink.RedisOperationError, match="WRONGTYPE"):
        executor.set_service_state("n", "s", 1, "DOWN")
    assert emulator.dump() == before


def test_link_is_read_with_its_times(server: Any) -> None:
    executor = StatefulExecutor(server, track_link_times=True)
    executor.set_linked_pod("n", "u", "s", 5, persist_seconds=90)
    assert executor.read_pod_link("n", "u", "s") == podlink.PodLink(
        "n", "u", "s", 5, time_of(NOW + 90_000), time_of(NOW)
    )
    executor.set_linked_pod("n", "u", "s", 5)
    assert executor.read_pod_link("n", "u", "s") == podlink.PodLink(
        "n", "u", "s", 5, None, time_of(NOW)
    )


@pytest.mark.parametrize("count", [1, 2, 999, 1000, 1001, 2003])
def test_batch_of_any_size_is_read_in_order(
    server: Any, executor: StatefulExecutor, count: int
) -> None:
    uids = [f"u{number}" for number in range(count)]
    linked = {f"sf:{{n:lk:{uid}}}s": n % 7 for n, uid in enumerate(uids) if n % 5}
    if linked:
        server.mset(linked)
    expected: dict[int, list[str]] = {}
    for number, uid in enumerate(uids):
        if number % 5:
            expected.setdefault(number % 7, []).append(uid)
    assert executor.batch_get_linked_pod("n", uids, "s") == expected
    names = [f"s{number}" for number in range(count)]
    server.mset({f"sf:{{n:workload:{name}}}": name for name in names[::2]})
    assert executor.get_workload_state("n", names) == {name: name for name in names[::2]}
    for place in {0, count // 2, count - 1}:
        key = f"sf:{{n:lk:{uids[place]}}}s"
        server.delete(key)
        server.rpush(key, "x")
        with pytest.raises(podlink.RedisOperationError) as caught:
            executor.batch_get_linked_pod("n", uids, "s")
        assert f"WRONGTYPE Operation against a key holding the wrong kind of value (key {key})" in (
            str(caught.value)
        )
        server.delete(key)


def test_get_each_reads_more_than_a_thousand_keys_in_order(server: Any) -> None:
    keys = [f"{{k}}{number}" for number in range(3005)]
    server.mset({key: key for key in keys[::3]})
    source = podlink.scripts.GET_EACH.source
    expected = [key.encode() if number % 3 == 0 else None for number, key in enumerate(keys)]
    for count in (1, 999, 1000, 1001, 1999, 2000, 2001, 3005):
        assert server.eval(source, count, *keys[:count]) == expected[:count]
    for place in (0, 1, 998, 999, 1000, 1001, 2999, 3004):
        server.delete(keys[place])
        server.rpush(keys[place], "x")
        with pytest.raises(redis.ResponseError) as caught:
            server.eval(source, len(keys), *keys)
        assert str(caught.value).endswith(f" (key {keys[place]})")
        server.delete(keys[place])


def test_inspection_returns_type_ttl_and_value(server: Any, executor: StatefulExecutor) -> None:
    server.set(LINK, b"\xff", px=5000)
    server.hset(INDEX, mapping={"s": "x", "t": "y"})
    server.rpush(CREATED, "a", "b")
    server.pexpire(CREATED, 1)
    assert executor.inspect_link("n", "u", "s") == [
        podlink.StoredKey(LINK, "string", 5.0, b"\xff"),
        podlink.StoredKey(INDEX, "hash", None, {b"s": b"x", b"t": b"y"}),
        podlink.StoredKey(CREATED, "list", 0.001, server.dump(CREATED)),
    ]


# Repairs


def is_text(value: bytes) -> bool:
    try:
        return value.decode().strip() != ""
    except UnicodeDecodeError:
        return False


def texts() -> list[bytes]:
    """Return texts at each limit of UTF-8 and just beyond, white space, and characters like white
    space.
    """
    found = [b"a", b"a b", b" ", b"\x1f", b" \x1c\t\r\n\x0b\x0c\x1d\x1e", b"a\xff", b"\xff"]
    found += [bytes([code]) for code in range(0x80)]
    found += [chr(code).encode() for code in range(0x80, 0x3002) if chr(code).isspace()]
    near = (0x84, 0x86, 0x9F, 0xA1, 0x167F, 0x1681, 0x180E, 0x1FFF, 0x200B, 0x2027, 0x202A, 0x202E,
            0x2030, 0x205E, 0x2060, 0x2FFF, 0x3001, 0xFEFF)  # fmt: skip
    found += [chr(code).encode() for code in near]
    for lead in (0x80, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xE2, 0xEC, 0xED, 0xEE, 0xEF, 0xF0,
                 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xFF):  # fmt: skip
        for second in (0x00, 0x41, 0x7F, 0x80, 0x81, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF):
            found += [bytes([lead, second])]
            found += [bytes([lead, second, rest]) for rest in (0x7F, 0x80, 0xBF, 0xC0)]
            found += [bytes([lead, second, 0x80, rest]) for rest in (0x7F, 0x80, 0xBF, 0xC0)]
            found += [bytes([lead, second, rest, 0x80]) for rest in (0x7F, 0xC0)]
    return list(dict.fromkeys(found))


TEXTS = texts()


def test_index_fields_that_are_not_text_are_deleted(
    server: Any, executor: StatefulExecutor
) -> None:
    server.hset(INDEX, mapping=dict.fromkeys(TEXTS, 1))
    done = executor.repair_link("n", "u", "s")
    kept = [text for text in TEXTS if is_text(text) and text != b"s"]
    assert sorted(server.hkeys(INDEX)) == sorted(kept)
    assert {repair.field for repair in done} == {*TEXTS} - {*kept}
    assert {(repair.key, repair.found, repair.done) for repair in done} == {
        (INDEX, b"1", "deleted")
    }


def test_states_that_are_not_text_are_deleted(server: Any, executor: StatefulExecutor) -> None:
    server.hset(STATES, mapping=dict(enumerate(TEXTS)))
    done = executor.repair_service_state("n", "s")
    bad = [number for number, text in enumerate(TEXTS) if not is_text(text)]
    assert [(repair.key, repair.field, repair.found, repair.done) for repair in done] == [
        (STATES, b"%d" % number, TEXTS[number], "deleted") for number in bad
    ]
    assert server.hlen(STATES) == len(TEXTS) - len(bad)
    assert executor.repair_service_state("n", "s") == []


def test_workload_state_that_is_not_text_is_deleted(
    server: Any, executor: StatefulExecutor
) -> None:
    for text in TEXTS:
        server.set(WORKLOAD, text)
        done = executor.repair_workload_state("n", "s", dry_run=True)
        expected = [] if is_text(text) else [podlink.Repair(WORKLOAD, None, text, "deleted")]
        assert done == expected, text


def test_values_that_are_not_pod_ids_are_deleted(server: Any, executor: StatefulExecutor) -> None:
    values = [*NO_POD_IDS, *map(str, POD_IDS)]
    bad = {value.encode() for value in NO_POD_IDS}
    server.hset(INDEX, mapping={f"service{n}": value for n, value in enumerate(values)})
    assert {repair.found for repair in executor.repair_link("n", "u", "s")} == bad
    assert server.hlen(INDEX) == len(POD_IDS)
    server.hset(STATES, mapping=dict.fromkeys(values, "UP"))
    assert {repair.field for repair in executor.repair_service_state("n", "s")} == bad
    assert server.hlen(STATES) == len(POD_IDS)
    for value in values:
        server.flushall()
        server.set(LINK, value, ex=5)
        done = executor.repair_link("n", "u", "s")
        is_bad = value in NO_POD_IDS
        assert done == [podlink.Repair(LINK, None, value.encode(), "deleted")] * is_bad
        assert server.exists(LINK) == (not is_bad)


TIMES_FOUND = [
    (b"1 x", True), (b"99999999999999 x", True), (b"100000000000000 x", False), (b" x", False),
    (b"x", False), (b"1x", False), (b"1  x", False), (b"1 xx", False), (b"1 x ", False),
    (b"a1 x", False), (b"1a x", False), (b"-1 x", False), (b"", False),
]  # fmt: skip
"""Times of a state or pod ``x``, and whether they are valid."""


def test_times_that_are_malformed_or_of_another_state_are_deleted(
    server: Any, executor: StatefulExecutor
) -> None:
    for text, is_sound in TIMES_FOUND:
        for state in (b"x", b"7"):
            time = text.replace(b"x", state)
            server.flushall()
            server.hset(STATES, 1, state)
            server.hset(TIMES, 1, time)
            expected = [] if is_sound else [podlink.Repair(TIMES, b"1", time, "deleted")]
            assert executor.repair_service_state("n", "s") == expected
            server.set(WORKLOAD, state)
            server.set(WORKLOAD_TIME, time)
            expected = [] if is_sound else [podlink.Repair(WORKLOAD_TIME, None, time, "deleted")]
            assert executor.repair_workload_state("n", "s") == expected
            assert server.exists(WORKLOAD_TIME, TIMES) == 2 * is_sound
        time = text.replace(b"x", b"7")
        for ttl in (None, 90):
            server.flushall()
            server.set(LINK, 7, ex=ttl)
            if ttl is None:
                server.hset(INDEX, "s", 7)
            server.set(CREATED, time)
            expected = [] if is_sound else [podlink.Repair(CREATED, None, time, "deleted")]
            assert executor.repair_link("n", "u", "s") == expected
            assert server.exists(CREATED) == is_sound
    server.flushall()
    server.set(CREATED, "1 7")
    assert executor.repair_link("n", "u", "s") == [
        podlink.Repair(CREATED, None, b"1 7", "deleted")
    ], "a time without a link"
    server.hset(TIMES, 1, "1 x")
    server.set(WORKLOAD_TIME, "1 x")
    assert executor.repair_service_state("n", "s") == [
        podlink.Repair(TIMES, b"1", b"1 x", "deleted")
    ]
    assert executor.repair_workload_state("n", "s") == [
        podlink.Repair(WORKLOAD_TIME, None, b"1 x", "deleted")
    ]
    assert server.dbsize() == 0


def test_keys_of_another_type_are_deleted(
    emulator: RedisEmulator, server: Any, executor: StatefulExecutor
) -> None:
    repairs = {
        "repair_link": (("n", "u", "s"), (LINK, INDEX, CREATED)),
        "repair_service_state": (("n", "s"), (STATES, TIMES)),
        "repair_workload_state": (("n", "s"), (WORKLOAD, WORKLOAD_TIME)),
    }
    for name, (args, keys) in repairs.items():
        for key in keys:
            server.rpush(key, "x")
        before = emulator.dump()
        expected = [podlink.Repair(key, None, b"list", "deleted") for key in keys]
        assert getattr(executor, name)(*args, dry_run=True) == expected
        assert emulator.dump() == before
        assert getattr(executor, name)(*args) == expected
        assert server.dbsize() == 0


def test_repair_does_not_change_links_of_other_services(
    server: Any, executor: StatefulExecutor
) -> None:
    server.hset(INDEX, mapping={"a": 1, "s": 2, "z": 3})
    server.set(LINK, 2)
    assert executor.repair_link("n", "u", "s") == []
    server.expire(LINK, 60)
    assert executor.repair_link("n", "u", "s") == [podlink.Repair(INDEX, b"s", b"2", "deleted")]
    assert server.hgetall(INDEX) == {b"a": b"1", b"z": b"3"}
    assert server.ttl(LINK) == 60


@pytest.mark.parametrize(("script", "args", "link", "reply"), [
    ("set_linked_pod", ("s", 9, -1, "0",), 7, 7),
    ("set_linked_pod", ("s", 9, -1, "0",), None, None),
    ("try_set_linked_pod", ("s", 9, -1, "0",), 7, [0, 7]),
    ("try_set_linked_pod", ("s", 7, -1, "0",), 7, [1, 7]),
    ("set_linked_pod_if_absent", ("s", 9, -1, "0",), 7, [0, 7]),
    ("set_linked_pod_if_absent", ("s", 9, -1, "0",), None, [1, 9]),
    ("replace_linked_pod", ("s", 9, -1, "0", 7,), 7, [1, 9]),
    ("replace_linked_pod", ("s", 9, -1, "0", 8,), 7, [0, 7]),
    ("replace_linked_pod", ("s", 9, -1, "0", 8,), None, [0, None]),
    ("refresh_linked_pod", ("s", 7, 60,), 7, 1),
    ("refresh_linked_pod", ("s", 8, 60,), 7, 0),
    ("remove_linked_pod", ("s", -1,), 7, 1),
    ("remove_linked_pod", ("s", -1,), None, 0),
    ("remove_linked_pod_with_id", ("s", -1, 7,), 7, 1),
    ("remove_linked_pod_with_id", ("s", -1, 8,), 7, 0),
    ("remove_linked_pod_with_id", ("s", -1, 8,), None, 0),
    ("set_service_state", (1, "UP",), 7, None),
    ("set_workload_state", ("UP",), 7, None),
])  # fmt: skip
def test_reply_is_as_documented(
    server: Any, script: str, args: tuple[Any, ...], link: int | None, reply: Any
) -> None:
    """Integers and nil, before podlink reads them; other programs may run the scripts too."""
    keys: dict[str, tuple[bytes, ...]] = {
        "set_service_state": (STATES, TIMES),
        "set_workload_state": (WORKLOAD, WORKLOAD_TIME),
    }
    if link is not None:
        server.set(LINK, link)
        server.hset(INDEX, "s", link)
    code = podlink.scripts.SCRIPTS[script]
    wire = run_script(code, keys.get(script, (LINK, INDEX, CREATED)), args)
    call = Call("raw", wire, (), lambda call, reply: reply, code)
    assert server.execute_command(*call.wire_with_source) == reply


def test_malformed_time_without_a_state_is_deleted(server: Any, executor: StatefulExecutor) -> None:
    server.hset(TIMES, mapping={"1": "x", "2": "2"})
    assert len(executor.repair_service_state("n", "s")) == 2
    server.set(WORKLOAD, " ")
    server.set(WORKLOAD_TIME, "1  ")
    assert executor.repair_workload_state("n", "s") == [
        podlink.Repair(WORKLOAD, None, b" ", "deleted"),
        podlink.Repair(WORKLOAD_TIME, None, b"1  ", "deleted"),
    ]
