-- MessagePack like lua-cmsgpack 0.4.0: whole numbers are packed as integers, others as the smallest exact float, tables
-- with keys 1..n as arrays, and nesting beyond 16 levels as nil.

local host, box = ...
local select, type, next, error, unpack, tostring = select, type, next, error, unpack, tostring
local byte, char, sub, concat, floor = string.byte, string.char, string.sub, table.concat, math.floor
local pack_float, unpack_float, unpack_int, pack_int = host.pack_float, host.unpack_float, host.unpack_int, host.pack_int
local DEEPEST = 16

local function big(value, size) return pack_int(value, size, false) end

local function pack_number(x)
  if x == floor(x) and x >= -2 ^ 63 and x < 2 ^ 63 then
    if x >= 0 then
      if x <= 127 then return char(x) end
      if x <= 0xff then return "\204" .. char(x) end
      if x <= 0xffff then return "\205" .. big(x, 2) end
      if x <= 0xffffffff then return "\206" .. big(x, 4) end
      return "\207" .. big(x, 8)
    end
    if x >= -32 then return char(256 + x) end
    if x >= -128 then return "\208" .. big(x, 1) end
    if x >= -32768 then return "\209" .. big(x, 2) end
    if x >= -2 ^ 31 then return "\210" .. big(x, 4) end
    return "\211" .. big(x, 8)
  end
  local single = pack_float(">f", x)
  if unpack_float(">f", single) == x then return "\202" .. single end
  return "\203" .. pack_float(">d", x)
end

local function header(n, short, limit, medium, long)
  if n <= limit then return char(short + n) end
  if n <= 0xffff then return medium .. big(n, 2) end
  return long .. big(n, 4)
end

local function pack_string(s)
  local n = #s
  if n > 31 and n <= 0xff then return "\217" .. char(n) .. s end
  return header(n, 0xa0, 31, "\218", "\219") .. s
end

local function is_array(t)
  local highest, count = 0, 0
  for k in next, t do
    if type(k) ~= "number" or k <= 0 or k ~= floor(k) then return false end
    if k > highest then highest = k end
    count = count + 1
  end
  return highest == count, count
end

local pack

