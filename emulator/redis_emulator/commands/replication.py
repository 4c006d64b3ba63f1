"""What replicas say to their master. An emulator has no replication stream, so that a client may
introduce itself as a replica but is refused when it asks for the data.
"""

from __future__ import annotations

import re
from typing import Final

from redis_emulator.commands.arguments import parse_integer, syntax_error
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import NO_REPLY, OK, RedisError, Reply, quote
from redis_emulator.session import Session
from redis_emulator.version import Version

_VERSION: Final = re.compile(rb"([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})").fullmatch
_NO_BOOLEAN: Final = "ERR value is out of range, value must between 0 and 1"


@command("replconf")
def replconf(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) % 2 == 0:
        raise syntax_error()
    version = ctx.server.version
    for option, value in zip(argv[1::2], argv[2::2], strict=True):
        word = option.lower()
        if word in (b"ack", b"getack"):
            return NO_REPLY
        if not _is_understood(version, word, value):
            raise RedisError(f"ERR Unrecognized REPLCONF option: {quote(option)}")
    return OK


def _is_understood(version: Version, word: bytes, value: bytes) -> bool:
    """Whether a server of ``version`` has the option; its value is checked if so."""
    if word in (b"ip-address", b"capa"):
        return True
    if word == b"listening-port":
        parse_integer(value)
    elif word == b"rdb-only":
        _check_boolean(value)
    elif word == b"rdb-filter-only" and version.compatible >= (7, 0):
        _check_filter(value)
    elif word == b"rdb-channel" and version.number >= (8, 0):
        _check_boolean(value)
    elif version.flavour == "valkey" and version.number >= (8, 0):
        return _is_understood_by_valkey(version, word, value)
    elif word == b"main-ch-client-id" and version.number >= (8, 0):
        parse_integer(value)
        raise RedisError(f"ERR Unrecognized RDB client id: {quote(value)}")
    else:
        return False
    return True


def _is_understood_by_valkey(version: Version, word: bytes, value: bytes) -> bool:
    if word == b"set-rdb-client-id":
        parse_integer(value)
        raise RedisError(f"ERR Unrecognized RDB client id {quote(value)}")
    if word == b"set-cluster-node-id" and version.number >= (9, 0):
        raise RedisError("ERR This instance has cluster support disabled")
    if word == b"version":
        found = _VERSION(value)
        if found is None or any(int(part) > 255 for part in found.groups()):
            raise RedisError(f"ERR Unrecognized version format: {quote(value)}")
        return True
    return False


def _check_boolean(value: bytes) -> None:
    if parse_integer(value) not in (0, 1):
        raise RedisError(_NO_BOOLEAN)


def _check_filter(value: bytes) -> None:
    """Words that say which part of the data is wanted; only functions can be left alone."""
    if value.count(b'"') % 2 or value.count(b"'") % 2:
        raise RedisError("ERR Missing rdb-filter-only values")
    for word in value.split():
        if word.lower() != b"functions":
            raise RedisError(f"ERR Unsupported rdb-filter-only option: {quote(word)}")


@command("psync", "sync")
def psync(ctx: Session, argv: list[bytes]) -> Reply:
    name = argv[0].decode().upper()
    if name == "PSYNC":
        if len(argv) > 3 and argv[3].lower() == b"failover":
            raise RedisError("ERR PSYNC FAILOVER can't be sent to a master.")
        if ctx.server.version.compatible >= (7, 0):
            parse_integer(argv[2])
    raise RedisError(f"ERR {name} is not possible: an emulator has no replication")
