"""The output of ``podlink drain``: a progress bar and a summary. `podlink.drain` does the work."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from podlink.calls import Call
from podlink.config import RedisConfig
from podlink.drain import DrainProgress
from podlink.errors import printable
from podlink.executor import StatefulExecutor
from podlink.management import translated_errors


def run(
    console: Console,
    source: str | RedisConfig,
    namespace: str,
    service: str,
    pod: int,
    *,
    to: int | None,
    resume: str | None,
) -> bool:
    """Drain a pod, and print the progress and a summary.

    Returns:
        Whether every link that was found was removed or moved, by this drain or another caller.

    Raises:
        StatefulError: the server cannot be reached or refuses a command, or an argument is invalid.
            If the drain had started, the value for ``--resume`` has been printed.
    """
    latest = DrainProgress()
    started = time.perf_counter()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[found]} found, {task.fields[done]} changed"),
        TimeElapsedColumn(),
        console=console,
    )
    with StatefulExecutor(source) as executor, bar:
        action = "removing links" if to is None else f"moving links to pod {to}"
        task = bar.add_task(
            f"{service} pod {pod}: {action}", total=size(executor), found="0", done="0"
        )

        def show(progress: DrainProgress) -> None:
            nonlocal latest
            latest = progress
            found, done = f"{progress.found:,}", f"{progress.done:,}"
            bar.update(task, completed=progress.scanned, found=found, done=done)

        try:
            latest = executor.drain_pod(
                namespace, service, pod, to, on_progress=show, resume=resume
            )
            bar.update(task, total=1, completed=1)
        finally:
            if latest.resume is not None:
                console.print(f"interrupted; continue with --resume {latest.resume!r}")
    _summarise(console, latest, time.perf_counter() - started, to)
    return not latest.failed


def size(executor: StatefulExecutor) -> int:
    """Return the number of keys on all nodes.

    Raises:
        StatefulError: the server cannot be reached, or refuses DBSIZE.
    """
    call: Call[Any] = Call("drain_pod", ("DBSIZE",), (), lambda call, reply: reply)
    manager = executor.manager
    with translated_errors("counting the keys"):
        # Not with RAW: redis-py's cluster client cannot combine it with DBSIZE.
        return sum(manager.send_to(node, call, {}) for node in manager.nodes())


def _summarise(console: Console, progress: DrainProgress, seconds: float, to: int | None) -> None:
    table = Table("links", "", title_justify="left", show_header=False)
    table.add_row("found", f"{progress.found:,}")
    table.add_row("removed" if to is None else f"moved to pod {to}", f"{progress.done:,}")
    table.add_row("linked to another pod meanwhile", f"{progress.changed:,}")
    table.add_row("failed", f"{progress.failed:,}")
    table.add_row("links per second", f"{progress.found / seconds:,.0f}")
    console.print(table)
    for uid, error in progress.failures:
        console.print(f"failed: {printable(uid)}: {error}", markup=False)
