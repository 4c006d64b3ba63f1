"""The in-process replacement for a socket, shared by the sync and asyncio connection classes.

`InProcessSocket` runs commands on a session. Arguments are converted as redis-py would encode them.
Replies are returned as redis-py's parsers would return them, for RESP2 and RESP3 and redis-py 5 to
8. Waiting for a reply is the task of the connection classes; an `InProcessSocket` only wakes them
through its `ReplyEvent`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import redis
from redis.exceptions import RedisError as ClientError

from redis_emulator.clients.session import Session
from redis_emulator.engine.dispatch import Engine
from redis_emulator.resp.double import Decimals17, Double17
from redis_emulator.resp.types import (
    CLOSED,
    NO_REPLY,
    NULL_ARRAY,
    PENDING,
    BigNumber,
    MapReply,
    PairMap,
    Pairs,
    Push,
    RedisError,
    Reply,
    SetReply,
    SimpleString,
    Verbatim,
    to_resp2,
)

SOCKET_ARGUMENTS: Final = frozenset(
    {
        "host",
        "port",
        "path",
        "socket_keepalive",
        "socket_keepalive_options",
        "socket_type",
        "cache",
        "cache_config",
    }
)
"""Arguments of redis-py's connections that have no meaning without a socket."""

_SETS_AS_SET: Final = tuple(map(int, redis.__version__.split(".")[:2])) < (5, 1)


class ReplyEvent(Protocol):
    """What a connection waits for while its inbox is empty."""

    def set(self) -> None:
        """Wake the waiting connection. Called by any thread, under the engine's lock."""


class InProcessSocket:
    """One session and its unread replies.

    The server holds references to the session, the inbox and the event, but not to this
    object. When a connection is garbage-collected, `__del__` disconnects the session, as for a
    socket.

    Args:
        engine: The engine that runs the commands.
        encoder: redis-py's encoder of the connection.
        reply_event: Set when a message is put into the inbox.
    """

    __slots__ = (
        "_encode",
        "_encoding",
        "_errors",
        "decode_responses",
        "engine",
        "inbox",
        "reply_event",
        "session",
    )

    def __init__(self, engine: Engine, encoder: Any, reply_event: ReplyEvent) -> None:
        self.engine = engine
        self.inbox: deque[Reply] = deque()
        self.reply_event = reply_event
        self.decode_responses = bool(encoder.decode_responses)
        self._encode = encoder.encode
        self._encoding = encoder.encoding
        self._errors = encoder.encoding_errors
        node = engine.cluster
        if node is not None and node.down:
            raise ConnectionRefusedError(f"the node at port {node.port} is down")
        self.session = Session(engine, _deliver_to(self.inbox, reply_event), kind="in-process")
        if len(engine.clients.by_id) >= engine.server.config.numbers["maxclients"]:
            self.session.closing = True
            self.inbox.append(RedisError("ERR max number of clients reached"))
        else:
            engine.connect(self.session)

    def send(self, argv: list[bytes]) -> None:
        """Run one command and put its reply into the inbox.

        If an exception interrupts this method, the caller must close the connection: the command
        may or may not have run.
        """
        session = self.session
        if not session.closing:
            reply = self.engine.execute(session, argv)
            if reply is not PENDING and reply is not NO_REPLY:
                self.inbox.append(reply)
        if session.closing:
            self.inbox.append(CLOSED)

    def pack(self, args: Iterable[Any]) -> list[bytes]:
        """Convert arguments to bytes as redis-py encodes them.

        Raises:
            redis.DataError: redis-py does not accept the type of an argument.
        """
        argv: list[bytes] = []
        for arg in args:
            kind = type(arg)
            if kind is bytes:
                argv.append(arg)
            elif kind is str:
                argv.append(arg.encode(self._encoding, self._errors))
            elif kind is int:
                argv.append(b"%d" % arg)
            else:
                argv.append(bytes(self._encode(arg)))
        if b" " in argv[0]:
            argv[:1] = argv[0].split()
        return argv

    def has_unread(self) -> bool:
        """Whether a reply to an earlier command is in the inbox or still expected."""
        session = self.session
        if not self.inbox and session.blocked is None:
            return False
        return session.blocked is not None or any(type(reply) is not Push for reply in self.inbox)

    def seconds_to_wait(self, most: float) -> float:
        """Seconds to wait for a reply before checking the clock, at most ``most``."""
        blocked = self.session.blocked
        if blocked is None or blocked.deadline is None:
            return most
        return min(most, max(0.001, (blocked.deadline - self.engine.server.clock.ms()) / 1000))

    def close(self) -> None:
        """Disconnect the session. A thread that waits for a reply gets a ConnectionError."""
        if self.session.id in self.engine.clients.by_id:
            self.engine.disconnect(self.session)
        self.session.closing = True
        self.inbox.append(CLOSED)
        self.reply_event.set()

    def __del__(self) -> None:
        if hasattr(self, "session"):
            try:
                self.close()
            except Exception:  # modules are half gone when the interpreter ends
                pass

    def decode(self, value: bytes) -> str:
        """Decode bytes for a client with ``decode_responses``."""
        return value.decode(self._encoding, self._errors)

    def shutdown(self, how: int) -> None:
        """Do nothing. Part of the interface of a socket."""

    async def wait_closed(self) -> None:
        """Do nothing: `close` takes effect at once. Part of the interface of a stream writer."""

    def read(self, reply: Reply, parse_error: Callable[[str], ClientError], raw: bool) -> Any:
        """Convert a reply to what redis-py's parser would return."""
        decode = None if raw or not self.decode_responses else self.decode
        if self.session.protocol == 2:
            reply = to_resp2(reply)
        return _read(reply, parse_error, decode)


def _deliver_to(inbox: deque[Reply], reply_event: ReplyEvent) -> Callable[[Reply], None]:
    def deliver(reply: Reply) -> None:
        inbox.append(reply)
        reply_event.set()

    return deliver


def _read(
    reply: Any,
    parse_error: Callable[[str], ClientError],
    decode: Callable[[bytes], str] | None,
) -> Any:
    kind = type(reply)
    if kind is bytes:
        return decode(reply) if decode is not None else reply
    if kind is int or reply is None or kind is float or kind is bool:
        return reply
    if kind is SimpleString or kind is Verbatim:
        return decode(reply) if decode is not None else bytes(reply)
    if kind is list or kind is Push or kind is Pairs or kind is tuple:
        return [_read(item, parse_error, decode) for item in reply]
    if kind is dict:
        return {
            _read(key, parse_error, decode): _read(value, parse_error, decode)
            for key, value in reply.items()
        }
    if kind is PairMap or kind is MapReply:
        return {
            _read(key, parse_error, decode): _read(value, parse_error, decode)
            for key, value in reply
        }
    if kind is SetReply:
        items = [_read(item, parse_error, decode) for item in reply]
        try:
            return set(items) if _SETS_AS_SET else items
        except TypeError:
            return items
    if isinstance(reply, RedisError):
        return parse_error(reply.wire().decode("utf-8", errors="replace"))
    if reply is NULL_ARRAY:
        return None
    if kind is BigNumber:
        return int(reply)
    if kind is Double17 or kind is Decimals17:
        return float(reply)
    raise TypeError(f"a command returned {reply!r}, which is not a reply type")
