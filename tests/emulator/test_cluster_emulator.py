"""The API of `ClusterEmulator`, in the process and over TCP."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from redis_emulator import ClusterEmulator, ManualClock, RedisEmulator
from tests.support.transports import program
from tests.support.waiting import PATIENCE

KEYS = [f"key-{number}" for number in range(30)]
SAME_POSITION = (b"{b}2201e130-0", b"{b}38f96f10-5")
"""Keys with the same position in the order of a scan."""


@pytest.fixture
def cluster() -> ClusterEmulator:
    return RedisEmulator.cluster(seed=1, clock=ManualClock())


@pytest.fixture
def client(cluster: ClusterEmulator) -> redis.RedisCluster:
    return cluster.client(decode_responses=True)


def fill(client: redis.RedisCluster) -> None:
    for key in KEYS:
        assert client.set(key, key)


def holds_all(client: redis.RedisCluster) -> bool:
    return all(client.get(key) == key for key in KEYS)


def test_keys_are_stored_on_the_nodes_of_their_slots(
    cluster: ClusterEmulator, client: redis.RedisCluster
) -> None:
    fill(client)
    assert holds_all(client)
    assert all(len(master[0]) for master in cluster.masters)
    assert sum(len(master[0]) for master in cluster.masters) == len(KEYS)
    assert [len(node.slots) for node in cluster.nodes] == [5461, 5461, 5462, 0, 0, 0]
    for key in KEYS:
        assert cluster.node_of(key)[0][key] == key.encode()
        assert cluster.slot_of(key) in cluster.node_of(key).slots
        assert cluster.execute("GET", key) == key.encode()


def test_replicas_have_the_data_of_their_master(
    cluster: ClusterEmulator, client: redis.RedisCluster
) -> None:
    client.set("foo", "1", ex=10)
    replica = cluster.nodes[5].client(decode_responses=True)
    with pytest.raises(redis.ResponseError, match="12182"):
        replica.get("foo")
    link = replica.connection_pool.get_connection(*_OLD)
    for command, reply in ((("READONLY",), "OK"), (("GET", "foo"), "1"), (("TTL", "foo"), 10)):
        link.send_command(*command)
        assert link.read_response() == reply
    cluster.clock.advance(11)
    link.send_command("GET", "foo")
    assert link.read_response() is None


_OLD = () if int(redis.__version__.partition(".")[0]) >= 6 else ("_",)


def test_xread_block_on_a_replica(cluster: ClusterEmulator) -> None:
    replica = cluster.nodes[5].client()
    link = replica.connection_pool.get_connection(*_OLD)
    link.send_command("READONLY")
    link.read_response()
    link.send_command("XREAD", "BLOCK", 0, "STREAMS", "foo", "$")
    cluster.execute("XADD", "foo", "1-1", "a", "b")
    assert b"1-1" in repr(link.read_response()).encode()


def test_move_slot(cluster: ClusterEmulator, client: redis.RedisCluster) -> None:
    client.set("foo", "1", px=5000)
    cluster.move_slot(cluster.slot_of("foo"), 0)
    assert cluster.node_of("foo") is cluster.nodes[0]
    assert client.get("foo") == "1"
    assert client.pttl("foo") == 5000
    assert client.set("foo", "2")
    assert "foo" not in cluster.nodes[2][0]
    with pytest.raises(ValueError, match="replica"):
        cluster.move_slot(1, 3)


def test_slot_that_is_being_migrated(cluster: ClusterEmulator, client: redis.RedisCluster) -> None:
    source, target = cluster.nodes[2], cluster.nodes[0]
    slot = cluster.slot_of("foo")
    client.set("foo", "1")
    target.execute("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
    source.execute("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
    client.set("{foo}new", "2")
    assert "{foo}new" in target[0]
    assert "foo" in source[0]
    assert [client.get("foo"), client.get("{foo}new")] == ["1", "2"]
    with pytest.raises(redis.ResponseError, match="during rehashing"):
        source.client().mget("foo", "{foo}new")


def test_fail_over(cluster: ClusterEmulator, client: redis.RedisCluster) -> None:
    fill(client)
    new = cluster.fail_over(0)
    assert new is cluster.nodes[3]
    assert new.is_master
    assert not cluster.nodes[0].is_master
    assert holds_all(client)
    fill(client)
    assert cluster.fail_over(cluster.nodes[0]) is cluster.nodes[0]
    assert holds_all(client)
    cluster.clock.advance(1)
    with pytest.raises(ValueError, match="no running replica"):
        ClusterEmulator(replicas=0).fail_over(0)


def test_kill_and_revive(cluster: ClusterEmulator, client: redis.RedisCluster) -> None:
    fill(client)
    cluster.kill(0)
    assert cluster.nodes[0].is_down
    assert cluster.nodes[3].is_master
    assert holds_all(client)
    with pytest.raises(redis.exceptions.ConnectionError, match="is down"):
        cluster.nodes[0].client(retry=Retry(NoBackoff(), 0)).ping()
    cluster.revive(0)
    assert not cluster.nodes[0].is_master
    cluster.kill(3)
    assert cluster.nodes[0].is_master
    assert holds_all(client)


def test_commands_are_refused_while_the_cluster_is_down(cluster: ClusterEmulator) -> None:
    cluster.kill(0, fail_over=False)
    other = cluster.nodes[2].client()
    with pytest.raises(redis.ResponseError, match="The cluster is down"):
        other.get("foo")
    for node in cluster.nodes:
        node.execute("CONFIG", "SET", "cluster-require-full-coverage", "no")
    assert other.get("foo") is None
    cluster.revive(0)
    assert cluster.client().get("b") is None


def test_shutdown_of_a_master_by_a_client(
    cluster: ClusterEmulator, client: redis.RedisCluster
) -> None:
    fill(client)
    cluster.nodes[1].client(retry=Retry(NoBackoff(), 0)).shutdown(nosave=True)
    assert cluster.nodes[1].is_down
    assert holds_all(client)


def test_snapshot_and_restore(cluster: ClusterEmulator, client: redis.RedisCluster) -> None:
    fill(client)
    snapshot = cluster.snapshot()
    client.flushall(target_nodes=redis.RedisCluster.PRIMARIES)
    cluster.fail_over(1)
    cluster.move_slot(cluster.slot_of(KEYS[0]), 0)
    client.set("other", 1)
    again = cluster.snapshot()
    for _ in range(2):
        cluster.restore(snapshot)
        assert holds_all(client)
        assert client.get("other") is None
        assert [node.is_master for node in cluster.nodes] == [True] * 3 + [False] * 3
        cluster.restore(again)
        assert client.get("other") == "1"
        assert client.get(KEYS[1]) is None
        assert cluster.nodes[4].is_master
    with pytest.raises(ValueError, match="another cluster"):
        ClusterEmulator().restore(snapshot)


def test_reset_restores_nodes_and_slots(
    cluster: ClusterEmulator, client: redis.RedisCluster
) -> None:
    fill(client)
    ids = [node.id for node in cluster.nodes]
    cluster.kill(0)
    cluster.nodes[4].execute("CLUSTER", "RESET", "HARD")
    cluster.reset()
    assert client.get(KEYS[0]) is None
    assert [node.id for node in cluster.nodes] == ids
    assert [node.is_master for node in cluster.nodes] == [True] * 3 + [False] * 3
    assert (
        cluster.nodes[0].execute("CONFIG", "GET", "cluster-enabled")[b"cluster-enabled"] == b"yes"
    )
    fill(client)
    assert holds_all(client)


def test_cluster_reset_meet_and_forget(cluster: ClusterEmulator) -> None:
    first, fourth = cluster.nodes[0], cluster.nodes[3]
    cluster.execute("SET", "b", 1)
    fourth.execute("CLUSTER", "RESET", "HARD")
    assert fourth.execute("DBSIZE") == 0
    assert first.execute("DBSIZE") == 1
    assert len(fourth.execute("CLUSTER", "NODES").splitlines()) == 1
    fourth.execute("CLUSTER", "MEET", "127.0.0.1", first.port)
    assert len(fourth.execute("CLUSTER", "NODES").splitlines()) == 6
    fourth.execute("CLUSTER", "REPLICATE", first.id)
    assert fourth.execute("DBSIZE") == 1
    cluster.nodes[1].execute("CLUSTER", "FORGET", fourth.id)
    assert len(cluster.nodes[2].execute("CLUSTER", "NODES").splitlines()) == 5
    assert cluster.nodes[2].execute("CLUSTER", "FORGET", fourth.id)


def test_node_ids_follow_from_the_seed() -> None:
    one, two = ClusterEmulator(seed=5), ClusterEmulator(seed=5)
    assert [node.id for node in one.nodes] == [node.id for node in two.nodes]
    assert ClusterEmulator(seed=6).nodes[0].id != one.nodes[0].id


def test_named_clusters_are_shared() -> None:
    assert ClusterEmulator.named("a") is ClusterEmulator.named("a")
    assert ClusterEmulator.named("a") is not ClusterEmulator.named("b")
    with pytest.raises(ValueError, match="nodes must be 1 to 1000"):
        ClusterEmulator(nodes=0)


def test_pipelines_scripts_and_pubsub(client: redis.RedisCluster) -> None:
    pipeline = client.pipeline()
    for key in KEYS:
        pipeline.set(key, key)
    assert pipeline.execute() == [True] * len(KEYS)
    assert client.eval("return redis.call('get', KEYS[1])", 1, KEYS[3]) == KEYS[3]
    listener = client.pubsub()
    listener.subscribe("news")
    assert listener.get_message(timeout=PATIENCE)["type"] == "subscribe"
    client.publish("news", "hello")
    assert listener.get_message(timeout=PATIENCE)["data"] == "hello"


def test_threads_use_the_cluster_while_slots_move(cluster: ClusterEmulator) -> None:
    client = cluster.client()

    def work() -> None:
        for _ in range(50):
            client.incr("foo")
            client.incr("b")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for slot in range(40):
        cluster.move_slot(cluster.slot_of("foo"), slot % 3)
    for thread in threads:
        thread.join()
    assert (client.get("foo"), client.get("b")) == (b"200", b"200")


@pytest.mark.parametrize("protocol", [2, 3])
def test_async_client(cluster: ClusterEmulator, protocol: int) -> None:
    async def run() -> None:
        client = cluster.async_client(decode_responses=True, protocol=protocol)
        for key in KEYS:
            assert await client.set(key, key)
        cluster.move_slot(cluster.slot_of(KEYS[0]), cluster.masters[0])
        cluster.move_slot(cluster.slot_of(KEYS[1]), cluster.masters[1])
        assert [await client.get(key) for key in KEYS] == KEYS
        pipeline = client.pipeline()
        for key in KEYS:
            pipeline.get(key)
        assert await pipeline.execute() == KEYS
        cluster.kill(0)
        assert [await client.get(key) for key in KEYS] == KEYS
        await client.aclose()

    asyncio.run(run())


def test_redis_py_cluster_client_over_tcp(
    cluster: ClusterEmulator, client: redis.RedisCluster
) -> None:
    client.set("foo", "1")
    with cluster.serve():
        with redis.RedisCluster(host="127.0.0.1", port=cluster.nodes[4].port) as remote:
            assert remote.get("foo") == b"1"
            cluster.move_slot(cluster.slot_of("foo"), 0)
            assert remote.get("foo") == b"1"
            cluster.kill(0)
            assert remote.get("foo") == b"1"
            cluster.revive(0)
            cluster.kill(3)
            assert remote.get("foo") == b"1"
        assert client.get("foo") == "1"
    assert cluster.nodes[0].port == 7000


def test_redis_cli_check_and_reshard(cluster: ClusterEmulator) -> None:
    path = program("redis-cli")
    with cluster.serve():
        port = str(cluster.nodes[0].port)

        def cli(*words: str, text: str = "") -> str:
            return subprocess.run(
                [path, *words], input=text, capture_output=True, text=True, timeout=20,
                check=True,
            ).stdout  # fmt: skip

        assert "1" in cli("-c", "-p", port, text="set foo 1\nget foo\n")
        assert "[OK] All 16384 slots covered." in cli("--cluster", "check", f"127.0.0.1:{port}")
        cli(
            *("--cluster", "reshard", f"127.0.0.1:{port}", "--cluster-yes"),
            *("--cluster-from", cluster.nodes[2].id, "--cluster-to", cluster.nodes[0].id),
            *("--cluster-slots", "1300"),
        )
        assert cluster.node_of("foo") is cluster.nodes[0]
        assert cluster.execute("GET", "foo") == b"1"
        assert "[OK] All 16384 slots covered." in cli("--cluster", "check", f"127.0.0.1:{port}")


def test_redis_cli_backup_del_node_add_node_and_rebalance(
    cluster: ClusterEmulator, tmp_path: Path
) -> None:
    path = program("redis-cli")
    with cluster.serve():
        first, last = (f"127.0.0.1:{cluster.nodes[place].port}" for place in (0, 5))
        for words in (
            ("backup", first, str(tmp_path)),
            ("del-node", first, cluster.nodes[5].id),
            ("add-node", last, first, "--cluster-slave"),
            ("rebalance", first, "--cluster-weight", f"{cluster.nodes[0].id}=2"),
            ("check", first),
        ):
            command = [path, "--cluster", *words]
            assert subprocess.run(command, capture_output=True, timeout=20).returncode == 0, words
    assert len(list(tmp_path.glob("*.rdb"))) == 3
    assert len(cluster.nodes[0].slots) > 8000


def test_command_line_option_cluster() -> None:
    port = _seven_free_ports()
    command = [sys.executable, "-m", "redis_emulator", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--cluster", "3", "--requirepass", "secret"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert f"is ready on 127.0.0.1, ports {port}, {port + 1}" in process.stdout.readline()
    with redis.RedisCluster(host="127.0.0.1", port=port + 5, password="secret") as client:
        assert client.set("foo", 1)
        assert {node.port for node in client.get_nodes()} == set(range(port, port + 6))
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    process.stdout.close()


def _seven_free_ports() -> int:
    """The first of seven consecutive ports that are free now."""
    for port in range(21000, 30000, 7):
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for place in range(7):
                held.enter_context(socket.create_server(("127.0.0.1", port + place)))
            return port
    raise LookupError("no seven ports in a row are free")


def scanned(cluster: ClusterEmulator, *options: str) -> list[bytes]:
    """All keys that a complete CLUSTERSCAN returns."""
    cursor, found = b"0", []
    while True:
        node = cluster.node_of(cursor)
        cursor, keys = node.execute("CLUSTERSCAN", cursor, *options)
        found += keys
        if cursor == b"0":
            return found


@pytest.fixture
def valkey() -> ClusterEmulator:
    return RedisEmulator.cluster(seed=1, clock=ManualClock(), flavour="valkey")


def test_clusterscan_returns_every_key_that_stays(valkey: ClusterEmulator) -> None:
    stays = {b"stays-%d" % number for number in range(200)}
    for key in stays:
        valkey.execute("SET", key, 1)
    cursor, found, step = b"0", [], 0
    while cursor != b"0" or not step:
        cursor, keys = valkey.node_of(cursor).execute("CLUSTERSCAN", cursor, "COUNT", 3)
        found += keys
        step += 1
        valkey.execute("SET", f"comes-{step}", 1)
        valkey.execute("DEL", f"comes-{step - 1}")
        if step == 20:
            snapshot = valkey.snapshot()
            valkey.masters[0].execute("FLUSHALL")
            valkey.restore(snapshot)
        if step == 30:
            slot = valkey.slot_of(cursor)
            valkey.move_slot(slot, to=2)
    assert stays <= set(found)
    assert sorted(scanned(valkey, "MATCH", "stays-*")) == sorted(stays)


def test_clusterscan_returns_keys_with_the_same_position(valkey: ClusterEmulator) -> None:
    for key in (*SAME_POSITION, "{b}1"):
        valkey.execute("SET", key, 1)
    assert sorted(scanned(valkey, "COUNT", "1")) == sorted((*SAME_POSITION, b"{b}1"))


def test_migrateslots_of_all_slots_of_a_node(valkey: ClusterEmulator) -> None:
    client = valkey.client(decode_responses=True)
    fill(client)
    client.pexpire(KEYS[0], 100_000)
    giver, taker, dead = valkey.masters
    giver.execute("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 0, 5460, "NODE", taker.id)
    assert [len(node.slots) for node in valkey.masters] == [0, 10922, 5462]
    assert holds_all(client)
    assert client.pttl(KEYS[0]) == 100_000
    (job,) = giver.execute("CLUSTER", "GETSLOTMIGRATIONS")
    assert (job[b"state"], job[b"slot_ranges"]) == (b"success", b"0-5460")
    valkey.kill(dead, fail_over=False)
    taker.execute("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 0, 9, "NODE", dead.id)
    job = taker.execute("CLUSTER", "GETSLOTMIGRATIONS")[0]
    assert job[b"state"] == b"failed"
    assert job[b"message"] == b"Unable to connect to target node: Connection refused"
    valkey.reset()
    assert giver.execute("CLUSTER", "GETSLOTMIGRATIONS") == []
    assert len(giver.slots) == 5461
