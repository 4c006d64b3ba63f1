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
from typing import TYPE_CHECKING, Final

from redis_emulator.resp.types import Push, Reply
from redis_emulator.table.keyspec import keys as keys_of

if TYPE_CHECKING:
    from redis_emulator.clients.session import Session
    from redis_emulator.keyspace.database import Database
    from redis_emulator.server.server import Server
    from redis_emulator.table.entry import Entry

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


class Mode:
    """How one client tracks.

    Attributes:
        redirect: The client that gets the messages instead; 0 for none.
        broken: Whether that client was found gone.
        caching: Whether CLIENT CACHING was called for the next command.
        prefixes: In broadcasting mode, what its keys begin with, sorted.
    """

    __slots__ = (
        "_prefixes",
        "broadcast",
        "broken",
        "caching",
        "noloop",
        "optin",
        "optout",
        "redirect",
    )

    def __init__(self) -> None:
        self.redirect = 0
        self.broken = self.caching = False
        self.broadcast = self.optin = self.optout = self.noloop = False
        self._prefixes: set[bytes] = set()

    @property
    def prefixes(self) -> list[bytes]:
        """What broadcast keys begin with."""
        return sorted(self._prefixes)

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

    def reads_count(self) -> bool:
        """Whether what the client reads now is remembered."""
        if self.broadcast:
            return False
        return self.caching if self.optin else not (self.optout and self.caching)


class Prefix:
    """A prefix that clients broadcast to.

    Attributes:
        listeners: Who asked for it.
        changed: Keys that changed during the present command, and which client changed them.
    """

    __slots__ = ("changed", "listeners")

    def __init__(self) -> None:
        self.listeners: dict[Session, Mode] = {}
        self.changed: dict[bytes, Session | None] = {}


