"""The server for TCP and unix sockets, for clients in any language.

One thread serves all connections with a selector. When a socket is readable or writable it calls
the `TcpClient` of the connection, and it calls `Engine.tick` periodically. Memory is limited: a
client's input by ``client-query-buffer-limit``, its unread replies by
``client-output-buffer-limit``, and the unread replies of all clients together by `UNSENT_MAX`.
Beyond that the client with the largest output buffer is disconnected.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import threading
import time
from types import TracebackType
from typing import Any, Final

from redis_emulator.clients.description import client_size
from redis_emulator.clock import real_seconds
from redis_emulator.engine.dispatch import Engine
from redis_emulator.transports.tcp_client import TcpClient

UNSENT_MAX: Final = 1 << 30
"""Limit of the unread replies of all clients together, in bytes."""
_LAST_PORT: Final = 65535
_TICK_SECONDS: Final = 0.1
_TICK_SECONDS_WAITING: Final = 0.005
_STOP_SECONDS: Final = 1.0
"""Seconds for which a stopping server still sends pending replies."""
_BACKLOG: Final = 511
_ACCEPTS_PER_EVENT: Final = 200
_OUT_OF_RESOURCES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class TcpServer:
    """Serves an emulator until `stop` is called. A context manager.

    Args:
        engine: The emulator's engine.
        host: The address to listen on.
        port: The port; 0 for a free one, None for no TCP port.
        unixsocket: Path of a unix socket to listen on as well.

    Attributes:
        port: The port in use.
        clients: The connected clients.
        with_pending_input: Blocked clients that may have unprocessed input.
        unsent: Bytes of unread replies of all clients.
        selector: Waits for the sockets.

    Raises:
        OSError: The server cannot listen on the address.
        ValueError: The port is out of range, or neither a port nor a unix socket was given.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        host: str = "127.0.0.1",
        port: int | None = 0,
        unixsocket: str | None = None,
    ) -> None:
        if port is None and unixsocket is None:
            raise ValueError("nothing to listen on: pass a port or a unixsocket")
        if port is not None and not 0 <= port <= _LAST_PORT:
            raise ValueError(f"port must be from 0 to {_LAST_PORT}, got {port}")
        self.engine = engine
        self.host = host
        self.port = port
        self.unixsocket = unixsocket
        self.clients: set[TcpClient] = set()
        self.with_pending_input: set[TcpClient] = set()
        self.unsent = 0
        self.selector: selectors.BaseSelector = selectors.DefaultSelector()
        self._pending_writes: list[TcpClient] = []
        self._wakeup_receiver, self._wakeup_sender = socket.socketpair()
        self._wakeup_receiver.setblocking(False)
        self._wakeup_sender.setblocking(False)
        self._stopping = False
        self._listeners: list[socket.socket] = []
        self._thread = threading.Thread(
            target=self._run_below, args=(5,), name="redis-emulator", daemon=True
        )
        try:
            self._listen()
            with engine.lock:
                engine.listeners.append(self)
        except BaseException:
            self._close()
            raise
        self._thread.start()

    @property
    def url(self) -> str:
        """The URL for clients."""
        if self.port is None:
            return f"unix://{self.unixsocket}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis://{host}:{self.port}/0"

    @property
    def running(self) -> bool:
        """Whether the server has not stopped."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Send pending replies, disconnect all clients, and stop listening."""
        self.request_stop()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def wait(self) -> None:
        """Block until the server has stopped, for example because a client sent SHUTDOWN."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def __enter__(self) -> TcpServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def schedule_write(self, client: TcpClient) -> None:
        """Let the server's thread send the pending replies of ``client``. Called by any thread."""
        self._pending_writes.append(client)
        if threading.get_ident() != self._thread.ident:
            self._wake_thread()

    def remove_client(self, client: TcpClient) -> None:
        """Remove a client that has disconnected."""
        self.clients.discard(client)
        self.with_pending_input.discard(client)

    def _listen(self) -> None:
        if self.port is not None:
            family, kind, number, _, address = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = socket.socket(family, kind, number)
            self._listeners.append(listener)
            if os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            self.port = listener.getsockname()[1]
        if self.unixsocket is not None:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listeners.append(listener)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.unixsocket)
            listener.bind(self.unixsocket)
        for listener in self._listeners:
            listener.listen(_BACKLOG)
            listener.setblocking(False)
            self.selector.register(listener, selectors.EVENT_READ, self._accept_handler(listener))
        self.selector.register(self._wakeup_receiver, selectors.EVENT_READ, self._discard_wakeups)

    def _run_below(self, frames: int) -> None:
        """Run with that many frames between `threading` and the event loop.

        freezegun gives the real time to code that `threading` calls within five frames. The server
        would see the frozen time in commands and the real time in its timer.
        """
        if frames:
            self._run_below(frames - 1)
        else:
            self._run()

    def _run(self) -> None:
        try:
            next_tick = 0.0
            while not self._stopping:
                clients, faults = self.engine.clients, self.engine.server.faults
                waiting = clients.blocked.waiting or clients.pause or faults.injected
                self._serve_once(_TICK_SECONDS_WAITING if waiting else _TICK_SECONDS)
                now = real_seconds()
                if now >= next_tick:
                    next_tick = now + (_TICK_SECONDS_WAITING if waiting else _TICK_SECONDS)
                    self.engine.tick()
                    self._check_outputs()
                    self._evict_clients()
            self._disconnect_clients()
        finally:
            self.engine.listeners.remove(self)
            self._close()

    def _serve_once(self, pause: float) -> None:
        for key, mask in self.selector.select(pause):
            key.data(mask)
        while self._pending_writes or self.with_pending_input:
            woken, self._pending_writes = self._pending_writes, []
            for client in woken:
                client.flush()
            free = [client for client in self.with_pending_input if client.session.blocked is None]
            for client in free:
                self.with_pending_input.discard(client)
                client.process_input()
            if not woken and not free:
                break
        while self.unsent > UNSENT_MAX:
            max(self.clients, key=lambda client: client.unsent).close()

    def serve_during_script(self) -> None:
        """Serve other clients once while a client of this server runs a slow script."""
        if threading.get_ident() == self._thread.ident:
            for key, mask in self.selector.select(0):
                key.data(mask)
            woken, self._pending_writes = self._pending_writes, []
            for client in woken:
                client.flush()

    def _check_outputs(self) -> None:
        if self.unsent:
            for client in tuple(self.clients):
                client.check_output()

    def _evict_clients(self) -> None:
        """Disconnect the largest clients until all together are within ``maxmemory-clients``."""
        server = self.engine.server
        text = server.config.values.get("maxmemory-clients", "0")
        limit = int(text.rstrip("%"))
        if text.endswith("%"):
            limit = server.config.numbers["maxmemory"] * limit // 100
        if not limit:
            return
        sizes = {client: client_size(client.session) for client in self.clients}
        total = sum(sizes.values())
        for client in sorted(sizes, key=lambda client: -sizes[client]):
            if total <= limit:
                return
            if not client.session.no_evict:
                total -= sizes[client]
                server.stats.counters["evicted_clients"] += 1
                client.close()

    def _accept_handler(self, listener: socket.socket) -> Any:
        def accept(mask: int) -> None:
            for _ in range(_ACCEPTS_PER_EVENT):
                try:
                    connection, address = listener.accept()
                except OSError as error:
                    if error.errno in _OUT_OF_RESOURCES:
                        time.sleep(0.01)
                    return
                self._accept(connection, address)

        return accept

    def _accept(self, connection: socket.socket, address: Any) -> None:
        connection.setblocking(False)
        server = self.engine.server
        if len(self.engine.clients.by_id) >= server.config.integer("maxclients"):
            with contextlib.suppress(OSError):
                connection.send(b"-ERR max number of clients reached\r\n")
            connection.close()
            return
        if isinstance(address, tuple):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            addr, laddr = _address_text(address), _address_text(connection.getsockname())
        else:
            addr = laddr = f"{self.unixsocket}:0"
        self.clients.add(TcpClient(self, connection, addr, laddr))

    def _discard_wakeups(self, mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wakeup_receiver.recv(4096)

    def _wake_thread(self) -> None:
        with contextlib.suppress(OSError):
            self._wakeup_sender.send(b"\0")

    def request_stop(self) -> None:
        """Ask the server's thread to stop. Returns at once. Called by any thread."""
        self._stopping = True
        self._wake_thread()

    def close_in_child(self) -> None:
        """Close the sockets in a child process. The server of the parent keeps running.

        The sockets are only closed. `shutdown` and unregistering from the selector would also
        affect the parent.
        """
        self._stopping = True
        for client in tuple(self.clients):
            client.close_in_child()
        self.clients.clear()
        self.with_pending_input.clear()
        for each in (*self._listeners, self._wakeup_receiver, self._wakeup_sender):
            each.close()
        with contextlib.suppress(OSError):  # a child does not inherit a kqueue
            self.selector.close()

    def _disconnect_clients(self) -> None:
        for listener in self._listeners:
            self.selector.unregister(listener)
            listener.close()
        with self.engine.lock:
            for client in tuple(self.clients):
                client.session.close()
        deadline = real_seconds() + _STOP_SECONDS
        self._serve_once(0)
        while self.clients and real_seconds() < deadline:
            self._serve_once(0.01)
        for client in tuple(self.clients):
            client.close()

    def _close(self) -> None:
        for each in (*self._listeners, self._wakeup_receiver, self._wakeup_sender):
            each.close()
        self.selector.close()
        if self.unixsocket is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.unixsocket)


def _address_text(address: tuple[Any, ...]) -> str:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{host}:{address[1]}"
