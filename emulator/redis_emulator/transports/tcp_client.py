"""One client of the TCP server: bytes in, commands through the engine, bytes out.

The server's thread alone reads, runs and sends. Late replies and messages (`Session.deliver`) may
come from any thread that runs commands, always under the engine's lock; they are put into `out` and
sent by the server's thread. Like the real server, a client that is blocked is read but not obeyed,
and one that does not read its replies is dropped when they pass the limit of its class
(``client-output-buffer-limit``).
"""

from __future__ import annotations

import logging
import selectors
import socket
from typing import Any, Final, Protocol

from redis_emulator.clients.client import QUERY_BUFFER, Buffers, ReplyMode
from redis_emulator.clients.session import Session
from redis_emulator.clock import real_seconds
from redis_emulator.engine.dispatch import Engine
from redis_emulator.keyspace.memory import size_class
from redis_emulator.resp.decode import MULTIBULK_MAX, ProtocolError, RequestParser
from redis_emulator.resp.encode import encode
from redis_emulator.resp.types import CLOSED, NO_REPLY, OK, PENDING, RedisError, Reply

_log: Final = logging.getLogger("redis_emulator")
_READ: Final = 64 * 1024
_READ_MORE: Final = 1024 * 1024
_UNAUTHENTICATED_OUTPUT_MAX: Final = 1024
_BIG_ARGUMENT: Final = 32 * 1024
_QUERY_BUFFER_OF_VALKEY: Final = 16386
_STATIC_BUFFER: Final = 16 * 1024
"""Bytes of replies that no limit of a class counts."""


class Host(Protocol):
    """The server that a client belongs to: what a client needs of it.

    Attributes:
        engine: Runs the commands.
        selector: Waits for sockets.
        held: Clients that are blocked, and may have commands to run afterwards.
        unsent: Bytes of replies that all clients together have not taken.
    """

    engine: Engine
    selector: selectors.BaseSelector
    held: set[Peer]
    unsent: int

    def wake(self, peer: Peer) -> None:
        """Have a client flushed by the server's thread."""
        ...

    def forget(self, peer: Peer) -> None:
        """A client has gone."""
        ...


