"""Scripts that exhaust the memory, or Lua's own limits: an error for the script, and nothing else.

Each test runs in a process of its own, whose limits are low, so that a crash is a failed assertion.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
RELEASES = ("redis-8.2", "redis-6.2", "valkey-9.1")

PRELUDE = """
import sys, faulthandler
import redis
from redis_emulator import RedisEmulator
from redis_emulator.scripting import runtime

UNIT = 1 << 17
runtime.HARD_MEMORY, runtime.SOFT_MEMORY = 24 * UNIT, 8 * UNIT >> 10
flavour, version = release.split("-")
client = RedisEmulator(version=version, flavour=flavour).client()

def attempt(script, *arguments):
    try:
        reply = client.eval(script, 0, *arguments)
    except redis.ResponseError as error:
        reply = str(error)
    assert client.eval("return {KEYS[1], redis.call('ping'), ('x'):rep(3)}", 1, "k") == [
        b"k", b"PONG", b"xxx"]
    return reply

def short(reply):
    return "not enough memory" in str(reply)
"""


PROGRAM = """
import sys
for release in sys.argv[2:]:
    print(release, file=sys.stderr, flush=True)
    exec(sys.argv[1], {"release": release})
"""


def run(code: str, releases: Sequence[str]) -> None:
    """Run ``code`` after `PRELUDE` for each release, in one process that must not crash."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PROGRAM, PRELUDE + code, *releases],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-2000:]}"


def test_values_that_do_not_fit_into_lua() -> None:
    run(
        r"""
for key in "abc":
    client.set(key, b"x" * (9 * UNIT))
client.rpush("list", *[b"z" * 100] * 11000)
client.hset("hash", mapping={str(i): b"z" * 100 for i in range(5500)})
for resp in ("", "redis.setresp(3) "):
    assert short(attempt(resp + "return #redis.call('mget', 'a', 'b', 'c')"))
    assert short(attempt(resp + "return {pcall(redis.call, 'mget', 'a', 'b', 'c')}"))
    assert short(attempt(resp + "return #redis.call('lrange', 'list', 0, -1)"))
    assert short(attempt(resp + "return redis.call('hgetall', 'hash')"))
    assert short(attempt(resp + "return redis.call('eval', 'x', 0)")) is False
    for _ in range(5):  # garbage of earlier calls is no reason
        assert attempt(resp + "return #redis.call('get', 'a')") == 9 * UNIT
assert short(attempt("return #ARGV", b"y" * (30 * UNIT)))
assert short(attempt("return #ARGV", *[b"y"] * 37000))
for _ in range(5):
    assert attempt("return #ARGV[1]", b"y" * (9 * UNIT)) == 9 * UNIT
assert short(attempt("return '" + "x" * (15 * UNIT) + "'"))
assert short(attempt("return 1 --" + "x" * (30 * UNIT)))
""",
        RELEASES,
    )


def test_whatever_is_called_when_memory_is_short() -> None:
    run(
        r'''
FULL = """
local t = {}
for i = 1, 10000 do
  if not pcall(function() t[i] = ('x'):rep(2^13) .. i end) then break end
end
for i = 1, 10000 do
  if not pcall(function() t[#t + 1] = ('y'):rep(100) .. i end) then break end
end
"""
for call in (
    "redis.call, 'ping'", "redis.pcall, 'ping'", "redis.call, 'get', 'k'", "redis.sha1hex, 'x'",
    "redis.log, 1, 'x'", "redis.setresp, 3", "bit.band, 1, 2", "struct.pack, 'd', 1.5",
    "struct.unpack, 'd', '12345678'", "cmsgpack.pack, 1.5", "cjson.encode, {1}",
    "loadstring, 'return 1'", "string.format, '%s%s', t[1], t[2]", "table.concat, t",
    "coroutine.wrap(function() return redis.call('ping') end)",
    "redis.acl_check_cmd or redis.call, 'get', 'k'",
):
    attempt(FULL + f"return tostring(pcall({call}))")
assert short(attempt(FULL + "return redis.call('ping')"))
attempt(FULL + "return t")
attempt(FULL + "return t[1]")
attempt(FULL + "error(t[1])")
attempt(FULL + "error({err = t[1]})")
attempt(FULL + "return {err = t[1]}")
for script in (
    "local s = ('x'):rep(60 * 2^17) return 1",
    "local s = ('x'):rep(2^17) local t = {} while true do t[#t + 1] = s .. #t end",
    "local s = 'x' while true do s = s .. s end",
    "coroutine.wrap(function() local s = 'x' while true do s = s .. s end end)()",
    "return ('x'):rep(2^17):gsub('x', ('y'):rep(2^17))",
    "local t = {} for i = 1, 4e5 do t[i] = i end return t",
    "return cjson.encode(('\\0'):rep(6 * 2^17))",
):
    assert short(attempt(script)), script
if version != "6.2":
    def load(body):
        try:
            client.function_load("#!lua name=l\n" + body)
        except redis.ResponseError as error:
            return str(error)
    def call(name):
        try:
            return client.fcall(name, 0)
        except redis.ResponseError as error:
            return str(error)
    load("""local t = {}
redis.register_function('fill', function() while true do t[#t + 1] = ('x'):rep(2^9) .. #t end end)
redis.register_function('count', function() return #t end)""")
    for _ in range(3):
        assert short(call("fill"))
        call("count")
    client.function_flush()
    assert short(load("local t = {} while true do t[#t + 1] = ('x'):rep(2^9) .. #t end"))
    assert short(load("--" + "x" * (30 * UNIT)))
    load("redis.register_function('three', function() return 3 end)")
    assert call("three") == 3
''',
        RELEASES,
    )


