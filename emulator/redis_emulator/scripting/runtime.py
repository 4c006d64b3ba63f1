"""`LuaScripts`: one Lua state that compiles and runs scripts.

The state is standard Lua 5.1 (lupa) inside the process. The rules for what scripts can access are
in ``sandbox.lua``. The Python functions that Lua calls take bytes, numbers and tables, and return
bytes, numbers, booleans and new tables. They store an error reply, which Lua then reads with
``failure``. Any other exception, such as one raised by a signal handler, passes through Lua as an
object, ends the script and is raised by `LuaScripts.run`.

If an allocation fails, Lua makes a long jump to the innermost protected call. Calls from Python
into the state have no protected call around them, and a jump across Python frames would never
release the GIL. Therefore the size of arguments and replies is checked before they are passed
(`_admit`, `_fits`), and ``sandbox.lua`` keeps the state below `SOFT_MEMORY` whenever it calls
Python.

A state is not thread-safe. The engine holds its lock during every use.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from importlib import resources
from itertools import chain
from typing import Any

from redis_emulator.resp.double import Double17
from redis_emulator.resp.types import RedisError, Reply, SimpleString
from redis_emulator.scripting import convert, libraries
from redis_emulator.scripting.bytecode import replace_tail_calls
from redis_emulator.version import Version

Call = Callable[[list[bytes]], Reply]
Direct = Callable[["LuaScripts", bytes], Callable[..., Any] | None]

SOFT_MEMORY = 384 << 10
HARD_MEMORY = 1 << 30
_NO_MEMORY = "ERR not enough memory"
_PER_ITEM = 100
"""Overhead of a value in Lua in bytes, including the growth of tables."""
_CHUNK = 4000
_DIRECT = 100
_SMALL = 1 << 20
_MOST_KEYS = 8
_FIRST_RANDOM = 0x1234ABCD330E
_FIRST_RANDOM_LEGACY = 0x330E


class ScriptCallError(RedisError):
    """An error of the scripting API itself for a call. The text has no error code."""


@dataclass(frozen=True, slots=True)
class Script:
    """A compiled script.

    Attributes:
        sha: The lower-case SHA1 of the source.
        source: The source.
        flags: The flags of the ``#!lua flags=`` line; None without such a line.
        function: The Lua function.
        takes_arguments: Whether keys and arguments are parameters (functions), not globals.
    """

    sha: bytes
    source: bytes
    flags: frozenset[str] | None
    function: Any
    takes_arguments: bool = False


@dataclass(frozen=True, slots=True)
class LibraryFunction:
    """A function that a library has registered.

    Attributes:
        name: The registered name.
        description: The description or None.
        script: The script for `LuaScripts.run`.
    """

    name: bytes
    description: bytes | None
    script: Script


class LuaScripts:
    """Compiles and runs scripts as a server of ``version`` does.

    Args:
        version: The release to emulate.
        call: Runs one command of a script. Returns the reply or the error; does not raise.
        direct: Returns the fast path for a command name (see `redis_emulator.scripting.direct`), or
            None.
        log: Called for ``redis.log`` with the level (0 to 3) and the text.
        interrupt: Called periodically while a script runs. Returned bytes abort the script with
            that error.
        setresp: Called for ``redis.setresp`` with 2 or 3.
        acl_check: Returns whether the user may run a command. Raises `ScriptCallError` for an
            unknown command.

    Raises:
        ImportError: lupa is not installed. The message names the extra to install.
    """

    def __init__(
        self,
        version: Version,
        call: Call,
        *,
        direct: Direct = lambda lua, name: None,
        log: Callable[[int, bytes], None] = lambda level, text: None,
        interrupt: Callable[[], bytes | None] = lambda: None,
        setresp: Callable[[int], None] = lambda protocol: None,
        acl_check: Callable[[list[bytes]], bool] = lambda argv: True,
    ) -> None:
        self._number = version.compatible
        self._valkey = version.is_valkey()
        self._legacy = version.before(7)
        self._first_random = _FIRST_RANDOM_LEGACY if self._legacy else _FIRST_RANDOM
        self._shortest = not version.before(7, 2)
        self._double = float if self._shortest else Double17
        self._raw_errors = not self._valkey and self._shortest
        self._names_script = not version.is_valkey(9)
        self._setresp = setresp
        self._acl_check = acl_check
        self._interrupt = interrupt
        self._log = log
        self._load_until: float | None = None
        self._call = call
        self._direct = direct
        self._failure: tuple[bytes, bool, bool] = (b"", False, False)
        self.resp3 = False
        self._boot(version)

    def compile(self, source: bytes) -> Script:
        """Compile a script and parse its ``#!`` line.

        Raises:
            RedisError: The line or the code is not valid. The text is that of the real server.
        """
        sha = hashlib.sha1(source).hexdigest().encode()
        flags, body = self._shebang(source)
        maker: bytes | None = None
        if self._legacy:
            maker = b"f_" + sha
            body = b"function %b() %b\nend" % (maker, body)
        if body[:1] == b"\x1b":
            body = b" " + body
        function = self._compile(body, b"@user_script", "script (new function)")
        if maker is not None:
            try:
                function = self._lua.define(function, maker)
            except self._memory_error:
                raise RedisError(_NO_MEMORY) from None
            if type(function) is bytes:
                raise convert.error(b"ERR Error running script (new function): " + function)
        return Script(sha, source, flags, function)

    def _compile(self, text: bytes, name: bytes, what: str) -> Any:
        try:
            self._admit(len(text))
            result = self._lua.compile(text, name)
            if type(result) is tuple:
                message = result[1].decode("utf-8", "surrogateescape")
                raise RedisError(f"ERR Error compiling {what}: {message}")
            code = replace_tail_calls(self._lua.dump(result), self._host_names)
            self._admit(len(code))
            return self._lua.bind(code, name)
        except self._memory_error:
            raise RedisError(_NO_MEMORY) from None

    def load_library(self, code: bytes) -> list[LibraryFunction]:
        """Run the code of a library. Returns the functions that it registers.

        Args:
            code: Everything after the ``#!`` line.

        Raises:
            RedisError: The code does not compile, fails, times out, or registers no function.
        """
        function = self._compile(b"\n" + code, b"@user_function", "function")
        self._load_until = time.monotonic() + _LOAD_SECONDS
        try:
            loaded = self._lua.load_library(function)
        except self._memory_error:
            raise RedisError(_NO_MEMORY) from None
        finally:
            self._load_until = None
        if type(loaded) is bytes:
            raise convert.error(b"ERR Error registering functions: " + loaded)
        functions: list[LibraryFunction] = []
        names: set[bytes] = set()
        for each in loaded.values():
            wrong = wrong_function(each[b"name"], names, "Function")
            if wrong:
                raise RedisError(f"ERR {wrong}")
            names.add(each[b"name"])
            flags = frozenset(flag.decode() for flag in each[b"flags"].values())
            script = Script(each[b"name"], code, flags, each[b"callback"], True)
            functions.append(LibraryFunction(each[b"name"], each[b"description"], script))
        if not functions:
            raise RedisError("ERR No functions registered")
        return functions

    def run(self, script: Script, arguments: list[bytes], keys: int) -> Reply:
        """Run a script and return its reply.

        Args:
            script: A script compiled by this object.
            arguments: The elements of ``KEYS`` followed by those of ``ARGV``.
            keys: The number of keys.

        Raises:
            RedisError: The script failed. The text names script and line as the real server does.
        """
        self.resp3 = False
        few = len(arguments) <= _DIRECT
        small = few
        for argument in arguments if few else ():
            if len(argument) > _SMALL:
                small = False
                break
        try:
            if not small or self._used() > self._soft:
                self._admit(sum(map(len, arguments)) + _PER_ITEM * len(arguments))
            if few and keys <= _MOST_KEYS and not script.takes_arguments:
                result = self._runners[keys](script.function, *arguments)
            else:
                run = self._run_function if script.takes_arguments else self._run_tables
                tables = self._table(arguments[:keys]), self._table(arguments[keys:])
                result = run(script.function, *tables)
        except self._memory_error:
            raise self._script_error(script.sha, _NO_MEMORY.encode()) from None
        kind = type(result)
        if kind is bytes or kind is int:
            return result
        if kind is tuple:
            return self._table_result(script.sha, result)
        return convert.from_scalar(result, self.resp3)

    def forget(self) -> None:
        """Reset the state of the Lua libraries, as SCRIPT FLUSH does. The random generator is not
        reset.
        """
        if self._used() > self._soft:
            self._collect()
        self._lua.forget()

    def restart(self) -> None:
        """Reset the random generator."""
        self._seed(self._first_random)

    def _table_result(self, sha: bytes, result: Any) -> Reply:
        tag = result[0]
        if tag == 1:
            return [v if type(v) is bytes else convert.integer(v) for v in result[1:]]
        if tag == 2:
            _, tokens, count = result
            # Not a generator: closing it early would suppress the exception of a signal handler.
            parts = map(partial(self._tokens, sha, tokens, count), range(1, count + 1, _CHUNK))
            reply = convert.from_stream(chain.from_iterable(parts), self.resp3, self._double)
            if isinstance(reply, RedisError):
                raise reply
            return reply
        raise self._script_error(sha, *result[1:])

    def _tokens(self, sha: bytes, tokens: Any, count: int, first: int) -> tuple[Any, ...]:
        """One part of a result in prefix order. A script can be killed between two parts."""
        reason = self._interrupt()
        if reason is not None:
            raise self._script_error(sha, reason if self._legacy else b"ERR " + reason)
        part = self._lua.slice(tokens, first, min(first + _CHUNK - 1, count))
        return part if type(part) is tuple else (part,)

    def _script_error(
        self,
        sha: bytes,
        text: Any,
        source: bytes | None = None,
        line: int = 0,
        counted: bool | None = None,
    ) -> RedisError:
        message = convert.until_nul(text) if type(text) is bytes else b"%d" % text
        if self._legacy:
            return convert.error(b"ERR Error running script (call to f_%b): %b" % (sha, message))
        if source is not None:
            name = b"%b, " % sha if self._names_script else b""
            message = b"%b script: %bon %b:%d." % (message, name, source, line)
        failure = convert.error(message)
        if self._raw_errors:
            failure = convert.RawError(failure.text)
        failure.counted = bool(counted)
        return failure

    def _shebang(self, source: bytes) -> tuple[frozenset[str] | None, bytes]:
        if self._legacy or source[:2] != b"#!":
            return None, source
        line, newline, body = source.partition(b"\n")
        if not newline:
            raise RedisError("ERR Invalid script shebang")
        words = line.decode("utf-8", "surrogateescape").replace('"', "").split()
        if self._valkey:
            words = ["#!" + words[0][2:], *words[1:]] if words[0] != "#!" else ["#!", *words[1:]]
            if words[0] == "#!" and len(words) > 1 and line[2:3] == b" ":
                words = ["#!lua", *words[1:]]
            if words[0].lower() != "#!lua":
                raise RedisError(f"ERR Could not find scripting engine '{words[0][2:]}'")
        elif words[0] != "#!lua":
            raise RedisError(f"ERR Unexpected engine in script shebang: {words[0]}")
        flags: set[str] = set()
        for word in words[1:]:
            option, separator, value = word.partition("=")
            if option != "flags" or not separator:
                raise RedisError(f"ERR Unknown lua shebang option: {word}")
            for flag in value.split(",") if value else ():
                if flag not in FLAGS:
                    raise RedisError(f"ERR Unexpected flag in script shebang: {flag}")
                flags.add(flag)
        return frozenset(flags), b"\n" + body

    def _boot(self, version: Version) -> None:
        try:
            from lupa.lua51 import LuaMemoryError, LuaRuntime
        except ImportError as error:
            raise ImportError(
                "scripts need Lua: install the extra, pip install 'podlink[emulator]'"
            ) from error
        state = LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            max_memory=HARD_MEMORY,
        )
        self._state = state
        self._used = state.get_memory_used
        self._memory_error: type[Exception] = LuaMemoryError
        self._soft = SOFT_MEMORY << 10
        self._room = (HARD_MEMORY - self._soft) // 4 * 3
        self._table = state.table_from
        host = self._host(version)
        box = self._load("sandbox.lua", host)
        self._load("strings.lua", host, box)
        api = self._load("api.lua", host, box)
        found = libraries.make(
            state, box, lambda name, *args: self._load(name, *args), self._legacy
        )
        names = {b"call", b"pcall", b"insert", b"find", b"match", b"gsub", b"gmatch", b"wrap"}
        for part in (box.G, box.tables, box.strings, box.maths, box.coroutines, *found.values()):
            names.update(key for key in part if type(key) is bytes)
        names |= set(_API_NAMES)
        self._host_names = frozenset(names)
        api.publish(self._table(found))
        box.start_random(self._first_random)
        self._seed = box.start_random
        self._lua = api
        self._collect = api.collect  # a lookup later would allocate memory
        self._runners = [api.runner(keys) for keys in range(_MOST_KEYS + 1)]
        self._run_tables = api.run_tables
        self._run_function = api.run_function
        api.wipe(state.globals())
        self._host_table = host

    def _load(self, name: str, *args: Any) -> Any:
        source = resources.files(__package__).joinpath(name).read_bytes()
        loaded = self._state.globals().loadstring(source, b"=[C]")
        if type(loaded) is tuple:
            raise RuntimeError(f"{name}: {loaded[1]!r}")
        return loaded(*args)

    def _host(self, version: Version) -> Any:
        number = version.compatible
        constants: dict[bytes, object] = {
            b"REDIS_VERSION": b"%d.%d.%d" % number,
            b"REDIS_VERSION_NUM": number[0] << 16 | number[1] << 8 | number[2],
        }
        if self._legacy:
            constants = {}
        if self._valkey:
            own = version.number
            constants[b"SERVER_NAME"] = b"valkey"
            constants[b"VALKEY_VERSION"] = b"%d.%d.%d" % own
            constants[b"VALKEY_VERSION_NUM"] = own[0] << 16 | own[1] << 8 | own[2]
        table = self._table
        return table(
            {
                b"legacy": self._legacy,
                b"valkey": self._valkey,
                b"modern_texts": number >= (7, 2, 0),
                b"memory": SOFT_MEMORY,
                b"first_random": self._first_random,
                b"constants": table(constants),
                b"call": self.call,
                b"call3": self.call3,
                b"direct": self._lua_direct,
                b"failure": self._lua_failure,
                b"interrupt": self._lua_interrupt,
                b"sha1hex": lambda text: hashlib.sha1(text).hexdigest().encode(),
                b"log": self._lua_log,
                b"setresp": self._lua_setresp,
                b"acl_check_cmd": self._lua_acl_check,
                b"clock": time.process_time,
                b"function_flags": table(dict.fromkeys(map(str.encode, FLAGS), True)),
                b"wrong_function": _wrong_function,
            }
        )

    # Memory.

    def _admit(self, size: int) -> None:
        """Check that ``size`` bytes fit into the state. Collects garbage if necessary.

        Raises:
            LuaMemoryError: They do not fit.
        """
        if self._used() + size > self._soft + self._room:
            self._collect()
            if self._used() + size > self._soft + self._room:
                raise self._memory_error
        elif self._used() > self._soft:
            self._collect()

    def _fits(self, reply: Any) -> bool:
        """Whether a reply fits into the memory that ``sandbox.lua`` has kept free."""
        return _footprint(reply, self._room) <= self._room

    # What Lua calls.

    def call(self, *args: Any) -> Any:
        """The slow path of ``redis.call``. Returns a string, a number, false for null, true for the
        status OK, a table for other replies, or None for an error, which `failed` has stored.
        """
        try:
            for argument in args:
                if type(argument) is not bytes:
                    args = tuple(map(self._argument, args))
                    break
            if not args:
                raise ScriptCallError(self._no_arguments())
            return self.to_lua(self._call(list(args)))
        except RedisError as error:
            return self.failed(error, False)

    def to_lua(self, reply: Reply) -> Any:
        """Convert a reply for a script in RESP2, as `call` returns it."""
        kind = type(reply)
        if kind is int or (isinstance(reply, bytes) and kind is bytes and len(reply) <= self._room):
            return reply
        if reply is None:
            return False
        if kind is SimpleString and reply == b"OK":
            return True
        if isinstance(reply, RedisError):
            return self.failed(reply)
        if not self._fits(reply):
            return self.failed(RedisError(_NO_MEMORY))
        return convert.to_lua2(reply, self._table)

    def call3(self, *args: Any) -> Any:
        try:
            argv = list(map(self._argument, args))
            if not argv:
                raise ScriptCallError(self._no_arguments())
            reply = self._call(argv)
            if isinstance(reply, RedisError):
                return self.failed(reply)
            if not self._fits(reply):
                return self.failed(RedisError(_NO_MEMORY))
            make = self._sized if self._valkey else self._table
            return self._table([convert.to_lua3(reply, make)])
        except RedisError as error:
            return self.failed(error, False)

    def _sized(self, items: Any) -> Any:
        """Create a table with space for nulls, as Valkey does. It affects the operator ``#``."""
        if type(items) is list and None in items and len(items) <= _CHUNK:
            return self._lua.sized(*items)
        return self._table(items)

    def _lua_acl_check(self, *args: Any) -> Any:
        try:
            argv = list(map(self._argument, args))
            if not argv:
                raise ScriptCallError(self._no_arguments())
            return self._acl_check(argv)
        except RedisError as error:
            return self.failed(error, False)

    def _argument(self, value: Any) -> bytes:
        if type(value) is bytes:
            return value
        if type(value) is int or type(value) is float:
            return convert.number_argument(value, self._shortest)
        if self._valkey:
            raise ScriptCallError("Command arguments must be strings or integers")
        where = "Lua redis()" if self._legacy else "Lua redis lib"
        raise ScriptCallError(f"{where} command arguments must be strings or integers")

    def _no_arguments(self) -> str:
        what = "call" if self._valkey else "redis.call()" if self._legacy else "redis lib call"
        this = "" if self._legacy else "this "
        return f"Please specify at least one argument for {this}{what}"

    def failed(self, error: RedisError, counted: bool = True) -> None:
        """Store an error, which Lua reads with ``failure``."""
        self._failure = (error.wire(), isinstance(error, ScriptCallError), counted)

    def _lua_direct(self, name: bytes) -> Callable[..., Any] | None:
        return self._direct(self, name)

    def _lua_failure(self) -> tuple[bytes, bool, bool]:
        return self._failure

    def _lua_interrupt(self) -> bytes | None:
        if self._load_until is not None and time.monotonic() > self._load_until:
            return b"FUNCTION LOAD timeout"
        return self._interrupt()

    def _lua_log(self, level: int, text: bytes) -> None:
        self._log(level, text)

    def _lua_setresp(self, protocol: int) -> None:
        self.resp3 = protocol == 3
        self._setresp(protocol)


