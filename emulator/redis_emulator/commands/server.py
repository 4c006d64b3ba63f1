"""The server as a whole: time, role, saving, and what a server without replicas or files says to
the rest."""

from __future__ import annotations

from redis_emulator.commands.arguments import parse_integer, parse_range, syntax_error
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import NO_REPLY, OK, RedisError, Reply, SimpleString
from redis_emulator.session import Session

_SAVING = SimpleString(b"Background saving started")
_REWRITING = SimpleString(b"Background append only file rewriting started")


@command("time")
def time(ctx: Session, argv: list[bytes]) -> Reply:
    now = ctx.server.clock.us()
    return [b"%d" % (now // 1_000_000), b"%d" % (now % 1_000_000)]


@command("role")
def role(ctx: Session, argv: list[bytes]) -> Reply:
    node = ctx.server.cluster
    if node is None:
        return [b"master", 0, []]
    offset = node.store.offset
    if node.master is not None:
        link = b"connect" if node.master.down else b"connected"
        host, port = node.master.peer_address
        return [b"slave", host.encode(), port, link, offset]
    return [
        b"master",
        offset,
        [
            [replica.host.encode(), b"%d" % replica.port, b"%d" % offset]
            for replica in node.replicas()
            if not replica.down
        ],
    ]


@command("lastsave")
def lastsave(ctx: Session, argv: list[bytes]) -> Reply:
    return ctx.server.saved_at // 1000


def _saved(ctx: Session) -> None:
    server = ctx.server
    server.saved_at = server.now
    server.saves += 1
    server.dirty = 0


@command("save")
def save(ctx: Session, argv: list[bytes]) -> Reply:
    _saved(ctx)
    return OK


@command("bgsave")
def bgsave(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 1:
        word = argv[1].lower()
        version = ctx.server.version
        cancels = version.flavour == "valkey" and version.number >= (8, 1)
        if word == b"cancel" and len(argv) == 2 and cancels:
            raise RedisError("ERR Background saving is currently not in progress or scheduled")
        if word != b"schedule" or len(argv) > 2:
            raise syntax_error()
    _saved(ctx)
    return _SAVING


@command("bgrewriteaof")
def bgrewriteaof(ctx: Session, argv: list[bytes]) -> Reply:
    return _REWRITING


@command("replicaof", "slaveof")
def replicaof(ctx: Session, argv: list[bytes]) -> Reply:
    if ctx.server.cluster is not None:
        raise RedisError("ERR REPLICAOF not allowed in cluster mode.")
    if argv[1].lower() == b"no" and argv[2].lower() == b"one":
        return OK
    if ctx.server.version.compatible < (7, 0):
        parse_integer(argv[2])
    else:
        parse_range(argv[2], 0, 65535, "ERR Invalid master port")
    raise RedisError(
        "ERR REPLICAOF to another server is not possible: an emulator has no replication"
    )


@command("failover")
def failover(ctx: Session, argv: list[bytes]) -> Reply:
    if ctx.server.cluster is not None:
        raise RedisError(
            "ERR FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead."
        )
    options = [word.lower() for word in argv[1:]]
    if options == [b"abort"]:
        raise RedisError("ERR No failover in progress.")
    place = 0
    seen: set[bytes] = set()
    while place < len(options):
        word = options[place]
        left = len(options) - 1 - place
        if word in seen:
            raise syntax_error()
        seen.add(word)
        if word == b"timeout" and left >= 1:
            timeout = parse_integer(
                options[place + 1], "ERR value is not an integer or out of range"
            )
            if timeout <= 0:
                raise RedisError("ERR FAILOVER timeout must be greater than 0")
            place += 2
        elif word == b"to" and left >= 2:
            parse_integer(options[place + 2])
            place += 3
        elif word == b"force":
            place += 1
        else:
            raise syntax_error()
    raise RedisError("ERR FAILOVER requires connected replicas.")


@command("shutdown")
def shutdown(ctx: Session, argv: list[bytes]) -> Reply:
    words = [word.lower() for word in argv[1:]]
    known = {b"save", b"nosave", b"now", b"force", b"abort"}
    version = ctx.server.version
    if version.compatible < (7, 0):
        known = {b"save", b"nosave"}
    elif version.flavour == "valkey" and version.number >= (9, 0):
        known |= {b"safe", b"failover"}
    if set(words) - known or {b"save", b"nosave"} <= set(words):
        raise syntax_error()
    if b"abort" in words:
        if len(set(words)) > 1 or version.compatible < (7, 0):
            raise syntax_error()
        raise RedisError("ERR No shutdown in progress.")
    ctx.server.shutdown()
    return NO_REPLY
