"""Stream commands that differ between releases, compared with real servers."""

from __future__ import annotations

import pytest

from tests.support.pair import Pair

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")


@pytest.mark.servers(*ALL)
def test_arguments_of_xadd(same: Pair) -> None:
    for words in (
        *("", "*", "1-1", "1-1 a", "1-1 a b c", "NOMKSTREAM 1-1 a", "NOMKSTREAM 1-1"),
        *("NOMKSTREAM", "FOO a b", "FOO a b c", "FOO a", "KEEPREF 1 a", "KEEPREF 1-1"),
        *("KEEPREF 1 a b", "KEEPREF 0-0 a", "ACKED 2-2 a b c", "MAXLEN", "MAXLEN 1"),
        *("MAXLEN x 1-1 a", "MAXLEN 1 1-1", "MAXLEN 1 1-1 a", "x a", "0 a", "0 a b", "x a b"),
        *(
            "LIMIT 1 a",
            "LIMIT 1 1-1 a b",
            "MAXLEN 0 LIMIT 1 0-* a",
            "MAXLEN = 1 LIMIT 1 1-1 a b",
            "MAXLEN ~ 1 LIMIT 1 2 a b",
        ),
    ):
        same(f"XADD s {words}")


@pytest.mark.servers(*ALL)
def test_formats_of_stream_ids(same: Pair) -> None:
    """Servers parse ids with C's ``strtoull``."""
    for form in (
        *("01", "01-02", "2-0005", "+3", " 3-1", "\t\n\x0b\x0c\r 3-2", "3-3 ", "3-+4", "3- 5"),
        *(
            "",
            "-",
            "4-",
            "4--",
            "-4",
            "4x",
            "0x4",
            "4-4-4",
            "4--4",
            "4--04",
            "4--0",
            "5\0",
            "5-1\0x",
        ),
        *("+", "0" * 125 + "60", "0" * 126 + "60", "7-18446744073709551616", "08-*", "8-0*"),
        *("9--9223372036854775808", "9--9223372036854775809", "10--18446744073709551615"),
        *("10--18446744073709551616", "018446744073709551615-0018446744073709551614"),
        "18446744073709551616",
    ):
        same("XADD", "s", form, "f", "v")
        same("XRANGE", "s", form, "+")
        same("XREVRANGE", "s", "+", f"({form}")
    same("XRANGE", "s", "-\0x", "+\0x")
    same("XDEL", "s", "01-02", "2-5")
    same("XADD", "t", "*\0", "f", "v", key=lambda reply: reply[0])


@pytest.mark.servers(*ALL)
def test_arguments_of_xtrim(same: Pair) -> None:
    same("XADD s 1-1 a b")
    for words in ("MAXLEN 0 KEEPREF", "KEEPREF MAXLEN 0", "MAXLEN 1 FOO", "MINID 1 DELREF ACKED"):
        same(f"XTRIM s {words}")
        same("XLEN s")


@pytest.mark.servers(*ALL)
def test_arguments_of_xsetid(same: Pair) -> None:
    for key in ("no", "s", "text"):
        for words in ("x", "0-5", "5-5", "6", "6-1 ENTRIESADDED x", "6 MAXDELETEDID 1", ""):
            same(f"XSETID {key} {words}")
        same("XADD s 5-1 a b")
        same("SET text x")


@pytest.mark.servers(*ALL)
def test_xsetid_below_the_largest_deleted_id(same: Pair) -> None:
    same("XADD s 0-1 a b")
    same("XADD s 0-5 a b")
    same("XDEL s 0-5")
    for number in (4, 1, 0):
        same(f"XSETID s 0-{number}")
    same("XINFO STREAM s")


COUNTERS = (
    "XADD s 0-* f v|XGROUP CREATE s g 0-0 ENTRIESREAD 1",
    "XADD s 0-1 f v|XDEL s 0-1|XGROUP CREATE s g 5-0 ENTRIESREAD 0",
    "XADD s 0-1 f v|XDEL s 0-1|XGROUP CREATE s g 5-0",
    "XADD s 1-1 f v|XADD s 5-1 f v|XDEL s 1-1|XGROUP CREATE s g 0-1 ENTRIESREAD 3",
    "XADD s 1-1 f v|XADD s 2-0 f v|XADD s 2-1 f v|XGROUP CREATE s g 2-0 ENTRIESREAD 1|XDEL s 2-0",
    "XADD s 1-1 f v|XADD s 2-0 f v|XADD s 2-1 f v|XADD s 3-0 f v|XGROUP CREATE s g 2-0 "
    "ENTRIESREAD 4|XDEL s 2-1",
    "XADD s 2-0 f v|XADD s 3-0 f v|XADD s 4-0 f v|XGROUP CREATE s g 1-1 ENTRIESREAD 1",
    "XADD s 1-1 f v|XADD s 2-1 f v|XGROUP CREATE s g 0-1 ENTRIESREAD 6|XTRIM s MAXLEN 0",
    "XADD s 2-0 f v|XADD s 3-0 f v|XGROUP CREATE s g 2-0|XTRIM s MAXLEN 0",
)


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("case", COUNTERS)
def test_entries_read_and_lag(same: Pair, case: str) -> None:
    for words in case.split("|"):
        same(words)
    for words in ("XINFO GROUPS s", "XREADGROUP GROUP g c COUNT 1 STREAMS s >") * 3:
        same(words)


@pytest.mark.servers(*ALL)
def test_xinfo_and_xgroup_help(same: Pair) -> None:
    for name in ("xinfo", "xgroup"):
        same(name, "HELP")
        same(name, "HELP", "s")
        same("EVAL", "return redis.call(ARGV[1], 'help')", 0, name)


@pytest.mark.servers(*ALL)
def test_xread_block_in_scripts_and_transactions(same: Pair) -> None:
    for name in ("xread", "XREAD", "xReAd"):
        script = "return redis.pcall(unpack(ARGV))"
        same("EVAL", script, 0, name, "BLOCK", 0, "STREAMS", "s", 9)
        same("EVAL", script, 0, f"{name}group", *"GROUP g c BLOCK 0 STREAMS s >".split())
    for words in ("MULTI", "XREAD BLOCK 0 STREAMS s 9", "EXEC"):
        same(words)