class Tracker:
    """Everything the tracking clients of one server are to be told.

    Attributes:
        keys: Who read a key since it last changed, by client id.
        prefixes: What broadcasting clients listen to.
    """

    __slots__ = ("_actor", "_recent", "_running", "_server", "keys", "prefixes")

    def __init__(self, server: Server) -> None:
        self._server = server
        self._recent = server.version.compatible >= (7, 2)
        self.keys: dict[bytes, dict[int, None]] = {}
        self.prefixes: dict[bytes, Prefix] = {}
        self._actor: Session | None = None
        self._running: tuple[Entry, list[bytes]] | None = None

    def enter(self, session: Session, mode: Mode, prefixes: Iterable[bytes]) -> None:
        """Let a client track as ``mode`` says, with more prefixes than it has."""
        server = self._server
        if mode.broadcast:
            for prefix in prefixes:
                mode._prefixes.add(prefix)
                self.prefixes.setdefault(prefix, Prefix()).listeners[session] = mode
        session.modes["tracking"] = mode
        server.modes["tracking"] = self
        server.refresh()
        session.refresh()

    def leave(self, session: Session) -> None:
        """Let a client track no more."""
        mode = session.tracking()
        if mode is None:
            return
        for name in mode.prefixes:
            prefix = self.prefixes[name]
            del prefix.listeners[session]
            if not prefix.listeners:
                del self.prefixes[name]
        del session.modes["tracking"]
        server = self._server
        if not any("tracking" in other.modes for other in server.sessions.values()):
            server.modes.pop("tracking", None)
        session.refresh()
        server.refresh()

    def restart(self) -> None:
        """Forget what was read; clients go on tracking."""
        self.keys.clear()
        for session in self._server.sessions.values():
            if session.tracking() is not None:
                self._server.modes["tracking"] = self

    def begin(self, session: Session, entry: Entry, argv: list[bytes]) -> None:
        """A command is about to run; a script's own calls run on the session of the scripts."""
        self._actor = session
        if session.script is None:
            self._running = (entry, argv)

    def end(self, session: Session, entry: Entry, argv: list[bytes]) -> None:
        """A command has run: note the keys it read for the client behind it."""
        caller = self._server.current
        self._actor = None if session is caller else caller
        if caller is None or "readonly" not in entry.flags:
            return
        mode = caller.modes.get("tracking")
        if type(mode) is not Mode or not mode.reads_count() or "pubsub" in entry.flags:
            return
        if self._recent:
            if entry.name in _OF_SCRIPTS:
                return
        elif session.script is not None and self._running is not None:
            entry, argv = self._running
        for key in keys_of(entry.spec, argv):
            self.keys.setdefault(argv[key.position], {})[caller.id] = None

    def invalidate(self, db: Database, key: bytes) -> None:
        """A key has changed, or is gone."""
        for name, prefix in self.prefixes.items():
            if key.startswith(name):
                prefix.changed.setdefault(key, self._actor)
        readers = self.keys.pop(key, None)
        if readers is not None:
            self._tell_readers(db, key, readers)

    def _tell_readers(self, db: Database, key: bytes, readers: Iterable[int]) -> None:
        server = self._server
        after = server.version.compatible >= (7, 0) or self._is_answered(db, key)
        # Before Redis 7 what a script changes is not its client's doing.
        doer = server.current if server.version.compatible >= (7, 0) else self._actor
        for number in readers:
            session = server.sessions.get(number)
            mode = None if session is None else session.modes.get("tracking")
            if session is None or type(mode) is not Mode or mode.broadcast:
                continue
            if not (mode.noloop and session is doer):
                self._send(session, mode, [key], after)

    def _is_answered(self, db: Database, key: bytes) -> bool:
        """Whether the command that runs replies before it tells of its change to ``key``: before
        Redis 7 that is each command's own habit.
        """
        if self._running is None or self._actor is None or self._actor.script is not None:
            return False
        entry, argv = self._running
        name = entry.name
        if name in _REPLY_FIRST:
            return True
        if name in _REPLY_FIRST_IF_KEPT:
            return key in db.data
        if name in _REPLY_FIRST_IF_GONE:
            return key not in db.data
        if name in _MOVES:
            return key == argv[1] != argv[2]
        return name == "set" and any(word.lower() == b"get" for word in argv[3:])

    def flushed(self, session: Session, argv: list[bytes]) -> None:
        """FLUSHALL or FLUSHDB has run: everybody is told to forget everything.

        Since Redis 7.4 a flush that waits lets its own client hear of it before the reply.
        """
        server = self._server
        version = server.version
        after = version.compatible >= (7, 0)
        if version.flavour == "redis" and version.number >= (7, 4) and not session.deny_blocking:
            after = argv[-1].lower() == b"async"
        self.keys.clear()
        for other in tuple(server.sessions.values()):
            mode = other.modes.get("tracking")
            if type(mode) is Mode:
                self._send(other, mode, None, after)

    def after_command(self, session: Session) -> None:
        """A client's command is over: broadcast what it changed."""
        for name in sorted(self.prefixes):
            prefix = self.prefixes[name]
            if prefix.changed:
                self._broadcast(prefix)
        own = session.modes.get("tracking")
        if type(own) is Mode and own.caching and session.queue is None:
            last = session.last_command
            if last is None or not last.name.startswith("client"):
                own.caching = False
        limit = self._server.config.numbers["tracking-table-max-keys"]
        while limit and len(self.keys) > limit:
            key = next(iter(self.keys))
            self._tell_readers(session.db, key, self.keys.pop(key))

    def _broadcast(self, prefix: Prefix) -> None:
        changed, prefix.changed = sorted(prefix.changed.items()), {}
        for listener, mode in tuple(prefix.listeners.items()):
            told: list[Reply] = [key for key, by in changed if not (mode.noloop and by is listener)]
            if told:
                self._send(listener, mode, told, True)

    def _send(self, session: Session, mode: Mode, keys: list[Reply] | None, after: bool) -> None:
        server = self._server
        target: Session | None = session
        if mode.redirect:
            target = server.sessions.get(mode.redirect)
            if target is None:
                mode.broken = True
                if session.protocol == 3:
                    server.push(session, Push((b"tracking-redir-broken", mode.redirect)))
                return
        assert target is not None
        if target.protocol == 3:
            message = Push((b"invalidate", keys))
        elif mode.redirect and target.subscribed():
            message = Push((b"message", CHANNEL, keys))
        else:
            return
        server.push(target, message, after_reply=after if target is session else None)
