-- read_pod_link: a link with its times.
--
-- KEYS  1 link key   2 creation time of the link (link key, then "@")
-- Reply {value or nil, PTTL of the link, server time in milliseconds, creation time or nil}
--
-- Changes nothing. The clock is the server's, in the same step as the TTL, so that the sum of the two
-- is the moment of expiry.

local value = redis.call("GET", KEYS[1])
local created = redis.call("GET", KEYS[2])
local ttl = redis.call("PTTL", KEYS[1])
local now = redis.call("TIME")
return {value, ttl, string.format("%.0f", now[1] * 1000 + math.floor(now[2] / 1000)), created}
