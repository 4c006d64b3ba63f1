"""A pytest process that runs the tests of one mutant after another, each in its own fork.

There are two kinds of fork, because importing and collecting takes seconds, and a test
milliseconds:

- *live*: from a process that has collected all tests. The code of the mutated functions replaces
that of the existing functions (`swap`). For code inside functions.
- *fresh*: from a process that has imported podlink's dependencies, but neither podlink nor a test.
The mutated source is imported instead of the file. For code that runs at import.

The parent writes a job as a line of JSON to standard input and reads a line of JSON back. Output of
tests goes to standard error, and so does pytest's output for a mutant if MUTANTS_DEBUG is set.
"""

from __future__ import annotations

import faulthandler
import importlib
import importlib.machinery
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any

import pytest

from tests.mutation.measure import Measure, is_wanted
from tests.mutation.swap import prepare, swap_python, swap_script

Job = dict[str, Any]
Tell = Callable[[str], object]

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = [
    "-qq", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist",
    "-p", "no:benchmark", "-p", "no:faulthandler", "-o", "timeout=0", "--capture=sys",
    "--assert=plain", "--hypothesis-profile=mutants",
]  # fmt: skip
LIBRARIES = (
    "asyncio", "concurrent.futures", "hypothesis", "hypothesis.stateful", "lupa.lua51", "redis",
    "redis.asyncio", "redis.asyncio.cluster", "redis.asyncio.sentinel", "redis.cluster",
    "redis.sentinel", "sortedcontainers",
)  # fmt: skip
SURVIVED, FAILED, BROKEN = 0, 1, 2


class FirstFailure:
    """Ends the process at the first test that fails or exceeds its time limit, and reports which it
    was.
    """

    def __init__(self, job: Job, tell: Tell) -> None:
        self._limits: dict[str, float] = job["tests"]
        self._tell = tell

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, self._limits.get(nodeid, 60))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            if os.environ.get("MUTANTS_DEBUG"):
                print(report.nodeid, report.longrepr, file=sys.stderr, flush=True)
            self._tell(report.nodeid)
            os._exit(FAILED)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._tell(f"collecting {report.nodeid}")
            os._exit(FAILED)


class Live:
    """Serves jobs within a session that has collected its tests."""

    def __init__(self, jobs: IO[str], answers: IO[str]) -> None:
        self._jobs = jobs
        self._answers = answers

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if is_wanted(item)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        prepare()
        for line in self._jobs:
            job = json.loads(line)
            answer = in_fork(job, partial(_run_live, session, items, job))
            self._answers.write(json.dumps(answer) + "\n")
            self._answers.flush()
        return True


def _run_live(session: pytest.Session, items: dict[str, pytest.Item], job: Job, tell: Tell) -> int:
    if job["file"].endswith(".lua"):
        swap_script(Path(job["file"]).stem, job["source"])
    elif not swap_python(ROOT / job["file"], job["source"], job["function"]):
        return BROKEN
    session.config.pluginmanager.register(FirstFailure(job, tell))
    chosen = [items[test] for test in job["tests"] if test in items]
    for item, following in zip_longest(chosen, chosen[1:]):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    return SURVIVED


def _run_fresh(job: Job, tell: Tell) -> int:
    path = str(ROOT / job["file"])
    code = compile(job["source"], path, "exec", dont_inherit=True)
    original = importlib.machinery.SourceFileLoader.get_code

    def get_code(self: importlib.machinery.SourceFileLoader, fullname: str) -> Any:
        return code if self.path == path else original(self, fullname)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign,assignment]
    found = pytest.main([*OPTIONS, *job["tests"]], plugins=[FirstFailure(job, tell)])
    if found in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return SURVIVED
    tell("importing")
    return FAILED


def in_fork(job: Job, run: Callable[[Tell], int]) -> Job:
    """Run a job in a forked process, with a time limit."""
    readable, writable = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = FAILED
        try:
            os.setpgid(0, 0)
            os.close(readable)
            code = run(lambda text: os.write(writable, text.encode()))
        except SyntaxError:
            code = BROKEN
        except BaseException as error:
            os.write(writable, f"{type(error).__name__}: {error}"[:500].encode())
        finally:
            os._exit(code)
    os.close(writable)
    ended = _wait(child, time.monotonic() + 60 + sum(job["tests"].values()))
    by = os.read(readable, 4096).decode(errors="replace") if ended is not None else ""
    os.close(readable)
    _kill(child)
    if ended is None or os.WIFSIGNALED(ended):
        is_limit = ended is None or os.WTERMSIG(ended) == signal.SIGALRM
        return {"result": "timeout" if is_limit else "killed", "by": "a signal"}
    results = {SURVIVED: "survived", FAILED: "killed", BROKEN: "invalid"}
    return {"result": results.get(os.WEXITSTATUS(ended), "killed"), "by": by}


def _wait(child: int, until: float) -> int | None:
    """Return the exit status of a child, or ``None`` if it is still running."""
    descriptor = os.pidfd_open(child)
    try:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
    finally:
        os.close(descriptor)
    if ready:
        return os.waitpid(child, 0)[1]
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _kill(group: int) -> None:
    """Kill processes that a mutant has left running."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def serve(paths: list[str], jobs: IO[str], answers: IO[str]) -> None:
    """Serve jobs until there are no more."""
    for library in LIBRARIES:
        importlib.import_module(library)
    if not any(path.startswith("tests/emulator") for path in paths):
        # If the emulator is mutated, a fresh fork must import it itself.
        importlib.import_module("redis_emulator").RedisEmulator().close()
    live: tuple[IO[str], Iterator[str]] | None = None
    for line in jobs:
        job = json.loads(line)
        if job["kind"] == "fresh":
            answer = json.dumps(in_fork(job, partial(_run_fresh, job)))
        else:
            if live is None:
                live = _start_live(paths)
            to, back = live
            to.write(line)
            to.flush()
            answer = next(back).strip()
        answers.write(answer + "\n")
        answers.flush()
    if live is not None:
        live[0].close()
        os.wait()


def _start_live(paths: list[str]) -> tuple[IO[str], Iterator[str]]:
    jobs_out, jobs_in = os.pipe()
    answers_out, answers_in = os.pipe()
    if os.fork() == 0:
        os.close(jobs_in)
        os.close(answers_out)
        plugin = Live(os.fdopen(jobs_out, "r"), os.fdopen(answers_in, "w"))
        os._exit(int(pytest.main([*OPTIONS, *paths], plugins=[plugin])))
    os.close(jobs_out)
    os.close(answers_in)
    return os.fdopen(jobs_in, "w"), os.fdopen(answers_out, "r")


def main() -> None:
    """``worker serve TESTS…`` or ``worker measure FILE SOURCES… -- TESTS…``."""
    jobs, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    os.chdir(ROOT)
    faulthandler.disable()
    if sys.argv[1] == "measure":
        end = sys.argv.index("--")
        plugin = Measure(Path(sys.argv[2]), sys.argv[3:end])
        raise SystemExit(pytest.main([*OPTIONS, *sys.argv[end + 1 :]], plugins=[plugin]))
    serve(sys.argv[2:], jobs, answers)


if __name__ == "__main__":
    main()
