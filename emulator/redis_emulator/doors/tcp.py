"""The TCP and unix-socket server: any client, in any language.

One event loop in one thread serves every connection. `Server` is a plain asyncio server of `Client`
protocols; a client's bytes become commands (`resp.decode`), replies become bytes (`resp.encode`)
and leave together when all commands of one read have run. A client that does not read is dropped
once its unsent replies pass the limit for its class (``client-output-buffer-limit``), one that
never finishes a command once its query passes ``client-query-buffer-limit``.
"""

from __future__ import annotations

import asyncio
import os
import threading
from types import TracebackType
from typing import Any

from redis_emulator.engine import Engine
from redis_emulator.resp.decode import ProtocolError, RequestParser
from redis_emulator.resp.encode import encode
from redis_emulator.resp.types import CLOSED, NO_REPLY, PENDING, RedisError, Reply
from redis_emulator.session import Session


class Client(asyncio.Protocol):
    """One connected client."""

    def __init__(self, server: TcpServer) -> None:
        self._server = server
        self._engine = server.engine
        self._out: list[bytes] = []
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=1 << 16)
        self.session = session = Session(self._engine.server, self._deliver)
        config = self._engine.server.config
        if len(self._server.clients) >= config.integer("maxclients"):
            transport.write(b"-ERR max number of clients reached\r\n")
            transport.close()
            return
        peer = transport.get_extra_info("peername")
        own = transport.get_extra_info("sockname")
        session.addr = _address(peer, own)
        session.laddr = _address(own, own)
        self._parser = RequestParser(config.integer("proto-max-bulk-len"), session.authenticated)
        self._server.clients.add(self)
        self._engine.connect(session)

    def connection_lost(self, error: Exception | None) -> None:
        if self in self._server.clients:
            self._server.clients.discard(self)
            self._engine.disconnect(self.session)

    def data_received(self, data: bytes) -> None:
        engine, session = self._engine, self.session
        execute, out = engine.execute, self._out
        self._busy = True
        try:
            for argv in self._parser.feed(data):
                reply = execute(session, argv)
                if reply is not PENDING and reply is not NO_REPLY:
                    out.append(encode(reply, session.protocol))
                if session.closing:
                    break
                if not self._parser.trusted:
                    self._parser.trusted = session.authenticated
        except ProtocolError as error:
            out.append(encode(RedisError(f"ERR Protocol error: {error}"), 2))
            session.closing = True
        self._busy = False
        if self._parser.size > engine.server.config.integer("client-query-buffer-limit"):
            session.closing = True
        self._flush()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        """The client reads slower than it asks: let it ask no more for a while."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def close(self) -> None:
        """Send what is pending, then hang up."""
        self._transport.close()

    def _deliver(self, reply: Reply) -> None:
        """A late reply or a message; may come from any thread."""
        if reply is not CLOSED:
            self._out.append(encode(reply, self.session.protocol))
        if threading.get_ident() == self._server.thread_id:
            if not self._busy:
                self._flush()
        else:
            self._server.loop.call_soon_threadsafe(self._flush)

    def _flush(self) -> None:
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._transport.write(data)
            if self._transport.get_write_buffer_size() > self._limit():
                self._transport.abort()
        if self.session.closing:
            self._transport.close()

    def _limit(self) -> int:
        subscriber = self.session.subscription_count() > 0
        words = self._engine.server.config["client-output-buffer-limit"].split()
        hard = int(words[words.index("pubsub" if subscriber else "normal") + 1])
        return hard or _UNLIMITED


_UNLIMITED = 1 << 30


def _address(address: Any, own: Any) -> str:
    if isinstance(address, tuple):
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"{host}:{address[1]}"
    return f"{own or ''}:0"


class TcpServer:
    """Listens for clients of an emulator until stopped; a context manager.

    Args:
        engine: The emulator's engine.
        host: The address to listen on.
        port: The port; 0 takes a free one, None listens on no port.
        unixsocket: Path of a unix socket to listen on as well.

    Attributes:
        port: The port in use.
        clients: Who is connected.

    Raises:
        OSError: The address cannot be listened on.
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
        self.engine = engine
        self.host = host
        self.port = port
        self.unixsocket = unixsocket
        self.clients: set[Client] = set()
        self.loop = asyncio.new_event_loop()
        self.thread_id = 0
        self._failure: OSError | None = None
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="redis-emulator", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    @property
    def url(self) -> str:
        """Where clients find it."""
        if self.port is None:
            return f"unix://{self.unixsocket}"
        return f"redis://{self.host}:{self.port}/0"

    def stop(self) -> None:
        """Send what is pending, hang up on everybody, and stop listening."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._stop.set)
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

    def _run(self) -> None:
        self.thread_id = threading.get_ident()
        try:
            self.loop.run_until_complete(self._serve())
        finally:
            self._ready.set()
            self.loop.close()

    async def _serve(self) -> None:
        listeners: list[asyncio.Server] = []
        try:
            if self.port is not None:
                listener: asyncio.Server = await self.loop.create_server(
                    lambda: Client(self), self.host, self.port, backlog=511
                )
                self.port = listener.sockets[0].getsockname()[1]
                listeners.append(listener)
            if self.unixsocket is not None:
                listeners.append(
                    await self.loop.create_unix_server(lambda: Client(self), self.unixsocket)
                )
        except OSError as error:
            self._failure = error
            for listener in listeners:
                listener.close()
            return
        self._ready.set()
        await self._watch_time()
        for listener in listeners:
            listener.close()
        for client in tuple(self.clients):
            client.close()
        while self.clients:
            await asyncio.sleep(0.001)
        if self.unixsocket is not None and os.path.exists(self.unixsocket):
            os.unlink(self.unixsocket)

    async def _watch_time(self) -> None:
        """Let keys expire and blocked clients time out, until told to stop."""
        while not self._stop.is_set():
            busy = bool(self.engine.server.waiting)
            try:
                await asyncio.wait_for(self._stop.wait(), 0.005 if busy else 0.1)
            except asyncio.TimeoutError:
                self.engine.tick()
