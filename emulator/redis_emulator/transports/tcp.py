"""The TCP and unix-socket server: any client, in any language.

One thread serves every connection: it waits until sockets can be read or written, lets each `Peer`
do its part, and lets time have its effect. Memory stays bounded whatever clients do: queries by
``client-query-buffer-limit``, replies that a client does not read by its class's part of
``client-output-buffer-limit``, and all unread replies together by `UNSENT_MAX`, beyond which the
client that owes most is dropped.
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
from redis_emulator.transports.tcp_client import Peer

UNSENT_MAX: Final = 1 << 30
"""Bytes of replies that all clients together may leave unread."""
_LAST_PORT: Final = 65535
_TICK: Final = 0.1
_TICK_WAITING: Final = 0.005
_FAREWELL: Final = 1.0
"""How long a stopping server goes on sending what is pending."""
_BACKLOG: Final = 511
_ACCEPTS: Final = 200
_FULL: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class TcpServer:
    """Listens for clients of an emulator until stopped; a context manager.

    Args:
        engine: The emulator's engine.
        host: The address to listen on.
        port: The port; 0 takes a free one, None listens on no port.
        unixsocket: Path of a unix socket to listen on as well.

    Attributes:
        port: The port in use.
        peers: Who is connected.

    Raises:
        OSError: The address cannot be listened on.
        ValueError: There is no such port, or nothing to listen on.
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
            raise ValueError("a server needs a port or a unixsocket to listen on")
        if port is not None and not 0 <= port <= _LAST_PORT:
            raise ValueError(f"a port is a number from 0 to {_LAST_PORT}, got {port}")
        self.engine = engine
        self.host = host
        self.port = port
        self.unixsocket = unixsocket
        self.peers: set[Peer] = set()
        self.held: set[Peer] = set()
        self.unsent = 0
        self.selector: selectors.BaseSelector = selectors.DefaultSelector()
        self._woken: list[Peer] = []
        self._bell, self._ring = socket.socketpair()
        self._bell.setblocking(False)
        self._ring.setblocking(False)
        self._stopping = False
        self._listeners: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run, name="redis-emulator", daemon=True)
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
        """Where clients find it."""
        if self.port is None:
            return f"unix://{self.unixsocket}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis://{host}:{self.port}/0"

    @property
    def running(self) -> bool:
        """Whether it still listens."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Send what is pending, hang up on everybody, and stop listening."""
        self.request_stop()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def wait(self) -> None:
        """Return when the server has stopped (a client sent SHUTDOWN)."""
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

    def wake(self, peer: Peer) -> None:
        """Have ``peer`` flushed by the server's thread. Called by any thread."""
        self._woken.append(peer)
        if threading.get_ident() != self._thread.ident:
            self._alarm()

    def forget(self, peer: Peer) -> None:
        """``peer`` has gone."""
        self.peers.discard(peer)
        self.held.discard(peer)

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
            self.selector.register(listener, selectors.EVENT_READ, self._accepting(listener))
        self.selector.register(self._bell, selectors.EVENT_READ, self._hear)

    def _run(self) -> None:
        try:
            next_tick = 0.0
            while not self._stopping:
                clients, faults = self.engine.clients, self.engine.server.faults
                waiting = clients.blocked.waiting or clients.pause or faults.planted
                self._turn(_TICK_WAITING if waiting else _TICK)
                now = real_seconds()
                if now >= next_tick:
                    next_tick = now + (_TICK_WAITING if waiting else _TICK)
                    self.engine.tick()
                    self._check_outputs()
                    self._evict_clients()
            self._say_goodbye()
        finally:
            self.engine.listeners.remove(self)
            self._close()

    def _turn(self, pause: float) -> None:
        for key, mask in self.selector.select(pause):
            key.data(mask)
        while self._woken or self.held:
            woken, self._woken = self._woken, []
            for peer in woken:
                peer.flush()
            free = [peer for peer in self.held if peer.session.blocked is None]
            for peer in free:
                self.held.discard(peer)
                peer.work()
            if not woken and not free:
                break
        while self.unsent > UNSENT_MAX:
            max(self.peers, key=lambda peer: peer.unsent).drop()

    def serve_meanwhile(self) -> None:
        """Serve other clients for a moment while a client of this server runs a long script."""
        if threading.get_ident() == self._thread.ident:
            for key, mask in self.selector.select(0):
                key.data(mask)
            woken, self._woken = self._woken, []
            for peer in woken:
                peer.flush()

    def _check_outputs(self) -> None:
        if self.unsent:
            for peer in tuple(self.peers):
                peer.check_output()

    def _evict_clients(self) -> None:
        """Drop those who take most while clients take more than ``maxmemory-clients`` together."""
        server = self.engine.server
        text = server.config.values.get("maxmemory-clients", "0")
        limit = int(text.rstrip("%"))
        if text.endswith("%"):
            limit = server.config.numbers["maxmemory"] * limit // 100
        if not limit:
            return
        sizes = {peer: client_size(peer.session) for peer in self.peers}
        total = sum(sizes.values())
        for peer in sorted(sizes, key=lambda peer: -sizes[peer]):
            if total <= limit:
                return
            if not peer.session.no_evict:
                total -= sizes[peer]
                server.stats.counters["evicted_clients"] += 1
                peer.drop()

    def _accepting(self, listener: socket.socket) -> Any:
        def accept(mask: int) -> None:
            for _ in range(_ACCEPTS):
                try:
                    connection, address = listener.accept()
                except OSError as error:
                    if error.errno in _FULL:
                        time.sleep(0.01)
                    return
                self._welcome(connection, address)

        return accept

    def _welcome(self, connection: socket.socket, address: Any) -> None:
        connection.setblocking(False)
        server = self.engine.server
        if len(self.engine.clients.by_id) >= server.config.integer("maxclients"):
            with contextlib.suppress(OSError):
                connection.send(b"-ERR max number of clients reached\r\n")
            connection.close()
            return
        if isinstance(address, tuple):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            addr, laddr = _printed(address), _printed(connection.getsockname())
        else:
            addr = laddr = f"{self.unixsocket}:0"
        self.peers.add(Peer(self, connection, addr, laddr))

    def _hear(self, mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._bell.recv(4096)

    def _alarm(self) -> None:
        with contextlib.suppress(OSError):
            self._ring.send(b"\0")

    def request_stop(self) -> None:
        """Stop soon; returns at once. Called by any thread."""
        self._stopping = True
        self._alarm()

    def leave_to_parent(self) -> None:
        """Close a child's copies of the sockets; the server of the parent goes on.

        They are only closed: to shut them down, or to unregister them from the selector, would
        take them from the parent.
        """
        self._stopping = True
        for peer in tuple(self.peers):
            peer.leave_to_parent()
        self.peers.clear()
        self.held.clear()
        for each in (*self._listeners, self._bell, self._ring):
            each.close()
        with contextlib.suppress(OSError):  # a child does not inherit a kqueue
            self.selector.close()

    def _say_goodbye(self) -> None:
        for listener in self._listeners:
            self.selector.unregister(listener)
            listener.close()
        with self.engine.lock:
            for peer in tuple(self.peers):
                peer.session.close()
        give_up = real_seconds() + _FAREWELL
        self._turn(0)
        while self.peers and real_seconds() < give_up:
            self._turn(0.01)
        for peer in tuple(self.peers):
            peer.drop()

    def _close(self) -> None:
        for each in (*self._listeners, self._bell, self._ring):
            each.close()
        self.selector.close()
        if self.unixsocket is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.unixsocket)


def _printed(address: tuple[Any, ...]) -> str:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{host}:{address[1]}"
