"""Compares the keys and the keyspace events of an emulator and a server."""

from __future__ import annotations

from typing import Any

from tests.support.pair import Pair, Wire, unordered


class EventWatcher:
    """Subscribes to keyspace events on both sides."""

    def __init__(self, same: Pair) -> None:
        same("CONFIG", "SET", "notify-keyspace-events", "KEA")
        self._same = same
        self._emulated, self._real = same.connect()
        for connection in (self._emulated, self._real):
            connection("PSUBSCRIBE", "__key*__:*")
            connection("PSUBSCRIBE", "end")

    def collect(self) -> tuple[list[Wire], list[Wire]]:
        """Return all events since the last call: the server's, then the emulator's.

        ``expired`` events are sorted to the end, because a server may delete an expired key at any
        later time.
        """
        self._same("PUBLISH", "end", "-")
        real, emulated = self._drain(self._real), self._drain(self._emulated)
        for events in (real, emulated):
            events.sort(key=_is_of_expiry)
        return real, emulated

    def _drain(self, connection: Any) -> list[Wire]:
        events = []
        while (event := connection.read())[1][2][1] != b"end":
            events.append((event[1][2][1], event[1][3][1]))
        return events


def _is_of_expiry(event: tuple[bytes, bytes]) -> bool:
    return b"expired" in (event[1], event[0].rpartition(b":")[2])


_READS: dict[bytes, tuple[Any, ...]] = {
    b"string": ("GET",),
    b"hash": ("HGETALL",),
    b"list": ("LRANGE", 0, -1),
    b"set": ("SMEMBERS",),
    b"zset": ("ZRANGE", 0, -1, "WITHSCORES"),
    b"stream": ("XRANGE", "-", "+"),
}


def compare_keyspaces(same: Pair) -> None:
    """Compare type, value, encoding and TTL of every key, after deleting expired ones."""
    for connection in (same.emulated, same.real):
        connection("SCAN", "0", "COUNT", "1000")
    names = same("KEYS", "*", key=unordered)[1]
    for _, name in names:
        read, *rest = _READS[same("TYPE", name)[1]]
        key = _pairs if read == "HGETALL" else unordered if read == "SMEMBERS" else None
        same(read, name, *rest, key=key)
        same("OBJECT", "ENCODING", name)
        same("PTTL", name, key=lambda reply: _about(reply, same))


def _pairs(reply: Wire) -> Any:
    if reply[0] == "*":
        items = [item[1] for item in reply[1]]
        return dict(zip(items[::2], items[1::2], strict=True))
    return sorted(map(repr, reply[1]))


def _about(reply: Wire, same: Pair) -> Any:
    milliseconds = int(reply[1])
    return milliseconds if milliseconds < 0 else "expires"
