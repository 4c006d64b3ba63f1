-- JSON like lua-cjson 2.1.0, with its options and error texts.

local host, box = ...
local select, type, next, error, tonumber, tostring, rawget, pcall = select, type, next, error, tonumber, tostring, rawget, pcall
local byte, char, find, format, gsub, match, sub, lower = string.byte, string.char, string.find, string.format, string.gsub, string.match, string.sub, string.lower
local concat, floor, huge = table.concat, math.floor, math.huge
local null = box.null
local MINUS_NAN = -(huge - huge)
if sub(format("%f", MINUS_NAN), 1, 1) ~= "-" then MINUS_NAN = -MINUS_NAN end

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n",
  ["\r"] = "\\r", ["\t"] = "\\t", ["\127"] = "\\u007f" }
for i = 0, 31 do
  local c = char(i)
  ESCAPES[c] = ESCAPES[c] or format("\\u%04x", i)
end

local function quoted(s)
  s = gsub(s, '[%z\1-\31"\\/\127]', ESCAPES)
  return '"' .. s .. '"'
end

local function fail(kind, reason)
  error("Cannot serialise " .. kind .. ": " .. reason, 0)
end

-- The number of elements of an array; nil for an object.
local function array_length(t, config)
  local highest, count = 0, 0
  for k in next, t do
    if type(k) ~= "number" or k < 1 or k ~= floor(k) then return nil end
    -- Larger numbers overflow a C integer to the lowest value.
    if k > highest then highest = k > 2147483647 and -2147483648 or k end
    count = count + 1
  end
  if config.sparse_ratio > 0 and highest > count * config.sparse_ratio and highest > config.sparse_safe then
    if not config.sparse_convert then fail("table", "excessively sparse array") end
    return nil
  end
  return highest
end

local function encode_number(x, config)
  if x ~= x or x == huge or x == -huge then
    if config.encode_invalid == "null" then return "null" end
    if not config.encode_invalid then fail("number", "must not be NaN or Inf") end
    if x ~= x then return "nan" end
    return x > 0 and "inf" or "-inf"
  end
  return format(config.number_format, x)
end

local encode

