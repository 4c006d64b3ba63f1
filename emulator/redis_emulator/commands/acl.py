"""ACL: users, what they may do, and what was refused to them. The rules themselves are in
`redis_emulator.clients.acl`, the checks in `redis_emulator.clients.access`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from redis_emulator.clients.access import REASONS, Refusal
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

_NO_FILE = (
    "ERR This {}instance is not configured to use an ACL file. You may want to specify users via "
    "the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a {}configuration "
    "file set) in order to store users in the {}configuration."
)
_BAD_LENGTH = (
    "ERR ACL GENPASS argument must be the number of bits for the output password, a positive "
    "number up to 4096"
)
_SHOWN_ENTRIES = 10


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
    _end_all(ctx, access.put(user))
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
            _end_all(ctx, clients)
    return deleted


def _end_all(ctx: Session, clients: list[Client]) -> None:
    for client in clients:
        ctx.engine.end(client)


def _sorted_users(ctx: Session) -> list[tuple[bytes, User]]:
    users = ctx.clients.access.users.items()
    return sorted((name.encode("utf-8", "surrogateescape"), user) for name, user in users)


@command("acl|list")
def acl_list(ctx: Session, argv: list[bytes]) -> Reply:
    return [_line(name, user) for name, user in _sorted_users(ctx)]


def _line(name: bytes, user: User) -> bytes:
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
            b"flags": SetReply(_old_flags(user, root)),
            b"passwords": list(user.passwords),
            b"commands": root.describe_commands(),
            b"keys": [b"*"] if root.all_keys else list(root.keys),
            b"channels": [b"*"] if root.all_channels else list(root.channels),
        }
    return {
        b"flags": SetReply(user.flags()),
        b"passwords": list(user.passwords),
        **_selector(ctx.server, root),
        b"selectors": [_selector(ctx.server, each) for each in user.selectors[1:]],
    }


def _old_flags(user: User, root: Selector) -> list[bytes]:
    switch, *others = user.flags()
    every = (
        (b"allkeys", root.all_keys),
        (b"allchannels", root.all_channels),
        (b"allcommands", root.all_commands),
    )
    return [switch, *(word for word, said in every if said), *others]


def _selector(server: Server, selector: Selector) -> dict[Reply, Reply]:
    shown: dict[Reply, Reply] = {
        b"commands": selector.describe_commands(),
        b"keys": b" ".join(selector.describe_keys()),
        b"channels": b" ".join(selector.describe_channels()),
    }
    if server.version.is_valkey(9, 1):
        shown[b"databases"] = selector.describe_databases()
    return shown


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
        raise RedisError(_BAD_LENGTH)
    digits = (bits + 3) // 4
    return b"%0*x" % (digits, ctx.server.random.getrandbits(digits * 4))


@command("acl|log")
def acl_log(ctx: Session, argv: list[bytes]) -> Reply:
    if len(argv) > 3:
        raise unknown_subcommand(ctx.server.version, argv)
    log = ctx.clients.access.log
    count = _SHOWN_ENTRIES
    if len(argv) == 3:
        if argv[2].lower() == b"reset":
            log.clear()
            return OK
        count = max(0, parse_integer(argv[2]))
    return [_entry(ctx.server, entry) for entry in list(log)[:count]]


def _entry(server: Server, entry: Refusal) -> dict[Reply, Reply]:
    shown: dict[Reply, Reply] = {
        b"count": entry.count,
        b"reason": REASONS[entry.reason],
        b"context": entry.context,
        b"object": entry.object,
        b"username": entry.user.encode("utf-8", "surrogateescape"),
        b"age-seconds": (server.keyspace.now - entry.updated) / 1000,
        b"client-info": entry.client.encode("utf-8", "surrogateescape"),
    }
    if not server.version.before(7, 2):
        shown[b"entry-id"] = entry.number
        shown[b"timestamp-created"] = entry.created
        shown[b"timestamp-last-updated"] = entry.updated
    return shown


@command("acl|dryrun")
def acl_dryrun(ctx: Session, argv: list[bytes]) -> Reply:
    access = ctx.clients.access
    user = access.users.get(quote(argv[2]))
    if user is None:
        raise RedisError(f"ERR User '{quote(argv[2])}' not found")
    tried = argv[3:]
    entry = ctx.server.commands.get(tried[0].lower())
    if entry is not None and entry.subcommands is not None and len(tried) > 1:
        entry = entry.subcommands.get(tried[1].lower())
    if entry is None:
        raise RedisError(f"ERR Command '{quote(tried[0])}' not found")
    if not entry.min_argc <= len(tried) <= entry.max_argc:
        raise RedisError(f"ERR wrong number of arguments for '{entry.name}' command")
    denial = access.denial(user, ctx, entry, tried)
    if denial is None:
        return OK
    return access.explain(denial, user, entry, tried, in_full=True).encode(
        "utf-8", "surrogateescape"
    )


def _file(server: Server) -> Path:
    path = server.config["aclfile"]
    if not path:
        own = "" if server.version.is_valkey() else "Redis "
        raise RedisError(_NO_FILE.format(own, own, own))
    return Path(server.config["dir"], path)


@command("acl|save")
def acl_save(ctx: Session, argv: list[bytes]) -> Reply:
    path = _file(ctx.server)
    lines = [_line(name, user) for name, user in _sorted_users(ctx)]
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
    path = _file(server)
    named = server.config["aclfile"]
    try:
        text = path.read_bytes()
    except OSError as error:
        reason = f"opening file '{named}': {error.strerror}"
        raise RedisError(f"ERR Error loading ACLs, {reason}") from None
    users: dict[str, User] = {}
    errors = "".join(
        f"{error}. "
        for number, line in enumerate(text.split(b"\n"), 1)
        for error in _read_line(ctx, f"{named}:{number}", line.strip(b" \t\r\n"), users)
    )
    if errors:
        raise RedisError(
            f"ERR {errors}WARNING: ACL errors detected, no change to the previously active ACL "
            "rules was performed"
        )
    _end_all(ctx, ctx.clients.access.load(users))
    return OK


def _read_line(ctx: Session, place: str, line: bytes, users: dict[str, User]) -> Iterator[str]:
    """Put the user of one line of an ACL file into ``users``; what is wrong with the line."""
    if not line:
        return
    version, access = ctx.server.version, ctx.clients.access
    older = version.before(7)
    words = line.split(b" ")
    if words[0] != b"user" or len(words) < 2:
        yield f"{place} should start with user keyword followed by the username"
        return
    name = quote(words[1])
    if name in users and not older:
        number = place.rpartition(":")[2]
        yield f"WARNING: Duplicate user '{name}' found on line {number}"
        return
    try:
        rules = join_selectors([word for word in words[2:] if word], version)
    except ValueError as error:
        yield f"{place}: Unmatched parenthesis in acl selector starting at '{quote(error.args[0])}'"
        return
    again = older and (name in users or name == "default")
    user = users.setdefault(name, access.new_user(name))
    told = False
    for rule in [b"reset", *rules] if again else rules:
        try:
            user.apply(rule.strip(b"\t\r"), access.all_channels)
        except RuleError as error:
            if not older and str(error) == UNKNOWN:
                yield f"{place}: Error in applying operation '{quote(rule)}': {error}"
            elif older or not told:
                told = True
                yield f"{place}: {error}"
