"""What both managers do, on emulators: scripts, nodes, health, reserved connections, batches."""

from __future__ import annotations

import asyncio
import gc
import re
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import podlink
from podlink import (
    AsyncRedisManager,
    AsyncStatefulExecutor,
    RedisConfig,
    RedisManager,
    StatefulExecutor,
    management,
    operations,
)
from podlink.calls import RAW, Call
from podlink.errors import NotSent, translate
from redis_emulator import ClusterEmulator, RedisEmulator
from tests.support.managers import FLAVOURS, finished, url_of
from tests.support.waiting import until

CONNECTING = "(connecting to the server|reading the map of slots)"


@pytest.fixture
def emulator() -> Iterator[RedisEmulator]:
    with RedisEmulator() as made:
        yield made


@pytest.fixture
def url(emulator: RedisEmulator) -> Iterator[str]:
    with emulator.serve() as server:
        yield server.url


@pytest.fixture
def cluster() -> Iterator[ClusterEmulator]:
    with ClusterEmulator(replicas=0) as made, made.serve():
        yield made


def names_of(cluster: ClusterEmulator) -> set[str]:
    return {f"127.0.0.1:{node.port}" for node in cluster.masters}


def has_scripts(node: Any, *shas: str) -> bool:
    with node.client() as client:
        return all(client.script_exists(*shas))


@FLAVOURS
async def test_scripts_are_loaded_into_all_primaries(
    flavour: Any, cluster: ClusterEmulator
) -> None:
    manager = flavour(url_of(cluster))
    sha = await finished(manager.load_script("one", "return {KEYS[1], ARGV[1]}"))
    assert sha == manager.get_script_sha("one")
    assert all(has_scripts(node, sha) for node in cluster.masters)
    loaded = await finished(manager.preload_scripts())
    assert loaded["one"] == sha
    assert len(loaded) > 10
    assert all(has_scripts(node, *loaded.values()) for node in cluster.masters)
    assert await finished(manager.execute_script("one", ["k"], ["a"])) == [b"k", b"a"]
    await finished(manager.close())


@FLAVOURS
async def test_scripts_by_name(flavour: Any, emulator: RedisEmulator, url: str) -> None:
    manager = flavour(url)
    assert await finished(manager.load_script("two", "return ARGV[1]")) == manager.get_script_sha(
        "two"
    )
    for _ in range(2):
        with emulator.client() as admin:
            admin.script_flush()
        assert await finished(manager.execute_script("two", [], ["x"])) == b"x"
    assert await finished(manager.load_script("two")) == manager.get_script_sha("two")
    for call in (manager.load_script, manager.execute_script, manager.get_script_sha):
        with pytest.raises(podlink.NotFoundError, match="'none'"):
            await finished(call("none"))
    with pytest.raises(podlink.LuaScriptError, match="load_script bad"):
        await finished(manager.load_script("bad", "return return"))
    await finished(manager.load_script("fails", "return redis.call('SET', KEYS[1], 1) + {}"))
    with pytest.raises(podlink.LuaScriptError, match="execute_script fails") as caught:
        await finished(manager.execute_script("fails", ["k"]))
    assert not caught.value.outcome_unknown
    await finished(manager.close())


@FLAVOURS
async def test_script_whose_connection_breaks_has_an_unknown_outcome(
    flavour: Any, emulator: RedisEmulator, url: str
) -> None:
    manager = flavour(url)
    await finished(manager.load_script("kill", "return 1"))
    emulator.faults.drop("EVALSHA", times=1)
    with pytest.raises(podlink.RedisConnectionError) as caught:
        await finished(manager.execute_script("kill"))
    assert caught.value.outcome_unknown
    await finished(manager.close())


@FLAVOURS
async def test_nodes(flavour: Any, cluster: ClusterEmulator) -> None:
    manager = flavour(url_of(cluster))
    nodes = await finished(manager.nodes())
    assert set(nodes) == names_of(cluster)
    call = operations.get_linked_pod("n", "u", "s")
    with pytest.raises((podlink.StatefulError, NotSent), match=r"127\.0\.0\.1:1"):
        await finished(manager.send_to("127.0.0.1:1", call, RAW))
    owner = cluster.node_of("sf:{n:lk:u}")
    with owner.client() as admin:
        admin.set("sf:{n:lk:u}s", 5)
    assert await finished(manager.send_to(f"127.0.0.1:{owner.port}", call, RAW)) == b"5"
    size: Any = Call("size", ("DBSIZE",), (), lambda call, reply: reply)
    for node in cluster.masters:
        found = await finished(manager.send_to(f"127.0.0.1:{node.port}", size, RAW))
        assert found == (1 if node is owner else 0)
    await finished(manager.close())


