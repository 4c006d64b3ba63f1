"""The ACL commands: users, their rules, the ACL log and the ACL file.

`redis_emulator.clients.acl` parses the rules. `redis_emulator.clients.access` checks commands
against them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from redis_emulator.clients.access import REASONS, AclLogEntry
from redis_emulator.clients.acl import (
    CATEGORIES,
    UNKNOWN,
    RuleError,
    Selector,
    User,
    catalogue,
    join_selectors,
)
from redis_emulator.clients.client import Client
from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import parse_integer, unknown_subcommand
from redis_emulator.commands.registry import command
from redis_emulator.resp.types import OK, RedisError, Reply, SetReply, quote
from redis_emulator.server.server import Server

_NO_ACL_FILE = (
    "ERR This {}instance is not configured to use an ACL file. You may want to specify users via "
    "the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a {}configuration "
    "file set) in order to store users in the {}configuration."
)
_BAD_GENPASS_BITS = (
    "ERR ACL GENPASS argument must be the number of bits for the output password, a positive "
    "number up to 4096"
)
_DEFAULT_LOG_COUNT = 10


@command("acl|setuser")
def acl_setuser(ctx: Session, argv: list[bytes]) -> Reply:
    if b" " in argv[2] or b"\0" in argv[2]:
        raise RedisError("ERR Usernames can't contain spaces or null characters")
    access = ctx.clients.access
    try:
        rules = join_selectors(argv[3:], ctx.server.version)
    except ValueError as error:
        raise RedisError(
            f"ERR Unmatched parenthesis in acl selector starting at '{quote(error.args[0])}'."
        ) from None
    name = quote(argv[2])
    known = access.users.get(name)
    user = access.new_user(name) if known is None else known.copy()
    for rule in rules:
        try:
            user.apply(rule, access.all_channels)
        except RuleError as error:
            raise RedisError(
                f"ERR Error in ACL SETUSER modifier '{quote(rule)}': {error}"
            ) from None
    _disconnect_all(ctx, access.set_user(user))
    return OK


@command("acl|deluser")
def acl_deluser(ctx: Session, argv: list[bytes]) -> Reply:
    if b"default" in argv[2:]:
        raise RedisError("ERR The 'default' user cannot be removed")
    deleted = 0
    for name in argv[2:]:
        clients = ctx.clients.access.remove(quote(name))
        if clients is not None:
            deleted += 1
            _disconnect_all(ctx, clients)
    return deleted


def _disconnect_all(ctx: Session, clients: list[Client]) -> None:
    for client in clients:
        ctx.engine.close_after_reply(client)


def _sorted_users(ctx: Session) -> list[tuple[bytes, User]]:
    users = ctx.clients.access.users.items()
    return sorted((name.encode("utf-8", "surrogateescape"), user) for name, user in users)


@command("acl|list")
def acl_list(ctx: Session, argv: list[bytes]) -> Reply:
    return [_user_line(name, user) for name, user in _sorted_users(ctx)]


def _user_line(name: bytes, user: User) -> bytes:
    return b"user %b %b" % (name, user.describe())


@command("acl|users")
def acl_users(ctx: Session, argv: list[bytes]) -> Reply:
    return [name for name, _ in _sorted_users(ctx)]


@command("acl|whoami")
def acl_whoami(ctx: Session, argv: list[bytes]) -> Reply:
    return ctx.user.encode("utf-8", "surrogateescape")


@command("acl|getuser")
def acl_getuser(ctx: Session, argv: list[bytes]) -> Reply:
    user = ctx.clients.access.users.get(quote(argv[2]))
    if user is None:
        return None
    root = user.selectors[0]
    if ctx.server.version.before(7):
        return {
            b"flags": SetReply(_flags_before_7(user, root)),
            b"passwords": list(user.passwords),
            b"commands": root.describe_commands(),
            b"keys": [b"*"] if root.all_keys else list(root.keys),
            b"channels": [b"*"] if root.all_channels else list(root.channels),
        }
    return {
        b"flags": SetReply(user.flags()),
        b"passwords": list(user.passwords),
        **_describe_selector(ctx.server, root),
        b"selectors": [_describe_selector(ctx.server, each) for each in user.selectors[1:]],
    }


def _flags_before_7(user: User, root: Selector) -> list[bytes]:
    switch, *others = user.flags()
    markers = (
        (b"allkeys", root.all_keys),
        (b"allchannels", root.all_channels),
        (b"allcommands", root.all_commands),
    )
    return [switch, *(word for word, present in markers if present), *others]


def _describe_selector(server: Server, selector: Selector) -> dict[Reply, Reply]:
    reply: dict[Reply, Reply] = {
        b"commands": selector.describe_commands(),
        b"keys": b" ".join(selector.describe_keys()),
        b"channels": b" ".join(selector.describe_channels()),
    }
    if server.version.is_valkey(9, 1):
        reply[b"databases"] = selector.describe_databases()
    return reply


@command("acl|cat")
def acl_cat(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 3:
        raise unknown_subcommand(ctx.server.version, argv)
    if len(argv) == 2:
        return [category.encode() for category in CATEGORIES]
    category = quote(argv[2]).lower()
    if category not in CATEGORIES:
        raise RedisError(f"ERR Unknown category '{quote(argv[2])}'")
    return [name.encode() for name in catalogue(ctx.server.version).within(category)]


@command("acl|genpass")
def acl_genpass(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 3:
        raise unknown_subcommand(ctx.server.version, argv)
    bits = 256 if len(argv) == 2 else parse_integer(argv[2])
    if not 1 <= bits <= 4096:
        raise RedisError(_BAD_GENPASS_BITS)
    digits = (bits + 3) // 4
    return b"%0*x" % (digits, ctx.server.random.getrandbits(digits * 4))


@command("acl|log")
def acl_log(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 3:
        raise unknown_subcommand(ctx.server.version, argv)
    log = ctx.clients.access.log
    count = _DEFAULT_LOG_COUNT
    if len(argv) == 3:
        if argv[2].lower() == b"reset":
            log.clear()
            return OK
        count = max(0, parse_integer(argv[2]))
    return [_describe_log_entry(ctx.server, entry) for entry in list(log)[:count]]


def _describe_log_entry(server: Server, entry: AclLogEntry) -> dict[Reply, Reply]:
    reply: dict[Reply, Reply] = {
        b"count": entry.count,
        b"reason": REASONS[entry.reason],
        b"context": entry.context,
        b"object": entry.object,
        b"username": entry.user.encode("utf-8", "surrogateescape"),
        b"age-seconds": (server.keyspace.now - entry.updated) / 1000,
        b"client-info": entry.client.encode("utf-8", "surrogateescape"),
    }
    if not server.version.before(7, 2):
        reply[b"entry-id"] = entry.number
        reply[b"timestamp-created"] = entry.created
        reply[b"timestamp-last-updated"] = entry.updated
    return reply


@command("acl|dryrun")
def acl_dryrun(ctx: Session, argv: list[bytes]) -> Reply:
    access = ctx.clients.access
    user = access.users.get(quote(argv[2]))
    if user is None:
        raise RedisError(f"ERR User '{quote(argv[2])}' not found")
    command_argv = argv[3:]
    entry = ctx.server.commands.get(command_argv[0].lower())
    if entry is not None and entry.subcommands is not None and len(command_argv) > 1:
        entry = entry.subcommands.get(command_argv[1].lower())
    if entry is None:
        raise RedisError(f"ERR Command '{quote(command_argv[0])}' not found")
    if not entry.min_argc <= len(command_argv) <= entry.max_argc:
        raise RedisError(f"ERR wrong number of arguments for '{entry.name}' command")
    denial = access.denial(user, ctx, entry, command_argv)
    if denial is None:
        return OK
    return access.explain(denial, user, entry, command_argv, in_full=True).encode(
        "utf-8", "surrogateescape"
    )


def _acl_file(server: Server) -> Path:
    path = server.config["aclfile"]
    if not path:
        product = "" if server.version.is_valkey() else "Redis "
        raise RedisError(_NO_ACL_FILE.format(product, product, product))
    return Path(server.config["dir"], path)


@command("acl|save")
def acl_save(ctx: Session, argv: list[bytes]) -> Reply:
    path = _acl_file(ctx.server)
    lines = [_user_line(name, user) for name, user in _sorted_users(ctx)]
    try:
        path.write_bytes(b"".join(line + b"\n" for line in lines))
    except OSError:
        raise RedisError(
            "ERR There was an error trying to save the ACLs. Please check the server logs for "
            "more information"
        ) from None
    return OK


@command("acl|load")
def acl_load(ctx: Session, argv: list[bytes]) -> Reply:
    server = ctx.server
    path = _acl_file(server)
    file_name = server.config["aclfile"]
    try:
        text = path.read_bytes()
    except OSError as error:
        reason = f"opening file '{file_name}': {error.strerror}"
        raise RedisError(f"ERR Error loading ACLs, {reason}") from None
    users: dict[str, User] = {}
    errors = "".join(
        f"{error}. "
        for number, line in enumerate(text.split(b"\n"), 1)
        for error in _parse_line(ctx, f"{file_name}:{number}", line.strip(b" \t\r\n"), users)
    )
    if errors:
        raise RedisError(
            f"ERR {errors}WARNING: ACL errors detected, no change to the previously active ACL "
            "rules was performed"
        )
    _disconnect_all(ctx, ctx.clients.access.load(users))
    return OK


def _parse_line(ctx: Session, location: str, line: bytes, users: dict[str, User]) -> Iterator[str]:
    """Add the user on one line of an ACL file to ``users``; yield an error message if it fails."""
    if not line:
        return
    version, access = ctx.server.version, ctx.clients.access
    older = version.before(7)
    words = line.split(b" ")
    if words[0] != b"user" or len(words) < 2:
        yield f"{location} should start with user keyword followed by the username"
        return
    name = quote(words[1])
    if name in users and not older:
        number = location.rpartition(":")[2]
        yield f"WARNING: Duplicate user '{name}' found on line {number}"
        return
    try:
        rules = join_selectors([word for word in words[2:] if word], version)
    except ValueError as error:
        start = quote(error.args[0])
        yield f"{location}: Unmatched parenthesis in acl selector starting at '{start}'"
        return
    redefined = older and (name in users or name == "default")
    user = users.setdefault(name, access.new_user(name))
    reported = False
    for rule in [b"reset", *rules] if redefined else rules:
        try:
            user.apply(rule.strip(b"\t\r"), access.all_channels)
        except RuleError as error:
            if not older and str(error) == UNKNOWN:
                yield f"{location}: Error in applying operation '{quote(rule)}': {error}"
            elif older or not reported:
                reported = True
                yield f"{location}: {error}"
