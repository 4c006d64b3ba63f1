-- get_each: the strings at some keys, as they were at one moment.
--
-- KEYS  any number of keys, in one slot on a cluster
-- Reply one value or nil per key, in the order of the keys
--
-- Unlike MGET, a key of another type is an error that names the key instead of a nil: a link is never
-- skipped in silence. MGET reads them, a thousand at a time because of Lua's stack, and where it found
-- no string GET says why. Changes nothing.

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