@FLAVOURS
async def test_one_server_is_one_node(flavour: Any, url: str) -> None:
    manager = flavour(url)
    assert await finished(manager.nodes()) == [None]
    call = operations.get_linked_pod("n", "u", "s")
    assert await finished(manager.send_to(None, call, RAW)) is None
    await finished(manager.close())


def test_reserved_connection_is_closed_when_its_user_is_interrupted(url: str) -> None:
    """A reply may still come. After an ordinary exception it is used again."""
    with RedisManager(url) as manager:
        with manager.connection() as connection:
            first = connection.client_id()
        before = first
        for error, is_kept in ((RuntimeError, True), (KeyboardInterrupt, False)):
            with pytest.raises(error), manager.connection():
                raise error
            assert manager.get_pool_stats().in_use == 0
            with manager.connection() as connection:
                assert (connection.client_id() == before) is is_kept


@FLAVOURS
async def test_reserved_connection_of_a_cluster_is_the_client(
    flavour: Any, cluster: ClusterEmulator
) -> None:
    manager = flavour(url_of(cluster))
    connection = await finished(manager.get_connection())
    assert connection is manager.client
    await finished(manager.release_connection(connection))
    assert await finished(connection.get("k")) is None
    if flavour is RedisManager:
        with pytest.raises(KeyboardInterrupt), manager.connection():
            raise KeyboardInterrupt
    await finished(manager.close())


@FLAVOURS
async def test_counts(flavour: Any, url: str) -> None:
    manager = flavour(f"{url}?max_connections=5")
    reserved = [await finished(manager.get_connection()) for _ in range(3)]
    await finished(manager.release_connection(reserved.pop()))
    stats = await finished(manager.get_pool_stats())
    assert (stats.max_connections, stats.in_use, stats.idle) == (5, 2, 1)
    assert manager.count_connections() == stats
    for each in reserved:
        await finished(manager.release_connection(each))
    await finished(manager.close())
    assert manager.count_connections() is None
    with pytest.raises(podlink.RedisConnectionError, match="closed"):
        await finished(manager.get_pool_stats())
    with pytest.raises(podlink.RedisConnectionError, match="closed"):
        await finished(manager.update_config(db=1))
    assert manager.count_connections() is None


def test_cluster_that_is_not_connected_has_no_counts(cluster: ClusterEmulator) -> None:
    with RedisManager(url_of(cluster)) as manager:
        assert manager.count_connections() is None
        client = manager.client
        assert manager.client is client
        assert manager.count_connections() is not None
        manager.update_config(retries=1)
        assert manager.count_connections() is None
        manager.update_config(retries=2)
        assert manager.client is not client
        assert manager.source is manager


@FLAVOURS
async def test_update(flavour: Any, url: str) -> None:
    manager = flavour(url)
    source = manager.source
    assert manager.source is source
    await finished(manager.update_config(db=3, timeout=5.0))
    assert manager.source is not source
    assert (manager.get_config().db, manager.timeout) == (3, 5.0)
    await finished(manager.update_config(f"{url}?retries=7"))
    assert (manager.get_config().db, manager.timeout) == (0, None)
    assert manager.retry_policy.retries == 7
    await finished(manager.update_config("redis+cluster://127.0.0.1:1"))
    assert manager.is_cluster
    assert repr(manager) == f"<{flavour.__name__} redis+cluster://127.0.0.1:1>"
    await finished(manager.close())


EXECUTORS = pytest.mark.parametrize("kind", [StatefulExecutor, AsyncStatefulExecutor])


