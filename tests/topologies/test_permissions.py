"""The ACL rules in ``docs/production.md`` suffice on a real cluster."""

from __future__ import annotations

import pytest

from tests.support.permissions import ON_A_CLUSTER, run_on_cluster
from tests.support.processes import Cluster

pytestmark = pytest.mark.xdist_group("topologies")


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "asyncio"])
@pytest.mark.parametrize("what", ON_A_CLUSTER)
def test_acl_rules_of_a_use_suffice_on_a_real_cluster(
    cluster: Cluster, what: str, asynchronous: bool
) -> None:
    nodes = [node.client() for node in cluster.nodes]
    run_on_cluster(what, cluster.url, cluster.client(), nodes, asynchronous)
