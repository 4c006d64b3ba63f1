-- Bitwise operations on 32-bit integers, like LuaBitOp: arguments are taken modulo 2^32, results are signed. The host
-- computes and, or, xor of two numbers; shifts are multiplications.

local host, box = ...
local select, format, floor, rep, sub, upper = select, string.format, math.floor, string.rep, string.sub, string.upper
local number = box.number
local band, bor, bxor = host.band, host.bor, host.bxor
local MODULUS = 2 ^ 32

local function unsigned(x)
  if x ~= x or x >= 2 ^ 51 or x <= -2 ^ 51 then
    -- LuaBitOp adds 1.5 * 2^52 and uses the low 32 bits of the double.
    return host.low_word(x + 6755399441055744)
  end
  local whole = floor(x)
  local rest = x - whole
  if rest > 0.5 or rest == 0.5 and whole % 2 == 1 then whole = whole + 1 end
  return whole % MODULUS
end

local function signed(x)
  return x >= 2 ^ 31 and x - MODULUS or x
end

local bit = {}

local function folding(combine)
  return function(...)
    local result = unsigned(number(1, 2, ...))
    for i = 2, select("#", ...) do result = combine(result, unsigned(number(i, 2, ...))) end
    return signed(result)
  end
end

bit.band, bit.bor, bit.bxor = folding(band), folding(bor), folding(bxor)

function bit.tobit(...) return signed(unsigned(number(1, 2, ...))) end
function bit.bnot(...) return signed(MODULUS - 1 - unsigned(number(1, 2, ...))) end

function bit.bswap(...)
  local x = unsigned(number(1, 2, ...))
  local a, b, c, d = x % 256, floor(x / 256) % 256, floor(x / 65536) % 256, floor(x / 16777216)
  return signed(((a * 256 + b) * 256 + c) * 256 + d)
end

local function left(x, n) return x % 2 ^ (32 - n) * 2 ^ n end
local function right(x, n) return floor(x / 2 ^ n) end

local function shifting(shift)
  return function(...)
    local x = unsigned(number(1, 2, ...))
    return signed(shift(x, unsigned(number(2, 2, ...)) % 32))
  end
end

bit.lshift, bit.rshift = shifting(left), shifting(right)
bit.arshift = shifting(function(x, n) return floor(signed(x) / 2 ^ n) % MODULUS end)
bit.rol = shifting(function(x, n) return left(x, n) + right(x, 32 - n) end)
bit.ror = shifting(function(x, n) return right(x, n) + left(x, 32 - n) end)

function bit.tohex(...)
  local x = unsigned(number(1, 2, ...))
  local n = 8
  local capital = false
  if select("#", ...) >= 2 then n = signed(unsigned(number(2, 2, ...))) end
  if n < 0 then n, capital = -n, true end
  if n > 8 then n = 8 end
  local digits = sub(format("%08x", x), 9 - n)
  if n == 0 then digits = "" end
  return capital and upper(digits) or digits
end

return bit
