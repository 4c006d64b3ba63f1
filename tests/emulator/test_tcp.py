"""The TCP server beside real servers, byte for byte, and what is its own: limits, stopping."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pytest_podlink import servers
from redis_emulator import ManualClock, RedisEmulator
from redis_emulator.transports.tcp import TcpServer
from tests.support.pair import ServerConnection
from tests.support.transports import Wire, wire
from tests.support.waiting import PATIENCE, is_busy, until

SERVERS = ("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
HERE = list(filter(servers.is_expected, SERVERS))
MARK = b"ECHO end-of-test\r\n"
MARK_REPLY = b"$11\r\nend-of-test\r\n"

REQUESTS = [
    b"PING\r\n",
    b"PING\n",
    b"\r\n\r\nPING\r\n",
    b"   \r\nPING\r\r\n",
    b"ECHO ''\r\n",
    b'ECHO "a\\x41\\n\\"b"\r\n',
    b'ECHO "\\x4g\\xzz\\b\\a\\t\\r\\q\\\\"\r\n',
    b"ECHO 'a\\'b\\n'\r\n",
    b'ECHO ab"cd"\r\n',
    b'ECHO "a"b\r\n',
    b'ECHO "a\r\n',
    b"ECHO 'a\r\n",
    b'ECHO "a\\"\r\n',
    b"ECHO 'a\\\\'\r\n",
    b'ECHO "a\r\nb"\r\n',
    b"ECHO a\x0bb\r\n",
    b"ECHO \x0c a\r\n",
    b"ECHO a\xffb\r\n",
    b'""\r\n',
    b"*abc\r\n",
    b"*\r\n",
    b"* 1\r\n",
    b"*01\r\n",
    b"*+1\r\n",
    b"*-0\r\n",
    b"*-1\r\nPING\r\n",
    b"*0\r\nPING\r\n",
    b"*-9223372036854775808\r\nPING\r\n",
    b"*-9223372036854775809\r\nPING\r\n",
    b"*2147483648\r\n",
    b"*99999999999999999999\r\n",
    b"*1\rX$4\r\nPING\r\n",
    b"*1\r\nxyz\r\n",
    b"*1\r\n\r\n",
    b"*1\r\n\xff\r\n",
    b"*1\r\n:4\r\n",
    b"*1\r\n*1\r\n$4\r\nPING\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$abc\r\n",
    b"*1\r\n$04\r\nPING\r\n",
    b"*1\r\n$536870913\r\n",
    b"*1\r\n$4\r\nPINGxx",
    b"*1\r\n$4\r\nPINGPING\r\n",
    b"*1\r\n$0\r\n\r\n",
    b"*2\r\n$4\r\nECHO\r\n$6\r\n\r\n\0\r\n\xff\r\n",
    b"$4\r\nPING\r\n",
    b"+PING\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST / HTTP/1.1\r\n\r\n",
    b"PING\r\nPOST / HTTP/1.1\r\n\r\n",
    b"PING\r\nCLIENT REPLY SKIP\r\nQUIT\r\n",
    b"QUIT\r\nPING\r\n",
    b"MULTI\r\nPING\r\n*1\r\nx\r\n",
    b"SUBSCRIBE a\r\n*1\r\nx\r\n",
    b"PING\r\n*1\r\nx\r\nPING\r\n",
]
"""What a client sends first. A command that is echoed follows; the end may come before it."""

TOO_LONG = [b"*1\r\n$" + b"1" * 65_536, b"*" + b"1" * 65_536, b"a" * 65_537]

SILENT = [
    b"*2147483647\r\n",
    b"*1\r\n$536870912\r\n",
    b"*1\n$4\nPING\n",
    b"*1\r\n\n",
    b"ECHO a\0b\r\n",
    b"CLIENT REPLY OFF\r\n*1\r\nx\r\n",
    b"CLIENT REPLY SKIP\r\n*1\r\nx\r\n",
    b"CLIENT REPLY OFF\r\nQUIT\r\n",
    b"BLPOP nolist 0\r\n*1\r\nx\r\n",
    b"BLPOP nolist 0\r\nPING\r\n",
]
"""What is answered by nothing, while the connection stays."""


@contextlib.contextmanager
def both(name: str) -> Iterator[tuple[int, int]]:
    """Ports of an emulator and of the real server that it is like."""
    flavour, _, version = name.partition("-")
    emulator = RedisEmulator(version=version, flavour=flavour)
    allowed = () if name == "redis-6.2" else ("--enable-debug-command", "local")
    with servers.start(name, extra_args=allowed) as real, emulator.serve() as server:
        assert server.port
        yield server.port, real.port


@pytest.fixture
def server() -> Iterator[TcpServer]:
    with RedisEmulator() as emulator, emulator.serve() as server:
        yield server


def answer(port: int, request: bytes) -> bytes:
    """What comes back for a request and a command behind it, sent in one piece: a server that
    hangs up has then read everything, and its last reply is not lost.
    """
    with wire(port) as connection:
        connection.send(request + MARK)
        found = b""
        while not found.endswith(MARK_REPLY):
            data = connection.socket.recv(65536)
            if not data:
                return found + b"<end>"
            found += data
        return found


@pytest.mark.parametrize("name", HERE)
@pytest.mark.needs_servers
def test_requests_are_parsed_as_by_real_servers(name: str) -> None:
    with both(name) as (emulated, real):
        for request in REQUESTS:
            assert answer(emulated, request) == answer(real, request), request[:80]
        for request in TOO_LONG:
            refusals = []
            for port in (emulated, real):
                with wire(port) as connection:
                    with contextlib.suppress(ConnectionError):
                        connection.send(request)
                    refusals.append(connection.read_all())
            assert refusals[0] == refusals[1], request[:10]
        silent = SILENT if name != "redis-6.2" else SILENT[1:]
        quiet = [(request, Wire(port)) for request in silent for port in (emulated, real)]
        for request, connection in quiet:
            connection.send(request)
        for port in (emulated, real):
            with wire(port) as other:  # after two answers the server has read what came before
                other.ask(b"PING\r\n")
                other.ask(b"PING\r\n")
        for request, connection in quiet:
            connection.socket.setblocking(False)
            got = b"nothing"
            with contextlib.suppress(BlockingIOError):
                got = connection.socket.recv(100)
            assert got == b"nothing", request
            connection.close()


@pytest.mark.parametrize("name", HERE)
@pytest.mark.needs_servers
def test_limits_of_unauthenticated_clients(name: str) -> None:
    with both(name) as (emulated, real):
        for port in (emulated, real):
            with wire(port) as connection:
                assert connection.ask(b"CONFIG SET requirepass x\r\n") == b"+OK\r\n"
        for request in (
            b"*2\r\n$16385\r\n",
            b"*11\r\n",
            b"*10\r\n*2\r\n",
            b"AUTH x\r\nPING\r\n",
            b"PING a b c d e f g h i j k l\r\n",
            b"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n*1\r\n$4\r\nPING\r\n",
        ):
            if name == "redis-6.2" and request[:2] in (b"*1", b"*2") and b"AUTH" not in request:
                continue
            heard = []
            for port in (emulated, real):
                with wire(port) as connection:
                    connection.send(request + b"QUIT\r\n")
                    heard.append(connection.read_all())
            assert heard[0] == heard[1], request


@pytest.mark.parametrize("name", HERE)
@pytest.mark.needs_servers
def test_other_clients_get_busy_errors_during_a_long_script(name: str) -> None:
    heard: list[list[Any]] = []
    with both(name) as ports:
        for port in ports:
            busy, other, third = (ServerConnection(port) for _ in range(3))
            said = [other("CONFIG SET lua-time-limit 5"), third("MULTI"), third("SET k v")]
            busy.send([b"EVAL", b"while true do end", b"0"])
            until(partial(is_busy, other))
            for command in ("PING", "HELLO 2", "MULTI", "GET k", "EXEC", "DBSIZE", "WATCH k"):
                said.append(other(command)[:1] if command == "HELLO 2" else other(command))
            said += [third("EXEC"), other("SCRIPT KILL"), busy.read(), other("PING"), third("PING")]
            busy.send([b"EVAL", b"redis.call('set', 'k', 1) while true do end", b"0"])
            until(partial(is_busy, other))
            said.append(other("SCRIPT KILL"))
            with pytest.raises(ConnectionError):
                other("SHUTDOWN NOSAVE")
            heard.append(said)
            for connection in (busy, other, third):
                connection.close()
    assert heard[0] == heard[1]


@pytest.mark.parametrize("name", HERE)
@pytest.mark.needs_servers
def test_debug_sleep_in_slowlog_and_latency(name: str) -> None:
    heard = []
    with both(name) as ports:
        for port in ports:
            client = ServerConnection(port)
            client("CONFIG SET latency-monitor-threshold 1")
            for command in ("DEBUG SLEEP 0.02", "PING", "MULTI", "DEBUG SLEEP 0.02", "EXEC"):
                client(command)
            latest = client("LATENCY LATEST")[1]
            heard.append(
                (
                    [entry[1][3] for entry in client("SLOWLOG GET")[1]],
                    [(entry[1][0], int(entry[1][2][1]) >= 20) for entry in latest],
                )
            )
            client.close()
    assert heard[0] == heard[1]


@pytest.mark.parametrize("name", [name for name in HERE if name in ("redis-8.2", "valkey-9.1")])
@pytest.mark.needs_servers
def test_client_list_reports_buffer_sizes(name: str) -> None:
    fields = {"qbuf", "argv-mem", "multi-mem", "obl", "oll", "omem", "events"}
    if name == "redis-8.2":  # Valkey keeps a query buffer for some idle clients
        fields.add("qbuf-free")
    heard = []
    with both(name) as ports:
        for port in ports:
            observer = ServerConnection(port)
            observer("SET", "big", b"v" * 10_000_000)
            clients = []
            for request in (
                b"*3\r\n$3\r\nset\r\n$1\r\na\r\n$1000000\r\n" + b"x" * 1000,
                b"*3\r\n$3\r\nset\r\n$1\r\na\r\n$100\r\n" + b"x" * 10,
                b"*3\r\n$3\r\nset\r\n$200\r\n" + b"k" * 200 + b"\r\n",
                b"set a b",
                b"MULTI\r\nSET a bbbb\r\nGET a\r\n",
                b"BLPOP key 0\r\n",
            ):
                client = ServerConnection(port)
                client("CLIENT SETNAME about")
                client._socket.sendall(request)
                clients.append(client)
            for _ in range(2):  # when it has been answered twice, everybody's bytes are read
                observer("PING")
            lines = observer("CLIENT LIST")[1].decode().splitlines()
            heard.append(
                [
                    {word for word in line.split() if word.partition("=")[0] in fields}
                    for line in lines
                    if "name=about" in line
                ]
            )
            heard[-1].sort(key=sorted)
            for client in (*clients, observer):
                client.close()
    assert heard[0] == heard[1]


@pytest.mark.parametrize("name", HERE)
@pytest.mark.needs_servers
def test_clients_dropped_for_their_buffers_are_counted(name: str) -> None:
    heard = []
    with both(name) as ports:
        for port in ports:
            observer = ServerConnection(port)
            observer("SET", "big", b"v" * 5_000_000)
            observer("CONFIG SET client-query-buffer-limit 1mb")
            observer("CONFIG", "SET", "client-output-buffer-limit", "normal 100000 0 0")
            for request in (
                b"*2\r\n$3\r\nget\r\n$2000000\r\n" + b"x" * 1_500_000,
                b"GET big\r\n" * 20,
            ):
                with wire(port) as client:
                    client.socket.sendall(b"PING\r\n")
                    client.socket.recv(1 << 16)
                    with contextlib.suppress(OSError):
                        client.socket.sendall(request)
                    # It reads no reply: a server may send all of them before it looks at the limit.
                    until(lambda: observer("CLIENT LIST")[1].count(b"\n") == 1)  # noqa: B023
            stats = observer("INFO stats")[1].decode().splitlines()
            heard.append([line for line in stats if "buffer_limit_disconnections" in line])
            observer.close()
    assert heard[0] == heard[1]


def _query_buffer(observer: ServerConnection, name: str) -> int:
    """Bytes that a server keeps of the unfinished request of a client; 0 if it is gone."""
    for line in observer("CLIENT LIST")[1].decode().splitlines():
        about = dict(word.partition("=")[::2] for word in line.split())
        if about["name"] == name:
            return int(about["qbuf"])
    return 0


def _keeps_more_than(size: int, observer: ServerConnection, name: str) -> bool:
    return _query_buffer(observer, name) > size


def _is_evicted(observer: ServerConnection, name: str) -> bool:
    return _query_buffer(observer, name) == 0


@pytest.mark.parametrize("name", [name for name in HERE if name != "redis-6.2"])
@pytest.mark.needs_servers
def test_maxmemory_clients_evicts_clients(name: str) -> None:
    heard = []
    with both(name) as ports:
        for port in ports:
            observer = ServerConnection(port)
            clients = []
            for about, size in (("little", 1000), ("much", 4_000_000), ("kept", 6_000_000)):
                client = ServerConnection(port)
                client(f"CLIENT SETNAME {about}")
                if about == "kept":
                    client("CLIENT NO-EVICT ON")
                client._socket.sendall(b"*2\r\n$3\r\nget\r\n$%d\r\n" % size + b"x" * (size - 9))
                clients.append(client)
            for about, size in (("much", 3_000_000), ("kept", 5_000_000)):
                until(partial(_keeps_more_than, size, observer, about))
            observer("CONFIG SET maxmemory-clients 8mb")
            until(partial(_is_evicted, observer, "much"))
            names = []
            for line in observer("CLIENT LIST")[1].decode().splitlines():
                names += [word for word in line.split() if word.startswith("name=")]
            stats = observer("INFO stats")[1].decode().splitlines()
            evicted = [line for line in stats if line.startswith("evicted_clients")]
            heard.append((sorted(names), evicted))
            for client in (*clients, observer):
                client.close()
    assert heard[0] == heard[1]
    assert "name=much" not in heard[0][0]


def test_a_request_in_pieces(server: TcpServer) -> None:
    request = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$7\r\na\r\n\0b\xff!\r\n"
    request += b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n"
    with wire(server.port) as connection:
        for place in range(len(request)):
            connection.send(request[place : place + 1])
        wanted = b"+OK\r\n$7\r\na\r\n\0b\xff!\r\n+PONG\r\n"
        assert connection.read(len(wanted)) == wanted


def test_big_values_and_long_pipelines(server: TcpServer) -> None:
    client = redis.Redis.from_url(server.url)
    big = os.urandom(1 << 20) * 24
    client.set("big", big)
    assert client.get("big") == big
    pipeline = client.pipeline(transaction=False)
    for number in range(20_000):
        pipeline.set(f"key:{number}", number)
    for number in range(20_000):
        pipeline.get(f"key:{number}")
    assert pipeline.execute()[20_000:] == [b"%d" % number for number in range(20_000)]
    assert len(client.mget([f"key:{number}" for number in range(20_000)])) == 20_000
    client.close()


def test_commands_pipelined_behind_a_blocking_command_run_after_it(server: TcpServer) -> None:
    with wire(server.port) as connection, wire(server.port) as other:
        connection.send(b"BLPOP list 0\r\nSET k 1\r\nGET k\r\n")
        until(lambda: b"blocked_clients:1\r\n" in other.ask(b"INFO clients\r\n", b"\r\n\r\n"))
        assert other.ask(b"EXISTS k\r\n") == b":0\r\n"
        connection.send(b"GET k\r\nPING\r\n")
        assert other.ask(b"RPUSH list a\r\n") == b":1\r\n"
        wanted = b"*2\r\n$4\r\nlist\r\n$1\r\na\r\n+OK\r\n$1\r\n1\r\n$1\r\n1\r\n+PONG\r\n"
        assert connection.read(len(wanted)) == wanted


def test_timeouts_of_blocking_commands(server: TcpServer) -> None:
    with wire(server.port) as connection:
        started = time.monotonic()
        assert connection.ask(b"BLPOP list 0.1\r\n") == b"*-1\r\n"
        assert time.monotonic() - started > 0.09


def test_messages_published_by_other_threads_arrive(server: TcpServer) -> None:
    emulator_client = redis.Redis.from_url(server.url)
    pubsub = emulator_client.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("news")
    pubsub.get_message(timeout=PATIENCE)
    publish = server.engine.clients.pubsub.publish
    publishers = [
        threading.Thread(target=lambda: [publish(b"news", b"x") for _ in range(500)])
        for _ in range(4)
    ]
    for publisher in publishers:
        publisher.start()
    got = 0
    while got < 2000 and pubsub.get_message(timeout=PATIENCE):
        got += 1
    for publisher in publishers:
        publisher.join()
    assert got == 2000
    pubsub.close()
    emulator_client.close()


def test_maxclients(server: TcpServer) -> None:
    with wire(server.port) as first:
        assert first.ask(b"CONFIG SET maxclients 2\r\n") == b"+OK\r\n"
        with wire(server.port) as second:
            assert second.ask(b"PING\r\n") == b"+PONG\r\n"
            with wire(server.port) as third:
                assert third.read_all() == b"-ERR max number of clients reached\r\n"
        for _ in range(100):
            with wire(server.port) as fourth:
                if fourth.ask(b"PING\r\n") == b"+PONG\r\n":
                    return
        raise AssertionError("a place that became free is not given away")


def test_timeout_disconnects_idle_clients() -> None:
    clock = ManualClock()
    with RedisEmulator(clock=clock) as emulator, emulator.serve() as server:
        idle, busy, listener = (Wire(server.port) for _ in range(3))
        assert idle.ask(b"CONFIG SET timeout 10\r\n") == b"+OK\r\n"
        listener.ask(b"SUBSCRIBE a\r\n", b":1\r\n")
        assert busy.ask(b"PING\r\n") == b"+PONG\r\n"
        clock.advance(9)
        assert busy.ask(b"PING\r\n") == b"+PONG\r\n"
        clock.advance(2)
        assert idle.read_all() == b""
        assert busy.ask(b"PING\r\n") == b"+PONG\r\n"
        assert listener.ask(b"PING\r\n", b"pong\r\n$0\r\n\r\n").endswith(b"pong\r\n$0\r\n\r\n")
        for each in (idle, busy, listener):
            each.close()


def test_limits_can_be_set(server: TcpServer) -> None:
    with wire(server.port) as connection:
        assert connection.ask(b"CONFIG SET proto-max-bulk-len 1mb\r\n") == b"+OK\r\n"
        connection.send(b"*2\r\n$4\r\nECHO\r\n$1048577\r\n")
        assert connection.read_all() == b"-ERR Protocol error: invalid bulk length\r\n"
    with wire(server.port) as connection:
        assert connection.ask(b"CONFIG SET proto-max-bulk-len 512mb\r\n") == b"+OK\r\n"
        assert connection.ask(b"CONFIG SET client-query-buffer-limit 1mb\r\n") == b"+OK\r\n"
        with contextlib.suppress(ConnectionError):
            connection.send(b"*2\r\n$4\r\nECHO\r\n$4000000\r\n" + b"x" * 3_000_000)
        assert connection.read_all() == b""


def test_killed_clients_get_their_replies_first(server: TcpServer) -> None:
    with wire(server.port) as connection:
        number = connection.ask(b"CLIENT ID\r\n")[1:-2]
        connection.send(b"PING\r\nCLIENT KILL ID %b SKIPME no\r\nPING\r\n" % number)
        assert connection.read_all() == b"+PONG\r\n:1\r\n"


def test_shutdown_stops_the_server() -> None:
    emulator = RedisEmulator()
    server = emulator.serve()
    with wire(server.port) as connection, wire(server.port) as other:
        connection.send(b"PING\r\nSHUTDOWN NOSAVE\r\n")
        assert b"-" not in connection.read_all()
        assert other.read_all() == b""
    server.wait()
    with pytest.raises(ConnectionRefusedError):
        Wire(server.port, timeout=1)
    with emulator.serve(port=server.port) as again, wire(again.port) as connection:
        assert connection.ask(b"PING\r\n") == b"+PONG\r\n"
    emulator.close()


def test_stop_and_close(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    emulator = RedisEmulator()
    server = emulator.serve(unixsocket=str(path))
    client = redis.Redis(unix_socket_path=str(path), retry=Retry(NoBackoff(), 0))
    assert client.ping()
    with pytest.raises(OSError, match=r"in use|Address"):
        emulator.serve(port=server.port)
    emulator.close()
    assert not server.running
    assert not path.exists()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    client.close()
    with pytest.raises(ValueError, match="a port or a unixsocket"):
        emulator.serve(port=None)


def test_addresses(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with RedisEmulator() as emulator, emulator.serve(unixsocket=str(path)) as server:
        with wire(server.port) as connection:
            own = connection.socket.getsockname()
            text = connection.ask(b"CLIENT INFO\r\n")
            assert f" addr=127.0.0.1:{own[1]} laddr=127.0.0.1:{server.port} ".encode() in text
        with redis.Redis(unix_socket_path=str(path)) as client:
            assert client.client_info()["addr"] == f"{path}:0"


@pytest.mark.parametrize("size", [50_000, 80_000, 120_000])
@pytest.mark.parametrize("name", HERE)
@pytest.mark.needs_servers
def test_reply_over_the_size_limit_is_not_sent(name: str, size: int) -> None:
    with both(name) as ports:
        lengths = []
        for port in ports:
            with wire(port) as connection:
                connection.ask(b'CONFIG SET client-output-buffer-limit "normal 100000 0 0"\r\n')
                connection.ask(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%b\r\n" % (size, b"x" * size))
                connection.send(b"GET k\r\n")
                lengths.append(len(connection.read(size)))
        assert lengths[0] == lengths[1]
