"""The COMMAND subcommands, which describe the command table.

All replies are built from the command table and the JSON files in ``table/documents``.
"""

from __future__ import annotations

from typing import Any

from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import syntax_error
from redis_emulator.commands.registry import command
from redis_emulator.glob import glob
from redis_emulator.resp.types import RedisError, Reply, SetReply, SimpleString
from redis_emulator.server.server import Server
from redis_emulator.table.documents import document_of
from redis_emulator.table.entry import Entry
from redis_emulator.table.keyspec import Key, has_keys, keys


def entries(server: Server) -> list[Entry]:
    """Each command once (the table has its name in lower and upper case), without subcommands."""
    return [entry for name, entry in server.commands.items() if name.islower()]


def subcommands(entry: Entry) -> list[Entry]:
    """The subcommands of a container command."""
    return [sub for name, sub in (entry.subcommands or {}).items() if name.islower()]


def lookup(server: Server, name: bytes) -> Entry | None:
    """Return the command ``name`` or the subcommand ``container|subcommand``, or None."""
    name, _, sub = name.lower().partition(b"|")
    entry = server.commands.get(name)
    if entry is not None and sub:
        return (entry.subcommands or {}).get(sub)
    return entry


def _info_reply(server: Server, entry: Entry) -> Reply:
    spec = entry.spec
    reply: list[Reply] = [
        entry.name.encode(),
        spec.arity,
        SetReply(SimpleString(flag.encode()) for flag in spec.flags),
        *spec.keys,
        SetReply(SimpleString(f"@{category}".encode()) for category in spec.categories),
    ]
    if server.version.before(7):
        return reply
    subs: Reply = [_info_reply(server, sub) for sub in subcommands(entry)] or SetReply()
    return [
        *reply,
        SetReply(tip.encode() for tip in spec.tips),
        SetReply(_key_spec_reply(key_spec) for key_spec in spec.key_specs),
        subs,
    ]


def _key_spec_reply(value: Any) -> Reply:
    """A key specification as a reply: names are bulk strings, flags are simple strings."""
    if isinstance(value, dict):
        return {name.encode(): _key_spec_reply(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return SetReply(SimpleString(flag.encode()) for flag in value)
    return value.encode() if isinstance(value, str) else value


@command("command")
def command_(ctx: Session, argv: list[bytes]) -> Reply:
    return [_info_reply(ctx.server, entry) for entry in entries(ctx.server)]


@command("command|count")
def command_count(ctx: Session, argv: list[bytes]) -> Reply:
    return len(entries(ctx.server))


@command("command|info")
def command_info(ctx: Session, argv: list[bytes]) -> Reply:
    server = ctx.server
    if len(argv) == 2:
        return [_info_reply(server, entry) for entry in entries(server)]
    found = [lookup(server, name) for name in argv[2:]]
    return [None if entry is None else _info_reply(server, entry) for entry in found]


@command("command|list")
def command_list(ctx: Session, argv: list[bytes]) -> Reply:
    server = ctx.server
    everything = [each for outer in entries(server) for each in (outer, *subcommands(outer))]
    if len(argv) == 2:
        return [entry.name.encode() for entry in everything]
    if len(argv) != 5 or argv[2].lower() != b"filterby":
        raise syntax_error()
    kind, filter_value = argv[3].lower(), argv[4]
    if kind not in (b"module", b"aclcat", b"pattern"):
        raise syntax_error()
    category = filter_value.decode("utf-8", "replace").lower()
    matches = glob(filter_value, True)
    return [
        entry.name.encode()
        for entry in everything
        if (kind == b"aclcat" and category in entry.spec.categories)
        or (kind == b"pattern" and matches(entry.name.encode()))
    ]


def _keys_of(ctx: Session, argv: list[bytes]) -> list[Key]:
    entry = ctx.server.commands.get(argv[0].lower())
    if entry is not None and entry.subcommands is not None and len(argv) > 1:
        entry = entry.subcommands.get(argv[1].lower())
    if entry is None:
        raise RedisError("ERR Invalid command specified")
    if not has_keys(entry.spec):
        raise RedisError("ERR The command has no key arguments")
    if not entry.min_argc <= len(argv) <= entry.max_argc:
        raise RedisError("ERR Invalid number of arguments specified for command")
    found = keys(entry.spec, argv)
    if not found and "no_mandatory_keys" not in entry.flags:
        raise RedisError("ERR Invalid arguments specified for command")
    return found


@command("command|getkeys")
def command_getkeys(ctx: Session, argv: list[bytes]) -> Reply:
    return [argv[2 + key.position] for key in _keys_of(ctx, argv[2:])]


@command("command|getkeysandflags")
def command_getkeysandflags(ctx: Session, argv: list[bytes]) -> Reply:
    return [
        [argv[2 + key.position], SetReply(SimpleString(flag.encode()) for flag in key.flags)]
        for key in _keys_of(ctx, argv[2:])
    ]


@command("command|docs")
def command_docs(ctx: Session, argv: list[bytes]) -> Reply:
    server = ctx.server
    found = [lookup(server, name) for name in argv[2:]] or entries(server)
    reply: dict[Reply, Reply] = {}
    for entry in found:
        if entry is None:
            continue
        document = document_of(entry.spec, server.version)
        documented = document.get("subcommands", {})
        others = {
            sub.name: document_of(sub.spec, server.version)
            for sub in subcommands(entry)
            if sub.name not in documented
        }
        if others:
            document["subcommands"] = documented | others
        reply[entry.name.encode()] = _document_reply(server, document)
    return reply


def _document_reply(server: Server, document: dict[str, Any]) -> Reply:
    reply: dict[Reply, Reply] = {}
    for name, value in document.items():
        part: Reply
        if name == "arguments":
            part = [_document_reply(server, argument) for argument in value]
        elif name == "subcommands":
            part = {
                sub.encode(): _document_reply(server, text)
                for sub, text in value.items()
                if lookup(server, sub.encode()) is not None
            }
        elif name in ("flags", "doc_flags"):
            part = SetReply(SimpleString(flag.encode()) for flag in value)
        elif name == "history":
            part = SetReply([since.encode(), change.encode()] for since, change in value)
        else:
            part = value.encode() if isinstance(value, str) else value
        reply[name.encode()] = part
    return reply
