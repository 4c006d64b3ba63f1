"""One client as the emulator sees it: identity, selected database, and the modes it is in.

A session holds state and knows no command; the engine moves it and the doors listen to `deliver`.
Whatever makes a session other than a plain logged-in client (a transaction, subscriptions,
tracking, an ACL user with limits …) sets a flag that sends its commands through the engine's
careful path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, cast

from redis_emulator.resp.types import CLOSED, Reply

if TYPE_CHECKING:
    from redis_emulator.keyspace.database import Database
    from redis_emulator.server.server import Server
    from redis_emulator.table.entry import Entry


_LIST_NODE: Final = 24
QUERY_BUFFER: Final = 20474
"""Bytes that fit into the buffer that a server other than Valkey reads a client with."""


class Buffers(NamedTuple):
    """What a door keeps for a client, in bytes.

    Attributes:
        query: What arrived and is not read yet.
        room: What could arrive without another allocation.
        arguments: Those that are read of a command that is not complete.
        replies: The allocations of replies that the client has not taken.
        blocks: How many these are.
        short: What is not taken of replies that need no allocation.
    """

    query: int = 0
    room: int = 0
    arguments: int = 0
    replies: int = 0
    blocks: int = 0
    short: int = 0

    def output(self) -> int:
        """The allocations of replies, with the list that holds them."""
        return self.replies + _LIST_NODE * self.blocks


class Tracking(Protocol):
    """What others are told of a session's mode ``tracking``."""

    redirect: int
    broken: bool
    broadcast: bool
    prefixes: Iterable[bytes]

    def flags(self) -> Iterable[bytes]:
        """The words of CLIENT TRACKINGINFO."""
        ...


class Session:
    """The state of one client connection, also the context that commands get."""

    __slots__ = (
        "addr",
        "authenticated",
        "backlog",
        "blocked",
        "buffers",
        "bytes_in",
        "bytes_out",
        "capabilities",
        "channels",
        "closing",
        "commands",
        "connected_at",
        "db",
        "deliver",
        "deny_blocking",
        "dirty",
        "executing",
        "flags",
        "id",
        "kind",
        "laddr",
        "last_active",
        "last_command",
        "late",
        "lib_name",
        "lib_ver",
        "limited",
        "modes",
        "name",
        "needs_full_checks",
        "patterns",
        "protocol",
        "queue",
        "queue_failed",
        "reply_mode",
        "script",
        "server",
        "shard_channels",
        "transactional",
        "user",
        "watched",
    )

    def __init__(self, server: Server, deliver: Callable[[Reply], None], kind: str = "tcp") -> None:
        self.server = server
        self.deliver = deliver
        self.kind = kind
        self.buffers: Callable[[], Buffers] = Buffers
        self.id = server.next_client_id()
        self.db: Database = server.databases[0]
        self.protocol = 2
        self.user = "default"
        self.limited = not server.access.users["default"].unlimited
        self.late: list[Reply] = []
        self.authenticated = not server.needs_password()
        self.name = b""
        self.lib_name = b""
        self.lib_ver = b""
        self.addr = f"127.0.0.1:{32768 + self.id % 28000}"
        self.laddr = "127.0.0.1:6379"
        self.connected_at = server.clock.ms()
        self.last_active = self.connected_at
        self.last_command: Entry | None = None
        self.commands = 0
        self.bytes_in = 0
        self.capabilities = ""
        self.bytes_out = 0
        self.queue: list[tuple[Entry, list[bytes]]] | None = None
        self.queue_failed = False
        self.executing: list[tuple[Entry, list[bytes]]] | None = None
        self.watched: set[tuple[Database, bytes]] = set()
        self.dirty = False
        self.transactional = False
        self.blocked: Blocked | None = None
        self.backlog: list[list[bytes]] = []
        self.deny_blocking = False
        self.channels: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}
        self.shard_channels: dict[bytes, None] = {}
        self.reply_mode = "on"
        self.closing = False
        self.script: object | None = None
        self.flags: set[str] = set()
        self.modes: dict[str, object] = {}
        self.needs_full_checks = not self.authenticated or self.limited

    def refresh(self) -> None:
        """Decide anew whether commands of this client need the engine's careful path."""
        self.needs_full_checks = bool(
            not self.authenticated
            or self.limited
            or self.queue is not None
            or self.channels
            or self.patterns
            or self.shard_channels
            or self.reply_mode != "on"
            or self.modes
            or self.flags
        )

    def close(self) -> None:
        """End this client from the server's side; its door learns by a reply `CLOSED`."""
        if not self.closing:
            self.closing = True
            self.server.disconnect(self)
            self.deliver(CLOSED)

    def tracking(self) -> Tracking | None:
        """The mode of client-side caching that this client is in."""
        return cast("Tracking | None", self.modes.get("tracking"))

    def subscribed(self) -> bool:
        """Whether this client listens to any channel or pattern."""
        return bool(self.channels or self.patterns or self.shard_channels)

    def subscription_count(self) -> int:
        """Channels and patterns this client listens to, as SUBSCRIBE counts them."""
        return len(self.channels) + len(self.patterns)

    def unwatch(self) -> None:
        """Forget all watched keys."""
        for db, key in self.watched:
            sessions = db.watchers[key]
            sessions.discard(self)
            if not sessions:
                del db.watchers[key]
        if self.watched:
            self.watched = set()
            self.server.refresh()
        self.dirty = False

    def fail_transaction(self, name: bytes) -> None:
        """A command was refused: inside MULTI, EXEC will fail; EXEC itself ends MULTI and WATCH."""
        if self.queue is not None:
            self.queue_failed = True
        if name.lower() == b"exec":
            self.end_transaction()

    def end_transaction(self) -> None:
        """Leave MULTI: drop the queue, unwatch."""
        self.queue = None
        self.queue_failed = False
        self.unwatch()
        self.refresh()


