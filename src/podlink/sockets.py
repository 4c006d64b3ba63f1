"""Sockets and redis-py connection classes that respect a deadline (`podlink.deadline`).

A DNS look-up, connecting to each address, a TLS handshake, and each read and write take at most the
time until the deadline of the calling operation. ``socket_connect_timeout`` limits look-up,
connecting and handshake together. Pools and clients do not belong here.
"""

from __future__ import annotations

import socket
from typing import Any

from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.sentinel import SentinelManagedConnection

from podlink import deadline
from podlink.lookup import look_up


class TimedSocket:
    """A socket whose reads and writes end at the deadline of the calling operation."""

    __slots__ = ("_cut", "_socket", "_timeout")

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._timeout: float | None = socket.gettimeout()
        self._cut = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def settimeout(self, seconds: float | None) -> None:
        """Set the timeout that applies without a deadline."""
        self._timeout = seconds
        self._cut = False
        self._socket.settimeout(seconds)

    def gettimeout(self) -> float | None:
        """Return the timeout that applies without a deadline."""
        return self._timeout

    def recv(self, *args: Any) -> bytes:
        """See `socket.socket.recv`."""
        self._set_time()
        received: bytes = self._socket.recv(*args)
        return received

    def recv_into(self, *args: Any) -> int:
        """See `socket.socket.recv_into`."""
        self._set_time()
        return int(self._socket.recv_into(*args))

    def sendall(self, *args: Any) -> None:
        """See `socket.socket.sendall`."""
        self._set_time()
        self._socket.sendall(*args)

    def _set_time(self) -> None:
        if deadline.left() is None:
            if self._cut:
                self.settimeout(self._timeout)
        elif self._timeout != 0:
            try:
                self._socket.settimeout(deadline.limit_wait(self._timeout))
            except deadline.TimeUp as late:
                # Not TimeUp: a part may have been sent before.
                raise TimeoutError(str(late)) from None
            self._cut = True


class Timed:
    """Overrides how a connection class of redis-py connects."""

    socket_connect_timeout: float | None
    socket_timeout: float | None

    def _connect(self) -> TimedSocket:
        sock = deadline.limited(self.socket_connect_timeout, self._open)
        sock.settimeout(self.socket_timeout)
        return TimedSocket(sock)

    def _open(self) -> socket.socket:
        raise NotImplementedError


class _TimedTCP(Timed):
    host: str
    port: int
    socket_type: int
    socket_keepalive: bool
    socket_keepalive_options: dict[int, int | bytes] | None

    def _open(self) -> socket.socket:
        failure: OSError = OSError(f"the DNS look-up of {self.host} returned no address")
        for family, kind, protocol, _, address in look_up(self.host, self.port, self.socket_type):
            try:
                return self._open_address(socket.socket(family, kind, protocol), address)
            except OSError as error:
                failure = error
        raise failure

    def _open_address(self, sock: socket.socket, address: Any) -> socket.socket:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.socket_keepalive:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                for option, value in (self.socket_keepalive_options or {}).items():
                    sock.setsockopt(socket.IPPROTO_TCP, option, value)
            sock.settimeout(deadline.limit_wait(None))
            sock.connect(address)
        except BaseException:
            sock.close()
            raise
        return sock


class _TimedTLS(_TimedTCP):
    _opened: socket.socket

    def _open(self) -> socket.socket:
        self._opened = sock = super()._open()
        try:
            sock.settimeout(deadline.limit_wait(None))
            # It wraps the socket that `_OpenSocket._connect` returns.
            wrapped: socket.socket = SSLConnection._connect(self)
        except BaseException:
            sock.close()
            raise
        finally:
            del self._opened
        return wrapped


class _OpenSocket(Connection):  # type: ignore[misc]
    """The base class from which `SSLConnection._connect` takes the TCP socket."""

    def _connect(self) -> socket.socket:
        sock: socket.socket = self._opened
        return sock


class TimedConnection(_TimedTCP, Connection):  # type: ignore[misc]
    """A connection over TCP."""


class TimedSSLConnection(_TimedTLS, SSLConnection, _OpenSocket):  # type: ignore[misc]
    """A connection over TLS."""


class TimedUnixConnection(Timed, UnixDomainSocketConnection):  # type: ignore[misc]
    """A connection over a unix socket."""

    def _open(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(deadline.limit_wait(None))
            sock.connect(self.path)
        except BaseException:
            sock.close()
            raise
        return sock


class TimedSentinelConnection(_TimedTCP, SentinelManagedConnection):
    """A connection over TCP to the master that Sentinel reports."""


class TimedSentinelSSLConnection(_TimedTLS, SentinelManagedConnection, SSLConnection, _OpenSocket):  # type: ignore[misc]
    """A connection over TLS to the master that Sentinel reports."""
