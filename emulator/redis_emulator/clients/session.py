"""What a command gets: its client, and what it may use of the server and the engine.

`Session` is a `Client` that knows its server. `Engine` is what commands need of the engine, which
is above them: running and finding commands, blocking, pausing, disconnecting.
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
    """The scripts and functions of a server, as far as it concerns who does not run them."""

    def reset(self) -> None:
        """Forget all scripts and functions; a script that runs is killed."""
        ...

    def count(self) -> int:
        """How many scripts EVALSHA finds."""
        ...


class ClusterNode(Protocol):
    """The node of a cluster that a server is, as far as it concerns who does not know clusters.

    Attributes:
        port: Its port.
        down: Whether it was killed.
    """

    port: int
    down: bool

    def reset(self) -> None:
        """Configure a server that starts anew as this node."""
        ...


class Engine(Protocol):
    """What commands, scripts and the cluster need of the engine.

    Attributes:
        server: The server's own state.
        clients: Its clients.
        cluster: Its node, None outside a cluster; `redis_emulator.cluster.node.node_of` tells its
            type.
        scripts: Its scripts, None before the first one is used.
        needs_full_checks: Whether no command takes the short path.
    """

    server: Server
    clients: Clients
    cluster: ClusterNode | None
    scripts: Scripts | None
    needs_full_checks: bool

    def execute(self, session: Session, argv: list[bytes]) -> Reply:
        """Run a command of a client, with all checks; errors are returned."""
        ...

    def call(self, session: Session, entry: Entry, argv: list[bytes]) -> Reply:
        """Run a command that has been checked: its errors are counted and raised."""
        ...

    def run_transaction(self, session: Session, queue: list[tuple[Entry, list[bytes]]]) -> Reply:
        """Run the commands that MULTI has queued."""
        ...

    def find(self, argv: list[bytes]) -> Entry:
        """The command that ``argv`` names.

        Raises:
            RedisError: There is none, or the number of arguments is wrong.
        """
        ...

    def count_failure(self, entry: Entry, error: RedisError) -> RedisError:
        """Count an error of a command that ran; returns the error."""
        ...

    def may_write(self, entry: Entry, argv: list[bytes]) -> bool:
        """Whether the command writes, or runs a script or function that says that it may."""
        ...

    def refresh(self) -> None:
        """Decide anew whether commands need full checks; called when a mode of the server or of a
        client has changed.
        """
        ...

    def tick(self) -> None:
        """Let time have its effect: expire keys, time out blocked clients, serve who is ready."""
        ...

    def unblock(self, client: Client, reply: Reply) -> bool:
        """Give a blocked client ``reply``; whether it was blocked."""
        ...

    def disconnect(self, client: Client) -> None:
        """Forget a client; its connection is closed after the reply."""
        ...

    def close(self, client: Client) -> None:
        """Disconnect a client at once."""
        ...

    def end(self, client: Client) -> None:
        """Disconnect a client; the one that is being served gets its reply first."""
        ...

    def disconnect_blocked(self) -> None:
        """The server is a replica now: disconnect the clients that wait for changes of keys."""
        ...

    def limit_memory(self) -> None:
        """Have ``maxmemory`` take effect after it was set."""
        ...

    def pause(self, until: int, writes_only: bool) -> None:
        """Hold commands, or those that write, until ``until``."""
        ...

    def unpause(self) -> None:
        """End a pause."""
        ...

    def sleep(self, session: Session, milliseconds: int) -> Reply:
        """Do nothing for a while, and serve nobody: what a command that sleeps returns."""
        ...

    def serve_other_clients(self, way_out: str) -> None:
        """Serve other clients for a moment while a script runs for too long; ``way_out`` is the
        command that ends it.
        """
        ...

    def shutdown(self) -> None:
        """SHUTDOWN: drop every client and all data, and stop listening."""
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
        clients.access.admit(self)

    def close(self) -> None:
        """Disconnect this client from the server's side; its transport is told by `CLOSED`."""
        self.engine.close(self)

    def fail_transaction(self, name: bytes) -> None:
        """A command was refused: inside MULTI, EXEC will fail; EXEC itself ends MULTI and WATCH."""
        if self.queue is not None:
            self.queue_failed = True
        if name.lower() == b"exec":
            self.clients.end_transaction(self)
