"""MIGRATE, which moves keys to another node of the same emulated cluster.

The emulator opens no connections to other servers. Any other target gives the error of Redis for a
target that cannot be reached.
"""

from __future__ import annotations

from redis_emulator.clients.session import Session
from redis_emulator.cluster.node import Node, node_of
from redis_emulator.commands.dump import dump
from redis_emulator.commands.helpers.arguments import parse_integer, syntax_error
from redis_emulator.commands.registry import command
from redis_emulator.keyspace.events import GENERIC
from redis_emulator.resp.types import OK, RedisError, Reply, SimpleString

_NO_KEY = SimpleString(b"NOKEY")
_UNREACHABLE = "IOERR error or timeout writing to target instance"


class _Options:
    """The options after the timeout.

    Attributes:
        copy: Whether to keep the keys on this node.
        replace: Whether to overwrite existing keys on the target.
        auth_command: The AUTH command to run on the target, empty for none.
        keys: The keys to move.
    """

    __slots__ = ("auth_command", "copy", "keys", "replace")

    def __init__(self, argv: list[bytes]) -> None:
        self.copy = self.replace = False
        self.auth_command: list[bytes] = []
        self.keys = [argv[3]]
        index = 6
        while index < len(argv):
            word = argv[index].lower()
            remaining = len(argv) - 1 - index
            if word == b"copy":
                self.copy = True
            elif word == b"replace":
                self.replace = True
            elif word == b"auth" and remaining:
                self.auth_command = [b"AUTH", argv[index + 1]]
                index += 1
            elif word == b"auth2" and remaining >= 2:
                self.auth_command = [b"AUTH", argv[index + 1], argv[index + 2]]
                index += 2
            elif word == b"keys":
                if argv[3]:
                    raise RedisError(
                        "ERR When using MIGRATE KEYS option, the key argument must be set to the "
                        "empty string"
                    )
                self.keys = argv[index + 1 :]
                return
            else:
                raise syntax_error()
            index += 1


@command("migrate")
def migrate(ctx: Session, argv: list[bytes]) -> Reply:
    options = _Options(argv)
    parse_integer(argv[5])
    index = parse_integer(argv[4])
    keys = [key for key in options.keys if key in ctx.db.data]
    if not keys:
        return _NO_KEY
    target = _target_node(ctx, argv[2])
    if target is None:
        raise RedisError(_UNREACHABLE)
    target_session = Session(target.engine, _discard)
    failure = (
        _execute(target, target_session, options.auth_command) if options.auth_command else None
    )
    if index:
        failure = _execute(target, target_session, [b"SELECT", b"%d" % index]) or failure
    for key in keys:
        error = (
            _migrate_key(ctx, target, target_session, key, options) if failure is None else failure
        )
        failure = failure or error
    if failure is not None:
        raise RedisError(f"ERR Target instance replied with error: {failure.text}")
    return OK


def _target_node(ctx: Session, port: bytes) -> Node | None:
    node = node_of(ctx)
    if node is None or not port.isdigit():
        return None
    target = node.cluster.node_at(int(port))
    return None if target is None or target.down else target


def _execute(target: Node, target_session: Session, argv: list[bytes]) -> RedisError | None:
    reply = target.engine.execute(target_session, argv)
    return reply if isinstance(reply, RedisError) else None


def _migrate_key(
    ctx: Session, target: Node, target_session: Session, key: bytes, options: _Options
) -> RedisError | None:
    """Move one key. Return the error reply of the target, or None."""
    payload = dump(ctx, [b"DUMP", key])
    assert isinstance(payload, bytes)
    expires_at = ctx.db.expires.get(key)
    ttl = b"0" if expires_at is None else b"%d" % max(1, expires_at - ctx.db.context.now)
    words = [b"RESTORE-ASKING", key, ttl, payload]
    error = _execute(target, target_session, [*words, b"REPLACE"] if options.replace else words)
    if error is None and not options.copy:
        ctx.db.remove(key)
        ctx.db.changed(key, b"del", GENERIC)
    return error


def _discard(reply: Reply) -> None:
    """Discard messages that the target node sends to the session of MIGRATE."""