def test_ranges_and_patterns_that_lua_does_not_check() -> None:
    """Also on a thread's small stack."""
    run(
        r"""
import threading
MANY = "('a?'):rep(200000)"
SCRIPTS = [
    "return {pcall(unpack, {}, %s)}" % bounds for bounds in (
        "0, 2147483647", "-2147483648, 2147483647", "-1, 2147483647", "1, 2147483647",
        "-2147483648, -1", "2147483640, 2147483647", "0/0, 2^31", "1, 7999", "1, 8000", "1, 1e15")
] + [
    "return ('a'):rep(9):%s" % call for call in (
        f"find({MANY})", f"match({MANY})", f"match({MANY}, 1, true)", f"find({MANY}, 1, false)",
        f"gsub({MANY}, '')", f"gsub({MANY}, '', 1, true)", f"gmatch({MANY})()",
        f"gmatch({MANY}, 1, true)()", f"gfind({MANY})()", f"gfind({MANY}, 1, true)()",
        "find(('b-'):rep(499) .. 'c')", "find(('(a*'):rep(300))", "match(('%b()'):rep(100000))",
        "gsub(('[a]*'):rep(100000), '')", "gsub(('a+'):rep(100000), function() end)",
    )
] + [
    "return string.rep('', 2147483647)", "return (''):rep(1e15)", "return string.rep(5, '3')",
    "return string.format('%1000000d', 1)", "return #string.format('%99.99f', 1e308)",
    "return #string.format('%.99f', -1e308)", "return string.byte('x', -2147483648, 2147483647)",
    "return table.concat({}, '', -2147483648, 2147483647)",
    "return table.concat({}, '', 2147483647, 2147483647)",
    "table.insert({}, 2147483647, 1)", "return table.remove({1}, 2147483647)",
    "return select(-2147483648, 1)", "return select(2147483647, 1)",
    "local t = {} for i = 1, 999 do t[i] = i % 7 end table.sort(t, function() return true end)",
    "local t = {} for i = 1, 999 do t[i] = i % 7 end "
    "table.sort(t, function(a, b) return not (a < b) end)",
    "return loadstring('return ' .. ('('):rep(200000) .. '1')",
    "return loadstring('return ' .. ('-'):rep(200000, ' ') .. '1')",
    "return loadstring('return ' .. ('not '):rep(200000) .. '1')",
    "return loadstring('return ' .. ('1 .. '):rep(200000) .. '1')",
    "return loadstring(('do '):rep(200000))", "return loadstring(('a.b'):rep(200000))",
    "return loadstring(('local a '):rep(300))", "return loadstring(('function f() '):rep(200000))",
    "return tostring(setmetatable({}, {__tostring = function() return 5 end}))",
    "return struct.pack('c2147483647', 'x')", "return struct.pack(('x'):rep(1000) .. '2147483647')",
    "return struct.pack('i99999999999', 1)", "return struct.unpack('i', 'abcd', -2147483648)",
    "return struct.unpack('c2147483647', 'x')", "return struct.size('c2147483647c2147483647')",
    "return bit.tohex(1, -2147483648)", "return bit.lshift(1, -2147483648)",
    "return cmsgpack.unpack_limit('x', 2147483647, 2147483647)",
    "cjson.decode_max_depth(2147483647) return cjson.decode(('['):rep(100000))",
    "cjson.encode_max_depth(2147483647) local t = {} for i = 1, 30000 do "
    "t = {t} end return cjson.encode(t)",
    "local function f() return coroutine.wrap(f)() end return f()",
    "return tonumber(('1'):rep(100000))", "return tonumber('0x' .. ('f'):rep(100000))",
]
def everything():
    for script in SCRIPTS:
        print(script[:99], file=sys.stderr, flush=True)
        attempt(script)
    done.append(True)
done = []
everything()
threading.stack_size(512 << 10)
thread = threading.Thread(target=everything)
thread.start()
thread.join()
assert done == [True, True]
assert b"too many results to unpack" in attempt(SCRIPTS[0])
""",
        RELEASES,
    )


def test_emulators_with_scripts_and_libraries_are_freed() -> None:
    run(
        r"""
import gc, weakref
def used():
    emulator = RedisEmulator()
    client = emulator.client()
    client.function_load(
        "#!lua name=l\nlocal t = {} redis.register_function('f', function(keys) "
        "t[1] = redis.call('mget', keys[1], keys[1]) return t end)")
    client.fcall("f", 1, "key")
    client.eval("pcall(redis.call, 'nosuch') return {{redis.call('ping')}}", 0)
    return weakref.ref(emulator.engine.server)
servers = [used() for _ in range(5)]
gc.collect()
assert [server() for server in servers] == [None] * 5
""",
        ["redis-8.2"],
    )
