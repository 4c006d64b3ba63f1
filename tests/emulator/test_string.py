"""String commands, compared with real servers: cases that fuzzing found, and STRALGO."""

from __future__ import annotations

import pytest

from tests.support.pair import Connection, Pair, Wire

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")


@pytest.mark.servers(*ALL)
def test_encoding_after_incrbyfloat(same: Pair) -> None:
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
def test_stralgo_lcs(same: Pair) -> None:
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
def test_stralgo_was_removed(same: Pair) -> None:
    same("STRALGO LCS KEYS a b")


@pytest.mark.servers(*ALL)
def test_encoding_of_numbers_set_by_a_script(same: Pair) -> None:
    for words in (
        *(
            "set k 1",
            "set k -12345678901",
            "set k 1 ex 1000",
            "setnx n 7",
            "getset k 2",
            "mset k 3",
        ),
        *("setex k 1000 4", "append new 5", "incr k", "set k 01", "set k 6 keepttl", "sadd s 1"),
    ):
        same("EVAL", "return redis.call(unpack(ARGV))", 0, *words.split())
        same("OBJECT", "ENCODING", words.split()[1])
    for words in ("GET k", "MGET k n", "INCR n", "OBJECT ENCODING n", "COPY new c", "GETDEL c"):
        same(words)


@pytest.mark.servers(*ALL)
def test_set_and_getex_with_a_time_in_the_past(same: Pair) -> None:
    same("CONFIG SET notify-keyspace-events KEA")
    emulated, real = same.connect()
    for connection in (emulated, real):
        connection("PSUBSCRIBE", "__keyevent@*")
        connection("PSUBSCRIBE", "end")
    for before in ("DEL a", "SET a x", "SADD a x", "SET a x EX 1000"):
        for words in (
            *("SET a v EXAT 1", "SET a v PXAT 1 XX", "GETEX a EXAT 1"),
            *("EXPIREAT a 1", "SET a v EXAT 1 NX"),
        ):
            same("DEL a")
            for line in (before, words, "EXISTS a", "GET a", "DBSIZE", "PUBLISH end -"):
                same(line)
            events = [_events(connection) for connection in (emulated, real)]
            assert events[0] == events[1], (before, words)
    same("MULTI")
    for line in ("SET a v", "SET a w EXAT 1", "GET a", "SET a x NX", "GET a", "EXEC"):
        same(line)


def _events(connection: Connection) -> list[Wire]:
    events = []
    while (event := connection.read())[1][2][1] != b"end":
        events.append(event)
    return events


@pytest.mark.servers(*ALL)
def test_error_texts_of_older_releases(same: Pair) -> None:
    for words in ("MSET a", "MSET a 1 b", "MSETNX a 1 b", "MSET", "DECRBY a -9223372036854775808"):
        same(words)
    for words in ("GET a", "DECRBY a 1", "DECRBY a -9223372036854775808", "SET a 1"):
        same(words)
    same("DECRBY a -9223372036854775808")
    same("EVAL", "return redis.pcall('mset', 'a', 'b', 'c')", 0)


@pytest.mark.servers("valkey-9.1")
def test_lcs_does_not_count_keyspace_hits(same: Pair) -> None:
    def hits(reply: Wire) -> list[bytes]:
        return [line for line in reply[1].split() if line.startswith(b"keyspace_")]

    for words in (
        *("DELIFEQ k 1", "SET k 1 IFEQ 0", "SET k 1", "DELIFEQ k 2", "SET k 2 IFEQ 3"),
        *("SET k 2 IFEQ 1", "DELIFEQ k 2", "LPUSH k 1", "DELIFEQ k 1", "SET k 1 IFEQ 1", "DEL k"),
        "SET k 1 IFEQ 0 GET",
    ):
        same("CONFIG RESETSTAT")
        same(words)
        same("INFO stats", key=hits)
