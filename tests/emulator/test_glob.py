"""Glob patterns of KEYS and other commands, compared with real servers."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from redis_emulator import RedisEmulator
from redis_emulator.glob import Interpreter, compiled, glob
from tests.support.examples import examples
from tests.support.pair import Pair, unordered

EVERY_SERVER = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")

_PIECES = st.sampled_from(
    [*(bytes([byte]) for byte in b"ab*?[]^-\\\x00\x7f\x80\xff"), b"[a-", b"**", b"[^", b"\\]", b"A"]
)
_PATTERNS = st.lists(_PIECES, max_size=9).map(b"".join)
_STRINGS = st.lists(st.sampled_from(list(b"aabbA]^-[\\\x00\x7f\x80\xff")), max_size=6).map(bytes)

EDGE_CASES = [
    *((b"*", b""), (b"**", b""), (b"?", b""), (b"", b""), (b"", b"a"), (b"a*", b"a")),
    *((b"[\x00-\xff]", b"a"), (b"[\x00-\xff]", b"\xff"), (b"[\xf0-a]", b"\xf5")),
    *((b"[\xff-a]", b"\x80"), (b"[z-a]", b"c"), (b"[a-", b"-"), (b"[a-]", b"]"), (b"[a-]", b"b")),
    *((b"[^", b"x"), (b"[", b"["), (b"[]", b"]"), (b"[]a]", b"a]"), (b"[^]", b"x"), (b"*[", b"a")),
    *((b"\\", b"\\"), (b"a\\", b"a\\"), (b"[\\", b"\\"), (b"[a\\", b"\\"), (b"[\\]", b"]")),
    *((b"[a-\\]", b"]"), (b"[a-\\]", b"\\"), (b"[\\a-c]", b"b"), (b"[\\a-c]", b"-")),
    *((b"a*[^", b"ab"), (b"a*a", b"a"), (b"*ab*ba*", b"aba"), (b"*ab*ba*", b"abba")),
]


@pytest.mark.parametrize("matcher", [compiled, Interpreter])
@pytest.mark.servers(*EVERY_SERVER)
def test_patterns_match_the_same_strings_as_on_servers(
    same: Pair, matcher: Callable[[bytes], Callable[[bytes], object]]
) -> None:
    def check(pattern: bytes, string: bytes) -> None:
        same.real("FLUSHALL")
        same.real("SET", string, "")
        found = same.real("SCAN", 0, "MATCH", pattern)[1][1][1]
        wanted = bool(found) if pattern != b"*" else bool(string)
        assert bool(matcher(pattern)(string)) == wanted

    for case in EDGE_CASES:
        check(*case)

    @settings(max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck))
    @given(_PATTERNS, _STRINGS)
    def compare(pattern: bytes, string: bytes) -> None:
        check(pattern, string)

    compare()


@pytest.mark.servers(*EVERY_SERVER)
def test_edge_cases_of_patterns_in_keys_scan_and_psubscribe(same: Pair) -> None:
    for pattern, string in EDGE_CASES:
        same("FLUSHALL")
        same("SET", string, "")
        same("KEYS", pattern)
        same("SCAN", 0, "MATCH", pattern)
    for pattern in (b"*", b"**", b"[a"):
        listeners = same.connect()
        for listener in listeners:
            listener("PSUBSCRIBE", pattern)
        for channel in (b"", b"a", b"b"):
            same("PUBLISH", channel, "x")
        for listener in listeners:
            listener.close()


@given(_PATTERNS, _STRINGS, st.booleans())
@example(b"[\\A]", b"a", True)
@example(b"[A-z]", b"_", True)
@example(b"a", b"A", True)
@settings(max_examples=examples(300), deadline=None)
def test_compiled_and_interpreted_patterns_agree(
    pattern: bytes, string: bytes, ignore_case: bool
) -> None:
    short = bool(compiled(pattern, ignore_case)(string))
    assert bool(Interpreter(pattern, ignore_case)(string)) == short


@pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
@pytest.mark.parametrize("count", [1000, 1001, 1002])
def test_more_stars_than_the_recursion_limit_of_the_servers(same: Pair, count: int) -> None:
    for key in (b"a" * count, b"a" * (count + 1)):
        same("SET", key, "")
    for pattern in (b"a*" * count, b"*a" * count, b"a*" * count + b"a", b"a**" * count):
        same("KEYS", pattern, key=unordered)


HOSTILE = {
    "stars": b"*a" * 10 + b"b",
    "many-stars": b"*a" * 400 + b"b",
    "too-many-stars": b"*a" * 400_000,
    "wildcards": b"?" * 1_000_000,
    "classes": b"[ab]" * 250_000,
    "a-long-class": b"[" + b"ab-z" * 250_000 + b"]*c",
    "escapes": b"*" + b"\\a" * 500_000,
    "stars-and-classes": b"*[a]?" * 200 + b"b",
}


@pytest.mark.parametrize("pattern", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_patterns_take_linear_time(pattern: bytes) -> None:
    """Each pattern takes well below a second; backtracking would take hours."""
    emulator = RedisEmulator()
    client = emulator.client()
    client.mset({b"a" * 1000: "", b"a" * 999: ""})
    started = time.process_time()
    assert client.keys(pattern) == []
    assert client.scan(0, match=pattern)[1] == []
    client.pubsub().psubscribe(pattern)
    assert client.publish("a" * 1000, "x") == 0
    emulator.execute("ACL", "SETUSER", "u", "on", "nopass", "+get", b"~" + pattern)
    with pytest.raises(Exception, match="No permissions"):
        emulator.client(username="u", password="x").get("a" * 1000)
    assert time.process_time() - started < 10


def test_long_patterns_are_not_cached() -> None:
    before = compiled.cache_info().currsize
    for number in range(10):
        assert not glob(b"%d" % number * 2000)(b"x")
    assert compiled.cache_info().currsize == before
