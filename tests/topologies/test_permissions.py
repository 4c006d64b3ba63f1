"""The rules in ``docs/production.md`` are enough on a real cluster."""

from __future__ import annotations

import pytest

from tests.support.permissions import ON_A_CLUSTER, run_on_cluster
from tests.support.processes import Cluster

pytestmark = pytest.mark.xdist_group("topologies")


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "asyncio"])
@pytest.mark.parametrize("what", ON_A_CLUSTER)
def test_the_rules_of_a_use_are_enough_on_a_cluster(
    cluster: Cluster, what: str, asynchronous: bool
) -> None:
    nodes = [node.client() for node in cluster.nodes]
    run_on_cluster(what, cluster.url, cluster.client(), nodes, asynchronous)
