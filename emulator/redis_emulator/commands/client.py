"""The CLIENT subcommands: connected clients and the settings of a connection.

CLIENT TRACKING and CLIENT CACHING are in `client_tracking`.
"""

from __future__ import annotations

from redis_emulator.clients.client import Client, ReplyMode
from redis_emulator.clients.description import describe
from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import (
    INT64_MAX,
    parse_integer,
    syntax_error,
    unknown_subcommand,
)
from redis_emulator.commands.helpers.client_filters import Test, filters, of_class
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import (
    NO_REPLY,
    OK,
    RedisError,
    Reply,
    SetReply,
    Verbatim,
    quote,
)

_NO_SUCH_CLIENT = "ERR No such client"


def validate_name(name: bytes, what: str = "Client names") -> bytes:
    """Return ``name`` if it consists of printable ASCII characters other than spaces.

    Raises:
        RedisError: It contains other characters.
    """
    if any(not 33 <= letter <= 126 for letter in name):
        raise RedisError(f"ERR {what} cannot contain spaces, newlines or special characters.")
    return name


@command("client|id")
def client_id(ctx: Session, argv: list[bytes]) -> Reply:
    return ctx.id


@command("client|info")
def client_info(ctx: Session, argv: list[bytes]) -> Reply:
    return Verbatim(describe(ctx, ctx.server, argv).encode("utf-8", "surrogateescape") + b"\n")


@command("client|list")
def client_list(ctx: Session, argv: list[bytes]) -> Reply:
    matches: Test = _match_all
    if len(argv) > 2:
        option = argv[2].lower()
        version = ctx.server.version
        if version.is_valkey(8, 1):
            matches = filters(ctx, argv, skip_me=False)
        elif option == b"type" and len(argv) == 4:
            matches = of_class(ctx, argv[3])
        elif option == b"id" and len(argv) > 3:
            ids = {parse_integer(raw, "ERR Invalid client ID") for raw in argv[3:]}
            matches = lambda session: session.id in ids  # noqa: E731
        else:
            raise syntax_error()
    lines = (
        describe(client, ctx.server, argv if client is ctx else None)
        for client in ctx.clients.by_id.values()
        if matches(client)
    )
    text = "".join(line + "\n" for line in lines)
    return Verbatim(text.encode("utf-8", "surrogateescape"))


def _match_all(client: Client) -> bool:
    return True


@command("client|kill")
def client_kill(ctx: Session, argv: list[bytes]) -> Reply:
    sessions = tuple(ctx.clients.by_id.values())
    if len(argv) == 3:
        for session in sessions:
            if session.addr.encode() == argv[2]:
                ctx.engine.close_after_reply(session)
                return OK
        raise RedisError(_NO_SUCH_CLIENT)
    matches = filters(ctx, argv, skip_me=True)
    clients = [session for session in sessions if matches(session)]
    for session in clients:
        ctx.engine.close_after_reply(session)
    return len(clients)


@command("client|getname")
def client_getname(ctx: Session, argv: list[bytes]) -> Reply:
    return ctx.name or None


@command("client|setname")
def client_setname(ctx: Session, argv: list[bytes]) -> Reply:
    ctx.name = validate_name(argv[2])
    return OK


@command("client|setinfo")
def client_setinfo(ctx: Session, argv: list[bytes]) -> Reply:
    option = argv[2].lower()
    if option == b"lib-name":
        ctx.lib_name = validate_name(argv[3], quote(argv[2]))
    elif option == b"lib-ver":
        ctx.lib_ver = validate_name(argv[3], quote(argv[2]))
    else:
        raise RedisError(f"ERR Unrecognized option '{quote(argv[2])}'")
    return OK


