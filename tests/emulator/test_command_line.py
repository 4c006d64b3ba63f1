"""The ``redis-emulator`` program, and redis-cli and redis-benchmark connected to it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from redis_emulator.cli import main
from tests.support.transports import program, wire

PATIENCE = 120
"""Seconds until a program counts as hanging."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    process, port = start()
    yield port
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert process.stdout
    process.stdout.close()


def start(*options: str) -> tuple[subprocess.Popen[str], int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "redis_emulator", "--port", str(port), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert f"is ready on redis://127.0.0.1:{port}/0" in process.stdout.readline()
    return process, port


def tool(name: str, port: int, *options: str, text: str = "") -> str:
    """The output of redis-cli or redis-benchmark; waits until the program ends."""
    command = [program(name), "-p", str(port), *options]
    return subprocess.run(
        command,
        input=text.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE,
    ).stdout.decode()


def run_until_printed(wanted: str, port: int, *options: str) -> None:
    """Run redis-cli until it has run_until_printed a text, and end it.

    Fails if it ends before.
    """
    command = [program("redis-cli"), "-p", str(port), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout
        seen = ""
        while re.search(wanted, seen, re.MULTILINE) is None:
            data = os.read(process.stdout.fileno(), 4096)
            assert data, f"redis-cli ended without {wanted!r}: {seen}"
            seen += data.decode()
        process.terminate()


def test_options_and_sigint() -> None:
    process, port = start(
        "--version", "9.1", "--flavour", "valkey", "--requirepass", "secret", "--seed", "7"
    )
    with wire(port) as connection:
        assert connection.ask(b"PING\r\n") == b"-NOAUTH Authentication required.\r\n"
        assert connection.ask(b"AUTH secret\r\n") == b"+OK\r\n"
        assert b"valkey_version:9.1" in connection.ask(b"INFO server\r\n", b"\r\n\r\n")
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    assert process.stdout
    process.stdout.close()


def test_port_in_use_is_an_error(port: int) -> None:
    command = [sys.executable, "-m", "redis_emulator", "--port", str(port)]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert failed.returncode == 1
    assert failed.stderr.startswith("redis-emulator: ")


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ("--port 65536", "port must be from 0 to 65535, got 65536"),
        ("--port -1", "port must be from 0 to 65535"),
        ("--port 65534 --cluster 3", "got 65536"),
        ("--cluster 0", "nodes must be 1 to 1000"),
        ("--cluster 1 --unixsocket a", "listen on ports only"),
        ("--cluster-replicas 2", "--cluster-replicas needs --cluster"),
        ("--version 3.0", "redis 3.0 is not emulated"),
    ],
)
def test_invalid_options_are_errors(
    options: str, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with contextlib.suppress(SystemExit):
        assert main(options.split()) == 1
    assert wrong in capsys.readouterr().err


def test_redis_cli_commands_and_modes(port: int) -> None:
    def cli(*options: str, text: str = "") -> str:
        return tool("redis-cli", port, *options, text=text)

    assert cli("SET", "greeting", "hello").strip() == "OK"
    replies = cli("--pipe", text="".join(f"SET pipe:{n} {n}\r\n" for n in range(1000)))
    assert "errors: 0, replies: 1000" in replies
    assert len(cli("--scan", "--pattern", "pipe:*").split()) == 1000
    assert "Biggest string found" in cli("--bigkeys")
    assert "redis_version:8.2" in cli("INFO", "server")
    assert "proto 3" in cli("-3", "HELLO", "3")
    run_until_printed(r"^\d+ \d+ \d", port, "--latency", "-i", "1")


def test_redis_cli_subscribe_and_monitor(port: int) -> None:
    heard = threading.Event()

    def talk() -> None:
        with wire(port) as connection:
            while not heard.wait(0.01):
                connection.ask(b"PUBLISH news hello\r\n")

    program("redis-cli")
    talker = threading.Thread(target=talk)
    talker.start()
    try:
        run_until_printed("news\nhello", port, "SUBSCRIBE", "news")
        run_until_printed('"PUBLISH" "news" "hello"', port, "MONITOR")
    finally:
        heard.set()
        talker.join()


def test_redis_benchmark(port: int) -> None:
    options = ("-n", "200", "-c", "10", "--csv")
    table = tool("redis-benchmark", port, *options)
    assert "Error" not in table
    assert "ERR" not in table
    names = [line.split(",")[0].strip('"').split(" ")[0] for line in table.splitlines()[1:]]
    for name in ("PING_INLINE", "SET", "GET", "INCR", "LPUSH", "SADD", "HSET", "ZADD", "MSET"):
        assert name in names
