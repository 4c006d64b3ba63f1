-- The sandbox: the globals and functions that scripts can access. Runs once per Lua state, before any script.
-- Dangerous functions are kept in locals that scripts cannot access. "Host" means the Python code.
--
-- Three rules. (1) Scripts get only nil, booleans, numbers, strings, plain tables and Lua functions;
-- functions of the host are upvalues of the functions below. (2) Since 7.0 Redis makes its tables read-only.
-- Standard Lua cannot do that, so scripts get an empty proxy table that reads from the real table ("frozen"), and
-- the library functions that access tables directly (pairs, rawset, table.insert ...) are replaced by functions
-- that know the proxies. (3) The global table of the state is emptied and not accessible: the host looks names up
-- there.
--
-- All chunks of the emulator are named "=[C]". The code that finds the line of an error treats their functions as
-- the C functions that they replace.

local host = ...
local legacy, valkey = host.legacy, host.valkey

local error, getmetatable, setmetatable, next, pairs, pcall, rawequal, rawget, rawset, select, tonumber, tostring,
    type, unpack, xpcall, loadstring, setfenv, getfenv, newproxy, collectgarbage =
    error, getmetatable, setmetatable, next, pairs, pcall, rawequal, rawget, rawset, select, tonumber, tostring,
    type, unpack, xpcall, loadstring, setfenv, getfenv, newproxy, collectgarbage
local byte, concat, gmatch, match = string.byte, table.concat, string.gmatch, string.match
local floor = math.floor
local globals = _G
local getinfo, sethook = debug.getinfo, debug.sethook
local create, wrap, running, foreach = coroutine.create, coroutine.wrap, coroutine.running, table.foreach

-- Memory. If an allocation fails, Lua raises an error, but calls from the host into the state (arguments, replies)
-- cannot catch it. Therefore no values are passed while more than `host.memory` KiB are in use, and the host limits
-- the size of what it passes to the rest.

local used, MEMORY = gcinfo, host.memory

local function spare()
  if used() > MEMORY then
    collectgarbage()
    if used() > MEMORY then error("not enough memory", 0) end
  end
end

local checked = { call = true, call3 = true, failure = true, direct = true, interrupt = true }  -- they are checked by their callers

local function guard_host(functions)
  for name, f in next, functions do
    if type(f) == "userdata" and not checked[name] then
      functions[name] = function(...)
        if used() > MEMORY then spare() end
        return f(...)
      end
    end
  end
  return functions
end

guard_host(host)

local READONLY = "Attempt to modify a readonly table"
local frozen, metatables = {}, {}

local function readonly()
  error(READONLY, 2)
end

local function freeze(t)
  if legacy then return t end
  local shadow = setmetatable({}, { __index = t, __newindex = readonly })
  frozen[shadow] = t
  return shadow
end

-- Positions in scripts.

local function ours(info)
  return info and (info.what == "C" or info.source == "=[C]" or info.what == "tail")
end

local function caller(level)
  -- The position of the script function that called a library function, counted from `level` of the caller.
  local info = getinfo(level + 1, "Sl")
  while info and info.source == "=[C]" and info.what ~= "C" do
    level = level + 1
    info = getinfo(level + 1, "Sl")
  end
  return info
end

local known_error, known_place

local function origin(e)
  -- The position of the error `e`, called in an error handler (level 2 is the handler). If a replacement function
  -- has caught an error and raises it again, the position was stored.
  local level = 3
  if known_place and rawequal(e, known_error) then return known_place end
  local info = getinfo(level, "Sl")
  if not ours(info) then return info end
  local below = getinfo(level + 1, "Sl")
  while below and (below.source == "=[C]" and below.what ~= "C" or below.what == "tail") do
    level = level + 1
    below = getinfo(level + 1, "Sl")
  end
  return below
end

local function where(info)
  return info.currentline > 0 and info.short_src .. ":" .. info.currentline .. ": " or ""
end

-- Argument checks, as in the C functions. `level` is the level of the script for `error`.

local function typename(n, i, ...)
  if i > n then return "no value" end
  return type((select(i, ...)))
end

local function bad(i, what, level)
  -- The error names the function as its caller does. For a method call the object is not counted.
  local info = getinfo(level, "n")
  local name = info.name or "?"
  if info.namewhat == "method" then
    i = i - 1
    if i == 0 then error("calling '" .. name .. "' on bad self (" .. what .. ")", level + 1) end
  end
  error("bad argument #" .. i .. " to '" .. name .. "' (" .. what .. ")", level + 1)
end

