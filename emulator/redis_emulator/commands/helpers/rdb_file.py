"""A complete RDB file, as PSYNC and SYNC send it."""

from __future__ import annotations

import struct
from typing import Final

from redis_emulator.clients.description import used_memory
from redis_emulator.clients.session import Session
from redis_emulator.commands.dump import rdb_writer, write_key
from redis_emulator.commands.function import write_libraries
from redis_emulator.rdb.crc64 import crc64
from redis_emulator.rdb.wire import Writer
from redis_emulator.scripting.functions import functions_of
from redis_emulator.server.server import Server

_AUX, _RESIZEDB, _EXPIRETIME_MS, _SELECTDB, _EOF = 0xFA, 0xFB, 0xFC, 0xFE, 0xFF
_FIRST_VALKEY_VERSION: Final = 80
"""The first RDB version whose magic string is VALKEY."""


def rdb_file(ctx: Session, *, keys: bool, functions: bool) -> bytes:
    """Write an RDB file of all databases, with or without the keys and the functions."""
    server = ctx.server
    out = rdb_writer(server)
    product = b"VALKEY%03d" if out.version >= _FIRST_VALKEY_VERSION else b"REDIS%04d"
    out.data += product % out.version
    for name, value in _aux_fields(ctx, out.version).items():
        out.byte(_AUX)
        out.string(name.encode())
        out.string(str(value).encode())
    if functions:
        write_libraries(out, functions_of(ctx.engine))
    if keys:
        _write_keys(out, server)
    out.byte(_EOF)
    checksum = crc64(out.data) if server.config["rdbchecksum"] == "yes" else 0
    return bytes(out.data) + struct.pack("<Q", checksum)


def _aux_fields(ctx: Session, version: int) -> dict[str, object]:
    server = ctx.server
    base = "aof-base" if not server.version.before(7) else "aof-preamble"
    product = "valkey" if version >= _FIRST_VALKEY_VERSION else "redis"
    version_text = (
        server.version.text if version >= _FIRST_VALKEY_VERSION else server.version.compatible_text
    )
    return {
        f"{product}-ver": version_text,
        "redis-bits": 64,
        "ctime": server.keyspace.now // 1000,
        "used-mem": used_memory(server, len(ctx.clients.by_id)),
        "repl-stream-db": 0,
        "repl-id": server.replication.id,
        "repl-offset": 0,
        base: 0,
    }


def _write_keys(out: Writer, server: Server) -> None:
    for db in server.databases:
        if not db.data:
            continue
        out.byte(_SELECTDB)
        out.length(db.index)
        out.byte(_RESIZEDB)
        out.length(len(db.data))
        out.length(len(db.expires))
        for key, value in db.data.items():
            if (expires_at := db.expires.get(key)) is not None:
                out.byte(_EXPIRETIME_MS)
                out.data += struct.pack("<q", expires_at)
            write_key(out, server.version, db, key, value)