def _footprint(reply: Any, limit: int) -> int:
    """Estimate the bytes that a reply uses in Lua. Stops counting above ``limit``."""
    if isinstance(reply, bytes):
        return len(reply) + _PER_ITEM
    if not isinstance(reply, Collection):
        return _PER_ITEM
    size = _PER_ITEM * (len(reply) + 2)
    if set(map(type, reply)) == {bytes} and not isinstance(reply, dict):
        return size + sum(map(len, reply))
    for item in chain.from_iterable(reply.items()) if isinstance(reply, dict) else reply:
        size += _footprint(item, limit)
        if size > limit:
            break
    return size


_LOAD_SECONDS = 0.5
"""Time limit for running the code of a library in FUNCTION LOAD."""
FLAGS = ("no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys")
NAME_RULE = (
    "can only contain letters, numbers, or underscores(_) and must be at least one character long"
)
_API_NAMES = (
    b"error_reply", b"status_reply", b"sha1hex", b"log", b"setresp", b"set_repl", b"acl_check_cmd",
    b"debug", b"breakpoint", b"replicate_commands", b"__index", b"__newindex",
)  # fmt: skip


def valid_name(name: bytes) -> bool:
    """Whether a name is valid for a library or function."""
    return bool(name) and name.replace(b"_", b"a").isalnum()


def wrong_function(name: bytes, taken: Collection[bytes], what: str) -> str | None:
    """The error for the name of a function to be registered; None if it is valid."""
    if not valid_name(name):
        return f"{what} names {NAME_RULE}"
    if name in taken:
        return "Function already exists in the library"
    return None


def _wrong_function(name: bytes, registered: Any) -> bytes | None:
    taken = [each[b"name"] for each in registered.values()]
    wrong = wrong_function(name, taken, "Library")
    return wrong.encode() if wrong else None
