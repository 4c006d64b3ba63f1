"""INFO. The functions here compute the fields that change.

The sections, the fields and their order are data (``table/documents/info.json``). A field that no
function computes has the value that it has on an idle server, for example the fields about
persistence and the memory allocator.
"""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from redis_emulator.clients.access import REASONS
from redis_emulator.clients.description import client_size, used_memory
from redis_emulator.clients.session import Session
from redis_emulator.cluster.node import node_of
from redis_emulator.commands.helpers.arguments import syntax_error
from redis_emulator.commands.registry import command
from redis_emulator.keyspace.memory import empty_memory, human
from redis_emulator.resp.types import Reply, Verbatim
from redis_emulator.server.server import Server
from redis_emulator.table.documents import read, server_like
from redis_emulator.table.entry import Entry
from redis_emulator.values.kinds import type_name

_NON_DEFAULT_SECTIONS: Final = frozenset({"commandstats", "latencystats", "cluster info"})
_DENIED_NAMES: Final = {b"command": "cmd", b"database": "db"}
_HISTOGRAM_NAMES: Final = {
    b"string": "strings_sizes",
    b"list": "lists_items",
    b"set": "sets_items",
    b"zset": "zsets_items",
    b"hash": "hashes_items",
}
_SAFE_CHARACTERS: Final = str.maketrans("#:\n\r", "____")
"""Characters that Redis replaces in error codes (``getSafeInfoString``)."""
Fields = dict[str, object]


def command_entries(server: Server) -> list[Entry]:
    """All commands and subcommands, which hold the statistics of their calls."""
    found = {id(entry): entry for entry in server.commands.values()}
    for entry in tuple(found.values()):
        for sub in (entry.subcommands or {}).values():
            found[id(sub)] = sub
    return list(found.values())


def _server(ctx: Session) -> Fields:
    server = ctx.server
    seconds = (server.keyspace.now - server.started_at) // 1000
    hz = server.config["hz"]
    return {
        "redis_version": server.version.compatible_text,
        "valkey_version": server.version.text,
        "server_name": "valkey",
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "multiplexing_api": "in-process",
        "process_id": os.getpid(),
        "run_id": server.run_id.decode(),
        **({} if node_of(ctx) is None else {"redis_mode": "cluster", "server_mode": "cluster"}),
        "tcp_port": server.config["port"],
        "server_time_usec": server.clock.us(),
        "uptime_in_seconds": seconds,
        "uptime_in_days": seconds // 86400,
        "hz": hz,
        "configured_hz": hz,
        "lru_clock": server.keyspace.now // 1000 & 0xFFFFFF,
    }


def _clients(ctx: Session) -> Fields:
    server = ctx.server
    sessions = ctx.clients.by_id.values()
    keys = {key for key, waiting in ctx.clients.blocked.waiting.items() if waiting}
    pause = ctx.clients.pause
    return {
        "connected_clients": len(sessions),
        "maxclients": server.config["maxclients"],
        "blocked_clients": sum(session.blocked is not None for session in sessions),
        "tracking_clients": sum(session.tracking is not None for session in sessions),
        "pubsub_clients": sum(session.subscribed() for session in sessions),
        "watching_clients": sum(bool(session.watched) for session in sessions),
        "clients_in_timeout_table": sum(
            session.blocked is not None and session.blocked.deadline is not None
            for session in sessions
        ),
        "total_watched_keys": len(ctx.clients.watches.clients),
        "total_blocking_keys": len(keys),
        "paused_reason": "none" if pause is None else "client_pause",
        "paused_actions": "none" if pause is None else "write" if pause.writes_only else "all",
        "paused_timeout_milliseconds": 0 if pause is None else pause.until - server.keyspace.now,
    }


