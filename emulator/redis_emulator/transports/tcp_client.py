"""One client of the TCP server: parses its input, runs the commands, and sends the replies.

Only the server's thread reads from sockets, runs commands of TCP clients and sends. Messages and
replies to blocked clients (`Session.deliver`) may come from any thread that runs commands, under
the engine's lock; they are queued, and the server's thread sends them. As in Redis, input of a
blocked client is read but not processed, and a client whose output buffer exceeds
``client-output-buffer-limit`` is disconnected.
"""

from __future__ import annotations

import logging
import selectors
import socket
from typing import Any, Final, Protocol

from redis_emulator.clients.client import QUERY_BUFFER, Buffers, ReplyMode
from redis_emulator.clients.session import Session
from redis_emulator.clock import real_seconds
from redis_emulator.engine.dispatch import HTTP_VERBS, Engine
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
"""Size of a client's static reply buffer, which ``client-output-buffer-limit`` does not count."""


class Owner(Protocol):
    """What a client needs of its `TcpServer`.

    Attributes:
        engine: Runs the commands.
        selector: Waits for the sockets.
        with_pending_input: Blocked clients that may have unprocessed input.
        unsent: Bytes of unread replies of all clients.
    """

    engine: Engine
    selector: selectors.BaseSelector
    with_pending_input: set[TcpClient]
    unsent: int

    def schedule_write(self, client: TcpClient) -> None:
        """Let the server's thread send the pending replies of a client."""
        ...

    def remove_client(self, client: TcpClient) -> None:
        """Remove a client that has disconnected."""
        ...


