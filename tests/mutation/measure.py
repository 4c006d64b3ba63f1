"""Measures which test runs which lines and which Lua scripts, and how long it takes."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any

import coverage
import pytest

_REAL_SERVER = re.compile(r"[\[-](redis|valkey)-\d")


def is_wanted(item: pytest.Item) -> bool:
    """Return whether mutants are tested with it: it runs on the emulator and plants no faults
    itself.
    """
    if "test_planted_faults" in item.nodeid:
        return False
    return "/podlink/" not in item.nodeid or not _REAL_SERVER.search(item.name)


class Measure:
    """Runs all tests once and writes the measurements to a file."""

    def __init__(self, result: Path, sources: list[str]) -> None:
        self._result = result
        include = [f"{one}/*" if Path(one).is_dir() else one for one in sources]
        self._coverage = coverage.Coverage(data_file=None, include=include, config_file=False)
        self._coverage.start()  # before podlink is imported
        self._seconds: dict[str, float] = defaultdict(float)
        self._scripts: dict[str, set[str]] = defaultdict(set)
        self._failed: list[str] = []
        self._test = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if is_wanted(item)]

    def pytest_collection_finish(self) -> None:
        from podlink import calls

        original = calls.Call.__init__

        def init(call: Any, *args: Any, **options: Any) -> None:
            original(call, *args, **options)
            if call.script is not None:
                self._scripts[call.script.name].add(self._test)

        calls.Call.__init__ = init  # type: ignore[method-assign,assignment]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._test = item.nodeid
        self._coverage.switch_context(item.nodeid)
        started = time.monotonic()
        result = yield
        self._seconds[item.nodeid] = time.monotonic() - started
        self._coverage.switch_context("")
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.append(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        data = self._coverage.get_data()
        lines = {
            file: {line: sorted(tests) for line, tests in data.contexts_by_lineno(file).items()}
            for file in data.measured_files()
        }
        tests = sorted(self._seconds)
        number = {test: i for i, test in enumerate(tests)}
        number[""] = -1
        self._result.write_text(
            json.dumps(
                {
                    "tests": tests,
                    "seconds": [round(self._seconds[test], 4) for test in tests],
                    "failed": self._failed,
                    "scripts": {
                        name: sorted(number[test] for test in used if test)
                        for name, used in self._scripts.items()
                    },
                    "lines": {
                        str(Path(file).relative_to(Path.cwd())): {
                            line: [number[test] for test in used if test in number]
                            for line, used in by_line.items()
                        }
                        for file, by_line in lines.items()
                    },
                }
            )
        )
