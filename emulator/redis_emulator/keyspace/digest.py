"""Digests of values and databases for DEBUG DIGEST and DEBUG DIGEST-VALUE.

Two servers with equal data have equal digests. Ordered parts (elements of a list, entries of a
stream, field and value) are mixed in sequence, unordered parts (members, pairs, keys) are combined
by exclusive or. Follows ``mixDigest`` and ``xorDigest`` of Redis.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha1
from typing import Any, Final

from redis_emulator.keyspace.database import Database
from redis_emulator.resp.double import format_double, format_double17
from redis_emulator.values.hash import Hash
from redis_emulator.values.kinds import type_name
from redis_emulator.values.sorted_set import SortedSet
from redis_emulator.version import Version

NOTHING: Final = bytes(20)
_NUMBERS: Final = {
    b"string": 0,
    b"list": 1,
    b"set": 2,
    b"zset": 3,
    b"hash": 4,
    b"stream": 6,
}


def everything(version: Version, databases: Iterable[Database]) -> bytes:
    """The digest of all keys of all databases."""
    total = NOTHING
    for db in databases:
        if db.data:
            total = _mixed(total, db.index.to_bytes(4, "big"))
        for key in db.data:
            total = _joined(total, _content(version, _mixed(NOTHING, key), db, key))
    return total


def value_at(version: Version, db: Database, key: bytes) -> bytes:
    """The digest of the value at ``key``; all zeros if the key does not exist."""
    return _content(version, NOTHING, db, key) if key in db.data else NOTHING


def _content(version: Version, digest: bytes, db: Database, key: bytes) -> bytes:
    value: Any = db.data[key]
    kind = type_name(value)
    digest = _mixed(digest, _NUMBERS[kind].to_bytes(4, "big"))
    if kind == b"string":
        digest = _mixed(digest, bytes(value))
    elif kind == b"list":
        digest = _mixed(digest, *value)
    elif kind == b"set":
        digest = _joined(digest, *value)
    elif type(value) is SortedSet:
        shown = format_double if not version.before(7, 2) else format_double17
        pairs = ((member, shown(score)) for member, score in value.items())
        digest = _joined(digest, *(_mixed(NOTHING, *pair) for pair in pairs))
    elif type(value) is Hash:
        digest = _joined(digest, *(_field(version, value, field) for field in value))
    else:
        for (milliseconds, sequence), fields in value.items():
            digest = _mixed(digest, b"%d.%d" % (milliseconds, sequence), *fields)
    return _joined(digest, b"!!expire!!") if key in db.expires else digest


def _field(version: Version, value: Hash, field: bytes) -> bytes:
    digest = _mixed(NOTHING, field, value[field])
    if version.is_valkey():
        return digest
    if value.deadlines is not None and field in value.deadlines:
        return _joined(digest, b"!!hexpire!!")
    return digest


def _joined(digest: bytes, *parts: bytes) -> bytes:
    total = int.from_bytes(digest, "big")
    for part in parts:
        total ^= int.from_bytes(sha1(part).digest(), "big")
    return total.to_bytes(20, "big")


def _mixed(digest: bytes, *parts: bytes) -> bytes:
    for part in parts:
        digest = sha1(_joined(digest, part)).digest()
    return digest
