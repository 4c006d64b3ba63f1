"""CLIENT TRACKING: invalidation messages and their order, compared with real servers."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis.cache import CacheConfig

from redis_emulator import ManualClock, RedisEmulator
from tests.support.pair import EmulatorConnection, Pair
from tests.support.turns import Play, everything

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
MODERN = ("redis-8.2", "redis-7.0", "valkey-9.1")
RECENT = ("redis-8.2", "valkey-9.1")


@pytest.fixture
def play(same: Pair) -> Play:
    """A script runner; ids of both sides are raised above the numbers that scripts use."""
    for connection in (same.emulated, same.real):
        connection("FLUSHALL")
    same.emulator.engine.clients.last_id = 1000
    return Play(same)


@pytest.mark.servers(*ALL)
def test_one_invalidation_message_after_a_read(play: Play) -> None:
    play(
        """
        a: CLIENT TRACKING on
        a: CLIENT TRACKINGINFO ;; CLIENT GETREDIR
        a: GET x
        b: SET x 2
        a:
        b: SET x 3
        a:
        a: MGET k1 k2 nosuch ;; LRANGE l 0 -1 ;; EXISTS e ;; GETDEL z ;; TYPE t
        b: MSET k1 1 k2 2
        a:
        b: RENAME k1 k3 ;; DEL k2 ;; LPUSH l 1 ;; SET e 1 ;; SET z 1 ;; SET t 1
        a:
        a: GET l
        b: LPUSH l 2
        a:
        a: SELECT 1 ;; GET y
        b: SET y 1
        a:
        a: SELECT 0 ;; GET m
        b: SET m 1 ;; MOVE m 2
        a:
        a: CLIENT TRACKING off ;; CLIENT TRACKINGINFO
        a: GET x
        b: SET x 4
        a:
        a: CLIENT TRACKING on ;; GET x ;; RESET ;; HELLO 3
        b: SET x 5
        a: CLIENT TRACKINGINFO
        """.replace("HELLO 3", "PING")
    )


@pytest.mark.servers(*MODERN)
def test_invalidation_messages_of_own_writes_follow_the_reply(play: Play) -> None:
    play(
        """
        a: CLIENT TRACKING on
        a: GET x ;; GET y ;; SET x 1 ;; PING
        a: MULTI ;; GET x ;; SET x 2 ;; SET x 3 ;; EXEC ;; PING
        a: GET x ;; FLUSHALL ASYNC ;; PING
        a: FLUSHALL ;; PING ;; FLUSHDB SYNC ;; PING ;; FLUSHDB ASYNC ;; PING
        a: MULTI ;; FLUSHALL ;; SET x 1 ;; EXEC ;; PING
        a: EVAL "redis.call('flushall') return 1" 0
        b: FLUSHDB
        a:
        a: GET w1 ;; BLPOP bl 0
        b: RPUSH bl 1 ;; SET w1 1
        a:
        a: SUBSCRIBE ch ;; PUBLISH ch hi ;; GET s
        b: SET s 1 ;; PUBLISH ch hi
        a:
        """
    )


CHANGES = {
    "SET x 5": (
        "APPEND x 1 | BITFIELD x SET u8 0 200 | BITOP NOT x o | COPY o x REPLACE | DECR x | "
        "DEL x | EXPIRE x 100 | PEXPIREAT x 9999999999999 | EXPIRE x -1 | GETDEL x | "
        "GETEX x EX 100 | GETEX x PERSIST | GETSET x b | INCRBYFLOAT x 1.5 | MSET x 1 c 2 | "
        "MOVE x 1 | RENAME x c | RENAME o x | SET x 1 | SET x 1 GET | SET x 1 XX | "
        "SETEX x 100 y | SETRANGE x 1 y | UNLINK x | SETBIT x 1 1 | "
        "EVAL \"redis.call('lpush','x1',1) redis.call('getdel','x') return 1\" 0"
    ),
    "RPUSH x a b c": (
        "LPUSH x a | RPUSHX x a | LPOP x | RPOP x 2 | LPOP x 5 | LINSERT x BEFORE a q | "
        "LSET x 0 q | LREM x 0 a | LTRIM x 1 1 | LMOVE x c LEFT LEFT | LMOVE ol x LEFT LEFT | "
        "LMOVE x x LEFT RIGHT | RPOPLPUSH x c | BLPOP x 0 | BLMOVE x c LEFT LEFT 0 | "
        "BRPOPLPUSH ol x 0 | SORT ol STORE x | SORT no STORE x"
    ),
    "HSET x f 1 g 2": (
        "HSET x f 2 | HMSET x f 2 | HSETNX x k 1 | HDEL x f | HDEL x f g | HINCRBY x f 1 | "
        "HINCRBYFLOAT x f 1.5"
    ),
    "SADD x a b": (
        "SADD x c | SREM x a | SREM x a b | SMOVE x os a | SMOVE os x k | "
        "SINTERSTORE x os os | SINTERSTORE x os no | SDIFFSTORE x no"
    ),
    "SADD x a": "SPOP x | SPOP x 1 | SPOP x 9",
    "ZADD x 1 a 2 b": (
        "ZADD x 5 q | ZADD x INCR 9 a | ZINCRBY x 1 a | ZREM x a | ZREM x a b | "
        "ZREMRANGEBYRANK x 0 0 | ZUNIONSTORE x 1 oz | ZUNIONSTORE x 1 no | ZRANGESTORE x oz 0 -1 | "
        "ZRANGESTORE x no 0 -1"
    ),
    "XADD x 1-1 f v": (
        "XADD x 9-1 f v | XDEL x 1-1 | XTRIM x MAXLEN 0 | XSETID x 9-9 | XGROUP CREATE x h 0 | "
        "XGROUP SETID x g 0 | XGROUP DESTROY x g | XGROUP CREATECONSUMER x g c | "
        "XGROUP DELCONSUMER x g c | XREADGROUP GROUP g c STREAMS x > | XAUTOCLAIM x g c 0 0"
    ),
    "GEOADD x 13 38 p": (
        "GEOADD x 1 2 q | GEOSEARCHSTORE x og FROMLONLAT 15 37 BYRADIUS 300 km | "
        "GEOSEARCHSTORE x no FROMLONLAT 15 37 BYRADIUS 300 km"
    ),
    "PFADD x a": "PFADD x q | PFMERGE x o2",
}
OTHERS = (
    "SET o 1 ;; RPUSH ol 1 2 ;; SADD os k l ;; ZADD oz 1 k ;; GEOADD og 13 38 p ;; PFADD o2 r ;; "
    "XGROUP CREATE x g 0"
)


@pytest.mark.servers(*ALL)
@pytest.mark.parametrize("made", CHANGES)
def test_place_of_invalidation_messages_of_own_writes(play: Play, made: str) -> None:
    """Differs between commands before Redis 7; changes of consumer groups send no message."""
    for command in CHANGES[made].split(" | "):
        play(
            f"""
            a: CLIENT TRACKING off
            b: FLUSHALL ;; {made} ;; {OTHERS}
            a: CLIENT TRACKING on ;; EXISTS x
            a: {command}
            a: DEL x ;; MULTI ;; {made} ;; EXISTS x ;; {command} ;; PING ;; EXEC
            """
        )


@pytest.mark.servers(*RECENT)
def test_blocking_command_invalidates_a_key_that_its_client_has_read(play: Play) -> None:
    play(
        """
        a: CLIENT TRACKING on
        a: LRANGE to 0 -1 ;; BLMOVE from to LEFT LEFT 0
        b: RPUSH from 1
        a:
        a: PING
        """
    )


@pytest.mark.servers("redis-6.2")
def test_invalidation_messages_precede_the_reply_on_redis_6(play: Play) -> None:
    play(
        """
        a: CLIENT TRACKING on
        a: GET x ;; SET x 1 ;; PING
        a: GET x ;; FLUSHALL ;; PING
        a: CLIENT TRACKING off
        a: CLIENT TRACKING on BCAST
        a: SET x 1 ;; MULTI ;; SET x 1 ;; EXEC
        """
    )


@pytest.mark.servers(*ALL)
def test_invalidation_messages_inside_the_reply_of_exec(play: Play) -> None:
    """The length of EXEC's array does not include them."""
    play(
        """
        a: CLIENT TRACKING on
        a: MULTI ;; GET x ;; SET x 1 ;; INCR x ;; EXEC ;; PING
        a: CLIENT TRACKING off
        a: SUBSCRIBE c
        a: MULTI ;; SET x 1 ;; PUBLISH c hello ;; SET x 2 ;; EXEC ;; PING
        b: MULTI ;; SUBSCRIBE c d ;; SET x 1 ;; PUBLISH d hello ;; UNSUBSCRIBE c d ;; EXEC ;; PING
        c2: MULTI ;; SUBSCRIBE c d ;; SET x 1 ;; UNSUBSCRIBE c d ;; EXEC ;; PING
        """
    )