def _memory(ctx: Session) -> Fields:
    server = ctx.server
    clients = len(ctx.clients.by_id)
    used, startup = used_memory(server, clients), empty_memory(clients)
    server.peak_memory = max(server.peak_memory, used)
    peak = server.peak_memory
    numbers = server.config.numbers
    fields: Fields = {
        "used_memory": used,
        "used_memory_rss": used,
        "used_memory_peak": peak,
        "total_system_memory": 0,
        "maxmemory": numbers["maxmemory"],
        "allocator_allocated": used,
        "allocator_active": used,
        "allocator_resident": used,
    }
    fields |= {f"{name}_human": human(int(str(value))) for name, value in fields.items()}
    return fields | {
        "used_memory_peak_perc": f"{used / peak * 100:.2f}%",
        "used_memory_dataset": used - startup,
        "used_memory_startup": startup,
        "used_memory_overhead": startup,
        "used_memory_dataset_perc": "0.00%" if used == startup else "100.00%",
        "maxmemory_policy": server.config["maxmemory-policy"],
        "mem_allocator": "python",
        "mem_fragmentation_ratio": "1.00",
        "mem_fragmentation_bytes": 0,
        "allocator_frag_ratio": "1.00",
        "allocator_frag_bytes": 0,
        "allocator_rss_ratio": "1.00",
        "allocator_rss_bytes": 0,
        "rss_overhead_ratio": "1.00",
        "rss_overhead_bytes": 0,
        "mem_clients_normal": sum(map(client_size, ctx.clients.by_id.values())),
        "number_of_cached_scripts": 0 if ctx.engine.scripts is None else ctx.engine.scripts.count(),
        **server.stats.counters,
    }


def _persistence(ctx: Session) -> Fields:
    server = ctx.server
    return {
        "rdb_changes_since_last_save": server.keyspace.dirty,
        "rdb_last_save_time": server.saves.last_at // 1000,
        "rdb_saves": server.saves.count,
        "aof_enabled": int(server.config["appendonly"] == "yes"),
    }


def _stats(ctx: Session) -> Fields:
    server = ctx.server
    entries = command_entries(server)
    tracker, denied = ctx.clients.tracker, ctx.clients.access.denied
    return {
        "total_connections_received": server.stats.connections_received,
        "total_commands_processed": sum(entry.calls for entry in entries),
        "instantaneous_ops_per_sec": 0,
        "total_net_input_bytes": sum(s.bytes_in for s in ctx.clients.by_id.values()),
        "total_net_output_bytes": sum(s.bytes_out for s in ctx.clients.by_id.values()),
        "instantaneous_input_kbps": "0.00",
        "instantaneous_output_kbps": "0.00",
        "expired_subkeys": server.keyspace.stats.expired_fields,
        "expired_fields": server.keyspace.stats.expired_fields,
        "expired_keys": server.keyspace.stats.expired,
        "evicted_keys": server.keyspace.stats.evicted,
        "keyspace_hits": server.keyspace.stats.hits,
        "keyspace_misses": server.keyspace.stats.misses,
        "pubsub_channels": len(ctx.clients.pubsub.channels),
        "pubsub_patterns": len(ctx.clients.pubsub.patterns),
        "pubsubshard_channels": len(ctx.clients.pubsub.shard_channels),
        "total_error_replies": 0,
        "unexpected_error_replies": 0,
        **{
            f"acl_access_denied_{_DENIED_NAMES.get(word, word.decode())}": denied[reason]
            for reason, word in REASONS.items()
        },
        "tracking_total_keys": 0 if tracker is None else len(tracker.keys),
        "tracking_total_items": 0 if tracker is None else sum(map(len, tracker.keys.values())),
        "tracking_total_prefixes": 0 if tracker is None else len(tracker.prefixes),
        "total_reads_processed": sum(entry.calls for entry in entries),
        "total_writes_processed": sum(entry.calls for entry in entries),
        **server.stats.counters,
    }


def _replication(ctx: Session) -> Fields:
    server = ctx.server
    node = node_of(ctx)
    replication = (server if node is None else node.shard_master.server).replication
    fields: Fields = {
        "master_replid": replication.id,
        "master_replid2": replication.earlier_id,
        "second_repl_offset": replication.second_offset,
        "repl_backlog_size": server.config["repl-backlog-size"],
    }
    if node is not None and (node.master is not None or node.replicas()):
        offset = node.store.offset
        fields |= {
            "master_repl_offset": offset,
            "repl_backlog_active": 1,
            "repl_backlog_first_byte_offset": 1,
            "repl_backlog_histlen": offset,
        }
    return fields


