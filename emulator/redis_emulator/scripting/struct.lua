-- Packing values into bytes by a format string, like the struct library of Roberto Ierusalimschy.

local host, box = ...
local select, type, error, tostring, unpack = select, type, error, tostring, unpack
local byte, sub, rep, find, concat, char = string.byte, string.sub, string.rep, string.find, table.concat, string.char
local ceil, floor = math.ceil, math.floor
local pack_float, unpack_float, unpack_int, pack_int = host.pack_float, host.unpack_float, host.unpack_int, host.pack_int
local LARGEST_INT, LARGEST_SIZE, ALIGNMENT = 32, 2 ^ 31 - 1, 8
local SIZES = { b = 1, B = 1, h = 2, H = 2, l = 8, L = 8, T = 8, f = 4, d = 8, x = 1 }

local function digits(format, at, default)
  local first, last = find(format, "^%d+", at)
  if not first then return default, at end
  local value = 0
  for i = first, last do
    value = value * 10 + byte(format, i) - 48
    if value > LARGEST_SIZE then error("integral size overflow", 4) end
  end
  return value, last + 1
end

local function option(state, level)
  -- The next option of a format, after processing settings: its letter and size.
  local format, at = state.format, state.at
  local letter = sub(format, at, at)
  at = at + 1
  local size = SIZES[letter] or 0
  if letter == "i" or letter == "I" then
    size, at = digits(format, at, 4)
    if size > LARGEST_INT then
      error("integral size " .. size .. " is larger than limit of " .. LARGEST_INT, level + 1)
    end
  elseif letter == "c" then
    size, at = digits(format, at, 1)
  end
  state.at = at
  return letter, size
end

local function control(state, letter, level)
  if letter == " " then return end
  if letter == ">" then state.little = false
  elseif letter == "<" then state.little = true
  elseif letter == "!" then
    local value
    value, state.at = digits(state.format, state.at, ALIGNMENT)
    local power = value
    while power > 1 and power % 2 == 0 do power = power / 2 end
    if value == 0 or power ~= 1 then error("alignment " .. value .. " is not a power of 2", level + 1) end
    state.align = value
  else
    box.bad(1, "invalid format option '" .. letter .. "'", level + 1)
  end
end

local function padding(state, letter, size, position)
  if size == 0 or letter == "c" then return 0 end
  local align = size > state.align and state.align or size
  if align <= 1 then return 0 end
  return (align - position % align) % align
end

local function start(format)
  return { format = format, at = 1, little = true, align = 1 }
end

local function text(i, level, ...)
  local s = (select(i, ...))
  if type(s) == "number" then return tostring(s) end
  return box.need("string", i, level + 1, ...)
end

local struct = {}

function struct.pack(...)
  local state = start(text(1, 2, ...))
  local out, size, arg, n = {}, 0, 2, select("#", ...)
  local function present(kind)
    if arg > n then box.bad(arg, kind .. " expected, got nil", 3) end
  end
  local function put(s)
    out[#out + 1] = s
    size = size + #s
  end
  while state.at <= #state.format do
    local letter, width = option(state, 2)
    put(rep("\0", padding(state, letter, width, size)))
    if letter == "x" then
      put("\0")
    elseif find(letter, "[bBhHlLTiI]") then
      present("number")
      put(pack_int(box.number(arg, 2, ...), width, state.little))
      arg = arg + 1
    elseif letter == "f" or letter == "d" then
      present("number")
      local number = box.number(arg, 2, ...)
      put(pack_float((state.little and "<" or ">") .. letter, number, number == 0 and 1 / number < 0))
      arg = arg + 1
    elseif letter == "c" or letter == "s" then
      present("string")
      local s = text(arg, 2, ...)
      if letter == "s" then
        put(s .. "\0")
      else
        if width == 0 then width = #s end
        if #s < width then box.bad(arg + 1, "string too short", 2) end
        put(sub(s, 1, width))
      end
      arg = arg + 1
    else
      control(state, letter, 2)
    end
  end
  return concat(out)
end

function struct.unpack(...)
  local state = start(text(1, 2, ...))
  local data = text(2, 2, ...)
  local position = 0
  if select("#", ...) >= 3 and (select(3, ...)) ~= nil then
    local offset = box.number(3, 2, ...)
    position = (offset < 0 and ceil(offset) or floor(offset)) - 1
    -- A negative position fails in the check of the data it points to.
    if position == -1 then box.bad(3, "offset must be 1 or greater", 2) end
  end
  local size = #data
  local out, n = {}, 0
  while state.at <= #state.format do
    local letter, width = option(state, 2)
    position = position + padding(state, letter, width, position)
    if position < 0 or position > size or width > size - position then
      box.bad(2, "data string too short", 2)
    end
    if n >= 7900 then error("too many results", 2) end
    local raw = sub(data, position + 1, position + width)
    if letter == "x" then
      position = position + 1
    elseif find(letter, "[bBhHlLTiI]") then
      n = n + 1
      out[n] = width == 0 and 0 or unpack_int(raw, state.little, find(letter, "[bhli]") ~= nil)
      position = position + width
    elseif letter == "f" or letter == "d" then
      n = n + 1
      out[n] = unpack_float((state.little and "<" or ">") .. letter, raw)
      position = position + width
    elseif letter == "c" then
      if width == 0 then
        if n == 0 or type(out[n]) ~= "number" then error("format 'c0' needs a previous size", 2) end
        width = floor(out[n])
        out[n] = nil
        n = n - 1
        if width < 0 or width > size - position then box.bad(2, "data string too short", 2) end
        raw = sub(data, position + 1, position + width)
      end
      n = n + 1
      out[n] = raw
      position = position + width
    elseif letter == "s" then
      local finish = find(data, "\0", position + 1, true)
      if not finish then error("unfinished string in data", 2) end
      n = n + 1
      out[n] = sub(data, position + 1, finish - 1)
      position = finish
    else
      control(state, letter, 2)
    end
  end
  out[n + 1] = position + 1
  return unpack(out, 1, n + 1)
end

function struct.size(...)
  local state = start(text(1, 2, ...))
  local size = 0
  while state.at <= #state.format do
    local letter, width = option(state, 2)
    size = size + padding(state, letter, width, size)
    if letter == "s" then
      box.bad(1, "option 's' has no fixed size", 2)
    elseif letter == "c" and width == 0 then
      box.bad(1, "option 'c0' has no fixed size", 2)
    end
    if not find(letter, "%w") then control(state, letter, 2) end
    size = size + width
  end
  return size
end

return struct
