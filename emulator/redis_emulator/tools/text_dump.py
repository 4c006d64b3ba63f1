"""All keys of an emulator as text, for the output of a failing test.

One line per key, sorted by database and name, such as
``0 user:7 hash 59.5s {name: Ann, says: "good day"}``. Values that are not a single word are quoted
and escaped as in Python. A key without a TTL has ``-``.
"""

from __future__ import annotations

import re
from typing import Any

from redis_emulator.engine.dispatch import Engine
from redis_emulator.resp.types import format_double
from redis_emulator.values.hash import Hash
from redis_emulator.values.kinds import type_name
from redis_emulator.values.list import List
from redis_emulator.values.set import Set
from redis_emulator.values.sorted_set import SortedSet
from redis_emulator.values.stream import Group, Stream, format_id

_WORD = re.compile(rb"[\w:.@/+*#-]+").fullmatch


def dump(engine: Engine) -> str:
    """Every key of every database, one line each; empty if there are no keys."""
    server = engine.server
    with engine.lock:
        engine.tick()
        now = server.keyspace.now
        return "\n".join(
            f"{db.index} {_format_word(key)} {type_name(value).decode()} "
            f"{_format_ttl(db.expires.get(key), now)} {_format_value(value, now)}"
            for db in server.databases
            for key, value in sorted(db.data.items(), key=lambda item: item[0])
        )


def _format_ttl(at: int | None, now: int) -> str:
    return "-" if at is None else f"{(at - now) / 1000:g}s"


def _format_word(raw: bytes) -> str:
    if _WORD(raw):
        return raw.decode("ascii")
    escaped = raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    text = escaped.decode("utf-8", "backslashreplace")
    formatted = (
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
    return f'"{"".join(formatted)}"'


def _format_value(value: Any, now: int) -> str:
    if isinstance(value, List):
        return f"[{', '.join(map(_format_word, value))}]"
    if isinstance(value, Set):
        return f"{{{', '.join(map(_format_word, sorted(value)))}}}"
    if isinstance(value, SortedSet):
        scored = (
            f"{_format_word(each)}: {format_double(score).decode()}"
            for each, score in value.pairs()
        )
        return f"{{{', '.join(scored)}}}"
    if isinstance(value, Hash):
        return f"{{{', '.join(_format_fields(value, now))}}}"
    if isinstance(value, Stream):
        return _format_stream(value)
    return _format_word(bytes(value))


def _format_fields(value: Hash, now: int) -> list[str]:
    deadlines = value.deadlines or {}
    formatted = []
    for field, content in value.items():
        left = f" ({_format_ttl(deadlines[field], now)})" if field in deadlines else ""
        formatted.append(f"{_format_word(field)}: {_format_word(content)}{left}")
    return formatted


def _format_stream(value: Stream) -> str:
    entries = [
        f"{format_id(entry_id).decode()} {{{', '.join(_format_pairs(node.entries[entry_id]))}}}"
        for node in value.nodes
        for entry_id in node.ids
    ]
    groups = "".join(f" {_format_group(name, group)}" for name, group in value.groups.items())
    return f"[{', '.join(entries)}]{groups}"


def _format_pairs(fields: tuple[bytes, ...]) -> list[str]:
    return [
        f"{_format_word(field)}: {_format_word(content)}"
        for field, content in zip(fields[::2], fields[1::2], strict=True)
    ]


def _format_group(name: bytes, group: Group) -> str:
    pending = [
        f"{format_id(entry_id).decode()} {_format_word(entry.consumer.name)}"
        for entry_id, entry in group.pending.items()
    ]
    return f"{_format_word(name)}@{format_id(group.last_id).decode()}({', '.join(pending)})"
