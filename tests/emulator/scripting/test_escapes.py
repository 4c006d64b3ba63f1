"""Scripts that try to leave the sandbox, change state of later scripts or crash the process.

Every attempt ends in a Lua error or a harmless value, and the next script finds everything as it
was.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from redis_emulator import RedisEmulator
from redis_emulator.scripting import runtime

VERSIONS = ("8.2", "6.2")
"""One with the sandbox since Redis 7.0, one with that before it."""

REACHING = (
    "return python.eval('1')",
    "return python.builtins.open('/etc/passwd')",
    "return python",
    "return debug.getregistry()",
    "return debug.getinfo(1)",
    "return debug.sethook()",
    "return io.open('/etc/passwd'):read('*a')",
    "return os.execute('true')",
    "return os.getenv('HOME')",
    "return os.exit(3)",
    "return os.remove('/nonexistent')",
    "return package.loadlib('libc.so.6', 'system')",
    "return require('os')",
    "return dofile('/etc/passwd')",
    "return loadfile('/etc/passwd')",
    "return module('x')",
    "return newproxy(true)",
    "return getmetatable(newproxy(true))",
    "return getfenv(0).python",
    "return getfenv(redis.call).python",
    "return getfenv(string.rep).python",
    "return getfenv(1).io",
    "return setfenv(0, {})",
    "return setfenv(redis.call, {})",
    "return setfenv(1, {})",
    "return loadstring('return getfenv(0)')().io",
    "return load(function() return nil end)().python",
    "return _G._G.python",
    "return rawget(_G, 'python')",
    "return rawget(_G, 'io')",
    "return getmetatable(_G).__index.python",
    "return getmetatable(_G).__index(_G, 'io')",
    "return getmetatable(cjson.null)",
    "return cjson.null.__class__",
    "return cjson.null()",
    "cjson.null.x = 1",
    "return #cjson.null",
    "return cjson.null .. ''",
    "return getmetatable(redis.call)",
    "return redis.call.__self__",
    "return redis.call.__globals__",
    "return getmetatable('').__index.dump(redis.call)",
    "return string.dump(redis.call)",
    "return loadstring(string.dump(function() return io end))",
    "return loadstring('\\27Lua' .. ('\\0'):rep(100))",
    "return load(function() return '\\27Lua' end)",
    "return coroutine.wrap(function() return python end)()",
    "return coroutine.running()",
    "local co = coroutine.create(function() coroutine.yield(redis) end) "
    "local _, r = coroutine.resume(co) return r.call.__class__",
    "return select(2, pcall(redis.call, {})).__class__",
    "return select(2, pcall(redis.call, function() end)).x",
    "return select(2, pcall(redis.sha1hex, {}))",
    "local ok, e = pcall(redis.call, 'nosuch') return type(e)",
    "local ok, e = pcall(cjson.decode, 'x') return getmetatable(e)",
    "local ok, e = pcall(struct.unpack, 'f', 'abcd') return type(e)",
    "return bit.band.__class__",
    "return xpcall(function() redis.call() end, function(e) return e.__class__ end)",
    "return tostring(redis.call)",
    "return tostring(struct.pack)",
    "return redis.call('eval', 'return python', 0)",
    "return redis.call('get', redis)",
    "return redis.log(redis.LOG_WARNING, python)",
    "return math.random.__self__",
    "return table.foreach(_G, function(k, v) if k == 'python' then return v end end)",
    "for k in string.gmatch('a', 'a') do return k.__class__ end",
    "return string.gsub('a', 'a', setmetatable({}, {__index = function() return python end}))",
    "return collectgarbage('stop')",
    "return collectgarbage('setpause', 100000000)",
    "return ('x').__class__",
    "return (5).__class__",
    "return redis.register_function('f', function() end)",
)

SPOILING = (
    "redis.call = nil",
    "redis.call = function() return 'spoilt' end",
    "rawset(redis, 'call', 1)",
    "string.rep = nil",
    "getmetatable('').__index = {}",
    "getmetatable('').__index.rep = nil",
    "getmetatable('').__add = function() return 'spoilt' end",
    "setmetatable(_G, nil)",
    "setmetatable(_G, {__index = function() return 'spoilt' end})",
    "setmetatable(string, {})",
    "getmetatable(_G).__index = function() return 'spoilt' end",
    "table.insert(_G, 1)",
    "table.insert(redis, 1, 1)",
    "table.sort(redis, function() redis.call = 1 end)",
    "table.remove(redis)",
    "for k in pairs(redis) do redis[k] = nil end",
    "for k in pairs(_G) do _G[k] = nil end",
    "for k in pairs(string) do rawset(string, k, nil) end",
    "pcall = nil",
    "rawset(_G, 'pcall', nil)",
    "rawset(_G, 'error', function() end)",
    "_G.tostring = function() return 'spoilt' end",
    "__redis__err__handler = nil",
    "KEYS = nil ARGV = nil",
    "table.setn(redis, 5)",
    "local t = setmetatable({}, {__gc = function() redis.call('set', 'gc', 1) end}) t = nil "
    "collectgarbage()",
    "local t = setmetatable({}, {__mode = 'kv'}) t[redis] = redis collectgarbage()",
    "cjson.encode = nil",
    "cjson.null = 1",
    "math.random = nil",
    "bit.band = nil",
    "coroutine.wrap = nil",
)

EXHAUSTING = (
    "local function f() return 1 + f() end return f()",
    "local function f() return pcall(f) end return f()",
    "local function f() local ok, e = pcall(f) return e end return f()",
    "local function f() coroutine.wrap(f)() end f()",
    "local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x",
    "local t = setmetatable({}, {__index = function(t, k) return t[k] end}) return t.x",
    "local t = setmetatable({}, {__tostring = function(t) return tostring(t) end}) "
    "return tostring(t)",
    "return ('x'):rep(2^40)",
    "return unpack({}, 1, 1e8)",
    "return string.char(unpack({}, 1, 1e7))",
    "return ('a'):rep(100000):find(('a?'):rep(100000))",
    "return ('a'):rep(100000):match(('(a)'):rep(100))",
    "return ('('):rep(100000):find(('('):rep(100000))",
    "return ('a'):rep(3000):gsub('(.-)*', '')",
    "return loadstring('return ' .. ('('):rep(100000) .. '1' .. (')'):rep(100000))",
    "return loadstring('return ' .. ('{'):rep(100000))",
    "return loadstring(('a = a.b '):rep(100000))",
    "return cjson.decode(('['):rep(1000000))",
    "local t = {} t.t = t return cjson.encode(t)",
    "local t = {} t[1] = t return t",
    "local t = {} t.map = t return t",
    "local t = {} for i = 1, 100000 do t = {t} end return t",
    "local t = {} t[1] = t return #cmsgpack.pack(t)",
    "return cmsgpack.unpack(('\\145'):rep(1000000))",
    "return cmsgpack.unpack('\\221\\255\\255\\255\\255')",
    "return struct.unpack(('b'):rep(100000), ('x'):rep(100000))",
    "return struct.pack('c2147483647', 'x')",
    "return string.format('%99999d', 1)",
    "return ('%s'):rep(1000):format(1)",
    "return table.concat({}, 'x', 1, 2^40)",
    "return ('a'):rep(3000):find('.-b')",
    "return select(-2^40, 1)",
    "return redis.call(unpack({}, 1, 7000))",
)

BOMBS = (
    "return ('x'):rep(2^30):rep(2^10)",
    "local s = 'x' while true do s = s .. s end",
    "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1e6) .. i end",
    "return ('x'):rep(2^20):gsub('x', ('y'):rep(2^20))",
)
"""What takes the memory a script may have, and a while."""

PROBE = """
local seen, found = {}, {}
local function look(value, path)
  if type(value) == 'userdata' and value ~= cjson.null then found[#found + 1] = path end
  if type(value) ~= 'table' or seen[value] then return end
  seen[value] = true
  for k, v in pairs(value) do
    look(k, path .. '.key')
    look(v, path .. '.' .. tostring(k))
  end
  look(getmetatable(value), path .. '.metatable')
end
look(_G, '_G')
look(getmetatable(''), 'string')
look({pcall(redis.call)}, 'error')
look({pcall(redis.call, 'hget', 'text', 'x')}, 'wrong')
look(redis.pcall('nosuch'), 'unknown')
look(redis.call('mget', 'text', 'none'), 'reply')
return found
"""

WHOLE = """
local t = {}
for _, name in ipairs({'redis', 'string', 'table', 'math', 'cjson', 'cmsgpack', 'struct', 'bit',
                       'coroutine'}) do
  local members = {}
  for k, v in pairs(_G[name]) do members[#members + 1] = k .. type(v) end
  table.sort(members)
  t[#t + 1] = name .. ':' .. table.concat(members, ',')
end
t[#t + 1] = ('x'):rep(2) .. cjson.encode({1}) .. tostring(redis.call('get', 'text'))
return t
"""


@pytest.fixture(scope="module", params=VERSIONS)
def client(request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    emulator = RedisEmulator(version=request.param)
    client = emulator.client()
    client.set("text", "value")
    yield client
    client.close()


def attempt(client: redis.Redis, script: str) -> object:
    """The result of the script, or the text of its error; any other exception is a bug."""
    try:
        return client.eval(script, 0)
    except redis.ResponseError as error:
        return str(error)


def harmless(value: object) -> bool:
    """Whether a reply contains nothing about Python or the machine."""
    text = repr(value)
    return not any(word in text for word in ("<class", "lupa", "Traceback", "root:", "<built-in"))


@pytest.mark.parametrize("script", REACHING)
def test_scripts_cannot_leave_the_sandbox(client: redis.Redis, script: str) -> None:
    assert harmless(attempt(client, script))
    assert client.eval(PROBE, 0) == []


@pytest.mark.parametrize("script", SPOILING)
def test_scripts_cannot_change_globals_of_later_scripts(script: str) -> None:
    client = RedisEmulator().client()
    client.set("text", "value")
    before = client.eval(WHOLE, 0)
    assert harmless(attempt(client, script))
    assert client.eval(WHOLE, 0) == before


@pytest.mark.parametrize("script", BOMBS)
def test_memory_of_scripts_is_limited(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "HARD_MEMORY", 128 << 20)
    monkeypatch.setattr(runtime, "SOFT_MEMORY", 48 << 10)
    client = RedisEmulator().client()
    assert "not enough memory" in str(attempt(client, script))
    assert client.eval("return redis.call('echo', ('x'):rep(3))", 0) == b"xxx"


def test_deeply_nested_results_need_little_python_stack(client: redis.Redis) -> None:
    script = "local t = {} for i = 1, 150 do t = {t} end return t"

    def deeper(frames: int) -> object:
        return deeper(frames - 1) if frames else client.eval(script, 0)

    reply = deeper(400)
    for _ in range(150):
        assert isinstance(reply, list)
        (reply,) = reply
    assert reply == []


@pytest.mark.parametrize("script", EXHAUSTING)
def test_scripts_cannot_exhaust_limits(client: redis.Redis, script: str) -> None:
    assert harmless(attempt(client, script))
    assert client.eval("return {('x'):rep(2), redis.call('get', 'text')}", 0) == [b"xx", b"value"]
