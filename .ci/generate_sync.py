"""Generates the synchronous executor, runner and router from the asyncio modules in ``aio/``.

    python .ci/generate_sync.py            write the modules
    python .ci/generate_sync.py --check    exit 1 and name the modules that are not up to date

The source is rewritten as text: first the patterns in `SYNTAX`, then the names in `NAMES`, then the
`TEXTS` of the module, which are the docstring passages that differ. Two comments mark code that
exists in only one version:

    some code  # async-only        is left out. On the first line of a block it applies to the whole
                                   block; an ``else`` of that block becomes unconditional.
    # sync-only: some code         becomes code.

ruff then sorts the imports and formats the result.
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
        "the operations on links and states, for asyncio.": (
            "the operations on links and states, synchronously."
        ),
        "`podlink.executor` has the same methods without asyncio.": (
            "`podlink.aio.executor` has the same methods for asyncio."
        ),
        "Tasks may share one executor.": "Threads may share one executor.",
        """\
            an `RedisManager`, or a client (``redis.Redis``,
            ``redis.RedisCluster``).
""": """\
            a `RedisManager`, or a client (``redis.Redis``, ``redis.RedisCluster``).
""",
        "``None`` means the timeout of\n    the manager.\n": (
            "``None`` means the timeout of\n"
            "    the manager. With a client that was passed as ``source``, an attempt may take as"
            " long as the\n"
            "    timeouts of that client allow.\n"
        ),
        """\
        batching: send the calls that concurrent tasks make in one iteration of the event loop as
            one pipeline; see `podlink.batching`. Such an executor belongs to one event loop.
""": "",
    },
    "running.py": {
        "an operation is run, for asyncio.": "an operation is run, synchronously.",
        "`podlink.running` is the same without asyncio.": (
            "`podlink.aio.running` is the same for asyncio."
        ),
        """\

    Attributes:
        batcher: collects the calls of concurrent tasks into pipelines; ``None`` without batching.
""": "",
    },
    "router.py": {
        "a live pod, for asyncio.": "a live pod, synchronously.",
        "`podlink.router` is the same without asyncio.": (
            "`podlink.aio.router` is the same for asyncio."
        ),
        "Tasks may share one router.": "Threads may share one router.",
        """\
    Use it in an ``with`` block, or `close` it. The first `resolve` starts a task with its
    own connection, which receives the invalidation messages of the server. Closing the router does
    not close the executor.
""": """\
    Use it in a ``with`` block, or `close` it. The first `resolve` starts a thread with its own
    connection, which receives the invalidation messages of the server. Closing the router does not
    close the executor.
""",
    },
}


def generate(module: str) -> str:
    """Return the source of the synchronous version of ``aio/<module>``.

    Raises:
        SystemExit: a text in `TEXTS` does not occur in the source.
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
            raise SystemExit(f"{path} lacks a text that TEXTS in {__file__} replaces: {text!r}")
        source = source.replace(text, replacement)
    return format_source(source, PACKAGE / module)


def select_sync_code(lines: list[str]) -> list[str]:
    """Remove the lines marked ``async-only``, and uncomment those marked ``sync-only``."""
    selected: list[str] = []
    index = 0
    while index < len(lines):
        line = lines[index]
        index += 1
        code, marker, _ = line.partition("# async-only")
        if not marker:
            selected.append(re.sub(r"# sync-only: ", "", line))
        elif code.rstrip().endswith(":"):
            index = end_of_block(lines, index, indent(line))
            if index < len(lines) and lines[index] == " " * indent(line) + "else:":
                end = end_of_block(lines, index + 1, indent(line))
                selected += [inner[4:] for inner in lines[index + 1 : end]]
                index = end
    return selected


def end_of_block(lines: list[str], index: int, outer: int) -> int:
    """Return the index of the first line from ``index`` on that is not indented beyond ``outer``.

    Empty lines belong to the block.
    """
    while index < len(lines) and (not lines[index].strip() or indent(lines[index]) > outer):
        index += 1
    return index


def indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def format_source(source: str, path: Path) -> str:
    """Sort the imports and format the source with ruff."""
    for arguments in (["check", "--select", "I,F401", "--fix"], ["format"]):
        source = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments, "--quiet", "--stdin-filename", path, "-"],
            input=source, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True,
        ).stdout  # fmt: skip
    return source


def main() -> int:
    """Write the modules, or with ``--check`` compare them. Return the exit status."""
    differing = []
    for module in TEXTS:
        path, source = PACKAGE / module, generate(module)
        if path.read_text(encoding="utf-8") != source:
            differing.append(module)
            if "--check" not in sys.argv[1:]:
                path.write_text(source, encoding="utf-8")
    if differing and "--check" in sys.argv[1:]:
        print(
            f"{', '.join(differing)}: not up to date with aio/: edit the module in aio/ and run "
            "`make generate`",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
