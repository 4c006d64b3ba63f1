-- The string library of scripts. Its arguments are the functions of the host (unused) and the result of sandbox.lua.

local _, box = ...
local origin, pass, refused, note_place = box.origin, box.pass, box.refused, box.note_place
local error, pairs, pcall, select, tonumber, type, xpcall = error, pairs, pcall, select, tonumber, type, xpcall
local find, gmatch, gsub, match, rep = string.find, string.gmatch, string.gsub, string.match, string.rep
local getinfo = debug.getinfo

-- The pattern matcher of Lua 5.1 recurses once per pattern item without a limit.

local LONGEST = 1000

local function guard(pattern)
  if type(pattern) == "string" and #pattern > LONGEST
    and select(2, gsub(pattern, "[%*%+%-%?%(]", "")) > LONGEST / 2 then
    error("pattern too complex", 3)
  end
end

-- Patterns that cannot raise an error: characters, classes and simple sets without captures.

local safe, room = {}, 1000

local function learn(pattern)
  if room == 0 then safe, room = {}, 1000 end
  room = room - 1
  local rest = gsub(pattern, "%[%^?[%w%-_ ]+%]", "")
  rest = gsub(rest, "%%[acdlpsuwxACDLPSUWX%p]", "")
  safe[pattern] = #pattern <= 100 and not find(rest, "[%%%[%(%)%z]")
end

local function searching(f, has_plain)
  return function(...)
    local s, pattern, init, plain = ...
    if safe[pattern] and type(s) == "string" and init == nil and plain == nil then return f(s, pattern) end
    if not (plain and has_plain) then guard(pattern) end
    if type(pattern) == "string" and safe[pattern] == nil then learn(pattern) end
    local ok, a, b, c, d, e = pcall(f, ...)
    if not ok then refused(a, 2) end
    if b == nil then return a end
    if c == nil then return a, b end
    if d == nil then return a, b, c end
    if e == nil then return a, b, c, d end
    return f(...)
  end
end

local strings = {}
for name, f in pairs(string) do strings[name] = f end
strings.find, strings.match = searching(find, true), searching(match)

function strings.gmatch(...)
  guard((select(2, ...)))
  local ok, iterator = pcall(gmatch, ...)
  if not ok then refused(iterator, 2) end
  return iterator
end
if strings.gfind then strings.gfind = strings.gmatch end

function strings.rep(...)
  local s, n = ...
  if s == "" and tonumber(n) then return "" end
  if type(s) == "string" and type(n) == "number" then return rep(s, n) end
  local ok, text = pcall(rep, ...)
  if not ok then refused(text, 2) end
  return text
end

function strings.gsub(...)
  local s, pattern, replacement, limit = ...
  guard(pattern)
  local kind = type(replacement)
  if kind ~= "function" and kind ~= "table" then
    local ok, text, count = pcall(gsub, ...)
    if not ok then refused(text, 2) end
    return text, count
  end
  local place
  local ok, text, count = xpcall(function() return gsub(s, pattern, replacement, limit) end, function(e)
    if getinfo(2, "f").func ~= gsub then place = origin(e) end
    return e
  end)
  if ok then return text, count end
  pass(text)
  if place then
    note_place(text, place)
    error(text, 0)
  end
  refused(type(text) == "string" and gsub(gsub(text, "^%[C%]:%d+: ", ""), "'gsub'", "'?'", 1) or text, 2)
end

box.shared_string.__index = strings
box.strings = strings
