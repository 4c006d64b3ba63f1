"""Consumer group commands that differ between releases, compared with real servers."""

from __future__ import annotations

import pytest

from tests.emulator.fuzz.stream import without_times
from tests.support.keyspace import EventWatcher
from tests.support.pair import Pair

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")


@pytest.mark.servers(*ALL)
def test_arguments_of_xgroup(same: Pair) -> None:
    for _ in range(2):
        for words in (
            *("CREATE s g 0", "CREATE s g 0 ENTRIESREAD x", "CREATE s g 0 ENTRIESREAD"),
            *(
                "CREATE s g 0 FOO",
                "SETID s g 0 FOO",
                "SETID s g 0 1 2",
                "SETID s g 0 ENTRIESREAD x",
            ),
            *("SETID s no 0", "SETID s no 0 1", "DELCONSUMER s g nobody", "DESTROY s g"),
        ):
            same(f"XGROUP {words}")
        same("XGROUP CREATE s h 0 MKSTREAM")


@pytest.mark.servers(*ALL)
def test_which_commands_create_a_consumer(same: Pair) -> None:
    watcher = EventWatcher(same)
    same("XGROUP CREATE s g 0 MKSTREAM")
    for words in (
        *("XAUTOCLAIM s g a 0 0-0", "XCLAIM s g b 0 1-1", "XREADGROUP GROUP g c STREAMS s >"),
        *("XADD s 1-1 f v", "XREADGROUP GROUP g d STREAMS s >", "XCLAIM s g e 0 1-1"),
        *("XAUTOCLAIM s g h 0 0-0", "XCLAIM s g i 100000 1-1", "XAUTOCLAIM s g j 100000 0-0"),
        *("XGROUP DELCONSUMER s g nobody", "XDEL s 1-1", "XCLAIM s g k 0 1-1"),
        *("XAUTOCLAIM s g l 0 0-0", "XAUTOCLAIM s g m 0 0-0 JUSTID"),
    ):
        same(words)
        same("XINFO CONSUMERS s g", key=without_times)
        real, emulated = watcher.collect()
        assert emulated == real, words


@pytest.mark.servers(*ALL)
def test_xinfo_fields(same: Pair) -> None:
    same("XADD s 1-1 a b")
    same("XADD s 1-2 a b")
    same("XGROUP CREATE s g 0")
    same("XREADGROUP GROUP g c COUNT 1 STREAMS s >")
    for words in ("STREAM s", "STREAM s FULL", "GROUPS s", "CONSUMERS s g", "STREAM s FOO"):
        same(f"XINFO {words}", key=without_times)


@pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
def test_lag(same: Pair) -> None:
    for number in (1, 2, 3):
        same("XADD", "s", f"1-{number}", "a", "b")
    same("XGROUP CREATE s g 0")
    for words in (
        *("SETID s g 0 ENTRIESREAD 9", "SETID s g 0 ENTRIESREAD 2", "SETID s g 0 ENTRIESREAD 0"),
        *("SETID s g 1-1 ENTRIESREAD 9", "SETID s g 1-1 ENTRIESREAD 2", "SETID s g 1-1"),
        *("SETID s g 1-3 ENTRIESREAD 1", "SETID s g 9-9 ENTRIESREAD 1", "SETID s g 0"),
    ):
        same(f"XGROUP {words}")
        same("XINFO GROUPS s")
    for gone in ("1-2", "1-1"):
        same("XDEL", "s", gone)
        for words in ("0 ENTRIESREAD 2", "1-1 ENTRIESREAD 1", "1-2", "1-1", "0", "1-3"):
            same(f"XGROUP SETID s g {words}")
            same("XINFO GROUPS s")


@pytest.mark.servers(*ALL)
def test_xread_of_the_last_entry(same: Pair) -> None:
    same("XREAD STREAMS s +")
    same("XADD s 1-1 a b")
    same("XREAD STREAMS s +")
    same("XREAD STREAMS s s 0-0 +")
    same("XADD s 1-2 a b")
    same("XDEL s 1-2")
    same("XREAD STREAMS s +")
    same("XSETID s 2-0")
    same("XREAD COUNT 5 STREAMS s +")


@pytest.mark.servers(*ALL)
def test_errors_of_xgroup_and_xinfo(same: Pair) -> None:
    same("SET s 1")
    same("XADD x 1-1 a b")
    same("XGROUP CREATE x g 0")
    for key in ("x", "s", "no"):
        for word in ("FOO", "CREATE", "SETID", "DESTROY", "CREATECONSUMER", "DELCONSUMER", "HELP"):
            for group in ("", " g", " nog"):
                same(f"XGROUP {word} {key}{group}" if word != "DESTROY" else f"XGROUP {word} {key}")
            same(f"XGROUP {word} {key} nog 0 1 2 3")
        for words in (f"FOO {key}", f"FOO {key} g", f"GROUPS {key} g", f"CONSUMERS {key}"):
            same(f"XINFO {words}")
        for words in (f"CONSUMERS {key} g c", f"STREAM {key} FOO", f"HELP {key}"):
            same(f"XINFO {words}")
    for command in ("MULTI", "XINFO GROUPS x"):
        same(command)
    if same.emulator.engine.server.version.compatible < (7, 0):
        for command in ("XGROUP FOO no g", "XGROUP FOO s g", "XINFO FOO no", "XINFO FOO"):
            same(command)
    same("EXEC")


@pytest.mark.servers(*ALL)
def test_which_stream_commands_abort_a_watching_transaction(same: Pair) -> None:
    """Changes of consumer groups do not abort a transaction that watches the stream."""
    other = same.connect()
    for key, command, *more in (
        ("s", "XGROUP CREATE s h 0"),
        ("s", "XGROUP SETID s g 0"),
        ("s", "XGROUP CREATECONSUMER s g c"),
        ("s", "XREADGROUP GROUP g c STREAMS s >"),
        ("s", "XACK s g 1-1"),
        ("s", "XREADGROUP GROUP g d STREAMS s >", "XAUTOCLAIM s g e 0 0"),
        ("s", "XGROUP DELCONSUMER s g c"),
        ("s", "XGROUP DESTROY s g"),
        ("s", "XSETID s 9-9"),
        ("s", "XADD s 10-1 f v"),
        ("new", "XGROUP CREATE new g 0 MKSTREAM"),
    ):
        for line in ("DEL s new", "XADD s 1-1 f v", "XGROUP CREATE s g 0", f"WATCH {key}"):
            same(line)
        for each in (command, *more):
            for connection in other:
                connection(each)
        for line in ("MULTI", "PING", "EXEC"):
            same(line)


@pytest.mark.servers(*ALL)
def test_xreadgroup_with_the_largest_id(same: Pair) -> None:
    largest = "18446744073709551615-18446744073709551615"
    for line in (
        "XGROUP CREATE s g 0 MKSTREAM",
        f"XREADGROUP GROUP g c STREAMS s {largest}",
        "XADD s 1-1 f v",
        f"XREADGROUP GROUP g c STREAMS s {largest}",
        f"XREADGROUP GROUP g c STREAMS s s 0 {largest}",
        "XADD s 2-1 f v",
        f"XREADGROUP GROUP g c STREAMS s s {largest} 0",
        f"XADD s {largest} f v",
        "XREADGROUP GROUP g c STREAMS s 18446744073709551615-18446744073709551614",
        f"XREADGROUP GROUP g c STREAMS s 0{largest}",
        "XPENDING s g",
        f"XREAD STREAMS s {largest}",
    ):
        same(line)
