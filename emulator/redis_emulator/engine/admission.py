"""The checks before a command runs, in the order of ``processCommand`` in Redis.

Authentication, MULTI, ACL, cluster redirection, conditions of the server (loading, replica …),
``maxmemory``, RESP2 subscribe mode, MONITOR.
"""

from __future__ import annotations

from typing import Final

from redis_emulator.clients.clients import Clients
from redis_emulator.clients.session import Engine, Session
from redis_emulator.cluster.node import node_of
from redis_emulator.keyspace.memory import empty_memory
from redis_emulator.resp.errors import NOAUTH, OUT_OF_MEMORY
from redis_emulator.server.server import Server
from redis_emulator.table.entry import Entry

NOT_QUEUED: Final = frozenset({"exec", "discard", "multi", "watch", "quit", "reset"})
"""Commands that MULTI does not queue."""
_ON_KEYS: Final = frozenset({"write", "readonly"})
_IN_SUBSCRIBE_MODE: Final = frozenset(
    {
        "subscribe",
        "unsubscribe",
        "psubscribe",
        "punsubscribe",
        "ssubscribe",
        "sunsubscribe",
        "ping",
        "quit",
        "reset",
    }
)
"""Commands that a RESP2 client with subscriptions may send."""


class Admission:
    """The admission checks of one server."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._server: Server = engine.server
        self._clients: Clients = engine.clients
        self._version = engine.server.version

    def refusal(self, session: Session, entry: Entry, argv: list[bytes]) -> str | None:
        """The error text if the command is refused; None if it may run."""
        server = self._server
        if self.needs_authentication(session) and not self._allowed_without_authentication(entry):
            return NOAUTH
        if session.queue is not None and "no_multi" in entry.flags:
            return "ERR Command not allowed inside a transaction"
        if session.limited and (text := self._clients.access.refuse(session, entry, argv)):
            return text
        if self._engine.cluster is not None:
            node = node_of(session)
            if node is not None and (text := node.refuse(session, entry, argv)):
                return text
        if server.conditions.current and (text := self.condition(session, entry, argv)):
            return text
        if server.ledger is not None and self.evict_keys() and self._needs_memory(session, entry):
            return OUT_OF_MEMORY
        if session.in_subscribe_mode and entry.name not in _IN_SUBSCRIBE_MODE:
            return self._subscribe_mode_error(entry)
        if session.monitoring and entry.flags & _ON_KEYS:
            word = "interact" if not self._version.before(7) else "interract"
            return f"ERR Replica can't {word} with the keyspace"
        return None

    def needs_authentication(self, session: Session) -> bool:
        """Whether the client must authenticate first."""
        return not session.authenticated and self._clients.access.needs_password()

    def container_denial(
        self, session: Session, container: Entry | None, argv: list[bytes]
    ) -> str | None:
        """The ACL error for a container command, checked before its subcommand is looked up."""
        if session.limited and container is not None:
            return self._clients.access.refuse(session, container, argv)
        return None

    def condition(self, session: Session, entry: Entry, argv: list[bytes]) -> str | None:
        """The error text if a condition of the server refuses the command; None otherwise."""
        flags = entry.flags
        if entry.name == "exec" and session.queue:
            flags = flags.union(*(queued.flags for queued, _ in session.queue))
        return self._server.conditions.refusal(
            entry,
            argv,
            flags=flags,
            writes="write" in flags or self._engine.may_write(entry, argv),
            is_queued=session.queue is not None and entry.name not in NOT_QUEUED,
            in_script=session.is_script,
        )

    def evict_keys(self) -> bool:
        """Evict keys by ``maxmemory-policy``. Returns whether ``maxmemory`` is still exceeded."""
        ledger, config = self._server.ledger, self._server.config
        if ledger is None:
            return False
        limit = config.numbers["maxmemory"] - empty_memory(len(self._clients.by_id))
        return ledger.evict(limit, config["maxmemory-policy"])

    def _allowed_without_authentication(self, entry: Entry) -> bool:
        if entry.name == "reset" and self._version.before(7):
            return False
        return "no_auth" in entry.flags

    def _needs_memory(self, session: Session, entry: Entry) -> bool:
        """Whether the command is refused when memory exceeds ``maxmemory``: it has the flag
        ``denyoom``, is an EXEC with such a command, or is queued (before Redis 7.2).
        """
        if "denyoom" in entry.flags:
            return True
        if session.queue is None:
            return False
        if entry.name == "exec":
            return any("denyoom" in queued.flags for queued, _ in session.queue)
        return self._version.before(7, 2) and entry.name not in NOT_QUEUED

    def _subscribe_mode_error(self, entry: Entry) -> str:
        older = self._version.before(7)
        kinds = "(P)" if older else "(P|S)"
        name = entry.name.split("|")[0] if older else entry.name
        return (
            f"ERR Can't execute '{name}': only {kinds}SUBSCRIBE / {kinds}UNSUBSCRIBE / "
            "PING / QUIT / RESET are allowed in this context"
        )
