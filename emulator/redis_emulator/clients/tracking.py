"""Client-side caching (CLIENT TRACKING): the tracking table and invalidation messages.

In the default mode the table stores which clients have read a key, without regard to the database.
The first change of the key sends an invalidation message to these clients and removes the entry. In
broadcasting mode a client names prefixes; one message lists all keys with these prefixes that a
command changed. Messages about a client's own changes are sent after the reply to the command.

`Clients.tracker` is None until the first client enables tracking, so that tracking costs nothing
before.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from redis_emulator.clients.client import Client, TrackingMode
from redis_emulator.clients.registry import Registry
from redis_emulator.keyspace.context import KeyObserver
from redis_emulator.resp.types import Push, Reply
from redis_emulator.server.server import Server
from redis_emulator.table.entry import Entry
from redis_emulator.table.keyspec import keys as keys_of

CHANNEL: Final = b"__redis__:invalidate"
_READ_ONLY_SCRIPTS: Final = frozenset({"eval_ro", "evalsha_ro", "fcall_ro"})
_REPLY_FIRST: Final = frozenset(
    "bitfield blpop brpop geoadd getdel getex getset hincrby hincrbyfloat hmset hset hsetnx lpop "
    "lpush lpushx lset rpop rpush rpushx spop xadd zadd zincrby".split()
)
_REPLY_FIRST_IF_KEPT: Final = frozenset({"expire", "expireat", "pexpire", "pexpireat"})
_REPLY_FIRST_IF_GONE: Final = frozenset(
    {"sdiffstore", "zdiffstore", "zinterstore", "zrangestore", "zunionstore"}
)
_REPLY_FIRST_FOR_SOURCE: Final = frozenset({"blmove", "brpoplpush", "lmove", "rpoplpush"})


class Prefix:
    """A prefix of the broadcasting mode.

    Attributes:
        listeners: The clients that track it.
        changed: Keys that the running command changed, with the client that changed them.
    """

    __slots__ = ("changed", "listeners")

    def __init__(self) -> None:
        self.listeners: dict[Client, TrackingMode] = {}
        self.changed: dict[bytes, Client | None] = {}


class Tracker(KeyObserver):
    """The tracking table of one server.

    Attributes:
        clients: The tracking clients.
        keys: For each key the ids of the clients that have read it since its last change.
        prefixes: The prefixes of the broadcasting mode.
    """

    __slots__ = (
        "_author",
        "_recent",
        "_registry",
        "_running",
        "_server",
        "clients",
        "keys",
        "prefixes",
    )

    def __init__(self, server: Server, registry: Registry) -> None:
        self._server = server
        self._registry = registry
        self._recent = not server.version.before(7, 2)
        self.clients: dict[Client, None] = {}
        self.keys: dict[bytes, dict[int, None]] = {}
        self.prefixes: dict[bytes, Prefix] = {}
        self._author: Client | None = None
        self._running: tuple[Entry, list[bytes]] | None = None

    def enable(self, client: Client, mode: TrackingMode, prefixes: Iterable[bytes]) -> None:
        """Enable tracking for a client. ``prefixes`` are added to those of ``mode``."""
        if mode.broadcast:
            for prefix in prefixes:
                mode.prefixes.add(prefix)
                self.prefixes.setdefault(prefix, Prefix()).listeners[client] = mode
        client.tracking = mode
        self.clients[client] = None
        client.refresh()
        self._server.observe(self)

    def disable(self, client: Client) -> None:
        """Disable tracking for a client."""
        mode, client.tracking = client.tracking, None
        if mode is None:
            return
        for name in mode.prefixes:
            prefix = self.prefixes.get(name, Prefix())  # missing if `enable` was interrupted
            prefix.listeners.pop(client, None)
            if not prefix.listeners:
                self.prefixes.pop(name, None)
        client.refresh()
        del self.clients[client]
        if not self.clients:
            self._server.ignore(self)

    def before_call(self, client: Client, entry: Entry, argv: list[bytes]) -> None:
        """Called before each command. The calls of a script have the session of the scripts."""
        self._author = client
        if not client.is_script:
            self._running = (entry, argv)

    def after_call(self, client: Client, entry: Entry, argv: list[bytes]) -> None:
        """Called after each command: store the keys that it read for the client."""
        caller = self._registry.current
        self._author = None if client is caller else caller
        if caller is None or "readonly" not in entry.flags:
            return
        mode = caller.tracking
        if mode is None or not mode.tracks_reads() or "pubsub" in entry.flags:
            return
        if self._recent:
            if entry.name in _READ_ONLY_SCRIPTS:
                return
        elif client.is_script and self._running is not None:
            entry, argv = self._running
        for key in keys_of(entry.spec, argv):
            self.keys.setdefault(argv[key.position], {})[caller.id] = None

    def changed(self, index: int, key: bytes) -> None:
        for name, prefix in self.prefixes.items():
            if key.startswith(name):
                prefix.changed.setdefault(key, self._author)
        readers = self.keys.pop(key, None)
        if readers is not None:
            self._invalidate(index, key, readers)

    def _invalidate(self, index: int, key: bytes, readers: Iterable[int]) -> None:
        server = self._server
        after = not server.version.before(7) or self._reply_comes_first(index, key)
        # Before Redis 7, changes by a script do not count as changes of its client (NOLOOP).
        author = self._registry.current if not server.version.before(7) else self._author
        for number in readers:
            client = self._registry.by_id.get(number)
            mode = None if client is None else client.tracking
            if client is None or mode is None or mode.broadcast:
                continue
            if not (mode.noloop and client is author):
                self._send(client, mode, [key], after)

    def _reply_comes_first(self, index: int, key: bytes) -> bool:
        """Whether the running command replies before the invalidation of ``key`` is sent. Before
        Redis 7 this differs between commands.
        """
        if self._running is None or self._author is None or self._author.is_script:
            return False
        entry, argv = self._running
        name = entry.name
        if name in _REPLY_FIRST:
            return True
        if name in _REPLY_FIRST_IF_KEPT:
            return key in self._server.databases[index].data
        if name in _REPLY_FIRST_IF_GONE:
            return key not in self._server.databases[index].data
        if name in _REPLY_FIRST_FOR_SOURCE:
            return key == argv[1] != argv[2]
        return name == "set" and any(word.lower() == b"get" for word in argv[3:])

    def flushed(self, client: Client, argv: list[bytes]) -> None:
        """FLUSHALL or FLUSHDB has run: invalidate all keys of all tracking clients.

        Since Redis 7.4, a SYNC flush sends the message to its own client before the reply.
        """
        server = self._server
        version = server.version
        after = not version.before(7)
        if version.is_redis(7, 4) and client.can_block:
            after = argv[-1].lower() == b"async"
        self.keys.clear()
        for other in tuple(self._registry.by_id.values()):
            mode = other.tracking
            if mode is not None:
                self._send(other, mode, None, after)

    def after_command(self, client: Client) -> None:
        """Called after a command of a client: send the broadcast messages for its changes."""
        for name in sorted(self.prefixes):
            prefix = self.prefixes[name]
            if prefix.changed:
                self._broadcast(prefix)
        own = client.tracking
        if own is not None and own.caching and client.queue is None:
            last = client.last_command
            if last is None or not last.name.startswith("client"):
                own.caching = False
        limit = self._server.config.numbers["tracking-table-max-keys"]
        while limit and len(self.keys) > limit:
            key = next(iter(self.keys))
            self._invalidate(client.db.index, key, self.keys.pop(key))

    def _broadcast(self, prefix: Prefix) -> None:
        changed, prefix.changed = sorted(prefix.changed.items()), {}
        for listener, mode in tuple(prefix.listeners.items()):
            changed_keys: list[Reply] = [
                key for key, by in changed if not (mode.noloop and by is listener)
            ]
            if changed_keys:
                self._send(listener, mode, changed_keys, True)

    def _send(
        self, client: Client, mode: TrackingMode, keys: list[Reply] | None, after: bool
    ) -> None:
        target: Client | None = client
        if mode.redirect:
            target = self._registry.by_id.get(mode.redirect)
            if target is None:
                mode.broken = True
                if client.protocol == 3:
                    self._registry.push(client, Push((b"tracking-redir-broken", mode.redirect)))
                return
        assert target is not None
        if target.protocol == 3:
            message = Push((b"invalidate", keys))
        elif mode.redirect and target.subscribed():
            message = Push((b"message", CHANNEL, keys))
        else:
            return
        self._registry.push(target, message, after_reply=after if target is client else None)