def _replication_links(ctx: Session) -> Fields:
    """The fields of a replica about its master, or of a master about its replicas."""
    server = ctx.server
    node = node_of(ctx)
    if node is None:
        master = server.replication.master
        if master is None:
            return {}
        return _master_link(server, *master, up=False, offset=0)
    offset = node.store.offset
    if node.master is not None:
        return _master_link(
            server, *node.master.node_address, up=not node.master.down, offset=offset
        )
    kind = ",type=replica" if server.version.is_valkey() else ""
    up = [replica for replica in node.replicas() if not replica.down]
    return {"role": "master", "connected_slaves": len(up)} | {
        f"slave{index}": f"ip={each.host},port={each.port},state=online,offset={offset},lag=0{kind}"
        for index, each in enumerate(up)
    }


def _master_link(server: Server, host: str, port: int, *, up: bool, offset: int) -> Fields:
    """The fields of a replica about the link to its master."""
    valkey = server.version.is_valkey()
    fields: Fields = {
        "role": "slave",
        "master_host": host,
        "master_port": port,
        "master_link_status": "up" if up else "down",
        "master_last_io_seconds_ago": 0 if up else -1,
        "master_sync_in_progress": 0,
    }
    if not server.version.before(7):
        fields["slave_read_repl_offset"] = offset
    fields["slave_repl_offset"] = offset
    if valkey or server.version.is_redis(8):
        buffers = "replicas_repl_buffer" if valkey else "replica_full_sync_buffer"
        fields |= {f"{buffers}_size": 0, f"{buffers}_peak": 0}
    has_sync_counters = server.version.is_redis(8, 2)
    if has_sync_counters:
        fields |= {"master_current_sync_attempts": 1, "master_total_sync_attempts": 1}
    if not up:
        fields["master_link_down_since_seconds"] = -1
    elif has_sync_counters:
        fields["master_link_up_since_seconds"] = (server.keyspace.now - server.started_at) // 1000
    if has_sync_counters:
        fields["total_disconnect_time_sec"] = 0
    return fields | {
        "slave_priority": server.config["slave-priority"],
        "slave_read_only": int(server.config["slave-read-only"] == "yes"),
        "replica_announced": int(server.config["replica-announced"] == "yes"),
        "connected_slaves": 0,
    }


def _cpu(ctx: Session) -> Fields:
    times = os.times()
    return {
        "used_cpu_sys": f"{times.system:.6f}",
        "used_cpu_user": f"{times.user:.6f}",
        "used_cpu_sys_children": f"{times.children_system:.6f}",
        "used_cpu_user_children": f"{times.children_user:.6f}",
        "used_cpu_sys_main_thread": f"{times.system:.6f}",
        "used_cpu_user_main_thread": f"{times.user:.6f}",
        "used_active_time_main_thread": f"{time.thread_time():.6f}",
    }


def _commandstats(ctx: Session) -> Fields:
    server = ctx.server
    return {
        f"cmdstat_{entry.name}": f"calls={entry.calls},usec={entry.usec},"
        f"usec_per_call={entry.usec / entry.calls if entry.calls else 0:.2f},"
        f"rejected_calls={entry.rejected},failed_calls={entry.failed}"
        for entry in command_entries(server)
        if entry.calls or entry.rejected
    }


def _errorstats(ctx: Session) -> Fields:
    server = ctx.server
    counted = sorted(server.stats.errors.items())
    return {
        f"errorstat_{code.translate(_SAFE_CHARACTERS)}": f"count={count}" for code, count in counted
    }


def _latencystats(ctx: Session) -> Fields:
    server = ctx.server
    if server.config.values.get("latency-tracking") == "no":
        return {}
    percentiles = server.config.values.get("latency-tracking-info-percentiles", "").split()
    found: Fields = {}
    for entry in command_entries(server):
        if entry.calls:
            mean = f"{entry.usec / entry.calls:.3f}"
            found[f"latency_percentiles_usec_{entry.name}"] = ",".join(
                f"p{percentile}={mean}" for percentile in percentiles
            )
    return found


