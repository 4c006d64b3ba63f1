"""Parameters of fixtures that start a real server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def real_servers(names: Iterable[str]) -> list[Any]:
    """Return fixture parameters. `make quick` leaves out the tests that run with one of them."""
    return [pytest.param(name, marks=pytest.mark.needs_servers, id=name) for name in names]
