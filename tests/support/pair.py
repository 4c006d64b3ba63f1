"""Runs commands on the emulator and on a real server, and compares the replies byte by byte."""

from __future__ import annotations

import re
import select
import socket
from collections.abc import Callable, Sequence
from typing import Any

from pytest_podlink import servers
from redis_emulator import RedisEmulator
from redis_emulator.clients.session import Session
from redis_emulator.emulator import Emulator
from redis_emulator.resp.encode import encode
from redis_emulator.resp.types import CLOSED, NO_REPLY, PENDING
from tests.support.waiting import PATIENCE

Wire = tuple[Any, ...]
"""A reply as it was received: its type byte, then its content."""


class Connection:
    """A client that returns replies with their type bytes."""

    def read(self) -> Wire:
        kind, rest = self._line()
        if kind in "+-":
            return kind, rest
        if kind in ":,#(_":
            return kind, rest
        length = int(rest)
        if kind in "$=!":
            return (kind, None) if length < 0 else (kind, self._exactly(length + 2)[:-2])
        if kind in "*~>":
            return (kind, None) if length < 0 else (kind, [self.read() for _ in range(length)])
        if kind == "%":
            return kind, [(self.read(), self.read()) for _ in range(length)]
        raise AssertionError(f"unknown type byte {kind!r}")

    def _line(self) -> tuple[str, bytes]:
        raise NotImplementedError

    def _exactly(self, count: int) -> bytes:
        raise NotImplementedError

    def send(self, argv: Sequence[bytes]) -> None:
        raise NotImplementedError

    def __call__(self, *args: Any) -> Wire:
        """Run one command: ``client("SET", "k", 1)``, or one string that is split at blanks."""
        self.send(arguments(args))
        return self.read()


class ServerConnection(Connection):
    """A raw socket to a real server."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._file = self._socket.makefile("rb")

    def send(self, argv: Sequence[bytes]) -> None:
        parts = [b"*%d\r\n" % len(argv)]
        parts += [b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in argv]
        self._socket.sendall(b"".join(parts))

    def _line(self) -> tuple[str, bytes]:
        line = self._file.readline()
        while line and not line.endswith(b"\r\n"):
            line += self._file.readline()
        if not line:
            raise ConnectionError("the server closed the connection")
        return chr(line[0]), line[1:-2]

    def _exactly(self, count: int) -> bytes:
        return self._file.read(count)

    def has_reply(self, seconds: float = 0.0) -> bool:
        """Return whether there is something to read, or something arrives within ``seconds``."""
        self._socket.setblocking(False)
        try:
            if self._file.peek(1):
                return True
            return bool(select.select([self._socket], [], [], seconds)[0])
        finally:
            self._socket.settimeout(20)

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class EmulatorConnection(Connection):
    """A session of an emulator whose replies are encoded and decoded as on a socket."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._buffer = bytearray()
        self.session = Session(emulator.engine, self._deliver)
        emulator.engine.connect(self.session)

    def send(self, argv: Sequence[bytes]) -> None:
        if self.session.closing:
            raise ConnectionError("the emulator closed the connection")
        reply = self._emulator.engine.execute(self.session, list(argv))
        if reply is not PENDING and reply is not NO_REPLY:
            self._deliver(reply)

    def _deliver(self, reply: object) -> None:
        if reply is CLOSED:
            return
        self._buffer += encode(reply, self.session.protocol)

    def _line(self) -> tuple[str, bytes]:
        if self.session.closing and not self._buffer:
            raise ConnectionError("the emulator closed the connection")
        end = self._buffer.find(b"\r\n")
        assert end >= 0, "no reply from the emulator"
        line = self._exactly(end + 2)
        return chr(line[0]), line[1:-2]

    def _exactly(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def has_reply(self) -> bool:
        """Return whether there is something to read."""
        return bool(self._buffer)

    def close(self) -> None:
        self._emulator.engine.disconnect(self.session)


def arguments(args: Sequence[Any]) -> list[bytes]:
    """Return ``("SET k v",)`` or ``("SET", "k", 1)`` as bytes."""
    if len(args) == 1 and isinstance(args[0], str):
        args = args[0].split()
    return [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]


class Pair:
    """An emulator and a real server that must behave alike.

    Attributes:
        emulated: the connection to the emulator.
        real: the connection to the server.
        protocol: the RESP version of both connections.
    """

    def __init__(self, server: servers.Server, protocol: int) -> None:
        flavour, _, version = server.name.partition("-")
        self.emulator = RedisEmulator(version=version, flavour=flavour)
        self.port = server.port
        self.protocol = protocol
        self._open: list[Any] = []
        self.emulated, self.real = self.connect()
        self.real("FLUSHALL")
        self.real("FUNCTION", "FLUSH")  # servers before 7.0 reply with an error

    def connect_raw(self) -> tuple[EmulatorConnection, ServerConnection]:
        """Open one more connection on each side without sending anything: it speaks RESP2."""
        pair = (EmulatorConnection(self.emulator), ServerConnection(self.port))
        self._open += pair
        return pair

    def connect(self) -> tuple[EmulatorConnection, ServerConnection]:
        """Open one more connection on each side, with the protocol of the pair."""
        pair = self.connect_raw()
        if self.protocol == 3:
            for connection in pair:
                connection("HELLO", "3")
        return pair

    def __call__(self, *args: Any, key: Callable[[Wire], Any] | None = None) -> Wire:
        """Run one command on both sides, compare the replies, and return the reply.

        Args:
            args: The command, as arguments or as one string.
            key: Applied to both replies before they are compared, for example `unordered`.
        """
        real, emulated = self.real(*args), self.emulated(*args)
        left, right = (real, emulated) if key is None else (key(real), key(emulated))
        assert right == left, f"{arguments(args)}: emulator {emulated!r}, server {real!r}"
        return real

    def close(self) -> None:
        for connection in self._open:
            connection.close()


def unordered(reply: Wire) -> Any:
    """Return a reply for comparison as a multiset."""
    return (reply[0], sorted(map(repr, reply[1]))) if isinstance(reply[1], list) else reply


def matches(pattern: bytes, reply: Wire) -> list[Any]:
    """Return the matches of a pattern in a reply, sorted, for comparison."""
    return sorted(re.findall(pattern, reply[1]))
