"""Generates the synchronous executor, runner and router from the asyncio ones.

    python .ci/generate_sync.py            write the modules
    python .ci/generate_sync.py --check    exit 1 and name the modules that are not up to date

The source is rewritten as text: `SYNTAX` and `NAMES`, then the `TEXTS` of the module, which are
what its docstrings say otherwise. Two comments mark code that only one side has:

    some code  # async-only        left out; on the first line of a block, the whole block. An
                                   ``else`` of that block becomes unconditional.
    # sync-only: some code         becomes code

The result has its imports sorted and is formatted, both by ruff.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "podlink"

HEADER = "# Generated from aio/{module} by .ci/generate_sync.py: do not edit, run `make generate`."

SYNTAX = {
    r"\basync (def|with|for)\b": r"\1",
    r"\bawait ": "",
    r"\b__a(enter|exit|iter|next)__\b": r"__\1__",
    r"\bStopAsyncIteration\b": "StopIteration",
    r"\bAsync(Iterator|Iterable|Generator)\b": r"\1",
}

NAMES = {
    "AsyncLinkRouter": "LinkRouter",
    "AsyncRedisManager": "RedisManager",
    "AsyncStatefulExecutor": "StatefulExecutor",
    "AsyncTracker": "Tracker",
    "podlink.aio": "podlink",
    "redis.asyncio": "redis",
}

TEXTS = {
    "executor.py": {
        "the operations, for asyncio.": "the operations, synchronously.",
        "`podlink.executor` has the same methods without asyncio.": (
            "`podlink.aio.executor` has the same methods for asyncio."
        ),
        "Tasks may share one.": "Threads may share one.",
        """\
            an `RedisManager`, or a client (``redis.Redis``,
            ``redis.RedisCluster``).
""": """\
            a `RedisManager`, or a client (``redis.Redis``, ``redis.RedisCluster``).
""",
        "Without one, the manager's counts.\n": (
            "Without one, the manager's counts. On a\n"
            "    client that was handed in, each attempt takes as long as the client's own timeouts"
            " allow.\n"
        ),
        """\
        batching: send what concurrent tasks ask for in one turn of the event loop together; see
            `podlink.batching`. Such an executor belongs to one event loop.
""": "",
    },
    "running.py": {
        "runs an operation, for asyncio.": "runs an operation, synchronously.",
        "`podlink.running` is the same without asyncio.": (
            "`podlink.aio.running` is the same for asyncio."
        ),
        """\

    Attributes:
        batcher: sends the calls of concurrent tasks together.
""": "",
    },
    "router.py": {
        "if need be; for asyncio.": "if need be; synchronously.",
        "`podlink.router` is\nthe same without asyncio.": (
            "`podlink.aio.router`\nis the same for asyncio."
        ),
        "Tasks may share one.": "Threads may share one.",
        """\
    Use it in an ``with`` block, or `close` it: it has a connection and a task of its own,
    from the first `resolve` on, that hear of changed links. The executor stays open.
""": """\
    Use it in a ``with`` block, or `close` it: it has a connection and a thread of its own, from the
    first `resolve` on, that hear of changed links. The executor stays open.
""",
    },
}


def generate(module: str) -> str:
    """The synchronous form of ``aio/<module>``.

    Raises:
        SystemExit: it lacks a text of `TEXTS`.
    """
    path = PACKAGE / "aio" / module
    lines = select_sync_code(path.read_text(encoding="utf-8").split("\n"))
    source = "\n".join([HEADER.format(module=module), *lines])
    for pattern, replacement in SYNTAX.items():
        source = re.sub(pattern, replacement, source)
    for name, replacement in NAMES.items():
        source = re.sub(rf"\b{re.escape(name)}\b", replacement, source)
    for text, replacement in TEXTS[module].items():
        if text not in source:
            raise SystemExit(f"{path}: TEXTS of {__file__} replaces what is not there: {text!r}")
        source = source.replace(text, replacement)
    return format_source(source, PACKAGE / module)


def select_sync_code(lines: list[str]) -> list[str]:
    """The lines without what is marked ``async-only``, and with what is marked ``sync-only``."""
    selected: list[str] = []
    place = 0
    while place < len(lines):
        line = lines[place]
        place += 1
        code, marker, _ = line.partition("# async-only")
        if not marker:
            selected.append(re.sub(r"# sync-only: ", "", line))
        elif code.rstrip().endswith(":"):
            place = end_of_block(lines, place, indent(line))
            if place < len(lines) and lines[place] == " " * indent(line) + "else:":
                end = end_of_block(lines, place + 1, indent(line))
                selected += [inner[4:] for inner in lines[place + 1 : end]]
                place = end
    return selected


def end_of_block(lines: list[str], place: int, outer: int) -> int:
    """The first line from ``place`` on that is not indented deeper than ``outer``."""
    while place < len(lines) and (not lines[place].strip() or indent(lines[place]) > outer):
        place += 1
    return place


def indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def format_source(source: str, path: Path) -> str:
    """The source with sorted imports, as ``ruff format`` leaves it."""
    for arguments in (["check", "--select", "I,F401", "--fix"], ["format"]):
        source = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments, "--quiet", "--stdin-filename", path, "-"],
            input=source, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True,
        ).stdout  # fmt: skip
    return source


def main() -> int:
    """Write the modules, or check them."""
    differing = []
    for module in TEXTS:
        path, source = PACKAGE / module, generate(module)
        if path.read_text(encoding="utf-8") != source:
            differing.append(module)
            if "--check" not in sys.argv[1:]:
                path.write_text(source, encoding="utf-8")
    if differing and "--check" in sys.argv[1:]:
        print(
            f"{', '.join(differing)}: not what .ci/generate_sync.py makes of aio/: "
            "change that and run `make generate`",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
