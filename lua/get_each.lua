-- get_each: the strings at some keys, as they were at one moment.
--
-- KEYS  any number of keys, in one slot on a cluster
-- Reply one value or nil per key, in the order of the keys
--
-- Unlike MGET, a key of another type is an error that names the key instead of a nil: a link is never
-- skipped in silence. Changes nothing.

local values = {}
for i, key in ipairs(KEYS) do
  local value = redis.pcall("GET", key)
  if type(value) == "table" then
    return redis.error_reply(value.err .. " (key " .. key .. ")")
  end
  values[i] = value
end
return values
