-- remove_linked_pod_with_id: remove the link of a uid if it is linked to the given pod.
--
-- KEYS  1 link key   2 index hash of the uid   3 creation time of the link (link key, then "@")
-- ARGV  1 service    2 grace period in seconds, -1 for none   3 pod id
-- Reply 1 if there was a link to that pod, else 0
--
-- before             after, no grace   after, grace             reply
-- absent             absent            absent                   0
-- transient(pod)     absent            transient(pod, grace)    1
-- persistent(pod)    absent            transient(pod, grace)    1
-- transient(other)   unchanged         unchanged                0
-- persistent(other)  unchanged         unchanged                0
--
-- If the link key does not exist (it was evicted), the index entry is deleted, for any pod.
-- The creation time gets the TTL of the link; if it was stamped for another pod it is deleted.
-- Types and values of both keys are checked before the first write.

local link, index, created = KEYS[1], KEYS[2], KEYS[3]
local service, grace, pod = ARGV[1], ARGV[2], ARGV[3]

local function is_pod_id(value)
  return value == "0"
    or (value:find("^[1-9]%d*$") ~= nil and #value <= 10 and tonumber(value) <= 2147483647)
end

local current = redis.call("GET", link)
local entry = redis.call("HGET", index, service)
if current and not is_pod_id(current) then
  return redis.error_reply("MALFORMED " .. link)
end
if entry and not is_pod_id(entry) then
  return redis.error_reply("MALFORMED " .. index .. " field " .. service)
end

if current and current ~= pod then
  return 0
end

redis.call("HDEL", index, service)
if current and grace ~= "-1" then
  redis.call("EXPIRE", link, grace)
  local dated = redis.pcall("GET", created)
  if type(dated) == "string" and dated:find("^%d+ " .. current .. "$") then
    redis.call("EXPIRE", created, grace)
  elseif dated then
    redis.call("DEL", created)
  end
else
  redis.call("DEL", link, created)
end

return current and 1 or 0