local function need(expected, i, level, ...)
  local n = select("#", ...)
  local value = select(i, ...)
  if i > n or type(value) ~= expected then
    bad(i, expected .. " expected, got " .. typename(n, i, ...), level + 1)
  end
  return value
end

local function number(i, level, ...)
  local n = select("#", ...)
  local value
  if i <= n then value = tonumber((select(i, ...))) end
  if value == nil then bad(i, "number expected, got " .. typename(n, i, ...), level + 1) end
  return value
end

local function int32(value)
  if value ~= value or value >= 2 ^ 63 or value < -2 ^ 63 then return 0 end
  value = (value < 0 and -floor(-value) or floor(value)) % 2 ^ 32
  return value >= 2 ^ 31 and value - 2 ^ 32 or value
end

-- Global functions that support frozen tables.

local G = {}
local env = legacy and G or setmetatable({}, {
  __index = G,
  __newindex = readonly,
})
frozen[env] = not legacy and G or nil

local function unfrozen(t)
  return frozen[t] or t
end

function G.next(...)
  local t = need("table", 1, 2, ...)
  local _, key = ...
  local ok, k, v = pcall(next, unfrozen(t), key)
  if not ok then error(k, 0) end
  return k, v
end

function G.pairs(...)
  local t = need("table", 1, 2, ...)
  return G.next, t, nil
end

function G.rawget(...)
  local t = need("table", 1, 2, ...)
  if select("#", ...) < 2 then bad(2, "value expected", 2) end
  local _, key = ...
  return rawget(unfrozen(t), key)
end

function G.rawset(...)
  local t = need("table", 1, 2, ...)
  local n = select("#", ...)
  if n < 3 then bad(n + 1 == 2 and 2 or 3, "value expected", 2) end
  if frozen[t] then error(READONLY, 0) end
  local _, key, value = ...
  if key == nil then error("table index is nil", 0) end
  if key ~= key then error("table index is NaN", 0) end
  return rawset(t, key, value)
end

local shared_string = getmetatable("")

function G.getmetatable(...)
  if select("#", ...) == 0 then bad(1, "value expected", 2) end
  local o = ...
  local kind = type(o)
  if kind == "userdata" then return nil end
  if kind == "string" or kind == "table" and frozen[o] then return metatables[kind == "string" and kind or o] end
  return getmetatable(o)
end

function G.setmetatable(...)
  local t = need("table", 1, 2, ...)
  local _, mt = ...
  if select("#", ...) < 2 or mt ~= nil and type(mt) ~= "table" then
    bad(2, "nil or table expected", 2)
  end
  if frozen[t] then error(READONLY, 0) end
  local old = getmetatable(t)
  if type(old) == "table" and rawget(old, "__metatable") ~= nil or old ~= nil and type(old) ~= "table" then
    error("cannot change a protected metatable", 2)
  end
  return setmetatable(t, mt)
end

-- The null value of cjson: a userdata without accessible contents.

local null = newproxy(true)
getmetatable(null).__tostring = function() return "userdata: (nil)" end

-- Aborting a script: by the error of SCRIPT KILL, or by an exception of the host, which is passed as an object. Every
-- function that catches errors for a script calls `pass` with the error, so that an aborted script cannot continue.

local ended

local function note(e)
  if type(e) == "userdata" and not rawequal(e, null) then ended = e end
  return e
end

local function pass(e)
  note(e)
  if ended ~= nil then error(ended, 0) end
  known_error, known_place = nil, nil
  return e
end

-- Protected calls. Since 7.0 pcall returns the text of an error reply, before that the table.

local function caught(ok, ...)
  if ok then return true, ... end
  local e = pass((...))
  if not legacy and type(e) == "table" then
    local text = e.err
    if type(text) == "string" or type(text) == "number" then return false, text end
  end
  return false, e
end

function G.pcall(...)
  if select("#", ...) == 0 then
    if legacy then bad(1, "value expected", 2) end
    return false
  end
  return caught(pcall(...))
end

local function passed(ok, ...)
  if not ok then pass((...)) end
  return ok, ...
end

function G.xpcall(...)
  local n = select("#", ...)
  if n < 2 then bad(2, "value expected", 2) end
  local f, handler = ...
  return passed(xpcall(f, function(e)
    note(e)
    if ended ~= nil then return e end
    return handler(e)
  end))
end

-- Loading code: source text only, no bytecode, with the globals of scripts. An error in the reader function of `load`
-- is passed to the error handler of the script, unless there is an inner one, and is returned.

local function load_text(text, name)
  if byte(text) == 27 then text = " " .. text end
  local f, message = loadstring(text, name)
  if f then return setfenv(f, env) end
  return nil, message
end

