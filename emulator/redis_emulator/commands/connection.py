"""The connection commands: PING, ECHO, SELECT, AUTH, HELLO, RESET and QUIT.

CLIENT is in `client`.
"""

from __future__ import annotations

from redis_emulator.clients.access import OF_LOGIN
from redis_emulator.clients.client import ReplyMode
from redis_emulator.clients.session import Session
from redis_emulator.cluster.node import node_of
from redis_emulator.commands import client
from redis_emulator.commands.helpers.arguments import parse_integer, syntax_error
from redis_emulator.commands.module import built_in
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import OK, PONG, RedisError, Reply, SimpleString, quote

_RESET = SimpleString(b"RESET")
_WRONG_PASSWORD = "WRONGPASS invalid username-password pair or user is disabled."
_NO_PASSWORD = (
    "ERR AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?"
)
_HELLO_NEEDS_AUTH = (
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the "
    "HELLO {}AUTH <user> <pass> option can be used to authenticate the client and select the "
    "RESP protocol version at the same time"
)
_NOT_INT32 = "ERR value is out of range, value must between -2147483648 and 2147483647"


@command("ping")
def ping(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 2:
        raise RedisError("ERR wrong number of arguments for 'ping' command")
    if ctx.in_subscribe_mode:
        return [b"pong", argv[1] if len(argv) > 1 else b""]
    return argv[1] if len(argv) > 1 else PONG


@command("echo")
def echo(ctx: Session, argv: list[bytes]) -> Reply:
    return argv[1]


@command("select")
def select(ctx: Session, argv: list[bytes]) -> Reply:
    index = parse_integer(argv[1])
    if not -(1 << 31) <= index < 1 << 31:
        raise RedisError(_NOT_INT32)
    if index and node_of(ctx) is not None and ctx.server.version.is_redis():
        raise RedisError("ERR SELECT is not allowed in cluster mode")
    databases = ctx.server.databases
    if not 0 <= index < len(databases):
        raise RedisError("ERR DB index is out of range")
    ctx.db = databases[index]
    return OK


@command("auth")
def auth(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 3:
        raise syntax_error()
    if len(argv) == 2 and ctx.clients.access.users["default"].nopass:
        raise RedisError(_NO_PASSWORD)
    user = argv[1] if len(argv) == 3 else b"default"
    log_in(ctx, user, argv[-1], argv[0])
    return OK


def log_in(ctx: Session, user: bytes, password: bytes, command: bytes) -> None:
    """Authenticate the client as ``user``. A failure is added to the ACL log under ``command``.

    Raises:
        RedisError: WRONGPASS: the user does not exist or is disabled, or the password is wrong.
    """
    if not ctx.clients.access.accepts(user, password):
        context = b"toplevel" if ctx.queue is None and ctx.can_block else b"multi"
        ctx.clients.access.record(OF_LOGIN, ctx, quote(user), command, context)
        raise RedisError(_WRONG_PASSWORD)
    ctx.user = quote(user)
    ctx.authenticated = True
    ctx.clients.access.update_limited(ctx)


@command("hello")
def hello(ctx: Session, argv: list[bytes]) -> Reply:
    protocol = ctx.protocol
    # Before Redis 7.2 each option is applied at once, even if a later one is invalid.
    applies_at_once = ctx.server.version.before(7, 2)
    login: tuple[bytes, bytes] | None = None
    name: bytes | None = None
    if len(argv) > 1:
        protocol = parse_integer(argv[1], "ERR Protocol version is not an integer or out of range")
        if protocol not in (2, 3):
            raise RedisError("NOPROTO unsupported protocol version")
    index = 2
    while index < len(argv):
        option = argv[index].lower()
        remaining = len(argv) - 1 - index
        if option == b"auth" and remaining >= 2:
            login = (argv[index + 1], argv[index + 2])
            if applies_at_once:
                log_in(ctx, *login, argv[0])
            index += 3
        elif option == b"setname" and remaining >= 1:
            name = client.validate_name(argv[index + 1])
            if applies_at_once:
                ctx.name = name
            index += 2
        else:
            raise RedisError(f"ERR Syntax error in HELLO option '{quote(argv[index])}'")
    if login is not None and not applies_at_once:
        log_in(ctx, *login, argv[0])
    if not ctx.authenticated:
        raise RedisError(_HELLO_NEEDS_AUTH.format("" if applies_at_once else "<proto> "))
    if name is not None:
        ctx.name = name
    ctx.protocol = protocol
    return _hello_reply(ctx)


def _hello_reply(ctx: Session) -> Reply:
    version, node = ctx.server.version, node_of(ctx)
    return {
        b"server": version.flavour.encode(),
        b"version": version.text.encode(),
        b"proto": ctx.protocol,
        b"id": ctx.id,
        b"mode": b"standalone" if node is None else b"cluster",
        b"role": b"replica" if ctx.server.replication.is_replica else b"master",
        b"modules": built_in(version),
    }


@command("reset")
def reset(ctx: Session, argv: list[bytes]) -> Reply:
    ctx.clients.pubsub.unsubscribe_all(ctx)
    ctx.clients.end_transaction(ctx)
    ctx.clients.end_modes(ctx)
    ctx.db = ctx.server.databases[0]
    ctx.name = b""
    ctx.protocol = 2
    ctx.reply_mode = ReplyMode.ON
    ctx.asking = ctx.readonly = False
    ctx.no_evict = ctx.no_touch = ctx.import_source = False
    ctx.is_replica = ctx.rdb_only = False
    ctx.rdb_filter = None
    ctx.user = "default"
    ctx.authenticated = not ctx.clients.access.needs_password()
    ctx.clients.access.update_limited(ctx)
    return _RESET


@command("quit")
def quit_(ctx: Session, argv: list[bytes]) -> Reply:
    ctx.closing = True
    ctx.engine.disconnect(ctx)
    return OK
