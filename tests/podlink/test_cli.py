"""The command line, run in this process: what it prints, and its exit status."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import podlink
from podlink import draining
from podlink.cli import app
from pytest_podlink import servers
from tests.support.real_servers import real_servers

USERS = 60


@pytest.fixture(scope="module", params=real_servers(["redis-8.2"]))
def server(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    with servers.start(request.param) as started:
        yield started


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "100", "TERM": "dumb"})


def numbers(output: str, label: str) -> list[int]:
    """Return the numbers in the table row that begins with ``label``."""
    row = re.search(rf"{re.escape(label)}(.*)", output)
    assert row is not None, output
    return [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", row[1])]


def test_demo_prints_users_pods_and_rates() -> None:
    result = run("demo", "--users", str(USERS), "--seed", "3")
    assert result.exit_code == 0, result.output
    assert numbers(result.output, "linked to chat") == [USERS]
    assert numbers(result.output, "disconnected, link kept for a while") == [USERS // 5]
    assert numbers(result.output, "came back to the same pod") == [USERS // 10]
    assert numbers(result.output, "link ran out") == [USERS // 10]
    pods = re.findall(r"(\d) +│ ready +│ +(\d+)", result.output)
    chat = sum(int(users) for _, users in pods[:4])
    assert [int(pod) for pod, _ in pods] == [0, 1, 2, 3, 0, 1, 2, 0, 1]
    assert chat == USERS - USERS // 10
    for step in ("link ", "reconnect", "move to another pod", "look up (batch)"):
        assert step in result.output


def test_demo_depends_on_the_seed_only() -> None:
    def without_times(output: str) -> str:
        return output[output.index("Pods and their users") : output.index("Rates")]

    first, second, other = (
        without_times(run("demo", "--users", "40", "--seed", seed).output) for seed in "112"
    )
    assert first == second != other


def test_demo_on_a_server_deletes_its_keys(server: servers.Server) -> None:
    with server.client() as client:
        client.flushall()
        client.set("mine", "stays")
        result = run("demo", "--users", "20", "--url", server.url)
        assert result.exit_code == 0, result.output
        assert f"Redis {server.version}".lower() in result.output.lower()
        assert client.keys() == [b"mine"]


def test_ping_prints_product_and_version(server: servers.Server) -> None:
    result = run("ping", server.url)
    assert result.exit_code == 0
    assert re.fullmatch(
        rf"{re.escape(server.url)}\S*: redis {server.version} answered in [\d.]+ ms\n",
        result.output,
        re.IGNORECASE,
    )


def test_ping_the_emulator() -> None:
    result = run("ping", "emulator://")
    assert result.exit_code == 0
    assert result.output.startswith("emulator://: redis 8.2")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://127.0.0.1:1", "REDIS_CONNECTION_ERROR"),
        ("http://127.0.0.1", "INVALID_PARAMETER"),
        ("redis://127.0.0.1:port", "INVALID_PARAMETER"),
    ],
)
@pytest.mark.parametrize("command", ["ping", "demo"])
def test_error_is_one_line_and_exit_status_1(command: str, url: str, says: str) -> None:
    result = run("ping", url) if command == "ping" else run("demo", "--url", url)
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert says in result.output
    assert "Traceback" not in result.output


def test_wrong_password_is_reported_but_not_printed(server: servers.Server) -> None:
    with server.client() as client:
        client.config_set("requirepass", "right")
    try:
        result = run("ping", server.url.replace("redis://", "redis://:wrong-one@"))
    finally:
        with server.client(password="right") as client:
            client.config_set("requirepass", "")
    assert result.exit_code == 1
    assert "REDIS_CONNECTION_ERROR" in result.output
    assert "wrong-one" not in result.output


@pytest.fixture
def links(server: servers.Server) -> Iterator[podlink.StatefulExecutor]:
    """An executor with thirty links to pod 3."""
    with server.client() as client, podlink.StatefulExecutor(server.url) as executor:
        client.flushall()
        uids = [f"u{number}" for number in range(30)]
        executor.batch_set_linked_pod_if_absent("n", uids, "s", 3)
        yield executor


def test_drain_removes_links(server: servers.Server, links: podlink.StatefulExecutor) -> None:
    result = run("drain", "n", "s", "3", "--url", server.url)
    assert result.exit_code == 0, result.output
    assert numbers(result.output, "found  ") == [30]
    assert numbers(result.output, "removed") == [30]
    assert links.get_linked_pod("n", "u1", "s") is None


def test_drain_moves_links(server: servers.Server, links: podlink.StatefulExecutor) -> None:
    result = run("drain", "n", "s", "3", "--to", "4", "--url", server.url)
    assert result.exit_code == 0, result.output
    assert numbers(result.output, "moved to pod 4") == [30]
    assert links.get_linked_pod("n", "u1", "s") == 4


def test_drain_prints_links_that_failed(
    server: servers.Server, links: podlink.StatefulExecutor
) -> None:
    with server.client() as client:
        client.set("sf:{n:lk:u7}", "no hash")
    result = run("drain", "n", "s", "3", "--url", server.url)
    assert result.exit_code == 1
    assert numbers(result.output, "failed") == [1]
    assert "failed: u7:" in result.output


def test_drain_rejects_invalid_arguments(server: servers.Server) -> None:
    for arguments in (("n n", "s", "3"), ("n", "s", "3", "--to", "3")):
        result = run("drain", *arguments, "--url", server.url)
        assert result.exit_code == 1
        assert "INVALID_PARAMETER" in result.output


def run_with(environment: dict[str, str], *arguments: str) -> Result:
    env = {"COLUMNS": "100", "TERM": "dumb", **environment}
    return CliRunner().invoke(app, list(arguments), env=env)


def test_commands_read_the_url_from_the_environment() -> None:
    environment = {"PODLINK_REDIS_URL": "emulator://from-the-environment"}
    with podlink.StatefulExecutor("emulator://from-the-environment") as links:
        links.set_linked_pod("n", "u", "s", 1)
    assert "emulator://from-the-environment" in run_with(environment, "ping").output
    assert "removed" in run_with(environment, "drain", "n", "s", "1").output
    assert run_with(environment, "inspect", "n", "s", "--uid", "u").exit_code == 0
    other = run_with(environment, "ping", "--url", "emulator://other")
    assert "emulator://other" in other.output


@pytest.mark.parametrize("command", [["ping"], ["drain", "n", "s", "1"], ["inspect", "n", "s"],
                                     ["repair", "n", "s"]])  # fmt: skip
def test_missing_url_is_an_error_that_says_what_to_do(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PODLINK_REDIS_URL", raising=False)
    result = run(*command)
    assert result.exit_code == 1
    assert "give --url or set PODLINK_REDIS_URL" in result.output


def test_inspect_and_repair() -> None:
    url = "emulator://repaired"
    with podlink.StatefulExecutor(url) as links:
        links.manager.client.set("sf:{n:lk:u}s", "x\u202e")
        links.manager.client.hset("sf:{n:state:s}", "one", "up")
    shown = run("inspect", "n", "s", "--uid", "u", "--url", url)
    assert r"sf:{n:lk:u}s: string, no TTL: b'x\xe2\x80\xae'" in shown.output
    assert "  b'one': b'up'" in run("inspect", "n", "s", "--url", url).output
    dry = run("repair", "n", "s", "--uid", "u", "--dry-run", "--url", url)
    done = run("repair", "n", "s", "--uid", "u", "--url", url)
    assert dry.output == done.output.replace("deleted", "deleted (dry run)")
    assert "sf:{n:lk:u}s: found" in done.output
    assert "nothing to repair" in run("repair", "n", "s", "--uid", "u", "--url", url).output
    assert "field b'one'" in run("repair", "n", "s", "--url", url).output
    assert run("repair", "n", "a:b", "--url", url).exit_code == 1


def test_interrupted_drain_prints_where_to_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    def drain(self: Any, *args: Any, on_progress: Any, **options: Any) -> Any:
        on_progress(podlink.DrainProgress(scanned=1000, resume="127.0.0.1:7 42"))
        raise podlink.RedisConnectionError("it broke")

    monkeypatch.setattr(podlink.StatefulExecutor, "drain_pod", drain)
    result = run("drain", "n", "s", "3", "--url", "emulator://")
    assert result.exit_code == 1
    assert "interrupted; continue with --resume '127.0.0.1:7 42'" in result.output


@pytest.mark.parametrize("url", ["emulator://sized", "emulator+cluster://sized"])
def test_progress_of_a_drain_counts_the_keys_of_all_nodes(url: str) -> None:
    with podlink.StatefulExecutor(url) as links:
        uids = [f"u{number}" for number in range(USERS)]
        links.batch_set_linked_pod_if_absent("n", uids, "s", 3)
        assert draining.size(links) == 2 * USERS


def test_drain_names_the_error_of_a_server_that_cannot_be_used() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{closed.getsockname()[1]}?retries=0"
        result = run("drain", "n", "s", "1", "--url", url)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "REDIS_CONNECTION_ERROR: counting the keys: no connection" in result.output
    with podlink.StatefulExecutor("emulator://weak") as links:
        links.manager.client.acl_setuser(
            "weak", enabled=True, passwords=["+pw"], keys=["*"], categories=["+@all"],
            commands=["-dbsize"],
        )  # fmt: skip
    result = run("drain", "n", "s", "1", "--url", "emulator://weak?username=weak&password=pw")
    assert result.exit_code == 1
    assert "REDIS_OPERATION_ERROR: counting the keys" in result.output


def test_drain_on_an_emulated_cluster() -> None:
    url = "emulator+cluster://drained"
    with podlink.StatefulExecutor(url) as links:
        links.batch_set_linked_pod_if_absent("n", ["a", "b", "c"], "s", 3)
    result = run("drain", "n", "s", "3", "--url", url)
    assert result.exit_code == 0
    assert numbers(result.output, "removed") == [3]
