"""The in-process wire between one redis-py connection and its session.

`Link` takes the place of the socket: argument values go in as redis-py would encode them, replies
come out as redis-py's own parsers would have read them, for either protocol and any redis-py from 5
on. What waits is decided by the two connection classes; a link only knows how to wake them.
"""

from __future__ import annotations

import contextlib
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
    lower,
)

NOT_FOR_US: Final = frozenset(
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
"""Arguments of redis-py's socket connections that mean nothing without a socket."""

_SETS_ARE_SETS: Final = tuple(map(int, redis.__version__.split(".")[:2])) < (5, 1)
_names: dict[Any, tuple[bytes, ...]] = {}


class Bell(Protocol):
    """What a reader waits for."""

    def set(self) -> None:
        """Wake the reader. Called by any thread, under the engine's lock."""


class Link:
    """One session and the replies it has not read yet.

    The server knows the session, the inbox and the bell, but not the link: a connection that is
    garbage leaves the server, as one whose socket is garbage does.

    Args:
        engine: Where commands run.
        encoder: redis-py's encoder of the connection.
        bell: Rung when something arrives while the connection may be waiting.
    """

    __slots__ = ("_encode", "_encoding", "_errors", "bell", "decodes", "engine", "inbox", "session")

    def __init__(self, engine: Engine, encoder: Any, bell: Bell) -> None:
        self.engine = engine
        self.inbox: deque[Reply] = deque()
        self.bell = bell
        self.decodes = bool(encoder.decode_responses)
        self._encode = encoder.encode
        self._encoding = encoder.encoding
        self._errors = encoder.encoding_errors
        node = engine.cluster
        if node is not None and node.down:
            raise ConnectionRefusedError(f"the node at port {node.port} is down")
        self.session = Session(engine, _deliverer(self.inbox, bell), kind="in-process")
        if len(engine.clients.by_id) >= engine.server.config.numbers["maxclients"]:
            self.session.closing = True
            self.inbox.append(RedisError("ERR max number of clients reached"))
        else:
            engine.connect(self.session)

    def send(self, argv: list[bytes]) -> None:
        """Run one command; the reply goes to the inbox.

        Whoever is interrupted in here has to close the link: nobody knows what has been done.
        """
        session = self.session
        if not session.closing:
            reply = self.engine.execute(session, argv)
            if reply is not PENDING and reply is not NO_REPLY:
                self.inbox.append(reply)
        if session.closing:
            self.inbox.append(CLOSED)

    def pack(self, args: Iterable[Any]) -> list[bytes]:
        """Arguments as bytes, as redis-py puts them on a wire.

        Raises:
            redis.DataError: An argument is of a type that redis-py refuses.
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
        """Whether a reply is there or still to come that the next caller must not read."""
        session = self.session
        if not self.inbox and session.blocked is None:
            return False
        return session.blocked is not None or any(type(reply) is not Push for reply in self.inbox)

    def patience(self, most: float) -> float:
        """How many seconds to wait for a reply before looking at the clock: at most ``most``."""
        blocked = self.session.blocked
        if blocked is None or blocked.deadline is None:
            return most
        return min(most, max(0.001, (blocked.deadline - self.engine.server.clock.ms()) / 1000))

    def close(self) -> None:
        """Leave the server. A thread that waits for a reply is told, as by a socket."""
        if self.session.id in self.engine.clients.by_id:
            self.engine.disconnect(self.session)
        self.session.closing = True
        self.inbox.append(CLOSED)
        self.bell.set()

    def __del__(self) -> None:
        if hasattr(self, "session"):
            with contextlib.suppress(Exception):
                self.close()

    def decode(self, value: bytes) -> str:
        """Bytes as the text that ``decode_responses`` promises."""
        return value.decode(self._encoding, self._errors)

    def shutdown(self, how: int) -> None:
        """As a socket's; closing is what counts."""

    async def wait_closed(self) -> None:
        """As a stream writer's; an in-process link is closed at once."""

    def read(self, reply: Reply, parse_error: Callable[[str], ClientError], raw: bool) -> Any:
        """``reply`` as redis-py's parser hands it to the client."""
        decode = None if raw or not self.decodes else self.decode
        if self.session.protocol == 2:
            reply = lower(reply)
        return _read(reply, parse_error, decode)


def _deliverer(inbox: deque[Reply], bell: Bell) -> Callable[[Reply], None]:
    def deliver(reply: Reply) -> None:
        inbox.append(reply)
        bell.set()

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
            return set(items) if _SETS_ARE_SETS else items
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
    raise TypeError(f"a command replied with {reply!r}, which is not a reply")
