"""A server that answers some commands late, so that a test sees who reads their replies."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Iterator
from typing import Any


class LateServer(socketserver.ThreadingTCPServer):
    """Holds the replies to scripts back until a GET comes on any connection, and sends them first.

    So a client that sends the GET on the connection of a script that it gave up reads the reply of
    the script. A GET gets ``7``, a script ``[1, 5]`` as set-if-absent replies, all else ``OK``.

    Attributes:
        arrived: set when a script has come.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.arrived = threading.Event()
        self._held: list[Any] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it listens; it speaks RESP2 only."""
        return f"redis://127.0.0.1:{self.server_address[1]}?protocol=2"

    def answer(self, command: bytes, client: Any) -> None:
        """Reply to a command of a connection, or later."""
        with self._lock:
            if command in (b"EVALSHA", b"EVAL"):
                self._held.append(client)
                self.arrived.set()
            elif command == b"GET":
                for each in self._held:
                    with contextlib.suppress(OSError):  # the client has closed it
                        each.sendall(b"*2\r\n:1\r\n:5\r\n")
                self._held.clear()
                client.sendall(b"$1\r\n7\r\n")
            else:
                client.sendall(b"+OK\r\n")


class _Handler(socketserver.StreamRequestHandler):
    server: LateServer

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while line := self.rfile.readline():
                parts = [self._part() for _ in range(int(line[1:]))]
                self.server.answer(parts[0], self.request)

    def _part(self) -> bytes:
        return self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2]


@contextlib.contextmanager
def late_server() -> Iterator[LateServer]:
    """A running `LateServer`."""
    with LateServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.005,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
