"""The OBJECT subcommands, and the rules for encodings.

The encoding of a value follows from its class (a `Hash` knows whether it is still a listpack) and,
for strings, from the lengths of key and value. The value classes use the encoding names of the
newest release. Older releases have other names and encodings.
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
from redis_emulator.values.string import UnencodedInteger
from redis_emulator.version import Version

_INTEGER = re.compile(rb"-?[1-9][0-9]{0,18}|0").fullmatch
_SHARED_INTEGERS = 10_000
_SHARED_REFCOUNT = 2_147_483_647
_POLICY_SWITCH_NOTE = (
    "Please note that when switching between policies at runtime LRU and LFU data will take some "
    "time to adjust."
)


@command("object|encoding")
def object_encoding(ctx: Session, argv: list[bytes]) -> Reply:
    value = _lookup_without_access(ctx, argv[2])
    return None if value is None else encoding(ctx.server.version, ctx.db, argv[2], value)


@command("object|refcount")
def object_refcount(ctx: Session, argv: list[bytes]) -> Reply:
    value = _lookup_without_access(ctx, argv[2])
    if value is None:
        return None
    shared = (
        ctx.server.version.before(7, 2)
        and type(value) is bytes
        and is_integer(value)
        and 0 <= int(value) < _SHARED_INTEGERS
    )
    return _SHARED_REFCOUNT if shared else 1


@command("object|freq")
def object_freq(ctx: Session, argv: list[bytes]) -> Reply:
    if _lookup_without_access(ctx, argv[2]) is None:
        return None
    frequencies = _frequencies(ctx)
    if frequencies is None:
        raise RedisError(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. "
            + _POLICY_SWITCH_NOTE
        )
    return frequencies.frequency(argv[2], ctx.db.context.now)


@command("object|idletime")
def object_idletime(ctx: Session, argv: list[bytes]) -> Reply:
    if _lookup_without_access(ctx, argv[2]) is None:
        return None
    if _frequencies(ctx) is not None:
        raise RedisError(
            f"ERR An LFU maxmemory policy is selected, idle time not tracked. {_POLICY_SWITCH_NOTE}"
        )
    return max(0, ctx.db.context.now - ctx.db.access[argv[2]]) // 1000


@effect("maxmemory-policy")
def _effect_of_policy(ctx: Session) -> None:
    server = ctx.server
    uses_lfu = "lfu" in server.config["maxmemory-policy"]
    for db in server.databases:
        if uses_lfu != isinstance(db.access, Frequencies):
            db.access = (
                Frequencies(server.random, server.config.numbers, db.access)
                if uses_lfu
                else dict(db.access)
            )


def _frequencies(ctx: Session) -> Frequencies | None:
    access = ctx.db.access
    if isinstance(access, Frequencies) and "lfu" in ctx.server.config["maxmemory-policy"]:
        return access
    return None


def _lookup_without_access(ctx: Session, key: bytes) -> object | None:
    stats = ctx.db.context.stats
    value = ctx.db.data.get(key)
    if value is None:
        stats.misses += 1
    else:
        stats.hits += 1
    return value


def is_integer(value: bytes) -> bool:
    """Whether Redis stores the string as a 64-bit integer (encoding ``int``)."""
    return _INTEGER(value) is not None and INT64_MIN <= int(value) <= INT64_MAX


def encoding(version: Version, db: Database, key: bytes, value: object) -> bytes:
    """The reply of OBJECT ENCODING for ``value`` stored at ``key``."""
    if type(value) is bytes:
        return b"int" if is_integer(value) else _text_encoding(version, db, key, value)
    if type(value) is bytearray:
        return b"raw"
    if type(value) is UnencodedInteger:
        return _text_encoding(version, db, key, value)
    if type(value) is Hash:
        name = _hash_encoding(value)
    else:
        name = value.encoding  # type: ignore[attr-defined]
    return _name_in_release(version, type_name(value), name)


def keep_raw_encoding(version: Version, db: Database, key: bytes, value: object) -> object:
    """Return ``value`` as it is stored after its key or TTL has changed.

    Redis keeps the encoding ``raw`` of a string, even if ``embstr`` is possible with the new key or
    without the TTL.
    """
    if type(value) is bytes and encoding(version, db, key, value) == b"raw":
        return bytearray(value)
    return value


def _name_in_release(version: Version, kind: bytes, name: bytes) -> bytes:
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
    """``embstr`` or ``raw``.

    Redis stores a short string in the allocation of its object header. Since Redis 8.2 and Valkey 9
    this allocation contains the key and the expiry time too.
    """
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