def _keyspace(ctx: Session) -> Fields:
    server = ctx.server
    found: Fields = {}
    version = server.version
    for db in server.databases:
        if not db.data:
            continue
        ttls = [at - server.keyspace.now for at in db.expires.values()]
        text = f"keys={len(db.data)},expires={len(ttls)}"
        text += f",avg_ttl={sum(ttls) // len(ttls) if ttls else 0}"
        if not version.before(7, 4):
            text += f",subexpiry={len(db.hash_deadlines)}"
        if server.version.is_valkey():
            text += f",keys_with_volatile_items={len(db.hash_deadlines)}"
        found[f"db{db.index}"] = text
    return found


def _key_sizes(ctx: Session) -> Fields:
    """Histograms of value sizes for each type. Sizes are rounded down to powers of two."""
    server = ctx.server
    found: Fields = {}
    for db in server.databases:
        has_sync_counters: dict[bytes, Counter[int]] = {
            kind: Counter() for kind in _HISTOGRAM_NAMES
        }
        for value in db.data.values():
            if (kind := type_name(value)) in has_sync_counters:
                has_sync_counters[kind][len(value).bit_length()] += 1  # type: ignore[arg-type]
        for kind, sizes in has_sync_counters.items():
            if sizes:
                found[f"db{db.index}_distrib_{_HISTOGRAM_NAMES[kind]}"] = ",".join(
                    f"{_size_label(bits)}={count}" for bits, count in sorted(sizes.items())
                )
    return found


def _size_label(bits: int) -> str:
    if bits == 0:
        return "0"
    unit, power = divmod(bits - 1, 10)
    return f"{1 << power}{' KMGTPE'[unit].strip()}"


def _event_loop(ctx: Session) -> Fields:
    server = ctx.server
    fields: Fields = {
        "eventloop_duration_aof_sum": 0,
        "eventloop_duration_cron_sum": 0,
        "eventloop_duration_max": 0,
        "eventloop_cmd_per_cycle_max": 1,
    }
    if server.version.is_valkey():
        fields |= {"io_threaded_reads_pending": 0, "io_threaded_writes_pending": 0}
    return fields


_COMPUTED_FIELDS: Final[dict[str, Callable[[Session], Fields]]] = {
    "Server": _server,
    "Clients": _clients,
    "Memory": _memory,
    "Persistence": _persistence,
    "Stats": _stats,
    "Replication": _replication,
    "CPU": _cpu,
}
_COMPUTED_SECTIONS: Final[dict[str, Callable[[Session], Fields]]] = {
    "Commandstats": _commandstats,
    "Errorstats": _errorstats,
    "Latencystats": _latencystats,
    "Keyspace": _keyspace,
    "Keysizes": _key_sizes,
    "Debug": _event_loop,
}


def _section(ctx: Session, name: str, layout: dict[str, str]) -> str:
    fields: Fields
    if name in _COMPUTED_SECTIONS:
        fields = _COMPUTED_SECTIONS[name](ctx)
    elif name in _COMPUTED_FIELDS:
        computed = _COMPUTED_FIELDS[name](ctx)
        fields = {field: computed.get(field, value) for field, value in layout.items()}
        if name == "Replication" and (links := _replication_links(ctx)):
            fields = links | {
                field: value
                for field, value in fields.items()
                if field not in ("role", "connected_slaves")
            }
    elif name in ("Modules", "Threads", "TLS"):
        fields = {}
    else:
        fields = dict(layout)
        if name == "Cluster" and node_of(ctx) is not None:
            fields["cluster_enabled"] = 1
    return f"# {name}\r\n" + "".join(f"{field}:{value}\r\n" for field, value in fields.items())


@command("info")
def info(ctx: Session, argv: list[bytes]) -> Reply:
    server = ctx.server
    if len(argv) > 2 and server.version.before(7):
        raise syntax_error()
    layout = read("info", server_like(server.version))
    requested = {word.decode("utf-8", "replace").lower() for word in argv[1:]} or {"default"}
    everything = bool(requested & {"all", "everything"})
    sections = [
        _section(ctx, name, fields)
        for name, fields in layout.items()
        if everything
        or name.lower() in requested
        or ("default" in requested and name.lower() not in _NON_DEFAULT_SECTIONS)
    ]
    if "debug" in requested and not server.version.before(7, 2):
        sections.append(_section(ctx, "Debug", {}))
    return Verbatim("\r\n".join(sections).encode())
