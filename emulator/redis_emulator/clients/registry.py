"""The connected clients of a server, and the client whose command is running."""

from __future__ import annotations

from redis_emulator.clients.client import Client
from redis_emulator.resp.types import Push
from redis_emulator.version import Version


class Registry:
    """The clients of one server.

    Attributes:
        by_id: Connected clients by their id.
        current: The client whose command is running; for a script, the client that called it.
        monitors: The clients that called MONITOR, in that order.
        last_id: The highest client id so far.
    """

    def __init__(self, version: Version) -> None:
        self._late_by_default = not version.before(7, 2)
        self.by_id: dict[int, Client] = {}
        self.current: Client | None = None
        self.monitors: dict[Client, None] = {}
        self.last_id = 0

    def next_id(self) -> int:
        """A new client id."""
        self.last_id += 1
        return self.last_id

    def push(self, client: Client, message: Push, *, after_reply: bool | None = None) -> None:
        """Send an out-of-band message to a client.

        Args:
            client: The receiver.
            message: The message.
            after_reply: Whether to send it after the reply, if the client's command is running. By
                default, as servers of this version do.
        """
        if after_reply is None:
            after_reply = self._late_by_default
        if after_reply and client is self.current:
            client.pending_pushes.append(message)
        else:
            client.deliver(message)
