"""The synchronous executor and router are generated from the asyncio ones."""

from __future__ import annotations

import importlib.util
import inspect
import shutil
from pathlib import Path
from typing import Any

import pytest

from podlink import AsyncLinkRouter, AsyncStatefulExecutor, LinkRouter, StatefulExecutor

SCRIPT = Path(__file__).parent.parent / ".ci/generate_sync.py"


@pytest.fixture
def generator() -> Any:
    """Load the script anew."""
    spec = importlib.util.spec_from_file_location("generate_sync", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_modules_are_up_to_date(generator: Any) -> None:
    for module in generator.TEXTS:
        assert generator.generate(module) == (generator.PACKAGE / module).read_text("utf-8")


def test_check_reports_a_generated_module_that_was_edited(
    generator: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(generator.PACKAGE, tmp_path / "podlink")
    shutil.copy(SCRIPT.parent.parent / "pyproject.toml", tmp_path)
    monkeypatch.setattr(generator, "PACKAGE", tmp_path / "podlink")
    router = tmp_path / "podlink/router.py"
    original = router.read_bytes()
    router.write_bytes(original.replace(b"timeout=timeout", b"timeout=None"))

    monkeypatch.setattr("sys.argv", [str(SCRIPT), "--check"])
    assert generator.main() == 1
    assert capsys.readouterr().err.startswith("router.py: ")
    assert router.read_bytes() != original, "--check writes nothing"

    monkeypatch.setattr("sys.argv", [str(SCRIPT)])
    assert generator.main() == 0
    assert router.read_bytes() == original


def test_replacement_without_match_is_an_error(
    generator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(generator.TEXTS, "router.py", {"no such text": ""})
    with pytest.raises(SystemExit, match="no such text"):
        generator.generate("router.py")


def test_code_marked_for_one_side_is_kept_only_there(generator: Any) -> None:
    source = """\
def send(
    batching,  # async-only
):
    # sync-only: self.a = 1
    if batching:  # async-only
        one()

        two()
    else:
        three()
        if x:
            four()
    five()
    if batching:  # async-only
        six()
"""
    assert generator.select_sync_code(source.splitlines()) == [
        "def send(",
        "):",
        "    self.a = 1",
        "    three()",
        "    if x:",
        "        four()",
        "    five()",
    ]


@pytest.mark.parametrize(
    ("asynchronous", "synchronous", "only_asynchronous"),
    [
        (AsyncStatefulExecutor, StatefulExecutor, {"batching"}),
        (AsyncLinkRouter, LinkRouter, set()),
    ],
)
def test_sync_and_asyncio_classes_have_the_same_methods_and_signatures(
    asynchronous: type, synchronous: type, only_asynchronous: set[str]
) -> None:
    def public(cls: type) -> dict[str, Any]:
        return {
            name: value
            for name, value in vars(cls).items()
            if inspect.isfunction(value) and (name == "__init__" or name[0] != "_")
        }

    def parameters(function: Any) -> dict[str, str]:
        return {
            name: str(parameter).replace("Async", "")
            for name, parameter in inspect.signature(function).parameters.items()
            if name not in only_asynchronous
        }

    ours, theirs = public(synchronous), public(asynchronous)
    assert list(ours) == list(theirs)
    for name, function in ours.items():
        assert not inspect.iscoroutinefunction(function)
        assert parameters(function) == parameters(theirs[name]), name
        assert (
            inspect.signature(function).return_annotation
            == inspect.signature(theirs[name]).return_annotation
        )
        if name != "__init__":
            assert inspect.getdoc(function) == inspect.getdoc(theirs[name]), name
