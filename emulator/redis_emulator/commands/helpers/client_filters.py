"""The filters of CLIENT LIST and CLIENT KILL. A client has to match all of them.

Redis has a few filters, different ones for the two commands. Valkey has more, for both commands,
and since Valkey 9 each has a negated form such as NOT-ID.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from redis_emulator.clients.client import Client
from redis_emulator.clients.description import class_of, flags_of
from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import parse_integer, syntax_error
from redis_emulator.resp.types import RedisError, quote

Test = Callable[[Client], bool]

_CLASSES: Final = {
    b"normal": "normal",
    b"pubsub": "pubsub",
    b"master": "master",
    b"primary": "master",
    b"replica": "replica",
    b"slave": "replica",
}
_FLAGS: Final = "NPxbtRBdUreTOSMcuAi"
_BAD_ID: Final = "ERR client-id should be greater than 0"


def of_class(ctx: Session, raw: bytes) -> Test:
    """A filter for clients of the type ``raw``, for example ``normal`` or ``pubsub``.

    Raises:
        RedisError: There is no such client type.
    """
    client_class = _CLASSES.get(raw.lower())
    if client_class is None or (raw.lower() == b"primary" and not ctx.server.version.is_valkey()):
        raise RedisError(f"ERR Unknown client type '{quote(raw)}'")
    return lambda session: class_of(session) == client_class


def filters(ctx: Session, argv: list[bytes], *, skip_me: bool) -> Test:
    """Parse the filters from ``argv[2]`` on into one function.

    Args:
        ctx: The client that runs the command.
        argv: The command.
        skip_me: Whether to leave out this client, if there is no option SKIPME.

    Raises:
        RedisError: An option is unknown, or its value is missing or invalid.
    """
    version = ctx.server.version
    valkey = version.is_valkey(8, 1)
    has_negation = version.is_valkey(9)
    tests: dict[bytes, Test] = {}
    index = 2
    while index < len(argv):
        option = argv[index].lower()
        if index + 1 >= len(argv):
            raise syntax_error()
        raw = argv[index + 1]
        index += 2
        if option == b"skipme":
            if raw.lower() not in (b"yes", b"no"):
                raise syntax_error()
            skip_me = raw.lower() == b"yes"
        elif valkey and (option == b"id" or (has_negation and option == b"not-id")):
            ids = {_parse_id(raw)}
            while index < len(argv) and argv[index].lstrip(b"-").isdigit():
                ids.add(_parse_id(argv[index]))
                index += 1
            tests[option] = _negate_if_not(option, _has_id(ids))
        elif has_negation:
            tests[option] = _negate_if_not(
                option, _valkey_filter(ctx, option.removeprefix(b"not-"), raw)
            )
        else:
            tests[option] = _redis_filter(ctx, option, raw)
    if skip_me:
        tests[b"skipme"] = lambda session: session is not ctx
    return lambda session: all(test(session) for test in tests.values())


def _negate_if_not(option: bytes, test: Test) -> Test:
    return (lambda session: not test(session)) if option.startswith(b"not-") else test


def _has_id(ids: set[int]) -> Test:
    return lambda session: session.id in ids


def _parse_id(raw: bytes) -> int:
    if not raw.lstrip(b"-").isdigit():
        raise syntax_error()
    number = parse_integer(raw, _BAD_ID)
    if number < 1:
        raise RedisError(_BAD_ID)
    return number


def _redis_filter(ctx: Session, option: bytes, raw: bytes) -> Test:
    if option == b"id":
        older = ctx.server.version.before(7)
        number = parse_integer(raw) if older else parse_integer(raw, _BAD_ID)
        if number < 1 and not older:
            raise RedisError(_BAD_ID)
        return lambda session: session.id == number
    if option == b"type":
        return of_class(ctx, raw)
    if option == b"addr":
        return lambda session: session.addr.encode() == raw
    if option == b"laddr":
        return lambda session: session.laddr.encode() == raw
    if option == b"user":
        if not ctx.clients.access.has_user(raw):
            raise RedisError(f"ERR No such user '{quote(raw)}'")
        return lambda session: session.user == quote(raw)
    if option == b"maxage" and ctx.server.version.after_fork:
        seconds = parse_integer(raw, "ERR maxage is not an integer or out of range")
        if seconds < 1:
            raise RedisError("ERR maxage should be greater than 0")
        now = ctx.db.context.now
        return lambda session: (now - session.connected_at) // 1000 >= seconds
    raise syntax_error()


def _valkey_filter(ctx: Session, option: bytes, raw: bytes) -> Test:
    text = quote(raw)
    if option == b"name":
        return lambda session: session.name == raw
    if option == b"ip":
        return lambda session: session.addr.rpartition(":")[0] == text
    if option == b"lib-name":
        return lambda session: session.lib_name == raw
    if option == b"lib-ver":
        return lambda session: session.lib_ver == raw
    if option == b"capa":
        return lambda session: set(text) <= set(session.capabilities)
    if option == b"flags":
        unknown = "".join(letter for letter in text if letter not in _FLAGS)
        if unknown:
            raise RedisError(f"ERR Unknown flags found in the provided filter: {text}")
        return lambda session: set(text) <= set(flags_of(session))
    if option == b"idle":
        seconds = parse_integer(raw, "ERR idle is not an integer or out of range")
        now = ctx.db.context.now
        return lambda session: (now - session.last_active) // 1000 >= seconds
    if option == b"db":
        number = parse_integer(raw, "ERR DB is not an integer or out of range")
        highest = len(ctx.server.databases) - 1
        if not 0 <= number <= highest:
            raise RedisError(f"ERR DB number should be between 0 and {highest}")
        return lambda session: session.db.index == number
    return _redis_filter(ctx, option, raw)
