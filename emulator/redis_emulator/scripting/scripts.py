"""EVAL: the script cache of a server, and the checks for commands that scripts call.

The Lua state is in `redis_emulator.scripting.runtime`. As in Redis, the commands of scripts run on
a separate session with the database and user of the caller. It uses RESP2 until the script calls
``redis.setresp``, and it cannot block. SELECT in a script does not change the caller's database.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from time import monotonic
from typing import Any, Protocol

from redis_emulator.clients.client import Blocked
from redis_emulator.clients.session import Engine, Session
from redis_emulator.cluster.node import Node, node_of
from redis_emulator.cluster.slots import slot_of
from redis_emulator.resp import errors
from redis_emulator.resp.errors import MASTER_DOWN, OUT_OF_MEMORY, READ_ONLY
from redis_emulator.resp.types import RedisError, Reply
from redis_emulator.scripting.direct import fast_path
from redis_emulator.scripting.runtime import FLAGS, LuaScripts, Script, ScriptCallError
from redis_emulator.table.entry import Entry

_FORBIDDEN: dict[tuple[int, ...], frozenset[str]] = {
    (7, 0): frozenset({"acl", "client", "config", "latency", "module", "quit", "script"}),
    (7, 2): frozenset({"blmove", "blpop", "brpop", "brpoplpush", "bzpopmax", "bzpopmin", "wait"}),
}
"""Commands that scripts may not call before a version, although the command table allows them."""
_UNKILLABLE = (
    "UNKILLABLE Sorry the script already executed write commands against the dataset. You can "
    "either wait the script termination or kill the server in a hard way using the SHUTDOWN "
    "NOSAVE command."
)
MAY_REPLICATE = frozenset({"publish", "spublish", "pfcount", "eval", "evalsha", "fcall"})
"""Commands that count as writes for CLIENT PAUSE WRITE and read-only scripts, although they have no
flag ``write``.
"""


class RunningScript:
    """The running script.

    Attributes:
        script: The script.
        argv: The client's command.
        killed: Whether the script must end.
    """

    __slots__ = ("_started", "argv", "killed", "script")

    def __init__(self, script: Script, argv: list[bytes]) -> None:
        self.script = script
        self.argv = argv
        self.killed = False
        self._started = monotonic()

    def milliseconds(self) -> int:
        """The running time in milliseconds."""
        return int((monotonic() - self._started) * 1000)


class Libraries(Protocol):
    """The function libraries: the part that `Scripting` uses."""

    def flush(self) -> None:
        """Delete all libraries."""
        ...


class Scripting:
    """The scripts of one server and the session they run on.

    Attributes:
        known: The script cache (EVALSHA, SCRIPT EXISTS) by SHA1.
        running: The running script.
        functions: The function libraries; None until the first use.
        allows_fast_path: Whether the running script has no restrictions and commands need no full
            checks.
        wrote: Whether the running script has called a write command.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.server = server = engine.server
        self.known: dict[bytes, Script] = {}
        self.functions: Libraries | None = None
        self._compiled: dict[bytes, Script] = {}
        self._valkey = server.version.is_valkey()
        self._legacy = server.version.before(7)
        self._forbidden = frozenset(
            name
            for before, names in _FORBIDDEN.items()
            if server.version.compatible < before
            for name in names
        )
        old = server.version.before(7, 2)
        self._not_blocking = frozenset({"xread", "xreadgroup"} if old else ())
        self.running: RunningScript | None = None
        self._defining: RunningScript | None = None
        self._threshold = "lua-time-limit" if self._legacy else "busy-reply-threshold"
        self.allows_fast_path = False
        self.wrote = False
        self._read_only = False
        self._slot: int | None = None
        self._checks_acl_and_memory = False
        self._memory_exceeded = False
        self._lua: LuaScripts | None = None
        self._session = session = Session(engine, _discard, "lua", number=0)
        session.deny_blocking = True
        session.authenticated = True
        session.is_script = True
        session.stores_digits_as_text = self._valkey
        self._direct = {
            name: entry
            for name, entry in server.commands.items()
            if entry.subcommands is None
            and "noscript" not in entry.flags
            and entry.name not in self._forbidden
            and entry.name not in self._not_blocking
        }
        exists = (server.commands[b"script"].subcommands or {}).get(b"exists")
        if self._legacy and exists is not None:
            exists.min_argc = 2

    @property
    def lua(self) -> LuaScripts:
        """The Lua state of EVAL, created at first use."""
        if self._lua is None:
            self._lua = self.new_state()
            self._compiled.clear()
        return self._lua

    def new_state(self) -> LuaScripts:
        """Create a Lua state for scripts of this server."""
        return LuaScripts(
            self.server.version,
            self._call,
            direct=self._fast_path,
            interrupt=self._interrupt,
            setresp=self._set_protocol,
            acl_check=self._acl_check,
        )

    def count(self) -> int:
        """The number of scripts in the script cache."""
        return len(self.known)

    def reset(self) -> None:
        """Delete all scripts and functions, and kill the running script."""
        if self.running is not None:
            self.running.killed = True
        self.flush()
        if self._legacy:
            self._lua = None
        elif self._lua is not None:
            self._lua.restart()
        if self.functions is not None:
            self.functions.flush()

    def flush(self) -> None:
        """Empty the script cache. Compiled scripts are kept for later use."""
        self.known.clear()
        if self._legacy:
            self._lua = None
        elif self._lua is not None:
            self._lua.forget()
            if len(self._compiled) > 1000:
                self._compiled.clear()

    def load(self, source: bytes) -> Script:
        """Compile a script and add it to the script cache.

        Raises:
            RedisError: It does not compile.
        """
        lua = self.lua
        script = self._compiled.get(source)
        if script is None:
            if self._legacy:
                script = self._define(lua, source)
            else:
                script = lua.compile(source)
            self._compiled[source] = script
        self.known[script.sha] = script
        return script

    def _define(self, lua: LuaScripts, source: bytes) -> Script:
        """Compile a script as Redis before 7 does. Code after an ``end`` that closes the function
        runs during compilation.

        That code can be killed. It cannot call commands, because the server has no client then.
        """
        self.allows_fast_path = self.wrote = False
        self.running = self._defining = RunningScript(Script(b"", source, None, None), [])
        try:
            return lua.compile(source)
        finally:
            self.running = self._defining = None

    def run(
        self,
        ctx: Session,
        script: Script,
        argv: list[bytes],
        end: int,
        read_only: bool,
        lua: LuaScripts | None = None,
    ) -> Reply:
        """Run a script for a client.

        Args:
            ctx: The client.
            script: What to run.
            argv: The client's command. Keys start at index 3.
            end: The index of the first argument after the keys.
            read_only: Whether write commands are not allowed (EVAL_RO).
            lua: The Lua state of the script, if it is not that of EVAL.

        Raises:
            RedisError: The script failed.
        """
        session = self._session
        session.db, session.user, session.protocol = ctx.db, ctx.user, 2
        session.limited = ctx.limited
        self.wrote = False
        self.allows_fast_path = not (
            read_only or ctx.limited or script.flags or self.engine.needs_full_checks
        )
        if self.allows_fast_path:
            self._checks_acl_and_memory = self._read_only = False
        else:
            self._restrict(ctx, script, argv[3:end], read_only)
        self.running = RunningScript(script, argv)
        try:
            return (lua or self._lua or self.lua).run(script, argv[3:], end - 3)
        finally:
            self.running = None

    def _restrict(self, ctx: Session, script: Script, keys: list[bytes], read_only: bool) -> None:
        """Determine the restrictions for a script before it runs.

        Raises:
            RedisError: The script may not run.
        """
        flags = script.flags
        if self.server.conditions.stale and "allow-stale" not in (flags or ()):
            raise RedisError(MASTER_DOWN)
        if read_only and flags is not None and "no-writes" not in flags:
            raise RedisError("ERR Can not execute a script with write flag using *_ro command.")
        if (node := node_of(ctx)) is not None:
            self._enter_cluster(node, ctx, script, keys)
        ledger = self.server.ledger
        self._checks_acl_and_memory = ctx.limited or ledger is not None
        self._memory_exceeded = ledger is not None and ledger.full
        if self._memory_exceeded and flags is not None:
            if not flags & {"allow-oom", "no-writes"}:
                raise RedisError(OUT_OF_MEMORY)
            self._memory_exceeded = "allow-oom" not in flags
        self._read_only = read_only or (flags is not None and "no-writes" in flags)

    def kill(self, function: bool) -> None:
        """Kill the running script or function (SCRIPT KILL, FUNCTION KILL).

        Raises:
            RedisError: None is running, the other kind is running, or it has written.
        """
        running = self.running
        if running is None:
            raise RedisError("NOTBUSY No scripts in execution right now.")
        if self.wrote:
            raise RedisError(_UNKILLABLE)
        if function is not running.script.takes_arguments:
            raise self.busy()
        running.killed = True

    def busy(self) -> RedisError:
        """The BUSY error for other clients."""
        return RedisError(errors.busy(self.server.version.product, self._kill_command()))

    def _kill_command(self) -> str:
        running = self.running
        function = running is not None and running.script.takes_arguments
        return "FUNCTION KILL" if function else "SCRIPT KILL"

    def _interrupt(self) -> bytes | None:
        """Called periodically while a script runs; returned bytes abort it with that error."""
        running = self.running
        if running is None:
            return None
        threshold = self.server.config.integer(self._threshold)
        if not running.killed and 0 < threshold <= running.milliseconds():
            self.engine.serve_other_clients(self._kill_command())
            self.allows_fast_path = self.allows_fast_path and not self.engine.needs_full_checks
        if not running.killed:
            return None
        if self._valkey:
            return b"Script killed by user with %b." % self._kill_command().encode()
        return b"Script killed by user with SCRIPT KILL..."

    def _fast_path(self, lua: LuaScripts, name: bytes) -> Callable[..., Any] | None:
        entry = self._direct.get(name)
        if entry is None or entry.needs_full_checks:
            return None
        return fast_path(entry, self._session, self, lua)

    def _call(self, argv: list[bytes]) -> Reply:
        if self._defining is not None:
            return ScriptCallError("Commands cannot be called while a script is defined")
        entry = self._direct.get(argv[0])
        if entry is None or not entry.min_argc <= len(argv) <= entry.max_argc:
            found = self._find(argv)
            if isinstance(found, RedisError):
                return found
            entry = found
        if self._checks_acl_and_memory:
            refusal = self._acl_or_memory_error(entry, argv)
            if refusal is not None:
                return self._count_rejected(refusal, entry)
        if self._read_only and (entry.write or entry.name in MAY_REPLICATE):
            refusal = ScriptCallError("Write commands are not allowed from read-only scripts.")
            return self._count_rejected(refusal, entry)
        if self.engine.cluster is not None:
            refusal = self._cluster_error(entry, argv)
            if refusal is not None:
                return self._count_rejected(refusal, entry)
        if entry.write:
            self.wrote = True
        try:
            reply = self.engine.call(self._session, entry, argv)
        except RedisError as error:
            return error
        finally:
            self.allows_fast_path = self.allows_fast_path and not self.engine.needs_full_checks
        return reply.on_timeout if type(reply) is Blocked else reply

    def _count_rejected(self, error: RedisError, entry: Entry | None) -> RedisError:
        """Count a refused call in the statistics, as Redis does since 7. Returns the error."""
        if not self._legacy:
            plain = isinstance(error, ScriptCallError)
            self.server.stats.count_error(RedisError("ERR") if plain else error)
            if entry is not None:
                entry.rejected += 1
        return error

    def _acl_or_memory_error(self, entry: Entry, argv: list[bytes]) -> RedisError | None:
        """The error of ACL or ``maxmemory`` for a call. Memory is not checked after the first
        write.
        """
        session = self._session
        if session.limited:
            text = self.engine.clients.access.refuse_call(session, entry, argv)
            if text is not None:
                return ScriptCallError(text)
        if entry.write and self._memory_exceeded:
            if "denyoom" in entry.flags:
                return (
                    ScriptCallError(f"-{OUT_OF_MEMORY}")
                    if self._legacy
                    else RedisError(OUT_OF_MEMORY)
                )
            self._memory_exceeded = False
        return None

    def _enter_cluster(self, node: Node, ctx: Session, script: Script, keys: list[bytes]) -> None:
        if script.flags is not None and "no-cluster" in script.flags:
            raise RedisError("ERR Can not run script on cluster, 'no-cluster' flag is set.")
        self._session.asking, self._session.readonly = ctx.asking, ctx.readonly
        self._slot = slot_of(keys[0]) if keys else None

    def _cluster_error(self, entry: Entry, argv: list[bytes]) -> RedisError | None:
        """The error if a cluster node cannot run a command of a script."""
        session = self._session
        node = node_of(session)
        assert node is not None
        forbidden = entry.write and node.master is not None
        if forbidden and not self._valkey:
            return ScriptCallError(f"-{READ_ONLY}") if self._legacy else RedisError(READ_ONLY)
        wrong = node.redirect(session, entry, argv)
        if wrong is not None:
            return ScriptCallError(self._cluster_error_text(wrong.reason, entry.name))
        if forbidden:
            return RedisError(READ_ONLY)
        running = self.running
        flags = None if running is None else running.script.flags
        if flags is None or "allow-cross-slot-keys" in flags:
            return None
        slot = node.slot_of_command(session, entry, argv)
        if self._slot is None:
            self._slot = slot
        elif slot is not None and slot != self._slot:
            return ScriptCallError(
                "Script attempted to access keys that do not hash to the same slot"
            )
        return None

    def _cluster_error_text(self, reason: str, name: str) -> str:
        if self._legacy:
            return "Lua script attempted to access a non local key in a cluster node"
        modern = not self.server.version.before(7, 2) and not self._valkey
        if modern and reason == "crossslot":
            return (
                f"Command '{name}' in script attempted to access keys that don't hash to the same "
                "slot"
            )
        if modern and reason == "unstable":
            return (
                f"Unable to execute command '{name}' in script because undeclared keys were "
                "accessed during rehashing of the slot"
            )
        found = _CLUSTER_ERROR_TEXTS.get(reason)
        if found is not None and (modern or reason != "unbound"):
            return found
        return (
            "Attempted to access a non local key in a cluster node" if self._valkey else _NOT_LOCAL
        )

    def _find(self, argv: list[bytes]) -> Entry | RedisError:
        commands = self.server.commands
        entry = commands.get(argv[0]) or commands.get(argv[0].lower())
        if entry is None or (self._legacy and entry.name == "quit"):
            return self._script_refusal("unknown")
        if not entry.min_argc <= len(argv) <= entry.max_argc:
            return self._script_refusal("arity", entry)
        if entry.name in self._forbidden or "noscript" in entry.flags:
            return self._script_refusal("noscript", entry)
        if entry.subcommands is None or len(argv) == 1:
            if entry.name in self._not_blocking and b"block" in map(bytes.lower, argv):
                return RedisError(
                    f"ERR {argv[0].decode()} command is not allowed with BLOCK option from scripts"
                )
            return entry
        if self._legacy:
            return self._find_in_engine(argv)
        sub = entry.subcommands.get(argv[1]) or entry.subcommands.get(argv[1].lower())
        if sub is None:
            return self._find_in_engine(argv) if self._valkey else self._script_refusal("unknown")
        if not sub.min_argc <= len(argv) <= sub.max_argc:
            return self._script_refusal("arity", sub)
        return self._script_refusal("noscript", sub) if "noscript" in sub.flags else sub

    def _find_in_engine(self, argv: list[bytes]) -> Entry | RedisError:
        try:
            return self.engine.find(argv)
        except RedisError as error:
            if not self._legacy:
                self.server.stats.count_error(error)
            return error

    def _script_refusal(self, reason: str, entry: Entry | None = None) -> RedisError:
        generation = 0 if self._legacy else 2 if self._valkey else 1
        return self._count_rejected(ScriptCallError(_REFUSALS[reason][generation]), entry)

    def _set_protocol(self, protocol: int) -> None:
        self._session.protocol = protocol

    def _acl_check(self, argv: list[bytes]) -> bool:
        entry = self.server.commands.get(argv[0].lower())
        if entry is not None and entry.subcommands is not None and len(argv) > 1:
            entry = entry.subcommands.get(argv[1].lower())
        name = "server" if self._valkey else "redis"
        invalid = ScriptCallError(f"Invalid command passed to {name}.acl_check_cmd()")
        if entry is None:
            raise invalid
        session, access = self._session, self.engine.clients.access
        if not session.limited:
            return True
        try:
            return access.denial(access.users[session.user], session, entry, argv) is None
        except IndexError:  # key arguments are missing
            raise invalid from None


