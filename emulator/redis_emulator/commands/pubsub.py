"""Publish and subscribe: channels, patterns, shard channels.

A confirmation is a push message, one for each channel. All but the last are delivered on the way,
the last is the command's reply, so that it takes its place among the replies of a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from redis_emulator.clients.session import Session
from redis_emulator.commands.registry import command
from redis_emulator.glob import glob
from redis_emulator.resp.types import Push, RedisError, Reply
from redis_emulator.server.server import Server

Listeners = dict[bytes, dict[Session, None]]


def _subscribe(
    ctx: Session, argv: list[bytes], mine: dict[bytes, None], everybody: Listeners
) -> Reply:
    if ctx.deny_blocking and (ctx.script is not None or everybody is ctx.server.shard_channels):
        name = argv[0].decode().upper()
        raise RedisError(f"ERR {name} isn't allowed for a DENY BLOCKING client")
    word = argv[0].lower()
    told: list[Push] = []
    for channel in argv[1:]:
        if channel not in mine:
            mine[channel] = None
            everybody.setdefault(channel, {})[ctx] = None
        told.append(Push((word, channel, _count(ctx, word))))
    return _tell(ctx, told)


def _unsubscribe(
    ctx: Session, argv: list[bytes], mine: dict[bytes, None], everybody: Listeners
) -> Reply:
    word = argv[0].lower()
    told: list[Push] = []
    for channel in argv[1:] or tuple(mine):
        if channel in mine:
            del mine[channel]
            del everybody[channel][ctx]
            if not everybody[channel]:
                del everybody[channel]
        told.append(Push((word, channel, _count(ctx, word))))
    return _tell(ctx, told or [Push((word, None, _count(ctx, word)))])


def _count(ctx: Session, word: bytes) -> int:
    if word in (b"ssubscribe", b"sunsubscribe"):
        return len(ctx.shard_channels)
    return ctx.subscription_count()


def _tell(ctx: Session, told: Sequence[Push]) -> Reply:
    ctx.refresh()
    for message in told[:-1]:
        ctx.deliver(message)
    return told[-1]


@command("subscribe")
def subscribe(ctx: Session, argv: list[bytes]) -> Reply:
    return _subscribe(ctx, argv, ctx.channels, ctx.server.channels)


@command("unsubscribe")
def unsubscribe(ctx: Session, argv: list[bytes]) -> Reply:
    return _unsubscribe(ctx, argv, ctx.channels, ctx.server.channels)


@command("psubscribe")
def psubscribe(ctx: Session, argv: list[bytes]) -> Reply:
    return _subscribe(ctx, argv, ctx.patterns, ctx.server.patterns)


@command("punsubscribe")
def punsubscribe(ctx: Session, argv: list[bytes]) -> Reply:
    return _unsubscribe(ctx, argv, ctx.patterns, ctx.server.patterns)


@command("ssubscribe")
def ssubscribe(ctx: Session, argv: list[bytes]) -> Reply:
    return _subscribe(ctx, argv, ctx.shard_channels, ctx.server.shard_channels)


@command("sunsubscribe")
def sunsubscribe(ctx: Session, argv: list[bytes]) -> Reply:
    return _unsubscribe(ctx, argv, ctx.shard_channels, ctx.server.shard_channels)


@command("publish")
def publish(ctx: Session, argv: list[bytes]) -> Reply:
    if ctx.server.cluster is not None:
        ctx.server.cluster.broadcast(argv[1], argv[2])
    return ctx.server.publish(argv[1], argv[2])


@command("spublish")
def spublish(ctx: Session, argv: list[bytes]) -> Reply:
    if ctx.server.cluster is not None:
        for node in ctx.server.cluster.shard_mates():
            _publish_in_shard(node.server, argv)
    return _publish_in_shard(ctx.server, argv)


def _publish_in_shard(server: Server, argv: list[bytes]) -> int:
    listeners = tuple(server.shard_channels.get(argv[1], ()))
    for listener in listeners:
        listener.deliver(Push((b"smessage", argv[1], argv[2])))
    return len(listeners)


def _channels(ctx: Session, argv: list[bytes], everybody: Listeners) -> Reply:
    if len(argv) > 3:
        raise ctx.server.wrong_words(argv)
    if len(argv) == 2:
        return list(everybody)
    matches = glob(argv[2])
    return [channel for channel in everybody if matches(channel)]


def _listeners(argv: list[bytes], everybody: Listeners) -> Reply:
    return [part for name in argv[2:] for part in (name, len(everybody.get(name, ())))]


@command("pubsub|channels")
def pubsub_channels(ctx: Session, argv: list[bytes]) -> Reply:
    return _channels(ctx, argv, ctx.server.channels)


@command("pubsub|shardchannels")
def pubsub_shardchannels(ctx: Session, argv: list[bytes]) -> Reply:
    return _channels(ctx, argv, ctx.server.shard_channels)


@command("pubsub|numsub")
def pubsub_numsub(ctx: Session, argv: list[bytes]) -> Reply:
    return _listeners(argv, ctx.server.channels)


@command("pubsub|shardnumsub")
def pubsub_shardnumsub(ctx: Session, argv: list[bytes]) -> Reply:
    return _listeners(argv, ctx.server.shard_channels)


@command("pubsub|numpat")
def pubsub_numpat(ctx: Session, argv: list[bytes]) -> Reply:
    return len(ctx.server.patterns)
