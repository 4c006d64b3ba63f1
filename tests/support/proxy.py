"""A TCP proxy between a client and a server that can delay, hold back and break connections.

It forwards bytes unchanged. Two threads per connection copy.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time

from pytest_podlink.servers import unused_port

CHUNK = 65_536


class Proxy:
    """Listens on a free port and forwards to the port ``target``.

    Attributes:
        delay: seconds that every chunk of a reply is delayed.
        cut_after: the number of bytes of replies, over all connections, after which connections are
            closed; `None` for no limit.
    """

    def __init__(self, target: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        self.delay = 0.0
        self.cut_after: int | None = None
        self._tls = tls
        self._open = threading.Event()
        self._open.set()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._listener = _listen()
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The URL of the server through the proxy."""
        return f"redis://127.0.0.1:{self.port}/0"

    def freeze(self) -> None:
        """Forward nothing until `thaw`; connections stay open."""
        self._open.clear()

    def thaw(self) -> None:
        """Forward everything again."""
        self._open.set()

    def cut(self) -> None:
        """Close every connection."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for each in pair:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()

    def refuse(self) -> None:
        """Close every connection and accept none until `accept_again`."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept()
        self._listener.close()
        self.cut()

    def accept_again(self) -> None:
        """Listen on the same port again."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Close the proxy for good."""
        self._open.set()
        self.refuse()

    def _accept(self) -> None:
        listener = self._listener
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            client.close()
            return
        pair = (client, server)
        with self._lock:
            self._pairs.add(pair)
        back = threading.Thread(target=self._copy, args=(server, client, True), daemon=True)
        back.start()
        self._copy(client, server, False)
        back.join()
        with self._lock:
            self._pairs.discard(pair)
        for each in pair:
            each.close()

    def _copy(self, source: socket.socket, sink: socket.socket, replies: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                self._open.wait()
                if replies and self.delay:
                    time.sleep(self.delay)
                left = None
                if replies:
                    with self._lock:
                        if self.cut_after is not None:
                            data = data[: self.cut_after]
                            left = self.cut_after = self.cut_after - len(data)
                sink.sendall(data)
                if left == 0:
                    break
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            source.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _listen() -> socket.socket:
    """A listener on a port that no outgoing connection takes while the proxy refuses."""
    for _ in range(10):
        with contextlib.suppress(OSError):
            return socket.create_server(("127.0.0.1", unused_port()))
    raise OSError("no free port")
