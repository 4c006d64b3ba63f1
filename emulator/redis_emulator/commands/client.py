"""CLIENT: who is connected, and what a client sets about itself or does to others."""

from __future__ import annotations

from redis_emulator.clients.session import QUERY_BUFFER, Session
from redis_emulator.commands.helpers.arguments import (
    INT64_MAX,
    parse_integer,
    syntax_error,
)
from redis_emulator.commands.helpers.client_filters import Test, filters, flags_of, of_class
from redis_emulator.commands.registry import command
from redis_emulator.keyspace.memory import client_size, multi_size
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


def valid_name(name: bytes, what: str = "Client names") -> bytes:
    """``name``, if it may be one: printable, without blanks.

    Raises:
        RedisError: It may not.
    """
    if any(not 33 <= letter <= 126 for letter in name):
        raise RedisError(f"ERR {what} cannot contain spaces, newlines or special characters.")
    return name


def describe(session: Session, asking: list[bytes] | None = None) -> str:
    """The line of CLIENT LIST about ``session``; ``asking`` is the command, for the client that
    asks."""
    server = session.server
    now = server.now
    version = server.version
    like = version.compatible
    valkey = version.flavour == "valkey"
    asked = b"*%d\r\n" % len(asking) if asking else b""
    asked += b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in asking or ())
    last = session.last_command
    name = "NULL" if last is None else last.name if like >= (7, 0) else last.name.split("|")[0]
    tracking = session.tracking()
    buffers = session.buffers()
    if asking:
        buffers = buffers._replace(
            query=len(asked), room=QUERY_BUFFER - len(asked), arguments=sum(map(len, asking))
        )
    elif session.blocked is not None:
        buffers = buffers._replace(arguments=sum(map(len, session.blocked.argv)))
    fields: list[tuple[str, object]] = [
        ("id", session.id),
        ("addr", session.addr),
        ("laddr", session.laddr),
        ("fd", session.id + 7),
        ("name", quote(session.name)),
        ("age", max(0, now - session.connected_at) // 1000),
        ("idle", max(0, now - session.last_active) // 1000),
        ("flags", flags_of(session)),
    ]
    if valkey:
        fields.append(("capa", session.capabilities))
    fields += [
        ("db", session.db.index),
        ("sub", len(session.channels)),
        ("psub", len(session.patterns)),
    ]
    if like >= (7, 0):
        fields.append(("ssub", len(session.shard_channels)))
    idle = 0 if valkey and session.transactional else -1
    transaction = session.executing if session.queue is None else session.queue
    fields.append(("multi", idle if transaction is None else len(transaction)))
    if like >= (7, 4) or valkey:
        fields.append(("watch", len(session.watched)))
    fields += [
        ("qbuf", buffers.query),
        ("qbuf-free", buffers.room),
        ("argv-mem", buffers.arguments),
    ]
    if like >= (7, 0):
        fields += [("multi-mem", multi_size(session)), ("rbs", 16384), ("rbp", 16384)]
    unsent = buffers.blocks or buffers.short
    fields += [
        ("obl", buffers.short),
        ("oll", buffers.blocks),
        ("omem", buffers.output()),
        ("tot-mem", client_size(session) + (20504 if asking else 0)),
        ("events", "rw" if unsent else "r"),
        ("cmd", name),
        ("user", session.user),
        ("redir", -1 if tracking is None else tracking.redirect),
    ]
    if like >= (7, 0):
        fields.append(("resp", session.protocol))
    if like >= (7, 2):
        fields += [("lib-name", quote(session.lib_name)), ("lib-ver", quote(session.lib_ver))]
    if like >= (8, 0):
        fields.append(("io-thread", 0))
    if like >= (8, 2) or valkey:
        fields += [
            ("tot-net-in", session.bytes_in),
            ("tot-net-out", session.bytes_out),
            ("tot-cmds", session.commands),
        ]
    return " ".join(f"{field}={value}" for field, value in fields)


@command("client|id")
def client_id(ctx: Session, argv: list[bytes]) -> Reply:
    return ctx.id


@command("client|info")
def client_info(ctx: Session, argv: list[bytes]) -> Reply:
    return Verbatim(describe(ctx, argv).encode("utf-8", "surrogateescape") + b"\n")


@command("client|list")
def client_list(ctx: Session, argv: list[bytes]) -> Reply:
    wanted: Test = _anybody
    if len(argv) > 2:
        option = argv[2].lower()
        version = ctx.server.version
        if version.flavour == "valkey" and version.number >= (8, 1):
            wanted = filters(ctx, argv, skip_me=False)
        elif option == b"type" and len(argv) == 4:
            wanted = of_class(ctx, argv[3])
        elif option == b"id" and len(argv) > 3:
            ids = {parse_integer(raw, "ERR Invalid client ID") for raw in argv[3:]}
            wanted = lambda session: session.id in ids  # noqa: E731
        else:
            raise syntax_error()
    lines = (
        describe(session, argv if session is ctx else None)
        for session in ctx.server.sessions.values()
        if wanted(session)
    )
    text = "".join(line + "\n" for line in lines)
    return Verbatim(text.encode("utf-8", "surrogateescape"))


def _anybody(session: Session) -> bool:
    return True


@command("client|kill")
def client_kill(ctx: Session, argv: list[bytes]) -> Reply:
    sessions = tuple(ctx.server.sessions.values())
    if len(argv) == 3:
        for session in sessions:
            if session.addr.encode() == argv[2]:
                _kill(ctx, session)
                return OK
        raise RedisError(_NO_SUCH_CLIENT)
    wanted = filters(ctx, argv, skip_me=True)
    victims = [session for session in sessions if wanted(session)]
    for session in victims:
        _kill(ctx, session)
    return len(victims)


def _kill(ctx: Session, session: Session) -> None:
    if session is ctx:
        ctx.closing = True
        ctx.server.disconnect(ctx)
    else:
        session.close()


@command("client|getname")
def client_getname(ctx: Session, argv: list[bytes]) -> Reply:
    return ctx.name or None


@command("client|setname")
def client_setname(ctx: Session, argv: list[bytes]) -> Reply:
    ctx.name = valid_name(argv[2])
    return OK


@command("client|setinfo")
def client_setinfo(ctx: Session, argv: list[bytes]) -> Reply:
    option = argv[2].lower()
    if option == b"lib-name":
        ctx.lib_name = valid_name(argv[3], quote(argv[2]))
    elif option == b"lib-ver":
        ctx.lib_ver = valid_name(argv[3], quote(argv[2]))
    else:
        raise RedisError(f"ERR Unrecognized option '{quote(argv[2])}'")
    return OK


@command("client|reply")
def client_reply(ctx: Session, argv: list[bytes]) -> Reply:
    mode = argv[2].lower()
    if mode == b"on":
        ctx.reply_mode = "on"
        ctx.refresh()
        return OK
    if mode == b"off":
        ctx.reply_mode = "off"
    elif mode == b"skip":
        if ctx.reply_mode != "off":
            ctx.reply_mode = "skip-next"
    else:
        raise syntax_error()
    ctx.refresh()
    return NO_REPLY


def _switch(ctx: Session, raw: bytes, flag: str) -> Reply:
    word = raw.lower()
    if word == b"on":
        ctx.flags.add(flag)
    elif word == b"off":
        ctx.flags.discard(flag)
    else:
        raise syntax_error()
    ctx.refresh()
    return OK


@command("client|no-evict")
def client_no_evict(ctx: Session, argv: list[bytes]) -> Reply:
    return _switch(ctx, argv[2], "no-evict")


@command("client|no-touch")
def client_no_touch(ctx: Session, argv: list[bytes]) -> Reply:
    return _switch(ctx, argv[2], "no-touch")


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
    return _switch(ctx, word, "import-source")


@command("client|unblock")
def client_unblock(ctx: Session, argv: list[bytes]) -> Reply:
    fail = False
    if len(argv) > 4 and ctx.server.version.flavour == "redis":
        raise ctx.server.wrong_words(argv)
    if len(argv) == 4:
        reason = argv[3].lower()
        if reason not in (b"timeout", b"error"):
            raise RedisError("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
        fail = reason == b"error"
    session = ctx.server.sessions.get(parse_integer(argv[2]))
    if session is None or session.blocked is None or not session.blocked.keys:
        return 0
    version, waiting = ctx.server.version, session.last_command
    legacy = version.compatible < (7, 2)
    if waiting is not None and (fail or legacy) and version.compatible >= (7, 0):
        if version.flavour == "valkey":
            waiting.rejected += 1
        else:
            waiting.failed += 1
    if not fail:
        return int(ctx.server.unblock(session, session.blocked.on_timeout))
    error = RedisError("UNBLOCKED client unblocked via CLIENT UNBLOCK")
    ctx.server.count(error)
    return int(ctx.server.unblock(session, error))


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
    if timeout > INT64_MAX - ctx.server.now:
        raise RedisError("ERR timeout is out of range")
    ctx.server.pause(ctx.server.now + timeout, writes_only)
    return OK


@command("client|unpause")
def client_unpause(ctx: Session, argv: list[bytes]) -> Reply:
    ctx.server.unpause()
    return OK


@command("client|getredir")
def client_getredir(ctx: Session, argv: list[bytes]) -> Reply:
    tracking = ctx.tracking()
    return -1 if tracking is None else tracking.redirect


@command("client|trackinginfo")
def client_trackinginfo(ctx: Session, argv: list[bytes]) -> Reply:
    tracking = ctx.tracking()
    if tracking is None:
        return {b"flags": SetReply([b"off"]), b"redirect": -1, b"prefixes": []}
    return {
        b"flags": SetReply(tracking.flags()),
        b"redirect": tracking.redirect,
        b"prefixes": list(tracking.prefixes),
    }
