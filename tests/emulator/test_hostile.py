"""Hostile clients: the server stays up, limits its memory and serves other clients."""

from __future__ import annotations

import contextlib
import random
import socket
import tracemalloc
from collections.abc import Iterator

import pytest
import redis

from redis_emulator import RedisEmulator
from redis_emulator.transports import tcp
from redis_emulator.transports.tcp import TcpServer
from tests.support.transports import Wire, wire
from tests.support.waiting import until


@pytest.fixture
def server() -> Iterator[TcpServer]:
    with RedisEmulator() as emulator, emulator.serve() as server:
        yield server


@pytest.fixture(autouse=True)
def others_are_served(server: TcpServer) -> Iterator[None]:
    """A client that is connected during the whole test still gets a reply at its end."""
    with wire(server.port or 0) as client:
        yield
        assert client.ask(b"ECHO fine\r\n") == b"$4\r\nfine\r\n"
        assert server.running


def attack(server: TcpServer, data: bytes) -> Wire:
    connection = Wire(server.port or 0)
    with contextlib.suppress(ConnectionError):
        connection.send(data)
    return connection


def frame(*argv: bytes) -> bytes:
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in argv)


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes(server: TcpServer, seed: int) -> None:
    source = random.Random(seed)
    pieces = (b"*", b"$", b"\r\n", b"-1", b"2", b"GET", b"\0", b"'", b'"', b":", b"~3\r\n", b"\xff")
    for _ in range(40):
        size = source.choice((1, 10, 200, 5000))
        noise = source.choice((source.randbytes(size), b"".join(source.choices(pieces, k=size))))
        attack(server, noise).close()


@pytest.mark.parametrize("seed", range(4))
def test_damaged_requests(server: TcpServer, seed: int) -> None:
    source = random.Random(seed)
    words = (b"SET", b"GET", b"MULTI", b"EXEC", b"SUBSCRIBE", b"HELLO", b"3", b"k", b"0", b"")
    for _ in range(60):
        request = bytearray()
        for _ in range(source.randint(1, 5)):
            request += frame(*source.choices(words, k=source.randint(1, 4)))
        for _ in range(source.randint(1, 4)):
            place = source.randrange(len(request))
            request[place : place + source.randint(0, 2)] = source.randbytes(source.randint(0, 2))
        attack(server, bytes(request[: source.randint(1, len(request) or 1)])).close()


