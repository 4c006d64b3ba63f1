"""Server commands, compared with real servers: modules, replication, persistence, logs, INFO."""

from __future__ import annotations

import re
from functools import partial

import pytest

from redis_emulator import RedisEmulator
from tests.support.pair import Connection, Pair, Wire, arguments, matches
from tests.support.waiting import until

ALL = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")


@pytest.mark.servers("redis-7.0", "redis-6.2", "valkey-9.1")
def test_module_list(same: Pair) -> None:
    same("MODULE LIST")
    same("MODULE LIST x")


@pytest.mark.servers(*ALL)
def test_module_load_is_an_error(same: Pair) -> None:
    for words in (
        *("", "FOO", "LOAD", "LOAD /no.so", "LOAD /no.so a b", "UNLOAD", "UNLOAD a", "UNLOAD a b"),
        *("LOADEX", "LOADEX /no.so", "LOADEX /no.so CONFIG a", "LOADEX /no.so ARGS x", "HELP"),
    ):
        same(f"MODULE {words}")


@pytest.mark.servers(*ALL)
def test_replconf_options(same: Pair) -> None:
    for option, value in (
        *(("listening-port", "1"), ("listening-port", "x"), ("LISTENING-PORT", "99999999999")),
        *(("ip-address", "x"), ("capa", "eof"), ("foo", "bar"), ("rdb-only", "1")),
        *(("rdb-only", "2"), ("rdb-only", "x"), ("rdb-channel", "1"), ("rdb-channel", "2")),
        *(("rdb-filter-only", "functions"), ("rdb-filter-only", "functions  FUNCTIONS")),
        *(("rdb-filter-only", ""), ("rdb-filter-only", '"a'), ("rdb-filter-only", "foo")),
        *(("main-ch-client-id", "5"), ("main-ch-client-id", "x"), ("set-rdb-client-id", "5")),
        *(("set-rdb-client-id", "x"), ("set-cluster-node-id", "x"), ("version", "8.1.0")),
        *(("version", "8.1"), ("version", "300.1.0"), ("version", "x")),
    ):
        client = same.connect_raw()
        answers = [connection("REPLCONF", option, value) for connection in client]
        assert answers[0] == answers[1], (option, value)
    same("REPLCONF")
    same("REPLCONF a")
    same("REPLCONF capa eof ip-address")
    same("REPLCONF capa eof foo bar")


@pytest.mark.servers(*ALL)
def test_replconf_ack_and_getack_have_no_reply(same: Pair) -> None:
    for connection in (same.emulated, same.real):
        connection.send([b"REPLCONF", b"ACK", b"0"])
        connection.send([b"REPLCONF", b"GETACK", b"*"])
    same("PING")


@pytest.mark.servers(*ALL)
def test_argument_errors_of_sync_and_psync(same: Pair) -> None:
    same("SYNC x")
    same("PSYNC a")
    same("PSYNC a 1 FAILOVER")


@pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
def test_invalid_offset_of_psync(same: Pair) -> None:
    same("PSYNC ? x")


def test_psync_in_the_process_is_an_error() -> None:
    emulator = RedisEmulator()
    emulator.execute("REPLCONF", "listening-port", "6380")
    for words in (("SYNC",), ("PSYNC", "?", "-1")):
        with pytest.raises(Exception, match="no replication stream"):
            emulator.execute(*words)


@pytest.mark.servers(*ALL)
def test_arguments_of_replicaof_and_failover(same: Pair) -> None:
    for words in (
        *("REPLICAOF", "REPLICAOF NO", "REPLICAOF NO ONE", "SLAVEOF no one", "REPLICAOF NO TWO"),
        *("REPLICAOF h x", "FAILOVER", "FAILOVER ABORT", "FAILOVER FORCE", "FAILOVER TO h 1"),
        *("FAILOVER TO h x", "FAILOVER TO h 1 FORCE", "FAILOVER TIMEOUT 0", "FAILOVER TIMEOUT x"),
        *("FAILOVER TO h 1 FORCE TIMEOUT 10", "FAILOVER TIMEOUT 10", "FAILOVER FORCE FORCE"),
        *("FAILOVER ABORT x", "FAILOVER TO h 1 TO h 2", "FAILOVER FOO", "FAILOVER TO h"),
    ):
        same(words)


@pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
def test_replicaof_with_invalid_ports(same: Pair) -> None:
    for port in ("99999", "-1", "", " 1"):
        same("REPLICAOF", "h", port)


@pytest.mark.servers(*ALL)
def test_argument_errors_of_persistence_and_shutdown(same: Pair) -> None:
    for words in (
        *("LASTSAVE x", "SAVE x", "BGSAVE FOO", "BGSAVE SCHEDULE FOO", "BGREWRITEAOF x"),
        *("BGSAVE CANCEL", "BGSAVE CANCEL SCHEDULE", "SHUTDOWN FOO", "SHUTDOWN SAVE NOSAVE"),
        *("SHUTDOWN ABORT", "SHUTDOWN ABORT NOW", "SHUTDOWN SAVE NOSAVE NOW FORCE"),
        *(
            "SHUTDOWN FORCE ABORT",
            "SHUTDOWN NOW FOO",
            "SHUTDOWN SAFE FOO",
            "ROLE x",
            "SHUTDOWN SAFE ABORT",
            "SHUTDOWN FAILOVER ABORT",
            "SHUTDOWN SAFE SAVE NOSAVE",
        ),
    ):
        same(words)


