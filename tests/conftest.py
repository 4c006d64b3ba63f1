"""Marks the tests that need a real server, so that `make quick` can leave them out."""

from __future__ import annotations

import pytest

SERVER_FIXTURES = frozenset(
    {"same", "twin", "real", "server", "url", "opened", "cluster", "cluster_url", "sentinels"}
)
"""The fixtures that start a real server or compare with one."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not SERVER_FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("needs_servers")
