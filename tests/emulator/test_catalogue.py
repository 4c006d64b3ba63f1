"""docs/commands.md is generated from the command table and up to date."""

from __future__ import annotations

from pathlib import Path

from redis_emulator.commands.registry import emulated
from redis_emulator.table import load
from redis_emulator.table.__main__ import formula
from redis_emulator.table.catalogue import page

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


def test_the_page_is_up_to_date() -> None:
    made = page(emulated())
    assert PAGE.read_text("utf-8") == made, "python -m redis_emulator.commands > docs/commands.md"


def test_every_command_has_one_line() -> None:
    lines = PAGE.read_text("utf-8").splitlines()
    for name in load():
        shown = name.upper().replace("|", " ")
        assert sum(line.startswith(f"| `{shown}` ") for line in lines) == 1


def test_complexity_formulas_are_extracted() -> None:
    assert formula("O(1)") == "O(1)"
    assert formula("Without a count O(log(N)) where N is many") == "O(log(N))"
    assert formula("Depends on subcommand.") == ""