@pytest.mark.servers(*ALL)
def test_reads_of_scripts_are_tracked_for_the_caller(same: Pair, play: Play) -> None:
    play(
        """
        a: CLIENT TRACKING on
        a: EVAL "redis.call('get','k1') return 1" 1 k1
        a: EVAL "return 1" 1 k2
        b: MSET k1 1 k2 2
        a:
        """
    )
    if same.emulator._version.compatible >= (7, 0):
        play(
            """
            a: EVAL_RO "return redis.call('get','k2')" 1 k3
            a: EVAL "redis.call('get','k5')" 1 k4
            b: MSET k1 1 k2 2 k3 3 k4 4 k5 5
            a:
            """
        )
    if same.emulator._version.compatible >= (7, 2):
        script = "redis.call('set','w',1) redis.call('get','w') redis.call('set','w',2) return 5"
        play(f'a: EVAL "{script}" 0')


@pytest.mark.servers(*ALL)
def test_noloop(play: Play) -> None:
    play(
        """
        a: CLIENT TRACKING on NOLOOP
        a: CLIENT TRACKINGINFO
        a: GET x ;; SET x 1 ;; PING
        b: SET x 2
        a:
        a: GET x
        b: SET x 3
        a:
        a: GET x ;; EVAL "return redis.call('del', KEYS[1])" 1 x ;; PING
        a: CLIENT TRACKING off
        a: CLIENT TRACKING on BCAST NOLOOP
        a: SET g 1 ;; PING
        b: MSET g 2 h 3
        a:
        a: EVAL "redis.call('set', KEYS[1], 'x') return 1" 1 g
        a: MULTI ;; SET g 1 ;; EXEC
        """
    )


