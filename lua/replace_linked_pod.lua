-- replace_linked_pod: link a uid to a pod if it is linked to the expected pod.
--
-- KEYS  1 link key   2 index hash of the uid   3 creation time of the link (link key, then "@")
-- ARGV  1 service    2 pod id   3 TTL in seconds, -1 for none, "keep" for the present TTL
--       4 "1" to stamp the creation time   5 the expected pod id
-- Reply {1, pod} if replaced, else {0, the linked pod} or {0, nil}
--
-- before                after                after, keep          reply
-- absent                absent               absent               {0, nil}
-- transient(expected)   link(pod, seconds)   transient(pod)       {1, pod}
-- persistent(expected)  link(pod, seconds)   persistent(pod)      {1, pod}
-- transient(other)      unchanged            unchanged            {0, other}
-- persistent(other)     unchanged            unchanged            {0, other}
--
-- Types and values of both keys are checked before the first write.

local link, index, created = KEYS[1], KEYS[2], KEYS[3]
local service, pod, seconds, track, expected = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

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

if current ~= expected then
  return {0, current and tonumber(current)}
end

-- The new TTL in milliseconds; -1 for none. A PTTL of 0 means less than a millisecond.
local ttl = -1
if seconds == "keep" then
  ttl = redis.call("PTTL", link)
  if ttl == 0 then
    ttl = 1
  end
elseif seconds ~= "-1" then
  ttl = seconds * 1000
end
local px = string.format("%.0f", ttl)

if ttl == -1 then
  redis.call("SET", link, pod)
  redis.call("HSET", index, service, pod)
else
  redis.call("SET", link, pod, "PX", px)
  redis.call("HDEL", index, service)
end

-- A link to the same pod keeps a creation time that was stamped for this pod. A link to another pod gets
-- a new one, or none without ARGV[4]. Its TTL is that of the link, or a year if the link is persistent,
-- because another program may delete the link and leave the time.
local dated = redis.pcall("GET", created)
local ms = ttl == -1 and "31536000000" or px
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
