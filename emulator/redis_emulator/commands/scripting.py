"""EVAL, EVALSHA and SCRIPT. `redis_emulator.scripting.scripts` caches and runs the scripts."""

from __future__ import annotations

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import parse_integer
from redis_emulator.commands.registry import command
from redis_emulator.resp.errors import NO_SCRIPT
from redis_emulator.resp.types import OK, RedisError, Reply
from redis_emulator.scripting.scripts import Scripting, scripting_of

_KEY_COUNTS = {b"%d" % number: number for number in range(100)}


@command("eval")
def eval_(ctx: Session, argv: list[bytes]) -> Reply:
    return _eval(ctx, argv, False)


@command("eval_ro")
def eval_ro(ctx: Session, argv: list[bytes]) -> Reply:
    return _eval(ctx, argv, True)


@command("evalsha")
def evalsha(ctx: Session, argv: list[bytes]) -> Reply:
    state, keys = ctx.engine.scripts, _KEY_COUNTS.get(argv[2])
    if type(state) is Scripting and keys is not None and keys <= len(argv) - 3:
        script = state.known.get(argv[1])
        if script is not None:
            return state.run(ctx, script, argv, keys + 3, False)
    return _evalsha(ctx, argv, False)


@command("evalsha_ro")
def evalsha_ro(ctx: Session, argv: list[bytes]) -> Reply:
    return _evalsha(ctx, argv, True)


def _eval(ctx: Session, argv: list[bytes], read_only: bool) -> Reply:
    keys = _end_of_keys(argv)
    state = scripting_of(ctx.engine)
    script = state.load(argv[1])
    return state.run(ctx, script, argv, keys, read_only)


def _evalsha(ctx: Session, argv: list[bytes], read_only: bool) -> Reply:
    state = scripting_of(ctx.engine)
    sha = argv[1]
    if len(sha) != 40:
        raise _unknown_script(ctx)
    keys = _end_of_keys(argv)
    script = state.known.get(sha) or state.known.get(sha.lower())
    if script is None:
        raise _unknown_script(ctx)
    return state.run(ctx, script, argv, keys, read_only)


def _end_of_keys(argv: list[bytes]) -> int:
    """Parse ``numkeys``; return the index of the first argument after the keys."""
    count = parse_integer(argv[2])
    if count > len(argv) - 3:
        raise RedisError("ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise RedisError("ERR Number of keys can't be negative")
    return 3 + count


def _unknown_script(ctx: Session) -> RedisError:
    if ctx.server.version.is_valkey(9):
        return RedisError("NOSCRIPT No matching script.")
    return RedisError(NO_SCRIPT)


@command("script|load")
def script_load(ctx: Session, argv: list[bytes]) -> Reply:
    return scripting_of(ctx.engine).load(argv[2]).sha


@command("script|exists")
def script_exists(ctx: Session, argv: list[bytes]) -> Reply:
    known = scripting_of(ctx.engine).known
    return [int(sha.lower() in known) for sha in argv[2:]]


@command("script|flush")
def script_flush(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 3 or (len(argv) == 3 and argv[2].lower() not in (b"sync", b"async")):
        raise RedisError("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
    scripting_of(ctx.engine).flush()
    return OK


@command("script|show")
def script_show(ctx: Session, argv: list[bytes]) -> Reply:
    script = scripting_of(ctx.engine).known.get(argv[2].lower())
    if script is None:
        raise _unknown_script(ctx)
    return script.source


@command("script|kill")
def script_kill(ctx: Session, argv: list[bytes]) -> Reply:
    scripting_of(ctx.engine).kill(False)
    return OK


@command("script|debug")
def script_debug(ctx: Session, argv: list[bytes]) -> Reply:
    mode = argv[2].lower()
    if mode == b"no":
        return OK
    if mode in (b"yes", b"sync"):
        raise RedisError("ERR SCRIPT DEBUG: the emulator has no script debugger")
    raise RedisError("ERR Use SCRIPT DEBUG YES/SYNC/NO")