@pytest.mark.servers(*ALL)
def test_optin_and_optout(play: Play) -> None:
    play(
        """
        a: CLIENT CACHING yes
        a: CLIENT TRACKING on OPTIN
        a: CLIENT CACHING no ;; CLIENT CACHING foo ;; CLIENT CACHING yes
        a: CLIENT TRACKINGINFO ;; CLIENT TRACKINGINFO ;; GET x ;; CLIENT TRACKINGINFO
        b: SET x 5
        a:
        a: GET x
        b: SET x 6
        a:
        a: CLIENT CACHING yes ;; CLIENT GETREDIR ;; GET x ;; CLIENT TRACKINGINFO
        b: SET x 7
        a:
        a: CLIENT CACHING yes ;; PING ;; GET x
        b: SET x 7
        a:
        a: CLIENT CACHING yes ;; MULTI ;; GET x ;; GET y ;; EXEC ;; CLIENT TRACKINGINFO
        b: MSET x 7 y 8
        a:
        a: MULTI ;; CLIENT CACHING yes ;; GET x ;; EXEC ;; GET y ;; CLIENT TRACKINGINFO
        b: MSET x 7 y 8
        a:
        a: CLIENT TRACKING on OPTOUT
        a: CLIENT TRACKING off ;; CLIENT TRACKING on OPTOUT NOLOOP
        a: GET x ;; CLIENT CACHING yes ;; CLIENT CACHING no ;; CLIENT TRACKINGINFO ;; GET y
        b: MSET x 7 y 8
        a: CLIENT TRACKINGINFO
        """
    )