local function encode_table(t, out, depth, config)
  depth = depth + 1
  if depth > config.encode_depth then error("Cannot serialise, excessive nesting (" .. depth .. ")", 0) end
  local size = array_length(t, config)
  if size and size > 0 then
    out[#out + 1] = "["
    for i = 1, size do
      if i > 1 then out[#out + 1] = "," end
      encode(rawget(t, i), out, depth, config)
    end
    out[#out + 1] = "]"
    return
  end
  out[#out + 1] = "{"
  local first = true
  for k, v in next, t do
    if not first then out[#out + 1] = "," end
    first = false
    local kind = type(k)
    if kind == "number" then
      out[#out + 1] = '"' .. encode_number(k, config) .. '":'
    elseif kind == "string" then
      out[#out + 1] = quoted(k) .. ":"
    else
      fail(kind, "table key must be a number or string")
    end
    encode(v, out, depth, config)
  end
  out[#out + 1] = "}"
end

function encode(v, out, depth, config)
  local kind = type(v)
  if kind == "string" then out[#out + 1] = quoted(v)
  elseif kind == "number" then out[#out + 1] = encode_number(v, config)
  elseif kind == "boolean" then out[#out + 1] = v and "true" or "false"
  elseif kind == "table" then encode_table(box.frozen[v] or v, out, depth, config)
  elseif kind == "nil" or v == null then out[#out + 1] = "null"
  else fail(kind, "type not supported") end
end

-- Decoding. `lex` returns the kind of the next token, its value, its start and the position after it.

local function expected(what, found, at)
  error("Expected " .. what .. " but found " .. found .. " at character " .. at, 0)
end

local function utf8(code)
  if code < 0x80 then return char(code) end
  if code < 0x800 then return char(0xc0 + floor(code / 64), 0x80 + code % 64) end
  if code < 0x10000 then
    return char(0xe0 + floor(code / 4096), 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
  end
  return char(0xf0 + floor(code / 262144), 0x80 + floor(code / 4096) % 64, 0x80 + floor(code / 64) % 64,
    0x80 + code % 64)
end

local UNESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

local function unicode(s, at)
  local digits = match(s, "^\\u(%x%x%x%x)", at)
  if not digits then return nil end
  local code = tonumber(digits, 16)
  if code >= 0xd800 and code < 0xe000 then
    if code >= 0xdc00 then return nil end
    local second = match(s, "^\\u(%x%x%x%x)", at + 6)
    second = second and tonumber(second, 16)
    if not second or second < 0xdc00 or second > 0xdfff then return nil end
    return utf8(0x10000 + (code - 0xd800) * 1024 + second - 0xdc00), at + 12
  end
  return utf8(code), at + 6
end

local function lex_string(s, start)
  local plain = match(s, '^[^"\\%z]*', start + 1)
  local at = start + 1 + #plain
  if byte(s, at) == 34 then return "T_STRING", plain, start, at + 1 end
  local parts = { plain }
  while true do
    local c = sub(s, at, at)
    if c == '"' then return "T_STRING", concat(parts), start, at + 1 end
    if c == "" or c == "\0" then return "T_ERROR", "unexpected end of string", at end
    local kind = sub(s, at + 1, at + 1)
    if kind == "u" then
      local text, after = unicode(s, at)
      if not text then return "T_ERROR", "invalid unicode escape code", at end
      parts[#parts + 1], at = text, after
    elseif UNESCAPES[kind] then
      parts[#parts + 1], at = UNESCAPES[kind], at + 2
    else
      return "T_ERROR", "invalid escape code", at
    end
    plain = match(s, '^[^"\\%z]*', at)
    parts[#parts + 1] = plain
    at = at + #plain
  end
end

local function lex_number(s, at)
  -- The number that strtod of C would read.
  local text = match(s, "^[+-]?%d+%.?%d*[eE][+-]?%d+", at) or match(s, "^[+-]?%.%d+[eE][+-]?%d+", at)
    or match(s, "^[+-]?%d+%.?%d*", at) or match(s, "^[+-]?%.%d+", at)
  local hex = match(s, "^[+-]?0[xX]%x+", at)
  if hex then
    local value = 0
    local sign = sub(hex, 1, 1)
    for digit in box.gmatch(match(hex, "[xX](%x+)"), "%x") do value = value * 16 + tonumber(digit, 16) end
    return "T_NUMBER", sign == "-" and -value or value, at, at + #hex
  end
  if text then return "T_NUMBER", tonumber(text), at, at + #text end
  local word = match(s, "^[+-]?%a+", at) or ""
  local name = lower(match(word, "%a+") or "")
  local sign = sub(word, 1, 1) == "-" and -1 or 1
  local signed = find(word, "^[+-]") and 1 or 0
  for _, known in next, { "infinity", "inf", "nan" } do
    if sub(name, 1, #known) == known then
      local value = known == "nan" and (sign < 0 and MINUS_NAN or -MINUS_NAN) or sign * huge
      return "T_NUMBER", value, at, at + signed + #known
    end
  end
  return "T_ERROR", "invalid number", at
end

local function is_invalid_number(s, at)
  local p = at
  if byte(s, p) == 43 then return true end
  if byte(s, p) == 45 then p = p + 1 end
  if byte(s, p) == 48 then return find(s, "^0[xX%d]", p) ~= nil end
  if find(s, "^%d", p) then return false end
  return find(lower(sub(s, p, p + 2)), "^inf") ~= nil or find(lower(sub(s, p, p + 2)), "^nan") ~= nil
end

local PUNCTUATION = { ["{"] = "T_OBJ_BEGIN", ["}"] = "T_OBJ_END", ["["] = "T_ARR_BEGIN", ["]"] = "T_ARR_END",
  [":"] = "T_COLON", [","] = "T_COMMA" }
local WORDS = { { "true", "T_BOOLEAN", true }, { "false", "T_BOOLEAN", false }, { "null", "T_NULL", null } }

local function lex(s, at, config)
  at = find(s, "[^ \t\r\n]", at) or #s + 1
  local c = sub(s, at, at)
  if c == "" or c == "\0" then return "T_END", nil, at, at end
  local kind = PUNCTUATION[c]
  if kind then return kind, nil, at, at + 1 end
  if c == '"' then return lex_string(s, at) end
  if find(c, "[%d-]") then
    if not config.decode_invalid and is_invalid_number(s, at) then return "T_ERROR", "invalid number", at end
    return lex_number(s, at)
  end
  for _, word in next, WORDS do
    if sub(s, at, at + #word[1] - 1) == word[1] then return word[2], word[3], at, at + #word[1] end
  end
  if config.decode_invalid and is_invalid_number(s, at) then return lex_number(s, at) end
  return "T_ERROR", "invalid token", at
end

local function unexpected(what, kind, value, at)
  expected(what, kind == "T_ERROR" and value or kind, at)
end

local value_of

local function deeper(depth, config, at)
  depth = depth + 1
  if depth > config.decode_depth then
    error("Found too many nested data structures (" .. depth .. ") at character " .. at - 1, 0)
  end
  return depth
end

local function decode_object(s, at, depth, config)
  depth = deeper(depth, config, at)
  local t = {}
  local kind, value, begin, after = lex(s, at, config)
  if kind == "T_OBJ_END" then return t, after end
  while true do
    if kind ~= "T_STRING" then unexpected("object key string", kind, value, begin) end
    local key = value
    kind, value, begin, after = lex(s, after, config)
    if kind ~= "T_COLON" then unexpected("colon", kind, value, begin) end
    kind, value, begin, after = lex(s, after, config)
    t[key], after = value_of(s, kind, value, begin, after, depth, config)
    kind, value, begin, after = lex(s, after, config)
    if kind == "T_OBJ_END" then return t, after end
    if kind ~= "T_COMMA" then unexpected("comma or object end", kind, value, begin) end
    kind, value, begin, after = lex(s, after, config)
  end
end

local function decode_array(s, at, depth, config)
  depth = deeper(depth, config, at)
  local t = {}
  local kind, value, begin, after = lex(s, at, config)
  if kind == "T_ARR_END" then return t, after end
  local n = 0
  while true do
    n = n + 1
    t[n], after = value_of(s, kind, value, begin, after, depth, config)
    kind, value, begin, after = lex(s, after, config)
    if kind == "T_ARR_END" then return t, after end
    if kind ~= "T_COMMA" then unexpected("comma or array end", kind, value, begin) end
    kind, value, begin, after = lex(s, after, config)
  end
end

function value_of(s, kind, value, begin, after, depth, config)
  if kind == "T_STRING" or kind == "T_NUMBER" or kind == "T_BOOLEAN" or kind == "T_NULL" then return value, after end
  if kind == "T_OBJ_BEGIN" then return decode_object(s, after, depth, config) end
  if kind == "T_ARR_BEGIN" then return decode_array(s, after, depth, config) end
  unexpected("value", kind, value, begin)
end

local function decode(s, config)
  if #s >= 2 and (byte(s, 1) == 0 or byte(s, 2) == 0) then
    error("JSON parser does not support UTF-16 or UTF-32", 0)
  end
  local kind, value, begin, after = lex(s, 1, config)
  local result
  result, after = value_of(s, kind, value, begin, after, 0, config)
  kind, value, begin = lex(s, after, config)
  if kind ~= "T_END" then unexpected("the end", kind, value, begin) end
  return result
end

-- The module and its options.

local function arguments(allowed, ...)
  if select("#", ...) > allowed then
    box.bad(allowed + 1, "found too many arguments", 3)
  end
end

local function integer_option(i, low, high, current, ...)
  if select("#", ...) < i or (select(i, ...)) == nil then return current end
  local value = box.int32(box.number(i, 3, ...))
  if value < low or value > high then
    box.bad(1, "expected integer between " .. low .. " and " .. high, 3)
  end
  return value
end

local function choice_option(i, choices, current, ...)
  local value = (select(i, ...))
  if select("#", ...) < i or value == nil then return current end
  if type(value) == "boolean" then return value end
  local text = type(value) == "number" and tostring(value) or value
  if type(text) ~= "string" then box.need("string", i, 3, ...) end
  if choices[text] == nil then box.bad(i, "invalid option '" .. text .. "'", 3) end
  return choices[text]
end

local SWITCH = { off = false, on = true }
local INVALID = { off = false, on = true, null = "null" }

local DEFAULTS = { sparse_convert = false, sparse_ratio = 2, sparse_safe = 10, encode_depth = 1000,
  decode_depth = 1000, encode_invalid = false, decode_invalid = true, keep_buffer = true, precision = 14,
  number_format = "%.14g" }

local function reset(config)
  for name, value in next, DEFAULTS do config[name] = value end
  return config
end

local function new(config)
  config = reset(config or {})
  local cjson = { _NAME = "cjson", _VERSION = "2.1.0", null = null }

  function cjson.encode(...)
    if select("#", ...) ~= 1 then box.bad(1, "expected 1 argument", 2) end
    local out = {}
    local ok, message = pcall(encode, (...), out, 0, config)
    if not ok then error(message, 2) end
    return concat(out)
  end

  function cjson.decode(...)
    if select("#", ...) ~= 1 then box.bad(1, "expected 1 argument", 2) end
    local text = ...
    if type(text) == "number" then text = tostring(text) else box.need("string", 1, 2, ...) end
    local ok, result = pcall(decode, text, config)
    if not ok then error(result, 2) end
    return result
  end

  function cjson.encode_sparse_array(...)
    arguments(3, ...)
    config.sparse_convert = choice_option(1, SWITCH, config.sparse_convert, ...)
    config.sparse_ratio = integer_option(2, 0, 2147483647, config.sparse_ratio, ...)
    config.sparse_safe = integer_option(3, 0, 2147483647, config.sparse_safe, ...)
    return config.sparse_convert, config.sparse_ratio, config.sparse_safe
  end

  function cjson.encode_max_depth(...)
    arguments(1, ...)
    config.encode_depth = integer_option(1, 1, 2147483647, config.encode_depth, ...)
    return config.encode_depth
  end

  function cjson.decode_max_depth(...)
    arguments(1, ...)
    config.decode_depth = integer_option(1, 1, 2147483647, config.decode_depth, ...)
    return config.decode_depth
  end

  function cjson.encode_number_precision(...)
    arguments(1, ...)
    config.precision = integer_option(1, 1, 14, config.precision, ...)
    config.number_format = "%." .. config.precision .. "g"
    return config.precision
  end

  function cjson.encode_keep_buffer(...)
    arguments(1, ...)
    config.keep_buffer = choice_option(1, SWITCH, config.keep_buffer, ...)
    return config.keep_buffer
  end

  function cjson.encode_invalid_numbers(...)
    arguments(1, ...)
    config.encode_invalid = choice_option(1, INVALID, config.encode_invalid, ...)
    return config.encode_invalid
  end

  function cjson.decode_invalid_numbers(...)
    arguments(1, ...)
    config.decode_invalid = choice_option(1, SWITCH, config.decode_invalid, ...)
    return config.decode_invalid
  end

  function cjson.new() return new() end
  return cjson
end

local shared = {}
box.forget_settings = function() reset(shared) end
return new(shared)
