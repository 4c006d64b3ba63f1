"""The command line: ``podlink demo``, ``ping``, ``drain``, ``inspect`` and ``repair``.

This module has the arguments, the output and the exit statuses. `podlink.demo`, `podlink.draining`
and the executor do the work. The URL of the server, with its password, comes from the environment
unless ``--url`` is given, because other users of a machine can read its command lines.
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
    help="redis://, rediss:// or unix:// of the server; by default PODLINK_REDIS_URL and the other "
    "PODLINK_REDIS_ variables of the environment.",
    show_default=False,
)
Url = Annotated[str | None, URL_OPTION]
Namespace = Annotated[str, typer.Argument(help="The namespace of the keys.")]
Service = Annotated[str, typer.Argument(help="The name of the service.")]
Uid = Annotated[
    str | None,
    typer.Option(help="The uid whose link to the service is meant; without it, the states."),
]

app = typer.Typer(
    help="Link users to the pods that hold their state, in Redis.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def demo(
    url: Annotated[
        str, typer.Option(help="redis://, rediss:// or unix:// of a server; emulator:// for none.")
    ] = "emulator://",
    users: Annotated[
        int, typer.Option(min=10, max=1_000_000, help="How many users to link.")
    ] = 3_000,
    seed: Annotated[int, typer.Option(help="Seeds who goes where.")] = 7,
) -> None:
    """Register services and pods, link users, let them reconnect and move, show who is where.

    On a server the demo uses a namespace of its own and removes it at the end.
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
        typer.Argument(help="redis://, rediss://, unix:// or emulator://; as --url."),
    ] = None,
    url_option: Url = None,
) -> None:
    """Say what answers at a URL; if nothing does, what is wrong, with exit status 1."""
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
    namespace: Annotated[str, typer.Argument(help="The namespace of the links.")],
    service: Annotated[str, typer.Argument(help="The service of the pod.")],
    pod: Annotated[int, typer.Argument(help="The pod that goes away.")],
    url: Url = None,
    to: Annotated[
        int | None, typer.Option(help="Move the links to this pod instead of removing them.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option(help="Go on where an interrupted drain said it had come to.")
    ] = None,
) -> None:
    """Remove or move every link to a pod, and say what was done.

    Exit status 1 if something failed or links could not be changed.
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
    """Show what is stored about a link or the states of a service, malformed or not."""
    try:
        with StatefulExecutor(_server(url)) as executor:
            if uid is None:
                found = executor.inspect_service(namespace, service)
            else:
                found = executor.inspect_link(namespace, uid, service)
    except StatefulError as error:
        _fail(f"podlink inspect: {error}")
    for stored in found:
        for line in _described(stored):
            typer.echo(line)


@app.command()
def repair(
    namespace: Namespace,
    service: Service,
    uid: Uid = None,
    url: Url = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
) -> None:
    """Delete malformed values of a link or of the states of a service, which block all writes."""
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
    for done in repairs:
        typer.echo(f"{done} (dry run)" if dry_run else str(done))
    if not repairs:
        typer.echo("nothing to repair")


def _described(stored: StoredKey) -> list[str]:
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
    """Return the URL of the command line, or the configuration of the environment.

    Raises:
        InvalidParameterError: neither names a server.
    """
    if url is not None:
        return url
    if not any(os.environ.get(f"{ENV_PREFIX}{name}") for name in _NAMES_A_SERVER):
        raise InvalidParameterError("no server: give --url or set PODLINK_REDIS_URL")
    return RedisConfig.from_env()


_NAMES_A_SERVER = ("URL", "HOST", "UNIX_SOCKET_PATH", "CLUSTER_NODES", "SENTINEL_NODES")


def _fail(message: str) -> NoReturn:
    """Print a message in one line to stderr, and exit with status 1."""
    typer.echo(" ".join(message.split()), err=True)
    raise typer.Exit(1)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