@pytest.mark.servers(*ALL)
def test_bcast(play: Play) -> None:
    play(
        """
        a: CLIENT TRACKING on BCAST PREFIX u: PREFIX v:
        a: CLIENT TRACKING on BCAST PREFIX u:x
        a: CLIENT TRACKING on BCAST PREFIX u
        a: CLIENT TRACKING on BCAST PREFIX w PREFIX wx
        a: CLIENT TRACKING on BCAST PREFIX w
        a: CLIENT TRACKING on
        c: CLIENT TRACKING on BCAST
        a: CLIENT TRACKINGINFO
        b: MSET u:2 1 u:1 2 v:1 1 w2 1 q 2
        a:
        c:
        b: RENAME u:1 u:0
        a:
        c:
        a: SET u:7 1
        a: SET none 1
        a: MULTI ;; SET u:7 1 ;; SET v:2 2 ;; SET u:3 1 ;; EXEC
        b: MULTI ;; SET u:7 1 ;; SET v:2 2 ;; SET u:3 1 ;; EXEC
        a:
        b: DEL u:1 u:7 v:2
        a:
        a: CLIENT TRACKING on BCAST
        a: CLIENT TRACKINGINFO
        b: SET u:1 1
        a:
        b: FLUSHALL
        a:
        """
    )


@pytest.mark.servers(*ALL)
def test_redirection_to_a_subscriber(play: Play) -> None:
    play(
        """
        c2: SUBSCRIBE __redis__:invalidate
        a2: CLIENT TRACKING on REDIRECT {c2}
        a2: CLIENT GETREDIR ;; CLIENT TRACKINGINFO
        a2: GET x ;; SET x 1
        """
    )
    clients = play._clients["c2"]
    play(
        """
        c2:
        b: FLUSHALL
        c2:
        d2: CLIENT TRACKING on
        d2: GET x
        b: SET x 3
        d2:
        a2: GET x
        """
    )
    for connection in clients:
        connection("QUIT")
    wait_for_clients_to_leave(play, "c2")
    play(
        """
        b: SET x 4
        a2: CLIENT TRACKINGINFO ;; CLIENT GETREDIR ;; GET x
        """
    )


def wait_for_clients_to_leave(play: Play, name: str) -> None:
    """Wait until the real server has noticed that the client disconnected."""
    real = play._same.real
    while real("CLIENT", "KILL", "ID", play._ids[name][1])[1] != b"0":
        continue


@pytest.mark.servers(*RECENT)
def test_redirection(play: Play) -> None:
    play(
        """
        b: PING
        a: CLIENT TRACKING on REDIRECT {b}
        a: GET x ;; SET x 1 ;; PING
        b:
        a: GET x
        b: SET x 4 ;; PING
        b: CLIENT TRACKING on REDIRECT {a}
        b: GET y
        b: SET y 1 ;; PING
        a:
        b: CLIENT TRACKING off
        e: CLIENT TRACKING on
        a: CLIENT TRACKING on REDIRECT {e}
        a: GET x ;; GET y
        """
    )
    for connection in play._clients["e"]:
        connection("QUIT")
    wait_for_clients_to_leave(play, "e")
    play(
        """
        b: SET x 5
        a: CLIENT TRACKINGINFO ;; GET x
        b: SET x 5
        a: CLIENT TRACKING on ;; CLIENT TRACKINGINFO
        a: CLIENT TRACKING off
        a: CLIENT TRACKING on BCAST REDIRECT {b}
        a: SET q 1 ;; PING
        b: SET q 2 ;; PING
        a:
        """
    )


@pytest.mark.servers(*ALL)
def test_errors_of_client_tracking(same: Pair) -> None:
    number = same.connect()[0]("CLIENT", "ID")
    for words in (
        "CACHING yes",
        "TRACKING",
        "TRACKING foo",
        "TRACKING on FOO",
        "TRACKING off FOO",
        "TRACKING off BCAST",
        "TRACKING on OPTIN OPTOUT",
        "TRACKING on OPTIN BCAST",
        "TRACKING on PREFIX a",
        "TRACKING on PREFIX",
        "TRACKING on REDIRECT 99999",
        "TRACKING on REDIRECT x",
        "TRACKING on REDIRECT",
        "TRACKING on BCAST PREFIX a PREFIX a",
        "TRACKING on BCAST PREFIX ab PREFIX c PREFIX a",
        "CACHING",
        "TRACKINGINFO x",
        "TRACKING on OPTIN",
        "CACHING maybe",
        "CACHING no",
        "TRACKING on OPTOUT",
        "TRACKING on BCAST",
        "TRACKING on",
        "TRACKING on OPTOUT",
        "TRACKINGINFO",
    ):
        same(f"CLIENT {words}")
    assert number[0] == ":"


