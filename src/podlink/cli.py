"""The command line: ``podlink demo``, ``ping``, ``drain``, ``inspect`` and ``repair``.

This module defines the arguments, the output and the exit statuses. `podlink.demo`,
`podlink.draining` and the executor do the work. Without ``--url``, the URL is read from the
environment: other users of the machine can read a password on the command line.
"""

from __future__ import annotations

import os
from typing import Annotated, NoReturn

from podlink.config import ENV_PREFIX, RedisConfig
from podlink.errors import InvalidParameterError, StatefulError, printable
from podlink.executor import StatefulExecutor
from podlink.manager import RedisManager
from podlink.models import Repair, StoredKey

try:
    import typer
    from rich.console import Console
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"the podlink command needs {missing.name}: pip install 'podlink[cli]'"
    ) from missing

URL_OPTION = typer.Option(
    "--url",
    help="URL of the server (redis://, rediss://, unix:// …). Default: the environment variables "
    "PODLINK_REDIS_URL and PODLINK_REDIS_*.",
    show_default=False,
)
Url = Annotated[str | None, URL_OPTION]
Namespace = Annotated[str, typer.Argument(help="Namespace of the keys.")]
Service = Annotated[str, typer.Argument(help="Name of the service.")]
Uid = Annotated[
    str | None,
    typer.Option(help="Uid of a link to the service. Default: the states of the service."),
]

app = typer.Typer(
    help="Store in Redis which pod holds the state of which user.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def demo(
    url: Annotated[
        str, typer.Option(help="URL of the server; emulator:// needs no server.")
    ] = "emulator://",
    users: Annotated[
        int, typer.Option(min=10, max=1_000_000, help="Number of users to link.")
    ] = 3_000,
    seed: Annotated[int, typer.Option(help="Seed of the random choices.")] = 7,
) -> None:
    """Register services and pods, link users, let them reconnect and move, and show the links.

    On a server, the demo uses a separate namespace and deletes its keys at the end.
    """
    from podlink.demo import run

    try:
        run(Console(), url, users=users, seed=seed)
    except StatefulError as error:
        _fail(f"podlink demo: {error}")


@app.command()
def ping(
    url: Annotated[
        str | None,
        typer.Argument(help="URL of the server, same as --url."),
    ] = None,
    url_option: Url = None,
) -> None:
    """Print product, version and latency of a server.

    Exit status 1 if it cannot be reached; the reason is printed.
    """
    try:
        with RedisManager(_server(url if url_option is None else url_option)) as manager:
            status = manager.health_check()
    except StatefulError as error:
        _fail(f"podlink ping: {error}")
    if status.error is not None:
        _fail(f"podlink ping {status.url}: {status.error}")
    reached = " ".join(filter(None, (status.server, status.version))) or "a server that hides INFO"
    latency = 0.0 if status.latency is None else status.latency * 1000
    typer.echo(f"{status.url}: {reached} answered in {latency:.1f} ms")


@app.command()
def drain(
    namespace: Annotated[str, typer.Argument(help="Namespace of the links.")],
    service: Annotated[str, typer.Argument(help="Service of the pod.")],
    pod: Annotated[int, typer.Argument(help="Pod whose links are removed or moved.")],
    url: Url = None,
    to: Annotated[
        int | None, typer.Option(help="Move the links to this pod instead of removing them.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option(help="Continue an interrupted drain: the value that it printed.")
    ] = None,
) -> None:
    """Remove or move every link to a pod, and print a summary.

    Exit status 1 after an error, or if a link could not be changed.
    """
    from podlink.draining import run

    try:
        complete = run(Console(), _server(url), namespace, service, pod, to=to, resume=resume)
    except StatefulError as error:
        _fail(f"podlink drain: {error}")
    if not complete:
        raise typer.Exit(1)


@app.command()
def inspect(namespace: Namespace, service: Service, uid: Uid = None, url: Url = None) -> None:
    """Show the stored values of a link or of the states of a service, malformed or not."""
    try:
        with StatefulExecutor(_server(url)) as executor:
            if uid is None:
                found = executor.inspect_service(namespace, service)
            else:
                found = executor.inspect_link(namespace, uid, service)
    except StatefulError as error:
        _fail(f"podlink inspect: {error}")
    for stored in found:
        for line in _format_key(stored):
            typer.echo(line)


@app.command()
def repair(
    namespace: Namespace,
    service: Service,
    uid: Uid = None,
    url: Url = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the repairs without making them.")
    ] = False,
) -> None:
    """Delete malformed values of a link or of the states of a service: they block all writes."""
    try:
        with StatefulExecutor(_server(url)) as executor:
            repairs: list[Repair] = []
            if uid is None:
                repairs += executor.repair_service_state(namespace, service, dry_run=dry_run)
                repairs += executor.repair_workload_state(namespace, service, dry_run=dry_run)
            else:
                repairs += executor.repair_link(namespace, uid, service, dry_run=dry_run)
    except StatefulError as error:
        _fail(f"podlink repair: {error}")
    for made in repairs:
        typer.echo(f"{made} (dry run)" if dry_run else str(made))
    if not repairs:
        typer.echo("nothing to repair")


def _format_key(stored: StoredKey) -> list[str]:
    """Format a key as lines of output. Values are shown as Python bytes, so none is ambiguous."""
    key = printable(stored.key.decode(errors="backslashreplace"))
    ttl = "no TTL" if stored.ttl is None else f"TTL {stored.ttl:.3f} s"
    if stored.value is None:
        return [f"{key}: none"]
    if isinstance(stored.value, dict):
        fields = [f"  {field!r}: {value!r}" for field, value in stored.value.items()]
        return [f"{key}: {stored.type}, {ttl}", *fields]
    return [f"{key}: {stored.type}, {ttl}: {stored.value!r}"]


def _server(url: str | None) -> str | RedisConfig:
    """Return the URL of the command line, else the configuration from the environment.

    Raises:
        InvalidParameterError: the environment names no server.
    """
    if url is not None:
        return url
    if not any(os.environ.get(f"{ENV_PREFIX}{name}") for name in _ADDRESS_VARIABLES):
        raise InvalidParameterError("no server configured: give --url or set PODLINK_REDIS_URL")
    return RedisConfig.from_env()


_ADDRESS_VARIABLES = ("URL", "HOST", "UNIX_SOCKET_PATH", "CLUSTER_NODES", "SENTINEL_NODES")


def _fail(message: str) -> NoReturn:
    """Print a message to stderr, on one line, and exit with status 1."""
    typer.echo(" ".join(message.split()), err=True)
    raise typer.Exit(1)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
