"""Estimates of the memory that a real server would use, for MEMORY, INFO and ``maxmemory``.

The estimate of a key is a dictionary entry plus its name; that of a value is its bytes plus a fixed
overhead for each element, with the sizes of a 64-bit server.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from redis_emulator.keyspace.database import Database

_EMPTY_SERVER: Final = 650_000
CLIENT: Final = 17_280
"""Bytes that a client uses without its buffers."""
_ENTRY: Final = 24
_OBJECT: Final = 16
_ELEMENT: Final = 40
_SAMPLED_KEYS: Final = 1000


def value_size(value: Any, samples: int = 5) -> int:
    """Bytes that ``value`` uses, estimated from at most ``samples`` elements; 0 for all."""
    if isinstance(value, (bytes, bytearray)):
        return _OBJECT + _allocated(len(value) + 1)
    parts = _elements(value, samples)
    measured = sum(_part_size(part) for part in parts)
    count = len(value)
    if parts and count > len(parts):
        measured = measured * count // len(parts)
    return _OBJECT + _ELEMENT + measured


def key_size(db: Database, key: bytes, samples: int = 5) -> int:
    """Bytes that ``key`` and its value use (MEMORY USAGE)."""
    return _ENTRY + _allocated(len(key) + 1) + value_size(db.data[key], samples)


def empty_memory(clients: int) -> int:
    """Bytes that a server without keys uses with this many clients."""
    return _EMPTY_SERVER + CLIENT * clients


def keys_memory(databases: Iterable[Database]) -> int:
    """Bytes that all keys use, estimated from the first keys of each database."""
    total = 0
    for db in databases:
        measured = 0
        for count, key in enumerate(db.data, 1):
            measured += key_size(db, key)
            if count == _SAMPLED_KEYS:
                measured = measured * len(db.data) // count
                break
        total += measured
    return total


def size_class(size: int) -> int:
    """The size class of jemalloc for ``size`` bytes: four classes for each power of two."""
    step = 1 << max((size - 1).bit_length() - 3, 4)
    return -(-size // step) * step


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