class Peer:
    """One connected client.

    Attributes:
        session: What the engine knows of it.
        unsent: Bytes that its socket has not taken yet.
    """

    __slots__ = (
        "_at_work",
        "_copies",
        "_deaf",
        "_engine",
        "_limited",
        "_out",
        "_parser",
        "_pieces",
        "_queued",
        "_server",
        "_socket",
        "_soft_since",
        "_woken",
        "_writing",
        "gone",
        "session",
        "unsent",
    )

    def __init__(self, server: Host, connection: socket.socket, addr: str, laddr: str) -> None:
        self._server = server
        self._socket = connection
        self._engine = engine = server.engine
        self._out: list[bytes] = []
        self._pieces: list[memoryview] = []
        self.unsent = 0
        self.gone = False
        self._at_work = False
        self._deaf = False
        self._woken = False
        self._writing = False
        self._queued = 0
        self._soft_since: float | None = None
        self.session = session = Session(engine, self._deliver, buffers=self._buffers)
        session.addr = addr
        session.laddr = laddr
        version = engine.server.version
        self._limited = version.compatible >= (7, 0)
        self._copies = version.flavour == "redis" or version.number < (9, 0)
        self._parser = RequestParser(
            trusted=session.authenticated or not self._limited,
            count_max=MULTIBULK_MAX if self._limited else 1 << 20,
            strict_ends=version.flavour == "valkey" and version.number >= (9, 0),
        )
        engine.connect(session)
        server.selector.register(connection, selectors.EVENT_READ, self.ready)

    def ready(self, mask: int) -> None:
        """The socket can be read or written."""
        if mask & selectors.EVENT_WRITE:
            self._send(b"")
        if not mask & selectors.EVENT_READ or self.gone or self._at_work:
            return
        try:
            data = self._socket.recv(_READ_MORE if self._parser.size >= _READ else _READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.drop()
        elif not self._deaf:
            self.session.bytes_in += len(data)
            self._parser.add(data)
            self.work(len(data))

    def work(self, arrived: int = 0) -> None:
        """Run what has come in as far as possible, and send the replies together."""
        session, engine, parser = self.session, self._engine, self._parser
        if session.blocked is not None:
            self._server.held.add(self)
            self._check_query(0)
            return
        execute, out, append = engine.execute, self._out, self._out.append
        reply: Any
        parser.bulk_max = engine.server.config.numbers["proto-max-bulk-len"]
        parser.trusted = session.authenticated or not self._limited
        with engine.lock:
            self._at_work = self._woken = True
            try:
                for argv in parser.commands():
                    reply = execute(session, argv)
                    kind = type(reply)
                    if reply is OK:
                        append(b"+OK\r\n")
                    elif kind is bytes:
                        append(b"$%d\r\n%b\r\n" % (len(reply), reply))
                    elif kind is int:
                        append(b":%d\r\n" % reply)
                    elif reply is PENDING:
                        if parser.size:
                            self._server.held.add(self)
                        break
                    elif reply is not NO_REPLY:
                        append(encode(reply, session.protocol))
                    if session.closing:
                        self._leave(heard=reply is not NO_REPLY)
                        if reply is NO_REPLY:
                            out.clear()
                        break
                    if not parser.trusted:
                        parser.trusted = session.authenticated
            except ProtocolError as error:
                self._refuse(error)
            except Exception as error:
                _log.exception("a command failed in a way that no server does")
                append(encode(RedisError(f"ERR the emulator failed: {error!r}"), 2))
                if parser.size:
                    self._server.held.add(self)
            data = b"".join(out)
            out.clear()
            self._at_work = self._woken = False
        self._check_query(arrived)
        if not self.gone:
            self._send(data)

    def flush(self) -> None:
        """Send what was delivered; hang up when the session is over."""
        if self.gone:
            return
        with self._engine.lock:
            self._woken = False
            data = b"".join(self._out)
            self._out.clear()
        self._send(data)

    def drop(self) -> None:
        """Hang up at once."""
        if self.gone:
            return
        self.gone = True
        self._server.unsent -= self.unsent
        self.unsent = 0
        self._pieces.clear()
        self._server.forget(self)
        self._engine.disconnect(self.session)
        self._server.selector.unregister(self._socket)
        self._socket.close()

    def leave_to_parent(self) -> None:
        """Close a child's copy of the socket; the parent goes on with its own."""
        self.gone = True
        self._socket.close()

    def _buffers(self) -> Buffers:
        query, arguments, length = self._parser.incomplete()
        room = 0
        if query:
            valkey = self._engine.server.version.flavour == "valkey"
            usual = _QUERY_BUFFER_OF_VALKEY if valkey else QUERY_BUFFER
            whole = size_class(length + 12) - 10 if length >= _BIG_ARGUMENT else usual
            room = max(whole - query, 0)
        pieces = [memoryview(piece.obj).nbytes for piece in self._pieces]
        long = [size_class(size + 24) for size in pieces if size > _STATIC_BUFFER]
        rest = sum(size for size in pieces if size <= _STATIC_BUFFER)
        short = 0 if long else min(rest, _STATIC_BUFFER)
        shared = -((short - rest) // _STATIC_BUFFER)
        replies = sum(long) + shared * size_class(_STATIC_BUFFER + 24)
        return Buffers(query, room, arguments, replies, len(long) + shared, short)

    def check_output(self) -> None:
        """Drop the client if it leaves too much unread, or too much for too long."""
        session = self.session
        if not self.unsent or self.gone:
            self._soft_since = None
            return
        if (
            self._limited
            and not session.authenticated
            and self.unsent > _UNAUTHENTICATED_OUTPUT_MAX
        ):
            self.drop()
            return
        hard, soft, seconds = self._limits()
        if hard and self.unsent >= hard:
            self._drop_for("client_output_buffer_limit_disconnections")
        elif not soft or self.unsent < soft:
            self._soft_since = None
        elif self._soft_since is None:
            self._soft_since = real_seconds()
        elif real_seconds() - self._soft_since > seconds:
            self._drop_for("client_output_buffer_limit_disconnections")

    def _drop_for(self, counter: str) -> None:
        """Hang up, and have INFO count why."""
        self._engine.server.stats.counters[counter] += 1
        self.drop()

    def _check_size(self, new: int) -> None:
        """Drop the client if it would owe too much with so many bytes more: it gets none of them
        then. Servers that send long values without a copy of their own do not look before.
        """
        hard, _, _ = self._limits()
        if hard and self.unsent + new >= hard:
            self._drop_for("client_output_buffer_limit_disconnections")

    def _limits(self) -> tuple[int, int, int]:
        """How many bytes its class may leave unread: ever, and for more than some seconds."""
        words = self._engine.server.config["client-output-buffer-limit"].split()
        place = words.index("pubsub" if self.session.subscribed() else "normal")
        hard, soft, seconds = map(int, words[place + 1 : place + 4])
        return hard, soft, seconds

    def _refuse(self, error: ProtocolError) -> None:
        session = self.session
        heard = session.reply_mode is ReplyMode.ON
        if heard:
            self._out.append(encode(RedisError(f"ERR Protocol error: {error}"), 2))
        session.closing = True
        self._engine.disconnect(session)
        self._leave(heard)

    def _leave(self, heard: bool) -> None:
        """Obey no more. Who has silenced its replies is not hung up on either: the real server
        would do that after the reply.
        """
        if not heard and self.session.reply_mode is not ReplyMode.ON:
            self._deaf = True

    def _check_query(self, arrived: int) -> None:
        self._queued = self._queued + arrived if self.session.queue is not None else 0
        limit = self._engine.server.config.numbers["client-query-buffer-limit"]
        if self._parser.size + self._queued > limit:
            self._drop_for("client_query_buffer_limit_disconnections")

    def _deliver(self, reply: Reply) -> None:
        if reply is CLOSED:
            self._deaf = False
        else:
            self._out.append(encode(reply, self.session.protocol))
        if not self._woken:
            self._woken = True
            self._server.wake(self)

    def _send(self, data: bytes) -> None:
        if len(data) > _STATIC_BUFFER and self._copies:
            self._check_size(len(data) - _STATIC_BUFFER)
            if self.gone:
                return
        if self._pieces:
            if data:
                self._keep(memoryview(data))
            while self._pieces and self._send_piece():
                pass
        elif data:
            sent = self._try(data)
            self.session.bytes_out += sent
            if sent < len(data):
                self._keep(memoryview(data)[sent:])
        if self.gone:
            return
        if self._pieces:
            self.check_output()
            self._watch(writing=not self.gone)
        else:
            self._watch(writing=False)
            if self.session.closing and not self._deaf:
                self.drop()

    def _keep(self, piece: memoryview) -> None:
        self._pieces.append(piece)
        self.unsent += len(piece)
        self._server.unsent += len(piece)

    def _send_piece(self) -> bool:
        """Send the oldest piece; whether the socket took all of it."""
        piece = self._pieces[0]
        sent = self._try(piece)
        self.session.bytes_out += sent
        if self.gone:
            return False
        self.unsent -= sent
        self._server.unsent -= sent
        if sent < len(piece):
            self._pieces[0] = piece[sent:]
            return False
        del self._pieces[0]
        return True

    def _try(self, data: Any) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.drop()
            return 0

    def _watch(self, writing: bool) -> None:
        if writing is self._writing or self.gone:
            return
        self._writing = writing
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
        self._server.selector.modify(self._socket, mask, self.ready)
