"""One client: its identity, the database it has selected, its transaction, the modes it is in.

A `Client` is state and knows neither a server nor the engine. The registries of this folder (who
subscribes, who watches, who is blocked) hold clients; commands get the client as a
`redis_emulator.clients.session.Session`. Replies and messages that come later than the reply of the
running command go to `Client.deliver`, which the client's transport provides.

A client in one of its modes (a transaction, a subscription, tracking, limited by ACL …) has
`Client.needs_full_checks` set: its commands do not take the engine's short path.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

from redis_emulator.keyspace.database import Database
from redis_emulator.resp.types import CLOSED, Aside, Reply
from redis_emulator.table.entry import Entry

_LIST_NODE: Final = 24
QUERY_BUFFER: Final = 20474
"""Bytes that fit into the buffer that a server other than Valkey reads a client with."""


class Buffers(NamedTuple):
    """What a transport buffers for a client, in bytes.

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


class ReplyMode(Enum):
    """What CLIENT REPLY asked for."""

    ON = "on"
    OFF = "off"
    SKIP_NEXT = "skip next"
    """CLIENT REPLY SKIP is running: the command after it gets no reply."""
    SKIP = "skip"
    """The command that is running gets no reply."""


class TrackingMode:
    """How a client takes part in client-side caching (CLIENT TRACKING).

    Attributes:
        redirect: The client that gets the messages instead; 0 for none.
        broken: Whether that client was found disconnected.
        caching: Whether CLIENT CACHING was called for the next command.
        broadcast: Whether the client is told of all keys below its prefixes.
        optin: Whether only reads after CLIENT CACHING YES are remembered.
        optout: Whether reads after CLIENT CACHING NO are not remembered.
        noloop: Whether the client is not told of its own changes.
        prefixes: In broadcasting mode, what its keys begin with.
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
        """The words of CLIENT TRACKINGINFO."""
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

    def remembers_reads(self) -> bool:
        """Whether what the client reads now is remembered."""
        if self.broadcast:
            return False
        return self.caching if self.optin else not (self.optout and self.caching)


class Client:
    """The state of one client connection.

    Args:
        number: Its id, as CLIENT ID says it.
        db: The database it starts with.
        now: When it connected, in milliseconds since the epoch.
        deliver: Sends the client what `Client.deliver` is given.
        kind: ``tcp``, ``unix``, or a name for a client inside the process.
        buffers: Tells what the client's transport buffers.

    Attributes:
        aside: Where messages are put while EXEC collects replies, None otherwise.
        late: Messages that are delivered after the reply of the command that is running.
        queue: The commands of MULTI so far, None outside a transaction.
        executing: The commands of the transaction that EXEC is running.
        watched: The watched keys, as index of the database and key.
        dirty: Whether a watched key has changed.
        transactional: Whether the client has ever called MULTI or WATCH.
        backlog: Commands that arrived while the client was blocked or held by a pause.
        deny_blocking: Whether a command of this client must not block: in a transaction or script.
        stores_digits_as_text: Whether a string of digits is not stored as an integer: in scripts of
            Valkey.
        is_script: Whether these are the calls of a script.
        closing: Whether the client is to be disconnected once it has been sent its replies.
        limited: Whether the client's user may not do everything.
        asking: Whether ASKING was called for the next command.
        readonly: Whether the client reads from replicas of a cluster (READONLY).
        monitoring: Whether the client gets the feed of MONITOR.
        is_replica: Whether the client has introduced itself as a replica (REPLCONF).
    """

    __slots__ = (
        "_send",
        "addr",
        "aside",
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
        "executing",
        "id",
        "import_source",
        "is_replica",
        "is_script",
        "kind",
        "laddr",
        "last_active",
        "last_command",
        "late",
        "lib_name",
        "lib_ver",
        "limited",
        "monitoring",
        "name",
        "needs_full_checks",
        "no_evict",
        "no_touch",
        "patterns",
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
        self.aside: list[Reply] | None = None
        self.kind = kind
        self.buffers = buffers
        self.protocol = 2
        self.user = "default"
        self.limited = False
        self.late: list[Reply] = []
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
        """Decide anew whether this client's commands need the engine's full checks."""
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
        """Send the client a reply or message that comes later than, or beside, the reply of the
        command that is running.
        """
        if self.aside is None or message is CLOSED:
            self._send(message)
        else:
            self.aside.append(Aside(message))

    @property
    def interleaves(self) -> bool:
        """Whether messages take their place among the replies of EXEC, as on a byte stream. A
        client inside the process gets them before its reply.
        """
        return self.kind == "tcp"

    @property
    def can_block(self) -> bool:
        """Whether a command may block: not in a transaction or script."""
        return not self.deny_blocking

    @property
    def can_subscribe(self) -> bool:
        """Whether a command may subscribe to channels and patterns: not in a script."""
        return not self.is_script

    @property
    def needs_fixed_order(self) -> bool:
        """Whether replies must not depend on the order of a set: in a script."""
        return self.is_script

    @property
    def only_subscribes(self) -> bool:
        """Whether the client is a RESP2 subscriber: it may send few commands, and PING is answered
        as a message is sent.
        """
        return self.protocol == 2 and self.subscribed()

    def subscribed(self) -> bool:
        """Whether this client listens to any channel or pattern."""
        return bool(self.channels or self.patterns or self.shard_channels)

    def subscription_count(self) -> int:
        """Channels and patterns this client listens to, as SUBSCRIBE counts them."""
        return len(self.channels) + len(self.patterns)


class Blocked:
    """What a command returns that must wait. The client is served when ``attempt`` succeeds.

    Args:
        client: The client that blocks.
        keys: The keys whose change may serve the client, in the order to be tried.
        deadline: Milliseconds since the epoch after which to give up, or None for never.
        attempt: Called with a key that changed; returns the reply, or None to go on waiting.
        on_timeout: The reply when the deadline passes.
        kind: What a key must hold for an attempt, as TYPE says it; None for whatever.
        without_key: An attempt is made as well when a stream that was waited for is gone.

    Attributes:
        give_up_at: `real_seconds` after which to give up, whatever the machine's clock says.
        argv: The command, noted by the engine.
    """

    __slots__ = (
        "argv",
        "attempt",
        "client",
        "db",
        "deadline",
        "give_up_at",
        "keys",
        "kind",
        "on_timeout",
        "without_key",
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
        without_key: bool = False,
    ) -> None:
        self.client = client
        self.db = client.db
        self.keys = keys
        self.deadline = deadline
        self.give_up_at: float | None = None
        self.attempt = attempt
        self.on_timeout = on_timeout
        self.argv: list[bytes] = []
        self.kind = kind
        self.without_key = without_key

    def concerns(self, value: object | None) -> bool:
        """Whether to make an attempt now that a key holds ``value``."""
        if self.kind is None or self.without_key:
            return True
        return value is not None and getattr(value, "kind", b"string") == self.kind