class Blocked:
    """What a command returns that must wait: served when ``attempt`` succeeds on one of ``keys``.

    Args:
        keys: The keys whose change may serve the client, in the order to be tried.
        deadline: Milliseconds since the epoch after which to give up, or None for never.
        attempt: Called with a key that changed; returns the reply, or None to go on waiting.
        on_timeout: The reply when the deadline passes.
        kind: What a key must hold for an attempt, as TYPE says it; None for whatever.
        without_key: An attempt is made as well when a stream that was waited for is gone.

    Attributes:
        argv: The command, noted by the engine.
    """

    __slots__ = (
        "argv",
        "attempt",
        "db",
        "deadline",
        "keys",
        "kind",
        "on_timeout",
        "session",
        "without_key",
    )

    def __init__(
        self,
        session: Session,
        keys: list[bytes],
        deadline: int | None,
        attempt: Callable[[bytes], Reply | None],
        on_timeout: Reply,
        *,
        kind: bytes | None = None,
        without_key: bool = False,
    ) -> None:
        self.session = session
        self.db = session.db
        self.keys = keys
        self.deadline = deadline
        self.attempt = attempt
        self.on_timeout = on_timeout
        self.argv: list[bytes] = []
        self.kind = kind
        self.without_key = without_key

    def concerns(self, value: object | None) -> bool:
        """Whether an attempt is to be made now that a key holds ``value``."""
        if self.kind is None or self.without_key:
            return True
        return value is not None and getattr(value, "kind", b"string") == self.kind


class Pause:
    """The time for which clients are kept waiting, and those who wait.

    Args:
        until: Milliseconds since the epoch.
        writes_only: Whether commands that change nothing go on.

    Attributes:
        waiting: The clients whose commands run afterwards.
        changes: The keys of which blocked clients hear afterwards.
    """

    __slots__ = ("changes", "until", "waiting", "writes_only")

    def __init__(self, until: int, writes_only: bool) -> None:
        self.until = until
        self.writes_only = writes_only
        self.waiting: list[Session] = []
        self.changes: list[tuple[Database, bytes]] = []
