"""The Pub/Sub commands: channels, patterns and shard channels.

The commands that subscribe and unsubscribe confirm each channel with a push message. All
confirmations but the last are delivered while the command runs. The last one is the reply of the
command, so that in a transaction it has its position among the replies of EXEC.
"""

from __future__ import annotations

from collections.abc import Sequence

from redis_emulator.clients.pubsub import Subscribers
from redis_emulator.clients.session import Session
from redis_emulator.cluster.node import node_of
from redis_emulator.commands.helpers.arguments import unknown_subcommand
from redis_emulator.commands.registry import command
from redis_emulator.glob import glob
from redis_emulator.resp.types import Push, RedisError, Reply


def _subscribe(
    ctx: Session, argv: list[bytes], own: dict[bytes, None], subscribers: Subscribers
) -> Reply:
    in_shard = subscribers is ctx.clients.pubsub.shard_channels
    if not (ctx.can_block if in_shard else ctx.can_subscribe):
        name = argv[0].decode().upper()
        raise RedisError(f"ERR {name} isn't allowed for a DENY BLOCKING client")
    word = argv[0].lower()
    confirmations: list[Push] = []
    for channel in argv[1:]:
        if channel not in own:
            own[channel] = None
            subscribers.setdefault(channel, {})[ctx] = None
        confirmations.append(Push((word, channel, _subscription_count(ctx, word))))
    return _deliver_confirmations(ctx, confirmations)


def _unsubscribe(
    ctx: Session, argv: list[bytes], own: dict[bytes, None], subscribers: Subscribers
) -> Reply:
    word = argv[0].lower()
    confirmations: list[Push] = []
    for channel in argv[1:] or tuple(own):
        if channel in own:
            del own[channel]
            del subscribers[channel][ctx]
            if not subscribers[channel]:
                del subscribers[channel]
        confirmations.append(Push((word, channel, _subscription_count(ctx, word))))
    return _deliver_confirmations(
        ctx, confirmations or [Push((word, None, _subscription_count(ctx, word)))]
    )


def _subscription_count(ctx: Session, word: bytes) -> int:
    if word in (b"ssubscribe", b"sunsubscribe"):
        return len(ctx.shard_channels)
    return ctx.subscription_count()


def _deliver_confirmations(ctx: Session, confirmations: Sequence[Push]) -> Reply:
    ctx.refresh()
    for message in confirmations[:-1]:
        ctx.deliver(message)
    return confirmations[-1]


@command("subscribe")
def subscribe(ctx: Session, argv: list[bytes]) -> Reply:
    return _subscribe(ctx, argv, ctx.channels, ctx.clients.pubsub.channels)


@command("unsubscribe")
def unsubscribe(ctx: Session, argv: list[bytes]) -> Reply:
    return _unsubscribe(ctx, argv, ctx.channels, ctx.clients.pubsub.channels)


@command("psubscribe")
def psubscribe(ctx: Session, argv: list[bytes]) -> Reply:
    return _subscribe(ctx, argv, ctx.patterns, ctx.clients.pubsub.patterns)


@command("punsubscribe")
def punsubscribe(ctx: Session, argv: list[bytes]) -> Reply:
    return _unsubscribe(ctx, argv, ctx.patterns, ctx.clients.pubsub.patterns)


@command("ssubscribe")
def ssubscribe(ctx: Session, argv: list[bytes]) -> Reply:
    return _subscribe(ctx, argv, ctx.shard_channels, ctx.clients.pubsub.shard_channels)


@command("sunsubscribe")
def sunsubscribe(ctx: Session, argv: list[bytes]) -> Reply:
    return _unsubscribe(ctx, argv, ctx.shard_channels, ctx.clients.pubsub.shard_channels)


@command("publish")
def publish(ctx: Session, argv: list[bytes]) -> Reply:
    node = node_of(ctx)
    if node is not None:
        node.broadcast(argv[1], argv[2])
    return ctx.clients.pubsub.publish(argv[1], argv[2])


@command("spublish")
def spublish(ctx: Session, argv: list[bytes]) -> Reply:
    node = node_of(ctx)
    for mate in () if node is None else node.other_shard_nodes():
        mate.engine.clients.pubsub.publish_in_shard(argv[1], argv[2])
    return ctx.clients.pubsub.publish_in_shard(argv[1], argv[2])


def _channels(ctx: Session, argv: list[bytes], subscribers: Subscribers) -> Reply:
    if len(argv) > 3:
        raise unknown_subcommand(ctx.server.version, argv)
    if len(argv) == 2:
        return list(subscribers)
    matches = glob(argv[2])
    return [channel for channel in subscribers if matches(channel)]


def _subscriber_counts(argv: list[bytes], subscribers: Subscribers) -> Reply:
    return [part for name in argv[2:] for part in (name, len(subscribers.get(name, ())))]


@command("pubsub|channels")
def pubsub_channels(ctx: Session, argv: list[bytes]) -> Reply:
    return _channels(ctx, argv, ctx.clients.pubsub.channels)


@command("pubsub|shardchannels")
def pubsub_shardchannels(ctx: Session, argv: list[bytes]) -> Reply:
    return _channels(ctx, argv, ctx.clients.pubsub.shard_channels)


@command("pubsub|numsub")
def pubsub_numsub(ctx: Session, argv: list[bytes]) -> Reply:
    return _subscriber_counts(argv, ctx.clients.pubsub.channels)


@command("pubsub|shardnumsub")
def pubsub_shardnumsub(ctx: Session, argv: list[bytes]) -> Reply:
    return _subscriber_counts(argv, ctx.clients.pubsub.shard_channels)


@command("pubsub|numpat")
def pubsub_numpat(ctx: Session, argv: list[bytes]) -> Reply:
    return len(ctx.clients.pubsub.patterns)