@pytest.mark.servers(*ALL)
def test_tracking_flags_and_statistics(same: Pair, play: Play) -> None:
    play(
        """
        a: CLIENT TRACKING on ;; MGET x y z
        c: CLIENT TRACKING on ;; GET x
        d: CLIENT TRACKING on BCAST PREFIX p PREFIX q
        """
    )
    for connection, side in ((same.emulated, 0), (same.real, 1)):
        info = connection("INFO")[1]
        for field in (
            b"tracking_clients:3",
            b"tracking_total_keys:3",
            b"tracking_total_items:4",
            b"tracking_total_prefixes:2",
        ):
            assert b"\r\n" + field + b"\r\n" in info, (side, field)
        for name, flags in (("a", b"t"), ("d", b"tB")):
            line = connection("CLIENT", "LIST", "ID", play._ids[name][side])[1]
            assert b"flags=" + flags + b" " in line
            assert b"redir=0" in line


def test_expiry_and_eviction_send_invalidation_messages() -> None:
    clock = ManualClock()
    emulator = RedisEmulator(clock=clock)
    heard: list[Any] = []
    session = EmulatorConnection(emulator)
    session("HELLO", 3)
    session("CLIENT TRACKING on")
    session("SET k v PX 100")
    session("GET k")
    clock.advance(0.2)
    heard += everything(session)
    assert heard == [(">", [("$", b"invalidate"), ("*", [("$", b"k")])])]
    session("SET e v")
    session("GET e")
    other = EmulatorConnection(emulator)
    other("CONFIG SET maxmemory-policy allkeys-lru")
    other("CONFIG SET maxmemory 1")
    assert everything(session) == [(">", [("$", b"invalidate"), ("*", [("$", b"e")])])]


def test_tracking_table_max_keys() -> None:
    emulator = RedisEmulator()
    session = EmulatorConnection(emulator)
    session("HELLO", 3)
    session("CONFIG SET tracking-table-max-keys 2")
    session("CLIENT TRACKING on")
    for key in "abc":
        session("GET", key)
    assert everything(session) == [(">", [("$", b"invalidate"), ("*", [("$", b"a")])])]


def transports() -> list[Any]:
    """The transports of a redis-py client with a client-side cache."""
    return [pytest.param(in_process, id="in-process"), pytest.param(over_tcp, id="tcp")]


@contextlib.contextmanager
def in_process(emulator: RedisEmulator) -> Any:
    yield emulator.client(protocol=3, cache_config=CacheConfig())


@contextlib.contextmanager
def over_tcp(emulator: RedisEmulator) -> Any:
    with emulator.serve() as server:
        yield redis.Redis.from_url(server.url, protocol=3, cache_config=CacheConfig())


@pytest.mark.parametrize("transport", transports())
def test_client_side_cache_of_redis_py(transport: Callable[[RedisEmulator], Any]) -> None:
    emulator = RedisEmulator()
    writer = emulator.client()
    writer.set("k", "1")
    with transport(emulator) as client:
        assert client.get("k") == b"1"
        assert client.get_cache().size == 1
        calls = emulator.engine.server.commands[b"get"].calls
        assert client.get("k") == b"1"
        assert emulator.engine.server.commands[b"get"].calls == calls
        writer.set("k", "2")
        assert eventually(lambda: client.get("k") == b"2")
        client.close()


def eventually(true: Callable[[], bool]) -> bool:
    """Poll until the condition is true; messages over sockets arrive with a delay."""
    waiting = socket.socket()
    try:
        for _ in range(200):
            if true():
                return True
            waiting.settimeout(0.005)
            with contextlib.suppress(OSError):
                waiting.recv(1)
        return False
    finally:
        waiting.close()