@command("client|reply")
def client_reply(ctx: Session, argv: list[bytes]) -> Reply:
    mode = argv[2].lower()
    if mode == b"on":
        ctx.reply_mode = ReplyMode.ON
        ctx.refresh()
        return OK
    if mode == b"off":
        ctx.reply_mode = ReplyMode.OFF
    elif mode == b"skip":
        if ctx.reply_mode is not ReplyMode.OFF:
            ctx.reply_mode = ReplyMode.SKIP_NEXT
    else:
        raise syntax_error()
    ctx.refresh()
    return NO_REPLY


def _is_on(raw: bytes) -> bool:
    word = raw.lower()
    if word not in (b"on", b"off"):
        raise syntax_error()
    return word == b"on"


@command("client|no-evict")
def client_no_evict(ctx: Session, argv: list[bytes]) -> Reply:
    ctx.no_evict = _is_on(argv[2])
    return OK


@command("client|no-touch")
def client_no_touch(ctx: Session, argv: list[bytes]) -> Reply:
    ctx.no_touch = _is_on(argv[2])
    return OK


@command("client|capa")
def client_capa(ctx: Session, argv: list[bytes]) -> Reply:
    if any(word.lower() == b"redirect" for word in argv[2:]):
        ctx.capabilities = "r"
    return OK


@command("client|import-source")
def client_import_source(ctx: Session, argv: list[bytes]) -> Reply:
    word = argv[2].lower()
    if word != b"off" and ctx.server.config["import-mode"] == "no":
        raise RedisError("ERR Server is not in import mode")
    ctx.import_source = _is_on(word)
    return OK


@command("client|unblock")
def client_unblock(ctx: Session, argv: list[bytes]) -> Reply:
    fail = False
    if len(argv) > 4 and ctx.server.version.is_redis():
        raise unknown_subcommand(ctx.server.version, argv)
    if len(argv) == 4:
        reason = argv[3].lower()
        if reason not in (b"timeout", b"error"):
            raise RedisError("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
        fail = reason == b"error"
    session = ctx.clients.by_id.get(parse_integer(argv[2]))
    if session is None or session.blocked is None or not session.blocked.keys:
        return 0
    version, waiting = ctx.server.version, session.last_command
    legacy = version.before(7, 2)
    if waiting is not None and (fail or legacy) and not version.before(7):
        if version.is_valkey():
            waiting.rejected += 1
        else:
            waiting.failed += 1
    if not fail:
        return int(ctx.engine.unblock(session, session.blocked.on_timeout))
    error = RedisError("UNBLOCKED client unblocked via CLIENT UNBLOCK")
    ctx.server.stats.count_error(error)
    return int(ctx.engine.unblock(session, error))


@command("client|pause")
def client_pause(ctx: Session, argv: list[bytes]) -> Reply:
    writes_only = False
    if len(argv) == 4:
        mode = argv[3].lower()
        if mode not in (b"write", b"all"):
            raise RedisError("ERR CLIENT PAUSE mode must be WRITE or ALL")
        writes_only = mode == b"write"
    timeout = parse_integer(argv[2], "ERR timeout is not an integer or out of range")
    if timeout < 0:
        raise RedisError("ERR timeout is negative")
    if timeout > INT64_MAX - ctx.db.context.now:
        raise RedisError("ERR timeout is out of range")
    ctx.engine.pause(ctx.db.context.now + timeout, writes_only)
    return OK


@command("client|unpause")
def client_unpause(ctx: Session, argv: list[bytes]) -> Reply:
    ctx.engine.unpause()
    return OK


@command("client|getredir")
def client_getredir(ctx: Session, argv: list[bytes]) -> Reply:
    tracking = ctx.tracking
    return -1 if tracking is None else tracking.redirect


@command("client|trackinginfo")
def client_trackinginfo(ctx: Session, argv: list[bytes]) -> Reply:
    tracking = ctx.tracking
    if tracking is None:
        return {b"flags": SetReply([b"off"]), b"redirect": -1, b"prefixes": []}
    return {
        b"flags": SetReply(tracking.flags()),
        b"redirect": tracking.redirect,
        b"prefixes": sorted(tracking.prefixes),
    }
