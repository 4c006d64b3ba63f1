"""FUNCTION and FCALL: libraries of functions that stay in the server.

A library is Lua code that registers functions when it is loaded. All libraries share a Lua state,
which is not the one of EVAL; calling a function is otherwise running a script, see
`redis_emulator.commands.scripting`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from redis_emulator.clients.session import Engine, Session
from redis_emulator.commands.dump import writer
from redis_emulator.commands.helpers.arguments import parse_integer, unknown_subcommand
from redis_emulator.commands.registry import command
from redis_emulator.commands.scripting import (
    Scripting,
    script_promises_no_writes,
    script_writes,
    scripting_of,
)
from redis_emulator.glob import glob
from redis_emulator.rdb import payload
from redis_emulator.rdb.crc64 import crc64
from redis_emulator.rdb.wire import Reader, Writer
from redis_emulator.resp.decode import ProtocolError, split_inline
from redis_emulator.resp.types import OK, RedisError, Reply, SetReply, SimpleString, quote
from redis_emulator.scripting.runtime import (
    FLAGS,
    NAME_RULE,
    LibraryFunction,
    LuaScripts,
    valid_name,
)
from redis_emulator.table.entry import Entry

_LIBRARY, _OLD_LIBRARY = 0xF5, 0xF6
_FOOTER = 10


@dataclass(frozen=True, slots=True)
class Library:
    """One library: its name, its whole code, and its functions."""

    name: bytes
    code: bytes
    functions: tuple[LibraryFunction, ...]


class Functions:
    """The libraries of one server.

    Attributes:
        libraries: By name.
        functions: By lower-case name: how a function is spelt when called does not matter.
    """

    def __init__(self, scripting: Scripting) -> None:
        self._scripting = scripting
        self.server = scripting.server
        self.libraries: dict[bytes, Library] = {}
        self.functions: dict[bytes, LibraryFunction] = {}
        self._lua: LuaScripts | None = None

    @property
    def lua(self) -> LuaScripts:
        """The Lua state of the libraries, made when first needed."""
        if self._lua is None:
            self._lua = self._scripting.new_state()
        return self._lua

    def flush(self) -> None:
        """Forget all libraries and all that they have kept in Lua."""
        self.libraries.clear()
        self.functions.clear()
        self._lua = None

    def load(self, code: bytes, replace: bool) -> bytes:
        """Load a library; returns its name.

        Raises:
            RedisError: The code is wrong, or a name is taken.
        """
        name = self._name(code)
        before = self.libraries.get(name)
        if before is not None and not replace:
            raise RedisError(f"ERR Library '{quote(name)}' already exists")
        functions = self.lua.load_library(code.partition(b"\n")[2])
        own = {each.name.lower() for each in before.functions} if before is not None else set()
        for each in functions:
            if each.name.lower() in self.functions and each.name.lower() not in own:
                raise RedisError(f"ERR Function {quote(each.name)} already exists")
        if before is not None:
            self.delete(name)
        self._add(Library(name, code, tuple(functions)))
        return name

    def delete(self, name: bytes) -> None:
        """Forget the library called ``name``, which is there."""
        for each in self.libraries.pop(name).functions:
            self.functions.pop(each.name.lower(), None)

    def restore(self, codes: list[bytes], policy: bytes) -> None:
        """Load the libraries of a dump; all of them, or none.

        Raises:
            RedisError: One cannot be loaded, or a name is taken.
        """
        before = dict(self.libraries), dict(self.functions), self._lua
        if policy == b"flush":
            self.libraries, self.functions, self._lua = {}, {}, None
        try:
            for code in codes:
                name = self._name(code)
                if name in self.libraries and policy != b"replace":
                    raise RedisError(f"ERR Library {quote(name)} already exists")
                self.load(code, True)
        except RedisError:
            self.libraries, self.functions, self._lua = before
            raise

    def _add(self, library: Library) -> None:
        self.libraries[library.name] = library
        for each in library.functions:
            self.functions[each.name.lower()] = each

    def _name(self, code: bytes) -> bytes:
        """The library's name, from the first line of its code."""
        if not code.startswith(b"#!"):
            raise RedisError("ERR Missing library metadata")
        line, newline, _ = code.partition(b"\n")
        words = _words(line) if newline else []
        if not words:
            raise RedisError("ERR Invalid library metadata")
        name: bytes | None = None
        for word in words[1:]:
            if word[:5].lower() != b"name=":
                raise RedisError(f"ERR Invalid metadata value given: {quote(word)}")
            if name is not None:
                raise RedisError(
                    "ERR Invalid metadata value, name argument was given multiple times"
                )
            name = word[5:]
        if name is None:
            raise RedisError("ERR Library name was not given")
        if not valid_name(name):
            raise RedisError(f"ERR Library names {NAME_RULE}")
        if words[0][2:].lower() != b"lua":
            raise RedisError(f"ERR Engine '{quote(words[0][2:])}' not found")
        return name