function G.loadstring(...)
  local text, name = ...
  local n = select("#", ...)
  if type(text) ~= "string" and type(text) ~= "number" then
    bad(1, "string expected, got " .. typename(n, 1, ...), 2)
  end
  if name ~= nil and type(name) ~= "string" and type(name) ~= "number" then
    bad(2, "string expected, got " .. type(name), 2)
  end
  text = tostring(text)
  return load_text(text, name and tostring(name) or text)
end

local LONGEST_CHUNK = 2 ^ 22
local NO_STRING = "reader function must return a string"

local function unprotected(level)
  -- Whether an error `level` functions up would reach the error handler of the script.
  while true do
    local info = getinfo(level, "f")
    if not info or info.func == pcall then return false end
    if info.func == xpcall then return true end
    level = level + 1
  end
end

function G.load(...)
  local reader = need("function", 1, 2, ...)
  local _, name = ...
  local parts, size = {}, 0
  while true do
    local place
    local ok, part = xpcall(reader, function(e)
      place = origin(e)
      return e
    end)
    if not ok then pass(part) end
    if ok and part ~= nil and type(part) ~= "string" and type(part) ~= "number" then
      place = getinfo(2, "Sl")
      ok, part = false, where(place) .. NO_STRING
    end
    if not ok then
      if not unprotected(3) then return nil, part end
      local described = host.describe(part, place)
      return nil, legacy and described.err or described
    end
    if part == nil or part == "" then break end
    parts[#parts + 1] = part
    size = size + #part
    if size > LONGEST_CHUNK then error("not enough memory", 0) end
  end
  return load_text(concat(parts), name and tostring(name) or "=(load)")
end

-- A C function called by pcall knows neither its name nor its position. They are added to its errors here.

local function refused(message, level)
  if type(message) ~= "string" then error(message, 0) end
  local i, what = match(message, "^bad argument #(%d+) to '%?' %((.*)%)$")
  if i then bad(tonumber(i), what, level + 1) end
  error(message, level + 1)
end

-- table

local tables = {}
for name, f in pairs(table) do tables[name] = f end

function tables.insert(...)
  local t = need("table", 1, 2, ...)
  local n = select("#", ...)
  local size = #t + 1
  local _, pos, value = ...
  if n == 2 then
    pos, value = size, pos
  elseif n == 3 then
    pos = int32(number(2, 2, ...))
    if pos > size then size = pos end
    if frozen[t] then error(READONLY, 0) end
    for i = size, pos + 1, -1 do rawset(t, i, rawget(t, i - 1)) end
  else
    error("wrong number of arguments to 'insert'", 2)
  end
  if frozen[t] then error(READONLY, 0) end
  rawset(t, pos, value)
end

function tables.foreach(...)
  local t = need("table", 1, 2, ...)
  local f = need("function", 2, 2, ...)
  for k, v in next, unfrozen(t) do
    local r = f(k, v)
    if r ~= nil then return r end
  end
end

-- math: the server's own generator, the same on every platform

local maths = {}
for name, f in pairs(math) do maths[name] = f end

local HALF = 2 ^ 24
local MUL_HIGH, MUL_LOW = floor(0x5DEECE66D / HALF), 0x5DEECE66D % HALF
local state

local function seed(value)
  state = (value % 2 ^ 32) * 2 ^ 16 + 0x330E
end

local function draw()
  local high, low = floor(state / HALF), state % HALF
  local mid = (MUL_LOW * high + MUL_HIGH * low) % HALF
  state = (MUL_LOW * low + 0xB + mid * HALF) % 2 ^ 48
  return floor(state / 2 ^ 17) % 0x7FFFFFFF / 0x7FFFFFFF
end

function maths.random(...)
  local n = select("#", ...)
  local r = draw()
  if n == 0 then return r end
  if n > 2 then error("wrong number of arguments", 2) end
  local low, high = 1, int32(number(1, 2, ...))
  if n == 2 then low, high = high, int32(number(2, 2, ...)) end
  if low > high then bad(n, "interval is empty", 2) end
  return floor(r * (high - low + 1)) + low
end

function maths.randomseed(...)
  seed(int32(number(1, 2, ...)))
end

-- coroutine: the hook is also set in coroutines

local coroutines = {}
for name, f in pairs(coroutine) do coroutines[name] = f end
local watch, WATCH_EVERY = nil, 100000

local function lua_function(i, level, ...)
  local f = (select(i, ...))
  if type(f) ~= "function" or ours(getinfo(f, "S")) then bad(i, "Lua function expected", level + 1) end
  return f
end

function coroutines.create(...)
  local thread = create(lua_function(1, 2, ...))
  sethook(thread, watch, "", WATCH_EVERY)
  return thread
end

local function resumed(ok, ...)
  if not ok then pass((...)) end
  return ok, ...
end

local resume, status = coroutine.resume, coroutine.status

function coroutines.resume(...)
  if type((...)) ~= "thread" then bad(1, "coroutine expected", 2) end
  return resumed(resume(...))
end

function coroutines.status(...)
  if type((...)) ~= "thread" then bad(1, "coroutine expected", 2) end
  return status((...))
end

function coroutines.wrap(...)
  local f = lua_function(1, 2, ...)
  return wrap(function(...)
    sethook(watch, "", WATCH_EVERY)
    return f(...)
  end)
end

-- collectgarbage: scripts may run a collection, but not turn it off

local knobs = { stop = 0, setpause = 200, setstepmul = 200, restart = 0 }

function G.collectgarbage(...)
  local option = ...
  if knobs[option] then return knobs[option] end
  local ok, result = pcall(collectgarbage, ...)
  if not ok then refused(result, 2) end
  return result
end

for _, name in next, { "assert", "error", "gcinfo", "ipairs", "rawequal", "select", "tonumber", "tostring", "type",
  "_VERSION" } do
  G[name] = _G[name]
end

-- The function of Lua does not check that the number of results fits into an integer and on the stack.

local MOST_RESULTS = 8000

function G.unpack(...)
  local t = need("table", 1, 2, ...)
  local _, first, last = ...
  first = first == nil and 1 or int32(number(2, 2, ...))
  last = last == nil and #t or int32(number(3, 2, ...))
  if last - first >= MOST_RESULTS - select("#", ...) then error("too many results to unpack", 2) end
  return unpack(t, first, last)
end

if legacy then
  G.print = function() end
  G.newproxy = function() return newproxy() end
  function G.getfenv(...)
    local f = ...
    if type(f) == "number" and f > 0 then f = f + 1 end
    local e = f == nil and getfenv(2) or getfenv(f)
    return e == globals and env or e
  end
  function G.setfenv(...)
    local f, e = ...
    need("table", 2, 2, ...)
    if type(f) == "number" and f > 0 then f = f + 1 end
    if f == 0 or getfenv(f) == globals then error("'setfenv' cannot change environment of given object", 2) end
    return setfenv(f, e)
  end
end

-- The hook. `active` is set while code of a script runs, `converting` while its result is converted. Other code of
-- the emulator is never interrupted.

local interrupt = host.interrupt
local active, converting, at_every_line = false, false, false

watch = function()
  if not active then return end
  spare()
  if ended == nil then
    local ok, reason = pcall(interrupt)
    if not ok then
      note(reason)
    elseif reason then
      ended = legacy and reason or { err = "ERR " .. reason }
    end
  end
  if ended ~= nil then
    -- Call the hook at every line until the emulator's own functions have returned.
    at_every_line = true
    sethook(watch, "l")
    local info = getinfo(2, "Sl")
    if converting then
      active = false  -- so that the code after `convert` is not interrupted too
      error(ended, 0)
    elseif info.source ~= "=[C]" then
      known_error, known_place = ended, info
      error(ended, 0)
    end
  end
end
sethook(watch, "", WATCH_EVERY)

local function start()
  known_error, known_place, ended = nil, nil, nil
  if at_every_line then
    at_every_line = false
    sethook(watch, "", WATCH_EVERY)
  end
  active = true
end

local function stop(ok, a, b)
  -- After a script: raises the exception that aborted it, or returns its arguments. Varargs would be slower.
  active, converting = false, false
  if ended ~= nil and type(ended) == "userdata" then
    local e = ended
    ended = nil
    error(e, 0)
  end
  return ok, a, b
end

local function convert(f, ...)
  -- Convert the result of a script. Like the script itself, this can be killed and can run out of memory.
  active, converting = true, true
  return stop(pcall(f, ...))
end

return {
  G = G, env = env, freeze = freeze, frozen = frozen, metatables = metatables, null = null,
  gmatch = gmatch, tables = tables, maths = maths, coroutines = coroutines,
  bad = bad, need = need, number = number, int32 = int32, spare = spare, guard_host = guard_host,
  caller = caller, origin = origin, note = note, pass = pass, refused = refused, seed = seed, shared_string = shared_string,
  start_random = function(x) state = x end,
  note_place = function(e, place) known_error, known_place = e, place end,
  start = start, stop = stop, convert = convert,
  load_text = load_text, valkey = valkey,
  try = function(...) return passed(pcall(...)) end,
  -- The host uses this name in every call, so it must exist before memory is short.
  kept = "debug",
}