@pytest.mark.servers(*ALL)
def test_lolwut(same: Pair) -> None:
    for words in (
        *("VERSION x", "VERSION 5 x", "VERSION 5 1 x", "VERSION 5 1 1 x", "VERSION 6 x"),
        *("VERSION 6 1 x", "VERSION 0", "VERSION -1", "VERSION 7"),
    ):
        same(f"LOLWUT {words}")
    for words in ("VERSION 5 1 1 1", "VERSION 6 1 1", "VERSION 5", "VERSION 6"):
        same(f"LOLWUT {words}", key=_version_line)


def _version_line(reply: tuple[str, bytes]) -> list[bytes]:
    return re.findall(rb"(?:Redis|Valkey) ver\. ?[0-9.]+\n", reply[1])


@pytest.mark.servers("valkey-9.1")
def test_lolwut_of_valkey(same: Pair) -> None:
    for words in ("VERSION", "x", "1 x", "10", "10 10 1", "10 10 x 1", "10 10 1 1 1"):
        same(f"LOLWUT {words}")
    same("LOLWUT 10 10 1 1", key=_version_line)


@pytest.mark.servers("valkey-9.1")
def test_commandlog(same: Pair) -> None:
    kinds = ("slow", "large-request", "LARGE-REPLY")
    for kind in (*kinds, "foo"):
        same("COMMANDLOG", "RESET", kind)
        for count in ("-1", "10", "-2", "x"):
            same("COMMANDLOG", "GET", count, kind)
    same("COMMANDLOG LEN")
    same("COMMANDLOG GET 10")
    same("CONFIG SET commandlog-request-larger-than 100")
    same("CONFIG SET commandlog-reply-larger-than 60")
    same("CONFIG SET commandlog-large-request-max-len 2")
    try:
        for length in (50, 66, 67, 68, 69, 100):
            same("SET", "key", "x" * length)
            same("GET", "key")
        same("AUTH", "x" * 200)
        for kind in kinds[1:]:
            same("COMMANDLOG", "LEN", kind)
            same("COMMANDLOG", "GET", "-1", kind, key=_without_addresses)
    finally:
        same("CONFIG SET commandlog-request-larger-than 1048576")
        same("CONFIG SET commandlog-reply-larger-than 1048576")
        same("CONFIG SET commandlog-large-request-max-len 128")
        for kind in kinds:
            same("COMMANDLOG", "RESET", kind)


def _without_addresses(reply: Wire) -> object:
    """Sizes and commands of entries, without the sizes of COMMANDLOG GET.

    Those depend on the number of digits of the entry ids.
    """
    entries = [entry[1][2:4] for entry in reply[1]]
    return [argv if argv[1][0] == ("$", b"COMMANDLOG") else (size, argv) for size, argv in entries]


@pytest.mark.servers("valkey-9.1")
def test_client_capa_and_import_source(same: Pair) -> None:
    same("CLIENT CAPA")
    same("CLIENT LIST ID 0", key=lambda reply: b"capa=r" in reply[1])
    same("CLIENT CAPA foo redirect")
    same("CLIENT INFO", key=lambda reply: b"capa=r" in reply[1])
    for word in ("on", "off", "foo"):
        same("CLIENT", "IMPORT-SOURCE", word)
    same("CONFIG SET import-mode yes")
    for word in ("ON", "off", "foo"):
        same("CLIENT", "IMPORT-SOURCE", word)
        same("CLIENT INFO", key=lambda reply: b"flags=I" in reply[1])
    same("CONFIG SET import-mode no")


def _field(name: str, *clients: Connection) -> tuple[str, ...]:
    """A field of INFO in the replies to each client."""
    found = []
    for client in clients:
        lines = client("INFO")[1].decode().splitlines()
        found.append("".join(line for line in lines if line.startswith(f"{name}:")))
    return tuple(found)


@pytest.mark.servers("redis-8.2", "redis-7.0")
def test_lazyfreed_objects(same: Pair) -> None:
    # Wait until the server has freed the objects of earlier tests.
    until(lambda: b"lazyfree_pending_objects:0\r" in same.real("INFO memory")[1])
    same("CONFIG RESETSTAT")
    observers = same.connect()
    for command in (
        "SET s x",
        "UNLINK s",
        f"SADD s {' '.join(map(str, range(600)))}",
        "UNLINK s s",
        "HSET h a b",
        "UNLINK h",
        "SET a b",
        "SADD c 1 2",
        "FLUSHALL ASYNC",
        "SET a b",
        "FLUSHDB SYNC",
        "SET a b",
        "MULTI",
        "FLUSHALL",
        "EXEC",
    ):
        same(command)
        until(lambda: len(set(_field("lazyfreed_objects", *observers))) == 1, command)


