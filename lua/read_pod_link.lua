-- read_pod_link: read a link, its TTL and its creation time.
--
-- KEYS  1 link key   2 creation time of the link (link key, then "@")
-- Reply {value or nil, PTTL of the link, server time in milliseconds, creation time or nil}
--
-- Read-only. TIME and PTTL are read in the same step: their sum is the time at which the link expires.

local value = redis.call("GET", KEYS[1])
local created = redis.call("GET", KEYS[2])
local ttl = redis.call("PTTL", KEYS[1])
local now = redis.call("TIME")
return {value, ttl, string.format("%.0f", now[1] * 1000 + math.floor(now[2] / 1000)), created}
