"""FUNCTION and FCALL: the function libraries of a server.

A library is Lua code that registers functions when it is loaded. All libraries share one Lua state,
separate from that of EVAL. Calling a function works like running a script.
"""

from __future__ import annotations

from dataclasses import dataclass

from redis_emulator.clients.session import Engine
from redis_emulator.resp.decode import ProtocolError, split_inline
from redis_emulator.resp.types import RedisError, quote
from redis_emulator.scripting.runtime import (
    NAME_RULE,
    LibraryFunction,
    LuaScripts,
    valid_name,
)
from redis_emulator.scripting.scripts import (
    Scripting,
    script_has_no_writes_flag,
    script_writes,
    scripting_of,
)
from redis_emulator.table.entry import Entry


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
        functions: By lower-case name, because FCALL ignores case.
    """

    def __init__(self, scripting: Scripting) -> None:
        self._scripting = scripting
        self.server = scripting.server
        self.libraries: dict[bytes, Library] = {}
        self.functions: dict[bytes, LibraryFunction] = {}
        self._lua: LuaScripts | None = None

    @property
    def lua(self) -> LuaScripts:
        """The Lua state of the libraries, created at first use."""
        if self._lua is None:
            self._lua = self._scripting.new_state()
        return self._lua

    def flush(self) -> None:
        """Delete all libraries and their Lua state."""
        self.libraries.clear()
        self.functions.clear()
        self._lua = None

    def load(self, code: bytes, replace: bool) -> bytes:
        """Load a library. Returns its name.

        Raises:
            RedisError: The code is not valid, or a name is already in use.
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
        """Delete a library, which must exist."""
        for each in self.libraries.pop(name).functions:
            self.functions.pop(each.name.lower(), None)

    def restore(self, codes: list[bytes], policy: bytes) -> None:
        """Load all libraries of a dump (FUNCTION RESTORE), or none if one fails.

        Raises:
            RedisError: A library cannot be loaded, or a name is already in use.
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
    """Split a ``#!`` line into words. Returns an empty list if quotes are unbalanced."""
    try:
        return split_inline(line)
    except ProtocolError:
        return []


def functions_of(engine: Engine) -> Functions:
    """The function libraries of a server."""
    scripting = scripting_of(engine)
    if scripting.functions is None:
        scripting.functions = Functions(scripting)
    assert type(scripting.functions) is Functions
    return scripting.functions


def function_writes(engine: Engine, entry: Entry, argv: list[bytes]) -> bool:
    """Whether a command calls a function or runs a script whose flags allow writes."""
    if entry.name in ("fcall", "fcall_ro"):
        function = functions_of(engine).functions.get(argv[1].lower())
        return function is not None and "no-writes" not in (function.script.flags or ())
    return script_writes(engine, entry, argv)


def has_no_writes_flag(engine: Engine, entry: Entry, argv: list[bytes]) -> bool:
    """Whether a command runs a script or a function with the flag ``no-writes``."""
    if entry.name == "fcall":
        function = functions_of(engine).functions.get(argv[1].lower())
        return function is not None and "no-writes" in (function.script.flags or ())
    return script_has_no_writes_flag(engine, entry, argv)
