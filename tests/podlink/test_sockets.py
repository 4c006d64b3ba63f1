"""Sockets that keep to the deadline of the operation, and how they are opened."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from podlink import deadline
from podlink.sockets import TimedConnection, TimedSocket, TimedUnixConnection
from redis_emulator import RedisEmulator

OWN = 7.0
"""The timeout of the socket itself."""


class Raw:
    """A socket that notes the timeouts it is given, and those it is used under."""

    def __init__(self, timeout: float | None = OWN) -> None:
        self.timeout = timeout
        self.given: list[float | None] = []
        self.used: list[tuple[str, tuple[Any, ...], float | None]] = []

    def gettimeout(self) -> float | None:
        return self.timeout

    def settimeout(self, seconds: float | None) -> None:
        self.timeout = seconds
        self.given.append(seconds)

    def recv(self, *args: Any) -> bytes:
        self.used.append(("recv", args, self.timeout))
        return b"data"

    def recv_into(self, *args: Any) -> int:
        self.used.append(("recv_into", args, self.timeout))
        return 4

    def sendall(self, *args: Any) -> None:
        self.used.append(("sendall", args, self.timeout))

    def fileno(self) -> int:
        return 33


Use = Callable[[TimedSocket], Any]
USES: dict[str, tuple[Use, Any, tuple[Any, ...]]] = {
    "recv": (lambda sock: sock.recv(4, 0), b"data", (4, 0)),
    "recv_into": (lambda sock: sock.recv_into("buffer", 4), 4, ("buffer", 4)),
    "sendall": (lambda sock: sock.sendall(b"data"), None, (b"data",)),
}


@pytest.mark.parametrize("name", USES)
def test_a_deadline_shortens_a_wait_and_the_timeout_comes_back(name: str) -> None:
    use, result, args = USES[name]
    raw = Raw()
    sock = TimedSocket(raw)
    assert use(sock) == result
    assert raw.given == [], "without a deadline nothing is set"
    assert deadline.limited(5.0, use, sock) == result
    (shortened,) = raw.given
    assert shortened is not None
    assert 0 < shortened <= 5.0
    assert sock.gettimeout() == OWN
    for _ in range(2):
        assert use(sock) == result
    assert raw.given == [shortened, OWN], "set again once"
    assert deadline.limited(60.0, use, sock) == result
    assert raw.given[-1] == OWN, "the deadline is later"
    assert [(called, given) for called, given, _ in raw.used] == [(name, args)] * 5


@pytest.mark.parametrize("name", USES)
def test_nothing_is_done_after_the_deadline(name: str) -> None:
    """As a socket's own timeout, because something may have been sent before."""
    raw = Raw()
    with pytest.raises(TimeoutError, match="the time of the operation is up") as caught:
        deadline.limited(0.0, USES[name][0], TimedSocket(raw))
    assert type(caught.value) is TimeoutError
    assert raw.used == []


def test_a_socket_that_does_not_wait_is_left_alone() -> None:
    raw = Raw(0.0)
    assert deadline.limited(5.0, TimedSocket(raw).recv, 1) == b"data"
    assert raw.given == []


def test_without_a_timeout_of_its_own_a_wait_ends_with_the_deadline() -> None:
    raw = Raw(None)
    sock = TimedSocket(raw)
    deadline.limited(5.0, sock.recv, 1)
    (shortened,) = raw.given
    assert shortened is not None
    assert 0 < shortened <= 5.0
    sock.recv(1)
    assert raw.given == [shortened, None]


def test_a_timeout_that_is_set_counts_from_then_on() -> None:
    raw = Raw()
    sock = TimedSocket(raw)
    deadline.limited(5.0, sock.recv, 1)
    sock.settimeout(3.0)
    assert (sock.gettimeout(), raw.timeout) == (3.0, 3.0)
    before = len(raw.given)
    sock.recv(1)
    assert len(raw.given) == before, "it is set already"


def test_everything_else_is_the_sockets() -> None:
    assert TimedSocket(Raw()).fileno() == 33


@pytest.fixture
def port() -> Iterator[int]:
    with RedisEmulator().serve(port=0) as server:
        yield int(server.port or 0)


def test_options_of_a_connection(port: int) -> None:
    idle = getattr(socket, "TCP_KEEPIDLE", None)
    options = {} if idle is None else {idle: 77}
    for keepalive in (True, False):
        connection = TimedConnection(
            host="127.0.0.1", port=port, socket_timeout=OWN, socket_connect_timeout=9.0,
            socket_keepalive=keepalive, socket_keepalive_options=options,
        )  # fmt: skip
        connection.connect()
        sock = connection._sock
        assert sock.gettimeout() == OWN
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is keepalive
        if keepalive and idle is not None:
            assert sock.getsockopt(socket.IPPROTO_TCP, idle) == 77
        connection.disconnect()


def test_a_name_without_addresses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: [])
    connection = TimedConnection(host="redis.invalid", port=1)
    with pytest.raises(OSError, match=r"look-up of redis\.invalid returned no address"):
        connection._connect()


def test_sockets_that_do_not_connect_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []
    original = socket.socket

    def note(*args: Any, **options: Any) -> socket.socket:
        made.append(original(*args, **options))
        return made[-1]

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr("podlink.sockets.socket.socket", note)
        with pytest.raises(ConnectionRefusedError):
            TimedConnection(host="127.0.0.1", port=closed.getsockname()[1])._connect()
        with pytest.raises(FileNotFoundError):
            TimedUnixConnection(path="/nowhere/socket")._connect()
    assert [sock.fileno() for sock in made] == [-1, -1]
    assert [sock.family for sock in made] == [socket.AF_INET, socket.AF_UNIX]
