"""SLOWLOG, LATENCY, MONITOR and MEMORY. The logs are in `redis_emulator.server.logs`."""

from __future__ import annotations

from redis_emulator.clients.description import used_memory
from redis_emulator.clients.session import Session
from redis_emulator.commands.helpers.arguments import (
    parse_integer,
    syntax_error,
    unknown_subcommand,
)
from redis_emulator.commands.info import command_entries
from redis_emulator.commands.registry import command
from redis_emulator.keyspace.memory import empty_memory, key_size
from redis_emulator.resp.types import NO_REPLY, OK, RedisError, Reply, Verbatim

_DISABLED = (
    "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this {} instance. You "
    'may use "CONFIG SET latency-monitor-threshold <milliseconds>." in order to enable it.{}\n'
)
_DOCS_LINK = (
    " If we weren't in a deep space mission I'd suggest to take a look at https://redis.io/{}."
)
_DOCS_PATH = "docs/latest/operate/oss_and_stack/management/optimization/latency-monitor"
_NO_SPIKES = "Dave, no latency spike was observed during the lifetime of this {} instance.\n"
_EMPTY = (
    "Hi Sam, this instance is empty or is using very little memory, my issues detector can't be "
    "used in these conditions. Please, leave for your mission on Earth and fill it with some "
    "data. The new Sam and I will be back to our programming as soon as I finished rebooting.\n"
)
_HEALTHY = "Hi Sam, I can't find any memory issue in your instance.\n"
_DOCTOR_MINIMUM = 5 << 20


@command("slowlog|get")
def slowlog_get(ctx: Session, argv: list[bytes]) -> Reply:
    log = ctx.server.logs.slow.entries
    count = 10
    if len(argv) > 3:
        raise unknown_subcommand(ctx.server.version, argv)
    if len(argv) == 3:
        modern = not ctx.server.version.before(7)
        bad_count = "ERR count should be greater than or equal to -1"
        count = parse_integer(argv[2], bad_count) if modern else parse_integer(argv[2])
        if modern and count < -1:
            raise RedisError(bad_count)
        if count == -1:
            count = len(log)
    return [
        [entry.id, entry.seconds, entry.us, list(entry.argv), entry.addr.encode(), entry.name]
        for entry, _ in zip(log, range(count), strict=False)
    ]


@command("slowlog|len")
def slowlog_len(ctx: Session, argv: list[bytes]) -> Reply:
    return len(ctx.server.logs.slow.entries)


@command("slowlog|reset")
def slowlog_reset(ctx: Session, argv: list[bytes]) -> Reply:
    ctx.server.logs.slow.entries.clear()
    return OK


@command("latency|latest")
def latency_latest(ctx: Session, argv: list[bytes]) -> Reply:
    latency = ctx.server.logs.latency
    return [
        [event.encode(), *samples[-1], latency.worst[event]]
        for event, samples in latency.events.items()
    ]


@command("latency|history")
def latency_history(ctx: Session, argv: list[bytes]) -> Reply:
    event = argv[2].decode("utf-8", "replace")
    return [list(sample) for sample in ctx.server.logs.latency.events.get(event, ())]


@command("latency|reset")
def latency_reset(ctx: Session, argv: list[bytes]) -> Reply:
    latency = ctx.server.logs.latency
    events = [raw.decode("utf-8", "replace") for raw in argv[2:]] or list(latency.events)
    return sum(latency.events.pop(event, None) is not None for event in events)


