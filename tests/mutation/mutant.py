"""What a mutant is. This module neither parses nor runs tests."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple


class Edit(NamedTuple):
    """A replacement of the source from ``start`` to ``end`` (offsets) by ``text``.

    Attributes:
        function: qualified name of the innermost function or class; empty at module level.
        first: first line (from 1) of the smallest statement that contains it.
        last: last line of that statement.
        scope: first and last line of the innermost function, or of the statement if there is none.
    """

    start: int
    end: int
    text: str
    function: str
    first: int
    last: int
    scope: tuple[int, int]


@dataclass(frozen=True)
class Mutant:
    """A file with one edit.

    Attributes:
        file: path from the root of the repository.
        function: qualified name of the innermost function or class; empty at module level.
        before: the original of the changed lines, without indentation.
        after: the changed lines, without indentation.
        occurrence: index among the mutants with the same values of all attributes above.
        edit: where the change is.
    """

    file: str
    function: str
    before: str
    after: str
    occurrence: int
    edit: Edit

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """The key of the mutant, which stays the same as long as its function keeps these lines."""
        return self.file, self.function, self.before, self.after, self.occurrence

    def source(self, original: str) -> str:
        """Return the source of the whole mutated file."""
        return original[: self.edit.start] + self.edit.text + original[self.edit.end :]

    def __str__(self) -> str:
        before = self.before.replace("\n", "\n    - ")
        after = self.after.replace("\n", "\n    + ")
        where = f"{self.file}:{self.edit.first} {self.function or '(module)'}"
        nth = f" (occurrence {self.occurrence})" if self.occurrence else ""
        return f"{where}{nth}\n    - {before}\n    + {after}"


def mutants(file: str, source: str, edits: Iterable[Edit]) -> list[Mutant]:
    """Return the mutants of a file, one for each different edit, named by the lines they change."""
    seen: set[str] = set()
    found: list[Mutant] = []
    counts: Counter[tuple[str, str, str]] = Counter()
    lines = source.splitlines()
    for edit in edits:
        mutated = source[: edit.start] + edit.text + source[edit.end :]
        if mutated == source or mutated in seen:
            continue
        seen.add(mutated)
        before, after = _changed(lines, mutated.splitlines())
        mutant = Mutant(file, edit.function, before, after, 0, edit)
        identity = (edit.function, before, after)
        found.append(replace(mutant, occurrence=counts[identity]))
        counts[identity] += 1
    return found


def _changed(old: list[str], new: list[str]) -> tuple[str, str]:
    """Return the lines that differ, without indentation."""
    first = 0
    while first < min(len(old), len(new)) and old[first] == new[first]:
        first += 1
    last = 0
    while last < min(len(old), len(new)) - first and old[-1 - last] == new[-1 - last]:
        last += 1
    before = old[first : len(old) - last]
    after = new[first : len(new) - last]
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    if len(before) > 3 and matcher.ratio() > 0.5:
        removed, added = [], []
        for tag, i1, i2, j1, j2 in matcher.get_opcodes():
            if tag != "equal":
                removed += before[i1:i2]
                added += after[j1:j2]
        before, after = removed, added
    return _stripped(before), _stripped(after)


def _stripped(lines: list[str]) -> str:
    return "\n".join(line.strip() for line in lines)
