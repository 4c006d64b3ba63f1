-- The `redis` table (also `server` on Valkey), running scripts, and converting their results for the host (the Python
-- code). Its arguments are the functions of the host and the result of sandbox.lua.

local host, box = ...
local legacy, valkey, modern_texts = host.legacy, host.valkey, host.modern_texts
local error, ipairs, next, pcall, rawget, rawset, select, tonumber, tostring, type, unpack, xpcall, setfenv, loadstring, getmetatable, setmetatable, collectgarbage =
    error, ipairs, next, pcall, rawget, rawset, select, tonumber, tostring, type, unpack, xpcall, setfenv, loadstring, getmetatable,
    setmetatable, collectgarbage
local concat, find, gsub, sub, format = table.concat, string.find, string.gsub, string.sub, string.format
local floor, dump = math.floor, string.dump
local spare, caller, origin = box.spare, box.caller, box.origin
local G, env, strings = box.G, box.env, box.strings
local py_call, py_call3, py_failure = host.call, host.call3, host.failure
local used, MEMORY = gcinfo, host.memory
local NAME = valkey and "server" or "redis"

local api = {}

-- Calling commands. The host returns a string, a number, false for null, true for the status OK, or a table for
-- other replies. nil means an error, which `failure` returns. In RESP3 the reply is inside a table.

local resp3 = false

-- The host does not see the sign of minus zero; servers before 7.2 print it.

local function signed(f) return f end
if not modern_texts then
  local function signs(n, ...)
    local all = { ... }
    for i = 1, n do
      if all[i] == 0 and 1 / all[i] < 0 then all[i] = "-0" end
    end
    return unpack(all, 1, n)
  end
  function signed(f)
    return function(...)
      for i = 1, select("#", ...) do
        if (select(i, ...)) == 0 then return f(signs(select("#", ...), ...)) end
      end
      return f(...)
    end
  end
end
py_call, py_call3 = signed(py_call), signed(py_call3)

-- The fast path of the host for a command, if there is one. Requested once for each name.
local direct = setmetatable({}, {
  __index = function(t, name)
    local f = type(name) == "string" and host.direct(name) or nil
    f = f and signed(f)
    if f then t[name] = f end
    return f
  end,
})

local function place(text, level)
  -- Errors of the API itself contain the position before 7.0, and an error code since.
  if not legacy then return "ERR " .. text end
  local info = caller(level + 1)
  return info and info.source .. ": " .. info.currentline .. ": " .. text or text
end

local function failure(level)
  local text, own, counted = py_failure()
  if own then text = place(text, level + 1) end
  return { err = text, ignore_error_stats_update = counted and not legacy or nil }
end

local function raise(e)
  if legacy then error(e.err, 0) end
  error(e)
end

function api.call(...)
  if used() > MEMORY then spare() end
  if resp3 then
    local r = py_call3(...)
    if r then return r[1] end
    raise(failure(2))
  end
  local r = (direct[(...)] or py_call)(...)
  if r == true then return { ok = "OK" } end
  if r ~= nil then return r end
  raise(failure(2))
end

function api.pcall(...)
  if used() > MEMORY then spare() end
  if resp3 then
    local r = py_call3(...)
    if r then return r[1] end
    return (failure(2))
  end
  local r = (direct[(...)] or py_call)(...)
  if r == true then return { ok = "OK" } end
  if r ~= nil then return r end
  return (failure(2))
end

local function text_error(text, level)
  -- Errors of API functions. pcall returns a string before 7.0, and the text of a table since.
  if legacy then error(text, 0) end
  error({ err = "ERR " .. text })
end

local function up_to_nul(text)
  local nul = find(text, "\0", 1, true)
  return nul and sub(text, 1, nul - 1) or text
end

local function reply_table(field)
  return function(...)
    local text = ...
    if select("#", ...) ~= 1 or type(text) ~= "string" then
      return { err = place("wrong number or type of arguments", 2) }
    end
    if field == "err" and not legacy then
      text = up_to_nul(text)
      if sub(text, 1, 1) == "-" then text = sub(text, 2) end
      local cleaned = gsub(text, "[\r\n]", " ")
      if not find(text, " ", 1, true) then cleaned = "ERR " .. cleaned end
      text = cleaned
    end
    return { [field] = text }
  end
end

api.error_reply = reply_table("err")
api.status_reply = reply_table("ok")

function api.sha1hex(...)
  if select("#", ...) ~= 1 then text_error("wrong number of arguments") end
  local text = ...
  if type(text) ~= "string" and type(text) ~= "number" then text = "" end
  return host.sha1hex(tostring(text))
end

