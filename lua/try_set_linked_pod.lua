-- try_set_linked_pod: link a uid to a pod unless it has a persistent link to another pod.
--
-- KEYS  1 link key   2 index hash of the uid   3 creation time of the link (link key, then "@")
-- ARGV  1 service    2 pod id   3 TTL in seconds, -1 for none   4 "1" to stamp the creation time
-- Reply {1, pod} if the link was written, {0, other} if the uid has a persistent link to another pod
--
-- before             after                reply
-- absent             link(pod, seconds)   {1, pod}
-- transient(any)     link(pod, seconds)   {1, pod}
-- persistent(pod)    link(pod, seconds)   {1, pod}
-- persistent(other)  unchanged            {0, other}
--
-- A link key without a TTL is a persistent link, with or without an index entry.
-- Types and values of both keys are checked before the first write.

local link, index, created = KEYS[1], KEYS[2], KEYS[3]
local service, pod, seconds, track = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

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

if current and current ~= pod and redis.call("PTTL", link) == -1 then
  return {0, tonumber(current)}
end

if seconds == "-1" then
  redis.call("SET", link, pod)
  redis.call("HSET", index, service, pod)
else
  redis.call("SET", link, pod, "EX", seconds)
  redis.call("HDEL", index, service)
end

-- A link to the same pod keeps a creation time that was stamped for this pod. A link to another pod gets
-- a new one, or none without ARGV[4]. Its TTL is that of the link, or a year if the link is persistent,
-- because another program may delete the link and leave the time.
local dated = redis.pcall("GET", created)
local ms = seconds == "-1" and "31536000000" or string.format("%.0f", seconds * 1000)
if current ~= pod and track == "1" then
  local now = redis.call("TIME")
  local stamp = string.format("%.0f", now[1] * 1000 + math.floor(now[2] / 1000))
  redis.call("SET", created, stamp .. " " .. pod, "PX", ms)
elseif current == pod and type(dated) == "string" and dated:find("^%d+ " .. pod .. "$") then
  redis.call("PEXPIRE", created, ms)
elseif dated then
  redis.call("DEL", created)
end

return {1, tonumber(pod)}
