"""Scripts that exceed the time limit: BUSY errors, SCRIPT KILL and FUNCTION KILL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from redis_emulator import RedisEmulator
from redis_emulator.scripting.runtime import LuaScripts
from tests.support.pair import Pair, Wire
from tests.support.waiting import PATIENCE, until

EVERY = pytest.mark.servers("redis-8.2", "redis-7.0", "redis-6.2", "valkey-9.1")
MODERN = pytest.mark.servers("redis-8.2", "redis-7.0", "valkey-9.1")
ENDLESS = ("EVAL", "while true do end", "0")
LIBRARY = """#!lua name=endless
redis.register_function('endless', function() while true do end end)
"""
Both = Callable[..., Wire]


@contextmanager
def running(same: Pair, command: Sequence[str]) -> Iterator[Both]:
    """While ``command`` runs on both: other clients, whose replies are compared."""
    others = same.connect()
    for other in others:
        other("CONFIG", "SET", "lua-time-limit", "5")
    replies: dict[str, Any] = {}

    def run(name: str, connection: Any) -> None:
        replies[name] = connection(*command)

    def both(*args: str, key: Callable[[Wire], Any] = lambda reply: reply) -> Wire:
        emulated, real = (key(other(*args)) for other in others)
        assert emulated == real, args
        return real  # type: ignore[no-any-return]

    threads = [
        threading.Thread(target=run, args=("emulated", same.emulated), daemon=True),
        threading.Thread(target=run, args=("real", same.real), daemon=True),
    ]
    for thread in threads:
        thread.start()
    for other in others:
        while not other("PING")[1].startswith(b"BUSY"):
            assert any(thread.is_alive() for thread in threads)
    yield both
    for thread in threads:
        thread.join(120)
    assert replies["emulated"] == replies["real"]
    for other in others:
        other("CONFIG", "SET", "lua-time-limit", "5000")


@EVERY
def test_other_clients_get_busy_errors(same: Pair) -> None:
    with running(same, ENDLESS) as both:
        for line in (
            "GET a",
            "PING",
            "MULTI",
            "GET x",
            "EXEC",
            "SCRIPT EXISTS x",
            "EVAL return 0",
            "NOSUCH",
            "GET",
            "SCRIPT KILL",
        ):
            both(*line.split())
    same("PING")
    same("EVAL", "return 1", "0")
    same("SCRIPT", "KILL")


@EVERY
def test_pcall_does_not_catch_script_kill(same: Pair) -> None:
    for body in (
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(redis.call, 'ping') end",
        "local co = coroutine.wrap(function() while true do end end) while true do co() end",
        "local function f() return f() end return f()",
    ):
        with running(same, ("EVAL", body, "0")) as both:
            both("SCRIPT", "KILL")
        same("EVAL", "return 1", "0")


@EVERY
def test_script_kill_is_refused_after_a_write(same: Pair) -> None:
    lasting = "redis.call('set', 'x', 1) for i = 1, 15e7 do end"
    with running(same, ("EVAL", lasting, "0")) as both:
        both("SCRIPT", "KILL")
        both("GET", "x")
    same("GET", "x")


@MODERN
def test_function_kill(same: Pair) -> None:
    def without_time(reply: Wire) -> str:
        text = repr(reply)
        return text[: text.index("duration_ms")] if "duration_ms" in text else text

    same("FUNCTION", "FLUSH")
    same("FUNCTION", "LOAD", LIBRARY)
    with running(same, ("FCALL", "endless", "1", "k", "v")) as both:
        both("GET", "a")
        both("SCRIPT", "KILL")
        both("FUNCTION", "STATS", key=without_time)
        both("FUNCTION", "KILL")
    with running(same, ENDLESS) as both:
        both("FUNCTION", "STATS")
        both("FUNCTION", "KILL")
        both("SCRIPT", "KILL")
    same("FUNCTION", "KILL")
    same("FUNCTION", "FLUSH")


def test_clients_in_other_threads_get_busy_errors() -> None:
    emulator = RedisEmulator()
    client, other = emulator.client(), emulator.client()
    other.config_set("busy-reply-threshold", 5)
    failures: list[Exception] = []

    def refused() -> bool:
        try:
            other.get("key")
        except redis.ResponseError:
            return True
        return False

    def run() -> None:
        try:
            client.eval("while true do end", 0)
        except redis.ResponseError as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    until(refused)
    with pytest.raises(redis.ResponseError, match="BUSY Redis is busy"):
        other.get("key")
    assert other.script_kill()
    thread.join(PATIENCE)
    assert "Script killed by user" in str(failures[0])
    assert client.eval("return 1", 0) == 1


def test_keys_do_not_expire_during_a_long_script() -> None:
    emulator = RedisEmulator()
    client, other = emulator.client(), emulator.client()
    other.config_set("busy-reply-threshold", 5)
    client.set("key", "value", px=50)
    results: list[Any] = []
    body = "for i = 1, 1e7 do end return {redis.call('get', 'key'), redis.call('pttl', 'key') > 0}"
    thread = threading.Thread(target=lambda: results.append(client.eval(body, 0)), daemon=True)
    thread.start()
    while thread.is_alive():
        emulator.engine.tick()
    assert results == [[b"value", 1]]
    assert other.get("key") is None


@pytest.mark.parametrize(
    ("version", "script"),
    [
        ("6.2", "return setmetatable({}, {__index = function(t, k) return tonumber(k) end})"),
        ("6.2", "return 1 end while true do"),
        ("8.2", "local t = {} for i = 1, 2e5 do t[i] = i end return {{t}, {t}, {t}, {t}, {t}}"),
    ],
)
def test_script_kill_outside_the_body_of_the_script(
    version: str, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reading of its result, and before Redis 7 the text after its end; the next script is not
    what is killed.
    """
    emulator = RedisEmulator(version=version)
    client, other = emulator.client(), emulator.client()
    other.config_set("lua-time-limit", 1)
    failures: list[Exception] = []

    def run() -> None:
        try:
            client.eval(script, 0)
        except redis.ResponseError as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    reading = threading.Event()
    if version == "8.2":
        part = LuaScripts._tokens

        def tokens(lua: LuaScripts, *args: Any) -> Any:
            reading.set()
            return part(lua, *args)

        monkeypatch.setattr(LuaScripts, "_tokens", tokens)
    else:
        reading.set()
    thread.start()
    assert reading.wait(60)
    while thread.is_alive():
        try:
            other.script_kill()
            break
        except redis.ResponseError:  # not busy yet
            continue
    thread.join(60)
    assert not thread.is_alive()
    assert "Script killed by user" in str(failures[0])
    assert client.eval("for i = 1, 1e6 do end return 1", 0) == 1
