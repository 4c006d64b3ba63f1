"""A whole RDB file: what a server saves, and sends to a replica that starts."""

from __future__ import annotations

import struct
from typing import Final

from redis_emulator.clients.description import used_memory
from redis_emulator.clients.session import Session
from redis_emulator.commands.dump import write, writer
from redis_emulator.commands.function import write_libraries
from redis_emulator.rdb.crc64 import crc64
from redis_emulator.rdb.wire import Writer
from redis_emulator.scripting.functions import functions_of
from redis_emulator.server.server import Server

_FACT, _SIZES, _DEADLINE, _DATABASE, _END = 0xFA, 0xFB, 0xFC, 0xFE, 0xFF
_VALKEY: Final = 80
"""The first RDB version with Valkey's name in front."""


def rdb_file(ctx: Session, *, keys: bool, functions: bool) -> bytes:
    """The file, with or without the keys and the functions."""
    server = ctx.server
    out = writer(server)
    product = b"VALKEY%03d" if out.version >= _VALKEY else b"REDIS%04d"
    out.data += product % out.version
    for name, value in _facts(ctx, out.version).items():
        out.byte(_FACT)
        out.string(name.encode())
        out.string(str(value).encode())
    if functions:
        write_libraries(out, functions_of(ctx.engine))
    if keys:
        _write_keys(out, server)
    out.byte(_END)
    checksum = crc64(out.data) if server.config["rdbchecksum"] == "yes" else 0
    return bytes(out.data) + struct.pack("<Q", checksum)


def _facts(ctx: Session, version: int) -> dict[str, object]:
    server = ctx.server
    base = "aof-base" if not server.version.before(7) else "aof-preamble"
    product = "valkey" if version >= _VALKEY else "redis"
    said = server.version.text if version >= _VALKEY else server.version.compatible_text
    return {
        f"{product}-ver": said,
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
        out.byte(_DATABASE)
        out.length(db.index)
        out.byte(_SIZES)
        out.length(len(db.data))
        out.length(len(db.expires))
        for key, value in db.data.items():
            if (at := db.expires.get(key)) is not None:
                out.byte(_DEADLINE)
                out.data += struct.pack("<q", at)
            write(out, server.version, db, key, value)
