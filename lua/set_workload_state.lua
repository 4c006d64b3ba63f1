-- set_workload_state: write the state of a workload and the time of the write.
--
-- KEYS  1 workload state   2 its time (the first key, then "@")
-- ARGV  1 state
-- Reply nil
--
-- The time is stored as "<milliseconds> <state>": it counts only for that state, not for one that
-- another program writes later. It expires after a year, because another program may delete the state
-- and leave the time.

local key, time, state = KEYS[1], KEYS[2], ARGV[1]

local now = redis.call("TIME")
local stamp = string.format("%.0f", now[1] * 1000 + math.floor(now[2] / 1000))
redis.call("SET", key, state)
redis.call("SET", time, stamp .. " " .. state, "PX", "31536000000")
return false
