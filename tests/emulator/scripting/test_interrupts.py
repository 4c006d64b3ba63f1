"""An exception of a signal handler ends a script and propagates out of `execute` unchanged.

Python runs signal handlers at the start of a function and after a call. `sys.setprofile` is told of
the same places, so that an exception can be raised at each of them in turn.
"""

from __future__ import annotations

import random
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from redis_emulator import RedisEmulator
from redis_emulator.clients.session import Session
from redis_emulator.resp.types import OK, RedisError
from redis_emulator.scripting.scripts import RunningScript, Scripting

VERSIONS = ("8.2", "6.2")
SCRIPTS = (
    "redis.call('set', KEYS[1], ARGV[1]) return redis.call('get', KEYS[1])",
    "local ok, e = pcall(redis.call, 'set', KEYS[1], 'x') return {ok, tostring(e)}",
    "return {xpcall(function() return redis.call('nosuch') end, function(e) redis.call('get', KEYS[1]) return 'caught' end)}",  # noqa: E501
    "local co = coroutine.create(function() return redis.call('get', KEYS[1]) end) return {coroutine.resume(co)}",  # noqa: E501
    "local ok, e = pcall(coroutine.wrap(function() redis.setresp(3) return redis.call('hgetall', KEYS[2]) end)) return 1",  # noqa: E501
    "return (('aaa'):gsub('a', function() return redis.call('get', KEYS[1]) or 'b' end))",
    "return tostring(load(function() return redis.call('get', KEYS[1]) and nil end))",
    "pcall(redis.log, redis.LOG_NOTICE, 'x') return redis.sha1hex('x') .. bit.tohex(bit.band(5, 3))",  # noqa: E501
    "return {pcall(cmsgpack.unpack, cmsgpack.pack(1.5)), struct.pack('d', 1)}",
    "return {{1, {ok = 'x'}}, 'y'}",
)
ENDLESS = (
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "while true do pcall(redis.call, 'get', KEYS[1]) end",
    "while true do xpcall(function() redis.call('nosuch') end, function(e) return redis.call('get', KEYS[1]) end) end",  # noqa: E501
    "while true do coroutine.resume(coroutine.create(function() while true do redis.pcall('get', KEYS[1]) end end)) end",  # noqa: E501
    "while true do pcall(string.gsub, ('a'):rep(1000), 'a', function() redis.call('get', KEYS[1]) end) end",  # noqa: E501
    "while true do load(function() redis.call('get', KEYS[1]) end) end",
    "while true do pcall(cmsgpack.unpack, cmsgpack.pack(1.5)) bit.band(1, 2) end",
    "while true do pcall(table.sort, {3, 2, 1}, function(a, b) redis.call('get', KEYS[1]) return a < b end) end",  # noqa: E501
)


AGAIN = 5.0
"""Seconds after which the timer interrupts once more, unless the test has gone on."""


class Interruption(BaseException):
    """The exception that the signal handler raises."""


class Client:
    """A session of an emulator whose state after an interruption can be checked."""

    def __init__(self, version: str) -> None:
        self.engine = RedisEmulator(version=version).engine
        self.session = Session(self.engine, lambda reply: None)
        self.engine.connect(self.session)
        self("SET", "lasting", "x", "PX", "100000000")
        self.deadline = self.engine.server.keyspace.next_deadline
        assert self("EVAL", "return 1", "0") == 1  # makes the Lua state

    def __call__(self, *words: str) -> Any:
        return self.engine.execute(self.session, [word.encode() for word in words])

    def check(self) -> None:
        """Check that the lock is free, no command is half done, and the next command works."""
        server = self.engine.server
        assert not self.engine.lock._is_owned()  # type: ignore[attr-defined]
        assert not server.conditions.current
        scripts: Any = self.engine.scripts
        assert scripts.running is None
        assert server.keyspace.next_deadline == self.deadline
        assert self("SET", "k1", "after") is OK
        assert self("EVAL", "return {redis.call('get', KEYS[1]), 7}", "1", "k1") == [b"after", 7]
        killed = self("SCRIPT", "KILL")
        assert isinstance(killed, RedisError)
        assert killed.text.startswith("NOTBUSY")


@pytest.fixture(params=VERSIONS)
def client(request: pytest.FixtureRequest) -> Client:
    return Client(request.param)


def interrupted(call: Callable[[], Any], after: int) -> bool:
    """Run ``call`` and raise at place number ``after``; return whether that place exists."""
    left = after

    def raise_at_the_place(frame: Any, event: str, argument: Any) -> None:
        nonlocal left
        if event in ("call", "c_return"):
            left -= 1
            if left == 0:
                sys.setprofile(None)
                raise Interruption

    try:
        sys.setprofile(raise_at_the_place)
        call()
    except Interruption:
        pass
    finally:
        sys.setprofile(None)
    return left <= 0  # also where Python dropped it, in a callback of the garbage collector


@pytest.mark.parametrize("script", SCRIPTS)
def test_exception_propagates_from_every_place(client: Client, script: str) -> None:
    def run() -> None:
        reply = client("EVAL", script, "2", "k1", "k2", "value")
        assert not isinstance(reply, RedisError), reply.text

    run()
    place = 1
    while interrupted(run, place):
        client.check()
        place += 1
    assert place > 8


def test_exception_propagates_while_other_clients_are_served(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a script that runs for too long, which opens the lock from time to time."""
    monkeypatch.setattr(RunningScript, "milliseconds", lambda running: 10_000)

    def run() -> None:
        assert client("EVAL", "for i = 1, 1e5 do end return 1", "0") == 1

    run()
    place = 1
    while interrupted(run, place):
        client.check()
        place += 1
    assert place > 20


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="signals of timers are POSIX")
def test_a_signal_ends_a_script_at_any_time(client: Client) -> None:
    """At any time, from a timer; also within the loops of Lua, where no Python runs."""

    def handle(number: int, frame: Any) -> None:
        # Python drops what a handler raises inside a finalizer or a callback of the garbage
        # collector, whatever runs: the timer comes again then.
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
        raise Interruption

    def after(seconds: float, script: str) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        client("EVAL", script, "1", "k1")

    assert threading.current_thread() is threading.main_thread()
    random_ = random.Random(5)
    before = signal.signal(signal.SIGALRM, handle)
    client("CONFIG", "SET", "lua-time-limit", "1")
    try:
        for _ in range(50):
            for script in ENDLESS:
                with pytest.raises(Interruption):
                    after(random_.uniform(1e-5, 3e-3), script)
                client.check()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_ordinary_exceptions_of_the_handler_propagate(client: Client) -> None:
    """An ordinary exception too."""

    calls = 0

    def raise_in_a_call(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"
        if calls == 50:
            sys.setprofile(None)
            raise ValueError("of the handler")

    def run() -> None:
        sys.setprofile(raise_in_a_call)
        client("EVAL", "while true do pcall(redis.call, 'get', KEYS[1]) end", "1", "k1")

    with pytest.raises(ValueError, match="of the handler"):
        run()
    client.check()


def test_interrupt_while_the_lua_state_is_created(client: Client) -> None:
    """While the Lua state is made: the next script makes it again."""
    for place in range(1, 400, 40):
        scripts = client.engine.scripts
        assert isinstance(scripts, Scripting)
        scripts._lua = None
        assert interrupted(lambda: client("EVAL", "return 1", "0"), place)
        client.check()
