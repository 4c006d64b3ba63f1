"""How much memory values take: an estimate of what a server would need, for MEMORY and INFO.

No allocator is asked. A key costs a dictionary entry and its name, a value its bytes and the links
between its elements, in the sizes that a 64-bit server uses.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from redis_emulator.clients.session import Session
    from redis_emulator.keyspace.database import Database
    from redis_emulator.server.server import Server

_EMPTY_SERVER: Final = 650_000
_CLIENT: Final = 17_280
_POINTER: Final = 8
_STRING_HEADER: Final = 6
_ENTRY: Final = 24
_OBJECT: Final = 16
_ELEMENT: Final = 40
_SAMPLED_KEYS: Final = 1000


def value_size(value: Any, samples: int = 5) -> int:
    """Bytes that ``value`` takes; at most ``samples`` of its elements are measured, 0 for all."""
    if isinstance(value, (bytes, bytearray)):
        return _OBJECT + _allocated(len(value) + 1)
    parts = _elements(value, samples)
    measured = sum(_part_size(part) for part in parts)
    count = len(value)
    if parts and count > len(parts):
        measured = measured * count // len(parts)
    return _OBJECT + _ELEMENT + measured


def key_size(db: Database, key: bytes, samples: int = 5) -> int:
    """Bytes that ``key`` and its value take, as MEMORY USAGE counts them."""
    return _ENTRY + _allocated(len(key) + 1) + value_size(db.data[key], samples)


def used_memory(server: Server, *, empty: bool = False) -> int:
    """Bytes that a server with these keys would use; with ``empty`` without them."""
    total = _EMPTY_SERVER + _CLIENT * len(server.sessions)
    if empty:
        return total
    for db in server.databases:
        measured = 0
        for count, key in enumerate(db.data, 1):
            measured += key_size(db, key)
            if count == _SAMPLED_KEYS:
                measured = measured * len(db.data) // count
                break
        total += measured
    return total


def size_class(size: int) -> int:
    """What an allocator reserves for ``size`` bytes: one of four sizes for each doubling."""
    step = 1 << max((size - 1).bit_length() - 3, 4)
    return -(-size // step) * step


def multi_size(session: Session) -> int:
    """Bytes of what ``session`` has queued in MULTI."""
    transaction = session.executing if session.queue is None else session.queue
    return sum(len(arg) + _POINTER for _, argv in transaction or () for arg in argv)


def client_size(session: Session) -> int:
    """Bytes that a client takes with its buffers, as CLIENT LIST sums them up."""
    buffers = session.buffers()
    total = _CLIENT + multi_size(session) + buffers.arguments
    if buffers.query:
        total += buffers.query + buffers.room + _STRING_HEADER
    if session.blocked is not None:
        total += sum(map(len, session.blocked.argv))
    return total + buffers.output()


def human(size: int) -> str:
    """``size`` with a unit, as INFO prints it."""
    if size < 1024:
        return f"{size}B"
    for power, unit in enumerate("KMGTP", 1):
        if size < 1024 ** (power + 1) or unit == "P":
            return f"{size / 1024**power:.2f}{unit}"
    raise AssertionError("no unit is large enough")


def _elements(value: Any, samples: int) -> list[Any]:
    found = []
    iterable: Iterable[Any] = value.items() if hasattr(value, "items") else value
    for part in iterable:
        found.append(part)
        if samples and len(found) == samples:
            break
    return found


def _part_size(part: Any) -> int:
    if isinstance(part, (bytes, bytearray)):
        return len(part) + 11
    if isinstance(part, (tuple, list)):
        return sum(_part_size(each) for each in part)
    return 8


def _allocated(size: int) -> int:
    return (size + 15) // 8 * 8
