"""Clients of a Sentinel that names another master.

The Sentinel here answers only which process is the master. The masters are emulators.
"""

from __future__ import annotations

import inspect
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from podlink import AsyncStatefulExecutor, RedisConfig, StatefulExecutor
from podlink.pool import SentinelPool
from redis_emulator import RedisEmulator
from tests.support.topologies import Caller
from tests.support.waiting import until


class FakeSentinel:
    """Answers ``SENTINEL MASTERS`` and ``GET-MASTER-ADDR-BY-NAME``, everything else with an error.

    Attributes:
        master: port of the master.
        listed: port of the master in ``SENTINEL MASTERS``, if it is another one.
    """

    def __init__(self) -> None:
        self.master: int | None = None
        self.listed: int | None = None
        self.asked = 0
        self.connected = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            self.connected += 1
        try:
            self._answer_all(client)
        finally:
            with self._lock:
                self.connected -= 1

    def _answer_all(self, client: socket.socket) -> None:
        with client:
            while request := client.recv(65536):
                for _ in range(request.upper().count(b"\r\nMASTERS\r\n")):
                    self.asked += 1
                    client.sendall(self._masters())
                for _ in range(request.upper().count(b"\r\nGET-MASTER-ADDR-BY-NAME\r\n")):
                    client.sendall(_array("127.0.0.1", str(self.master)))
                for command in (b"\r\nCLIENT\r\n", b"\r\nHELLO\r\n"):
                    client.sendall(b"-ERR unknown command\r\n" * request.upper().count(command))

    def _masters(self) -> bytes:
        state = {
            "name": "mymaster", "ip": "127.0.0.1", "port": str(self.listed or self.master),
            "flags": "master",
            "num-other-sentinels": "0", "quorum": "1",
        }  # fmt: skip
        return b"*1\r\n" + _array(*(part for pair in state.items() for part in pair))

    def close(self) -> None:
        self._listener.close()


def _array(*parts: str) -> bytes:
    sent = "".join(f"${len(part)}\r\n{part}\r\n" for part in parts)
    return f"*{len(parts)}\r\n{sent}".encode()


@pytest.fixture
def sentinel() -> Iterator[FakeSentinel]:
    made = FakeSentinel()
    yield made
    made.close()


def test_client_uses_the_new_master_after_a_failover(sentinel: FakeSentinel) -> None:
    old, new = RedisEmulator(), RedisEmulator()
    with old.serve(port=0) as first, new.serve(port=0) as second:
        sentinel.master = first.port
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster"
        config = RedisConfig.from_url(url, protocol=2, retry_backoff=0.001)
        with StatefulExecutor(config) as executor:
            executor.set_linked_pod("n", "u", "s", 1)
            pool: Any = executor.manager.client.connection_pool
            assert isinstance(pool, SentinelPool)
            assert pool.master_address == ("127.0.0.1", first.port)
            idle, used = [pool.get_connection() for _ in range(2)], pool.get_connection()
            for each in idle:
                pool.release(each)
            old.client().replicaof("127.0.0.1", second.port)
            sentinel.master = second.port
            # The old master refuses the write, so Sentinel is asked again.
            assert executor.set_linked_pod("n", "u", "s", 2) is None
            assert new.client().get("sf:{n:lk:u}s") == b"2"
            assert pool.master_address == ("127.0.0.1", second.port)
            open_still = [each for each in idle if each._sock is not None]
            assert {each.port for each in open_still} <= {second.port}, "nothing leads to the old"
            pool.release(used)
            assert used._sock is None
            assert used not in pool._idle
            assert all(each.port == second.port for each in pool._idle if each._sock is not None)


def test_unreachable_sentinel_is_skipped(sentinel: FakeSentinel) -> None:
    emulator = RedisEmulator()
    with emulator.serve(port=0) as server, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        sentinel.master = server.port
        nodes = f"127.0.0.1:{closed.getsockname()[1]},127.0.0.1:{sentinel.port}"
        config = RedisConfig.from_url(f"redis+sentinel://{nodes}/mymaster", protocol=2)
        with StatefulExecutor(config) as executor:
            assert executor.set_linked_pod("n", "u", "s", 1) is None
            assert executor.metrics.total == 0


async def test_asyncio_connections_to_the_old_master_are_closed(
    sentinel: FakeSentinel,
) -> None:
    """The old master may still accept writes, which would be lost."""
    old, new = RedisEmulator(), RedisEmulator()
    with old.serve(port=0) as first, new.serve(port=0) as second:
        sentinel.master = first.port
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster"
        config = RedisConfig.from_url(url, protocol=2, retry_backoff=0.001)
        async with AsyncStatefulExecutor(config) as executor:
            pool: Any = executor.manager.client.connection_pool
            idle, used = await pool.get_connection(), await pool.get_connection()
            pool.give_back(idle)
            sentinel.master = second.port
            assert await pool.get_master_address() == ("127.0.0.1", second.port)
            assert not idle.is_connected
            pool.give_back(used)
            assert await executor.set_linked_pod("n", "u", "s", 2) is None
            assert new.client().get("sf:{n:lk:u}s") == b"2"
            assert old.client().get("sf:{n:lk:u}s") is None


@pytest.mark.parametrize("way", ["close", "update_config"])
@pytest.mark.parametrize("flavour", [StatefulExecutor, AsyncStatefulExecutor])
async def test_connections_to_sentinels_are_closed(
    sentinel: FakeSentinel, flavour: Any, way: str
) -> None:
    with RedisEmulator() as emulator, emulator.serve(port=0) as server:
        sentinel.master = server.port
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster?protocol=2"
        executor = flavour(url)
        await finished(executor.set_linked_pod("n", "u", "s", 1))
        until(lambda: sentinel.connected == 1)
        client = executor.manager.client  # held, so that it is not closed as garbage
        if way == "close":
            await finished(executor.close())
        else:
            await finished(executor.manager.update_config(server.url))
        until(lambda: sentinel.connected == 0, "the connection to the Sentinel is closed")
        assert client is not None
        await finished(executor.close())


async def finished(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_old_master_is_not_used_while_sentinel_fails_over(
    sentinel: FakeSentinel, kind: str
) -> None:
    """Until all replicas follow, SENTINEL MASTERS lists the old master, which may be up again."""
    old, new = RedisEmulator(), RedisEmulator()
    with old.serve(port=0) as first, new.serve(port=0) as second:
        sentinel.listed, sentinel.master = first.port, second.port
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster"
        caller = Caller(kind).connect(url, protocol=2)
        assert caller.set_linked_pod("n", "u", "s", 2) is None
        assert new.client().get("sf:{n:lk:u}s") == b"2"
        assert old.client().dbsize() == 0
        caller.close()
        caller.loop.close()
