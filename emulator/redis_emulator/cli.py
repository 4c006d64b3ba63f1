"""The command line program ``redis-emulator``: serves an emulator over TCP, for any client."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence

from redis_emulator.cluster_emulator import ClusterEmulator
from redis_emulator.standalone import RedisEmulator
from redis_emulator.version import latest


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGINT, SIGTERM or the command SHUTDOWN; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.cluster is None and options.cluster_replicas is not None:
        parser.error("--cluster-replicas needs --cluster")
    if options.cluster is not None:
        if options.unixsocket is not None:
            parser.error(
                "--cluster cannot be combined with --unixsocket; nodes listen on ports only"
            )
        return _serve_cluster(options)
    try:
        emulator = RedisEmulator(
            version=options.version or latest(options.flavour),
            flavour=options.flavour,
            seed=options.seed,
        )
        if options.requirepass:
            emulator.execute("CONFIG", "SET", "requirepass", options.requirepass)
        server = emulator.serve(
            host=options.bind, port=options.port or None, unixsocket=options.unixsocket
        )
    except (OSError, ValueError) as error:
        print(f"redis-emulator: {error}", file=sys.stderr)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop())
    print(f"{emulator!r} is ready on {server.url}", flush=True)
    server.wait()
    return 0


def _serve_cluster(options: argparse.Namespace) -> int:
    """Serve a cluster, each node on its own port, until SIGINT or SIGTERM."""
    try:
        cluster = ClusterEmulator(
            nodes=options.cluster,
            replicas=1 if options.cluster_replicas is None else options.cluster_replicas,
            version=options.version,
            flavour=options.flavour,
            seed=options.seed,
        )
        for node in cluster.nodes if options.requirepass else ():
            node.execute("CONFIG", "SET", "requirepass", options.requirepass)
        stop = threading.Event()
        with cluster.serve(host=options.bind, port=options.port):
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: stop.set())
            ports = ", ".join(str(node.port) for node in cluster.nodes)
            print(f"{cluster!r} is ready on {options.bind}, ports {ports}", flush=True)
            while not stop.wait(0.5) and not all(node.is_down for node in cluster.nodes):
                pass
    except (OSError, ValueError) as error:
        print(f"redis-emulator: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="redis-emulator", description="Serve a Redis emulator that runs in a Python process."
    )
    parser.add_argument("--port", type=int, default=6379, help="TCP port (6379); 0 for none")
    parser.add_argument("--bind", default="127.0.0.1", metavar="ADDRESS", help="address to bind")
    parser.add_argument("--unixsocket", metavar="PATH", help="unix socket to listen on as well")
    parser.add_argument("--requirepass", metavar="PASSWORD", help="password of the default user")
    parser.add_argument("--version", metavar="SERIES", help="the release to emulate, such as 7.4")
    parser.add_argument("--flavour", default="redis", help="redis (the default) or valkey")
    parser.add_argument(
        "--cluster",
        type=int,
        metavar="N",
        help="serve a cluster of N masters on consecutive ports from --port",
    )
    parser.add_argument(
        "--cluster-replicas", type=int, metavar="N", help="replicas of each master (1)"
    )
    parser.add_argument(
        "--seed", type=int, help="seed for random results, to make them reproducible"
    )
    return parser
