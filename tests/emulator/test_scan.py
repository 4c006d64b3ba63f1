"""SCAN: replies compared with real servers, and its guarantees while keys change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redis_emulator import RedisEmulator
from tests.support.examples import examples
from tests.support.pair import Pair, Wire, unordered

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")


def page(reply: Wire) -> Any:
    """Whether the iteration is over, and the returned keys in any order."""
    if reply[0] != "*":
        return reply
    cursor, names = reply[1]
    return cursor[1] == b"0", unordered(names)


@pytest.mark.servers(*ALL)
def test_match_type_and_count(same: Pair) -> None:
    for name in ("a", "ab", "b"):
        same("SET", name, "v")
    same("HSET", "ah", "f", "v")
    for options in (
        "",
        "MATCH a*",
        "MATCH *",
        "match a* TYPE hash",
        "TYPE string",
        "TYPE STRING",
        "TYPE set",
        "TYPE nonsense",
        "MATCH a* MATCH b*",
        "TYPE hash TYPE string",
        "COUNT 1000",
        "COUNT 9223372036854775807",
    ):
        same("SCAN", "0", "COUNT", "1000", *options.split(), key=page)


@pytest.mark.servers(*ALL)
def test_errors_of_scan_options(same: Pair) -> None:
    for options in (
        "COUNT",
        "COUNT 0",
        "COUNT -1",
        "COUNT x",
        "COUNT 9223372036854775808",
        "MATCH",
        "TYPE",
        "FOO",
        "FOO 1",
        "MATCH a COUNT 0 FOO",
        "NOVALUES",
    ):
        same("SCAN", "0", *options.split(), key=page)
        same("SCAN", "x", *options.split())
    same("SCAN")


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize(
    "cursor",
    "|x|-1|-01|-0|+0|+1|00| 0|\t0|0 | |-9223372036854775809|18446744073709551615|1.0|0x10"
    "|18446744073709551616|-18446744073709551616".split("|"),
)
def test_formats_of_cursors(same: Pair, cursor: str) -> None:
    same("SCAN", cursor, key=page)


_names = st.integers(0, 200).map(lambda number: b"k%d" % number)


@settings(max_examples=examples(60))
@given(st.sets(_names), st.lists(st.lists(st.tuples(st.booleans(), _names))), st.integers(1, 20))
def test_scan_returns_every_key_that_stays_exactly_once(
    start: set[bytes], changes: list[list[tuple[bool, bytes]]], count: int
) -> None:
    """Keys that exist during the whole scan are returned exactly once, other keys at most."""
    client = RedisEmulator().client()
    for name in start:
        client.set(name, "v")
    always, ever = set(start), set(start)
    rounds = iter(changes)
    cursor, seen = 0, []
    while True:
        cursor, names = client.scan(cursor, count=count)
        seen += names
        if cursor == 0:
            break
        for add, name in next(rounds, []):
            if add:
                client.set(name, "v")
                ever.add(name)
            else:
                client.delete(name)
                always.discard(name)
    assert always <= set(seen) <= ever
    assert len([name for name in seen if name in always]) == len(always)


def test_scan_iter_covers_a_large_keyspace() -> None:
    client = RedisEmulator().client()
    names = {b"key:%d" % number for number in range(5_000)}
    for name in names:
        client.set(name, "v")
    assert sorted(client.scan_iter()) == sorted(names)
    assert len(list(client.scan_iter(match="key:1*", count=7))) == 1_111
