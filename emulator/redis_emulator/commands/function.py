"""FUNCTION and FCALL. `redis_emulator.scripting.functions` loads and stores the libraries."""

from __future__ import annotations

import struct

from redis_emulator.clients.session import Session
from redis_emulator.commands.dump import rdb_writer
from redis_emulator.commands.helpers.arguments import parse_integer, unknown_subcommand
from redis_emulator.commands.registry import command
from redis_emulator.glob import glob
from redis_emulator.rdb import payload
from redis_emulator.rdb.crc64 import crc64
from redis_emulator.rdb.wire import Reader, Writer
from redis_emulator.resp.types import OK, RedisError, Reply, SetReply, SimpleString, quote
from redis_emulator.scripting.functions import Functions, Library, functions_of
from redis_emulator.scripting.runtime import FLAGS
from redis_emulator.scripting.scripts import scripting_of

_OPCODE_FUNCTION2, _OPCODE_FUNCTION_PRE_GA = 0xF5, 0xF6
_FOOTER_SIZE = 10


@command("fcall")
def fcall(ctx: Session, argv: list[bytes]) -> Reply:
    return _fcall(ctx, argv, False)


@command("fcall_ro")
def fcall_ro(ctx: Session, argv: list[bytes]) -> Reply:
    return _fcall(ctx, argv, True)


def _fcall(ctx: Session, argv: list[bytes], read_only: bool) -> Reply:
    state = functions_of(ctx.engine)
    function = state.functions.get(argv[1].lower())
    if function is None:
        raise RedisError("ERR Function not found")
    count = parse_integer(argv[2], "ERR Bad number of keys provided")
    if count > len(argv) - 3:
        raise RedisError("ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise RedisError("ERR Number of keys can't be negative")
    scripts = scripting_of(ctx.engine)
    return scripts.run(ctx, function.script, argv, 3 + count, read_only, state.lua)


@command("function|load")
def function_load(ctx: Session, argv: list[bytes]) -> Reply:
    for option in argv[2:-1]:
        if option.lower() != b"replace":
            raise RedisError(f"ERR Unknown option given: {quote(option)}")
    return functions_of(ctx.engine).load(argv[-1], len(argv) > 3)


@command("function|list")
def function_list(ctx: Session, argv: list[bytes]) -> Reply:
    pattern: bytes | None = None
    with_code = False
    index = 2
    while index < len(argv):
        option = argv[index].lower()
        if option == b"withcode" and not with_code:
            with_code = True
        elif option == b"libraryname" and pattern is None:
            index += 1
            if index == len(argv):
                raise RedisError("ERR library name argument was not given")
            pattern = argv[index]
        else:
            raise RedisError(f"ERR Unknown argument {quote(argv[index])}")
        index += 1
    libraries = functions_of(ctx.engine).libraries.values()
    matches = glob(pattern.lower()) if pattern is not None else None
    return [
        _describe(library, with_code)
        for library in libraries
        if matches is None or matches(library.name.lower())
    ]


def _describe(library: Library, with_code: bool) -> Reply:
    functions = [
        {
            b"name": each.name,
            b"description": each.description,
            b"flags": SetReply(
                SimpleString(flag.encode()) for flag in FLAGS if flag in (each.script.flags or ())
            ),
        }
        for each in library.functions
    ]
    described: dict[bytes, Reply] = {
        b"library_name": library.name,
        b"engine": b"LUA",
        b"functions": functions,
    }
    if with_code:
        described[b"library_code"] = library.code
    return described


@command("function|delete")
def function_delete(ctx: Session, argv: list[bytes]) -> Reply:
    state = functions_of(ctx.engine)
    if argv[2] not in state.libraries:
        raise RedisError("ERR Library not found")
    state.delete(argv[2])
    return OK


@command("function|flush")
def function_flush(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 3:
        raise unknown_subcommand(ctx.server.version, argv)
    if len(argv) == 3 and argv[2].lower() not in (b"sync", b"async"):
        raise RedisError("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")
    functions_of(ctx.engine).flush()
    return OK


@command("function|stats")
def function_stats(ctx: Session, argv: list[bytes]) -> Reply:
    scripts, state = scripting_of(ctx.engine), functions_of(ctx.engine)
    running: Reply = None
    if scripts.running is not None:
        if not scripts.running.script.takes_arguments:
            raise scripts.busy()
        running = {
            b"name": scripts.running.script.sha,
            b"command": scripts.running.argv,
            b"duration_ms": scripts.running.milliseconds(),
        }
    count: dict[bytes, Reply] = {
        b"libraries_count": len(state.libraries),
        b"functions_count": len(state.functions),
    }
    return {b"running_script": running, b"engines": {b"LUA": count}}


@command("function|dump")
def function_dump(ctx: Session, argv: list[bytes]) -> Reply:
    out = rdb_writer(ctx.server)
    write_libraries(out, functions_of(ctx.engine))
    return payload.seal(out)


def write_libraries(out: Writer, functions: Functions) -> None:
    """Append all libraries in RDB format."""
    for library in functions.libraries.values():
        out.byte(_OPCODE_FUNCTION2)
        out.string(library.code)


@command("function|restore")
def function_restore(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 4:
        raise unknown_subcommand(ctx.server.version, argv)
    policy = argv[3].lower() if len(argv) == 4 else b"append"
    if policy not in (b"flush", b"append", b"replace"):
        raise RedisError(
            "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE."
        )
    functions_of(ctx.engine).restore(
        _parse_payload(argv[2], payload.rdb_version(ctx.server.version)), policy
    )
    return OK


def _parse_payload(payload: bytes, version: int) -> list[bytes]:
    """Parse a payload of FUNCTION DUMP into the code of each library."""
    invalid = RedisError("ERR DUMP payload version or checksum are wrong")
    if len(payload) < _FOOTER_SIZE:
        raise invalid
    payload_version, checksum = struct.unpack("<HQ", payload[-_FOOTER_SIZE:])
    if payload_version > version or checksum != crc64(payload[:-8]):
        raise invalid
    reader = Reader(payload[:-_FOOTER_SIZE])
    codes = []
    while not reader.at_end():
        kind = reader.take(1)[0]
        if kind == _OPCODE_FUNCTION_PRE_GA:
            raise RedisError("ERR Pre-GA function format not supported")
        if kind != _OPCODE_FUNCTION2:
            raise RedisError("ERR given type is not a function")
        try:
            codes.append(reader.string())
        except ValueError:
            raise RedisError("ERR Failed loading library data") from None
    return codes


@command("function|kill")
def function_kill(ctx: Session, argv: list[bytes]) -> Reply:
    scripting_of(ctx.engine).kill(True)
    return OK