@command("latency|graph")
def latency_graph(ctx: Session, argv: list[bytes]) -> Reply:
    event = argv[2].decode("utf-8", "replace")
    latency = ctx.server.logs.latency
    samples = latency.events.get(event)
    if not samples:
        raise RedisError(f"ERR No samples available for event '{event}'")
    values = [ms for _, ms in samples]
    high, low = max(values), min(values)
    head = f"{event} - high {high} ms, low {low} ms (all time high {latency.worst[event]} ms)"
    steps = [(value - low) * 3 // (high - low or 1) for value in values]
    rows = (
        "".join("#" if step == level else "|" if step > level else " " for step in steps)
        for level in (3, 2, 1, 0)
    )
    text = "\n".join((head, "-" * 80, *(row if row.strip() else "" for row in rows)))
    return Verbatim(f"{text}\n".encode())


@command("latency|doctor")
def latency_doctor(ctx: Session, argv: list[bytes]) -> Reply:
    server = ctx.server
    name = server.version.flavour.capitalize()
    if not server.config.numbers["latency-monitor-threshold"]:
        docs_link = ""
        if server.version.is_redis():
            old = server.version.before(7, 4)
            docs_link = _DOCS_LINK.format("topics/latency-monitor" if old else _DOCS_PATH)
        return Verbatim(_DISABLED.format(name, docs_link).encode())
    if not server.logs.latency.events:
        return Verbatim(_NO_SPIKES.format(name).encode())
    lines = ["Dave, I have observed latency spikes in this instance.", ""]
    for number, (event, samples) in enumerate(server.logs.latency.events.items(), 1):
        values = [ms for _, ms in samples]
        mean = sum(values) / len(values)
        worst = server.logs.latency.worst[event]
        lines.append(
            f"{number}. {event}: {len(values)} latency spikes (average {mean:.0f}ms). "
            f"Worst all time event {worst}ms."
        )
    return Verbatim(("\n".join(lines) + "\n").encode())


@command("latency|histogram")
def latency_histogram(ctx: Session, argv: list[bytes]) -> Reply:
    names = {raw.lower().decode("utf-8", "replace") for raw in argv[2:]}
    found: dict[Reply, Reply] = {}
    for entry in command_entries(ctx.server):
        matches = not names or entry.name in names or entry.name.split("|")[0] in names
        if matches and entry.calls:
            bucket = 1 << max(entry.usec // entry.calls - 1, 0).bit_length()
            found[entry.name.encode()] = {
                b"calls": entry.calls,
                b"histogram_usec": {bucket: entry.calls},
            }
    return found


@command("monitor")
def monitor(ctx: Session, argv: list[bytes]) -> Reply:
    if not ctx.can_block:
        raise RedisError("ERR MONITOR isn't allowed for DENY BLOCKING client")
    if ctx in ctx.clients.monitors:
        return NO_REPLY
    ctx.monitoring = True
    ctx.clients.monitors[ctx] = None
    ctx.refresh()
    ctx.engine.refresh()
    return OK


@command("memory|usage")
def memory_usage(ctx: Session, argv: list[bytes]) -> Reply:
    samples = 5
    for index in range(3, len(argv), 2):
        if argv[index].lower() != b"samples" or index + 1 == len(argv):
            raise syntax_error()
        samples = parse_integer(argv[index + 1])
        if samples < 0:
            raise syntax_error()
    return key_size(ctx.db, argv[2], samples) if argv[2] in ctx.db.data else None


@command("memory|doctor")
def memory_doctor(ctx: Session, argv: list[bytes]) -> Reply:
    text = _EMPTY if used_memory(ctx.server, len(ctx.clients.by_id)) < _DOCTOR_MINIMUM else _HEALTHY
    return Verbatim(text.encode())


@command("memory|purge")
def memory_purge(ctx: Session, argv: list[bytes]) -> Reply:
    return OK


@command("memory|malloc-stats")
def memory_malloc_stats(ctx: Session, argv: list[bytes]) -> Reply:
    return Verbatim(b"Stats not supported for the current allocator")


@command("memory|stats")
def memory_stats(ctx: Session, argv: list[bytes]) -> Reply:
    server = ctx.server
    clients = len(ctx.clients.by_id)
    used, startup = used_memory(server, clients), empty_memory(clients)
    server.peak_memory = max(server.peak_memory, used)
    count = sum(len(db.data) for db in server.databases)
    found: dict[Reply, Reply] = {
        b"peak.allocated": server.peak_memory,
        b"total.allocated": used,
        b"startup.allocated": startup,
        b"replication.backlog": 0,
        b"clients.slaves": 0,
        b"clients.normal": 0,
        b"cluster.links": 0,
        b"aof.buffer": 0,
        b"lua.caches": 0,
        b"functions.caches": 0,
    }
    for db in server.databases:
        if db.data:
            found[b"db.%d" % db.index] = {
                b"overhead.hashtable.main": 32 * len(db.data),
                b"overhead.hashtable.expires": 32 * len(db.expires),
            }
    return found | {
        b"overhead.total": startup,
        b"keys.count": count,
        b"keys.bytes-per-key": (used - startup) // count if count else 0,
        b"dataset.bytes": used - startup,
        b"dataset.percentage": 100.0 if used > startup else 0.0,
        b"peak.percentage": used / server.peak_memory * 100,
        b"allocator.allocated": used,
        b"allocator.active": used,
        b"allocator.resident": used,
        b"allocator-fragmentation.ratio": 1.0,
        b"allocator-fragmentation.bytes": 0,
        b"allocator-rss.ratio": 1.0,
        b"allocator-rss.bytes": 0,
        b"rss-overhead.ratio": 1.0,
        b"rss-overhead.bytes": 0,
        b"fragmentation": 1.0,
        b"fragmentation.bytes": 0,
    }
