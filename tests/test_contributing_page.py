"""The examples in ``docs/contributing.md`` are excerpts of the code; the files it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "contributing.md").read_text("utf-8")
PATHS = sorted(name for name in set(re.findall(r"`([\w./-]+/[\w./-]*)`", PAGE)))
FILES = "\n".join(
    (ROOT / path).read_text("utf-8") for path in PATHS if (ROOT / path).suffix == ".py"
)
EXCERPTS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("path", PATHS)
def test_contributing_page_names_existing_files(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("excerpt", EXCERPTS, ids=lambda text: text.strip().split("\n")[0])
def test_contributing_page_examples_are_excerpts_of_the_code(excerpt: str) -> None:
    assert excerpt in FILES