@EXECUTORS
@pytest.mark.parametrize("where", ["own", "handed in", "cluster", "cluster handed in"])
async def test_batch_larger_than_a_pipeline(
    kind: Any, where: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part of the batch may be the first that needs the script."""
    is_sync = kind is StatefulExecutor
    made: Any = request.getfixturevalue("cluster" if "cluster" in where else "emulator")
    client: Any = made.client() if is_sync else made.async_client()
    source = client
    if where == "own":
        source = request.getfixturevalue("url")
    else:
        monkeypatch.setattr(management, "MAX_PIPELINE_LENGTH", 100)
        if where == "cluster":
            source = url_of(made)
    executor = kind(source)
    uids = [f"u{number}" for number in range(management.MAX_PIPELINE_LENGTH + 100)]
    await finished(executor.set_linked_pod("n", uids[7], "s", 3))
    found = await finished(executor.batch_set_linked_pod_if_absent("n", uids, "s", 2))
    assert found == {2: [uid for uid in uids if uid != uids[7]], 3: [uids[7]]}
    assert await finished(executor.batch_remove_linked_pod("n", uids[-3:], "s")) == uids[-3:]
    await finished(executor.close())
    await finished(client.close() if is_sync else client.aclose())


@EXECUTORS
@pytest.mark.parametrize("handed_in", [False, True])
async def test_error_in_a_batch_concerns_its_call(
    kind: Any, handed_in: bool, emulator: RedisEmulator, url: str
) -> None:
    is_sync = kind is StatefulExecutor
    client: Any = emulator.client() if is_sync else emulator.async_client()
    with emulator.client() as admin:
        admin.lpush("sf:{n:lk:b}s", "no string")
    executor = kind(client if handed_in else url)
    with pytest.raises(podlink.RedisOperationError, match="WRONGTYPE") as caught:
        await finished(executor.batch_set_linked_pod_if_absent("n", ["a", "b", "c"], "s", 1))
    assert caught.value.undone == ("b",)
    assert await finished(executor.batch_get_linked_pod("n", ["a", "c"], "s")) == {1: ["a", "c"]}
    set_two = executor.batch_set_linked_pod_if_absent("n", ["d", "e"], "s", 1)
    assert await finished(set_two) == {1: ["d", "e"]}
    with emulator.client() as admin:
        statistics: Any = admin.info("commandstats")
    assert "cmdstat_multi" not in statistics
    await finished(executor.close())
    await finished(client.close() if is_sync else client.aclose())


def test_manager_closed_while_it_connects(
    cluster: ClusterEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client that was made meanwhile is closed, and not used."""
    manager = RedisManager(url_of(cluster))
    made: list[Any] = []
    original = podlink.connections.connect_cluster

    def connect(config: Any) -> Any:
        made.append(original(config))
        manager.close()
        return made[-1]

    monkeypatch.setattr(podlink.connections, "connect_cluster", connect)
    with pytest.raises(podlink.RedisConnectionError, match="closed"):
        StatefulExecutor(manager).get_linked_pod("n", "u", "s")
    (client,) = made
    for node in client.get_nodes():
        pool = client.get_redis_connection(node).connection_pool
        assert all(connection._sock is None for connection in pool._connections())


@EXECUTORS
@pytest.mark.parametrize("several", [False, True])
async def test_read_is_repeated_as_often_as_the_configuration_says(
    kind: Any, several: bool, emulator: RedisEmulator, url: str
) -> None:
    executor = kind(f"{url}?retries=2&retry_backoff=0.0001&retry_backoff_cap=0.0001")
    with emulator.client() as admin:
        admin.set("sf:{n:lk:u}s", 4)

    async def ask() -> Any:
        if several:
            return await finished(executor.batch_get_linked_pod("n", ["u"], "s"))
        return await finished(executor.get_linked_pod("n", "u", "s"))

    assert await ask() == ({4: ["u"]} if several else 4)
    command = "EVALSHA" if several else "GET"
    emulator.faults.drop(command, times=2)
    assert await ask() == ({4: ["u"]} if several else 4)
    emulator.faults.drop(command, times=3)
    with pytest.raises(podlink.RedisConnectionError):
        await ask()
    assert await ask() == ({4: ["u"]} if several else 4)
    await finished(executor.close())


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of a server that accepts connections and never replies."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@FLAVOURS
@pytest.mark.parametrize("by_default", [False, True], ids=["argument", "configuration"])
async def test_calls_of_a_manager_end_with_the_timeout(
    flavour: Any, mute: str, by_default: bool
) -> None:
    """The error names the call. Without the timeout each would take a minute."""
    config = RedisConfig(
        host="127.0.0.1",
        port=int(mute.rpartition(":")[2]),
        password="secret",
        socket_timeout=100.0,
        socket_connect_timeout=100.0,
        retries=0,
        timeout=0.02 if by_default else None,
    )
    manager = flavour(config)
    limit: dict[str, Any] = {} if by_default else {"timeout": 0.02}
    calls: dict[str, tuple[Any, ...]] = {
        "get_connection": (manager.get_connection,),
        "load_script mine": (manager.load_script, "mine", "return 1"),
        "execute_script set_linked_pod": (manager.execute_script, "set_linked_pod"),
    }
    for named, (call, *arguments) in calls.items():
        with pytest.raises(podlink.OperationTimeoutError, match=rf"\b{named}\b"):
            await finished(call(*arguments, **limit))
    with pytest.raises(podlink.OperationTimeoutError, match=r"\b(pre)?load_scripts?\b"):
        await finished(manager.preload_scripts(**limit))
    health = await finished(manager.health_check(**limit))
    assert isinstance(health.error, podlink.OperationTimeoutError)
    assert re.search(r"\bhealth_check\b", str(health.error))
    if flavour is RedisManager:
        with pytest.raises(podlink.OperationTimeoutError, match="get_connection"):
            manager.connection(**limit).__enter__()
    await finished(manager.close())


@FLAVOURS
async def test_nodes_of_a_mute_cluster_end_with_the_timeout(flavour: Any, mute: str) -> None:
    config = RedisConfig(cluster_nodes=(mute,), socket_timeout=100.0, retries=0)
    manager = flavour(config)
    with pytest.raises(podlink.OperationTimeoutError, match=CONNECTING):
        await finished(manager.nodes(timeout=0.02))
    call = operations.get_linked_pod("n", "u", "s")
    for send, arguments in (
        (manager.send, (call, RAW, 0.02)),
        (manager.send_all, ([call], RAW, 0.02)),
        (manager.send_to, ("127.0.0.1:1", call, RAW, 0.02)),
    ):
        try:
            error = (await finished(send(*arguments)))[0]
        except Exception as raised:
            error = raised
        translated = translate(error, "it", script=False, write=True)
        assert isinstance(translated, podlink.OperationTimeoutError), send
        assert not translated.outcome_unknown
    await finished(manager.close())


@FLAVOURS
async def test_cluster_that_cannot_be_reached(flavour: Any) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        manager = flavour(f"redis+cluster://127.0.0.1:{closed.getsockname()[1]}?retries=0")
        with pytest.raises(podlink.RedisConnectionError, match=CONNECTING):
            await finished(manager.nodes())
        health = await finished(manager.health_check())
        assert isinstance(health.error, podlink.RedisConnectionError)
        await finished(manager.close())


@FLAVOURS
async def test_closing_closes_the_connections(
    flavour: Any, emulator: RedisEmulator, url: str
) -> None:
    manager = flavour(f"{url}?client_name=ours")
    client = manager.client
    reserved = await finished(manager.get_connection())
    assert await finished(reserved.ping())
    await finished(manager.close())
    await finished(manager.close())

    def connected() -> bool:
        with emulator.client() as admin:
            clients: Any = admin.client_list()
        return any(each["name"] == "ours" for each in clients)

    until(lambda: not connected(), "the connections are closed")
    await finished(manager.release_connection(reserved))
    assert manager.client is not client


@FLAVOURS
async def test_update_to_a_client_that_cannot_be_created_changes_nothing(
    flavour: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = flavour(url)
    client, source = manager.client, manager.source
    monkeypatch.setitem(sys.modules, "redis_emulator", None)
    with pytest.raises(podlink.NotFoundError, match="pip install"):
        await finished(manager.update_config("emulator://other?timeout=3&retries=9"))
    assert manager.get_config().url == url
    assert repr(manager) == f"<{flavour.__name__} {url}>"
    assert (manager.client, manager.source) == (client, source)
    assert (manager.timeout, manager.retry_policy.retries) == (None, 3)
    assert await finished(manager.health_check())
    await finished(manager.close())


async def test_manager_closed_during_an_update_stays_closed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread closes it while the new configuration is checked."""
    manager = AsyncRedisManager(url)
    checked = RedisConfig.with_changes
    threads: list[threading.Thread] = []

    def check(config: RedisConfig, **changes: Any) -> RedisConfig:
        thread = threading.Thread(target=lambda: asyncio.run(manager.close()))
        thread.start()
        threads.append(thread)
        while thread.is_alive() and not manager._lock.locked():
            pass
        return checked(config, **changes)

    monkeypatch.setattr(RedisConfig, "with_changes", check)
    await manager.update_config(db=1)
    threads[0].join()
    assert manager.count_connections() is None


@FLAVOURS
@pytest.mark.filterwarnings("error")  # for example of a coroutine that is never awaited
@pytest.mark.parametrize("on_cluster", [False, True])
async def test_timeout_out_of_range_is_refused(
    flavour: Any, cluster: ClusterEmulator, url: str, on_cluster: bool
) -> None:
    manager = flavour(url_of(cluster) if on_cluster else url)
    call_of_a_link = operations.get_linked_pod("n", "u", "s")
    for call, *arguments in (
        (manager.get_connection,),
        (manager.health_check,),
        (manager.load_script, "one", "return 1"),
        (manager.execute_script, "set_linked_pod"),
        (manager.preload_scripts,),
        (manager.nodes,),
        (manager.send, call_of_a_link, RAW),
        (manager.send_all, [call_of_a_link], RAW),
        (manager.send_to, None, call_of_a_link, RAW),
    ):
        with pytest.raises(podlink.InvalidParameterError, match="timeout"):
            await finished(call(*arguments, timeout=-1.0))
    gc.collect()
    assert await finished(manager.health_check())
    await finished(manager.close())


@FLAVOURS
async def test_script_that_the_server_does_not_load(
    flavour: Any, emulator: RedisEmulator, url: str
) -> None:
    manager = flavour(url)
    with emulator.faults.fail("SCRIPT LOAD", error="ERR Error compiling script"):
        with pytest.raises(podlink.LuaScriptError, match=r"\b(pre)?load_scripts?\b"):
            await finished(manager.preload_scripts())
        with pytest.raises(podlink.LuaScriptError, match=r"\bload_script one\b"):
            await finished(manager.load_script("one", "return 1"))
    await finished(manager.close())


def test_synchronous_manager_in_a_block_is_closed(url: str) -> None:
    with RedisManager(url) as manager:
        assert manager.count_connections() is not None
    assert manager.count_connections() is None


async def test_asyncio_manager_in_a_block_is_closed(url: str) -> None:
    async with AsyncRedisManager(url) as manager:
        assert manager.count_connections() is not None
    assert manager.count_connections() is None


@FLAVOURS
async def test_repr_of_a_client_that_was_handed_in(flavour: Any, emulator: RedisEmulator) -> None:
    client: Any = emulator.client() if flavour is RedisManager else emulator.async_client()
    assert repr(flavour(client)) == f"<{flavour.__name__} {type(client).__name__}>"
    await finished(client.close() if flavour is RedisManager else client.aclose())


def test_threads_that_connect_at_once_share_a_client(
    cluster: ClusterEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = RedisManager(url_of(cluster))
    connecting, may_connect = threading.Event(), threading.Event()
    original = podlink.connections.connect_cluster
    clients: list[Any] = []

    def connect(config: Any) -> Any:
        connecting.set()
        assert may_connect.wait(60)
        return original(config)

    def use() -> None:
        clients.append(manager.client)

    begin = manager._connecting.begin

    def begin_second() -> Any:
        may_connect.set()
        return begin()

    monkeypatch.setattr(podlink.connections, "connect_cluster", connect)
    closed: list[Any] = []
    monkeypatch.setattr(podlink.connections, "disconnect", closed.append)
    first = threading.Thread(target=use)
    first.start()
    assert connecting.wait(60)
    monkeypatch.setattr(manager._connecting, "begin", begin_second)
    use()
    first.join()
    assert clients == [manager.client] * 2
    assert closed == []
    monkeypatch.undo()
    manager.close()


def test_configuration_changed_while_the_manager_connects(
    cluster: ClusterEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client of the old configuration is not used."""
    manager = RedisManager(url_of(cluster))
    original = podlink.connections.connect_cluster
    names: list[Any] = []

    def connect(config: Any) -> Any:
        names.append(config.client_name)
        if len(names) == 1:
            manager.update_config(client_name="new")
        return original(config)

    monkeypatch.setattr(podlink.connections, "connect_cluster", connect)
    assert manager.client.get("k") is None
    assert names == [None, "new"]
    connection = manager.client.get_redis_connection(manager.client.get_node_from_key("k"))
    assert connection.client_getname() in (b"new", "new")
    manager.close()


@EXECUTORS
async def test_last_error_of_a_batch_counts(kind: Any, emulator: RedisEmulator, url: str) -> None:
    executor = kind(f"{url}?retries=1&retry_backoff=0.0001")
    with emulator.client() as admin:
        admin.set("sf:{n:lk:u}s", 4)
    assert await finished(executor.batch_get_linked_pod("n", ["u"], "s")) == {4: ["u"]}
    with emulator.faults.drop("EVALSHA", times=1), emulator.faults.fail("EVALSHA", error="ERR two"):
        with pytest.raises(podlink.StatefulError, match="two"):
            await finished(executor.batch_get_linked_pod("n", ["u"], "s"))
    await finished(executor.close())
