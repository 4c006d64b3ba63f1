-- refresh_linked_pod: set a new TTL for a transient link to the given pod.
--
-- KEYS  1 link key   2 index hash of the uid   3 creation time of the link (link key, then "@")
-- ARGV  1 service    2 pod id   3 the new TTL in seconds
-- Reply 1 if the uid is linked to the pod, else 0
--
-- before             after                     reply
-- absent             absent                    0
-- transient(pod)     transient(pod, seconds)   1
-- persistent(pod)    unchanged                 1
-- transient(other)   unchanged                 0
-- persistent(other)  unchanged                 0
--
-- Types and values of both keys are checked before the first write.

local link, index, created = KEYS[1], KEYS[2], KEYS[3]
local service, pod, seconds = ARGV[1], ARGV[2], ARGV[3]

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

if current ~= pod then
  return 0
end

-- A creation time that was stamped for this pod gets the TTL of the link, or a year if the link is
-- persistent, because another program may delete the link and leave the time. Any other is deleted.
local ms = "31536000000"
if redis.call("PTTL", link) ~= -1 then
  redis.call("EXPIRE", link, seconds)
  ms = string.format("%.0f", seconds * 1000)
end
local dated = redis.pcall("GET", created)
if type(dated) == "string" and dated:find("^%d+ " .. pod .. "$") then
  redis.call("PEXPIRE", created, ms)
elseif dated then
  redis.call("DEL", created)
end
return 1
