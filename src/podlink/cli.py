"""The command line: ``podlink demo``, ``podlink ping`` and ``podlink drain``.

What a command does is in `podlink.demo` and in the managers; here are arguments, output and exit
statuses.
"""

from __future__ import annotations

from typing import Annotated, NoReturn

from podlink.errors import StatefulError
from podlink.manager import RedisManager

try:
    import typer
    from rich.console import Console
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"the podlink command needs {missing.name}: pip install 'podlink[cli]'"
    ) from missing

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
    url: Annotated[str, typer.Argument(help="redis://, rediss://, unix:// or emulator://.")],
) -> None:
    """Say what answers at URL; if nothing does, what is wrong, with exit status 1."""
    try:
        with RedisManager(url) as manager:
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
    url: Annotated[str, typer.Option(help="redis://, rediss:// or unix:// of the server.")],
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
        complete = run(Console(), url, namespace, service, pod, to=to, resume=resume)
    except StatefulError as error:
        _fail(f"podlink drain: {error}")
    if not complete:
        raise typer.Exit(1)


def _fail(message: str) -> NoReturn:
    """Print one line and end with status 1."""
    typer.echo(" ".join(message.split()), err=True)
    raise typer.Exit(1)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
