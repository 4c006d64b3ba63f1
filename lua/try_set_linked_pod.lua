-- try_set_linked_pod: link a uid to a pod unless another pod owns it.
--
-- KEYS  1 link key   2 index hash of the uid   3 creation time of the link (link key, then "@")
-- ARGV  1 service    2 pod id   3 seconds to persist, -1 for ever   4 "1" to stamp the creation time
-- Reply {1, pod} when linked, {0, owner} when another pod owns the uid
--
-- before             after                reply
-- absent             link(pod, seconds)   {1, pod}
-- transient(any)     link(pod, seconds)   {1, pod}
-- persistent(pod)    link(pod, seconds)   {1, pod}
-- persistent(other)  unchanged            {0, other}
--
-- A link key without a TTL is a persistent link. Both keys are read, and so checked for their types
-- and values, before the first write.

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

-- A renewed link keeps a creation time that was stamped for this pod; a new link gets its own. The time
-- expires with the link. That of a persistent link expires after a year without a write, because
-- another program may remove the link alone.
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
