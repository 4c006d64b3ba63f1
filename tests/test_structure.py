"""Rules for the repository's files: their length, and which modules import test modules."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "emulator", "plugin", "lua", "tests", ".ci", "examples")
FILES = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".lua"}
)
LONGEST = 600


def is_test_module(name: str) -> bool:
    """Return whether pytest collects the module, or it is a conftest."""
    last = name.rpartition(".")[2]
    return last == "conftest" or last.startswith(("test_", "bench_"))


def imported_test_modules(source: str) -> list[str]:
    """Return the test modules that a module imports, anywhere in it."""
    names: list[str] = []
    if "tests" not in source:  # parsing takes long
        return names
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.startswith("tests.") and is_test_module(name)]


def test_no_file_is_longer_than_600_lines() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in FILES
    }
    assert len(lengths) > 300
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_no_test_module_is_imported() -> None:
    found = {
        str(path.relative_to(ROOT)): names
        for path in FILES
        if path.suffix == ".py" and (names := imported_test_modules(path.read_text("utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from tests.a.conftest import X", ["tests.a.conftest"]),
        ("def f():\n    from tests.a import test_b", ["tests.a.test_b"]),
        ("import tests.benchmarks.bench_podlink", ["tests.benchmarks.bench_podlink"]),
        ("from tests.support.pair import Pair\nfrom test_other import x", []),
    ],
)
def test_check_finds_imports_of_test_modules(source: str, found: list[str]) -> None:
    assert imported_test_modules(source) == found