@pytest.mark.servers("redis-8.2")
def test_info_keysizes(same: Pair) -> None:
    same("SELECT 3")
    for command in (
        "SET a 1",
        "SET b 22",
        "SETRANGE c 5000 x",
        "APPEND d 12345678",
        "RPUSH l 1 2 3 4 5",
        "HSET h a b",
        "SADD s 1 2",
        "ZADD z 1 a",
        "XADD x 1-1 a b",
        f"RPUSH big {'x ' * 1000}",
        "DEL b",
        "INFO keysizes",
    ):
        same(command)
    same("SET", "e", "")
    same("INFO keysizes")
    same("FLUSHALL")
    same("INFO keysizes")


@pytest.mark.servers(*ALL)
def test_error_codes_of_scripts_in_errorstats_are_limited(same: Pair) -> None:
    same("CONFIG RESETSTAT")
    for number in range(135):
        same("EVAL", f"return redis.error_reply('E{number} x')", 0)
    same("SELECT x")
    same("EVAL", "return redis.error_reply('E1 x')", 0)
    same("INFO errorstats")
    assert len(set(_field("total_error_replies", same.emulated, same.real))) == 1
    same("CONFIG RESETSTAT")
    same("SELECT x")
    same("INFO errorstats")


@pytest.mark.servers(*ALL)
def test_slowlog_max_len_applies_at_the_next_entry(same: Pair) -> None:
    same("SLOWLOG RESET")
    same("CONFIG SET slowlog-log-slower-than 0")
    try:
        for longest in (10, 0, 2, 10, 0, 1):
            same("PING")
            same("CONFIG", "SET", "slowlog-max-len", longest)
            same("SLOWLOG LEN")
            same("PING")
        same("CONFIG SET slowlog-log-slower-than -1")
        same("SLOWLOG GET -1", key=lambda reply: [entry[1][3] for entry in reply[1]])
        same("CONFIG SET slowlog-max-len 0")
        same("SLOWLOG LEN")
    finally:
        same("CONFIG SET slowlog-log-slower-than 10000")
        same("CONFIG SET slowlog-max-len 128")


@pytest.mark.servers(*ALL)
def test_monitor_hides_passwords_and_shows_its_own_commands(same: Pair) -> None:
    seen = same.connect_raw()
    commands = (
        *("MONITOR", "PING", "SELECT 1", "EXEC", "MONITOR", "GET k", "AUTH secret"),
        *("MIGRATE 127.0.0.1 1 k 0 1 AUTH pass", "MIGRATE 127.0.0.1 1 k 0 1 AUTH2 user pass"),
        *("MIGRATE h 1 k 0 1 COPY AUTH2 u", "MIGRATE h 1 k 0 1 COPY REPLACE AUTH p KEYS AUTH a"),
        *("MULTI", "CLIENT ID", "DISCARD", "ECHO end", "RESET"),
    )
    lines: list[list[bytes]] = []
    for connection in seen:
        for command in commands:
            connection.send(arguments([command]))
        found: list[bytes] = []
        while not found or found[-1] != b"RESET":
            found.append(connection.read()[1])
        lines.append([re.sub(rb"^[0-9.]+ \[(\d) .*?\]", rb"<\1>", line) for line in found])
    assert lines[0] == lines[1]


@pytest.mark.servers(*ALL)
def test_rejected_commands_in_errorstats_and_commandstats(same: Pair) -> None:
    same("CONFIG RESETSTAT")
    for command in (
        *("NOSUCH", "GET", "CONFIG NOSUCH", "CONFIG GET", "MULTI", "SET", "EXEC", "EXEC"),
        *("EVAL|return redis.pcall('nosuch')|0", "EVAL|return redis.call('nosuch')|0"),
        *("EVAL|return redis.pcall('get')|0", "EVAL|return redis.pcall('watch', 'a')|0"),
    ):
        same(*(command.split("|") if "|" in command else command.split()))
    newer = same.emulator.engine.server.version.compatible >= (7, 0)
    if newer:
        same("EVAL_RO", "return redis.pcall('set', 'a', 'b')", "0")
        same("EVAL", "return redis.pcall('config', 'get')", "0")
    for section, shown in (
        ("errorstats", rb"errorstat_.*"),
        ("stats", rb"total_error_replies:\d+"),
        ("commandstats", rb"cmdstat_(get|set|watch|info|exec|eval):(calls=\d+).*?,(rej.*)"),
    ):
        if section == "commandstats" and not newer:
            continue
        same("INFO", section, key=partial(matches, shown))


def test_shutdown_safe() -> None:
    emulator = RedisEmulator(flavour="valkey", version="9.1")
    emulator.execute("SET", "k", "v")
    emulator.execute("SHUTDOWN", "SAFE")
    assert emulator.execute("GET", "k") is None
