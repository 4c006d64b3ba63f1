"""Which arguments of a command are keys, and what the command does to them.

Key specifications are part of the command table. They say where keys begin (at an index, or after a
keyword) and how to find the others (a range, or a count in the arguments). The specifications of
four commands are flagged as incomplete; functions below find their keys. Positions count from the
name of the command, which is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from redis_emulator.table import Spec

_ADVISORY_FLAGS: Final = frozenset({"not_key", "incomplete", "variable_flags"})
_READ: Final = ("RO", "access")
_WRITE: Final = ("OW", "update")
_READ_WRITE: Final = ("RW", "access", "update")
_MOVE: Final = ("RW", "access", "delete")
_SKIPPED_BY_SORT: Final = {b"limit": 2, b"get": 1, b"by": 1}
_SKIPPED_BY_MIGRATE: Final = {b"auth": 1, b"auth2": 2}


class Key(NamedTuple):
    """A key among the arguments: its position, and the flags of its specification."""

    position: int
    flags: tuple[str, ...]


class _Invalid(Exception):
    """The arguments do not match the specification."""


def has_keys(spec: Spec) -> bool:
    """Whether a command can have keys."""
    return any("not_key" not in key_spec["flags"] for key_spec in spec.key_specs)


def keys(spec: Spec, argv: Sequence[bytes]) -> list[Key]:
    """The keys in ``argv``, a call of the command ``spec``; empty if the arguments are invalid."""
    special = _KEY_FUNCTIONS.get(spec.name)
    if special is not None:
        return special(argv)
    try:
        return [key for key_spec in spec.key_specs for key in _found(key_spec, argv)]
    except _Invalid:
        return []


def channels(spec: Spec, argv: Sequence[bytes]) -> list[int]:
    """The positions of shard channels in ``argv``; they are hashed to slots like keys."""
    try:
        return [
            key.position
            for key_spec in spec.key_specs
            if "not_key" in key_spec["flags"]
            for key in _range(key_spec, argv)
        ]
    except _Invalid:
        return []


def _found(key_spec: dict[str, Any], argv: Sequence[bytes]) -> Iterator[Key]:
    return iter(()) if "not_key" in key_spec["flags"] else _range(key_spec, argv)


def _range(key_spec: dict[str, Any], argv: Sequence[bytes]) -> Iterator[Key]:
    first = _begin_search(key_spec["begin_search"], argv)
    if first is None:
        return
    kind, find = key_spec["find_keys"]["type"], key_spec["find_keys"]["spec"]
    count = len(argv)
    step = find.get("keystep", 1)
    if kind == "range":
        last = find["lastkey"]
        if last >= 0:
            last += first
        elif find["limit"] <= 1:
            last += count
        else:
            last += first + (count - first) // find["limit"]
    elif kind == "keynum":
        number = _parse_count(argv, first + find["keynumidx"])
        first += find["firstkey"]
        last = first + (number - 1) * step
    else:
        raise _Invalid
    if last >= count or last < first:
        raise _Invalid
    flags = tuple(flag for flag in key_spec["flags"] if flag not in _ADVISORY_FLAGS)
    for position in range(first, last + 1, step):
        yield Key(position, flags)


def _begin_search(begin: dict[str, Any], argv: Sequence[bytes]) -> int | None:
    kind, spec = begin["type"], begin["spec"]
    if kind == "index":
        return int(spec["index"])
    if kind != "keyword":
        raise _Invalid
    keyword = spec["keyword"].lower().encode()
    start = spec["startfrom"]
    indexes = range(start, len(argv)) if start > 0 else range(len(argv) + start, 0, -1)
    for index in indexes:
        if argv[index].lower() == keyword:
            return index + 1
    return None


def _parse_count(argv: Sequence[bytes], index: int) -> int:
    if index >= len(argv) or not argv[index].isdigit() or int(argv[index]) < 1:
        raise _Invalid
    return int(argv[index])


def _set_keys(argv: Sequence[bytes]) -> list[Key]:
    gets = any(word.lower() == b"get" for word in argv[3:])
    return [Key(1, _READ_WRITE if gets else _WRITE)]


def _bitfield_keys(argv: Sequence[bytes]) -> list[Key]:
    index, reads_only = 2, True
    while index < len(argv) and reads_only:
        word = argv[index].lower()
        reads_only = word == b"get" and index + 2 < len(argv)
        index += 3
    return [Key(1, _READ if reads_only else _READ_WRITE)]


def _sort_keys(argv: Sequence[bytes]) -> list[Key]:
    found = [Key(1, _READ)]
    index = 2
    while index < len(argv):
        word = argv[index].lower()
        if word == b"store" and index + 1 < len(argv):
            found[1:] = [Key(index + 1, _WRITE)]
            index += 1
        index += _SKIPPED_BY_SORT.get(word, 0) + 1
    return found


def _migrate_keys(argv: Sequence[bytes]) -> list[Key]:
    index = 6
    while index < len(argv):
        word = argv[index].lower()
        if word == b"keys":
            first = len(argv) if argv[3] else index + 1
            return [Key(each, _MOVE) for each in range(first, len(argv))]
        index += _SKIPPED_BY_MIGRATE.get(word, 0) + 1
    return [Key(3, _MOVE)]


_KEY_FUNCTIONS: Final[dict[str, Callable[[Sequence[bytes]], list[Key]]]] = {
    "bitfield": _bitfield_keys,
    "migrate": _migrate_keys,
    "set": _set_keys,
    "sort": _sort_keys,
    "sort_ro": lambda argv: [Key(1, _READ)],
}
