"""`RedisEmulator.log`: the last commands with client, time and reply, for tests."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from redis_emulator.glob import glob
from redis_emulator.resp.types import NO_REPLY, PENDING, RedisError, Reply


@dataclass(slots=True)
class Logged:
    """One recorded command.

    Attributes:
        at: The time of the command, in seconds since the epoch, by the emulator's clock.
        client: The client id (CLIENT ID).
        name: The client's name, from CLIENT SETNAME.
        db: The index of the client's database.
        command: The name and arguments of the command.
        reply: The reply; a `RedisError` for an error, None while there is no reply.
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
        limit: The number of commands to keep; 0 records nothing.
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
        """Set the reply of a command that had blocked."""
        entry = self._waiting.pop(client, None)
        if entry is not None:
            entry.reply = reply

    def of(self, command: str) -> list[Logged]:
        """The entries whose command name matches a name or pattern, case-insensitively."""
        matches = glob(command.lower().encode())
        return [entry for entry in self._entries if matches(entry.command[0].lower())]

    def clear(self) -> None:
        """Delete all entries."""
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
