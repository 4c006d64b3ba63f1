"""Statistics, slow log, latency events and MONITOR for commands that ran or were refused."""

from __future__ import annotations

from typing import Final

from redis_emulator.clients.clients import Clients
from redis_emulator.clients.session import Session
from redis_emulator.resp.encode import encode
from redis_emulator.resp.types import NO_REPLY, RedisError, Reply, SimpleString
from redis_emulator.server.logs import LARGE_REPLY, LARGE_REQUEST, monitor_line, without_secrets
from redis_emulator.server.server import Server
from redis_emulator.table.entry import Entry

NOT_MONITORED: Final = frozenset({"admin", "skip_monitor"})
"""Flags of commands that are not sent to MONITOR clients after the call."""


class Accounting:
    """Keeps the statistics and logs of one server."""

    def __init__(self, server: Server, clients: Clients) -> None:
        self._server = server
        self._clients = clients
        self._keeps_empty_log = server.version.before(7, 2)

    def count_failed(self, entry: Entry, error: RedisError) -> RedisError:
        """Count a failed call. Returns the error."""
        entry.failed += 1
        if not error.counted:
            self._server.stats.count_error(error)
        return error

    def count_rejected(self, entry: Entry, text: str) -> RedisError:
        """Count a command that was refused. Returns the error."""
        entry.rejected += 1
        error = RedisError(text)
        self._server.stats.count_error(error)
        return error

    def send_to_monitors(self, session: Session, argv: list[bytes]) -> None:
        """Send a command to the MONITOR clients."""
        client = "lua" if session.is_script else session.addr
        line = monitor_line(
            self._server.clock.us(), f"{session.db.index} {client}", without_secrets(argv)
        )
        for monitor in tuple(self._clients.monitors):
            if monitor is self._clients.current:
                monitor.pending_pushes.append(SimpleString(line))
            else:
                monitor.deliver(SimpleString(line))

    def note_time(self, session: Session, entry: Entry, argv: list[bytes], took: int) -> None:
        """Add a command that took ``took`` microseconds to the slow log and the latency events."""
        server = self._server
        numbers = server.config.numbers
        seconds = server.clock.ms() // 1000
        threshold = numbers["slowlog-log-slower-than"]
        if 0 <= threshold <= took and "skip_slowlog" not in entry.flags:
            argv = without_secrets(argv)
            longest = numbers["slowlog-max-len"]
            if longest or self._keeps_empty_log:
                server.logs.slow.add(seconds, took, argv, session.addr, session.name, longest)
        if 0 < numbers["latency-monitor-threshold"] <= took // 1000:
            event = "fast-command" if "fast" in entry.flags else "command"
            server.logs.latency.add(event, seconds, took // 1000)

    def note_size(self, session: Session, entry: Entry, argv: list[bytes], reply: Reply) -> None:
        """Add large requests and replies to the command log (Valkey). Sizes are those in RESP."""
        server = self._server
        if "skip_commandlog" in entry.flags or reply is NO_REPLY:
            return
        numbers = server.config.numbers
        shown = without_secrets(argv)
        logs = server.logs
        for log, threshold, longest, content in (
            (logs.large_requests, LARGE_REQUEST, "commandlog-large-request-max-len", argv),
            (logs.large_replies, LARGE_REPLY, "commandlog-large-reply-max-len", reply),
        ):
            size = len(encode(content, session.protocol))
            if 0 <= numbers[threshold] <= size and numbers[longest]:
                log.add(
                    server.clock.ms() // 1000,
                    size,
                    shown,
                    session.addr,
                    session.name,
                    numbers[longest],
                )
