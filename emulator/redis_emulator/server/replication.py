"""Whom a server replicates.

An emulator reads nothing from its master: the link to it stays down, as on a server whose master
cannot be reached.
"""

from __future__ import annotations

from random import Random
from typing import Final

_NOBODY: Final = "0" * 40


class Replication:
    """The place of one server among others.

    Attributes:
        id: The name of the history of its data.
        earlier_id: The name of the history that it left by becoming a master again.
        second_offset: Where it left it, -1 for never.
        master: Host and port of the master it was told to follow; None for a master, and for nodes
            of a cluster.
        is_replica: Whether the server is a replica, in a cluster or outside.
    """

    __slots__ = ("_random", "earlier_id", "id", "is_replica", "master", "second_offset")

    def __init__(self, name: str, random: Random) -> None:
        self._random = random
        self.id = name
        self.earlier_id = _NOBODY
        self.second_offset = -1
        self.master: tuple[str, int] | None = None
        self.is_replica = False

    def follow(self, host: str, port: int) -> None:
        """Be a replica of the server there."""
        self.master = host, port
        self.is_replica = True

    def lead(self) -> None:
        """Be a master again, with a history of one's own."""
        self.master = None
        self.is_replica = False
        self.earlier_id, self.id = self.id, f"{self._random.getrandbits(160):040x}"
        self.second_offset = 1
