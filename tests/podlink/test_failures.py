"""Failures of a real server: the error code of each, and that calls work again when the server is
back.

Every case runs on every installed server, sync and asyncio. No test sleeps: a paused process is one
that got SIGSTOP, and timeouts are below one second.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis

import podlink
from podlink import (
    AsyncStatefulExecutor,
    ErrorCode,
    InternalError,
    LuaScriptError,
    OperationTimeoutError,
    RedisConnectionError,
    RedisOperationError,
    StatefulExecutor,
)
from pytest_podlink import servers
from tests.support.real_servers import real_servers
from tests.support.waiting import PATIENCE

SERVERS = sorted(executable.name for executable in servers.installed())
OPTIONS: dict[str, Any] = {"socket_timeout": PATIENCE, "retries": 2, "retry_backoff": 0.001}
LINK, INDEX = "sf:{n:lk:u}s", "sf:{n:lk:u}"


@pytest.fixture(scope="module", params=real_servers(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    with servers.start(request.param) as started:
        yield started


@pytest.fixture
def admin(server: servers.Server) -> Iterator[redis.Redis]:
    """An administrator's client of an empty server."""
    with server.client() as client:
        client.flushall()
        yield client


class Caller:
    """A sync or asyncio executor, called synchronously."""

    def __init__(self, kind: str) -> None:
        self.cls = {"sync": StatefulExecutor, "async": AsyncStatefulExecutor}[kind]
        self.loop = asyncio.new_event_loop()
        self.executor: Any = None

    def connect(self, url: str, **changes: Any) -> Caller:
        config = podlink.RedisConfig.from_url(url, **{**OPTIONS, **changes})
        self.close()
        self.executor = self.cls(config)
        return self

    def finish(self, result: Any) -> Any:
        return self.loop.run_until_complete(result) if asyncio.iscoroutine(result) else result

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.executor, name)
        return lambda *args, **kwargs: self.finish(method(*args, **kwargs))

    def manager(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self.finish(getattr(self.executor.manager, name)(*args, **kwargs))

    def settle(self) -> None:
        """Run the event loop, so that it sees closed connections as in a running application."""
        for _ in range(3):
            self.loop.run_until_complete(asyncio.sleep(0))

    def close(self) -> None:
        if self.executor is not None:
            self.finish(self.executor.close())


@pytest.fixture(params=["sync", "async"])
def caller(request: pytest.FixtureRequest) -> Iterator[Caller]:
    made = Caller(request.param)
    yield made
    made.close()
    made.loop.close()


def succeeds(caller: Caller) -> bool:
    """Return whether a write, a read and a batch succeed."""
    caller.set_linked_pod("n", "w", "s", 3)
    found = caller.batch_get_linked_pod("n", ["w", "nobody"], "s")
    return bool(caller.get_linked_pod("n", "w", "s") == 3 and found == {3: ["w"]})


def failed(caller: Caller, code: ErrorCode) -> int:
    """Return how many failures with that code the executor has counted."""
    entry = caller.executor.metrics.get(code)
    return 0 if entry is None else int(entry.count)


def test_killed_server_is_a_connection_error(
    server: servers.Server, admin: redis.Redis, caller: Caller
) -> None:
    caller.connect(server.url)
    assert succeeds(caller)
    server.kill()
    try:
        for _ in range(2):
            with pytest.raises(RedisConnectionError, match="no connection") as caught:
                caller.set_linked_pod("n", "u", "s", 1)
            with pytest.raises(ConnectionError):
                caller.get_linked_pod("n", "u", "s")
        assert isinstance(caught.value.cause, redis.ConnectionError)
        assert not caller.manager("health_check")
    finally:
        server.restart()
    assert succeeds(caller)
    assert caller.manager("health_check")
    assert failed(caller, ErrorCode.REDIS_CONNECTION_ERROR) == 4


def test_paused_server_is_a_timeout(
    server: servers.Server, admin: redis.Redis, caller: Caller
) -> None:
    caller.connect(server.url, socket_timeout=0.8)
    assert succeeds(caller)
    server.pause()
    try:
        with pytest.raises(OperationTimeoutError, match="the outcome is unknown"):
            caller.remove_linked_pod("n", "w", "s")
        with pytest.raises(TimeoutError) as caught:
            caller.get_linked_pod("n", "w", "s")
        assert "outcome" not in str(caught.value)
    finally:
        server.resume()
    # The removal may be executed or not; its late reply is never taken for that of another call.
    assert caller.get_linked_pod("n", "w", "s") in (3, None)
    assert succeeds(caller)


def test_closed_port_is_a_connection_error_with_known_outcome(
    server: servers.Server, caller: Caller
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        caller.connect(f"redis://127.0.0.1:{port}")
        with pytest.raises(RedisConnectionError) as caught:
            caller.set_linked_pod("n", "u", "s", 1)
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert "outcome" not in str(caught.value), "nothing was sent, and so nothing is unknown"
    caller.manager("update_config", port=server.port)
    assert succeeds(caller)


def test_idle_connections_closed_by_the_server_are_replaced(
    server: servers.Server, admin: redis.Redis, caller: Caller
) -> None:
    caller.connect(server.url)
    for _ in range(3):
        assert succeeds(caller)
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        caller.settle()
    assert succeeds(caller)
    assert caller.executor.metrics.total == 0


def test_wrong_password_is_reported_but_not_shown(
    server: servers.Server, admin: redis.Redis, caller: Caller
) -> None:
    admin.config_set("requirepass", "right")
    try:
        for secret in ("wrong-secret", None):
            caller.connect(server.url, password=secret)
            with pytest.raises(RedisConnectionError, match="credentials") as caught:
                caller.set_linked_pod("n", "u", "s", 1)
            assert "wrong-secret" not in f"{caught.value}{caught.value!r}{caller.executor!r}"
        caller.manager("update_config", password="right")
        assert succeeds(caller)
    finally:
        admin.config_set("requirepass", "")


def contents(client: redis.Redis) -> dict[bytes, Any]:
    """Return everything that the server stores."""
    keys: Any = client.keys("*")
    return {key: (client.dump(key), client.pttl(key)) for key in keys}


LINK_OPERATIONS: list[tuple[str, tuple[Any, ...]]] = [
    ("set_linked_pod", ("n", "u", "s", 1)), ("try_set_linked_pod", ("n", "u", "s", 1)),
    ("set_linked_pod_if_absent", ("n", "u", "s", 1)), ("create_linked_pod", ("n", "u", "s", 1)),
    ("remove_linked_pod", ("n", "u", "s")), ("remove_linked_pod_with_id", ("n", "u", "s", 1)),
    ("get_linked_pod", ("n", "u", "s")), ("get_linked_pod_if_persist", ("n", "u", "s")),
    ("require_linked_pod", ("n", "u", "s")), ("read_pod_link", ("n", "u", "s")),
    ("batch_get_linked_pod", ("n", ["v", "u"], "s")),
]  # fmt: skip
INDEX_OPERATIONS = [*LINK_OPERATIONS[:6], ("get_link_service", ("n", "u"))]


def check_refused(
    caller: Caller,
    admin: redis.Redis,
    operations: list[tuple[str, tuple[Any, ...]]],
    error: type[podlink.StatefulError],
    *named: str,
) -> None:
    """Check that each operation raises the same error and changes nothing."""
    before = contents(admin)
    for operation, args in operations:
        with pytest.raises(error) as caught:
            getattr(caller, operation)(*args)
        for name in named:
            assert name in str(caught.value), operation
        assert contents(admin) == before, operation


def test_key_of_another_type_is_an_operation_error(
    server: servers.Server, admin: redis.Redis, caller: Caller
) -> None:
    caller.connect(server.url)
    admin.lpush(LINK, "x")
    check_refused(caller, admin, LINK_OPERATIONS, RedisOperationError, "WRONGTYPE", LINK)
    admin.delete(LINK)
    for link in (None, b"1"):
        if link:
            admin.set(LINK, link)
        admin.set(INDEX, "x")
        check_refused(caller, admin, INDEX_OPERATIONS, RedisOperationError, "WRONGTYPE")
        admin.delete(INDEX)
    admin.set("sf:{n:state:s}@", "x")
    check_refused(
        caller,
        admin,
        [("set_service_state", ("n", "s", 1, "UP"))],
        RedisOperationError,
        "WRONGTYPE",
    )
    admin.lpush("sf:{n:workload:s}", "x")
    check_refused(
        caller, admin, [("get_workload_state", ("n", ["s"]))], RedisOperationError, "workload:s"
    )
    assert succeeds(caller)


@pytest.mark.parametrize("value", [b"x", b"", b"-1", b"01", b"1.0", b" 1", b"2147483648", b"\xff"])
def test_malformed_value_is_an_internal_error_that_names_the_key(
    server: servers.Server, admin: redis.Redis, caller: Caller, value: bytes
) -> None:
    caller.connect(server.url)
    admin.set(LINK, value, ex=1000)
    admin.hset(INDEX, "t", 1)
    before = contents(admin)[INDEX.encode()]
    for operation, args in LINK_OPERATIONS:
        with pytest.raises(InternalError) as caught:
            getattr(caller, operation)(*args)
        assert LINK in str(caught.value), operation
        assert admin.get(LINK) == value
    assert contents(admin)[INDEX.encode()] == before
    for link in (None, b"1"):
        admin.delete(LINK)
        if link:
            admin.set(LINK, link)
        admin.hset(INDEX, "s", value)
        check_refused(caller, admin, INDEX_OPERATIONS, InternalError, INDEX)
    assert succeeds(caller)


def test_flushed_scripts_are_loaded_again(
    server: servers.Server, admin: redis.Redis, caller: Caller
) -> None:
    caller.connect(server.url)
    for _ in range(2):
        admin.script_flush()
        assert caller.set_linked_pod("n", "u", "s", 1) in (None, 1)
        admin.script_flush()
        many = [f"u{i}" for i in range(podlink.operations.KEYS_PER_CALL)]
        assert caller.batch_get_linked_pod("n", [*many, "u"], "s") == {1: ["u"]}
    shas = caller.manager("preload_scripts")
    assert all(admin.script_exists(*shas.values()))
    assert caller.executor.metrics.total == 0


class CuttingProxy:
    """A TCP proxy that can cut a reply short: it forwards some bytes and closes the connection."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cuts: list[int] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._server_port)) as server:
            while request := client.recv(65536):
                server.sendall(request)
                reply = server.recv(65536)
                # Commands that redis-py sends when it connects are forwarded.
                if self.cuts and (b"EVALSHA" in request or b"\r\nGET\r\n" in request):
                    client.sendall(reply[: self.cuts.pop()])
                    return
                client.sendall(reply)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def proxy(server: servers.Server) -> Iterator[CuttingProxy]:
    made = CuttingProxy(server.port)
    yield made
    made.close()


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_write_with_an_incomplete_reply_is_not_repeated(
    server: servers.Server, admin: redis.Redis, caller: Caller, proxy: CuttingProxy, keep: int
) -> None:
    caller.connect(f"redis://127.0.0.1:{proxy.port}")
    assert succeeds(caller)
    caller.remove_linked_pod("n", "nobody", "s")
    proxy.cuts = [keep]
    with pytest.raises(RedisConnectionError, match="the outcome is unknown"):
        caller.remove_linked_pod("n", "w", "s")
    assert admin.get("sf:{n:lk:w}s") is None, "it was done, and not a second time"
    assert succeeds(caller)


@pytest.mark.parametrize("keep", [0, 1, 4])
def test_read_with_an_incomplete_reply_is_repeated(
    server: servers.Server, admin: redis.Redis, caller: Caller, proxy: CuttingProxy, keep: int
) -> None:
    caller.connect(f"redis://127.0.0.1:{proxy.port}")
    assert succeeds(caller)
    proxy.cuts = [keep, keep]
    assert caller.get_linked_pod("n", "w", "s") == 3
    proxy.cuts = [keep, keep, keep]
    with pytest.raises(RedisConnectionError):
        caller.get_linked_pod("n", "w", "s")
    assert succeeds(caller)


def test_write_to_a_replica_is_an_operation_error(
    server: servers.Server, admin: redis.Redis, caller: Caller
) -> None:
    caller.connect(server.url)
    admin.set(LINK, 1)
    admin.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(RedisOperationError, match=r"(?i)read only"):
            caller.set_linked_pod("n", "u", "s", 2)
        assert caller.get_linked_pod("n", "u", "s") == 1
        admin.config_set("replica-serve-stale-data", "no")
        with pytest.raises(RedisOperationError, match="MASTER is down"):
            caller.get_linked_pod("n", "u", "s")
    finally:
        admin.config_set("replica-serve-stale-data", "yes")
        admin.replicaof("NO", "ONE")
    assert succeeds(caller)


def test_write_to_a_full_server_is_an_operation_error(
    server: servers.Server, admin: redis.Redis, caller: Caller
) -> None:
    caller.connect(server.url)
    caller.set_linked_pod("n", "u", "s", 1)
    admin.config_set("maxmemory", "1")
    try:
        check_refused(
            caller, admin, [("set_linked_pod", ("n", "u", "s", 2))], RedisOperationError, "memory"
        )
        assert caller.remove_linked_pod("n", "u", "s") is True, "removing needs no memory"
    finally:
        admin.config_set("maxmemory", "0")
    assert succeeds(caller)


def test_missing_permission_is_an_operation_error(
    server: servers.Server, admin: redis.Redis, caller: Caller
) -> None:
    admin.acl_setuser(
        "guest", enabled=True, reset=True, passwords=["+pw"], keys=["sf:{open:*"],
        categories=["+@all", "-@dangerous"], commands=["-hget"],
    )  # fmt: skip
    try:
        caller.connect(server.url, username="guest", password="pw")
        for namespace in ("shut", "open"):
            with pytest.raises(RedisOperationError) as caught:
                caller.set_linked_pod(namespace, "u", "s", 1)
            assert any(word in str(caught.value) for word in ("permission", "can't run"))
        assert caller.get_linked_pod("open", "u", "s") is None
        admin.execute_command("ACL", "SETUSER", "guest", "+hget", "~*")
        assert succeeds(caller)
    finally:
        admin.acl_deluser("guest")


def run_until_killed(client: redis.Redis) -> None:
    """Run an endless script."""
    with pytest.raises(redis.ResponseError, match="killed"):
        client.eval("while true do end", 0)


def until_it_fails(caller: Caller) -> ErrorCode:
    """Read until a call fails, and return the code of the error."""
    while True:
        try:
            caller.get_linked_pod("n", "w", "s")
        except podlink.StatefulError as error:
            return error.code


def test_server_busy_with_a_script_is_an_operation_error(
    server: servers.Server, admin: redis.Redis, caller: Caller
) -> None:
    caller.connect(server.url)
    assert succeeds(caller)
    admin.config_set("lua-time-limit", "1")
    with server.client() as other:
        endless = threading.Thread(target=run_until_killed, args=(other,))
        endless.start()
        try:
            # Before lua-time-limit has passed, the server does not reply at all.
            error = ErrorCode.TIMEOUT
            while error is ErrorCode.TIMEOUT:
                error = until_it_fails(caller)
            assert error is ErrorCode.REDIS_OPERATION_ERROR
            assert "BUSY" in str(caller.executor.metrics.get(error).last_error)
        finally:
            while endless.is_alive():
                try:
                    admin.execute_command("SCRIPT", "KILL")
                except redis.ResponseError:
                    pass
            endless.join()
            admin.config_set("lua-time-limit", "5000")
    assert succeeds(caller)


def test_errors_of_the_users_scripts(
    server: servers.Server, admin: redis.Redis, caller: Caller
) -> None:
    caller.connect(server.url)
    with pytest.raises(LuaScriptError, match="compil"):
        caller.manager("load_script", "broken", "return return")
    sha = caller.manager("load_script", "index_nil", "local x; return x.y")
    assert sha == caller.manager("get_script_sha", "index_nil")
    with pytest.raises(LuaScriptError, match="attempt to index"):
        caller.manager("execute_script", "index_nil")
    admin.lpush("list", "x")
    caller.manager("load_script", "get", "return redis.call('GET', KEYS[1])")
    with pytest.raises(RedisOperationError, match="WRONGTYPE"):
        caller.manager("execute_script", "get", ["list"])
    admin.script_flush()
    assert caller.manager("execute_script", "get", ["none"]) is None
    assert succeeds(caller)


def test_restarted_server_is_reconnected(
    server: servers.Server, admin: redis.Redis, caller: Caller
) -> None:
    caller.connect(server.url)
    for _ in range(2):
        assert succeeds(caller)
        server.restart()
        caller.settle()
    assert succeeds(caller)
    assert caller.executor.metrics.total == 0
