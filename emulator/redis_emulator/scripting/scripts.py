"""The scripts of a server: which it knows, and what a script that runs may call.

Lua itself is in `redis_emulator.scripting.runtime`. A script's commands run on a session of the
server's own, as the real server's do: the caller's database and user, RESP2 until the script asks
for RESP3, nothing that blocks. Selecting a database in a script leaves the caller's alone.
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
from redis_emulator.scripting.direct import shortcut
from redis_emulator.scripting.runtime import FLAGS, LuaScripts, Script, ScriptCallError
from redis_emulator.table.entry import Entry

_BARRED: dict[tuple[int, ...], frozenset[str]] = {
    (7, 0): frozenset({"acl", "client", "config", "latency", "module", "quit", "script"}),
    (7, 2): frozenset({"blmove", "blpop", "brpop", "brpoplpush", "bzpopmax", "bzpopmin", "wait"}),
}
"""What scripts may not call on servers before a version, although the table, of a newer one, lets
them."""
_UNKILLABLE = (
    "UNKILLABLE Sorry the script already executed write commands against the dataset. You can "
    "either wait the script termination or kill the server in a hard way using the SHUTDOWN "
    "NOSAVE command."
)
MAY_REPLICATE = frozenset({"publish", "spublish", "pfcount", "eval", "evalsha", "fcall"})
"""What counts as a write where writes are paused or forbidden; COMMAND does not tell."""


class Running:
    """A script that runs.

    Attributes:
        script: Which.
        argv: The client's command.
        killed: Whether it is to end.
    """

    __slots__ = ("_started", "argv", "killed", "script")

    def __init__(self, script: Script, argv: list[bytes]) -> None:
        self.script = script
        self.argv = argv
        self.killed = False
        self._started = monotonic()

    def milliseconds(self) -> int:
        """For how long it has been running."""
        return int((monotonic() - self._started) * 1000)


class Libraries(Protocol):
    """The libraries of functions, as far as it concerns the scripts."""

    def flush(self) -> None:
        """Forget all libraries."""
        ...


class Scripting:
    """The scripts of one server and the session they run on.

    Attributes:
        known: What SCRIPT EXISTS tells and EVALSHA finds, by SHA1.
        running: The script that runs.
        functions: The libraries of functions, None before the first one is loaded.
        plain: Whether nothing is forbidden to it, and nothing special is on.
        wrote: Whether it has called a command that writes.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.server = server = engine.server
        self.known: dict[bytes, Script] = {}
        self.functions: Libraries | None = None
        self._compiled: dict[bytes, Script] = {}
        self._valkey = server.version.is_valkey()
        self._legacy = server.version.before(7)
        self._barred = frozenset(
            name
            for before, names in _BARRED.items()
            if server.version.compatible < before
            for name in names
        )
        old = server.version.before(7, 2)
        self._not_blocking = frozenset({"xread", "xreadgroup"} if old else ())
        self.running: Running | None = None
        self._defining: Running | None = None
        self._threshold = "lua-time-limit" if self._legacy else "busy-reply-threshold"
        self.plain = False
        self.wrote = False
        self._read_only = False
        self._slot: int | None = None
        self._guarded = False
        self._short_of_memory = False
        self._lua: LuaScripts | None = None
        self._session = session = Session(engine, _nowhere, "lua", number=0)
        session.deny_blocking = True
        session.authenticated = True
        session.is_script = True
        session.stores_digits_as_text = self._valkey
        self._direct = {
            name: entry
            for name, entry in server.commands.items()
            if entry.subcommands is None
            and "noscript" not in entry.flags
            and entry.name not in self._barred
            and entry.name not in self._not_blocking
        }
        exists = (server.commands[b"script"].subcommands or {}).get(b"exists")
        if self._legacy and exists is not None:
            exists.min_argc = 2

    @property
    def lua(self) -> LuaScripts:
        """The Lua state of EVAL, made when first needed."""
        if self._lua is None:
            self._lua = self.new_state()
            self._compiled.clear()
        return self._lua

    def new_state(self) -> LuaScripts:
        """A Lua state whose scripts run here."""
        return LuaScripts(
            self.server.version,
            self._call,
            direct=self._shortcut,
            interrupt=self._interrupt,
            setresp=self._set_protocol,
            acl_check=self._acl_check,
        )

    def count(self) -> int:
        """How many scripts EVALSHA finds."""
        return len(self.known)

    def reset(self) -> None:
        """Forget all scripts and functions, and kill a script that runs."""
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
        """Forget all scripts. Their compiled form is kept for when they come again."""
        self.known.clear()
        if self._legacy:
            self._lua = None
        elif self._lua is not None:
            self._lua.forget()
            if len(self._compiled) > 1000:
                self._compiled.clear()

    def load(self, source: bytes) -> Script:
        """Compile and remember a script.

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
        """Compile a script as before Redis 7: what follows an ``end`` of its own runs now.

        That part can be killed. It may call no commands: in the server there is no client then.
        """
        self.plain = self.wrote = False
        self.running = self._defining = Running(Script(b"", source, None, None), [])
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
            argv: The client's command; its keys are from 3 to ``end``.
            end: Where the other arguments begin.
            read_only: Whether nothing may be written.
            lua: The Lua state of the script, if that is not the one of EVAL.

        Raises:
            RedisError: What the script failed with.
        """
        session = self._session
        session.db, session.user, session.protocol = ctx.db, ctx.user, 2
        session.limited = ctx.limited
        self.wrote = False
        self.plain = not (read_only or ctx.limited or script.flags or self.engine.needs_full_checks)
        if self.plain:
            self._guarded = self._read_only = False
        else:
            self._restrict(ctx, script, argv[3:end], read_only)
        self.running = Running(script, argv)
        try:
            return (lua or self._lua or self.lua).run(script, argv[3:], end - 3)
        finally:
            self.running = None

    def _restrict(self, ctx: Session, script: Script, keys: list[bytes], read_only: bool) -> None:
        """Find out what the script that is to run may not do.

        Raises:
            RedisError: It may not run at all.
        """
        flags = script.flags
        if self.server.conditions.stale and "allow-stale" not in (flags or ()):
            raise RedisError(MASTER_DOWN)
        if read_only and flags is not None and "no-writes" not in flags:
            raise RedisError("ERR Can not execute a script with write flag using *_ro command.")
        if (node := node_of(ctx)) is not None:
            self._enter_cluster(node, ctx, script, keys)
        ledger = self.server.ledger
        self._guarded = ctx.limited or ledger is not None
        self._short_of_memory = ledger is not None and ledger.full
        if self._short_of_memory and flags is not None:
            if not flags & {"allow-oom", "no-writes"}:
                raise RedisError(OUT_OF_MEMORY)
            self._short_of_memory = "allow-oom" not in flags
        self._read_only = read_only or (flags is not None and "no-writes" in flags)

    def kill(self, function: bool) -> None:
        """End the script that runs, or the function.

        Raises:
            RedisError: None runs, the other kind does, or something has been written.
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
        """What others are told while a script runs for too long."""
        return RedisError(errors.busy(self.server.version.product, self._way_out()))

    def _way_out(self) -> str:
        running = self.running
        function = running is not None and running.script.takes_arguments
        return "FUNCTION KILL" if function else "SCRIPT KILL"

    def _interrupt(self) -> bytes | None:
        """Looked in at from time to time while a script runs; bytes are its end."""
        running = self.running
        if running is None:
            return None
        threshold = self.server.config.integer(self._threshold)
        if not running.killed and 0 < threshold <= running.milliseconds():
            self.engine.serve_other_clients(self._way_out())
            self.plain = self.plain and not self.engine.needs_full_checks
        if not running.killed:
            return None
        if self._valkey:
            return b"Script killed by user with %b." % self._way_out().encode()
        return b"Script killed by user with SCRIPT KILL..."

    def _shortcut(self, lua: LuaScripts, name: bytes) -> Callable[..., Any] | None:
        entry = self._direct.get(name)
        if entry is None or entry.needs_full_checks:
            return None
        return shortcut(entry, self._session, self, lua)

    def _call(self, argv: list[bytes]) -> Reply:
        if self._defining is not None:
            return ScriptCallError("Commands cannot be called while a script is defined")
        entry = self._direct.get(argv[0])
        if entry is None or not entry.min_argc <= len(argv) <= entry.max_argc:
            found = self._find(argv)
            if isinstance(found, RedisError):
                return found
            entry = found
        if self._guarded:
            refusal = self._refused(entry, argv)
            if refusal is not None:
                return self._rejected(refusal, entry)
        if self._read_only and (entry.write or entry.name in MAY_REPLICATE):
            refusal = ScriptCallError("Write commands are not allowed from read-only scripts.")
            return self._rejected(refusal, entry)
        if self.engine.cluster is not None:
            refusal = self._misplaced(entry, argv)
            if refusal is not None:
                return self._rejected(refusal, entry)
        if entry.write:
            self.wrote = True
        try:
            reply = self.engine.call(self._session, entry, argv)
        except RedisError as error:
            return error
        finally:
            self.plain = self.plain and not self.engine.needs_full_checks
        return reply.on_timeout if type(reply) is Blocked else reply

    def _rejected(self, error: RedisError, entry: Entry | None) -> RedisError:
        """Count a call that was refused, as servers do since Redis 7."""
        if not self._legacy:
            plain = isinstance(error, ScriptCallError)
            self.server.stats.count_error(RedisError("ERR") if plain else error)
            if entry is not None:
                entry.rejected += 1
        return error

    def _refused(self, entry: Entry, argv: list[bytes]) -> RedisError | None:
        """What the user may not call; what there is no memory for, until the script has written."""
        session = self._session
        if session.limited:
            text = self.engine.clients.access.refuse_call(session, entry, argv)
            if text is not None:
                return ScriptCallError(text)
        if entry.write and self._short_of_memory:
            if "denyoom" in entry.flags:
                return (
                    ScriptCallError(f"-{OUT_OF_MEMORY}")
                    if self._legacy
                    else RedisError(OUT_OF_MEMORY)
                )
            self._short_of_memory = False
        return None

    def _enter_cluster(self, node: Node, ctx: Session, script: Script, keys: list[bytes]) -> None:
        if script.flags is not None and "no-cluster" in script.flags:
            raise RedisError("ERR Can not run script on cluster, 'no-cluster' flag is set.")
        self._session.asking, self._session.readonly = ctx.asking, ctx.readonly
        self._slot = slot_of(keys[0]) if keys else None

    def _misplaced(self, entry: Entry, argv: list[bytes]) -> RedisError | None:
        """Why a node of a cluster does not run a script's command."""
        session = self._session
        node = node_of(session)
        assert node is not None
        forbidden = entry.write and node.master is not None
        if forbidden and not self._valkey:
            return ScriptCallError(f"-{READ_ONLY}") if self._legacy else RedisError(READ_ONLY)
        wrong = node.redirect(session, entry, argv)
        if wrong is not None:
            return ScriptCallError(self._misplacement(wrong.reason, entry.name))
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

    def _misplacement(self, reason: str, name: str) -> str:
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
        found = _MISPLACEMENTS.get(reason)
        if found is not None and (modern or reason != "unbound"):
            return found
        return (
            "Attempted to access a non local key in a cluster node" if self._valkey else _ELSEWHERE
        )

    def _find(self, argv: list[bytes]) -> Entry | RedisError:
        commands = self.server.commands
        entry = commands.get(argv[0]) or commands.get(argv[0].lower())
        if entry is None or (self._legacy and entry.name == "quit"):
            return self._refusal("unknown")
        if not entry.min_argc <= len(argv) <= entry.max_argc:
            return self._refusal("arity", entry)
        if entry.name in self._barred or "noscript" in entry.flags:
            return self._refusal("noscript", entry)
        if entry.subcommands is None or len(argv) == 1:
            if entry.name in self._not_blocking and b"block" in map(bytes.lower, argv):
                return RedisError(
                    f"ERR {argv[0].decode()} command is not allowed with BLOCK option from scripts"
                )
            return entry
        if self._legacy:
            return self._as_the_server(argv)
        sub = entry.subcommands.get(argv[1]) or entry.subcommands.get(argv[1].lower())
        if sub is None:
            return self._as_the_server(argv) if self._valkey else self._refusal("unknown")
        if not sub.min_argc <= len(argv) <= sub.max_argc:
            return self._refusal("arity", sub)
        return self._refusal("noscript", sub) if "noscript" in sub.flags else sub

    def _as_the_server(self, argv: list[bytes]) -> Entry | RedisError:
        try:
            return self.engine.find(argv)
        except RedisError as error:
            if not self._legacy:
                self.server.stats.count_error(error)
            return error

    def _refusal(self, reason: str, entry: Entry | None = None) -> RedisError:
        generation = 0 if self._legacy else 2 if self._valkey else 1
        return self._rejected(ScriptCallError(_REFUSALS[reason][generation]), entry)

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
        except IndexError:  # the keys that it must have are not there
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

_ELSEWHERE = "Script attempted to access a non local key in a cluster node"
_MISPLACEMENTS = {
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
    """Whether a command runs a script whose first line lets it write."""
    flags = _script_flags(engine, entry, argv)
    return flags is not None and "no-writes" not in flags


def script_promises_no_writes(engine: Engine, entry: Entry, argv: list[bytes]) -> bool:
    """Whether a command runs a script with the flag ``no-writes``."""
    return "no-writes" in (_script_flags(engine, entry, argv) or ())


def _script_flags(engine: Engine, entry: Entry, argv: list[bytes]) -> Collection[str] | None:
    """What the first line of a command's script says; None if it says nothing."""
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


def _nowhere(reply: Reply) -> None:
    """Where messages to the scripts' session go."""
