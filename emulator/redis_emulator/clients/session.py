"""`Session`: the first argument of every command function, and the interface of the engine.

A `Session` is a `Client` with references to its server and engine. `Engine` is a protocol: the
methods of the engine that commands, scripts and the cluster call. They cannot import the engine,
which imports them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from redis_emulator.clients.client import Buffers, Client
from redis_emulator.clients.clients import Clients
from redis_emulator.resp.types import RedisError, Reply
from redis_emulator.server.server import Server
from redis_emulator.table.entry import Entry


class Scripts(Protocol):
    """The scripts and functions of a server: the part that modules below `scripting` use."""

    def reset(self) -> None:
        """Delete all scripts and functions, and kill the running script."""
        ...

    def count(self) -> int:
        """The number of scripts in the script cache."""
        ...


class ClusterNode(Protocol):
    """A cluster node: the part that modules below `cluster` use.

    Attributes:
        port: The port.
        down: Whether the node was killed.
    """

    port: int
    down: bool

    def reset(self) -> None:
        """Configure a server that was just reset as this node."""
        ...


class Engine(Protocol):
    """The part of the engine that commands, scripts and the cluster use.

    Attributes:
        server: The state of the server.
        clients: Its clients.
        cluster: The cluster node; None outside a cluster. `redis_emulator.cluster.node.node_of`
            returns it with its type.
        scripts: The scripts; None until the first one is used.
        needs_full_checks: Whether no command takes the short path.
    """

    server: Server
    clients: Clients
    cluster: ClusterNode | None
    scripts: Scripts | None
    needs_full_checks: bool

    def execute(self, session: Session, argv: list[bytes]) -> Reply:
        """Run a command of a client, with all checks. Errors are returned, not raised."""
        ...

    def call(self, session: Session, entry: Entry, argv: list[bytes]) -> Reply:
        """Run a command that has passed all checks. Errors are counted and raised."""
        ...

    def run_transaction(self, session: Session, queue: list[tuple[Entry, list[bytes]]]) -> Reply:
        """Run the queued commands of a transaction."""
        ...

    def find(self, argv: list[bytes]) -> Entry:
        """Look up the command of ``argv``.

        Raises:
            RedisError: The command does not exist, or the number of arguments is wrong.
        """
        ...

    def count_failure(self, entry: Entry, error: RedisError) -> RedisError:
        """Count a failed call in the statistics. Returns the error."""
        ...

    def may_write(self, entry: Entry, argv: list[bytes]) -> bool:
        """Whether the command writes, or runs a script or function whose flags allow writes."""
        ...

    def refresh(self) -> None:
        """Update `needs_full_checks`. Called after a mode of the server or a client has changed."""
        ...

    def tick(self) -> None:
        """Periodic work: expire keys, time out blocked clients, serve blocked clients."""
        ...

    def unblock(self, client: Client, reply: Reply) -> bool:
        """Unblock a client with ``reply``. Returns whether it was blocked."""
        ...

    def disconnect(self, client: Client) -> None:
        """Remove a client. Its transport closes the connection after the reply."""
        ...

    def close(self, client: Client) -> None:
        """Disconnect a client at once."""
        ...

    def close_after_reply(self, client: Client) -> None:
        """Disconnect a client. The client whose command is running gets its reply first."""
        ...

    def disconnect_blocked(self) -> None:
        """Disconnect all blocked clients, because the server has become a replica."""
        ...

    def limit_memory(self) -> None:
        """Apply a changed ``maxmemory``."""
        ...

    def pause(self, until: int, writes_only: bool) -> None:
        """Pause all commands, or only writes, until ``until`` (milliseconds since the epoch)."""
        ...

    def unpause(self) -> None:
        """End the pause and run the paused commands."""
        ...

    def sleep(self, session: Session, milliseconds: int) -> Reply:
        """Block the whole server (DEBUG SLEEP). Returns what the command must return."""
        ...

    def serve_other_clients(self, kill_command: str) -> None:
        """Serve other clients once while a slow script runs.

        Args:
            kill_command: The command that kills the script, for the BUSY error.
        """
        ...

    def shutdown(self) -> None:
        """SHUTDOWN: disconnect all clients, delete all data, and stop the TCP servers."""
        ...


class Session(Client):
    """One client of a server; the first argument of every command.

    Args:
        engine: The engine that runs the client's commands.
        deliver: See `Client`.
        kind: See `Client`.
        number: The client's id; a new one by default.
        buffers: See `Client`.
    """

    __slots__ = ("clients", "engine", "server")

    def __init__(
        self,
        engine: Engine,
        deliver: Callable[[Reply], None],
        kind: str = "tcp",
        number: int | None = None,
        buffers: Callable[[], Buffers] = Buffers,
    ) -> None:
        self.engine = engine
        self.server = server = engine.server
        self.clients = clients = engine.clients
        number = clients.next_id() if number is None else number
        super().__init__(number, server.databases[0], server.clock.ms(), deliver, kind, buffers)
        self.authenticated = not clients.access.needs_password()
        clients.access.update_limited(self)

    def close(self) -> None:
        """Disconnect the client at once. The transport gets `CLOSED`."""
        self.engine.close(self)

    def fail_transaction(self, name: bytes) -> None:
        """Mark the transaction as failed after a command was refused. A refused EXEC ends it."""
        if self.queue is not None:
            self.queue_failed = True
        if name.lower() == b"exec":
            self.clients.end_transaction(self)
