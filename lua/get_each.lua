-- get_each: read the strings at several keys in one atomic step.
--
-- KEYS  any number of keys, all in one slot on a cluster
-- Reply for each key, in the order of the keys: its value, or nil if it does not exist
--
-- Read-only. A key of another type is an error that names the key; MGET alone returns nil, which the
-- caller would read as "no link". MGET is called with at most 1000 keys, because unpack() puts them on
-- Lua's stack. GET is called for each key without a value, and fails if the key has another type.

local values = {}
for first = 1, #KEYS, 1000 do
  local found = redis.call("MGET", unpack(KEYS, first, math.min(first + 999, #KEYS)))
  for i, value in ipairs(found) do
    if not value then
      local key = KEYS[first + i - 1]
      value = redis.pcall("GET", key)
      if type(value) == "table" then
        return redis.error_reply(value.err .. " (key " .. key .. ")")
      end
    end
    values[#values + 1] = value
  end
end
return values
