-- inspect: what is at some keys, whatever it is.
--
-- KEYS  any number of keys, in one slot on a cluster
-- Reply for each key {type, PTTL, value}: the value of a string, the fields and values of a hash, nil if
--       there is none, else what DUMP gives
--
-- Changes nothing, and fails for no content.

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
