"""The line of CLIENT LIST about a client, and the memory that a client uses."""

from __future__ import annotations

from typing import Final

from redis_emulator.clients.client import QUERY_BUFFER, Client
from redis_emulator.keyspace.memory import CLIENT, empty_memory, keys_memory
from redis_emulator.resp.types import quote
from redis_emulator.server.server import Server

_POINTER: Final = 8
_STRING_HEADER: Final = 6


def class_of(client: Client) -> str:
    """The client class for output buffer limits and CLIENT filters: ``normal`` or ``pubsub``."""
    return "pubsub" if client.subscribed() else "normal"


def flags_of(client: Client) -> str:
    """The letters of CLIENT LIST's field ``flags``."""
    tracking = client.tracking
    signs = (
        ("O", client.monitoring),
        ("P", client.subscribed()),
        ("x", client.queue is not None or client.executing is not None),
        ("b", client.blocked is not None),
        ("t", tracking is not None),
        ("R", tracking is not None and tracking.broken),
        ("B", tracking is not None and tracking.broadcast),
        ("d", client.dirty),
        ("U", client.kind == "unix"),
        ("r", client.readonly),
        ("e", client.no_evict),
        ("T", client.no_touch),
        ("I", client.import_source),
    )
    return "".join(sign for sign, on in signs if on) or "N"


def describe(client: Client, server: Server, asking: list[bytes] | None = None) -> str:
    """The line of CLIENT LIST about ``client``.

    Args:
        client: The client.
        server: Its server.
        asking: The running command, if ``client`` sent it; None for other clients.
    """
    now = server.keyspace.now
    version = server.version

    valkey = version.is_valkey()
    asked = b"*%d\r\n" % len(asking) if asking else b""
    asked += b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in asking or ())
    last = client.last_command
    name = (
        "NULL" if last is None else last.name if not version.before(7) else last.name.split("|")[0]
    )
    tracking = client.tracking
    buffers = client.buffers()
    if asking:
        buffers = buffers._replace(
            query=len(asked), room=QUERY_BUFFER - len(asked), arguments=sum(map(len, asking))
        )
    elif client.blocked is not None:
        buffers = buffers._replace(arguments=sum(map(len, client.blocked.argv)))
    fields: list[tuple[str, object]] = [
        ("id", client.id),
        ("addr", client.addr),
        ("laddr", client.laddr),
        ("fd", client.id + 7),
        ("name", quote(client.name)),
        ("age", max(0, now - client.connected_at) // 1000),
        ("idle", max(0, now - client.last_active) // 1000),
        ("flags", flags_of(client)),
    ]
    if valkey:
        fields.append(("capa", client.capabilities))
    fields += [
        ("db", client.db.index),
        ("sub", len(client.channels)),
        ("psub", len(client.patterns)),
    ]
    if not version.before(7):
        fields.append(("ssub", len(client.shard_channels)))
    idle = 0 if valkey and client.transactional else -1
    transaction = client.executing if client.queue is None else client.queue
    fields.append(("multi", idle if transaction is None else len(transaction)))
    if not version.before(7, 4) or valkey:
        fields.append(("watch", len(client.watched)))
    fields += [
        ("qbuf", buffers.query),
        ("qbuf-free", buffers.room),
        ("argv-mem", buffers.arguments),
    ]
    if not version.before(7):
        fields += [("multi-mem", multi_size(client)), ("rbs", 16384), ("rbp", 16384)]
    unsent = buffers.blocks or buffers.short
    fields += [
        ("obl", buffers.short),
        ("oll", buffers.blocks),
        ("omem", buffers.output()),
        ("tot-mem", client_size(client) + (20504 if asking else 0)),
        ("events", "rw" if unsent else "r"),
        ("cmd", name),
        ("user", client.user),
        ("redir", -1 if tracking is None else tracking.redirect),
    ]
    if not version.before(7):
        fields.append(("resp", client.protocol))
    if not version.before(7, 2):
        fields += [("lib-name", quote(client.lib_name)), ("lib-ver", quote(client.lib_ver))]
    if not version.before(8):
        fields.append(("io-thread", 0))
    if not version.before(8, 2) or valkey:
        fields += [
            ("tot-net-in", client.bytes_in),
            ("tot-net-out", client.bytes_out),
            ("tot-cmds", client.commands),
        ]
    return " ".join(f"{field}={value}" for field, value in fields)


def multi_size(client: Client) -> int:
    """Bytes of the commands that the client has queued in MULTI (``multi-mem``)."""
    transaction = client.executing if client.queue is None else client.queue
    return sum(len(arg) + _POINTER for _, argv in transaction or () for arg in argv)


def client_size(client: Client) -> int:
    """Bytes that a client uses, with its buffers (``tot-mem``)."""
    buffers = client.buffers()
    total = CLIENT + multi_size(client) + buffers.arguments
    if buffers.query:
        total += buffers.query + buffers.room + _STRING_HEADER
    if client.blocked is not None:
        total += sum(map(len, client.blocked.argv))
    return total + buffers.output()


def used_memory(server: Server, clients: int) -> int:
    """Bytes that a server uses for its keys, its clients and itself."""
    return empty_memory(clients) + keys_memory(server.databases)
