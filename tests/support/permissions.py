"""The ACL rules in ``docs/production.md``, and the uses of podlink that they are for."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import redis

ROOT = Path(__file__).parent.parent.parent


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("generate_acl", ROOT / ".ci/generate_acl.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


acl = _load()
RULES: dict[str, list[str]] = acl.rules_of(acl.PAGE.read_text("utf-8"))
SENT_BY_REDIS_PY_5_0 = ["+info"] if redis.__version__.startswith("5.0.") else []
"""Further commands that the cluster client of redis-py 5.0 sends. The page lists them below the
table.
"""
RULES["a cluster"] += SENT_BY_REDIS_PY_5_0
USES: dict[str, Any] = {use.name: use for use in acl.USES}
ON_ONE_SERVER = [what for what, use in USES.items() if not use.cluster]
ON_A_CLUSTER = [what for what in USES if what != "a database other than 0"]


def make_user(nodes: Iterable[Any], rules: Iterable[str]) -> None:
    """Create the user ``app`` with only these rules on every node."""
    for node in nodes:
        node.execute_command("ACL", "SETUSER", "app", "reset", "on", ">secret", *rules)


def as_user(url: str) -> str:
    """Return the URL with the name and password of the user of `make_user`."""
    return url.replace("//", "//app:secret@")


def run_on_cluster(
    what: str, url: str, client: Any, nodes: Iterable[Any], asynchronous: bool
) -> None:
    """Run a use on a cluster as a user who has only the rules of that use and of clusters.

    Args:
        what: the name of the use.
        url: the cluster's URL, without a user.
        client: an administrator's client of the cluster.
        nodes: an administrator's client of each node.
        asynchronous: whether to use the asyncio executor.
    """
    use = USES[what]
    client.flushall(target_nodes=client.PRIMARIES)
    use.write_first(client)
    make_user(nodes, [*RULES["a cluster"], *RULES[what]])
    use.run(as_user(url), asynchronous)
