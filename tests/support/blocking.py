"""Blocked clients on both sides: `Clients` is ``same`` for commands that may block.

Every letter names a client on both sides, created at its first use::

    clients = Clients(same)
    clients.block("A", "BLPOP k 0")      # send; both sides have one more blocked client
    clients.block("B", "BRPOP k 0")
    clients("c", "RPUSH k 1")            # run and compare, as same(...) does
    clients.served("A")                  # compare the reply that has arrived
    clients.waits("B")                   # neither side has replied
    clients.events()                     # compare the keyspace events so far

`block` returns when the real server has blocked the client, so clients are served in the order of
the calls. ``clients.times_out("A")`` waits for the reply of the real server, and lets the emulator
check its clock until it has replied too; use timeouts of hundredths of a second. ``Pair.close``
closes all connections at the end of the test.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.support.pair import EmulatorConnection, Pair, ServerConnection, Wire, arguments

PATIENCE = 5.0
"""Seconds after which a real server is not going to do what a test expects of it."""


class Clients:
    """Named clients of an emulator and a real server; every reply is compared."""

    def __init__(self, same: Pair) -> None:
        self._same = same
        self._clients: dict[str, tuple[EmulatorConnection, ServerConnection]] = {}
        self._ids: dict[str, tuple[int, int]] = {}
        same("CONFIG", "SET", "notify-keyspace-events", "KEA")
        self._listeners = same.connect()
        for listener in self._listeners:
            listener("PSUBSCRIBE", "__keyevent@*")
            listener("PSUBSCRIBE", "end")

    def client(self, name: str) -> tuple[EmulatorConnection, ServerConnection]:
        """Return the emulator's and the server's client of this name."""
        if name not in self._clients:
            pair = self._clients[name] = self._same.connect()
            emulated, real = (int(connection("CLIENT", "ID")[1]) for connection in pair)
            self._ids[name] = emulated, real
        return self._clients[name]

    def __call__(self, name: str, *args: Any, key: Callable[[Wire], Any] | None = None) -> Wire:
        """Run a command that does not block; ``{A}`` in an argument is the id of client A."""
        emulated, real = self.client(name)
        words = arguments(args)
        left = real(*self._with_ids(words, 1))
        right = emulated(*self._with_ids(words, 0))
        seen = (left, right) if key is None else (key(left), key(right))
        assert seen[1] == seen[0], f"{name} {words}: emulator {right!r}, server {left!r}"
        return left

    def _with_ids(self, words: list[bytes], side: int) -> list[bytes]:
        for name, ids in self._ids.items():
            words = [word.replace(b"{%b}" % name.encode(), b"%d" % ids[side]) for word in words]
        return words

    def block(self, name: str, *args: Any) -> None:
        """Send a command and check that the client is blocked on both sides."""
        emulated, real = self.client(name)
        before = _blocked(self._same.real)
        emulated.send(arguments(args))
        real.send(arguments(args))
        until = time.monotonic() + PATIENCE
        while _blocked(self._same.real) == before:
            assert time.monotonic() < until, f"the server does not block on {args}"
            assert not real.has_reply(), f"the server replied to {args} at once: {real.read()}"
        assert _blocked(self._same.emulated) == _blocked(self._same.real)
        assert not emulated.has_reply(), f"the emulator replied to {args} at once"

    def send(self, name: str, *args: Any) -> None:
        """Send a command without reading a reply, for instance one pipelined behind a blocking
        command.
        """
        for connection in self.client(name):
            connection.send(arguments(args))

    def served(self, name: str) -> Wire:
        """Return the reply that a blocked client has received."""
        emulated, real = self.client(name)
        assert real.has_reply(PATIENCE), f"{name} still waits for the server"
        left = real.read()
        assert emulated.has_reply(), f"{name} still waits for the emulator; the server said {left}"
        right = emulated.read()
        assert right == left, f"{name}: emulator {right!r}, server {left!r}"
        return left

    def waits(self, name: str) -> None:
        """Check that this client is still blocked on both sides."""
        emulated, real = self.client(name)
        self._let_reply()
        assert not real.has_reply(), f"the server has answered {name}: {real.read()}"
        assert not emulated.has_reply(), f"the emulator has answered {name}: {emulated.read()}"

    def outcome(self, name: str) -> Wire | None:
        """Return the reply of a blocked client, or `None` if it is still blocked."""
        self._let_reply()
        if self.client(name)[1].has_reply():
            return self.served(name)
        self.waits(name)
        return None

    def _let_reply(self) -> None:
        """Return when the server has sent the replies to unblocked clients.

        It sends them in the same iteration of its event loop as the first reply.
        """
        self._same("PING")
        self._same("PING")

    def times_out(self, name: str) -> Wire:
        """Wait until a blocked client times out, and return its reply."""
        emulated, real = self.client(name)
        assert real.has_reply(PATIENCE), f"{name} still waits for the server"
        until = time.monotonic() + PATIENCE
        while not emulated.has_reply() and time.monotonic() < until:
            self._same.emulator.engine.tick()
            time.sleep(0.001)
        return self.served(name)

    def events(self) -> list[tuple[bytes, bytes]]:
        """Return the (key, event) pairs published since the last call."""
        self._same("PUBLISH", "end", "-")
        emulated, real = (_drain(listener) for listener in self._listeners)
        assert emulated == real, f"events: emulator {emulated}, server {real}"
        return real


def _blocked(connection: Any) -> int:
    info = connection("INFO", "clients")[1]
    return int(info.partition(b"blocked_clients:")[2].split()[0])


def _drain(listener: Any) -> list[tuple[bytes, bytes]]:
    events = []
    while (event := listener.read())[1][2][1] != b"end":
        events.append((event[1][2][1].partition(b":")[2], event[1][3][1]))
    return events


Step = tuple[str, ...]
"""A client's name, then the command that it sends. The name is upper case if the command may block.
"""


def play(same: Pair, steps: list[Step]) -> None:
    clients = Clients(same)
    for name, *words in steps:
        if name.endswith("+"):
            clients.send(name[0], *words)
        elif not name.isupper():
            clients(name, *words)
        elif words:
            clients.block(name, *words)
        else:
            clients.outcome(name)
    clients.events()
