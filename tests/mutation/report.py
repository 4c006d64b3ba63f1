"""Reports which mutants survived, and whether that is within the limits."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from tests.mutation.mutant import Mutant
from tests.mutation.run import NOTICED, Outcome

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LISTED = Path(__file__).with_name("equivalent.toml")
LIMITED = (
    "operations", "replies", "calls", "connections", "manager",
    "routing", "cache", "drain", "batching",
)  # fmt: skip
"""Modules, sync and asyncio, of whose mutants at most 3 % may survive without a listed reason."""
LIMIT = 0.03


class Listed(NamedTuple):
    """A mutant that is known to be equivalent, and the reason."""

    file: str
    function: str
    before: str
    after: str
    reason: str

    def is_about(self, mutant: Mutant) -> bool:
        """Return whether this is the mutant; ``file`` and ``function`` may be patterns."""
        return (
            self.before == mutant.before
            and self.after == mutant.after
            and fnmatchcase(mutant.file, self.file)
            and fnmatchcase(mutant.function, self.function)
        )


def listed(path: Path = LISTED) -> list[Listed]:
    """Read the reviewed list of equivalent mutants.

    Raises:
        ValueError: an entry is incomplete.
    """
    entries: list[dict[str, Any]] = tomllib.loads(path.read_text()).get("equivalent", [])
    found = []
    for entry in entries:
        if set(entry) != set(Listed._fields) or not entry["reason"].strip():
            raise ValueError(f"{path.name}: {entry} must have {', '.join(Listed._fields)}")
        found.append(Listed(**{name: text.strip("\n") for name, text in entry.items()}))
    return found


def module(file: str) -> str:
    """Return the group of a file in the report: a module of podlink with its asyncio twin, or its
    folder.
    """
    path = Path(file)
    if path.parts[:2] == ("src", "podlink"):
        return path.stem
    return "lua" if path.suffix == ".lua" else "/".join(path.parts[-2:-1])


def limit(group: str) -> float | None:
    """Return the share of mutants that may survive without a listed reason."""
    if group == "lua":
        return 0.0
    return LIMIT if group in LIMITED else None


def report(
    outcomes: Sequence[tuple[Mutant, Outcome]], entries: Iterable[Listed], *, is_whole: bool
) -> tuple[str, bool]:
    """Return the report, and whether all is within the limits.

    ``is_whole``: whether all mutants were run, so that a listed mutant that does not exist is an
    error.
    """
    entries = list(entries)
    used: set[Listed] = set()
    survivors: list[Mutant] = []
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    stale: list[str] = []
    for mutant, outcome in outcomes:
        if outcome.result == "invalid":
            continue
        matching = [entry for entry in entries if entry.is_about(mutant)]
        used.update(matching)
        result = outcome.result
        if result not in NOTICED and matching:
            result = "listed"
        elif result not in NOTICED:
            survivors.append(mutant)
        counts[module(mutant.file)][result] += 1
    files = {mutant.file for mutant, _ in outcomes}
    for entry in entries:
        is_tried = is_whole or any(fnmatchcase(file, entry.file) for file in files)
        if entry not in used and is_whole and is_tried:
            stale.append(
                f"{entry.file} {entry.function}\n    - {entry.before}\n    + {entry.after}"
            )
    lines = [str(mutant) for mutant in survivors]
    if stale:
        lines += ["", "Listed as equivalent, but there is no such mutant:", *stale]
    lines += [
        "",
        f"{'':14}{'mutants':>8}{'killed':>8}{'time':>6}{'listed':>8}{'survived':>10}{'uncovered':>11}",
    ]
    is_within = not stale
    for group in sorted(counts):
        count = counts[group]
        total = sum(count.values())
        left = count["survived"] + count["uncovered"]
        allowed = limit(group)
        is_over = allowed is not None and left > allowed * total
        is_within = is_within and not is_over
        lines.append(
            f"{group:14}{total:8}{count['killed']:8}{count['timeout']:6}{count['listed']:8}"
            f"{count['survived']:10}{count['uncovered']:11}{left / total:8.1%}"
            + (f" more than {allowed:.0%}" if is_over and allowed is not None else "")
        )
    total = sum(sum(count.values()) for count in counts.values())
    left = len(survivors)
    lines.append(f"{'all':14}{total:8}{left:49}{left / max(total, 1):8.1%}")
    return "\n".join(lines), is_within