@pytest.mark.parametrize(
    "request_",
    [
        b"*2147483647\r\n",
        b"*2147483647\r\n$536870912\r\n",
        b"*1\r\n$536870912\r\nabc",
        b"*99999999999999999999999999\r\n",
        b"*1\r\n$99999999999999999999\r\n",
        b"*1\r\n" * 50_000,
        b"*-1\r\n" * 50_000,
        b"(" * 60_000 + b"\r\n",
        b'"' * 60_001 + b"\r\n",
        b"\r\n" * 100_000,
        frame(*[b""] * 100_000),
        frame(*[b"x"] * 100_000),
        frame(b"MULTI") * 10_000,
        frame(b"EVAL", b"return " + b"{" * 150 + b"}" * 150, b"0"),
        frame(b"EVAL", b"local t = {} for i = 1, 5000 do t = {t} end return t", b"0"),
        frame(b"HELLO", b"3") * 1000,
        frame(b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"no", b"ID", b"0") * 100,
    ],
    ids=lambda request: request[:24].decode("latin-1").encode("unicode_escape").decode(),
)
def test_huge_and_deeply_nested_requests(server: TcpServer, request_: bytes) -> None:
    connections = [attack(server, request_) for _ in range(3)]
    with wire(server.port or 0) as client:
        client.ask(b"PING\r\n")
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("seed", range(6))
def test_broken_framing_causes_a_protocol_error_or_no_reply(server: TcpServer, seed: int) -> None:
    source = random.Random(seed)
    pieces = (
        *(b"*1\r\n$4\r\nPINGxx", b"*1\r\n$4\r\nPING", b"*2\r\n$4\r\nECHO\r\n*1\r\n$3\r\nabc\r\n"),
        *(b"*999999999\r\n", b"%99999999\r\n", b"~999999999\r\n", b"*1\r\n", b"$3\r\nabc\r\n"),
        *(b"(" + b"9" * 5000 + b"\r\n", b",x\r\n", b"-ERR\r\n", b"\xff", b"*0\r\n", b"$0\r\n\r\n"),
    )
    tracemalloc.start()
    try:
        for _ in range(40):
            whole = frame(b"PING") * source.choice((0, 1, 30))
            connection = attack(server, whole + b"".join(source.choices(pieces, k=4)))
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_WR)
            replies = connection.read_all()
            assert b"the emulator failed" not in replies
            connection.close()
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def clients_possible(wanted: int) -> int:
    """The number of clients, at most ``wanted``, that the limit of open files allows.

    A multiple of four.
    """
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2 * wanted + 200:
        soft = 2 * wanted + 200 if hard == resource.RLIM_INFINITY else min(hard, 2 * wanted + 200)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return int(min(wanted, (soft - 200) // 2)) // 4 * 4


def test_a_thousand_idle_connections(server: TcpServer) -> None:
    count = clients_possible(1000)
    beginnings = (b"*3\r\n$3\r\nSE", b"", b"SUBSCRIBE a\r\n", b"BLPOP l 0\r\n")
    idle = [socket.create_connection(("127.0.0.1", server.port or 0)) for _ in range(count)]
    for place, connection in enumerate(idle):
        connection.sendall(beginnings[place % 4])
    with wire(server.port or 0) as client:
        until(lambda: len(server.clients) >= count + 2)
        for number in range(200):
            assert client.ask(b"INCR n\r\n") == b":%d\r\n" % (number + 1)
        assert client.ask(b"PUBLISH a hello\r\n") == b":%d\r\n" % (count // 4)
        for connection in idle:
            connection.close()
        until(lambda: len(server.clients) <= 2)
        assert client.ask(b"PUBLISH a hello\r\n") == b":0\r\n"


def test_clients_over_the_output_buffer_limit_are_disconnected(server: TcpServer) -> None:
    with wire(server.port or 0) as client, wire(server.port or 0) as slow:
        assert client.ask(frame(b"SET", b"big", bytes(1 << 20))) == b"+OK\r\n"
        limit = b"normal 8000000 0 0 pubsub 8000000 2000000 1"
        client.ask(frame(b"CONFIG", b"SET", b"client-output-buffer-limit", limit))
        slow.send(b"GET big\r\n" * 40)
        until(lambda: server.unsent >= 50_000_000 or len(server.clients) <= 2)
        assert server.unsent < 50_000_000
        with wire(server.port or 0) as listener:
            listener.ask(b"SUBSCRIBE news\r\n", b":1\r\n")
            for _ in range(40):
                client.ask(frame(b"PUBLISH", b"news", bytes(1 << 19)))
            until(lambda: len(server.clients) <= 2)
        assert client.ask(b"PUBLISH news x\r\n") == b":0\r\n"
    assert server.unsent == 0


def test_total_size_of_unread_replies_is_limited(
    server: TcpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "UNSENT_MAX", 30_000_000)
    with wire(server.port or 0) as client:
        assert client.ask(frame(b"SET", b"big", bytes(1 << 20))) == b"+OK\r\n"
        slow = [attack(server, b"GET big\r\n" * 12) for _ in range(8)]
        until(lambda: len(server.clients) < 10)
        assert server.unsent <= 45_000_000
        for connection in slow:
            connection.close()


def test_output_buffer_limit_of_unauthenticated_clients(server: TcpServer) -> None:
    with wire(server.port or 0) as client:
        assert client.ask(b"CONFIG SET requirepass x\r\n") == b"+OK\r\n"
        stranger = Wire(server.port or 0)
        with contextlib.suppress(ConnectionError):
            for _ in range(2000):
                stranger.send(b"PING\r\n" * 500)
        until(lambda: len(server.clients) == 2)
        stranger.close()


def test_slow_reader_gets_all_replies(server: TcpServer) -> None:
    with wire(server.port or 0) as connection:
        assert connection.ask(frame(b"SET", b"big", b"x" * 100_000)) == b"+OK\r\n"
        connection.send(b"GET big\r\n" * 100)
        until(lambda: server.unsent > 0)
        reply = b"$100000\r\n" + b"x" * 100_000 + b"\r\n"
        for _ in range(100):
            assert connection.read(len(reply)) == reply


def test_internal_error_of_a_command_is_an_error_reply(
    server: TcpServer, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> object:
        raise KeyError("lost")

    server.engine.server.commands[b"PING"].handler = broken
    with wire(server.port or 0) as client:
        reply = client.ask(b"PING\r\nECHO still here\r\nECHO here\r\n", b"here\r\n")
        assert reply.startswith(b"-ERR the emulator failed: KeyError('lost')\r\n-ERR wrong number")
    assert "KeyError" in caplog.text


def test_clients_that_reset_the_connection(server: TcpServer) -> None:
    for request in (b"BLPOP l 0\r\n", b"MULTI\r\nSET k v\r\n", b"SUBSCRIBE a\r\n", b"MONITOR\r\n"):
        for _ in range(20):
            connection = attack(server, request)
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
    with wire(server.port or 0) as client:
        until(lambda: len(server.clients) == 2)
        assert client.ask(b"RPUSH l x\r\n") == b":1\r\n"
        assert client.ask(b"EXISTS k\r\n") == b":0\r\n"
        assert not server.with_pending_input


@pytest.mark.parametrize("command", ["SRANDMEMBER", "HRANDFIELD", "ZRANDMEMBER"])
def test_counts_of_random_members_out_of_range(command: str) -> None:
    client = RedisEmulator().client()
    client.sadd("SRANDMEMBER", "a")
    client.hset("HRANDFIELD", "a", "v")
    client.zadd("ZRANDMEMBER", {"a": 1})
    assert client.execute_command(command, command, -3) == [b"a"] * 3
    for count in (-(1 << 40), -(1 << 62), 1 - (1 << 63)):
        with pytest.raises(redis.ResponseError, match="value is out of range"):
            client.execute_command(command, command, count)