local function pack_table(t, out, depth)
  local array, count = is_array(t)
  if array then
    out[#out + 1] = header(count, 0x90, 15, "\220", "\221")
    for i = 1, count do pack(t[i], out, depth) end
    return
  end
  count = 0
  for _ in next, t do count = count + 1 end
  out[#out + 1] = header(count, 0x80, 15, "\222", "\223")
  for k, v in next, t do
    pack(k, out, depth)
    pack(v, out, depth)
  end
end

function pack(value, out, depth)
  local kind = type(value)
  if kind == "table" and depth == DEEPEST then kind = "nil" end
  if kind == "string" then out[#out + 1] = pack_string(value)
  elseif kind == "number" then out[#out + 1] = pack_number(value)
  elseif kind == "boolean" then out[#out + 1] = value and "\195" or "\194"
  elseif kind == "table" then pack_table(value, out, depth + 1)
  else out[#out + 1] = "\192" end
end

local MISSING, BAD = "Missing bytes in input.", "Bad data format in input."

local function take(s, at, n)
  if at + n - 1 > #s then error(MISSING, 0) end
  return sub(s, at, at + n - 1), at + n
end

local function length(s, at, n)
  local raw
  raw, at = take(s, at, n)
  return unpack_int(raw, false, false), at
end

local decode

local function decode_array(s, at, n)
  local t = {}
  for i = 1, n do t[i], at = decode(s, at) end
  return t, at
end

local function decode_map(s, at, n)
  local t = {}
  for _ = 1, n do
    local k, v
    k, at = decode(s, at)
    v, at = decode(s, at)
    if k == nil then error("table index is nil", 0) end
    if k ~= k then error("table index is NaN", 0) end
    t[k] = v
  end
  return t, at
end

local SIZES = { [0xcc] = 1, [0xcd] = 2, [0xce] = 4, [0xcf] = 8, [0xd0] = 1, [0xd1] = 2, [0xd2] = 4, [0xd3] = 8 }
local nesting = 0

local function nested(f, s, at, n)
  nesting = nesting + 1
  if nesting > 5000 then error("stack overflow", 0) end
  local value
  value, at = f(s, at, n)
  nesting = nesting - 1
  return value, at
end

function decode(s, at)
  local c = byte(s, at)
  if not c then error(MISSING, 0) end
  if c < 0x80 then return c, at + 1 end
  if c >= 0xe0 then return c - 256, at + 1 end
  if c < 0x90 then return nested(decode_map, s, at + 1, c - 0x80) end
  if c < 0xa0 then return nested(decode_array, s, at + 1, c - 0x90) end
  if c < 0xc0 then return take(s, at + 1, c - 0xa0) end
  if c == 0xc0 then return nil, at + 1 end
  if c == 0xc2 or c == 0xc3 then return c == 0xc3, at + 1 end
  local n, raw
  if SIZES[c] then
    raw, at = take(s, at + 1, SIZES[c])
    return unpack_int(raw, false, c >= 0xd0), at
  end
  if c == 0xca then
    raw, at = take(s, at + 1, 4)
    return unpack_float(">f", raw), at
  end
  if c == 0xcb then
    raw, at = take(s, at + 1, 8)
    return unpack_float(">d", raw), at
  end
  if c == 0xd9 or c == 0xda or c == 0xdb then
    n, at = length(s, at + 1, 2 ^ (c - 0xd9))
    return take(s, at, n)
  end
  if c == 0xdc or c == 0xdd then
    n, at = length(s, at + 1, c == 0xdc and 2 or 4)
    return nested(decode_array, s, at, n)
  end
  if c == 0xde or c == 0xdf then
    n, at = length(s, at + 1, c == 0xde and 2 or 4)
    return nested(decode_map, s, at, n)
  end
  error(BAD, 0)
end

local function text(i, ...)
  local s = (select(i, ...))
  if type(s) == "number" then return tostring(s) end
  return box.need("string", i, 3, ...)
end

local function several(s, limit, offset, decode_all)
  local size = #s
  if offset < 0 or limit < 0 then
    error("Invalid request to unpack with offset of " .. offset .. " and limit of " .. size .. ".", 3)
  end
  if offset > size then error("Start offset " .. offset .. " greater than input length " .. size .. ".", 3) end
  if decode_all then limit = 2 ^ 31 - 1 end
  local out, n, at = {}, 0, offset + 1
  nesting = 0
  while at <= size and n < limit do
    local ok, value, after = box.try(decode, s, at)
    if not ok then error(value, (value == MISSING or value == BAD) and 3 or 0) end
    if n >= 7900 then error("too many results to unpack", 3) end
    n, at = n + 1, after
    out[n] = value
  end
  return out, n, at
end

local cmsgpack = {
  _NAME = "cmsgpack",
  _VERSION = "lua-cmsgpack 0.4.0",
  _COPYRIGHT = "Copyright (C) 2012, " .. (box.valkey and "Redis Ltd." or "Salvatore Sanfilippo"),
  _DESCRIPTION = "MessagePack C implementation for Lua",
}

function cmsgpack.pack(...)
  local n = select("#", ...)
  if n == 0 then box.bad(0, "MessagePack pack needs input.", 2) end
  local out = {}
  for i = 1, n do pack((select(i, ...)), out, 0) end
  return concat(out)
end

function cmsgpack.unpack(...)
  local s = text(1, ...)
  local out, n = several(s, 0, 0, true)
  return unpack(out, 1, n)
end

local function offset_of(size, at)
  return at > size and -1 or at - 1
end

function cmsgpack.unpack_one(...)
  local s = text(1, ...)
  local offset = select("#", ...) >= 2 and (select(2, ...)) ~= nil and box.int32(box.number(2, 2, ...)) or 0
  local out, n, at = several(s, 1, offset)
  return offset_of(#s, at), unpack(out, 1, n)
end

function cmsgpack.unpack_limit(...)
  local s = text(1, ...)
  local limit = box.int32(box.number(2, 2, ...))
  local offset = select("#", ...) >= 3 and (select(3, ...)) ~= nil and box.int32(box.number(3, 2, ...)) or 0
  local out, n, at = several(s, limit, offset, limit == 0 and offset == 0)
  if limit == 0 and offset == 0 then return unpack(out, 1, n) end
  return offset_of(#s, at), unpack(out, 1, n)
end

return cmsgpack
