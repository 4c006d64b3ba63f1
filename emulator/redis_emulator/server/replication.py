"""The replication state of a server: role, master, replication ids.

After REPLICAOF an emulator is a replica whose master is unreachable: it never connects to it.
"""

from __future__ import annotations

from random import Random
from typing import Final

_NO_ID: Final = "0" * 40


class Replication:
    """The replication state, as INFO shows it.

    Attributes:
        id: The replication id (``master_replid``).
        earlier_id: The previous replication id (``master_replid2``).
        second_offset: The offset up to which `earlier_id` is valid; -1 for none.
        master: Host and port set by REPLICAOF; None for a master and for cluster nodes.
        is_replica: Whether the server is a replica, in a cluster or outside.
    """

    __slots__ = ("_random", "earlier_id", "id", "is_replica", "master", "second_offset")

    def __init__(self, name: str, random: Random) -> None:
        self._random = random
        self.id = name
        self.earlier_id = _NO_ID
        self.second_offset = -1
        self.master: tuple[str, int] | None = None
        self.is_replica = False

    def follow(self, host: str, port: int) -> None:
        """Become a replica (REPLICAOF)."""
        self.master = host, port
        self.is_replica = True

    def lead(self) -> None:
        """Become a master with a new replication id (REPLICAOF NO ONE)."""
        self.master = None
        self.is_replica = False
        self.earlier_id, self.id = self.id, f"{self._random.getrandbits(160):040x}"
        self.second_offset = 1