class TcpClient:
    """One connected client.

    Attributes:
        session: The client's session in the engine.
        unsent: Bytes of replies that are not sent yet.
        closed: Whether the connection is closed.
    """

    __slots__ = (
        "_copies_replies",
        "_engine",
        "_ignores_input",
        "_limits_unauthenticated",
        "_output",
        "_owner",
        "_parser",
        "_processing",
        "_replies",
        "_socket",
        "_soft_since",
        "_transaction_bytes",
        "_write_scheduled",
        "_writing",
        "closed",
        "session",
        "unsent",
    )

    def __init__(self, server: Owner, connection: socket.socket, addr: str, laddr: str) -> None:
        self._owner = server
        self._socket = connection
        self._engine = engine = server.engine
        self._replies: list[bytes] = []
        self._output: list[memoryview] = []
        self.unsent = 0
        self.closed = False
        self._processing = False
        self._ignores_input = False
        self._write_scheduled = False
        self._writing = False
        self._transaction_bytes = 0
        self._soft_since: float | None = None
        self.session = session = Session(engine, self._deliver, buffers=self._buffers)
        session.addr = addr
        session.laddr = laddr
        version = engine.server.version
        self._limits_unauthenticated = version.compatible >= (7, 0)
        self._copies_replies = version.flavour == "redis" or version.number < (9, 0)
        self._parser = RequestParser(
            trusted=session.authenticated or not self._limits_unauthenticated,
            count_max=MULTIBULK_MAX if self._limits_unauthenticated else 1 << 20,
            strict_ends=version.flavour == "valkey" and version.number >= (9, 0),
        )
        engine.connect(session)
        server.selector.register(connection, selectors.EVENT_READ, self.on_socket_event)

    def on_socket_event(self, mask: int) -> None:
        """The socket is readable or writable: send pending replies, read and process input."""
        if mask & selectors.EVENT_WRITE:
            self._send(b"")
        if not mask & selectors.EVENT_READ or self.closed or self._processing:
            return
        try:
            data = self._socket.recv(_READ_MORE if self._parser.size >= _READ else _READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close()
        elif not self._ignores_input:
            self.session.bytes_in += len(data)
            self._parser.add(data)
            self.process_input(len(data))

    def process_input(self, arrived: int = 0) -> None:
        """Run the commands that have arrived, and send all replies at once. A command that blocks
        ends the run; the rest stays in the parser.

        Args:
            arrived: How many bytes were read for this call.
        """
        session, engine, parser = self.session, self._engine, self._parser
        if session.blocked is not None:
            self._owner.with_pending_input.add(self)
            self._check_query_buffer(0)
            return
        execute, out, append = engine.execute, self._replies, self._replies.append
        reply: Any
        parser.bulk_max = engine.server.config.numbers["proto-max-bulk-len"]
        parser.trusted = session.authenticated or not self._limits_unauthenticated
        with engine.lock:
            self._processing = self._write_scheduled = True
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
                            self._owner.with_pending_input.add(self)
                        break
                    elif reply is not NO_REPLY:
                        append(encode(reply, session.protocol))
                    if session.closing:
                        self._stop_processing(replied=reply is not NO_REPLY)
                        if reply is NO_REPLY and argv[0].lower() in HTTP_VERBS:
                            out.clear()  # like Redis, also the replies to earlier commands
                        break
                    if not parser.trusted:
                        parser.trusted = session.authenticated
            except ProtocolError as error:
                self._reply_protocol_error(error)
            except Exception as error:
                _log.exception("unexpected exception in a command")
                append(encode(RedisError(f"ERR the emulator failed: {error!r}"), 2))
                if parser.size:
                    self._owner.with_pending_input.add(self)
            data = b"".join(out)
            out.clear()
            self._processing = self._write_scheduled = False
        self._check_query_buffer(arrived)
        if not self.closed:
            self._send(data)

    def flush(self) -> None:
        """Send queued replies; close the connection if the session has ended."""
        if self.closed:
            return
        with self._engine.lock:
            self._write_scheduled = False
            data = b"".join(self._replies)
            self._replies.clear()
        self._send(data)

    def close(self) -> None:
        """Close the connection at once."""
        if self.closed:
            return
        self.closed = True
        self._owner.unsent -= self.unsent
        self.unsent = 0
        self._output.clear()
        self._owner.remove_client(self)
        self._engine.disconnect(self.session)
        self._owner.selector.unregister(self._socket)
        self._socket.close()

    def close_in_child(self) -> None:
        """Close the socket in a child process. The connection of the parent stays open."""
        self.closed = True
        self._socket.close()

    def _buffers(self) -> Buffers:
        query, arguments, length = self._parser.incomplete()
        room = 0
        if query:
            valkey = self._engine.server.version.flavour == "valkey"
            usual = _QUERY_BUFFER_OF_VALKEY if valkey else QUERY_BUFFER
            whole = size_class(length + 12) - 10 if length >= _BIG_ARGUMENT else usual
            room = max(whole - query, 0)
        pieces = [memoryview(piece.obj).nbytes for piece in self._output]
        long = [size_class(size + 24) for size in pieces if size > _STATIC_BUFFER]
        rest = sum(size for size in pieces if size <= _STATIC_BUFFER)
        short = 0 if long else min(rest, _STATIC_BUFFER)
        shared = -((short - rest) // _STATIC_BUFFER)
        replies = sum(long) + shared * size_class(_STATIC_BUFFER + 24)
        return Buffers(query, room, arguments, replies, len(long) + shared, short)

    def check_output(self) -> None:
        """Disconnect the client if its output buffer exceeds the hard limit, or the soft limit for
        too long.
        """
        session = self.session
        if not self.unsent or self.closed:
            self._soft_since = None
            return
        if (
            self._limits_unauthenticated
            and not session.authenticated
            and self.unsent > _UNAUTHENTICATED_OUTPUT_MAX
        ):
            self.close()
            return
        hard, soft, seconds = self._limits()
        if hard and self.unsent >= hard:
            self._close_and_count("client_output_buffer_limit_disconnections")
        elif not soft or self.unsent < soft:
            self._soft_since = None
        elif self._soft_since is None:
            self._soft_since = real_seconds()
        elif real_seconds() - self._soft_since > seconds:
            self._close_and_count("client_output_buffer_limit_disconnections")

    def _close_and_count(self, counter: str) -> None:
        """Close the connection and count it in this field of INFO."""
        self._engine.server.stats.counters[counter] += 1
        self.close()

    def _check_size(self, new: int) -> None:
        """Disconnect the client before ``new`` bytes are sent if they would exceed the hard limit.
        Servers that send long values without copying them (Valkey 9) do not check this.
        """
        hard, _, _ = self._limits()
        if hard and self.unsent + new >= hard:
            self._close_and_count("client_output_buffer_limit_disconnections")

    def _limits(self) -> tuple[int, int, int]:
        """The hard limit, soft limit and soft seconds of the client's class."""
        words = self._engine.server.config["client-output-buffer-limit"].split()
        place = words.index("pubsub" if self.session.subscribed() else "normal")
        hard, soft, seconds = map(int, words[place + 1 : place + 4])
        return hard, soft, seconds

    def _reply_protocol_error(self, error: ProtocolError) -> None:
        session = self.session
        replied = session.reply_mode is ReplyMode.ON
        if replied:
            self._replies.append(encode(RedisError(f"ERR Protocol error: {error}"), 2))
        session.closing = True
        self._engine.disconnect(session)
        self._stop_processing(replied)

    def _stop_processing(self, replied: bool) -> None:
        """Stop processing input. With CLIENT REPLY OFF the connection also stays open, because the
        real server closes it only after it has sent the reply.
        """
        if not replied and self.session.reply_mode is not ReplyMode.ON:
            self._ignores_input = True

    def _check_query_buffer(self, arrived: int) -> None:
        self._transaction_bytes = (
            self._transaction_bytes + arrived if self.session.queue is not None else 0
        )
        limit = self._engine.server.config.numbers["client-query-buffer-limit"]
        if self._parser.size + self._transaction_bytes > limit:
            self._close_and_count("client_query_buffer_limit_disconnections")

    def _deliver(self, reply: Reply) -> None:
        if reply is CLOSED:
            self._ignores_input = False
        else:
            self._replies.append(encode(reply, self.session.protocol))
        if not self._write_scheduled:
            self._write_scheduled = True
            self._owner.schedule_write(self)

    def _send(self, data: bytes) -> None:
        if len(data) > _STATIC_BUFFER and self._copies_replies:
            self._check_size(len(data) - _STATIC_BUFFER)
            if self.closed:
                return
        if self._output:
            if data:
                self._queue_output(memoryview(data))
            while self._output and self._send_piece():
                pass
        elif data:
            sent = self._send_bytes(data)
            self.session.bytes_out += sent
            if sent < len(data):
                self._queue_output(memoryview(data)[sent:])
        if self.closed:
            return
        if self._output:
            self.check_output()
            self._set_write_interest(writing=not self.closed)
        else:
            self._set_write_interest(writing=False)
            if self.session.closing and not self._ignores_input:
                self.close()

    def _queue_output(self, piece: memoryview) -> None:
        self._output.append(piece)
        self.unsent += len(piece)
        self._owner.unsent += len(piece)

    def _send_piece(self) -> bool:
        """Send the oldest queued piece. Returns whether all of it was sent."""
        piece = self._output[0]
        sent = self._send_bytes(piece)
        self.session.bytes_out += sent
        if self.closed:
            return False
        self.unsent -= sent
        self._owner.unsent -= sent
        if sent < len(piece):
            self._output[0] = piece[sent:]
            return False
        del self._output[0]
        return True

    def _send_bytes(self, data: Any) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.close()
            return 0

    def _set_write_interest(self, writing: bool) -> None:
        if writing is self._writing or self.closed:
            return
        self._writing = writing
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
        self._owner.selector.modify(self._socket, mask, self.on_socket_event)
