"""OBJECT: how a value is stored and how its key is used.

The encoding follows from what the value classes remember (whether a hash has outgrown its listpack)
and from the lengths of key and value. The names are those of the newest server; older ones called
or stored some things differently.
"""

from __future__ import annotations

import re

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import INT64_MAX, INT64_MIN
from redis_emulator.commands.registry import command
from redis_emulator.keyspace.database import Database
from redis_emulator.keyspace.frequency import Frequencies
from redis_emulator.resp.types import RedisError, Reply
from redis_emulator.server.config import effect
from redis_emulator.values.hash import Hash
from redis_emulator.values.kinds import type_name
from redis_emulator.values.string import Printed
from redis_emulator.version import Version

_INTEGER = re.compile(rb"-?[1-9][0-9]{0,18}|0").fullmatch
_SHARED = 10_000
_SHARED_REFERENCES = 2_147_483_647
_SWITCHING = (
    "Please note that when switching between policies at runtime LRU and LFU data will take some "
    "time to adjust."
)


@command("object|encoding")
def object_encoding(ctx: Session, argv: list[bytes]) -> Reply:
    value = _quiet_lookup(ctx, argv[2])
    return None if value is None else encoding(ctx.server.version, ctx.db, argv[2], value)


@command("object|refcount")
def object_refcount(ctx: Session, argv: list[bytes]) -> Reply:
    value = _quiet_lookup(ctx, argv[2])
    if value is None:
        return None
    shared = (
        ctx.server.version.before(7, 2)
        and type(value) is bytes
        and is_integer(value)
        and 0 <= int(value) < _SHARED
    )
    return _SHARED_REFERENCES if shared else 1


@command("object|freq")
def object_freq(ctx: Session, argv: list[bytes]) -> Reply:
    if _quiet_lookup(ctx, argv[2]) is None:
        return None
    counted = _frequencies(ctx)
    if counted is None:
        raise RedisError(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. "
            + _SWITCHING
        )
    return counted.frequency(argv[2], ctx.db.context.now)


@command("object|idletime")
def object_idletime(ctx: Session, argv: list[bytes]) -> Reply:
    if _quiet_lookup(ctx, argv[2]) is None:
        return None
    if _frequencies(ctx) is not None:
        raise RedisError(
            f"ERR An LFU maxmemory policy is selected, idle time not tracked. {_SWITCHING}"
        )
    return max(0, ctx.db.context.now - ctx.db.access[argv[2]]) // 1000


@effect("maxmemory-policy")
def _count_uses(ctx: Session) -> None:
    server = ctx.server
    counting = "lfu" in server.config["maxmemory-policy"]
    for db in server.databases:
        if counting != isinstance(db.access, Frequencies):
            db.access = (
                Frequencies(server.random, server.config.numbers, db.access)
                if counting
                else dict(db.access)
            )


def _frequencies(ctx: Session) -> Frequencies | None:
    access = ctx.db.access
    if isinstance(access, Frequencies) and "lfu" in ctx.server.config["maxmemory-policy"]:
        return access
    return None


def _quiet_lookup(ctx: Session, key: bytes) -> object | None:
    stats = ctx.db.context.stats
    value = ctx.db.data.get(key)
    if value is None:
        stats.misses += 1
    else:
        stats.hits += 1
    return value


def is_integer(value: bytes) -> bool:
    """Whether a string is kept as a 64-bit integer."""
    return _INTEGER(value) is not None and INT64_MIN <= int(value) <= INT64_MAX


def encoding(version: Version, db: Database, key: bytes, value: object) -> bytes:
    """What OBJECT ENCODING says of ``value`` stored at ``key``."""
    if type(value) is bytes:
        return b"int" if is_integer(value) else _text_encoding(version, db, key, value)
    if type(value) is bytearray:
        return b"raw"
    if type(value) is Printed:
        return _text_encoding(version, db, key, value)
    if type(value) is Hash:
        name = _hash_encoding(value)
    else:
        name = value.encoding  # type: ignore[attr-defined]
    return _older_name(version, type_name(value), name)


def kept(version: Version, db: Database, key: bytes, value: object) -> object:
    """``value`` as it goes on when its key or TTL changes: a string that has had an allocation of
    its own once keeps it, though it would fit now.
    """
    if type(value) is bytes and encoding(version, db, key, value) == b"raw":
        return bytearray(value)
    return value


def _older_name(version: Version, kind: bytes, name: bytes) -> bytes:
    if version.before(7, 2) and kind == b"list":
        return b"quicklist"
    if version.before(7, 2) and kind == b"set" and name == b"listpack":
        return b"hashtable"
    if version.before(7) and name == b"listpack":
        return b"ziplist"
    return name


def _hash_encoding(value: Hash) -> bytes:
    if not value.compact:
        return b"hashtable"
    return b"listpack" if value.deadlines is None else b"listpackex"


def _text_encoding(version: Version, db: Database, key: bytes, value: bytes | bytearray) -> bytes:
    """A short string shares an allocation with its header; lately with its key and expiry too."""
    length = len(key) + len(value)
    expires = key in db.expires
    if version.is_redis(8, 2):
        long_key = len(key) >= 32
        embedded = length <= (33 if expires else 41) or (long_key and length in (40, 41))
    elif version.is_valkey(9):
        room = 113 if len(key) < 32 else 111
        embedded = length <= room and not (expires and len(key) > 107)
    else:
        embedded = len(value) <= 44
    return b"embstr" if embedded else b"raw"
