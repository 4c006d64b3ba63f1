"""Client-side caching: which client has read which key, and word of every change.

In the default mode a tracking client's reads are remembered, key by key, across databases; the
first change of a key is told to everybody who read it, and forgets them. In broadcasting mode a
client names prefixes and hears of every key below them, with all keys that one command changed in
one message. Words about a client's own changes come after the reply to the command that made them.
The list of broadcasting clients costs nothing while nobody tracks: `Server.tracker` is None until
the first client asks.
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
_OF_SCRIPTS: Final = frozenset({"eval_ro", "evalsha_ro", "fcall_ro"})
_REPLY_FIRST: Final = frozenset(
    "bitfield blpop brpop geoadd getdel getex getset hincrby hincrbyfloat hmset hset hsetnx lpop "
    "lpush lpushx lset rpop rpush rpushx spop xadd zadd zincrby".split()
)
_REPLY_FIRST_IF_KEPT: Final = frozenset({"expire", "expireat", "pexpire", "pexpireat"})
_REPLY_FIRST_IF_GONE: Final = frozenset(
    {"sdiffstore", "zdiffstore", "zinterstore", "zrangestore", "zunionstore"}
)
_MOVES: Final = frozenset({"blmove", "brpoplpush", "lmove", "rpoplpush"})


class Prefix:
    """A prefix that clients broadcast to.

    Attributes:
        listeners: Who asked for it.
        changed: Keys that changed during the present command, and which client changed them.
    """

    __slots__ = ("changed", "listeners")

    def __init__(self) -> None:
        self.listeners: dict[Client, TrackingMode] = {}
        self.changed: dict[bytes, Client | None] = {}


class Tracker(KeyObserver):
    """Everything the tracking clients of one server are to be told.

    Attributes:
        clients: Who tracks.
        keys: Who read a key since it last changed, by client id.
        prefixes: What broadcasting clients listen to.
    """

    __slots__ = (
        "_actor",
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
        self._actor: Client | None = None
        self._running: tuple[Entry, list[bytes]] | None = None

    def enter(self, client: Client, mode: TrackingMode, prefixes: Iterable[bytes]) -> None:
        """Let a client track as ``mode`` says, with more prefixes than it has."""
        if mode.broadcast:
            for prefix in prefixes:
                mode.prefixes.add(prefix)
                self.prefixes.setdefault(prefix, Prefix()).listeners[client] = mode
        client.tracking = mode
        self.clients[client] = None
        client.refresh()
        self._server.observe(self)

    def leave(self, client: Client) -> None:
        """Let a client track no more."""
        mode, client.tracking = client.tracking, None
        if mode is None:
            return
        for name in mode.prefixes:
            prefix = self.prefixes.get(name, Prefix())  # a new one: `enter` was interrupted
            prefix.listeners.pop(client, None)
            if not prefix.listeners:
                self.prefixes.pop(name, None)
        client.refresh()
        del self.clients[client]
        if not self.clients:
            self._server.ignore(self)

    def begin(self, client: Client, entry: Entry, argv: list[bytes]) -> None:
        """A command is about to run; a script's own calls run on the client of the scripts."""
        self._actor = client
        if not client.is_script:
            self._running = (entry, argv)

    def end(self, client: Client, entry: Entry, argv: list[bytes]) -> None:
        """A command has run: note the keys it read for the client behind it."""
        caller = self._registry.current
        self._actor = None if client is caller else caller
        if caller is None or "readonly" not in entry.flags:
            return
        mode = caller.tracking
        if mode is None or not mode.remembers_reads() or "pubsub" in entry.flags:
            return
        if self._recent:
            if entry.name in _OF_SCRIPTS:
                return
        elif client.is_script and self._running is not None:
            entry, argv = self._running
        for key in keys_of(entry.spec, argv):
            self.keys.setdefault(argv[key.position], {})[caller.id] = None

    def changed(self, index: int, key: bytes) -> None:
        for name, prefix in self.prefixes.items():
            if key.startswith(name):
                prefix.changed.setdefault(key, self._actor)
        readers = self.keys.pop(key, None)
        if readers is not None:
            self._tell_readers(index, key, readers)

    def _tell_readers(self, index: int, key: bytes, readers: Iterable[int]) -> None:
        server = self._server
        after = not server.version.before(7) or self._is_answered(index, key)
        # Before Redis 7 what a script changes is not its client's doing.
        doer = self._registry.current if not server.version.before(7) else self._actor
        for number in readers:
            client = self._registry.by_id.get(number)
            mode = None if client is None else client.tracking
            if client is None or mode is None or mode.broadcast:
                continue
            if not (mode.noloop and client is doer):
                self._send(client, mode, [key], after)

    def _is_answered(self, index: int, key: bytes) -> bool:
        """Whether the command that runs replies before it tells of its change to ``key``: before
        Redis 7 that is each command's own habit.
        """
        if self._running is None or self._actor is None or self._actor.is_script:
            return False
        entry, argv = self._running
        name = entry.name
        if name in _REPLY_FIRST:
            return True
        if name in _REPLY_FIRST_IF_KEPT:
            return key in self._server.databases[index].data
        if name in _REPLY_FIRST_IF_GONE:
            return key not in self._server.databases[index].data
        if name in _MOVES:
            return key == argv[1] != argv[2]
        return name == "set" and any(word.lower() == b"get" for word in argv[3:])

    def flushed(self, client: Client, argv: list[bytes]) -> None:
        """FLUSHALL or FLUSHDB has run: everybody is told to forget everything.

        Since Redis 7.4 a flush that waits lets its own client hear of it before the reply.
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
        """A client's command is over: broadcast what it changed."""
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
            self._tell_readers(client.db.index, key, self.keys.pop(key))

    def _broadcast(self, prefix: Prefix) -> None:
        changed, prefix.changed = sorted(prefix.changed.items()), {}
        for listener, mode in tuple(prefix.listeners.items()):
            told: list[Reply] = [key for key, by in changed if not (mode.noloop and by is listener)]
            if told:
                self._send(listener, mode, told, True)

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
