"""DEBUG subcommands, compared with real servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from pytest_podlink import servers
from redis_emulator import ManualClock, RedisEmulator
from tests.support.pair import Pair
from tests.support.waiting import let_pass

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
NEWER = ("redis-8.2", "redis-7.0", "valkey-9.1")

_running: dict[str, servers.Server] = {}


@pytest.fixture
def same(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """An emulator and a real server that allows DEBUG."""
    name, protocol = request.param
    if name not in _running:
        allowed = () if name == "redis-6.2" else ("--enable-debug-command", "local")
        _running[name] = servers.start(name, extra_args=allowed)
    pair = Pair(_running[name], protocol)
    yield pair
    pair.close()


@pytest.fixture(scope="module", autouse=True)
def _stopped() -> Iterator[None]:
    yield
    while _running:
        _running.popitem()[1].stop()


SUBCOMMANDS = """
AOF-FLUSH-SLEEP|AOF-FLUSH-SLEEP 0|CHANGE-REPL-ID|CHANGE-REPL-ID x|CLIENT-EVICTION|CLIENT-EVICTION x
CLIENT-ENFORCE-REPLY-LIST|CLIENT-ENFORCE-REPLY-LIST 0|CLOSE-CLUSTER-LINK-ON-PACKET-DROP 0
CLUSTERLINK KILL all x|CONFIG-REWRITE-FORCE-ALL|DICT-RESIZING|DICT-RESIZING 1|DIGEST|DIGEST x
DIGEST-VALUE|DIGEST-VALUE no|DISABLE-CLUSTER-RANDOM-PING 0|DISABLE-CLUSTER-RECONNECTION 0
DROP-CLUSTER-PACKET-FILTER -1|ERROR|ERROR text|ERROR a b|FOO|HELP|HELP x|HTSTATS|HTSTATS 99
HTSTATS x|HTSTATS-KEY|HTSTATS-KEY no|HTSTATS-KEY str|INTERNAL_SECRET|KEYSIZES-HIST-ASSERT 0|LEAK
LISTPACK|LISTPACK no|LISTPACK str|LISTPACK lst|LISTPACK hsh|LOG|LOG text|LOG a b|OBJECT|OBJECT no
PAUSE-CRON|PAUSE-CRON 0|POPULATE|POPULATE x|POPULATE -1|POPULATE 0|POPULATE 1 a x|POPULATE 1 a 5 6
PROTOCOL|PROTOCOL foo|QUICKLIST|QUICKLIST no|QUICKLIST str|QUICKLIST lst|QUICKLIST lst 1
QUICKLIST-PACKED-THRESHOLD|QUICKLIST-PACKED-THRESHOLD 100|QUICKLIST-PACKED-THRESHOLD 100b
QUICKLIST-PACKED-THRESHOLD 5gb|QUICKLIST-PACKED-THRESHOLD x|QUICKLIST-PACKED-THRESHOLD 0
MALLCTL x|MALLCTL-STR x|REPL-PAUSE|REPL-PAUSE clear|REPL-PAUSE after-fork|REPL-PAUSE x
RELOAD|RELOAD FOO|RELOAD MERGE|REPLICATE|REPLICATE replica x|REPLYBUFFER|REPLYBUFFER foo 1
REPLYBUFFER PEAK-RESET-TIME 100|REPLYBUFFER PEAK-RESET-TIME never|REPLYBUFFER peak-reset-time reset
REPLYBUFFER resizing 1|SCRIPT|SCRIPT LIST|SCRIPT FOO
SCRIPT da39a3ee5e6b4b0d3255bfef95601890afd80709|SDSLEN|SDSLEN no|SDSLEN lst|SET-ACTIVE-EXPIRE
SET-ACTIVE-EXPIRE 0|SET-ACTIVE-EXPIRE 1|SET-DISABLE-DENY-SCRIPTS|SET-DISABLE-DENY-SCRIPTS 0
SET-SKIP-CHECKSUM-VALIDATION|SET-SKIP-CHECKSUM-VALIDATION 0|SLEEP|STRUCTSIZE|STRUCTSIZE x
ZIPLIST no|ZIPLIST str|ZIPLIST hsh
"""


@pytest.mark.servers(*ALL)
def test_replies_of_debug_subcommands(same: Pair) -> None:
    same("SET str hello")
    same("RPUSH lst a b")
    same("HSET hsh f v")
    for words in SUBCOMMANDS.replace("\n", "|").strip("|").split("|"):
        same(f"DEBUG {words}")


@pytest.mark.servers(*ALL)
def test_debug_protocol(same: Pair) -> None:
    kinds = "string integer double bignum null array set map verbatim true false"
    for kind in kinds.split():
        same("DEBUG", "PROTOCOL", kind)


@pytest.mark.servers(*ALL)
def test_debug_htstats_of_an_empty_server(same: Pair) -> None:
    same("DEBUG HTSTATS 0")
    same("DEBUG HTSTATS 1 full")


@pytest.mark.servers(*ALL)
def test_debug_digest(same: Pair) -> None:
    same("SET str hello")
    same("SET number 12 EX 1000")
    same("RPUSH lst a b c")
    same("SADD ints 3 1 2")
    same("SADD members a b")
    same("ZADD zset 1.5 a inf b 3 c 0.1 d")
    same("HSET hsh f v g w")
    same("XADD stream 1-1 a b c d")
    same("XADD stream 1-2 a b")
    for key in ("str", "number", "lst", "ints", "members", "zset", "hsh", "stream", "no"):
        same("DEBUG", "DIGEST-VALUE", key, "no")
    same("DEBUG DIGEST")
    same("SELECT 3")
    same("SET other 1")
    same("DEBUG DIGEST")
    same("DEBUG RELOAD")
    same("DEBUG DIGEST")


@pytest.mark.servers(*ALL)
def test_debug_reload_converts_encodings(same: Pair) -> None:
    limits = {"set-max-intset-entries": 512, "hash-max-ziplist-entries": 128}
    limits |= {"zset-max-ziplist-value": 64, "list-max-ziplist-size": -2}
    for parameter in limits:
        same("CONFIG", "SET", parameter, "4")
    same("SET number 1")
    same("APPEND number 2")
    same("SET text a")
    same("APPEND text b")
    same("SADD grown 1 2 3 4 5")
    same("SREM grown 1 2")
    same("HSET hsh a 1 b 2 c 3 d 4 e 5")
    same("HDEL hsh a b")
    same("ZADD ranks 1 a 2 abcde")
    same("ZREM ranks abcde")
    same("RPUSH lst 1 2 3 4 5 6 7 8 9")
    same("LREM lst 0 5")
    same("LTRIM lst 3 5")
    keys = ("number", "text", "grown", "hsh", "ranks", "lst")
    for key in keys:
        same("OBJECT", "ENCODING", key)
    same("DEBUG RELOAD")
    for key in keys:
        same("OBJECT", "ENCODING", key)
    for parameter, value in limits.items():
        same("CONFIG", "SET", parameter, str(value))
    same("SADD many 1 2 3")
    same("CONFIG SET set-max-intset-entries 2")
    same("DEBUG RELOAD")
    same("OBJECT ENCODING many")
    same("CONFIG SET set-max-intset-entries 512")
    same("DEBUG RELOAD")
    same("OBJECT ENCODING many")


@pytest.mark.servers("redis-8.2", "valkey-9.1")
def test_debug_quicklist_packed_threshold(same: Pair) -> None:
    same("DEBUG QUICKLIST-PACKED-THRESHOLD 5b")
    same("CONFIG SET list-max-listpack-size 3")
    same("RPUSH lst a b long-one c d e longer-one")
    same("DUMP lst")
    same("LSET lst 1 another-long-one")
    same("LINSERT lst AFTER c long-too")
    same("LSET lst 2 f")
    same("DUMP lst")
    same("LTRIM lst 1 1")
    same("OBJECT ENCODING lst")
    same("SORT lst BY nosort STORE sorted")
    same("DEBUG QUICKLIST-PACKED-THRESHOLD 0")
    same("LSET lst 0 not-so-long-now")
    same("DUMP lst")
    same("DEBUG RELOAD")
    same("OBJECT ENCODING lst")
    same("CONFIG SET list-max-listpack-size -2")


@pytest.mark.servers(*ALL)
def test_debug_reload_aborts_transactions_that_watch_keys(same: Pair) -> None:
    same("SET key 1")
    for key in ("key", "no"):
        same("WATCH", key)
        same("DEBUG RELOAD")
        same("MULTI")
        same("EXEC")


@pytest.mark.servers("redis-8.2", "valkey-9.1")
def test_digest_of_a_hash_with_an_expiring_field(same: Pair) -> None:
    same("HSET hsh f v g w")
    same("HEXPIRE hsh 1000 FIELDS 1 f")
    same("DEBUG DIGEST-VALUE hsh")


def test_debug_loadaof_without_append_only_file(same: Pair) -> None:
    same("DEBUG LOADAOF")


def test_debug_segfault_loses_the_data() -> None:
    emulator = RedisEmulator()
    client = emulator.client()
    client.set("a", 1)
    emulator.execute("DEBUG", "SEGFAULT")
    assert client.get("a") is None


@pytest.mark.parametrize("seconds", ["0", "0.01", "-1", "x"])
def test_debug_sleep_over_every_transport(seconds: str) -> None:
    with RedisEmulator() as emulator:
        clients = [emulator.client()]
        with emulator.serve() as server:
            clients.append(redis.Redis.from_url(server.url, single_connection_client=True))
            for client in clients:
                assert client.execute_command("DEBUG", "SLEEP", seconds) == b"OK"
                client.close()


@pytest.mark.servers(*NEWER)
def test_debug_protocol_push(same: Pair) -> None:
    same("DEBUG PROTOCOL push")
    if same.protocol == 3:
        assert same.real.read() == same.emulated.read()


@pytest.mark.servers(*ALL)
def test_latency_doctor(same: Pair) -> None:
    same("LATENCY DOCTOR")


@pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
def test_expired_keys_are_deleted_on_access_without_active_expire(same: Pair) -> None:
    same("DEBUG SET-ACTIVE-EXPIRE 0")
    try:
        for key in ("a", "b", "c", "d"):
            same("SET", key, "v", "PX", "1")
        same("SET kept v")
        same("WATCH kept")
        let_pass(2)
        same("DBSIZE")
        same("INFO keyspace", key=lambda reply: b"keys=5,expires=4" in reply[1])
        same("KEYS *")
        same("DBSIZE")
        same("TTL a")
        same("DBSIZE")
        same("EVAL", "return redis.call('get', 'b')", "0")
        same("DBSIZE")
        same("SET c v KEEPTTL")
        same("TTL c")
        same("SCAN 0 COUNT 100", key=lambda reply: sorted(map(repr, reply[1][1][1])))
        same("DBSIZE")
        for command in ("MULTI", "PING", "EXEC", "SET e v PX 20", "WATCH e", "MULTI", "PING"):
            same(command)
        let_pass(22)
        same("EXEC")
    finally:
        same("DEBUG SET-ACTIVE-EXPIRE 1")


@pytest.mark.servers(*ALL)
def test_debug_sleep_with_invalid_times(same: Pair) -> None:
    for text in ("nan", "NAN(1)", "inf", "-inf", "infinity", "-1", "1e300", "9.3e12", "text", ""):
        same("DEBUG", "SLEEP", text)
    for raw in (b" 1e-5", b"1e-5x", b"1e-5\0z", b"0x.0001p0x", b"-1e-5", b"0.0000_1", b"+.00001e"):
        same("DEBUG", "SLEEP", raw)


@pytest.mark.parametrize(
    ("text", "ms"), [("1.5x", 1500), (" 0x1.8", 1500), ("1e2_", 100_000), ("1e1e1", 10_000)]
)
def test_debug_sleep_parses_the_leading_number(text: str, ms: int) -> None:
    clock = ManualClock()
    emulator = RedisEmulator(clock=clock)
    before = clock.ms()
    assert emulator.client().execute_command("DEBUG", "SLEEP", text) == b"OK"
    assert clock.ms() - before == ms
