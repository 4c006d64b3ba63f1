"""The Lua files: rules that all of them follow, and the script registry."""

from __future__ import annotations

import hashlib
import re

import pytest

from podlink import InvalidParameterError, NotFoundError
from podlink.scripts import SCRIPTS, Script, ScriptRegistry

each = pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)


@each
def test_script_documents_arguments_and_result(script: Script) -> None:
    header = script.source.split("\n\n")[0]
    assert header.startswith(f"-- {script.name}: ")
    assert "\n-- KEYS " in header + script.source
    assert "\n-- Reply " in script.source


@each
def test_script_accesses_only_its_declared_keys(script: Script) -> None:
    code = re.sub(r"--.*", "", script.source)
    assert "sf:" not in code
    assert not re.search(r"\bARGV\[\d\]\s*\.\.|\.\.\s*ARGV", code)


@each
def test_sha_is_computed_from_the_source(script: Script) -> None:
    assert script.sha == hashlib.sha1(script.source.encode()).hexdigest()


def test_registry_stores_added_scripts() -> None:
    registry = ScriptRegistry()
    script = registry.add("mine", "return 1")
    assert registry.get("mine") == script
    assert {found.name for found in registry.all()} == {"mine", *SCRIPTS}
    assert registry.add("mine", "return 2").sha != script.sha
    assert ScriptRegistry().all() == sorted(SCRIPTS.values())


def test_registry_rejects_invalid_scripts() -> None:
    registry = ScriptRegistry()
    with pytest.raises(NotFoundError, match=r"no script 'nope'; the scripts are: .*get_each"):
        registry.get("nope")
    with pytest.raises(InvalidParameterError, match="is a script of podlink"):
        registry.add("set_linked_pod", "return 1")
    for name, source in (("", "return 1"), ("mine", " "), ("mine", None)):
        with pytest.raises(InvalidParameterError, match="non-blank"):
            registry.add(name, source)  # type: ignore[arg-type]