function api.log(...)
  local n = select("#", ...)
  local level = ...
  if n < 2 then text_error(NAME .. ".log() requires two arguments or more.") end
  if type(level) ~= "number" then text_error("First argument must be a number (log level).") end
  if level < 0 or level >= 4 then
    text_error(modern_texts and "Invalid log level." or "Invalid debug level.")
  end
  local parts = {}
  for i = 2, n do
    local part = select(i, ...)
    if type(part) == "string" or type(part) == "number" then parts[#parts + 1] = tostring(part) end
  end
  host.log(floor(level), concat(parts, " "))
end

function api.setresp(...)
  if select("#", ...) ~= 1 then text_error(NAME .. ".setresp() requires one argument.") end
  local version = tonumber((...)) or 0
  if version ~= 2 and version ~= 3 then text_error("RESP version must be 2 or 3.") end
  resp3 = version == 3
  host.setresp(version)
end

function api.set_repl(...)
  if select("#", ...) ~= 1 then
    text_error(NAME .. ".set_repl() requires " .. (modern_texts and "one argument." or "two arguments."))
  end
  local flags = tonumber((...)) or 0
  if flags < 0 or flags >= 4 then
    text_error("Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.")
  end
end

function api.replicate_commands() return true end
function api.breakpoint() return false end
function api.debug() end

if not legacy then
  function api.acl_check_cmd(...)
    local allowed = host.acl_check_cmd(...)
    if allowed ~= nil then return allowed end
    raise(failure(2))
  end
end

for name, value in next, { LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
  REPL_NONE = 0, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_ALL = 3 } do
  api[name] = value
end
for name, value in next, host.constants do api[name] = value end

-- The globals.

local meta
if legacy then
  meta = {
    __index = function(t, name)
      local info = box.caller(2)
      if info and info.what ~= "C" then
        error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
      end
      return rawget(t, name)
    end,
    __newindex = function(t, name, value)
      local info = box.caller(2)
      if info and info.what ~= "main" and info.what ~= "C" then
        error("Script attempted to create global variable '" .. tostring(name) .. "'", 2)
      end
      rawset(t, name, value)
    end,
  }
else
  meta = {
    __index = function(...)
      if select("#", ...) ~= 2 then error("Wrong number of arguments to luaProtectedTableError", 2) end
      local _, name = ...
      error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
    end,
  }
end

local function publish(libraries)
  G.redis = box.freeze(api)
  if valkey then G.server = G.redis end
  G.string, G.table = box.freeze(strings), box.freeze(box.tables)
  G.math, G.coroutine = box.freeze(box.maths), box.freeze(box.coroutines)
  if modern_texts then
    G.os = box.freeze({
      clock = function()
        return (host.clock())
      end,
    })
  end
  for name, library in next, libraries do G[name] = box.freeze(library) end
  G._G = env
  if legacy then
    box.shared_string.__index = strings
    setmetatable(G, meta)
  else
    box.metatables.string = box.freeze({ __index = G.string })
    box.metatables[env] = box.freeze(meta)
    setmetatable(G, { __index = meta.__index })
    G.__redis__err__handler = function(e) return e end
    if valkey then G.__server__err__handler = G.__redis__err__handler end
  end
end

-- Errors that end a script: text, source and line (nil if unknown).

local STRICT = { access = 15, create = 8 }

local function describe(e, info)
  local source, line
  if info then source, line = info.source, info.currentline end
  if legacy then
    if type(e) ~= "string" and type(e) ~= "number" then
      local variable = "err_handler_def:8: attempt to concatenate local 'err' (a " .. type(e) .. " value)"
      return { err = "@err_handler_def:8: " .. variable }
    end
    local _, _, verb = find(e, "Script attempted to (%a+) .*global variable")
    if verb and STRICT[verb] then
      return { err = "@enable_strict_lua:" .. STRICT[verb] .. ": " .. e }
    end
    if info then e = source .. ":" .. line .. ": " .. e end
    return { err = e }
  end
  local text, counted
  if type(e) == "table" then
    text, counted = rawget(e, "err"), rawget(e, "ignore_error_stats_update") and true or nil
    if type(text) ~= "string" and type(text) ~= "number" then text = "ERR unknown error" end
  else
    text = "ERR " .. tostring(e)
  end
  return { err = tostring(text), source = source, line = line, counted = counted }
end

host.describe = describe

local note, start, stop, convert = box.note, box.start, box.stop, box.convert

local function handle(e)
  if type(note(e)) == "userdata" then return e end
  return describe(e, origin(e))
end

-- Results. A value that is not a table is returned unchanged, a table as several values with a tag first. A nested
-- table becomes a list in prefix order: strings and numbers unchanged, everything else as `true`, the name of its
-- kind, and its contents.

local DEEPEST = 200
local get = legacy and function(t, k) return t[k] end or rawget

local emit

local function entries(t, out, n, kind, put)
  local at = n + 3
  out[n + 1], out[n + 2], out[at] = true, kind, 0
  n = at
  local size = 0
  for k, v in next, t do
    n = put(k, v, n)
    size = size + 1
  end
  out[at] = size
  return n
end

function emit(v, out, n, depth)
  local kind = type(v)
  if kind == "string" or kind == "number" then
    out[n + 1] = v
    return n + 1
  elseif kind == "boolean" then
    out[n + 1], out[n + 2] = true, v and "true" or "false"
    return n + 2
  elseif kind ~= "table" then
    out[n + 1], out[n + 2] = true, "null"
    return n + 2
  elseif depth > DEEPEST then
    out[n + 1], out[n + 2], out[n + 3] = true, "error", "ERR reached lua stack limit"
    return n + 3
  end
  local special = get(v, "err")
  if type(special) == "string" then
    local counted = not legacy and get(v, "ignore_error_stats_update")
    out[n + 1], out[n + 2], out[n + 3] = true, counted and "counted" or "error", special
    return n + 3
  end
  special = get(v, "ok")
  if type(special) == "string" then
    out[n + 1], out[n + 2], out[n + 3] = true, "status", special
    return n + 3
  end
  special = get(v, "double")
  if type(special) == "number" then
    -- The host converts whole numbers to integers, which loses the sign of minus zero.
    if special == 0 and 1 / special < 0 then special = "-0" end
    out[n + 1], out[n + 2], out[n + 3] = true, "double", special
    return n + 3
  end
  special = get(v, "map")
  if type(special) == "table" then
    return entries(special, out, n, "map", function(k, item, at)
      return emit(item, out, emit(k, out, at, depth + 1), depth + 1)
    end)
  end
  special = get(v, "set")
  if type(special) == "table" then
    return entries(special, out, n, "set", function(k, _, at) return emit(k, out, at, depth + 1) end)
  end
  if not legacy then
    special = get(v, "big_number")
    if type(special) == "string" then
      if valkey then special = up_to_nul(special) end
      out[n + 1], out[n + 2], out[n + 3] = true, "big_number", special
      return n + 3
    end
    special = get(v, "verbatim_string")
    if type(special) == "table" then
      local text, kind_of_text = get(special, "string"), get(special, "format")
      if type(text) == "string" and type(kind_of_text) == "string" then
        out[n + 1], out[n + 2], out[n + 3], out[n + 4] = true, "verbatim", text, kind_of_text
        return n + 4
      end
    end
  end
  local at = n + 3
  out[n + 1], out[n + 2], out[at] = true, "array", 0
  n = at
  local size = 0
  while true do
    local item = get(v, size + 1)
    if item == nil then break end
    size = size + 1
    n = emit(item, out, n, depth + 1)
  end
  out[at] = size
  return n
end

local FLAT, STREAM, FAILED = 1, 2, 3

local function stream(v)
  local out = {}
  local n = emit(v, out, 0, 0)
  spare()
  return out, n
end

local function finish(ok, v)
  local kind = type(v)
  if not ok then
    if kind ~= "table" then return FAILED, "ERR " .. tostring(v) end
    return FAILED, v.err, v.source, v.line, v.counted
  end
  if kind == "string" or kind == "number" or kind == "boolean" then return v end
  if kind ~= "table" then return nil end
  local size = #v
  if size > 0 and size <= 100 and next(v, size) == nil then
    local plain = true
    for i = 1, size do
      local kind = type(v[i])
      if kind ~= "string" and kind ~= "number" then
        plain = false
        break
      end
    end
    if plain and getmetatable(v) == nil and not (v.err or v.ok or v.double or v.map or v.set) then
      return FLAT, unpack(v, 1, size)
    end
  end
  local fine, out, n = convert(stream, v)
  if not fine then return FAILED, type(out) == "table" and out.err or (legacy and "" or "ERR ") .. tostring(out) end
  return STREAM, out, n
end

local function execute(f, keys, argv)
  resp3 = false
  if legacy then
    box.start_random(host.first_random)
    rawset(G, "KEYS", keys)
    rawset(G, "ARGV", argv)
  else
    G.KEYS, G.ARGV = keys, argv
  end
  start()
  return finish(stop(xpcall(f, handle)))
end

-- Functions of libraries get keys and arguments as parameters. While a library is loaded, only `register_function`
-- and a few other functions are available.

local function execute_function(f, keys, argv)
  resp3 = false
  start()
  return finish(stop(xpcall(function() return f(keys, argv) end, handle)))
end

local function named_arguments(given)
  local name, callback, description, flags
  for key, value in next, given do
    if type(key) ~= "string" and type(key) ~= "number" then
      text_error("named argument key given to " .. NAME .. ".register_function is not a string")
    end
    local kind = type(value)
    local is_text = kind == "string" or kind == "number"
    key = tostring(key)
    if key == "function_name" or key == "description" then
      if not is_text then
        text_error(key .. " argument given to " .. NAME .. ".register_function must be a string")
      end
      if key == "description" then description = tostring(value) else name = tostring(value) end
    elseif key == "callback" then
      if kind ~= "function" then
        text_error("callback argument given to " .. NAME .. ".register_function must be a function")
      end
      callback = value
    elseif key == "flags" then
      if kind ~= "table" then
        text_error("flags argument to " .. NAME .. ".register_function must be a table representing function flags")
      end
      flags = {}
      for i, flag in ipairs(value) do
        if type(flag) ~= "string" or not host.function_flags[flag] then text_error("unknown flag given") end
        flags[i] = flag
      end
    else
      text_error("unknown argument given to " .. NAME .. ".register_function")
    end
  end
  if not name then text_error(NAME .. ".register_function must get a function name argument") end
  if not callback then text_error(NAME .. ".register_function must get a callback argument") end
  return name, callback, description, flags
end

local registered

local function register(...)
  local n = select("#", ...)
  local name, callback = ...
  local description, flags
  if n < 1 or n > 2 then text_error("wrong number of arguments to " .. NAME .. ".register_function") end
  if n == 1 then
    if type(name) ~= "table" then
      text_error("calling " .. NAME .. ".register_function with a single argument is only applicable to Lua table"
        .. " (representing named arguments).")
    end
    name, callback, description, flags = named_arguments(name)
  else
    if type(name) ~= "string" and type(name) ~= "number" then
      text_error("first argument to " .. NAME .. ".register_function must be a string")
    end
    if type(callback) ~= "function" then
      text_error("second argument to " .. NAME .. ".register_function must be a function")
    end
    name = tostring(name)
  end
  if not valkey then
    local wrong = host.wrong_function(name, registered)
    if wrong then text_error(wrong) end
  end
  registered[#registered + 1] = { name = name, callback = callback, description = description, flags = flags or {} }
end

local function load_library(f)
  local shown = { log = api.log, register_function = register }
  for name, value in next, api do
    if find(name, "^LOG_") or find(name, "VERSION") or name == "SERVER_NAME" then shown[name] = value end
  end
  local loading = { redis = box.freeze(setmetatable(shown, meta)) }
  if valkey then loading.server = loading.redis end
  local environment = getmetatable(env)
  registered = {}
  setmetatable(loading, { __index = meta.__index })
  environment.__index = loading
  start()
  local ok, e = xpcall(f, handle)
  environment.__index = G
  stop()
  if not ok then return type(e) == "table" and e.err or "ERR " .. tostring(e) end
  spare()
  return registered
end

-- Creates the function that runs a script with `n` keys. Its arguments are the script, the keys and ARGV.

local function runner(n)
  local names = {}
  for i = 1, n do names[i] = "k" .. i end
  local keys = concat(names, ", ")
  local parameters = n > 0 and keys .. ", ..." or "..."
  local text = format("local execute = ... return function(f, %s) return execute(f, { %s }, { ... }) end", parameters, keys)
  return loadstring(text, "=[C]")(execute)
end

return {
  runner = runner, run_tables = execute, run_function = execute_function, load_library = load_library, publish = publish,
  sized = function(...) return { ... } end,
  slice = function(out, first, last) return unpack(out, first, last) end,
  wipe = function(t) for k in next, t do t[k] = nil end end,
  -- Loads source text, or bytecode of just compiled source that the host has rewritten.
  compile = function(text, name)
    local f, message = loadstring(text, name)
    if not f then return nil, message end
    spare()
    return f
  end,
  dump = dump,
  bind = function(code, name)
    local f = setfenv(loadstring(code, name), env)
    spare()
    return f
  end,
  -- Before 7.0 a script is inserted into `function f_sha() ... end`. It can contain code after an `end` that closes it.
  define = function(f, maker)
    start()
    local ok, e = stop(xpcall(f, note))
    if not ok then return type(e) == "string" and e or type(e) == "number" and tostring(e) or "(null)" end
    f = rawget(G, maker)
    rawset(G, maker, nil)
    spare()
    return type(f) == "function" and f or "the script has removed its function"
  end,
  forget = function() box.forget_settings() end,
  collect = function() collectgarbage() end,
}
