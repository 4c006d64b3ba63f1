"""Copying the keys of a server into an emulator.

Values are copied as payloads of DUMP, which contain TTLs of hash fields, consumer groups and the
encoding. The emulator reads the payloads of every release of Redis and Valkey, whichever release it
emulates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import redis

from redis_emulator.clients.session import Session
from redis_emulator.clock import ManualClock
from redis_emulator.commands.dump import build_value
from redis_emulator.commands.generic import put
from redis_emulator.engine.dispatch import Engine
from redis_emulator.keyspace.database import Database
from redis_emulator.keyspace.events import GENERIC
from redis_emulator.rdb import payload
from redis_emulator.values.hash import Hash

_BATCH = 500


class TransferError(Exception):
    """A key cannot be copied; the text names the key and the reason."""


def load(engine: Engine, client: redis.Redis) -> int:
    """Copy every key of every database of ``client``'s server into an emulator.

    Keys of the emulator with the same names are overwritten, others stay. A key keeps its remaining
    TTL, whatever the clock of the emulator shows. Keys that disappear during the copying are left
    out. Nothing is written to the server.

    Args:
        engine: The engine of the emulator.
        client: A client of the server. Its address and settings are used for new connections.

    Returns:
        How many keys were copied.

    Raises:
        TransferError: The emulator has no such database, or cannot read a value.
    """
    session = Session(engine, lambda reply: None)
    count = 0
    with _raw_client(client, 0) as first:
        indexes = sorted(int(name[2:]) for name in first.info("keyspace"))
        seconds, microseconds = first.time()
    skew = 0
    if isinstance(engine.server.clock, ManualClock):
        skew = engine.server.clock.ms() - (seconds * 1000 + microseconds // 1000)
    for index in indexes:
        if index >= len(engine.server.databases):
            raise TransferError(
                f"database {index}: the emulator has {len(engine.server.databases)} databases"
            )
        with _raw_client(client, index) as source:
            for batch in _batches(source):
                with engine.lock:
                    engine.server.keyspace.now = engine.server.clock.ms()
                    for key, data, ttl in batch:
                        _store_key(session, engine.server.databases[index], key, data, ttl, skew)
                    engine.tick()
                count += len(batch)
    return count


def _raw_client(client: redis.Redis, index: int) -> redis.Redis:
    """A client of database ``index`` of the same server that does not decode replies."""
    pool = client.connection_pool
    settings: dict[str, Any] = {**pool.connection_kwargs, "db": index, "decode_responses": False}
    raw_pool = redis.ConnectionPool(connection_class=pool.connection_class, **settings)
    raw = redis.Redis(connection_pool=raw_pool)
    raw.auto_close_connection_pool = True
    return raw


def _batches(source: redis.Redis) -> Iterator[list[tuple[bytes, bytes, int]]]:
    """Keys with their payloads and TTLs in milliseconds, -1 without one."""
    for keys in _chunks(source.scan_iter(count=_BATCH)):
        with source.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.dump(key)
                pipeline.pttl(key)
            replies = pipeline.execute()
        yield [
            (key, data, ttl)
            for key, data, ttl in zip(keys, replies[::2], replies[1::2], strict=True)
            if data is not None and ttl != -2
        ]


def _chunks(keys: Iterable[bytes]) -> Iterator[list[bytes]]:
    source = iter(keys)
    while chunk := list(islice(source, _BATCH)):
        yield chunk


def _store_key(
    session: Session, db: Database, key: bytes, data: bytes, ttl: int, skew: int
) -> None:
    try:
        value = build_value(session, payload.load(data, None))
    except ValueError as error:
        raise TransferError(f"database {db.index}, key {key!r}: {error}") from error
    if isinstance(value, Hash) and value.deadlines and skew:
        value.deadlines = {field: at + skew for field, at in value.deadlines.items()}
    put(db, key, value, None if ttl < 0 else db.context.now + ttl)
    db.changed(key, b"restore", GENERIC)
