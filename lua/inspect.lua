-- inspect: read type, TTL and value of several keys.
--
-- KEYS  any number of keys, all in one slot on a cluster
-- Reply for each key {type, PTTL, value}: the value of a string, the fields and values of a hash, the
--       DUMP payload of any other type, nil if the key does not exist
--
-- Read-only. No type and no value causes an error.

local found = {}
for i, key in ipairs(KEYS) do
  local kind, value = redis.call("TYPE", key).ok, false
  if kind == "string" then
    value = redis.call("GET", key)
  elseif kind == "hash" then
    value = redis.call("HGETALL", key)
  elseif kind ~= "none" then
    value = redis.call("DUMP", key)
  end
  found[i] = {kind, redis.call("PTTL", key), value}
end
return found