_REFUSALS = {
    "unknown": (
        "Unknown Redis command called from Lua script",
        "Unknown Redis command called from script",
        "Unknown command called from script",
    ),
    "arity": (
        "Wrong number of args calling Redis command From Lua script",
        "Wrong number of args calling Redis command from script",
        "Wrong number of args calling command from script",
    ),
    "noscript": (
        "This Redis command is not allowed from scripts",
        "This Redis command is not allowed from script",
        "This Valkey command is not allowed from script",
    ),
}

_NOT_LOCAL = "Script attempted to access a non local key in a cluster node"
_CLUSTER_ERROR_TEXTS = {
    "down": "Script attempted to execute a command while the cluster is down",
    "read-only": (
        "Script attempted to execute a write command while the cluster is down and readonly"
    ),
    "unbound": "Script attempted to access a slot not served",
}


def scripting_of(engine: Engine) -> Scripting:
    """The scripts of a server."""
    state = engine.scripts
    if state is None:
        state = engine.scripts = Scripting(engine)
    assert type(state) is Scripting
    return state


def script_writes(engine: Engine, entry: Entry, argv: list[bytes]) -> bool:
    """Whether a command runs a script whose flags allow writes."""
    flags = _script_flags(engine, entry, argv)
    return flags is not None and "no-writes" not in flags


def script_has_no_writes_flag(engine: Engine, entry: Entry, argv: list[bytes]) -> bool:
    """Whether a command runs a script with the flag ``no-writes``."""
    return "no-writes" in (_script_flags(engine, entry, argv) or ())


def _script_flags(engine: Engine, entry: Entry, argv: list[bytes]) -> Collection[str] | None:
    """The flags of the script that a command runs; None without a ``#!`` line."""
    server = engine.server
    if entry.name in ("eval", "eval_ro"):
        if server.version.before(7) or not argv[1].startswith(b"#!"):
            return None
        line = argv[1].partition(b"\n")[0].decode("utf-8", "replace")
        flags = line.partition("flags=")[2]
        found = flags.split(",") if flags else []
        lua = line.split()[0] == "#!lua" or server.version.is_valkey()
        return found if lua and all(flag in FLAGS for flag in found) else None
    if entry.name in ("evalsha", "evalsha_ro"):
        known = scripting_of(engine).known
        script = known.get(argv[1]) or known.get(argv[1].lower())
        return None if script is None else script.flags
    return None


def _discard(reply: Reply) -> None:
    """Discard messages to the session of scripts."""
