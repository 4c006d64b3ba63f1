"""``make mutants`` and ``make mutants-emulator``: run mutants, report, fail if too many survive."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from tests.mutation.lua_source import lua_mutants
from tests.mutation.mutant import Mutant
from tests.mutation.python_source import python_mutants
from tests.mutation.report import listed, report
from tests.mutation.run import KEPT, ROOT, Scope, sample, try_all

PODLINK = Scope(
    "podlink",
    ("src/podlink",),
    ("tests/podlink", "tests/conformance"),
    generated=("src/podlink/executor.py", "src/podlink/router.py"),
)
EMULATOR = Scope(
    "emulator",
    tuple(f"emulator/redis_emulator/{part}" for part in ("keyspace", "engine", "commands")),
    ("tests/emulator",),
)


def find(files: list[str]) -> list[Mutant]:
    """Return all mutants of these files."""
    found: list[Mutant] = []
    for file in files:
        source = (ROOT / file).read_text()
        found += (lua_mutants if file.endswith(".lua") else python_mutants)(file, source)
    return found


def main() -> int:
    """Run, print the report, and exit with 1 if it exceeds the limits."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument(
        "modules", nargs="*", help="module, aio/module, lua or lua/script; default: all"
    )
    parser.add_argument("--emulator", action="store_true", help="mutate the emulator instead")
    parser.add_argument("--sample", type=int, help="try only so many, chosen at random")
    parser.add_argument("--seed", type=int, default=0, help="the seed of that choice")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes run tests")
    parser.add_argument(
        "--budget", type=float, default=10.0, help="seconds of tests for each mutant"
    )
    parser.add_argument("--tests", nargs="+", help="files of tests to use instead of all")
    parser.add_argument("--fresh", action="store_true", help="forget the results of earlier runs")
    options = parser.parse_args()
    scope = EMULATOR if options.emulator else PODLINK
    if options.tests:
        scope = replace(scope, tests=tuple(options.tests))
    files = scope.files()
    if not options.emulator:
        files += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "lua").glob("*.lua"))
    chosen = [file for file in files if _is_chosen(file, options.modules)]
    if not chosen:
        parser.error(f"no file of {', '.join(scope.sources)} or lua is named {options.modules}")
    found = find(chosen)
    if options.sample:
        found = sample(found, options.sample, options.seed)
    outcomes = try_all(scope, found, options.jobs, fresh=options.fresh, budget=options.budget)
    is_whole = not options.modules and not options.sample and not options.emulator
    text, is_within = report(outcomes, listed(), is_whole=is_whole)
    (KEPT / scope.name / "report.txt").write_text(text + "\n")
    print(text)
    return 0 if is_within else 1


def _is_chosen(file: str, modules: list[str]) -> bool:
    if not modules:
        return True
    path = Path(file).with_suffix("")
    names = {path.stem, str(path), path.parts[0], "/".join(path.parts[-2:])}
    return bool(names.intersection(modules))


if __name__ == "__main__":
    raise SystemExit(main())
