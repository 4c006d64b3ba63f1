"""MIGRATE: keys that move to another node of the same emulated cluster.

An emulator opens no connections. Whoever is not a node of the cluster cannot be reached, in the
server's words.
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
    """What follows the timeout.

    Attributes:
        copy: Whether the keys stay here as well.
        replace: Whether keys of the same names are overwritten.
        login: The command that logs in there, or none.
        keys: What moves.
    """

    __slots__ = ("copy", "keys", "login", "replace")

    def __init__(self, argv: list[bytes]) -> None:
        self.copy = self.replace = False
        self.login: list[bytes] = []
        self.keys = [argv[3]]
        place = 6
        while place < len(argv):
            word = argv[place].lower()
            left = len(argv) - 1 - place
            if word == b"copy":
                self.copy = True
            elif word == b"replace":
                self.replace = True
            elif word == b"auth" and left:
                self.login = [b"AUTH", argv[place + 1]]
                place += 1
            elif word == b"auth2" and left >= 2:
                self.login = [b"AUTH", argv[place + 1], argv[place + 2]]
                place += 2
            elif word == b"keys":
                if argv[3]:
                    raise RedisError(
                        "ERR When using MIGRATE KEYS option, the key argument must be set to the "
                        "empty string"
                    )
                self.keys = argv[place + 1 :]
                return
            else:
                raise syntax_error()
            place += 1


@command("migrate")
def migrate(ctx: Session, argv: list[bytes]) -> Reply:
    options = _Options(argv)
    parse_integer(argv[5])
    index = parse_integer(argv[4])
    keys = [key for key in options.keys if key in ctx.db.data]
    if not keys:
        return _NO_KEY
    target = _target(ctx, argv[2])
    if target is None:
        raise RedisError(_UNREACHABLE)
    visitor = Session(target.engine, _unheard)
    failure = _ask(target, visitor, options.login) if options.login else None
    if index:
        failure = _ask(target, visitor, [b"SELECT", b"%d" % index]) or failure
    for key in keys:
        wrong = _hand_over(ctx, target, visitor, key, options) if failure is None else failure
        failure = failure or wrong
    if failure is not None:
        raise RedisError(f"ERR Target instance replied with error: {failure.text}")
    return OK


def _target(ctx: Session, port: bytes) -> Node | None:
    node = node_of(ctx)
    if node is None or not port.isdigit():
        return None
    target = node.cluster.node_at(int(port))
    return None if target is None or target.down else target


def _ask(target: Node, visitor: Session, argv: list[bytes]) -> RedisError | None:
    reply = target.engine.execute(visitor, argv)
    return reply if isinstance(reply, RedisError) else None


def _hand_over(
    ctx: Session, target: Node, visitor: Session, key: bytes, options: _Options
) -> RedisError | None:
    """Move one key; the target's error, if it refuses."""
    payload = dump(ctx, [b"DUMP", key])
    assert isinstance(payload, bytes)
    at = ctx.db.expires.get(key)
    left = b"0" if at is None else b"%d" % max(1, at - ctx.db.context.now)
    words = [b"RESTORE-ASKING", key, left, payload]
    wrong = _ask(target, visitor, [*words, b"REPLACE"] if options.replace else words)
    if wrong is None and not options.copy:
        ctx.db.remove(key)
        ctx.db.changed(key, b"del", GENERIC)
    return wrong


def _unheard(reply: Reply) -> None:
    """Where messages to a session of MIGRATE go."""
