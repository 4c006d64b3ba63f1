"""What was executed: a bounded record of commands with who sent them, when, and what came back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from redis_emulator.glob import glob
from redis_emulator.resp.types import NO_REPLY, PENDING, RedisError, Reply


@dataclass(slots=True)
class Logged:
    """One command.

    Attributes:
        at: When it ran, seconds since the epoch by the emulator's clock.
        client: The id of the client, as CLIENT ID says it.
        name: The client's name, from CLIENT SETNAME.
        db: The number of its database.
        command: The arguments, name first.
        reply: What came back; a `RedisError` for an error, None as long as nothing did.
    """

    at: float
    client: int
    name: bytes
    db: int
    command: tuple[bytes, ...]
    reply: Reply

    @property
    def failed(self) -> bool:
        """Whether the reply is an error."""
        return isinstance(self.reply, RedisError)

    def __str__(self) -> str:
        words = " ".join(
            word.decode() if word.isalnum() else repr(word)[1:] for word in self.command
        )
        return f"{self.at:.6f} client {self.client} db {self.db}: {words} -> {self.reply!r}"


class Log(Sequence[Logged]):
    """The last commands, oldest first.

    Args:
        limit: How many to keep; with 0 nothing is recorded.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._entries: deque[Logged] = deque(maxlen=limit)
        self._waiting: dict[int, Logged] = {}

    def add(
        self, at: float, client: int, name: bytes, db: int, argv: list[bytes], reply: Reply
    ) -> None:
        """Record a command and its reply; the other arguments are those of `Logged`."""
        waits = reply is PENDING
        answer = None if waits or reply is NO_REPLY else reply
        entry = Logged(at, client, name, db, tuple(argv), answer)
        self._entries.append(entry)
        if waits:
            self._waiting[client] = entry

    def answered(self, client: int, reply: Reply) -> None:
        """A client that was blocked has its reply."""
        entry = self._waiting.pop(client, None)
        if entry is not None:
            entry.reply = reply

    def of(self, command: str) -> list[Logged]:
        """The entries of a command, by name or pattern, in any case."""
        matches = glob(command.lower().encode())
        return [entry for entry in self._entries if matches(entry.command[0].lower())]

    def clear(self) -> None:
        """Forget everything recorded so far."""
        self._entries.clear()
        self._waiting.clear()

    @overload
    def __getitem__(self, place: int) -> Logged: ...

    @overload
    def __getitem__(self, place: slice) -> list[Logged]: ...

    def __getitem__(self, place: int | slice) -> Logged | list[Logged]:
        entries = tuple(self._entries)
        return list(entries[place]) if isinstance(place, slice) else entries[place]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Logged]:
        return iter(tuple(self._entries))

    def __str__(self) -> str:
        return "\n".join(map(str, self))