def _words(line: bytes) -> list[bytes]:
    """The words of a ``#!`` line; none when its quotes do not match."""
    try:
        return split_inline(line)
    except ProtocolError:
        return []


def functions_of(engine: Engine) -> Functions:
    """The libraries of a server."""
    scripting = scripting_of(engine)
    if scripting.functions is None:
        scripting.functions = Functions(scripting)
    assert type(scripting.functions) is Functions
    return scripting.functions


def function_writes(engine: Engine, entry: Entry, argv: list[bytes]) -> bool:
    """Whether a command calls a function that may write, or runs a script that says so."""
    if entry.name in ("fcall", "fcall_ro"):
        function = functions_of(engine).functions.get(argv[1].lower())
        return function is not None and "no-writes" not in (function.script.flags or ())
    return script_writes(engine, entry, argv)


def promises_no_writes(engine: Engine, entry: Entry, argv: list[bytes]) -> bool:
    """Whether a command runs a script or a function with the flag ``no-writes``."""
    if entry.name == "fcall":
        function = functions_of(engine).functions.get(argv[1].lower())
        return function is not None and "no-writes" in (function.script.flags or ())
    return script_promises_no_writes(engine, entry, argv)


@command("fcall")
def fcall(ctx: Session, argv: list[bytes]) -> Reply:
    return _call(ctx, argv, False)


@command("fcall_ro")
def fcall_ro(ctx: Session, argv: list[bytes]) -> Reply:
    return _call(ctx, argv, True)


def _call(ctx: Session, argv: list[bytes], read_only: bool) -> Reply:
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
    place = 2
    while place < len(argv):
        option = argv[place].lower()
        if option == b"withcode" and not with_code:
            with_code = True
        elif option == b"libraryname" and pattern is None:
            place += 1
            if place == len(argv):
                raise RedisError("ERR library name argument was not given")
            pattern = argv[place]
        else:
            raise RedisError(f"ERR Unknown argument {quote(argv[place])}")
        place += 1
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
    out = writer(ctx.server)
    write_libraries(out, functions_of(ctx.engine))
    return payload.seal(out)


def write_libraries(out: Writer, functions: Functions) -> None:
    """Append all libraries as RDB has them."""
    for library in functions.libraries.values():
        out.byte(_LIBRARY)
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
        _read(argv[2], payload.rdb_version(ctx.server.version)), policy
    )
    return OK


def _read(payload: bytes, version: int) -> list[bytes]:
    """The code of every library in the payload of FUNCTION DUMP."""
    wrong = RedisError("ERR DUMP payload version or checksum are wrong")
    if len(payload) < _FOOTER:
        raise wrong
    written, checksum = struct.unpack("<HQ", payload[-_FOOTER:])
    if written > version or checksum != crc64(payload[:-8]):
        raise wrong
    reader = Reader(payload[:-_FOOTER])
    codes = []
    while not reader.at_end():
        kind = reader.take(1)[0]
        if kind == _OLD_LIBRARY:
            raise RedisError("ERR Pre-GA function format not supported")
        if kind != _LIBRARY:
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
