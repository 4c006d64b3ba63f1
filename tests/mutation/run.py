"""Sends mutants to workers and stores the results in ``.mutants/``, so that an interrupted run can
be continued.

A result is reused as long as the mutated function is unchanged and, if the mutant survived, the
files of the tests that cover it are unchanged. Coverage is measured again for test files that
changed, and for all if a source or a helper of the tests changed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mutation.mutant import Mutant

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".mutants"
NOTICED = ("killed", "timeout")
LEAST_SECONDS = 8.0
"""A test times out after this many seconds plus ten times its duration without a mutant."""
SLOW = 5.0
"""A test that takes longer (seconds) runs only if no other test covers a mutant."""


@dataclass(frozen=True)
class Scope:
    """Which files are mutated, and which tests run."""

    name: str
    sources: tuple[str, ...]
    tests: tuple[str, ...]

    generated: tuple[str, ...] = ()
    """Files that are generated from other sources. The mutants of those stand for theirs."""

    def files(self) -> list[str]:
        """Return the files that are mutated, as paths from the root."""
        found: list[Path] = []
        for source in self.sources:
            path = ROOT / source
            found += [path] if path.is_file() else sorted(path.rglob("*.py"))
        names = [str(path.relative_to(ROOT)) for path in found]
        return [name for name in names if name not in self.generated]

    def test_files(self) -> list[str]:
        """Return the test files."""
        found: list[Path] = []
        for tests in self.tests:
            path = ROOT / tests
            found += [path] if path.is_file() else sorted(path.rglob("test_*.py"))
        names = [str(path.relative_to(ROOT)) for path in found]
        return [name for name in names if "planted_faults" not in name and "/fuzz/" not in name]


@dataclass
class Outcome:
    """The result of a mutant: killed, timeout, survived, uncovered or invalid."""

    result: str
    by: str


class Coverage:
    """Which tests run a line, as measured by the workers."""

    def __init__(self, scope: Scope, measured: Iterable[dict[str, Any]]) -> None:
        self.seconds: dict[str, float] = {}
        self._lines: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._imported: dict[str, set[int]] = defaultdict(set)
        self._scripts: dict[str, set[str]] = defaultdict(set)
        self._text = {file: (ROOT / file).read_text().splitlines() for file in scope.files()}
        for one in measured:
            tests: list[str] = one["tests"]
            self.seconds.update(zip(tests, one["seconds"], strict=True))
            for name, used in one["scripts"].items():
                self._scripts[name].update(tests[i] for i in used)
            for file, lines in one["lines"].items():
                for line, used in lines.items():
                    self._lines[file][int(line)].update(tests[i] for i in used if i >= 0)
                    if -1 in used:
                        self._imported[file].add(int(line))

    def of_script(self, name: str) -> list[str]:
        """Return the tests that run a Lua script, fastest first."""
        return self._sorted(self._scripts[name])

    def runs_at_import(self, mutant: Mutant) -> bool:
        """Return whether importing the file runs the mutated lines."""
        if mutant.file.endswith(".lua"):
            return False
        imported = self._imported[mutant.file]
        return any(line in imported for line in range(mutant.edit.first, mutant.edit.last + 1))

    def of_lines(self, mutant: Mutant) -> list[str]:
        """Return the tests that run the mutated lines, fastest first.

        For lines that run at import: the tests that run a line that names what they define, and
        then all other tests of the module.
        """
        lines = self._lines[mutant.file]
        direct = set[str]().union(
            *(lines[n] for n in range(mutant.edit.first, mutant.edit.last + 1))
        )
        if not self.runs_at_import(mutant):
            return self._sorted(direct)
        likely = direct | self._of_names(mutant)
        stem = Path(mutant.file).stem
        own = {test for test in self.seconds if stem in test.partition("::")[0]}
        rest = own.union(*lines.values()) - likely
        return self._sorted(likely) + self._sorted(rest)

    def _of_names(self, mutant: Mutant) -> set[str]:
        defined = re.match(r"\s*(\w+)\s*(?::|=)", self._text[mutant.file][mutant.edit.first - 1])
        names = {mutant.function.rpartition(".")[2], defined[1] if defined else ""} - {
            "",
            "__init__",
        }
        if not names:
            return set()
        pattern = re.compile(rf"\b(?:{'|'.join(names)})\b")
        return {
            test
            for file, text in self._text.items()
            for number, line in enumerate(text, 1)
            if pattern.search(line)
            for test in self._lines[file].get(number, ())
        }

    def _sorted(self, tests: Iterable[str]) -> list[str]:
        found = sorted(tests, key=lambda test: (self.seconds.get(test, 0.0), test))
        fast = [test for test in found if self.seconds.get(test, 0.0) <= SLOW]
        return fast or found


def measure(scope: Scope, jobs: int) -> Coverage:
    """Measure what has changed since the last run."""
    folder = KEPT / scope.name
    folder.mkdir(parents=True, exist_ok=True)
    (KEPT / ".gitignore").write_text("*\n")
    helpers = {
        str(path.relative_to(ROOT))
        for top in ("tests", "plugin/pytest_podlink")
        for path in (ROOT / top).rglob("*.py")
        if not path.name.startswith("test_") and "mutation" not in path.parts
    }
    common = _digest(
        [*scope.files(), *sorted(helpers), *map(str, sorted(Path("lua").glob("*.lua")))]
    )
    kept = {file: folder / (re.sub(r"\W+", "-", file) + ".json") for file in scope.test_files()}
    stamps = {file: _digest([file]) + common for file in kept}
    stale = [
        file
        for file, path in kept.items()
        if not path.exists() or json.loads(path.read_text()).get("stamp") != stamps[file]
    ]
    if stale:
        print(f"measuring the coverage of {len(stale)} files of tests", flush=True)
        batches = [stale[i::jobs] for i in range(jobs) if stale[i::jobs]]

        def measure_batch(number: int) -> None:
            measured = _measure(scope, number, batches[number])
            for file in batches[number]:
                one = {"stamp": stamps[file], **_of_file(measured, file)}
                kept[file].write_text(json.dumps(one))

        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(measure_batch, range(len(batches))))
    return Coverage(
        scope, (json.loads(path.read_text()) for path in kept.values() if path.exists())
    )


def _measure(scope: Scope, number: int, files: list[str]) -> dict[str, Any]:
    result = KEPT / scope.name / f"batch-{number}"
    log = result.with_suffix(".log")
    with log.open("w") as output:
        subprocess.run(
            [sys.executable, "-m", "tests.mutation.worker", "measure", str(result), *scope.sources,
             "--", *files],
            cwd=ROOT, stdout=output, stderr=output, env=_environment(),
        )  # fmt: skip
    if not result.exists():
        raise SystemExit(f"the tests could not be run: see {log}")
    measured: dict[str, Any] = json.loads(result.read_text())
    result.unlink()
    for test in measured["failed"]:
        print(f"left out, because it fails without a mutant: {test}", flush=True)
    return measured


def _of_file(measured: dict[str, Any], file: str) -> dict[str, Any]:
    """Return the part of the measurements that concerns the tests of one file."""
    chosen = [
        i
        for i, test in enumerate(measured["tests"])
        if test.startswith(f"{file}::") and test not in measured["failed"]
    ]
    number = {old: new for new, old in enumerate(chosen)} | {-1: -1}
    return {
        "tests": [measured["tests"][i] for i in chosen],
        "seconds": [measured["seconds"][i] for i in chosen],
        "scripts": {
            name: [number[i] for i in used if i in number]
            for name, used in measured["scripts"].items()
        },
        "lines": {
            source: {
                line: [number[i] for i in used if i in number] for line, used in by_line.items()
            }
            for source, by_line in measured["lines"].items()
        },
    }


def _digest(files: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.encode() + b"\0" + (ROOT / file).read_bytes())
    return digest.hexdigest()[:16]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONHASHSEED": "0"}


class Results:
    """Results of mutants, stored in a file to which each result is appended at once."""

    def __init__(self, scope: Scope, coverage: Coverage, *, fresh: bool) -> None:
        self._path = KEPT / scope.name / "results.jsonl"
        if fresh:
            self._path.unlink(missing_ok=True)
        self._coverage = coverage
        self._digests: dict[str, str] = {}
        self._lock = threading.Lock()
        self.killers: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._known: dict[str, dict[str, str]] = {}
        if self._path.exists():
            for line in self._path.read_text().splitlines():
                self._known.update(json.loads(line))

    def get(self, mutant: Mutant, source: str, tests: list[str]) -> Outcome | None:
        """Return the result of an earlier run if it is still valid."""
        known = self._known.get(self._name(mutant, source))
        if known is None:
            return None
        if known["result"] in ("survived", "uncovered") and known["tests"] != self._stamp(tests):
            return None
        if known["result"] == "killed":
            self._remember(mutant, known["by"])
        return Outcome(known["result"], known["by"])

    def put(self, mutant: Mutant, source: str, tests: list[str], outcome: Outcome) -> None:
        """Store a result."""
        entry = {"result": outcome.result, "by": outcome.by, "tests": self._stamp(tests)}
        with self._lock:
            if outcome.result == "killed":
                self._remember(mutant, outcome.by)
            with self._path.open("a") as file:
                file.write(json.dumps({self._name(mutant, source): entry}) + "\n")

    def _remember(self, mutant: Mutant, test: str) -> None:
        killers = self.killers[mutant.file, mutant.function]
        if test in killers:
            killers.remove(test)
        killers.insert(0, test)

    def _name(self, mutant: Mutant, source: str) -> str:
        first, last = mutant.edit.scope
        function = "\n".join(source.splitlines()[first - 1 : last])
        return hashlib.sha256(repr((mutant.key, function)).encode()).hexdigest()[:24]

    def _stamp(self, tests: list[str]) -> str:
        files = sorted({test.partition("::")[0] for test in tests})
        for file in files:
            if file not in self._digests:
                self._digests[file] = _digest([file]) if (ROOT / file).exists() else ""
        return hashlib.sha256(repr([(f, self._digests[f]) for f in files]).encode()).hexdigest()[
            :12
        ]


class Worker:
    """A process of `tests.mutation.worker`, restarted after it has died."""

    def __init__(self, scope: Scope, log: Path) -> None:
        self._scope = scope
        self._log = log
        self._process: subprocess.Popen[str] | None = None

    def ask(self, job: dict[str, Any]) -> Outcome:
        """Run the tests of a mutant."""
        if self._process is None or self._process.poll() is not None:
            with self._log.open("a") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tests.mutation.worker", "serve",
                     *self._scope.test_files()],
                    cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, stderr=log,
                    env=_environment(),
                )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            self._process.kill()
            raise SystemExit(f"a worker died: see {self._log}") from None
        return Outcome(answer["result"], answer["by"])

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()


def try_all(
    scope: Scope, found: Sequence[Mutant], jobs: int, *, fresh: bool, budget: float = math.inf
) -> list[tuple[Mutant, Outcome]]:
    """Run each mutant, or reuse its stored result.

    Args:
        jobs: the number of worker processes.
        fresh: whether to ignore stored results.
        budget: seconds of tests after which a mutant counts as survived. Tests that killed other
            mutants of its function run first, then those of its module, then the fastest.
    """
    coverage = measure(scope, jobs)
    results = Results(scope, coverage, fresh=fresh)
    sources = {mutant.file: (ROOT / mutant.file).read_text() for mutant in found}
    tests: dict[int, list[str]] = {}
    outcomes: dict[int, Outcome] = {}
    waiting: list[int] = []
    for number, mutant in enumerate(found):
        if mutant.file.endswith(".lua"):
            tests[number] = coverage.of_script(Path(mutant.file).stem)
        else:
            tests[number] = coverage.of_lines(mutant)
        known = results.get(mutant, sources[mutant.file], tests[number])
        if known is not None:
            outcomes[number] = known
        elif not tests[number]:
            outcomes[number] = Outcome("uncovered", "")
        else:
            waiting.append(number)
    waiting.reverse()
    sound: set[tuple[str, str]] = set()
    dependent: set[str] = set()
    total, started = len(waiting), time.monotonic()
    print(f"{len(found)} mutants, {total} to be tried", flush=True)

    def attempt(worker: Worker, mutant: Mutant, covering: list[str], kind: str) -> Outcome:
        killers = results.killers[mutant.file, mutant.function]
        chosen = [test for test in killers[:20] if test in set(covering)]
        stem = Path(mutant.file).stem
        chosen += [test for test in covering if stem in test.partition("::")[0]]
        chosen = list(dict.fromkeys([*chosen, *covering]))
        original = sources[mutant.file]
        job = {
            "kind": kind, "file": mutant.file, "function": mutant.function,
            "source": mutant.source(original),
        }  # fmt: skip
        while True:
            seconds = 0.0
            left: dict[str, float] = {}
            for test in chosen:
                if test not in dependent and seconds < budget:
                    seconds += coverage.seconds.get(test, 1.0)
                    left[test] = LEAST_SECONDS + 10 * coverage.seconds.get(test, 1.0)
            outcome = worker.ask({**job, "tests": left})
            test = outcome.by
            if outcome.result not in NOTICED or test not in left or (test, kind) in sound:
                return outcome
            # A test that kills its first mutant must pass alone without a mutant.
            alone = worker.ask({**job, "source": original, "tests": {test: left[test]}})
            if alone.result == "survived":
                sound.add((test, kind))
                return outcome
            print(f"left out, because it fails alone without a mutant: {test}", flush=True)
            dependent.add(test)

    def work(name: int) -> None:
        worker = Worker(scope, KEPT / scope.name / f"worker-{name}.log")
        try:
            while waiting:
                try:
                    number = waiting.pop()
                except IndexError:
                    break
                mutant = found[number]
                source = sources[mutant.file]
                kind = "fresh" if coverage.runs_at_import(mutant) else "live"
                outcome = attempt(worker, mutant, tests[number], kind)
                if outcome.result == "invalid" and kind == "live":
                    outcome = attempt(worker, mutant, tests[number], "fresh")
                outcomes[number] = outcome
                results.put(mutant, source, tests[number], outcome)
                done = total - len(waiting)
                if done % 100 == 0:
                    rate = done / (time.monotonic() - started)
                    print(f"{done} of {total}, {rate:.1f} a second", flush=True)
        finally:
            worker.close()

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(work, range(jobs)))
    return [(mutant, outcomes[number]) for number, mutant in enumerate(found)]


def sample(found: list[Mutant], size: int, seed: int) -> list[Mutant]:
    """Return a random sample of the mutants, chosen by a seed."""
    return sorted(
        random.Random(seed).sample(found, min(size, len(found))),
        key=lambda mutant: (mutant.file, mutant.edit.start, mutant.edit.text),
    )
