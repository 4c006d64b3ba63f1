"""The slow log, the command logs of Valkey, latency events, and the line format of MONITOR.

The engine measures durations only for commands with full checks. With a `ManualClock` every
duration is 0, except for commands that sleep.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

LARGE_REQUEST: Final = "commandlog-request-larger-than"
LARGE_REPLY: Final = "commandlog-reply-larger-than"
"""Parameters of Valkey: the sizes from which requests and replies are logged."""
_ARGUMENTS: Final = 32
_LENGTH: Final = 128
_SAMPLES: Final = 160
_SECRET: Final = b"(redacted)"
_MIGRATING: Final = {b"copy": 0, b"replace": 0, b"auth": 1, b"auth2": 2}
"""Options of MIGRATE with the number of secret arguments that follow."""
_ESCAPES: Final = {
    0x07: "\\a",
    0x08: "\\b",
    0x09: "\\t",
    0x0A: "\\n",
    0x0D: "\\r",
    0x22: '\\"',
    0x5C: "\\\\",
}


@dataclass(frozen=True, slots=True)
class SlowCommand:
    """One entry of the slow log. ``seconds`` is the time since the epoch, ``us`` the duration."""

    id: int
    seconds: int
    us: int
    argv: list[bytes]
    addr: str
    name: bytes


class SlowLog:
    """The entries of SLOWLOG or of one COMMANDLOG, newest first."""

    __slots__ = ("entries", "next_id")

    def __init__(self) -> None:
        self.entries: deque[SlowCommand] = deque()
        self.next_id = 0

    def add(
        self, seconds: int, us: int, argv: list[bytes], addr: str, name: bytes, longest: int
    ) -> None:
        """Add a command, and keep at most ``longest`` entries."""
        entry = SlowCommand(self.next_id, seconds, us, _shortened(argv), addr, name)
        self.next_id += 1
        self.entries.appendleft(entry)
        while len(self.entries) > max(longest, 0):
            self.entries.pop()


def _shortened(argv: list[bytes]) -> list[bytes]:
    kept = argv if len(argv) <= _ARGUMENTS else argv[: _ARGUMENTS - 1]
    shown = [
        arg
        if len(arg) <= _LENGTH
        else b"%b... (%d more bytes)" % (arg[:_LENGTH], len(arg) - _LENGTH)
        for arg in kept
    ]
    if len(argv) > _ARGUMENTS:
        shown.append(b"... (%d more arguments)" % (len(argv) - _ARGUMENTS + 1))
    return shown


class Latency:
    """Latency spikes by event: at most one sample a second, the newest 160."""

    __slots__ = ("events", "worst")

    def __init__(self) -> None:
        self.events: dict[str, deque[tuple[int, int]]] = {}
        self.worst: dict[str, int] = {}

    def add(self, event: str, seconds: int, ms: int) -> None:
        """Add a sample of ``ms`` milliseconds for ``event`` at ``seconds`` since the epoch."""
        samples = self.events.setdefault(event, deque(maxlen=_SAMPLES))
        self.worst[event] = max(self.worst.get(event, 0), ms)
        if samples and samples[-1][0] == seconds:
            samples[-1] = (seconds, max(samples[-1][1], ms))
        else:
            samples.append((seconds, ms))


class Logs:
    """All logs of one server.

    Attributes:
        slow: SLOWLOG, and COMMANDLOG ``slow``.
        large_requests: COMMANDLOG ``large-request``.
        large_replies: COMMANDLOG ``large-reply``.
        latency: LATENCY.
    """

    __slots__ = ("large_replies", "large_requests", "latency", "slow")

    def __init__(self) -> None:
        self.slow = SlowLog()
        self.large_requests = SlowLog()
        self.large_replies = SlowLog()
        self.latency = Latency()


def monitor_line(us: int, place: str, argv: list[bytes]) -> bytes:
    """The line of MONITOR for a command. ``place`` is the database and the client address."""
    shown = " ".join(_quoted(arg) for arg in argv)
    return f"{us // 1_000_000}.{us % 1_000_000:06d} [{place}] {shown}".encode()


def without_secrets(argv: list[bytes]) -> list[bytes]:
    """Replace passwords in ``argv`` by ``(redacted)``."""
    name = argv[0].lower()
    if name == b"auth":
        return [argv[0], *[_SECRET] * (len(argv) - 1)]
    if name == b"hello":
        shown = list(argv)
        for place, word in enumerate(argv):
            if word.lower() == b"auth" and place >= 2:
                shown[place + 1 : place + 3] = [_SECRET] * len(argv[place + 1 : place + 3])
        return shown
    if name == b"migrate":
        shown = list(argv)
        place = 6
        while place < len(argv) and (word := argv[place].lower()) in _MIGRATING:
            count = _MIGRATING[word]
            if place + count < len(argv):
                shown[place + 1 : place + 1 + count] = [_SECRET] * count
            place += 1 + count
        return shown
    return argv


def _quoted(raw: bytes) -> str:
    letters = (
        _ESCAPES.get(letter) or (chr(letter) if 32 <= letter <= 126 else f"\\x{letter:02x}")
        for letter in raw
    )
    return f'"{"".join(letters)}"'
