"""Malformed values: every operation rejects them, inspection shows them, repair deletes them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podlink import Repair, StatefulError, StatefulExecutor, StoredKey
from tests.support.examples import examples

LINK, INDEX, CREATED = b"sf:{n:lk:u}s", b"sf:{n:lk:u}", b"sf:{n:lk:u}s@"
STATES, WORKLOAD = b"sf:{n:state:s}", b"sf:{n:workload:s}"

Put = Callable[[redis.Redis], object]


def string(key: bytes, value: bytes) -> Put:
    return lambda client: client.set(key, value)


def fields(key: bytes, *items: bytes) -> Put:
    return lambda client: client.execute_command("HSET", key, *items)


def a_list(key: bytes) -> Put:
    return lambda client: client.rpush(key, "a")


MALFORMED_LINKS: dict[str, tuple[Put, bytes, bytes | None]] = {
    "link of no pod id": (string(LINK, b"01"), LINK, None),
    "link above the limit": (string(LINK, b"2147483648"), LINK, None),
    "link of another type": (a_list(LINK), LINK, None),
    "index of another type": (string(INDEX, b"1"), INDEX, None),
    "index entry of no pod id": (fields(INDEX, b"s", b"x"), INDEX, b"s"),
    "creation time of another type": (a_list(CREATED), CREATED, None),
    "creation time that is too long": (string(CREATED, b"1" * 15 + b" 1"), CREATED, None),
    "index entry of no text": (fields(INDEX, b"\xc3(", b"1"), INDEX, b"\xc3("),
}


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("case", MALFORMED_LINKS)
def test_repair_link_deletes_malformed_keys(
    stateful_executor: StatefulExecutor, stateful_redis: redis.Redis, case: str, dry_run: bool
) -> None:
    put, key, field = MALFORMED_LINKS[case]
    put(stateful_redis)
    before = stateful_executor.inspect_link("n", "u", "s")
    done = stateful_executor.repair_link("n", "u", "s", dry_run=dry_run)
    assert [(repair.key, repair.field, repair.done) for repair in done] == [(key, field, "deleted")]
    if dry_run:
        assert stateful_executor.inspect_link("n", "u", "s") == before
        return
    assert stateful_redis.dbsize() == 0
    assert stateful_executor.repair_link("n", "u", "s") == []
    assert stateful_executor.set_linked_pod("n", "u", "s", 1) is None
    assert stateful_executor.get_link_service("n", "u") == {"s": 1}


def test_writes_succeed_after_a_repair(
    stateful_executor: StatefulExecutor, stateful_redis: redis.Redis
) -> None:
    stateful_executor.set_linked_pod("n", "u", "s", 4)
    stateful_executor.set_linked_pod("n", "u", "other", 5)
    stateful_redis.hset(INDEX, "s", "four")
    for _ in range(2):
        with pytest.raises(StatefulError):
            stateful_executor.remove_linked_pod("n", "u", "s")
    assert [repair.done for repair in stateful_executor.repair_link("n", "u", "s")] == [
        "deleted",
        "set",
    ]
    assert stateful_executor.get_link_service("n", "u") == {"s": 4, "other": 5}
    assert stateful_executor.remove_linked_pod("n", "u", "s") is True


@pytest.mark.parametrize("seconds", [-1, 60])
def test_repair_does_not_change_valid_keys(
    stateful_redis: redis.Redis, seconds: int, stateful_clock: Any
) -> None:
    executor = StatefulExecutor(stateful_redis, track_link_times=True)
    executor.set_linked_pod("n", "u", "s", 4, persist_seconds=seconds)
    executor.set_service_state("n", "s", 1, "a b")
    executor.set_workload_state("n", "s", "ü")
    before = {key: stateful_redis.dump(key) for key in stateful_redis.keys("*")}
    for _ in range(2):
        assert executor.repair_link("n", "u", "s") == []
        assert executor.repair_service_state("n", "s") == []
        assert executor.repair_workload_state("n", "s") == []
    assert {key: stateful_redis.dump(key) for key in stateful_redis.keys("*")} == before
    link = executor.read_pod_link("n", "u", "s")
    assert link is not None
    assert link.created_at is not None


@pytest.mark.parametrize(("link", "entry", "done"), [
    (None, b"4", "deleted"), (60, b"4", "deleted"), (-1, None, "set"), (-1, b"5", "set"),
    (-1, b"4", None), (60, None, None), (None, None, None),
])  # fmt: skip
def test_repair_makes_the_index_agree_with_the_link(
    stateful_executor: StatefulExecutor,
    stateful_redis: redis.Redis,
    link: int | None,
    entry: bytes | None,
    done: str | None,
) -> None:
    if link is not None:
        stateful_redis.set(LINK, "4", ex=None if link == -1 else link)
    if entry is not None:
        stateful_redis.hset(INDEX, "s", entry.decode())
    expected = [] if done is None else [Repair(INDEX, b"s", entry, done)]
    assert stateful_executor.repair_link("n", "u", "s") == expected
    services = {"s": 4} if link == -1 else {}
    assert stateful_executor.get_link_service("n", "u") == services


def test_repair_deletes_malformed_states_and_times(
    stateful_executor: StatefulExecutor, stateful_redis: redis.Redis
) -> None:
    stateful_executor.set_service_state("n", "s", 1, "up")
    stateful_executor.set_workload_state("n", "s", "up")
    fields(STATES, b"01", b"up", b"2", b" ", b"3", b"\xff")(stateful_redis)
    fields(STATES + b"@", b"1", b"1 down", b"4", b"1 up")(stateful_redis)
    string(WORKLOAD, b"\xe2\x80\x83")(stateful_redis)
    repairs = stateful_executor.repair_service_state("n", "s")
    assert {(repair.key, repair.field) for repair in repairs} == {
        (STATES, b"01"), (STATES, b"2"), (STATES, b"3"),
        (STATES + b"@", b"1"), (STATES + b"@", b"4"),
    }  # fmt: skip
    assert {repair.key for repair in stateful_executor.repair_workload_state("n", "s")} == {
        WORKLOAD,
        WORKLOAD + b"@",
    }
    assert stateful_executor.get_service_state("n", "s") == {1: "up"}
    assert stateful_executor.get_workload_state("n", ["s"]) == {}
    for key in (STATES, STATES + b"@", WORKLOAD, WORKLOAD + b"@"):
        stateful_redis.delete(key)
        a_list(key)(stateful_redis)
    assert len(stateful_executor.repair_service_state("n", "s")) == 2
    assert len(stateful_executor.repair_workload_state("n", "s")) == 2
    assert stateful_redis.dbsize() == 0


SPACES = [chr(code) for code in range(0x3001) if chr(code).isspace()]
NEARLY_SPACES = ["\u180e", "\u200b", "\u2027", "\u202a", "\u2060", "\ufeff", "\x1b", "\x00", "\x84"]


def test_repair_and_python_agree_on_blank_text(stateful_executor: StatefulExecutor) -> None:
    client = stateful_executor.manager.client
    for text in (*SPACES, "".join(SPACES), *NEARLY_SPACES):
        client.set(WORKLOAD, text.encode())
        repaired = stateful_executor.repair_workload_state("n", "s")
        assert bool(repaired) is (text.strip() == ""), repr(text)


@settings(
    max_examples=examples(200),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    value=st.binary(max_size=6)
    | st.text(max_size=3).map(lambda t: t.encode("utf-8", "surrogatepass"))
)
def test_repair_and_python_agree_on_valid_utf8(
    stateful_executor: StatefulExecutor, value: bytes
) -> None:
    client = stateful_executor.manager.client
    client.set(WORKLOAD, value)
    try:
        sound = value.decode().strip() != ""
    except UnicodeDecodeError:
        sound = False
    assert bool(stateful_executor.repair_workload_state("n", "s")) is not sound


def test_inspection_returns_all_keys_with_type_ttl_and_value(
    stateful_executor: StatefulExecutor, stateful_redis: redis.Redis
) -> None:
    stateful_redis.set(LINK, b"\xff", px=5000)
    stateful_redis.hset(INDEX, "s", "x")
    link, index, created = stateful_executor.inspect_link("n", "u", "s")
    assert (link.type, link.value) == ("string", b"\xff")
    assert link.ttl is not None
    assert 4 < link.ttl <= 5
    assert index == StoredKey(INDEX, "hash", None, {b"s": b"x"})
    assert created == StoredKey(CREATED, "none", None, None)
    stateful_redis.sadd(STATES, "a")
    states, *others = stateful_executor.inspect_service("n", "s")
    assert states.type == "set"
    stateful_redis.restore("copy", 0, states.value)  # type: ignore[arg-type]
    assert stateful_redis.scard("copy") == 1
    assert [(stored.key, stored.type) for stored in others] == [
        (STATES + b"@", "none"),
        (WORKLOAD, "none"),
        (WORKLOAD + b"@", "none"),
    ]


def test_repairs_are_logged(
    stateful_executor: StatefulExecutor,
    stateful_redis: redis.Redis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stateful_redis.set(LINK, "x\u202e\n")
    stateful_executor.repair_link("n", "u", "s", dry_run=True)
    assert not caplog.records
    stateful_executor.repair_link("n", "u", "s")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (r"repair_link: sf:{n:lk:u}s: found b'x\xe2\x80\xae\n', deleted")


HOSTILE = "v\u202e\u2066\u2028"


@pytest.mark.parametrize("cause", ["malformed", "wrong type", "absent", "exists"])
def test_errors_and_log_records_escape_unprintable_characters(
    stateful_executor: StatefulExecutor,
    stateful_redis: redis.Redis,
    caplog: pytest.LogCaptureFixture,
    cause: str,
) -> None:
    caplog.set_level(logging.DEBUG, logger="podlink")
    service = "s\u202e"
    key = f"sf:{{n:lk:{HOSTILE}}}{service}"
    if cause == "malformed":
        stateful_redis.set(key, "x\x1b[2J")
    elif cause == "wrong type":
        stateful_redis.rpush(key, "x")
    elif cause == "exists":
        stateful_redis.set(key, "7")
    calls: dict[str, Callable[[], object]] = {
        "absent": lambda: stateful_executor.require_linked_pod("n", HOSTILE, service),
        "exists": lambda: stateful_executor.create_linked_pod("n", HOSTILE, service, 1),
    }
    read = lambda: stateful_executor.batch_get_linked_pod("n", [HOSTILE], service)  # noqa: E731
    with pytest.raises(StatefulError) as caught:
        calls.get(cause, read)()
    texts = [str(caught.value), caught.value.message]
    for record in caplog.records:
        texts += [record.getMessage(), record.uid or "", record.service or ""]  # type: ignore[attr-defined]
    assert all(text.isprintable() for text in texts), texts
    assert r"\u202e" in "".join(texts)


def test_repr_of_an_executor_does_not_connect() -> None:
    executor = StatefulExecutor("redis+cluster://127.0.0.1:1")
    assert repr(executor) == "<StatefulExecutor of <RedisManager redis+cluster://127.0.0.1:1>>"
