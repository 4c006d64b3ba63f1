"""The state of one client: identity, selected database, transaction, subscriptions, modes.

A `Client` knows neither the server nor the engine. The registries of this folder (subscribers,
watching clients, blocked clients) hold clients. Commands get the client as a
`redis_emulator.clients.session.Session`. Messages, and replies to blocked clients, are sent with
`Client.deliver`; the client's transport provides the function.

`Client.needs_full_checks` is set while the client is in a transaction, subscribed, tracking,
limited by ACL and so on. Its commands then do not take the short path of the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

from redis_emulator.keyspace.database import Database
from redis_emulator.resp.types import CLOSED, InterleavedMessage, Reply
from redis_emulator.table.entry import Entry

_LIST_NODE: Final = 24
QUERY_BUFFER: Final = 20474
"""Size of the query buffer of Redis, in bytes."""


class Buffers(NamedTuple):
    """Sizes of the buffers that a transport holds for a client, as CLIENT LIST shows them.

    Attributes:
        query: Bytes in the query buffer (``qbuf``).
        room: Free bytes of the query buffer (``qbuf-free``).
        arguments: Bytes of the parsed arguments of an incomplete command (``argv-mem``).
        replies: Bytes of the output list.
        blocks: Number of entries of the output list (``oll``).
        short: Bytes in the static output buffer (``obl``).
    """

    query: int = 0
    room: int = 0
    arguments: int = 0
    replies: int = 0
    blocks: int = 0
    short: int = 0

    def output(self) -> int:
        """Bytes of the output list with its nodes (``omem``)."""
        return self.replies + _LIST_NODE * self.blocks


class ReplyMode(Enum):
    """The modes of CLIENT REPLY."""

    ON = "on"
    OFF = "off"
    SKIP_NEXT = "skip next"
    """CLIENT REPLY SKIP is running: the command after it gets no reply."""
    SKIP = "skip"
    """The command that is running gets no reply."""


class TrackingMode:
    """The options of CLIENT TRACKING for one client.

    Attributes:
        redirect: The id of the client that gets the invalidation messages; 0 for none.
        broken: Whether that client has disconnected.
        caching: Whether CLIENT CACHING was called for the next command.
        broadcast: BCAST: messages for all keys with one of the prefixes.
        optin: OPTIN: only reads after CLIENT CACHING YES are tracked.
        optout: OPTOUT: reads after CLIENT CACHING NO are not tracked.
        noloop: NOLOOP: no messages for the client's own changes.
        prefixes: The key prefixes of the broadcasting mode.
    """

    __slots__ = (
        "broadcast",
        "broken",
        "caching",
        "noloop",
        "optin",
        "optout",
        "prefixes",
        "redirect",
    )

    def __init__(self) -> None:
        self.redirect = 0
        self.broken = self.caching = False
        self.broadcast = self.optin = self.optout = self.noloop = False
        self.prefixes: set[bytes] = set()

    def flags(self) -> list[bytes]:
        """The flags of CLIENT TRACKINGINFO."""
        words = (
            (b"on", True),
            (b"bcast", self.broadcast),
            (b"optin", self.optin),
            (b"caching-yes", self.optin and self.caching),
            (b"optout", self.optout),
            (b"caching-no", self.optout and self.caching),
            (b"noloop", self.noloop),
            (b"broken_redirect", self.broken),
        )
        return [word for word, said in words if said]

    def tracks_reads(self) -> bool:
        """Whether keys that the client reads now are tracked."""
        if self.broadcast:
            return False
        return self.caching if self.optin else not (self.optout and self.caching)


class Client:
    """The state of one client connection.

    Args:
        number: The client id (CLIENT ID).
        db: The selected database.
        now: The time of the connection, in milliseconds since the epoch.
        deliver: Sends a message to the client.
        kind: The transport: ``tcp``, ``unix`` or ``in-process``; ``lua`` for scripts.
        buffers: Returns the sizes of the transport's buffers.

    Attributes:
        exec_replies: The list that collects replies and messages while EXEC runs; None otherwise.
        pending_pushes: Push messages to send after the reply to the running command.
        queue: The queued commands of MULTI; None outside a transaction.
        executing: The commands of the transaction that EXEC is running.
        watched: The watched keys as (database index, key).
        dirty: Whether a watched key has changed.
        transactional: Whether the client has ever called MULTI or WATCH.
        backlog: Commands that arrived while the client was blocked or paused.
        deny_blocking: Whether commands must not block: inside a transaction or script.
        stores_digits_as_text: Whether strings of digits are not stored as integers: in scripts of
            Valkey.
        is_script: Whether this is the session that runs the calls of scripts.
        closing: Whether to disconnect the client after its pending replies.
        limited: Whether ACL restricts the client's user.
        asking: Whether ASKING was called for the next command.
        readonly: Whether the client reads from replicas of a cluster (READONLY).
        monitoring: Whether the client called MONITOR.
        is_replica: Whether the client called REPLCONF as a replica.
    """

    __slots__ = (
        "_send",
        "addr",
        "asking",
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
        "deny_blocking",
        "dirty",
        "exec_replies",
        "executing",
        "id",
        "import_source",
        "is_replica",
        "is_script",
        "kind",
        "laddr",
        "last_active",
        "last_command",
        "lib_name",
        "lib_ver",
        "limited",
        "monitoring",
        "name",
        "needs_full_checks",
        "no_evict",
        "no_touch",
        "patterns",
        "pending_pushes",
        "protocol",
        "queue",
        "queue_failed",
        "rdb_filter",
        "rdb_only",
        "readonly",
        "reply_mode",
        "shard_channels",
        "stores_digits_as_text",
        "tracking",
        "transactional",
        "user",
        "watched",
    )

    def __init__(
        self,
        number: int,
        db: Database,
        now: int,
        deliver: Callable[[Reply], None],
        kind: str = "tcp",
        buffers: Callable[[], Buffers] = Buffers,
    ) -> None:
        self.id = number
        self.db = db
        self._send = deliver
        self.exec_replies: list[Reply] | None = None
        self.kind = kind
        self.buffers = buffers
        self.protocol = 2
        self.user = "default"
        self.limited = False
        self.pending_pushes: list[Reply] = []
        self.authenticated = True
        self.name = b""
        self.lib_name = b""
        self.lib_ver = b""
        self.addr = f"127.0.0.1:{32768 + self.id % 28000}"
        self.laddr = "127.0.0.1:6379"
        self.connected_at = now
        self.last_active = self.connected_at
        self.last_command: Entry | None = None
        self.commands = 0
        self.bytes_in = 0
        self.capabilities = ""
        self.bytes_out = 0
        self.queue: list[tuple[Entry, list[bytes]]] | None = None
        self.queue_failed = False
        self.executing: list[tuple[Entry, list[bytes]]] | None = None
        self.watched: set[tuple[int, bytes]] = set()
        self.dirty = False
        self.transactional = False
        self.blocked: Blocked | None = None
        self.backlog: list[list[bytes]] = []
        self.deny_blocking = False
        self.channels: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}
        self.shard_channels: dict[bytes, None] = {}
        self.reply_mode = ReplyMode.ON
        self.closing = False
        self.is_script = False
        self.stores_digits_as_text = False
        self.tracking: TrackingMode | None = None
        self.monitoring = False
        self.asking = False
        self.readonly = False
        self.no_evict = False
        self.no_touch = False
        self.import_source = False
        self.is_replica = False
        self.rdb_only = False
        self.rdb_filter: str | None = None
        self.needs_full_checks = False

    def refresh(self) -> None:
        """Update `needs_full_checks` after a mode of the client has changed."""
        self.needs_full_checks = bool(
            not self.authenticated
            or self.limited
            or self.queue is not None
            or self.channels
            or self.patterns
            or self.shard_channels
            or self.reply_mode is not ReplyMode.ON
            or self.tracking is not None
            or self.monitoring
            or self.asking
        )

    def deliver(self, message: Reply) -> None:
        """Send a message, or the reply to a command that had blocked. Replies of commands that do
        not block are returned by the engine instead.
        """
        if self.exec_replies is None or message is CLOSED:
            self._send(message)
        else:
            self.exec_replies.append(InterleavedMessage(message))

    @property
    def interleaves_messages(self) -> bool:
        """Whether messages that a transaction causes for its own client appear among the replies of
        EXEC, as on a TCP connection. An in-process client gets them before the reply.
        """
        return self.kind == "tcp"

    @property
    def can_block(self) -> bool:
        """Whether a command may block: not inside a transaction or script."""
        return not self.deny_blocking

    @property
    def can_subscribe(self) -> bool:
        """Whether a command may subscribe to channels and patterns: not inside a script."""
        return not self.is_script

    @property
    def needs_fixed_order(self) -> bool:
        """Whether replies must not depend on the order of a set: inside a script."""
        return self.is_script

    @property
    def in_subscribe_mode(self) -> bool:
        """Whether the client is a RESP2 subscriber. Then only few commands are allowed, and PING
        replies with a message.
        """
        return self.protocol == 2 and self.subscribed()

    def subscribed(self) -> bool:
        """Whether the client has any subscription."""
        return bool(self.channels or self.patterns or self.shard_channels)

    def subscription_count(self) -> int:
        """The number of subscribed channels and patterns, as in the reply of SUBSCRIBE."""
        return len(self.channels) + len(self.patterns)


class Blocked:
    """Returned by a command that must wait. The client is served when ``attempt`` returns a reply.

    Args:
        client: The client that blocks.
        keys: The keys whose change may serve the client.
        deadline: The timeout, in milliseconds since the epoch; None for no timeout.
        attempt: Called with a changed key. Returns the reply, or None to keep waiting.
        on_timeout: The reply after the timeout.
        kind: The type, as TYPE prints it, that a key must hold to serve the client; None for any.
        unblock_on_removal: Whether deleting a stream also calls ``attempt``.

    Attributes:
        real_deadline: The timeout in `real_seconds`, used while the system clock is frozen.
        argv: The blocked command. The engine sets it.
    """

    __slots__ = (
        "argv",
        "attempt",
        "client",
        "db",
        "deadline",
        "keys",
        "kind",
        "on_timeout",
        "real_deadline",
        "unblock_on_removal",
    )

    def __init__(
        self,
        client: Client,
        keys: list[bytes],
        deadline: int | None,
        attempt: Callable[[bytes], Reply | None],
        on_timeout: Reply,
        *,
        kind: bytes | None = None,
        unblock_on_removal: bool = False,
    ) -> None:
        self.client = client
        self.db = client.db
        self.keys = keys
        self.deadline = deadline
        self.real_deadline: float | None = None
        self.attempt = attempt
        self.on_timeout = on_timeout
        self.argv: list[bytes] = []
        self.kind = kind
        self.unblock_on_removal = unblock_on_removal

    def can_be_served_by(self, value: object | None) -> bool:
        """Whether to call ``attempt`` for a key that now holds ``value``."""
        if self.kind is None or self.unblock_on_removal:
            return True
        return value is not None and getattr(value, "kind", b"string") == self.kind
