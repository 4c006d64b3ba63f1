"""ACL LOAD and ACL SAVE, compared with real servers."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_podlink import servers
from tests.support.acl import (
    ALL,
    only_the_default_user,
    rules_of,
)
from tests.support.pair import (
    Connection,
    EmulatorConnection,
    Pair,
    ServerConnection,
    Wire,
)
from tests.support.waiting import until

__all__ = ["only_the_default_user"]  # a fixture that pytest finds here


ACL_FILES = (
    "user a on +get\nuser default on nopass ~* &* +@all\n",
    "user a on +foo\n",
    "usr a on\n",
    "user\n",
    "user a on ( +get ~x )\nuser default on nopass +@all ~* &*",
    "user a on +foo ~a* ~*  ~b\nuser b zzz yyy\n",
    "user b on\n",
    "\n\n  user b on\n\n# comment\n",
    "# user a on\n",
    "",
    "user a b\tc\n",
    "user a  on   +get  \n",
    "user b #zz\n",
    "user a on\nuser a off\n",
    "user a on",
)


@dataclasses.dataclass
class WithFile:
    """The emulator and a real server that use the same ACL file.

    Attributes:
        path: The ACL file.
        port: The real server's port.
        emulated: A client of the emulator.
        real: A client of the real server.
    """

    path: Path
    port: int
    emulated: EmulatorConnection
    real: ServerConnection

    def __call__(self, line: str, key: Callable[[Wire], Any] = lambda reply: reply) -> Wire:
        """Run a command on both and compare."""
        emulated, real = self.emulated(line), self.real(line)
        assert key(emulated) == key(real), f"{line} with {self.path.read_text()!r}"
        return real


@pytest.fixture
def with_file(same: Pair, tmp_path: Path) -> Iterator[WithFile]:
    """Starts a server of its own, as ``aclfile`` can only be set at startup."""
    version = same.emulator._version
    name = f"{version.flavour}-{version.number[0]}.{version.number[1]}"
    executable = next(e for e in servers.installed() if e.name == name)
    port = free_port()
    path = tmp_path / "users.acl"
    path.write_text("")
    options = ["--port", str(port), "--save", "", "--dir", str(tmp_path), "--aclfile", path.name]
    process = subprocess.Popen([executable.path, *options], stdout=subprocess.DEVNULL)
    config = same.emulator.engine.server.config
    config["aclfile"], config["dir"] = path.name, str(tmp_path)
    real = connect_when_started(port)
    try:
        real("HELLO", same.protocol)
        yield WithFile(path, port, same.emulated, real)
    finally:
        real.close()
        process.terminate()
        process.wait()


@pytest.mark.servers(*ALL)
def test_acl_load(same: Pair, with_file: WithFile) -> None:
    key = rules_of(same) or (lambda reply: reply)
    for text in ACL_FILES:
        with_file.path.write_text(text)
        for line in ("ACL LOAD", "ACL LIST", "CONFIG GET aclfile"):
            with_file(line, key)
    with_file.path.unlink()
    assert with_file.real("ACL LOAD") == with_file.emulated("ACL LOAD")


@pytest.mark.servers(*ALL)
def test_acl_save_writes_the_same_file(with_file: WithFile) -> None:
    with_file.path.write_text("user a on")
    for line in ("ACL LOAD", "ACL SETUSER u on >p ~k* +get", "ACL SETUSER v on +@all", "ACL SAVE"):
        written = []
        for connection in (with_file.real, with_file.emulated):
            assert connection(line) == ("+", b"OK")
            written.append(with_file.path.read_text())
        assert written[0] == written[1]


@pytest.mark.servers(*ALL)
def test_acl_load_discards_users_that_are_not_in_the_file(with_file: WithFile) -> None:
    with_file.path.write_text("user a on")
    with_file("ACL SETUSER u on >p ~k* +get")
    with_file("ACL LOAD")
    with_file("ACL USERS")


@pytest.mark.servers(*ALL)
def test_acl_load_disconnects_clients_whose_user_is_gone(same: Pair, with_file: WithFile) -> None:
    with_file.path.write_text("user kept on nopass +@all\nuser gone on nopass +@all\n")
    with_file("ACL LOAD")
    others: dict[str, tuple[EmulatorConnection, ServerConnection]] = {}
    for user in ("kept", "gone", "default"):
        others[user] = same.connect_raw()[0], ServerConnection(with_file.port)
        for connection in others[user]:
            assert connection("AUTH", user, "x") == ("+", b"OK")
    with_file.path.write_text("user kept on nopass +@all -get\nuser default on nopass +@all ~*")
    with_file("ACL LOAD")
    for emulated, real in others.values():
        assert is_connected(emulated) is is_connected(real)
        real.close()


def is_connected(connection: Connection) -> bool:
    """Whether the server still replies."""
    try:
        return bool(connection("PING"))
    except ConnectionError:
        return False


def free_port() -> int:
    """A port that no server listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def connect_when_started(port: int) -> ServerConnection:
    """A connection to a server that was just started; waits until it accepts connections."""
    made: list[ServerConnection] = []

    def accepts() -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            made.append(ServerConnection(port))
        return bool(made)

    until(accepts, "the server to start")
    return made[0]
