-- set_workload_state: the state of a workload and when it was written.
--
-- KEYS  1 workload state   2 its time (the first key, then "@")
-- ARGV  1 state
-- Reply nil
--
-- One write, so there is no half of it.

local now = redis.call("TIME")
local stamp = string.format("%.0f", now[1] * 1000 + math.floor(now[2] / 1000))
redis.call("MSET", KEYS[1], ARGV[1], KEYS[2], stamp)
return false
