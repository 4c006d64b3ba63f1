"""The ACL rules in ``docs/production.md`` are necessary and suffice."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from podlink import RedisOperationError, StatefulExecutor
from pytest_podlink import servers
from redis_emulator import ClusterEmulator, RedisEmulator
from tests.support.permissions import (
    ON_A_CLUSTER,
    ON_ONE_SERVER,
    RULES,
    SENT_BY_REDIS_PY_5_0,
    USES,
    acl,
    as_user,
    make_user,
    run_on_cluster,
)
from tests.support.real_servers import real_servers

SERVERS = ("redis-8.2", "valkey-9.1", "redis-7.0", "redis-6.2")


@pytest.mark.parametrize("what", USES)
def test_page_lists_the_commands_that_a_use_sends(what: str) -> None:
    assert RULES[what] == ["~sf:*", *(f"+{name}" for name in acl.needed(USES[what]))]


def test_page_has_a_line_for_each_use() -> None:
    assert list(RULES) == list(USES)


def test_every_operation_belongs_to_a_use() -> None:
    public = {
        name
        for name, value in vars(StatefulExecutor).items()
        if inspect.isfunction(value) and name[0] != "_"
    }
    assert public - {"close", "drain_pod"} == acl.OPERATIONS.keys() | acl.INSPECT_AND_REPAIR.keys()


@pytest.fixture(
    scope="module", params=["emulator", *real_servers(filter(servers.is_expected, SERVERS))]
)
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "emulator":
        emulator = RedisEmulator()
        with emulator.serve() as serving:
            yield serving.url, emulator.client()
        return
    with servers.start(request.param) as started, started.client() as client:
        yield f"redis://127.0.0.1:{started.port}", client


@pytest.fixture
def admin(server: Any) -> Iterator[Any]:
    client = server[1]
    client.flushall()
    client.script_flush()
    yield client
    client.execute_command("ACL", "DELUSER", "app")


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "asyncio"])
@pytest.mark.parametrize("what", ON_ONE_SERVER)
def test_acl_rules_of_a_use_suffice(server: Any, admin: Any, what: str, asynchronous: bool) -> None:
    use = USES[what]
    use.write_first(admin)
    make_user([admin], RULES[what])
    use.run(as_user(server[0]), asynchronous)


@pytest.fixture(scope="module")
def emulated() -> Iterator[ClusterEmulator]:
    with ClusterEmulator() as emulated, emulated.serve():
        yield emulated


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "asyncio"])
@pytest.mark.parametrize("what", ON_A_CLUSTER)
def test_acl_rules_of_a_use_suffice_on_a_cluster(
    emulated: ClusterEmulator, what: str, asynchronous: bool
) -> None:
    url = f"redis+cluster://127.0.0.1:{emulated.nodes[0].port}"
    nodes = [node.client() for node in emulated.nodes]
    run_on_cluster(what, url, emulated.client(), nodes, asynchronous)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "asyncio"])
def test_error_without_the_acl_rules_of_clusters_names_the_command(
    emulated: ClusterEmulator, asynchronous: bool
) -> None:
    make_user([node.client() for node in emulated.nodes], ["~sf:*", "+get", *SENT_BY_REDIS_PY_5_0])
    url = as_user(f"redis+cluster://127.0.0.1:{emulated.nodes[0].port}")
    with pytest.raises(RedisOperationError, match=r"no permissions to run the 'cluster\|slots'"):
        acl.USES[-1].run(url, asynchronous)
