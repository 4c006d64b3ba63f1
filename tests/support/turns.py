"""Several clients on each side of a pair, which send commands in turn."""

from __future__ import annotations

import shlex
from typing import Any

from tests.support.pair import EmulatorConnection, Pair, ServerConnection

SMALL = 8
"""Client ids are made larger than this, so that they differ from other integers in replies."""


class Play:
    """Runs a script of several clients on each side and compares all that they receive.

    A line of the script is ``name: command ;; command``. After each line, the replies and messages
    that the client has received are compared. A client whose name ends with ``2`` speaks RESP2, the
    others RESP3. ``{name}`` in a line is that client's id, and ids in replies are shown as names.
    """

    def __init__(self, same: Pair) -> None:
        self._same = same
        self._barrier = same.connect_raw()[1]
        self._clients: dict[str, tuple[EmulatorConnection, ServerConnection]] = {}
        self._ids: dict[str, tuple[int, int]] = {}

    def __call__(self, script: str) -> None:
        for line in script.strip().splitlines():
            name, _, commands = line.strip().partition(": ")
            shown = self.turn(name, commands.split(" ;; "))
            assert shown[0] == shown[1], f"{line}: emulator {shown[0]}, server {shown[1]}"

    def turn(self, name: str, commands: list[str]) -> list[list[Any]]:
        """Send commands on each side, and return what each client has received."""
        self._meet(name)
        shown: list[list[Any]] = []
        for side, connection in enumerate(self._clients[name]):
            for command in commands:
                for other, ids in self._ids.items():
                    command = command.replace(f"{{{other}}}", str(ids[side]))
                if command:
                    connection.send([word.encode() for word in shlex.split(command)])
            least = len(shown[0]) if shown else 0
            replies = everything(connection, self._barrier, least)
            shown.append([self._named(reply, side) for reply in replies])
        return shown

    def _meet(self, name: str) -> None:
        if name not in self._clients:
            ids = [0, 0]
            while min(ids) <= SMALL:
                pair = self._same.connect_raw()
                ids = [int(connection("CLIENT", "ID")[1]) for connection in pair]
            if not name.endswith("2"):
                for connection in pair:
                    connection("HELLO", "3")
            self._clients[name] = pair
            self._ids[name] = (ids[0], ids[1])

    def _named(self, reply: Any, side: int) -> Any:
        if isinstance(reply, list):
            return [self._named(item, side) for item in reply]
        if isinstance(reply, tuple) and len(reply) == 2 and reply[0] == ":":
            for name, ids in self._ids.items():
                if reply[1] == b"%d" % ids[side]:
                    return f"the id of {name}"
        if isinstance(reply, tuple):
            return tuple(self._named(item, side) for item in reply)
        return reply


def everything(
    connection: Any, barrier: ServerConnection | None = None, least: int = 0
) -> list[Any]:
    """Return all replies and messages that a connection has received.

    Args:
        connection: the connection.
        barrier: another client of the real server. Two replies to it prove that the server has
            replied to every earlier command.
        least: the number of replies to wait for, because a real server may flush in the background.
    """
    found = []
    if isinstance(connection, EmulatorConnection):
        while connection._buffer:
            found.append(connection.read())
        return found
    assert barrier is not None
    barrier("PING")
    barrier("PING")
    connection._socket.settimeout(2)
    while len(found) < least:
        found.append(connection.read())
    while True:
        connection._socket.setblocking(False)
        more = bool(connection._file.peek(1))
        connection._socket.settimeout(20)
        if not more:
            return found
        found.append(connection.read())
