"""Strings beside real servers: what random commands have found, and STRALGO."""

from __future__ import annotations

import pytest

from tests.emulator.pair import Pair

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")


@pytest.mark.servers(*ALL)
def test_a_printed_number_is_a_text(same: Pair) -> None:
    same("INCRBYFLOAT a 1")
    for words in (
        *("OBJECT ENCODING a", "GET a", "MGET a b", "STRLEN a", "GETRANGE a 0 0", "TYPE a"),
        *("COPY a c", "OBJECT ENCODING c", "RENAME c d", "OBJECT ENCODING d", "BITCOUNT a"),
        *("GETBIT a 2", "SET a 5 GET", "OBJECT ENCODING a", "INCRBYFLOAT a 1", "INCR a"),
        *("OBJECT ENCODING a", "INCRBYFLOAT a 10000", "APPEND a 0", "OBJECT ENCODING a"),
        *("INCRBYFLOAT a 1", "SETBIT a 7 1", "OBJECT ENCODING a", "INCRBYFLOAT n 1"),
        *("SETRANGE n 0 7", "OBJECT ENCODING n", "INCRBYFLOAT p 1", "PFADD p x", "GETDEL p"),
        *("INCRBYFLOAT q 3", "BITFIELD q GET u8 0", "BITOP NOT r q", "OBJECT ENCODING q"),
        *("INCRBYFLOAT q 0.5", "OBJECT ENCODING q", "INCRBYFLOAT q 0.5", "OBJECT ENCODING q"),
    ):
        same(words)


@pytest.mark.servers("redis-6.2")
def test_stralgo(same: Pair) -> None:
    same("SET a ohmytext")
    same("SET b mynewtext")
    same("RPUSH l x")
    for words in (
        *("", "LCS", "FOO a b", "LCS foo a b", "LCS LEN", "LCS STRINGS a", "LCS KEYS a"),
        *("LCS STRINGS ohmytext mynewtext", "LCS KEYS a b", "lcs keys a no", "LCS KEYS l a"),
        *("LCS KEYS a b LEN", "LCS KEYS a b IDX", "LCS IDX LEN KEYS a b", "LCS len idx foo"),
        *("LCS KEYS a b IDX MINMATCHLEN 4 WITHMATCHLEN", "LCS MINMATCHLEN x STRINGS a b"),
        *("LCS STRINGS a b STRINGS c d", "LCS KEYS l a STRINGS a b", "LCS STRINGS a b MINMATCHLEN"),
    ):
        same(f"STRALGO {words}")
    same("COMMAND GETKEYS STRALGO LCS KEYS a b")
    same("COMMAND INFO STRALGO")


@pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
def test_stralgo_is_gone(same: Pair) -> None:
    same("STRALGO LCS KEYS a b")
