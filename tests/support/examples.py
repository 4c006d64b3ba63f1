"""The number of examples of tests with hypothesis."""

from __future__ import annotations

from hypothesis import settings


def examples(count: int) -> int:
    """Scale ``count`` to the profile: 100 % by default, a fifth for ``make quick``."""
    return max(1, count * settings().max_examples // 100)
