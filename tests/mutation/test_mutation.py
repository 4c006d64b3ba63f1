"""The mutation testing tool: which mutants it makes, which survive, and its report."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation import run
from tests.mutation.lua_source import lua_mutants
from tests.mutation.mutant import Mutant
from tests.mutation.python_source import python_mutants
from tests.mutation.report import Listed, listed, report
from tests.mutation.run import Outcome, Scope, try_all

SAMPLE = "tests/mutation/sample/module.py"


def changes(found: list[Mutant]) -> set[tuple[str, str]]:
    return {(mutant.before, mutant.after) for mutant in found}


def test_mutants_of_a_python_source() -> None:
    source = (
        "def f(a, b):\n"
        '    """Doc."""\n'
        "    g(a, key=b)\n"
        "    if a and b > 1:\n"
        '        raise ValueError("some prose")\n'
        "    try:\n"
        "        a.x = 1\n"
        "    except (KeyError, OSError):\n"
        "        return a\n"
    )
    found = changes(python_mutants("f.py", source))
    assert {
        ("g(a, key=b)", "pass"),
        ("g(a, key=b)", "g(None, key=b)"),
        ("g(a, key=b)", "g(a, )"),
        ("if a and b > 1:", "if a:"),
        ("if a and b > 1:", "if b > 1:"),
        ("if a and b > 1:", "if a and b >= 1:"),
        ("if a and b > 1:", "if a and b > 2:"),
        ("if a and b > 1:", "if (not (a and b > 1)):"),
        ('raise ValueError("some prose")', "pass"),
        ("a.x = 1", "pass"),
        ("a.x = 1", "a.x = 2"),
        ("except (KeyError, OSError):", "except (KeyError,):"),
        ("except (KeyError, OSError):", "except (OSError,):"),
        ("return a", "return None"),
    } <= {(before, after.replace("g(a)", "g(a, )")) for before, after in found}
    assert not any("Doc" in before or "XX" in after for before, after in found)


def test_mutants_of_a_lua_source() -> None:
    source = (
        'local n = redis.call("GET", KEYS[1])\n'
        'if n and n ~= "7" then\n'
        "  return -- why\n"
        "end\n"
        "return n + 1 .. [[x]]\n"
    )
    found = changes(lua_mutants("f.lua", source))
    first, second, last = source.splitlines()[0], source.splitlines()[1], "return n + 1 .. [[x]]"
    assert {
        (first, ""),
        (first, first.replace("GET", "XXGETXX")),
        (first, first.replace("1", "2")),
        (first, first.replace("1", "0")),
        (second, "if n then"),
        (second, 'if n ~= "7" then'),
        (second, 'if n and n == "7" then'),
        (second, 'if n and n ~= "8" then'),
        (second, 'if not (n and n ~= "7") then'),
        ("return -- why", "-- why"),
        (last, "return nil"),
        (last, last.replace("+", "-")),
    } <= found


@pytest.mark.parametrize("source", ["x = = 1", "if a then", "local function (", "x = 'open"])
def test_invalid_lua_is_an_error(source: str) -> None:
    with pytest.raises(SyntaxError):
        lua_mutants("f.lua", source)


def test_equal_lines_in_a_function_are_two_mutants() -> None:
    found = python_mutants("f.py", "def f():\n    g()\n    g()\n")
    assert [mutant.occurrence for mutant in found] == [0, 1]
    assert len({mutant.key for mutant in found}) == 2


def test_results_of_a_sample_module_are_stored_and_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "KEPT", tmp_path)
    monkeypatch.setattr(run, "LEAST_SECONDS", 1.0)
    scope = Scope("sample", (SAMPLE,), ("tests/mutation/sample",))
    found = python_mutants(SAMPLE, (run.ROOT / SAMPLE).read_text())
    outcomes = try_all(scope, found, 1, fresh=False)
    survived = {
        (mutant.function, mutant.after)
        for mutant, outcome in outcomes
        if outcome.result == "survived"
    }
    assert survived == {("Account.close", "return None"), ("Account.close", "return 8")}
    uncovered = {mutant.function for mutant, outcome in outcomes if outcome.result == "uncovered"}
    assert uncovered == {"never_run"}
    results = {(mutant.function, mutant.after): outcome for mutant, outcome in outcomes}
    assert results["", "LIMIT = 11"].result == "killed"
    assert results["within", "return value < LIMIT"].by.endswith("test_both_sides_of_the_limit")
    assert results["count_down", "pass"].result == "timeout"

    def ask(worker: run.Worker, job: object) -> Outcome:
        raise AssertionError("tried again")

    monkeypatch.setattr(run.Worker, "ask", ask)
    assert try_all(scope, found, 1, fresh=False) == outcomes


def entry(before: str, after: str, **other: str) -> Listed:
    return Listed(
        **{"file": "*", "function": "*", "reason": "r", **other}, before=before, after=after
    )


def test_report_fails_for_unlisted_survivors_and_outdated_entries() -> None:
    found = python_mutants("src/podlink/drain.py", "def f(a):\n    g(a)\n    return a\n")
    drop, none, back = found
    lived, killed = Outcome("survived", ""), Outcome("killed", "t")
    text, is_within = report([(drop, killed), (none, killed), (back, lived)], [], is_whole=True)
    assert "return None" in text
    assert not is_within
    outcomes = [(drop, killed), (none, killed), (back, lived)]
    assert report(outcomes, [entry("return a", "return None")], is_whole=True)[1]
    assert not report(outcomes, [entry("return a", "pass")], is_whole=True)[1]
    text, is_within = report(
        [(drop, killed)], [entry("g(b)", "pass", file="src/podlink/drain.py")], is_whole=True
    )
    assert not is_within
    assert "no such mutant" in text


def test_every_listed_mutant_has_a_reason() -> None:
    listed()
